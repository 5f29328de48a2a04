"""Mask decoder of the compact default model: SAM's, with a small convolutional network before its transformer.

In SAM, a prompt reaches the image only through tokens. Here the sum of image embedding and drawn prompts first
passes a small U-shaped network, so that a click can spread along the structure that it touches. It is also told how
much each position resembles the prompted ones, and which prompt is nearest when edges are expensive to cross: without
that, training on a CPU's budget learned to draw blobs around clicks and paid little heed to the image. And up-scaling
sees the image's pixels, so that outlines are as fine as the input.
"""

import torch
from torch import nn
from torch.nn import functional

from SAMFinetuneLogic.models.compact_blocks import Downsample, ResidualBlock, group_norm, upsample_to
from SAMFinetuneLogic.models.compact_encoder import gray_pixels
from SAMFinetuneLogic.models.compact_geodesic import GeodesicMaps
from SAMFinetuneLogic.models.compact_prompt import DRAWN_MAPS, drawn_prompts
from SAMFinetuneLogic.models.torch_compat import import_segment_anything

import_segment_anything()
from segment_anything.modeling import MaskDecoder, TwoWayTransformer  # noqa: E402
from segment_anything.modeling.transformer import Attention  # noqa: E402

_SIMILARITY_WIDTH = 64
_HALF_WIDTH, _FULL_WIDTH = 48, 16
HINT_MAPS = DRAWN_MAPS + GeodesicMaps.MAPS
"""What the decoder knows at half of the input's resolution: the drawn prompts and their geodesic distances."""


