"""Labelled images to learn from: the options that name them, and reading them."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMFinetuneLogic.cli.arguments import slice_numbers
from SAMFinetuneLogic.cli.image_choice import say_if_uniform
from SAMFinetuneLogic.cli.label_reading import read_labels_for
from SAMFinetuneLogic.errors import InputError

if TYPE_CHECKING:
    from SAMFinetuneLogic.imaging.axes import Axis
    from SAMFinetuneLogic.imaging.labels import LabelMap
    from SAMFinetuneLogic.imaging.volume import Volume
    from SAMFinetuneLogic.imaging.windows import Window


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image with its label map.

    Attributes:
        volume: the image.
        labels: on its grid.
        axis, window: how its slices are shown.
        indices: of the annotated slices; None where the user named none.
    """

    volume: "Volume"
    labels: "LabelMap"
    axis: "Axis"
    window: "Window"
    indices: tuple[int, ...] | None


def add_pair_arguments(group: Any, required: bool, unnamed: str, axis: str) -> None:
    """`--pair`, `--slices`, `--axis` and `--window`.

    Args:
        unnamed: says which slices are taken without `--slices`.
        axis: the default.
    """
    group.add_argument(
        "--pair",
        nargs=2,
        type=Path,
        action="append",
        default=[],
        required=required,
        metavar=("IMAGE", "LABELS"),
        help="to learn from; may be given several times",
    )
    group.add_argument(
        "--slices",
        type=slice_numbers,
        action="append",
        default=[],
        metavar="3,17,40",
        help=f"of each --pair in turn; one without labels says that nothing is there (default: {unnamed})",
    )
    # None tells "not given" from the default: without a pair, neither has anything to act on.
    group.add_argument("--axis", help=f"of the slices of --pair: i, j, k, axial, coronal or sagittal (default: {axis})")
    group.add_argument(
        "--window", metavar="NAME|LEVEL/WIDTH", help="intensity window of the images of --pair (default: auto)"
    )
    group.set_defaults(unsaid_axis=axis)


def check_pairs(arguments: argparse.Namespace) -> None:
    """Raise InputError for more lists of slices than images, and for an axis or window without any image."""
    if len(arguments.slices) > len(arguments.pair):
        raise InputError("There are more --slices than --pair; give each list after its pair.")
    if not arguments.pair and (arguments.axis is not None or arguments.window is not None):
        raise InputError(
            "--axis and --window say how the images of --pair are cut and shown, and there is none: leave them out. "
            "The slices of a collection stay as they were collected."
        )


def read_pairs(arguments: argparse.Namespace) -> Iterator[LabelledImage]:
    """The images of :func:`add_pair_arguments`, one after the other.

    Raises:
        InputError: an image or label map cannot be read, or an axis or window is unknown.
    """
    from SAMFinetuneLogic.imaging.axes import resolve_axis
    from SAMFinetuneLogic.imaging.reading import read_image
    from SAMFinetuneLogic.imaging.windows import choose_window

    for number, (image_path, label_path) in enumerate(arguments.pair):
        volume = read_image(image_path)
        say_if_uniform(volume, arguments)
        labels = read_labels_for(label_path, volume, arguments)
        axis = resolve_axis(arguments.unsaid_axis if arguments.axis is None else arguments.axis, volume.ijk_to_ras)
        indices = arguments.slices[number] if number < len(arguments.slices) else None
        window = choose_window(volume, "auto" if arguments.window is None else arguments.window)
        yield LabelledImage(volume, labels, axis, window, indices)
