"""The ways of measuring a model; a new one is a class with the members of ``EvaluationProtocol``, named below."""

from collections.abc import Callable

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import Manifest
from SAMFinetuneLogic.evaluation.protocols.base import Column, EvaluationProtocol, RunContext, Settings
from SAMFinetuneLogic.evaluation.protocols.box import BoxProtocol
from SAMFinetuneLogic.evaluation.protocols.fewshot import FewShotProtocol
from SAMFinetuneLogic.evaluation.protocols.finetune import FinetuneProtocol
from SAMFinetuneLogic.evaluation.protocols.points import PointsProtocol
from SAMFinetuneLogic.evaluation.protocols.propagate import PropagateProtocol

__all__ = ["PROTOCOLS", "Column", "EvaluationProtocol", "RunContext", "Settings", "make_protocol", "regrouped"]

PROTOCOLS: dict[str, Callable[[], EvaluationProtocol]] = {
    PointsProtocol.name: PointsProtocol,
    BoxProtocol.name: BoxProtocol,
    PropagateProtocol.name: PropagateProtocol,
    FewShotProtocol.name: FewShotProtocol,
    FinetuneProtocol.name: FinetuneProtocol,
}


def make_protocol(name: str) -> EvaluationProtocol:
    """The protocol of that name.

    Raises:
        InputError: there is none.
    """
    if name not in PROTOCOLS:
        raise InputError(f"Unknown protocol {name!r}; use one of {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]()


def regrouped(manifest: Manifest, protocol: EvaluationProtocol) -> Manifest:
    """The manifest in the cases that a protocol measures; most take those of the file.

    Raises:
        InputError: the protocol finds no case in it.
    """
    regroup: Callable[[Manifest], Manifest] | None = getattr(protocol, "regroup", None)
    return manifest if regroup is None else regroup(manifest)
