"""Segments on a volume's grid, and new segmentations and segments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.axes import SliceIndex, array_axis
from SAMFinetuneLogic.imaging.geometry import inverse_affine, transform_points
from SAMFinetuneLogic.imaging.labels import MAX_LABEL, LabelMap, Segment, segment_color
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.images import has_voxels, image_array, image_start, image_to_world
from SAMFinetuneLogic.mrml.lattice import Block, nearest_block, renumber_block
from SAMFinetuneLogic.mrml.matrices import is_linear, parent_to_world, to_vtk


@dataclass(frozen=True, eq=False)
class SceneLabels:
    """Several segments as one label map.

    Attributes:
        labels: on the volume's grid. Values are 1, 2, 3, ... in the order of the segment table.
        values: of each segment by its ID.
        notices: sentences for the user.
    """

    labels: LabelMap
    values: dict[str, int]
    notices: tuple[str, ...]


def segment_ids(segmentation_node: Any) -> tuple[str, ...]:
    """In the order of the segment table."""
    return tuple(segmentation_node.GetSegmentation().GetSegmentIDs())


def get_segment(segmentation_node: Any, segment_id: str) -> Any:
    """The ``vtkSegment``.

    Raises:
        InputError: there is none of this ID.
    """
    segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
    if segment is None:
        raise InputError(f"{segmentation_node.GetName()} has no segment {segment_id!r} any more: choose another one.")
    return segment


@dataclass(frozen=True, eq=False)
class Labelmap:
    """The labelmap of a segment, which others may share.

    Attributes:
        values: of all its segments; shares memory with the scene.
        value: of this segment.
        matrix: (4, 4) from indices (i, j, k) to the segmentation's own coordinates.
    """

    values: Block
    value: int
    matrix: np.ndarray

    @property
    def layer(self) -> int:
        """A number that is the same for labelmaps whose segments share their voxels, as long as these are there."""
        place: int = self.values.voxels.__array_interface__["data"][0]
        return place

    def on_grid(self, target: np.ndarray, start: np.ndarray, stop: np.ndarray) -> Block:
        """Where the segment is set, on the voxels from ``start`` to before ``stop`` (i, j, k) of the grid ``target``.

        Only these are looked at where the grids allow it: labelmaps may be as large as volumes.
        """
        exact = renumber_block(self.values, self.matrix, target)
        if exact is not None:
            return exact.cut(start, stop, value=self.value)
        found = self._moved(target, start, stop)
        return Block(found.voxels == self.value, found.start)

    def lies_on(self, target: np.ndarray) -> bool:
        """Whether its voxels are those of the grid ``target``, numbered in another way perhaps."""
        return renumber_block(self.values, self.matrix, target) is not None

    def values_on_grid(self, target: np.ndarray, start: np.ndarray, stop: np.ndarray) -> Block:
        """As :meth:`on_grid`, for all segments that share the labelmap: its values."""
        exact = renumber_block(self.values, self.matrix, target)
        return self._moved(target, start, stop) if exact is None else exact.cut(start, stop)

    def extent_on(self, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and one beyond the last index (i, j, k) of the grid ``target`` that the labelmap reaches."""
        places = Block(np.broadcast_to(np.zeros((), dtype=bool), self.values.voxels.shape), self.values.start)
        exact = renumber_block(places, self.matrix, target)
        if exact is not None:
            return exact.start, exact.stop
        return _reach(inverse_affine(target) @ self.matrix, places.start, places.stop)

    def _moved(self, target: np.ndarray, start: np.ndarray, stop: np.ndarray) -> Block:
        return nearest_block(self._reached_by(target, start, stop), self.matrix, target, start, stop)

    def _reached_by(self, target: np.ndarray, start: np.ndarray, stop: np.ndarray) -> Block:
        """The part of the values that voxels of another grid may be nearest to."""
        first, last = _reach(inverse_affine(self.matrix) @ target, start, stop)
        low = np.clip(first, self.values.start, self.values.stop)
        return self.values.cut(low, np.clip(last, low, self.values.stop))


def labelmap_of(segmentation_node: Any, segment_id: str) -> Labelmap | None:
    """The labelmap of a segment; None for an empty segment.

    Raises:
        InputError: there is no such segment, or the segmentation holds surfaces only.
    """
    segment = get_segment(segmentation_node, segment_id)
    image = segment.GetRepresentation(binary_labelmap())
    if image is None:
        _check_labelmaps(segmentation_node)
        return None
    if not has_voxels(image):
        return None
    values = Block(image_array(image), image_start(image))
    return Labelmap(values, int(segment.GetLabelValue()), image_to_world(image))


