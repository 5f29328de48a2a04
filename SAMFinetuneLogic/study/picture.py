"""The study as a picture: Dice against the number of trained parameters, and Dice by data set."""

from collections.abc import Sequence
from math import ceil, floor, log10

from PIL import Image, ImageDraw

from SAMFinetuneLogic.pictures.panel import font
from SAMFinetuneLogic.study.plan import BASE, UNET
from SAMFinetuneLogic.study.summary import TITLES, Row

_SIZE = (1240, 620)
_LEFT, _RIGHT = (70, 60, 590, 430), (700, 60, 1220, 430)
_GRAY, _LIGHT = (110, 110, 110), (228, 228, 228)
_COLORS = {"vanilla": (213, 94, 0), "adapter": (0, 158, 115), "lora": (0, 114, 178)}
_SHAPES = ("circle", "square", "triangle", "diamond")

Frame = tuple[int, int, int, int]
Color = tuple[int, int, int]


def draw_study(rows: Sequence[Row], data_sets: Sequence[str]) -> Image.Image:
    """The picture.

    Colours stand for algorithms; filled marks for encoder and decoder, open ones for the decoder alone; shapes for
    models. Bars are standard deviations over the data sets. The models as they are and the U-Net are gray.
    """
    picture = Image.new("RGB", _SIZE, "white")
    draw = ImageDraw.Draw(picture)
    models = list(dict.fromkeys(row.model for row in rows if row.model))
    values = [spread.mean for row in rows for spread in row.by_data_set.values()]
    low = max(0.0, floor(10 * min(values) - 0.5) / 10)
    _against_parameters(draw, rows, models, low)
    _by_data_set(draw, rows, models, data_sets, low)
    _legend(draw, rows, models)
    return picture


def _against_parameters(draw: ImageDraw.ImageDraw, rows: Sequence[Row], models: Sequence[str], low: float) -> None:
    trained = [row for row in rows if row.parameters > 0]
    _frame(draw, _LEFT, low, "Dice (mean over data sets) against trained parameters")
    left, _, right, bottom = _LEFT
    exponents = [log10(row.parameters) for row in trained] or [5.0]
    first, last = floor(min(exponents)), max(ceil(max(exponents)), floor(min(exponents)) + 1)
    for exponent in range(first, last + 1):
        x = left + (exponent - first) / (last - first) * (right - left)
        draw.line((x, bottom, x, bottom + 5), fill="black")
        draw.text((x, bottom + 8), _count(exponent), fill="black", font=font(12), anchor="ma")
    for row in rows:
        if row.parameters > 0:
            x = left + (log10(row.parameters) - first) / (last - first) * (right - left)
            reach = row.overall.deviation
            ends = [_height(_LEFT, low, row.overall.mean + side * reach) for side in (-1, 1)]
            draw.line((x, ends[0], x, ends[1]), fill=_color(row), width=1)
            _mark(draw, row, models, (x, _height(_LEFT, low, row.overall.mean)))
        else:
            y = _height(_LEFT, low, row.overall.mean)
            for start in range(left, right, 10):
                draw.line((start, y, start + 5, y), fill=_GRAY)
            x = right - 4 - 170 * models.index(row.model)  # lines may lie close together
            draw.text((x, y - 2), f"{row.model}: no training", fill=_GRAY, font=font(11), anchor="rd")


def _by_data_set(
    draw: ImageDraw.ImageDraw, rows: Sequence[Row], models: Sequence[str], data_sets: Sequence[str], low: float
) -> None:
    _frame(draw, _RIGHT, low, "Dice by data set (mean over seeds)")
    left, _, right, bottom = _RIGHT
    width = (right - left) / len(data_sets)
    lines = 1 if all(font(12).getlength(name) <= width - 6 for name in data_sets) else 3
    for number, name in enumerate(data_sets):
        start = left + number * width
        if number:
            draw.line((start, _RIGHT[1], start, bottom), fill=_LIGHT)
        _label(draw, name, (start + width / 2, bottom + 8 + 15 * (number % lines)), lines, width)
        for place, row in enumerate(rows):
            if name in row.by_data_set:
                spread = row.by_data_set[name]
                x = start + (place + 1) * width / (len(rows) + 1)
                ends = [_height(_RIGHT, low, spread.mean + side * spread.deviation) for side in (-1, 1)]
                draw.line((x, ends[0], x, ends[1]), fill=_color(row), width=1)
                _mark(draw, row, models, (x, _height(_RIGHT, low, spread.mean)))


