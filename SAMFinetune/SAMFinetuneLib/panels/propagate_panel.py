"""Propagate: from annotated slices to the volume."""

from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from SAMFinetuneLib.panels.panel import Panel
from SAMFinetuneLib.workbench import Workbench
from SAMFinetuneLogic.errors import SAMFinetuneError
from SAMFinetuneLogic.propagation.options import PropagationOptions
from SAMFinetuneLogic.wording import some_slices

QUICK = "quick"
METHODS = (
    ("auto", "Best mix (recommended)"),
    (QUICK, "Best mix without learning (faster)"),
    ("interpolate", "Outline between slices, without the model"),
    ("propagate", "Model, from slice to slice"),
    ("fewshot", "Few-shot decoder (takes longer)"),
)
DIRECTIONS = (("both", "Both ways"), ("forward", "Towards higher slices"), ("backward", "Towards lower slices"))


class PropagatePanel(Panel):
    """Fills in the selected segment, or all of them."""

    def __init__(self, bench: Workbench, layout: Any, resources: Path) -> None:
        super().__init__(bench, layout, resources, "PropagatePanel")
        for value, text in METHODS:
            self.ui.methodSelector.addItem(_(text), value)
        for value, text in DIRECTIONS:
            self.ui.directionSelector.addItem(_(text), value)
        self.on_click(self.ui.propagateButton, self.start)
        self.on_click(self.ui.propagateCancelButton, bench.propagation.cancel)
        self.ui.allSegments.connect("toggled(bool)", lambda _on: self.update())
        bench.propagation.changed.connect(self.update)
        bench.propagation.failed.connect(self.messages.show_error)
        bench.changed.connect(self.update)
        bench.prompter.changed.connect(self.update)
        self.update()

    def start(self) -> None:
        """Fill in, as chosen."""
        first, last = self.ui.fromSlice.value, self.ui.toSlice.value
        self.bench.collect_hand_edits()
        method = self.ui.methodSelector.currentData
        self.bench.propagation.start(
            PropagationOptions(
                method="auto" if method == QUICK else method,
                adapt=method != QUICK,
                direction=self.ui.directionSelector.currentData,
                first=None if first < 0 else first,
                last=None if last < 0 else last,
            ),
            self.ui.allSegments.checked,
        )

    def update(self) -> None:
        """Show where the run stands."""
        propagation, work = self.bench.propagation, self.bench.work
        self.ui.propagateButton.enabled = work is not None and not propagation.running
        self.ui.propagateCancelButton.enabled = propagation.running
        self.ui.propagateProgress.visible = propagation.running
        self.ui.propagateProgress.maximum = propagation.total
        self.ui.propagateProgress.value = propagation.done
        self.ui.estimateLabel.text = propagation.summary
        self.ui.propagateState.text = self._state()
        if work is not None:
            last = work.volume.slice_count(self.bench.prompter.slice.axis) - 1
            for box in (self.ui.fromSlice, self.ui.toSlice):
                if box.maximum != last:
                    box.maximum = last

    def _state(self) -> str:
        if self.bench.work is None:
            return _("Choose a volume first.")
        try:
            if self.ui.allSegments.checked:
                return self._state_of_all()
            slices = self.bench.propagation.annotated()
        except SAMFinetuneError as error:
            return str(error)
        axis = self.bench.prompter.slice.axis
        name = self.bench.work.name(self.bench.prompter.target.segment)
        if not slices:
            return _("{name} has no annotated slice along {axis} yet: accept a mask first.").format(
                name=name, axis=axis
            )
        text = _("{name}: {found} along {axis}.").format(
            name=name, found=some_slices(len(slices), _("annotated")), axis=axis
        )
        return text if len(slices) > 2 else text + " " + _("Three or more give an estimate of quality.")

    def _state_of_all(self) -> str:
        work, axis = self.bench.work, self.bench.prompter.slice.axis
        found = self.bench.propagation.annotated_segments()
        if not found:
            return _("No segment has an annotated slice along {axis} yet: accept a mask first.").format(axis=axis)
        parts = ", ".join(f"{work.name(segment)} {len(slices)}" for segment, slices in found.items())
        return _("Annotated slices along {axis}: {parts}.").format(axis=axis, parts=parts)
