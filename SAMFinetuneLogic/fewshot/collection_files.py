"""A support collection and the decoder fitted to it, in one file.

The file holds image content: the windowed pixels of each labelled slice, and embeddings made from them. Treat it as
you treat the images. It holds no patient name, date or identifier; the names of the image files are in it.

A safetensors file; its metadata has one key, ``samfinetune_fewshot``, with JSON. Tensors: ``slices/0000/pixels``,
``.../labels``, ``.../embedding``, and, once a decoder is fitted, ``decoder/...``, ``targets/...``, ``estimator/...``.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.fewshot.collection import SupportCollection, SupportModel, SupportSlice
from SAMFinetuneLogic.fewshot.dense import DenseEstimator, LinearClassifier
from SAMFinetuneLogic.fewshot.fit_record import FitRecord
from SAMFinetuneLogic.fewshot.fitted import FewShotModel, new_decoder
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.fewshot.targets import TargetEmbeddings
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.labels import Segment
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.tensor_files import write_tensors
from SAMFinetuneLogic.prompting.cache import EmbeddingCache
from SAMFinetuneLogic.prompting.predictor import SlicePredictor

FORMAT_VERSION = 1
SUFFIX = ".safetensors"
_KEY = "samfinetune_fewshot"

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class OpenedCollection:
    """What a file holds.

    Attributes:
        collection: the labelled slices.
        fit: JSON of the fitted decoder, or None; :meth:`fitted` builds it.
        tensors: of the fitted decoder.
    """

    collection: SupportCollection
    fit: Mapping[str, Any] | None
    tensors: Mapping[str, torch.Tensor]

    def fitted(self, model: LoadedModel, cache: EmbeddingCache | None = None) -> FewShotModel | None:
        """The fitted decoder on the model's device; None if there is none.

        Args:
            model: that it was fitted to.
            cache: for the embeddings that it asks for itself.

        Raises:
            ModelError: it was fitted to another model.
        """
        if self.fit is None:
            return None
        classes = tuple(_segment(entry) for entry in self.fit["classes"])
        settings = FitSettings(**self.fit["settings"])
        fitted = FewShotModel(
            decoder=new_decoder(model, len(classes), settings),
            support_model=SupportModel(**self.fit["model"]),
            classes=classes,
            targets=TargetEmbeddings(
                self.tensors["targets/vectors"].to(model.device), self.tensors["targets/kinds"].to(model.device)
            ),
            estimator=_read_estimator(self.tensors, model.device),
            mirror=tuple(self.fit.get("mirror", ())),  # files written before mirror images were looked at have none
            predictor=SlicePredictor(model, cache),
            settings=settings,
            record=FitRecord.from_dict(self.fit["record"]),
            plane=self.fit["plane"],
            window_name=self.fit["window"],
        )
        fitted.check(model)
        prefix = "decoder/"
        state = {name[len(prefix) :]: t for name, t in self.tensors.items() if name.startswith(prefix)}
        fitted.decoder.load_state_dict(state)
        fitted.decoder.eval().requires_grad_(False)
        return fitted


def save_collection(
    path: Path, collection: SupportCollection, fitted: FewShotModel | None = None, overwrite: bool = True
) -> None:
    """Write a collection, with the decoder if there is one, atomically.

    Raises:
        InputError: the name does not end in ``.safetensors``.
        OutputError: the file cannot be written, or exists and ``overwrite`` is False.
    """
    path = Path(path)
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"Collections are written as {SUFFIX}, not as {path.name}; end the name in {SUFFIX}.")
    tensors: Tensors = {}
    for n, entry in enumerate(collection.slices):
        for name in ("pixels", "labels", "embedding"):
            tensors[f"slices/{n:04d}/{name}"] = torch.from_numpy(np.ascontiguousarray(getattr(entry, name)).copy())
    content: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "content": "Slices of medical images with labels and embeddings: treat this file as you treat the images.",
        "model": asdict(collection.model),
        "classes": [asdict(segment) for segment in collection.classes],
        "slices": [_slice_to_dict(entry) for entry in collection.slices],
    }
    if fitted is not None:
        content["fit"] = {
            "model": asdict(fitted.support_model),
            "classes": [asdict(segment) for segment in fitted.classes],
            "settings": asdict(fitted.settings),
            "mirror": list(fitted.mirror),
            "record": fitted.record.to_dict(),
            "plane": fitted.plane,
            "window": fitted.window_name,
        }
        tensors |= {f"decoder/{name}": t.detach().cpu().clone() for name, t in fitted.decoder.state_dict().items()}
        tensors |= {"targets/vectors": fitted.targets.vectors.cpu(), "targets/kinds": fitted.targets.kinds.cpu()}
        tensors |= _estimator_tensors(fitted.estimator)
    # The JSON in ASCII: the name of a folder of DICOM may hold bytes that are no letters.
    write_tensors(path, tensors, {_KEY: json.dumps(content)}, overwrite)


def load_collection(path: Path) -> OpenedCollection:
    """Read a file of :func:`save_collection`.

    Raises:
        InputError: no such file, not a collection, damaged, or written by a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no collection {path}; make one with 'samfinetune fewshot fit'.")
    try:
        with safe_open(str(path), framework="pt", device="cpu") as stream:
            metadata = stream.metadata() or {}
            if _KEY not in metadata:
                raise InputError(f"{path.name} is no support collection; make one with 'samfinetune fewshot fit'.")
            content = json.loads(metadata[_KEY])
            if content.get("format") != FORMAT_VERSION:
                raise InputError(
                    f"{path.name} has format {content.get('format')}, this release reads format {FORMAT_VERSION}: "
                    "update SAMFinetune."
                )
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a dictionary
        slices = tuple(_slice_from_dict(entry, tensors, n) for n, entry in enumerate(content["slices"]))
        collection = SupportCollection(
            SupportModel(**content["model"]), tuple(_segment(entry) for entry in content["classes"]), slices
        )
    except (SafetensorError, ValueError, OSError, KeyError, TypeError) as error:
        raise InputError(f"The collection {path.name} is damaged or incomplete; make it again.") from error
    return OpenedCollection(
        collection, content.get("fit"), {name: t for name, t in tensors.items() if not name.startswith("slices/")}
    )


