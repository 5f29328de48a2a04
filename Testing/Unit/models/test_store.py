"""Files on this machine: found, imported, verified, removed; a user's own folder is never touched."""

import hashlib
from dataclasses import replace

import pytest

from SAMFinetuneLogic.errors import DownloadError, ModelError
from SAMFinetuneLogic.models import catalogue, store
from SAMFinetuneLogic.models.store import ModelStore

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def entries(monkeypatch):
    """A catalogue whose ViT-B is a file of 7 kB."""
    known = dict(catalogue.load_catalogue())
    known["sam_vit_b"] = replace(known["sam_vit_b"], sha256=SHA256, bytes=len(CONTENT))
    for module in (catalogue, store):
        monkeypatch.setattr(module, "load_catalogue", lambda: known)
    return known


@pytest.fixture
def a_store(tmp_path, entries):
    (tmp_path / "hand").mkdir()
    return ModelStore(tmp_path / "models", tmp_path / "hand")


def put(folder, entry, content=CONTENT):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / entry.filename
    path.write_bytes(content)
    return path


def test_the_environment_moves_the_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("SAMFINETUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SAMFINETUNE_MODELS", str(tmp_path / "mine"))
    assert ModelStore().folder == tmp_path / "home" / "models"
    assert ModelStore().by_hand == tmp_path / "mine"
    monkeypatch.delenv("SAMFINETUNE_MODELS")
    assert ModelStore().by_hand is None


def test_what_an_earlier_version_fetched_is_found_and_left_alone(monkeypatch, tmp_path, entries):
    """It lay in the folder for caches."""
    monkeypatch.delenv("SAMFINETUNE_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    a_store, entry = ModelStore(), entries["sam_vit_b"]
    assert a_store.folder == tmp_path / "data" / "samfinetune" / "models"
    earlier = put(tmp_path / "cache" / "samfinetune" / "models", entry)
    assert a_store.locate(entry.id).origin == "earlier version" and a_store.verify(entry.id).ok
    assert a_store.get(entry.id) == earlier
    with pytest.raises(ModelError, match=r"earlier version of SAMFinetune: delete it yourself"):
        a_store.remove(entry.id)
    own = put(a_store.folder, entry)
    assert a_store.path_of(entry.id) == own and a_store.remove(entry.id) == (own,)
    assert earlier.exists()
    assert ModelStore(tmp_path / "another").locate(entry.id).path is None


def test_finds_files_put_by_hand_and_prefers_its_own(a_store, entries):
    entry = entries["sam_vit_b"]
    with pytest.raises(ModelError, match="models get sam_vit_b"):
        a_store.path_of("sam_vit_b")
    by_hand = put(a_store.by_hand, entry)
    assert a_store.locate("sam_vit_b").origin == "by hand"
    assert a_store.path_of("sam_vit_b") == by_hand
    own = put(a_store.folder, entry)
    assert a_store.path_of("sam_vit_b") == own
    assert {stored.entry.id: stored.origin for stored in a_store.list()}["sam_vit_b"] == "model folder"


def test_an_absent_import_only_model_says_how_to_import(a_store):
    with pytest.raises(ModelError, match="models import medicosam_vit_b FILE"):
        a_store.path_of("medicosam_vit_b")
    with pytest.raises(DownloadError, match=r"https://github.com/.*models import medicosam_vit_b FILE"):
        a_store.get("medicosam_vit_b")


def test_verify_hashes_again(a_store, entries):
    path = put(a_store.folder, entries["sam_vit_b"])
    assert a_store.verify("sam_vit_b").ok
    path.write_bytes(CONTENT[:-1] + b"x")
    verification = a_store.verify("sam_vit_b")
    assert not verification.ok and verification.expected == SHA256


def test_remove_leaves_files_put_by_hand_alone(a_store, entries):
    entry = entries["sam_vit_b"]
    by_hand = put(a_store.by_hand, entry)
    with pytest.raises(ModelError, match="by hand"):
        a_store.remove("sam_vit_b")
    own = put(a_store.folder, entry)
    part = own.with_name(own.name + ".part")
    part.write_bytes(b"x")
    assert set(a_store.remove("sam_vit_b")) == {own, part}
    assert by_hand.exists() and not own.exists()
    by_hand.unlink()
    with pytest.raises(ModelError, match="nothing to remove"):
        a_store.remove("sam_vit_b")
    with pytest.raises(ModelError, match="part of SAMFinetune"):
        a_store.remove("samfinetune_default")


def test_import_with_a_published_hash(a_store, tmp_path):
    source = tmp_path / "whatever.bin"
    source.write_bytes(CONTENT)
    path = a_store.import_file("sam_vit_b", source)
    assert path.parent == a_store.folder and path.read_bytes() == CONTENT and source.exists()
    source.write_bytes(CONTENT + b"!")
    with pytest.raises(ModelError, match=r"SHA-256 differs.*binary|SHA-256 differs.*text"):
        a_store.import_file("sam_vit_b", source)
    with pytest.raises(ModelError, match="no file"):
        a_store.import_file("sam_vit_b", tmp_path / "absent.pth")
    with pytest.raises(ModelError, match="nothing to import"):
        a_store.import_file("samfinetune_default", source)


def test_import_without_a_published_hash_checks_the_layout(a_store, tmp_path):
    source = tmp_path / "page.pth"
    source.write_text("<!DOCTYPE html><html>Please confirm</html>")
    with pytest.raises(ModelError, match="HTML page"):
        a_store.import_file("medicosam_vit_b", source)
    assert not a_store.folder.exists() or list(a_store.folder.iterdir()) == []
