"""Reading labels for an image, with a notice of what seems wrong with them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from SAMFinetuneLogic.cli.reporting import notice

if TYPE_CHECKING:
    from SAMFinetuneLogic.imaging.labels import LabelMap
    from SAMFinetuneLogic.imaging.volume import Volume

_MANY_SHADES = 30
"""More values than a 2D label map usually has: a mask with soft edges, or one that was saved as JPEG."""


def read_labels_for(path: Path, volume: "Volume", arguments: argparse.Namespace) -> "LabelMap":
    """The label map at ``path`` on the grid of ``volume``; a notice says what of it was lost on the way.

    Raises:
        InputError: it cannot be read, or has no place in common with the image.
    """
    from SAMFinetuneLogic.imaging.label_loss import label_losses
    from SAMFinetuneLogic.imaging.reading import read_label_map
    from SAMFinetuneLogic.imaging.resampling import resample_label_map, same_grid

    labels = read_label_map(path)
    resampled = resample_label_map(labels, volume)
    texts = [] if same_grid(labels, volume) else label_losses(labels, volume, resampled)
    count = len(labels.segments)
    if count > _MANY_SHADES and labels.shape[0] == 1:
        texts.append(
            f"{labels.name} has {count} values, and each counts as a structure of its own: make it black and white if "
            f"it shows one structure in shades of gray."
        )
    for text in texts:
        notice(f"Note: {text}", arguments)
    return resampled
