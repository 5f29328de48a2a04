"""Every kind of bad input ends with exit code 2, one line on stderr that says what to do, and no new file."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from safetensors.numpy import save_file


def assert_refused(answer, *words):
    code, out, err = answer
    assert code == 2
    assert out == ""
    assert err.startswith("samfinetune: ") and err.count("\n") == 1, err
    for word in words:
        assert word.lower() in err.lower(), err


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(tmp_path):
    yield
    assert not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--point"]),
        (["--negative", "0,0,0"], ["negative"]),
        (["--point", "0,0"], ["--point", "3 numbers"]),
        (["--point", "0,0,nonsense"], ["--point"]),
        (["--box", "0,0,0,1,1"], ["--box", "6 numbers"]),
        (["--point", "500,0,0"], ["500", "outside", "spans"]),
        (["--point", "-1,0,0", "--space", "ijk"], ["outside"]),
        (["--box", "900,900,900,950,950,950"], ["outside", "spans"]),
        (["--point", "0,0,0", "--axis", "diagonal"], ["axis", "coronal"]),
        (["--point", "0,0,0", "--window", "bright"], ["window", "soft_tissue"]),
        (["--point", "0,0,0", "--window", "40/-5"], ["width"]),
        (["--point", "0,0,0", "--device", "abacus"], ["device"]),
        (["--point", "0,0,0", "--model", "no_such_model"], ["no_such_model", "sam_vit_b"]),
        (["--point", "0,0,0", "--component", "3"], ["component"]),
        (["--point", "0,0,0", "--frame", "1"], ["frame"]),
        (["--point", "0,0,0", "--space", "mni"], ["--space"]),
        (["--point", "0,0,0", "--no-such-option"], ["--no-such-option", "see samfinetune segment --help"]),
        (["--poin", "0,0,0"], ["--poin"]),
        (["--prompts", "missing.json"], ["missing.json"]),
        (["--box", "0,-5,-5,0,5,5", "--box", "-5,-5,0,5,5,0", "--space", "ras"], []),
    ],
)
def test_arguments(segment, tmp_path, arguments, words):
    if arguments[-1:] == ["ras"]:  # flat along different axes of an oblique image: in voxels
        arguments = ["--box", "16,8,3,16,20,8", "--box", "10,8,6,20,20,6", "--space", "ijk"]
        words = ["axis"]
    assert_refused(segment(*arguments), *words)
    assert not (tmp_path / "out.nii.gz").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"segments": []}', ["segments"]),
        ('{"segments": [{"name": "liver"}]}', ["prompt"]),
        ('{"segments": [{"points": [[1, 2]]}]}', ["three"]),
        ('{"segments": [{"pionts": [[1, 2, 3]]}]}', ["pionts"]),
        ('{"markups": []}', []),
        ("[1, 2]", ["object"]),
        ("", ["JSON"]),
        ("{", ["JSON"]),
    ],
)
def test_prompt_files(segment, tmp_path, content, words):
    (tmp_path / "prompts.json").write_text(content)
    assert_refused(segment("--prompts", tmp_path / "prompts.json"), "prompts.json", *words)


def test_prompts_and_coordinates_together(segment, tmp_path):
    (tmp_path / "prompts.json").write_text(json.dumps({"segments": [{"points": [[0, 0, 0]]}]}))
    assert_refused(segment("--prompts", tmp_path / "prompts.json", "--point", "0,0,0"), "not both")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.nii.gz", None),
        ("noise.nii.gz", b"\x1f\x8b" + bytes(range(200))),
        ("noise.nii", bytes(range(256)) * 3),
        ("empty.nii.gz", b""),
        ("text.nrrd", b"NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2\n\n"),
        ("words.mha", b"ObjectType = Image\nNDims = three\n"),
        ("photo.png", b"\x89PNG\r\n\x1a\n broken"),
        ("notes.txt", b"hello"),
    ],
)
def test_images(run, a_checkpoint, tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    answer = run("segment", path, tmp_path / "out.nii.gz", "--point", "0,0,0", "--model", a_checkpoint)
    assert_refused(answer, name)


def test_a_truncated_image(run, an_image, a_checkpoint, tmp_path):
    path = tmp_path / "half.nii.gz"
    path.write_bytes(an_image.read_bytes()[:6000])
    answer = run("segment", path, tmp_path / "out.nii.gz", "--point", "0,0,0", "--model", a_checkpoint)
    assert_refused(answer, "half.nii.gz")


def test_an_empty_folder_as_image(run, a_checkpoint, tmp_path):
    (tmp_path / "dicom").mkdir()
    answer = run("segment", tmp_path / "dicom", tmp_path / "out.nii.gz", "--point", "0,0,0", "--model", a_checkpoint)
    assert_refused(answer, "dicom")


def test_a_4d_image_needs_a_choice(run, a_checkpoint, tmp_path):
    volumes = [sitk.GetImageFromArray(np.zeros((4, 8, 8), np.int16)) for _ in range(3)]
    sitk.WriteImage(sitk.JoinSeries(volumes), str(tmp_path / "4d.nii.gz"))
    arguments = ("segment", tmp_path / "4d.nii.gz", tmp_path / "out.nii.gz", "--model", a_checkpoint)
    point = ("--point", "4,4,2", "--space", "ijk")
    assert_refused(run(*arguments, *point), "frames", "--frame, 0 to 2")
    assert_refused(run(*arguments, *point, "--frame", "3"), "0 to 2")
    assert run(*arguments, *point, "--frame", "1", "--quiet")[0] == 0


@pytest.mark.parametrize("kind", ["text", "other tensors", "folder"])
def test_checkpoints(segment, tmp_path, kind):
    path = tmp_path / ("weights.safetensors" if kind == "other tensors" else "weights.pth")
    if kind == "text":
        path.write_text("these are no weights")
    elif kind == "other tensors":
        save_file({"fc.weight": np.zeros((3, 3), np.float32)}, path)
    else:
        path.mkdir()
    assert_refused(segment("--point", "0,0,0", "--model", path), "weights")


def test_targets_that_must_not_be_written(run, an_image, a_checkpoint, tmp_path):
    image = tmp_path / "image.nii.gz"
    image.write_bytes(an_image.read_bytes())
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder.nii.gz").mkdir()
    before = image.read_bytes()

    def onto(out, *more):
        return run("segment", image, out, "--point", "0,0,0", "--model", a_checkpoint, *more)

    assert_refused(onto(image), "image.nii.gz")
    assert_refused(onto(image, "--overwrite"), "input")
    assert_refused(onto(tmp_path / "out.nrrd"), ".nii.gz")
    assert_refused(onto(tmp_path / "folder.nii.gz"), "folder")
    assert_refused(onto(tmp_path / "file" / "out.nii.gz"), "out.nii.gz", "is a file, not a folder")
    assert_refused(onto(tmp_path / ".nii.gz"), "no name")
    assert_refused(onto(tmp_path / "out.nii.gz", "--picture", image, "--overwrite"), ".png")
    assert_refused(onto(tmp_path / "out.nii.gz", "--picture", tmp_path / "out.gif"), ".png")
    assert image.read_bytes() == before


def test_a_sidecar_of_another_tool_is_kept(segment, tmp_path):
    (tmp_path / "out.json").write_text('{"EchoTime": 0.03}')
    assert_refused(segment("--point", "0,0,0"), "out.json")
    assert_refused(segment("--point", "0,0,0", "--overwrite"), "out.json")
    assert (tmp_path / "out.json").read_text() == '{"EchoTime": 0.03}'
    assert not (tmp_path / "out.nii.gz").exists()


def test_a_label_map_of_the_same_name_keeps_its_sidecar(run, segment, an_image, a_checkpoint, tmp_path):
    assert segment("--point", "0,0,0", "--name", "ball", "--quiet")[0] == 0
    other = ("segment", an_image, tmp_path / "out.nii", "--point", "0,0,0", "--model", a_checkpoint, "--overwrite")
    assert_refused(run(*other), "out.json belongs to out.nii.gz")
    assert "ball" in (tmp_path / "out.json").read_text()


def test_a_sheared_image_is_refused_before_the_work(run, tmp_path):
    """NRRD may hold one, but the result could not be written: no model is looked for."""
    header = (
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 4 4\nencoding: raw\nspace: left-posterior-superior\n"
        "space directions: (1,0,0) (0.3,2,0) (0,0,3)\n\n"
    )
    (tmp_path / "tilted.nrrd").write_bytes(header.encode() + bytes(range(64)))
    words = ("--point", "1,1,1", "--space", "ijk", "--model", "no_such_model")
    assert_refused(run("segment", tmp_path / "tilted.nrrd", tmp_path / "out.nii.gz", *words), "not perpendicular")


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_an_image_with_nothing_on_it(run, a_checkpoint, tmp_path, value):
    sitk.WriteImage(sitk.GetImageFromArray(np.full((4, 8, 8), value, np.float32)), str(tmp_path / "black.nii.gz"))
    arguments = ("--point", "4,4,2", "--space", "ijk", "--model", a_checkpoint)
    code, _, err = run("segment", tmp_path / "black.nii.gz", tmp_path / "out.nii.gz", *arguments)
    assert code == 0
    assert "black.nii.gz has one value everywhere, or none" in err


@pytest.mark.parametrize("command", [("demo",), ("finetune", "--pair", "a", "b", "--job", "j"), ("selfsupervise", "a")])
def test_seeds(run, command):
    assert_refused(run(*command, "--seed", "-1"), "--seed", "from 0")


def test_a_read_only_folder(segment, monkeypatch):
    # Told by the check beforehand: root, who may run these tests, is never refused by the file system itself.
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    assert_refused(segment("--point", "0,0,0"), "permission")


def test_a_full_disk(segment, monkeypatch, tmp_path):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "touch", full)
    assert_refused(segment("--point", "0,0,0", "--quiet"), "out.nii.gz", "no space left")
    assert not (tmp_path / "out.nii.gz").exists()


def test_no_command(run):
    assert_refused(run(), "COMMAND")
    assert_refused(run("segmnet"), "segmnet")
