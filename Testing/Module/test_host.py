"""The test host itself: strict where it stands in, and as greedy with the interpreter lock as Slicer."""

import threading
import time

import pytest


def test_a_thread_starves_while_the_event_loop_is_idle(host):
    import qt
    from slicer_host.event_loop import process_events

    ticks, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            ticks[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    time.sleep(0.1)
    assert ticks[0] > 5
    woken = []
    process_events()  # what other tests have left
    qt.QTimer.singleShot(400, lambda: woken.append(True))
    before, start = ticks[0], time.monotonic()
    while not woken:
        process_events(wait=True)
    idle = time.monotonic() - start
    stop.set()
    assert idle > 0.2 and ticks[0] - before < 0.2 * idle / 0.001, (idle, ticks[0] - before)


def test_only_the_main_thread_destroys_what_is_garbage(host):
    import gc

    from slicer_host.event_loop import process_events

    destroyed_by, made = [], []

    class Window:
        def __init__(self):
            self.itself = self

        def __del__(self):
            destroyed_by.append(threading.current_thread())

    def make_many():
        made.extend([] for _ in range(100_000))  # far more than Python waits for before it searches

    gc.collect()
    Window()
    thread = threading.Thread(target=make_many)
    thread.start()
    thread.join()
    assert not destroyed_by
    process_events()
    assert destroyed_by == [threading.main_thread()]


def test_unknown_names_fail(host):
    import ctk
    import qt
    import slicer

    button = qt.QPushButton("a")
    assert button.text == "a" and button.enabled
    button.text = "b"
    assert button.text == "b"
    clicks = []
    button.connect("clicked()", lambda: clicks.append(1))
    button.click()
    assert clicks == [1]
    for wrong in (
        lambda: button.labelText,
        lambda: setattr(button, "labelText", "a"),
        lambda: button.connect("pressedHard()", print),
        lambda: button.connect("clicked", print),
        lambda: qt.QHyperButton,
        lambda: ctk.ctkSpinningWidget,
        lambda: slicer.qMRMLNoWidget,
        lambda: slicer.app.notThere,
        lambda: slicer.modules.nowhere,
        lambda: slicer.qMRMLNodeComboBox().currentNodeIdentity,
    ):
        with pytest.raises(AttributeError):
            wrong()


def test_an_unknown_widget_in_a_ui_file_fails(host, tmp_path):
    import slicer

    path = tmp_path / "Wrong.ui"
    path.write_text(
        '<ui version="4.0"><class>A</class><widget class="QWidget" name="A"><layout class="QVBoxLayout" name="l">'
        '<item><widget class="qMRMLUnknownWidget" name="w"/></item></layout></widget></ui>'
    )
    with pytest.raises(Exception, match=r"qMRMLUnknownWidget|Could not load"):
        slicer.util.loadUI(str(path))


def test_a_view_is_rendered(host):
    from types import SimpleNamespace

    from module_scene import add_volume, straight_affine, two_blocks
    from mouse import view_of

    add_volume(two_blocks(), straight_affine())
    view = view_of(SimpleNamespace(host=host))
    picture = view.picture()
    assert picture.std() > 10
    ras = (straight_affine() @ [25, 20, 6, 1])[:3]
    view.mrmlSliceNode().JumpSliceByOffsetting(*ras)
    assert view.ras_of(view.pixel_of(tuple(ras))) == pytest.approx(tuple(ras), abs=0.5)
