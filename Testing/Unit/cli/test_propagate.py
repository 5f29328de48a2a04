import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk

from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.models.loaded_model import LoadedModel


@pytest.fixture
def labels(an_image, tmp_path):
    """The ball of ``an_image`` on slices 4, 6 and 8."""
    image = sitk.ReadImage(str(an_image))
    k, j, i = np.indices((12, 28, 32))
    ball = ((i - 16) / 6) ** 2 + ((j - 14) / 6) ** 2 + ((k - 6) / 3) ** 2 < 1
    ball[[0, 1, 2, 3, 5, 7, 9, 10, 11]] = False
    drawn = sitk.GetImageFromArray(ball.astype(np.uint8))
    drawn.CopyInformation(image)
    path = tmp_path / "drawn.nii.gz"
    sitk.WriteImage(drawn, str(path))
    return path


def test_propagate(run, an_image, labels, a_checkpoint, tmp_path):
    out, review = tmp_path / "out.nii.gz", tmp_path / "review.csv"

    code, stdout, stderr = run(
        "propagate", an_image, labels, out, "--model", a_checkpoint, "--review", review, "--from", 4, "--to", 8
    )

    assert code == 0, stderr
    given = sitk.GetArrayFromImage(sitk.ReadImage(str(labels)))
    filled = sitk.GetArrayFromImage(sitk.ReadImage(str(out)))
    assert np.array_equal(filled[[4, 6, 8]], given[[4, 6, 8]])
    assert filled[[5, 7]].any(axis=(1, 2)).all()
    assert not filled[:4].any()
    assert "expected Dice" in stdout
    rows = list(csv.DictReader(review.open(encoding="utf-8")))
    assert {row["slice"] for row in rows if row["rank"] != "next"} == {"5", "7"}
    sidecar = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert "left_out_dice" in json.dumps(sidecar)
    assert sidecar["provenance"]["adapted"] is True


@pytest.mark.parametrize(
    ("method", "heard"),
    [
        ("propagate", {"forward", "backward"}),
        ("fewshot", {"fewshot"}),
        ("auto", {"appearance", "forward", "redrawn", "fewshot"}),
    ],
)
def test_each_method_asks_whom_it_names(run, an_image, labels, tmp_path, monkeypatch, method, heard):
    """With the default model: one of random weights loses a structure at once."""
    from SAMFinetuneLogic.propagation import volume

    short = FitSettings(augmentations=0, steps=1, warm_steps=1, batch=1)
    monkeypatch.setattr("SAMFinetuneLogic.propagation.learning.FitSettings", lambda: short)
    results, original = [], volume.propagate_volume
    monkeypatch.setattr(volume, "propagate_volume", lambda *given: results.append(original(*given)) or results[-1])
    learn = ("--learn", "--no-adapt") if method == "auto" else ()
    out = tmp_path / "out.nii.gz"

    code, stdout, stderr = run("propagate", an_image, labels, out, "--method", method, *learn, "--from", 4, "--to", 8)

    assert code == 0, stderr
    judged = {each.candidate for each in results[0].evidence}
    assert heard <= judged
    assert method == "auto" or judged == {*heard, "fused"}
    assert "leaving annotated slices out one by one gave" in stdout
    sidecar = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert sidecar["provenance"]["method"] == method and sidecar["provenance"]["adapted"] is False


