"""A model made trainable by a strategy: what is frozen, what learns, and the way back to a model for prediction."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from SAMFinetuneLogic.errors import InputError, ModelError
from SAMFinetuneLogic.finetuning.adapter_layers import adapter_parameter_names, insert_adapters
from SAMFinetuneLogic.finetuning.automatic import NEW_PARTS, class_logits, give_class_outputs
from SAMFinetuneLogic.finetuning.encoder_stages import EncoderStages
from SAMFinetuneLogic.finetuning.lora import inject_lora, lora_parameter_names, merge_lora
from SAMFinetuneLogic.finetuning.strategy import Mode, Strategy
from SAMFinetuneLogic.models.loaded_model import LoadedModel

_TRANSFORMER = "mask_decoder.transformer."
_OUTPUTS = tuple(
    f"mask_decoder.{part}."
    for part in ("iou_token", "mask_tokens", "output_hypernetworks_mlps", "output_upscaling", "iou_prediction_head")
)


def adapt(model: LoadedModel, strategy: Strategy, mode: Mode = "prompts", classes: Sequence[str] = ()) -> "Adapted":
    """Make a copy of a model trainable; the model itself stays as it is.

    Args:
        model: the base.
        strategy: what is trained, and how.
        mode: "prompts" keeps the model interactive; "automatic" gives it one output a class.
        classes: their names, in the order of the outputs. Needed for "automatic"; kept as a record for "prompts".

    Raises:
        InputError: automatic mode without classes.
        ModelError: the model has no mask decoder.
    """
    if model.entry.encoder_only:
        raise ModelError(f"{model.entry.title} holds no mask decoder: choose another model as the base.")
    if mode == "automatic" and not classes:
        raise InputError("Automatic mode needs at least one class: label a structure first.")
    network = deepcopy(model.network)
    prepare_network(network, strategy, mode, len(classes))
    return Adapted(model, network, strategy, mode, tuple(classes))


def prepare_network(network: Any, strategy: Strategy, mode: Mode = "prompts", class_count: int = 0) -> None:
    """Change a ``Sam`` in place as a strategy says, and mark what is trainable. Works on the meta device, too."""
    if mode == "automatic":
        give_class_outputs(network, class_count + (strategy.background == "learned"))
    kept, whole = _kept_stages(network, strategy), _trained_whole(network, strategy, mode)
    if strategy.algorithm == "lora":
        inject_lora(network, strategy, kept, whole)
    elif strategy.algorithm == "adapter":
        insert_adapters(network, strategy, kept)
    new = new_parameter_names(network)
    for name, parameter in network.named_parameters():
        by_itself = name.startswith(whole) and ".base_layer." not in name and not name.startswith(kept)
        parameter.requires_grad_(name in new or by_itself)


def _kept_stages(network: Any, strategy: Strategy) -> tuple[str, ...]:
    """Prefixes of the names of the encoder's stages that stay as they are."""
    if not strategy.trains_encoder:
        return ("image_encoder.",)
    stages = EncoderStages(network.image_encoder)
    count = int(len(stages) * strategy.frozen_fraction)
    names = [name for stage in stages.names[:count] for name in stage]
    return tuple(f"image_encoder.{name}{end}" for name in names for end in (".", "")[: 2 if name == "pos_embed" else 1])


def _trained_whole(network: Any, strategy: Strategy, mode: Mode) -> tuple[str, ...]:
    """Prefixes of the names of pre-trained parts that are trained as they are."""
    if strategy.algorithm == "vanilla":
        return ("mask_decoder.", "image_encoder.")
    if strategy.whole == "all":
        # LoRA takes the projections that it is asked for, in the transformer; all else of the decoder is trained.
        names = [name for name, _ in network.mask_decoder.named_children() if name != "transformer"]
        parts = tuple(f"mask_decoder.{name}." for name in names)
        return (*parts, *_beside_lora(network, strategy))
    new = NEW_PARTS if mode == "automatic" else ()
    return (*new, *(_OUTPUTS if strategy.whole == "outputs" else ()))


def _beside_lora(network: Any, strategy: Strategy) -> tuple[str, ...]:
    """Names of the transformer's parameters that LoRA does not take."""
    asked = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "out_proj"}
    taken = {asked[part] for part in strategy.projections if part in asked} if strategy.algorithm == "lora" else set()
    found = []
    for name, _ in network.mask_decoder.transformer.named_parameters():
        words = name.split(".")
        in_mlp = "mlp" in words and strategy.algorithm == "lora" and "mlp" in strategy.projections
        if words[-2] not in taken and not in_mlp:
            found.append(_TRANSFORMER + name)
    return tuple(found)


def new_parameter_names(network: nn.Module) -> set[str]:
    """Names of the parameters that LoRA or adapters have added."""
    return lora_parameter_names(network) | adapter_parameter_names(network)


