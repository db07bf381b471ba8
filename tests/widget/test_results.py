"""The files that the canvas saves: masks, cut-outs, COCO annotations and strokes."""

from __future__ import annotations

import numpy as np
import pytest
from drawing import Grower, check_for_readers, draw_on_the_patch, save_turned, stroke
from PIL import Image
from pycocotools.coco import COCO
from scipy.ndimage import binary_fill_holes
from skimage import data as photographs

from nseg_lib.data.coco import DataError
from nseg_lib.widget import StrokeCanvas


@pytest.fixture
def picture():
    return photographs.astronaut()[:120, :160]


@pytest.fixture
def drawn(picture):
    canvas = StrokeCanvas(picture, Grower())
    canvas.strokes = [stroke((60, 60, 20), (90, 60, 12)), stroke((60, 60, 6), kind="background")]
    return canvas


def test_the_mask_is_a_picture_of_full_size_and_the_cutout_is_cropped(drawn, tmp_path):
    mask = np.asarray(Image.open(drawn.save(tmp_path / "mask.png")))
    assert (mask == 255 * drawn.mask).all()
    cutout = np.asarray(Image.open(drawn.save(tmp_path / "cut.png", "cutout")))
    rows, columns = (np.flatnonzero(drawn.mask.any(axis=axis)) for axis in (1, 0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    alpha = cutout[..., 3].astype(int)
    assert (np.abs(alpha - 255 * drawn.mask[window]) < 128).all(), "its edge is soft"
    assert (cutout[alpha > 0, :3] == drawn.image[window][alpha > 0]).all()
    assert not cutout[alpha == 0].any(), "nothing of what was cut away"


@pytest.mark.parametrize("what", ["rle", "polygon"])
def test_coco_annotations_load_in_pycocotools(drawn, tmp_path, what):
    coco = COCO(str(drawn.save(tmp_path / "coco.json", what)))
    (annotation,) = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    expected = binary_fill_holes(drawn.mask) if what == "polygon" else drawn.mask
    assert (coco.annToMask(annotation) == expected).all()
    assert annotation["area"] == drawn.mask.sum()


@pytest.mark.parametrize("what", ["rle", "polygon"])
@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_coco_annotations_lie_on_the_picture_as_readers_have_it(tmp_path, orientation, width, what):
    canvas = StrokeCanvas(save_turned(tmp_path / "one", width, orientation))
    draw_on_the_patch(canvas)
    (tmp_path / "annotations").mkdir()
    canvas.save(tmp_path / "annotations" / "instances_one.json", what)
    check_for_readers(tmp_path, canvas.mask)


def test_strokes_are_saved_and_drawn_again(drawn, picture, tmp_path):
    path = drawn.save(tmp_path / "strokes.json", "strokes")
    again = StrokeCanvas(picture, Grower())
    again.load_strokes(path)
    assert again.strokes == drawn.strokes
    assert (again.mask == drawn.mask).all()
    other = StrokeCanvas(picture[:50])
    with pytest.raises(DataError, match="drawn on 160x120 pixels, the picture has 160x50"):
        other.load_strokes(path)


def test_nothing_to_save_is_said(picture):
    with pytest.raises(DataError, match="open a picture first"):
        StrokeCanvas().export()
    canvas = StrokeCanvas(picture)
    with pytest.raises(DataError, match="mask is empty"):
        canvas.export("rle")
    canvas.strokes = [stroke((5, 5, 5))]
    with pytest.raises(DataError, match="one of: mask, cutout"):
        canvas.export("gif")
