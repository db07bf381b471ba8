"""Strokes that people drew."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nseg_lib.data.coco import DataError
from nseg_lib.data.scribbles import load_scribbles


def write(folder: Path, kind: str, name: str, pixels: np.ndarray) -> None:
    (folder / kind).mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / kind / name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    levels = np.zeros((6, 8), np.uint8)
    levels[2:5, 2:6], levels[1, 2:6] = 255, 128
    strokes = np.zeros((6, 8, 4), np.uint8)
    strokes[3, 2:5] = (0, 255, 0, 255)
    strokes[0, :] = (255, 0, 0, 255)
    strokes[5, 0] = (0, 255, 0, 60)  # nearly transparent
    box = np.zeros((6, 8, 4), np.uint8)
    box[1, 1:7, 3] = 255
    write(tmp_path, "images", "a.png", np.full((6, 8, 3), 90, np.uint8))
    write(tmp_path, "masks", "a.png", levels)
    write(tmp_path, "scribbles1", "a.png", strokes)
    write(tmp_path, "scribbles2", "a.png", box)
    return tmp_path


def test_strokes_by_colour_and_undecided_pixels(folder: Path) -> None:
    (item,) = load_scribbles(folder)
    assert item.name == "a"
    assert item.image.shape == (6, 8, 3)
    assert item.mask.sum() == 12
    assert item.ignore.sum() == 4
    assert not (item.mask & item.ignore).any()
    drawn = item.strokes["scribbles1"]
    assert drawn.object.sum() == 3
    assert drawn.object[3, 2:5].all()
    assert drawn.background.sum() == 8
    assert drawn.background[0].all()


def test_a_box_is_no_stroke(folder: Path) -> None:
    (item,) = load_scribbles(folder)
    assert list(item.strokes) == ["scribbles1"]


def test_bad_folders_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"masks: no pictures in images/"):
        list(load_scribbles(folder / "masks"))
    write(folder, "masks", "a.png", np.zeros((5, 8), np.uint8))
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
