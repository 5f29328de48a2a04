"""Annotate a few slices, get the rest: fills in the slices between and beyond those that are drawn in LABELS.

The annotated slices come back as they are, and the result is a NIfTI label map on the image's full grid. Where the
structures begin and end can be given with --from and --to; else it is judged from the annotations and the image.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMFinetuneLogic.cli.arguments import slice_numbers
from SAMFinetuneLogic.cli.image_choice import add_image_choice, read_chosen_image
from SAMFinetuneLogic.cli.label_reading import read_labels_for
from SAMFinetuneLogic.cli.model_choice import load_chosen_model
from SAMFinetuneLogic.cli.reporting import add_reporting_arguments, notice, print_json, progress_bar
from SAMFinetuneLogic.cli.segment import add_model_arguments
from SAMFinetuneLogic.cli.targets import add_overwrite_argument, check_label_map_target
from SAMFinetuneLogic.errors import InputError, OutputError
from SAMFinetuneLogic.files import check_target
from SAMFinetuneLogic.wording import some_slices

if TYPE_CHECKING:
    from SAMFinetuneLogic.imaging.labels import LabelMap
    from SAMFinetuneLogic.imaging.volume import Volume
    from SAMFinetuneLogic.models.loaded_model import LoadedModel
    from SAMFinetuneLogic.propagation.result import PropagationResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, metavar="IMAGE", help="NIfTI, NRRD, MHA, GIPL or DICOM")
    parser.add_argument("labels", type=Path, metavar="LABELS", help="label map with the annotated slices")
    parser.add_argument("out", type=Path, metavar="OUT", help="the result, .nii.gz or .nii")
    add_image_choice(parser.add_argument_group("image"))
    what = parser.add_argument_group("what to fill in")
    what.add_argument("--axis", default="k", help="of the slices: i, j, k, axial, coronal or sagittal (default: k)")
    what.add_argument(
        "--slices",
        type=slice_numbers,
        metavar="N,N,...",
        help="the annotated ones, from 0; one that is left empty says that nothing is there (default: all not empty)",
    )
    known = "slice of the structures, if known: they taper towards it"
    what.add_argument("--from", dest="first", type=int, metavar="N", help=f"first {known}")
    what.add_argument("--to", dest="last", type=int, metavar="N", help=f"last {known}")
    what.add_argument(
        "--direction", choices=("both", "forward", "backward"), default="both", help="from annotated slices"
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--method",
        choices=("auto", "interpolate", "propagate", "fewshot"),
        default="auto",
        help="the outline alone, the model from slice to slice, the few-shot decoder, or the best mix (default)",
    )
    how.add_argument(
        "--learn", action="store_true", help="with auto: also fit the few-shot decoder, which takes longer"
    )
    how.add_argument(
        "--no-adapt",
        dest="adapt",
        action="store_false",
        help="with auto: train no small network on the annotated slices to correct the rest; faster, less good",
    )
    how.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help="keep encoded slices there, so that a run that was stopped goes on from them; treat the folder as you "
        "treat the images",
    )
    how.add_argument("--window", default="auto", metavar="NAME|LEVEL/WIDTH", help="intensity window (default: auto)")
    add_model_arguments(parser)
    parser.add_argument("--review", type=Path, metavar="OUT.csv", help="also write the slices in order of doubt")
    add_overwrite_argument(parser)
    add_reporting_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    inputs = [arguments.image, arguments.labels]
    check_label_map_target(arguments.out, arguments.overwrite, inputs)
    if arguments.review is not None:
        if arguments.review.suffix.lower() != ".csv":
            raise OutputError(f"Cannot write the review as {arguments.review}; end the name in .csv.")
        check_target(arguments.review, arguments.overwrite, inputs)
    if arguments.learn and arguments.method != "auto":
        raise InputError(f"--learn is for --method auto; leave it out with --method {arguments.method}.")
    if arguments.cache is not None and arguments.cache.exists() and not arguments.cache.is_dir():
        raise OutputError(f"--cache {arguments.cache} is a file; give the name of a folder.")

    from SAMFinetuneLogic.imaging.writing import write_label_map
    from SAMFinetuneLogic.prompting.cache import EmbeddingCache
    from SAMFinetuneLogic.propagation.review import write_review
    from SAMFinetuneLogic.propagation.volume import PropagationOptions, propagate_volume

    volume = read_chosen_image(arguments.image, arguments)
    labels = read_labels_for(arguments.labels, volume, arguments)
    options = PropagationOptions(
        axis=arguments.axis,
        slices=arguments.slices,
        first=arguments.first,
        last=arguments.last,
        method=arguments.method,
        direction=arguments.direction,
        learn=arguments.learn,
        adapt=arguments.adapt,
    )
    model = None if arguments.method == "interpolate" else load_chosen_model(arguments)
    with progress_bar("propagate", arguments) as progress:
        cache = EmbeddingCache(folder=arguments.cache)
        result = propagate_volume(volume, labels, model, options, arguments.window, cache, progress)
    warnings = () if model is None else model.warnings
    for text in (*warnings, *result.notices, *_disregarded(labels, arguments, result)):
        notice(f"Note: {text}", arguments)
    provenance = _provenance(volume, arguments, model, result)
    files = [arguments.out, write_label_map(arguments.out, result.labels, provenance, overwrite=arguments.overwrite)]
    if arguments.review is not None:
        files.append(write_review(arguments.review, result, overwrite=arguments.overwrite))
    _report(result, files, arguments)
    return 0


def _disregarded(labels: "LabelMap", arguments: argparse.Namespace, result: "PropagationResult") -> Iterator[str]:
    """What was drawn beside the slices and the range that the user named."""
    import numpy as np

    from SAMFinetuneLogic.imaging.axes import array_axis

    stack = np.moveaxis(labels.voxels, array_axis(result.axis), 0)
    continued = sorted(result.extents)
    replaced = [k for k in range(len(stack)) if k not in result.annotated and np.isin(stack[k], continued).any()]
    if replaced:
        yield (
            f"What was drawn on {some_slices(len(replaced))} that --slices does not list was replaced "
            f"({result.axis}={', '.join(map(str, replaced))})."
        )
    for segment in labels.segments:
        extent = result.extents.get(segment.value)
        if extent is None:
            continue
        if arguments.first is not None and extent.first < arguments.first:
            yield f"{segment.name} is drawn on slice {extent.first}, before --from {arguments.first}: correct either."
        if arguments.last is not None and extent.last > arguments.last:
            yield f"{segment.name} is drawn on slice {extent.last}, after --to {arguments.last}: correct either."


def _report(result: "PropagationResult", files: list[Path], arguments: argparse.Namespace) -> None:
    names = {segment.value: segment.name for segment in result.labels.segments}
    if arguments.json:
        print_json({**_summary(result), "output": str(arguments.out), "files": [str(path) for path in files]})
        return
    for estimate in result.estimates:
        filled = [report for report in result.slices if report.value == estimate.value and report.pixels]
        extent = result.extents[estimate.value]
        print(f"{names[estimate.value]}: filled in {some_slices(len(filled))} of {extent.first} to {extent.last}")
        print(f"  {estimate.text}")
    for report in result.review[:5]:
        print(f"check slice {result.axis}={report.index} ({names[report.value]})")
    if result.next_slice is not None:
        print(f"annotate slice {result.axis}={result.next_slice} next")
    for path in files:
        print(path)


def _summary(result: "PropagationResult") -> dict[str, Any]:
    return {
        "axis": result.axis,
        "window": result.window.to_dict(),
        "annotated": list(result.annotated),
        "segments": [
            {
                "value": estimate.value,
                "name": next(s.name for s in result.labels.segments if s.value == estimate.value),
                "voxels": int(result.labels.mask(estimate.value).sum()),
                "from": result.extents[estimate.value].first,
                "to": result.extents[estimate.value].last,
                "expected_dice": None if estimate.dice is None else round(estimate.dice, 4),
                "left_out_dice": {str(index): round(dice, 4) for index, dice in estimate.left_out.items()},
                "estimate": estimate.text,
            }
            for estimate in result.estimates
        ],
        "review": [{"slice": report.index, "value": report.value} for report in result.review],
        "next_slice": result.next_slice,
        "notices": list(result.notices),
    }


def _provenance(
    volume: "Volume", arguments: argparse.Namespace, model: "LoadedModel | None", result: "PropagationResult"
) -> dict[str, Any]:
    """How the result came about; nothing about the patient."""
    from SAMFinetuneLogic import __version__

    facts: dict[str, Any] = {
        "software": f"SAMFinetune {__version__}",
        "image": {"name": volume.name, "shape_kji": list(volume.shape)},
        "method": arguments.method,
        "direction": arguments.direction,
        "adapted": any("auto-context" in each.weights for each in result.slices),
        **{key: value for key, value in _summary(result).items() if key not in ("review", "notices")},
    }
    if model is not None:
        facts["model"] = model.provenance
        facts["device"] = {"name": str(model.device), "precision": model.precision}
    return facts
