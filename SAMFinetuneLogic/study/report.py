"""The report of a study: table, finding and how it was measured, as Markdown, CSV and a picture."""

import csv
from collections.abc import Sequence

from SAMFinetuneLogic.files import atomic_target
from SAMFinetuneLogic.pictures.sheet import save_picture
from SAMFinetuneLogic.study.datasets import PreparedData
from SAMFinetuneLogic.study.folder import StudyFolder
from SAMFinetuneLogic.study.picture import draw_study
from SAMFinetuneLogic.study.plan import BASE, Cell, StudySettings
from SAMFinetuneLogic.study.running import Failure, results_of
from SAMFinetuneLogic.study.summary import TITLES, Results, Row, find, rows_of

_MIB = 2**20


def write_report(
    folder: StudyFolder,
    cells: Sequence[Cell],
    data: Sequence[PreparedData],
    settings: StudySettings,
    failures: Sequence[Failure] = (),
    notes: Sequence[str] = (),
) -> str:
    """Write ``study.md``, ``study.csv`` and ``study.png`` from the finished cells; returns the Markdown.

    Args:
        notes: sentences on what was left out.

    Raises:
        OutputError: a file cannot be written.
    """
    results = results_of(folder, cells)
    text = markdown(results, len(cells), data, settings, failures, notes)
    with atomic_target(folder.path / "study.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    _write_csv(folder, results)
    if results:
        save_picture(draw_study(rows_of(results), [each.name for each in data]), folder.path / "study.png")
    return text


def markdown(
    results: Results,
    planned: int,
    data: Sequence[PreparedData],
    settings: StudySettings,
    failures: Sequence[Failure] = (),
    notes: Sequence[str] = (),
) -> str:
    """The report as text.

    Args:
        planned: number of cells of the study.
    """
    lines = ["# Strategies of fine-tuning, compared", "", _how(settings, results), ""]
    if len(results) < planned:
        lines += [f"**Not complete: {len(results)} of {planned} cells.** The same command goes on from here.", ""]
    rows = rows_of(results)
    names = [each.name for each in data]
    if rows:
        lines += _table(rows, names)
        lines += ["", *_findings(results, rows, len(names))]
    lines += [
        "",
        "## Data sets",
        "",
        "| data set | structures | learned from | stopped by | tested |",
        "|---|---|---|---|---|",
    ]
    for each in data:
        structures = ", ".join(segment.name for segment in each.slices.segments)
        counts = (len(each.split.train), len(each.split.validation), len(each.split.test))
        lines.append(
            f"| {_cell(each.name)} | {_cell(structures)} | " + " | ".join(f"{n} slices" for n in counts) + " |"
        )
    if failures or notes:
        lines += ["", "## Left out", ""]
        lines += [f"- {_cell(text)}" for text in notes]
        lines += [
            f"- {_cell(f.cell.data_set)}, {TITLES[f.cell.method]}, seed {f.cell.seed}: {_cell(f.reason)}"
            for f in failures
        ]
    return "\n".join(lines) + "\n"


def _how(settings: StudySettings, results: Results) -> str:
    seeds = len({cell.seed for cell, _ in results})
    task = (
        "no prompts: classes as output channels; Dice of a class over all tested slices of an image"
        if settings.mode == "automatic"
        else "one click on each structure; mean Dice over an ideal and two inexact clicks"
    )
    shown = (
        f"{settings.shots} labelled slices to learn from" if settings.shots else "the standard split (a fifth tested)"
    )
    length = f"at most {settings.steps} steps" if settings.steps else "the preset's number of steps"
    return (
        f"Task: {task}. Set-up: {shown}; preset '{settings.preset}', {length}; {seeds} seed{'s'[: seeds != 1]}. "
        f"At most {settings.test_slices} slices of a data set are tested; all show a structure. Dice without "
        f"background, mean over the classes; ± is the standard deviation over the seeds and, under 'all', of the means "
        f"over the data sets. Minutes are those of training one cell; memory is the largest of any cell's process."
    )


def _table(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    gpu = any(row.gpu_memory is not None for row in rows)
    heads = ["model", "strategy", *map(_cell, names), "all", "trained parameters", "minutes", "memory"]
    heads += ["GPU memory"] if gpu else []
    best = (
        max(row.overall.mean for row in rows if len(row.by_data_set) == len(names))
        if any(len(row.by_data_set) == len(names) for row in rows)
        else None
    )
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for row in rows:
        complete = len(row.by_data_set) == len(names)
        overall = row.overall.text() if complete else f"{row.overall.text()} ({len(row.by_data_set)} of {len(names)})"
        fields = [_cell(row.model) or "none", TITLES[row.method]]
        fields += [row.by_data_set[name].text() if name in row.by_data_set else "." for name in names]
        fields += [f"**{overall}**" if complete and row.overall.mean == best else overall]
        fields += [f"{row.parameters:,.0f}", f"{row.seconds.mean / 60:.1f}", f"{row.memory / _MIB:,.0f} MiB"]
        fields += [f"{row.gpu_memory / _MIB:,.0f} MiB" if row.gpu_memory is not None else "."] if gpu else []
        lines.append("| " + " | ".join(fields) + " |")
    return lines


def _findings(results: Results, rows: Sequence[Row], data_sets: int) -> list[str]:
    lines = []
    found = find(results)
    if found is not None:
        lines.append(found.sentence())
    complete = [row for row in rows if len(row.by_data_set) == data_sets and row.method != BASE]
    if len(complete) > 1:
        ordered = sorted(complete, key=lambda row: -row.overall.mean)
        first, second = ordered[:2]
        lines += [
            "",
            f"Best over all data sets: {_named(first)} ({first.overall.text()}); next: {_named(second)} "
            f"({second.overall.text()}).",
        ]
    return lines


def _named(row: Row) -> str:
    return f"{TITLES[row.method]} of {row.model}" if row.model else TITLES[row.method]


def _cell(text: str) -> str:
    """Fit for a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def _write_csv(folder: StudyFolder, results: Results) -> None:
    with (
        atomic_target(folder.path / "study.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(
            (
                "data_set",
                "model",
                "backbone",
                "components",
                "algorithm",
                "preset",
                "mode",
                "seed",
                "dice",
                "trained_parameters",
                "steps",
                "train_seconds",
                "memory_mib",
                "gpu_memory_mib",
                "train_slices",
                "test_slices",
                "dice_by_class",
            )
        )
        for cell, m in results:
            strategy, model = cell.strategy, cell.model
            writer.writerow(
                (
                    cell.data_set,
                    model.name if model else "",
                    model.backbone if model else "",
                    strategy.components if strategy else "",
                    strategy.algorithm if strategy else cell.method,
                    strategy.preset if strategy else "",
                    cell.settings.mode,
                    cell.seed,
                    f"{m.dice:.5f}",
                    m.parameters,
                    m.steps,
                    m.seconds,
                    round(m.memory / _MIB),
                    "" if m.gpu_memory is None else round(m.gpu_memory / _MIB),
                    m.train,
                    m.test,
                    "; ".join(f"{name}={score:.4f}" for name, score in m.by_class.items()),
                )
            )
