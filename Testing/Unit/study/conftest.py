"""A manifest of two small cases, and a tiny model with random weights."""

import json
from pathlib import Path

import pytest
from labelled_data import write_labelled_pair
from small_models import write_small_compact


@pytest.fixture(scope="session")
def a_study_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_compact(tmp_path_factory.mktemp("study models") / "tiny ü.safetensors")


@pytest.fixture(scope="session")
def a_study_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cases "one" and "two", a volume each with a liver and a small spleen; no names are given."""
    folder = tmp_path_factory.mktemp("study data")
    cases = []
    for seed, name in enumerate(("one", "two")):
        (folder / name).mkdir()
        write_labelled_pair(folder / name, seed)
        cases.append({"case": name, "modality": "CT", "pairs": [{"image": "image.nii.gz", "label": "labels.nii.gz"}]})
    path = folder / "manifest.json"
    path.write_text(json.dumps(cases), encoding="utf-8")
    return path
