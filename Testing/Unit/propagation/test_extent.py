import numpy as np
import pytest

from SAMFinetuneLogic.errors import GeometryError
from SAMFinetuneLogic.imaging.labels import LabelMap
from SAMFinetuneLogic.imaging.volume import Volume
from SAMFinetuneLogic.propagation.annotations import Annotations
from SAMFinetuneLogic.propagation.extent import extent_of


def annotated(
    *indices: int, count: int = 60, radius: float = 10.0, step: float = 1.0, empty: tuple[int, ...] = ()
) -> Annotations:
    """A disc of ``radius`` mm on some slices of a volume with ``count`` of them; others annotated as ``empty``."""
    rows, cols = np.mgrid[:40, :40]
    voxels = np.zeros((count, 40, 40), dtype=np.uint8)
    voxels[list(indices)] = (rows - 20) ** 2 + (cols - 20) ** 2 <= radius**2
    affine = np.diag([1.0, 1.0, step, 1.0])
    volume = Volume(np.zeros(voxels.shape, np.int16), affine)
    return Annotations.of(volume, LabelMap(voxels, affine), "k", sorted((*indices, *empty)))


@pytest.mark.parametrize("count", [3, 5, 9])
@pytest.mark.parametrize("spread", [18, 36])
def test_equally_spaced_slices_tell_where_the_structure_ends(count, spread):
    # Drawn as by who divides a structure on slices 10 to 10 + spread into equal parts, flat or not.
    drawn = np.linspace(10, 10 + spread, count + 2)[1:-1].round().astype(int)
    extent = extent_of(annotated(*drawn), 1)

    assert abs(extent.first - 10) <= 1
    assert abs(extent.last - (10 + spread)) <= 1
    assert not extent.first_known
    assert not extent.last_known


@pytest.mark.parametrize("indices", [(30,), (29, 30, 31)])
def test_slices_that_lie_close_together_are_continued_a_little_further_than_a_ball(indices):
    extent = extent_of(annotated(*indices, step=2.0), 1)

    assert extent.below == indices[0] - 7  # 1.4 times 10 mm in steps of 2 mm
    assert extent.above == indices[-1] + 7


def test_a_thin_structure_on_a_thick_slice_is_continued_all_the_same():
    extent = extent_of(annotated(30, radius=3.0, step=8.0), 1)  # 1.4 times 3 mm is half a slice

    assert (extent.below, extent.above) == (27, 33)
    # Several slices tell more: it ends one gap further on.
    extent = extent_of(annotated(28, 30, 32, radius=3.0, step=8.0), 1)
    assert (extent.below, extent.above) == (25, 35)


def test_the_volume_cuts_off_what_would_end_beyond_it():
    extent = extent_of(annotated(4, 12, 20, count=24), 1)

    assert (extent.first, extent.last) == (0, 23)
    assert extent.below is None
    assert extent.above is None


def test_an_end_is_known_where_the_user_gave_it_and_the_volume_goes_on():
    drawn = annotated(20, 30)

    assert extent_of(drawn, 1, first=12, last=40).known_ends([20, 30]) == [11, 41]
    assert extent_of(drawn, 1, last=40).known_ends([20, 30]) == [41]
    assert extent_of(drawn, 1, first=0, last=59).known_ends([20, 30]) == []
    assert extent_of(drawn, 1).known_ends([20, 30]) == []
    # What is drawn beyond the given range says that the range is not where it ends.
    assert extent_of(drawn, 1, first=25, last=40).known_ends([20, 30]) == [41]


def test_the_users_range_counts_and_what_is_drawn_is_there():
    extent = extent_of(annotated(20, 30), 1, first=25, last=40)

    assert (extent.first, extent.last) == (20, 40)
    assert extent.first_known
    assert extent.above == 41
    with pytest.raises(GeometryError, match="--from"):
        extent_of(annotated(20), 1, last=60)


def test_a_slice_annotated_as_empty_bounds_the_structure():
    free = extent_of(annotated(20, 30, 40), 1)
    assert free.first < 18 and free.last > 42
    bounded = extent_of(annotated(20, 30, 40, empty=(3, 17, 42, 55)), 1)
    assert (bounded.first, bounded.last) == (18, 41)
    assert (bounded.below, bounded.above) == (17, 42)
    # An empty slice far away says less than the spacing of the drawn ones, and the user's range says more.
    assert extent_of(annotated(20, 30, 40, empty=(0, 59)), 1) == free
    assert extent_of(annotated(20, 30, 40, empty=(17,)), 1, first=15).first == 15
