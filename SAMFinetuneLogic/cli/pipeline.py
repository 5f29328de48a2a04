"""From a volume and prompts to files: what `segment` and `demo` share."""

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SAMFinetuneLogic import __version__
from SAMFinetuneLogic.cli.reporting import notice, progress_bar
from SAMFinetuneLogic.imaging.axes import resolve_axis
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import choose_window
from SAMFinetuneLogic.imaging.writing import write_label_map
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.pictures.segmentation import segmentation_picture
from SAMFinetuneLogic.pictures.sheet import save_picture
from SAMFinetuneLogic.prompting.placement import slices_of
from SAMFinetuneLogic.prompting.prompts import SegmentPrompts
from SAMFinetuneLogic.prompting.segmentation import SegmentationResult, default_axis, segment_volume
from SAMFinetuneLogic.synthetic.phantom_prompts import prompted_dice


@dataclass(frozen=True, eq=False)
class Request:
    """What to segment, with what, and where to write it.

    Attributes:
        axis: i, j, k, axial, coronal, sagittal, or None for the prompts' own.
        truth: on the grid of the image, where it is known.
    """

    prompts: Sequence[SegmentPrompts]
    out: Path
    picture: Path | None
    axis: str | None
    window: str
    model: LoadedModel
    truth: LabelMap | None = None


def check_request(volume: Volume, prompts: Sequence[SegmentPrompts], axis: str | None, window: str) -> None:
    """Refuse what does not fit the volume before a model is loaded.

    Raises:
        InputError: an unknown axis or window, or boxes that disagree on the axis.
        GeometryError: a prompt outside of the volume.
    """
    chosen = default_axis(volume, prompts) if axis is None else resolve_axis(axis, volume.ijk_to_ras)
    choose_window(volume, window)
    for entry in prompts:
        for prompt in entry.prompts:
            slices_of(volume, prompt, chosen)


def segment_to_files(volume: Volume, request: Request, arguments: argparse.Namespace) -> dict[str, Any]:
    """Segment, write the label map, its sidecar and the picture; returns what `--json` prints.

    Args:
        arguments: `quiet` and `overwrite` are used.
    """
    model = request.model
    with progress_bar(model.description, arguments) as progress:
        result = segment_volume(volume, request.prompts, model, request.axis, request.window, progress=progress)
    # Only now: bad input shall be answered by one line alone.
    notice(f"Model: {model.description}", arguments)
    for text in (*model.warnings, *result.notices):
        notice(f"Note: {text}", arguments)
    dice = None
    if request.truth is not None:
        exact = prompted_dice(result.labels, request.truth, volume, request.prompts, result.axis)
        dice = {name: round(value, 4) for name, value in exact.items()}
    sidecar = write_label_map(
        request.out, result.labels, _provenance(volume, request, model, result), overwrite=arguments.overwrite
    )
    files = [request.out, sidecar]
    if request.picture is not None:
        title = f"{volume.name}    {model.entry.title}    {_window_text(result)}"
        page = segmentation_picture(
            volume, result.labels, request.prompts, result.axis, result.window, title, dice, request.truth
        )
        save_picture(page, request.picture, overwrite=arguments.overwrite)
        files.append(request.picture)
    return {
        "output": str(request.out),
        "files": [str(path) for path in files],
        "model": {"id": model.entry.id, "sha256": model.weights_sha256, "device": str(model.device)},
        "axis": result.axis,
        "window": result.window.to_dict(),
        "segments": _segments(request.prompts, result, dice),
        "notices": [*model.warnings, *result.notices],
    }


def _segments(
    prompts: Sequence[SegmentPrompts], result: SegmentationResult, dice: dict[str, float] | None
) -> list[dict[str, Any]]:
    segments = []
    for entry in prompts:
        value, name = entry.segment.value, entry.segment.name
        scores = [score for score in result.scores if score.value == value]
        segment: dict[str, Any] = {
            "value": value,
            "name": name,
            "voxels": int(result.labels.mask(value).sum()),
            "slices": len(scores),
            "predicted_iou": round(float(np.mean([score.predicted_iou for score in scores])), 4),
        }
        if dice is not None:
            segment["dice"] = dice[name]
        segments.append(segment)
    return segments


def _window_text(result: SegmentationResult) -> str:
    window = result.window
    return f"window {window.name} ({window.lower:g} to {window.upper:g})"


def _provenance(volume: Volume, request: Request, model: LoadedModel, result: SegmentationResult) -> dict[str, Any]:
    """How the result came about; nothing about the patient."""
    voxels_sha256 = hashlib.sha256(np.ascontiguousarray(volume.voxels).data).hexdigest()
    return {
        "software": f"SAMFinetune {__version__}",
        "image": {"name": volume.name, "shape_kji": list(volume.shape), "voxels_sha256": voxels_sha256},
        "model": model.provenance,
        "device": {"name": str(model.device), "precision": model.precision},
        "axis": result.axis,
        "slices": list(result.slices),
        "window": result.window.to_dict(),
        "prompts": [
            {"value": entry.segment.value, "prompts": [prompt.to_dict() for prompt in entry.prompts]}
            for entry in request.prompts
        ],
    }
