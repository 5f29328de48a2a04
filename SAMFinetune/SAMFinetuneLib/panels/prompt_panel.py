"""Prompt: tools, candidates, accept, undo."""

from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from SAMFinetuneLib.panels.panel import Panel
from SAMFinetuneLib.tools.toolbelt import Tool, Toolbelt
from SAMFinetuneLib.workbench import Workbench
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.mrml.annotated import annotated_slices
from SAMFinetuneLogic.wording import some_slices


class PromptPanel(Panel):
    """Where the user tells the model what is meant."""

    def __init__(self, bench: Workbench, layout: Any, resources: Path, toolbelt: Toolbelt) -> None:
        super().__init__(bench, layout, resources, "PromptPanel")
        self.toolbelt = toolbelt
        ui = self.ui
        self.tool_buttons: dict[Tool, Any] = {
            "positive": ui.positiveButton,
            "negative": ui.negativeButton,
            "box": ui.boxButton,
            "lasso": ui.lassoButton,
            "scribble_positive": ui.scribblePositiveButton,
            "scribble_negative": ui.scribbleNegativeButton,
            "paint_positive": ui.paintPositiveButton,
            "paint_negative": ui.paintNegativeButton,
        }
        for tool, button in self.tool_buttons.items():
            button.setIcon(qt.QIcon(str(resources / "Icons" / f"tool_{tool}.png")))
            self.on_click(button, lambda tool=tool: self.take(tool))
        ui.brushSize.value = bench.preferences.brush_mm
        ui.brushSize.connect("valueChanged(double)", self._on_brush)
        toolbelt.set_brush(ui.brushSize.value)
        prompter = bench.prompter
        self.on_click(ui.roiButton, self._use_roi)
        self.on_click(ui.nextButton, prompter.next_candidate)
        self.on_click(ui.acceptButton, self.accept)
        self.on_click(ui.undoButton, bench.undo)
        self.on_click(ui.redoButton, bench.redo)
        self.on_click(ui.clearButton, prompter.clear)
        self.on_click(ui.doneButton, self.mark_done)
        prompter.changed.connect(self.update)
        prompter.failed.connect(self.messages.show_error)
        prompter.answered.connect(self._on_answered)
        bench.changed.connect(self.update)
        bench.inference.changed.connect(self._show_slice)
        toolbelt.changed.connect(self._show_tool)
        self.update()

    def set_scene(self, scene: Any) -> None:
        """Let the selector show the nodes of a scene."""
        self.ui.roiSelector.setMRMLScene(scene)

    def take(self, tool: Tool) -> None:
        """Take up a tool, or put it away if it is in hand.

        Raises:
            InputError: there is no volume or no segment to prompt.
        """
        try:
            _need = self.bench.prompter.work, self.bench.prompter.segment
            self.toolbelt.toggle(tool)
        finally:
            self._show_tool()

    def accept(self) -> None:
        """Write the previews."""
        accepted = self.bench.prompter.accept()
        if accepted.notice:
            self.messages.show_notice(accepted.notice)

    def mark_done(self) -> None:
        """The slice shown is right as it is."""
        self.bench.prompter.mark_done()

    def update(self) -> None:
        """Show the state of the session."""
        prompter, work = self.bench.prompter, self.bench.work
        has_work = work is not None and bool(prompter.target.segment)
        candidates = prompter.candidates
        for button in self.tool_buttons.values():
            button.enabled = has_work
        self.ui.roiButton.enabled = has_work
        self.ui.nextButton.enabled = candidates is not None and candidates.count > 1
        self.ui.acceptButton.enabled = bool(prompter.pending) and not prompter.waiting
        self.ui.undoButton.enabled = has_work
        self.ui.redoButton.enabled = has_work
        self.ui.clearButton.enabled = work is not None and bool(work.session.prompts(prompter.target))
        self.ui.doneButton.enabled = has_work
        self._show_candidates()
        self._show_slice()
        self._show_annotated()

    def _show_candidates(self) -> None:
        prompter = self.bench.prompter
        candidates = prompter.candidates
        if candidates is not None:
            text = _("Mask {number} of {count}, predicted quality {score:.0%}").format(
                number=candidates.chosen + 1, count=candidates.count, score=min(max(candidates.score, 0.0), 1.0)
            )
            others = len(prompter.pending) - 1
            if others > 0:
                text += _(" (and {others} more on other slices)").format(others=others)
            if prompter.waiting:
                text += _(" ({found} still to be answered)").format(found=some_slices(prompter.owed))
            self.ui.candidateLabel.text = " ".join((text, *candidates.notices))
        elif prompter.target in prompter.failed_targets:
            self.ui.candidateLabel.text = _("Not answered: take the prompt back, or change it to ask again")
        elif prompter.waiting:
            self.ui.candidateLabel.text = _("The model is at work ...")
        else:
            self.ui.candidateLabel.text = _("No mask yet")

    def _show_slice(self) -> None:
        work, prompter = self.bench.work, self.bench.prompter
        if work is None:
            self.ui.sliceState.text = _("Choose a volume first.")
            return
        inference = self.bench.inference
        if inference.encoded(work, prompter.slice):
            state = _("ready")
        else:
            preparing = inference.preparing(work, prompter.slice)
            state = _("being prepared ...") if preparing else _("not prepared yet")
        name = work.name(prompter.target.segment) if prompter.target.segment else _("no segment")
        text = f"{name}, {work.slice_name(prompter.slice)}: {state}"
        self.ui.sliceState.text = "\n".join(filter(None, (text, self.bench.view_notice())))

    def _show_annotated(self) -> None:
        work, target = self.bench.work, self.bench.prompter.target
        if work is None or not target.segment:
            self.ui.annotatedLabel.text = ""
            return
        try:
            indices = annotated_slices(work.segmentation_node, target.segment, work.volume, target.slice.axis)
        except InputError:  # the segment is being removed
            indices = ()
        listed = ", ".join(map(str, indices)) or _("none yet")
        self.ui.annotatedLabel.text = _("Annotated slices: {listed}").format(listed=listed)

    def _show_tool(self) -> None:
        for tool, button in self.tool_buttons.items():
            button.checked = tool == self.toolbelt.current

    def _on_brush(self, diameter: float) -> None:
        self.bench.preferences.brush_mm = diameter
        self.toolbelt.set_brush(diameter)

    def _on_answered(self, seconds: float) -> None:
        self.ui.candidateLabel.toolTip = _("Answered in {ms:.0f} ms").format(ms=seconds * 1000)

    def _use_roi(self) -> None:
        node = self.ui.roiSelector.currentNode()
        if node is None:
            raise InputError("Choose an ROI first: draw one with Slicer's Markups.")
        self.bench.prompter.add_markup(node)
