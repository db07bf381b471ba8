"""The drawing widget's Python side: strokes, masks, pictures in, results out."""

from __future__ import annotations

import io
import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from drawing import Grower, Teller, browser_draws, covered, encoded, grown, stroke
from PIL import Image
from skimage import data as photographs

from nseg_lib import widget
from nseg_lib.data.coco import DataError
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
    assert (canvas.mask == grown(canvas.strokes, 120, 160)).all()
    assert canvas._answer["revision"] == canvas._drawing["revision"] == 2


def test_the_page_is_told_where_the_network_is_not_sure_of_its_own_newest_mask(picture):
    canvas, sent = StrokeCanvas(picture, Teller()), []
    canvas.send = lambda content, buffers: sent.append((content, *buffers))

    def unsure():
        canvas._message(canvas, {"type": "unsure", "drawing": canvas._drawing}, [])
        about, png = sent.pop()
        assert about["revision"] == canvas._drawing["revision"]
        return about["known"], covered(png) if png else None

    line, settled = stroke((20, 30, 3), (90, 30, 3)), stroke((20, 33, 1), (60, 33, 1))
    painted = rasterize([line], 120, 160).object
    below = np.roll(painted, 1, axis=0) & ~painted
    browser_draws(canvas, line)
    assert canvas._answer["sure"] == canvas.sure < 1
    known, where = unsure()
    assert known
    assert (where == below).all()
    browser_draws(canvas, line, {**settled, "kind": "background"})
    drawn = rasterize([{**settled, "kind": "background"}], 120, 160).background
    assert (below & drawn).any()
    assert not (unsure()[1] & drawn).any(), "a stroke leaves nothing open"
    browser_draws(canvas, line)  # undone
    assert (unsure()[1] == below).all()
    rings = results.editable_outline(canvas.mask)
    browser_draws(canvas, line, *({"kind": "outline", "points": ring} for ring in rings))
    assert canvas._answer["sure"] is None
    assert unsure() == (False, None)
    canvas.refiner = Grower()  # says nothing about it
    browser_draws(canvas, line)
    assert unsure() == (False, None)


def test_the_browser_is_answered_once_per_revision_and_old_news_is_ignored(picture):
    model, seen = Grower(), []
    canvas = StrokeCanvas(picture, model)
    canvas.observe(lambda change: seen.append(change.new.sum()), "mask")
    first, second = stroke((50, 50, 10)), stroke((90, 50, 10))
    browser_draws(canvas, first)
    browser_draws(canvas, first, second, revision=5)  # two were made while the kernel was busy
    browser_draws(canvas, first, revision=4)
    assert canvas.strokes == [first, second]
    assert canvas._answer["revision"] == 5
    assert len(model.calls) == len(seen) == 2
    late = {"picture": canvas._picture["key"], "revision": 9, "strokes": [first]}
    canvas.load(picture[::-1].copy())
    canvas.set_state({"_drawing": late})
    assert canvas.strokes == []
    assert canvas._drawing["picture"] == canvas._picture["key"]


def test_a_drawing_that_another_picture_took_the_place_of_comes_back(picture):
    canvas = StrokeCanvas(picture, Grower())
    browser_draws(canvas, stroke((50, 50, 10)))
    message = {"type": "open", "name": "other.png", "part": 0, "parts": 1}
    canvas._message(canvas, message, [memoryview(encoded(picture[::-1]))])
    assert canvas._session == {"back": True}
    assert canvas.strokes == []
    canvas._message(canvas, {"type": "back", "drawing": dict(canvas._drawing)}, [])
    assert (canvas.image == picture).all()
    assert canvas.strokes == [stroke((50, 50, 10))]
    assert (canvas.mask == grown(canvas.strokes, 120, 160)).all()
    assert canvas._session == {}


