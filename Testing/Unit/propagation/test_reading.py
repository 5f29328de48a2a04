"""What the network is asked, and where its answer lies."""

import numpy as np
import pytest

from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.reading import BOX_MARGIN, PROMPT_LOGIT, SliceReader


@pytest.fixture
def ask(a_volume, drawn, make_a_model, monkeypatch):
    """Show slice 10 a mask, by a model that takes ``prompts``: the prompts that it was given, and its answer."""
    given, original = [], SlicePredictor.predict

    def recorded(self, embedded, **prompts):
        given.append(prompts)
        return original(self, embedded, **prompts)

    monkeypatch.setattr(SlicePredictor, "predict", recorded)

    def call(mask: np.ndarray, *prompts: str):
        annotations = Annotations.of(a_volume, drawn(10), "k")
        model = make_a_model(prompts=prompts)
        reader = SliceReader(SlicePredictor(model), a_volume, annotations, Window(0.0, 200.0, "full"))
        look = reader.look(10, mask)
        given.clear()
        return look, given, reader.follow(look, mask)

    return call


@pytest.fixture
def a_mask() -> np.ndarray:
    mask = np.zeros((40, 44), dtype=bool)
    mask[10:20, 8:28] = True
    return mask


def test_the_earlier_mask_and_its_box_slightly_enlarged_are_the_prompt(ask, a_mask):
    look, (prompts,), patch = ask(a_mask, "point", "box", "mask")

    row0, col0, _, _ = look.rectangle
    expected = np.array([10, 8, 19, 27]) + BOX_MARGIN * np.array([-10, -20, 10, 20]) - [row0, col0, row0, col0]
    np.testing.assert_allclose(prompts["box"], expected)
    assert prompts["mask_logits"].max() == -prompts["mask_logits"].min() == PROMPT_LOGIT
    assert patch.mask().shape == a_mask.shape


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_a_model_is_asked_by_what_it_takes(ask, a_mask, kind):
    _, (prompts,), _ = ask(a_mask, kind)

    assert (prompts["box"] is not None) == (kind == "box")
    assert (prompts["mask_logits"] is not None) == (kind == "mask")


def test_a_small_structure_is_looked_at_closely(ask, a_mask):
    small = np.zeros_like(a_mask)
    small[30:34, 35:39] = True

    look, _, patch = ask(small, "box", "mask")

    row0, col0, row1, col1 = look.rectangle
    assert (row1 - row0 + 1) * (col1 - col0 + 1) < 0.6 * small.size
    assert row0 <= 30 and row1 >= 33 and col0 <= 35 and col1 >= 38
    rows, cols = np.nonzero(patch.mask())
    assert not len(rows) or (rows.min() >= row0 and cols.min() >= col0)
