"""One training of the default model: network, optimiser, state on disk, and the training step."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from SAMFinetuneLogic.errors import InputError, ModelError
from SAMFinetuneLogic.models.checkpoint_files import read_checkpoint
from SAMFinetuneLogic.models.compact import COMPACT_CONFIG, build_compact_sam, resized
from SAMFinetuneLogic.models.tensor_files import write_state
from SAMFinetuneLogic.synthetic.batches import Batch
from SAMFinetuneLogic.synthetic.episodes import BOX, CLICK, OTHER_SLICE, Prompts, add_correction, first_prompts
from SAMFinetuneLogic.synthetic.objective import outline_loss, overlaps, round_loss

STATE_FILE = "state.pt"
_SIZE_STEP = 16
_OUTLINE_WEIGHT = 0.3
_LATER_ROUNDS = torch.tensor([0.45, 0.25, 0.2, 0.1])


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides what is learned; stored with the state and in the model's record."""

    size: int = 128
    fine_size: int = 0
    """Side of the finer input that half of the steps are made with, such as that of the look into a box; 0 for none."""
    pairs: int = 8
    targets: int = 2
    learning_rate: float = 1.5e-3
    warmup_steps: int = 200
    weight_decay: float = 0.02
    ema: float = 0.998
    seed: int = 0


