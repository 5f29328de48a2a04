"""A slice's way into the network and back.

Each checkpoint was trained with its own preprocessing, so that the choice belongs to the catalogue entry:

========== ============= =================== ===========================================================
model      normalisation geometry            source
========== ============= =================== ===========================================================
SAM        mean and std  longest side, pad   segment_anything ``ResizeLongestSide``, ``Sam.preprocess``
MedSAM     min-max       squash              bowang-lab/MedSAM ``MedSAM_Inference.py``
LiteMedSAM min-max       longest side, pad   bowang-lab/MedSAM, branch LiteMedSAM
========== ============= =================== ===========================================================

Pixel positions here are (row, col) with integers at pixel centres; the network's are SAM's (x, y).
"""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from SAMFinetuneLogic.errors import GeometryError
from SAMFinetuneLogic.models.preprocessing_rule import SAM_PREPROCESSING, Preprocessing

__all__ = ["PREPROCESSING_VERSION", "SAM_PREPROCESSING", "Preprocessing", "SliceTransform"]

PREPROCESSING_VERSION = 1
"""Part of the key of cached embeddings: raise it when ``SliceTransform.prepare`` gives other numbers."""

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
"""SAM's normalisation constants, for RGB in 0..255."""

MASK_PROMPT_LOGIT = 7.0
"""Logit of a certain pixel in a mask prompt made from a user's mask: a probability of 0.999."""

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_ISOTROPIC_TOLERANCE = 1e-3


