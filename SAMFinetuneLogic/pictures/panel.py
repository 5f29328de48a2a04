"""One slice as a picture: pixels at their physical aspect, segments as tinted contours, prompts as marks."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from SAMFinetuneLogic.pictures.orientation import Display

Color = tuple[float, float, float]

_TINT = 0.22
_CONTOUR_PX = 2
_MARK_PX = 7
_CAPTION_PX = 20
_REFERENCE_COLOR = (255, 255, 255)
_TEXT_COLOR = (225, 225, 225)


@dataclass(frozen=True, eq=False)
class Overlay:
    """A segment on a slice.

    Attributes:
        mask: boolean (rows, cols).
        color: red, green, blue in 0..1.
        reference: boolean (rows, cols), the known truth; drawn as a thin white line.
    """

    mask: np.ndarray
    color: Color
    reference: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Marks:
    """A segment's prompts on a slice, in (row, col) pixels of the slice.

    Attributes:
        points: (N, 2); positive where ``positive`` (N,) is True.
        boxes: (M, 4) (row0, col0, row1, col1): centres of the first and last pixels.
    """

    color: Color
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    positive: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))


@dataclass(frozen=True, eq=False)
class Panel:
    """What one picture of a slice shows.

    Attributes:
        pixels: uint8 (rows, cols) or (rows, cols, 3), already windowed.
        spacing: (row_mm, col_mm).
        display: how the slice is turned.
    """

    pixels: np.ndarray
    spacing: tuple[float, float]
    display: Display
    overlays: tuple[Overlay, ...] = ()
    marks: tuple[Marks, ...] = ()
    caption: str = ""


def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font: the same on every machine."""
    return ImageFont.load_default(size)


def to_byte_color(color: Color) -> tuple[int, int, int]:
    """0..1 to 0..255."""
    red, green, blue = (round(255 * part) for part in color)
    return red, green, blue


def render_panel(panel: Panel, longest_side: int = 520) -> Image.Image:
    """The slice as an RGB picture whose longer side has ``longest_side`` screen pixels."""
    shown = panel.display.array(panel.pixels)
    scale = _screen_scale(panel, longest_side)
    width, height = (max(1, round(shown.shape[n] * scale[n])) for n in (1, 0))
    picture = Image.fromarray(np.ascontiguousarray(shown)).convert("RGB")
    canvas = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32).copy()
    for overlay in panel.overlays:
        _paint_overlay(canvas, overlay, panel.display)
    result = Image.fromarray(np.rint(canvas).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(result)
    for marks in panel.marks:
        _draw_marks(draw, marks, panel, (height / shown.shape[0], width / shown.shape[1]))
    _draw_text(draw, panel, (width, height))
    return result


def _screen_scale(panel: Panel, longest_side: int) -> tuple[float, float]:
    """Screen pixels per shown (row, col)."""
    rows, cols = panel.display.array(panel.pixels).shape[:2]
    row_mm, col_mm = panel.display.pair(*panel.spacing)
    per_mm = longest_side / max(rows * row_mm, cols * col_mm)
    return row_mm * per_mm, col_mm * per_mm


def _paint_overlay(canvas: np.ndarray, overlay: Overlay, display: Display) -> None:
    color = np.array(to_byte_color(overlay.color), dtype=np.float32)
    inside = _on_screen(overlay.mask, canvas.shape, display)
    rim = inside & ~ndimage.binary_erosion(inside, iterations=_CONTOUR_PX, border_value=1)
    canvas[inside] += _TINT * (color - canvas[inside])
    canvas[rim] = color
    if overlay.reference is not None:
        truth = _on_screen(overlay.reference, canvas.shape, display)
        canvas[truth & ~ndimage.binary_erosion(truth, border_value=1)] = _REFERENCE_COLOR


def _on_screen(mask: np.ndarray, shape: tuple[int, ...], display: Display) -> np.ndarray:
    """Nearest neighbour: the contour follows the pixels that were really labelled."""
    shown = np.ascontiguousarray(display.array(np.asarray(mask, dtype=bool))).astype(np.uint8) * 255
    resized = Image.fromarray(shown).resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    return np.asarray(resized) > 0


def _draw_marks(draw: ImageDraw.ImageDraw, marks: Marks, panel: Panel, scale: tuple[float, float]) -> None:
    shape = (panel.pixels.shape[0], panel.pixels.shape[1])
    color = to_byte_color(marks.color)

    def screen(points: np.ndarray) -> np.ndarray:
        return (panel.display.positions(points, shape) + 0.5) * scale

    for box in marks.boxes:
        corners = screen(np.asarray(box).reshape(2, 2))
        # The outer edges of the first and last pixels.
        (top, left), (bottom, right) = (
            corners.min(axis=0) - np.divide(scale, 2),
            corners.max(axis=0) + np.divide(scale, 2),
        )
        _dashed_box(draw, (left, top, right, bottom), color)
    for (row, col), positive in zip(screen(marks.points), marks.positive, strict=True):
        disc = (col - _MARK_PX, row - _MARK_PX, col + _MARK_PX, row + _MARK_PX)
        draw.ellipse(disc, fill=(40, 160, 60) if positive else (200, 40, 40), outline=(255, 255, 255), width=1)
        arm = _MARK_PX - 3
        draw.line((col - arm, row, col + arm, row), fill=(255, 255, 255), width=2)
        if positive:
            draw.line((col, row - arm, col, row + arm), fill=(255, 255, 255), width=2)


def _dashed_box(draw: ImageDraw.ImageDraw, box: tuple[float, ...], color: tuple[int, int, int]) -> None:
    left, top, right, bottom = box
    sides = [((left, top), (right, top)), ((right, top), (right, bottom))]
    sides += [((right, bottom), (left, bottom)), ((left, bottom), (left, top))]
    for start, end in (np.array(side) for side in sides):
        dashes = max(1, round(float(np.abs(end - start).sum()) / 12))
        for n in range(dashes):
            first, last = start + (end - start) * n / dashes, start + (end - start) * (n + 0.6) / dashes
            draw.line((*first, *last), fill=color, width=2)


def _draw_text(draw: ImageDraw.ImageDraw, panel: Panel, size: tuple[int, int]) -> None:
    width, height = size
    # A dark rim keeps the letters readable on bright tissue.
    write = partial(draw.text, fill=_TEXT_COLOR, stroke_width=1, stroke_fill=(0, 0, 0))
    small = font(13)
    left, right, top, bottom = panel.display.letters
    write((4, height / 2), left, font=small, anchor="lm")
    write((width - 4, height / 2), right, font=small, anchor="rm")
    write((width / 2, 3), top, font=small, anchor="ma")
    # The caption has the last line for itself.
    lowest = height - (_CAPTION_PX if panel.caption else 3)
    write((width / 2, lowest), bottom, font=small, anchor="md")
    if panel.caption:
        sizes = (size for size in (13, 11, 9) if font(size).getlength(panel.caption) <= width - 10)
        write((5, height - 4), panel.caption, font=font(next(sizes, 9)), anchor="ld")
