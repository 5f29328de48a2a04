"""A fine-tuning strategy: which components of a model learn, by which algorithm, and with which options.

Paper A's strategies are backbone x components x algorithm (Gu et al., arXiv 2404.09957, section 3): ViT-H, ViT-B and
ViT-T times two times three makes its 18. A :class:`Strategy` is one of the six, for any backbone. Knows no torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.finetuning.presets import PRESETS

Components = Literal["decoder", "encoder_decoder"]
Algorithm = Literal["vanilla", "adapter", "lora"]
Preset = Literal["faithful", "recommended"]
Mode = Literal["prompts", "automatic"]
Projection = Literal["q", "k", "v", "out", "mlp"]
Whole = Literal["none", "outputs", "all"]
Background = Literal["learned", "zero"]

PAPER_BACKBONES = ("vit_h", "vit_b", "vit_t")
"""The backbones of paper A; every strategy also works with "vit_l", "vit_t_256" and "compact"."""


@dataclass(frozen=True)
class Strategy:
    """How a model is adapted. :meth:`of` fills the options from a preset.

    Attributes:
        components: "decoder": the mask decoder; "encoder_decoder": the image encoder too.
        algorithm: "vanilla": all weights of the components; "adapter": small bottlenecks beside and behind layers
            (Houlsby et al. 2019; Wu et al. 2023); "lora": low-rank changes of weights (Hu et al., arXiv 2106.09685).
        preset: where the options came from.
        rank, alpha: of LoRA. A change is scaled by alpha / rank, with ``rslora`` by alpha / sqrt(rank).
        rslora: rank-stabilised scaling (arXiv 2312.03732).
        dora: learn magnitude and direction apart (arXiv 2402.09353). Needs q, k and v together in ``projections``.
        projections: which linear layers get LoRA, in encoder and decoder alike: queries, keys, values, output
            projections, and the two layers of each MLP.
        convolutions: LoRA also on the encoder's convolutions (patch embedding and depth-wise ones excepted), and on
            those of the decoder that are not trained whole. The compact encoder's always get it: they are its body.
        adapter_ratio: width of an adapter's bottleneck, relative to the layer.
        zero_init: adapters start as the identity; otherwise at random, as in paper A.
        whole: what outside of the decoder's transformer is trained whole beside adapters or LoRA: "outputs" are the
            output tokens, their hyper-networks, the up-scaling and the IoU head. New output tokens always are.
        whole_rate: their learning rate, relative to ``learning_rate``.
        automatic_rate: in automatic mode, all learning rates are multiplied by it: the class outputs begin anew, and
            there are no answers to prompts that must not get worse.
        background: in automatic mode, "learned": an output channel of its own, as in paper A; "zero": the constant
            logit 0, against which the classes are told apart.
        frozen_fraction: share of the encoder's stages, from the input, that stay as they are. Their answers to a
            view can be kept, so that they are run once.
        learning_rate: of AdamW.
        layer_decay: vanilla only: each encoder stage learns slower than the next one by this factor (discriminative
            rates, Howard and Ruder, arXiv 1801.06146); 1 for the same rate everywhere.
        weight_decay: of AdamW.
        decay_all: also on biases, norms and tokens.
    """

    components: Components
    algorithm: Algorithm
    preset: Preset
    learning_rate: float
    weight_decay: float
    rank: int = 4
    alpha: float = 4.0
    rslora: bool = False
    dora: bool = False
    projections: tuple[Projection, ...] = ("q", "v")
    convolutions: bool = False
    adapter_ratio: float = 0.25
    zero_init: bool = True
    whole: Whole = "none"
    whole_rate: float = 1.0
    automatic_rate: float = 1.0
    background: Background = "learned"
    frozen_fraction: float = 0.0
    layer_decay: float = 1.0
    decay_all: bool = False

    def __post_init__(self) -> None:
        _require_one_of("components", self.components, Components)
        _require_one_of("algorithm", self.algorithm, Algorithm)
        _require_one_of("preset", self.preset, Preset)
        _require_one_of("whole", self.whole, Whole)
        _require_one_of("background", self.background, Background)
        for projection in self.projections:
            _require_one_of("projections", projection, Projection)
        if self.algorithm == "lora" and not self.projections:
            raise InputError("LoRA without projections changes nothing: name at least one of q, k, v, out, mlp.")
        if self.rank < 1 or self.rank != int(self.rank):
            raise InputError(f"The rank of LoRA is {self.rank}; it must be a whole number of at least 1.")
        for name in ("learning_rate", "alpha", "adapter_ratio", "whole_rate", "automatic_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"The strategy's {name} is {getattr(self, name)}; it must be above 0.")
        if not 0 < self.layer_decay <= 1:
            raise InputError(f"The strategy's layer_decay is {self.layer_decay}; it must be above 0 and at most 1.")
        if not self.weight_decay >= 0:
            raise InputError(f"The strategy's weight_decay is {self.weight_decay}; it must be at least 0.")
        if not 0 <= self.frozen_fraction < 1:
            raise InputError(f"The strategy's frozen_fraction is {self.frozen_fraction}; it must be in 0 to below 1.")
        if self.dora and not {"q", "k", "v"} <= set(self.projections):
            raise InputError("DoRA changes fused q, k and v together: name all three in projections, or leave it off.")

    @classmethod
    def of(
        cls,
        algorithm: Algorithm = "lora",
        components: Components = "encoder_decoder",
        preset: Preset = "recommended",
        **changes: Any,
    ) -> "Strategy":
        """A preset's strategy, with single options changed.

        Raises:
            InputError: unknown names, or options that do not fit together.
        """
        _require_one_of("algorithm", algorithm, Algorithm)
        _require_one_of("preset", preset, Preset)
        options = {**PRESETS[preset][algorithm], **changes}
        return cls.from_json({**options, "components": components, "algorithm": algorithm, "preset": preset})

    @property
    def name(self) -> str:
        """As "lora/encoder_decoder/recommended". Changed options do not show."""
        return f"{self.algorithm}/{self.components}/{self.preset}"

    @property
    def trains_encoder(self) -> bool:
        return self.components == "encoder_decoder"

    def to_json(self) -> dict[str, Any]:
        """Fit for JSON; :meth:`from_json` reads it back."""
        return {**asdict(self), "projections": list(self.projections)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Strategy":
        """Read what :meth:`to_json` gave.

        Raises:
            InputError: unknown or missing options, or values out of range.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(content) - known)
        if unknown:
            raise InputError(f"A strategy has no option '{unknown[0]}'; choose among {', '.join(sorted(known))}.")
        values = dict(content)
        if "projections" in values:
            values["projections"] = tuple(values["projections"])
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(f"The strategy is incomplete or of wrong types ({error}): write it anew.") from error


