"""Models of the catalogue without their weights, for benchmarks: time does not depend on them."""

import torch

from SAMFinetuneLogic.models.catalogue import find_entry
from SAMFinetuneLogic.models.device import choose_precision, gains_from_half_on_cpu
from SAMFinetuneLogic.models.fast_attention import use_folded_attention
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.networks import build_network


def random_model(model_id: str, device: torch.device) -> LoadedModel:
    """The catalogue's model with random weights, run as this package runs it."""
    entry = find_entry(model_id)
    torch.manual_seed(0)
    network = build_network(entry.backbone).requires_grad_(False)
    use_folded_attention(network.image_encoder)
    precision = choose_precision(device, "auto", gains_from_half_on_cpu(entry.backbone))
    return LoadedModel(network, entry, "", device, precision)