class PromptSimilarity(nn.Module):
    """How much each position looks like what the prompts mark: (1 or B, C, H, W) embedding -> (B, 6, H, W).

    The mean embedding under the positive clicks, the negative clicks, the box, the ring around the box, the earlier
    mask and the ring around that mask is compared with every position (cosine). A map is zero where its prompt is
    absent.
    """

    MAPS = 6

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, width, 1)

    def forward(self, embedding: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        features = functional.normalize(self.project(embedding), dim=1)
        box, mask = drawn[:, 2:3], drawn[:, 3:4].clamp(min=0)
        places = torch.cat([drawn[:, :2], box, _ring(box), mask, _ring(mask)], dim=1).flatten(2)
        flat = features.flatten(2)
        prototypes = functional.normalize(places @ flat.transpose(1, 2), dim=2)
        return (prototypes @ flat).unflatten(2, embedding.shape[-2:])


def _ring(filled: torch.Tensor) -> torch.Tensor:
    """The surroundings, four positions wide, of what is filled (B, 1, H, W)."""
    return (functional.max_pool2d(filled, 9, stride=1, padding=4) - filled).clamp(min=0)


class PromptHints(nn.Module):
    """Embeddings of image and prompts, (1 or B, C, S/4, S/4) and (B, C, S/4, S/4), -> hints (B, 10, S/2, S/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.geodesic = GeodesicMaps(channels)

    def forward(self, embedding: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
        drawn = drawn_prompts(dense)
        return torch.cat([drawn, self.geodesic(embedding, gray_pixels(embedding), drawn)], dim=1)


class SpreadPrompts(nn.Module):
    """Image and dense prompt embeddings, (1 or B, C, H, W) each, and hints (B, 10, 2H, 2W) -> pixels (B, C, H, W).

    The sum of the embeddings, with a U-shaped network added that works at one, one half and one quarter of the
    resolution and also sees the hints and :class:`PromptSimilarity`.
    """

    def __init__(self, channels: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.inward = nn.Conv2d(channels, fine, 1)
        self.similarity = PromptSimilarity(channels, _SIMILARITY_WIDTH)
        self.hints = nn.Conv2d(PromptSimilarity.MAPS + HINT_MAPS, fine, 3, padding=1)
        self.fine1 = ResidualBlock(fine)
        self.down1 = Downsample(fine, middle)
        self.middle = ResidualBlock(middle)
        self.down2 = Downsample(middle, coarse)
        self.coarse = ResidualBlock(coarse)
        self.up2 = nn.Conv2d(coarse, middle, 1)
        self.up1 = nn.Conv2d(middle, fine, 1)
        self.fine2 = ResidualBlock(fine)
        self.outward = nn.Conv2d(fine, channels, 1)

    def forward(self, embedding: torch.Tensor, dense: torch.Tensor, hints: torch.Tensor) -> torch.Tensor:
        x = embedding + dense
        coarser = functional.avg_pool2d(hints, 2)
        seen = torch.cat([self.similarity(embedding, coarser[:, :DRAWN_MAPS]), coarser], dim=1)
        fine = self.fine1(self.inward(x) + self.hints(seen))
        middle = self.middle(self.down1(fine))
        coarse = self.coarse(self.down2(middle))
        middle = middle + upsample_to(self.up2(coarse), middle)
        fine = self.fine2(fine + upsample_to(self.up1(middle), fine))
        return x + self.outward(functional.silu(fine))


class DetailedUpscaling(nn.Module):
    """SAM's up-scaling that adds, at each of its two steps, what the finer image and hints show.

    Norm and activation are chosen to be fast to train on a CPU.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half, full = channels // 4, channels // 8
        self.to_half = nn.ConvTranspose2d(channels, half, kernel_size=2, stride=2)
        self.half_norm = group_norm(half)
        self.half_detail = _detail(half + HINT_MAPS + 4, _HALF_WIDTH, half)
        self.to_full = nn.ConvTranspose2d(half, full, kernel_size=2, stride=2)
        self.full_detail = _detail(full + 1, _FULL_WIDTH, full)

    def forward(self, pixels: torch.Tensor, embedding: torch.Tensor, hints: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W), embedding (1 or B, C, H, W) and hints (B, 10, 2H, 2W) -> (B, C/8, 4H, 4W)."""
        gray = gray_pixels(embedding).expand(len(pixels), -1, -1, -1)
        half = functional.relu(self.half_norm(self.to_half(pixels)))
        half = half + self.half_detail(torch.cat([half, hints, functional.pixel_unshuffle(gray, 2)], 1))
        full = self.to_full(half)
        return functional.relu(full + self.full_detail(torch.cat([full, gray], 1)))


def _detail(channels_in: int, hidden: int, channels_out: int) -> nn.Sequential:
    """Two convolutions that add nothing at initialisation."""
    last = nn.Conv2d(hidden, channels_out, 3, padding=1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    return nn.Sequential(nn.Conv2d(channels_in, hidden, 3, padding=1), nn.SiLU(), last)


class TokenAttention(Attention):
    """SAM's attention with the heads written as one block matrix on the side that has few tokens.

    Between some ten tokens and a thousand pixels, per-head products are too small to be fast. Spreading the heads
    of the short side over blocks of one matrix gives two large products instead, with the same result.
    """

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        query, key, value = self.q_proj(q), self.k_proj(k), self.v_proj(v)
        batch, n_query, channels = query.shape
        n_key, heads = key.shape[1], self.num_heads
        scale = (channels // heads) ** -0.5
        blocks = _head_blocks(heads, channels, query)
        if n_query <= n_key:
            spread = (query.unsqueeze(1) * (blocks * scale)).reshape(batch, heads * n_query, channels)
            weights = torch.softmax(spread @ key.transpose(1, 2), dim=-1)
            gathered = (weights @ value).reshape(batch, heads, n_query, channels)
            return self.out_proj((gathered * blocks).sum(1))
        spread = (key.unsqueeze(1) * (blocks * scale)).reshape(batch, heads * n_key, channels)
        scores = (query @ spread.transpose(1, 2)).reshape(batch, n_query, heads, n_key)
        weights = torch.softmax(scores, dim=-1).reshape(batch, n_query, heads * n_key)
        return self.out_proj(weights.to(value.dtype) @ (value.unsqueeze(1) * blocks).reshape(batch, -1, channels))


def _head_blocks(heads: int, channels: int, like: torch.Tensor) -> torch.Tensor:
    """(heads, 1, channels): one where a channel belongs to the head."""
    owner = torch.arange(channels, device=like.device) // (channels // heads)
    return (owner == torch.arange(heads, device=like.device).unsqueeze(1)).to(like.dtype).unsqueeze(1)


class CompactMaskDecoder(MaskDecoder):
    """SAM's mask decoder after :class:`SpreadPrompts`; accepts one image with many prompts, or one prompt an image.

    Args:
        embed_dim: channels of the embedding.
        mlp_dim: hidden width of the transformer's MLPs.
        spread_widths: channels of :class:`SpreadPrompts`.
    """

    def __init__(self, embed_dim: int, mlp_dim: int, spread_widths: tuple[int, int, int]) -> None:
        transformer = TwoWayTransformer(depth=2, embedding_dim=embed_dim, num_heads=8, mlp_dim=mlp_dim)
        for module in transformer.modules():
            if type(module) is Attention:
                module.__class__ = TokenAttention
        super().__init__(
            transformer_dim=embed_dim,
            transformer=transformer,
            num_multimask_outputs=3,
            iou_head_depth=3,
            iou_head_hidden_dim=128,
        )
        self.hints = PromptHints(embed_dim)
        self.spread = SpreadPrompts(embed_dim, spread_widths)
        self.output_upscaling = DetailedUpscaling(embed_dim)

    def predict_masks(
        self,
        image_embeddings: torch.Tensor,
        image_pe: torch.Tensor,
        sparse_prompt_embeddings: torch.Tensor,
        dense_prompt_embeddings: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Masks of all four tokens.

        Args:
            image_embeddings: (1 or B, C, h, w).
            image_pe: (1, C, h, w).
            sparse_prompt_embeddings: (B, N, C).
            dense_prompt_embeddings: (B, C, h, w).

        Returns:
            Logits (B, 4, 4h, 4w) and predicted IoU (B, 4); index 0 is the single-mask output.
        """
        batch = sparse_prompt_embeddings.shape[0]
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output_tokens.expand(batch, -1, -1), sparse_prompt_embeddings], dim=1)
        hints = self.hints(image_embeddings, dense_prompt_embeddings)
        pixels = self.spread(image_embeddings, dense_prompt_embeddings, hints)
        height, width = pixels.shape[-2:]
        hidden, pixels = self.transformer(pixels, image_pe.to(pixels.dtype), tokens)
        pixels = pixels.transpose(1, 2).reshape(batch, -1, height, width)
        upscaled = self.output_upscaling(pixels, image_embeddings, hints)
        mask_tokens = hidden[:, 1 : 1 + self.num_mask_tokens]
        kernels = torch.stack([mlp(mask_tokens[:, n]) for n, mlp in enumerate(self.output_hypernetworks_mlps)], 1)
        masks = (kernels @ upscaled.flatten(2)).reshape(batch, -1, 4 * height, 4 * width)
        return masks, self.iou_prediction_head(hidden[:, 0])
