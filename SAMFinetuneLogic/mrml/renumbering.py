"""A stored session on a grid with the same voxels in another order.

Slicer keeps volumes right-handed when it reads them from files: a left-handed one, which scripts and some modules make,
comes back from a saved scene with its slices numbered from the other end.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.mrml.lattice import Flips, flip_mask, flip_slice, flips_between
from SAMFinetuneLogic.prompting.packed import PackedMask
from SAMFinetuneLogic.prompting.prompts import MaskPrompt
from SAMFinetuneLogic.prompting.session_state import (
    PlacedPrompt,
    SliceState,
    Target,
    prompts_from_list,
    prompts_to_list,
    slices_from_list,
    slices_to_list,
)

Size = tuple[int, int, int]


def renumbered(session: Mapping[str, Any], volume: Volume) -> dict[str, Any]:
    """What :meth:`SAMFinetuneLogic.prompting.session.InteractiveSession.to_dict` gave, in the volume's order of voxels.

    On a grid with other voxels it stays as it is: opening the session drops there what consists of pixels. Logits fed
    back to the model are left out where the pixels of their slice change places, for the model saw it the other way.

    Raises:
        InputError: damaged content.
    """
    result = dict(session)
    turn = _turn(session.get("grid"), volume)
    if turn is None:
        return result  # if it is damaged, whoever opens it says what is wrong
    flips, size = turn
    prompts = prompts_from_list(session["prompts"])
    slices = slices_from_list(session["slices"])
    result["grid"] = grid_record(volume)
    result["prompts"] = prompts_to_list(_turn_prompt(placed, flips, size) for placed in prompts.values())
    result["slices"] = slices_to_list(dict(_turn_state(target, state, flips, size) for target, state in slices.items()))
    return result


def grid_record(volume: Volume) -> dict[str, Any]:
    """The order of a volume's voxels, to be stored with numbers of its slices."""
    return {"shape": list(volume.shape), "ijk_to_ras": volume.ijk_to_ras.tolist()}


def slice_numbering(grid: Any, volume: Volume) -> Callable[[SliceIndex], SliceIndex]:
    """From slices of a stored grid, see :func:`grid_record`, to the same slices of a volume.

    On a grid with other voxels, or a damaged one, slices stay as they are.
    """
    turn = _turn(grid, volume)
    if turn is None:
        return lambda entry: entry
    flips, size = turn
    return lambda entry: flip_slice(entry, flips, size)


def _turn(grid: Any, volume: Volume) -> tuple[Flips, Size] | None:
    """How a stored grid is turned against the volume's; None if it is not, or not only turned."""
    try:
        old = np.array(grid["ijk_to_ras"], dtype=np.float64)
        k, j, i = (int(length) for length in grid["shape"])
    except (KeyError, TypeError, ValueError):
        return None
    new_k, new_j, new_i = volume.shape
    size = i, j, k
    flips = flips_between(old, size, volume.ijk_to_ras, (new_i, new_j, new_k)) if old.shape == (4, 4) else None
    return None if flips is None or not any(flips) else (flips, size)


def _turn_prompt(placed: PlacedPrompt, flips: Flips, size: Size) -> PlacedPrompt:
    if not isinstance(placed.prompt, MaskPrompt):
        return placed
    where = placed.prompt.slice
    mask = flip_mask(placed.prompt.mask(), where.axis, flips)
    return replace(placed, prompt=MaskPrompt.from_mask(flip_slice(where, flips, size), mask))


def _turn_state(target: Target, state: SliceState, flips: Flips, size: Size) -> tuple[Target, SliceState]:
    axis = target.slice.axis
    same_pixels = not any(flip for flip, name in zip(flips, "ijk", strict=True) if name != axis)
    accepted = state.accepted
    if accepted is not None:
        accepted = PackedMask.pack(flip_mask(accepted.unpack(), axis, flips))
    feedback = state.feedback if same_pixels else None
    turned = Target(target.segment, flip_slice(target.slice, flips, size))
    return turned, replace(state, accepted=accepted, feedback=feedback)
