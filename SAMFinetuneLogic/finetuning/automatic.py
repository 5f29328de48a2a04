"""Automatic mode: the mask decoder answers with one channel a class, without prompts (paper A)."""

from copy import deepcopy
from typing import Any

import torch
from torch import nn

from SAMFinetuneLogic.models.compact_decoder import CompactMaskDecoder

NEW_PARTS = ("mask_decoder.mask_tokens.", "mask_decoder.output_hypernetworks_mlps.")
"""Prefixes of the names of what :func:`give_class_outputs` makes, and what is to be trained in any strategy."""


def give_class_outputs(network: Any, outputs: int) -> None:
    """Give a ``Sam``'s mask decoder so many outputs, in place; each starts as a copy of the single-mask output."""
    decoder = network.mask_decoder
    tokens = nn.Embedding(outputs, decoder.mask_tokens.embedding_dim).to(decoder.mask_tokens.weight)
    with torch.no_grad():
        tokens.weight.copy_(decoder.mask_tokens.weight[:1].expand(outputs, -1))
    source = decoder.output_hypernetworks_mlps[0]
    decoder.mask_tokens = tokens
    decoder.output_hypernetworks_mlps = nn.ModuleList(deepcopy(source) for _ in range(outputs))
    decoder.num_mask_tokens, decoder.num_multimask_outputs = outputs, outputs - 1


def class_logits(network: Any, embeddings: torch.Tensor, learned_background: bool) -> torch.Tensor:
    """Logits (B, 1 + classes, 4h, 4w) of images' embeddings (B, C, h, w).

    Channel 0 is the background: the first output, or where it is not learned, the constant 0.
    """
    prompts, decoder = network.prompt_encoder, network.mask_decoder
    sparse, dense = prompts(points=None, boxes=None, masks=None)
    position = prompts.get_dense_pe()
    if isinstance(decoder, CompactMaskDecoder):
        sparse, dense = (part.expand(len(embeddings), *part.shape[1:]) for part in (sparse, dense))
        logits = decoder.predict_masks(embeddings, position, sparse, dense)[0]
    else:  # SAM's own takes one image at a time
        logits = torch.cat([decoder.predict_masks(each[None], position, sparse, dense)[0] for each in embeddings])
    return logits if learned_background else torch.cat([torch.zeros_like(logits[:, :1]), logits], 1)
