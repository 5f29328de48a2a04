"""What a few annotated slices give without this package's propagation: the answers that it has to beat.

Each function fills a range of slices, both ends included, and gives a boolean stack (slices, rows, cols) of all
slices of the volume; what it gives on annotated slices is not judged.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from SAMFinetuneLogic.evaluation.baselines.contours import contour_process
from SAMFinetuneLogic.evaluation.baselines.optional import explained, optional_module
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.interpolation import InterpolationCandidate

_STRUCTURE, _BACKGROUND = 1, 2


@dataclass(frozen=True, eq=False)
class SliceTask:
    """One structure, annotated on a few slices along k.

    Attributes:
        volume, window: the image.
        annotations: of one segment with the value 1.
        first, last: the range to fill.
    """

    volume: Volume
    window: Window
    annotations: Annotations
    first: int
    last: int

    @property
    def missing(self) -> list[int]:
        """The slices to fill, ascending."""
        return [k for k in range(self.first, self.last + 1) if k not in self.annotations.indices]

    @property
    def drawn(self) -> np.ndarray:
        """Boolean stack with the annotated slices alone."""
        stack = np.zeros(self.volume.shape, dtype=bool)
        for index, mask in self.annotations.masks[1].items():
            stack[index] = mask
        return stack


VolumeBaseline = Callable[[SliceTask], np.ndarray]


def interpolation(task: SliceTask) -> np.ndarray:
    """Signed distances interpolated linearly; the nearest annotated slice held constant outwards."""
    outlines = InterpolationCandidate(None).fit(task.annotations)
    stack = task.drawn
    for index in task.missing:
        patch = outlines.predict(1, index)
        if patch is not None:
            stack[index] = patch.mask()
    return stack


def contour_interpolation(task: SliceTask) -> np.ndarray:
    """ITK's morphological contour interpolation, the method of Slicer's Fill between slices; outwards as above.

    Zukić et al., "ND morphological contour interpolation", Insight Journal 2016.
    """
    with explained("itk"):
        process = contour_process()
    drawn = task.drawn
    rows, cols = np.flatnonzero(drawn.any(axis=(0, 2))), np.flatnonzero(drawn.any(axis=(0, 1)))
    part = np.s_[:, max(rows[0] - 2, 0) : rows[-1] + 3, max(cols[0] - 2, 0) : cols[-1] + 3]
    stack = np.zeros_like(drawn)
    stack[part] = process.interpolate(drawn[part])
    low, high = task.annotations.indices[0], task.annotations.indices[-1]
    stack[task.first : low] = drawn[low]
    stack[high + 1 : task.last + 1] = drawn[high]
    stack[: task.first] = stack[task.last + 1 :] = False
    return stack


def grow_from_seeds(task: SliceTask) -> np.ndarray:
    """Slicer's Grow from seeds (``vtkImageGrowCutSegment``) from the annotated slices, at its default settings.

    The annotated slices are seeds of the structure and of the background; within the range, and in the image's own
    values.
    """
    slicer, vtk = optional_module("slicer"), optional_module("vtk")
    support = optional_module("vtk.util.numpy_support")
    from_slice, to_slice = task.first, task.last + 1
    seeds = np.zeros(task.volume.shape, dtype=np.int16)
    for index, mask in task.annotations.masks[1].items():
        seeds[index] = np.where(mask, _STRUCTURE, _BACKGROUND)

    def image_of(voxels: np.ndarray, kind: int):
        data = vtk.vtkImageData()
        data.SetDimensions(*voxels.shape[::-1])
        data.SetSpacing(*task.volume.spacing)
        values = support.numpy_to_vtk(np.ascontiguousarray(voxels).ravel(), deep=True, array_type=kind)
        data.GetPointData().SetScalars(values)
        return data

    gray = task.volume.voxels[from_slice:to_slice]
    gray = gray.mean(axis=3) if gray.ndim == 4 else gray
    grow = slicer.vtkImageGrowCutSegment()
    grow.SetIntensityVolume(image_of(gray.astype(np.float32), vtk.VTK_FLOAT))
    grow.SetSeedLabelVolume(image_of(seeds[from_slice:to_slice], vtk.VTK_SHORT))
    grow.Update()
    grown = support.vtk_to_numpy(grow.GetOutput().GetPointData().GetScalars())
    stack = np.zeros(task.volume.shape, dtype=bool)
    stack[from_slice:to_slice] = grown.reshape(to_slice - from_slice, *task.volume.shape[1:]) == _STRUCTURE
    return stack
