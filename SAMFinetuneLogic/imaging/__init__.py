"""Volumes, slices, label maps, intensity windows, and their files. Knows no torch."""

from SAMFinetuneLogic.imaging.axes import AXES, Axis, SliceIndex, array_axis, resolve_axis
from SAMFinetuneLogic.imaging.labels import DEFAULT_COLORS, LabelMap, Segment, segment_color
from SAMFinetuneLogic.imaging.reading import read_image, read_label_map
from SAMFinetuneLogic.imaging.resampling import resample_label_map, same_grid
from SAMFinetuneLogic.imaging.slicer_segmentation import read_slicer_segmentation
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import WINDOW_NAMES, Window, choose_window
from SAMFinetuneLogic.imaging.writing import write_label_map

__all__ = [
    "AXES",
    "DEFAULT_COLORS",
    "WINDOW_NAMES",
    "Axis",
    "LabelMap",
    "Segment",
    "SliceIndex",
    "Volume",
    "Window",
    "array_axis",
    "choose_window",
    "read_image",
    "read_label_map",
    "read_slicer_segmentation",
    "resample_label_map",
    "resolve_axis",
    "same_grid",
    "segment_color",
    "write_label_map",
]
