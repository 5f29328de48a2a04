"""What the scene costs for a volume of 512 x 512 x 300: reading, writing, undo, preview. Prints one JSON line.

python Testing/Benchmarks/bench_mrml.py [--slices 300]    (needs the extra 'slicer')
"""

import argparse
import json
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import slicer

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.editing import SegmentWriter
from SAMFinetuneLogic.mrml.hand_edits import HandEdits
from SAMFinetuneLogic.mrml.preview import Preview
from SAMFinetuneLogic.mrml.segments import add_segment, add_segmentation, segment_mask, slice_mask
from SAMFinetuneLogic.mrml.volumes import add_volume, read_volume

SIDE = 512


def milliseconds(work: Callable[[int], object], times: int = 5) -> float:
    """Median time of ``work``, which is told how often it ran before."""
    found = []
    for number in range(times):
        start = perf_counter()
        work(number)
        found.append(1000 * (perf_counter() - start))
    return round(median(found), 1)


def disc(radius: int) -> np.ndarray:
    rows, cols = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    return rows**2 + cols**2 < radius**2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=300)
    slices = parser.parse_args().slices
    discs = {radius: disc(radius) for radius in range(60, 130)}
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(scene)
    node = add_volume(scene, Volume(np.zeros((slices, SIDE, SIDE), np.int16), np.diag([0.8, 0.8, 2.0, 1.0])))
    volume = read_volume(node).volume
    segmentation = add_segmentation(scene, node, volume)
    liver, spleen = add_segment(segmentation, "liver"), add_segment(segmentation, "spleen")
    writer = SegmentWriter(segmentation, node, volume)
    middle = slices // 2
    steps = []
    masks = {index: discs[100 + index % 7] for index in range(slices // 6, slices - slices // 6)}
    start = perf_counter()
    for _ in writer.write_in_steps({liver: masks}, "k"):
        steps.append(1000 * (perf_counter() - start))
        start = perf_counter()
    edits = HandEdits(segmentation, volume, lambda: "k")
    preview = Preview(scene, volume)
    record = {
        "benchmark": "mrml",
        "shape": list(volume.shape),
        "read_volume_ms": milliseconds(lambda n: read_volume(node)),
        "write_many_slices": len(masks),
        "write_many_total_ms": round(sum(steps), 1),
        "write_many_longest_step_ms": round(max(steps), 1),
        "write_slice_ms": milliseconds(lambda n: writer.write_slice(liver, SliceIndex("k", middle), discs[60 + n])),
        "undo_ms": milliseconds(lambda n: writer.undo()),
        "slice_mask_ms": milliseconds(lambda n: slice_mask(segmentation, liver, volume, SliceIndex("k", middle))),
        "segment_mask_ms": milliseconds(lambda n: segment_mask(segmentation, liver, volume)),
        "hand_edits_ms": milliseconds(lambda n: edits.collect(liver)),
        "preview_ms": milliseconds(lambda n: preview.show(SliceIndex("k", middle), discs[60 + n], (1.0, 0.0, 0.0))),
    }
    writer.editor_node.SetSourceVolumeIntensityMask(True)
    writer.editor_node.SetSourceVolumeIntensityMaskRange(-1, 1)
    record["write_slice_intensity_mask_ms"] = milliseconds(
        lambda n: writer.write_slice(spleen, SliceIndex("k", middle), discs[80 + n])
    )
    writer.editor_node.SetSourceVolumeIntensityMask(False)
    writer.editor_node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    record["write_slice_editable_area_ms"] = milliseconds(
        lambda n: writer.write_slice(spleen, SliceIndex("k", middle), discs[120 + n])
    )
    print(json.dumps(record))


if __name__ == "__main__":
    main()
