"""What the same network gives without this package's propagation: a box passed on, or a linear classifier."""

import numpy as np
import torch
import torch.nn.functional as F

from SAMFinetuneLogic.evaluation.baselines.slices import SliceTask
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.metrics import tight_box
from SAMFinetuneLogic.prompting.predictor import EmbeddedSlice, SlicePredictor
from SAMFinetuneLogic.prompting.slice_image import SliceImage

_RIDGE = 1e-2
_ROUNDS = 8
_BACKGROUND_CELLS = 4000


def box_to_box(task: SliceTask, predictor: SlicePredictor) -> np.ndarray:
    """The tight box of each mask prompts the next slice, outwards from the nearest annotated slice.

    It stops where nothing is found.
    """
    stack = task.drawn
    known = task.annotations.present(1)
    for direction in (1, -1):
        ordered = task.missing if direction == 1 else task.missing[::-1]
        for index in ordered:
            nearest = min(known, key=lambda other: (abs(other - index), other))
            previous = stack[index - direction] if 0 <= index - direction < len(stack) else None
            if (index - nearest) * direction < 0 or previous is None or not previous.any():
                continue
            embedded = _embed(task, predictor, index)
            stack[index] = predictor.predict(embedded, box=np.array(tight_box(previous))).mask
    return stack


def embedding_classifier(task: SliceTask, predictor: SlicePredictor) -> np.ndarray:
    """Logistic regression on the embeddings of the annotated slices, cell by cell; both classes weigh the same."""
    features, labels = [], []
    for index, mask in sorted(task.annotations.masks[1].items()):
        embedded = _embed(task, predictor, index)
        height, width = embedded.embedding.shape[-2:]
        prompt = embedded.transform.mask_to_prompt(mask, predictor.model.mask_size)
        inside = F.adaptive_avg_pool2d(torch.sigmoid(prompt), (height, width))[0].flatten()
        rows = embedded.embedding[0].flatten(1).T.cpu().double()
        generator = torch.Generator().manual_seed(index)
        chosen = torch.cat(
            [
                torch.nonzero(inside > 0.5).flatten(),
                torch.nonzero(inside < 0.1).flatten()[
                    torch.randperm(int((inside < 0.1).sum()), generator=generator)[:_BACKGROUND_CELLS]
                ],
            ]
        )
        features.append(rows[chosen])
        labels.append((inside[chosen] > 0.5).double())
    weights = _fit(torch.cat(features), torch.cat(labels))
    stack = task.drawn
    for index in task.missing:
        embedded = _embed(task, predictor, index)
        logits = torch.einsum("chw,c->hw", embedded.embedding[0].cpu().double(), weights[:-1]) + weights[-1]
        fine = F.interpolate(logits[None, None].float(), predictor.model.mask_size, mode="bilinear")[0]
        stack[index] = embedded.transform.logits_to_slice(fine)[0].numpy() > 0
    return stack


def _embed(task: SliceTask, predictor: SlicePredictor, index: int) -> EmbeddedSlice:
    return predictor.embed(SliceImage.of(task.volume, SliceIndex("k", index), task.window))


def _fit(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Weights and bias (C + 1,) of a ridge-penalised logistic regression, by Newton's method."""
    rows = torch.cat([features, torch.ones(len(features), 1, dtype=features.dtype)], dim=1)
    positive = labels.sum().clamp(min=1)
    negative = (len(labels) - labels.sum()).clamp(min=1)
    importance = torch.where(labels > 0, 0.5 / positive, 0.5 / negative)
    weights = torch.zeros(rows.shape[1], dtype=features.dtype)
    penalty = _RIDGE * torch.eye(len(weights), dtype=features.dtype)
    for _ in range(_ROUNDS):
        probability = torch.sigmoid(rows @ weights)
        gradient = rows.T @ (importance * (labels - probability)) - penalty @ weights
        curvature = (rows * (importance * probability * (1 - probability))[:, None]).T @ rows + penalty
        weights = weights + torch.linalg.solve(curvature, gradient)
    return weights