class SliceTransform:
    """Maps one slice and positions in it to the network's input, and the network's logits back to the slice.

    In-plane anisotropy is undone on the way: rows and columns are scaled so that the content of the network's
    input has the physical aspect of the slice, in one resize together with the one to the input size.

    Args:
        image_shape: (rows, cols) of the slice.
        pixel_spacing: (row_mm, col_mm), the distances between neighbouring rows and columns.
        preprocessing: that of the model.

    Attributes:
        content_shape: (rows, cols) of the part of the network's input that the slice fills.

    Example:
        >>> transform = SliceTransform((512, 512), (0.7, 0.7), SAM_PREPROCESSING)
        >>> transform.content_shape
        (1024, 1024)
    """

    def __init__(
        self, image_shape: tuple[int, int], pixel_spacing: tuple[float, float], preprocessing: Preprocessing
    ) -> None:
        rows, cols = (int(length) for length in image_shape)
        row_mm, col_mm = (float(length) for length in pixel_spacing)
        if rows < 1 or cols < 1 or not (0 < row_mm < np.inf and 0 < col_mm < np.inf):
            raise GeometryError(
                f"A slice of {rows} x {cols} pixels of {row_mm:g} x {col_mm:g} mm cannot be segmented: "
                "check the image's size and spacing."
            )
        self.image_shape = (rows, cols)
        self.pixel_spacing = (row_mm, col_mm)
        self.preprocessing = preprocessing
        self.content_shape = _content_shape(self.image_shape, self.pixel_spacing, preprocessing)

    @property
    def scale(self) -> tuple[float, float]:
        """(row, col) factors from slice pixels to network input pixels."""
        return (self.content_shape[0] / self.image_shape[0], self.content_shape[1] / self.image_shape[1])

    def prepare(self, image: np.ndarray) -> torch.Tensor:
        """The network's input for a slice.

        Args:
            image: uint8 (rows, cols) or (rows, cols, 3), already windowed to 0..255.

        Returns:
            float32 (3, S, S) on the CPU, normalised and padded.
        """
        if image.dtype != np.uint8 or image.shape[:2] != self.image_shape or image.shape[2:] not in ((), (3,)):
            raise GeometryError(
                f"Expected uint8 pixels of shape {self.image_shape}, optionally with 3 colours, "
                f"but got {image.dtype} of shape {image.shape}."
            )
        resized = self._resize(np.ascontiguousarray(image))
        channels = torch.from_numpy(resized).to(torch.float32)
        channels = channels.permute(2, 0, 1) if channels.ndim == 3 else channels.expand(3, -1, -1)
        if self.preprocessing.normalisation == "sam":
            channels = (channels - _column(PIXEL_MEAN)) / _column(PIXEL_STD)
        else:
            low, high = channels.amin(), channels.amax()
            channels = (channels - low) / (high - low).clamp(min=1e-8)
        return self._pad(channels)

    def points_to_input(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) pixel positions (row, col) as (N, 2) input positions (x, y), float64.

        SAM's prompt encoder itself adds the half pixel between its two conventions.
        """
        positions = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        scale = np.asarray(self.scale)
        half = 0.0 if self.preprocessing.coordinates == "sam" else 0.5
        scaled = (positions + half) * scale - half
        return scaled[:, ::-1].copy()

    def boxes_to_input(self, boxes: np.ndarray) -> np.ndarray:
        """(N, 4) boxes (row0, col0, row1, col1) as (N, 4) input boxes (x0, y0, x1, y1), float64."""
        corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 2)
        return self.points_to_input(corners).reshape(-1, 4)

    def mask_to_prompt(self, mask: np.ndarray | torch.Tensor, mask_size: tuple[int, int]) -> torch.Tensor:
        """A mask of the slice as a mask prompt for SAM's prompt encoder.

        Args:
            mask: (rows, cols); bool or integer values are a mask, floating point values are logits.
            mask_size: (h, w) that the prompt encoder expects.

        Returns:
            float32 (1, h, w) logits within +-``MASK_PROMPT_LOGIT``; the padding counts as background.
        """
        values = torch.as_tensor(mask)
        if tuple(values.shape) != self.image_shape:
            raise GeometryError(f"Expected a mask of shape {self.image_shape}, but got {tuple(values.shape)}.")
        is_logits = values.is_floating_point()
        probability = torch.sigmoid(values.float()) if is_logits else (values != 0).float()
        resized = F.interpolate(
            probability[None, None], self.content_shape, mode="bilinear", align_corners=False, antialias=True
        )
        on_grid = F.adaptive_avg_pool2d(self._pad(resized), mask_size)[0]
        return torch.logit(on_grid, eps=1e-6).clamp(-MASK_PROMPT_LOGIT, MASK_PROMPT_LOGIT)

    def logits_to_slice(self, low_res: torch.Tensor) -> torch.Tensor:
        """The decoder's logits on the slice's own grid, as ``Sam.postprocess_masks``.

        Args:
            low_res: floating point (..., h, w).

        Returns:
            float32 (..., rows, cols); values above 0 are foreground.
        """
        leading = low_res.shape[:-2]
        flat = low_res.reshape(-1, 1, *low_res.shape[-2:]).float()
        size = (self.preprocessing.size, self.preprocessing.size)
        full = F.interpolate(flat, size, mode="bilinear", align_corners=False)
        content = full[..., : self.content_shape[0], : self.content_shape[1]]
        on_slice = F.interpolate(content, self.image_shape, mode="bilinear", align_corners=False)
        return on_slice.reshape(*leading, *self.image_shape)

    def _resize(self, image: np.ndarray) -> np.ndarray:
        height, width = self.content_shape
        method = self.preprocessing.resampling
        if method == "area":
            enlarges = height > image.shape[0] or width > image.shape[1]
            filter_ = Image.Resampling.BILINEAR if enlarges else Image.Resampling.BOX
        else:
            filter_ = _RESAMPLING[method]
        return np.array(Image.fromarray(image).resize((width, height), filter_))

    def _pad(self, pixels: torch.Tensor) -> torch.Tensor:
        size = self.preprocessing.size
        return F.pad(pixels, (0, size - pixels.shape[-1], 0, size - pixels.shape[-2]))


def _content_shape(
    image_shape: tuple[int, int], pixel_spacing: tuple[float, float], preprocessing: Preprocessing
) -> tuple[int, int]:
    size = preprocessing.size
    if preprocessing.geometry == "squash":
        return (size, size)
    rows, cols = image_shape
    aspect = pixel_spacing[0] / pixel_spacing[1]
    if abs(aspect - 1) < _ISOTROPIC_TOLERANCE:
        aspect = 1  # header noise must not move a result away from SAM's own
    height, width = rows * aspect, cols * 1.0
    scale = size * 1.0 / max(height, width)  # in this order, so that rounding agrees with ResizeLongestSide
    return (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))


def _column(values: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(values).view(3, 1, 1)
