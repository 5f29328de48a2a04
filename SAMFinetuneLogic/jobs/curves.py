"""Loss and Dice over the steps as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from SAMFinetuneLogic.pictures.sheet import save_picture

_SIZE = (760, 420)
_FRAME = (60, 50, 700, 360)
_CURVES = {
    "loss": ("loss", (213, 94, 0)),
    "dice": ("Dice, training", (0, 114, 178)),
    "validation_dice": ("Dice, validation", (0, 158, 115)),
}


def save_curves(path: Path, history: Sequence[Mapping[str, float]], title: str) -> None:
    """Draw a training's history.

    Args:
        history: one record an epoch, with ``step`` and any of ``loss``, ``dice``, ``validation_dice``.
        title: above it.

    Raises:
        OutputError: the file cannot be written.
    """
    save_picture(draw_curves(history, title), path, overwrite=True)


def draw_curves(history: Sequence[Mapping[str, float]], title: str) -> Image.Image:
    """The picture: Dice on a scale of 0 to 1 at the left, the loss on a scale of 0 to its largest value."""
    picture = Image.new("RGB", _SIZE, "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    left, top, right, bottom = _FRAME
    draw.text((left, 12), title[:110], fill="black", font=font)
    last = max((entry["step"] for entry in history), default=1)
    highest = max((entry["loss"] for entry in history if "loss" in entry), default=1) or 1
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = bottom - share * (bottom - top)
        draw.line((left, y, right, y), fill=(225, 225, 225))
        draw.text((left - 34, y - 8), f"{share:.2f}", fill="black", font=font)
        draw.text((right + 8, y - 8), f"{share * highest:.2f}", fill=_CURVES["loss"][1], font=font)
        draw.text((left + share * (right - left) - 10, bottom + 6), f"{share * last:.0f}", fill="black", font=font)
    for n, (key, (name, color)) in enumerate(_CURVES.items()):
        top_value = highest if key == "loss" else 1.0
        points = [
            (left + entry["step"] / last * (right - left), bottom - entry[key] / top_value * (bottom - top))
            for entry in history
            if key in entry
        ]
        if not points:
            continue
        if len(points) > 1:
            draw.line(points, fill=color, width=2)
        for x, y in points:
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=color)
        draw.text((left + 190 * n, bottom + 30), name, fill=color, font=font)
    return picture
