"""Small labelled volumes for the tests of fine-tuning and of jobs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet, labelled_slices
from SAMFinetuneLogic.imaging.labels import LabelMap, Segment
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window

LIVER, SPLEEN = Segment(1, "liver", (0.0, 0.6, 0.4)), Segment(2, "spleen", (0.9, 0.6, 0.0))
WINDOW = Window(0.0, 200.0, "custom")


def labelled_volume(seed: int = 0, name: str = "image") -> tuple[Volume, LabelMap]:
    """(k, j, i) = (16, 50, 40) of 0.8 x 0.8 x 3 mm: label 1, a large ball on all but the end slices; label 2, a small
    one on slices 4 to 8."""
    k, j, i = np.indices((16, 50, 40))
    liver = (j - 20) ** 2 + (i - 16) ** 2 + (1.5 * (k - 7.5)) ** 2 < 11**2
    spleen = (j - 38) ** 2 + (i - 30) ** 2 + (2 * (k - 6)) ** 2 < 5**2
    noise = np.random.default_rng(seed).normal(0, 6, liver.shape)
    affine = np.diag([-0.8, -0.8, 3.0, 1.0])
    voxels = (60 + 80 * liver + 40 * spleen + noise).astype(np.int16)
    labels = LabelMap((liver + 2 * spleen).astype(np.uint8), affine, (LIVER, SPLEEN))
    return Volume(voxels, affine, name=name), labels


def labelled_set(indices: Sequence[int] | None = (2, 5, 8, 11, 13), seed: int = 0, turned: bool = False) -> LabelledSet:
    """Slices of :func:`labelled_volume` along k."""
    volume, labels = labelled_volume(seed, f"image{seed}")
    return labelled_slices(volume, labels, WINDOW, "k", indices, turned)


def write_labelled_pair(folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """:func:`labelled_volume` as files."""
    from SAMFinetuneLogic.imaging.writing import write_label_map
    from SAMFinetuneLogic.synthetic.phantom_files import write_volume

    volume, labels = labelled_volume(seed)
    image, label = folder / "image.nii.gz", folder / "labels.nii.gz"
    write_volume(image, volume, True)
    write_label_map(label, labels, {}, True)
    return image, label
