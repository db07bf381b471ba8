"""The drawing widget's Python side: strokes, masks, pictures in, results out."""

from __future__ import annotations

import io
import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from drawing import Grower, browser_draws, patch, save_turned, stroke
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy.ndimage import binary_fill_holes
from skimage import data as photographs

from nseg_lib import widget
from nseg_lib.data.coco import DataError, annotation_mask, load_split
from nseg_lib.strokes.drawing import rasterize
from nseg_lib.widget import FolderSession, StrokeCanvas, pictures, results
from nseg_lib.widget.answers import mask_of


@pytest.fixture
def picture():
    return photographs.astronaut()[:120, :160]


def test_the_front_end_is_one_module_that_fetches_nothing():
    source = (Path(widget.__file__).parent / "canvas.js").read_text()
    loads = r"^\s*import\b|\bimport\(|\bfetch\(|XMLHttpRequest|WebSocket|importScripts"
    assert not re.search(loads, source, re.MULTILINE)
    urls = set(re.findall(r"https?://[^\"'\s]+", source))
    assert urls == {"http://www.w3.org/2000/svg"}  # a name, not an address to load


# --- strokes in, mask out -------------------------------------------------------------------------


def test_strokes_set_from_python_are_refined(picture):
    model = Grower()
    canvas = StrokeCanvas(picture, model)
    assert canvas.mask.shape == (120, 160)
    assert not canvas.mask.any()
    assert model.calls == []  # nothing drawn, nothing to ask
    canvas.strokes = [{"kind": "object", "points": np.array([[50, 50, 10]])}]
    assert canvas.strokes == [stroke((50, 50, 10))]
    painted = rasterize(canvas.strokes, 120, 160).object
    assert (canvas.mask == np.roll(painted, 3, axis=0)).all()
    assert canvas._answer["revision"] == canvas._drawing["revision"] == 2


def test_the_browser_is_answered_once_per_revision_and_old_news_is_ignored(picture):
    model = Grower()
    canvas = StrokeCanvas(picture, model)
    seen = []
    canvas.observe(lambda change: seen.append(change.new.sum()), "mask")
    first, second = stroke((50, 50, 10)), stroke((90, 50, 10))
    browser_draws(canvas, [first], 2)
    browser_draws(canvas, [first, second], 5)  # 3 and 4 were made while the kernel was busy
    browser_draws(canvas, [first], 4)
    assert canvas.strokes == [first, second]
    assert canvas._answer["revision"] == 5
    assert len(model.calls) == len(seen) == 2


def test_a_late_drawing_of_the_picture_before_is_dropped(picture):
    canvas = StrokeCanvas(picture, Grower())
    late = {"picture": canvas._picture["key"], "revision": 9, "strokes": [stroke((5, 5, 3))]}
    canvas.load(picture[::-1].copy())
    canvas.set_state({"_drawing": late})
    assert canvas.strokes == []
    assert canvas._drawing["picture"] == canvas._picture["key"]


def test_corrections_are_united_and_taken_away_and_the_widget_says_so(picture):
    canvas = StrokeCanvas(picture, Grower())
    canvas.strokes = [stroke((50, 50, 10)), stroke((80, 50, 10))]
    assert not canvas.mask[41, 80]  # not yet corrections: the model may leave pixels out
    assert canvas._note["text"] == ""
    add = stroke((80, 50, 10), correction=True)
    remove = stroke((50, 55, 5), kind="background")
    canvas.strokes = [canvas.strokes[0], add, remove]
    drawn = rasterize([add], 120, 160).object
    assert canvas.mask[drawn].all()
    assert not canvas.mask[rasterize([remove], 120, 160).background].any()
    assert "takes no corrections" in canvas._note["text"]


