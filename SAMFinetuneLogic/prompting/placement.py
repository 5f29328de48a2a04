"""Which prompts belong to a slice, and where they lie on it.

A point belongs to slice ``floor(x + 0.5)`` of its voxel coordinate x: ties go up, always the same way. A box
spans the voxels from ``floor(low + 0.5)`` to ``ceil(high - 0.5)``: the nearest voxels, ties inwards, so that an
ROI whose faces lie between voxels holds exactly the voxels inside of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from SAMFinetuneLogic.errors import GeometryError, InputError
from SAMFinetuneLogic.imaging.axes import AXES, Axis, SliceIndex, array_axis
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.prompting.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    Position,
    Prompt,
    ScribblePrompt,
)
from SAMFinetuneLogic.prompting.scribbles import spread_points, stroke_pixels

STROKE_LOGIT = 7.0
"""Logit of a scribble's pixels in the mask prompt: a probability of 0.999."""

# A face given in mm with a few decimals must not move to the next voxel.
_FACE_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class SlicePrompts:
    """The prompts of one segment on one slice, in its pixels.

    Attributes:
        points: (N, 2) fractional (row, col).
        labels: (N,) int64; 1 positive, 0 negative.
        boxes: (M, 4) (row0, col0, row1, col1), centres of the first and last pixels.
        mask: boolean (rows, cols), the user's own mask, or None.
        strokes: float32 (rows, cols), the scribbles as logits, 0 where nothing was drawn, or None.
    """

    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    mask: np.ndarray | None = None
    strokes: np.ndarray | None = None

    @property
    def empty(self) -> bool:
        """Whether there is no prompt at all."""
        return not len(self.points) and not len(self.boxes) and self.mask is None

    @property
    def drawn(self) -> bool:
        """Whether there are scribbles or a mask of the user's."""
        return self.strokes is not None or self.mask is not None

    @property
    def corrected_by_clicks(self) -> bool:
        """Whether there are clicks that correct what another one or a box means, and nothing drawn."""
        return not self.drawn and len(self.points) > 0 and len(self.points) + len(self.boxes) > 1

    @property
    def has_target(self) -> bool:
        """Whether anything says where the structure is: negative points alone do not."""
        return bool(self.labels.any()) or len(self.boxes) > 0 or self.mask is not None


def slices_of(volume: Volume, prompt: Prompt, axis: Axis) -> tuple[int, ...]:
    """The indices of the slices along ``axis`` that a prompt belongs to, ascending.

    A mask belongs to its own slice alone, and to none along other axes.

    Raises:
        GeometryError: the prompt lies outside of the volume.
    """
    match prompt:
        case PointPrompt():
            return (int(_voxels(volume, [prompt.position])[0, AXES.index(axis)]),)
        case BoxPrompt():
            first, last = box_voxels(volume, prompt)
            column = AXES.index(axis)
            return tuple(range(int(first[column]), int(last[column]) + 1))
        case ScribblePrompt():
            return tuple(int(index) for index in np.unique(_stroke(volume, prompt, axis)[:, 0]))
        case MaskPrompt():
            _check_mask(volume, prompt)
            return (prompt.slice.index,) if prompt.slice.axis == axis else ()


def prompts_on_slice(volume: Volume, prompts: Iterable[Prompt], slice_index: SliceIndex) -> SlicePrompts:
    """The prompts that belong to a slice, in its pixels. Of several masks, the last one counts.

    Raises:
        GeometryError: a prompt lies outside of the volume.
    """
    axis, shape = slice_index.axis, volume.slice_shape(slice_index.axis)
    points: list[np.ndarray] = []
    labels: list[int] = []
    boxes: list[np.ndarray] = []
    mask: np.ndarray | None = None
    strokes: np.ndarray | None = None
    for prompt in prompts:
        if slice_index.index not in slices_of(volume, prompt, axis):
            continue
        match prompt:
            case PointPrompt():
                points.append(volume.ras_to_slice(np.array([prompt.position]), axis)[0, 1:])
                labels.append(int(prompt.positive))
            case BoxPrompt():
                boxes.append(_box_on_slice(volume, prompt, axis))
            case ScribblePrompt():
                stroke = _stroke(volume, prompt, axis)
                pixels = stroke[stroke[:, 0] == slice_index.index, 1:]
                spread = spread_points(pixels)
                points.extend(spread.astype(np.float64))
                labels.extend([int(prompt.positive)] * len(spread))
                strokes = np.zeros(shape, dtype=np.float32) if strokes is None else strokes
                strokes[pixels[:, 0], pixels[:, 1]] = STROKE_LOGIT if prompt.positive else -STROKE_LOGIT
            case MaskPrompt():
                mask = prompt.mask()
    return SlicePrompts(
        np.array(points, dtype=np.float64).reshape(-1, 2),
        np.array(labels, dtype=np.int64),
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        mask,
        strokes,
    )


