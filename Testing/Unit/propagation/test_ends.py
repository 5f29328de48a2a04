"""Where a followed structure has come to its end, and what a track says after that."""

import numpy as np
import pytest
import torch

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.metrics import dice
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.predictor import SlicePredictor
from SAMFinetuneLogic.prompting.slice_image import SliceImage
from SAMFinetuneLogic.propagation import tracking
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.ends import Signature, has_ended
from SAMFinetuneLogic.propagation.extent import extent_of
from SAMFinetuneLogic.propagation.options import PropagationOptions
from SAMFinetuneLogic.propagation.reading import SliceReader
from SAMFinetuneLogic.propagation.tracking import Tracks
from SAMFinetuneLogic.propagation.volume import propagate_volume


def square(side: int, row: int = 0, col: int = 0) -> np.ndarray:
    mask = np.zeros((40, 40), dtype=bool)
    mask[row : row + side, col : col + side] = True
    return mask


def signature(*inside: float) -> Signature:
    vector = torch.tensor(inside)
    return Signature(vector / vector.norm(), torch.tensor([0.0, 1.0]))


ORIGIN = signature(1.0, 0.1)


def test_what_stays_alike_goes_on():
    assert not has_ended(square(20), square(19), square(18), ORIGIN, signature(1.0, 0.2))
    assert not has_ended(square(20), square(19), square(18), None, None)


@pytest.mark.parametrize(
    ("previous", "found", "now"),
    [
        (square(5), square(3), ORIGIN),  # 9 of 400 pixels are left
        (square(10), square(16), ORIGIN),  # 256 after 100: it has leaked
        (square(10), square(10, 7), ORIGIN),  # 30 of 170 in common
        (square(18), square(18), signature(0.3, 1.0)),  # it looks like what surrounded the structure
    ],
    ids=["area", "leak", "overlap", "looks"],
)
def test_each_collapse_is_an_end(previous, found, now):
    assert has_ended(square(20), previous, found, ORIGIN, now)


def test_a_mask_on_the_surroundings_looks_like_them(a_model):
    """A bright square on a dark ground: there it resembles itself, but not where the ground alone is."""
    gray = np.zeros((2, 64, 64), dtype=np.int16)
    gray[0, 16:48, 16:48] = gray[1, 16:48, 48:] = 200
    mask, window = np.zeros((64, 64), dtype=bool), Window(0.0, 200.0, "full")
    mask[20:44, 20:44] = True
    predictor, volume = SlicePredictor(a_model), Volume(gray, np.eye(4))
    embedded = [predictor.embed(SliceImage.of(volume, SliceIndex("k", k), window)) for k in (0, 1)]
    inside, beyond = (Signature.of(each, mask, a_model.mask_size) for each in embedded)

    assert inside.resembles(inside)
    assert not beyond.resembles(inside)
    assert Signature.of(embedded[0], np.ones_like(mask), a_model.mask_size) is None  # nothing surrounds it


@pytest.mark.parametrize("known", [False, True])
def test_a_track_that_has_ended_stays_so_and_asks_no_more(a_volume, a_model, drawn, monkeypatch, known):
    """Where the user said that the structure goes on the track is lost; else it says that the structure is absent."""
    annotations = Annotations.of(a_volume, drawn(10), "k", values=(1,))
    extents = {1: extent_of(annotations, 1, *((3, 20) if known else (None, None)))}
    reader = SliceReader(SlicePredictor(a_model, EmbeddingCache()), a_volume, annotations, Window(0, 200, "full"))
    mask, looked = annotations.masks[1][10], []
    monkeypatch.setattr(reader, "follow", lambda look, previous: looked.append(look) or drawn_patch(mask))
    monkeypatch.setattr(tracking, "has_ended", lambda *_: len(looked) == 3)
    tracks = Tracks(reader, extents)

    found = [tracks.at(1, 10, mask, index) for index in range(11, 17)]

    assert [patch is not None and patch.area > 0 for patch in found] == [True, True, False, False, False, False]
    assert [patch is None for patch in found[2:]] == [known] * 4
    assert len(looked) == 3


def drawn_patch(mask: np.ndarray):
    from SAMFinetuneLogic.propagation.levels import Patch

    return Patch.of(np.where(mask, 3.0, -3.0), mask.shape)


def test_the_default_model_does_not_follow_a_tube_beyond_its_end():
    """A bright tube on slices 9 to 19 of 30, drawn on slice 14: nothing on the other slices is like it."""
    rows, cols = np.indices((48, 52))
    disc = ((rows - 24) / 10) ** 2 + ((cols - 26) / 11) ** 2 <= 1
    truth = np.zeros((30, 48, 52), dtype=np.uint8)
    truth[9:20] = disc
    gray = 60 + 90 * truth + np.random.default_rng(0).normal(0, 8, truth.shape)
    affine = np.diag([-1.0, 1.0, 3.0, 1.0])
    drawn = np.zeros_like(truth)
    drawn[14] = truth[14]
    model = load_model("samfinetune_default", device="cpu")
    options = PropagationOptions(method="propagate", jitter=False)

    result = propagate_volume(Volume(gray.astype(np.int16), affine), LabelMap(drawn, affine), model, options)

    filled = result.labels.voxels.any(axis=(1, 2)).nonzero()[0]
    assert filled.min() in (9, 10) and filled.max() in (18, 19)
    assert dice(result.labels.voxels[10:19] > 0, truth[10:19] > 0) > 0.95
