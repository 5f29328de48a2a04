"""From cells to the table: means and spreads. Knows no torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

from SAMFinetuneLogic.study.measurement import Measurement
from SAMFinetuneLogic.study.plan import BASE, UNET, Cell

Results = Sequence[tuple[Cell, Measurement]]


@dataclass(frozen=True)
class Spread:
    """A mean with the standard deviation (n - 1) and the number of values behind it."""

    mean: float
    deviation: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Of at least one value."""
        found = list(values)
        mean = sum(found) / len(found)
        deviation = sqrt(sum((v - mean) ** 2 for v in found) / (len(found) - 1)) if len(found) > 1 else 0.0
        return cls(mean, deviation, len(found))

    def text(self, digits: int = 3, signed: bool = False) -> str:
        """As "0.712 ± 0.013", without the spread of a single value."""
        mean = f"{self.mean:{'+' if signed else ''}.{digits}f}"
        return mean if self.count == 1 else f"{mean} ± {self.deviation:.{digits}f}"


@dataclass(frozen=True)
class Row:
    """A method on a model.

    Attributes:
        model: its name; empty for the U-Net.
        backbone: its kind; empty for the U-Net.
        method: as :attr:`SAMFinetuneLogic.study.plan.Cell.method`.
        by_data_set: Dice over the seeds.
        overall: Dice over the data sets, of the means over the seeds; the spread is that between data sets.
        parameters: mean number of trained ones (with the number of classes it differs a little).
        seconds: of training, over all cells.
        memory, gpu_memory: the largest of any cell, in bytes.
    """

    model: str
    backbone: str
    method: str
    by_data_set: dict[str, Spread]
    overall: Spread
    parameters: float
    seconds: Spread
    memory: int
    gpu_memory: int | None


def rows_of(results: Results) -> list[Row]:
    """A row for each model and method, in the order of the cells; the U-Net last."""
    groups: dict[tuple[str, str], list[tuple[Cell, Measurement]]] = {}
    for cell, measurement in results:
        groups.setdefault((cell.model.name if cell.model else "", cell.method), []).append((cell, measurement))
    rows = [_row(model, method, members) for (model, method), members in groups.items()]
    models = list(dict.fromkeys(row.model for row in rows if row.model))
    return sorted(rows, key=lambda row: (row.method == UNET, models.index(row.model) if row.model else 0))


def _row(model: str, method: str, members: Results) -> Row:
    by_data_set: dict[str, list[float]] = {}
    for cell, measurement in members:
        by_data_set.setdefault(cell.data_set, []).append(measurement.dice)
    spreads = {name: Spread.of(values) for name, values in by_data_set.items()}
    measurements = [measurement for _, measurement in members]
    used = members[0][0].model
    on_gpu = [m.gpu_memory for m in measurements if m.gpu_memory is not None]
    return Row(
        model,
        used.backbone if used else "",
        method,
        spreads,
        Spread.of(spread.mean for spread in spreads.values()),
        sum(m.parameters for m in measurements) / len(measurements),
        Spread.of(m.seconds for m in measurements),
        max(m.memory for m in measurements),
        max(on_gpu, default=None),
    )


@dataclass(frozen=True)
class Finding:
    """Encoder and decoder against the decoder alone, over pairs of cells that differ in nothing else.

    Attributes:
        gain: Dice of the former less that of the latter, over all pairs.
        by_algorithm: the same for each algorithm.
        ahead: data sets in which the mean gain is above zero.
        data_sets: in which there is a pair.
    """

    gain: Spread
    by_algorithm: dict[str, Spread]
    ahead: int
    data_sets: int

    def sentence(self) -> str:
        """For the report, beside what paper A found."""
        parts = ", ".join(f"{name} {spread.text(signed=True)}" for name, spread in self.by_algorithm.items())
        pairs = f"{self.gain.count} pairs of cells" if self.gain.count > 1 else "one pair of cells"
        agrees = self.gain.mean > 0 and 2 * self.ahead > self.data_sets
        verdict = "This agrees with" if agrees else "This does not bear out"
        return (
            f"Training encoder and decoder instead of the decoder alone changes Dice by {self.gain.text(signed=True)} "
            f"(mean ± standard deviation over {pairs}; {parts}), and is ahead in {self.ahead} of {self.data_sets} data "
            f"sets. {verdict} paper A's finding that training both is better."
        )


def find(results: Results) -> Finding | None:
    """None without a pair."""
    dice = {
        (cell.data_set, cell.model, cell.strategy.algorithm, cell.seed, cell.strategy.components): measurement.dice
        for cell, measurement in results
        if cell.strategy is not None
    }
    pairs = [
        (data_set, algorithm, value - dice[data_set, model, algorithm, seed, "decoder"])
        for (data_set, model, algorithm, seed, components), value in dice.items()
        if components == "encoder_decoder" and (data_set, model, algorithm, seed, "decoder") in dice
    ]
    if not pairs:
        return None
    algorithms = list(dict.fromkeys(algorithm for _, algorithm, _ in pairs))
    names = {data_set for data_set, _, _ in pairs}
    means = [Spread.of(gain for name, _, gain in pairs if name == data_set).mean for data_set in names]
    return Finding(
        Spread.of(gain for _, _, gain in pairs),
        {one: Spread.of(gain for _, algorithm, gain in pairs if algorithm == one) for one in algorithms},
        sum(mean > 0 for mean in means),
        len(names),
    )


TITLES = {
    BASE: "no training",
    UNET: "U-Net (MONAI)",
    "vanilla-decoder": "vanilla, decoder",
    "adapter-decoder": "Adapter, decoder",
    "lora-decoder": "LoRA, decoder",
    "vanilla-encoder-decoder": "vanilla, encoder + decoder",
    "adapter-encoder-decoder": "Adapter, encoder + decoder",
    "lora-encoder-decoder": "LoRA, encoder + decoder",
}
"""Of the methods, in the table and in the picture."""
