"""A labelled set and its split on disk, frozen: the scene may change, or may never have had a file.

``slices.npz`` holds pixels and labels, ``data.json`` the rest and the hash of the arrays. Image slices lie in it: treat
the folder as you treat the images.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.files import atomic_target, sha256_of, write_json
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet, LabelledSlice
from SAMFinetuneLogic.finetuning.splitting import Split
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.imaging.windows import Window

ARRAYS, DESCRIPTION = "slices.npz", "data.json"


def write_snapshot(folder: Path, data: LabelledSet, split: Split) -> None:
    """Write a set and its split.

    Raises:
        OutputError: the folder cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    for number, entry in enumerate(data.slices):
        arrays[f"pixels{number}"], arrays[f"labels{number}"] = entry.pixels, entry.labels
    with atomic_target(folder / ARRAYS) as temporary, temporary.open("wb") as stream:
        # Not compressed: that takes ten times as long, and a user interface waits for it.
        np.savez(stream, allow_pickle=False, **arrays)
    description = {
        "sha256": sha256_of(folder / ARRAYS),
        "turned": data.turned,
        "segments": [asdict(segment) for segment in data.segments],
        "images": list(data.images),
        "windows": [window.to_dict() for window in data.windows],
        "slices": [
            {
                "group": entry.group,
                "axis": entry.slice.axis,
                "index": entry.slice.index,
                "plane": entry.plane,
                "spacing": list(entry.spacing),
            }
            for entry in data.slices
        ],
        "split": split.to_dict(),
    }
    write_json(folder / DESCRIPTION, description)


def read_snapshot(folder: Path) -> tuple[LabelledSet, Split]:
    """Read what :func:`write_snapshot` wrote.

    Raises:
        InputError: something is missing or damaged.
    """
    try:
        content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if sha256_of(folder / ARRAYS) != content["sha256"]:
            raise InputError(f"{folder / ARRAYS} is damaged (its hash differs): start the job anew from the images.")
        with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            slices = tuple(
                LabelledSlice(
                    arrays[f"pixels{number}"],
                    arrays[f"labels{number}"],
                    (float(entry["spacing"][0]), float(entry["spacing"][1])),
                    int(entry["group"]),
                    SliceIndex(entry["axis"], int(entry["index"])),
                    entry.get("plane", ""),  # jobs of earlier versions do not say
                )
                for number, entry in enumerate(content["slices"])
            )
        segments = tuple(Segment(s["value"], s["name"], tuple(s["color"])) for s in content["segments"])
        windows = tuple(Window.from_dict(window) for window in content["windows"])
        data = LabelledSet(slices, segments, tuple(content["images"]), windows, bool(content["turned"]))
        return data, Split.from_dict(content["split"])
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise InputError(f"The data of the job in {folder} cannot be read: start the job anew.") from error
