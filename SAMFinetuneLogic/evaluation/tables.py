"""A report as text."""

from collections.abc import Sequence

from SAMFinetuneLogic.evaluation.protocols.base import MODEL
from SAMFinetuneLogic.evaluation.report import EvaluationReport, Mean


def format_report(report: EvaluationReport) -> str:
    """Tables over all cases, per modality, and per case (for the first method), as lines of text.

    Each cell is the mean, with the standard deviation over cases where there are several.
    """
    parts = [f"Protocol {report.protocol}: {len(report.results)} structures of {len(report.cases)} cases"]
    parts.append(_table("all cases", report.methods, [_row(report, method) for method in report.methods], report))
    for modality in report.modalities:
        cases = len({result.case for result in report.results if result.modality == modality})
        rows = [_row(report, method, modality=modality) for method in report.methods]
        title = f"{modality} ({cases} case{'s' if cases > 1 else ''})"
        parts.append(_table(title, report.methods, rows, report))
    if report.methods:
        first = report.methods[0]
        rows = [_row(report, first, case=case) for case in report.cases]
        parts.append(_table(f"{first}, by case", report.cases, rows, report))
    if (correlation := report.rank_correlation()) is not None:
        parts.append(f"Spearman's correlation of predicted and true IoU ({MODEL}): {correlation:.2f}")
    for method, parameters in report.best_parameters.items():
        titles = {column.metric: column.title for column in report.columns}
        chosen = ", ".join(f"{value} for {titles[metric]}" for metric, value in parameters.items())
        parts.append(f"{method}: {chosen}")
    return "\n\n".join(parts)


def _row(report: EvaluationReport, method: str, **selection: str) -> list[str]:
    return [
        _cell(report.mean(method, column.metric, **selection), column.digits, with_spread="case" not in selection)
        for column in report.columns
    ]


def _cell(mean: Mean | None, digits: int, with_spread: bool) -> str:
    if mean is None:
        return "-"
    spread = f" ±{mean.spread:.{min(digits, 2)}f}" if with_spread and mean.cases > 1 else ""
    return f"{mean.mean:.{digits}f}{spread}"


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]], report: EvaluationReport) -> str:
    lines = [[title, *(column.title for column in report.columns)]]
    lines += [[name, *row] for name, row in zip(names, rows, strict=True)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )
