"""Export in steps: the user goes on meanwhile, and there are whole files or none."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from module_scene import BRIGHT, add_volume, straight_affine, until_exported
from slicer_host.event_loop import run_for, run_until
from slicer_host.stalls import StallMeter
from small_disk import files_of_at_most

from SAMFinetuneLogic.imaging.axes import SliceIndex

SHAPE = (80, 192, 192)
KINDS = ("nifti", "nifti_files", "seg_nrrd")


def bodies():
    """Three of them; the last two overlap in nothing."""
    k, j, i = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    ball = (2 * (k - 40)) ** 2 + (j - 60) ** 2 + (i - 60) ** 2 < 50**2
    rod = ((j - 140) ** 2 + (i - 60) ** 2 < 30**2) & (k > 5)
    block = (j > 20) & (j < 180) & (i > 130) & (k < 70)
    return ball, rod, block


@pytest.fixture
def full(opened, monkeypatch):
    """The module with three segments drawn, which are written in many steps."""
    from SAMFinetuneLogic.mrml import segment_copy, segmentation_file

    for module in (segment_copy, segmentation_file):
        monkeypatch.setattr(module, "STEP_VOXELS", 4 * SHAPE[1] * SHAPE[2])
    bench = opened.bench
    masks = bodies()
    node = add_volume(np.where(masks[0], BRIGHT, 0).astype(np.int16), straight_affine(), "large")
    opened.panel.input.ui.volumeSelector.setCurrentNode(node)
    assert run_until(lambda: bench.inference.info is not None, 10)
    ids = [bench.prompter.segment, bench.add_segment("rod"), bench.add_segment("block")]
    bench.work.writer.write_slices(
        {s: dict(enumerate(mask)) for s, mask in zip(ids, masks, strict=True)}, "k", annotated=True
    )
    run_for(0.3)
    opened.node, opened.ids = node, ids
    return opened


def begin(opened, folder, kind="nifti"):
    ui = opened.panel.export.ui
    ui.exportFolder.currentPath = str(folder)
    ui.formatSelector.setCurrentIndex(ui.formatSelector.findData(kind))
    ui.exportButton.click()
    assert opened.panel.export.messages.text == ""
    assert opened.bench.exporting.running and ui.exportCancelButton.enabled and not ui.exportButton.enabled


def until_half(opened):
    exporting = opened.bench.exporting
    assert run_until(lambda: 2 * exporting.done > exporting.total, 20) and exporting.running


def labels_of(folder):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "segmentation.nii.gz")))


def expected():
    return sum((number * mask.astype(np.uint8) for number, mask in enumerate(bodies(), start=1)), np.zeros(SHAPE, "u1"))


def everything(folder):
    return sorted(path.name for path in Path(folder).rglob("*"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_user_interface_goes_on(full, tmp_path, kind):
    ui = full.panel.export.ui
    with StallMeter() as meter:
        begin(full, tmp_path, kind)
        assert not ui.exportProgress.isHidden() and ui.exportProgress.maximum == full.bench.exporting.total > 10
        until_exported(full)
    assert meter.longest_ms < 100, meter.summary()
    assert ui.exportProgress.isHidden() and not ui.exportCancelButton.enabled
    assert "Written to" in ui.exportResult.text
    assert len(everything(tmp_path)) == (6 if kind == "nifti_files" else 2)


def test_what_is_written_is_what_stood_there_when_the_button_was_pressed(full, tmp_path):
    bench = full.bench
    begin(full, tmp_path)
    until_half(full)
    bench.work.writer.write_slice(full.ids[0], SliceIndex("k", 79), np.ones(SHAPE[1:], bool))
    bench.select_segment(full.ids[1])
    bench.remove_segment()
    until_exported(full)
    np.testing.assert_array_equal(labels_of(tmp_path), expected())
    names = [entry["name"] for entry in json.loads((tmp_path / "segmentation.json").read_text())["segments"]]
    assert names == ["Segment_1", "rod", "block"]


@pytest.mark.parametrize("kind", KINDS)
def test_cancel_leaves_nothing_and_replaces_nothing(full, tmp_path, kind):
    ui = full.panel.export.ui
    begin(full, tmp_path, kind)
    until_half(full)
    ui.exportCancelButton.click()
    assert everything(tmp_path) == [] and not full.bench.exporting.running
    assert "nothing was written" in full.panel.export.messages.text and ui.exportResult.text == ""
    begin(full, tmp_path, kind)
    until_exported(full)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    full.panel.input.ui.removeSegmentButton.click()
    ui.exportOverwrite.checked = True
    begin(full, tmp_path, kind)
    until_half(full)
    full.bench.exporting.cancel()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_scene_may_be_closed_meanwhile(full, tmp_path):
    begin(full, tmp_path)
    until_half(full)
    slicer.mrmlScene.Clear(0)
    assert full.bench.work is None
    until_exported(full)
    np.testing.assert_array_equal(labels_of(tmp_path), expected())


def test_the_scene_may_be_saved_meanwhile(full, tmp_path):
    begin(full, tmp_path / "out")
    until_half(full)
    assert slicer.mrmlScene.WriteToMRB(str(tmp_path / "scene.mrb"))
    until_exported(full)
    np.testing.assert_array_equal(labels_of(tmp_path / "out"), expected())
    slicer.mrmlScene.Clear(0)
    assert slicer.mrmlScene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    assert run_until(lambda: full.bench.work is not None, 10)
    work = full.bench.work
    for segment, mask in zip(full.ids, bodies(), strict=True):
        found = slicer.util.arrayFromSegmentBinaryLabelmap(work.segmentation_node, segment, work.volume_node)
        np.testing.assert_array_equal(found > 0, mask)


def test_closing_the_module_writes_what_was_asked_for(full, tmp_path):
    begin(full, tmp_path)
    until_half(full)
    full.bench.close()
    np.testing.assert_array_equal(labels_of(tmp_path), expected())


def test_a_folder_that_is_a_file_is_named_and_the_next_export_works(full, tmp_path):
    (tmp_path / "file").write_text("")
    begin(full, tmp_path / "file")
    assert run_until(lambda: not full.bench.exporting.running, 20)
    assert "Cannot write" in full.panel.export.messages.text
    begin(full, tmp_path / "folder")
    until_exported(full)
    assert (tmp_path / "folder" / "segmentation.nii.gz").is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_leaves_nothing_and_says_so(full, tmp_path, kind):
    with files_of_at_most(2000):
        begin(full, tmp_path, kind)
        assert run_until(lambda: not full.bench.exporting.running, 20)
    said = full.panel.export.messages.text
    assert str(tmp_path / "segmentation") in said and "went wrong" not in said
    assert everything(tmp_path) == [] and full.bench.exporting.result is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["the file", "its sidecar"])
def test_all_files_take_their_places_or_none_does(full, tmp_path, kind, what):
    """What is in the way was made after the export had begun: the other files are as they were."""
    begin(full, tmp_path, kind)
    until_exported(full)
    *others, last = sorted(path for path in tmp_path.iterdir() if (path.suffix == ".json") == (what == "its sidecar"))
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path != last}
    full.bench.work.writer.write_slice(full.ids[0], SliceIndex("k", 79), np.ones(SHAPE[1:], bool))
    full.panel.export.ui.exportOverwrite.checked = True
    begin(full, tmp_path, kind)
    until_half(full)
    last.unlink()
    (last / "something of the user's").mkdir(parents=True)
    assert run_until(lambda: not full.bench.exporting.running, 20)
    said = full.panel.export.messages.text
    assert str(last) in said and "folder" in said and full.panel.export.ui.exportResult.text == ""
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    assert len(others) == (2 if kind == "nifti_files" else 0)


def test_where_the_disk_knows_no_second_names_nothing_is_lost_either(full, tmp_path, monkeypatch):
    """As on the file systems of memory sticks."""

    def refuse(*_):
        raise OSError("no second names here")

    monkeypatch.setattr(os, "link", refuse)
    test_all_files_take_their_places_or_none_does(full, tmp_path, "nifti_files", "its sidecar")
    begin_again = [path for path in tmp_path.iterdir() if path.is_dir()]
    shutil.rmtree(begin_again[0])
    begin(full, tmp_path, "nifti_files")
    until_exported(full)
    assert len(everything(tmp_path)) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_another_tools_json_file_is_never_replaced(full, tmp_path, kind):
    name = "segmentation_rod.json" if kind == "nifti_files" else "segmentation.json"
    (tmp_path / name).write_text('{"RepetitionTime": 2.0}')
    ui = full.panel.export.ui
    ui.exportOverwrite.checked = True
    ui.exportFolder.currentPath = str(tmp_path)
    ui.formatSelector.setCurrentIndex(ui.formatSelector.findData(kind))
    ui.exportButton.click()
    assert "another tool's file" in full.panel.export.messages.text
    assert everything(tmp_path) == [name] and "RepetitionTime" in (tmp_path / name).read_text()
