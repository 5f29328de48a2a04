"""Prompt encoder of the compact default model: SAM's tokens, and the prompts drawn as a map beside them."""

import torch
from torch import nn
from torch.nn import functional

from SAMFinetuneLogic.models.compact_blocks import group_norm
from SAMFinetuneLogic.models.torch_compat import import_segment_anything

import_segment_anything()
from segment_anything.modeling import PromptEncoder  # noqa: E402

Points = tuple[torch.Tensor, torch.Tensor]

DRAWN_MAPS = 5
"""Positive clicks, negative clicks, box, earlier mask, mask present."""
DRAWN_CHANNELS = 4 * DRAWN_MAPS
"""Of the dense embedding: the maps at half of the input's resolution, four pixels to a position."""
_CORNER_LABELS = (2.0, 3.0)
_CLICK_SIGMA = 1.5
"""Width of a drawn click in input pixels."""


class DrawnPromptEncoder(PromptEncoder):
    """SAM's prompt encoder that also draws clicks, boxes and the earlier mask into the dense embedding.

    The interface is that of ``segment_anything``'s: ``forward(points, boxes, masks)`` returns sparse embeddings
    (B, N, C) and dense embeddings (B, C, S/4, S/4). Labels 2 and 3 in ``points`` are a box's corners, so that a
    batch may mix boxes and clicks. ``draw_prompts = False`` leaves the tokens alone to carry the prompt.

    Tokens are padded to ``TOKEN_SLOTS`` with "not a point", in training as in use, so that their number tells
    nothing and fixed shapes can be compiled.

    ``target_embedding`` types the pooled embeddings of labelled regions (index 0 background, 1 structure) that
    stand in for clicks when the prompt is another, already labelled slice.
    """

    TOKEN_SLOTS = 8

    def __init__(
        self, embed_dim: int, image_embedding_size: tuple[int, int], input_image_size: tuple[int, int]
    ) -> None:
        super().__init__(embed_dim, image_embedding_size, input_image_size, mask_in_chans=16)
        self.mask_input_size = input_image_size
        self.draw_prompts = True
        self.target_embedding = nn.Embedding(2, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(DRAWN_MAPS, 32, 4, stride=2, padding=1),
            group_norm(32),
            nn.SiLU(),
            nn.Conv2d(32, 64, 4, stride=2, padding=1),
            group_norm(64),
            nn.SiLU(),
            nn.Conv2d(64, embed_dim, 1),
        )

    def forward(
        self, points: Points | None, boxes: torch.Tensor | None, masks: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Embed prompts.

        Args:
            points: coordinates (B, N, 2) as x, y in input pixels, and labels (B, N): 1 positive, 0 negative,
                -1 none, 2 and 3 the first and last corner of a box.
            boxes: (B, 4) or (B, 1, 4) as x0, y0, x1, y1 in input pixels.
            masks: (B, 1, S, S) logits of an earlier mask.
        """
        batch = self._get_batch_size(points, boxes, masks)
        device = self._get_device()
        coords = torch.zeros((batch, 0, 2), device=device)
        labels = torch.zeros((batch, 0), device=device)
        if points is not None:
            coords, labels = points[0].to(coords.dtype), points[1].to(labels.dtype)
        if boxes is not None:
            corners = boxes.reshape(batch, 2, 2).to(coords.dtype)
            corner_labels = torch.tensor(_CORNER_LABELS, device=device).expand(batch, 2)
            coords, labels = torch.cat([coords, corners], 1), torch.cat([labels, corner_labels], 1)
        missing = self.TOKEN_SLOTS - coords.shape[1]
        if missing > 0:
            coords = torch.cat([coords, coords.new_zeros(batch, missing, 2)], 1)
            labels = torch.cat([labels, labels.new_full((batch, missing), -1.0)], 1)
        sparse = self.embed_tokens(coords, labels)
        drawn = self.draw(coords, labels, masks)
        return sparse, self.embed_maps(drawn)

    def embed_tokens(self, coords: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Coordinates (B, N, 2) and labels (B, N) -> tokens (B, N, C), as SAM embeds points and corners."""
        tokens = self.pe_layer.forward_with_coords(coords + 0.5, self.input_image_size)
        tokens = tokens.to(self.no_mask_embed.weight.dtype)
        tokens = torch.where((labels < 0).unsqueeze(-1), self.not_a_point_embed.weight.unsqueeze(0), tokens)
        types = torch.stack([embedding.weight[0] for embedding in self.point_embeddings])
        typed = types[labels.clamp(min=0).long()]
        return tokens + torch.where((labels >= 0).unsqueeze(-1), typed, torch.zeros_like(typed))

    def embed_maps(self, maps: torch.Tensor) -> torch.Tensor:
        """Drawn prompts (B, 5, S, S) -> dense embedding (B, C, S/4, S/4), see :data:`DRAWN_CHANNELS`.

        The decoder reads those channels to know where the prompts lie.
        """
        maps = maps.to(self.no_mask_embed.weight.dtype).contiguous(memory_format=torch.channels_last)
        halved = functional.pixel_unshuffle(functional.avg_pool2d(maps, 2), 2)
        return torch.cat([halved, self.mask_downscaling(maps)[:, DRAWN_CHANNELS:]], dim=1)

    def embed_targets(self, embeddings: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        """Pooled embeddings (B, N, C) of labelled regions -> tokens (B, N, C); ``kind`` (B, N): 1 structure, 0 not."""
        return embeddings + self.target_embedding(kind)

    def draw(self, coords: torch.Tensor, labels: torch.Tensor, masks: torch.Tensor | None) -> torch.Tensor:
        """The prompts as maps (B, 5, S, S): positive clicks, negative clicks, box, earlier mask, mask present."""
        batch, device = coords.shape[0], coords.device
        height, width = int(self.input_image_size[0]), int(self.input_image_size[1])
        maps = torch.zeros((batch, DRAWN_MAPS, height, width), device=device)
        if self.draw_prompts and coords.shape[1] > 0:
            rows = torch.arange(height, device=device, dtype=torch.float32)
            cols = torch.arange(width, device=device, dtype=torch.float32)
            along_x = torch.exp(-0.5 * ((cols - coords[..., :1]) / _CLICK_SIGMA) ** 2)
            along_y = torch.exp(-0.5 * ((rows - coords[..., 1:]) / _CLICK_SIGMA) ** 2)
            for channel, label in ((0, 1.0), (1, 0.0)):
                chosen = (labels == label).to(along_x.dtype).unsqueeze(-1)
                maps[:, channel] = torch.einsum("bnh,bnw->bhw", along_y * chosen, along_x)
            maps[:, 2] = _draw_boxes(coords, labels, rows, cols)
        if masks is not None:
            maps[:, 3] = torch.tanh(masks[:, 0].to(maps.dtype) / 4)
            maps[:, 4] = 1.0
        return maps


def drawn_prompts(dense: torch.Tensor) -> torch.Tensor:
    """The prompts (B, DRAWN_MAPS, S/2, S/2) that a dense embedding (B, C, S/4, S/4) carries."""
    return functional.pixel_shuffle(dense[:, :DRAWN_CHANNELS], 2)


def _draw_boxes(coords: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor) -> torch.Tensor:
    """Filled boxes (B, H, W), anti-aliased at their edges, from corner pairs labelled 2 and 3."""
    batch, count = labels.shape
    filled = torch.zeros((batch, rows.numel(), cols.numel()), device=coords.device)
    for n in range(count - 1):
        present = ((labels[:, n] == 2) & (labels[:, n + 1] == 3)).to(coords.dtype)
        first, last = coords[:, n], coords[:, n + 1]
        inside_x = _coverage(cols, first[:, :1], last[:, :1])
        inside_y = _coverage(rows, first[:, 1:], last[:, 1:])
        box = torch.einsum("bh,bw->bhw", inside_y * present.unsqueeze(-1), inside_x)
        filled = torch.maximum(filled, box)
    return filled


def _coverage(centres: torch.Tensor, first: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """How much of each pixel lies between the outer edges of the first and the last pixel of a box, 0 to 1."""
    lower = (centres + 0.5 - (first - 0.5)).clamp(0, 1)
    upper = (last + 0.5 - (centres - 0.5)).clamp(0, 1)
    return lower * upper
