"""The module's panel: the sections in the order of the work, and what happens when it opens, leaves and closes."""

from pathlib import Path
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SAMFinetuneLib.dependencies import Dependencies
from SAMFinetuneLib.log_memory import LogMemory
from SAMFinetuneLib.message_bar import MessageBar
from SAMFinetuneLib.panels.collection_panel import CollectionPanel
from SAMFinetuneLib.panels.export_panel import ExportPanel
from SAMFinetuneLib.panels.input_panel import InputPanel
from SAMFinetuneLib.panels.learn_panel import LearnPanel
from SAMFinetuneLib.panels.prompt_panel import PromptPanel
from SAMFinetuneLib.panels.propagate_panel import PropagatePanel
from SAMFinetuneLib.panels.review_panel import ReviewPanel
from SAMFinetuneLib.parameter_node import ModuleState
from SAMFinetuneLib.save_watch import SaveWatch
from SAMFinetuneLib.shortcuts import Shortcuts
from SAMFinetuneLib.timers import make_timer
from SAMFinetuneLib.tools.markers import PromptMarkers
from SAMFinetuneLib.tools.toolbelt import Toolbelt
from SAMFinetuneLib.workbench import Workbench
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.mrml.slice_views import slice_in_view

_EDITOR_NODE = "SAMFinetuneSegmentEditor"
_EFFECT_KEYS = ("A", "X")
"""What the Draw effect of the Segment Editor needs itself: apply, and delete the last point."""


