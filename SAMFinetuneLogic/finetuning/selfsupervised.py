"""Self-supervised continued pre-training: masked auto-encoding on unlabelled slices (paper A's set-up 3).

A part of each slice is hidden, and encoder and a light decoder learn to draw it from the rest. Settings are MAE's (He
et al., arXiv 2111.06377): three quarters of the patches hidden, each hidden patch normalised by its own mean and
variance, squared error on hidden patches alone, AdamW with betas 0.9 and 0.95. Paper A's own settings and code are
not public. Two things are ours: hidden patches are blanked rather than left out, since the windows and convolutions
of these encoders need the whole grid; and the learning rate is not scaled to MAE's batches of thousands.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from SAMFinetuneLogic.errors import InputError, is_out_of_memory
from SAMFinetuneLogic.finetuning.augmenting import Augmentation
from SAMFinetuneLogic.finetuning.checkpointing import checkpointed
from SAMFinetuneLogic.finetuning.determinism import same_numbers_each_time
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet, LabelledSlice
from SAMFinetuneLogic.finetuning.loop import Listener, TrainingRecord, ignore
from SAMFinetuneLogic.finetuning.memory import use_less_memory
from SAMFinetuneLogic.finetuning.training_state import STARTS_ANEW, TrainingState, has_state, load_state, save_state
from SAMFinetuneLogic.finetuning.views import ViewMaker
from SAMFinetuneLogic.imaging.axes import Axis, SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.models.device import release_cached
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.progress import CancelCheck, raise_if_cancelled
from SAMFinetuneLogic.prompting.slice_image import SliceImage

_LOOKS = Augmentation(rotation=15, zoom=(0.8, 1.6), shift=0.1, contrast=0.2, brightness=0.1, gamma=1.3, noise=0)
_PATCHES_PER_SIDE = 16
"""Of encoders that have no patches of their own."""


@dataclass(frozen=True)
class PretrainSettings:
    """Settings of masked auto-encoding; the defaults are MAE's where MAE has one.

    Attributes:
        steps, epoch_steps: how long, and how often a checkpoint is written.
        batch: slices a step.
        mask_ratio: share of the patches that is hidden.
        learning_rate, weight_decay: of AdamW, after ``warmup`` steps; it falls to zero as a cosine.
        seed: the same seed gives the same encoder.
    """

    steps: int = 400
    epoch_steps: int = 25
    batch: int = 8
    mask_ratio: float = 0.75
    learning_rate: float = 1.5e-4
    weight_decay: float = 0.05
    warmup: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio < 1:
            raise InputError(f"The share of hidden patches is {self.mask_ratio}; it must lie between 0 and 1.")

    def rate(self, step: int) -> float:
        """Factor of the learning rate at a step, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 0.5 * (1 + float(np.cos(np.pi * (step - self.warmup) / max(1, self.steps - self.warmup))))


def unlabelled_slices(
    volume: Volume, window: Window, axis: Axis = "k", indices: Sequence[int] | None = None
) -> LabelledSet:
    """Slices of an image, all of them by default, as a set without labels. Slices of one value are left out.

    Raises:
        GeometryError: an index outside of the image.
    """
    chosen = range(volume.slice_count(axis)) if indices is None else sorted(set(indices))
    slices = []
    for index in chosen:
        where = SliceIndex(axis, int(index))
        image = SliceImage.of(volume, where, window)
        pixels = image.to_uint8()
        if pixels.min() < pixels.max():
            labels = np.zeros(image.shape, dtype=np.uint16)
            slices.append(LabelledSlice(pixels, labels, image.spacing, 0, where))
    return LabelledSet(tuple(slices), (), (volume.name,), (window,))