def all_strategies(preset: Preset = "recommended") -> tuple[Strategy, ...]:
    """The six strategies of each backbone: two components times three algorithms."""
    return tuple(
        Strategy.of(algorithm, components, preset)
        for components in get_args(Components)
        for algorithm in get_args(Algorithm)
    )


def parse_strategy(text: str, preset: Preset = "recommended") -> Strategy:
    """Read "lora", "lora-decoder", "lora-encoder-decoder" or "lora/encoder_decoder/faithful".

    Raises:
        InputError: no such strategy; the message lists them.
    """
    algorithm, _, rest = text.strip().lower().replace("/", "-").replace("_", "-").partition("-")
    for known in get_args(Preset):
        if rest == known or rest.endswith(f"-{known}"):
            preset, rest = known, rest[: -len(known)].rstrip("-")
    components = rest.replace("-", "_") or "encoder_decoder"
    if algorithm not in get_args(Algorithm) or components not in get_args(Components):
        names = ", ".join(f"{one.algorithm}-{one.components.replace('_', '-')}" for one in all_strategies())
        raise InputError(f"There is no strategy '{text}'; choose one of {names}.")
    return Strategy.of(algorithm, components, preset)  # type: ignore[arg-type]


def _require_one_of(name: str, value: Any, choices: Any) -> None:
    if value not in get_args(choices):
        raise InputError(f"The strategy's {name} cannot be '{value}'; choose among {', '.join(get_args(choices))}.")
