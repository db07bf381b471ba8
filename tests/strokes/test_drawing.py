"""Strokes as vectors become pixels: a line is all discs between its ends, later ones win."""

from __future__ import annotations

import numpy as np
import pytest
from drawing import stroke
from hypothesis import given, settings
from hypothesis import strategies as st

from nseg_lib.strokes.drawing import OUTLINE, box_of, rasterize, within
from nseg_lib.widget.results import editable_outline


def brute_force(points, height, width, steps=1500):
    y, x = np.mgrid[:height, :width] + 0.5
    covered = np.zeros((height, width), bool)
    points = np.array(points, float)
    ends = points[1:] if len(points) > 1 else points
    for a, b in zip(points, ends, strict=False):
        for t in np.linspace(0, 1, steps):
            px, py, r = a + (b - a) * t
            covered |= (x - px) ** 2 + (y - py) ** 2 <= r * r
    return covered


point = st.tuples(st.floats(-8, 40), st.floats(-8, 32), st.floats(0.3, 9))


@given(st.lists(point, min_size=1, max_size=3))
@settings(max_examples=25, deadline=None)
def test_a_capsule_is_all_discs_between_its_ends(points):
    expected = brute_force(points, 24, 32)
    found = rasterize([stroke(*points)], 24, 32).object
    assert not (expected & ~found).any()  # the sweep in steps can only miss slivers
    assert (found & ~expected).sum() <= 1 + 0.01 * expected.sum()


def test_a_disc_holds_the_pixels_whose_centres_it_holds():
    found = rasterize([stroke((5, 5, 1))], 10, 10).object
    assert found.sum() == 4
    assert found[4:6, 4:6].all()
    assert rasterize([stroke((5.5, 5.5, 0.4))], 10, 10).object.sum() == 1


def test_kinds_are_painted_in_the_order_of_drawing():
    drawn = rasterize(
        [
            stroke((10, 10, 8)),
            stroke((10, 10, 4), kind="background"),
            stroke((10, 10, 2), kind="erase"),
        ],
        20,
        20,
    )
    assert not (drawn.object & drawn.background).any()
    assert not drawn.object[10, 10]
    assert not drawn.background[10, 10]
    assert drawn.background[10, 13]
    assert drawn.object[10, 16]


@pytest.mark.parametrize(
    ("strokes", "message"),
    [
        ("no list", "strokes must be a list"),
        ([3], "stroke 1: an object"),
        ([{"kind": "pen", "points": [[1, 1, 1]]}], "stroke 1: kind is 'pen', not erase, object"),
        ([{"kind": [], "points": [[1, 1, 1]]}], r"stroke 1: kind is \[\], not erase"),
        ([stroke((1, 1, 1)), {"kind": "object", "points": []}], "stroke 2: points must be"),
        ([{"kind": "object", "points": [[1, "x", 1]]}], "stroke 1: points must be"),
        ([{"kind": "object", "points": [["1", 1, 1]]}], "stroke 1: points must be"),
        ([stroke((1, float("nan"), 1))], "points must be between -1e6 and 1e6"),
        ([stroke((1, 1e7, 1))], "points must be between -1e6 and 1e6"),
        ([stroke((1, 1, 0))], "radii above 0"),
    ],
)
def test_what_is_no_drawing_is_refused_in_one_line(strokes, message):
    with pytest.raises(ValueError, match=message) as caught:
        rasterize(strokes, 10, 10)
    assert "\n" not in str(caught.value)


def test_a_long_stroke_is_painted_as_its_pieces_are():
    """A stroke of more rows than are painted at a time covers what its parts cover."""
    points = np.random.default_rng(0).uniform((0, 0, 1), (90, 4000, 6), (300, 3))
    whole = rasterize([{"kind": "object", "points": points}], 4000, 90).object
    parts = [{"kind": "object", "points": points[i : i + 2]} for i in range(len(points) - 1)]
    assert np.array_equal(rasterize(parts, 4000, 90).object, whole)


@pytest.mark.parametrize(
    ("points", "says"),
    [
        (None, "6,000 strokes, at most 5,000"),
        (np.full((60_000, 3), 5.0), "120,000 points, at most 100,000"),
        ([[5, 5, 30_000]], "stroke 1: radius 30000, at most 20000"),
        (np.tile([[0, 0, 1], [0, 3000, 1]], (10_000, 1)), "over 20,000,000 rows of brush"),
    ],
)
def test_a_drawing_that_would_take_memory_or_hours_is_refused(points, says):
    strokes = [{"kind": "object", "points": points}] * 2
    if points is None:
        strokes = [{"kind": "object", "points": [[5, 5, 1]]}] * 6000
    with pytest.raises(ValueError, match=says):
        rasterize(strokes, 3000, 4)


@pytest.mark.parametrize(
    ("corners", "box"),
    [
        ([(20.5, 3, 1), (2.2, 9.9, 1)], (2, 3, 21, 10)),
        ([(-5, -5, 1), (100, 100, 1)], (0, 0, 40, 30)),
        ([(5, 5, 1), (5, 5, 1)], None),
        ([(50, 5, 1), (60, 9, 1)], None),
    ],
)
def test_the_last_box_counts_and_paints_nothing(corners, box):
    line = stroke((5, 5, 2), (9, 5, 2))
    drawing = [stroke((0, 0, 1), (9, 9, 1), kind="box"), line, stroke(*corners, kind="box")]
    assert box_of(drawing, 30, 40) == box
    assert (rasterize(drawing, 30, 40).object == rasterize([line], 30, 40).object).all()
    assert box_of([line], 30, 40) is None


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_the_outline_of_any_mask_is_that_mask(seed, height, width):
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) < rng.random()
    rings = [{"kind": OUTLINE, "points": points} for points in editable_outline(mask)]
    before = stroke((0, 0, 50), kind="background")
    after = stroke((-9, -9, 1), kind="erase")  # beside the picture
    drawn = rasterize([before, *rings, after], height, width)
    assert (drawn.object == mask).all()
    assert (drawn.background == ~mask).all()


def test_an_outline_between_pixels_holds_the_centres_within():
    corners = [(1.2, 0.4), (5.6, 0.4), (5.6, 3.6), (1.2, 3.6)]
    inside = within([corners, [(x + 20, y) for x, y in corners]], 4, 8)  # one is beside the picture
    assert np.argwhere(inside).min(axis=0).tolist() == [0, 1]
    assert np.argwhere(inside).max(axis=0).tolist() == [3, 5]
    assert inside.sum() == 4 * 5
