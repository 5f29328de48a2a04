"""Everything that the module does, without its widgets: the object to drive from Slicer's Python console.

>>> bench = slicer.util.getModuleWidget("SAMFinetune").logic.workbench
>>> bench.open(slicer.util.getNode("CT"))
>>> bench.prompter.add_point((12.0, -30.0, 88.5))
>>> bench.prompter.accept()
>>> bench.propagation.start()
"""

import logging
from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.util import VTKObservationMixin

from SAMFinetuneLib.applying import Applying
from SAMFinetuneLib.collection import Collection
from SAMFinetuneLib.inference import Inference
from SAMFinetuneLib.learning import Learning
from SAMFinetuneLib.long_work import LongWork
from SAMFinetuneLib.parameter_node import ModuleState
from SAMFinetuneLib.preferences import Preferences
from SAMFinetuneLib.prompter import Prompter
from SAMFinetuneLib.propagation import Propagation
from SAMFinetuneLib.review import Review
from SAMFinetuneLib.signal import Signal
from SAMFinetuneLib.views import SliceViews
from SAMFinetuneLib.work import Work, open_work
from SAMFinetuneLogic.errors import InputError, SAMFinetuneError
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.jobs.folder import JobFolder
from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID
from SAMFinetuneLogic.models.store import ModelStore
from SAMFinetuneLogic.mrml.hand_edits import HandEdits
from SAMFinetuneLogic.mrml.segments import add_segment, add_segmentation, segment_ids, segmentation_of
from SAMFinetuneLogic.mrml.session_record import FileReference, SavedWork, load_work, save_work
from SAMFinetuneLogic.mrml.slice_views import show_slice, slice_in_view
from SAMFinetuneLogic.mrml.volumes import read_volume
from SAMFinetuneLogic.prompting.session import InteractiveSession
from SAMFinetuneLogic.worker.interface import InferenceClient
from SAMFinetuneLogic.worker.requests import ModelChoice

_log = logging.getLogger(__name__)

_SAVE_DELAY_MS = 1000
_HAND_EDIT_DELAY_MS = 150


