"""What a study measures: its settings and its cells. Knows no torch."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from SAMFinetuneLogic.finetuning.strategy import Mode, Preset, Strategy
from SAMFinetuneLogic.models.catalogue import Backbone

BASE, UNET = "base", "unet"
"""Methods that are no strategies: the model as it is, and a U-Net trained from random weights."""


@dataclass(frozen=True)
class StudySettings:
    """What all cells have in common; a folder holds cells of one kind only.

    Attributes:
        mode: "automatic", as in paper A: classes without prompts; "prompts": one click on each structure.
        preset: of strategies and training.
        shots: slices to learn from; None for the standard split.
        steps, batch: of training; None for the preset's.
        test_slices: of more, equally spaced ones are tested.
        max_labels: of each data set, only that many structures; None for all.
        device: on which it is measured.
    """

    mode: Mode = "automatic"
    preset: Preset = "recommended"
    shots: int | None = None
    steps: int | None = None
    batch: int | None = None
    test_slices: int = 24
    max_labels: int | None = None
    device: str = "auto"

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class StudyModel:
    """A base of the study.

    Attributes:
        source: id or absolute path, by which a process loads it.
        name: in the table.
        backbone: its kind.
        sha256: of its weights.
    """

    source: str
    name: str
    backbone: Backbone
    sha256: str


@dataclass(frozen=True)
class Cell:
    """One training and its score.

    Attributes:
        data_set, fingerprint: which, and what is in it.
        model: None for the U-Net.
        strategy: None for the model as it is and for the U-Net.
        seed: of whatever is random.
        settings: of the study.
    """

    data_set: str
    fingerprint: str
    model: StudyModel | None
    strategy: Strategy | None
    seed: int
    settings: StudySettings

    @property
    def method(self) -> str:
        """As "lora-encoder-decoder", :data:`BASE` or :data:`UNET`."""
        if self.strategy is not None:
            return f"{self.strategy.algorithm}-{self.strategy.components.replace('_', '-')}"
        return UNET if self.model is None else BASE

    @property
    def key(self) -> str:
        """Changes with all that the result depends on."""
        facts = {
            "data": self.fingerprint,
            "model": self.model.sha256 if self.model else None,
            "strategy": self.strategy.to_json() if self.strategy else None,
            "seed": self.seed,
            "settings": self.settings.to_dict(),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def file_name(self) -> str:
        """Readable, and different for each key."""
        parts = [self.data_set, *([self.model.name] if self.model else []), self.method, f"seed{self.seed}"]
        return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', '_'.join(parts))[:100]}_{self.key[:12]}.json"


def make_cells(
    data: Sequence[tuple[str, str]],
    models: Sequence[StudyModel],
    strategies: Sequence[Strategy],
    seeds: int,
    settings: StudySettings,
    baselines: bool = True,
    unet: bool = True,
) -> list[Cell]:
    """All cells, seed by seed, so that an early look at a long study finds every strategy in it.

    Args:
        data: names and fingerprints of the data sets.
        baselines: also the models as they are, which no seed changes.
        unet: also the U-Net, which answers no prompts and so belongs to automatic mode alone.
    """
    cells = []
    for seed in range(seeds):
        for name, fingerprint in data:
            if unet and settings.mode == "automatic":
                cells.append(Cell(name, fingerprint, None, None, seed, settings))
            for model in models:
                if baselines and seed == 0:
                    cells.append(Cell(name, fingerprint, model, None, 0, settings))
                cells += [Cell(name, fingerprint, model, strategy, seed, settings) for strategy in strategies]
    return cells
