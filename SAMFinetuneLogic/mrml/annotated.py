"""Annotated slices: those on which the user drew a segment, or confirmed it, an empty one included.

They are remembered, not guessed: what propagation has filled in is no annotation, and an empty slice is known to be
empty only if someone said so. The memory is a tag of each segment, so that it is saved with the segmentation
(``.seg.nrrd``, ``.mrb``), copied with the segment, and taken back by the Segment Editor's undo with its voxels.

The tag's text: ``<revision>&<grid>&<grid>...``, where a grid is ``<shape>;<matrix>;<slices>``, such as
``3fa2c01b&10x8x6;0 0 2 5 1.5 0 0 -3 0 -1 0 7;k=1,2,9;j=5``: sizes along i, j and k, and the first three rows of the
matrix from the volume's voxels to the segmentation's own coordinates. Slices are those of that grid; marks on other
grids are kept. The revision is another random one after each write: :mod:`SAMFinetuneLogic.mrml.hand_edits` tells by it
what was undone.
"""

import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import vtk

from SAMFinetuneLogic.errors import GeometryError
from SAMFinetuneLogic.imaging.axes import AXES, Axis, SliceIndex
from SAMFinetuneLogic.imaging.geometry import inverse_affine
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.lattice import flip_slice, flips_between
from SAMFinetuneLogic.mrml.matrices import parent_to_world
from SAMFinetuneLogic.mrml.segments import get_segment, segment_ids, slice_mask

TAG = "SAMFinetune.AnnotatedSlices"


@dataclass(frozen=True)
class _Grid:
    size: tuple[int, int, int]
    rows: tuple[float, ...]
    slices: frozenset[SliceIndex] = frozenset()

    def slices_on(self, other: "_Grid") -> frozenset[SliceIndex] | None:
        """The slices as they are numbered on another grid; None if that one has other voxels."""
        flips = flips_between(self.matrix, self.size, other.matrix, other.size)
        return None if flips is None else frozenset(flip_slice(entry, flips, self.size) for entry in self.slices)

    @property
    def matrix(self) -> np.ndarray:
        return np.array([*self.rows, 0, 0, 0, 1]).reshape(4, 4)


@dataclass(frozen=True)
class _Memory:
    revision: str = ""
    grids: tuple[_Grid, ...] = ()


def annotated_slices(segmentation_node: Any, segment_id: str, volume: Volume, axis: Axis) -> tuple[int, ...]:
    """The indices of the annotated slices of a segment along ``axis`` of the volume, ascending.

    Raises:
        InputError: there is no such segment.
    """
    found = annotations_of(segmentation_node, segment_id, volume)
    return tuple(sorted(entry.index for entry in found if entry.axis == axis))


def annotated_masks(
    segmentation_node: Any, volume: Volume, axis: Axis, but: Mapping[str, Collection[int]] | None = None
) -> dict[str, dict[int, np.ndarray]]:
    """What the user has drawn or confirmed: by segment and index of the slice, boolean (rows, cols).

    Args:
        but: slices of each segment to leave out.
    """
    left_out = but or {}
    return {
        segment: {
            index: slice_mask(segmentation_node, segment, volume, SliceIndex(axis, index))
            for index in annotated_slices(segmentation_node, segment, volume, axis)
            if index not in left_out.get(segment, ())
        }
        for segment in segment_ids(segmentation_node)
    }


def annotations_of(segmentation_node: Any, segment_id: str, volume: Volume) -> frozenset[SliceIndex]:
    """The annotated slices of a segment along all axes of the volume.

    Raises:
        InputError: there is no such segment.
    """
    memory = _parse(tag_text(segmentation_node, segment_id))
    here = _grid_of(segmentation_node, volume)
    return _slices_on(memory, here)


def mark_annotated(
    segmentation_node: Any, segments: Iterable[str], volume: Volume, slices: Iterable[SliceIndex]
) -> None:
    """Remember that the user drew, or confirmed, these segments on these slices.

    Raises:
        InputError: there is no such segment.
        GeometryError: a slice lies outside of the volume.
    """
    wanted = frozenset(slices)
    for entry in wanted:
        if not 0 <= entry.index < volume.slice_count(entry.axis):
            raise GeometryError(f"Slice {entry.axis}={entry.index} is outside of the volume; mark one inside.")
    for segment_id in tuple(segments):
        _change(segmentation_node, segment_id, volume, added=wanted)