class Workbench(VTKObservationMixin):
    """Holds what is under work and keeps its parts together.

    Args:
        make_client: makes the client of the inference process, when it is first needed.

    Attributes:
        state: the module's parameter node; None between scenes.
        work: what is open; None without a volume.
        changed: emitted when the volume, segmentation, segment, slice, model or window has changed.
        problem: emitted with an exception that the user should see, when no section asked for the action.
    """

    def __init__(self, make_client: Callable[[], InferenceClient]) -> None:
        super().__init__()
        self.changed = Signal()
        self.problem = Signal()
        self.preferences = Preferences()
        self.views = SliceViews()
        self.state: ModuleState | None = None
        self.work: Work | None = None
        self.inference = Inference(make_client, self._choice)
        self.prompter = Prompter(self.inference)
        self.review = Review(self.go_to)
        self.propagation = Propagation(self.inference, self.prompter, self.review)
        self.learning = Learning(self.inference, self.prompter, self.preferences, self._model, self.reload_model)
        self.collection = Collection(self.inference, self.prompter, LongWork())
        self.applying = Applying(
            self.inference, self.prompter, self.collection, lambda: self.work, lambda: self.save_editor_state
        )
        self.editor_node: Any = None
        self.save_editor_state: Callable[[], None] | None = None
        self.undo_editor: Callable[[], None] | None = None
        self.redo_editor: Callable[[], None] | None = None
        self._opened: tuple[Any, ...] = ()
        self._hand_edits: HandEdits | None = None
        self._updating = False
        self._view_state: tuple[bool, str | None] = (True, None)
        self._look_timer = qt.QTimer()
        self._look_timer.setSingleShot(True)
        self._look_timer.setInterval(_HAND_EDIT_DELAY_MS)
        self._look_timer.connect("timeout()", self.collect_hand_edits)
        # Slicer announces a save of the scene only on some of its ways (not for a bundle): the scene is kept up to
        # date while the user works.
        self._save_pending = False
        self._save_timer = qt.QTimer()
        self._save_timer.setSingleShot(True)
        self._save_timer.setInterval(_SAVE_DELAY_MS)
        self._save_timer.connect("timeout()", self.save)
        for part in (self, self.prompter, self.review, self.learning, self.collection.long):
            part.changed.connect(self._save_soon)
        self.views.slice_changed.connect(lambda _: self.follow_view())

    # Input

    def open(self, volume_node: Any, segmentation_node: Any = None) -> Work:
        """Work on a volume; without a segmentation a new one with one segment is made.

        Raises:
            InputError: the volume cannot be segmented.
        """
        state = self._require_state()
        state.volume = volume_node
        if segmentation_node is not None:
            state.segmentation = segmentation_node
        self.update()
        if self.work is None:
            raise InputError("The volume could not be opened: see the message under Input.")
        return self.work

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
        segment_id = add_segment(self._require_work().segmentation_node, name)
        self.select_segment(segment_id)
        return segment_id

    def remove_segment(self) -> None:
        """Remove the selected segment; the Segment Editor can undo it."""
        work, segment = self._require_work(), self.prompter.segment
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
        work = self._require_work()
        nodes = self.views.all_nodes()
        fitting = [node for node in nodes if slice_in_view(work.volume, node).slice.axis == slice_index.axis]
        active = self.views.active
        node = active if active in fitting or not fitting else fitting[0]
        if node is not None:
            show_slice(node, work.volume, slice_index)
        self.prompter.set_slice(slice_index)
        self._focus()

    def follow_view(self) -> None:
        """Take the slice of the active view as the one that the user works on."""
        node = self.views.active
        if self.work is None or node is None:
            return
        viewed = slice_in_view(self.work.volume, node)
        moved = viewed.inside and viewed.slice != self.prompter.slice
        if moved:
            self.prompter.set_slice(viewed.slice)
        if moved or (viewed.inside, viewed.notice) != self._view_state:  # turned about the same slice
            self._view_state = viewed.inside, viewed.notice
            self.changed.emit()
        self._focus()

    def view_notice(self) -> str | None:
        """A sentence if the active view is rotated against the voxels or outside of the volume."""
        node = self.views.active
        if self.work is None or node is None:
            return None
        viewed = slice_in_view(self.work.volume, node)
        return viewed.notice if viewed.inside else "The view shows no slice of the volume: scroll back into it."

    # Undo

    def undo(self) -> None:
        """Take back the last prompt; without one, the Segment Editor's last edit."""
        if self.prompter.can_undo:
            self.prompter.undo()
        elif self.undo_editor is not None:
            self.undo_editor()

    def redo(self) -> None:
        """The inverse of :meth:`undo`."""
        if self.prompter.can_redo:
            self.prompter.redo()
        elif self.redo_editor is not None:
            self.redo_editor()

    # The scene

    def collect_hand_edits(self) -> None:
        """Slices on which the user has drawn in the Segment Editor count as annotated."""
        segment = self.prompter.target.segment
        if self._hand_edits is not None and segment and self._hand_edits.collect(segment):
            self.changed.emit()

    def save(self) -> None:
        """Put the session into the scene, so that it is part of the ``.mrb``; called soon after each change."""
        self._save_pending = False
        if self.work is None or self.state is None:
            return
        self.collect_hand_edits()
        record = SavedWork(
            model=self.state.model,
            window=self.work.window,
            axis=self.prompter.slice.axis,
            session=self.work.session.to_dict(),
            adapters=() if self.learning.adapter is None else (FileReference.to(self.learning.adapter),),
            active_adapter=None if self.learning.adapter is None else 0,
            jobs=() if self.learning.job is None else (FileReference.to(self.learning.job.path),),
            collection=self.collection.reference(),
            settings=self.collection.settings(self.work.volume_node)
            | {"review": self.review.to_dict(), "slice": self.prompter.slice.index},
        )
        save_work(self.work.volume_node, self.work.segmentation_node, record)

    def _save_soon(self, *_: Any) -> None:
        if not self._save_pending:
            self._save_pending = True
            self._save_timer.start()

    def close_scene(self) -> None:
        """Let go of everything of the scene; the model stays loaded."""
        self.applying.forget()
        self.learning.chosen = False
        self._close_work()
        self.state = None
        self.changed.emit()

    def close(self) -> None:
        """End everything, the inference process included."""
        self.views.detach()
        self._close_work()
        self.removeObservers()
        self.applying.forget()
        self.learning.close()
        self.inference.close()

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
            name = f"{volume_node.GetName()} segmentation"
            state.segmentation = add_segmentation(slicer.mrmlScene, volume_node, read_volume(volume_node).volume, name)
            add_segment(state.segmentation)
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
        kept = self._kept_session(volume_node, segmentation_node)
        if kept is None and self._save_pending and self.work is not None and self.work.in_scene:
            self.save()
        self._close_work()
        if self.editor_node is not None:
            self.editor_node.SetAndObserveSegmentationNode(segmentation_node)
            self.editor_node.SetAndObserveSourceVolumeNode(volume_node)
        work = open_work(volume_node, segmentation_node, window, self.editor_node, self.save_editor_state)
        self._restore(work, kept)
        self.work = work
        self._hand_edits = HandEdits(segmentation_node, work.volume, lambda: self.prompter.slice.axis)
        for event in (slicer.vtkSegmentation.SourceRepresentationModified,):
            self.addObserver(segmentation_node, event, self._on_segmentation_edited)
        for event in (slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved):
            self.addObserver(segmentation_node, event, self._on_segments_changed)
        self.addObserver(volume_node, volume_node.ImageDataModifiedEvent, self._on_volume_changed)
        self.addObserver(volume_node, volume_node.TransformModifiedEvent, self._on_volume_changed)
        self.prompter.set_work(work)
        self.inference.start()
        self.follow_view()

    def _kept_session(self, volume_node: Any, segmentation_node: Any) -> SavedWork | None:
        """The session to go on with, if the same nodes are opened again: another window, a moved volume."""
        old = self.work
        if old is None or old.volume_node is not volume_node or old.segmentation_node is not segmentation_node:
            return None
        return SavedWork(session=old.session.to_dict(), settings={"review": self.review.to_dict()})

    def _restore(self, work: Work, kept: SavedWork | None) -> None:
        try:
            record = kept or load_work(work.volume_node, work.segmentation_node, work.volume)
            if record is not None and record.session is not None:
                work.session = InteractiveSession.from_dict(record.session, work.volume)
            if record is not None:
                self.review.restore(work, record.settings.get("review", {}))
                if kept is None and "slice" in record.settings:
                    slice_index = SliceIndex(record.axis, int(record.settings["slice"]))
                    if work.valid(slice_index):
                        self.prompter.set_slice(slice_index)
            if record is not None and record.active_adapter is not None and not self.learning.chosen:
                self.learning.adapter = record.adapters[record.active_adapter].find()
            if record is not None and record.jobs and (found := record.jobs[-1].find()) is not None:
                self.learning.watch(JobFolder(found))
            if record is not None:
                self.collection.restore(record, work.volume_node)
        except SAMFinetuneError as error:
            self.problem.emit(error)  # the volume opens all the same, with an empty session

    def _close_work(self) -> None:
        self.propagation.forget()
        self.review.clear()
        self.removeObservers()
        self._look_timer.stop()
        self._save_timer.stop()
        self._save_pending = False
        self._hand_edits = None
        work, self.work, self._opened = self.work, None, ()
        self.prompter.set_work(None)
        if work is not None:
            work.close()

    def _on_segmentation_edited(self, *_: Any) -> None:
        self._look_timer.start()

    def _on_segments_changed(self, *_: Any) -> None:
        self.update()

    def _on_volume_changed(self, *_: Any) -> None:
        if self.work is not None and self.work.moved:
            self.inference.forget()
            self.update()

    def _focus(self) -> None:
        if self.work is not None and self.work.valid(self.prompter.slice):
            self.inference.focus(self.work, self.prompter.slice)

    def _choice(self) -> ModelChoice:
        model = self._model()
        stored = ModelStore(by_hand=self.preferences.model_folder).locate(model)
        return ModelChoice(
            model=model,
            device=self.preferences.device,
            folder=stored.path.parent if stored.path is not None and stored.origin == "by hand" else None,
            adapter=self.learning.adapter,
            cache_mb=self.preferences.cache_limit_mb,
        )

    def _model(self) -> str:
        return self.state.model if self.state is not None else DEFAULT_MODEL_ID

    def _require_state(self) -> ModuleState:
        if self.state is None:
            raise InputError("The scene is being closed: try again afterwards.")
        return self.state

    def _require_work(self) -> Work:
        if self.work is None:
            raise InputError("Choose a volume under Input first.")
        return self.work
