"""Training the few-shot decoder on cached embeddings."""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from math import cos, inf, pi
from statistics import mean

import torch

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.fewshot.collection import SupportCollection, SupportModel, check_model
from SAMFinetuneLogic.fewshot.decoder import FewShotDecoder
from SAMFinetuneLogic.fewshot.episodes import EpisodeSource, targets_of
from SAMFinetuneLogic.fewshot.fit_record import FitRecord
from SAMFinetuneLogic.fewshot.fitted import FewShotModel, answer, new_decoder
from SAMFinetuneLogic.fewshot.guesses import estimator_of
from SAMFinetuneLogic.fewshot.objective import fewshot_loss, grid_dice
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.fewshot.views import SliceViews, encode_views
from SAMFinetuneLogic.models.device import choose_precision
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback, no_progress, raise_if_cancelled
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.predictor import SlicePredictor

_WARMUP_STEPS = 10
_CHECK_EVERY = 10
_MAX_NORM = 1.0


def fit(
    collection: SupportCollection,
    model: LoadedModel,
    settings: FitSettings | None = None,
    start: FewShotModel | None = None,
    cache: EmbeddingCache | None = None,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck | None = None,
) -> FewShotModel:
    """Fit the few-shot decoder to a collection.

    The encoder is frozen; each labelled slice and its augmented copies are encoded once (never again with a cache).
    With enough slices one of them is held out and decides when to stop, otherwise the loss does; the answer's targets
    and first guesses come from all of them.

    Args:
        collection: at least one slice on which something is labelled.
        model: that made the collection's embeddings; it is left unchanged.
        settings: None for ``start``'s, or the defaults.
        start: an earlier fit to continue, with fewer steps; classes are matched by their values.
        cache: shared between fits.
        progress: called after each encoded view and each step.
        cancelled: asked as often.

    Raises:
        InputError: nothing is labelled, or ``start`` has other options of the decoder.
        ModelError: the collection belongs to another model.
        Cancelled: ``cancelled`` said so; ``start`` is as it was.
    """
    settings = settings or (start.settings if start is not None else FitSettings())
    check_model(collection, model)
    if start is not None:
        start.check(model)
    if not any(entry.labels.any() for entry in collection.slices):
        raise InputError("Nothing is labelled in the collection; add a slice on which a structure is labelled.")
    planned = settings.steps if start is None else settings.warm_steps
    encodes = len(collection.slices) * (1 + settings.augmentations)

    began = time.perf_counter()
    views = encode_views(
        collection,
        model,
        settings,
        cache,
        progress=lambda done, _: progress(done, encodes + planned),
        cancelled=cancelled,
    )
    encoded = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        decoder = new_decoder(model, len(collection.classes), settings)
        if start is not None:
            _continue(decoder, collection, start)
        held = _held_out(collection, settings)
        training = _Training(decoder, views, held, settings, planned, model.device)
        training.run(lambda done: progress(encodes + done, encodes + planned), cancelled)
    record = FitRecord(
        steps=len(training.losses),
        losses=tuple(training.losses),
        held_out=None if held is None else collection.slices[held].title,
        held_out_dice=tuple(training.checks),
        seconds=(encoded - began, time.perf_counter() - encoded),
        slices=tuple(entry.title for n, entry in enumerate(collection.slices) if n != held),
        warm=start is not None,
    )
    return FewShotModel(
        decoder=decoder.eval().requires_grad_(False),
        support_model=SupportModel.of(model),
        classes=collection.classes,
        targets=targets_of([entry[0] for entry in views], settings, model.device),
        estimator=estimator_of(views, settings, model.device),
        mirror=training.source.mirror,
        predictor=SlicePredictor(model, cache),
        settings=settings,
        record=record,
        plane=collection.plane,
        window_name=collection.window_name,
    )


