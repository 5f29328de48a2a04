"""Other ways to say what is meant than prompts drawn into the image: tokens alone, or another slice as an example.

The few-shot decoder speaks to the network through tokens. How much they carry by themselves is measured here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.segmenter import ModelSegmenter, Segmenter, slice_prompts
from SAMFinetuneLogic.evaluation.targets import Target
from SAMFinetuneLogic.metrics import Box, Click
from SAMFinetuneLogic.prompting.candidates import Candidates

if TYPE_CHECKING:
    import torch

    from SAMFinetuneLogic.prompting.predictor import SlicePredictor

TOKENS, POOLED = "tokens", "pooled"
FORMS = (TOKENS, POOLED)

_TOKENS_BEFORE_EXAMPLES = 6
"""In training, pooled embeddings stand at the seventh and eighth place, after the slots of clicks and boxes."""


def open_tokens(segmenter: Segmenter, target: Target) -> "TokenSlice":
    """The target's slice, to be prompted by tokens alone.

    Raises:
        InputError: the segmenter is not a loaded model.
    """
    return TokenSlice(_loaded(segmenter).predictor, target)


def open_pooled(segmenter: Segmenter, target: Target) -> "PooledSlice | None":
    """The target's slice, prompted by its example; None if it has none.

    Raises:
        InputError: the segmenter is not a loaded model that reads pooled embeddings.
    """
    predictor = _loaded(segmenter).predictor
    if not hasattr(predictor.model.network.prompt_encoder, "embed_targets"):
        raise InputError(
            f"{predictor.model.entry.title} was not trained to read another slice's embedding; leave 'pooled' out of "
            "--prompting, or take the default model."
        )
    return None if target.example is None else PooledSlice(predictor, target, target.example)


def copied_example(target: Target) -> np.ndarray | None:
    """The example's mask in the same place: what needs no network; None for an image of another shape."""
    example = target.example
    return example.mask if example is not None and example.mask.shape == target.mask.shape else None


class TokenSlice:
    """Clicks and boxes reach the network as tokens alone: nothing is drawn into the dense embedding.

    Earlier masks are not fed back and small structures get no second look, since both are dense maps. In SAM's own
    models clicks and boxes always are tokens alone.
    """

    def __init__(self, predictor: "SlicePredictor", target: Target) -> None:
        self._predictor = predictor
        self._embedded = predictor.embed(target.slice_image)

    def predict(
        self, clicks: Sequence[Click] = (), box: Box | None = None, feedback: np.ndarray | None = None
    ) -> Candidates:
        from SAMFinetuneLogic.prompting.slice_prediction import predict_slice

        with _nothing_drawn(self._predictor.model.network.prompt_encoder):
            return predict_slice(self._predictor, self._embedded, slice_prompts(clicks, box), refine_small=False)


class PooledSlice:
    """The structure is shown on another slice: its mean embedding there, and that of all else, are the first prompt.

    Clicks and earlier masks that follow are given as always, besides these two tokens; without a second look at
    small structures.
    """

    def __init__(self, predictor: "SlicePredictor", target: Target, example: Target) -> None:
        self._predictor = predictor
        self._embedded = predictor.embed(target.slice_image)
        self._tokens = _pooled_tokens(predictor, example)

    def predict(
        self, clicks: Sequence[Click] = (), box: Box | None = None, feedback: np.ndarray | None = None
    ) -> Candidates:
        import torch

        transform, model = self._embedded.transform, self._predictor.model
        encoder: Any = model.network.prompt_encoder
        prompts = slice_prompts(clicks, box)
        with torch.inference_mode():
            coords = torch.as_tensor(transform.points_to_input(prompts.points), dtype=torch.float32)
            labels = torch.as_tensor(prompts.labels, dtype=torch.float32)
            boxes = torch.as_tensor(transform.boxes_to_input(prompts.boxes), dtype=torch.float32)
            masks = None if feedback is None else torch.as_tensor(feedback)[None, None].to(model.device)
            # A place that is "not a point" stands for no clicks: the encoder cannot be called with nothing.
            points = (coords, labels) if len(coords) else (torch.zeros(1, 2), torch.full((1,), -1.0))
            sparse, dense = encoder(
                points=(points[0][None].to(model.device), points[1][None].to(model.device)),
                boxes=boxes.to(model.device) if box is not None else None,
                masks=masks,
            )
            given = len(points[0]) + 2 * (box is not None)
            tokens = torch.cat([sparse[:, : max(given, _TOKENS_BEFORE_EXAMPLES)], self._tokens], dim=1)
            logits, predicted_iou = model.network.mask_decoder.predict_masks(
                image_embeddings=self._embedded.embedding.to(model.device),
                image_pe=encoder.get_dense_pe(),
                sparse_prompt_embeddings=tokens,
                dense_prompt_embeddings=dense,
            )
            logits = logits[0, :1].float()
            on_slice = transform.logits_to_slice(logits)
        return Candidates(on_slice.cpu().numpy(), logits.cpu().numpy(), predicted_iou[0, :1].float().cpu().numpy())


def _pooled_tokens(predictor: "SlicePredictor", example: Target) -> "torch.Tensor":
    """(1, 2, C): the mean embedding of the structure, then of all else, typed as the network was trained."""
    import torch

    from SAMFinetuneLogic.fewshot.grids import label_grids

    embedded = predictor.embed(example.slice_image)
    features = embedded.embedding[0]
    grid = (int(features.shape[1]), int(features.shape[2]))
    shares = label_grids(example.mask.astype(np.uint8), (1,), embedded.transform, grid).coarse.flip(0).to(features)
    encoder: Any = predictor.model.network.prompt_encoder
    with torch.inference_mode():
        weights = shares.flatten(1)
        pooled = weights @ features.flatten(1).T / weights.sum(1, keepdim=True).clamp(min=1e-3)
        kinds = torch.tensor([[1, 0]], device=features.device)
        return encoder.embed_targets(pooled[None], kinds)


@contextmanager
def _nothing_drawn(prompt_encoder: Any) -> Iterator[None]:
    draws = getattr(prompt_encoder, "draw_prompts", None)
    if draws is None:
        yield
        return
    prompt_encoder.draw_prompts = False
    try:
        yield
    finally:
        prompt_encoder.draw_prompts = draws


def _loaded(segmenter: Segmenter) -> ModelSegmenter:
    if not isinstance(segmenter, ModelSegmenter):
        raise InputError("Other forms of prompts speak to a model's network; give a loaded model.")
    return segmenter
