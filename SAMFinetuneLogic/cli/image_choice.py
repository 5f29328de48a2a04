"""Which image of a file or folder that holds several: the options that say so, and reading it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMFinetuneLogic.cli.reporting import notice

if TYPE_CHECKING:
    from SAMFinetuneLogic.imaging.volume import Volume


def add_image_choice(group: Any) -> None:
    """`--component`, `--frame` and `--series`, for :func:`read_chosen_image`."""
    group.add_argument("--component", type=int, metavar="N", help="of a vector image, from 0")
    group.add_argument("--frame", type=int, metavar="N", help="of a 4D image, from 0")
    group.add_argument("--series", metavar="UID", help="of a DICOM folder with several series")


def read_chosen_image(path: Path, arguments: argparse.Namespace) -> "Volume":
    """The image at ``path``, on whose grid a result can be written.

    Raises:
        InputError: as :func:`SAMFinetuneLogic.imaging.reading.read_image`.
        GeometryError: as :func:`SAMFinetuneLogic.imaging.nifti.check_grid`.
    """
    from SAMFinetuneLogic.imaging.nifti import check_grid
    from SAMFinetuneLogic.imaging.reading import read_image

    volume = read_image(path, component=arguments.component, frame=arguments.frame, series=arguments.series)
    check_grid(volume.shape, volume.ijk_to_ras)
    say_if_uniform(volume, arguments)
    return volume


def say_if_uniform(volume: "Volume", arguments: argparse.Namespace) -> None:
    """A notice for an image with nothing on it."""
    from SAMFinetuneLogic.imaging.value_sample import is_uniform

    if is_uniform(volume.voxels):
        notice(f"Note: {volume.name} has one value everywhere, or none: there is nothing to see on it.", arguments)
