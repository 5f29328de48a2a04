"""Everything of a session, kept in the scene: saved with it in a ``.mrb`` or ``.mrml``, and back when it is opened.

There is one hidden node (``vtkMRMLScriptedModuleNode``) for each pair of a volume and a segmentation, and for each
frame of a sequence. Its parameters are JSON texts that live in the scene file itself, so that they need no storage of
their own. Annotated slices are kept with the segments, see :mod:`SAMFinetuneLogic.mrml.annotated`. Collections,
adapters and jobs are files and folders beside the scene: it holds references to them, with a hash by which a file is
known again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.files import sha256_of
from SAMFinetuneLogic.imaging.axes import AXES, Axis
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.mrml.renumbering import renumbered
from SAMFinetuneLogic.mrml.volumes import frame_of

MODULE_NAME = "SAMFinetuneSession"
RECORD_VERSION = 1

_VOLUME, _SEGMENTATION = "volume", "segmentation"


@dataclass(frozen=True)
class FileReference:
    """A file outside of the scene.

    Attributes:
        path: where it was when the scene was saved.
        sha256: of its content then; empty for a folder.
        title: what the user knows it by.
    """

    path: Path
    sha256: str
    title: str

    @classmethod
    def to(cls, path: Path, title: str | None = None) -> "FileReference":
        """A reference to a file or folder as it is now.

        Raises:
            InputError: there is nothing.
        """
        path = Path(path).absolute()
        if not path.exists():
            raise InputError(f"There is no {path}: choose a file that exists.")
        return cls(path, sha256_of(path) if path.is_file() else "", title or path.stem)

    def find(self, beside: Path | None = None) -> Path | None:
        """Where the file is now: at its place, or under its name in the folder ``beside``; None if in neither.

        A file of another content is another file.
        """
        places = [self.path] + ([Path(beside) / self.path.name] if beside is not None else [])
        for place in places:
            if place.is_dir() if not self.sha256 else (place.is_file() and sha256_of(place) == self.sha256):
                return place
        return None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"path": self.path.as_posix(), "sha256": self.sha256, "title": self.title}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "FileReference":
        """The inverse of :meth:`to_dict`."""
        return cls(Path(str(content["path"])), str(content["sha256"]), str(content["title"]))


@dataclass(frozen=True)
class SavedWork:
    """What a session was.

    Attributes:
        model: id of the catalogue entry, or None.
        window: of intensities, or None for one not chosen yet.
        axis: of the slices that were worked on.
        session: :meth:`SAMFinetuneLogic.prompting.session.InteractiveSession.to_dict`: prompts, choices, masks.
        collection: the few-shot collection, or None.
        adapters: those made or loaded, in the order in which they were used.
        active_adapter: the number of the one in use, or None for the base model.
        jobs: folders of training jobs.
        settings: anything else that JSON can hold.
    """

    model: str | None = None
    window: Window | None = None
    axis: Axis = "k"
    session: dict[str, Any] | None = None
    collection: FileReference | None = None
    adapters: tuple[FileReference, ...] = ()
    active_adapter: int | None = None
    jobs: tuple[FileReference, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


def save_work(volume_node: Any, segmentation_node: Any, work: SavedWork) -> Any:
    """Put a session into the scene, in place of the one that it holds for these nodes; returns its node.

    Nothing is written to disk before the user saves the scene.

    Raises:
        InputError: ``settings`` or ``session`` hold something that JSON cannot.
    """
    texts = _texts_of(work)
    node = _find(volume_node, segmentation_node) or _new_record(volume_node, segmentation_node)
    was_modifying = node.StartModify()
    for name, text in texts.items():
        if node.GetParameter(name) != text:
            node.SetParameter(name, text)
    node.EndModify(was_modifying)
    return node


def load_work(volume_node: Any, segmentation_node: Any, volume: Volume) -> SavedWork | None:
    """The session that the scene holds for these nodes, or None.

    Args:
        volume: as read from the volume node. Slices and masks come back in its numbering: on reading a left-handed
            volume from a file, Slicer turns the order of its slices around.

    Raises:
        InputError: it is damaged, or was saved by a newer release.
    """
    node = _find(volume_node, segmentation_node)
    if node is None:
        return None
    work = _work_of(node)
    return work if work.session is None else replace(work, session=renumbered(work.session, volume))


def _texts_of(work: SavedWork) -> dict[str, str]:
    values = {
        "version": RECORD_VERSION,
        "model": work.model,
        "window": None if work.window is None else work.window.to_dict(),
        "axis": work.axis,
        "session": work.session,
        "collection": None if work.collection is None else work.collection.to_dict(),
        "adapters": [adapter.to_dict() for adapter in work.adapters],
        "active_adapter": work.active_adapter,
        "jobs": [job.to_dict() for job in work.jobs],
        "settings": work.settings,
    }
    try:
        # ASCII on one line: scene files are XML, and this text is an attribute of it.
        return {name: json.dumps(value, ensure_ascii=True, separators=(",", ":")) for name, value in values.items()}
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The session cannot be kept in the scene ({error}): use plain values in its settings."
        ) from error


def _work_of(node: Any) -> SavedWork:
    try:
        content = {name: json.loads(node.GetParameter(name)) for name in _texts_of(SavedWork())}
        if content["version"] != RECORD_VERSION:
            raise InputError(
                f"The scene's session has format {content['version']}, this release reads format {RECORD_VERSION}: "
                f"update SAMFinetune."
            )
        axis = content["axis"]
        if axis not in AXES:
            raise ValueError(f"axis {axis!r}")
        collection = content["collection"]
        adapters = tuple(FileReference.from_dict(entry) for entry in content["adapters"])
        active = content["active_adapter"]
        if active is not None and active not in range(len(adapters)):
            raise ValueError(f"active adapter {active!r}")
        return SavedWork(
            model=content["model"],
            window=None if content["window"] is None else Window.from_dict(content["window"]),
            axis=axis,
            session=content["session"],
            collection=None if collection is None else FileReference.from_dict(collection),
            adapters=adapters,
            active_adapter=active,
            jobs=tuple(FileReference.from_dict(entry) for entry in content["jobs"]),
            settings=dict(content["settings"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"The session saved in this scene is damaged ({error}): start a new one.") from error


def _records(scene: Any) -> list[Any]:
    count = scene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode")
    nodes = (scene.GetNthNodeByClass(n, "vtkMRMLScriptedModuleNode") for n in range(count))
    return [node for node in nodes if node.GetModuleName() == MODULE_NAME]


def _find(volume_node: Any, segmentation_node: Any) -> Any:
    """The record of a pair and the frame that is shown now, or None."""
    frame = _frame_text(volume_node)
    for node in _records(volume_node.GetScene()):
        nodes = node.GetNodeReference(_VOLUME), node.GetNodeReference(_SEGMENTATION)
        if nodes == (volume_node, segmentation_node) and node.GetParameter("frame") == frame:
            return node
    return None


def _new_record(volume_node: Any, segmentation_node: Any) -> Any:
    node = volume_node.GetScene().AddNewNodeByClass("vtkMRMLScriptedModuleNode", "SAMFinetune session")
    node.SetModuleName(MODULE_NAME)
    node.SetHideFromEditors(True)
    node.SetNodeReferenceID(_VOLUME, volume_node.GetID())
    node.SetNodeReferenceID(_SEGMENTATION, segmentation_node.GetID())
    node.SetParameter("frame", _frame_text(volume_node))
    return node


def _frame_text(volume_node: Any) -> str:
    frame = frame_of(volume_node)
    return "" if frame is None else str(frame)
