import json

import pytest

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import modality_code, read_manifest


def write(folder, content):
    (folder / "manifest.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / "manifest.json"


def test_reads_cases_pairs_and_names_from_file_or_folder(a_manifest_file):
    manifest = read_manifest(a_manifest_file)

    assert [case.name for case in manifest.cases] == ["abdomen", "brain", "film"]
    assert [len(case.pairs) for case in manifest.cases] == [1, 2, 1]
    pair = manifest.cases[0].pairs[0]
    assert pair.image == a_manifest_file.parent / "abdomen" / "image.nii.gz"
    assert pair.modality == "CT"
    assert pair.label_names == {1: "liver", 2: "spleen"}
    assert read_manifest(a_manifest_file.parent) == manifest


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("CT (DICOM series)", "CT"),
        ("MR_T1", "MR"),
        ("MRI T2w", "MR"),
        ("PET", "PT"),
        ("X-ray 2D", "DX"),
        ("Ultrasound 2D", "US"),
        ("mammography", "MG"),
        ("CTA", "CT"),
        ("US-B", "US"),
        ("CR", "DX"),
        ("cranial photograph", "cranial photograph"),
        ("usual camera", "usual camera"),
        ("endoscopy", "endoscopy"),
        ("", "unknown"),
    ],
)
def test_free_text_becomes_a_dicom_code(text, code):
    assert modality_code(text) == code


def test_each_image_of_a_case_with_several_modalities_has_its_own(tmp_path):
    names = ("CT_image.nii", "MR_T1_image.nii", "PET_image.nii")
    (tmp_path / "one").mkdir()
    for name in (*names, "label.nii"):
        (tmp_path / "one" / name).touch()
    case = {
        "case": "one",
        "modality": "CT+MR_T1+PET",
        "pairs": [{"image": name, "label": "label.nii"} for name in names],
    }

    pairs = read_manifest(write(tmp_path, [case])).cases[0].pairs

    assert [pair.modality for pair in pairs] == ["CT", "MR", "PT"]


def test_a_pair_may_state_its_own_modality_and_names(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.nii").touch()
    pair = {"image": "a.nii", "label": "a.nii", "modality": "US", "label_names": {"2": "cyst"}}
    case = {"case": "one", "modality": "CT", "label_names": {"1": "liver"}, "pairs": [pair]}

    read = read_manifest(write(tmp_path, [case])).cases[0].pairs[0]

    assert (read.modality, read.label_names) == ("US", {2: "cyst"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{not json", "not valid JSON"),
        ({"cases": []}, "list of at least one case"),
        ([], "list of at least one case"),
        (["one"], "name of its case"),
        ([{"case": "one"}], "needs a list 'pairs'"),
        ([{"case": "one", "pairs": [{"image": "a.nii"}]}], "names its 'image' and its 'label'"),
        ([{"case": "one", "pairs": [{"image": "a.nii", "label": "b.nii"}]}], "does not exist"),
        ([{"case": "one", "pairs": [{"image": ".", "label": "."}], "label_names": {"x": "y"}}], "whole numbers"),
        ([{"case": "one", "pairs": [{"image": ".", "label": "."}]}] * 2, "several cases named 'one'"),
    ],
)
def test_a_manifest_of_another_form_is_refused(tmp_path, content, message):
    (tmp_path / "one").mkdir()

    with pytest.raises(InputError, match=message):
        read_manifest(write(tmp_path, content))


def test_a_missing_manifest_is_refused(tmp_path):
    with pytest.raises(InputError, match="Cannot read the manifest"):
        read_manifest(tmp_path / "none.json")


def test_only_some_cases_in_the_order_of_the_file(a_manifest_file):
    manifest = read_manifest(a_manifest_file)

    assert [case.name for case in manifest.only(["film", "abdomen"]).cases] == ["abdomen", "film"]
    with pytest.raises(InputError, match="no case 'knee'; it has abdomen, brain, film"):
        manifest.only(["film", "knee"])
