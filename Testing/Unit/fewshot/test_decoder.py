import pytest
import torch

from SAMFinetuneLogic.fewshot.decoder import FewShotDecoder


def stock_logits(model, embedding, targets):
    """What the checkpoint's own decoder says with one mask token, typed targets as prompts, no IoU token."""
    network = model.network
    decoder, prompts = network.mask_decoder, network.prompt_encoder
    sparse, dense = prompts(points=None, boxes=None, masks=None)
    typed = getattr(prompts, "target_embedding", None)
    if typed is not None:
        targets = targets + typed(torch.tensor([0, 1]))
    padding = sparse[:, len(targets) :]
    tokens = torch.cat([decoder.mask_tokens.weight[:1], targets])[None]
    tokens = torch.cat([tokens, padding], 1)
    hints = (decoder.hints(embedding, dense),) if hasattr(decoder, "hints") else ()
    pixels = decoder.spread(embedding, dense, *hints) if hints else embedding + dense
    shape = pixels.shape
    hidden, pixels = decoder.transformer(pixels, prompts.get_dense_pe().expand(shape), tokens)
    pixels = pixels.transpose(1, 2).reshape(shape)
    upscaled = decoder.output_upscaling(pixels, embedding, *hints) if hints else decoder.output_upscaling(pixels)
    kernel = decoder.output_hypernetworks_mlps[0](hidden[:, 0])
    return torch.einsum("bc,bchw->bhw", kernel, upscaled)


def test_it_starts_as_the_checkpoints_decoder(a_model):
    torch.manual_seed(0)
    channels, height, width = a_model.embedding_shape
    decoder = FewShotDecoder(a_model.network, 2)
    embedding, targets = torch.randn(1, channels, height, width), torch.randn(2, channels)
    with torch.no_grad():
        expected = stock_logits(a_model, embedding, targets)
        one = FewShotDecoder(a_model.network, 1)(embedding, targets, torch.tensor([0, 1]), None)
        both = decoder(embedding, targets, torch.tensor([0, 1]), None)
    torch.testing.assert_close(one[:, 0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both[:, 0], both[:, 1], rtol=1e-4, atol=1e-5)  # classes differ only once trained
    assert both.shape == (1, 2, 4 * height, 4 * width)


def test_the_checkpoint_is_left_alone_and_the_encoder_has_no_part(a_model):
    before = {name: tensor.clone() for name, tensor in a_model.network.state_dict().items()}
    decoder = FewShotDecoder(a_model.network, 2)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(1.0)
    for name, tensor in a_model.network.state_dict().items():
        torch.testing.assert_close(tensor, before[name])
    assert not any("encoder." in name or "iou" in name for name, _ in decoder.named_parameters())


def test_images_of_a_batch_do_not_mix(a_model):
    torch.manual_seed(0)
    decoder = FewShotDecoder(a_model.network, 2)
    shape = a_model.embedding_shape
    embeddings, targets = torch.randn(3, *shape), torch.randn(4, shape[0])
    kinds, guess = torch.tensor([0, 1, 2, 1]), torch.randn(3, 2, *shape[1:])
    with torch.no_grad():
        together = decoder(embeddings, targets, kinds, guess)
        alone = torch.cat([decoder(embeddings[n : n + 1], targets, kinds, guess[n : n + 1]) for n in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changed", ["targets", "guess"])
def test_targets_and_guess_reach_the_answer_and_have_gradients(a_model, changed):
    torch.manual_seed(0)
    decoder = FewShotDecoder(a_model.network, 1)
    shape = a_model.embedding_shape
    embedding, targets, guess = torch.randn(1, *shape), torch.randn(2, shape[0]), torch.randn(1, 1, *shape[1:])
    kinds = torch.tensor([0, 1])
    first = decoder(embedding, targets, kinds, guess)
    second = decoder(embedding, *((targets + 1, kinds, guess) if changed == "targets" else (targets, kinds, guess + 3)))
    assert float((first - second).detach().abs().max()) > 1e-4
    first.sum().backward()
    for parameter in (decoder.class_tokens, decoder.target_types, *decoder.prompts.mask_downscaling.parameters()):
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0


def test_an_anchored_answer_is_a_correction_of_the_guess(a_model):
    torch.manual_seed(0)
    shape = a_model.embedding_shape
    plain, anchored = FewShotDecoder(a_model.network, 2), FewShotDecoder(a_model.network, 2, anchored=True)
    embeddings, targets, kinds = torch.randn(2, *shape), torch.randn(3, shape[0]), torch.tensor([0, 1, 2])
    guess = torch.randn(2, 2, *shape[1:])
    with torch.no_grad():
        difference = anchored(embeddings, targets, kinds, guess) - plain(embeddings, targets, kinds, guess)
    cells = torch.nn.functional.interpolate(guess, scale_factor=4, mode="bilinear", align_corners=False)
    torch.testing.assert_close(difference, cells, rtol=1e-4, atol=1e-4)


def test_a_hidden_guess_has_no_effect(a_model):
    torch.manual_seed(0)
    shape = a_model.embedding_shape
    decoder = FewShotDecoder(a_model.network, 1, anchored=True)
    embeddings, targets, kinds = torch.randn(2, *shape), torch.randn(2, shape[0]), torch.tensor([0, 1])
    guess = torch.randn(2, 1, *shape[1:])
    with torch.no_grad():
        half = decoder(embeddings, targets, kinds, guess, torch.tensor([True, False]))
        seen, hidden = (decoder(embeddings, targets, kinds, shown) for shown in (guess, None))
    torch.testing.assert_close(half, torch.stack([seen[0], hidden[1]]), rtol=1e-4, atol=1e-5)