class ModulePanel(VTKObservationMixin):
    """Builds the sections on a workbench.

    Args:
        bench: does the work.
        layout: of the module's widget.
        resources: the module's ``Resources`` folder.
        parameter_node: gives the scene's node with the module's state.
    """

    def __init__(self, bench: Workbench, layout: Any, resources: Path, parameter_node: Any) -> None:
        super().__init__()
        self.bench = bench
        self._parameter_node = parameter_node
        self._state_tag: tuple[ModuleState, int] | None = None
        self._entered = False
        self._effect = ""
        self.saves = SaveWatch(self._on_save)
        self.log = LogMemory()
        self.widget = slicer.util.loadUI(str(resources / "UI" / "SAMFinetune.ui"))
        layout.addWidget(self.widget)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.messages = MessageBar(self.widget.layout())
        self.dependencies = Dependencies(resources / "requirements-slicer.txt")
        self.markers = PromptMarkers(bench.prompter, self._axis_of_view, self._report)
        self.toolbelt = Toolbelt(bench.prompter, self.markers, bench.views, self._report, resources / "Icons")
        self.input = InputPanel(bench, self.ui.inputSection.layout(), resources, self.log)
        self.prompt = PromptPanel(bench, self.ui.promptSection.layout(), resources, self.toolbelt)
        self.propagate = PropagatePanel(bench, self.ui.propagateSection.layout(), resources)
        self.collection = CollectionPanel(bench, self.ui.learnSection.layout(), resources)
        self.learn = LearnPanel(bench, self.ui.learnSection.layout(), resources)
        self.review = ReviewPanel(bench, self.ui.reviewSection.layout(), resources)
        self.export = ExportPanel(bench, self.ui.exportSection.layout(), resources)
        self._unfold_with_messages()
        self.shortcuts = Shortcuts(self._keys())
        self._editor_timer = make_timer(bench.follow_editor, 0, once=True)
        self._set_up_editor()
        self.ui.installButton.connect("clicked()", self.install)
        self.toolbelt.before_take = self._put_effect_away
        bench.review.filled.connect(self._open_review)
        bench.writing.changed.connect(self._on_writing)
        self.show_missing()
        self.set_scene(slicer.mrmlScene)

    # Life

    def enter(self) -> None:
        """The user has come to the module."""
        self._entered = True
        self.show_missing()
        if self.bench.state is None:
            self.open_scene()
        self.bench.learning.find_running()
        self.bench.views.attach()
        self.shortcuts.install(self.widget)
        self.ui.segmentEditor.setupViewObservations()
        self.bench.follow_view()

    def exit(self) -> None:
        """The user goes to another module: nothing of ours reacts to keys or the mouse there."""
        self._entered = False
        self.toolbelt.take("")
        self.shortcuts.remove()
        self.bench.views.detach()
        self.ui.segmentEditor.setActiveEffectByName("")
        self.ui.segmentEditor.removeViewObservations()
        self.bench.save()

    def cleanup(self) -> None:
        """The application ends, or a developer reloads the module: nothing of it may stay behind.

        "Reload" does not say :meth:`exit`, and hides the old widgets instead of deleting them; with them, Qt would
        keep all that their signals are connected to.
        """
        if self._entered:
            self.exit()
        self.removeObservers()
        self.saves.stop()
        self._editor_timer.stop()
        self._observe_state(None)
        self.input.close()
        self.collection.close()
        self.markers.close()
        self.bench.close()
        self.log.close()
        self.widget.deleteLater()

    def set_scene(self, scene: Any) -> None:
        """Follow a scene."""
        self.input.set_scene(scene)
        self.prompt.set_scene(scene)
        self.collection.set_scene(scene)
        self.addObserver(scene, scene.StartCloseEvent, self._on_start_close)
        self.addObserver(scene, scene.EndCloseEvent, self._on_end_close)
        self.addObserver(scene, scene.StartImportEvent, self._on_import)
        self.addObserver(scene, scene.EndImportEvent, self._on_imported)
        self.saves.follow(scene)

    def open_scene(self) -> None:
        """Take up the scene's parameter node, and what it names."""
        state = ModuleState(self._parameter_node())
        self._observe_state(state)
        self._follow_editor_node()
        self.bench.state = state
        self.bench.update()

    # Dependencies

    def show_missing(self) -> None:
        """Offer the installation if something is missing; where it cannot be installed, say why and what to do."""
        missing, obstacle = self.dependencies.missing(), self.dependencies.obstacle()
        self.ui.installFrame.visible = bool(missing)
        self.ui.installButton.visible = not obstacle
        if missing:
            text = _("Not installed yet, or not in a version that serves: {names}.").format(names=", ".join(missing))
            self.ui.installLabel.text = obstacle or text

    def install(self) -> None:
        """Install what is missing while no process uses it; what goes wrong is shown at the top."""
        self.messages.clear()
        self.widget.enabled = False  # Slicer goes on taking events meanwhile
        try:
            self._require_rest()
            try:
                with self.bench.inference.paused():
                    self.dependencies.install()
            finally:
                self.bench.reload_model()
        except Exception as error:
            self.messages.show_error(error)
        finally:
            self.widget.enabled = True
        self.show_missing()

    # How it is done

    def _require_rest(self) -> None:
        bench = self.bench
        if bench.learning.running or bench.propagation.running or bench.collection.long.running:
            raise InputError("The model is at work: wait for it, or cancel it, and install then.")

    def _keys(self) -> dict[str, tuple[Any, Any]]:
        prompt, ui = self.prompt, self.prompt.ui
        review, queue = self.review, self.bench.review

        def tool(name: Any) -> Any:
            return lambda: prompt.run(lambda: prompt.take(name))

        return {
            "P": (ui.positiveButton, tool("positive")),
            "N": (ui.negativeButton, tool("negative")),
            "B": (ui.boxButton, tool("box")),
            "L": (ui.lassoButton, tool("lasso")),
            "S": (ui.scribblePositiveButton, tool("scribble_positive")),
            "X": (ui.scribbleNegativeButton, tool("scribble_negative")),
            "Shift+S": (ui.paintPositiveButton, tool("paint_positive")),
            "Shift+X": (ui.paintNegativeButton, tool("paint_negative")),
            "M": (ui.nextButton, lambda: prompt.run(self.bench.prompter.next_candidate)),
            "A": (ui.acceptButton, lambda: prompt.run(prompt.accept)),
            "D": (ui.doneButton, lambda: prompt.run(prompt.mark_done)),
            "Shift+N": (review.ui.reviewNextButton, lambda: review.run(queue.forward)),
            "Shift+B": (review.ui.reviewPreviousButton, lambda: review.run(lambda: queue.forward(-1))),
            "Shift+D": (review.ui.reviewAcceptButton, lambda: review.run(queue.accept)),
            "Ctrl+Z": (ui.undoButton, lambda: prompt.run(self.bench.undo)),
            "Ctrl+Y": (ui.redoButton, lambda: prompt.run(self.bench.redo)),
            "Esc": (None, self._put_away),
        }

    def _put_away(self) -> None:
        """What the mouse holds: a tool of ours, or an effect of the Segment Editor."""
        if self.toolbelt.current:
            self.toolbelt.take("")
        else:
            self._put_effect_away()

    def _unfold_with_messages(self) -> None:
        """What goes wrong in a folded section is seen, too."""
        for section, panels in (
            (self.ui.inputSection, (self.input,)),
            (self.ui.promptSection, (self.prompt,)),
            (self.ui.propagateSection, (self.propagate,)),
            (self.ui.learnSection, (self.collection, self.learn)),
            (self.ui.reviewSection, (self.review,)),
            (self.ui.exportSection, (self.export,)),
        ):
            for panel in panels:
                panel.messages.shown.connect(lambda section=section: setattr(section, "collapsed", False))

    def _set_up_editor(self) -> None:
        editor = self.ui.segmentEditor
        editor.segmentationNodeSelectorVisible = False
        editor.sourceVolumeNodeSelectorVisible = False
        editor.switchToSegmentationsButtonVisible = False
        editor.autoShowSourceVolumeNode = False  # the module shows the volume itself
        editor.maximumNumberOfUndoStates = 10
        editor.setMRMLScene(slicer.mrmlScene)
        self.bench.save_editor_state = editor.saveStateForUndo
        self.bench.undo_editor = editor.undo
        self.bench.redo_editor = editor.redo
        self._follow_editor_node()

    def _on_writing(self) -> None:
        """While a result is half written, no edit by hand and no undo of the editor's own may come in between."""
        editor, writing = self.ui.segmentEditor, self.bench.writing.running
        editor.enabled = not writing
        node = self.bench.editor_node
        if writing and node is not None:
            self._effect = node.GetActiveEffectName() or ""
            editor.setActiveEffectByName("")
        elif self._effect and self._entered:
            if not self.toolbelt.current:
                editor.setActiveEffectByName(self._effect)
            self._effect = ""

    def _put_effect_away(self) -> None:
        """The mouse belongs to a tool of ours or to an effect of the Segment Editor: the one taken up last."""
        node = self.bench.editor_node
        if node is not None and node.GetActiveEffectName():
            self.ui.segmentEditor.setActiveEffectByName("")

    def _on_editor_node(self, node: Any, _event: str) -> None:
        effect = bool(node.GetActiveEffectName())
        self.shortcuts.set_enabled(_EFFECT_KEYS, not effect)
        if effect:
            self.toolbelt.hand_over()
        self._editor_timer.start()  # a moment later: writing a result changes the node for a moment

    def _follow_editor_node(self) -> None:
        node = slicer.mrmlScene.GetSingletonNode(_EDITOR_NODE, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(_EDITOR_NODE)
            node = slicer.mrmlScene.AddNode(node)
        if node is not self.bench.editor_node:
            self.bench.editor_node = node
            self.ui.segmentEditor.setMRMLSegmentEditorNode(node)
            if not self.hasObserver(node, vtk.vtkCommand.ModifiedEvent, self._on_editor_node):  # it may have stayed
                self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._on_editor_node)

    def _observe_state(self, state: ModuleState | None) -> None:
        if self._state_tag is not None:
            old, tag = self._state_tag
            old.RemoveObserver(tag)
            self._state_tag = None
        if state is not None:
            self._state_tag = (state, state.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_state))

    def _on_state(self, *_arguments: Any) -> None:
        self.bench.update()

    def _on_start_close(self, *_arguments: Any) -> None:
        self.saves.stop()
        self.toolbelt.take("")
        self._observe_state(None)
        self.markers.remove_all()
        self.bench.close_scene()
        self.bench.editor_node = None

    def _on_end_close(self, *_arguments: Any) -> None:
        self.saves.follow(slicer.mrmlScene)
        self._follow_editor_node()
        if self._entered:
            self.open_scene()

    def _on_import(self, *_arguments: Any) -> None:
        self.input.importing = True

    def _on_imported(self, *_arguments: Any) -> None:
        self.input.importing = False
        self.input.update()
        if self._entered:
            self.open_scene()

    def _on_save(self) -> None:
        """What is half written is whole in the file, and the session's last second is in it."""
        self.bench.writing.finish()
        if self.bench.record.pending:
            self.bench.save()

    def _axis_of_view(self) -> Any:
        node = self.bench.views.active
        if self.bench.work is None or node is None:
            return self.bench.prompter.slice.axis
        return slice_in_view(self.bench.prompter.work.volume, node).slice.axis

    def _report(self, error: Exception) -> None:
        self.prompt.messages.show_error(error)

    def _open_review(self) -> None:
        self.ui.reviewSection.collapsed = False
