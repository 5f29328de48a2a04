"""Segments volumes, one after the other, with the few-shot collection or an adapter that needs no prompts.

Results come into the scene as each is done.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SAMFinetuneLib.collection import Collection
from SAMFinetuneLib.inference import Inference
from SAMFinetuneLib.long_work import Ask
from SAMFinetuneLib.presence import Older, Presence
from SAMFinetuneLib.prompter import Prompter
from SAMFinetuneLib.review import ADAPTED, COLLECTED, Review, ordered, review_record
from SAMFinetuneLib.step_writing import Result, StepWriting, Undo
from SAMFinetuneLib.volume_result import masks_of, review_entries
from SAMFinetuneLib.work import Work
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.fewshot.results import VolumeResult
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.editing import SegmentWriter, Written
from SAMFinetuneLogic.mrml.renumbering import grid_record
from SAMFinetuneLogic.mrml.segments import add_segmentation
from SAMFinetuneLogic.mrml.session_record import SavedWork, save_work
from SAMFinetuneLogic.mrml.volumes import geometry_key, read_volume

SaveState = Callable[[], None]


def _nothing() -> None:
    pass


@dataclass(frozen=True, eq=False)
class _Target:
    """Where a result goes; without a segmentation, into a new one."""

    volume_node: Any
    segmentation_node: Any
    volume: Volume
    key: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class _Place:
    """How a result is written, what follows, and its undo."""

    writer: SegmentWriter
    finish: Callable[[], None] = _nothing
    undo: Undo | None = None
    saved: bool = False


class Applying:
    """Segments the open volume, or others that are loaded.

    Args:
        collection: what is applied; its place for long work is used.
        review: queues the open volume's slices in order of doubt; those of other volumes when they are opened.
        open_work: what is open, or None.
        save_state: of the Segment Editor, or None without one.
        writing: writes the results, in steps.
        undo: takes back the last edit of the open segmentation.
        presence: tells what was taken back.

    Attributes:
        results: the segmentation nodes of the last run, one for each volume that is done.

    Example:
        >>> applying = slicer.util.getModuleWidget("SAMFinetune").logic.workbench.applying
        >>> applying.start()                                    # the open volume
        >>> applying.start([slicer.util.getNode("CT 2"), slicer.util.getNode("CT 3")])
        >>> job = slicer.util.getModuleWidget("SAMFinetune").logic.workbench.learning.finished("automatic")[0]
        >>> applying.start([slicer.util.getNode("CT 2")], job.adapter)
    """

    def __init__(
        self,
        inference: Inference,
        prompter: Prompter,
        collection: Collection,
        review: Review,
        open_work: Callable[[], Work | None],
        save_state: Callable[[], SaveState | None],
        writing: StepWriting,
        undo: Undo,
        presence: Presence,
    ) -> None:
        self.results: tuple[Any, ...] = ()
        self._inference, self._prompter = inference, prompter
        self._collection, self._review = collection, review
        self._long = collection.long
        self._open_work, self._save_state = open_work, save_state
        self._queue: list[Any] = []
        self._count = 0
        self._adapter: Path | None = None
        self._writing, self._undo = writing, undo
        self._result: Result | None = None
        self._presence = presence
        self._open_result: tuple[Any, Older, frozenset[str]] | None = None
        self._word = self._said = ""

    def start(self, volume_nodes: Sequence[Any] | None = None, adapter: Path | None = None) -> None:
        """Apply the collection or an adapter; returns at once.

        The open volume's result goes into its segmentation, to the segments of the same names, as one step of the
        Segment Editor's undo; its annotated slices stay as they are. Any other volume gets a new segmentation.

        Args:
            volume_nodes: None for the open volume.
            adapter: folder of an adapter of automatic mode; None for the collection.

        Raises:
            InputError: nothing has been learned yet, no volume is chosen, or other work goes on.
        """
        nodes = [self._prompter.work.volume_node] if volume_nodes is None else list(volume_nodes)
        if not nodes:
            raise InputError("Tick the volumes that are to be segmented.")
        if adapter is None and not self._collection.fitted:
            raise InputError("Nothing has been learned from a collection yet: add slices, then press Learn.")
        self._long.begin(self._on_stop)
        self._queue, self._count, self.results = nodes, len(nodes), ()
        self._adapter, self._open_result = adapter, None
        self._collection.summary = ""
        try:
            self._next()
        except Exception:
            self.stop()
            raise

    def forget(self) -> None:
        """Let go of everything at once: the scene is being closed. What has been written stays."""
        self.stop()
        self.results, self._open_result = (), None
        self._collection.forget()

    def look(self) -> None:
        """See whether the open volume's result was taken back, or done again."""
        said = self._said
        if said and said == self._collection.summary and not self._long.running:
            self._tell(self._word)
            if self._said != said:
                self._long.changed.emit()

    def stop(self) -> None:
        """Stop without waiting for a result that is being written."""
        self._queue = []
        result, self._result = self._result, None
        self._writing.drop(result)
        if self._long.running:
            self._long.end()

    def _on_stop(self) -> None:
        self._queue = []  # a result that is being written is written to its end
        if self._result is None:
            self._tell("Stopped")

    def _next(self) -> None:
        if not self._queue:
            self._tell("Done" if len(self.results) == self._count else "Stopped")
            self._long.end()
            return
        node = self._queue.pop(0)
        target = self._target(node)
        ask = self._question(target.volume)
        number = self._count - len(self._queue)
        doing = f"{node.GetName()} ({number} of {self._count})" if self._count > 1 else "Applying"
        self._long.ask(
            doing,
            ask,
            lambda answer: self._write(target, answer),
        )

    def _question(self, volume: Volume) -> Ask:
        self._inference.start()
        client, adapter = self._inference.client, self._adapter
        if adapter is not None:
            return lambda p, d, f: client.apply_adapter(adapter, volume, on_progress=p, on_done=d, on_failure=f)
        path = self._collection.require_path()
        return lambda p, d, f: client.apply(path, volume, on_progress=p, on_done=d, on_failure=f)

    def _target(self, node: Any) -> _Target:
        if node.GetScene() is None:
            raise InputError("A chosen volume is not in the scene any more: choose again.")
        work = self._open_work()
        if work is not None and work.volume_node is node:
            return _Target(node, work.segmentation_node, work.volume, geometry_key(node))
        return _Target(node, None, read_volume(node).volume, geometry_key(node))

    def _write(self, target: _Target, answer: VolumeResult) -> None:
        node, segmentation = target.volume_node, target.segmentation_node
        gone = node.GetScene() is None or (segmentation is not None and segmentation.GetScene() is None)
        self._writing.finish()
        if gone or geometry_key(node) != target.key:
            raise InputError(f"{node.GetName()} was changed or removed meanwhile: start again.")
        if segmentation is None:
            scene = node.GetScene()
            name = scene.GenerateUniqueName(f"{node.GetName()} segmentation")
            segmentation = add_segmentation(scene, node, target.volume, name)
            place = _own_place(segmentation, target)
        else:
            place = self._open_place(segmentation, target)
        masks = masks_of(segmentation, target.volume, answer)

        def ended() -> None:
            self._result = None
            place.finish()
            self._next()

        def done(_written: Written | None) -> None:
            self._queue_slices(target, segmentation, answer)
            if self._is_open(segmentation):
                self._open_result = segmentation, self._presence.older(segmentation), frozenset(masks)
            self.results = (*self.results, segmentation)
            self._tell("Done")
            ended()

        def taken_back() -> None:
            ended()
            if not self.results:
                self._collection.summary = "Taken back: nothing was written."
                self._long.changed.emit()

        def failed(error: Exception) -> None:
            self._queue, self._result = [], None
            self._long.fail(error)

        steps = place.writer.write_in_steps(masks, answer.axis)
        self._result = Result(steps, self._on_step, done, taken_back, failed, place.undo, place.saved)
        self._writing.write(self._result)

    def _open_place(self, segmentation: Any, target: _Target) -> "_Place":
        """With the Segment Editor's masking, and its undo from before new segments are added."""
        work, save_state = self._open_work(), self._save_state()
        if work is None or not self._is_open(segmentation):
            return _own_place(segmentation, target)
        if save_state is None:
            return _Place(work.writer, undo=self._undo)
        save_state()
        editor = work.writer.editor_node
        writer = SegmentWriter(segmentation, target.volume_node, target.volume, editor, _nothing)
        return _Place(writer, undo=self._undo, saved=True)

    def _queue_slices(self, target: _Target, segmentation: Any, answer: VolumeResult) -> None:
        """For the Review section, at once or when the volume is opened."""
        entries = review_entries(segmentation, target.volume, answer)
        note = COLLECTED if self._adapter is None else ADAPTED
        work = self._open_work()
        if work is not None and work.segmentation_node is segmentation:
            self._review.set_entries(work, entries, note)
        else:
            settings = {"review": review_record(ordered(entries), note), "grid": grid_record(target.volume)}
            save_work(target.volume_node, segmentation, SavedWork(axis=answer.axis, settings=settings))

    def _on_step(self, done: int, total: int) -> None:
        self._long.say(self._long.doing, done, total)

    def _is_open(self, segmentation: Any) -> bool:
        work = self._open_work()
        return work is not None and work.segmentation_node is segmentation

    def _taken_back(self, segmentation: Any) -> bool:
        """Whether it is the open one, and what was written there is gone; the others have no undo."""
        if self._open_result is None or self._open_result[0] is not segmentation or segmentation.GetScene() is None:
            return False
        _, older, segments = self._open_result
        return not segments.intersection(self._presence.standing(segmentation, older))

    def _tell(self, word: str) -> None:
        names: dict[bool, list[str]] = {False: [], True: []}
        for node in self.results:
            names[self._taken_back(node)].append(node.GetName())
        parts = [f"{word}: {len(self.results)} of {self._count} volumes."]
        for back, text in ((False, "Results in"), (True, "Taken back in")):
            if names[back]:
                parts.append(f"{text} {', '.join(names[back])}.")
        self._word, self._said = word, " ".join(parts)
        self._collection.summary = self._said


def _own_place(segmentation: Any, target: _Target) -> "_Place":
    writer = SegmentWriter(segmentation, target.volume_node, target.volume)
    return _Place(writer, writer.close)
