"""Whole volumes without prompts, with adapters of a tiny random model: which slices they are shown."""

import json

import numpy as np
import pytest
from labelled_data import WINDOW, labelled_volume
from small_models import loaded, small_compact_sam

from SAMFinetuneLogic.finetuning.adapter_files import RECORD_FILE, load_adapter, read_adapter
from SAMFinetuneLogic.finetuning.labelled_slices import LabelledSet, joined, labelled_slices
from SAMFinetuneLogic.finetuning.predicting import predict_volume
from SAMFinetuneLogic.finetuning.run import finetune
from SAMFinetuneLogic.finetuning.schedule import LoopSettings
from SAMFinetuneLogic.finetuning.splitting import Split
from SAMFinetuneLogic.finetuning.strategy import Strategy
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume

AXIAL = labelled_volume()[0]
ONE_STEP = LoopSettings(steps=1, epoch_steps=1, batch=1, warmup=1, precision="fp32")


def coronal(volume, labels):
    """The same, stored slice by slice from front to back."""
    affine = volume.ijk_to_ras[:, [0, 2, 1, 3]]
    return (
        Volume(np.ascontiguousarray(volume.voxels.transpose(1, 0, 2)), affine, name=volume.name),
        LabelMap(np.ascontiguousarray(labels.voxels.transpose(1, 0, 2)), affine, labels.segments),
    )


@pytest.fixture(scope="module")
def model():
    return loaded(small_compact_sam())


@pytest.fixture
def make_adapter(model, tmp_path):
    def make(data: LabelledSet):
        parts = Split((0, 1), (), (2, 3))
        finetune(model, data, parts, Strategy.of("lora", "decoder"), ONE_STEP, "automatic", tmp_path)
        return tmp_path

    return make


def predicted(model, folder, volume, axis=None):
    return predict_volume(load_adapter(model, folder), read_adapter(folder), model, volume, axis)


def test_a_volume_stored_otherwise_is_cut_in_the_plane_that_was_learned(model, make_adapter):
    volume, labels = coronal(*labelled_volume())
    folder = make_adapter(labelled_slices(volume, labels, WINDOW, "k", (14, 18, 22, 26), turned=True))
    here, there = predicted(model, folder, volume), predicted(model, folder, AXIAL)
    assert read_adapter(folder).record["planes"] == ["coronal"]
    assert (here.axis, there.axis) == ("k", "j")
    assert there.slices == here.slices and len({each.confidence for each in here.slices}) > 20
    assert np.array_equal(there.labels.voxels, here.labels.voxels.transpose(1, 0, 2))
    assert predicted(model, folder, AXIAL, "axial").axis == "k"


def test_the_plane_of_most_slices_counts(model, make_adapter):
    volume, labels = labelled_volume()
    parts = [
        labelled_slices(volume, labels, WINDOW, axis, indices, True)
        for axis, indices in (("k", (6,)), ("i", (14, 16, 18)))
    ]
    folder = make_adapter(joined(parts))
    assert read_adapter(folder).record["planes"] == ["sagittal", "axial"]
    assert predicted(model, folder, AXIAL).axis == "i"


def test_records_of_earlier_versions_know_the_voxel_axis_alone(model, make_adapter):
    volume, labels = coronal(*labelled_volume())
    folder = make_adapter(labelled_slices(volume, labels, WINDOW, "k", (14, 18, 22, 26), turned=True))
    content = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    del content["record"]["planes"]
    (folder / RECORD_FILE).write_text(json.dumps(content), encoding="utf-8")
    assert predicted(model, folder, AXIAL).axis == "k"
