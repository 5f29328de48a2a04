"""MobileSAM's image encoder (TinyViT-5M, Wu et al. 2022; MobileSAM, Zhang et al. 2023) and LiteMedSAM's variant.

Written from the architecture's description, with the names of MobileSAM's checkpoint, so that its state dict loads as
it is; the unused ImageNet head (``norm_head``, ``head``) has no place here and is dropped on loading. The bias of the
attention is looked up on every call: the original keeps a copy, which goes stale when weights are loaded after
``eval()``.

BatchNorm: keep the encoder in ``eval()`` while fine-tuning on small batches.
"""

import torch
import torch.nn.functional as F
from torch import nn

_WIDTHS = (64, 128, 160, 320)
_DEPTHS = (2, 2, 6, 2)
_HEADS = (0, 4, 5, 10)
_WINDOWS = (0, 7, 14, 7)
_MERGING_STRIDES = (2, 2, 1)
_EXPANSION = 4

UNUSED_HEAD = ("image_encoder.norm_head.", "image_encoder.head.")
"""Prefixes of the tensors in MobileSAM's checkpoint that no forward pass of the segmenter reads."""


class TinyViT(nn.Module):
    """(B, 3, S, S) -> (B, 256, S / stride, S / stride).

    Args:
        img_size: side of the square input the model is used with. The weights do not depend on it.
        stem_stride: 4 for MobileSAM (two 3 x 3 convolutions of stride 2; overall stride 16),
            1 for LiteMedSAM (two 1 x 1 convolutions; overall stride 4).
        out_chans: channels of the embedding.
    """

    def __init__(self, img_size: int = 1024, stem_stride: int = 4, out_chans: int = 256) -> None:
        super().__init__()
        self.img_size = img_size
        self.patch_embed = _Stem(_WIDTHS[0], kernel=3 if stem_stride == 4 else 1, stride=2 if stem_stride == 4 else 1)
        self.layers = nn.Sequential(*(_Stage(index) for index in range(len(_WIDTHS))))
        self.neck = nn.Sequential(
            nn.Conv2d(_WIDTHS[-1], out_chans, 1, bias=False),
            _ChannelNorm(out_chans),
            nn.Conv2d(out_chans, out_chans, 3, padding=1, bias=False),
            _ChannelNorm(out_chans),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.neck(self.layers(self.patch_embed(image)))


class _Stage(nn.Sequential):
    """Blocks of one width, and the step to the next width but after the last stage."""

    def __init__(self, index: int) -> None:
        super().__init__()
        width = _WIDTHS[index]
        blocks = (
            _MBConv(width) if index == 0 else _WindowBlock(width, _HEADS[index], _WINDOWS[index])
            for _ in range(_DEPTHS[index])
        )
        self.blocks = nn.Sequential(*blocks)
        if index < len(_MERGING_STRIDES):
            self.downsample = _PatchMerging(width, _WIDTHS[index + 1], _MERGING_STRIDES[index])


class _ConvNorm(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.bn(self.c(features))


class _Stem(nn.Module):
    def __init__(self, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            _ConvNorm(3, width // 2, kernel, stride), nn.GELU(), _ConvNorm(width // 2, width, kernel, stride)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.seq(image)


class _MBConv(nn.Module):
    """Inverted bottleneck; the last activation comes after the residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = _EXPANSION * width
        self.conv1 = _ConvNorm(width, hidden)
        self.conv2 = _ConvNorm(hidden, hidden, kernel=3, groups=hidden)
        self.conv3 = _ConvNorm(hidden, width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        inner = F.gelu(self.conv2(F.gelu(self.conv1(features))))
        return F.gelu(features + self.conv3(inner))


class _PatchMerging(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _ConvNorm(inputs, outputs)
        self.conv2 = _ConvNorm(outputs, outputs, kernel=3, stride=stride, groups=outputs)
        self.conv3 = _ConvNorm(outputs, outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(features)))))


class _WindowBlock(nn.Module):
    """Attention within windows, a depthwise convolution across them, and an MLP. (B, C, H, W) in and out."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = _Attention(width, heads, window)
        self.local_conv = _ConvNorm(width, width, kernel=3, groups=width)
        self.mlp = _Mlp(width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        tokens = features.permute(0, 2, 3, 1)
        tokens = tokens + self._attend_in_windows(tokens)
        features = self.local_conv(tokens.permute(0, 3, 1, 2))
        tokens = features.permute(0, 2, 3, 1)
        return (tokens + self.mlp(tokens)).permute(0, 3, 1, 2)

    def _attend_in_windows(self, tokens: torch.Tensor) -> torch.Tensor:
        """Padded positions take part in the attention, as in the original."""
        batch, height, width, channels = tokens.shape
        side = self.window
        padded = F.pad(tokens, (0, 0, 0, -width % side, 0, -height % side))
        rows, cols = padded.shape[1] // side, padded.shape[2] // side
        windows = padded.view(batch, rows, side, cols, side, channels).transpose(2, 3)
        attended = self.attn(windows.reshape(-1, side * side, channels))
        grid = attended.view(batch, rows, cols, side, side, channels).transpose(2, 3)
        return grid.reshape(batch, rows * side, cols * side, channels)[:, :height, :width]


class _Attention(nn.Module):
    """Multi-head attention within one window, with one learned bias per head and absolute offset."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        windows, count, width = tokens.shape
        # One group of [q | k | v] per head, unlike SAM's ViT, whose q of all heads come first.
        qkv = self.qkv(self.norm(tokens)).view(windows, count, self.heads, 3, width // self.heads)
        query, key, value = qkv.permute(3, 0, 2, 1, 4).unbind(0)
        bias = self.attention_biases[:, self._offsets(tokens.device)].to(query.dtype)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias[None])
        return self.proj(attended.transpose(1, 2).reshape(windows, count, width))

    def _offsets(self, device: torch.device) -> torch.Tensor:
        """(N, N) index of the bias between two positions: |row difference| * window + |column difference|."""
        position = torch.arange(self.window * self.window, device=device)
        row, col = position // self.window, position % self.window
        return (row[:, None] - row[None]).abs() * self.window + (col[:, None] - col[None]).abs()


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, _EXPANSION * width)
        self.fc2 = nn.Linear(_EXPANSION * width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(tokens))))


class _ChannelNorm(nn.Module):
    """LayerNorm over the channels of (B, C, H, W), with SAM's epsilon."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        tokens = F.layer_norm(features.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, eps=1e-6)
        return tokens.permute(0, 3, 1, 2)
