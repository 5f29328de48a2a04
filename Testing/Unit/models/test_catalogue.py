"""The catalogue's promises, and its facts where they can be told apart from a typing mistake."""

import re
import subprocess
import sys

import pytest

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID, find_entry, load_catalogue

ENTRIES = list(load_catalogue().values())


def test_holds_the_models_of_the_project():
    assert set(load_catalogue()) == {
        "samfinetune_default",
        "sam_vit_b",
        "sam_vit_l",
        "sam_vit_h",
        "mobilesam_vit_t",
        "medsam_vit_b",
        "litemedsam_vit_t",
        "finetune_sam_ssl_vit_b",
        "medicosam_vit_b",
    }
    assert find_entry(DEFAULT_MODEL_ID).builtin


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_what_can_be_downloaded_can_be_checked(entry):
    if entry.builtin:
        assert entry.url is None and not entry.import_only
    elif entry.import_only:
        assert entry.url is None or entry.sha256 is None
    else:
        assert entry.url.startswith("https://") and "drive.google" not in entry.url
        assert re.fullmatch("[0-9a-f]{64}", entry.sha256)
        assert entry.bytes > 10_000_000
    assert entry.licence and entry.licence_note and entry.source
    assert entry.prompts or entry.encoder_only


def test_file_names_are_unique():
    names = [entry.filename for entry in ENTRIES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("model_id", "normalisation", "geometry", "size"),
    [
        ("sam_vit_b", "sam", "longest_pad", 1024),
        ("mobilesam_vit_t", "sam", "longest_pad", 1024),
        ("medsam_vit_b", "minmax", "squash", 1024),
        ("litemedsam_vit_t", "minmax", "longest_pad", 256),
        ("medicosam_vit_b", "sam", "longest_pad", 1024),
    ],
)
def test_preprocessing_belongs_to_the_entry(model_id, normalisation, geometry, size):
    rule = find_entry(model_id).preprocessing
    assert (rule.normalisation, rule.geometry, rule.size) == (normalisation, geometry, size)


def test_sizes_follow_from_the_architectures():
    """Four bytes a parameter, and little else: guards against mixed-up entries."""
    parameters = {"sam_vit_b": 93_735_472, "sam_vit_l": 312_342_832, "sam_vit_h": 641_090_608}
    for model_id, count in parameters.items():
        assert 0 < find_entry(model_id).bytes - 4 * count < 300_000


def test_the_licence_text_warns():
    assert "NOT FOR COMMERCIAL USE" in find_entry("medicosam_vit_b").licence_text()
    assert "COMMERCIAL" not in find_entry("sam_vit_b").licence_text()
    assert "Apache-2.0" in find_entry("sam_vit_b").licence_text()


def test_an_unknown_id_lists_the_known_ones():
    with pytest.raises(ModelError, match=r"sam_vit_z.*sam_vit_b"):
        find_entry("sam_vit_z")


def test_reading_it_needs_no_torch():
    code = "import sys, SAMFinetuneLogic.models.store as s; s.ModelStore().list(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
