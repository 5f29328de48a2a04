"""Segment an image from clicks and boxes; the result is a NIfTI label map on the image's full grid.

A point segments the slice that it lies on, a box every slice that it spans. Coordinates are RAS mm unless --space
says otherwise. A JSON file beside the result names the segments, the model and the prompts.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMFinetuneLogic.cli.arguments import numbers
from SAMFinetuneLogic.cli.image_choice import add_image_choice, read_chosen_image
from SAMFinetuneLogic.cli.model_choice import load_chosen_model
from SAMFinetuneLogic.cli.reporting import add_reporting_arguments, print_json
from SAMFinetuneLogic.cli.targets import add_overwrite_argument, check_label_map_target, check_picture_target
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.wording import some_slices

if TYPE_CHECKING:
    from SAMFinetuneLogic.imaging.volume import Volume
    from SAMFinetuneLogic.prompting.prompts import SegmentPrompts

_POINT = numbers(3, "a point")
_BOX = numbers(6, "a box")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, metavar="IMAGE", help="NIfTI, NRRD, MHA, GIPL, PNG, JPEG, TIFF, or DICOM")
    parser.add_argument("out", type=Path, metavar="OUT", help="the result, .nii.gz or .nii")
    prompts = parser.add_argument_group("prompts")
    prompts.add_argument("--point", type=_POINT, action="append", default=[], metavar="R,A,S", help="inside it")
    prompts.add_argument("--negative", type=_POINT, action="append", default=[], metavar="R,A,S", help="outside it")
    prompts.add_argument(
        "--box", type=_BOX, action="append", default=[], metavar="R0,A0,S0,R1,A1,S1", help="two opposite corners"
    )
    prompts.add_argument("--space", choices=("ras", "lps", "ijk"), default="ras", help="of the numbers above")
    prompts.add_argument(
        "--prompts", type=Path, metavar="FILE", help="Slicer's .mrk.json, or a JSON with prompts of several segments"
    )
    prompts.add_argument(
        "--name", default="segment", help="of the segment made by --point and --box (default: segment)"
    )
    image = parser.add_argument_group("image")
    add_image_choice(image)
    image.add_argument("--axis", metavar="AXIS", help="of the slices: i, j, k, axial, coronal or sagittal")
    image.add_argument("--window", default="auto", metavar="NAME|LEVEL/WIDTH", help="intensity window (default: auto)")
    add_model_arguments(parser)
    parser.add_argument("--picture", type=Path, metavar="OUT.png", help="also draw the prompted slices")
    add_overwrite_argument(parser)
    add_reporting_arguments(parser)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """`--model`, `--adapter` and `--device`, for :func:`SAMFinetuneLogic.cli.model_choice.load_chosen_model`."""
    from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID

    model = parser.add_argument_group("model")
    model.add_argument(
        "--model", default=DEFAULT_MODEL_ID, metavar="ID|FILE", help=f"see `models list` (default: {DEFAULT_MODEL_ID})"
    )
    model.add_argument("--adapter", type=Path, metavar="FOLDER", help="of `finetune`, or the folder of its job")
    model.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")


def run(arguments: argparse.Namespace) -> int:
    inputs = [path for path in (arguments.image, arguments.prompts) if path is not None]
    check_label_map_target(arguments.out, arguments.overwrite, inputs)
    if arguments.picture is not None:
        check_picture_target(arguments.picture, arguments.overwrite, [*inputs, arguments.out])

    from SAMFinetuneLogic.cli.pipeline import Request, check_request, segment_to_files

    volume = read_chosen_image(arguments.image, arguments)
    prompts = _prompts(arguments, volume)
    check_request(volume, prompts, arguments.axis, arguments.window)
    request = Request(
        prompts=prompts,
        out=arguments.out,
        picture=arguments.picture,
        axis=arguments.axis,
        window=arguments.window,
        model=load_chosen_model(arguments),
    )
    report(segment_to_files(volume, request, arguments), arguments)
    return 0


def report(result: dict[str, Any], arguments: argparse.Namespace) -> None:
    """The result on stdout: for a person, or as JSON."""
    if arguments.json:
        print_json(result)
        return
    for segment in result["segments"]:
        score = f", Dice {segment['dice']:.3f}" if "dice" in segment else ""
        print(f"{segment['name']}: {segment['voxels']} voxels on {some_slices(segment['slices'])}{score}")
    for path in result["files"]:
        print(path)


def _prompts(arguments: argparse.Namespace, volume: "Volume") -> "list[SegmentPrompts]":
    """What the user asked for, in RAS.

    Raises:
        InputError: no prompt, only negative ones, or both a file and coordinates.
    """
    from SAMFinetuneLogic.imaging.labels import Segment, segment_color
    from SAMFinetuneLogic.prompting.prompt_files import read_prompts
    from SAMFinetuneLogic.prompting.prompts import BoxPrompt, PointPrompt, Prompt, SegmentPrompts

    given = bool(arguments.point or arguments.negative or arguments.box)
    if arguments.prompts is not None:
        if given:
            raise InputError("Give either --prompts or coordinates, not both.")
        return read_prompts(arguments.prompts)
    if not given:
        raise InputError("Nothing says what to segment: give --point, --box or --prompts.")
    prompts: list[Prompt] = []
    for positive, points in ((True, arguments.point), (False, arguments.negative)):
        prompts += [PointPrompt(_to_ras([point], arguments.space, volume)[0], positive) for point in points]
    prompts += [BoxPrompt(_to_ras([box[:3], box[3:]], arguments.space, volume)) for box in arguments.box]
    return [SegmentPrompts(Segment(1, arguments.name, segment_color(0)), tuple(prompts))]


def _to_ras(
    points: Sequence[tuple[float, ...]], space: str, volume: "Volume"
) -> tuple[tuple[float, float, float], ...]:
    import numpy as np

    array = np.array(points, dtype=float)
    if space == "ijk":
        array = volume.to_ras(array)
    elif space == "lps":
        array = array * (-1.0, -1.0, 1.0)
    return tuple((float(x), float(y), float(z)) for x, y, z in array)
