"""Classes as output channels, against the decoder asked directly."""

import pytest
import torch

from SAMFinetuneLogic.finetuning.adapt import adapt
from SAMFinetuneLogic.finetuning.strategy import Strategy


@pytest.fixture
def embeddings(a_base):
    with torch.no_grad():
        images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
        return a_base.network.image_encoder(images)


def single_masks(network, embeddings):
    """The decoder's single-mask output without prompts, one image at a time."""
    sparse, dense = network.prompt_encoder(points=None, boxes=None, masks=None)
    position = network.prompt_encoder.get_dense_pe()
    return torch.cat(
        [network.mask_decoder.predict_masks(each[None], position, sparse, dense)[0] for each in embeddings]
    )


@torch.no_grad()
def test_classes_start_as_copies_against_a_background_of_zero(a_base, embeddings):
    adapted = adapt(a_base, Strategy.of("lora", background="zero"), "automatic", ("liver", "spleen"))
    logits = adapted.class_logits(embeddings)
    assert logits.shape[:2] == (3, 3)
    assert not logits[:, 0].any()
    # Two equal tokens attend to each other, so that their answer is not quite the single mask's.
    torch.testing.assert_close(logits[:, 1], logits[:, 2], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_all_images_at_once_or_one_by_one(a_base, embeddings):
    adapted = adapt(a_base, Strategy.of("vanilla", background="learned"), "automatic", ("liver", "spleen"))
    generator = torch.Generator().manual_seed(0)
    for parameter in adapted.trainable_state().values():  # each output its own
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    logits = adapted.class_logits(embeddings)
    expected = single_masks(adapted.network, embeddings)
    assert expected.shape[1] == 3, "background and two classes"
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
    assert (logits[:, 0] - logits[:, 1]).abs().max() > 1e-3
