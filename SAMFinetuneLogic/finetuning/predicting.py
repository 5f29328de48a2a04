"""Using an adapter: as a model for prompts, or on its own where it was trained for that."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.fewshot.fitted import SlicePrediction
from SAMFinetuneLogic.fewshot.planes import Plane
from SAMFinetuneLogic.fewshot.results import SliceConfidence, VolumeResult
from SAMFinetuneLogic.finetuning.adapt import Adapted
from SAMFinetuneLogic.finetuning.adapter_files import AdapterInfo, load_adapter, read_adapter
from SAMFinetuneLogic.finetuning.scoring import predicted
from SAMFinetuneLogic.imaging.axes import array_axis, resolve_axis
from SAMFinetuneLogic.imaging.labels import LabelMap, Segment
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window, choose_window
from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID, load_catalogue
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.loading import load_model
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback, no_progress, raise_if_cancelled

ADAPTER_OF_JOB = "adapter"


def adapter_folder(path: Path) -> Path:
    """The adapter's own folder; ``path`` may also be that of the job that made it.

    Raises:
        InputError: neither.
    """
    path = Path(path).expanduser()
    for folder in (path, path / ADAPTER_OF_JOB):
        if (folder / "adapter.json").is_file():
            return folder
    raise InputError(f"There is no adapter in {path}: give the folder of a job that is done, or its adapter folder.")


def load_adapted_model(path: Path, model: str = DEFAULT_MODEL_ID, device: str = "auto") -> LoadedModel:
    """A model with an adapter in it, to be prompted like any other.

    Args:
        path: see :func:`adapter_folder`.
        model: id or file of the base; the default stands for the base that the adapter names.
        device: see :func:`SAMFinetuneLogic.models.loading.load_model`.

    Returns:
        The model; its ``warnings`` say if the gate did not accept the adapter.

    Raises:
        InputError: no adapter, one without prompts, or one whose base is a file that ``model`` has to name.
        ModelError: the base is not on this machine, or is not the one that the adapter was made on.
    """
    adapted, info, base = open_adapter(path, model, device)
    if info.mode == "automatic":
        raise InputError("This adapter takes no prompts: use 'samfinetune predict IMAGE OUT --adapter ADAPTER'.")
    merged = adapted.merged()
    merged.warnings = [*base.warnings, *notices(info)]
    merged.adapter = describe(info)
    return merged


def open_adapter(path: Path, model: str, device: str) -> tuple[Adapted, AdapterInfo, LoadedModel]:
    """An adapter on its base; arguments and errors are those of :func:`load_adapted_model`."""
    folder = adapter_folder(path)
    info = read_adapter(folder)
    named = str(model)
    if named == DEFAULT_MODEL_ID and info.base_id:
        named = info.base_id
        if named not in load_catalogue():
            raise InputError(
                f"The adapter in {folder} was trained on {info.base_title}, a file of your own: name it with --model."
            )
    base = load_model(named, device)
    return load_adapter(base, folder), info, base


def describe(info: AdapterInfo) -> dict[str, Any]:
    """Which adapter it is, for the record of a result: strategy, classes, evidence and what it learned from."""
    scores = info.record.get("scores") or {}
    return {
        "strategy": info.strategy.name,
        "mode": info.mode,
        "classes": list(info.classes),
        "verdict": scores.get("verdict"),
        "gain": scores.get("gain"),
        "slices": info.record.get("slices"),
    }


def notices(info: AdapterInfo) -> list[str]:
    """What the user should know before trusting it."""
    scores = info.record.get("scores") or {}
    verdict = scores.get("verdict")
    if verdict == "refused":
        boxes = f", {scores['box_change']:+.3f} with boxes" if scores.get("box_change") is not None else ""
        figures = f"{scores['gain']:+.3f} Dice on held-out slices{boxes}"
        return [f"The gate refused this adapter ({figures}): it is used at your wish."]
    if verdict == "not enough evidence":
        return ["There was not enough evidence to judge this adapter: check what it gives."]
    return []


def predict_volume(
    adapted: Adapted,
    info: AdapterInfo,
    model: LoadedModel,
    volume: Volume,
    axis: str | None = None,
    window: str | None = None,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck | None = None,
) -> VolumeResult:
    """Segment every slice of an image without prompts.

    Args:
        axis: of the slices; None for the plane that the adapter learned from, axial, coronal or sagittal: that of most
            of its slices.
        window: its name; None for the kind of window that the adapter learned from.

    Raises:
        InputError: the adapter needs prompts.
        Cancelled: on request.
    """
    if info.mode != "automatic":
        raise InputError(
            "This adapter needs prompts: use 'samfinetune segment' with it, or train one with --mode automatic."
        )
    record = info.record
    chosen_axis = resolve_axis(axis or _learned_axis(record), volume.ijk_to_ras)
    chosen_window = choose_window(volume, window or _window_name(record["windows"]))
    values = tuple(int(value) for value in record["values"])
    colors = [tuple(color) for color in record["colors"]]
    segments = tuple(
        Segment(value, name, color) for value, name, color in zip(values, info.classes, colors, strict=True)
    )
    plane = Plane.of(volume, chosen_axis, chosen_window)
    voxels = np.zeros(volume.shape, dtype=np.uint16 if max(values) > 255 else np.uint8)
    by_slice = np.moveaxis(voxels, array_axis(chosen_axis), 0)
    found: list[SliceConfidence] = []
    adapted.eval_mode()
    for index in range(volume.slice_count(chosen_axis)):
        raise_if_cancelled(cancelled)
        shown = predicted(adapted, model, plane.image(index), values)
        prediction = SlicePrediction(plane.restore(shown.probabilities), values)
        by_slice[index] = prediction.labels
        found += prediction.on_slice(index)
        progress(index + 1, volume.slice_count(chosen_axis))
    labels = LabelMap(voxels, volume.ijk_to_ras, segments, name=volume.name)
    return VolumeResult(labels, chosen_axis, chosen_window, tuple(found))


def _learned_axis(record: Mapping[str, Any]) -> str:
    """The plane that most slices lay in; records of earlier versions know the voxel axis alone."""
    return str(next(iter(record.get("planes") or record["axes"]), "k"))


def _window_name(windows: Sequence[dict[str, object]]) -> str:
    """The kind of window, to be chosen anew on each image; a custom one is taken over as it is."""
    first = Window.from_dict(windows[0])
    if first.name == "custom":
        return f"{first.level:g}/{first.width:g}"
    return first.name