def segments_within(segmentation_node: Any, target: np.ndarray, start: np.ndarray, stop: np.ndarray) -> set[str]:
    """The IDs of the segments that have a voxel from ``start`` to before ``stop`` (i, j, k) of the grid ``target``.

    Args:
        target: (4, 4) to the segmentation's own coordinates.
    """
    found: set[str] = set()
    # By labelmap: a hundred segments usually share one.
    present: dict[int, np.ndarray] = {}
    for segment_id in segment_ids(segmentation_node):
        labelmap = labelmap_of(segmentation_node, segment_id)
        if labelmap is None:
            continue
        exact = renumber_block(labelmap.values, labelmap.matrix, target)
        if exact is None:
            inside = bool(labelmap.on_grid(target, start, stop).voxels.any())
        else:
            if labelmap.layer not in present:
                present[labelmap.layer] = np.unique(exact.cut(start, stop).voxels)
            inside = bool((present[labelmap.layer] == labelmap.value).any())
        if inside:
            found.add(segment_id)
    return found


def segment_block(segmentation_node: Any, segment_id: str, volume: Volume) -> Block:
    """Where a segment is set, as a block of the volume's grid, cut to the volume.

    Raises:
        InputError: there is no such segment, or the segmentation holds surfaces only.
        GeometryError: the segmentation is under a non-linear transform.
    """
    labelmap = labelmap_of(segmentation_node, segment_id)
    if labelmap is None:
        return Block(np.zeros((0, 0, 0), dtype=bool), np.zeros(3, dtype=np.int64))
    target = inverse_affine(parent_to_world(segmentation_node)) @ volume.ijk_to_ras
    first, last = labelmap.extent_on(target)
    start, stop = np.clip(first, 0, volume.shape[::-1]), np.clip(last, 0, volume.shape[::-1])
    return labelmap.on_grid(target, start, np.maximum(start, stop))


def segment_mask(segmentation_node: Any, segment_id: str, volume: Volume) -> np.ndarray:
    """A segment on the volume's grid, boolean (k, j, i), brought there through physical space.

    Raises:
        InputError, GeometryError: as :func:`segment_block`.
    """
    return _part(segmentation_node, segment_id, volume, np.zeros(3, dtype=np.int64), np.array(volume.shape[::-1]))


def slice_mask(segmentation_node: Any, segment_id: str, volume: Volume, slice_index: SliceIndex) -> np.ndarray:
    """A segment on one slice of the volume, boolean (rows, cols).

    Raises:
        InputError, GeometryError: as :func:`segment_block`; or the slice lies outside of the volume.
    """
    volume.slice_pixels(slice_index)
    start, stop = np.zeros(3, dtype=np.int64), np.array(volume.shape[::-1])
    column = 2 - array_axis(slice_index.axis)
    start[column], stop[column] = slice_index.index, slice_index.index + 1
    part = _part(segmentation_node, segment_id, volume, start, stop)
    return np.moveaxis(part, array_axis(slice_index.axis), 0)[0]


def segmentation_labels(segmentation_node: Any, volume: Volume, segments: Sequence[str] | None = None) -> SceneLabels:
    """Segments as one label map on the volume's grid, for export and training.

    Args:
        segments: IDs; None for all. Of segments that overlap, the later one has the voxel.

    Raises:
        InputError: no segments, or one that is not there.
        GeometryError: the segmentation is under a non-linear transform.
    """
    chosen = segment_ids(segmentation_node) if segments is None else tuple(segments)
    if not chosen:
        raise InputError(f"{segmentation_node.GetName()} has no segments: add one first.")
    if len(chosen) > MAX_LABEL:
        raise InputError(f"A label map holds {MAX_LABEL} segments at most: choose fewer of them.")
    voxels = np.zeros(volume.shape, dtype=np.uint8 if len(chosen) < 256 else np.uint16)
    described, overlapping = [], 0
    for value, segment_id in enumerate(chosen, start=1):
        block = segment_block(segmentation_node, segment_id, volume)
        part = voxels[tuple(slice(a, b) for a, b in zip(block.start[::-1], block.stop[::-1], strict=True))]
        overlapping += set_label(part, block.voxels, value)
        described.append(describe(segmentation_node, segment_id, value))
    notice = f"{overlapping} voxels belong to several segments: they went to the later one in the table."
    labels = LabelMap.of_known(voxels, volume.ijk_to_ras, tuple(described), segmentation_node.GetName() or "")
    values = {segment_id: value for value, segment_id in enumerate(chosen, start=1)}
    return SceneLabels(labels, values, (notice,) if overlapping else ())


def set_label(voxels: np.ndarray, mask: np.ndarray, value: int) -> int:
    """Give the voxels (k, j, i) of a mask a label; returns how many of them had one already."""
    taken = 0
    for plane, wanted in zip(voxels, mask, strict=True):  # slice by slice it is done in the processor's cache
        if wanted.any():
            taken += int(np.count_nonzero((plane != 0) & wanted))
            np.copyto(plane, voxels.dtype.type(value), where=wanted)
    return taken


def describe(segmentation_node: Any, segment_id: str, value: int) -> Segment:
    """Name and colour of a segment."""
    segment = get_segment(segmentation_node, segment_id)
    red, green, blue = (min(max(float(part), 0.0), 1.0) for part in segment.GetColor())
    return Segment(value, segment.GetName() or segment_id, (red, green, blue))