def test_several_segments_and_one_slice(run, an_image, labels, tmp_path):
    """Two structures on one annotated slice: each is filled in, and no estimate is made up for either."""
    drawn = sitk.ReadImage(str(labels))
    voxels = sitk.GetArrayFromImage(drawn)
    voxels[[4, 8]] = 0
    voxels[6, 20:26, 2:9] = 2
    two = sitk.GetImageFromArray(voxels)
    two.CopyInformation(drawn)
    sitk.WriteImage(two, str(tmp_path / "two.nii.gz"))
    out, review = tmp_path / "out.nii.gz", tmp_path / "review.csv"
    arguments = ("propagate", an_image, tmp_path / "two.nii.gz", out, "--method", "interpolate", "--review", review)

    code, stdout, _ = run(*arguments, "--from", 5, "--to", 7)

    assert code == 0
    filled = sitk.GetArrayFromImage(sitk.ReadImage(str(out)))
    assert np.array_equal(filled[6], voxels[6])
    assert all((filled[k] == value).any() for k in (5, 7) for value in (1, 2))
    assert stdout.count("is drawn on 1 slice: draw at least 3 for an estimate") == 2
    rows = list(csv.DictReader(review.open(encoding="utf-8")))
    assert {(row["slice"], row["segment"]) for row in rows if row["rank"] != "next"} == {
        (k, name) for k in ("5", "7") for name in ("Segment_1", "Segment_2")
    }


def test_a_stopped_run_goes_on_from_its_folder_of_encoded_slices(run, an_image, labels, tmp_path, monkeypatch):
    encoded, original, patience = [], LoadedModel.encode, [6]

    def counted(self, batch):
        if len(encoded) == patience[0]:
            raise KeyboardInterrupt
        encoded.append(len(batch))
        return original(self, batch)

    monkeypatch.setattr(LoadedModel, "encode", counted)

    def call(out, *more):
        arguments = ("--method", "propagate", "--from", 3, "--to", 9, "--quiet")
        return run("propagate", an_image, labels, tmp_path / out, *arguments, *more)

    code, stdout, stderr = call("resumed.nii.gz", "--cache", tmp_path / "encoded")
    assert (code, stdout, stderr) == (130, "", "samfinetune: Stopped.\n")
    assert not (tmp_path / "resumed.nii.gz").exists()
    encoded.clear()
    patience[0] = -1
    assert call("resumed.nii.gz", "--cache", tmp_path / "encoded")[0] == 0
    resumed = len(encoded)
    encoded.clear()
    assert call("whole.nii.gz")[0] == 0
    assert resumed == len(encoded) - 6
    images = [
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name))) for name in ("resumed.nii.gz", "whole.nii.gz")
    ]
    assert np.array_equal(*images)


def test_what_is_drawn_beside_the_choice_is_told(run, an_image, labels, tmp_path):
    arguments = ("propagate", an_image, labels, tmp_path / "out.nii.gz", "--method", "interpolate", "--overwrite")

    _, _, stderr = run(*arguments, "--slices", "6", "--from", "4", "--to", "8")
    assert "drawn on 2 slices that --slices does not list was replaced (k=4, 8)" in stderr
    _, _, stderr = run(*arguments, "--from", "5", "--to", "7")
    assert "drawn on slice 4, before --from 5" in stderr and "drawn on slice 8, after --to 7" in stderr
    _, _, stderr = run(*arguments, "--from", "4", "--to", "8")
    assert not stderr
    _, _, stderr = run(*arguments, "--slices", "4,5,6,7,8", "--from", "4", "--to", "8")
    assert "There is no slice to fill in" in stderr


def test_without_a_network(run, an_image, labels, tmp_path):
    code, stdout, stderr = run(
        "propagate", an_image, labels, tmp_path / "out.nii.gz", "--method", "interpolate", "--json", "--quiet"
    )

    assert code == 0
    assert stderr == ""
    content = json.loads(stdout)
    assert content["annotated"] == [4, 6, 8]
    assert {entry["slice"] for entry in content["review"]} >= {5, 7}
    assert content["segments"][0]["expected_dice"] is not None


