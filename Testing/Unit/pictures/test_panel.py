"""Panels: aspect, contours and marks where they belong."""

import numpy as np
import pytest
from PIL import Image

from SAMFinetuneLogic.errors import OutputError
from SAMFinetuneLogic.pictures.orientation import display_of
from SAMFinetuneLogic.pictures.panel import Marks, Overlay, Panel, render_panel
from SAMFinetuneLogic.pictures.sheet import LegendEntry, render_sheet, save_picture

UPRIGHT = display_of(np.diag([-1.0, -1.0, 1.0, 1.0]), "k")
GREEN = (0.0, 1.0, 0.0)


def a_panel(**changes) -> Panel:
    settings = {"pixels": np.full((20, 40), 100, np.uint8), "spacing": (1.0, 1.0), "display": UPRIGHT} | changes
    return Panel(**settings)


@pytest.mark.parametrize(("spacing", "size"), [((1, 1), (400, 200)), ((2, 1), (400, 400)), ((4, 1), (200, 400))])
def test_anisotropic_pixels_are_drawn_at_their_physical_aspect(spacing, size):
    assert render_panel(a_panel(spacing=spacing), 400).size == size


def test_a_contour_encloses_its_mask_and_tints_it():
    mask = np.zeros((20, 40), bool)
    mask[5:15, 10:30] = True
    shown = np.asarray(render_panel(a_panel(overlays=(Overlay(mask, GREEN),)), 400)).astype(int)
    greenness = shown[..., 1] - shown[..., 0]
    rows, cols = np.nonzero(greenness > 200)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (50, 149, 100, 299)
    assert 20 < greenness[100, 200] < 100
    assert greenness[30, 200] == 0


def test_the_truth_is_a_white_line():
    truth = np.zeros((20, 40), bool)
    truth[2:18, 4:36] = True
    shown = np.asarray(render_panel(a_panel(overlays=(Overlay(truth & False, GREEN, truth),)), 400))
    assert tuple(shown[20, 200]) == (255, 255, 255)
    assert tuple(shown[100, 200]) == (100, 100, 100)


def test_a_click_is_drawn_at_the_centre_of_its_pixel():
    marks = Marks(GREEN, np.array([[10, 30]]), np.array([True]))
    shown = np.asarray(render_panel(a_panel(marks=(marks,)), 400)).astype(int)
    rows, cols = np.nonzero(np.abs(shown - 100).sum(axis=2) > 30)
    near = (np.abs(rows - 105) < 15) & (np.abs(cols - 305) < 15)
    assert near.sum() > 50
    assert rows[near].mean() == pytest.approx(105, abs=1)
    assert cols[near].mean() == pytest.approx(305, abs=1)


def test_positive_and_negative_clicks_differ():
    pictures = [
        np.asarray(render_panel(a_panel(marks=(Marks(GREEN, np.array([[10, 30]]), np.array([positive])),)), 400))
        for positive in (True, False)
    ]
    assert not np.array_equal(*pictures)


def test_a_box_runs_around_the_outer_edges_of_its_pixels():
    marks = Marks(GREEN, boxes=np.array([[5, 10, 14, 29]]))
    shown = np.asarray(render_panel(a_panel(marks=(marks,)), 400)).astype(int)
    rows, cols = np.nonzero(shown[..., 1] - shown[..., 0] > 200)
    assert (rows.min(), rows.max()) == (pytest.approx(50, abs=2), pytest.approx(150, abs=2))
    assert (cols.min(), cols.max()) == (pytest.approx(100, abs=2), pytest.approx(300, abs=2))


def test_a_colour_slice_keeps_its_colours():
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[..., 0] = 200
    assert tuple(np.asarray(render_panel(a_panel(pixels=pixels), 400))[60, 60]) == (200, 0, 0)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_sheet_holds_all_panels(count):
    legend = [LegendEntry(f"structure {n}  Dice 0.900", GREEN) for n in range(12)]
    sheet = render_sheet([a_panel(caption=f"k {n}") for n in range(count)], "a title " * 30, legend, columns=2)
    gray = (np.asarray(sheet) == 100).all(axis=2).mean()
    assert (gray > 0.2) == (count > 0)


def test_saving_a_picture(tmp_path):
    sheet = render_sheet([a_panel()], "title")
    save_picture(sheet, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as back:
        assert back.size == sheet.size
    with pytest.raises(OutputError, match="png"):
        save_picture(sheet, tmp_path / "a.txt")
    with pytest.raises(OutputError, match="exists"):
        save_picture(sheet, tmp_path / "a.png", overwrite=False)
