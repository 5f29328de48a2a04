"""Adapters that learned nothing: their weights are moved at random, so that their answers are not the base's."""

from pathlib import Path

import torch

from SAMFinetuneLogic.finetuning.adapt import adapt
from SAMFinetuneLogic.finetuning.adapter_files import save_adapter
from SAMFinetuneLogic.finetuning.strategy import Mode, Strategy
from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.models.loading import load_model


def save_random_adapter(
    checkpoint: Path, folder: Path, mode: Mode, segments: tuple[Segment, ...], window: Window, spread: float = 0.3
) -> Path:
    """An adapter of a checkpoint, made on the CPU; returns its folder."""
    base = load_model(str(checkpoint), "cpu")
    torch.manual_seed(3)
    adapted = adapt(base, Strategy.of("lora", "decoder"), mode, tuple(segment.name for segment in segments))
    with torch.no_grad():
        for parameter in adapted.trainable_state().values():
            parameter.add_(spread * torch.randn_like(parameter))
    record = {
        "values": [segment.value for segment in segments],
        "colors": [list(segment.color) for segment in segments],
        "windows": [window.to_dict()],
        "turned": mode == "automatic",
        "axes": ["k"],
        "slices": {},
        "scores": {},
    }
    save_adapter(adapted, folder, record)
    return folder