class _Training:
    """The loop; leaves the decoder with the weights of the best check, or the last ones without a held-out slice."""

    def __init__(
        self,
        decoder: FewShotDecoder,
        views: Sequence[SliceViews],
        held: int | None,
        settings: FitSettings,
        steps: int,
        device: torch.device,
    ) -> None:
        self.decoder, self.settings, self.steps, self.device = decoder, settings, steps, device
        learned = [entry for n, entry in enumerate(views) if n != held]
        self.source = EpisodeSource(learned, settings, device)
        self.check = None if held is None else self._make_check(learned, views[held])
        used = [parameter for parameter in decoder.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in used if p.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in used if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.used = used
        self.optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.99))
        # bf16 is at fp32's speed or worse where the processor has no units for it.
        self.half = choose_precision(device) == "bf16"
        self.losses: list[float] = []
        self.checks: list[tuple[int, float]] = []

    def run(self, progress: Callable[[int], None], cancelled: CancelCheck | None) -> None:
        best, best_state, waited = -inf, None, 0
        self.decoder.train()
        for step in range(self.steps):
            raise_if_cancelled(cancelled)
            if step % _CHECK_EVERY == 0:
                reached = self._reached(step)
                waited = 0 if reached > best else waited + 1
                if reached > best:
                    best, best_state = reached, None if self.check is None else deepcopy(self.decoder.state_dict())
                if waited > self.settings.patience:
                    break
            self.losses.append(self._step(step))
            progress(step + 1)
        if self.check is not None and len(self.losses) == self.steps:
            best_state = None if self._reached(self.steps) >= best else best_state
        if best_state is not None:
            self.decoder.load_state_dict(best_state)

    def _reached(self, step: int) -> float:
        """What has been reached before a step: Dice on the held-out slice, or without one how low the loss is."""
        if self.check is None:
            return -mean(self.losses[-_CHECK_EVERY:]) if self.losses else -inf
        dice = self.check()
        self.checks.append((step, dice))
        return dice

    def _step(self, step: int) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * _schedule(step, self.steps)
        episode = self.source.draw()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits = self.decoder(
                episode.embeddings, episode.targets.vectors, episode.targets.kinds, episode.guess, episode.guessed
            )
        loss = fewshot_loss(logits.float(), episode.fractions, self.settings.background)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.used, _MAX_NORM)
        self.optimiser.step()
        return float(loss.detach())

    def _make_check(self, learned: Sequence[SliceViews], held: SliceViews) -> Callable[[], float]:
        targets = targets_of([entry[0] for entry in learned], self.settings, self.device)
        estimator = estimator_of(learned, self.settings, self.device)
        embedding = held[0].embedding.to(self.device, torch.float32)
        guess = None if estimator is None else estimator.logits(embedding)[None]
        fractions = held[0].grids.fine.to(self.device)

        def check() -> float:
            logits = answer(self.decoder, embedding[None], targets, guess, self.settings)
            return grid_dice(logits[0], fractions)

        return check


def _schedule(step: int, steps: int) -> float:
    """Factor on the learning rate."""
    warmup = min(_WARMUP_STEPS, max(1, steps // 5))
    return min((step + 1) / warmup, 0.5 * (1 + cos(pi * step / steps)))


def _held_out(collection: SupportCollection, settings: FitSettings) -> int | None:
    """The middle one of the labelled slices, if there are enough: the ends are needed most."""
    labelled = [n for n, entry in enumerate(collection.slices) if entry.labels.any()]
    return labelled[len(labelled) // 2] if len(labelled) >= settings.hold_out_from else None


@torch.no_grad()
def _continue(decoder: FewShotDecoder, collection: SupportCollection, start: FewShotModel) -> None:
    """Take over an earlier fit's weights; classes that it did not know keep the checkpoint's."""
    earlier = start.decoder
    for name, part in decoder.named_children():
        if name != "hyper_networks":
            part.load_state_dict(getattr(earlier, name).state_dict())
    if decoder.anchor is not None and earlier.anchor is not None:
        decoder.anchor.copy_(earlier.anchor)
    decoder.target_types[0] = earlier.target_types[0]
    for n, segment in enumerate(collection.classes):
        if segment.value in start.values:
            before = start.values.index(segment.value)
            decoder.class_tokens[n] = earlier.class_tokens[before]
            decoder.target_types[n + 1] = earlier.target_types[before + 1]
            decoder.hyper_networks[n].load_state_dict(earlier.hyper_networks[before].state_dict())
