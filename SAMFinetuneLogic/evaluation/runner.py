"""Runs a protocol over the cases of a manifest."""

from dataclasses import asdict
from pathlib import Path

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import Manifest
from SAMFinetuneLogic.evaluation.protocols import EvaluationProtocol, RunContext, Settings, make_protocol
from SAMFinetuneLogic.evaluation.report import EvaluationReport
from SAMFinetuneLogic.evaluation.results import Result, ResultStore
from SAMFinetuneLogic.evaluation.segmenter import Segmenter
from SAMFinetuneLogic.progress import CancelCheck, ProgressCallback, no_progress, raise_if_cancelled

NUMBERS_VERSION = 1
"""Goes up when the same model would get other numbers: results kept from before are not mixed with new ones."""


def evaluate(
    manifest: Manifest,
    protocol: str | EvaluationProtocol,
    segmenter: Segmenter | None,
    settings: Settings | None = None,
    *,
    results_folder: Path | None = None,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck | None = None,
) -> EvaluationReport:
    """Measure a model, and the baselines beside it, on every case of a manifest.

    Args:
        manifest: from :func:`SAMFinetuneLogic.evaluation.manifest.read_manifest`.
        protocol: a name of :data:`SAMFinetuneLogic.evaluation.protocols.PROTOCOLS`, or a protocol.
        segmenter: the model; None measures the baselines alone.
        settings: what to measure; by default everything but the noisy user.
        results_folder: keeps finished cases there, and takes those over that an earlier run with the same model,
            settings and files has finished.
        progress: told the finished cases.
        cancelled: asked before each structure.

    Raises:
        InputError: an image or label cannot be used, nothing is left to measure, or a baseline's library is missing.
        OutputError: the results cannot be kept.
        Cancelled: on request; what is finished is kept.
    """
    settings = settings or Settings()
    protocol = make_protocol(protocol) if isinstance(protocol, str) else protocol
    if segmenter is None and not settings.baselines:
        raise InputError("There is nothing to evaluate; give a model, or leave the baselines on.")
    model = None if segmenter is None else segmenter.description
    identity = {"version": NUMBERS_VERSION, "model": model, "settings": asdict(settings)}
    store = None if results_folder is None else ResultStore(results_folder, protocol.name, identity)
    context = RunContext(settings, segmenter, cancelled)
    results: list[Result] = []
    for number, case in enumerate(manifest.cases):
        progress(number, len(manifest.cases))
        raise_if_cancelled(cancelled)
        finished = None if store is None else store.get(case)
        if finished is None:
            finished = protocol.evaluate_case(case, context)
            if store is not None:
                store.put(case, finished)
        results += finished
    progress(len(manifest.cases), len(manifest.cases))
    if not results:
        raise InputError(f"No structure in {manifest.path} is large enough to be evaluated; add larger ones.")
    return EvaluationReport.of(protocol.name, protocol.columns, model, asdict(settings), results)
