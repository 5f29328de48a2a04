"""Which images `samfinetune predict` takes, and where the results go, before a model is loaded."""

import pytest


@pytest.fixture
def predict(run, tmp_path):
    """Of images to ``out``; the adapter is missing, so that what is planned well ends there."""

    def call(image, out):
        code, _, err = run("predict", image, out, "--adapter", tmp_path / "none")
        assert code == 2 and err.count("\n") == 1
        return err

    return call


@pytest.fixture
def images(an_image, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.nii.gz").write_bytes(an_image.read_bytes())
    return folder


def test_a_folder_goes_to_a_folder(predict, images, tmp_path):
    assert "There is no adapter" in predict(images, tmp_path / "results")
    for out in (tmp_path / "results.nii.gz", images / "a.nii.gz"):
        assert "must be a folder, too" in predict(images, out)
    assert "input of this command" in predict(images, images)
    assert not (tmp_path / "results.nii.gz").exists()


def test_hidden_files_are_no_images(predict, images, tmp_path):
    (images / "._a.mha").write_bytes(b"left by a Mac")
    assert "There is no adapter" in predict(images, tmp_path / "results")
    (images / "a.mha").write_bytes(b"")
    assert "would give the same a.nii.gz" in predict(images, tmp_path / "results")


def test_an_empty_folder(predict, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "is empty" in predict(tmp_path / "empty", tmp_path / "results")
