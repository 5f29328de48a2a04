"""`samfinetune fewshot` from files to files."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from small_models import write_small_compact

from SAMFinetuneLogic.fewshot.collection_files import load_collection
from SAMFinetuneLogic.imaging.reading import read_image, read_label_map


@pytest.fixture(scope="module")
def some_labels(an_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = sitk.ReadImage(str(an_image))
    labels = sitk.Cast(image > 100, sitk.sitkUInt8)
    path = tmp_path_factory.mktemp("labels") / "ball_labels.nii.gz"
    sitk.WriteImage(labels, str(path))
    return path


@pytest.fixture
def fit(run, an_image, some_labels, a_checkpoint, tmp_path):
    """`fewshot fit` of the ball, quickly, into c.safetensors."""

    def call(*arguments: object):
        quick = ("--steps", 2, "--augmentations", 1, "--model", a_checkpoint)
        return run("fewshot", "fit", tmp_path / "c.safetensors", *arguments, *quick)

    return call


def test_fit_show_apply(run, fit, an_image, some_labels, a_checkpoint, tmp_path):
    collection, out = tmp_path / "c.safetensors", tmp_path / "out.nii.gz"
    code, text, _ = fit("--pair", an_image, some_labels, "--slices", "5,6", "--json")
    assert code == 0
    described = json.loads(text)
    assert [entry["index"] for entry in described["slices"]] == [5, 6]
    assert described["fit"]["steps"] == 2

    code, text, _ = run("fewshot", "show", collection, "--picture", tmp_path / "c.png")
    assert code == 0
    assert "ball.nii.gz k=5" in text and "fitted to 2 slices" in text
    assert (tmp_path / "c.png").stat().st_size > 1000

    code, text, error = run("fewshot", "apply", collection, an_image, out, "--slices", "7", "--model", a_checkpoint)
    assert code == 0, error
    labels, volume = read_label_map(out), read_image(an_image)
    assert labels.shape == volume.shape
    np.testing.assert_allclose(labels.ijk_to_ras, volume.ijk_to_ras, atol=1e-5)
    assert not np.delete(labels.voxels, 7, axis=0).any()
    sidecar = json.loads((tmp_path / "out.json").read_text())
    assert sidecar["provenance"]["method"] == "fewshot" and sidecar["provenance"]["support_slices"] == 2


def test_fit_again_adds_slices_and_continues(fit, an_image, some_labels, tmp_path):
    fit("--pair", an_image, some_labels, "--slices", "5")
    code, text, _ = fit("--pair", an_image, some_labels, "--slices", "6", "--json")
    described = json.loads(text)
    assert code == 0 and len(described["slices"]) == 2 and described["fit"]["warm"]
    assert described["fit"]["steps"] == 2, "the number of steps that was asked for, also where a fit is continued"
    _, text, _ = fit("--fresh", "--json")
    assert not json.loads(text)["fit"]["warm"]
    fit("--pair", an_image, some_labels, "--slices", "5", "--dense", "prototypes", "--option", "prototypes=2")
    assert load_collection(tmp_path / "c.safetensors").fit["settings"]["prototypes"] == 2
    code, _, error = fit("--option", "prototypes=2")
    assert code == 2 and "no option of this fit" in error
    code, text, _ = fit("--targets", "mean", "--json")  # another decoder: nothing to continue
    assert code == 0 and not json.loads(text)["fit"]["warm"]


def test_collections_are_merged(run, fit, an_image, some_labels, a_checkpoint, tmp_path):
    fit("--pair", an_image, some_labels, "--slices", "5")
    quick = ("--steps", 1, "--augmentations", 0, "--model", a_checkpoint, "--json")
    code, text, _ = run(
        "fewshot", "fit", tmp_path / "d.safetensors", "--pair", an_image, some_labels, "--slices", "7",
        "--merge", tmp_path / "c.safetensors", *quick,
    )  # fmt: skip
    assert code == 0
    assert sorted(entry["index"] for entry in json.loads(text)["slices"]) == [5, 7]


def test_another_model_is_refused_by_naming_what_helps(run, fit, an_image, some_labels, a_checkpoint, tmp_path):
    other = write_small_compact(tmp_path / "other.safetensors", seed=1)
    collection, out = tmp_path / "c.safetensors", tmp_path / "out.nii.gz"
    fit("--pair", an_image, some_labels, "--slices", "5,6")
    apply = ("fewshot", "apply", collection, an_image, out, "--slices", "7", "--model")
    again = ("fewshot", "fit", collection, "--steps", 1, "--augmentations", 0, "--model", other)
    before = collection.read_bytes()

    for arguments in ((*apply, other), (*apply, other, "--training-free"), again):
        code, _, error = run(*arguments)
        assert code == 2 and error.count("\n") == 1
        assert "--model tiny" in error and ("--reencode" in error) == (arguments is again), error
    merging = ("fewshot", "fit", tmp_path / "d.safetensors", "--merge", collection, *again[3:])
    code, _, error = run(*merging)
    assert code == 2 and "--reencode" in error
    assert collection.read_bytes() == before and not out.exists()

    code, text, error = run(*again, "--reencode", "--json")
    assert code == 0, error
    assert not json.loads(text)["fit"]["warm"] and len(json.loads(text)["slices"]) == 2
    assert run(*apply, other)[0] == 0
    assert run(*apply, a_checkpoint, "--overwrite")[0] == 2
    assert run(*merging, "--reencode")[0] == 0


def test_labelled_slices_are_enough_without_training(run, fit, an_image, some_labels, a_checkpoint, tmp_path):
    collection, out = tmp_path / "c.safetensors", tmp_path / "out.nii.gz"
    code, text, error = fit("--pair", an_image, some_labels, "--slices", "6", "--no-training", "--json")
    assert code == 0, error
    assert json.loads(text)["fit"] is None
    asked = ("fewshot", "apply", collection, an_image, out, "--slices", "7", "--model", a_checkpoint)
    code, text, error = run(*asked)
    assert code == 0, error
    assert "without training" in error
    free = read_label_map(out).voxels
    assert json.loads((tmp_path / "out.json").read_text())["provenance"]["method"] == "fewshot, training-free"

    fit("--pair", an_image, some_labels, "--slices", "6")
    code, text, error = run(*asked, "--training-free", "--overwrite", "--json")
    assert code == 0, error
    assert json.loads(text)["method"] == "fewshot, training-free"
    assert np.array_equal(read_label_map(out).voxels, free)


def test_what_cannot_be_done_is_one_line(run, fit, an_image, some_labels, a_checkpoint, tmp_path):
    missing = tmp_path / "c.safetensors"
    for arguments in (
        ("fit", missing, "--model", a_checkpoint),
        ("fit", missing, "--pair", an_image, some_labels, "--slices", "3", "--slices", "4", "--model", a_checkpoint),
        ("fit", missing, "--pair", an_image, some_labels, "--slices", "a,b", "--model", a_checkpoint),
        ("fit", missing, "--pair", an_image, some_labels, "--slices", "99", "--model", a_checkpoint),
        ("fit", tmp_path / "c.txt", "--pair", an_image, some_labels, "--model", a_checkpoint),
        ("apply", missing, an_image, tmp_path / "out.nii.gz", "--model", a_checkpoint),
        ("show", missing),
        ("show", some_labels),
    ):
        code, out, error = run("fewshot", *arguments)
        assert code == 2 and not out, arguments
        assert error.startswith("samfinetune: ") and error.count("\n") == 1, error
    assert not list(tmp_path.glob("*.safetensors"))
