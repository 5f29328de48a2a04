"""The compact default model: SAM's interface, the fast attention against SAM's own, the drawn prompts."""

import pytest
import torch

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.models.compact import COMPACT_CONFIG, build_compact_sam, is_compact, resized
from SAMFinetuneLogic.models.compact_decoder import PromptSimilarity, TokenAttention
from SAMFinetuneLogic.models.compact_encoder import gray_pixels
from SAMFinetuneLogic.models.compact_prompt import drawn_prompts
from SAMFinetuneLogic.models.torch_compat import import_segment_anything

import_segment_anything()
from segment_anything.modeling.transformer import Attention  # noqa: E402

SIZE = 64


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    sam = build_compact_sam({**COMPACT_CONFIG, "size": SIZE}).eval()
    with torch.no_grad():
        for parameter in sam.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
    return sam


@pytest.mark.parametrize(("queries", "keys"), [(7, 60), (60, 7), (9, 9)])
@pytest.mark.parametrize("downsample", [1, 2])
def test_token_attention_equals_sams_attention(queries, keys, downsample):
    torch.manual_seed(1)
    reference = Attention(32, 4, downsample_rate=downsample)
    fast = TokenAttention(32, 4, downsample_rate=downsample)
    fast.load_state_dict(reference.state_dict())
    q, k, v = torch.randn(3, queries, 32), torch.randn(3, keys, 32), torch.randn(3, keys, 32)
    torch.testing.assert_close(fast(q, k, v), reference(q, k, v), atol=1e-5, rtol=1e-5)


def test_the_released_shape_fits_its_budget():
    count = sum(parameter.numel() for parameter in build_compact_sam(COMPACT_CONFIG).parameters())
    assert 2 * count < 20_000_000


@pytest.mark.parametrize("size", [64, 96])
def test_embeddings_have_stride_four(network, size):
    embedding = network.image_encoder(torch.randn(2, 3, size, size))
    assert embedding.shape == (2, COMPACT_CONFIG["embed_dim"], size // 4, size // 4)


def test_the_embedding_carries_the_gray_input(network):
    image = torch.randn(2, 3, SIZE, SIZE)
    torch.testing.assert_close(gray_pixels(network.image_encoder(image)), image.mean(1, keepdim=True))


def test_the_dense_embedding_carries_the_drawn_prompts(network):
    maps = torch.rand(2, 5, SIZE, SIZE)
    expected = maps.reshape(2, 5, SIZE // 2, 2, SIZE // 2, 2).mean((3, 5))
    torch.testing.assert_close(drawn_prompts(network.prompt_encoder.embed_maps(maps)), expected)


def test_decoding_many_prompts_of_one_image_equals_decoding_them_singly(network):
    torch.manual_seed(2)
    embedding = network.image_encoder(torch.randn(1, 3, SIZE, SIZE))
    coords, labels = torch.rand(3, 2, 2) * SIZE, torch.tensor([[1.0, 0.0], [1.0, -1.0], [1.0, 1.0]])
    position = network.prompt_encoder.get_dense_pe()
    together = network.mask_decoder(embedding, position, *network.prompt_encoder((coords, labels), None, None), True)
    assert together[0].shape == (3, 3, SIZE, SIZE)
    for n in range(3):
        prompt = network.prompt_encoder((coords[n : n + 1], labels[n : n + 1]), None, None)
        alone = network.mask_decoder(embedding, position, *prompt, True)
        torch.testing.assert_close(alone[0][0], together[0][n], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(alone[1][0], together[1][n], atol=1e-4, rtol=1e-4)


def test_a_box_may_come_as_a_box_or_as_labelled_corners(network):
    box = torch.tensor([[10.0, 12.0, 40.0, 33.0]])
    as_corners = network.prompt_encoder((box.reshape(1, 2, 2), torch.tensor([[2.0, 3.0]])), None, None)
    as_box = network.prompt_encoder(None, box, None)
    for one, other in zip(as_corners, as_box, strict=True):
        torch.testing.assert_close(one, other)


def test_the_number_of_tokens_does_not_depend_on_the_prompts(network):
    point = (torch.tensor([[[5.0, 6.0]]]), torch.tensor([[1.0]]))
    counts = {
        network.prompt_encoder(point, None, None)[0].shape[1],
        network.prompt_encoder(point, torch.tensor([[1.0, 2.0, 3.0, 4.0]]), None)[0].shape[1],
        network.prompt_encoder(None, None, torch.zeros(1, 1, SIZE, SIZE))[0].shape[1],
    }
    assert counts == {network.prompt_encoder.TOKEN_SLOTS}


def test_tokens_are_those_of_sams_prompt_encoder(network):
    """On the same weights, SAM's own point embedding gives the same tokens."""
    encoder = network.prompt_encoder
    coords, labels = torch.rand(2, 3, 2) * SIZE, torch.tensor([[1.0, 0.0, -1.0], [0.0, 1.0, 1.0]])
    expected = encoder._embed_points(coords, labels, pad=False)
    torch.testing.assert_close(encoder.embed_tokens(coords, labels), expected)


def test_drawn_prompts_lie_where_they_were_given(network):
    coords = torch.tensor([[[20.0, 7.0], [50.0, 40.0], [8.0, 9.0], [15.0, 30.0]]])
    maps = network.prompt_encoder.draw(coords, torch.tensor([[1.0, 0.0, 2.0, 3.0]]), None)[0]
    assert divmod(int(maps[0].argmax()), SIZE) == (7, 20)
    assert divmod(int(maps[1].argmax()), SIZE) == (40, 50)
    expected = torch.zeros(SIZE, SIZE)
    expected[9:31, 8:16] = 1
    torch.testing.assert_close(maps[2], expected)
    assert not maps[3:].any()


def test_without_drawing_the_dense_embedding_tells_nothing_of_the_clicks(network):
    encoder = network.prompt_encoder
    prompts = [(torch.tensor([[[x, 9.0]]]), torch.tensor([[1.0]])) for x in (5.0, 50.0)]
    assert not torch.equal(encoder(prompts[0], None, None)[1], encoder(prompts[1], None, None)[1])
    encoder.draw_prompts = False
    try:
        assert torch.equal(encoder(prompts[0], None, None)[1], encoder(prompts[1], None, None)[1])
        assert not torch.equal(encoder(prompts[0], None, None)[0], encoder(prompts[1], None, None)[0])
    finally:
        encoder.draw_prompts = True


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**COMPACT_CONFIG, "architecture": 99}, "version 99"),
        ({"architecture": COMPACT_CONFIG["architecture"]}, "lacks"),
        ({**COMPACT_CONFIG, "size": 100}, "multiple of 16"),
    ],
)
def test_a_wrong_configuration_is_named(config, message):
    with pytest.raises(ModelError, match=message):
        build_compact_sam(config)


