"""Against segment_anything's own transforms, closed forms, and round trips."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from SAMFinetuneLogic.errors import GeometryError
from SAMFinetuneLogic.models.preprocessing import Preprocessing, SliceTransform
from SAMFinetuneLogic.models.preprocessing_rule import SAM_PREPROCESSING
from SAMFinetuneLogic.models.torch_compat import import_segment_anything

MEDSAM = Preprocessing("minmax", "squash", 1024, resampling="bicubic")
LITE = Preprocessing("minmax", "longest_pad", 256, resampling="area")
SHAPES = [(512, 512), (173, 91), (300, 1031), (40, 64), (1500, 1201)]


def an_image(shape, colour=False, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 7, 3) if colour else (9, 7)).astype(np.uint8)
    rows = np.arange(shape[0]) * 9 // shape[0]
    cols = np.arange(shape[1]) * 7 // shape[1]
    noise = rng.integers(0, 30, (*shape, 3) if colour else shape)
    return np.clip(coarse[rows][:, cols].astype(int) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def stock():
    """A stock Sam whose only purpose is its preprocessing for 1024 pixels."""
    import_segment_anything()
    from segment_anything.modeling import ImageEncoderViT, Sam

    encoder = ImageEncoderViT(img_size=1024, embed_dim=8, depth=0, num_heads=1)
    return Sam(encoder, None, None, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", [False, True])
def test_prepares_as_sam(stock, shape, colour):
    from segment_anything.utils.transforms import ResizeLongestSide

    image = an_image(shape, colour)
    rgb = image if colour else np.repeat(image[..., None], 3, axis=2)
    resized = ResizeLongestSide(1024).apply_image(rgb)
    expected = stock.preprocess(torch.as_tensor(resized).permute(2, 0, 1)[None].float())[0]
    transform = SliceTransform(shape, (0.7, 0.7), SAM_PREPROCESSING)
    actual = transform.prepare(image)
    assert actual.dtype == torch.float32 and actual.shape == (3, 1024, 1024)
    assert transform.content_shape == resized.shape[:2]
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_coordinates_as_sam(stock, shape):
    from segment_anything.utils.transforms import ResizeLongestSide

    reference = ResizeLongestSide(1024)
    transform = SliceTransform(shape, (1.0, 1.0), SAM_PREPROCESSING)
    points = np.random.default_rng(1).uniform(0, shape, (20, 2))
    expected = reference.apply_coords(points[:, ::-1], shape)
    np.testing.assert_allclose(transform.points_to_input(points), expected, rtol=1e-12)
    boxes = points.reshape(-1, 4)
    expected_boxes = reference.apply_boxes(boxes[:, [1, 0, 3, 2]], shape)
    np.testing.assert_allclose(transform.boxes_to_input(boxes), expected_boxes, rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_come_back_as_in_sam(stock, shape):
    transform = SliceTransform(shape, (1.0, 1.0), SAM_PREPROCESSING)
    low_res = torch.randn(2, 3, 256, 256)
    expected = stock.postprocess_masks(low_res, transform.content_shape, shape)
    torch.testing.assert_close(transform.logits_to_slice(low_res), expected)
    torch.testing.assert_close(transform.logits_to_slice(low_res[0, 0]), expected[0, 0])


def test_medsam_squashes_and_stretches_to_unit_range():
    image = an_image((120, 300))
    transform = SliceTransform((120, 300), (1.0, 1.0), MEDSAM)
    tensor = transform.prepare(image)
    assert tensor.shape == (3, 1024, 1024)
    assert tensor.min() == 0 and tensor.max() == 1
    # MedSAM: box scaled by [1024 / W, 1024 / H]
    np.testing.assert_allclose(transform.boxes_to_input(np.array([[12, 30, 60, 150]])), [[102.4, 102.4, 512, 512]])
    skimage = pytest.importorskip("skimage.transform", reason="needs scikit-image")
    resized = skimage.resize(image, (1024, 1024), order=3, preserve_range=True, anti_aliasing=True).astype(np.uint8)
    expected = (resized - resized.min()) / np.clip(resized.max() - resized.min(), 1e-8, None)
    assert np.abs(tensor[0].numpy() - expected).mean() < 0.01


def test_litemedsam_normalises_before_padding():
    image = an_image((512, 384)) // 2 + 100  # no zeros: padding must not become the minimum of the range
    transform = SliceTransform((512, 384), (1.0, 1.0), LITE)
    tensor = transform.prepare(image)
    assert transform.content_shape == (256, 192)
    content = tensor[:, :, :192]
    assert content.min() == 0 and content.max() == 1
    assert (tensor[:, :, 192:] == 0).all()
    blocks = image.reshape(256, 2, 192, 2).mean(axis=(1, 3))  # area interpolation of a whole factor
    blocks = np.floor(blocks + 0.5)
    expected = (blocks - blocks.min()) / (blocks.max() - blocks.min())
    difference = np.abs(content[0].numpy() - expected) * (blocks.max() - blocks.min())
    assert difference.max() < 1.5 and difference.mean() < 0.5  # grey levels: halves may be rounded either way


@pytest.mark.parametrize("preprocessing", [SAM_PREPROCESSING, MEDSAM, LITE])
def test_a_constant_slice_gives_finite_input(preprocessing):
    tensor = SliceTransform((30, 40), (1, 1), preprocessing).prepare(np.full((30, 40), 7, np.uint8))
    assert torch.isfinite(tensor).all()


def test_anisotropic_pixels_get_their_physical_aspect():
    # 100 rows of 3 mm by 200 columns of 1 mm: 300 x 200 mm
    transform = SliceTransform((100, 200), (3.0, 1.0), SAM_PREPROCESSING)
    assert transform.content_shape == (1024, 683)
    assert transform.scale == (10.24, 683 / 200)
    np.testing.assert_allclose(transform.points_to_input(np.array([[50, 100]])), [[100 * 683 / 200, 512]])
    # a ramp along the rows keeps its direction and its range
    ramp = np.repeat(np.linspace(0, 255, 100).astype(np.uint8)[:, None], 200, axis=1)
    column = transform.prepare(ramp)[0, :, 0]
    assert column.diff().min() >= 0
    # a disc in physical space becomes a disc in the input
    row, col = np.mgrid[:100, :200]
    disc = (((row - 50) * 3.0) ** 2 + (col - 100) ** 2 < 60**2).astype(np.uint8) * 255
    inside = transform.prepare(disc)[0] > 0
    rows, cols = torch.where(inside[:, :683])
    assert abs((rows.max() - rows.min()) - (cols.max() - cols.min())) <= 12


def test_header_noise_in_the_spacing_changes_nothing():
    exact = SliceTransform((300, 301), (0.5, 0.5), SAM_PREPROCESSING)
    noisy = SliceTransform((300, 301), (0.5, 0.50001), SAM_PREPROCESSING)
    assert exact.content_shape == noisy.content_shape


@pytest.mark.parametrize("coordinates", ["sam", "centre"])
def test_points_land_on_the_content_that_they_mark(coordinates):
    """Within half a slice pixel: the conventions differ by less than that."""
    rule = Preprocessing("sam", "longest_pad", 128, coordinates)
    transform = SliceTransform((32, 20), (1.0, 1.0), rule)
    image = np.zeros((32, 20), np.uint8)
    image[21, 13] = 255
    blob = transform.prepare(image)[0]
    blob = (blob - blob[0, 0]).clamp(min=0)[: transform.content_shape[0], : transform.content_shape[1]]
    row = (blob.sum(1) * torch.arange(blob.shape[0])).sum() / blob.sum()
    col = (blob.sum(0) * torch.arange(blob.shape[1])).sum() / blob.sum()
    (x, y) = transform.points_to_input(np.array([[21, 13]]))[0]
    tolerance = 0.05 if coordinates == "centre" else 2.0
    assert abs(x - col) < tolerance and abs(y - row) < tolerance


@settings(max_examples=25, deadline=None)
@given(
    st.integers(24, 300),
    st.integers(24, 300),
    st.floats(0.4, 2.5),
    st.sampled_from([(SAM_PREPROCESSING, 256), (MEDSAM, 256), (Preprocessing("sam", "longest_pad", 128), 128)]),
)
def test_a_mask_survives_the_way_there_and_back(rows, cols, aspect, model):
    preprocessing, side = model
    row, col = np.mgrid[:rows, :cols]
    mask = ((row / rows - 0.5) / 0.35) ** 2 + ((col / cols - 0.45) / 0.3) ** 2 < 1
    transform = SliceTransform((rows, cols), (aspect, 1.0), preprocessing)
    prompt = transform.mask_to_prompt(mask, (side, side))
    assert prompt.shape == (1, side, side) and prompt.dtype == torch.float32
    assert prompt.abs().max() <= 7.0
    back = (transform.logits_to_slice(prompt)[0] > 0).numpy()
    assert (back & mask).sum() / (back | mask).sum() > 0.9


def test_logits_are_taken_as_logits():
    transform = SliceTransform((256, 256), (1, 1), SAM_PREPROCESSING)
    logits = torch.full((256, 256), -2.0)
    logits[50:200, 50:200] = 3.0
    prompt = transform.mask_to_prompt(logits, (256, 256))[0]
    torch.testing.assert_close(prompt[100:150, 100:150], torch.full((50, 50), 3.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(prompt[:20, :20], torch.full((20, 20), -2.0), atol=1e-3, rtol=0)


def test_wrong_input_is_refused():
    transform = SliceTransform((10, 12), (1, 1), SAM_PREPROCESSING)
    with pytest.raises(GeometryError, match="uint8"):
        transform.prepare(np.zeros((10, 12), np.float32))
    with pytest.raises(GeometryError, match="shape"):
        transform.prepare(np.zeros((12, 10), np.uint8))
    with pytest.raises(GeometryError, match="mask"):
        transform.mask_to_prompt(np.zeros((3, 3), bool), (256, 256))
    with pytest.raises(GeometryError, match="spacing"):
        SliceTransform((10, 12), (0.0, 1.0), SAM_PREPROCESSING)
