import json
import sys
import threading
from pathlib import Path

import pytest
from processes import refused_starts_on_windows
from small_disk import files_of_at_most

from SAMFinetuneLogic.errors import InputError, OutputError
from SAMFinetuneLogic.jobs.creating import thread_count
from SAMFinetuneLogic.jobs.folder import JobFolder, Status
from SAMFinetuneLogic.jobs.launching import launch
from SAMFinetuneLogic.jobs.registry import known_jobs, remember
from SAMFinetuneLogic.jobs.reporting import Reporter
from SAMFinetuneLogic.jobs.watching import EventTail
from SAMFinetuneLogic.jobs.working import run_job
from SAMFinetuneLogic.priority import popen_options


def test_a_new_job_is_complete_and_remembered(make_job):
    folder = make_job("Träning 影像 mit Leerzeichen")
    names = {path.name for path in folder.path.iterdir()}
    assert {"job.json", "data", "status.json"} <= names
    assert folder.read_status().state == "prepared" and not folder.is_alive
    assert [job.path for job in known_jobs()] == [folder.path]
    description = folder.read_description()
    assert description.images == ["image0"] and description.threads == thread_count() == 1
    with pytest.raises(OutputError, match="holds a job already"):
        make_job(folder.name)


def test_jobs_whose_folders_are_gone_are_forgotten(make_job):
    folder = make_job()
    (folder.path / "job.json").unlink()
    assert known_jobs() == []