def test_a_model_with_corrections_gets_the_background_and_the_mask_so_far(picture):
    class Corrector:
        corrects = True

        def __init__(self):
            self.given = []

        def refine(self, image, stroke, background=None, mask=None):
            self.given.append((background.sum(), None if mask is None else mask.sum()))
            return stroke & ~background

    model = Corrector()
    canvas = StrokeCanvas(picture, model)
    browser_draws(canvas, [stroke((50, 50, 10))], 2)
    area = canvas.mask.sum()
    browser_draws(canvas, [stroke((50, 50, 10)), stroke((50, 50, 5), kind="background")], 3)
    browser_draws(canvas, [stroke((20, 50, 10), kind="background")], 4)
    assert model.given[0] == (0, None)
    assert model.given[1] == (rasterize([stroke((50, 50, 5))], 120, 160).object.sum(), area)
    assert len(model.given) == 2  # without an object stroke there is nothing to refine
    assert not canvas.mask.any()


@pytest.mark.parametrize("model", [None, Grower()])
def test_background_alone_says_what_is_missing(picture, model):
    canvas = StrokeCanvas(picture, model)
    browser_draws(canvas, [stroke((20, 50, 10), kind="background")], 2)
    assert not canvas.mask.any()
    assert "brush over the object too" in canvas._note["text"]
    browser_draws(canvas, [stroke((20, 50, 10), kind="erase")], 3)
    assert canvas._note["text"] == ""


def test_a_correction_holds_whatever_the_model_makes_of_it(picture):
    class Stubborn:
        corrects = True

        def refine(self, image, stroke, background=None, mask=None):
            answer = np.zeros_like(stroke)
            answer[30:70, 30:70] = True
            return answer

    canvas = StrokeCanvas(picture, Stubborn())
    first = stroke((50, 50, 3))
    add, remove = stroke((90, 50, 6), correction=True), stroke((40, 40, 6), kind="background")
    for revision, strokes in enumerate(([first], [first, add], [first, add, remove]), 2):
        browser_draws(canvas, strokes, revision)
    assert canvas.mask[rasterize([add], 120, 160).object].all()
    assert not canvas.mask[rasterize([remove], 120, 160).background].any()
    assert canvas.mask.sum() > 1000
    assert canvas._note["text"] == ""


class Wanderer:
    """A model that corrects, and never says the same twice."""

    corrects = True

    def __init__(self):
        self.calls = 0

    def refine(self, image, stroke, background=None, mask=None):
        self.calls += 1
        return np.roll(stroke, self.calls, axis=0) & ~background


def test_undo_brings_the_very_mask_back(picture):
    model = Wanderer()
    canvas = StrokeCanvas(picture, model)
    first, second = stroke((50, 50, 10)), stroke((60, 50, 5), kind="background")
    masks = []
    for revision, strokes in enumerate(([first], [first, second], [first], [first, second]), 2):
        browser_draws(canvas, strokes, revision)
        masks.append(canvas.mask)
    assert model.calls == 2
    assert (masks[0] != masks[1]).any()
    assert (masks[0] == masks[2]).all()
    assert (masks[1] == masks[3]).all()
    canvas.refiner = Grower()
    browser_draws(canvas, [first], 9)  # what another model said does not count
    assert (canvas.mask == np.roll(rasterize([first], 120, 160).object, 3, axis=0)).all()


def test_a_model_that_loads_later_is_waited_for_and_its_failure_told(picture):
    loaded, seen = threading.Event(), []

    def load():
        assert loaded.wait(20)
        return Grower()

    later = widget.Later(load)
    canvas = StrokeCanvas(picture, later)  # shows at once
    assert not later.ready
    canvas.observe(lambda change: (seen.append(change.new["text"]), loaded.set()), "_note")
    browser_draws(canvas, [stroke((50, 50, 10))], 2)
    assert seen == ["The model is being loaded; the mask will follow.", ""]
    assert later.ready
    assert (canvas.mask == np.roll(rasterize(canvas.strokes, 120, 160).object, 3, axis=0)).all()

    def fail():
        raise ValueError("weights.safetensors: no such checkpoint")

    canvas.refiner = widget.Later(fail)
    browser_draws(canvas, [stroke((20, 50, 10))], 3)
    assert canvas._note["text"] == "The model failed: weights.safetensors: no such checkpoint"


def test_a_failing_model_is_told_and_drawing_goes_on(picture):
    class Broken:
        def refine(self, image, stroke):
            raise RuntimeError("out of memory")

    canvas = StrokeCanvas(picture, Broken())
    browser_draws(canvas, [stroke((50, 50, 10))], 2)
    assert canvas._note == {"text": "The model failed: out of memory", "level": "error"}
    assert canvas._answer["revision"] == 2
    canvas.refiner = Grower()
    browser_draws(canvas, [stroke((50, 50, 10)), stroke((60, 50, 10))], 3)
    assert canvas.mask.any()


@pytest.mark.parametrize(
    ("returns", "got"),
    [
        (lambda mask: mask.astype(np.uint8) * 255, "bool (try mask > 0), got uint8"),
        (lambda mask: np.where(mask, 3.0, np.nan), "bool (try mask > 0), got float64"),
        (lambda mask: mask[None], "the picture's height and width (60, 80), got (1, 60, 80)"),
        (lambda mask: mask[:-1], "the picture's height and width (60, 80), got (59, 80)"),
        (lambda mask: torch.from_numpy(mask), "a NumPy array, got Tensor"),
        (lambda mask: np.ma.array(mask), "a NumPy array, got MaskedArray"),
        (lambda mask: None, "a NumPy array, got NoneType"),
    ],
)
def test_an_answer_that_is_no_mask_is_named_and_nothing_drawn_is_lost(tmp_path, returns, got):
    class Own:
        def refine(self, image, stroke):
            return returns(stroke)

    Image.new("RGB", (80, 60)).save(tmp_path / "a.png")
    canvas = StrokeCanvas(refiner=Own(), session=FolderSession(tmp_path))
    browser_draws(canvas, [stroke((50, 50, 5))], 2)
    said = "The model failed: what refine returned is no mask: mask must "
    assert canvas._note["text"].startswith(said)
    assert canvas._note["text"].endswith(got)
    (kept,) = json.loads((tmp_path / "annotations.json").read_text())["annotations"]
    assert kept["strokes"] == canvas.strokes == [stroke((50, 50, 5))]
    assert (canvas.mask == rasterize(canvas.strokes, 60, 80).object).all(), "what was brushed"


def test_twelve_megapixels_are_shown_and_refined_scaled_and_masked_at_full_size():
    model = Grower()
    image = np.zeros((3000, 4000, 3), np.uint8)
    canvas = StrokeCanvas(image, model)
    shown = Image.open(io.BytesIO(canvas._jpeg))
    assert shown.width * shown.height <= pictures.MAX_SHOWN
    assert (canvas._picture["width"], canvas._picture["height"]) == (4000, 3000)
    canvas.strokes = [stroke((2000, 1500, 400), (2600, 1500, 300))]
    assert canvas.mask.shape == (3000, 4000)
    (height, width, _), _ = model.calls[0]
    assert height * width <= 1_210_000
    expected = np.roll(rasterize(canvas.strokes, 3000, 4000).object, round(3 * 3000 / height), 0)
    assert (canvas.mask & expected).sum() / (canvas.mask | expected).sum() > 0.98
    cover = Image.open(io.BytesIO(canvas._answer["png"])).convert("RGBA")
    assert abs((np.asarray(cover)[..., 3] > 0).mean() - canvas.mask.mean()) < 0.001


def test_a_dot_does_not_vanish_from_a_large_picture():
    model, image = Grower(), np.zeros((3000, 4000, 3), np.uint8)
    dot = stroke((2000, 1500, 1))
    mask, note = mask_of(model, image, [dot])
    assert mask.any()
    assert note == ""
    assert model.calls[0][1] in (1, 2), "pixels, and no more than it takes"
    assert mask_of(model, image, [stroke((40, 40, 60)), {**dot, "kind": "background"}])[1]


