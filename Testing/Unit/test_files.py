"""Writing files: nothing half-written is left, whenever the process is interrupted."""

import sys
from pathlib import Path

import pytest

from SAMFinetuneLogic import files
from SAMFinetuneLogic.errors import OutputError
from SAMFinetuneLogic.files import absolute_if_file, atomic_target, remove_unfinished


def write(path):
    with atomic_target(path) as temporary:
        temporary.write_text("new")


def interrupt_after(lines):
    """A trace function that raises KeyboardInterrupt at the given number of lines run in ``files``."""
    left = [lines]

    def trace(frame, event, _):
        if frame.f_code.co_filename != files.__file__:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
        return trace

    return trace


def test_interrupted_anywhere(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    interrupted = 0
    for lines in range(1, 100):
        sys.settrace(interrupt_after(lines))
        try:
            write(path)
            break
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(None)
        remove_unfinished()
        assert [each.name for each in tmp_path.iterdir()] == ["result.json"]
        assert path.read_text() in ("old", "new")
    assert interrupted > 5 and path.read_text() == "new"


def test_error_in_the_block(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_target(tmp_path / "a.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz") and temporary.parent == tmp_path
        temporary.write_text("half")
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


def test_no_overwriting(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(OutputError, match="exists already"), atomic_target(tmp_path / "a", overwrite=False):
        pass
    assert (tmp_path / "a").read_text() == "old"


def test_names_of_models_for_other_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("weights.pth").touch()
    assert absolute_if_file("weights.pth") == str(tmp_path / "weights.pth")
    assert absolute_if_file("sam_vit_b") == "sam_vit_b"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert absolute_if_file("~/weights.pth") == str(tmp_path / "weights.pth")
    Path("folder").mkdir()
    assert absolute_if_file("folder") == "folder"


def test_where_windows_refuses_because_somebody_reads_it_is_tried_again(tmp_path, monkeypatch):
    """The refusal is made here; on Linux a file that is being read can be replaced."""
    path, rename, refusals = tmp_path / "status.json", Path.replace, [2]

    def replace(self, target):
        if refusals[0]:
            refusals[0] -= 1
            raise PermissionError(13, "The process cannot access the file because it is being used by another process")
        return rename(self, target)

    path.write_text("old")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(Path, "replace", replace)
    write(path)
    assert path.read_text() == "new" and refusals == [0]

    refusals[0] = 1000
    monkeypatch.setattr(files, "_PAUSES", (0.0, 0.0))
    with pytest.raises(OutputError, match=r"Cannot write .*being used by another process"):
        write(path)
    assert path.read_text() == "new" and [each.name for each in tmp_path.iterdir()] == ["status.json"]
