"""Labelled images made for tests, and their files."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk


def write_volume(path: Path, voxels: np.ndarray, spacing=(0.8, 0.8, 3.0)) -> None:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def ball(shape, centre, radius) -> np.ndarray:
    return sum((np.indices(shape)[n] - centre[n]) ** 2 for n in range(len(shape))) <= radius**2