class LightDecoder(nn.Module):
    """Embedding (B, C, h, w) -> pixels (B, 3, S, S): two convolutions, and the pixels of each position.

    Args:
        channels: of the embedding.
        stride: input pixels between two positions.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        width = max(16, channels // 2)
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, 3 * stride * stride, 1)
        )
        self.stride = stride

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(self.body(embedding), self.stride)


def pretrain(
    model: LoadedModel,
    data: LabelledSet,
    settings: PretrainSettings,
    checkpoints: Path | None = None,
    listener: Listener = ignore,
    cancelled: CancelCheck | None = None,
) -> tuple[Any, TrainingRecord]:
    """Go on training the encoder without labels; ``model`` stays as it is.

    Args:
        data: from :func:`unlabelled_slices`; labels are not looked at.
        checkpoints: folder from which an interrupted call goes on to the same result.

    Returns:
        A copy of the network with the new encoder, and what happened.

    Raises:
        InputError: no slices.
        ModelError: memory does not suffice for a single slice.
        OutputError: the checkpoint cannot be written.
        Cancelled: on request.
    """
    if not data.slices:
        raise InputError("There are no slices to learn from: give images with content.")
    torch.manual_seed(settings.seed)
    network = deepcopy(model.network)
    network.requires_grad_(False)
    encoder = network.image_encoder
    encoder.requires_grad_(True)
    channels, height, _ = model.embedding_shape
    decoder = LightDecoder(channels, model.preprocessing.size // height).to(model.device)
    learned = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
    optimiser = _optimiser(learned, settings)
    plan = _plan_of(model, data, settings)
    state = (load_state(checkpoints, plan) if checkpoints is not None else None) or TrainingState(plan)
    losses: list[float] = []
    notices: list[str] = []
    if state.step:
        learned.load_state_dict(state.weights)
        optimiser.load_state_dict(state.optimiser)
    elif checkpoints is not None and has_state(checkpoints):
        notices.append(STARTS_ANEW)
        listener({"event": "notice", "text": STARTS_ANEW})
    resumed_at, started, before = state.step, time.monotonic(), state.seconds
    listener({"event": "start", "step": state.step, "steps": settings.steps, "history": list(state.history)})
    maker = ViewMaker(model, (0,))
    slices = [maker.reduced(entry) for entry in data.slices]
    half = model.precision == "bf16"  # where that makes it faster; weights and loss stay in full precision
    with same_numbers_each_time():
        while state.step < settings.steps:
            raise_if_cancelled(cancelled)
            inputs, content = _batch(slices, maker, settings, state.step)
            inputs = inputs.to(model.device)
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * settings.rate(state.step)
            learned.train()
            _freeze_statistics(learned)
            generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + state.step)
            hidden = hidden_patches(len(inputs), _patches(model), settings.mask_ratio, generator)
            while (loss := _gradients(learned, inputs, content, hidden, state, half)) is None:
                release_cached(model.device)
                text = use_less_memory(state, len(inputs), "or choose a smaller model")
                notices.append(text)
                listener({"event": "notice", "text": text})
            torch.nn.utils.clip_grad_norm_(learned.parameters(), 1.0)
            optimiser.step()
            state.step += 1
            state.seconds = before + time.monotonic() - started
            losses.append(loss)
            listener(
                {
                    "event": "step",
                    "step": state.step,
                    "steps": settings.steps,
                    "seconds": state.seconds,
                    "loss": losses[-1],
                }
            )
            if state.step % settings.epoch_steps == 0 or state.step == settings.steps:
                line = {"step": float(state.step), "loss": round(float(np.mean(losses)), 5)}
                state.history.append(line)
                losses = []
                if checkpoints is not None:
                    state.weights = {name: tensor.detach().cpu() for name, tensor in learned.state_dict().items()}
                    state.optimiser = optimiser.state_dict()
                    save_state(checkpoints, state)
                listener({"event": "epoch", **line, "seconds": state.seconds})
    network.eval().requires_grad_(False)
    record = TrainingRecord(
        state.step, state.step, tuple(state.history), state.seconds, False, resumed_at, tuple(notices)
    )
    return network, record


def _optimiser(learned: nn.Module, settings: PretrainSettings) -> torch.optim.Optimizer:
    groups = [
        {"params": [p for p in learned.parameters() if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in learned.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95))


def _gradients(
    learned: nn.ModuleDict,
    inputs: torch.Tensor,
    content: torch.Tensor,
    hidden: torch.Tensor,
    state: TrainingState,
    half: bool,
) -> float | None:
    """Add up the gradients of a batch that goes through in parts; the loss, or None if memory ran out.

    Args:
        state: how the batch goes through: in how many parts, and with checkpointing or without.
        half: with bf16 in the network.
    """
    encoder, decoder = learned["encoder"], learned["decoder"]
    learned.zero_grad(set_to_none=True)
    total = 0.0
    try:
        for rows in torch.arange(len(inputs)).tensor_split(state.accumulate):
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            share = len(rows) / len(inputs)
            with checkpointed(encoder, state.checkpointing):
                with torch.autocast(inputs.device.type, torch.bfloat16, enabled=half):
                    loss = reconstruction_loss(encoder, decoder, inputs[part], content[part], hidden[part])
                (share * loss).backward()
            total += share * loss.item()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None
    return total


def hidden_patches(count: int, side: int, ratio: float, generator: torch.Generator) -> torch.Tensor:
    """bool (count, 1, side, side): which patches are hidden, the same number in each."""
    number = round(ratio * side * side)
    order = torch.rand(count, side * side, generator=generator).argsort(1)
    return (order < number).view(count, 1, side, side)


def reconstruction_loss(
    encoder: nn.Module, decoder: nn.Module, inputs: torch.Tensor, content: torch.Tensor, hidden: torch.Tensor
) -> torch.Tensor:
    """Squared error on hidden patches, each normalised by its own mean and variance.

    Args:
        inputs: (B, 3, S, S).
        content: bool (B, h, w): patches of padding do not count.
        hidden: bool (B, 1, n, n) with n patches a side.
    """
    size, side = inputs.shape[-1], hidden.shape[-1]
    hidden = hidden.to(inputs.device)
    blank = F.interpolate(hidden.float(), (size, size), mode="nearest")
    drawn = decoder(encoder(inputs * (1 - blank)))
    truth, guess = (_patch_rows(pixels, side) for pixels in (inputs, drawn.float()))
    mean, variance = truth.mean(2, keepdim=True), truth.var(2, keepdim=True)
    error = (guess - (truth - mean) / (variance + 1e-6).sqrt()).square().mean(2)
    seen = F.adaptive_avg_pool2d(content.float().unsqueeze(1).to(inputs.device), side) > 0.5
    counted = (hidden & seen).flatten(1).to(error.dtype)
    return (error * counted).sum() / counted.sum().clamp(min=1)


def _patch_rows(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """(B, C, S, S) -> (B, side * side, C * patch * patch)."""
    return F.pixel_unshuffle(pixels, pixels.shape[-1] // side).flatten(2).transpose(1, 2)


def _patches(model: LoadedModel) -> int:
    """Patches a side: those of a ViT, else a fixed number."""
    embed = getattr(model.network.image_encoder, "patch_embed", None)
    projection = getattr(embed, "proj", None)
    if projection is not None:
        return model.preprocessing.size // int(projection.stride[0])
    return _PATCHES_PER_SIDE


def _batch(
    slices: Sequence[LabelledSlice], maker: ViewMaker, settings: PretrainSettings, step: int
) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng([settings.seed, step])
    chosen = rng.integers(len(slices), size=settings.batch)
    views = [maker.augmented(slices[number], _LOOKS, rng) for number in chosen]
    return torch.stack([view.input for view in views]), torch.stack([view.content for view in views])


def _freeze_statistics(module: nn.Module) -> None:
    """Batch normalisation keeps the statistics of pre-training: hidden patches would spoil them."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


def _plan_of(model: LoadedModel, data: LabelledSet, settings: PretrainSettings) -> str:
    digest = hashlib.sha256(json.dumps([model.weights_sha256, asdict(settings)], sort_keys=True).encode())
    for entry in data.slices:
        digest.update(entry.image.content_hash.encode())
    return digest.hexdigest()