def test_similarity_compares_every_position_with_the_prompted_ones():
    """Against a plain loop over positions."""
    torch.manual_seed(3)
    compare = PromptSimilarity(12, 8).requires_grad_(False)
    embedding, drawn = torch.randn(2, 12, 6, 6), torch.zeros(2, 5, 6, 6)
    drawn[0, 0, 2, 3], drawn[0, 1, 5, 0], drawn[1, 0, 1, 1] = 1.0, 0.5, 1.0
    drawn[1, 0, 4, 4] = 1.0
    maps = compare(embedding, drawn)
    assert maps.shape == (2, PromptSimilarity.MAPS, 6, 6)
    features = torch.nn.functional.normalize(compare.project(embedding), dim=1)
    mean = features[1, :, 1, 1] + features[1, :, 4, 4]
    for row in range(6):
        for col in range(6):
            here = features[:, :, row, col]
            assert maps[0, 0, row, col] == pytest.approx(float(here[0] @ features[0, :, 2, 3]), abs=1e-5)
            assert maps[0, 1, row, col] == pytest.approx(float(here[0] @ features[0, :, 5, 0]), abs=1e-5)
            assert maps[1, 0, row, col] == pytest.approx(float(here[1] @ mean / mean.norm()), abs=1e-5)
    assert not maps[1, 1:6].any(), "absent prompts resemble nothing"


def answer(sam, size):
    """Embedding and logits for a click, a box and an earlier mask on a fixed image of ``size`` pixels a side."""
    axis = torch.linspace(-1, 1, size)
    image = torch.exp(-4 * (axis[:, None] ** 2 + (axis - 0.3) ** 2)).expand(1, 3, size, size)
    points = (torch.tensor([[[0.5 * size, 0.4 * size]]]), torch.ones(1, 1))
    boxes = torch.tensor([[0.2 * size, 0.1 * size, 0.8 * size, 0.7 * size]])
    with torch.inference_mode():
        embedding = sam.image_encoder(image)
        sparse, dense = sam.prompt_encoder(points, boxes, 4 * image[:, :1] - 1)
        masks, _ = sam.mask_decoder.predict_masks(embedding, sam.prompt_encoder.get_dense_pe(), sparse, dense)
    return embedding, masks


def test_a_resized_network_is_the_one_built_for_that_size_and_shares_the_weights(network):
    expected = build_compact_sam({**COMPACT_CONFIG, "size": 96}).eval()
    expected.load_state_dict(network.state_dict())
    before = answer(network, SIZE)
    finer = resized(network, 96)
    for found, wanted in zip(answer(finer, 96), answer(expected, 96), strict=True):
        torch.testing.assert_close(found, wanted)
    for found, wanted in zip(answer(network, SIZE), before, strict=True):
        assert torch.equal(found, wanted)
    assert finer.image_encoder.img_size == 96 and network.image_encoder.img_size == SIZE
    assert {id(parameter) for parameter in finer.parameters()} == {id(parameter) for parameter in network.parameters()}
    assert is_compact(finer)
