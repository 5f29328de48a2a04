"""Structures that are not one piece on all slices, several at once, and slices that are empty or full."""

import numpy as np
import pytest

from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.propagation.volume import PropagationOptions, propagate_volume

SHAPE = (17, 48, 48)


def disc(row: float, col: float, radius: float) -> np.ndarray:
    rows, cols = np.mgrid[: SHAPE[1], : SHAPE[2]]
    return (rows - row) ** 2 + (cols - col) ** 2 <= radius**2


def case(truth: np.ndarray) -> tuple[Volume, LabelMap]:
    noise = np.random.default_rng(0).normal(0, 5, truth.shape)
    return Volume((40 + 60 * truth + noise).astype(np.int16), np.eye(4)), LabelMap(truth.astype(np.uint8), np.eye(4))


def only(labels: LabelMap, *indices: int) -> LabelMap:
    voxels = np.zeros_like(labels.voxels)
    voxels[list(indices)] = labels.voxels[list(indices)]
    return LabelMap(voxels, labels.ijk_to_ras, labels.segments)


def parts(mask: np.ndarray) -> int:
    from scipy import ndimage

    return int(ndimage.label(mask)[1])


def test_a_structure_that_splits_and_merges():
    one, two = disc(24, 24, 13), disc(24, 12, 7) | disc(24, 36, 7)
    truth = np.stack([one if k < 4 or k > 12 else two for k in range(SHAPE[0])])
    volume, labels = case(truth)

    result = propagate_volume(volume, only(labels, 1, 6, 10, 15), None, PropagationOptions(first=0, last=16))

    filled = result.labels.mask(1)
    assert parts(filled[8]) == 2
    assert parts(filled[2]) == parts(filled[14]) == 1
    assert filled.any(axis=(1, 2)).all()


@pytest.mark.parametrize("with_network", [False, True])
def test_a_structure_that_is_gone_for_some_slices(a_model, with_network):
    truth = np.stack([disc(24, 24, 9) if k < 6 or k > 10 else np.zeros(SHAPE[1:], bool) for k in range(SHAPE[0])])
    volume, labels = case(truth)
    options = PropagationOptions(slices=(2, 7, 9, 14), first=0, last=16)

    result = propagate_volume(volume, only(labels, 2, 14), a_model if with_network else None, options)

    filled = result.labels.mask(1)
    assert not filled[7:10].any()
    assert filled[[3, 13]].any(axis=(1, 2)).all()
    assert not {report.index for report in result.slices} & {2, 7, 9, 14}


def test_a_slice_listed_as_annotated_and_left_empty_ends_the_structure():
    volume, labels = case(np.stack([disc(24, 24, 9)] * SHAPE[0]))
    drawn = only(labels, 8)

    free = propagate_volume(volume, drawn, None, PropagationOptions())
    ended = propagate_volume(volume, drawn, None, PropagationOptions(slices=(8, 11)))

    assert free.labels.mask(1)[11].any()
    assert not ended.labels.mask(1)[11:].any()
    assert ended.labels.mask(1)[7].any()


@pytest.mark.parametrize("method", ["auto", "propagate", "fewshot"])
def test_a_slice_that_is_all_structure(a_model, method, monkeypatch):
    short = FitSettings(augmentations=0, steps=1, warm_steps=1, batch=1)
    monkeypatch.setattr("SAMFinetuneLogic.propagation.learning.FitSettings", lambda: short)
    volume, labels = case(np.ones(SHAPE, dtype=bool))

    result = propagate_volume(
        volume, only(labels, 4, 12), a_model, PropagationOptions(method=method, first=3, last=13, measure=False)
    )

    assert result.labels.mask(1)[[4, 12]].all()
    assert not result.labels.mask(1)[:3].any()


def test_segments_do_not_overlap_unless_each_is_filled_in_from_its_own_labels(a_model):
    # Two structures that grow into each other between the annotated slices.
    first = np.stack([disc(24, 16, 6 + 6 * (k == 8)) for k in range(SHAPE[0])])
    second = np.stack([disc(24, 32, 6 + 6 * (k == 8)) for k in range(SHAPE[0])])
    voxels = np.zeros(SHAPE, dtype=np.uint8)
    voxels[8][first[8]], voxels[8][second[8] & ~first[8]] = 1, 2
    volume, _ = case(first | second)
    options = PropagationOptions(slices=(8,), first=4, last=12)

    together = propagate_volume(volume, LabelMap(voxels, np.eye(4)), a_model, options).labels
    apart = []
    for mask in (first, second):
        own = np.zeros(SHAPE, dtype=np.uint8)
        own[8][mask[8]] = 1
        apart.append(propagate_volume(volume, LabelMap(own, np.eye(4)), None, options).labels.mask(1))

    assert np.array_equal(together.voxels[8], voxels[8])
    assert {1, 2} == set(np.unique(together.voxels[7])) - {0}
    assert (apart[0] & apart[1])[7].any()


@pytest.mark.parametrize("axis", ["i", "j", "k"])
def test_annotated_slices_come_back_bit_for_bit_along_every_axis(a_model, axis):
    kind = np.uint16 if axis == "j" else np.uint8
    rng = np.random.default_rng(1)
    volume = Volume(rng.normal(100, 20, (12, 14, 16)).astype(np.float32), np.diag([1.0, 2.0, 3.0, 1.0]))
    number = {"k": 0, "j": 1, "i": 2}[axis]
    voxels = np.zeros(volume.shape, dtype=kind)
    # Ragged, touching structures, single pixels, and one that nobody continues.
    by_slice = np.moveaxis(voxels, number, 0)
    for index in (3, 7, 8):
        by_slice[index] = rng.choice([0, 0, 1, 2, 200 if kind is np.uint8 else 40000], by_slice[index].shape)
    labels = LabelMap(voxels.copy(), volume.ijk_to_ras)

    result = propagate_volume(
        volume, labels, a_model, PropagationOptions(axis=axis, slices=(3, 7, 8), values=(1, 2), measure=False)
    )

    after = np.moveaxis(result.labels.voxels, number, 0)
    assert result.labels.voxels.dtype == kind
    assert np.array_equal(after[[3, 7, 8]], by_slice[[3, 7, 8]])
    assert (after[4:7] > 0).any()