def test_directions_negatives_and_other_axes(run, an_image, labels, tmp_path):
    out = tmp_path / "out.nii.gz"

    def filled(*arguments):
        plain = ("--method", "interpolate", "--quiet", "--overwrite", *arguments)
        code, _, stderr = run("propagate", an_image, labels, out, *plain)
        assert code == 0, stderr
        return sitk.GetArrayFromImage(sitk.ReadImage(str(out)))

    def slices(*arguments):
        return set(np.flatnonzero(filled("--slices", *arguments).any(axis=(1, 2))).tolist())

    assert slices("6", "--from", "4", "--to", "8") == {4, 5, 6, 7, 8}
    assert slices("6", "--from", "4", "--to", "8", "--direction", "forward") == {6, 7, 8}
    assert slices("6", "--from", "4", "--to", "8", "--direction", "backward") == {4, 5, 6}
    assert slices("6,8,9", "--from", "4", "--to", "10") <= {4, 5, 6, 7, 8}, "slice 9 was left empty"
    assert min(slices("3,6", "--to", "8")) > 3, "slice 3 was left empty"

    given = sitk.GetArrayFromImage(sitk.ReadImage(str(labels)))
    coronal = filled("--axis", "j", "--slices", "12,16", "--from", "12", "--to", "16")
    assert np.array_equal(coronal[:, [12, 16]], given[:, [12, 16]])
    assert coronal[:, 13:16].any(axis=(0, 2)).all() and not coronal[:, :12].any()


def test_one_frame_of_several(run, an_image, labels, tmp_path):
    image = sitk.ReadImage(str(an_image))
    frames = sitk.JoinSeries([image * 0, image])
    sitk.WriteImage(frames, str(tmp_path / "4d.nii.gz"))
    arguments = ("propagate", tmp_path / "4d.nii.gz", labels, tmp_path / "out.nii.gz", "--method", "interpolate")
    code, _, stderr = run(*arguments)
    assert code == 2 and "choose one by --frame, 0 to 1" in stderr
    code, _, stderr = run(*arguments, "--frame", "0")
    assert code == 0 and "one value everywhere" in stderr
    code, _, stderr = run(*arguments, "--frame", "1", "--overwrite")
    assert code == 0 and "one value everywhere" not in stderr
    assert sitk.ReadImage(str(tmp_path / "out.nii.gz")).GetSize() == image.GetSize()


def test_labels_that_lie_partly_outside(run, an_image, labels, tmp_path):
    drawn = sitk.ReadImage(str(labels))
    drawn.SetOrigin(drawn.TransformContinuousIndexToPhysicalPoint([16.0, 0.0, 0.0]))
    sitk.WriteImage(drawn, str(labels))
    arguments = ("propagate", an_image, labels, tmp_path / "out.nii.gz", "--method", "interpolate")
    code, _, stderr = run(*arguments)
    assert code == 0
    assert "% of what is labelled in drawn.nii.gz lies outside of the image" in stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--slices", "4,x"), "not a list of slice numbers"),
        (("--slices", "99"), "outside of the volume"),
        (("--slices", "1"), "Nothing is drawn"),
        (("--from", "9", "--to", "2"), "correct --from and --to"),
        (("--axis", "q"), "Unknown axis"),
        (("--review", "review.txt"), "end the name in .csv"),
        (("--learn",), "--learn is for --method auto"),
        (("--cache", __file__), "give the name of a folder"),
    ],
)
def test_bad_input_is_one_line(run, an_image, labels, tmp_path, arguments, message):
    code, stdout, stderr = run(
        "propagate", an_image, labels, tmp_path / "out.nii.gz", "--method", "interpolate", *arguments
    )

    assert code == 2
    assert stdout == ""
    assert message in stderr
    assert stderr.count("\n") == 1
    assert not (tmp_path / "out.nii.gz").exists()


def test_a_mask_with_soft_edges(run, tmp_path):
    """A hundred shades of gray are a hundred structures: the user is told."""
    rows, cols = np.indices((40, 40))
    image = np.clip(200 - 8 * np.hypot(rows - 20, cols - 20), 0, 255).astype(np.uint8)
    for name in ("image.png", "mask.png"):
        sitk.WriteImage(sitk.GetImageFromArray(image), str(tmp_path / name))
    out = tmp_path / "out.nii.gz"
    code, _, stderr = run("propagate", tmp_path / "image.png", tmp_path / "mask.png", out, "--method", "interpolate")
    assert code == 0
    assert "mask.png has" in stderr and "make it black and white" in stderr
