"""Files that take their places together, where one of them cannot."""

from pathlib import Path

import pytest

from SAMFinetuneLogic.errors import OutputError


@pytest.fixture
def lock(monkeypatch):
    """Refuse to move or replace a file, as Windows does while another program has it open."""
    locked, rename, replace = set(), Path.rename, Path.replace

    def refuse(source, target, move):
        if source in locked or Path(target) in locked:
            raise PermissionError(13, "The process cannot access the file")
        return move(source, target)

    monkeypatch.setattr(Path, "rename", lambda source, target: refuse(source, target, rename))
    monkeypatch.setattr(Path, "replace", lambda source, target: refuse(source, target, replace))
    return locked.add


@pytest.mark.parametrize("when", ["before", "a moment later"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_file_that_is_open_elsewhere_leaves_all_as_they_were(module_file, lock, tmp_path, monkeypatch, when, number):
    from SAMFinetuneLib import together as module

    paths = [tmp_path / name for name in ("a.nii.gz", "a.json", "new.nii.gz")]
    for path in paths[:2]:
        path.write_text("the earlier one")
    if when == "before":
        lock(paths[number])
    else:
        keep = module._keep

        def keep_then_lock(path):
            kept = keep(path)
            if path == paths[-1]:
                lock(paths[number])
            return kept

        monkeypatch.setattr(module, "_keep", keep_then_lock)
    with pytest.raises(OutputError, match=paths[number].name), module.together(paths, True) as temporary:
        for path in paths:
            temporary[path].write_text("the new one")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("a.nii.gz", "a.json"), "the earlier one"
    )
