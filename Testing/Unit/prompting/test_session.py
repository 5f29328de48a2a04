"""The interactive session: undo and redo by random commands, stale answers, feedback, storing."""

import json

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from SAMFinetuneLogic.errors import GeometryError, InputError
from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.prompting.candidates import Candidates
from SAMFinetuneLogic.prompting.prompts import BoxPrompt, MaskPrompt, PointPrompt, ScribblePrompt
from SAMFinetuneLogic.prompting.session import InteractiveSession
from SAMFinetuneLogic.prompting.session_state import Target

SHAPE = (4, 6, 5)
VOLUME = Volume(np.zeros(SHAPE), np.eye(4))


def target(index=1, segment="a", axis="k") -> Target:
    return Target(segment, SliceIndex(axis, index))


def some_candidates(where: Target, seed=0, count=3) -> Candidates:
    random = np.random.default_rng(seed)
    shape = VOLUME.slice_shape(where.slice.axis)
    logits = random.normal(size=(count, 4, 4)).astype(np.float16).astype(np.float32)  # as the session keeps them
    return Candidates(random.normal(size=(count, *shape)).astype(np.float32), logits, np.linspace(0.9, 0.5, count))


def answer(session: InteractiveSession, where: Target, seed=0, count=3) -> Candidates:
    candidates = some_candidates(where, seed, count)
    assert session.apply_result(session.request(where), candidates)
    return candidates


@pytest.fixture
def session():
    return InteractiveSession(VOLUME)


points = st.builds(PointPrompt, st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 3)), st.booleans())
boxes = st.builds(BoxPrompt, st.tuples(*[st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 3))] * 2))
scribbles = st.builds(
    ScribblePrompt, st.tuples(*[st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 3))] * 2), st.booleans()
)
masks = st.integers(0, 3).map(lambda n: MaskPrompt.from_mask(SliceIndex("k", n), np.eye(6, 5)))


class SessionMachine(RuleBasedStateMachine):
    """The session against a list of all states that it was in: undo and redo walk along it."""

    def __init__(self):
        super().__init__()
        self.session = InteractiveSession(VOLUME, undo_limit=60)
        self.states, self.position = [self.session.state], 0
        self.revisions = {}

    def done(self):
        if self.session.state != self.states[self.position]:
            self.states = [*self.states[: self.position + 1], self.session.state]
            self.position += 1

    @rule(segment=st.sampled_from("ab"), axis=st.sampled_from("ijk"), prompt=st.one_of(points, boxes, scribbles))
    def add(self, segment, axis, prompt):
        self.session.add_prompt(segment, axis, prompt)
        self.done()

    @rule(segment=st.sampled_from("ab"), prompt=masks)
    def add_mask(self, segment, prompt):
        self.session.add_prompt(segment, "k", prompt)
        self.done()

    @precondition(lambda self: self.session.prompts())
    @rule(data=st.data(), prompt=st.one_of(points, boxes))
    def move(self, data, prompt):
        placed = data.draw(st.sampled_from(self.session.prompts()))
        self.session.move_prompt(placed.id, prompt)
        self.done()

    @precondition(lambda self: self.session.prompts())
    @rule(data=st.data())
    def remove(self, data):
        self.session.remove_prompt(data.draw(st.sampled_from(self.session.prompts())).id)
        self.done()

    @precondition(lambda self: self.session.prompts())
    @rule(data=st.data())
    def clear(self, data):
        self.session.clear_prompts(data.draw(st.sampled_from(self.session.prompted_targets())))
        self.done()

    @precondition(lambda self: self.session.prompts())
    @rule(data=st.data(), seed=st.integers(0, 3))
    def answer(self, data, seed):
        where = data.draw(st.sampled_from(self.session.prompted_targets()))
        request = self.session.request(where)
        if request is not None:
            assert self.session.apply_result(request, some_candidates(where, seed))

    @precondition(lambda self: self.answered())
    @rule(data=st.data())
    def choose(self, data):
        self.session.choose_next(data.draw(st.sampled_from(self.answered())))
        self.done()

    @precondition(lambda self: self.answered())
    @rule(data=st.data())
    def accept(self, data):
        self.session.accept(data.draw(st.sampled_from(self.answered())))
        self.done()

    @rule()
    def undo(self):
        self.session.undo()
        self.position = max(0, self.position - 1)

    @rule()
    def redo(self):
        self.session.redo()
        self.position = min(len(self.states) - 1, self.position + 1)

    def answered(self):
        return [where for where in self.session.prompted_targets() if self.session.candidates(where) is not None]

    @invariant()
    def state_is_the_expected_one(self):
        assert self.session.state == self.states[self.position]
        assert (self.session.undo_label is not None) == (self.position > 0)
        assert (self.session.redo_label is not None) == (self.position < len(self.states) - 1)

    @invariant()
    def revisions_never_go_back(self):
        for where in self.session.prompted_targets():
            assert self.session.revision(where) >= self.revisions.get(where, 0)
            self.revisions[where] = self.session.revision(where)

    @invariant()
    def fed_back_masks_come_from_prompts_that_are_there(self):
        for where, state in self.session.state.slices.items():
            if state.feedback is not None:
                assert set(state.feedback.basis) <= {placed.id for placed in self.session.prompts(where)}

    @invariant()
    def storing_keeps_it(self):
        stored = json.loads(json.dumps(self.session.to_dict()))
        reopened = InteractiveSession.from_dict(stored, VOLUME)
        assert reopened.state == self.session.state
        assert reopened.prompted_targets() == self.session.prompted_targets()
        for where in self.session.prompted_targets():
            assert reopened.prompts(where) == self.session.prompts(where)

    @invariant()
    def only_what_says_where_the_structure_is_can_be_answered(self):
        for where in self.session.prompted_targets():
            assert self.session.answerable(where) == (self.session.request(where) is not None)

    def teardown(self):
        for _ in self.states:
            self.session.undo()
        assert self.session.state == self.states[0]
        for _ in self.states:
            self.session.redo()
        assert self.session.state == self.states[-1]


SessionMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestSessionMachine = SessionMachine.TestCase


def test_many_steps_can_be_undone_and_the_limit_holds():
    session = InteractiveSession(VOLUME, undo_limit=50)
    for number in range(60):
        session.add_prompt("a", "k", PointPrompt((0, 0, number % 4)))
    for _ in range(50):
        assert session.undo()
    assert session.undo() == frozenset() and len(session.prompts()) == 10
    for _ in range(50):
        assert session.redo()
    assert session.redo() == frozenset() and len(session.prompts()) == 60


def test_a_prompt_belongs_to_its_segment_and_the_slices_of_its_axis(session):
    session.add_prompt("a", "k", PointPrompt((2, 3, 1)))
    session.add_prompt("b", "j", BoxPrompt(((0, 2, 0), (4, 4, 3))))
    assert session.prompted_targets() == (target(1), *(target(n, "b", "j") for n in (2, 3, 4)))
    assert session.request(target(1)).prompts.points.tolist() == [[3, 2]]
    assert session.request(target(3, "b", "j")).prompts.boxes.tolist() == [[0, 0, 3, 4]]
    assert session.request(target(3, "a", "j")) is None and session.request(target(0)) is None


def test_an_answer_to_outdated_prompts_is_dropped(session):
    first = session.add_prompt("a", "k", PointPrompt((2, 3, 1)))
    outdated = session.request(target())
    session.move_prompt(first, PointPrompt((2, 4, 1)))
    assert not session.apply_result(outdated, some_candidates(target()))
    assert session.candidates(target()) is None
    session.undo()  # the prompts are as they were, but the answer comes too late all the same
    assert not session.apply_result(outdated, some_candidates(target()))
    answer(session, target())
    assert session.candidates(target()) is not None
    session.remove_prompt(first)
    assert session.candidates(target()) is None and session.request(target()) is None


def test_a_change_elsewhere_leaves_an_answer_alone(session):
    session.add_prompt("a", "k", PointPrompt((2, 3, 1)))
    request = session.request(target())
    session.add_prompt("a", "k", PointPrompt((2, 3, 2)))
    session.add_prompt("b", "k", PointPrompt((2, 3, 1)))
    assert session.apply_result(request, some_candidates(target()))


def test_a_thick_box_outdates_all_its_slices(session):
    for index in range(4):
        session.add_prompt("a", "k", PointPrompt((2, 3, index)))
    requests = [session.request(target(index)) for index in range(4)]
    session.add_prompt("a", "k", BoxPrompt(((0, 0, 1), (4, 4, 2))))
    taken = [session.apply_result(request, some_candidates(request.target)) for request in requests]
    assert taken == [True, False, False, True]


def test_the_chosen_mask_is_fed_back_at_the_next_prompt_of_that_target_only(session):
    session.add_prompt("a", "k", PointPrompt((2, 3, 1)))
    assert session.request(target()).feedback is None
    candidates = answer(session, target())
    session.choose_next(target())
    session.add_prompt("a", "k", PointPrompt((1, 1, 1), positive=False))
    np.testing.assert_array_equal(session.request(target()).feedback, candidates.logits[1])
    session.add_prompt("a", "k", PointPrompt((2, 3, 2)))
    session.add_prompt("b", "k", PointPrompt((2, 3, 1)))
    assert session.request(target(2)).feedback is None and session.request(target(1, "b")).feedback is None