def test_jobs_that_an_earlier_version_noted_are_found_and_its_notes_left_alone(make_job, monkeypatch, tmp_path):
    """They lay in the folder for caches."""
    monkeypatch.delenv("SAMFINETUNE_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "platform", "linux")
    old, gone = make_job("old"), make_job("gone")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (gone.path / "job.json").unlink()
    assert [job.path for job in known_jobs()] == [old.path]
    remember(old)  # as when it goes on
    assert [job.path for job in known_jobs()] == [old.path]
    assert len(list((tmp_path / "cache" / "samfinetune" / "jobs" / "known").iterdir())) == 2
    assert len(list((tmp_path / "data" / "samfinetune" / "jobs" / "known").iterdir())) == 1


def test_a_job_is_started_in_the_background_of_windows(make_job, monkeypatch):
    asked = refused_starts_on_windows(monkeypatch)
    with pytest.raises(OutputError, match="Cannot start"):
        launch(make_job())
    assert popen_options(detached=True).items() <= asked[0].items()


def test_a_status_that_is_being_replaced_is_read_a_moment_later(make_job, monkeypatch):
    """The refusal is Windows's, and made here."""
    folder = make_job()
    folder.write_status(Status("done"))
    read, refusals = Path.read_text, [2]

    def read_text(self, *arguments, **options):
        if self.name == "status.json" and refusals[0]:
            refusals[0] -= 1
            raise PermissionError(13, "Permission denied")
        return read(self, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(sys, "platform", "win32")
    assert folder.read_status().state == "done" and refusals == [0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("job.json", "{", "is damaged"),
        ("job.json", "[]", "is damaged"),
        ("job.json", '{"kind": "finetune"}', "is damaged"),
        ("data/data.json", "{}", "start the job anew"),
        ("data/slices.npz", "nothing", "start the job anew"),
    ],
)
def test_a_corrupt_folder_is_one_sentence(make_job, name, content, message):
    folder = make_job()
    (folder.path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        run_job(folder)
    assert not folder.is_alive
    if name != "job.json":
        assert folder.read_status().state == "failed" and message in folder.read_status().message
    else:
        with pytest.raises(InputError, match=message):
            launch(folder)


@pytest.mark.parametrize("change", [{"mode": "telepathy"}, {"settings": {"stepz": 1}}, {"strategy": {"rank": 0}}])
def test_a_description_of_something_else_fails_with_a_sentence(make_job, change):
    folder = make_job()
    path = folder.path / "job.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["work"].update(change)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError):
        run_job(folder)
    assert folder.read_status().state == "failed"


def test_a_damaged_status_does_not_hide_a_job(make_job):
    folder = make_job()
    (folder.path / "status.json").write_text('{"state": ')
    assert folder.read_status().state == "killed"
    (folder.path / "status.json").unlink()
    assert folder.read_status().state == "prepared"


def test_a_status_that_says_running_without_a_process_means_killed(make_job):
    folder = make_job()
    folder.write_status(Status("running", pid=1, step=3, steps=6, seconds_left=9.0))
    found = folder.read_status()
    assert found.state == "killed" and found.step == 3 and "resume it" in found.message
    with folder.lock() as lock:
        assert lock.acquire()
        assert folder.read_status().state == "running"
    folder.ask_to_cancel()  # and it was ended at once
    found = folder.read_status()
    assert found.state == "cancelled" and found.seconds_left is None and "on request" in found.message


def test_a_job_that_ends_between_two_looks_is_done(make_job):
    class Ending(JobFolder):
        @property
        def is_alive(self) -> bool:
            self.write_status(Status("done"))
            return False

    folder = Ending(make_job().path)
    folder.write_status(Status("judging"))
    assert folder.read_status().state == "done"


def test_there_is_no_job_in_any_other_folder(tmp_path):
    with pytest.raises(InputError, match="There is no job"):
        JobFolder(tmp_path).read_description()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose a folder"):
        JobFolder(tmp_path / "file").check_free()


def test_a_folder_with_other_files_is_left_alone(make_job, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "log.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds other files"):
        make_job("theirs")
    assert [path.name for path in theirs.iterdir()] == ["log.txt"]
    begun = tmp_path / "begun"  # as a kill leaves it while a job is made
    (begun / "data").mkdir(parents=True)
    (begun / "lock").touch()
    (begun / ".tmp-0123456789abcdef.json").touch()
    assert make_job("begun").exists


def test_events_survive_a_line_cut_short(make_job):
    folder = make_job()
    tail = EventTail(folder)
    folder.events_file.write_text('{"event": "step", "step": 1}\n{"event": "st', encoding="utf-8")
    assert [event["step"] for event in tail.read()] == [1]
    with Reporter(folder) as reporter:
        reporter.event({"event": "step", "step": 2, "steps": 4, "loss": 0.5, "dice": 0.25})
    assert [event["step"] for event in tail.read() if event["event"] == "step"] == [2]
    assert [event["step"] for event in folder.events() if event["event"] == "step"] == [1, 2]
    assert folder.events_file.read_text(encoding="utf-8").count("\n") == 3
    assert reporter.status.step == 2 and reporter.status.loss == 0.5


def test_a_message_may_hold_a_name_that_is_no_text(make_job):
    folder, text = make_job(), "The new base is \udcff ä\u2028/model.safetensors."  # a stray byte, and a break of lines
    with Reporter(folder) as reporter:
        reporter.state("done", text)
    assert list(folder.events())[-1]["message"] == text
    assert folder.read_status().message == text


def test_two_who_make_a_job_in_one_folder_at_once(make_job):
    made, refused = [], []

    def make():
        try:
            made.append(make_job("the same"))
        except OutputError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(refused) == 3
    assert all("holds a job already" in text or "Another process is making" in text for text in refused), refused
    run_job(made[0])
    assert made[0].read_status().state == "done"


def test_a_job_that_finds_no_room_is_none_and_its_folder_can_be_used(make_job, tmp_path):
    with files_of_at_most(4096), pytest.raises(OutputError, match=r"Cannot write .*slices\.npz"):
        make_job()
    folder = JobFolder(tmp_path / "job")
    assert not folder.exists and known_jobs() == []
    folder.check_free()


def test_a_job_whose_process_has_begun_is_no_longer_prepared(make_job):
    folder = make_job()
    assert folder.read_status().state == "prepared"
    with folder.lock() as lock:
        assert lock.acquire()
        assert folder.read_status().state == "queued"
    assert folder.read_status().state == "prepared"
