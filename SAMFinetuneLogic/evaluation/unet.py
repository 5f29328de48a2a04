"""The papers' comparator: a U-Net that knows nothing but the labelled slices. Needs MONAI."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import torch

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.baselines.optional import kept_out, optional_module
from SAMFinetuneLogic.finetuning.augmenting import RECOMMENDED, Augmentation
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet
from SAMFinetuneLogic.finetuning.losses import automatic_loss
from SAMFinetuneLogic.finetuning.views import ViewMaker
from SAMFinetuneLogic.models.preprocessing import SliceTransform
from SAMFinetuneLogic.models.preprocessing_rule import Preprocessing
from SAMFinetuneLogic.progress import CancelCheck, raise_if_cancelled
from SAMFinetuneLogic.prompting.slice_image import SliceImage

_WHOLE = replace(RECOMMENDED, closeups=0.0)


@dataclass(frozen=True)
class UNetSettings:
    """How the U-Net is built and trained.

    Attributes:
        size: side of the square input in pixels, to which a slice's longer side is scaled.
        channels: of the levels, each at half the resolution of the one before.
        residual_units: convolutions of each level.
        steps: of AdamW, the rate rising over the first tenth and falling to zero along a cosine.
        batch: slices a step.
        learning_rate: of AdamW.
        augmentation: as for adapters, but for close-ups: those belong to prompts.
        seed: the same seed gives the same network on the same machine.
    """

    size: int = 128
    channels: tuple[int, ...] = (16, 32, 64, 128)
    residual_units: int = 2
    steps: int = 300
    batch: int = 8
    learning_rate: float = 3e-3
    augmentation: Augmentation = _WHOLE
    seed: int = 0

    def __post_init__(self) -> None:
        factor = 2 ** (len(self.channels) - 1)
        if self.size % factor:
            raise InputError(f"The U-Net's size is {self.size}; it must be a multiple of {factor}.")

    @property
    def preprocessing(self) -> Preprocessing:
        """What its input looks like."""
        return Preprocessing("minmax", "longest_pad", self.size, "centre")

    @property
    def mask_size(self) -> tuple[int, int]:
        """Of its answer."""
        return self.size, self.size


@dataclass(frozen=True, eq=False)
class TrainedUNet:
    """A U-Net that names each pixel's class.

    Attributes:
        network: MONAI's.
        values: of the classes, in the order of its output after the background.
        settings: with which it was trained.
        seconds: of training.
    """

    network: Any
    values: tuple[int, ...]
    settings: UNetSettings
    seconds: float

    @property
    def parameters(self) -> int:
        """How many."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    @torch.inference_mode()
    def predict(self, image: SliceImage) -> np.ndarray:
        """Labels uint16 (rows, cols) of a slice."""
        transform = SliceTransform(image.shape, image.spacing, self.settings.preprocessing)
        inputs = transform.prepare(image.to_uint8())[None].to(next(self.network.parameters()).device)
        on_slice = transform.logits_to_slice(self.network(inputs)[0].float())
        return np.array([0, *self.values], dtype=np.uint16)[on_slice.argmax(0).cpu().numpy()]


def train_unet(
    data: LabelledSet,
    train: Sequence[int],
    settings: UNetSettings | None = None,
    cancelled: CancelCheck | None = None,
    device: torch.device | None = None,
) -> TrainedUNet:
    """Train a U-Net from random weights on the slices that an adapter learns from.

    Args:
        data: the slices.
        train: the numbers of those to learn from.
        device: CPU when None.

    Raises:
        InputError: MONAI is not installed, or nothing is labelled on the slices.
        Cancelled: on request.
    """
    with kept_out("itk"):  # MONAI imports it where it is installed; it takes seconds, and does not go with SimpleITK
        nets = optional_module("monai.networks.nets")
    settings = settings or UNetSettings()
    if not any(data.slices[number].labels.any() for number in train):
        raise InputError("Nothing is labelled on the slices to learn from; choose others.")
    device = device or torch.device("cpu")
    began = perf_counter()
    rng = np.random.default_rng(settings.seed)
    maker = ViewMaker(settings, data.values)
    entries = [maker.reduced(data.slices[number]) for number in train]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = nets.UNet(
            spatial_dims=2,
            in_channels=3,
            out_channels=1 + len(data.values),
            channels=settings.channels,
            strides=(2,) * (len(settings.channels) - 1),
            num_res_units=settings.residual_units,
        ).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=max(2, settings.steps), pct_start=0.1
    )
    network.train()
    for _ in range(settings.steps):
        raise_if_cancelled(cancelled)
        chosen = rng.integers(len(entries), size=settings.batch)
        views = [maker.augmented(entries[n], settings.augmentation, rng) for n in chosen]
        inputs = torch.stack([view.input for view in views]).to(device)
        masks = torch.stack([view.masks for view in views]).to(device)
        content = torch.stack([view.content for view in views]).to(device)
        numbers = torch.arange(1, masks.shape[1] + 1, device=device).view(1, -1, 1, 1)
        loss = automatic_loss(network(inputs), (masks * numbers).amax(1), content)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval().requires_grad_(False)
    return TrainedUNet(network, data.values, settings, perf_counter() - began)