def test_a_drawing_with_more_than_can_be_painted_is_told_and_the_one_before_stays(picture):
    canvas = StrokeCanvas(picture, Grower())
    first, endless = stroke((50, 50, 10)), stroke(*[(50, 50, 10)] * 100_001)
    browser_draws(canvas, [first], 2)
    mask = canvas.mask
    assert mask.any()
    for number, strokes in enumerate(([first, endless], [first, stroke((5, 5, 30_000))]), 3):
        browser_draws(canvas, strokes, number)
        assert canvas._note["level"] == "error"
        assert canvas._note["text"].startswith("Not taken: ")
        assert canvas._answer["revision"] == number, "the browser does not wait for ever"
        assert canvas.strokes == [first]
        assert (canvas.mask == mask).all()
    browser_draws(canvas, [first, stroke((9, 9, 3))], 5)
    assert canvas._note["text"] == ""


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2), (3000, 4000)])
def test_pictures_of_any_shape_are_drawn_on(shape):
    canvas = StrokeCanvas(np.zeros((*shape, 3), np.uint8), Grower())
    canvas.strokes = [stroke((0.5, 0.5, 1)), stroke((shape[1] / 2, shape[0] / 2, 2000))]
    assert canvas.mask.shape == shape
    assert canvas.mask.any()
    shown = Image.open(io.BytesIO(canvas._jpeg))
    assert shown.width * shown.height <= pictures.MAX_SHOWN
    assert Image.open(io.BytesIO(canvas.export("cutout")[1])).size == shape[::-1]


# --- pictures in ----------------------------------------------------------------------------------


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_any_picture_comes_in(picture, tmp_path):
    photo = Image.fromarray(picture)
    turned = Image.Exif()
    turned[0x0112] = 6
    sideways = encoded(photo, "JPEG", exif=turned, quality=95)
    assert StrokeCanvas(sideways).image.shape == (160, 120, 3)
    grey = StrokeCanvas(np.asarray(photo.convert("L"))).image
    assert (grey[..., 0] == grey[..., 2]).all()
    clear = np.dstack([picture, np.zeros((120, 160), np.uint8)])
    deep = Image.fromarray(grey[..., 0].astype(np.uint16) * 257)
    for source, expected in ((clear, 255), (encoded(photo), picture), (encoded(deep), grey)):
        assert (StrokeCanvas(source).image == expected).all()
    photo.save(tmp_path / "photo.png")
    assert (StrokeCanvas(tmp_path / "photo.png").image == picture).all()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"not a picture", "holiday.jpg: not a readable picture"),
        (np.zeros((4, 4, 2), np.uint8), "holiday.jpg: uint8 H×W"),
        (np.zeros((4, 4, 3)), "holiday.jpg: uint8 H×W"),
        (7, "holiday.jpg: a path, bytes or an array"),
    ],
)
def test_a_broken_picture_is_named_and_the_one_before_stays(picture, source, message):
    canvas = StrokeCanvas(picture)
    with pytest.raises(DataError, match=message):
        canvas.load(source, "holiday.jpg")
    assert (canvas.image == picture).all()


def test_files_come_in_parts_from_the_browser(picture):
    canvas = StrokeCanvas(picture)
    data = encoded(Image.fromarray(picture[:50]))
    for part, half in enumerate((data[:1000], data[1000:])):
        message = {"type": "open", "name": "half.png", "part": part, "parts": 2}
        canvas._message(canvas, message, [memoryview(half)])
    assert canvas.image.shape == (50, 160, 3)
    assert canvas.name == "half.png"
    message = {"type": "open", "name": "bad.jpg", "part": 0, "parts": 1}
    for bad in ((message, [memoryview(data[:2000])]), ({"type": "open"}, []), ({}, [])):
        canvas._message(canvas, *bad)
        assert canvas._note["level"] == "error"
        assert canvas.image.shape == (50, 160, 3)
    canvas._message(canvas, message, [memoryview(data[:2000])])
    assert canvas._note["text"].startswith("bad.jpg: ")


