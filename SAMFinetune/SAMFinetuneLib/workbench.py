"""Everything that the module does, without its widgets: the object to drive from Slicer's Python console.

>>> bench = slicer.util.getModuleWidget("SAMFinetune").logic.workbench
>>> bench.open(slicer.util.getNode("CT"))
>>> bench.prompter.add_point((12.0, -30.0, 88.5))
>>> bench.prompter.accept()
>>> bench.propagation.start()
"""

from collections.abc import Callable
from typing import Any

from SAMFinetuneLib.applying import Applying
from SAMFinetuneLib.collection import Collection
from SAMFinetuneLib.exporting import Exporting
from SAMFinetuneLib.inference import Inference
from SAMFinetuneLib.learning import Learning
from SAMFinetuneLib.long_work import LongWork
from SAMFinetuneLib.model_choice import model_choice
from SAMFinetuneLib.navigation import Navigation
from SAMFinetuneLib.node_watch import NodeWatch
from SAMFinetuneLib.parameter_node import ModuleState
from SAMFinetuneLib.preferences import Preferences
from SAMFinetuneLib.presence import Presence
from SAMFinetuneLib.prompter import Prompter
from SAMFinetuneLib.propagation import Propagation
from SAMFinetuneLib.review import Review
from SAMFinetuneLib.scene_record import SceneRecord
from SAMFinetuneLib.signal import Signal
from SAMFinetuneLib.step_writing import StepWriting
from SAMFinetuneLib.views import SliceViews
from SAMFinetuneLib.work import Work, new_segmentation, open_work
from SAMFinetuneLogic.errors import Cancelled, InputError, SAMFinetuneError
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID
from SAMFinetuneLogic.mrml.segments import add_segment, segment_ids, segmentation_of
from SAMFinetuneLogic.prompting.session import InteractiveSession
from SAMFinetuneLogic.worker.interface import InferenceClient
from SAMFinetuneLogic.worker.requests import ModelChoice

_STOPPED = "The propagation was stopped: its volume, window or segmentation is another one now. Propagate again."


