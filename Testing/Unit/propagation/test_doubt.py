"""Expected wrong pixels, in closed form."""

import numpy as np
import pytest

from SAMFinetuneLogic.propagation.doubt import doubt_of
from SAMFinetuneLogic.propagation.fusion import Opinion, network_share
from SAMFinetuneLogic.propagation.levels import Patch


def square(side: int) -> Patch:
    levels = np.full((20, 20), -3.0)
    levels[:side, :side] = 3.0
    return Patch.of(levels, (20, 20))


def test_opinions_that_weigh_more_tell_more_about_the_errors():
    fused = square(10)
    trusted, doubted = Opinion("a", square(11), 0.02 / 1.02), Opinion("b", square(20), 0.18 / 1.18)
    # The errors' odds are 0.02 and 0.18, weights (odds + 0.02) ** -4, their roots 625 and 25; the differences 21 and
    # 300 pixels.
    assert doubt_of([trusted, doubted], fused, []).pixels == pytest.approx((625 * 21 + 25 * 300) / 650)
    assert doubt_of([trusted], fused, []).pixels == 21
    assert doubt_of([], fused, []).pixels == 0


def test_answers_to_moved_prompts_count_by_the_part_of_the_network():
    fused, answers = square(10), [square(10), square(12)]
    shape = Opinion("shape", square(10), 0.02 / 1.02)
    network = Opinion("network", square(10), 0.08 / 1.08, of_network=True)
    share = 0.1**-4 / (0.04**-4 + 0.1**-4)
    assert network_share([shape, network]) == pytest.approx(share)
    assert doubt_of([shape, network], fused, answers).pixels == pytest.approx(0.5 * share * 44)
    assert doubt_of([shape], fused, answers).pixels == 0
    assert doubt_of([network], fused, answers).jitter == pytest.approx(1 - 2 * 100 / 244)
