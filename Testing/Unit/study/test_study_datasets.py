"""Which images of a manifest are one data set, and which of their slices and structures count."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_cases import ball, write_volume

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.study.datasets import PreparedData, data_sets, read_slices
from SAMFinetuneLogic.study.splitting import study_split

SHAPE = (12, 32, 30)


@pytest.fixture
def a_mixed_manifest(tmp_path: Path) -> Path:
    """Cases a and c of one data set, b alone with a second modality and a label map of another kind."""
    large, small = ball(SHAPE, (6, 16, 12), 5), ball(SHAPE, (6, 8, 25), 2)
    for case in "abc":
        write_volume(tmp_path / case / "image.nii.gz", (100 * large + 50 * small).astype(np.int16))
        write_volume(tmp_path / case / "label.nii.gz", (3 * large + 5 * small).astype(np.uint8))
        write_volume(tmp_path / case / "other.nii.gz", (7 * large).astype(np.uint8))
        write_volume(tmp_path / case / "second.nii.gz", (40 * large).astype(np.int16))
    pair = {"image": "image.nii.gz", "label": "label.nii.gz", "modality": "CT"}
    more = [
        {"image": "second.nii.gz", "label": "label.nii.gz", "modality": "MR"},
        {"image": "second.nii.gz", "label": "other.nii.gz", "modality": "CT"},
        {"image": "image.nii.gz", "label": "other.nii.gz", "modality": "CT"},
    ]
    cases = [
        {"case": "a", "pairs": [pair], "dataset": "both", "label_names": {"3": "liver"}},
        {"case": "b", "pairs": [pair, *more]},
        {"case": "c", "pairs": [pair], "dataset": "both"},
    ]
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(cases), encoding="utf-8")
    return path


def test_cases_of_one_name_are_one_data_set(a_mixed_manifest):
    found = data_sets(read_manifest(a_mixed_manifest))
    assert [(each.name, [case.name for case in each.cases]) for each in found] == [("both", ["a", "c"]), ("b", ["b"])]
    only = data_sets(read_manifest(a_mixed_manifest).only(["c"]))
    assert [each.name for each in only] == ["both"]


def test_a_data_set_without_a_name_is_refused(a_mixed_manifest):
    content = json.loads(a_mixed_manifest.read_text())
    content[0]["dataset"] = 3
    a_mixed_manifest.write_text(json.dumps(content))
    with pytest.raises(InputError, match="dataset"):
        data_sets(read_manifest(a_mixed_manifest))


def test_slices_of_both_cases_with_the_large_structure(a_mixed_manifest):
    both = data_sets(read_manifest(a_mixed_manifest))[0]
    slices = read_slices(both, turned=True)
    # The ball of radius 2 has 13 voxels in its largest slice: too small.
    assert [(segment.value, segment.name) for segment in slices.segments] == [(3, "liver")]
    per_case = int(ball(SHAPE, (6, 16, 12), 5).any(axis=(1, 2)).sum())
    assert len(slices.slices) == 2 * per_case
    assert [entry.group for entry in slices.slices] == [0] * per_case + [1] * per_case
    assert slices.turned and not any(entry.is_empty for entry in slices.slices)


def test_other_modalities_and_other_label_maps_do_not_count(a_mixed_manifest):
    single = data_sets(read_manifest(a_mixed_manifest))[1]
    slices = read_slices(single, turned=False)
    assert slices.images == ("image",) or len(slices.images) == 1
    assert slices.values == (3,)


def test_only_the_largest_structures_are_kept(a_study_manifest):
    single = data_sets(read_manifest(a_study_manifest))[0]
    assert read_slices(single, False).values == (1, 2)
    kept = read_slices(single, False, max_labels=1)
    assert kept.values == (1,)
    assert all(set(np.unique(entry.labels)) <= {0, 1} for entry in kept.slices)


def test_nothing_large_enough_is_an_error(tmp_path):
    write_volume(tmp_path / "a" / "image.nii.gz", np.zeros(SHAPE, np.int16))
    write_volume(tmp_path / "a" / "label.nii.gz", ball(SHAPE, (6, 16, 12), 2).astype(np.uint8))
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps([{"case": "a", "pairs": [{"image": "image.nii.gz", "label": "label.nii.gz"}]}]))
    with pytest.raises(InputError, match="64 voxels"):
        read_slices(data_sets(read_manifest(path))[0], False)


def test_unused_slices_are_dropped_and_the_fingerprint_tells_data_apart(a_study_manifest):
    slices = read_slices(data_sets(read_manifest(a_study_manifest))[0], False)
    split = study_split(slices, 3, 2)
    prepared = PreparedData.of("one", slices, split)
    assert len(prepared.slices.slices) == 5
    for part in ("train", "test"):
        titles = [slices.title(n) for n in getattr(split, part)]
        assert [prepared.slices.title(n) for n in getattr(prepared.split, part)] == titles
    again = PreparedData.of("one", slices, split)
    other = PreparedData.of("one", slices, study_split(slices, 3, 3))
    second = read_slices(data_sets(read_manifest(a_study_manifest))[1], False)
    assert again.fingerprint == prepared.fingerprint
    assert len({prepared.fingerprint, other.fingerprint, PreparedData.of("one", second, split).fingerprint}) == 3
