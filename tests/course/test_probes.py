"""Strokes that training never drew, and what makes a picture hard."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nseg_lib.course import probes


@pytest.fixture
def disc() -> np.ndarray:
    rows, columns = np.ogrid[:60, :80]
    return (rows - 30) ** 2 + (columns - 40) ** 2 <= 15**2


@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
def test_a_stroke_too_small_is_the_deepest_share_of_the_object(
    disc: np.ndarray, share: float
) -> None:
    stroke = probes.too_small(disc, share)
    assert stroke.sum() == round(share * disc.sum())
    assert not (stroke & ~disc).any()
    assert stroke[30, 40]
    assert not probes.too_small(np.zeros((5, 5), bool), share).any()


def test_at_the_border_the_picture_ends_and_the_object_too() -> None:
    full = np.ones((21, 41), bool)
    stroke = probes.too_small(full, 0.1)
    assert stroke[10, 20]
    assert not stroke[0].any()


@pytest.mark.parametrize("factor", [1.0, 2.0, 1000.0])
def test_an_overshooting_stroke_holds_the_object(disc: np.ndarray, factor: float) -> None:
    stroke = probes.overshooting(disc, factor)
    assert stroke.sum() == min(disc.size, round(factor * disc.sum()))
    assert not (disc & ~stroke).any()


def test_a_scribble_is_thin_and_inside(disc: np.ndarray) -> None:
    disc[28:32, 50:75] = True
    stroke = probes.thin_scribble(disc)
    assert 0 < stroke.sum() < 0.4 * disc.sum()
    assert not (stroke & ~disc).any()
    assert stroke[30, 65], "the thin arm is drawn along too"


def test_clutter_sees_the_ring_and_nothing_else(disc: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    flat = np.full((*disc.shape, 3), 128, np.uint8)
    noise = rng.integers(0, 256, flat.shape, np.uint8)
    inside = np.where(disc[..., None], noise, flat)
    outside = np.where(disc[..., None], flat, noise)
    assert probes.clutter(inside, disc, 6) < 0.5 < probes.clutter(outside, disc, 6)
    assert probes.clutter(noise, np.ones_like(disc)) == 0


def test_bins_hold_equal_counts_in_order() -> None:
    frame = pd.DataFrame({"size": [5.0, 1, 3, 2, 4, 6], "iou": [0.5, 0.1, 0.3, 0.2, 0.4, 0.6]})
    table = probes.binned(frame.assign(image_id=range(6)), "size", ["iou"], bins=3)
    assert table["n"].tolist() == [2, 2, 2]
    assert table["low"].tolist() == [1, 3, 5]
    assert np.allclose(table["iou"], [0.15, 0.35, 0.55])
    assert (table["iou_low"] <= table["iou"]).all()
    assert (table["iou"] <= table["iou_high"]).all()
