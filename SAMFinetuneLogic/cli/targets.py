"""Checks on result files before the long work starts: user data is never overwritten silently."""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from SAMFinetuneLogic.errors import OutputError
from SAMFinetuneLogic.files import full_suffix


def add_overwrite_argument(parser: argparse.ArgumentParser) -> None:
    """`--overwrite`, the same for all subcommands that write files."""
    parser.add_argument("--overwrite", action="store_true", help="replace result files that exist already")


def check_target(path: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Find out early whether ``path`` can be written.

    Raises:
        OutputError: it exists and ``overwrite`` is False, it is one of the ``inputs`` (never overwritten), it is a
            folder, or its folder cannot be written.
    """
    if path.is_dir():
        raise OutputError(f"Cannot write {path}: it is a folder. Give the name of a file.")
    if any(path.exists() and source.exists() and path.samefile(source) for source in inputs):
        raise OutputError(f"{path} is an input of this command and would be lost; choose another name for the result.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; choose another name, or add --overwrite.")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"Cannot write {path}: no permission to write in {folder}. Choose another folder.")


def check_label_map_target(path: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """:func:`check_target` for a NIfTI file and the JSON file that will stand beside it."""
    from SAMFinetuneLogic.imaging.sidecar import is_sidecar, sidecar_path

    if full_suffix(path).lower() not in (".nii", ".nii.gz"):
        raise OutputError(f"Cannot write {path}: results are NIfTI; end the name in .nii.gz.")
    inputs = list(inputs)
    check_target(path, overwrite, inputs)
    sidecar = sidecar_path(path)
    check_target(sidecar, overwrite, inputs)
    if sidecar.exists() and not is_sidecar(sidecar):
        raise OutputError(f"{sidecar} is another tool's file and would be lost; choose another name for the result.")


def check_picture_target(path: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """:func:`check_target` for a picture."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise OutputError(f"Cannot write a picture as {path}; end the name in .png.")
    check_target(path, overwrite, inputs)