def _slice_to_dict(entry: SupportSlice) -> dict[str, Any]:
    return {
        "spacing": list(entry.spacing),
        "image": entry.image,
        "image_key": entry.image_key,
        "axis": entry.slice.axis,
        "index": entry.slice.index,
        "plane": entry.plane,
        "window": entry.window.to_dict(),
    }


def _slice_from_dict(content: Mapping[str, Any], tensors: Tensors, n: int) -> SupportSlice:
    row_mm, col_mm = content["spacing"]
    return SupportSlice(
        pixels=tensors[f"slices/{n:04d}/pixels"].numpy(),
        labels=tensors[f"slices/{n:04d}/labels"].numpy(),
        spacing=(float(row_mm), float(col_mm)),
        embedding=tensors[f"slices/{n:04d}/embedding"].numpy(),
        image=content["image"],
        image_key=content["image_key"],
        slice=SliceIndex(content["axis"], int(content["index"])),
        plane=content["plane"],
        window=Window.from_dict(content["window"]),
    )


def _segment(content: Mapping[str, Any]) -> Segment:
    red, green, blue = content["color"]
    return Segment(int(content["value"]), content["name"], (red, green, blue))


def _estimator_tensors(estimator: DenseEstimator | None) -> Tensors:
    if estimator is None:
        return {}
    linear = estimator.classifier
    tensors = {f"estimator/{name}": getattr(linear, name).cpu() for name in ("weight", "bias", "mean", "scale")}
    if estimator.prototypes is not None and estimator.centre is not None:
        tensors["estimator/centre"] = estimator.centre.cpu()
        tensors |= {f"estimator/prototypes/{n:04d}": group.cpu() for n, group in enumerate(estimator.prototypes)}
    return tensors


def _read_estimator(tensors: Mapping[str, torch.Tensor], device: torch.device) -> DenseEstimator | None:
    if "estimator/weight" not in tensors:
        return None
    weight, bias, mean, scale = (
        tensors[f"estimator/{name}"].to(device) for name in ("weight", "bias", "mean", "scale")
    )
    linear = LinearClassifier(weight, bias, mean, scale)
    if "estimator/centre" not in tensors:
        return DenseEstimator(linear)
    groups = sorted(name for name in tensors if name.startswith("estimator/prototypes/"))
    return DenseEstimator(
        linear, tuple(tensors[name].to(device) for name in groups), tensors["estimator/centre"].to(device)
    )