def test_an_outline_by_hand_is_the_mask_and_brushes_go_on_from_it(picture):
    model = Grower()
    canvas, sent = StrokeCanvas(picture, model), []
    holed = [stroke((60, 60, 40)), stroke((60, 60, 12), kind="background"), stroke((140, 20, 8))]
    canvas.strokes = holed
    canvas.send = lambda content, buffers=(): sent.append(content)
    canvas._message(canvas, {"type": "outline", "drawing": dict(canvas._drawing)}, [])
    rings = sent[0]["rings"]
    assert len(rings) == 3, "two parts and a hole"
    outline = [{"kind": "outline", "points": points} for points in rings]
    mask, number = canvas.mask, len(model.calls)
    canvas.strokes = [*holed, *outline]
    assert (canvas.mask == mask).all()
    added = stroke((140, 100, 5))
    canvas.strokes = [*holed, *outline, added]
    assert (canvas.mask == mask | rasterize([added], 120, 160).object).all()
    assert len(model.calls) == number, "nothing is left to ask"


def test_a_preview_is_shown_and_not_kept(picture):
    canvas, sent = StrokeCanvas(picture, Grower()), []
    canvas.send = lambda content, buffers: sent.append((content["type"], covered(buffers[0])))
    unfinished = [stroke((50, 50, 10), (60, 50, 10))]
    canvas._message(canvas, {"type": "preview", "strokes": unfinished}, [])
    ((kind, shown),) = sent
    assert kind == "preview"
    assert (shown == grown(unfinished, 120, 160)).all()
    assert not canvas.mask.any()
    assert canvas.strokes == []


def test_corrections_are_united_and_taken_away_and_the_widget_says_so(picture):
    canvas = StrokeCanvas(picture, Grower())
    canvas.strokes = [stroke((50, 50, 10)), stroke((80, 50, 10))]
    assert not canvas.mask[41, 80]  # not yet corrections: the model may leave pixels out
    assert canvas._note["text"] == ""
    add = stroke((80, 50, 10), correction=True)
    remove = stroke((50, 55, 5), kind="background")
    canvas.strokes = [canvas.strokes[0], add, remove]
    assert canvas.mask[rasterize([add], 120, 160).object].all()
    assert not canvas.mask[rasterize([remove], 120, 160).background].any()
    assert "takes no corrections" in canvas._note["text"]
    canvas.strokes = [stroke((50, 50, 10), extent="whole")]
    assert "There is no other answer" in canvas._note["text"]


class Corrector:
    """A model that corrects, and never says the same twice."""

    corrects = True

    def __init__(self):
        self.given = []

    def refine(self, image, stroke, background=None, mask=None):
        self.given.append((background.sum(), None if mask is None else mask.sum()))
        return np.roll(stroke, len(self.given), axis=0) & ~background


def test_a_model_with_corrections_gets_the_background_and_the_mask_so_far(picture):
    model = Corrector()
    canvas = StrokeCanvas(picture, model)
    first, add = stroke((50, 50, 10)), stroke((90, 50, 6), correction=True)
    remove = stroke((50, 50, 5), kind="background")
    browser_draws(canvas, first)
    area = canvas.mask.sum()
    browser_draws(canvas, first, remove, add)
    assert model.given == [(0, None), (rasterize([remove], 120, 160).background.sum(), area)]
    # Whatever the model made of it, a correction holds.
    assert canvas.mask[rasterize([add], 120, 160).object].all()
    assert not canvas.mask[rasterize([remove], 120, 160).background].any()
    assert canvas._note["text"] == ""
    browser_draws(canvas, stroke((20, 50, 10), kind="background"))
    assert len(model.given) == 2  # without an object stroke there is nothing to refine
    assert not canvas.mask.any()


def test_a_model_with_corrections_gets_the_box_and_nothing_lies_outside(picture):
    class Boxed:
        corrects = True

        def refine(self, image, stroke, **given):
            asked.append((stroke.sum(), given.get("box")))
            return np.ones(stroke.shape, bool)

    asked = []
    height, width = picture.shape[:2]
    canvas = StrokeCanvas(picture, Boxed())
    box = stroke((10, 8, 1), (40, 30, 1), kind="box")
    inside = np.zeros((height, width), bool)
    inside[8:30, 10:40] = True
    browser_draws(canvas, box)
    assert (canvas.mask == inside).all()
    browser_draws(canvas, box, stroke((20, 20, 3)), stroke((30, 20, 2), kind="background"))
    wall = rasterize([stroke((30, 20, 2), kind="background")], height, width).background
    assert (canvas.mask == inside & ~wall).all()
    browser_draws(canvas, stroke((20, 20, 3)))
    disc = rasterize([stroke((20, 20, 3))], height, width).object.sum()
    assert asked == [(0, (10, 8, 40, 30)), (disc, (10, 8, 40, 30)), (disc, None)]


