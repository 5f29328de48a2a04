import json

import numpy as np
import pytest
from small_cases import ball, write_volume

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.support import lessons_of, read_lesson

SHAPE = (5, 40, 44)


@pytest.fixture
def make_manifest(tmp_path):
    """Call with case -> (modality, names, image -> label value -> centre): a manifest of balls."""

    def make(**cases):
        content, rng = [], np.random.default_rng(0)
        for case, (modality, names, images) in cases.items():
            pairs = []
            for image, centres in images.items():
                labels = np.zeros(SHAPE, dtype=np.uint8)
                for value, centre in centres.items():
                    labels[ball(SHAPE, centre, 8)] = value
                gray = (labels * 40 + 20 + rng.normal(0, 4, SHAPE)).astype(np.int16)
                write_volume(tmp_path / case / f"{image}.nii.gz", gray)
                write_volume(tmp_path / case / f"{image}_label.nii.gz", labels)
                pairs.append({"image": f"{image}.nii.gz", "label": f"{image}_label.nii.gz"})
            content.append({"case": case, "modality": modality, "label_names": names, "pairs": pairs})
        (tmp_path / "manifest.json").write_text(json.dumps(content))
        return read_manifest(tmp_path)

    return make


def test_images_of_one_kind_are_paired_in_the_order_of_the_manifest(make_manifest):
    tumour = {"1": "tumour"}
    manifest = make_manifest(
        one=("MR", tumour, {"a": {1: (2, 14, 14)}}),
        scan=("CT", tumour, {"a": {1: (2, 14, 14)}}),  # another modality
        two=("MR", tumour, {"a": {1: (2, 20, 20)}}),
        three=("MR", tumour, {"a": {1: (2, 24, 20)}}),  # nobody is left for it
        knee=("MR", {}, {"x": {3: (2, 14, 14)}, "y": {3: (2, 20, 24)}}),
    )

    lessons = lessons_of(manifest)

    assert [case.name for case in lessons.cases] == ["one to two", "knee"]
    assert [[pair.image.name for pair in case.pairs] for case in lessons.cases] == [
        ["a.nii.gz", "a.nii.gz"],
        ["x.nii.gz", "y.nii.gz"],
    ]
    assert [case.name for case in lessons_of(lessons).cases] == ["one to two", "knee"]


def test_names_that_nobody_gave_mean_nothing_across_cases(make_manifest):
    manifest = make_manifest(one=("MR", {}, {"a": {1: (2, 14, 14)}}), two=("MR", {}, {"a": {1: (2, 20, 20)}}))

    with pytest.raises(InputError, match="share a structure"):
        lessons_of(manifest)


def test_a_part_of_a_scan_does_not_teach_the_whole(make_manifest, tmp_path):
    manifest = make_manifest(one=("MR", {"1": "tumour"}, {"a": {1: (2, 14, 14)}, "b": {1: (2, 20, 20)}}))
    import SimpleITK as sitk

    whole = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "one/a.nii.gz")))
    write_volume(tmp_path / "one/b.nii.gz", np.concatenate([whole[2:], whole[:1] + 1, whole[:1] + 2]))

    with pytest.raises(InputError, match="share a structure"):
        lessons_of(manifest)


def test_a_lesson_has_the_shared_structures_the_largest_first(make_manifest):
    names = {"1": "liver", "2": "spleen", "5": "cyst"}
    manifest = make_manifest(
        one=("CT", names, {"a": {1: (2, 12, 12), 2: (2, 28, 30), 5: (2, 30, 10)}}),
        two=("CT", {"4": "spleen", "7": "liver"}, {"a": {7: (1, 14, 14), 4: (4, 28, 30)}}),
    )

    lesson = read_lesson(lessons_of(manifest).cases[0], max_labels=4)

    assert [target.name for target in lesson.targets] == ["liver", "spleen"]
    assert [segment.name for segment in lesson.support_labels.segments] == ["liver", "spleen"]
    assert set(np.unique(lesson.support_labels.voxels)) == {0, 1, 2}
    assert np.array_equal(lesson.truths[0], ball(SHAPE, (1, 14, 14), 8))
    assert lesson.targets[0].slice.index == 1
    assert [target.name for target in read_lesson(lessons_of(manifest).cases[0], max_labels=1).targets] == ["liver"]
