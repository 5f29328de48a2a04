"""What is segmented: each structure of a case on the slice that shows most of it."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from SAMFinetuneLogic.evaluation.manifest import Case, Pair
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import LabelMap, Segment, default_segment
from SAMFinetuneLogic.imaging.reading import read_image, read_label_map
from SAMFinetuneLogic.imaging.resampling import resample_label_map
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window, choose_window
from SAMFinetuneLogic.prompting.slice_image import SliceImage

MIN_VOXELS = 64
"""A structure with fewer voxels in its largest slice (array axis k) is left out."""

_PICTURES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}


@dataclass(frozen=True, eq=False)
class Target:
    """One structure on one slice.

    Attributes:
        case, modality: from the manifest.
        image, label_map: names of the files.
        label, name: the label's value and name.
        volume: the whole image.
        window: how its values are shown to the model, the same for all of its slices.
        slice: along axis k, where the structure has most voxels (the first of equal ones).
        mask: boolean (rows, cols), the truth on that slice.
        example: another slice that shows the same structure, for prompts by example; None where there is none.
    """

    case: str
    modality: str
    image: str
    label_map: str
    label: int
    name: str
    volume: Volume
    window: Window
    slice: SliceIndex
    mask: np.ndarray
    example: "Target | None" = None

    @property
    def key(self) -> str:
        """Unique within a manifest."""
        return f"{self.case}/{self.image}/{self.label_map}/{self.label}"

    @property
    def pixels(self) -> np.ndarray:
        """The slice as the model sees it: uint8 (rows, cols), or (rows, cols, 3) in colour."""
        return self.window.to_uint8(self.volume.slice_pixels(self.slice))

    @property
    def gray(self) -> np.ndarray:
        """The same as uint8 (rows, cols)."""
        pixels = self.pixels
        return pixels if pixels.ndim == 2 else np.rint(pixels.mean(axis=2)).astype(np.uint8)

    @property
    def slice_image(self) -> SliceImage:
        """The slice, ready for the encoder."""
        return SliceImage.of(self.volume, self.slice, self.window)

    @property
    def spacing(self) -> tuple[float, float]:
        """(row, column) distance of pixel centres in mm."""
        return self.volume.slice_spacing(self.slice.axis)


def case_targets(case: Case, max_labels: int | None = None, window: str = "auto") -> list[Target]:
    """All structures of a case with at least :data:`MIN_VOXELS` voxels in their largest slice.

    A label map that equals an earlier one of the same image, once both are on the image's grid, is the same truth
    stored in another way and is not counted again.

    Args:
        max_labels: keep only this many of the case, those with most voxels in their largest slice.
        window: a name that :func:`SAMFinetuneLogic.imaging.windows.choose_window` knows.
    """
    targets: list[Target] = []
    seen: set[tuple[Path, str]] = set()
    images: dict[Path, tuple[Volume, Window]] = {}
    for pair in case.pairs:
        if pair.image not in images:
            volume = read_image(pair.image)
            images[pair.image] = (volume, choose_window(volume, window))
        labels = read_truth(pair, images[pair.image][0])
        fingerprint = (pair.image, hashlib.sha256(labels.voxels.astype(np.uint16).tobytes()).hexdigest())
        if fingerprint not in seen:
            seen.add(fingerprint)
            targets += _largest_slices(case, pair, *images[pair.image], labels)
    targets = _with_examples_of_other_images(targets)
    if max_labels is not None and len(targets) > max_labels:
        kept = {id(target) for target in sorted(targets, key=lambda t: -int(t.mask.sum()))[:max_labels]}
        targets = [target for target in targets if id(target) in kept]
    return targets


def read_truth(pair: Pair, volume: Volume) -> LabelMap:
    """The label map of a pair on the grid of its image, with the manifest's names.

    A picture (PNG, JPEG, TIFF, BMP) of 8 bits often holds one structure in shades of gray, from smoothing or from
    values that differ by accident: it is binarised at half its maximum, unless the manifest names a label value below
    the maximum. The structure then has the maximum as its value, and the one name that the manifest gives. In medical
    formats, also of a single slice, every value is a label.
    """
    labels = read_label_map(pair.label)
    picture = pair.label.suffix.lower() in _PICTURES and labels.shape[0] == 1 and labels.voxels.dtype == np.uint8
    if picture and not _names_parts(pair, labels.voxels):
        peak = int(labels.voxels.max())
        binary = np.where(labels.voxels >= max(peak / 2, 1), peak, 0).astype(np.uint8)
        name = next(iter(pair.label_names.values()), labels.name)
        segments = (replace(default_segment(peak), name=name),) if peak else ()
        labels = LabelMap(binary, labels.ijk_to_ras, segments, name=labels.name)
    elif pair.label_names:
        named = (replace(s, name=pair.label_names.get(s.value, s.name)) for s in labels.segments)
        labels = LabelMap(labels.voxels, labels.ijk_to_ras, tuple(named), name=labels.name)
    return resample_label_map(labels, volume)


def _names_parts(pair: Pair, voxels: np.ndarray) -> bool:
    """Whether the manifest names a value of this mask other than its maximum: then gray values are labels."""
    return any((voxels == value).any() for value in pair.label_names if 0 < value < voxels.max())


def voxels_per_slice(labels: LabelMap) -> np.ndarray:
    """(slices along k, highest label + 1): how many voxels each label has in each slice."""
    size = max((segment.value for segment in labels.segments), default=0) + 1
    return np.stack([np.bincount(layer.ravel(), minlength=size) for layer in labels.voxels])


def target_on_slice(
    case: Case, pair: Pair, volume: Volume, window: Window, labels: LabelMap, segment: Segment, index: int
) -> Target:
    """The structure of ``segment`` on slice ``index`` along k."""
    return Target(
        case=case.name,
        modality=pair.modality,
        image=pair.image.name,
        label_map=pair.label.name,
        label=segment.value,
        name=segment.name,
        volume=volume,
        window=window,
        slice=SliceIndex("k", index),
        mask=labels.voxels[index] == segment.value,
    )


def _largest_slices(case: Case, pair: Pair, volume: Volume, window: Window, labels: LabelMap) -> list[Target]:
    counts = voxels_per_slice(labels)
    found = []
    for segment in labels.segments:
        index = int(counts[:, segment.value].argmax())
        if counts[index, segment.value] >= MIN_VOXELS:
            target = target_on_slice(case, pair, volume, window, labels, segment, index)
            other = _example_slice(counts[:, segment.value], index)
            if other is not None:
                example = target_on_slice(case, pair, volume, window, labels, segment, other)
                target = replace(target, example=example)
            found.append(target)
    return found


def _example_slice(voxels: np.ndarray, largest: int) -> int | None:
    """Halfway from the largest slice to the farther end of what is large enough; the first of equally far ones."""
    present = np.flatnonzero(voxels >= MIN_VOXELS)
    ends = [int(end) for end in (present[0], present[-1]) if end != largest]
    if not ends:
        return None
    middle = (largest + max(ends, key=lambda end: abs(end - largest))) / 2
    others = present[present != largest]
    return int(others[np.abs(others - middle).argmin()])


def _with_examples_of_other_images(targets: list[Target]) -> list[Target]:
    """A structure that is on one slice alone takes another image of its case that shows the same label."""
    found = []
    for target in targets:
        same = [t for t in targets if t.label == target.label and t.image != target.image]
        same = [t for t in same if t.modality == target.modality]
        found.append(replace(target, example=same[0]) if target.example is None and same else target)
    return found
