"""Several panels on one page, with a title and a legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from PIL import Image, ImageDraw

from SAMFinetuneLogic.errors import OutputError
from SAMFinetuneLogic.files import atomic_target
from SAMFinetuneLogic.pictures.panel import Color, Panel, font, render_panel, to_byte_color

_MARGIN = 8
_LINE = 22
_BACKGROUND = (18, 18, 18)
_TEXT_COLOR = (235, 235, 235)


@dataclass(frozen=True)
class LegendEntry:
    """A coloured square and the text beside it."""

    text: str
    color: Color


def render_sheet(
    panels: Sequence[Panel],
    title: str,
    legend: Sequence[LegendEntry] = (),
    columns: int = 3,
    panel_side: int = 480,
) -> Image.Image:
    """The panels row by row under the title and the legend, as an RGB picture."""
    pictures = [render_panel(panel, panel_side) for panel in panels]
    columns = max(1, min(columns, len(pictures)))
    width = max((picture.width for picture in pictures), default=panel_side)
    rows = [pictures[n : n + columns] for n in range(0, len(pictures), columns)]
    heights = [max(picture.height for picture in row) for row in rows]
    page_width = columns * (width + _MARGIN) + _MARGIN
    lines = _legend_lines(legend, page_width)
    top = _MARGIN + _LINE * (1 + len(lines)) + _MARGIN
    page = Image.new("RGB", (page_width, top + sum(heights) + _MARGIN * len(rows)), _BACKGROUND)
    draw = ImageDraw.Draw(page)
    size = next((size for size in (15, 13, 11) if font(size).getlength(title) <= page_width - 2 * _MARGIN), 11)
    draw.text((_MARGIN, _MARGIN), title, fill=_TEXT_COLOR, font=font(size))
    for n, line in enumerate(lines):
        _draw_legend(draw, line, _MARGIN + _LINE * (n + 1))
    for row, height in zip(rows, heights, strict=True):
        for n, picture in enumerate(row):
            page.paste(picture, (_MARGIN + n * (width + _MARGIN) + (width - picture.width) // 2, top))
        top += height + _MARGIN
    return page


def save_picture(picture: Image.Image, path: Path, overwrite: bool = True) -> None:
    """Write a PNG or JPEG, chosen by the suffix.

    Raises:
        OutputError: the suffix is not known, or the file cannot be written.
    """
    check_picture_name(path)
    with atomic_target(path, overwrite) as temporary:
        picture.save(temporary)


def check_picture_name(path: Path) -> None:
    """Raise OutputError for a name whose suffix is of no format that pictures are written in."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise OutputError(f"Cannot write a picture as {path}; end the name in .png.")


def _entry_width(entry: LegendEntry) -> int:
    return ceil(font(14).getlength(entry.text)) + 38


def _legend_lines(legend: Sequence[LegendEntry], width: int) -> list[list[LegendEntry]]:
    lines: list[list[LegendEntry]] = []
    used = width
    for entry in legend:
        if used + _entry_width(entry) > width - _MARGIN:
            lines.append([])
            used = _MARGIN
        lines[-1].append(entry)
        used += _entry_width(entry)
    return lines


def _draw_legend(draw: ImageDraw.ImageDraw, line: Sequence[LegendEntry], top: int) -> None:
    left = _MARGIN
    for entry in line:
        draw.rectangle((left, top + 4, left + 11, top + 15), fill=to_byte_color(entry.color))
        draw.text((left + 17, top + 1), entry.text, fill=_TEXT_COLOR, font=font(14))
        left += _entry_width(entry)
