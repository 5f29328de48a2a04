"""What Slicer itself would refuse or take another way: the host is as particular, and the module fits."""

import gc
import weakref

import PySide6.QtCore as QtCore
import pytest
import slicer
from module_scene import add_volume, ras_of, settle, straight_affine, two_blocks
from mouse import LEFT, drag, view_of
from PySide6.QtTest import QTest
from slicer_host.event_loop import run_for
from slicer_host.loading import close_module, open_module


def test_the_phantom_is_registered_as_sample_data(opened, module_file):
    import SampleData

    slicer.modules.__dict__.pop("sampleDataSources", None)
    with pytest.raises(TypeError):  # as Slicer, which counts the files
        SampleData.SampleDataLogic.registerCustomSampleDataSource(category="A", sampleName="a", customDownloader=print)
    module_file.register_sample_data()
    (source,) = slicer.modules.sampleDataSources["SAMFinetune"]
    source.customDownloader(source)
    assert slicer.util.getNode(source.sampleName).GetImageData().GetNumberOfPoints() > 0


def test_two_quick_strokes_are_two_strokes(blocks):
    """Of a double click, VTK tells of the second press in another way; without a tool it maximizes the view."""
    panel, view = blocks.panel, view_of(blocks)
    told = []
    tag = view.interactor().AddObserver("LeftButtonDoubleClickEvent", lambda *_: told.append(1), -1.0)
    panel.prompt.ui.scribblePositiveButton.click()
    path = [ras_of(blocks, 5, 20, i) for i in (18, 24, 30)]
    drag(view, path)
    pixels = [view.pixel_of(ras) for ras in [ras_of(blocks, 5, 26, i) for i in (18, 24, 30)]]
    QTest.mouseDClick(view, LEFT, QtCore.Qt.KeyboardModifier.NoModifier, pixels[0])
    QTest.mouseMove(view, pixels[1])
    QTest.mouseRelease(view, LEFT, QtCore.Qt.KeyboardModifier.NoModifier, pixels[2])
    settle(blocks)
    assert told == []
    assert len(blocks.bench.prompter.prompts()) >= 2, panel.prompt.messages.text
    panel.toolbelt.take("")
    QTest.mouseDClick(view, LEFT, QtCore.Qt.KeyboardModifier.NoModifier, pixels[0])
    assert told == [1]
    view.interactor().RemoveObserver(tag)


def test_the_mouse_belongs_to_a_tool_or_to_an_effect(blocks):
    panel, node = blocks.panel, blocks.bench.editor_node
    panel.prompt.ui.boxButton.click()
    panel.ui.segmentEditor.setActiveEffectByName("Paint")  # the user presses it in the Segment Editor
    assert panel.toolbelt.current == "" and not panel.prompt.ui.boxButton.checked
    panel.prompt.ui.positiveButton.click()
    assert not node.GetActiveEffectName() and panel.toolbelt.current == "positive"
    panel.ui.segmentEditor.setActiveEffectByName("Erase")
    assert panel.toolbelt.current == ""
    widget = panel.widget._q
    widget.window().activateWindow()
    widget.setFocus()
    QTest.keyClick(widget, QtCore.Qt.Key.Key_Escape)
    assert not node.GetActiveEffectName()


def test_a_tool_that_was_taken_up_meanwhile_stays(blocks):
    """An effect comes back after a result was written, unless the mouse has found another use."""
    panel, bench = blocks.panel, blocks.bench
    panel.ui.segmentEditor.setActiveEffectByName("Paint")
    bench.prompter.add_point(ras_of(blocks, 5, 20, 25))
    settle(blocks)
    bench.prompter.accept()
    bench.propagation.start()
    while not bench.writing.running:
        run_for(0.01)
    panel.toolbelt.take("box")
    bench.writing.finish()
    run_for(0.05)
    assert panel.toolbelt.current == "box" and not bench.editor_node.GetActiveEffectName()


def test_without_a_segmentation_no_segment_is_selected(opened):
    table = slicer.qMRMLSegmentsTableView()
    with pytest.raises(RuntimeError, match="segmentation node is not set"):
        table.setSelectedSegmentIDs(["Segment_1"])
    table.setSelectedSegmentIDs([])
    node = add_volume(two_blocks(), straight_affine())
    opened.bench.open(node)
    opened.bench.choose(None)  # with the segment's name still in the parameter node
    assert opened.bench.state.segment and opened.panel.input.messages.text == ""


def test_values_of_the_parameter_node_are_kept_as_slicer_keeps_them(host):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    @parameterNodeWrapper
    class Settings:
        volume: slicer.vtkMRMLScalarVolumeNode
        name: str = "a"
        count: int = 3

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    made = Settings(node)
    assert (made.volume, made.name, made.count) == (None, "a", 3) and node.GetParameter("count") == "3"
    made.volume = volume = add_volume(two_blocks(), straight_affine())
    blocked = node.StartModify()
    node.SetParameter("name", "b")
    assert made.name == "a"  # nobody has said that it was modified
    node.EndModify(blocked)
    assert made.name == "b"
    slicer.mrmlScene.RemoveNode(volume)
    assert made.volume is None
    for name, wrong in (("count", "4"), ("name", None), ("volume", node)):
        with pytest.raises(ValueError, match=name):
            setattr(made, name, wrong)
    with pytest.raises(TypeError):
        parameterNodeWrapper(type("Wrong", (), {"__annotations__": {"a": bytes}}))


def test_items_of_lists_are_made_by_the_list(host):
    import qt

    names = qt.QListWidget()
    with pytest.raises(TypeError, match="may delete"):
        names.addItem(qt.QListWidgetItem("a"))
    names.addItem("a")
    assert names.item(0).text() == "a"


def test_qt_keeps_what_a_signal_is_connected_to(host):
    """Until it is disconnected, or the object that emits it is deleted: it is nothing for the garbage collector."""
    import qt

    alive = weakref.WeakSet()

    class Owner:
        def __init__(self):
            alive.add(self)
            self.timer = qt.QTimer()
            self.timer.connect("timeout()", self.react)

        def react(self):
            pass

    Owner()
    gc.collect()
    (kept,) = alive
    assert kept.timer.disconnect("timeout()", kept.react)
    assert not kept.timer.disconnect("timeout()", kept.react)
    del kept
    gc.collect()
    assert not alive


def test_an_older_slicer_is_told_what_it_needs(host, module_file, monkeypatch):
    monkeypatch.setattr(type(slicer.app), "minorVersion", 10)
    widget = open_module(module_file)
    texts = [label.text for label in slicer.util.findChildren(widget.parent, className="QLabel")]
    assert widget.panel is None and any("5.12 or newer" in text for text in texts)
    close_module(widget)


def test_nothing_is_observed_twice(blocks, recwarn):
    """Slicer warns of it in the console; a scene that is closed keeps some of its nodes."""
    for _ in range(2):
        slicer.mrmlScene.Clear(0)
        run_for(0.05)
        blocks.bench.open(add_volume(two_blocks(), straight_affine()))
        blocks.widget.exit()
        blocks.widget.enter()
    assert not [each for each in recwarn if "observer" in str(each.message)]
    blocks.panel.ui.segmentEditor.setActiveEffectByName("Paint")
    blocks.panel.toolbelt.take("box")
    assert not blocks.bench.editor_node.GetActiveEffectName()
