"""What the model is asked of a session, and what it still owes. No Qt: answers come by callback."""

import logging
from collections.abc import Callable
from typing import Any

import slicer

from SAMFinetuneLib.inference import Inference
from SAMFinetuneLib.work import Work
from SAMFinetuneLogic.mrml.names import without_names
from SAMFinetuneLogic.mrml.segments import segment_ids
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.session import PredictionRequest
from SAMFinetuneLogic.prompting.session_state import Target

_log = logging.getLogger(__name__)


class Questions:
    """Asks each target once for each state of its prompts; answers that come too late are dropped.

    Args:
        on_answer: called with the target and the candidates, once the session has them.
        on_failure: called with the exception that an answer ended in; its target is asked again once a prompt of it
            changes.
    """

    def __init__(
        self,
        inference: Inference,
        on_answer: Callable[[Target, Candidates], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._inference = inference
        self._on_answer, self._on_failure = on_answer, on_failure
        self._work: Work | None = None
        self._asked: dict[Target, int] = {}
        self._sharpened: dict[Target, int] = {}
        self._failed: dict[Target, int] = {}

    def begin(self, work: Work | None) -> None:
        """Nothing is asked yet of this session."""
        self._work = work
        for known in (self._asked, self._sharpened, self._failed):
            known.clear()

    def targets(self) -> list[Target]:
        """All that is prompted; prompts of a removed segment wait for its return by undo."""
        if self._work is None:
            return []
        there = set(segment_ids(self._work.segmentation_node))
        return [target for target in self._work.session.prompted_targets() if target.segment in there]

    def unanswered(self) -> list[Target]:
        """The targets that the model has to answer."""
        if self._work is None:
            return []
        session = self._work.session
        return [
            target for target in self.targets() if session.candidates(target) is None and session.answerable(target)
        ]

    def is_failed(self, target: Target) -> bool:
        """Whether its prompts, as they are, were not answered."""
        return self._work is not None and self._failed.get(target) == self._work.session.revision(target)

    def ask(self, first: Target) -> None:
        """Ask what is not asked yet.

        Args:
            first: what the user looks at; other slices follow by their distance.
        """
        if self._work is None:
            return
        session = self._work.session
        for target in sorted(self.unanswered(), key=lambda t: (t != first, abs(t.slice.index - first.slice.index))):
            request = session.request(target)
            if request is not None and self._asked.get(target) != request.revision:
                self._asked[target] = request.revision
                self._predict(self._work, request)

    def sharpen(self, target: Target) -> None:
        """Ask for alternatives in full sharpness, once."""
        request = None if self._work is None else self._work.session.request(target)
        if request is not None and request.alternatives and self._sharpened.get(target) != request.revision:
            assert self._work is not None
            self._predict(self._work, request)

    def _predict(self, work: Work, request: PredictionRequest) -> None:
        session = work.session
        if request.alternatives:
            self._sharpened[request.target] = request.revision
        self._inference.predict(
            work,
            request,
            lambda answer: self._take(session, request, answer),
            lambda error: self._fail(session, request, error),
        )

    def _current(self, session: Any) -> bool:
        return self._work is not None and session is self._work.session

    def _take(self, session: Any, request: PredictionRequest, candidates: Candidates) -> None:
        if self._current(session) and session.apply_result(request, candidates):
            self._on_answer(request.target, candidates)

    def _fail(self, session: Any, request: PredictionRequest, error: Exception) -> None:
        _log.error("A prompt was not answered: %s", without_names(str(error), slicer.mrmlScene))
        if self._current(session):
            self._failed[request.target] = request.revision
        self._on_failure(error)
