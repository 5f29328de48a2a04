import os

import pytest

from SAMFinetuneLogic.errors import OutputError
from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.results import Result, ResultStore

RESULT = Result("abdomen", "CT", "i", "l", 1, "liver", "k", 2, 70, {"model": {"dice": 0.5}}, {}, ((0.5, 0.25),))


@pytest.fixture
def some_cases(a_manifest_file):
    return read_manifest(a_manifest_file).cases


def test_finished_cases_are_found_again(tmp_path, some_cases):
    store = ResultStore(tmp_path / "runs", "box", {"model": "a"})
    assert store.get(some_cases[0]) is None
    store.put(some_cases[0], [RESULT])
    store.put(some_cases[1], [])

    again = ResultStore(tmp_path / "runs", "box", {"model": "a"})

    assert again.get(some_cases[0]) == [RESULT]
    assert again.get(some_cases[1]) == []
    assert again.get(some_cases[2]) is None
    assert len(again.path.read_text().splitlines()) == 2


def test_other_models_settings_and_protocols_have_files_of_their_own(tmp_path, some_cases):
    ResultStore(tmp_path, "box", {"model": "a"}).put(some_cases[0], [RESULT])

    assert ResultStore(tmp_path, "box", {"model": "b"}).get(some_cases[0]) is None
    assert ResultStore(tmp_path, "points", {"model": "a"}).get(some_cases[0]) is None


def test_a_changed_file_makes_its_case_new(tmp_path, some_cases):
    store = ResultStore(tmp_path, "box", {})
    store.put(some_cases[0], [RESULT])
    label = some_cases[0].pairs[0].label
    os.utime(label, ns=(0, label.stat().st_mtime_ns + 10**9))

    assert store.get(some_cases[0]) is None


@pytest.mark.parametrize("left", [1, 30, -1])
def test_half_a_line_of_a_killed_run_is_evaluated_again(tmp_path, some_cases, left):
    store = ResultStore(tmp_path, "box", {})
    store.put(some_cases[0], [RESULT])
    whole = store.path.read_bytes()
    store.put(some_cases[1], [RESULT])
    store.path.write_bytes(whole + store.path.read_bytes()[len(whole) :][:left])

    again = ResultStore(tmp_path, "box", {})
    recovered = left == -1  # all of it but the end of the line
    assert again.get(some_cases[0]) and bool(again.get(some_cases[1])) == recovered
    again.put(some_cases[2], [RESULT])

    third = ResultStore(tmp_path, "box", {})
    assert third.get(some_cases[0]) and third.get(some_cases[2])


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(OutputError, match="for results"):
        ResultStore(tmp_path / "file" / "runs", "box", {})
