"""What an evaluation needs of a model, and the product's own predictor behind it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from SAMFinetuneLogic.evaluation.targets import Target
from SAMFinetuneLogic.metrics import Box, Click
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.placement import SlicePrompts

if TYPE_CHECKING:
    from SAMFinetuneLogic.models.loaded_model import LoadedModel
    from SAMFinetuneLogic.prompting.predictor import SlicePredictor


class OpenedSlice(Protocol):
    """A slice that is ready for prompts."""

    def predict(
        self, clicks: Sequence[Click] = (), box: Box | None = None, feedback: np.ndarray | None = None
    ) -> Candidates:
        """The answer to all prompts so far; ``feedback`` is the ``mask_logits`` of the answer before."""
        ...


class Segmenter(Protocol):
    """Answers prompts on slices. Any class with these members can be evaluated."""

    @property
    def description(self) -> dict[str, Any]:
        """What it is, for the report; fit for JSON. Two segmenters that answer differently differ here."""
        ...

    def open(self, target: Target) -> OpenedSlice:
        """Encode the target's slice. The truth is not to be looked at."""
        ...


class ModelSegmenter:
    """A loaded model, prompted as the command and the module do it, second looks at small structures included.

    Args:
        model: from :func:`SAMFinetuneLogic.models.loading.load_model`.
    """

    def __init__(self, model: "LoadedModel") -> None:
        from SAMFinetuneLogic.prompting.cache import EmbeddingCache
        from SAMFinetuneLogic.prompting.predictor import SlicePredictor

        self._predictor = SlicePredictor(model, EmbeddingCache())

    @property
    def description(self) -> dict[str, Any]:
        from SAMFinetuneLogic.models.weights_hash import hash_weights

        model = self._predictor.model
        # The file alone does not tell: adapters and training change the weights in memory.
        weights = hash_weights(model.network)
        return {
            "id": model.entry.id,
            "sha256": model.weights_sha256,
            "weights": weights,
            "precision": str(model.precision),
        }

    @property
    def predictor(self) -> "SlicePredictor":
        """The model with its cache of embeddings."""
        return self._predictor

    def input_scale(self, target: Target) -> tuple[float, float]:
        """Pixels of the network's input per (row, column) of the target's slice."""
        from SAMFinetuneLogic.models.preprocessing import SliceTransform

        transform = SliceTransform(target.mask.shape, target.spacing, self._predictor.model.preprocessing)
        return float(transform.scale[0]), float(transform.scale[1])

    def open(self, target: Target) -> "_ModelSlice":
        return _ModelSlice(self._predictor, target)


class _ModelSlice:
    def __init__(self, predictor: Any, target: Target) -> None:
        self._predictor = predictor
        self._embedded = predictor.embed(target.slice_image)

    def predict(
        self, clicks: Sequence[Click] = (), box: Box | None = None, feedback: np.ndarray | None = None
    ) -> Candidates:
        from SAMFinetuneLogic.prompting.slice_prediction import predict_slice

        # After a first click the alternatives are offered, each as sharp as it will be shown.
        prompts, offered = slice_prompts(clicks, box), box is None and feedback is None
        return predict_slice(self._predictor, self._embedded, prompts, feedback, refine_alternatives=offered)


def slice_prompts(clicks: Sequence[Click], box: Box | None) -> SlicePrompts:
    """A simulated user's prompts as the product's predictor takes them."""
    return SlicePrompts(
        points=np.array([(click.row, click.col) for click in clicks], dtype=np.float64).reshape(-1, 2),
        labels=np.array([int(click.positive) for click in clicks], dtype=np.int64),
        boxes=np.array([box] if box is not None else [], dtype=np.float64).reshape(-1, 4),
    )
