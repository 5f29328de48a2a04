"""From files to an adapter and back into the other subcommands."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from labelled_data import LIVER, WINDOW, write_labelled_pair
from small_adapters import save_random_adapter

from SAMFinetuneLogic.cli.main import main
from SAMFinetuneLogic.finetuning.snapshot import read_snapshot
from SAMFinetuneLogic.imaging.windows import Window
from SAMFinetuneLogic.jobs.folder import STOPPED, JobFolder, Status
from SAMFinetuneLogic.jobs.registry import remember

QUICK = ("--steps", 2, "--batch", 2, "--precision", "fp32", "--quiet")


@pytest.fixture(scope="module")
def a_pair(tmp_path_factory):
    return write_labelled_pair(tmp_path_factory.mktemp("pair mit Leerzeichen"))


@pytest.fixture(scope="module")
def a_job(a_pair, a_checkpoint, tmp_path_factory):
    """Of two steps in prompt mode."""
    folder = tmp_path_factory.mktemp("jobs") / "prompts"
    arguments = [
        "finetune",
        "--pair",
        *a_pair,
        "--slices",
        "2,5,8,11,13",
        "--job",
        folder,
        "--model",
        a_checkpoint,
        *QUICK,
    ]
    with pytest.MonkeyPatch.context() as patch:  # as for each test, but those begin later
        patch.setenv("SAMFINETUNE_HOME", str(tmp_path_factory.getbasetemp() / "home"))
        assert main([str(argument) for argument in arguments]) == 0
    return folder


def test_finetune_prints_the_evidence(run, a_pair, a_checkpoint, tmp_path):
    folder = tmp_path / "job"
    code, out, err = run(
        "finetune", "--pair", *a_pair, "--slices", "2,5,8,11,13", "--job", folder, "--model", a_checkpoint, *QUICK[:-1]
    )
    assert code == 0, err
    assert "3 slices to learn from, 0 to stop by, 2 to judge by" in err
    assert err.count("not in the catalogue") == 1
    assert "on 2 held-out slices (one click)" in out
    assert "liver" in out and str(folder / "adapter") in out
    assert (folder / "adapter" / "adapter.json").is_file()
    assert run("finetune", "--pair", *a_pair, "--job", folder, "--model", a_checkpoint)[0] == 2


def test_the_adapter_works_in_segment_and_says_where_it_comes_from(run, a_job, a_pair, a_checkpoint, tmp_path):
    out = tmp_path / "out.nii.gz"
    arguments = ("segment", a_pair[0], out, "--point", "16,20,8", "--space", "ijk", "--model", a_checkpoint)
    code, _, err = run(*arguments, "--adapter", a_job)
    assert code == 0, err
    assert "held-out" in err or "evidence" in err or "Note" not in err
    adapted = sitk.GetArrayFromImage(sitk.ReadImage(str(out)))
    sidecar = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert "lora/encoder_decoder/recommended" in json.dumps(sidecar)
    assert run(*arguments, "--overwrite")[0] == 0
    assert adapted.shape == sitk.GetArrayFromImage(sitk.ReadImage(str(out))).shape


def test_the_adapter_works_in_propagate_and_fewshot(run, a_job, a_pair, a_checkpoint, tmp_path):
    model = ("--model", a_checkpoint, "--adapter", a_job, "--quiet")
    code, _, err = run("propagate", *a_pair, tmp_path / "all.nii.gz", "--slices", "5,8", "--no-adapt", *model)
    assert code == 0, err
    assert json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))["provenance"]["adapted"] is False
    collection = tmp_path / "c.safetensors"
    arguments = ("--pair", *a_pair, "--slices", "5,8", "--steps", 1, "--augmentations", 1, "--axis", "k")
    code, _, err = run("fewshot", "fit", collection, *arguments, *model)
    assert code == 0, err
    found = tmp_path / "found.nii.gz"
    assert run("fewshot", "apply", collection, a_pair[0], found, "--slices", "6", *model)[0] == 0
    # The base's encoder is another one: its collection is not this one's.
    code, _, err = run("fewshot", "apply", collection, a_pair[0], found, "--overwrite", "--model", a_checkpoint)
    assert code == 2


def test_the_adapter_works_in_evaluate(run, a_pair, a_checkpoint, tmp_path):
    folder = tmp_path / "data"
    (folder / "case").mkdir(parents=True)
    for path in a_pair:
        shutil.copy(path, folder / "case")
    case = {"case": "case", "modality": "MR", "pairs": [{"image": a_pair[0].name, "label": a_pair[1].name}]}
    (folder / "manifest.json").write_text(json.dumps([case]))
    adapter = save_random_adapter(a_checkpoint, tmp_path / "adapter", "prompts", (LIVER,), WINDOW)
    found = {}
    for name, options in (("plain", ()), ("adapted", ("--adapter", adapter))):
        file = tmp_path / f"{name}.json"
        code, _, err = run(
            "evaluate", folder, "--model", a_checkpoint, "--no-baselines", "--quiet", "--json", file, *options
        )
        assert code == 0, err
        found[name] = json.loads(file.read_text())["results"]
    assert len(found["plain"]) == len(found["adapted"]) > 0
    assert found["plain"] != found["adapted"]


def test_automatic_mode_and_predict(run, a_pair, a_checkpoint, a_job, tmp_path):
    folder = tmp_path / "automatic"
    code, out, err = run(
        "finetune", "--pair", *a_pair, "--job", folder, "--model", a_checkpoint, "--mode", "automatic", *QUICK
    )
    assert code == 0, err
    assert "(no prompts; the base by few-shot without training)" in out

    result = tmp_path / "found.nii.gz"
    code, out, err = run("predict", a_pair[0], result, "--adapter", folder, "--model", a_checkpoint, "--json")
    assert code == 0, err
    image, labels = sitk.ReadImage(str(a_pair[0])), sitk.ReadImage(str(result))
    assert labels.GetSize() == image.GetSize() and np.allclose(labels.GetOrigin(), image.GetOrigin())
    names = [entry["name"] for entry in json.loads(out)["results"][0]["segments"]]
    assert names == ["liver", "spleen"]

    images = tmp_path / "images"
    images.mkdir()
    for name in ("a", "b"):
        (images / f"{name}.nii.gz").write_bytes(a_pair[0].read_bytes())
    code, out, err = run(
        "predict", images, tmp_path / "results", "--adapter", folder, "--model", a_checkpoint, "--quiet"
    )
    assert code == 0, err
    first = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "results" / "a.nii.gz")))
    assert np.array_equal(first, sitk.GetArrayFromImage(labels))

    code, _, err = run("predict", a_pair[0], result, "--adapter", a_job, "--model", a_checkpoint, "--overwrite")
    assert code == 2 and "needs prompts" in err
    arguments = ("segment", a_pair[0], result, "--overwrite", "--point", "-10,-10,20", "--adapter", folder)
    code, _, err = run(*arguments, "--model", a_checkpoint)
    assert code == 2 and "takes no prompts" in err
    code, _, err = run(*arguments)
    assert code == 2 and "tiny.safetensors, a file of your own: name it with --model" in err
    # Both would be written to a.nii.gz.
    sitk.WriteImage(image, str(images / "a.nrrd"))
    code, _, err = run("predict", images, tmp_path / "more", "--adapter", folder, "--model", a_checkpoint)
    assert code == 2 and "rename one" in err and not (tmp_path / "more").exists()


def test_an_adapter_learns_from_a_collection(run, a_pair, a_checkpoint, tmp_path):
    collection, folder, found = tmp_path / "c.safetensors", tmp_path / "job", tmp_path / "found.nii.gz"
    chosen = ("--pair", *a_pair, "--slices", "2,5,8,11,13", "--axis", "k")
    code, _, err = run("fewshot", "fit", collection, *chosen, "--no-training", "--model", a_checkpoint)
    assert code == 0, err
    arguments = ("finetune", "--collection", collection, "--job", folder, "--model", a_checkpoint, *QUICK[:-1])
    code, _, err = run(*arguments)
    assert code == 2 and "add --mode automatic" in err and not folder.exists()
    code, out, err = run(*arguments, "--mode", "automatic")
    assert code == 0, err
    assert "3 slices to learn from, 0 to stop by, 2 to judge by" in err and "liver" in out
    assert JobFolder(folder).read_description().images == ["image.nii.gz"]
    code, _, err = run("predict", a_pair[0], found, "--adapter", folder, "--model", a_checkpoint)
    assert code == 0, err
    assert sitk.ReadImage(str(found)).GetSize() == sitk.ReadImage(str(a_pair[0])).GetSize()
    code, _, err = run("finetune", "--job", tmp_path / "other", "--model", a_checkpoint)
    assert code == 2 and "--pair IMAGE LABELS, or --collection FILE" in err and err.count("\n") == 1


@pytest.mark.parametrize("option", [("--axis", "coronal"), ("--axis", "k"), ("--window", "50/400")])
def test_what_does_not_apply_to_a_collection_is_refused(run, a_pair, a_checkpoint, tmp_path, option):
    """Its slices have a plane and a window; the defaults, if said, are as wrong as all else."""
    collection, folder = tmp_path / "c.safetensors", tmp_path / "job"
    model = ("--model", a_checkpoint)
    assert run("fewshot", "fit", collection, "--pair", *a_pair, "--slices", "2,5,8", "--no-training", *model)[0] == 0
    arguments = ("finetune", "--collection", collection, "--job", folder, *model, "--mode", "automatic", *QUICK)
    code, _, err = run(*arguments, *option)
    assert code == 2 and "stay as they were collected" in err and err.count("\n") == 1
    assert not folder.exists()
    code, _, err = run("fewshot", "fit", tmp_path / "d.safetensors", "--merge", collection, "--no-training", *option)
    assert code == 2 and "stay as they were collected" in err


def test_pairs_beside_a_collection_have_their_own_axis_and_window(run, a_pair, a_checkpoint, tmp_path):
    collection, model = tmp_path / "c.safetensors", ("--model", a_checkpoint)
    assert run("fewshot", "fit", collection, "--pair", *a_pair, "--slices", "5,8", "--no-training", *model)[0] == 0
    data = ("--collection", collection, "--pair", *a_pair, "--slices", "18,20,22", "--axis", "j", "--window", "50/400")
    code, _, err = run("finetune", *data, "--job", tmp_path / "job", *model, "--mode", "automatic", *QUICK)
    assert code == 0, err
    learned, _ = read_snapshot(JobFolder(tmp_path / "job").data)
    assert [entry.plane for entry in learned.slices] == ["coronal"] * 3 + ["axial"] * 2
    assert learned.windows[0] == Window(-150.0, 250.0, "custom") and learned.windows[1] != learned.windows[0]


def test_pretraining_on_several_data_sets_gives_a_new_base(run, a_pair, a_checkpoint, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    pairs = ("--pair", *a_pair, "--slices", "4,6,8", "--pair", *a_pair, "--slices", "5,7", "--mixed")
    code, out, err = run("finetune", *pairs, "--job", first, "--model", a_checkpoint, "--new-base", *QUICK)
    assert code == 0, err
    assert (first / "model.safetensors").is_file()
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a", "b"):
        shutil.copy(a_pair[0], images / f"{name}.nii.gz")
    code, out, err = run("selfsupervise", images, "--job", second, "--model", first / "model.safetensors", "--steps", 2)
    assert code == 0 and "error on hidden patches" in out, err
    assert JobFolder(second).read_description().images == ["a.nii.gz", "b.nii.gz"]
    epochs = [event for event in JobFolder(second).events() if event["event"] == "epoch"]
    assert [event["step"] for event in epochs] == [1, 2], "a short training shows where it goes, too"
    out = tmp_path / "out.nii.gz"
    arguments = ("--point", "16,20,8", "--space", "ijk", "--model", second / "model.safetensors")
    assert run("segment", a_pair[0], out, *arguments)[0] == 0
    arguments = ("--job", tmp_path / "third", "--model", a_checkpoint, "--algorithm", "adapter", "--new-base", *QUICK)
    code, _, err = run("finetune", "--pair", *a_pair, *arguments)
    assert code == 2 and "lora or vanilla only" in err


def test_jobs_are_listed_with_their_scores(run, a_job):
    code, out, _ = run("jobs", "list")
    assert code == 0 and str(a_job) in out and "held-out" in out
    assert "lora of encoder + decoder, mode prompts; tiny.safetensors; learned from image" in out
    code, out, _ = run("jobs", "list", "--json")
    entry = next(job for job in json.loads(out)["jobs"] if job["job"] == str(a_job))
    assert entry["state"] == "done" and entry["step"] == 2
    code, out, _ = run("jobs", "watch", a_job, "--quiet")
    assert code == 0 and "liver" in out
    assert run("jobs", "resume", a_job)[0] == 0  # it is done: its result once more
    code, _, err = run("jobs", "cancel", a_job)
    assert code == 2 and "nothing to stop" in err


def test_a_job_that_did_not_end_well(run, a_job, tmp_path):
    folder = JobFolder(shutil.copytree(a_job, tmp_path / "job"))
    for status, code, words in (
        (Status("failed", message="No room."), 2, "No room."),
        (Status("cancelled", message=STOPPED), 130, "resume it"),
        (Status("prepared"), 2, "has not been started yet"),
    ):
        folder.write_status(status)
        found, out, _ = run("jobs", "watch", folder.path)
        assert found == code and words in out
    folder.write_status(Status("running", step=3, steps=9, loss=0.25, dice=0.875, seconds_left=12.3))
    with folder.lock() as lock:
        assert lock.acquire()
        remember(folder)
        _, out, _ = run("jobs", "list")
    assert "running         3/9" in out and "loss 0.250, Dice 0.875, about 12 s left" in out


def test_a_damaged_job_does_not_hide_the_others(run, a_job, tmp_path, monkeypatch):
    monkeypatch.setenv("SAMFINETUNE_HOME", str(tmp_path / "home"))
    for name in ("whole", "damaged"):
        shutil.copytree(a_job, tmp_path / name)
        remember(JobFolder(tmp_path / name))
    description = json.loads((tmp_path / "damaged" / "job.json").read_text())
    del description["work"]["mode"]
    for content in ("{", json.dumps(description)):
        (tmp_path / "damaged" / "job.json").write_text(content)
        code, out, err = run("jobs", "list")
        assert code == 0 and "learned from image" in out and "is damaged: start the job anew" in out, err
        code, out, _ = run("jobs", "list", "--json")
        assert code == 0 and len(json.loads(out)["jobs"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--slices", "8"), "At least two slices"),
        (("--slices", "0,99"), "outside of the volume"),
        (("--slices", "1", "--slices", "2"), "more --slices than --pair"),
        (("--steps", "0"), "whole number above zero"),
        (("--model", "nothing"), "neither a model nor a file"),
        (("--axis", "q"), "Unknown axis"),
        (("--option", "rnk=3"), "write NAME=VALUE with one of learning_rate"),
        (("--option", "rank=0"), "at least 1"),
    ],
)
def test_bad_input_is_one_line(run, a_pair, tmp_path, arguments, message):
    code, out, err = run("finetune", "--pair", *a_pair, "--job", tmp_path / "job", *arguments)
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1
    assert not (tmp_path / "job").exists()


def test_an_adapter_that_is_none(run, a_pair, a_checkpoint, tmp_path):
    out = tmp_path / "out.nii.gz"
    code, _, err = run("segment", a_pair[0], out, "--point", "0,0,0", "--model", a_checkpoint, "--adapter", tmp_path)
    assert code == 2 and "no adapter" in err
