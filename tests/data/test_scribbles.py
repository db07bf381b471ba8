"""Strokes that people drew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nseg_lib.data.coco import DataError
from nseg_lib.data.scribbles import load_scribbles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    levels = np.zeros((6, 8), np.uint8)
    levels[2:5, 2:6], levels[1, 2:6] = 255, 128
    strokes, box = np.zeros((2, 6, 8, 4), np.uint8)
    strokes[3, 2:5] = (0, 255, 0, 255)
    strokes[0, :] = (255, 0, 0, 255)
    strokes[5, 0] = (0, 255, 0, 60)  # nearly transparent
    box[1, 1:7, 3] = 255
    photo = np.full((6, 8, 3), 90, np.uint8)
    parts = {"images": photo, "masks": levels, "scribbles1": strokes, "scribbles2": box}
    for kind, pixels in parts.items():
        (tmp_path / kind).mkdir()
        Image.fromarray(pixels).save(tmp_path / kind / "a.png")
    return tmp_path


def test_strokes_by_colour_and_undecided_pixels(folder: Path) -> None:
    (item,) = load_scribbles(folder)
    assert (item.name, item.image.shape) == ("a", (6, 8, 3))
    assert (item.mask.sum(), item.ignore.sum()) == (12, 4)
    assert not (item.mask & item.ignore).any()
    assert list(item.strokes) == ["scribbles1"], "a box is no stroke"
    drawn = item.strokes["scribbles1"]
    assert np.argwhere(drawn.object).tolist() == [[3, 2], [3, 3], [3, 4]]
    assert np.argwhere(drawn.background).tolist() == [[0, x] for x in range(8)]


def test_bad_folders_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"masks: no pictures in images/"):
        list(load_scribbles(folder / "masks"))
    Image.new("L", (8, 5)).save(folder / "masks" / "a.png")
    with pytest.raises(DataError, match=r"masks/a.png: \(5, 8\) pixels, its picture has \(6, 8\)"):
        list(load_scribbles(folder))
    (folder / "masks" / "a.png").unlink()
    with pytest.raises(DataError, match=r"a.png: no such picture"):
        list(load_scribbles(folder))


def test_people_stay_on_the_object(real_scribbles: Path) -> None:
    items = list(load_scribbles(real_scribbles))
    assert len(items) == 32
    for item in items:
        drawn = item.strokes["scribbles1"]
        assert not (drawn.object & drawn.background).any()
        assert (drawn.object & (item.mask | item.ignore)).sum() > 0.9 * drawn.object.sum()
