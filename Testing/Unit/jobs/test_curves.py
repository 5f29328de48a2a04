"""Where the curves lie in the picture."""

from PIL import Image

from SAMFinetuneLogic.jobs.curves import draw_curves, save_curves

HISTORY = [
    {"step": 10.0, "loss": 2.0, "dice": 0.25},
    {"step": 20.0, "loss": 1.0, "dice": 0.5, "validation_dice": 1.0},
]
LOSS, DICE, VALIDATION = (213, 94, 0), (0, 114, 178), (0, 158, 115)
LEFT, TOP, RIGHT, BOTTOM = 60, 50, 700, 360


def places(picture: Image.Image, color: tuple[int, int, int]) -> set[tuple[int, int]]:
    """Of the pixels of a color within the frame."""
    pixels = picture.load()
    return {(x, y) for x in range(LEFT, RIGHT + 1) for y in range(TOP, BOTTOM + 1) if pixels[x, y] == color}


def test_loss_and_dice_lie_at_their_steps_and_values():
    picture = draw_curves(HISTORY, "title")
    middle, half, quarter = (LEFT + RIGHT) // 2, (TOP + BOTTOM) // 2, BOTTOM - (BOTTOM - TOP) // 4
    assert (RIGHT, half + 1) in places(picture, LOSS) | places(picture, DICE)  # both end half-way up
    assert (middle, TOP) in places(picture, LOSS), "the largest loss is at the top"
    assert (middle, quarter) in places(picture, DICE)
    assert (RIGHT, TOP) in places(picture, VALIDATION)
    assert not any(y > TOP + 3 for _, y in places(picture, VALIDATION)), "one validation is one point"
    assert not any(x < middle - 3 for x, _ in places(picture, LOSS))


def test_a_picture_of_any_history(tmp_path):
    for number, history in enumerate(([], HISTORY[:1], [{"step": 5.0, "loss": 0.0}])):
        path = tmp_path / f"{number}.png"
        save_curves(path, history, "ä long title " * 20)
        with Image.open(path) as picture:
            assert picture.size == (760, 420)
