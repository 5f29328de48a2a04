"""Training material: who asks, and who answers."""

from dataclasses import replace

import pytest
import torch

from SAMFinetuneLogic.fewshot.episodes import EpisodeSource
from SAMFinetuneLogic.fewshot.labelling import new_collection
from SAMFinetuneLogic.fewshot.targets import pool_targets
from SAMFinetuneLogic.fewshot.views import encode_views
from SAMFinetuneLogic.imaging.windows import Window

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def settings(quick):
    return replace(quick, dense="none", targets="slices", batch=3, augmentations=2)


@pytest.fixture(scope="module")
def views(a_case, a_compact_model, settings):
    collection = new_collection(*a_case, indices=[1, 2, 4, 5], model=a_compact_model, window=Window(0.0, 200.0, "full"))
    return encode_views(collection, a_compact_model, settings)


def sources_of(tensors, views) -> list[int]:
    """The slice that each embedding is a view of."""
    return [
        next(n for n, entry in enumerate(views) if any(torch.equal(view.embedding.float(), t) for view in entry))
        for t in tensors
    ]


def test_random_slices_in_random_number_answer_for_others(views, settings):
    """Each view that answers gives its own target embeddings, so that the support set shows in them."""
    source, sizes, asked, supporting = EpisodeSource(views, settings, CPU), set(), set(), set()
    pooled = {
        (n, v): pool_targets([view.embedding], [view.grids.coarse], "slices").vectors
        for n, entry in enumerate(views)
        for v, view in enumerate(entry)
    }
    for _ in range(60):
        episode = source.draw()
        support = {
            (n, v)
            for (n, v), vectors in pooled.items()
            if all((episode.targets.vectors == vector).all(1).any() for vector in vectors)
        }
        queried = set(sources_of(episode.embeddings, views))
        assert support and not queried & {n for n, _ in support}
        assert episode.embeddings.shape[0] == episode.fractions.shape[0] == settings.batch
        sizes.add(len(support))
        asked |= queried
        supporting |= support

    assert sizes == {1, 2, 3}
    assert asked == {0, 1, 2, 3}
    assert supporting == set(pooled), "copies answer too"


def test_the_seed_decides(views, settings):
    first, same = (EpisodeSource(views, settings, CPU).draw() for _ in range(2))
    assert torch.equal(first.embeddings, same.embeddings) and torch.equal(first.targets.vectors, same.targets.vectors)


def test_a_single_slice_answers_for_its_copies(views, settings):
    episode = EpisodeSource(views[:1], settings, CPU).draw()
    assert set(sources_of(episode.embeddings, views)) == {0}
    assert len(episode.targets.vectors)


def test_some_queries_are_not_shown_their_first_guess(views, settings):
    source = EpisodeSource(views, replace(settings, dense="classifier", blind=0.5), CPU)
    shown = torch.cat([source.draw().guessed for _ in range(40)]).float().mean()
    assert 0.3 < float(shown) < 0.7
    assert EpisodeSource(views, replace(settings, dense="classifier"), CPU).draw().guessed is None
