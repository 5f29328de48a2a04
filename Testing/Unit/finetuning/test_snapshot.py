import numpy as np
import pytest
from labelled_data import labelled_set

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.finetuning.snapshot import ARRAYS, DESCRIPTION, read_snapshot, write_snapshot
from SAMFinetuneLogic.finetuning.splitting import split


def test_what_is_written_is_read(tmp_path):
    folder = tmp_path / "Größe mit Leerzeichen 影像"
    data = labelled_set()
    parts = split(data)

    write_snapshot(folder, data, parts)
    found, found_parts = read_snapshot(folder)

    assert found_parts == parts
    assert found.segments == data.segments and found.windows == data.windows and found.images == data.images
    for mine, theirs in zip(data.slices, found.slices, strict=True):
        assert np.array_equal(mine.pixels, theirs.pixels) and np.array_equal(mine.labels, theirs.labels)
        assert mine.slice == theirs.slice and mine.spacing == theirs.spacing and mine.plane == theirs.plane == "axial"


@pytest.mark.parametrize("name", [ARRAYS, DESCRIPTION])
@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_damage_is_noticed(tmp_path, name, damage):
    data = labelled_set()
    write_snapshot(tmp_path, data, split(data))
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 3 : len(content) // 3 + 4] = b"\xff\xfe\x00\x01"
        path.write_bytes(content)
    with pytest.raises(InputError, match="start the job anew"):
        read_snapshot(tmp_path)
