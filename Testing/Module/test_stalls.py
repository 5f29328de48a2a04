"""A propagation through a volume of 256 x 256 x 120 voxels does not hold up the user interface."""

from types import SimpleNamespace

import numpy as np
import pytest
import slicer
from module_scene import add_volume, straight_affine
from slicer_host.event_loop import run_for, run_until
from slicer_host.stalls import StallMeter

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.propagation.options import PropagationOptions

SHAPE = (120, 256, 256)
ANNOTATED = (30, 60, 90)
WAIT = 120  # s; a busy machine needs long to import torch


def ball() -> np.ndarray:
    k, j, i = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return (2 * (k - 60)) ** 2 + (j - 128) ** 2 + (i - 128) ** 2 < 80**2


@pytest.fixture
def large(opened_with_process):
    """The module with its inference process, a ball in a large volume, three slices of it annotated."""
    bench = opened_with_process.bench
    mask = ball()
    bench.open(add_volume(np.where(mask, 150, -500).astype(np.int16), straight_affine(), "ball"))
    masks = {bench.prompter.segment: {k: mask[k] for k in ANNOTATED}}
    bench.work.writer.write_slices(masks, "k", annotated=True)
    bench.go_to(SliceIndex("k", 60))
    assert run_until(lambda: bench.inference.info is not None and not bench.inference.client.busy, WAIT)
    run_for(0.3)
    return SimpleNamespace(bench=bench, mask=mask)


@pytest.mark.slow
def test_no_stall_while_a_large_volume_is_filled_in(large):
    bench = large.bench
    with StallMeter() as meter:
        bench.propagation.start(PropagationOptions(method="interpolate"))
        assert run_until(lambda: not bench.propagation.running, WAIT)
        run_for(0.5)  # what follows the change of the segments
    assert bench.propagation.summary
    node = bench.work.segmentation_node
    filled = slicer.util.arrayFromSegmentBinaryLabelmap(node, bench.prompter.segment, bench.work.volume_node) > 0
    np.testing.assert_array_equal(filled[list(ANNOTATED)], large.mask[list(ANNOTATED)])
    both = (filled & large.mask).sum()
    assert 2 * both / (filled[30:91].sum() + large.mask[30:91].sum()) > 0.9
    bench.undo()
    node = bench.work.segmentation_node
    left = slicer.util.arrayFromSegmentBinaryLabelmap(node, bench.prompter.segment, bench.work.volume_node) > 0
    assert set(np.flatnonzero(left.any(axis=(1, 2)))) == set(ANNOTATED)
    # By processor time: on a busy machine the clock shows the pauses of others.
    assert meter.longest_ms < 100, meter.summary()