class Workbench:
    """Holds what is under work and keeps its parts together.

    Args:
        make_client: makes the client of the inference process, when it is first needed.

    Attributes:
        state: the module's parameter node; None between scenes.
        work: what is open; None without a volume. While that changes all the time, ``prompter.work`` is up to date.
        writing: writes results into segments in steps; ``writing.finish()`` writes what is left at once.
        changed: emitted when the volume, segmentation, segment, slice, model or window has changed.
        problem: emitted with an exception that the user should see, when no section asked for the action.
    """

    def __init__(self, make_client: Callable[[], InferenceClient]) -> None:
        self.changed = Signal()
        self.problem = Signal()
        self.preferences = Preferences()
        self.views = SliceViews()
        self.state: ModuleState | None = None
        self.work: Work | None = None
        self.inference = Inference(make_client, self._choice)
        self.prompter = Prompter(self.inference)
        presence = Presence()
        self.review = Review(self.go_to, self.select_segment, self.prompter.confirm, presence)
        self.writing = StepWriting()
        self.propagation = Propagation(
            self.inference, self.prompter, self.review, self.writing, self._undo_edit, presence
        )
        self.learning = Learning(self.inference, self.prompter, self.preferences, self._model, self.reload_model)
        self.collection = Collection(self.inference, self.prompter, LongWork())
        self.applying = Applying(
            self.inference,
            self.prompter,
            self.collection,
            self.review,
            self._work_now,
            lambda: self.save_editor_state,
            self.writing,
            self._undo_edit,
            presence,
        )
        self.exporting = Exporting(self.prompter, self.writing.finish, self._model)
        self.navigation = Navigation(self.views, self.prompter, self.inference, lambda: self.work)
        self.record = SceneRecord(self.prompter, self.review, self.learning, self.collection, self.save)
        self.editor_node: Any = None
        self.save_editor_state: Callable[[], None] | None = None
        self.undo_editor: Callable[[], None] | None = None
        self.redo_editor: Callable[[], None] | None = None
        self._opened: tuple[Any, ...] = ()
        self._updating = False
        self._watch = NodeWatch(self.collect_hand_edits, self.update, self._follow_volume, lambda: self._updating)
        self.prompter.before_use = self._work_now
        self.prompter.before_accept = self.writing.finish
        for signal in (self.prompter.accepted, self.writing.changed):
            signal.connect(self._look_at_results)
        self.navigation.changed.connect(self.changed.emit)
        for part in (self, self.prompter, self.review, self.learning, self.collection.long):
            part.changed.connect(self.record.save_soon)

    # Input

    def open(self, volume_node: Any, segmentation_node: Any = None) -> Work:
        """Work on a volume; without a segmentation on the last one that was made for it, else on a new one.

        Raises:
            InputError: the volume cannot be segmented.
        """
        self.choose(volume_node, segmentation_node)
        if self.work is None:
            raise InputError("The volume could not be opened: see the message under Input.")
        return self.work

    def choose(self, volume_node: Any, segmentation_node: Any = None) -> None:
        """As :meth:`open`; what goes wrong is emitted as ``problem``. None for no volume."""
        state = self._require_state()
        self._updating = True  # the two belong together
        try:
            if segmentation_node is not None or state.volume is not volume_node:
                state.segmentation = segmentation_node
            state.volume = volume_node
        finally:
            self._updating = False
        self.update()

    def update(self) -> None:
        """Follow the parameter node: open what it names, if that has changed."""
        if self.state is None or self._updating:
            return
        self._updating = True
        try:
            self._update()
        except SAMFinetuneError as error:
            self._close_work()
            self.problem.emit(error)
        finally:
            self._updating = False
        self.changed.emit()

    def select_segment(self, segment_id: str) -> None:
        """Prompt another segment from now on."""
        state = self._require_state()
        if state.segment != segment_id:
            state.segment = segment_id
        self.prompter.set_segment(segment_id)
        if self.editor_node is not None and self.editor_node.GetSelectedSegmentID() != segment_id:
            self.editor_node.SetSelectedSegmentID(segment_id)
        self.changed.emit()

    def add_segment(self, name: str | None = None) -> str:
        """Add a segment and select it; returns its id."""
        segment_id = add_segment(self.prompter.work.segmentation_node, name)
        self.select_segment(segment_id)
        return segment_id

    def remove_segment(self) -> None:
        """Remove the selected segment; the Segment Editor can undo it."""
        work, segment = self.prompter.work, self.prompter.segment
        self.writing.finish()
        if self.save_editor_state is not None:
            self.save_editor_state()
        work.segmentation_node.GetSegmentation().RemoveSegment(segment)

    def set_model(self, model_id: str) -> None:
        """Answer prompts with another model; prompts stay and are asked anew."""
        state = self._require_state()
        if state.model != model_id:
            state.model = model_id
            self.learning.adapter = None  # it belongs to the other model
        self.reload_model()

    def reload_model(self) -> None:
        """Load the model as model, device, folder and adapter are chosen now; prompts are asked anew."""
        if self.work is not None:
            self.work.session = InteractiveSession.from_dict(self.work.session.to_dict(), self.work.volume)
            self.inference.restart()
            self.prompter.ask_again()
            self.follow_view()
        self.changed.emit()

    def set_window(self, window: str) -> None:
        """Show the model another range of values: a name, or LEVEL/WIDTH.

        Raises:
            InputError: it is unknown.
        """
        from SAMFinetuneLogic.imaging.windows import choose_window

        if self.work is not None:
            choose_window(self.work.volume, window)
        self._require_state().window = window
        self.update()

    # Where the user looks

    def go_to(self, slice_index: SliceIndex) -> None:
        """Show a slice in the view that lies along its axis, else in the active view, turned as little as needed."""
        self.navigation.go_to(slice_index)

    def follow_view(self) -> None:
        """Take the slice of the active view as the one that the user works on."""
        self.navigation.follow_view()

    def view_notice(self) -> str | None:
        """A sentence if the active view is rotated against the voxels or outside of the volume."""
        return self.navigation.notice()

    # Undo

    def undo(self) -> None:
        """Take back the last prompt; without one, the Segment Editor's last edit.

        A result that is half written is taken back once it is whole: no half of it stays, nor comes back by redo.
        """
        if self.prompter.can_undo:
            self.prompter.undo()
        elif not self.writing.take_back():
            self._undo_edit()

    def redo(self) -> None:
        """The inverse of :meth:`undo`."""
        if self.prompter.can_redo:
            self.prompter.redo()
        elif self.redo_editor is not None and not self.writing.running:
            self.redo_editor()
            self._look_at_results()

    def _undo_edit(self) -> None:
        if self.undo_editor is not None:
            self.undo_editor()
            self._look_at_results()

    # The scene

    def follow_editor(self) -> None:
        """Its node has changed: it edits what is worked on, and the segment chosen in it is the one to prompt.

        The Segment Editor's hidden selectors change by themselves when a scene is read.
        """
        if self.state is None or self.work is None or self.editor_node is None or not self.work.in_scene:
            return
        self._point_editor(self.work.volume_node, self.work.segmentation_node)
        if self.writing.running:
            return
        chosen = self.editor_node.GetSelectedSegmentID() or ""
        if chosen != self.state.segment and chosen in segment_ids(self.work.segmentation_node):
            self.collect_hand_edits()  # what was drawn until now belongs to the one before
            self.select_segment(chosen)

    def collect_hand_edits(self) -> None:
        """Slices on which the user has drawn in the Segment Editor count as annotated; names and colours are shown."""
        drawn = self._watch.collect(self.prompter.target.segment)
        if self._watch.renamed():
            self.prompter.refresh()  # the preview has the segment's colour
            self.changed.emit()
        elif drawn:
            self.changed.emit()
        self._look_at_results()

    def _look_at_results(self) -> None:
        self.review.look(self.work)
        self.applying.look()
        if self.work is not None:
            self.propagation.look(self.work)

    def save(self) -> None:
        """Put the session into the scene, so that it is part of the ``.mrb``; called soon after each change."""
        if self.work is None or self.state is None:
            self.record.forget()
            return
        self.collect_hand_edits()
        self.record.save(self.work, self.state.model)

    def close_scene(self) -> None:
        """Let go of everything of the scene; the model stays loaded."""
        self.applying.forget()
        self._close_work()
        self.learning.forget()
        self.state = None
        self.changed.emit()

    def close(self) -> None:
        """End everything, the inference process included."""
        self.views.detach()
        self._close_work()
        self.applying.forget()
        self.learning.close()
        self.inference.close()
        self.exporting.finish()

    # How it is done

    def _update(self) -> None:
        state = self._require_state()
        volume_node = state.volume
        if volume_node is None:
            self._close_work()
            return
        if state.segmentation is None:
            state.segmentation = segmentation_of(volume_node)
        if state.segmentation is None:
            state.segmentation = new_segmentation(volume_node)
        segmentation_node = state.segmentation
        wanted = (volume_node.GetID(), segmentation_node.GetID(), state.window)
        if self.work is None or wanted != self._opened or self.work.moved:
            self._open(volume_node, segmentation_node, state.window)
            self._opened = wanted
        ids = segment_ids(segmentation_node)
        if state.segment not in ids:
            state.segment = ids[0] if ids else ""
        self.select_segment(state.segment)

    def _open(self, volume_node: Any, segmentation_node: Any, window: str) -> None:
        old, carried, said = self.work, None, None
        if old is not None and old.in_scene:
            self.writing.finish()  # what is half written is reviewed as well
        if old is not None and old.volume_node is volume_node and old.segmentation_node is segmentation_node:
            carried = self.record.carry_over(old)
            said = None if old.moved else self.propagation.carried()  # only the window is another one
        elif old is not None and old.in_scene and self.record.pending:
            self.save()
        stopped = self._close_work()
        self._point_editor(volume_node, segmentation_node)
        work = open_work(volume_node, segmentation_node, window, self.editor_node, self.save_editor_state)
        try:
            self.record.restore(work, carried)
        except SAMFinetuneError as error:
            self.problem.emit(error)  # the volume opens all the same, with an empty session
        self.work = work
        self._watch.follow(work, lambda: self.prompter.slice.axis)
        self.prompter.set_work(work)
        if said is not None:
            self.propagation.take_up(work, said)
        self.inference.start()
        self.follow_view()
        if stopped:
            self.propagation.failed.emit(Cancelled(_STOPPED))

    def _point_editor(self, volume_node: Any, segmentation_node: Any) -> None:
        node = self.editor_node
        if node is not None and node.GetSegmentationNode() is not segmentation_node:
            node.SetAndObserveSegmentationNode(segmentation_node)
        if node is not None and node.GetSourceVolumeNode() is not volume_node:
            node.SetAndObserveSourceVolumeNode(volume_node)

    def _close_work(self) -> bool:
        stopped = self.propagation.forget()
        self.review.clear()
        self._watch.stop()
        self.record.forget()
        work, self.work, self._opened = self.work, None, ()
        self.prompter.set_work(None)
        if work is not None:
            work.close()
        return stopped

    def _follow_volume(self) -> None:
        if self.work is not None and self.work.moved:
            if self.work.replaced:
                self.inference.forget()
            self.update()

    def _choice(self) -> ModelChoice:
        return model_choice(self._model(), self.preferences, self.learning.adapter)

    def _model(self) -> str:
        return self.state.model if self.state is not None else DEFAULT_MODEL_ID

    def _require_state(self) -> ModuleState:
        if self.state is None:
            raise InputError("The scene is being closed: try again afterwards.")
        return self.state

    def _work_now(self) -> Work | None:
        if not self._updating:
            self._watch.catch_up()
        return self.work
