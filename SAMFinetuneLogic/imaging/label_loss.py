"""What of a label map does not come over to an image's grid, in words for the user."""

import numpy as np

from SAMFinetuneLogic.imaging.geometry import inverse_affine, transform_points
from SAMFinetuneLogic.imaging.labels import LabelMap, label_values
from SAMFinetuneLogic.imaging.volume import Volume

_TOLERATED = 0.01
"""Share outside of the image that goes without saying: rounding at its rim."""
_SAMPLE = 200_000


def label_losses(labels: LabelMap, reference: Volume | LabelMap, resampled: LabelMap) -> list[str]:
    """A sentence for what lies outside of the image, and one for structures of which nothing is left.

    Args:
        resampled: ``labels`` on the grid of ``reference``.
    """
    found = []
    share = outside_share(labels, reference)
    if share > _TOLERATED:
        found.append(
            f"{share:.0%} of what is labelled in {labels.name} lies outside of the image: check that both belong to "
            f"the same scan."
        )
    gone = set(label_values(labels.voxels)) - set(label_values(resampled.voxels))
    if gone:
        names = ", ".join(segment.name for segment in labels.segments if segment.value in gone)
        found.append(f"Nothing of {names} is left on the grid of the image.")
    return found


def outside_share(labels: LabelMap, reference: Volume | LabelMap) -> float:
    """Which share of the labelled voxels have their centres outside of the voxels of ``reference``; 0 of none."""
    flat = np.flatnonzero(labels.voxels)
    if flat.size == 0:
        return 0.0
    chosen = flat[:: max(1, flat.size // _SAMPLE)]
    ijk = np.column_stack(np.unravel_index(chosen, labels.shape)[::-1]).astype(np.float64)
    there = transform_points(inverse_affine(reference.ijk_to_ras) @ labels.ijk_to_ras, ijk)
    upper = np.array(reference.shape[::-1]) - 0.5
    return float(1 - ((there >= -0.5) & (there <= upper)).all(axis=1).mean())