def unmark_annotated(
    segmentation_node: Any, segments: Iterable[str], volume: Volume, slices: Iterable[SliceIndex]
) -> None:
    """Forget that these slices of these segments were annotated.

    Raises:
        InputError: there is no such segment.
    """
    unwanted = frozenset(slices)
    for segment_id in tuple(segments):
        _change(segmentation_node, segment_id, volume, removed=unwanted)


def touch(segmentation_node: Any, segments: Iterable[str]) -> None:
    """A new revision of these segments: what has changed in them is known, and no drawing by hand."""
    for segment_id in tuple(segments):
        memory = _parse(tag_text(segmentation_node, segment_id))
        _store(segmentation_node, segment_id, replace(memory, revision=_new_revision()))


def tag_text(segmentation_node: Any, segment_id: str) -> str:
    """The stored text; empty if nothing was ever remembered.

    Raises:
        InputError: there is no such segment.
    """
    text = vtk.reference("")
    found = get_segment(segmentation_node, segment_id).GetTag(TAG, text)
    return str(text) if found else ""


def revision(segmentation_node: Any, segment_id: str) -> str:
    """Changes with each write and each mark, and comes back with undo; empty if there was none yet.

    Raises:
        InputError: there is no such segment.
    """
    return tag_text(segmentation_node, segment_id).partition("&")[0]


def _change(
    segmentation_node: Any,
    segment_id: str,
    volume: Volume,
    added: frozenset[SliceIndex] = frozenset(),
    removed: frozenset[SliceIndex] = frozenset(),
) -> None:
    memory = _parse(tag_text(segmentation_node, segment_id))
    here = _grid_of(segmentation_node, volume)
    others = tuple(grid for grid in memory.grids if grid.slices_on(here) is None)
    after = (_slices_on(memory, here) | added) - removed
    grids = (*others, replace(here, slices=after)) if after else others
    _store(segmentation_node, segment_id, _Memory(_new_revision(), grids))


def _slices_on(memory: _Memory, here: _Grid) -> frozenset[SliceIndex]:
    known = (grid.slices_on(here) for grid in memory.grids)
    return next((slices for slices in known if slices is not None), frozenset())


def _grid_of(segmentation_node: Any, volume: Volume) -> _Grid:
    matrix = inverse_affine(parent_to_world(segmentation_node)) @ volume.ijk_to_ras
    k, j, i = volume.shape
    return _Grid((i, j, k), tuple(float(part) for part in matrix[:3].ravel()))


def _store(segmentation_node: Any, segment_id: str, memory: _Memory) -> None:
    text = "&".join([memory.revision, *(_write_grid(grid) for grid in memory.grids)])
    get_segment(segmentation_node, segment_id).SetTag(TAG, text)


def _new_revision() -> str:
    return secrets.token_hex(4)


def _write_grid(grid: _Grid) -> str:
    by_axis: Mapping[str, list[int]] = {
        axis: sorted(entry.index for entry in grid.slices if entry.axis == axis) for axis in AXES
    }
    lists = [f"{axis}={','.join(map(str, indices))}" for axis, indices in by_axis.items() if indices]
    return ";".join(["x".join(map(str, grid.size)), " ".join(f"{part:.9g}" for part in grid.rows), *lists])


def _parse(text: str) -> _Memory:
    """What a tag says. A damaged part is left out: marks can be set again, and nothing else depends on them."""
    revision, _, rest = text.partition("&")
    grids = (_parse_grid(part) for part in rest.split("&") if part)
    return _Memory(revision, tuple(grid for grid in grids if grid is not None))


def _parse_grid(text: str) -> _Grid | None:
    try:
        shape, matrix, *lists = text.split(";")
        i, j, k = (int(part) for part in shape.split("x"))
        rows = tuple(float(part) for part in matrix.split())
        pairs = (entry.split("=") for entry in lists)
        slices = frozenset(SliceIndex(_axis(axis), int(n)) for axis, indices in pairs for n in indices.split(","))
    except (ValueError, GeometryError):
        return None
    return _Grid((i, j, k), rows, slices) if len(rows) == 12 and np.isfinite(rows).all() else None


def _axis(name: str) -> Axis:
    for axis in AXES:
        if name == axis:
            return axis
    raise GeometryError(f"Unknown axis {name!r}; use one of {', '.join(AXES)}.")