def box_voxels(volume: Volume, box: BoxPrompt) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last voxel (i, j, k) of a box, both inclusive, cut to the volume; (3,) int64 each.

    Raises:
        GeometryError: the box lies entirely outside of the volume.
    """
    corners = volume.to_ijk(np.array(box.points))
    low, high = corners.min(axis=0), corners.max(axis=0)
    first = np.floor(low + 0.5 + _FACE_TOLERANCE)
    last = np.maximum(np.ceil(high - 0.5 - _FACE_TOLERANCE), first)
    size = np.array(volume.shape[::-1])
    if (last < 0).any() or (first >= size).any():
        centre = np.array(box.points).mean(axis=0)
        raise GeometryError(f"The box around {_text(centre)} lies outside of the volume, which {_extent(volume)}.")
    return np.clip(first, 0, size - 1).astype(np.int64), np.clip(last, 0, size - 1).astype(np.int64)


def flat_axis(volume: Volume, box: BoxPrompt) -> Axis | None:
    """The axis along which a box is one voxel thick; k before j before i, None for a thick box."""
    first, last = box_voxels(volume, box)
    flat: tuple[Axis, ...] = tuple(axis for axis in reversed(AXES) if first[AXES.index(axis)] == last[AXES.index(axis)])
    return flat[0] if flat else None


def _box_on_slice(volume: Volume, box: BoxPrompt, axis: Axis) -> np.ndarray:
    first, last = box_voxels(volume, box)
    # Reversed to (k, j, i), the order of a slice's rows and columns once its own axis is taken out.
    return np.concatenate([np.delete(corner[::-1], array_axis(axis)) for corner in (first, last)])


def _stroke(volume: Volume, scribble: ScribblePrompt, axis: Axis) -> np.ndarray:
    _voxels(volume, scribble.points)
    return stroke_pixels(volume.ras_to_slice(np.array(scribble.points), axis))


def _voxels(volume: Volume, positions: Sequence[Position]) -> np.ndarray:
    """The voxels (N, 3) int64 (i, j, k) that RAS positions fall into."""
    voxels = np.floor(volume.to_ijk(np.array(positions)) + 0.5)
    outside = ((voxels < 0) | (voxels >= np.array(volume.shape[::-1]))).any(axis=1)
    if outside.any():
        position = positions[int(np.argmax(outside))]
        raise GeometryError(f"Point {_text(position)} lies outside of the volume, which {_extent(volume)}.")
    return voxels.astype(np.int64)


def _check_mask(volume: Volume, prompt: MaskPrompt) -> None:
    axis, index = prompt.slice.axis, prompt.slice.index
    if not 0 <= index < volume.slice_count(axis):
        last = volume.slice_count(axis) - 1
        raise GeometryError(f"The mask's slice {axis}={index} is outside of the volume; use 0 to {last}.")
    shape = volume.slice_shape(axis)
    if prompt.packed.shape != shape:
        raise InputError(f"The mask of slice {axis}={index} has {prompt.packed.shape} pixels; the slice has {shape}.")


def _text(position: Sequence[float] | np.ndarray) -> str:
    return "(" + ", ".join(f"{part:.6g}" for part in position) + ") RAS"


def _extent(volume: Volume) -> str:
    """Where the volume lies, from the outer faces of its first to those of its last voxels."""
    size = np.array(volume.shape[::-1])
    faces = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in size])).reshape(3, -1).T
    corners = volume.to_ras(faces)
    spans = zip("RAS", corners.min(axis=0), corners.max(axis=0), strict=True)
    return "spans " + ", ".join(f"{name} {low:.6g} to {high:.6g}" for name, low, high in spans) + " mm; move it inside"
