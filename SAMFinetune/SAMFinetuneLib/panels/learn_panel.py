"""Learn: adapt the model to the annotated slices, with evidence before trust."""

from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from SAMFinetuneLib.curve_picture import draw_curve
from SAMFinetuneLib.learning import MIN_SLICES, RECOMMENDED
from SAMFinetuneLib.panels.panel import Panel
from SAMFinetuneLib.workbench import Workbench
from SAMFinetuneLogic.finetuning.strategy import all_strategies
from SAMFinetuneLogic.wording import some_slices

MODES = (("prompts", "Better answers to prompts"), ("automatic", "Whole volumes without prompts"))
COLUMNS = ("Structure", "Slices", "Dice base", "Dice adapted")
_STATES = {
    "prepared": "Starting ...",
    "queued": "Queued.",
    "running": "Learning",
    "judging": "Comparing base and adapted model on held-out slices ...",
    "done": "Done.",
    "cancelled": "Stopped.",
    "failed": "Failed.",
    "killed": "The process ended before it was done.",
}


class LearnPanel(Panel):
    """Starts and follows adaptation jobs, shows the gate's table, and switches adapters."""

    def __init__(self, bench: Workbench, layout: Any, resources: Path) -> None:
        super().__init__(bench, layout, resources, "LearnPanel")
        self._filling = False
        self._shown_adapters: tuple[Path, ...] | None = None
        self._listed_for = ""
        for strategy in all_strategies():
            name = f"{strategy.algorithm}-{strategy.components.replace('_', '-')}"
            text = _("{name} (recommended)").format(name=name) if name == RECOMMENDED else name
            self.ui.strategySelector.addItem(text, name)
        self.ui.strategySelector.setCurrentIndex(self.ui.strategySelector.findData(RECOMMENDED))
        for value, text in MODES:
            self.ui.modeSelector.addItem(_(text), value)
        table = self.ui.evidenceTable
        table.setColumnCount(len(COLUMNS))
        table.setHorizontalHeaderLabels([_(column) for column in COLUMNS])
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        table.verticalHeader().visible = False
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        learning = bench.learning
        self.on_click(self.ui.learnButton, self.start)
        self.on_click(self.ui.learnCancelButton, learning.cancel)
        self.on_click(self.ui.learnResumeButton, learning.resume)
        self.ui.adapterSelector.connect("currentIndexChanged(int)", self._on_adapter)
        learning.changed.connect(self._on_learning)
        learning.failed.connect(self.messages.show_error)
        bench.changed.connect(self.update)
        bench.prompter.changed.connect(self._show_state)
        self._on_learning()

    def start(self) -> None:
        """Adapt with the chosen strategy, for the chosen use."""
        self.bench.collect_hand_edits()
        self.bench.learning.start(self.ui.strategySelector.currentData, self.ui.modeSelector.currentData)
        if self.bench.learning.notices:
            self.messages.show_notice(" ".join(self.bench.learning.notices))

    def update(self) -> None:
        """Show the job and the adapters."""
        learning, work, ui = self.bench.learning, self.bench.work, self.ui
        status = learning.status
        self._show_state()
        ui.learnButton.enabled = work is not None and not learning.running
        ui.learnCancelButton.enabled = learning.running
        stopped = status is not None and status.state in ("cancelled", "failed", "killed")
        ui.learnResumeButton.visible = stopped and not learning.running
        ui.learnBar.visible = learning.running
        if status is not None:
            ui.learnBar.maximum = status.steps
            ui.learnBar.value = status.step
        ui.curveLabel.visible = len(learning.curve) > 1
        if len(learning.curve) > 1:
            ui.curveLabel.setPixmap(draw_curve(learning.curve, status.steps if status else 1))
        self._show_evidence()
        if learning.model != self._listed_for:
            self._list_adapters()
        self._show_adapter()

    def _show_state(self) -> None:
        status = self.bench.learning.status
        if status is not None:
            self.ui.learnState.text = self._progress(status)
        else:
            count = len(self.bench.learning.annotated()) if self.bench.work is not None else 0
            self.ui.learnState.text = self._invitation(count)

    def _invitation(self, count: int) -> str:
        if count < MIN_SLICES:
            return _("{found}; at least {least} are needed to adapt the model.").format(
                found=some_slices(count, _("annotated")), least=MIN_SLICES
            )
        return _("{found} to learn from. Clicks stay live meanwhile.").format(found=some_slices(count, _("annotated")))

    def _progress(self, status: Any) -> str:
        if status.state == "queued" and status.message:
            return status.message
        parts = [_(_STATES.get(status.state, status.state))]
        if status.state == "running" and status.steps:
            parts.append(_("step {step} of {steps}").format(step=status.step, steps=status.steps))
            if status.loss is not None:
                parts.append(_("loss {loss:.3f}").format(loss=status.loss))
            if status.validation_dice is not None:
                parts.append(_("validation Dice {dice:.3f}").format(dice=status.validation_dice))
            if status.seconds_left is not None:
                parts.append(_("about {seconds:.0f} s left").format(seconds=status.seconds_left))
        elif status.message and self.bench.learning.evidence is None:  # else the verdict stands above its table
            parts.append(status.message)
        return ", ".join(parts) if status.state == "running" else " ".join(parts)

    def _show_evidence(self) -> None:
        evidence, table = self.bench.learning.evidence, self.ui.evidenceTable
        table.visible = evidence is not None
        self.ui.verdictLabel.visible = evidence is not None
        if evidence is None:
            return
        self.ui.verdictLabel.text = str(evidence.get("text", ""))
        classes = evidence.get("classes", [])
        table.setRowCount(len(classes))
        for row, entry in enumerate(classes):
            base, adapted = entry["base_dice"], entry["adapted_dice"]
            texts = (entry["name"], str(entry["slices"]), "-" if base is None else f"{base:.3f}", f"{adapted:.3f}")
            for column, text in enumerate(texts):
                table.setItem(row, column, qt.QTableWidgetItem(text))

    def _on_learning(self) -> None:
        self._list_adapters()
        self.update()

    def _list_adapters(self) -> None:
        """Not at each turn to another slice: the jobs lie on the disk."""
        learning, selector = self.bench.learning, self.ui.adapterSelector
        if learning.running:
            return
        self._listed_for = learning.model
        jobs = learning.finished()
        adapters = tuple(job.adapter for job in jobs)
        if adapters != self._shown_adapters:
            self._shown_adapters = adapters
            self._filling = True
            selector.clear()
            selector.addItem(_("Base model"), "")
            for job in jobs:
                selector.addItem(learning.jobs.title(job), str(job.path))
            self._filling = False

    def _show_adapter(self) -> None:
        learning, selector = self.bench.learning, self.ui.adapterSelector
        selector.enabled = bool(self._shown_adapters) and not learning.running
        wanted = "" if learning.adapter is None else str(learning.adapter.parent)
        self._filling = True
        selector.setCurrentIndex(max(selector.findData(wanted), 0))
        self._filling = False

    def _on_adapter(self, _index: int) -> None:
        if self._filling:
            return
        chosen = self.ui.adapterSelector.currentData
        jobs = {str(job.path): job for job in self.bench.learning.finished()}
        self.run(lambda: self.bench.learning.use(jobs.get(chosen)))
