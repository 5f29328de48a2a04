"""Segment an image, or all images in a folder, with an adapter that needs no prompts.

The adapter is one that was trained with --mode automatic. OUT is a NIfTI file for one image, and a folder for a folder
of images.
"""

import argparse
import itertools
from pathlib import Path
from typing import Any

from SAMFinetuneLogic.cli.image_choice import add_image_choice, read_chosen_image
from SAMFinetuneLogic.cli.image_files import image_files
from SAMFinetuneLogic.cli.reporting import add_reporting_arguments, notice, print_json, progress_bar, voxel_counts
from SAMFinetuneLogic.cli.targets import add_overwrite_argument, check_label_map_target
from SAMFinetuneLogic.errors import InputError, SAMFinetuneError
from SAMFinetuneLogic.files import full_suffix


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID

    parser.add_argument("image", type=Path, metavar="IMAGE", help="a file, or a folder with files or DICOM")
    parser.add_argument("out", type=Path, metavar="OUT", help="the result, .nii.gz; for a folder of files a folder")
    parser.add_argument("--adapter", type=Path, required=True, metavar="FOLDER", help="of the adapter or its job")
    parser.add_argument("--model", default=DEFAULT_MODEL_ID, metavar="ID|FILE", help="(default: the adapter's base)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    add_image_choice(parser.add_argument_group("image"))
    parser.add_argument("--axis", help="of the slices (default: as learned)")
    parser.add_argument("--window", metavar="NAME|LEVEL/WIDTH", help="intensity window (default: as learned)")
    add_overwrite_argument(parser)
    add_reporting_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    jobs = _plan(arguments.image, arguments.out)
    for image, out in jobs:
        check_label_map_target(out, arguments.overwrite, [image])

    from SAMFinetuneLogic.finetuning.predicting import describe, notices, open_adapter, predict_volume
    from SAMFinetuneLogic.imaging.writing import write_label_map

    adapted, info, model = open_adapter(arguments.adapter, arguments.model, arguments.device)
    for text in (*model.warnings, *notices(info)):
        notice(f"Note: {text}", arguments)
    results: list[dict[str, Any]] = []
    failed: list[str] = []
    for image, out in jobs:
        try:
            volume = read_chosen_image(image, arguments)
            with progress_bar(image.name, arguments) as progress:
                found = predict_volume(
                    adapted, info, model, volume, arguments.axis, arguments.window, progress=progress
                )
        except SAMFinetuneError as error:
            if len(jobs) == 1:
                raise
            failed.append(f"{image.name}: {error}")
            continue
        provenance = {
            "method": "predict",
            "image": {"name": volume.name, "shape_kji": list(volume.shape)},
            "model": {**model.provenance, "adapter": describe(info)},
            "axis": found.axis,
            "window": found.window.to_dict(),
        }
        write_label_map(out, found.labels, provenance, arguments.overwrite)
        results.append({"output": str(out), "segments": voxel_counts(found.labels)})
    if arguments.json:
        print_json({"results": results, "failed": failed})
    else:
        for result in results:
            counts = ", ".join(f"{entry['name']} {entry['voxels']} voxels" for entry in result["segments"])
            print(f"{result['output']}: {counts}")
    if failed:
        raise InputError(f"{len(failed)} of {len(jobs)} images could not be segmented; the first is {failed[0]}")
    return 0


def _plan(image: Path, out: Path) -> list[tuple[Path, Path]]:
    """(image, result) for each image."""
    if not image.is_dir():
        return [(image, out)]
    files = image_files(image)
    if not files:
        if not any(image.iterdir()):
            raise InputError(f"{image} is empty; give an image, or a folder that holds images.")
        return [(image, out)]  # a DICOM series
    if not out.is_dir() and (out.exists() or full_suffix(out).lower() in (".nii", ".nii.gz")):
        raise InputError(f"{image} is a folder of images, so that {out} must be a folder, too.")
    plan = [(path, out / f"{path.name[: -len(full_suffix(path))]}.nii.gz") for path in files]
    for (first, result), (second, other) in itertools.combinations(plan, 2):
        if result == other:
            raise InputError(f"{first.name} and {second.name} would give the same {result.name}: rename one of them.")
    return plan
