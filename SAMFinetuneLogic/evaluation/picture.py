"""The best, the median and the worst structures on one page."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import Manifest
from SAMFinetuneLogic.evaluation.protocols import RunContext, Settings, make_protocol
from SAMFinetuneLogic.evaluation.protocols.base import MODEL, Answer, Column
from SAMFinetuneLogic.evaluation.report import EvaluationReport
from SAMFinetuneLogic.evaluation.results import Result
from SAMFinetuneLogic.evaluation.segmenter import Segmenter
from SAMFinetuneLogic.pictures.orientation import display_of
from SAMFinetuneLogic.pictures.panel import Marks, Overlay, Panel
from SAMFinetuneLogic.pictures.sheet import LegendEntry, render_sheet

PER_ROW = 4
_COLOR = (0.98, 0.6, 0.1)
_WHITE = (1.0, 1.0, 1.0)


def picture_sheet(report: EvaluationReport, manifest: Manifest, segmenter: Segmenter) -> Image.Image:
    """Three rows of slices: the best, the median and the worst by the protocol's ranking metric.

    Each shows the image, the truth (white), the prediction and its prompts; the model is asked again for them.

    Args:
        report: of a run with this model on this manifest.

    Raises:
        InputError: the report has no results of the model, or one that the manifest does not know.
    """
    protocol = make_protocol(report.protocol)
    ranking = protocol.ranking
    context = RunContext(Settings(**report.settings), segmenter)
    cases = {case.name: case for case in manifest.cases}
    panels = []
    for kind, result in _chosen(report.results, ranking):
        if result.case not in cases:
            raise InputError(f"The manifest {manifest.path} has no case {result.case!r}; use the one of the report.")
        answer = protocol.answer(cases[result.case], result, context)
        caption = f"{kind} {result.scores[MODEL][ranking.metric]:.2f}: {result.case}, {result.name}"
        panels.append(_panel(answer, caption))
    title = f"Protocol {report.protocol}: best, median and worst of {len(report.results)} structures by {ranking.title}"
    legend = [LegendEntry("prediction and prompts", _COLOR), LegendEntry("truth", _WHITE)]
    return render_sheet(panels, title, legend, columns=min(PER_ROW, len(panels)))


def _chosen(results: Sequence[Result], ranking: Column) -> list[tuple[str, Result]]:
    scored = [result for result in results if MODEL in result.scores]
    if not scored:
        raise InputError("A picture sheet shows a model's predictions; evaluate a model, not the baselines alone.")
    ordered = sorted(scored, key=lambda r: r.scores[MODEL][ranking.metric], reverse=ranking.higher_is_better)
    count = min(PER_ROW, max(1, len(ordered) // 3))
    middle = (len(ordered) - count) // 2
    rows = {"best": ordered[:count], "median": ordered[middle : middle + count], "worst": ordered[-count:]}
    return [(kind, result) for kind, row in rows.items() for result in row]


def _panel(answer: Answer, caption: str) -> Panel:
    target = answer.target
    marks = Marks(
        _COLOR,
        points=np.array([(click.row, click.col) for click in answer.clicks], dtype=float).reshape(-1, 2),
        positive=np.array([click.positive for click in answer.clicks], dtype=bool),
        boxes=np.array([answer.box] if answer.box is not None else [], dtype=float).reshape(-1, 4),
    )
    return Panel(
        target.pixels,
        target.spacing,
        display_of(target.volume.ijk_to_ras, target.slice.axis),
        overlays=(Overlay(answer.mask, _COLOR, reference=target.mask),),
        marks=(marks,),
        caption=caption,
    )
