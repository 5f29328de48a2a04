import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from small_disk import files_of_at_most

from SAMFinetuneLogic.errors import InputError, ModelError, OutputError
from SAMFinetuneLogic.fewshot.collection_files import load_collection, save_collection
from SAMFinetuneLogic.fewshot.fitting import fit
from SAMFinetuneLogic.fewshot.labelling import new_collection
from SAMFinetuneLogic.imaging.windows import Window


def test_a_collection_comes_back_as_it_was(a_collection, tmp_path):
    path = tmp_path / "c.safetensors"
    save_collection(path, a_collection)
    back = load_collection(path)
    assert back.fit is None
    assert (back.collection.model, back.collection.classes) == (a_collection.model, a_collection.classes)
    for one, other in zip(a_collection.slices, back.collection.slices, strict=True):
        for name in ("pixels", "labels", "embedding"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
            assert getattr(one, name).dtype == getattr(other, name).dtype
        for name in ("spacing", "image", "image_key", "slice", "plane", "window"):
            assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize("dense", ["none", "prototypes", "classifier"])
def test_a_fitted_decoder_gives_the_same_answer_after_loading(a_collection, a_model, quick, tmp_path, dense):
    fitted = fit(a_collection, a_model, replace(quick, steps=2, dense=dense))
    path = tmp_path / "c.safetensors"
    save_collection(path, a_collection, fitted)
    again = load_collection(path).fitted(a_model)
    assert again is not None
    embedding = torch.from_numpy(a_collection.slices[0].embedding)[None]
    assert torch.equal(again.logits(embedding), fitted.logits(embedding))
    assert again.settings == fitted.settings and again.classes == fitted.classes
    assert again.record.steps == 2
    assert fit(a_collection, a_model, quick, start=again).record.warm


def test_a_decoder_of_another_model_is_refused(a_case, a_stock_model, a_compact_model, quick, tmp_path):
    collection = new_collection(*a_case, indices=[3], model=a_stock_model, window=Window(0.0, 200.0, "full"))
    save_collection(tmp_path / "c.safetensors", collection, fit(collection, a_stock_model, replace(quick, steps=1)))
    with pytest.raises(ModelError, match="was fitted to"):
        load_collection(tmp_path / "c.safetensors").fitted(a_compact_model)


def test_the_file_says_that_it_holds_image_content(a_collection, tmp_path):
    save_collection(tmp_path / "c.safetensors", a_collection)
    with safe_open(str(tmp_path / "c.safetensors"), "pt") as stream:
        content = json.loads(stream.metadata()["samfinetune_fewshot"])
    assert "treat this file as you treat the images" in content["content"]
    assert set(content) == {"format", "content", "model", "classes", "slices"}


def test_bad_files_are_refused_in_one_sentence(a_collection, tmp_path):
    with pytest.raises(InputError, match="There is no collection"):
        load_collection(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(InputError, match="damaged"):
        load_collection(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="no support collection"):
        load_collection(tmp_path / "other.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "new.safetensors", {"samfinetune_fewshot": '{"format": 99}'})
    with pytest.raises(InputError, match="update SAMFinetune"):
        load_collection(tmp_path / "new.safetensors")
    with pytest.raises(InputError, match="end the name"):
        save_collection(tmp_path / "c.bin", a_collection)
    save_collection(tmp_path / "c.safetensors", a_collection)
    whole = (tmp_path / "c.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        load_collection(tmp_path / "cut.safetensors")
    with pytest.raises(OutputError, match="exists"):
        save_collection(tmp_path / "c.safetensors", a_collection, overwrite=False)
    assert (tmp_path / "c.safetensors").read_bytes() == whole


def test_a_full_disk_leaves_the_collection_that_was_there(a_collection, tmp_path):
    (tmp_path / "c.safetensors").write_text("the earlier one")
    with files_of_at_most(4096), pytest.raises(OutputError, match=r"Cannot write .*c\.safetensors"):
        save_collection(tmp_path / "c.safetensors", a_collection)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the earlier one"]


def test_the_name_of_an_image_may_be_no_text(a_collection, tmp_path):
    name = os.fsdecode(b"\xff \xc3\xa4.nii.gz")  # a stray byte, and a letter that is no ASCII
    slices = tuple(replace(entry, image=name) for entry in a_collection.slices)
    save_collection(tmp_path / "c.safetensors", replace(a_collection, slices=slices))
    assert {entry.image for entry in load_collection(tmp_path / "c.safetensors").collection.slices} == {name}
