"""The session in the scene: put there while the user works, and taken up again when the volume is opened."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from SAMFinetuneLib.collection import Collection
from SAMFinetuneLib.learning import Learning
from SAMFinetuneLib.prompter import Prompter
from SAMFinetuneLib.review import Review
from SAMFinetuneLib.timers import make_timer
from SAMFinetuneLib.work import Work
from SAMFinetuneLogic.errors import GeometryError, InputError
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.jobs.folder import JobFolder
from SAMFinetuneLogic.mrml.renumbering import grid_record, slice_numbering
from SAMFinetuneLogic.mrml.session_record import FileReference, SavedWork, load_work, save_work
from SAMFinetuneLogic.prompting.session import InteractiveSession

_DELAY_MS = 1000


class SceneRecord:
    """Saves and restores what is open.

    Slicer announces a save of the scene only on some of its ways (not for a bundle): the scene is kept up to date
    while the user works.

    Args:
        save: a method, called a moment after :meth:`save_soon`.
    """

    def __init__(
        self, prompter: Prompter, review: Review, learning: Learning, collection: Collection, save: Callable[[], None]
    ) -> None:
        self._prompter, self._review, self._learning, self._collection = prompter, review, learning, collection
        self.pending = False
        """Whether something is to be saved."""
        self._missing_adapter: FileReference | None = None
        self._timer = make_timer(save, _DELAY_MS, once=True)

    def save_soon(self, *_: Any) -> None:
        """Something has changed."""
        if not self.pending:
            self.pending = True
            self._timer.start()

    def forget(self) -> None:
        """Nothing is to be saved any more."""
        self._timer.stop()
        self.pending = False

    def save(self, work: Work, model: str) -> None:
        """Put the session into the scene."""
        self.pending = False
        learning, collection = self._learning, self._collection
        adapter = _reference(learning.adapter) or (None if learning.chosen else self._missing_adapter)
        job = _reference(None if learning.job is None else learning.job.path)
        record = SavedWork(
            model=model,
            window=work.window,
            axis=self._prompter.slice.axis,
            session=work.session.to_dict(),
            adapters=() if adapter is None else (adapter,),
            active_adapter=None if adapter is None else 0,
            jobs=() if job is None else (job,),
            collection=collection.reference(),
            settings=collection.settings(work.volume_node)
            | {
                "review": self._review.to_dict(),
                "slice": self._prompter.slice.index,
                "grid": grid_record(work.volume),
            },
        )
        save_work(work.volume_node, work.segmentation_node, record)

    def carry_over(self, work: Work) -> SavedWork:
        """The session to go on with where the same nodes are opened again: another window, a moved volume."""
        return SavedWork(session=work.session.to_dict(), settings={"review": self._review.carried()})

    def restore(self, work: Work, carried: SavedWork | None) -> None:
        """Take up a session: the one that is carried over, else the scene's.

        Raises:
            SAMFinetuneError: the record is damaged; what was read until then holds.
        """
        if carried is None:
            self._missing_adapter = None
        record = carried or load_work(work.volume_node, work.segmentation_node, work.volume)
        if record is None:
            return
        outside: GeometryError | None = None
        if record.session is not None:
            try:
                work.session = InteractiveSession.from_dict(record.session, work.volume)
            except GeometryError as error:  # the rest is taken up all the same
                outside = error
        numbering = slice_numbering(record.settings.get("grid"), work.volume)
        self._review.restore(work, record.settings.get("review", {}), numbering)
        if carried is None and "slice" in record.settings:
            slice_index = numbering(SliceIndex(record.axis, int(record.settings["slice"])))
            if work.valid(slice_index):
                self._prompter.set_slice(slice_index)
        if record.model is not None and not self._learning.chosen:
            if record.active_adapter is None:
                self._learning.adapter = None
            else:
                self._take_up(record.adapters[record.active_adapter])
        if record.jobs and (found := record.jobs[-1].find()) is not None:
            self._learning.watch(JobFolder(found))
        self._collection.restore(record, work.volume_node)
        if outside is not None:
            raise InputError(
                "The volume has moved away from prompts that were not accepted yet: they are gone."
            ) from outside

    def _take_up(self, adapter: FileReference) -> None:
        self._learning.adapter = adapter.find()
        self._missing_adapter = adapter if self._learning.adapter is None else None
        if self._learning.adapter is None:
            lost = f"The adapter of this scene is not in {adapter.path.parent} any more: choose one under Learn."
            self._learning.failed.emit(InputError(lost))


def _reference(path: Path | None) -> FileReference | None:
    """None where there is nothing any more: the rest of the session is saved all the same."""
    return None if path is None or not path.exists() else FileReference.to(path)