class Trainer:
    """Holds the network in the working precision, its float32 weights, their moving average and the optimiser."""

    def __init__(
        self,
        folder: Path,
        settings: TrainingSettings,
        compiled: bool = False,
        device: torch.device | None = None,
        start: Path | None = None,
    ) -> None:
        """Build the network, or continue from the state in ``folder``.

        Args:
            folder: where the state lies or will lie.
            settings: what to train.
            compiled: compile encoder and decoder with ``torch.compile``.
            device: CPU when None.
            start: checkpoint that gives the weights of a training that has no state yet.

        Raises:
            InputError: an input size that the network cannot have.
            ModelError: ``start`` is not a checkpoint of this architecture.
        """
        for size in (settings.size, settings.fine_size or settings.size):
            if size < _SIZE_STEP or size % _SIZE_STEP:
                raise InputError(
                    f"The network's input cannot have {size} pixels a side: give a multiple of {_SIZE_STEP}."
                )
        device = device or torch.device("cpu")
        self.folder, self.settings, self.device = folder, settings, device
        self.config = {**COMPACT_CONFIG, "size": settings.size}
        torch.manual_seed(settings.seed)
        self.network = build_compact_sam(self.config).to(device)
        self.earlier: list[Any] = []
        if start is not None and not (folder / STATE_FILE).exists():
            self.earlier = _load_weights(self.network, start)
        self.weights = [
            p.detach().float().clone(memory_format=torch.contiguous_format) for p in self.network.parameters()
        ]
        self.average = [w.clone() for w in self.weights]
        self.optimisers = self._make_optimisers()
        position = self.network.prompt_encoder.pe_layer
        self.network.to(torch.bfloat16)
        position.float()
        self.step, self.seconds = 0, 0.0
        self.history: list[dict[str, float]] = []
        self.encode: Callable[..., torch.Tensor] = self.network.image_encoder.forward
        self.decode: Callable[..., tuple[torch.Tensor, torch.Tensor]] = self.network.mask_decoder.predict_masks
        if compiled:
            self.encode = torch.compile(self.encode, dynamic=False)
            self.decode = torch.compile(self.decode, dynamic=False)
        if self.state_file.exists():
            self._load()

    def _make_optimisers(self) -> list[torch.optim.Optimizer]:
        """Muon for the matrices (kernels count as matrices, output channels by the rest), AdamW for all else."""
        self._handles: dict[int, torch.Tensor] = {}
        matrices: list[torch.Tensor] = []
        vectors: list[torch.Tensor] = []
        for (name, _), weight in zip(self.network.named_parameters(), self.weights, strict=True):
            is_matrix = weight.ndim > 1 and weight[0].numel() > 16 and "embed" not in name and "_token" not in name
            handle = weight.view(weight.shape[0], -1) if is_matrix else weight
            self._handles[id(weight)] = handle
            (matrices if is_matrix else vectors).append(handle)
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        return [
            torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(vectors, lr=rate, weight_decay=0.0, betas=(0.9, 0.99)),
        ]

    @property
    def state_file(self) -> Path:
        return self.folder / STATE_FILE

    def save(self) -> None:
        """Write the state atomically; a kill at any moment leaves the state before or after it.

        Raises:
            OutputError: the folder cannot be written, or the disk is full.
        """
        state = {
            "settings": asdict(self.settings),
            "config": self.config,
            "weights": self.weights,
            "average": self.average,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "position": self.network.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.cpu(),
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "earlier": self.earlier,
        }
        write_state(self.state_file, state)

    def _load(self) -> None:
        state = torch.load(self.state_file, map_location=self.device, weights_only=True)
        with torch.no_grad():
            for mine, stored in zip(self.weights, state["weights"], strict=True):
                mine.copy_(stored)
            for mine, stored in zip(self.average, state["average"], strict=True):
                mine.copy_(stored)
        for optimiser, stored in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(stored)
        self.network.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.copy_(state["position"])
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]
        self.earlier = state.get("earlier", [])
        self._push_weights()

    @torch.no_grad()
    def _push_weights(self) -> None:
        for parameter, weight in zip(self.network.parameters(), self.weights, strict=True):
            parameter.copy_(weight)

    def _predict(self, embeddings: torch.Tensor, batch: Batch, prompts: Prompts) -> tuple[torch.Tensor, torch.Tensor]:
        encoder, device = resized(self.network, batch.images.shape[-1]).prompt_encoder, self.device
        coords, labels = prompts.coords.to(device), prompts.labels.to(device)
        tokens = encoder.embed_tokens(coords, labels)
        if bool(prompts.from_other_slice.any()):
            pooled = self._pooled_partner(embeddings, batch)
            use = prompts.from_other_slice.to(device)[:, None, None]
            tokens = torch.cat([tokens[:, :6], torch.where(use, pooled, tokens[:, 6:])], dim=1)
        maps = encoder.draw(coords, labels, prompts.mask_logits.to(device))
        keep = torch.ones(len(maps), 5)
        keep[:, :3] = prompts.drawn.float().unsqueeze(1)
        keep[:, 3:] = prompts.has_mask.float().unsqueeze(1)
        dense = encoder.embed_maps(maps * keep.to(device)[:, :, None, None])
        logits, iou = self.decode(embeddings, encoder.get_dense_pe(), tokens, dense)
        return logits.float(), iou.float()

    def _pooled_partner(self, embeddings: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Mean embedding of structure and of surroundings in the partner slice as two tokens (N, 2, C)."""
        masks = batch.of_partner(batch.targets).to(embeddings).unsqueeze(1)
        weights = functional.adaptive_avg_pool2d(masks, (embeddings.shape[-2], embeddings.shape[-1]))
        features = batch.of_partner(embeddings)
        both = torch.cat([weights, 1 - weights], 1).flatten(2)
        pooled = both @ features.flatten(2).transpose(1, 2) / (both.sum(-1, keepdim=True) + 1e-3)
        kinds = torch.tensor([1, 0], device=self.device).expand(len(masks), 2)
        return self.network.prompt_encoder.embed_targets(pooled, kinds)

    def train_step(self, batch: Batch, generator: torch.Generator, rate: float) -> dict[str, float]:
        """One step: the first prompt and one later round are learned from, those between only lead there."""
        images = batch.images.to(self.device, torch.bfloat16)
        targets = batch.targets.to(self.device)
        embeddings = self.encode(images).repeat_interleave(batch.targets_per_image, 0)
        prompts, kinds = first_prompts(batch, generator)
        logits, iou = self._predict(embeddings, batch, prompts)
        ambiguous = prompts.ambiguous.to(self.device)
        loss = self._loss(logits, iou, targets, ambiguous)
        shown = _shown_logits(logits, iou, ambiguous)
        first_dice = overlaps(shown, targets)[1].cpu()
        rounds = int(torch.multinomial(_LATER_ROUNDS, 1, generator=generator)) + 1
        for number in range(1, rounds + 1):
            prompts = add_correction(prompts, batch, shown, generator)
            with torch.set_grad_enabled(number == rounds):
                logits, iou = self._predict(embeddings, batch, prompts)
            shown = logits[:, :1].detach()
        loss = loss + self._loss(logits, iou, targets, prompts.ambiguous.to(self.device))
        last_dice = overlaps(shown, targets)[1].cpu()
        loss.backward()
        norm = self._update(rate)
        report = {"loss": loss.item(), "norm": norm, "dice_last": last_dice.mean().item()}
        for name, kind in (("click", CLICK), ("box", BOX), ("other", OTHER_SLICE)):
            if bool((kinds == kind).any()):
                report[f"dice_{name}"] = first_dice[kinds == kind].mean().item()
        return report

    @staticmethod
    def _loss(logits: torch.Tensor, iou: torch.Tensor, targets: torch.Tensor, ambiguous: torch.Tensor) -> torch.Tensor:
        outline = outline_loss(logits[:, 0], targets).mean()
        return round_loss(logits, iou, targets, ambiguous) + _OUTLINE_WEIGHT * outline

    @torch.no_grad()
    def _update(self, rate: float) -> float:
        used = []
        for parameter, weight in zip(self.network.parameters(), self.weights, strict=True):
            handle = self._handles[id(weight)]
            handle.grad = None if parameter.grad is None else parameter.grad.float().reshape(handle.shape)
            parameter.grad = None
            if handle.grad is not None:
                used.append(handle)
        norm = float(torch.nn.utils.clip_grad_norm_(used, 1.0))
        if np.isfinite(norm):
            for optimiser in self.optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = rate
                optimiser.step()
            # As the rate falls, the average forgets faster, so that it ends at the weights of the last steps.
            share = max(rate / self.settings.learning_rate, 0.2)
            decay = min(1 - (1 - self.settings.ema) / min(share, 1.0), (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(self.average, self.weights, 1 - decay)
            self._push_weights()
        self.step += 1
        return norm


def _shown_logits(logits: torch.Tensor, iou: torch.Tensor, ambiguous: torch.Tensor) -> torch.Tensor:
    """What a user would be shown (N, 1, S, S): the best-rated candidate of an ambiguous prompt, else the answer."""
    choice = torch.where(ambiguous, 1 + iou[:, 1:].argmax(1), 0)
    return logits.detach()[torch.arange(len(choice), device=choice.device), choice].unsqueeze(1)


@torch.no_grad()
def _load_weights(network: torch.nn.Module, checkpoint: Path) -> list[Any]:
    """Fill the network from a checkpoint; returns the records of the trainings that led to it, oldest first."""
    stored = read_checkpoint(checkpoint)
    try:
        network.load_state_dict(stored.state)
    except RuntimeError as error:
        raise ModelError(
            f"{checkpoint} is not a checkpoint of the default model: training cannot start with it."
        ) from error
    record = dict(stored.metadata.get("training", {}))
    earlier = record.pop("earlier", [])
    return [*earlier, record] if record else earlier
