"""Pictures of each state of the module's panel, made on the test host:  python Testing/Host/screenshots.py [FOLDER]

The real module, its real .ui files, the real model and Slicer's real slice rendering; the frame around them, the
Segment Editor and the look of the buttons are the host's. The documentation says so under each picture.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(ROOT))

import PySide6.QtCore as QtCore  # noqa: E402
import PySide6.QtGui as QtGui  # noqa: E402
import PySide6.QtWidgets as QtWidgets  # noqa: E402
from slicer_host.application import start  # noqa: E402
from slicer_host.event_loop import run_for, run_until  # noqa: E402
from slicer_host.loading import close_module, load_module, open_module  # noqa: E402

SECTIONS = ("input", "prompt", "propagate", "learn", "review", "export", "editor")
_MARGIN = 12
_POINTS = 40
"""Of the curve of learning, when its picture is taken."""
_PATIENCE = 600
"""Seconds for each step of the work."""


def main(folder: Path) -> None:
    """Go through the work on the phantom and save a picture at each step."""
    folder.mkdir(parents=True, exist_ok=True)
    app = start()
    app.layoutManager().window.resize(1050, 380)
    app.layoutManager().window.show()
    widget = open_module(load_module(ROOT / "SAMFinetune" / "SAMFinetune.py"))
    panel, bench = widget.panel, widget.panel.bench

    def save(name: str, *sections: str) -> None:
        for section in SECTIONS:
            if hasattr(panel.ui, f"{section}Section"):
                getattr(panel.ui, f"{section}Section").collapsed = section not in sections
        run_for(0.2)
        _compose(widget.parent._q, app.layoutManager().window).save(str(folder / f"{name}.png"))
        print(folder / f"{name}.png", flush=True)

    save("opened", "input", "prompt")
    panel.input.ui.tryButton.click()
    _wait(lambda: bench.prompter.candidates is not None, "the answer", panel)
    run_for(1.0)
    save("prompt", "input", "prompt")
    first = bench.prompter.slice
    middle = bench.prompter.prompts()[0].prompt.position
    panel.prompt.ui.acceptButton.click()
    _annotate_around(bench, first, middle, panel)
    panel.propagate.ui.methodSelector.setCurrentIndex(0)
    panel.propagate.ui.propagateButton.click()
    _wait(lambda: not bench.propagation.running, "the propagation", panel)
    save("propagate", "propagate")
    panel.collection.ui.collectionAddButton.click()
    _wait(lambda: not bench.collection.long.running, "the collection", panel)
    save("collection", "learn")
    panel.learn.ui.learnButton.click()
    _wait(lambda: len(bench.learning.curve) >= _POINTS or not bench.learning.running, "the curve", panel)
    save("adapting", "learn")
    _wait(lambda: not bench.learning.running, "the verdict", panel)
    save("adapted", "learn")
    panel.review.ui.reviewNextButton.click()
    save("review", "review")
    panel.export.ui.exportFolder.currentPath = str(Path(app.temporaryPath))
    panel.export.ui.exportName.text = "liver"
    panel.export.ui.exportButton.click()
    _wait(lambda: not bench.exporting.running, "the export", panel)
    panel.export.ui.exportFolder.currentPath = "/path/to/results"
    panel.export.ui.exportResult.text = "Written to /path/to/results: liver.nii.gz, liver.json"
    save("export", "export", "editor")
    panel.prompt.run(lambda: bench.prompter.add_point((900.0, 0.0, 0.0)))
    save("error", "prompt")
    close_module(widget)


def _annotate_around(bench: Any, first: Any, position: tuple[float, float, float], panel: Any) -> None:
    """A click on four more slices, at the same place of the plane: enough to hold two out."""
    from SAMFinetuneLogic.imaging.axes import SliceIndex

    volume = bench.work.volume
    row, col = volume.ras_to_slice([position], first.axis)[0][1:]
    for step in (-6, -3, 3, 6):
        index = min(max(first.index + step, 0), volume.slice_count(first.axis) - 1)
        bench.go_to(SliceIndex(first.axis, index))
        bench.prompter.add_point(tuple(volume.slice_to_ras([[index, row, col]], first.axis)[0]), True, first.axis)
        _wait(lambda: bench.prompter.candidates is not None, "the answer", panel)
        bench.prompter.accept()


def _wait(condition: Callable[[], bool], what: str, panel: Any) -> None:
    if not run_until(condition, _PATIENCE):
        sys.exit(f"{what} did not come: {panel.bench.inference.status} {panel.prompt.messages.text}")


def _compose(panel: QtWidgets.QWidget, views: QtWidgets.QWidget) -> QtGui.QPixmap:
    """Panel on the left, slice views on the right, as in Slicer."""
    panel.setFixedWidth(430)
    inside = panel.layout().itemAt(0).widget()
    panel.resize(430, max(inside.layout().heightForWidth(410), 300) + 2 * _MARGIN)
    run_for(0.1)
    left, right = panel.grab(), views.grab()
    size = QtCore.QSize(left.width() + right.width() + _MARGIN, max(left.height(), right.height()))
    picture = QtGui.QPixmap(size)
    picture.fill(QtGui.QColor("#efefef"))
    painter = QtGui.QPainter(picture)
    painter.drawPixmap(0, 0, left)
    painter.drawPixmap(left.width() + _MARGIN, 0, right)
    painter.end()
    return picture


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "Resources" / "Screenshots")
    sys.stdout.flush()
    os._exit(0)  # the interpreter's end is of no interest here
