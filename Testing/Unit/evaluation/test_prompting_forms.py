import numpy as np
import pytest
import torch
from small_models import loaded, small_compact_sam, small_stock_sam

from SAMFinetuneLogic.errors import InputError
from SAMFinetuneLogic.evaluation.manifest import read_manifest
from SAMFinetuneLogic.evaluation.prompting_forms import copied_example, open_pooled, open_tokens
from SAMFinetuneLogic.evaluation.protocols import RunContext, Settings
from SAMFinetuneLogic.evaluation.protocols.base import COPIED_EXAMPLE, MODEL, POOLED_MODEL, TOKENS_MODEL
from SAMFinetuneLogic.evaluation.protocols.box import BoxProtocol
from SAMFinetuneLogic.evaluation.protocols.points import PointsProtocol
from SAMFinetuneLogic.evaluation.segmenter import ModelSegmenter
from SAMFinetuneLogic.evaluation.targets import case_targets
from SAMFinetuneLogic.metrics import Click, dice


@pytest.fixture
def a_target(a_manifest_file):
    """A ball with another slice as example."""
    return case_targets(read_manifest(a_manifest_file).cases[0])[0]


@pytest.fixture
def a_model_segmenter():
    return ModelSegmenter(loaded(small_compact_sam(), single_mask_first=True))


def test_tokens_alone_leave_the_dense_embedding_without_prompts(a_model_segmenter, a_target):
    """Against the network's own parts, called by hand."""
    predictor = a_model_segmenter.predictor
    network = predictor.model.network
    encoder = network.prompt_encoder
    embedded = predictor.embed(a_target.slice_image)
    coords = torch.tensor(embedded.transform.points_to_input(np.array([[18.0, 20.0]])), dtype=torch.float32)[None]
    with torch.inference_mode():
        padded = torch.cat([coords, torch.zeros(1, 7, 2)], 1), torch.tensor([[1.0, *[-1.0] * 7]])
        size = encoder.input_image_size
        logits, _ = network.mask_decoder.predict_masks(
            image_embeddings=embedded.embedding,
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=encoder.embed_tokens(*padded),
            dense_prompt_embeddings=encoder.embed_maps(torch.zeros(1, 5, *size)),
        )
    drawn = a_model_segmenter.open(a_target).predict([Click(18, 20)])

    answer = open_tokens(a_model_segmenter, a_target).predict([Click(18, 20)], feedback=drawn.mask_logits)

    np.testing.assert_allclose(answer.logits[0], logits[0, 0].numpy(), atol=1e-5)
    assert not np.allclose(answer.logits[0], drawn.logits[0], atol=1e-3)
    assert encoder.draw_prompts, "switched on again"
    np.testing.assert_allclose(
        a_model_segmenter.open(a_target).predict([Click(18, 20)]).logits, drawn.logits, atol=1e-5
    )


def test_the_example_is_pooled_over_its_mask(a_model_segmenter, a_target):
    """Against sums over the embedding's cells, with the mask brought to them by hand."""
    predictor = a_model_segmenter.predictor
    network = predictor.model.network
    encoder, example = network.prompt_encoder, a_target.example
    features = predictor.embed(example.slice_image).embedding[0]
    transform = predictor.embed(example.slice_image).transform
    rows, cols = transform.content_shape
    resized = torch.nn.functional.interpolate(
        torch.tensor(example.mask).float()[None, None], (rows, cols), mode="bilinear", antialias=True
    )
    size = transform.preprocessing.size
    full = torch.zeros(2, size, size)
    full[0, :rows, :cols], full[1, :rows, :cols] = resized[0, 0], 1 - resized[0, 0]
    cells = torch.nn.functional.adaptive_avg_pool2d(full, features.shape[-2:])
    pooled = torch.stack([(features * w).sum((1, 2)) / w.sum() for w in cells])[None]
    target = predictor.embed(a_target.slice_image)
    with torch.inference_mode():
        blank = encoder.embed_tokens(torch.zeros(1, 6, 2), torch.full((1, 6), -1.0))
        tokens = torch.cat([blank, encoder.embed_targets(pooled, torch.tensor([[1, 0]]))], 1)
        logits, _ = network.mask_decoder.predict_masks(
            image_embeddings=target.embedding,
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=tokens,
            dense_prompt_embeddings=encoder.embed_maps(torch.zeros(1, 5, size, size)),
        )

    answer = open_pooled(a_model_segmenter, a_target).predict()

    assert answer.count == 1
    np.testing.assert_allclose(answer.logits[0], logits[0, 0].numpy(), atol=1e-4)


def test_clicks_correct_what_the_example_gave(a_model_segmenter, a_target):
    opened = open_pooled(a_model_segmenter, a_target)

    first = opened.predict()
    second = opened.predict([Click(18, 20)], feedback=first.mask_logits)
    many = opened.predict([Click(18, 20)] * 9)

    assert not np.allclose(first.logits, second.logits, atol=1e-3)
    assert second.slice_logits.shape == many.slice_logits.shape == (1, *a_target.mask.shape)


@pytest.mark.parametrize(("protocol", "metric"), [(PointsProtocol(), "dice_1"), (BoxProtocol(), "dice")])
def test_each_form_has_its_row(a_model_segmenter, a_target, protocol, metric):
    context = RunContext(Settings(baselines=False, prompting=("tokens", "pooled")), a_model_segmenter)

    scores = protocol.evaluate_target(a_target, context).scores

    assert list(scores) == [MODEL, TOKENS_MODEL, POOLED_MODEL, COPIED_EXAMPLE]
    assert scores[COPIED_EXAMPLE][metric] == dice(a_target.mask, a_target.example.mask)
    assert set(scores[TOKENS_MODEL]) == set(scores[MODEL])
    assert scores[POOLED_MODEL][metric] == dice(a_target.mask, open_pooled(a_model_segmenter, a_target).predict().mask)


def test_a_structure_without_an_example_is_left_out(a_model_segmenter, a_manifest_file):
    target = case_targets(read_manifest(a_manifest_file).cases[2])[0]  # a single picture
    context = RunContext(Settings(baselines=False, prompting=("pooled",)), a_model_segmenter)

    assert target.example is None and copied_example(target) is None
    assert list(BoxProtocol().evaluate_target(target, context).scores) == [MODEL]


def test_a_model_that_reads_no_examples_says_so(a_segmenter, a_target):
    stock = ModelSegmenter(loaded(small_stock_sam()))

    with pytest.raises(InputError, match="leave 'pooled' out"):
        open_pooled(stock, a_target)
    with pytest.raises(InputError, match="loaded model"):
        open_tokens(a_segmenter, a_target)
    # SAM's clicks are tokens alone as they are.
    answer = open_tokens(stock, a_target).predict([Click(18, 20)])
    assert answer.slice_logits.shape[1:] == a_target.mask.shape
