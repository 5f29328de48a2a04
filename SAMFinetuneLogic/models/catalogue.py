"""The models that SAMFinetune knows: where they come from, under which licence, and how to feed them.

The facts live in ``resources/catalogue.json``. An entry without a SHA-256 or without a direct address is
"import only": the user brings the file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.models.preprocessing_rule import Preprocessing

DEFAULT_MODEL_ID = "samfinetune_default"

Backbone = Literal["vit_b", "vit_l", "vit_h", "vit_t", "vit_t_256", "compact"]
PromptKind = Literal["point", "box", "mask"]


@dataclass(frozen=True)
class ModelEntry:
    """One model of the catalogue.

    Attributes:
        id: the name to use on the command line.
        title: the name to show.
        backbone: architecture; "vit_t" is MobileSAM's TinyViT, "vit_t_256" LiteMedSAM's, "compact" our own.
        url: direct address of the file, or None.
        filename: name of the file in the model folder.
        bytes, sha256: of the published file, or None where nobody states them.
        licence, licence_note: to be shown before a download.
        non_commercial: the weights are, or may be, barred from commercial use.
        source: the authors' page.
        preprocessing: how a slice becomes the network's input.
        prompts: the kinds of prompt that the model was trained with.
        multimask: whether its three candidate masks were trained.
        single_mask_first: an ambiguous prompt is answered with the single-mask output, the three candidates after
            it; else, as SAM's authors do, with the best-rated candidate.
        import_only: the user has to bring the file.
        builtin: the file is part of this package.
        encoder_only: holds no decoder, so that it cannot answer prompts.
    """

    id: str
    title: str
    backbone: Backbone
    url: str | None
    filename: str
    bytes: int | None
    sha256: str | None
    licence: str
    licence_note: str
    non_commercial: bool
    source: str
    preprocessing: Preprocessing
    prompts: tuple[PromptKind, ...]
    multimask: bool
    single_mask_first: bool = False
    import_only: bool = False
    builtin: bool = False
    encoder_only: bool = False

    def licence_text(self) -> str:
        """What a user should read before fetching the model: a few lines."""
        lines = [f"{self.title}: licence {self.licence}. {self.licence_note}", f"Source: {self.source}"]
        if self.non_commercial:
            lines.insert(1, "NOT FOR COMMERCIAL USE, unless the authors permit it.")
        return "\n".join(lines)


@cache
def load_catalogue() -> dict[str, ModelEntry]:
    """All entries by id, in the order in which to show them."""
    text = files("SAMFinetuneLogic").joinpath("resources", "catalogue.json").read_text(encoding="utf-8")
    entries = [_entry_from(content) for content in json.loads(text)["models"]]
    return {entry.id: entry for entry in entries}


def find_entry(model_id: str) -> ModelEntry:
    """The entry with this id.

    Raises:
        ModelError: there is none; the message lists the ids.
    """
    catalogue = load_catalogue()
    if model_id not in catalogue:
        raise ModelError(f"There is no model '{model_id}'; choose one of {', '.join(catalogue)}, or give a file.")
    return catalogue[model_id]


def builtin_path(entry: ModelEntry) -> Path:
    """Where the file of a builtin model lies in the installed package."""
    return Path(str(files("SAMFinetuneLogic").joinpath("resources", entry.filename)))


def _entry_from(content: Mapping[str, Any]) -> ModelEntry:
    known = {field.name for field in fields(ModelEntry)}
    values = {name: value for name, value in content.items() if name in known}
    values["preprocessing"] = Preprocessing(**content["preprocessing"])
    values["prompts"] = tuple(content["prompts"])
    return ModelEntry(**values)
