"""Sheets of pictures of several shapes: each is whole and keeps its proportions."""

import numpy as np
import numpy.typing as npt
import pytest

from sq_pipeline.pictures.sheets import Tile, draw_sheet

Pixels = npt.NDArray[np.uint8]
RED, BLUE = (200, 0, 0), (0, 0, 200)


def plain(width: int, height: int, colour: tuple[int, int, int]) -> Pixels:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def columns_of(sheet: Pixels, colour: tuple[int, int, int]) -> int:
    """How wide the part is that has this colour, about."""
    return int((np.abs(sheet.astype(int) - colour).sum(axis=-1) < 60).any(axis=0).sum())


def rows_of(sheet: Pixels, colour: tuple[int, int, int]) -> int:
    return int((np.abs(sheet.astype(int) - colour).sum(axis=-1) < 60).any(axis=1).sum())


@pytest.mark.parametrize(("width", "height"), [(96, 192), (192, 96), (64, 64), (400, 30)])
@pytest.mark.parametrize("at", [0, 3])
def test_a_picture_of_another_shape_is_whole_and_keeps_its_proportions(width: int, height: int, at: int) -> None:
    usual = [Tile(plain(320, 240, BLUE), "usual")] * 3
    odd = Tile(plain(width, height, RED), "odd")
    mixed = np.asarray(draw_sheet([[*usual[:at], odd, *usual[at:]]]))
    alike = np.asarray(draw_sheet([[*usual, usual[0]]]))
    assert mixed.shape == alike.shape  # the many say how large places are
    found = columns_of(mixed, RED), rows_of(mixed, RED)
    assert max(found[0] / 320, found[1] / 240) == pytest.approx(1, abs=0.03)
    assert found[0] / found[1] == pytest.approx(width / height, rel=0.1)


def test_equal_pictures_are_scaled_as_ever() -> None:
    for width, shown in ((640, 320), (320, 320), (200, 200), (128, 256)):
        sheet = draw_sheet([[Tile(plain(width, width, BLUE), "")]])
        assert columns_of(np.asarray(sheet), BLUE) == shown
