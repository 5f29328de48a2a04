"""Volumes with known blocks, and the module opened on them."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import slicer
from slicer_host.event_loop import run_for, run_until

from SAMFinetuneLogic.imaging.axes import SliceIndex

SHAPE = (12, 56, 64)
BRIGHT = 200


def oblique_affine() -> np.ndarray:
    """Anisotropic, permuted, flipped and turned by tens of degrees."""
    a, b = np.radians(25.0), np.radians(-14.0)
    turn_s = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn_r = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn_s @ turn_r @ np.diag([-1.5, -1.0, 3.0])
    affine[:3, 3] = 40.0, 25.0, -10.0
    return affine


def straight_affine() -> np.ndarray:
    """As a scanner writes it."""
    affine = np.diag([-1.5, -1.0, 3.0, 1.0])
    affine[:3, 3] = 40.0, 25.0, -10.0
    return affine


def two_blocks() -> np.ndarray:
    """Voxels (k, j, i) with a large block and a small one apart from it, on air."""
    voxels = np.full(SHAPE, -500, dtype=np.int16)
    voxels[2:10, 10:30, 12:40] = BRIGHT
    voxels[2:10, 36:48, 46:58] = BRIGHT
    return voxels


def add_volume(voxels: np.ndarray, affine: np.ndarray, name: str = "blocks") -> Any:
    """A volume node, shown in the views, which are turned to its voxels."""
    node = slicer.util.addVolumeFromArray(voxels, ijkToRAS=slicer.util.vtkMatrixFromArray(affine), name=name)
    node.CreateDefaultDisplayNodes()
    slicer.util.setSliceViewerLayers(background=node, fit=True, rotateToVolumePlane=True)
    return node


def open_blocks(opened: Any, affine: np.ndarray, seconds: float = 10.0) -> Any:
    from SAMFinetuneLogic.imaging.axes import SliceIndex

    node = add_volume(two_blocks(), affine)
    opened.panel.input.ui.volumeSelector.setCurrentNode(node)
    assert opened.bench.work is not None, opened.panel.input.messages.text
    opened.bench.go_to(SliceIndex("k", 5))
    assert run_until(lambda: opened.bench.inference.info is not None, seconds), opened.bench.inference.status
    run_for(0.05)
    opened.node = node
    opened.affine = affine
    return opened


def ras_of(opened: Any, k: float, j: float, i: float) -> tuple[float, float, float]:
    """World position of a voxel."""
    return tuple(float(x) for x in (opened.affine @ np.array([i, j, k, 1.0]))[:3])


def settle(opened: Any, seconds: float = 20.0) -> None:
    """Run the event loop until the model owes no answer."""
    assert run_until(lambda: not opened.bench.prompter.waiting, seconds)
    run_for(0.03)


def accept_clicks(opened: Any, indices: Iterable[int]) -> None:
    """The first block segmented by one click on each of these slices along k, and accepted."""
    for k in indices:
        opened.bench.go_to(SliceIndex("k", k))
        opened.bench.prompter.add_point(ras_of(opened, k, 20, 25))
        settle(opened)
        opened.bench.prompter.accept()


def until_exported(opened: Any, seconds: float = 20.0) -> None:
    """Run the event loop until the files are written."""
    assert run_until(lambda: not opened.bench.exporting.running, seconds)
