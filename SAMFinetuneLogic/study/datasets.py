"""The data sets of a study: which images of a manifest belong together, and the labelled slices of them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import Case, Manifest
from SAMFinetuneLogic.evaluation.targets import MIN_VOXELS, read_truth, voxels_per_slice
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet, joined, labelled_slices
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.reading import read_image
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import choose_window
from SAMFinetuneLogic.study.splitting import StudySplit


@dataclass(frozen=True)
class DataSet:
    """Cases that one model is trained for: those that share the key "dataset" of the manifest, else each by itself."""

    name: str
    cases: tuple[Case, ...]


@dataclass(frozen=True, eq=False)
class PreparedData:
    """A data set's slices with what each is for.

    Attributes:
        name: of the data set.
        slices: those that are used, all of which show a structure.
        split: which of them are learned from and which are tested.
        fingerprint: of pixels, labels and split: it decides whether a measurement is still valid.
    """

    name: str
    slices: LabelledSet
    split: StudySplit
    fingerprint: str

    @classmethod
    def of(cls, name: str, slices: LabelledSet, split: StudySplit) -> "PreparedData":
        """Of all slices of a data set; those that the split leaves out are dropped."""
        used = sorted({*split.train, *split.validation, *split.test})
        slices, split = slices.subset(used), split.renumbered(used)
        digest = hashlib.sha256(json.dumps(split.to_dict()).encode())
        for entry in slices.slices:
            digest.update(repr((entry.pixels.shape, entry.spacing, entry.group, entry.slice)).encode())
            digest.update(entry.pixels.tobytes())
            digest.update(entry.labels.tobytes())
        return cls(name, slices, split, digest.hexdigest())


def data_sets(manifest: Manifest) -> list[DataSet]:
    """The data sets in the order of their first cases.

    Raises:
        InputError: "dataset" of a case is no text.
    """
    names: dict[str, str] = {}
    for entry in json.loads(manifest.path.read_text(encoding="utf-8")):
        name = entry.get("dataset", entry["case"])
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"'dataset' of case {entry['case']!r} of the manifest {manifest.path} must be a name.")
        names[entry["case"]] = name.strip()
    groups: dict[str, list[Case]] = {}
    for case in manifest.cases:
        groups.setdefault(names[case.name], []).append(case)
    return [DataSet(name, tuple(cases)) for name, cases in groups.items()]


def read_slices(data_set: DataSet, turned: bool, max_labels: int | None = None) -> LabelledSet:
    """The slices along k that show a structure of a data set.

    Of each case, the images of its first pair's modality count, each with the first label map that goes with it; of
    several images of one case, those that show the same labels as the first. Structures with fewer than
    :data:`SAMFinetuneLogic.evaluation.targets.MIN_VOXELS` voxels in their largest slice are left out.

    Args:
        turned: to the radiological view (automatic mode).
        max_labels: only that many structures, those that have most voxels.

    Raises:
        InputError: an image cannot be read, or no structure is large enough.
    """
    images = [image for case in data_set.cases for image in _images(case)]
    largest: dict[int, int] = {}
    totals: dict[int, int] = {}
    for _, labels in images:
        counts = voxels_per_slice(labels)
        for segment in labels.segments:
            value = segment.value
            largest[value] = max(largest.get(value, 0), int(counts[:, value].max()))
            totals[value] = totals.get(value, 0) + int(counts[:, value].sum())
    kept = [value for value, voxels in largest.items() if voxels >= MIN_VOXELS]
    kept = sorted(kept, key=lambda value: (-totals[value], value))[:max_labels]
    parts = []
    for volume, labels in images:
        chosen = _only(labels, kept)
        if chosen.voxels.any():
            parts.append(labelled_slices(volume, chosen, choose_window(volume, "auto"), "k", None, turned))
    if not parts:
        raise InputError(f"Data set {data_set.name!r} shows no structure of at least {MIN_VOXELS} voxels on a slice.")
    return joined(parts)


def _images(case: Case) -> list[tuple[Volume, LabelMap]]:
    """The images of a case that belong together, with their labels on their grid."""
    found: list[tuple[Volume, LabelMap]] = []
    seen: set[Path] = set()
    for pair in case.pairs:
        if pair.modality != case.pairs[0].modality or pair.image in seen:
            continue
        seen.add(pair.image)
        volume = read_image(pair.image)
        labels = read_truth(pair, volume)
        if not found or _values(labels) == _values(found[0][1]):
            found.append((volume, labels))
    return found


def _values(labels: LabelMap) -> set[int]:
    return {segment.value for segment in labels.segments}


def _only(labels: LabelMap, values: Sequence[int]) -> LabelMap:
    voxels = np.where(np.isin(labels.voxels, values), labels.voxels, 0).astype(labels.voxels.dtype)
    return replace(labels, voxels=voxels, segments=tuple(s for s in labels.segments if s.value in values))
