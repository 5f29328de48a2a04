"""Which slices are learned from, which decide when to stop, and which judge the result.

Slices that lie side by side look almost alike: one to learn from and its neighbour to judge by would flatter the
adapter. Slices are therefore kept together in blocks, runs of slices that lie within :data:`NEIGHBOURS` of each other,
and of several images each is a block of its own. Long runs are cut, for else nothing could be held out.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet, LabelledSlice

NEIGHBOURS = 2
"""Slices no farther apart than this belong to one block."""
MIN_FOR_STOPPING = 8
"""With fewer labelled slices a fixed schedule is the better use of them than a slice that decides when to stop."""
GATE_SHARE, VALIDATION_SHARE = 0.25, 0.15


@dataclass(frozen=True)
class Split:
    """Numbers of slices in their set, ascending. The gate's are used for nothing else."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    gate: tuple[int, ...]

    def to_dict(self) -> dict[str, list[int]]:
        """Fit for JSON."""
        return {"train": list(self.train), "validation": list(self.validation), "gate": list(self.gate)}

    @classmethod
    def from_dict(cls, content: dict[str, list[int]]) -> "Split":
        return cls(*(tuple(int(n) for n in content[part]) for part in ("train", "validation", "gate")))


def split(data: LabelledSet) -> Split:
    """Hold out slices for the gate and, of eight or more, some for early stopping.

    Of three or more images, whole images are held out; else blocks of slices. At least one slice with a structure on
    it is held out, two from four slices on. Held out are blocks from the inside of the range that is annotated, since
    that is where the adapter will be used. Empty slices of held-out images, and those next to held-out slices, go with
    them: where there are no prompts, what is drawn there counts against the adapter.

    Raises:
        InputError: fewer than two slices show a structure.
    """
    shown = [number for number, entry in enumerate(data.slices) if not entry.is_empty]
    if len(shown) < 2:
        raise InputError(
            "At least two slices with a structure on them are needed, one to learn from and one to judge by: "
            "annotate more slices."
        )
    count = len(shown)
    wanted_gate = 1 if count < 4 else max(2, round(GATE_SHARE * count))
    wanted_validation = max(1, round(VALIDATION_SHARE * count)) if count >= MIN_FOR_STOPPING else 0
    groups = sorted({data.slices[number].group for number in shown})
    if len(groups) >= 3:
        blocks = [[n for n in shown if data.slices[n].group == group] for group in groups]
        gate, rest = _hold_out_images(blocks, wanted_gate)
    else:
        by_group = [[n for n in shown if data.slices[n].group == group] for group in groups]
        runs = [block for numbers in by_group for block in _blocks(data, numbers)]
        blocks = _cut(runs, max(1, min(wanted_gate, count // 3)))
        gate, rest = _hold_out(blocks, wanted_gate, count)
    validation: list[int] = []
    if wanted_validation and len(rest) > 1:
        if len(groups) >= 3:
            validation, rest = _hold_out_images(rest, wanted_validation)
        else:
            validation, rest = _hold_out(rest, wanted_validation, sum(map(len, rest)))
    whole = len(groups) >= 3
    gate += _empty_with(data, gate, whole)
    validation += [n for n in _empty_with(data, validation, whole) if n not in gate]
    held = {*gate, *validation}
    train = [n for n in range(len(data.slices)) if n not in held]
    return Split(tuple(train), tuple(sorted(validation)), tuple(sorted(gate)))


def _blocks(data: LabelledSet, numbers: Sequence[int]) -> list[list[int]]:
    """Runs of neighbouring slices of one image."""
    ordered = sorted(numbers, key=lambda n: (data.slices[n].slice.axis, data.slices[n].slice.index))
    blocks: list[list[int]] = []
    for number in ordered:
        where = data.slices[number].slice
        last = data.slices[blocks[-1][-1]].slice if blocks else None
        if last is not None and last.axis == where.axis and where.index - last.index <= NEIGHBOURS:
            blocks[-1].append(number)
        else:
            blocks.append([number])
    return blocks


def _cut(blocks: list[list[int]], longest: int) -> list[list[int]]:
    """Blocks no longer than ``longest``."""
    pieces = []
    for block in blocks:
        parts = max(1, -(-len(block) // longest))
        bounds = [round(part * len(block) / parts) for part in range(parts + 1)]
        pieces += [block[start:stop] for start, stop in itertools.pairwise(bounds) if stop > start]
    return pieces


def _hold_out(blocks: list[list[int]], wanted: int, total: int) -> tuple[list[int], list[list[int]]]:
    """``wanted`` slices or little more, in whole blocks spread over the inside of the range; the others stay."""
    per_block = max(1.0, total / len(blocks))
    count = max(1, min(len(blocks) - 1, round(wanted / per_block)))
    places = [round((n + 1) * (len(blocks) - 1) / (count + 1)) for n in range(count)]
    order = [*dict.fromkeys(places), *(n for n in range(1, len(blocks) - 1) if n not in places)]
    held: set[int] = set()
    for n in order:
        size = sum(len(blocks[k]) for k in held)
        if size < wanted and (not held or size + len(blocks[n]) <= max(wanted, total // 2)):
            held.add(n)
    numbers = [number for n in sorted(held) for number in blocks[n]]
    return numbers, [block for n, block in enumerate(blocks) if n not in held]


def _hold_out_images(images: list[list[int]], wanted: int) -> tuple[list[int], list[list[int]]]:
    """``wanted`` slices or more, in whole images, those with the fewest slices first; at least one image stays."""
    held: set[int] = set()
    for n in sorted(range(len(images)), key=lambda n: (len(images[n]), n))[: len(images) - 1]:
        if sum(len(images[k]) for k in held) < wanted:
            held.add(n)
    return [n for k in sorted(held) for n in images[k]], [image for k, image in enumerate(images) if k not in held]


def _empty_with(data: LabelledSet, held: Sequence[int], whole: bool) -> list[int]:
    """The empty slices that are held out with others: next to them or, of ``whole`` images, all of the same image.

    To learn that they are empty would tell where the structure ends.
    """

    def belongs(entry: LabelledSlice, other: LabelledSlice) -> bool:
        if other.group != entry.group:
            return False
        return whole or (other.slice.axis == entry.slice.axis and abs(other.slice.index - entry.slice.index) <= 1)

    return [
        number
        for number, entry in enumerate(data.slices)
        if entry.is_empty and any(belongs(entry, data.slices[other]) for other in held)
    ]
