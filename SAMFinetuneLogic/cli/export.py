"""Turn a segmentation that 3D Slicer saved (.seg.nrrd) into NIfTI.

Each result has a JSON file with the segments' names and colours beside it. Where segments overlap, one label map
cannot hold them: each one then gets a file of its own, OUT_<segment name>.nii.gz, with the value 1 inside.
Without --reference the result has the grid that is stored in the file, which Slicer may have cropped.
"""

import argparse
import re
from pathlib import Path

from SAMFinetuneLogic.cli.reporting import add_reporting_arguments, print_json, voxel_counts
from SAMFinetuneLogic.cli.targets import add_overwrite_argument, check_label_map_target
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.files import full_suffix


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("segmentation", type=Path, metavar="SEG", help="Slicer's .seg.nrrd, or another label map")
    parser.add_argument("out", type=Path, metavar="OUT", help="the result, .nii.gz or .nii")
    parser.add_argument("--reference", type=Path, metavar="IMAGE", help="put the result on this image's grid")
    add_overwrite_argument(parser)
    add_reporting_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from SAMFinetuneLogic.imaging.reading import read_image, read_label_map
    from SAMFinetuneLogic.imaging.resampling import resample_label_map
    from SAMFinetuneLogic.imaging.slicer_segmentation import is_slicer_segmentation, read_slicer_segmentation
    from SAMFinetuneLogic.imaging.writing import write_label_map

    source: Path = arguments.segmentation
    layers = read_slicer_segmentation(source) if is_slicer_segmentation(source) else [read_label_map(source)]
    layers = [layer for layer in layers if layer.segments]
    if not layers:
        raise InputError(f"{source} holds no segment; add one in Slicer and save it again.")
    if arguments.reference is not None:
        reference = read_image(arguments.reference)
        layers = [resample_label_map(layer, reference) for layer in layers]
    results = {arguments.out: layers[0]} if len(layers) == 1 else _one_file_per_segment(arguments.out, layers)
    inputs = [source] if arguments.reference is None else [source, arguments.reference]
    for path in results:
        check_label_map_target(path, arguments.overwrite, inputs)
    for path, labels in results.items():
        provenance = {"exported_from": source.name}
        if arguments.reference is not None:
            provenance["reference"] = arguments.reference.name
        write_label_map(path, labels, provenance, overwrite=arguments.overwrite)
    _report(results, arguments)
    return 0


def _one_file_per_segment(out: Path, layers: list) -> dict:
    """Path to label map, for each segment of each layer."""
    from dataclasses import replace

    from SAMFinetuneLogic.imaging.labels import LabelMap

    suffix = full_suffix(out)
    stem = out.name.removesuffix(suffix)
    results: dict[Path, LabelMap] = {}
    for layer in layers:
        for segment in layer.segments:
            base = f"{stem}_{_file_name(segment.name)}"
            path, number = out.with_name(base + suffix), 2
            while path in results:
                path, number = out.with_name(f"{base}_{number}{suffix}"), number + 1
            voxels = layer.mask(segment.value).astype("uint8")
            results[path] = LabelMap(voxels, layer.ijk_to_ras, (replace(segment, value=1),))
    return results


def _file_name(segment_name: str) -> str:
    """A segment's name with nothing that a file system could object to."""
    return re.sub(r"[^\w.-]+", "_", segment_name).strip("._") or "segment"


def _report(results: dict, arguments: argparse.Namespace) -> None:
    if arguments.json:
        files = [{"path": str(path), "segments": voxel_counts(labels)} for path, labels in results.items()]
        print_json({"files": files})
        return
    for path, labels in results.items():
        print(f"{path}: {', '.join(segment.name for segment in labels.segments)}")
