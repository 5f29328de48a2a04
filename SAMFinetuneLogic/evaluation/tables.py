"""A report as text."""

from collections.abc import Sequence

from SAMFinetuneLogic.evaluation.adapter_gains import adapter_gains
from SAMFinetuneLogic.evaluation.candidate_ranks import rank_correlation, rank_correlation_within
from SAMFinetuneLogic.evaluation.protocols.base import MODEL
from SAMFinetuneLogic.evaluation.report import EvaluationReport, Mean
from SAMFinetuneLogic.wording import counted


def format_report(report: EvaluationReport) -> str:
    """Tables over all cases, per modality, and per case (for the first method), as lines of text.

    Each cell is the mean with its spread: the standard deviation over cases, or over the structures of a single case.
    ``n`` is the number of structures.
    """
    counts = f"{counted(len(report.results), 'structure')} of {counted(len(report.cases), 'case')}"
    parts = [f"Protocol {report.protocol}: {counts}"]
    parts.append(_means("all cases", report.methods, [_row(report, method) for method in report.methods], report))
    for modality in report.modalities:
        cases = len({result.case for result in report.results if result.modality == modality})
        rows = [_row(report, method, modality=modality) for method in report.methods]
        title = f"{modality} ({counted(cases, 'case')})"
        parts.append(_means(title, report.methods, rows, report))
    if report.methods:
        first = report.methods[0]
        rows = [_row(report, first, case=case) for case in report.cases]
        parts.append(_means(f"{first}, by case", report.cases, rows, report))
    parts += _about_candidates(report)
    if gains := adapter_gains(report.results):
        parts.append("\n".join(each.sentence() for each in gains))
    for method, parameters in report.best_parameters.items():
        titles = {column.metric: column.title for column in report.columns}
        chosen = ", ".join(f"{value} for {titles[metric]}" for metric, value in parameters.items())
        parts.append(f"{method}: {chosen}")
    return "\n\n".join(parts)


def table(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells, the first cell of each left-aligned, the others right-aligned."""
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def _about_candidates(report: EvaluationReport) -> list[str]:
    parts = []
    if (correlation := rank_correlation(report.results)) is not None:
        parts.append(f"Spearman's correlation of predicted and true IoU ({MODEL}): {correlation:.2f}")
    if (within := rank_correlation_within(report.results)) is not None:
        parts.append(f"The same among the three alternatives of each structure, on average: {within:.2f}")
    if (gain := report.gain_of_best()) is not None:
        parts.append(f"Best of the three alternatives against the first answer, one click, Dice: {gain:+.3f}")
    return ["\n".join(parts)] if parts else []


def _row(report: EvaluationReport, method: str, **selection: str) -> list[str]:
    means = [report.mean(method, column.metric, **selection) for column in report.columns]
    count = max((mean.structures for mean in means if mean is not None), default=0)
    return [
        str(count),
        *(_cell(mean, column.digits) for mean, column in zip(means, report.columns, strict=True)),
    ]


def _cell(mean: Mean | None, digits: int) -> str:
    if mean is None:
        return "-"
    spread = f" ±{mean.spread:.{min(digits, 2)}f}" if mean.structures > 1 else ""
    return f"{mean.mean:.{digits}f}{spread}"


def _means(title: str, names: Sequence[str], rows: Sequence[Sequence[str]], report: EvaluationReport) -> str:
    header = [title, "n", *(column.title for column in report.columns)]
    return table([header, *([name, *row] for name, row in zip(names, rows, strict=True))])