def test_a_fed_back_mask_goes_with_the_prompts_that_it_came_from(session):
    first = session.add_prompt("a", "k", PointPrompt((2, 3, 1)))
    answer(session, target())
    second = session.add_prompt("a", "k", PointPrompt((1, 1, 1)))
    session.move_prompt(second, PointPrompt((1, 2, 1)))
    assert session.request(target()).feedback is not None
    session.move_prompt(first, PointPrompt((3, 3, 1)))
    assert session.request(target()).feedback is None
    session.undo()
    assert session.request(target()).feedback is not None


def test_a_mask_drawn_since_takes_the_place_of_the_fed_back_one(session):
    session.add_prompt("a", "k", PointPrompt((2, 3, 1)))
    answer(session, target())
    session.add_prompt("a", "k", MaskPrompt.from_mask(SliceIndex("k", 1), np.eye(6, 5)))
    request = session.request(target())
    assert request.feedback is None and request.prompts.mask is not None
    answer(session, target())
    session.add_prompt("a", "k", PointPrompt((1, 1, 1)))
    assert session.request(target()).feedback is not None


def test_the_choice_is_undone_and_starts_anew_with_new_prompts(session):
    session.add_prompt("a", "k", PointPrompt((2, 3, 1)))
    answer(session, target())
    assert session.choose_next(target()).chosen == 1
    assert session.choose_next(target()).chosen == 2
    session.undo()
    assert session.candidates(target()).chosen == 1
    assert session.request(target()).alternatives
    session.add_prompt("a", "k", PointPrompt((1, 1, 1)))
    assert not session.request(target()).alternatives
    answer(session, target())
    assert session.candidates(target()).chosen == 0
    session.undo()
    answer(session, target())
    assert session.candidates(target()).chosen == 1


def test_accepted_masks_are_kept_and_undone(session):
    session.add_prompt("a", "k", PointPrompt((2, 3, 1)))
    with pytest.raises(InputError, match="no mask for these prompts yet"):
        session.accept(target())
    candidates = answer(session, target())
    np.testing.assert_array_equal(session.accept(target()), candidates.masks[0])
    np.testing.assert_array_equal(session.accepted(target()), candidates.masks[0])
    drawn = np.eye(6, 5, dtype=bool)
    session.accept(target(), drawn)
    assert session.accepted_targets() == (target(),)
    session.undo()
    np.testing.assert_array_equal(session.accepted(target()), candidates.masks[0])
    session.undo()
    assert session.accepted(target()) is None
    with pytest.raises(InputError, match="give one of that shape"):
        session.accept(target(), np.eye(3))


def test_a_refused_prompt_changes_nothing(session):
    before = session.to_dict()
    with pytest.raises(GeometryError):
        session.add_prompt("a", "k", PointPrompt((99, 0, 0)))
    with pytest.raises(InputError, match="axis"):
        session.add_prompt("a", "j", MaskPrompt.from_mask(SliceIndex("k", 1), np.eye(6, 5)))
    with pytest.raises(InputError, match="no prompt 7"):
        session.remove_prompt(7)
    number = session.add_prompt("a", "k", PointPrompt((0, 0, 0)))
    with pytest.raises(GeometryError):
        session.move_prompt(number, PointPrompt((99, 0, 0)))
    session.undo()
    assert session.to_dict()["prompts"] == before["prompts"] and session.undo_label is None


def test_ids_are_not_used_again_after_reopening(session):
    session.add_prompt("a", "k", PointPrompt((0, 0, 0)))
    last = session.add_prompt("a", "k", PointPrompt((1, 0, 0)))
    session.remove_prompt(last)
    reopened = InteractiveSession.from_dict(session.to_dict(), VOLUME)
    assert reopened.add_prompt("a", "k", PointPrompt((1, 0, 0))) > last


def test_on_another_grid_prompts_keep_their_places_and_pixels_are_left_out(session):
    session.add_prompt("a", "k", PointPrompt((2, 3, 1)))
    answer(session, target())
    session.accept(target())
    session.add_prompt("a", "k", MaskPrompt.from_mask(SliceIndex("k", 1), np.eye(6, 5)))
    finer = Volume(np.zeros((8, 12, 10)), np.diag([0.5, 0.5, 0.5, 1]))
    reopened = InteractiveSession.from_dict(session.to_dict(), finer)
    assert reopened.request(target(2)).prompts.points.tolist() == [[6, 4]]
    assert len(reopened.prompts()) == 1 and reopened.accepted_targets() == ()


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 99},
        {"prompts": None},
        {"prompts": [{"id": "x"}]},
        {"prompts": [3]},
        {"slices": [{"segment": "a"}]},
        {"grid": None},
        {"next_id": "many"},
    ],
)
def test_a_damaged_session_is_refused(session, damage):
    with pytest.raises(InputError, match=r"\.$"):
        InteractiveSession.from_dict({**session.to_dict(), **damage}, VOLUME)
