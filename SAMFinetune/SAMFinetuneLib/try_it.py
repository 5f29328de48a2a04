"""The "Try it" button: a phantom CT, one click, the model's answer. Needs no internet and no patient."""

from typing import Any

import slicer

from SAMFinetuneLib.sample_data import NAME
from SAMFinetuneLib.workbench import Workbench
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.mrml.volumes import add_volume
from SAMFinetuneLogic.prompting.placement import slices_of
from SAMFinetuneLogic.synthetic.phantom import make_phantom
from SAMFinetuneLogic.synthetic.phantom_prompts import AXIS, phantom_prompts


def load_phantom() -> Any:
    """Add the phantom CT to the scene and show it; returns the volume node."""
    node = add_volume(slicer.mrmlScene, make_phantom().volume, NAME)
    slicer.util.setSliceViewerLayers(background=node, fit=True, rotateToVolumePlane=True)
    return node


def try_it(bench: Workbench) -> SliceIndex:
    """Load the phantom, click into its liver, and show the slice; the answer follows by itself."""
    phantom = make_phantom()
    node = add_volume(slicer.mrmlScene, phantom.volume, NAME)
    slicer.util.setSliceViewerLayers(background=node, fit=True, rotateToVolumePlane=True)
    work = bench.open(node)
    clicked = phantom_prompts(phantom)[0]
    segment = work.segmentation_node.GetSegmentation().GetSegment(bench.prompter.segment)
    segment.SetName(clicked.segment.name)
    prompt = clicked.prompts[0]
    slice_index = SliceIndex(AXIS, slices_of(work.volume, prompt, AXIS)[0])
    bench.go_to(slice_index)
    bench.prompter.add(prompt, AXIS)
    return slice_index