def test_undo_brings_the_very_mask_back(picture):
    model, masks = Corrector(), []
    canvas = StrokeCanvas(picture, model)
    first, second = stroke((50, 50, 10)), stroke((60, 50, 5), kind="background")
    for strokes in ([first], [first, second], [first], [first, second]):
        browser_draws(canvas, *strokes)
        masks.append(canvas.mask)
    assert len(model.given) == 2
    assert (masks[0] != masks[1]).any()
    assert (masks[0] == masks[2]).all()
    assert (masks[1] == masks[3]).all()
    canvas.refiner = Grower()
    browser_draws(canvas, first)  # what another model said does not count
    assert (canvas.mask == grown([first], 120, 160)).all()


@pytest.mark.parametrize("model", [None, Grower()])
def test_background_alone_says_what_is_missing(picture, model):
    canvas = StrokeCanvas(picture, model)
    browser_draws(canvas, stroke((20, 50, 10), kind="background"))
    assert not canvas.mask.any()
    assert "brush over the object too" in canvas._note["text"]
    browser_draws(canvas, stroke((20, 50, 10), kind="erase"))
    assert canvas._note["text"] == ""


def test_a_model_that_loads_later_is_waited_for_and_its_failure_told(picture):
    loaded, seen = threading.Event(), []

    def load():
        assert loaded.wait(20)
        return Grower()

    later = widget.Later(load)
    canvas = StrokeCanvas(picture, later)  # shows at once
    assert not later.ready
    canvas.observe(lambda change: (seen.append(change.new["text"]), loaded.set()), "_note")
    browser_draws(canvas, stroke((50, 50, 10)))
    assert seen == ["The model is being loaded; the mask will follow.", ""]
    assert (canvas.mask == grown(canvas.strokes, 120, 160)).all()

    def fail():
        raise ValueError("weights.safetensors: no such checkpoint")

    canvas.refiner = widget.Later(fail)
    browser_draws(canvas, stroke((20, 50, 10)))
    said = "The model failed: weights.safetensors: no such checkpoint"
    assert canvas._note == {"text": said, "level": "error"}
    assert canvas._answer["revision"] == canvas._drawing["revision"]
    canvas.refiner = later
    browser_draws(canvas, stroke((20, 50, 10)))
    assert (canvas.mask == grown(canvas.strokes, 120, 160)).all()


@pytest.mark.parametrize(
    ("returns", "got"),
    [
        (lambda mask: mask.astype(np.uint8) * 255, "bool (try mask > 0), got uint8"),
        (lambda mask: mask[None], "the picture's height and width (60, 80), got (1, 60, 80)"),
        (lambda mask: None, "a NumPy array, got NoneType"),
    ],
)
def test_an_answer_that_is_no_mask_is_named_and_nothing_drawn_is_lost(tmp_path, returns, got):
    class Own:
        def refine(self, image, stroke):
            return returns(stroke)

    Image.new("RGB", (80, 60)).save(tmp_path / "a.png")
    canvas = StrokeCanvas(refiner=Own(), session=FolderSession(tmp_path))
    browser_draws(canvas, stroke((50, 50, 5)))
    said = "The model failed: what refine returned is no mask: mask must "
    assert canvas._note["text"].startswith(said)
    assert canvas._note["text"].endswith(got)
    (kept,) = json.loads((tmp_path / "annotations.json").read_text())["annotations"]
    assert kept["strokes"] == canvas.strokes == [stroke((50, 50, 5))]
    assert (canvas.mask == rasterize(canvas.strokes, 60, 80).object).all(), "what was brushed"


def test_twelve_megapixels_are_shown_and_refined_scaled_and_masked_at_full_size():
    model = Grower()
    canvas = StrokeCanvas(np.zeros((3000, 4000, 3), np.uint8), model)
    assert (canvas._picture["width"], canvas._picture["height"]) == (4000, 3000)
    canvas.strokes = [stroke((2000, 1500, 400), (2600, 1500, 300))]
    assert canvas.mask.shape == (3000, 4000)
    shown = Image.open(io.BytesIO(canvas._jpeg))
    assert shown.width * shown.height <= pictures.MAX_SHOWN
    (height, width, _), _ = model.calls[0]
    assert height * width <= 1_210_000
    expected = np.roll(rasterize(canvas.strokes, 3000, 4000).object, round(3 * 3000 / height), 0)
    assert (canvas.mask & expected).sum() / (canvas.mask | expected).sum() > 0.98
    assert abs(covered(canvas._answer["png"]).mean() - canvas.mask.mean()) < 0.001


