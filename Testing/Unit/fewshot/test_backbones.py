"""The catalogue's architectures at full size with random weights; ViT-B to ViT-H differ in size from the small one."""

import pytest
import torch
from small_models import loaded

from SAMFinetuneLogic.fewshot.application import apply_to_volume
from SAMFinetuneLogic.fewshot.fitting import fit
from SAMFinetuneLogic.fewshot.labelling import new_collection
from SAMFinetuneLogic.fewshot.settings import FitSettings
from SAMFinetuneLogic.fewshot.training_free import TrainingFreeModel
from SAMFinetuneLogic.models.catalogue import find_entry, load_catalogue
from SAMFinetuneLogic.models.networks import build_network


def test_no_other_architecture_is_in_the_catalogue():
    backbones = {entry.backbone for entry in load_catalogue().values()}
    assert backbones == {"compact", "vit_b", "vit_l", "vit_h", "vit_t", "vit_t_256"}


@pytest.mark.slow
@pytest.mark.parametrize("model_id", ["mobilesam_vit_t", "litemedsam_vit_t"])
def test_a_collection_is_learned_and_applied(a_case, model_id):
    torch.manual_seed(0)
    entry = find_entry(model_id)
    network = build_network(entry.backbone).eval().requires_grad_(False)
    changes = {name: getattr(entry, name) for name in ("backbone", "preprocessing", "prompts", "multimask")}
    model = loaded(network, **changes)
    collection = new_collection(*a_case, indices=[3], model=model)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    fitted = fit(collection, model, FitSettings(augmentations=0, steps=2, batch=1))

    for taught in (fitted, TrainingFreeModel.of(collection, model)):
        found = apply_to_volume(taught, a_case[0], model, indices=[3])
        assert {entry.value for entry in found.slices} == {1, 4}
    changed = [
        name
        for name, tensor in network.mask_decoder.state_dict().items()
        if name.startswith("transformer.") and not torch.equal(tensor, fitted.decoder.state_dict()[name])
    ]
    assert changed, "the decoder is trained,"
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), f"the model is not: {name}"
