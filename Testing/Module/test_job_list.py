"""Many finished jobs on the disk: they are read once, and again only after they have changed."""

import pytest
from module_fixtures import WAIT
from module_scene import ras_of, settle
from slicer_host.event_loop import run_for, run_until
from slicer_host.stalls import StallMeter

from SAMFinetuneLogic.imaging.axes import SliceIndex
from SAMFinetuneLogic.jobs.folder import FINETUNE, JobDescription, JobFolder, Status
from SAMFinetuneLogic.jobs.registry import remember

MANY = 200


def make_job(folder, mode="prompts", verdict="accepted"):
    """The folder of a job that is done."""
    job = JobFolder(folder)
    job.write_description(
        JobDescription(FINETUNE, "samfinetune_default", "", "cpu", 1, {"mode": mode}, [], "2026-01-01T00:00:00")
    )
    job.adapter.mkdir()
    job.write_status(Status("done", verdict=verdict))
    remember(job)
    return job


@pytest.fixture
def many_jobs(blocks, tmp_path):
    """The module with the blocks, and the finished jobs of a year."""
    made = [make_job(tmp_path / "jobs" / f"job{n}", "automatic" if n % 4 == 0 else "prompts") for n in range(MANY)]
    blocks.widget.exit()
    blocks.widget.enter()
    return blocks, made


def test_turning_the_slices_reads_no_job(many_jobs):
    opened, _ = many_jobs
    bench, learn, apply = opened.bench, opened.panel.learn.ui, opened.panel.collection.ui
    assert learn.adapterSelector.count == 1 + 3 * MANY // 4 and apply.applySelector.count == 1 + MANY // 4
    before = bench.learning.jobs.reads
    assert before == MANY
    with StallMeter() as meter:
        for k in (1, 3, 6, 4, 8, 2):
            bench.go_to(SliceIndex("k", k))
            run_for(0.02)
        bench.prompter.add_point(ras_of(opened, 2, 20, 25))
        settle(opened)
        bench.prompter.accept()
        bench.add_segment("other")
        run_for(0.05)
    assert bench.learning.jobs.reads == before
    assert meter.longest_ms < 100, meter.summary()


def test_a_job_that_another_program_finished_is_listed_on_return(many_jobs, tmp_path):
    opened, made = many_jobs
    learn, reads = opened.panel.learn.ui, opened.bench.learning.jobs.reads
    count = learn.adapterSelector.count
    make_job(tmp_path / "jobs" / "from the command line")
    made[1].write_status(Status("done", verdict="refused"))
    opened.widget.exit()
    opened.widget.enter()
    assert learn.adapterSelector.count == count + 1
    texts = [learn.adapterSelector.itemText(n) for n in range(learn.adapterSelector.count)]
    assert "from the command line (accepted)" in texts and "job1 (refused)" in texts
    assert opened.bench.learning.jobs.reads == reads + 2  # the new one and the changed one


@pytest.mark.slow
def test_no_stall_while_a_job_trains(bench, monkeypatch, tmp_path):
    """A real job of the tiny model, with clicks and turning of slices meanwhile."""
    from SAMFinetuneLogic.finetuning import schedule

    real = schedule.settings_for
    monkeypatch.setattr(schedule, "settings_for", lambda *given: real(*given, steps=12, epoch_steps=4, views=2))
    monkeypatch.setattr(bench.learning, "_model", lambda: str(bench.model_file))
    bench.preferences.device = "cpu"
    bench.preferences.job_folder = tmp_path / "jobs"
    from test_collection_module import annotate

    annotate(bench, 3, 4, 5, 7, 8)
    for n in range(MANY):
        make_job(tmp_path / "old" / f"job{n}")
    bench.learning.find_running()
    with StallMeter() as meter:
        bench.learning.start()
        turn = 0
        while bench.learning.running:
            turn += 1
            bench.go_to(SliceIndex("k", 2 + turn % 8))
            if turn % 5 == 0:
                position = bench.work.volume.ijk_to_ras @ [20 + turn % 7, 20, 2 + turn % 8, 1]
                bench.prompter.add_point(tuple(float(x) for x in position[:3]))
                assert run_until(lambda: not bench.prompter.waiting, WAIT)
            run_for(0.1)
            assert turn < 3000
    assert bench.learning.status.state == "done", bench.learning.job.log_file.read_text()
    assert turn > 10 and bench.learning.curve
    # By processor time: on a busy machine the clock shows the pauses of others.
    assert meter.longest_ms < 100, meter.summary()
    print(meter.summary())
