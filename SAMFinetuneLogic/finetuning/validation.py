"""How good an adapter in training is on slices that it does not learn from, quickly: on the network's own grid."""

import torch

from SAMFinetuneLogic.finetuning.adapt import Adapted
from SAMFinetuneLogic.finetuning.episodes import CLICK, answer, first_prompts
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet
from SAMFinetuneLogic.finetuning.losses import overlaps, shown
from SAMFinetuneLogic.finetuning.views import ViewMaker
from SAMFinetuneLogic.models.loaded_model import LoadedModel


@torch.no_grad()
def validation_dice(adapted: Adapted, model: LoadedModel, data: LabelledSet, maker: ViewMaker) -> float:
    """Mean Dice over the classes of their mean over slices, background left out.

    Prompt mode: one click in the middle of the structure. Automatic mode: a class that is drawn where there is none
    counts as 0, an empty answer on an empty slice as 1.
    """
    adapted.eval_mode()
    by_class: list[list[float]] = [[] for _ in data.values]
    for entry in data.slices:
        small = maker.reduced(entry)
        view = maker.plain(small)
        embedding = adapted.encode_rest(adapted.encode_prefix(view.input[None].to(model.device))).float()
        if adapted.mode == "automatic":
            found = adapted.class_logits(embedding)[0].argmax(0).cpu()
            for kind, scores in enumerate(by_class):
                predicted, truth = found == kind + 1, view.masks[kind]
                total = int(predicted.sum() + truth.sum())
                scores.append(2 * int((predicted & truth).sum()) / total if total else 1.0)
            continue
        for kind, scores in enumerate(by_class):
            if view.masks[kind].any():
                scores.append(_click_dice(adapted, model, embedding, view.masks[kind][None]))
    means = [sum(scores) / len(scores) for scores in by_class if scores]
    return sum(means) / len(means) if means else 0.0


def _click_dice(adapted: Adapted, model: LoadedModel, embedding: torch.Tensor, target: torch.Tensor) -> float:
    generator = torch.Generator().manual_seed(0)
    prompts, _ = first_prompts(target, generator, torch.tensor([CLICK]))
    half_pixels = model.preprocessing.coordinates != "sam"
    logits, iou = answer(adapted.network, embedding, prompts, half_pixels)
    several = torch.tensor([not model.entry.single_mask_first], device=logits.device)
    return float(overlaps(shown(logits, iou, several), target.to(logits.device))[1])