# --- results out ----------------------------------------------------------------------------------


@pytest.fixture
def drawn(picture):
    canvas = StrokeCanvas(picture, Grower())
    canvas.strokes = [stroke((60, 60, 20), (90, 60, 12)), stroke((60, 60, 6), kind="background")]
    return canvas


def test_mask_and_cutout_are_pictures_of_full_size(drawn, tmp_path):
    mask = np.asarray(Image.open(drawn.save(tmp_path / "mask.png")))
    assert ((mask == 255) == drawn.mask).all()
    assert set(np.unique(mask)) == {0, 255}
    cutout = np.asarray(Image.open(drawn.save(tmp_path / "cut.png", "cutout")))
    assert ((cutout[..., 3] == 255) == drawn.mask).all()
    assert (cutout[drawn.mask][:, :3] == drawn.image[drawn.mask]).all()
    assert not cutout[~drawn.mask].any()


@pytest.mark.parametrize("what", ["rle", "polygon"])
def test_coco_annotations_load_in_pycocotools(drawn, tmp_path, what):
    path = drawn.save(tmp_path / "coco.json", what)
    coco = COCO(str(path))
    (annotation,) = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    mask = coco.annToMask(annotation) > 0
    expected = drawn.mask.copy()
    if what == "polygon":
        assert (mask == binary_fill_holes(expected)).all()
    else:
        assert (mask == expected).all()
        assert annotation["bbox"] == list(coco_mask.toBbox(annotation["segmentation"]))
    assert annotation["area"] == drawn.mask.sum()


@pytest.mark.parametrize("what", ["rle", "polygon"])
@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_coco_annotations_lie_on_the_picture_as_readers_have_it(tmp_path, orientation, width, what):
    path = save_turned(tmp_path / "one", patch(60, width), orientation)
    canvas = StrokeCanvas(path)
    y, x = np.argwhere(canvas.image[..., 0] > 127).mean(axis=0) + 0.5
    canvas.strokes = [stroke((x, y, 5)), stroke((x + 4, y, 2))]
    (tmp_path / "annotations").mkdir()
    canvas.save(tmp_path / "annotations" / "instances_one.json", what)
    split = load_split(tmp_path)
    assert split.left_out == ()
    seen, (annotation,) = split.read_image(1), split.annotations[1]
    mask = annotation_mask(annotation, *seen.shape[:2])
    assert mask.sum() == canvas.mask.sum() == annotation["area"]
    assert (seen[mask] > 127).all()
    x, y, across, down = map(int, annotation["bbox"])
    assert mask[y : y + down, x : x + across].sum() == mask.sum()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_outlines_of_solid_masks_give_the_mask_back(seed):
    rng = np.random.default_rng(seed)
    blobs = [stroke(rng.uniform((0, 0, 2), (60, 40, 12))) for _ in range(3)]
    mask = rasterize(blobs, 40, 60).object
    if mask.any():
        back = annotation_mask({"id": 1, "segmentation": results.outlines(mask)}, 40, 60)
        assert (back == binary_fill_holes(mask)).all()


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
    with pytest.raises(DataError, match="mask is empty"):
        StrokeCanvas(picture).export("rle")
    canvas = StrokeCanvas(picture)
    canvas.strokes = [stroke((5, 5, 5))]
    with pytest.raises(DataError, match="one of: mask, cutout"):
        canvas.export("gif")


def test_the_still_picture_shows_strokes_and_mask(drawn):
    still = np.asarray(Image.open(io.BytesIO(drawn._still().data)))
    assert still.shape == drawn.image.shape
    changed = np.abs(still.astype(int) - drawn.image).sum(axis=2) > 60
    assert changed[drawn.mask].mean() > 0.7
    assert changed[~drawn.mask & ~rasterize(drawn.strokes, 120, 160).object].mean() < 0.05
