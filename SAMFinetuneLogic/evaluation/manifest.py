"""The manifest of an evaluation: a JSON list of cases with image and label pairs.

A case is an object with ``case`` (its name and, by default, its folder beside the manifest), ``modality``, ``pairs``
(objects with ``image`` and ``label``, paths relative to the case's folder; an image may be a folder of DICOM files)
and, optionally, ``label_names`` (label value -> name). ``modality`` and ``label_names`` may also stand in a pair, where
they go before the case's own. Other keys are ignored.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SAMFinetuneLogic.errors import InputError

# DICOM's codes by how free text on the modality begins; the longer beginnings first.
_MODALITIES = (
    ("MAMMO", "MG"),
    ("ULTRASOUND", "US"),
    ("X-RAY", "DX"),
    ("XRAY", "DX"),
    ("PET", "PT"),
    ("CT", "CT"),
    ("MR", "MR"),
    ("PT", "PT"),
    ("US", "US"),
    ("CR", "DX"),
    ("DX", "DX"),
    ("MG", "MG"),
)
_WHOLE_WORDS = {"PT", "US", "CR", "DX", "MG"}


@dataclass(frozen=True)
class Pair:
    """An image with its label map, which may lie on another grid.

    Attributes:
        image, label: paths of existing files, or of a DICOM folder.
        modality: DICOM code, or the manifest's own word where it is none that we know.
        label_names: the names that the manifest gives to label values.
    """

    image: Path
    label: Path
    modality: str
    label_names: Mapping[int, str]


@dataclass(frozen=True)
class Case:
    """One patient, or one collection of single images: it counts once in every mean."""

    name: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Manifest:
    """The cases in the order of the file."""

    path: Path
    cases: tuple[Case, ...]

    def only(self, names: Sequence[str]) -> "Manifest":
        """These cases alone, in the order of the file.

        Raises:
            InputError: there is no case of one of the names.
        """
        known = {case.name for case in self.cases}
        if unknown := sorted(set(names) - known):
            raise InputError(f"The manifest {self.path} has no case {unknown[0]!r}; it has {', '.join(sorted(known))}.")
        return Manifest(self.path, tuple(case for case in self.cases if case.name in names))


def manifest_file(path: Path) -> Path:
    """The file of a manifest that is given as the file itself or as the folder that holds it."""
    return path / "manifest.json" if path.is_dir() else path


def read_manifest(path: Path) -> Manifest:
    """Read a manifest, given as its file or as the folder that holds a ``manifest.json``.

    Raises:
        InputError: no such file, not of the form that the module's docstring describes, two cases of one name, or an
            image or label that does not exist.
    """
    path = manifest_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read the manifest {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise InputError(f"The manifest {path} is not valid JSON ({error}); correct it.") from error
    if not isinstance(content, list) or not content:
        raise InputError(f"The manifest {path} must be a JSON list of at least one case.")
    cases = tuple(_case(entry, path) for entry in content)
    names = [case.name for case in cases]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"The manifest {path} has several cases named {repeated[0]!r}; give each its own name.")
    return Manifest(path, cases)


def modality_code(text: str) -> str:
    """The DICOM code for free text such as ``MR T1w (crop)``; the text itself where none fits."""
    upper = text.strip().upper()

    def begins(word: str) -> bool:
        # "Cranial" and "user's own" are no CR and no US; "MRI" and "CTA" are what they begin with.
        return upper.startswith(word) and not (word in _WHOLE_WORDS and upper[len(word) : len(word) + 1].isalpha())

    return next((code for beginning, code in _MODALITIES if begins(beginning)), text.strip() or "unknown")


def _case(entry: Any, path: Path) -> Case:
    if not isinstance(entry, dict) or not isinstance(entry.get("case"), str):
        raise InputError(f"Each entry of the manifest {path} must be an object with the name of its case in 'case'.")
    name = entry["case"]
    pairs = entry.get("pairs")
    if not isinstance(pairs, list) or not pairs:
        raise InputError(f"Case {name!r} of the manifest {path} needs a list 'pairs' with at least one pair.")
    return Case(name, tuple(_pair(pair, entry, path.parent / name) for pair in pairs))


def _pair(pair: Any, case: Mapping[str, Any], folder: Path) -> Pair:
    if not isinstance(pair, dict) or not all(isinstance(pair.get(key), str) for key in ("image", "label")):
        raise InputError(
            f"Each pair of case {case['case']!r} must be an object that names its 'image' and its 'label'."
        )
    image, label = folder / pair["image"], folder / pair["label"]
    for file in (image, label):
        if not file.exists():
            raise InputError(f"{file}, which case {case['case']!r} of the manifest names, does not exist.")
    modality = pair.get("modality") or _part_for_image(str(case.get("modality", "")), pair["image"])
    names = pair.get("label_names", case.get("label_names", {}))
    try:
        label_names = {int(value): str(name) for value, name in names.items()}
    except (AttributeError, ValueError) as error:
        raise InputError(f"'label_names' of case {case['case']!r} must map whole numbers to names.") from error
    return Pair(image, label, modality_code(str(modality)), label_names)


def _part_for_image(modality: str, image: str) -> str:
    """Of a case with several modalities (``CT+PET``), the one with which the image's name begins."""
    return next((part for part in modality.split("+") if image.upper().startswith(part.strip().upper())), modality)
