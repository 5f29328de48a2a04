"""How a few-shot decoder is built and trained. Knows no torch."""

from dataclasses import dataclass
from typing import Literal

from SAMFinetuneLogic.errors import InputError

TargetPooling = Literal["mean", "slices", "components", "prototypes"]
DenseInput = Literal["none", "prototypes", "classifier"]
Background = Literal["softmax", "sigmoid"]
Purpose = Literal["same_images", "other_images"]
Mirror = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class FitSettings:
    """The options of :func:`SAMFinetuneLogic.fewshot.fitting.fit`.

    The source paper's abstract says: embeddings of labelled regions are the prompts, the mask decoder is reformulated
    to query an image with them and is the only part that is trained, embeddings are cached. Everything more precise
    is this project's reconstruction, and an option where another reading is plausible.

    Attributes:
        targets: which target embeddings become tokens. "mean": one a class over all support slices, and one of the
            background; "slices": one a class (and background) for each support slice; "components": one for each
            connected component of each class instead; "prototypes": the centres of k-means over the class's pixels.
        prototypes: k of k-means, for "prototypes" tokens and for the "prototypes" dense input.
        background: "softmax": classes exclude each other, and the background is the reference with logit 0;
            "sigmoid": each class is decided on its own.
        dense: what is fed through SAM's mask prompt beside the tokens. "none": nothing, as in SAM without a mask;
            "prototypes": cosine similarity to prototypes; "classifier": a logistic regression on the embedding.
            Both are calibrated on the support slices, and, in training, only on others than the queried one.
        anchored: the guess's logits are added to the answer, so that the decoder learns to correct the guess.
        blind: share of the queries that are not shown their first guess in training, so that the decoder does not
            lean on it alone. If above 0, an answer is the mean of the logits with and without the guess.
        purpose: where the slices to segment come from. "same_images": from those of the labelled slices, as when a
            volume is filled in; copies vary little, and the classifier is learned from slices and copies at once.
            "other_images": from other patients and scanners; half of the copies vary more, in size, proportions,
            place, contrast and shading, and the classifier is the mean of one learned from the slices as they are,
            which knows usual places and sizes, and one learned from the copies, which does not rely on them.
        mirror: with "other_images", the first guess on a slice is the mean of that on the slice and of that on its
            mirror image, weighted by how well they find each class on labelled slices. It costs a second encoding:
            "auto" is "always" with the default model, whose encoder takes less time than its decoder, and "never" with
            others, with which an answer would take twice as long.
        augmentations: transformed copies of each labelled slice whose embeddings are cached beside the plain one.
        flips: mirror half of these. Off where left and right matter.
        steps: of the optimiser in a fresh fit; a warm start takes ``warm_steps``.
        batch: queried views in a step.
        learning_rate: of AdamW, after a short warm-up, falling to zero along a cosine.
        weight_decay: of AdamW.
        hold_out_from: with at least so many labelled slices, one is held out and decides when to stop. With fewer,
            each is needed, and the loss decides.
        patience: checks (every 10 steps) without gain on the held-out slice, or without one in the mean loss since the
            check before, until training stops.
        seed: equal seeds give equal decoders on one machine.
    """

    targets: TargetPooling = "slices"
    prototypes: int = 4
    background: Background = "softmax"
    dense: DenseInput = "classifier"
    anchored: bool = True
    blind: float = 0.0
    purpose: Purpose = "same_images"
    mirror: Mirror = "auto"
    augmentations: int = 8
    flips: bool = False
    steps: int = 120
    warm_steps: int = 30
    batch: int = 4
    learning_rate: float = 5e-4
    weight_decay: float = 0.02
    hold_out_from: int = 6
    patience: int = 4
    seed: int = 0

    def looks_twice(self, backbone: str) -> bool:
        """Whether mirror images are encoded too, with a model of this architecture."""
        if self.purpose != "other_images" or self.dense == "none":
            return False
        return self.mirror == "always" or (self.mirror == "auto" and backbone == "compact")

    def __post_init__(self) -> None:
        positive = ("prototypes", "steps", "warm_steps", "batch", "learning_rate", "patience")
        for name in positive:
            if not getattr(self, name) > 0:
                raise InputError(f"The few-shot setting {name} is {getattr(self, name)}; it must be above 0.")
        if not self.weight_decay >= 0:
            raise InputError(f"The few-shot setting weight_decay is {self.weight_decay}; it must be at least 0.")
        if not 0 <= self.blind < 1:
            raise InputError(f"The few-shot setting blind is {self.blind}; it must be at least 0 and below 1.")
        if self.augmentations < 0 or self.hold_out_from < 2:
            raise InputError("Few-shot settings: augmentations must be at least 0, and hold_out_from at least 2.")
