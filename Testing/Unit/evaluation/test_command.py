"""The options of `samfinetune evaluate`: what is said, and what is refused before the work starts."""

import json
import sys

import pytest
import SimpleITK as sitk

from SAMFinetuneLogic.cli.main import main


@pytest.fixture(scope="module")
def a_checkpoint(tmp_path_factory):
    """A very small model of the default model's architecture, with random weights."""
    from small_models import write_small_compact

    return write_small_compact(tmp_path_factory.mktemp("model") / "small.safetensors")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sheet", "sheet.txt"], "sheet.txt; end the name in .png"),
        (["--worst-sheet", "worst"], "end the name in .png"),
        (["--sheet", "one.png", "--worst-sheet", "one.png"], "different files"),
        (["--json", "one.png", "--sheet", "./one.png"], "different files"),
        (["--model", "none", "--adapter", "folder"], "choose a model"),
        (["--model", "none", "--noisy", "2"], "choose a model"),
        (["--model", "none", "--prompting", "tokens"], "choose a model"),
        (["--protocol", "propagate", "--noisy", "2"], "belong to --protocol points and box"),
        (["--protocol", "finetune", "--prompting", "tokens"], "belong to --protocol points and box"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_work(
    a_manifest_file, tmp_path, monkeypatch, capsys, options, message
):
    monkeypatch.chdir(tmp_path)

    assert main(["evaluate", str(a_manifest_file), *options]) == 2

    out, err = capsys.readouterr()
    assert message in err and len(err.splitlines()) == 1 and not out


def test_cases_without_a_large_structure_are_named(a_manifest_file, a_checkpoint, tmp_path, capsys):
    content = json.loads(a_manifest_file.read_text())
    content.append({**content[0], "case": "speck"})
    a_manifest_file.write_text(json.dumps(content))
    (a_manifest_file.parent / "speck").mkdir()
    for name in ("image.nii.gz", "label.nii.gz"):
        whole = sitk.ReadImage(str(a_manifest_file.parent / "abdomen" / name))
        sitk.WriteImage(whole[:9, :7, :1], str(a_manifest_file.parent / "speck" / name))  # 63 voxels
    numbers = tmp_path / "numbers.json"
    command = ["evaluate", str(a_manifest_file), "--protocol", "box", "--no-baselines", "--json", str(numbers)]
    command += ["--model", str(a_checkpoint), "--device", "cpu", "--max-labels", "1"]

    assert main(command) == 0

    out, err = capsys.readouterr()
    assert "3 structures of 3 cases" in out
    assert "Without a structure that is large enough: speck." in err
    assert json.loads(numbers.read_text())["left_out"] == ["speck"]
    assert main([*command, "--overwrite", "--quiet"]) == 0
    assert not capsys.readouterr().err


def test_a_bar_follows_the_cases_and_a_stopped_run_goes_on(
    a_manifest_file, a_checkpoint, tmp_path, monkeypatch, capsys
):
    from SAMFinetuneLogic.evaluation.protocols.box import BoxProtocol

    measured = []
    evaluate_case = BoxProtocol.evaluate_case

    def stopped_in_the_third(self, case, context):
        measured.append(case.name)
        if measured == ["abdomen", "brain", "film"]:
            raise KeyboardInterrupt
        return evaluate_case(self, case, context)

    monkeypatch.setattr(BoxProtocol, "evaluate_case", stopped_in_the_third)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    command = ["evaluate", str(a_manifest_file), "--protocol", "box", "--no-baselines", "--model", str(a_checkpoint)]
    command += ["--device", "cpu", "--results", str(tmp_path / "kept")]

    assert main(command) == 130
    out, err = capsys.readouterr()
    assert not out and "Stopped." in err
    assert "2/3" in err and "abdomen 1/2" in err and "film" in err

    assert main(command) == 0
    out, err = capsys.readouterr()
    assert measured == ["abdomen", "brain", "film", "film"], "what was finished is not measured again"
    assert "3/3" in err and "5 structures of 3 cases" in out
