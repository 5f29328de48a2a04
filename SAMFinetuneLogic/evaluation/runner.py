"""Runs a protocol over the cases of a manifest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import Case, Manifest
from SAMFinetuneLogic.evaluation.protocols import EvaluationProtocol, RunContext, Settings, make_protocol, regrouped
from SAMFinetuneLogic.evaluation.protocols.base import SliceProtocol
from SAMFinetuneLogic.evaluation.protocols.propagate import PropagateProtocol
from SAMFinetuneLogic.evaluation.report import EvaluationReport
from SAMFinetuneLogic.evaluation.results import Result, ResultStore, Scores
from SAMFinetuneLogic.evaluation.segmenter import Segmenter
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback, no_progress, raise_if_cancelled

NUMBERS_VERSION = 16
"""Goes up when the same model would get other numbers: results kept from before are not mixed with new ones."""


def evaluate(
    manifest: Manifest,
    protocol: str | EvaluationProtocol,
    segmenter: Segmenter | None,
    settings: Settings | None = None,
    *,
    results_folder: Path | None = None,
    progress: ProgressCallback = no_progress,
    case_progress: ProgressCallback = no_progress,
    cancelled: CancelCheck | None = None,
) -> EvaluationReport:
    """Measure a model, and the baselines beside it, on every case of a manifest.

    Args:
        manifest: from :func:`SAMFinetuneLogic.evaluation.manifest.read_manifest`.
        protocol: a name of :data:`SAMFinetuneLogic.evaluation.protocols.PROTOCOLS`, or a protocol.
        segmenter: the model; None measures the baselines alone.
        settings: what to measure; by default everything but the noisy user.
        results_folder: keeps finished cases there, and takes those over that an earlier run with the same model,
            settings and files has finished. Baselines that do not depend on the model are kept apart, and taken over
            for every other model.
        progress: told the finished cases.
        case_progress: told the finished structures of a case.
        cancelled: asked before each structure.

    Raises:
        InputError: an image or label cannot be used, nothing is left to measure, or a baseline's library is missing.
        OutputError: the results cannot be kept.
        Cancelled: on request; what is finished is kept.
    """
    settings = settings or Settings()
    protocol = make_protocol(protocol) if isinstance(protocol, str) else protocol
    manifest = regrouped(manifest, protocol)
    if segmenter is None and not settings.baselines:
        raise InputError("There is nothing to evaluate; give a model, or leave the baselines on.")
    model = None if segmenter is None else segmenter.description
    context = RunContext(settings, segmenter, cancelled, case_progress)
    divide: Callable[[], Sequence[EvaluationProtocol]] | None = getattr(protocol, "parts", None)
    parts = [
        _Part.of(each, model, part, results_folder)
        for part in ([protocol] if divide is None else divide())
        for each in _split(context, part)
    ]
    results: list[Result] = []
    for number, case in enumerate(manifest.cases):
        progress(number, len(manifest.cases))
        raise_if_cancelled(cancelled)
        results += _merged([part.results(case) for part in parts])
    progress(len(manifest.cases), len(manifest.cases))
    if not results:
        raise InputError(f"No structure in {manifest.path} is large enough to be evaluated; add larger ones.")
    return EvaluationReport.of(protocol.name, protocol.columns, model, asdict(settings), results)


@dataclass(frozen=True)
class _Part:
    """Measurements that depend on the same things, and where they are kept."""

    protocol: EvaluationProtocol
    context: RunContext
    store: ResultStore | None

    @classmethod
    def of(
        cls, context: RunContext, model: Mapping[str, Any] | None, protocol: EvaluationProtocol, folder: Path | None
    ) -> "_Part":
        if folder is None:
            return cls(protocol, context, None)
        of_model = None if context.segmenter is None else model
        identity = {"version": NUMBERS_VERSION, "model": of_model, "settings": asdict(context.settings)}
        if context.of_model:
            identity["of_model"] = True
        own: dict[str, Any] | None = getattr(protocol, "identity", None)
        if own is not None:
            identity["protocol"] = own
        return cls(protocol, context, ResultStore(folder, protocol.name, identity))

    def results(self, case: Case) -> list[Result]:
        finished = None if self.store is None else self.store.get(case)
        if finished is None:
            finished = self.protocol.evaluate_case(case, self.context)
            if self.store is not None:
                self.store.put(case, finished)
        return finished


def _split(context: RunContext, protocol: EvaluationProtocol) -> list[RunContext]:
    """The model apart from baselines that do not depend on it."""
    settings = context.settings
    if not isinstance(protocol, SliceProtocol | PropagateProtocol) or not settings.baselines:
        return [context]
    alone = replace(context, segmenter=None, settings=Settings(settings.max_labels, window=settings.window))
    if context.segmenter is None:
        return [alone]
    if isinstance(protocol, PropagateProtocol):
        return [replace(context, of_model=True), alone]
    return [replace(context, settings=replace(settings, baselines=False)), alone]


def _merged(parts: Sequence[list[Result]]) -> list[Result]:
    """The results of one case, whose parts have the same structures; what is not a score is the first part's."""
    merged = parts[0]
    for part in parts[1:]:
        merged = [
            replace(one, scores=_joined(one.scores, other.scores), sweeps={**one.sweeps, **other.sweeps})
            for one, other in zip(merged, part, strict=True)
        ]
    return merged


def _joined(first: Mapping[str, Scores], second: Mapping[str, Scores]) -> dict[str, Scores]:
    """All methods with all of their metrics."""
    return {method: {**first.get(method, {}), **second.get(method, {})} for method in (*first, *second)}
