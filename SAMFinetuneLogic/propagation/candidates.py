"""Which candidates a method has."""

from collections.abc import Mapping
from dataclasses import dataclass

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.progress import CancelCheck
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.appearance import AppearanceCandidate
from SAMFinetuneLogic.propagation.candidate import Candidate
from SAMFinetuneLogic.propagation.extent import Extent
from SAMFinetuneLogic.propagation.growing import GrowthCandidate
from SAMFinetuneLogic.propagation.interpolation import InterpolationCandidate
from SAMFinetuneLogic.propagation.motion import MotionCandidate
from SAMFinetuneLogic.propagation.options import Direction, PropagationOptions
from SAMFinetuneLogic.propagation.reading import SliceReader
from SAMFinetuneLogic.propagation.redrawing import RedrawCandidate
from SAMFinetuneLogic.propagation.tracking import TrackCandidate, Tracks


@dataclass(frozen=True, eq=False)
class Source:
    """What is to be continued: the image, what is drawn, and where each segment (by its value) may be."""

    volume: Volume
    annotations: Annotations
    extents: Mapping[int, Extent]
    window: Window


def make_candidates(
    options: PropagationOptions, source: Source, reader: SliceReader | None, cancelled: CancelCheck | None = None
) -> list[Candidate]:
    """The candidates of a method.

    Args:
        reader: asks the network; None leaves out what needs one.

    Raises:
        InputError: a method that is nothing without a network.
    """
    if options.method in ("propagate", "fewshot") and reader is None:
        raise InputError(f"The method {options.method!r} needs a model; give one, or use 'auto' or 'interpolate'.")
    outline = InterpolationCandidate(source.extents)
    candidates: list[Candidate] = []
    if options.method in ("auto", "interpolate"):
        candidates.append(outline)
    if options.method == "auto":
        moved = MotionCandidate(source.volume, source.window, source.annotations, source.extents, cancelled)
        corrected = AppearanceCandidate(source.volume, source.window, moved)
        candidates += [moved, corrected, GrowthCandidate(source.volume, source.window, source.extents)]
        if reader is not None:
            candidates.append(RedrawCandidate(reader, corrected))
    if options.method in ("auto", "propagate") and reader is not None:
        tracks = Tracks(reader, source.extents)
        both: tuple[Direction, ...] = ("forward", "backward")
        directions = both if options.direction == "both" else (options.direction,)
        candidates += [TrackCandidate(tracks, direction) for direction in directions]
    learns = options.method == "fewshot" or (options.method == "auto" and options.learn)
    if learns and reader is not None:
        from SAMFinetuneLogic.propagation.learning import FewShotCandidate

        candidates.append(
            FewShotCandidate(reader.predictor, source.volume, source.annotations, source.window, cancelled=cancelled)
        )
    return candidates
