"""The few-shot collection: labelled slices of one or several volumes, and the decoder learned from them. No Qt."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from SAMFinetuneLib.inference import Inference
from SAMFinetuneLib.long_work import LongWork
from SAMFinetuneLib.prompter import Prompter
from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.fewshot.fit_record import FitRecord
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.files import atomic_target
from SAMFinetuneLogic.folders import data_home
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.mrml.session_record import FileReference, SavedWork
from SAMFinetuneLogic.wording import some_slices
from SAMFinetuneLogic.worker.answers import CollectionInfo
from SAMFinetuneLogic.worker.requests import LabelledSlices

SUFFIX = ".safetensors"
_IMAGE = "collection_image"


class Collection:
    """Grows, fits and shares a collection. Each change returns at once; the file is written by the model's process.

    Args:
        long: the place for long work, shared with what applies the collection.

    Attributes:
        path: of the file; None while there is no collection.
        info: what it holds (``CollectionInfo``), or None.
        summary: a sentence on the last change, or empty.

    Example:
        >>> collection = slicer.util.getModuleWidget("SAMFinetune").logic.workbench.collection
        >>> collection.add_annotated()      # then, once collection.long.running is False:
        >>> collection.fit()
        >>> collection.export_to(Path("/path/to/liver.safetensors"))
    """

    def __init__(self, inference: Inference, prompter: Prompter, long: LongWork) -> None:
        self.long = long
        self.path: Path | None = None
        self.info: CollectionInfo | None = None
        self.summary = ""
        self._inference, self._prompter = inference, prompter
        self._missing: FileReference | None = None
        self._reference: tuple[tuple[Path, int, int], FileReference] | None = None
        self._images: dict[str, str] = {}

    @property
    def fitted(self) -> bool:
        """Whether it can be applied."""
        return self.info is not None and self.info.fit is not None

    @property
    def unlearned(self) -> int:
        """How many of its slices the decoder has not learned from."""
        if self.info is None or self.info.fit is None:
            return 0
        return sum(entry.title not in self.info.fit.slices for entry in self.info.entries)

    def add_annotated(self) -> None:
        """Add the slices of the open volume that are annotated for all of its annotated segments.

        They lie along the axis of the slice shown. A slice that is in the collection already is replaced.

        Raises:
            InputError: no slice is annotated, or other work goes on.
        """
        from SAMFinetuneLogic.mrml.training import training_labels  # brings scipy, too slow for opening the module

        work, axis = self._prompter.work, self._prompter.slice.axis
        found = training_labels(work.segmentation_node, work.volume, axis)
        if not found.indices:
            raise InputError(" ".join(found.notices))
        # The volume's name may be the patient's.
        volume = replace(work.volume, name=self.image_name(work.volume_node))
        labels = LabelMap.of_known(found.labels.voxels, found.labels.ijk_to_ras, found.labels.segments)
        added = LabelledSlices(volume, labels, found.indices, axis, work.window)
        count = len(found.indices)
        said = " ".join([f"Added {some_slices(count)}.", *found.notices])
        self._change("Encoding slices", lambda _: said, add=(added,))

    def remove(self, identities: Sequence[tuple[str, SliceIndex]]) -> None:
        """Take slices out: ``info.entries[n].identity``.

        Raises:
            InputError: there is no collection, or other work goes on.
        """
        self.require_path()
        self._change("Removing slices", lambda _: f"Removed {some_slices(len(identities))}.", remove=tuple(identities))

    def import_from(self, source: Path) -> None:
        """Take in another collection's file; without a collection, this becomes it, with its decoder.

        Raises:
            InputError: there is no such file, or other work goes on.
        """
        source = Path(source)
        if not source.is_file():
            raise InputError(f"There is no {source}: choose the file of a collection ({SUFFIX}).")
        self._change(
            "Importing", lambda info: f"The collection has {some_slices(len(info.entries))} now.", merge=(source,)
        )

    def export_to(self, target: Path, overwrite: bool = True) -> Path:
        """Copy the file, for other scenes or computers. It holds image content. Returns where it is.

        Raises:
            InputError: there is no collection, or it is being changed.
            OutputError: the file cannot be written.
        """
        path = self.require_path()
        if self.long.running:
            raise InputError("The collection is busy: wait for it, or cancel first.")
        target = Path(target)
        if target.suffix.lower() != SUFFIX:
            target = target.with_name(target.name + SUFFIX)
        with atomic_target(target, overwrite) as temporary:
            shutil.copyfile(path, temporary)
        self.summary = f"Written to {target}. It holds image slices: treat it as you treat the images."
        self.long.changed.emit()
        return target

    def encode_again(self) -> None:
        """Make a collection of another model fit the loaded one; it has to be fitted again then.

        Raises:
            InputError: there is no collection, or other work goes on.
        """
        self.require_path()
        self._change("Encoding slices", lambda info: f"Encoded again for {info.model_title}.", reencode=True)

    def fit(self, settings: FitSettings | None = None, fresh: bool = False) -> None:
        """Learn a decoder from the collection; an earlier one is continued.

        Args:
            settings: None for those of the earlier fit, else the defaults for segmenting other images.
            fresh: forget the earlier fit.

        Raises:
            InputError: there is no collection, or other work goes on.
        """
        path = self.require_path()
        self.long.begin(self._reread_after_stop)
        self.summary = ""
        self._inference.start()
        client = self._inference.client
        self.long.ask("Learning", lambda p, d, f: client.fit(path, settings, fresh, p, d, f), self._on_fitted)

    def cancel(self) -> None:
        """Stop; the collection is as it was before."""
        self.long.cancel()

    def clear(self) -> None:
        """Begin a new collection; the file of the earlier one stays."""
        if self.long.running:
            raise InputError("The collection is busy: wait for it, or cancel first.")
        self.forget()

    def forget(self) -> None:
        """Let go of it: the scene is being closed."""
        self.path, self.info, self._missing = None, None, None
        self.long.cancel()
        if self.long.running:  # it was between two requests
            self.long.end()
        self.summary = ""
        self._images.clear()
        self.long.changed.emit()

    def require_path(self) -> Path:
        """Where the file is.

        Raises:
            InputError: there is no collection, or its file is gone.
        """
        if self.path is None:
            raise InputError("There is no collection yet: add this volume's annotated slices, or import one.")
        if not self.path.is_file():
            raise InputError(f"The collection's file {self.path} is gone: press New, and add slices or import it.")
        return self.path

    # The scene

    def reference(self) -> FileReference | None:
        """For the scene. The file is read only if it has changed since the last call."""
        if self.path is None or not self.path.is_file():
            return self._missing
        status = self.path.stat()
        state = (self.path, status.st_mtime_ns, status.st_size)
        if self._reference is None or self._reference[0] != state:
            self._reference = state, FileReference.to(self.path, "few-shot collection")
        return self._reference[1]

    def settings(self, volume_node: Any) -> dict[str, Any]:
        """For the scene: what the volume is called in the collection, if it is in there."""
        return {_IMAGE: name} if (name := self._images.get(volume_node.GetID())) else {}

    def restore(self, record: SavedWork, volume_node: Any) -> None:
        """Open the collection of a scene; a missing one is reported, and its reference kept."""
        if _IMAGE in record.settings:
            self._images.setdefault(volume_node.GetID(), str(record.settings[_IMAGE]))
        reference = record.collection
        if reference is None or self.path is not None or self.long.running:
            return  # without one, or with that of another volume of the same scene
        # Slices may have been added since the scene was saved: it is the same collection all the same.
        found = reference.find() or (reference.path if reference.path.is_file() else None)
        if found is None:
            self._missing = reference
            lost = f"The collection of this scene is not in {reference.path.parent} any more: import it again."
            self.long.failed.emit(InputError(lost))
            return
        self.path, self._missing = found, None
        self._read()

    def image_name(self, volume_node: Any) -> str:
        """What a volume is called in the collection: a number, since its own name may be the patient's."""
        key = volume_node.GetID()
        if key not in self._images:
            taken = {entry.image for entry in self.info.entries} if self.info is not None else set()
            taken |= set(self._images.values())
            number = len(taken) + 1
            while f"image {number}" in taken:
                number += 1
            self._images[key] = f"image {number}"
        return self._images[key]

    # How it is done

    def _change(self, doing: str, said: Callable[[CollectionInfo], str], **changes: Any) -> None:
        path = _new_path() if self.path is None else self.require_path()
        self.long.begin(self._reread_after_stop if self.path is not None else None)
        self.summary = ""

        def done(info: CollectionInfo) -> None:
            self.path, self.info, self._missing = path, info, None
            self.summary = said(info)
            self.long.end()

        self._inference.start()
        client = self._inference.client
        self.long.ask(
            doing,
            lambda p, d, f: client.collect(path, **changes, on_progress=p, on_done=d, on_failure=f),
            done,
        )

    def _read(self) -> None:
        path = self.path
        if path is None:
            return

        def done(info: CollectionInfo) -> None:
            if self.path == path:
                self.info = info
                self.long.changed.emit()

        def failed(error: Exception) -> None:
            if self.path == path:
                self.path = self.info = None
                self.long.changed.emit()
                self.long.failed.emit(error)

        self._inference.start()
        self._inference.client.collect(path, on_done=done, on_failure=failed)

    def _reread_after_stop(self) -> None:
        # The file may have been written just before the request to stop came through.
        self.summary = "Stopped."
        self._read()

    def _on_fitted(self, fit: FitRecord) -> None:
        if self.info is not None:
            self.info = replace(self.info, fit=fit)
        seconds = sum(fit.seconds)
        self.summary = f"Learned from {some_slices(len(fit.slices))} in {fit.steps} steps, {seconds:.0f} s."
        if fit.held_out_dice:
            best = max(dice for _, dice in fit.held_out_dice)
            self.summary += f" Dice {best:.2f} on a slice that was held out."
        self.long.end()


def _new_path() -> Path:
    stem = datetime.now().strftime("collection_%Y-%m-%d_%H-%M-%S")
    folder, number = data_home() / "collections", 1
    path = folder / f"{stem}{SUFFIX}"
    while path.exists():
        number += 1
        path = folder / f"{stem}~{number}{SUFFIX}"
    return path
