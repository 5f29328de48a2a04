"""Which slices of a data set a study learns from, and which it tests.

Standard: a fifth is tested and, of ten or more parts, a tenth decides when to stop. A part is an image; of a single
volume, a block of slices: slices that lie side by side look almost alike, so never random ones. Few-shot: a few
slices are learned from by a fixed schedule, and the others are tested.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet
from SAMFinetuneLogic.finetuning.splitting import Split

BLOCKS = 10
"""A single volume is cut into this many blocks of slices."""
MIN_FOR_VALIDATION = 10
"""With fewer parts none is spared to decide when to stop: the schedule is fixed."""
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1


@dataclass(frozen=True)
class StudySplit(Split):
    """The numbers of slices in their set; what finetuning calls the gate is the test here."""

    @property
    def test(self) -> tuple[int, ...]:
        """Used for nothing but the score."""
        return self.gate

    def renumbered(self, kept: Sequence[int]) -> "StudySplit":
        """For the set in which only the slices ``kept`` are left, in this order."""
        new = {number: place for place, number in enumerate(kept)}
        return StudySplit(*(tuple(new[n] for n in part) for part in (self.train, self.validation, self.gate)))


def study_split(data: LabelledSet, shots: int | None, test_slices: int) -> StudySplit:
    """Divide the slices of a data set.

    Args:
        shots: learn from this many slices; None for the standard split. With several images, they come from the four
            fifths of the images that the standard split would learn from, and the others are tested.
        test_slices: of more, equally spaced ones are tested.

    Raises:
        InputError: there are too few slices.
    """
    count = len(data.slices)
    needed = 2 if shots is None else shots + 1
    if count < needed:
        raise InputError(f"It has {count} labelled slices, and {needed} are needed.")
    groups = sorted({entry.group for entry in data.slices})
    if len(groups) > 1:
        parts = [[n for n, entry in enumerate(data.slices) if entry.group == group] for group in groups]
    else:
        bounds = np.linspace(0, count, min(BLOCKS, count) + 1).round().astype(int)
        parts = [list(range(start, stop)) for start, stop in itertools.pairwise(bounds)]
    if shots is not None:
        return _few_shot(parts if len(groups) > 1 else None, count, shots, test_slices)
    tested = spaced(range(len(parts)), max(1, round(TEST_SHARE * len(parts))))
    rest = [n for n in range(len(parts)) if n not in tested]
    stopping: list[int] = []
    if len(parts) >= MIN_FOR_VALIDATION:
        stopping = list(spaced(rest, max(1, round(VALIDATION_SHARE * len(parts)))))
    learned = [n for n in rest if n not in stopping]
    return StudySplit(_flat(parts, learned), _flat(parts, stopping), spaced(_flat(parts, tested), test_slices))


def spaced(numbers: Sequence[int], wanted: int) -> tuple[int, ...]:
    """``wanted`` of ``numbers``, equally spaced, the ends left out where there is room; all where there are fewer."""
    wanted = min(wanted, len(numbers))
    centres = (np.arange(wanted) + 0.5) * len(numbers) / max(1, wanted)
    return tuple(numbers[int(centre)] for centre in centres)


def _few_shot(images: list[list[int]] | None, count: int, shots: int, test_slices: int) -> StudySplit:
    if images is None:
        learned = spaced(range(count), shots)
        tested = [n for n in range(count) if n not in learned]
        return StudySplit(learned, (), spaced(tested, test_slices))
    held = spaced(range(len(images)), max(1, round(TEST_SHARE * len(images))))
    others = _flat(images, [n for n in range(len(images)) if n not in held])
    if len(others) < shots:
        raise InputError(f"Without the test images it has {len(others)} labelled slices, and {shots} are needed.")
    return StudySplit(spaced(others, shots), (), spaced(_flat(images, held), test_slices))


def _flat(parts: Sequence[Sequence[int]], chosen: Sequence[int]) -> tuple[int, ...]:
    return tuple(number for n in chosen for number in parts[n])
