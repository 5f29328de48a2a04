"""Layouts with one slice view, and with more than were there when the module was opened."""

import pytest
from module_scene import ras_of, settle
from mouse import click, drag, slice_node, view_of
from slicer_host.event_loop import run_for

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.mrml.slice_views import slice_in_view


@pytest.fixture
def axial_alone(blocks):
    """A layout that shows the axial view only; the others are there, and hidden."""
    nodes = [slice_node(blocks, name) for name in ("Green", "Yellow")]
    for node in nodes:
        node.SetMappedInLayout(0)
    yield blocks
    for node in nodes:
        node.SetMappedInLayout(1)


@pytest.fixture
def fourth_view(blocks):
    """A view that comes when the module is open already, coronal."""
    layout = blocks.host.layoutManager()
    layout.add_view("Slice4", "Coronal")
    run_for(0.05)
    node = slice_node(blocks, "Slice4")
    layout.sliceWidget("Slice4")._q.sliceLogic().GetSliceCompositeNode().SetBackgroundVolumeID(blocks.node.GetID())
    node.RotateToVolumePlane(blocks.node)
    layout.resetSliceViews()
    node.JumpSliceByOffsetting(*ras_of(blocks, 5, 20, 25))
    run_for(0.2)
    yield blocks
    layout.remove_view("Slice4")


def test_a_slice_along_another_axis_is_shown_in_the_only_view(axial_alone):
    bench, node = axial_alone.bench, slice_node(axial_alone)
    for where in (SliceIndex("j", 20), SliceIndex("i", 25), SliceIndex("k", 3)):
        bench.go_to(where)
        assert slice_in_view(bench.work.volume, node).slice == bench.prompter.slice == where
        run_for(0.02)
        assert bench.prompter.slice == where  # and stays
    bench.go_to(SliceIndex("j", 20))
    axial_alone.panel.prompt.ui.positiveButton.click()
    click(view_of(axial_alone), ras_of(axial_alone, 5, 20, 25))
    settle(axial_alone)
    assert bench.prompter.target.slice == SliceIndex("j", 20) and bench.prompter.candidates is not None


def test_a_view_that_comes_later_takes_prompts_and_the_cursor(fourth_view):
    bench, view = fourth_view.bench, view_of(fourth_view, "Slice4")
    fourth_view.panel.prompt.ui.boxButton.click()
    drag(view, [ras_of(fourth_view, 3, 20, 14), ras_of(fourth_view, 8, 20, 38)])
    settle(fourth_view)
    assert bench.prompter.target.slice == SliceIndex("j", 20)
    assert len(bench.prompter.prompts()) == 1 and bench.prompter.candidates is not None


def test_a_view_that_is_gone_does_not_keep_the_others_from_working(blocks):
    """Slicer deletes views that a layout added, such as when the scene is closed."""
    layout = blocks.host.layoutManager()
    layout.add_view("Slice4", "Coronal")
    run_for(0.05)
    held = layout.sliceWidget("Slice4").sliceView()
    blocks.panel.prompt.ui.boxButton.click()
    layout.remove_view("Slice4")
    with pytest.raises(TypeError, match="on a destroyed"):
        held.unsetViewCursor()
    blocks.panel.prompt.ui.boxButton.click()
    assert blocks.panel.prompt.messages.text == ""
    blocks.widget.exit()
    blocks.widget.enter()
    blocks.panel.prompt.ui.boxButton.click()
    drag(view_of(blocks), [ras_of(blocks, 5, 12, 14), ras_of(blocks, 5, 28, 38)])
    settle(blocks)
    assert len(blocks.bench.prompter.prompts()) == 1 and blocks.panel.prompt.messages.text == ""