class Adapted:
    """A trainable copy of a model.

    Attributes:
        base: the model that it was made from.
        network: the copy, a ``Sam`` with the strategy's layers in it.
        strategy, mode, classes: as given to :func:`adapt`.
    """

    def __init__(
        self, base: LoadedModel, network: Any, strategy: Strategy, mode: Mode, classes: tuple[str, ...]
    ) -> None:
        self.base, self.network, self.strategy, self.mode, self.classes = base, network, strategy, mode, classes
        self.network.to(base.device)
        self._new = new_parameter_names(network)
        self._stages = EncoderStages(network.image_encoder)
        self._first = self._first_trained()
        self.eval_mode()

    def parameter_groups(self) -> list[dict[str, Any]]:
        """For an optimiser: parameters with their learning rate and weight decay.

        What is new learns at the strategy's rate, pre-trained parts at ``whole_rate`` of it; with vanilla the rate
        falls from the encoder's last stage to its first. In automatic mode all are multiplied by ``automatic_rate``.
        """
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                decays = self.strategy.decay_all or (parameter.ndim > 1 and "token" not in name)
                decay = self.strategy.weight_decay if decays else 0.0
                groups.setdefault((self._rate(name), decay), []).append(parameter)
        return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]

    def _rate(self, name: str) -> float:
        common = self.strategy.automatic_rate if self.mode == "automatic" else 1.0
        return common * self._relative_rate(name)

    def _relative_rate(self, name: str) -> float:
        strategy = self.strategy
        if name in self._new or (self.mode == "automatic" and name.startswith(NEW_PARTS)):
            return strategy.learning_rate
        if strategy.algorithm != "vanilla":
            return strategy.learning_rate * strategy.whole_rate
        if not name.startswith("image_encoder."):
            return strategy.learning_rate
        stage = self._stages.stage_of(name.removeprefix("image_encoder."))
        return strategy.learning_rate * strategy.layer_decay ** (len(self._stages) - stage)

    def trainable_state(self) -> dict[str, torch.Tensor]:
        """What training changes, by name: the trained parameters themselves, not copies."""
        return {name: parameter for name, parameter in self.network.named_parameters() if parameter.requires_grad}

    def load_trainable_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Raises ModelError if ``state`` belongs to another strategy or model."""
        mine = self.trainable_state()
        if mine.keys() != state.keys() or any(mine[name].shape != state[name].shape for name in mine):
            raise ModelError("The adapter's weights do not fit this model and strategy: train it anew on this model.")
        with torch.no_grad():
            for name, parameter in mine.items():
                parameter.copy_(state[name])

    def first_trained_block(self) -> int | None:
        """How many stages of the encoder, from the image's side, are frozen; None if all of it is."""
        return self._first

    @property
    def starts_frozen(self) -> bool:
        """Whether frozen stages come first, or all of the encoder is frozen."""
        return self._first is None or self._first > 0

    def _first_trained(self) -> int | None:
        trained = [
            self._stages.stage_of(name)
            for name, parameter in self.network.image_encoder.named_parameters()
            if parameter.requires_grad
        ]
        return min(trained) if trained else None

    def encode_prefix(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) prepared slices through the frozen part of the encoder."""
        if self._first is None:
            return self.network.image_encoder(images)
        return self._stages.run(images, 0, self._first)

    def encode_rest(self, hidden: torch.Tensor) -> torch.Tensor:
        """The answer of :meth:`encode_prefix` through the rest -> embeddings (B, C, h, w)."""
        if self._first is None:
            return hidden
        return self._stages.run(hidden, self._first, len(self._stages))

    def train_mode(self) -> None:
        """Training mode, but statistics of batch normalisation stay those of pre-training."""
        if self.network.training:
            return
        self.network.train()
        for module in self.network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()

    def eval_mode(self) -> None:
        self.network.eval()

    def class_logits(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Automatic mode: logits (B, 1 + classes, 4h, 4w); channel 0 is the background.

        Raises:
            ModelError: in prompt mode.
        """
        if self.mode != "automatic":
            raise ModelError("This adapter answers prompts and has no class outputs: train one in automatic mode.")
        return class_logits(self.network, embeddings, self.strategy.background == "learned")

    def merged(self) -> LoadedModel:
        """A model for prediction, apart from this one: LoRA is added to the weights, adapters stay beside them.

        ``encoder_key`` is the base's if the encoder was not trained, so that cached embeddings stay of use.
        """
        network = deepcopy(self.network)
        merge_lora(network)
        network.requires_grad_(False)
        base = self.base
        return LoadedModel(network, base.entry, base.weights_sha256, base.device, base.precision)

    def trainable_count(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.trainable_state().values())
