"""Which structures of a case are filled in, and which of their slices are drawn."""

import json

import numpy as np
import pytest
from small_cases import write_volume

from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.structures import MAX_LABELS, MIN_SLICES, case_structures, equally_spaced


@pytest.fixture
def a_case(tmp_path):
    """Six structures: label n has 9 + n voxels on each of 8 slices, but label 6, the largest, on 7 alone."""
    labels = np.zeros((12, 20, 40), dtype=np.uint8)
    for n in range(1, 7):
        labels[2 : 2 + MIN_SLICES - (n == 6), n, : 9 + n] = n
    labels[2:9, 10:18] = 6
    write_volume(tmp_path / "image.nii.gz", np.arange(labels.size, dtype=np.int16).reshape(labels.shape))
    for name in ("label", "copy"):
        write_volume(tmp_path / f"{name}.nii.gz", labels)
    pairs = [{"image": "image.nii.gz", "label": f"{name}.nii.gz"} for name in ("label", "copy")]
    case = {"case": ".", "modality": "CT", "pairs": pairs}
    (tmp_path / "manifest.json").write_text(json.dumps([case]))
    return read_manifest(tmp_path).cases[0]


def test_the_four_largest_that_are_on_enough_slices(a_case):
    structures = list(case_structures(a_case))

    assert [structure.target.label for structure in structures] == [5, 4, 3, 2], "and a copy of the labels counts once"
    assert len(structures) == MAX_LABELS
    assert structures[0].present == tuple(range(2, 10))


@pytest.mark.parametrize("count", [3, 5, 9])
def test_equal_spacing_without_the_ends(count):
    present = tuple(range(5, 45))
    found = equally_spaced(present, count)
    assert len(found) == count
    np.testing.assert_allclose(found, np.linspace(5, 44, count + 2)[1:-1], atol=0.5)


def test_of_few_slices_fewer_are_drawn():
    assert equally_spaced((3, 4, 5), 9) == (3, 4, 5)
    # Slices on which the structure is not are never drawn.
    assert set(equally_spaced((2, 3, 20, 21, 22), 3)) <= {2, 3, 20, 21, 22}