def test_a_dot_does_not_vanish_from_a_large_picture():
    model, image = Grower(), np.zeros((3000, 4000, 3), np.uint8)
    dot = stroke((2000, 1500, 1))
    mask, note, _ = mask_of(model, image, [dot])
    assert mask.any()
    assert note == ""
    assert model.calls[0][1] in (1, 2), "pixels, and no more than it takes"
    assert mask_of(model, image, [stroke((40, 40, 60)), {**dot, "kind": "background"}])[1]


def test_a_drawing_with_more_than_can_be_painted_is_told_and_the_one_before_stays(picture):
    canvas = StrokeCanvas(picture, Grower())
    first = stroke((50, 50, 10))
    browser_draws(canvas, first)
    mask = canvas.mask
    assert mask.any()
    for endless in (stroke(*[(50, 50, 10)] * 100_001), stroke((5, 5, 30_000))):
        browser_draws(canvas, first, endless)
        assert canvas._note["level"] == "error"
        assert canvas._note["text"].startswith("Not taken: ")
        revisions = canvas._answer["revision"], canvas._drawing["revision"]
        assert revisions[0] == revisions[1], "the browser does not wait for ever"
        assert canvas.strokes == [first]
        assert (canvas.mask == mask).all()
    browser_draws(canvas, first, stroke((9, 9, 3)))
    assert canvas._note["text"] == ""


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_pictures_of_any_shape_are_drawn_on(shape):
    canvas = StrokeCanvas(np.zeros((*shape, 3), np.uint8), Grower())
    canvas.strokes = [stroke((0.5, 0.5, 1)), stroke((shape[1] / 2, shape[0] / 2, 2000))]
    assert canvas.mask.shape == shape
    assert canvas.mask.any()
    assert Image.open(io.BytesIO(canvas.export("mask")[1])).size == shape[::-1]


# --- pictures in ----------------------------------------------------------------------------------


def test_any_picture_comes_in(picture, tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    sideways = encoded(picture, "JPEG", exif=turned, quality=95)
    assert StrokeCanvas(sideways).image.shape == (160, 120, 3)
    grey = np.repeat(picture[..., :1], 3, axis=2)
    deep, clear = grey[..., 0].astype(np.uint16) * 257, np.zeros((120, 160, 1), np.uint8)
    for source, expected in (
        (grey[..., 0], grey),
        (encoded(deep), grey),
        (np.dstack([picture, clear]), 255),
        (encoded(picture), picture),
    ):
        assert (StrokeCanvas(source).image == expected).all()
    (tmp_path / "photo.png").write_bytes(encoded(picture))
    assert (StrokeCanvas(tmp_path / "photo.png").image == picture).all()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"not a picture", "holiday.jpg: not a readable picture"),
        (np.zeros((4, 4, 2), np.uint8), "holiday.jpg: uint8 H×W"),
        (np.zeros((4, 4, 3)), "holiday.jpg: uint8 H×W"),
        (np.zeros((0, 4), np.uint8), "holiday.jpg: the array is empty"),
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
    data = encoded(picture[:50])
    for part, half in enumerate((data[:1000], data[1000:])):
        message = {"type": "open", "name": "half.png", "part": part, "parts": 2}
        canvas._message(canvas, message, [memoryview(half)])
    assert canvas.image.shape == (50, 160, 3)
    assert canvas.name == "half.png"
    message = {"type": "open", "name": "bad.jpg", "part": 0, "parts": 1}
    for bad in (({"type": "open"}, []), ({}, []), (message, [memoryview(data[:2000])])):
        canvas._message(canvas, *bad)
        assert canvas._note["level"] == "error"
        assert canvas.image.shape == (50, 160, 3)
    assert canvas._note["text"].startswith("bad.jpg: ")
