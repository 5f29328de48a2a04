"""SAM's image-encoder attention in a form that ``scaled_dot_product_attention`` serves.

SAM adds to each attention logit of a query a row term and a column term of the key, each of which depends on the
query ("decomposed relative position", Li et al., MViTv2, arXiv 2112.01526). The stock code writes the whole
tokens x tokens matrix per head to memory and reads it several times. But

    q . k * scale + rel_h[q, row(k)] + rel_w[q, col(k)]  =  [q * scale, rel_h[q], rel_w[q]] . [k, 1_row(k), 1_col(k)]

so that a query and a key extended by the grid's height and width carry the bias through a plain product, and the
fused kernels, which never write that matrix, apply without a mask. The kernels want q, k and v of one width, hence
zeros behind v, which are cut off again.

On a CPU without reduced precision the wider product costs more than it saves; there, for inference, the bias goes
to the kernel as a mask in tiles that stay in the cache.
"""

import torch
import torch.nn.functional as F
from torch import nn

from SAMFinetuneLogic.models.torch_compat import import_segment_anything

import_segment_anything()
from segment_anything.modeling.image_encoder import Attention, get_rel_pos  # noqa: E402

_WIDTH_MULTIPLE = 32
"""Widths of q, k and v are rounded up to this: matrix units (AMX, tensor cores) work on blocks of it."""

_TILE_QUERIES = 512
_TILED_FROM_TOKENS = 1024
"""Below this, as in SAM's windows of 196 tokens, the wider product is cheaper than a mask."""


class FoldedAttention(Attention):
    """``segment_anything``'s ``Attention`` with the same parameters, names, input and output.

    Tensors are (B, H, W, C) in and out. The linear layers are called as modules, so that LoRA can wrap
    ``attn.qkv`` and ``attn.proj``.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, height, width, _ = x.shape
        qkv = self.qkv(x).reshape(batch, height * width, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)  # each (B, heads, H * W, head_dim)
        if not self.use_rel_pos:
            attended = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        else:
            rel_h, rel_w = self._relative_terms(query, height, width)
            tiled = (
                query.device.type == "cpu"
                and query.dtype == torch.float32
                and height * width >= _TILED_FROM_TOKENS
                and not torch.is_grad_enabled()
            )
            attend = _attend_tiled if tiled else _attend_folded
            attended = attend(query * self.scale, key, value, rel_h, rel_w)
        attended = attended.transpose(1, 2).reshape(batch, height, width, -1)
        return self.proj(attended)

    def _relative_terms(self, query: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, heads, H * W, H) and (B, heads, H * W, W) bias terms of the unscaled queries."""
        by_row = get_rel_pos(height, height, self.rel_pos_h).to(query.dtype)
        by_col = get_rel_pos(width, width, self.rel_pos_w).to(query.dtype)
        grid = query.unflatten(2, (height, width))
        rel_h = torch.einsum("bnhwc,hkc->bnhwk", grid, by_row)
        rel_w = torch.einsum("bnhwc,wkc->bnhwk", grid, by_col)
        return rel_h.flatten(2, 3), rel_w.flatten(2, 3)


def _attend_folded(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rel_h: torch.Tensor, rel_w: torch.Tensor
) -> torch.Tensor:
    """Attention with the bias folded into wider queries and keys; ``query`` is scaled already."""
    batch, heads, tokens, head_dim = query.shape
    height, width = rel_h.shape[-1], rel_w.shape[-1]
    padding = -(head_dim + height + width) % _WIDTH_MULTIPLE
    zeros = query.new_zeros(()).expand(batch, heads, tokens, padding)
    index = torch.arange(tokens, device=query.device)
    row = F.one_hot(index // width, height).to(query.dtype).expand(batch, heads, -1, -1)
    col = F.one_hot(index % width, width).to(query.dtype).expand(batch, heads, -1, -1)
    wide_query = torch.cat([query, rel_h, rel_w, zeros], dim=-1)
    wide_key = torch.cat([key, row, col, zeros], dim=-1)
    wide_value = F.pad(value, (0, wide_key.shape[-1] - head_dim))
    attended = F.scaled_dot_product_attention(wide_query, wide_key, wide_value, scale=1.0)
    return attended[..., :head_dim]


def _attend_tiled(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rel_h: torch.Tensor, rel_w: torch.Tensor
) -> torch.Tensor:
    """Attention with the bias as a mask, one head and a few hundred queries at a time."""
    attended = torch.empty_like(value)
    for image in range(query.shape[0]):
        for head in range(query.shape[1]):
            keys, values = key[image, head][None, None], value[image, head][None, None]
            for start in range(0, query.shape[2], _TILE_QUERIES):
                tile = (image, head, slice(start, start + _TILE_QUERIES))
                bias = (rel_h[tile].unsqueeze(-1) + rel_w[tile].unsqueeze(-2)).flatten(-2)
                queries = query[tile][None, None]
                attended[tile] = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias, scale=1.0)[0, 0]
    return attended


def use_folded_attention(encoder: nn.Module) -> int:
    """Switch the attention layers of a stock SAM image encoder, in place, to :class:`FoldedAttention`.

    Parameters, their names and the results stay the same (fp32 rounding apart).

    Returns:
        The number of layers that were switched: 0 for encoders of other kinds.
    """
    switched = 0
    for module in encoder.modules():
        if type(module) is Attention:
            module.__class__ = FoldedAttention
            switched += 1
    return switched
