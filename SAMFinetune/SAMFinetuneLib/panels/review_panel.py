"""Review: the slices in order of doubt."""

from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from SAMFinetuneLib.panels.panel import Panel
from SAMFinetuneLib.workbench import Workbench
from SAMFinetuneLogic.wording import some_slices

COLUMNS = ("Slice", "Segment", "In doubt", "Distance")
MOST_ROWS = 200
"""More would take long to show, and nobody goes through them all."""


class ReviewPanel(Panel):
    """Goes through what was filled in."""

    def __init__(self, bench: Workbench, layout: Any, resources: Path) -> None:
        super().__init__(bench, layout, resources, "ReviewPanel")
        table = self.ui.reviewTable
        table.setColumnCount(len(COLUMNS))
        table.setHorizontalHeaderLabels([_(column) for column in COLUMNS])
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        table.verticalHeader().visible = False
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        table.connect("cellClicked(int,int)", lambda row, _column: self.run(lambda: bench.review.go(row)))
        self.on_click(self.ui.reviewPreviousButton, lambda: bench.review.forward(-1))
        self.on_click(self.ui.reviewNextButton, bench.review.forward)
        self.on_click(self.ui.reviewAcceptButton, bench.review.accept)
        self.on_click(self.ui.annotateButton, bench.review.go_to_next_slice)
        self._shown: tuple[Any, ...] | None = None
        bench.review.changed.connect(self.update)
        bench.changed.connect(self.update)
        self.update()

    def update(self) -> None:
        """Show the queue and the place in it."""
        review, work = self.bench.review, self.bench.review.work
        shown = review.entries, self._names()
        if shown != self._shown:
            self._shown = shown
            self._fill()
        place = review.place
        count = len(review.entries)
        if place is not None and place < MOST_ROWS:
            self.ui.reviewTable.selectRow(place)
        else:
            self.ui.reviewTable.clearSelection()
        self.ui.reviewLabel.text = self._state(count)
        self.ui.reviewPreviousButton.enabled = bool(place)
        self.ui.reviewNextButton.enabled = count > 0 and (place is None or place + 1 < count)
        self.ui.reviewAcceptButton.enabled = place is not None and work is not None
        following = review.next_slice
        self.ui.annotateRow.visible = following is not None
        if following is not None:
            where = work.slice_name(following) if work is not None else ""
            self.ui.annotateLabel.text = _("Annotating {slice} would help most.").format(slice=where)

    def _state(self, count: int) -> str:
        if not count:
            return _("Nothing to review: propagate, or apply a collection or an adapter to this volume.")
        text = _("{found}, the most doubtful first.").format(found=some_slices(count))
        if count > MOST_ROWS:
            text += " " + _("The first {shown} are listed.").format(shown=MOST_ROWS)
        return " ".join((text, _("Correct a slice by prompts or by hand, or confirm it."), self.bench.review.note))

    def _names(self) -> dict[str, str]:
        work = self.bench.review.work
        segments = {entry.segment for entry in self.bench.review.entries}
        return {} if work is None else {segment: work.name(segment) for segment in segments}

    def _fill(self) -> None:
        table, work = self.ui.reviewTable, self.bench.review.work
        listed = self.bench.review.entries[:MOST_ROWS]
        table.setRowCount(len(listed))
        for row, entry in enumerate(listed):
            name = work.name(entry.segment) if work is not None else entry.segment
            distance = "-" if entry.distance is None else f"{entry.distance:g}"
            where = work.slice_name(entry.slice) if work is not None else ""
            texts = (where, name, f"{entry.doubt:.0f}", distance)
            for column, text in enumerate(texts):
                table.setItem(row, column, qt.QTableWidgetItem(text))
