"""Structures on one page: the best, the median and the worst of a run, or the worst cases and structures."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import Manifest
from SAMFinetuneLogic.evaluation.protocols import EvaluationProtocol, RunContext, Settings, make_protocol
from SAMFinetuneLogic.evaluation.protocols.base import MODEL, Answer, Column
from SAMFinetuneLogic.evaluation.report import EvaluationReport
from SAMFinetuneLogic.evaluation.results import Result
from SAMFinetuneLogic.evaluation.segmenter import Segmenter
from SAMFinetuneLogic.evaluation.worst import Worst
from SAMFinetuneLogic.metrics import tight_box
from SAMFinetuneLogic.pictures.orientation import display_of_volume
from SAMFinetuneLogic.pictures.panel import Marks, Overlay, Panel
from SAMFinetuneLogic.pictures.sheet import LegendEntry, render_sheet

PER_ROW = 4
_AROUND = 0.75
"""Margin of a close-up, in longer sides of what it shows."""
_LEAST_MARGIN = 8
_COLOR = (0.98, 0.6, 0.1)
_WHITE = (1.0, 1.0, 1.0)


def picture_sheet(
    report: EvaluationReport, manifest: Manifest, segmenter: Segmenter, protocol: EvaluationProtocol | None = None
) -> Image.Image:
    """Three rows of close-ups: the best, the median and the worst by the protocol's ranking metric.

    Each shows the image, the truth (white), the prediction and its prompts; the model is asked again for them.

    Args:
        report: of a run with this model on this manifest.
        protocol: the one of that run; None where it was made by its name alone.

    Raises:
        InputError: the report has no results of the model, or one that the manifest does not know.
    """
    protocol = protocol or make_protocol(report.protocol)
    ranking = protocol.ranking
    chosen = _chosen(report.results, ranking)
    title = f"Protocol {report.protocol}: best, median and worst of {len(report.results)} structures by {ranking.title}"
    return _sheet(chosen, title, min(PER_ROW, len(chosen)), report, manifest, segmenter, protocol)


def worst_sheet(
    worst: Worst,
    report: EvaluationReport,
    manifest: Manifest,
    segmenter: Segmenter,
    protocol: EvaluationProtocol | None = None,
) -> Image.Image:
    """Two rows of slices: the worst structure of each of the worst cases, and what else is among the worst of all.

    Args:
        worst: of the report.
        protocol: as for :func:`picture_sheet`.

    Raises:
        InputError: a result that the manifest does not know.
    """
    chosen = [("worst of case", result) for result in worst.of_cases]
    chosen += [("among the worst", result) for result in worst.structures if result not in worst.of_cases]
    title = f"Protocol {report.protocol}: the worst cases, then the worst structures, by {worst.ranking.title}"
    protocol = protocol or make_protocol(report.protocol)
    return _sheet(chosen, title, len(worst.of_cases), report, manifest, segmenter, protocol)


def _sheet(
    chosen: Sequence[tuple[str, Result]],
    title: str,
    columns: int,
    report: EvaluationReport,
    manifest: Manifest,
    segmenter: Segmenter,
    protocol: EvaluationProtocol,
) -> Image.Image:
    context = RunContext(Settings(**report.settings), segmenter)
    cases = {case.name: case for case in manifest.cases}
    panels = []
    for kind, result in chosen:
        if result.case not in cases:
            raise InputError(f"The manifest {manifest.path} has no case {result.case!r}; use the one of the report.")
        answer = protocol.answer(cases[result.case], result, context)
        score = result.scores[MODEL][protocol.ranking.metric]
        panels.append(_panel(answer, f"{kind} {score:.2f}: {result.case}, {result.name}"))
    legend = [LegendEntry("prediction and prompts", _COLOR), LegendEntry("truth", _WHITE)]
    return render_sheet(panels, title, legend, columns)


def _chosen(results: Sequence[Result], ranking: Column) -> list[tuple[str, Result]]:
    scored = [result for result in results if ranking.metric in result.scores.get(MODEL, {})]
    if not scored:
        raise InputError("A picture sheet shows a model's predictions; evaluate a model, not the baselines alone.")
    ordered = sorted(scored, key=lambda r: r.scores[MODEL][ranking.metric], reverse=ranking.higher_is_better)
    count = min(PER_ROW, max(1, len(ordered) // 3))
    middle = (len(ordered) - count) // 2
    rows = {"best": ordered[:count], "median": ordered[middle : middle + count], "worst": ordered[-count:]}
    return [(kind, result) for kind, row in rows.items() for result in row]


def _panel(answer: Answer, caption: str) -> Panel:
    target = answer.target
    part = _close_up(answer)
    origin = np.array([part[0].start, part[1].start])
    clicks = np.array([(click.row, click.col) for click in answer.clicks], dtype=float).reshape(-1, 2)
    boxes = np.array([answer.box] if answer.box is not None else [], dtype=float).reshape(-1, 4)
    marks = Marks(
        _COLOR,
        points=clicks - origin,
        positive=np.array([click.positive for click in answer.clicks], dtype=bool),
        boxes=boxes - np.tile(origin, 2),
    )
    return Panel(
        target.pixels[part],
        target.spacing,
        display_of_volume(target.volume, target.slice.axis),
        overlays=(Overlay(answer.mask[part], _COLOR, reference=target.mask[part]),),
        marks=(marks,),
        caption=caption,
    )


def _close_up(answer: Answer) -> tuple[slice, slice]:
    """The part of the slice that shows truth, prediction and prompts with as much around them, to make them large."""
    shown = answer.target.mask | answer.mask
    for click in answer.clicks:
        shown[click.row, click.col] = True
    row0, col0, row1, col1 = tight_box(shown)
    if answer.box is not None:
        row0, col0 = min(row0, answer.box[0]), min(col0, answer.box[1])
        row1, col1 = max(row1, answer.box[2]), max(col1, answer.box[3])
    margins = np.ceil(_AROUND * max(np.multiply((row1 - row0 + 1, col1 - col0 + 1), answer.target.spacing)))
    margins = np.maximum(margins / answer.target.spacing, _LEAST_MARGIN).astype(int)
    return (
        slice(max(row0 - margins[0], 0), min(row1 + margins[0] + 1, shown.shape[0])),
        slice(max(col0 - margins[1], 0), min(col1 + margins[1] + 1, shown.shape[1])),
    )