def _frame(draw: ImageDraw.ImageDraw, frame: Frame, low: float, title: str) -> None:
    left, top, right, _ = frame
    draw.text((left, top - 32), title, fill="black", font=font(15))
    step = 0.1 if 1 - low > 0.25 else 0.05
    for n in range(round((1 - low) / step) + 1):
        y = _height(frame, low, low + n * step)
        draw.line((left, y, right, y), fill=_LIGHT)
        draw.text((left - 8, y), f"{low + n * step:.2f}", fill="black", font=font(12), anchor="rm")
    draw.rectangle(frame, outline="black")


def _height(frame: Frame, low: float, value: float) -> float:
    _, top, _, bottom = frame
    share = (min(max(value, low), 1.0) - low) / (1.0 - low)
    return bottom - share * (bottom - top)


def _label(draw: ImageDraw.ImageDraw, name: str, place: tuple[float, float], lines: int, width: float) -> None:
    """A name below the axis, within ``width``, on the next of so many lines."""
    shown = name
    while font(12).getlength(shown) > max(width * lines - 6, 30) and len(shown) > 4:
        shown = shown[:-2] + "…"
    half = font(12).getlength(shown) / 2
    draw.text((min(place[0], _SIZE[0] - half - 4), place[1]), shown, fill="black", font=font(12), anchor="ma")


def _mark(draw: ImageDraw.ImageDraw, row: Row, models: Sequence[str], at: tuple[float, float]) -> None:
    shape = _SHAPES[models.index(row.model) % len(_SHAPES)] if row.model else "cross"
    _shape(draw, shape, at, _color(row), _is_filled(row.method))


def _shape(draw: ImageDraw.ImageDraw, shape: str, at: tuple[float, float], color: Color, filled: bool) -> None:
    (x, y), r = at, 6
    fill = color if filled else (255, 255, 255)
    if shape == "circle":
        draw.ellipse((x - r, y - r, x + r, y + r), fill=fill, outline=color, width=2)
    elif shape == "square":
        draw.rectangle((x - r + 1, y - r + 1, x + r - 1, y + r - 1), fill=fill, outline=color, width=2)
    elif shape == "triangle":
        draw.polygon(((x, y - r), (x + r, y + r), (x - r, y + r)), fill=fill, outline=color, width=2)
    elif shape == "diamond":
        draw.polygon(
            ((x, y - r - 1), (x + r + 1, y), (x, y + r + 1), (x - r - 1, y)), fill=fill, outline=color, width=2
        )
    else:
        draw.line((x - r, y - r, x + r, y + r), fill=color, width=3)
        draw.line((x - r, y + r, x + r, y - r), fill=color, width=3)


def _is_filled(method: str) -> bool:
    return method == BASE or "encoder" in method


def _color(row: Row) -> Color:
    return _COLORS.get(row.method.partition("-")[0], _GRAY)


def _count(exponent: int) -> str:
    return {3: "1k", 4: "10k", 5: "100k", 6: "1M", 7: "10M", 8: "100M", 9: "1G"}.get(exponent, f"1e{exponent}")


def _legend(draw: ImageDraw.ImageDraw, rows: Sequence[Row], models: Sequence[str]) -> None:
    untrained = (BASE, UNET)
    columns = (
        untrained,
        tuple(method for method in TITLES if method not in untrained and "encoder" not in method),
        tuple(method for method in TITLES if "encoder" in method),
    )
    for column, methods in enumerate(columns):
        for line, method in enumerate(methods):
            row = next((row for row in rows if row.method == method), None)
            if row is not None:
                x, y = 80 + 290 * column, 510 + 28 * line
                shape = "cross" if method == UNET else "circle"
                _shape(draw, shape, (x, y), _color(row), _is_filled(method))
                draw.text((x + 16, y), TITLES[method], fill="black", font=font(13), anchor="lm")
    for number, model in enumerate(models if len(models) > 1 else ()):
        x, y = 80 + 290 * number, 600
        _shape(draw, _SHAPES[number % len(_SHAPES)], (x, y), _GRAY, filled=False)
        draw.text((x + 16, y), model, fill="black", font=font(13), anchor="lm")
