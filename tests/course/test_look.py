"""Crops, colours and outlines of the pictures in chapters and reports."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

from nseg_lib import config
from nseg_lib.course import look

mpl.use("Agg")


Scene = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture
def scene() -> Scene:
    """A picture of noise, a stroke, and the mask of the object, of 60×80 pixels."""
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    mask, stroke = np.zeros((2, 60, 80), bool)
    mask[10:50, 20:60], stroke[15:45, 20:50] = True, True
    return image, stroke, mask


def test_around_holds_the_masks_and_stays_in_the_picture(scene: Scene) -> None:
    _, stroke, mask = scene
    rows, columns = look.around(stroke, mask, margin=0.1)
    assert mask[rows, columns].sum() == mask.sum()
    assert (rows.start, columns.start) == (0, 8)
    assert look.around(np.zeros((5, 7), bool)) is not None


def test_families_have_a_colour_each() -> None:
    assert look.colour("identity") == look.PALETTE["identity"]
    assert look.colour("grabcut") == look.PALETTE["classical"]
    assert look.colour("attn32-256_bce-dice-bound") == look.PALETTE["attn"]
    families = {look.colour(name) for name in config.names()}
    assert len(families) == 4


def test_an_outline_follows_the_masks_edge(scene: Scene) -> None:
    image, _, mask = scene
    _, axes = look.panels(1, 2)
    look.show(axes[0, 0], image, mask=mask)
    look.show(axes[0, 1], image, mask=np.ones_like(mask))
    for column, corners in enumerate(((19.5, 9.5, 59.5, 49.5), (-0.5, -0.5, 79.5, 59.5))):
        path = axes[0, column].collections[0].get_paths()[0].vertices
        found = (*path.min(axis=0), *path.max(axis=0))
        assert np.allclose(found, corners, atol=0.51)
