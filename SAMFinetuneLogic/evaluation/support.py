"""Which image teaches which: pairs of images that show the same structures, for measuring few-shot learning."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import Case, Manifest, Pair
from SAMFinetuneLogic.evaluation.targets import MIN_VOXELS, Target, read_truth, target_on_slice, voxels_per_slice
from SAMFinetuneLogic.imaging.labels import LabelMap, Segment, default_segment
from SAMFinetuneLogic.imaging.reading import read_image
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window, choose_window


@dataclass(frozen=True, eq=False)
class Lesson:
    """One image teaches structures, which are then looked for in another.

    Attributes:
        support, support_window: the image to learn from.
        support_labels: of the structures that both images have, valued 1 to n in the order of ``targets``.
        query, query_window: the image to segment.
        targets: each structure on the query's slice with most of it.
        truths: boolean (k, j, i) of each in the query.
    """

    support: Volume
    support_window: Window
    support_labels: LabelMap
    query: Volume
    query_window: Window
    targets: tuple[Target, ...]
    truths: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class _Candidate:
    """An image of the manifest, the names of its structures, and a hash of each slice."""

    case: Case
    pair: Pair
    names: frozenset[str]
    slices: frozenset[bytes]

    @classmethod
    def of(cls, case: Case, pair: Pair) -> "_Candidate":
        volume = read_image(pair.image)
        names = frozenset(segment.name for segment in read_truth(pair, volume).segments)
        layers = (layer.astype(np.float32) for layer in volume.voxels if np.ptp(layer))
        return cls(case, pair, names, frozenset(hashlib.sha256(layer.tobytes()).digest() for layer in layers))

    def teaches(self, other: "_Candidate") -> bool:
        """Whether it shows other pixels, but the same structures."""
        common = self.names & other.names
        if self.case is not other.case:
            common -= {default_segment(value).name for value in range(1, 256)}
        same_scan = self.pair.image == other.pair.image or not self.slices.isdisjoint(other.slices)
        return bool(common) and self.pair.modality == other.pair.modality and not same_scan


def lessons_of(manifest: Manifest) -> Manifest:
    """The manifest with a case for each two images that share structures: the first teaches the second.

    They share modality and a structure's name; across cases, only names that the manifest gives count. Images with a
    slice in common are one scan. In the order of the manifest, each image learns from the first earlier one that is
    not in a pair yet, so that none is in two. A manifest that is of that form already comes back with the same cases.

    Raises:
        InputError: no two images share a structure.
    """
    free: list[_Candidate] = []
    used: set[Path] = set()
    cases: list[Case] = []
    for case in manifest.cases:
        for pair in case.pairs:
            if pair.image in used:
                continue
            pupil = _Candidate.of(case, pair)
            teacher = next((candidate for candidate in free if candidate.teaches(pupil)), None)
            if teacher is None:
                free.append(pupil)
                continue
            used |= {pair.image, teacher.pair.image}
            free = [candidate for candidate in free if candidate.pair.image not in used]
            cases.append(Case(_case_name(teacher.case, case, cases), (teacher.pair, pair)))
    if not cases:
        raise InputError(f"No two images of {manifest.path} share a structure; add a second image of the same kind.")
    return Manifest(manifest.path, tuple(cases))


def read_lesson(case: Case, max_labels: int, window: str = "auto") -> Lesson:
    """Read the two images of a case from :func:`lessons_of`.

    Args:
        max_labels: at most so many structures, the largest ones of the query.
        window: a name that :func:`SAMFinetuneLogic.imaging.windows.choose_window` knows.

    Raises:
        InputError: a case that does not have two images.
    """
    if len(case.pairs) != 2:
        raise InputError(f"Case {case.name!r} has no image to learn from and another to segment; see lessons_of.")
    first, second = case.pairs
    support, query = read_image(first.image), read_image(second.image)
    taught, asked = read_truth(first, support), read_truth(second, query)
    by_name = {segment.name: segment for segment in taught.segments}
    counts = voxels_per_slice(asked)
    shared = [s for s in asked.segments if s.name in by_name and counts[:, s.value].max() >= MIN_VOXELS]
    # What the manifest does not name is the same structure within a case at best.
    shared = [segment for segment in shared if segment.name != default_segment(segment.value).name] or shared
    shared = sorted(shared, key=lambda segment: -int(counts[:, segment.value].sum()))[:max_labels]
    query_window = choose_window(query, window)
    return Lesson(
        support,
        choose_window(support, window),
        _revalued(taught, [by_name[segment.name] for segment in shared]),
        query,
        query_window,
        tuple(
            target_on_slice(case, second, query, query_window, asked, segment, int(counts[:, segment.value].argmax()))
            for segment in shared
        ),
        tuple(asked.voxels == segment.value for segment in shared),
    )


def _case_name(teacher: Case, pupil: Case, earlier: Sequence[Case]) -> str:
    name = pupil.name if teacher is pupil else f"{teacher.name} to {pupil.name}"
    taken = {case.name for case in earlier}
    numbered = [name, *(f"{name} {number}" for number in range(2, len(taken) + 3))]
    return next(each for each in numbered if each not in taken)


def _revalued(labels: LabelMap, segments: Sequence[Segment]) -> LabelMap:
    """Only these segments, valued 1 to n."""
    table = np.zeros(int(labels.voxels.max()) + 1, dtype=np.uint8)
    for n, segment in enumerate(segments, 1):
        table[segment.value] = n
    named = tuple(Segment(n, segment.name, segment.color) for n, segment in enumerate(segments, 1))
    return LabelMap(table[labels.voxels], labels.ijk_to_ras, named, name=labels.name)
