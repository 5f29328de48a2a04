"""The model files on this machine: where they lie, and how they come and go.

Three places, in this order: the package itself (the default model), the model folder (downloads and imports; kept by
SAMFinetune), and a folder of the user's with files put there by hand, which is read and never changed. So is the model
folder of earlier versions, after that of today.

Environment variables: ``SAMFINETUNE_HOME`` moves the folder of which the model folder is a part;
``SAMFINETUNE_MODELS`` names the user's folder.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from SAMFinetuneLogic.errors import DownloadError, ModelError
from SAMFinetuneLogic.files import atomic_target, sha256_of
from SAMFinetuneLogic.folders import homes
from SAMFinetuneLogic.models.catalogue import ModelEntry, builtin_path, find_entry, load_catalogue
from SAMFinetuneLogic.models.download import download
from SAMFinetuneLogic.models.import_record import read_record, record_path, write_record
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback, no_progress

Origin = Literal["builtin", "model folder", "earlier version", "by hand"]


@dataclass(frozen=True)
class StoredModel:
    """An entry of the catalogue and where its file is; path and origin are None while it is not here."""

    entry: ModelEntry
    path: Path | None
    origin: Origin | None


@dataclass(frozen=True)
class Verification:
    """What re-hashing a file showed. ``expected`` is None where neither catalogue nor record states a hash."""

    entry: ModelEntry
    path: Path
    sha256: str
    expected: str | None

    @property
    def ok(self) -> bool:
        return self.expected is None or self.sha256 == self.expected


class ModelStore:
    """Finds, fetches, checks and removes model files.

    Args:
        folder: the model folder; default: ``models`` in :func:`data_home`, and what earlier versions put elsewhere.
        by_hand: the user's folder; default: the one named by ``SAMFINETUNE_MODELS``, if any.

    Example:
        >>> store = ModelStore()
        >>> store.path_of("samfinetune_default").name
        'samfinetune_default.safetensors'
    """

    def __init__(self, folder: Path | None = None, by_hand: Path | None = None) -> None:
        named = os.environ.get("SAMFINETUNE_MODELS")
        self.folder, *self._earlier = [folder] if folder else [home / "models" for home in homes()]
        self.by_hand = by_hand or (Path(named).expanduser() if named else None)

    def locate(self, model_id: str) -> StoredModel:
        """Where the model's file is, without reading it.

        Raises:
            ModelError: no such model in the catalogue.
        """
        entry = find_entry(model_id)
        candidates: list[tuple[Path, Origin]] = []
        if entry.builtin:
            candidates.append((builtin_path(entry), "builtin"))
        else:
            candidates.append((self.folder / entry.filename, "model folder"))
            candidates += [(folder / entry.filename, "earlier version") for folder in self._earlier]
            if self.by_hand is not None:
                candidates.append((self.by_hand / entry.filename, "by hand"))
        for path, origin in candidates:
            if path.is_file():
                return StoredModel(entry, path, origin)
        return StoredModel(entry, None, None)

    def list(self) -> list[StoredModel]:
        """Every model of the catalogue, here or not."""
        return [self.locate(model_id) for model_id in load_catalogue()]

    def path_of(self, model_id: str) -> Path:
        """The model's file.

        Raises:
            ModelError: it is not here; the message says how to get it.
        """
        stored = self.locate(model_id)
        if stored.path is not None:
            return stored.path
        entry = stored.entry
        if entry.builtin:
            raise ModelError(f"{entry.filename} is missing from the installed package: install SAMFinetune again.")
        by_hand = (
            f"put {entry.filename} into {self.by_hand}"
            if self.by_hand
            else f"put {entry.filename} into a folder and name it in SAMFINETUNE_MODELS"
        )
        command = "import" if entry.import_only else "get"
        argument = " FILE" if entry.import_only else ""
        raise ModelError(
            f"The model '{entry.id}' is not on this machine: run 'samfinetune models {command} {entry.id}{argument}', "
            f"or {by_hand}."
        )

    def expected_sha256(self, stored: StoredModel) -> str | None:
        """The hash that the file should have: the catalogue's, else the one recorded at its import."""
        if stored.entry.sha256 is not None or stored.path is None:
            return stored.entry.sha256
        record = read_record(stored.path)
        return record.sha256 if record else None

    def get(
        self, model_id: str, progress: ProgressCallback = no_progress, cancelled: CancelCheck | None = None
    ) -> Path:
        """Download the model unless it is here already. Show ``entry.licence_text()`` to the user before.

        Args:
            progress: called with (bytes so far, bytes in total).

        Raises:
            DownloadError: import-only models, and everything that :func:`download` reports.
        """
        stored = self.locate(model_id)
        if stored.path is not None:
            return stored.path
        entry = stored.entry
        if entry.builtin:
            return self.path_of(model_id)
        if entry.import_only or entry.url is None:
            raise DownloadError(
                f"'{entry.id}' cannot be downloaded by this program: get the file from its authors "
                f"({entry.source}), then run 'samfinetune models import {entry.id} FILE'."
            )
        return download(
            entry.url,
            self.folder / entry.filename,
            size=entry.bytes,
            sha256=entry.sha256,
            progress=progress,
            cancelled=cancelled,
        )

    def import_file(self, model_id: str, file: Path) -> Path:
        """Copy a file that the user brought into the model folder, and record its hash.

        Where the catalogue states a hash the file must have it; elsewhere it must have the model's layout.

        Raises:
            ModelError: the file is another one than the model needs.
        """
        entry = find_entry(model_id)
        if entry.builtin:
            raise ModelError(f"'{entry.id}' is part of SAMFinetune: there is nothing to import.")
        file = Path(file)
        if not file.is_file():
            raise ModelError(f"There is no file {file}: give the checkpoint that you downloaded for '{entry.id}'.")
        sha256 = sha256_of(file)
        if entry.sha256 is not None and sha256 != entry.sha256:
            found = _what_it_looks_like(file, entry)
            raise ModelError(f"{file.name} is not the published file of '{entry.id}' (its SHA-256 differs){found}.")
        if entry.sha256 is None:
            from SAMFinetuneLogic.models.checkpoints import check_file  # imports torch: only when needed

            check_file(file, entry)
        target = self.folder / entry.filename
        with atomic_target(target) as temporary:
            shutil.copyfile(file, temporary)
        write_record(target, entry.id, sha256)
        return target

    def verify(self, model_id: str) -> Verification:
        """Hash the model's file again."""
        path = self.path_of(model_id)
        stored = self.locate(model_id)
        return Verification(stored.entry, path, sha256_of(path), self.expected_sha256(stored))

    def remove(self, model_id: str) -> tuple[Path, ...]:
        """Delete the model's file, or what a broken download left, from the model folder.

        Returns:
            The files that were deleted.

        Raises:
            ModelError: the model is not there, or is not SAMFinetune's to delete.
        """
        entry = find_entry(model_id)
        if entry.builtin:
            raise ModelError(f"'{entry.id}' is part of SAMFinetune and cannot be removed.")
        target = self.folder / entry.filename
        part = target.with_name(target.name + ".part")
        ours = (target, record_path(target), part, record_path(part))
        removed = tuple(path for path in ours if path.is_file())
        for path in removed:
            path.unlink()
        if not removed:
            stored = self.locate(model_id)
            if stored.path is not None:
                whose = "by hand" if stored.origin == "by hand" else "by an earlier version of SAMFinetune"
                raise ModelError(f"{stored.path} was put there {whose}: delete it yourself if you no longer need it.")
            raise ModelError(f"The model '{entry.id}' is not on this machine: there is nothing to remove.")
        return removed


def _what_it_looks_like(file: Path, entry: ModelEntry) -> str:
    from SAMFinetuneLogic.models.checkpoints import check_file

    try:
        check_file(file, entry)
    except ModelError as error:
        return f": {str(error).rstrip('.')}"
    return ", although it has the same layout: to use it all the same, give the file's path as the model"
