"""`samfinetune models`, without the network."""

import json

from SAMFinetuneLogic.models.catalogue import load_catalogue


def test_list_shows_every_model_and_its_licence(run):
    code, out, _ = run("models", "list")
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == list(load_catalogue())
    for line, entry in zip(lines, load_catalogue().values(), strict=True):
        assert entry.licence in line
        assert ("NOT FOR COMMERCIAL USE" in line) == entry.non_commercial


def test_list_as_json(run):
    _, out, _ = run("models", "list", "--json")
    models = {model["id"]: model for model in json.loads(out)["models"]}
    assert models["sam_vit_b"]["sha256"] == load_catalogue()["sam_vit_b"].sha256
    assert models["sam_vit_b"]["path"] is None


def test_a_file_put_there_by_hand_is_found_and_checked(run, tmp_path, monkeypatch):
    entry = load_catalogue()["sam_vit_b"]
    (tmp_path / entry.filename).write_text("damaged")
    monkeypatch.setenv("SAMFINETUNE_MODELS", str(tmp_path))
    assert "by hand" in run("models", "list")[1]
    code, out, err = run("models", "verify", "sam_vit_b")
    assert code == 2 and "DAMAGED" in out and "sam_vit_b" in err
    assert run("models", "remove", "sam_vit_b")[0] == 2
    assert (tmp_path / entry.filename).exists()


def test_import_remembers_the_file_and_remove_deletes_it(run, tmp_path, monkeypatch):
    """With the checks of the file's layout replaced: they have tests of their own, with real layouts."""
    monkeypatch.setattr("SAMFinetuneLogic.models.checkpoints.check_file", lambda path, entry: None)
    name = next(entry.id for entry in load_catalogue().values() if entry.import_only and entry.sha256 is None)
    (tmp_path / "weights.pth").write_bytes(b"weights")
    code, out, err = run("models", "import", name, tmp_path / "weights.pth", "--json", "--quiet")
    assert code == 0
    assert load_catalogue()[name].licence in err
    assert run("models", "verify", name)[0] == 0
    code, removed, _ = run("models", "remove", name, "--json")
    assert code == 0 and json.loads(out)["path"] in json.loads(removed)["removed"]
    assert run("models", "verify", name)[0] == 2


def test_what_cannot_be_done(run, tmp_path):
    import_only = next(entry.id for entry in load_catalogue().values() if entry.import_only)
    for arguments in (
        ("get", "nonsense"),
        ("get", import_only),
        ("get",),
        ("verify", "sam_vit_b"),
        ("remove", "sam_vit_b"),
        ("remove", "samfinetune_default"),
        ("import", "sam_vit_b", tmp_path / "missing.pth"),
        ("frobnicate",),
        (),
    ):
        code, _, err = run("models", *arguments)
        lines = [line for line in err.splitlines() if line.startswith("samfinetune: ")]
        assert code == 2 and len(lines) == 1, (arguments, err)
