"""Everything of a session is back after saving and opening the scene, whatever it was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

slicer = pytest.importorskip("slicer", reason="needs slicer-core: install with the extra 'slicer'")

from SAMFinetuneLogic.errors import InputError  # noqa: E402
from SAMFinetuneLogic.imaging.axes import AXES, SliceIndex  # noqa: E402
from SAMFinetuneLogic.imaging.windows import Window  # noqa: E402
from SAMFinetuneLogic.mrml.segments import add_segment, add_segmentation  # noqa: E402
from SAMFinetuneLogic.mrml.session_record import (  # noqa: E402
    MODULE_NAME,
    FileReference,
    SavedWork,
    load_work,
    save_work,
)
from SAMFinetuneLogic.mrml.volumes import read_volume  # noqa: E402
from SAMFinetuneLogic.prompting.candidates import Candidates  # noqa: E402
from SAMFinetuneLogic.prompting.prompts import BoxPrompt, MaskPrompt, PointPrompt, ScribblePrompt  # noqa: E402
from SAMFinetuneLogic.prompting.session import InteractiveSession  # noqa: E402
from SAMFinetuneLogic.prompting.session_state import Target  # noqa: E402

RELAXED = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

RIGHT_HANDED = np.array([[2.0, 0, 0, 5], [0, 0, -1.5, 3], [0, 1.1, 0, -8], [0, 0, 0, 1]])
LEFT_HANDED = RIGHT_HANDED @ np.diag([1, 1, -1, 1])

TEXTS = st.text(max_size=20)
NUMBERS = st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
REFERENCES = st.builds(
    FileReference,
    TEXTS.map(lambda name: Path("/data") / name.replace("\0", "")),
    st.just("") | st.just("ab" * 32),
    TEXTS,
)


@st.composite
def works(draw) -> SavedWork:
    adapters = tuple(draw(st.lists(REFERENCES, max_size=3)))
    lower = draw(st.floats(-1e4, 1e4))
    return SavedWork(
        model=draw(st.none() | TEXTS),
        window=draw(st.none() | st.builds(Window, st.just(lower), st.just(lower + 7.25), TEXTS)),
        axis=draw(st.sampled_from(AXES)),
        collection=draw(st.none() | REFERENCES),
        adapters=adapters,
        active_adapter=draw(st.sampled_from([None, *range(len(adapters))])),
        jobs=tuple(draw(st.lists(REFERENCES, max_size=2))),
        settings=draw(st.dictionaries(TEXTS, JSON, max_size=3)),
    )


@pytest.fixture
def new_pair(new_scene, add_volume_node):
    def make(scene=None, matrix=RIGHT_HANDED):
        scene = scene or new_scene()
        volume_node = add_volume_node(scene, np.zeros((6, 8, 10), np.int16), matrix)
        node = add_segmentation(scene, volume_node, read_volume(volume_node).volume)
        add_segment(node, "liver")
        return volume_node, node

    return make


def records(scene):
    count = scene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode")
    found = [scene.GetNthNodeByClass(number, "vtkMRMLScriptedModuleNode") for number in range(count)]
    return [node for node in found if node.GetModuleName() == MODULE_NAME]


def pairs(scene):
    """The (volume, segmentation) of each record that has both, in the order in which they were made."""
    found = [(node.GetNodeReference("volume"), node.GetNodeReference("segmentation")) for node in records(scene)]
    return tuple(pair for pair in found if None not in pair)


def pair_of(scene):
    (pair,) = pairs(scene)
    return (*pair, read_volume(pair[0]).volume)


@RELAXED
@given(work=works())
def test_any_work_is_back_after_reopening(work, new_pair, reopened):
    volume_node, node = new_pair()
    volume = read_volume(volume_node).volume
    save_work(volume_node, node, work)
    assert load_work(volume_node, node, volume) == work
    assert load_work(*pair_of(reopened(volume_node.GetScene()))) == work


def a_session(volume, segment_id, seed=0):
    """With prompts of all kinds on slices of all axes, a choice, feedback and accepted masks."""
    rng = np.random.default_rng(seed)
    session = InteractiveSession(volume)
    for axis in AXES:
        shape = volume.slice_shape(axis)
        count = volume.slice_count(axis)

        def at(index, row, col, axis=axis):
            return tuple(volume.slice_to_ras(np.array([[index, row, col]], float), axis)[0].tolist())

        target = Target(segment_id, SliceIndex(axis, 1))
        session.add_prompt(segment_id, axis, PointPrompt(at(1, 2, 3)))
        logits = rng.normal(size=(3, *shape)).astype(np.float32)
        low = rng.normal(size=(3, 8, 8)).astype(np.float32)
        session.apply_result(session.request(target), Candidates(logits, low, np.array([0.9, 0.8, 0.7])))
        session.choose_next(target)
        session.accept(target)
        session.add_prompt(segment_id, axis, PointPrompt(at(1, 3, 4), False))  # feeds the mask back
        session.add_prompt(segment_id, axis, BoxPrompt((at(0, 1, 1), at(2, 4, 5))))
        session.add_prompt(segment_id, axis, ScribblePrompt((at(3, 1, 1), at(3, 4, 2))))
        last = SliceIndex(axis, count - 1)
        session.add_prompt(segment_id, axis, MaskPrompt.from_mask(last, rng.random(shape) < 0.4))
        session.accept(Target(segment_id, last), rng.random(shape) < 0.4)
    return session


def test_a_session_is_back_as_it_was(new_pair, reopened):
    volume_node, node = new_pair()
    volume = read_volume(volume_node).volume
    segment_id = node.GetSegmentation().GetNthSegmentID(0)
    session = a_session(volume, segment_id)
    save_work(volume_node, node, SavedWork(session=session.to_dict()))

    again_node, again_segmentation, again = pair_of(reopened(volume_node.GetScene()))

    work = load_work(again_node, again_segmentation, again)
    back = InteractiveSession.from_dict(work.session, again)
    assert back.state == session.state
    assert again_segmentation.GetSegmentation().GetNthSegmentID(0) == segment_id


def test_a_left_handed_volume_comes_back_turned_and_its_session_too(new_pair, reopened):
    """Slicer reads such a volume with its slices in the other order: all stays at its place in the patient."""
    volume_node, node = new_pair(matrix=LEFT_HANDED)
    volume = read_volume(volume_node).volume
    segment_id = node.GetSegmentation().GetNthSegmentID(0)
    session = a_session(volume, segment_id)
    save_work(volume_node, node, SavedWork(session=session.to_dict()))

    again_node, again_segmentation, again = pair_of(reopened(volume_node.GetScene()))
    assert np.linalg.det(again.ijk_to_ras) > 0 > np.linalg.det(volume.ijk_to_ras)
    back = InteractiveSession.from_dict(load_work(again_node, again_segmentation, again).session, again)

    def places(some, grid):
        """Each accepted pixel and mask prompt, as points of the patient."""
        found = set()
        masks = [(t.slice, some.accepted(t)) for t in some.accepted_targets()]
        prompts = [placed.prompt for placed in some.prompts()]
        masks += [(prompt.slice, prompt.mask()) for prompt in prompts if isinstance(prompt, MaskPrompt)]
        for s, mask in masks:
            rows, cols = np.nonzero(mask)
            ras = grid.slice_to_ras(np.stack([np.full(len(rows), s.index), rows, cols], axis=1), s.axis)
            found |= {(s.axis, *np.round(point, 4)) for point in ras}
        return found

    assert places(back, again) == places(session, volume)
    rest = [[p.prompt for p in some.prompts() if not isinstance(p.prompt, MaskPrompt)] for some in (back, session)]
    assert rest[0] == rest[1]
    targets = {t: s for t, s in back.state.slices.items() if s.feedback is not None}
    # Only on slices along k have all pixels kept their places.
    assert {t.slice.axis for t in targets} == {"k"}
    expected = {
        replace(t, slice=SliceIndex("k", 5 - t.slice.index)) for t, s in session.state.slices.items() if s.feedback
    }
    assert set(targets) == {t for t in expected if t.slice.axis == "k" and t in targets}
    assert len(targets) == sum(s.feedback is not None and t.slice.axis == "k" for t, s in session.state.slices.items())


def test_a_session_of_other_voxels_keeps_what_lies_in_the_patient(new_pair, add_volume_node):
    volume_node, node = new_pair()
    volume = read_volume(volume_node).volume
    segment_id = node.GetSegmentation().GetNthSegmentID(0)
    save_work(volume_node, node, SavedWork(session=a_session(volume, segment_id).to_dict()))
    finer = RIGHT_HANDED @ np.diag([0.5, 0.5, 0.5, 1.0])
    other = read_volume(add_volume_node(volume_node.GetScene(), np.zeros((12, 16, 20), np.int16), finer)).volume
    back = InteractiveSession.from_dict(load_work(volume_node, node, other).session, other)
    assert len(back.prompts()) == 3 * 4
    assert back.accepted_targets() == ()


def test_each_pair_has_one_record_of_its_own(new_scene, new_pair):
    scene = new_scene()
    first, second = new_pair(scene), new_pair(scene)
    volume = read_volume(first[0]).volume
    assert load_work(*first, volume) is None
    nodes = {save_work(*first, SavedWork(model="a")), save_work(*second, SavedWork(model="b"))}
    assert save_work(*first, SavedWork(model="c")) in nodes
    assert (load_work(*first, volume).model, load_work(*second, volume).model) == ("c", "b")
    assert pairs(scene) == (first, second)
    assert load_work(first[0], second[1], volume) is None


def test_a_record_is_hidden_and_in_no_ones_way(new_pair):
    volume_node, node = new_pair()
    record = save_work(volume_node, node, SavedWork())
    assert record.GetHideFromEditors()
    assert record.GetModuleName() != "SAMFinetune"  # that is the module's own parameter node
    scene = volume_node.GetScene()
    scene.RemoveNode(volume_node)
    assert pairs(scene) == ()


def test_saving_the_same_again_changes_nothing(new_pair):
    volume_node, node = new_pair()
    record = save_work(volume_node, node, SavedWork(model="a"))
    before = record.GetMTime()
    save_work(volume_node, node, SavedWork(model="a"))
    assert record.GetMTime() == before


def test_each_frame_of_a_sequence_has_its_own(a_scene, add_volume_node):
    sequence = a_scene.AddNewNodeByClass("vtkMRMLSequenceNode", "beats")
    for number in range(2):
        frame = add_volume_node(a_scene, np.full((2, 3, 4), number, np.int16), np.eye(4))
        sequence.SetDataNodeAtValue(frame, str(number))
        a_scene.RemoveNode(frame)
    browser = a_scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "player")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    logic = slicer.vtkSlicerSequencesLogic()
    logic.SetMRMLScene(a_scene)
    logic.UpdateProxyNodesFromSequences(browser)
    proxy = browser.GetProxyNode(sequence)
    volume = read_volume(proxy).volume
    node = add_segmentation(a_scene, proxy, volume)
    for number in range(2):
        browser.SetSelectedItemNumber(number)
        save_work(proxy, node, SavedWork(model=f"frame {number}"))
    for number in range(2):
        browser.SetSelectedItemNumber(number)
        assert load_work(proxy, node, volume).model == f"frame {number}"
    assert set(pairs(a_scene)) == {(proxy, node)} and len(records(a_scene)) == 2


def test_damage_and_newer_releases_say_so(new_pair):
    volume_node, node = new_pair()
    volume = read_volume(volume_node).volume
    for name, text in {"axis": '"x"', "adapters": "[{}]", "window": "5", "active_adapter": "3", "session": "{"}.items():
        record = save_work(volume_node, node, SavedWork())
        record.SetParameter(name, text)
        with pytest.raises(InputError, match="damaged"):
            load_work(volume_node, node, volume)
        record.GetScene().RemoveNode(record)
    save_work(volume_node, node, SavedWork()).SetParameter("version", "2")
    with pytest.raises(InputError, match="update"):
        load_work(volume_node, node, volume)
    with pytest.raises(InputError, match="plain values"):
        save_work(volume_node, node, SavedWork(settings={"a": object()}))


def test_files_are_found_again_at_their_place_or_beside(tmp_path):
    path = tmp_path / "a" / "liver.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    reference = FileReference.to(path)
    assert (reference.title, reference.find()) == ("liver", path)
    beside = tmp_path / "b"
    beside.mkdir()
    path.rename(beside / path.name)
    assert reference.find() is None
    assert reference.find(beside) == beside / path.name
    (beside / path.name).write_bytes(b"others")
    assert reference.find(beside) is None
    folder = FileReference.to(beside, "job")
    assert folder.find() == beside
    with pytest.raises(InputError, match="no"):
        FileReference.to(path)
