"""Plain strokes, which no training draws: thin straight lines on the object and outside it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from nseg_lib.arrays import Mask
from nseg_lib.strokes import plain


def ring(height: int = 200, width: int = 260) -> Mask:
    """A thick ring: the straight way between two of its points may leave it."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows - 100, columns - 120)
    return np.asarray((distance < 80) & (distance > 30))


def pieces(mask: Mask) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8))[0] - 1


@pytest.mark.parametrize("seed", range(8))
def test_plain_strokes_are_thin_lines_on_the_right_sides(seed: int) -> None:
    mask = ring()
    drawn = plain.plain_sparse(mask, np.random.default_rng(seed))
    assert 0.012 < drawn.object.sum() / mask.sum() < 0.03
    assert (drawn.object & mask).sum() > 0.9 * drawn.object.sum()
    assert 1 <= pieces(drawn.object) <= 2
    assert drawn.background.any()
    assert pieces(drawn.background) <= 4
    assert not (drawn.background & mask).any()


def test_no_room_outside_means_no_strokes_there() -> None:
    drawn = plain.plain_sparse(np.ones((60, 80), bool), np.random.default_rng(0))
    assert drawn.object.any()
    assert not drawn.background.any()
    with pytest.raises(ValueError, match="mask is empty"):
        plain.plain_sparse(np.zeros((9, 9), bool), np.random.default_rng(0))


def test_a_plain_correction_goes_through_the_deepest_mistake() -> None:
    mask, columns = ring(), np.indices(ring().shape)[1]
    for answer, wrong in (
        (mask & (columns < 120), "object"),
        (mask | (columns > 190), "background"),
        (mask, ""),
    ):
        drawn = plain.plain_correction(mask, answer, np.random.default_rng(0))
        assert [kind for kind in ("object", "background") if getattr(drawn, kind).any()] == (
            [wrong] if wrong else []
        )
        assert not ((drawn.object | drawn.background) & (mask == answer)).any()
