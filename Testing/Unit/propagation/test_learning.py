"""The few-shot decoder as a candidate: what is left out is not learned from, and the rest is continued."""

from collections.abc import Sequence

import numpy as np
import pytest

from SAMFinetuneLogic.errors import Cancelled
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.propagation import learning
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.learning import FewShotCandidate

SHORT = FitSettings(augmentations=1, steps=3, warm_steps=2, batch=1)
WINDOW = Window(0.0, 200.0, "full")


@pytest.fixture
def fits(monkeypatch):
    """Each fit's slices and its result."""
    done, original = [], learning.fit

    def recorded(collection, *rest, **named):
        fitted = original(collection, *rest, **named)
        done.append(([entry.slice.index for entry in collection.slices], fitted))
        return fitted

    monkeypatch.setattr(learning, "fit", recorded)
    return done


def annotate(volume, labels, indices: Sequence[int]) -> Annotations:
    return Annotations.of(volume, labels, "k", indices)


def test_a_refit_starts_from_the_whole_and_does_not_see_the_slice(a_volume, a_model, drawn, fits):
    annotations = annotate(a_volume, drawn(5, 9, 13), (5, 9, 13))
    candidate = FewShotCandidate(SlicePredictor(a_model, EmbeddingCache()), a_volume, annotations, WINDOW, SHORT)

    without = candidate.fit(annotations.without(9))
    whole = candidate.fit(annotations)

    assert [indices for indices, _ in fits] == [[5, 9, 13], [5, 13]], "the whole one is fitted once"
    records = [fitted.record for _, fitted in fits]
    assert [(record.warm, record.steps) for record in records] == [(False, 3), (True, 2)]
    assert "k=9" not in "".join(records[1].slices)
    assert not np.array_equal(without.predict(1, 9).levels((0, 0, 39, 43)), whole.predict(1, 9).levels((0, 0, 39, 43)))
    assert without.distance(1, 9) == 4 and whole.distance(1, 10) == 1


def test_a_slice_left_empty_is_learned_from_as_a_negative(a_volume, a_model, drawn, fits):
    annotations = annotate(a_volume, drawn(9), (1, 9))
    candidate = FewShotCandidate(SlicePredictor(a_model), a_volume, annotations, WINDOW, SHORT)

    candidate.fit(annotations)

    assert fits[0][0] == [1, 9]


def test_its_answer_lies_where_the_region_was_cut(a_volume, a_model, drawn):
    """The part of the slice about what is drawn is all that it may speak about."""
    labels = drawn(9, 13)
    annotations = Annotations.of(a_volume, labels, "k", (9, 13), values=(2,))
    candidate = FewShotCandidate(SlicePredictor(a_model), a_volume, annotations, WINDOW, SHORT)
    _, (row, col), plane = learning._support(a_volume, annotations, WINDOW, SlicePredictor(a_model))

    levels = candidate.fit(annotations).predict(2, 10).levels((0, 0, 39, 43))

    rows, cols = plane.volume.slice_shape("k")
    assert row > 0 and col > 0
    inside = np.zeros((40, 44), dtype=bool)
    inside[row : row + rows, col : col + cols] = True
    assert not (levels[~inside] > 0).any() and len(np.unique(levels[inside])) > 100
    np.testing.assert_array_equal(plane.volume.voxels, a_volume.voxels[:, row : row + rows, col : col + cols])
    corner = a_volume.slice_to_ras(np.array([[0.0, row, col]]), "k")[0]
    np.testing.assert_allclose(plane.volume.ijk_to_ras[:3, 3], corner)


def test_it_can_be_stopped(a_volume, a_model, drawn):
    annotations = annotate(a_volume, drawn(9), (9,))
    candidate = FewShotCandidate(SlicePredictor(a_model), a_volume, annotations, WINDOW, SHORT, cancelled=lambda: True)

    with pytest.raises(Cancelled):
        candidate.fit(annotations)
