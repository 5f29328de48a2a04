"""One training step: from a batch to a change of the trained weights."""

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from SAMFinetuneLogic.errors import ModelError, is_out_of_memory
from SAMFinetuneLogic.finetuning.adapt import Adapted
from SAMFinetuneLogic.finetuning.batches import Batch
from SAMFinetuneLogic.finetuning.checkpointing import checkpointed
from SAMFinetuneLogic.finetuning.episodes import CLICK, answer, corrected, corrections, first_prompts
from SAMFinetuneLogic.finetuning.half_layers import HalfLayers
from SAMFinetuneLogic.finetuning.losses import automatic_loss, overlaps, prompt_loss, shown
from SAMFinetuneLogic.finetuning.memory import use_less_memory
from SAMFinetuneLogic.finetuning.prefix_cache import PrefixCache
from SAMFinetuneLogic.finetuning.schedule import LoopSettings
from SAMFinetuneLogic.finetuning.tiny_numbers import tiny_numbers_are_zero
from SAMFinetuneLogic.models.device import DTYPES, choose_precision, release_cached
from SAMFinetuneLogic.models.loaded_model import LoadedModel

_CLIP = 1.0


class Stepper:
    """Holds the optimiser and takes steps.

    Args:
        adapted: what is trained.
        model: its base, for preprocessing, device and precision.
        settings: of the loop.
        plain: every layer at each step, as torch and peft come. For comparison: the same, more slowly.

    Attributes:
        accumulate: in how many parts a batch goes through the network; doubled when memory runs out.
        checkpointing: whether the encoder's blocks are computed anew on the way back; switched on when memory does not
            suffice for one slice.
        notices: sentences for the user, emptied by who reads them.
        halves: the layers in half precision.
    """

    def __init__(self, adapted: Adapted, model: LoadedModel, settings: LoopSettings, plain: bool = False) -> None:
        self.adapted, self.model, self.settings, self._plain = adapted, model, settings, plain
        self.device = model.device
        self.accumulate, self.checkpointing = settings.accumulate, settings.checkpointing
        self.notices: list[str] = []
        self.cache = PrefixCache()
        groups = [dict(group) for group in adapted.parameter_groups()]
        self._rates = [float(group["lr"]) for group in groups]
        # One pass over each weight instead of one for each operation.
        fused = True if self.device.type == "cpu" and not plain else None
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.999), fused=fused)
        # Training gains from half precision also where single slices are too little work for it.
        precision = choose_precision(self.device, settings.precision)
        self._dtype = DTYPES[precision]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self.halves = HalfLayers(adapted.network, self.device.type, torch.float32 if plain else self._dtype)
        self._trains_encoder = adapted.first_trained_block() is not None

    @property
    def keeps_prefix(self) -> bool:
        """Whether frozen layers come first whose answers are kept."""
        return not self._plain and self.adapted.starts_frozen

    def step(self, batch: Batch, number: int) -> dict[str, float]:
        """Take step ``number``; what happened: loss, Dice.

        Raises:
            ModelError: memory does not suffice for a single slice.
        """
        for group, rate in zip(self.optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * self.settings.rate(number)
        # Whatever is drawn inside of layers depends on the step alone, too.
        torch.manual_seed(self.settings.seed * 1_000_003 + number)
        while True:
            try:
                with self._quickly(), self._checkpointed():
                    return self._try(batch, number)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            # Outside of the handler, where the failed pass's tensors are free.
            self.optimiser.zero_grad(set_to_none=True)
            release_cached(self.device)
            instead = "train the decoder alone, or choose a smaller model"
            self.notices.append(use_less_memory(self, len(batch), instead, self._trains_encoder))

    def _try(self, batch: Batch, number: int) -> dict[str, float]:
        self.adapted.train_mode()
        self.optimiser.zero_grad(set_to_none=True)
        report: dict[str, float] = {}
        bounds = [round(n * len(batch) / self.accumulate) for n in range(self.accumulate + 1)]
        for start, stop in itertools.pairwise(bounds):
            if stop == start:
                continue
            share = (stop - start) / len(batch)
            part = batch.part(start, stop)
            generator = torch.Generator().manual_seed((self.settings.seed * 1_000_003 + number) * 64 + start)
            with self._autocast():
                loss, figures = self._loss(part, generator)
            if not torch.isfinite(loss):
                raise ModelError("Training diverged (the loss is not a number): lower the learning rate.")
            self.scaler.scale(loss * share).backward()
            for name, value in {"loss": loss.item(), **figures}.items():
                report[name] = report.get(name, 0.0) + value * share
        self.scaler.unscale_(self.optimiser)
        trained = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(trained, _CLIP)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return report

    def _loss(self, batch: Batch, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        embeddings = self._embeddings(batch)
        if self.adapted.mode == "automatic":
            logits = self.adapted.class_logits(embeddings).float()
            labels, content = batch.labels.to(self.device), batch.content.to(self.device)
            predicted = logits.detach().argmax(1)
            dice = _foreground_dice(predicted, labels, logits.shape[1])
            return automatic_loss(logits, labels, content), {"dice": dice}
        return self._prompt_loss(embeddings, batch, generator)

    def _prompt_loss(
        self, embeddings: torch.Tensor, batch: Batch, generator: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Learned from is one answer: mostly the first, else one after corrective clicks, to which those before lead.

        The decoder is the larger part of a step's work, so that learning from several answers would halve the steps.
        """
        repeats = self.settings.prompts
        targets = batch.targets.repeat_interleave(repeats, 0)
        embeddings = embeddings.repeat_interleave(repeats, 0)
        on_device = targets.to(self.device)
        half_pixels = self.model.preprocessing.coordinates != "sam"
        prompts, kinds = first_prompts(targets, generator)
        ambiguous = (kinds == CLICK).to(self.device)
        rounds = corrections(generator)
        for _ in range(rounds):
            with torch.no_grad():
                logits, iou = answer(self.adapted.network, embeddings, prompts, half_pixels)
            several = ambiguous & (not self.model.entry.single_mask_first)
            prompts = corrected(prompts, targets, shown(logits, iou, several).cpu(), generator)
            ambiguous = torch.zeros_like(ambiguous)
        logits, iou = answer(self.adapted.network, embeddings, prompts, half_pixels)
        several = ambiguous & (not self.model.entry.single_mask_first)
        dice = overlaps(shown(logits, iou, several), on_device)[1].mean().item()
        return prompt_loss(logits, iou, on_device, ambiguous), {"dice": dice}

    def _embeddings(self, batch: Batch) -> torch.Tensor:
        inputs = batch.inputs.to(self.device)
        if not self.keeps_prefix:
            return self.adapted.encode_rest(self.adapted.encode_prefix(inputs)).float()
        held = self.cache.get(list(batch.keys), inputs, self.adapted.encode_prefix)
        return self.adapted.encode_rest(held).float()

    @contextmanager
    def _quickly(self) -> Iterator[None]:
        with self.halves.used(keep=not self.checkpointing):
            if self._plain:
                yield
            else:
                with tiny_numbers_are_zero(self.device.type):
                    yield

    def _checkpointed(self) -> AbstractContextManager[Any]:
        return checkpointed(self.adapted.network.image_encoder, self.checkpointing)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self._dtype)


def _foreground_dice(predicted: torch.Tensor, labels: torch.Tensor, classes: int) -> float:
    """Mean Dice of the classes that occur, background left out."""
    scores = []
    for number in range(1, classes):
        first, second = predicted == number, labels == number
        if bool(second.any()):
            scores.append(2 * (first & second).sum().item() / (first.sum() + second.sum()).item())
    return sum(scores) / len(scores) if scores else 1.0
