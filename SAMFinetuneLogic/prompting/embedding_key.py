"""What an embedding depends on, as one key."""

import hashlib
import json
from dataclasses import asdict

from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.preprocessing import PREPROCESSING_VERSION
from SAMFinetuneLogic.prompting.cache import EmbeddingKey
from SAMFinetuneLogic.prompting.slice_image import SliceImage


def embedding_key(image: SliceImage, model: LoadedModel) -> EmbeddingKey:
    """The key of an image's embedding by a model's encoder.

    It holds the image's content, axis, index, crop, window and pixel spacing, the preprocessing with its version,
    and the model's ``encoder_key``: the encoder's weights, adapters and precision. The decoder is no part of it:
    after decoder-only training the embeddings stay valid.
    """
    content = {
        "pixels": image.content_hash,
        "axis": image.slice.axis,
        "index": image.slice.index,
        "crop": None if image.crop is None else asdict(image.crop),
        "window": [image.window.lower, image.window.upper],
        "spacing": list(image.spacing),
        "preprocessing": asdict(model.preprocessing),
        "version": PREPROCESSING_VERSION,
        "encoder": model.encoder_key,
    }
    return EmbeddingKey(hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest())
