"""Checks on result files before the long work starts: user data is never overwritten silently."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from SAMFinetuneLogic.files import check_target


def add_overwrite_argument(parser: argparse.ArgumentParser) -> None:
    """`--overwrite`, the same for all subcommands that write files."""
    parser.add_argument("--overwrite", action="store_true", help="replace result files that exist already")


def check_label_map_target(path: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """As :func:`SAMFinetuneLogic.files.check_target` for a NIfTI file and the JSON file that will stand beside it."""
    from SAMFinetuneLogic.imaging.sidecar import sidecar_path
    from SAMFinetuneLogic.imaging.writing import check_label_map_path

    inputs = list(inputs)
    check_target(path, overwrite, inputs)
    check_target(sidecar_path(path), overwrite, inputs)
    check_label_map_path(path, overwrite)


def check_picture_target(path: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """As :func:`SAMFinetuneLogic.files.check_target` for a picture."""
    from SAMFinetuneLogic.pictures.sheet import check_picture_name

    check_picture_name(path)
    check_target(path, overwrite, inputs)
