"""Segments volumes, one after the other, with the few-shot collection or an adapter that needs no prompts.

Results come into the scene as each is done.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import qt

from SAMFinetuneLib.collection import Collection
from SAMFinetuneLib.inference import Inference
from SAMFinetuneLib.long_work import Ask
from SAMFinetuneLib.prompter import Prompter
from SAMFinetuneLib.work import Work
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.axes import Axis, SliceIndex, array_axis
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.annotated import annotated_slices
from SAMFinetuneLogic.mrml.editing import SegmentWriter
from SAMFinetuneLogic.mrml.segments import add_segment, add_segmentation, segment_ids, slice_mask
from SAMFinetuneLogic.mrml.volumes import geometry_key, read_volume
from SAMFinetuneLogic.worker.answers import AdapterAnswer, FewShotAnswer

SaveState = Callable[[], None]
Answer = FewShotAnswer | AdapterAnswer


@dataclass(frozen=True, eq=False)
class _Target:
    """Where a result goes; without a segmentation, into a new one."""

    volume_node: Any
    segmentation_node: Any
    volume: Volume
    key: tuple[Any, ...]


class Applying:
    """Segments the open volume, or others that are loaded.

    Args:
        collection: what is applied; its place for long work is used.
        open_work: what is open, or None.
        save_state: of the Segment Editor, or None without one.

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
        open_work: Callable[[], Work | None],
        save_state: Callable[[], SaveState | None],
    ) -> None:
        self.results: tuple[Any, ...] = ()
        self._inference, self._prompter, self._collection = inference, prompter, collection
        self._long = collection.long
        self._open_work, self._save_state = open_work, save_state
        self._queue: list[Any] = []
        self._count = 0
        self._adapter: Path | None = None
        self._steps: Iterator[tuple[int, int, Any]] | None = None
        self._finish: Callable[[], None] = _nothing
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._write_on)

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
        self._adapter = adapter
        self._collection.summary = ""
        try:
            self._next()
        except Exception:
            self.stop()
            raise

    def forget(self) -> None:
        """Let go of everything at once: the scene is being closed. What has been written stays."""
        self.stop()
        self.results = ()
        self._collection.forget()

    def stop(self) -> None:
        """Stop without waiting for a result that is being written."""
        self._timer.stop()
        self._queue, self._steps = [], None
        if self._long.running:
            self._long.end()

    def _on_stop(self) -> None:
        self._queue = []  # a result that is being written is written to its end
        if self._steps is None:
            self._collection.summary = self._summary("Stopped")

    def _next(self) -> None:
        if not self._queue:
            self._collection.summary = self._summary("Done" if len(self.results) == self._count else "Stopped")
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

    def _write(self, target: _Target, answer: Answer) -> None:
        node, segmentation = target.volume_node, target.segmentation_node
        gone = node.GetScene() is None or (segmentation is not None and segmentation.GetScene() is None)
        if gone or geometry_key(node) != target.key:
            raise InputError(f"{node.GetName()} was changed or removed meanwhile: start again.")
        if segmentation is None:
            scene = node.GetScene()
            name = scene.GenerateUniqueName(f"{node.GetName()} segmentation")
            segmentation = add_segmentation(scene, node, target.volume, name)
            writer, finish = _own_writer(segmentation, target)
        else:
            writer, finish = self._open_writer(segmentation, target)
        masks = _masks(segmentation, target.volume, answer)

        def done() -> None:
            finish()
            self.results = (*self.results, segmentation)
            self._collection.summary = self._summary("Done")

        self._steps, self._finish = writer.write_in_steps(masks, answer.axis), done
        self._timer.start()

    def _open_writer(self, segmentation: Any, target: _Target) -> tuple[SegmentWriter, Callable[[], None]]:
        """With the Segment Editor's masking, and its undo from before new segments are added."""
        work, save_state = self._open_work(), self._save_state()
        if work is None or work.segmentation_node is not segmentation:
            return _own_writer(segmentation, target)
        if save_state is None:
            return work.writer, _nothing
        save_state()
        editor = work.writer.editor_node
        return SegmentWriter(segmentation, target.volume_node, target.volume, editor, _nothing), _nothing

    def _write_on(self) -> None:
        """A few slices at a time: the user interface must not stand still."""
        if self._steps is None:
            self._timer.stop()
            return
        try:
            step = next(self._steps, None)
            if step is not None:
                self._long.say(self._long.doing, *step[:2])
                return
            self._timer.stop()
            self._steps = None
            self._finish()
            self._next()
        except Exception as error:  # a node may have been removed
            self._timer.stop()
            self._queue, self._steps = [], None
            self._long.fail(error)

    def _summary(self, word: str) -> str:
        names = ", ".join(node.GetName() for node in self.results)
        return f"{word}: {len(self.results)} of {self._count} volumes." + (f" Results in {names}." if names else "")


def _own_writer(segmentation: Any, target: _Target) -> tuple[SegmentWriter, Callable[[], None]]:
    writer = SegmentWriter(segmentation, target.volume_node, target.volume)
    return writer, writer.close


def _masks(segmentation: Any, volume: Volume, answer: Answer) -> dict[str, dict[int, np.ndarray]]:
    """Of each class by segment and slice; missing segments are added. What the user has annotated is left as it is."""
    axis = answer.axis
    stack = np.moveaxis(answer.labels.voxels, array_axis(axis), 0)
    known = {segmentation.GetSegmentation().GetSegment(each).GetName(): each for each in segment_ids(segmentation)}
    annotated = _annotated(segmentation, volume, axis)
    masks: dict[str, dict[int, np.ndarray]] = {}
    for segment in answer.labels.segments:
        segment_id = known.get(segment.name) or add_segment(segmentation, segment.name, segment.color)
        kept = annotated.get(segment_id, {})
        found = {index: stack[index] == segment.value for index in range(len(stack)) if index not in kept}
        for other, by_slice in annotated.items():
            if other != segment_id:
                for index in by_slice.keys() & found.keys():
                    found[index] = found[index] & ~by_slice[index]
        masks[segment_id] = found
    return masks


def _annotated(segmentation: Any, volume: Volume, axis: Axis) -> dict[str, dict[int, np.ndarray]]:
    return {
        segment_id: {index: slice_mask(segmentation, segment_id, volume, SliceIndex(axis, index)) for index in indices}
        for segment_id in segment_ids(segmentation)
        if (indices := annotated_slices(segmentation, segment_id, volume, axis))
    }


def _nothing() -> None:
    pass
