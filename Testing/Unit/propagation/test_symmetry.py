"""The same anatomy stored in another way gives the same result."""

from pathlib import Path

import numpy as np
import pytest

from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.reading import read_image, read_label_map
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.propagation.volume import PropagationOptions, propagate_volume

SLICES = (5, 9, 13, 17)
OPTIONS = {"slices": SLICES, "first": 3, "last": 20, "adapt": False}
"""What the second stage learns depends on the storage a little: see the test of its flips."""


def flipped(image: Volume | LabelMap, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Voxels stored the other way round along an array axis, and the matrix that keeps them where they are."""
    column = 2 - axis
    matrix = image.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, column] * (image.shape[axis] - 1)
    matrix[:3, column] *= -1
    return np.flip(image.voxels, axis).copy(), matrix


def permuted(image: Volume | LabelMap, order: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Voxels with their array axes in another order, and the matrix that keeps them where they are."""
    columns = [2 - order[2 - n] for n in range(3)]
    return image.voxels.transpose(order).copy(), image.ijk_to_ras[:, [*columns, 3]]


@pytest.mark.parametrize("axis", [1, 2])
def test_in_plane_flips_mirror_the_outline(a_volume, drawn, axis):
    given, options = drawn(*SLICES), PropagationOptions(**OPTIONS, method="interpolate")
    straight = propagate_volume(a_volume, given, None, options).labels.voxels
    other = propagate_volume(
        Volume(*flipped(a_volume, axis)), LabelMap(*flipped(given, axis), given.segments), None, options
    ).labels.voxels

    assert np.array_equal(straight, np.flip(other, axis))


@pytest.mark.parametrize("axis", [1, 2])
def test_in_plane_flips_mirror_the_correction_by_gray_values(a_volume, drawn, axis):
    given, options = drawn(*SLICES), PropagationOptions(**OPTIONS)
    straight = propagate_volume(a_volume, given, None, options)
    other = propagate_volume(
        Volume(*flipped(a_volume, axis)), LabelMap(*flipped(given, axis), given.segments), None, options
    )

    # Sums in another order round differently, which a registration amplifies: voxels on the very outline change sides.
    differing = np.count_nonzero(straight.labels.voxels != np.flip(other.labels.voxels, axis))
    assert differing <= 3e-3 * np.count_nonzero(straight.labels.voxels)
    assert straight.estimates[0].dice == pytest.approx(other.estimates[0].dice, abs=0.01)


@pytest.mark.parametrize(("order", "axis", "with_network"), [((1, 2, 0), "i", False), ((1, 0, 2), "j", True)])
def test_another_order_of_axes(a_volume, a_model, drawn, order, axis, with_network):
    given, model = drawn(*SLICES), a_model if with_network else None
    volume = Volume(*permuted(a_volume, order))
    labels = LabelMap(*permuted(given, order), given.segments)
    quick = {**OPTIONS, "measure": not with_network, "jitter": False}

    straight = propagate_volume(a_volume, given, model, PropagationOptions(**quick)).labels
    other = propagate_volume(volume, labels, model, PropagationOptions(**quick, axis=axis)).labels

    assert np.array_equal(other.voxels, straight.voxels.transpose(order))


def test_transposed_slices(a_volume, drawn):
    given = drawn(*SLICES)
    volume = Volume(*permuted(a_volume, (0, 2, 1)))
    labels = LabelMap(*permuted(given, (0, 2, 1)), given.segments)

    straight = propagate_volume(a_volume, given, None, PropagationOptions(**OPTIONS)).labels
    other = propagate_volume(volume, labels, None, PropagationOptions(**OPTIONS)).labels

    differing = np.count_nonzero(other.voxels != straight.voxels.transpose(0, 2, 1))
    assert differing <= 1e-3 * np.count_nonzero(straight.voxels)


@pytest.mark.data
@pytest.mark.parametrize("with_network", [False, True])
def test_an_oblique_volume_gives_what_its_unrotated_twin_gives(a_data_folder: Path, a_model, with_network):
    found = []
    for image, mask in (
        ("sts_003/MR_T1_image.nii.gz", "sts_003/MR_T1_mask.nii.gz"),
        ("oblique_sts_003_mr/image.nrrd", "oblique_sts_003_mr/label.nrrd"),
    ):
        volume, truth = read_image(a_data_folder / image), read_label_map(a_data_folder / mask)
        present = np.flatnonzero(truth.voxels.any(axis=(1, 2)))
        chosen = tuple(int(k) for k in np.linspace(present[0], present[-1], 5)[1:-1].round())
        voxels = np.zeros_like(truth.voxels)
        voxels[list(chosen)] = truth.voxels[list(chosen)]
        options = PropagationOptions(slices=chosen, jitter=False, measure=False)
        labels = LabelMap(voxels, volume.ijk_to_ras, truth.segments)
        result = propagate_volume(volume, labels, a_model if with_network else None, options)
        found.append((volume, result.labels.mask(1)))

    (straight, first), (oblique, second) = found
    turn = np.linalg.inv(straight.ijk_to_ras) @ oblique.ijk_to_ras
    assert not np.allclose(turn[:3, :3], np.eye(3), atol=1e-3)  # they do lie differently in space
    assert np.array_equal(straight.voxels, oblique.voxels)
    assert first.any()
    assert np.array_equal(first, second)
