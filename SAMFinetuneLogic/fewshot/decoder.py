"""The reformulated mask decoder: labelled regions of other slices ask a new slice where the same structures are.

Paper: the target embeddings are the prompts, and the mask decoder, started from the checkpoint, is all that is
trained. Reconstructed: one mask token a class, each a copy of SAM's single-mask token with its own hyper-network; a
learned type embedding added to each target; the background as the reference of a softmax; a first guess that is
drawn like an earlier mask, and to which the answer is a correction.
SAM's IoU token and IoU head, and its multi-mask tokens, are left out.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.nn import functional

_LOGIT_LIMIT = 7.0
"""Of the mask prompts that SAM is used to."""


class FewShotDecoder(nn.Module):
    """Class logits from an image embedding and target embeddings.

    Works with the mask decoder of ``segment_anything`` and with the compact default model's, whose networks before
    the transformer (``hints``, ``spread``) and typed targets it takes over. Where a checkpoint has no type embedding,
    it starts at zero.

    Args:
        network: the ``Sam`` to start from; its weights are copied.
        class_count: number of classes, without the background.
        anchored: whether the guess's logits are added to the answer, with a weight that starts at 1 and is learned.
    """

    def __init__(self, network: Any, class_count: int, anchored: bool = False) -> None:
        super().__init__()
        source, prompts = network.mask_decoder, network.prompt_encoder
        self.class_count = class_count
        self.hints = deepcopy(getattr(source, "hints", None))
        self.spread = deepcopy(getattr(source, "spread", None))
        self.transformer = deepcopy(source.transformer)
        self.upscaling = deepcopy(source.output_upscaling)
        self.hyper_networks = nn.ModuleList(deepcopy(source.output_hypernetworks_mlps[0]) for _ in range(class_count))
        self.prompts: Any = deepcopy(prompts)
        self.anchor = nn.Parameter(torch.ones(1)) if anchored else None
        with torch.no_grad():
            self.class_tokens = nn.Parameter(source.mask_tokens.weight[:1].detach().clone().repeat(class_count, 1))
            typed = getattr(prompts, "target_embedding", None)
            types = torch.zeros(2, self.class_tokens.shape[1]) if typed is None else typed.weight.detach().cpu()
            self.target_types = nn.Parameter(types[[0] + [1] * class_count].clone().to(self.class_tokens.device))
        self.requires_grad_(True)
        self.prompts.requires_grad_(False)
        self.prompts.mask_downscaling.requires_grad_(True)

    @property
    def mask_size(self) -> tuple[int, int]:
        """(h, w) of the first guess that :meth:`forward` takes."""
        height, width = self.prompts.mask_input_size
        return int(height), int(width)

    def forward(
        self,
        embeddings: torch.Tensor,
        targets: torch.Tensor,
        kinds: torch.Tensor,
        guess: torch.Tensor | None,
        guessed: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Segment.

        Args:
            embeddings: float32 (B, C, h, w).
            targets: (T, C), the same for the whole batch.
            kinds: (T,): 0 background, n the n-th class.
            guess: (B, n, h', w') class logits relative to the background, at any resolution; None for none.
            guessed: (B,) bool: which images of the batch are shown theirs; None for all.

        Returns:
            Logits (B, n, 4h, 4w), relative to a background of logit 0.
        """
        batch, _, height, width = embeddings.shape
        tokens = torch.cat([self.class_tokens, targets + self.target_types[kinds], self._padding(len(targets))])
        dense = self._dense(guess, guessed, batch).expand(batch, -1, -1, -1)
        hints = () if self.hints is None else (self.hints(embeddings, dense),)
        pixels = embeddings + dense if self.spread is None else self.spread(embeddings, dense, *hints)
        position = self.prompts.get_dense_pe().to(pixels.dtype).expand(batch, -1, -1, -1)
        hidden, pixels = self.transformer(pixels, position, tokens.expand(batch, -1, -1))
        pixels = pixels.transpose(1, 2).reshape(batch, -1, height, width)
        pixels = self.upscaling(pixels, embeddings, *hints) if hints else self.upscaling(pixels)
        kernels = torch.stack([mlp(hidden[:, n]) for n, mlp in enumerate(self.hyper_networks)], 1)
        logits = (kernels @ pixels.flatten(2)).reshape(batch, -1, *pixels.shape[-2:])
        if self.anchor is None or guess is None:
            return logits
        shown = 1.0 if guessed is None else guessed[:, None, None, None].to(logits.dtype)
        base = functional.interpolate(guess, logits.shape[-2:], mode="bilinear", align_corners=False)
        return logits + self.anchor * shown * base

    def _padding(self, used: int) -> torch.Tensor:
        """The default model has always seen so many prompt tokens, the unused ones as "not a point"."""
        missing = max(0, getattr(self.prompts, "TOKEN_SLOTS", 0) - used)
        return self.prompts.not_a_point_embed.weight.expand(missing, -1)

    def _dense(self, guess: torch.Tensor | None, guessed: torch.Tensor | None, batch: int) -> torch.Tensor:
        """SAM's dense prompt embedding, (B or 1, C, h, w)."""
        if guess is None:
            return self.prompts(points=None, boxes=None, masks=None)[1]
        anything = guess.logsumexp(1, keepdim=True).clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT)
        masks = functional.interpolate(anything, self.mask_size, mode="bilinear", align_corners=False)
        dense = self.prompts(points=None, boxes=None, masks=masks)[1]
        if guessed is None:
            return dense
        return torch.where(guessed[:, None, None, None], dense, self._dense(None, None, batch))