def segmentation_of(volume_node: Any) -> Any | None:
    """The segmentation that was made for a volume, the last one of several; None if there is none."""
    scene = volume_node.GetScene()
    found = None
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLSegmentationNode")
        if node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume_node:
            found = node
    return found


def add_segmentation(scene: Any, volume_node: Any, volume: Volume, name: str = "Segmentation") -> Any:
    """A new segmentation node on the grid of a volume, ready to be edited and shown.

    It goes under the volume's parent transform if that is linear, and so moves with the volume.
    """
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    if is_linear(volume_node):
        node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    set_reference_geometry(node, volume_node, volume)
    return node


def add_segment(
    segmentation_node: Any, name: str | None = None, color: tuple[float, float, float] | None = None
) -> str:
    """Add an empty segment and return its ID.

    A terminology that the user chooses for it later brings a name and a colour along; those given here stay, as those
    that were typed into Slicer's table do.
    """
    segmentation = segmentation_node.GetSegmentation()
    count = segmentation.GetNumberOfSegments()
    chosen = segment_color(count) if color is None else color
    segment_id = str(segmentation.AddEmptySegment("", name or f"Segment_{count + 1}", list(chosen)))
    segment = segmentation.GetSegment(segment_id)
    segment.SetNameAutoGenerated(name is None)
    segment.SetColorAutoGenerated(color is None)
    return segment_id


def set_reference_geometry(segmentation_node: Any, volume_node: Any, volume: Volume) -> None:
    """Let a segmentation be edited on the volume's grid, as it lies in world space.

    Raises:
        GeometryError: the segmentation is under a non-linear transform.
    """
    matrix = inverse_affine(parent_to_world(segmentation_node)) @ volume.ijk_to_ras
    first, last = np.zeros(3, dtype=int), np.array(volume.shape[::-1]) - 1
    set_edit_grid(segmentation_node, volume_node, matrix, first, last)


def set_edit_grid(
    segmentation_node: Any, volume_node: Any, matrix: np.ndarray, first: np.ndarray, last: np.ndarray
) -> None:
    """Let a segmentation be edited on any grid, as one that belongs to a volume.

    Args:
        matrix: (4, 4) from indices (i, j, k) to the segmentation's own coordinates.
        first, last: (3,) indices of the voxels at its ends.
    """
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*(int(edge) for pair in zip(first, last, strict=True) for edge in pair))
    image.SetImageToWorldMatrix(to_vtk(matrix))
    converter = slicer.vtkSegmentationConverter
    segmentation_node.GetSegmentation().SetConversionParameter(
        converter.GetReferenceImageGeometryParameterName(), converter.SerializeImageGeometry(image)
    )
    role = segmentation_node.GetReferenceImageGeometryReferenceRole()
    segmentation_node.SetNodeReferenceID(role, volume_node.GetID())


def edit_matrix(segmentation_node: Any) -> np.ndarray | None:
    """The (4, 4) matrix from the indices of the grid on which a segmentation is edited to its own coordinates.

    None if it has neither a reference geometry nor segments.
    """
    image = reference_image(segmentation_node)
    return None if image is None else image_to_world(image)


def reference_image(segmentation_node: Any) -> Any | None:
    """The grid on which a segmentation is edited, as a ``vtkOrientedImageData`` without voxels; None as above."""
    logic = slicer.vtkSlicerSegmentEditorLogic
    text = logic.GetReferenceImageGeometryStringFromSegmentation(segmentation_node.GetSegmentation())
    image = slicer.vtkOrientedImageData()
    if not text or not slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, False):
        return None
    return image


def binary_labelmap() -> str:
    """The name of the representation that is edited."""
    return str(slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName())


def _reach(mapping: np.ndarray, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and one beyond the last index of another grid that the voxels from ``start`` to before ``stop`` touch."""
    first, last = start - 0.5, stop - 0.5
    faces = np.array([[i, j, k] for i in (first[0], last[0]) for j in (first[1], last[1]) for k in (first[2], last[2])])
    there = transform_points(mapping, faces)
    return np.floor(there.min(axis=0)).astype(np.int64), np.ceil(there.max(axis=0)).astype(np.int64) + 1


def _part(segmentation_node: Any, segment_id: str, volume: Volume, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    labelmap = labelmap_of(segmentation_node, segment_id)
    if labelmap is None:
        return np.zeros(tuple((stop - start)[::-1]), dtype=bool)
    target = inverse_affine(parent_to_world(segmentation_node)) @ volume.ijk_to_ras
    return labelmap.on_grid(target, start, stop).voxels


def _check_labelmaps(segmentation_node: Any) -> None:
    segmentation = segmentation_node.GetSegmentation()
    if segmentation.GetNumberOfSegments() and segmentation.GetSourceRepresentationName() != binary_labelmap():
        raise InputError(
            f"{segmentation_node.GetName()} consists of surfaces: in the Segmentations module, create a binary "
            f"labelmap and make it the source representation."
        )
