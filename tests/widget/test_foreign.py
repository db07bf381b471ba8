"""A COCO file that other programs wrote, or changed, goes on being drawn."""

from __future__ import annotations

import json
import random
import unicodedata

import drawing
import numpy as np
import pytest
from drawing import Grower, at, browser_draws, covered, go, opened, press, saved, stroke
from PIL import Image

from nseg_lib.data.coco import DataError
from nseg_lib.strokes.drawing import rasterize
from nseg_lib.widget import FolderSession


@pytest.fixture
def folder(tmp_path):
    return drawing.write_pictures(tmp_path)


THEIRS = {
    "id": 5, "image_id": 7, "category_id": 1, "iscrowd": 0, "area": 200.5, "bbox": [9, 9, 20, 10],
    "segmentation": [[10.0, 10.0, 30.0, 10.0, 30.0, 20.0, 10.0, 20.0]], "score": 0.5,
}  # fmt: skip
PICTURE = {"id": 7, "file_name": "a.png", "width": 80, "height": 60}


def foreign(folder, image=PICTURE, **more):
    """Write the file of another program, with an object on a.png."""
    content = {"images": [image], "annotations": [THEIRS], "categories": [{"id": 1, "name": "dog"}]}
    (folder / "annotations.json").write_text(json.dumps(content | more))


def test_an_object_of_another_program_is_shown_and_stays_when_one_is_drawn_beside_it(folder):
    foreign(folder)
    canvas = opened(folder, Grower())
    assert "1 object of another program" in canvas._note["text"]
    others = np.argwhere(covered(canvas._picture["others"]))
    assert (others[[0, -1]] == [[10, 10], [19, 29]]).all()
    assert at(canvas, "done", "object", "objects") == (0, 1, 1)
    browser_draws(canvas, stroke((60, 40, 8)))
    assert saved(folder)[0] == THEIRS
    assert [(a["id"], a["image_id"]) for a in saved(folder)] == [(5, 7), (6, 7)]


@pytest.mark.parametrize("crowd", [0, 1])
def test_an_object_may_be_drawn_in_a_crowd_and_not_in_another_object(folder, crowd):
    foreign(folder, annotations=[THEIRS | {"iscrowd": crowd}])
    canvas = opened(folder)
    browser_draws(canvas, stroke((20, 15, 3)))
    assert canvas.mask.any() == bool(crowd)


@pytest.mark.parametrize("model", [None, Grower()])
def test_an_object_of_another_program_is_taken_up_and_comes_back(folder, model):
    foreign(folder)
    canvas = opened(folder, model)
    press(canvas, type="object", step=-1)
    assert (canvas.strokes, canvas.mask.sum()) == ([], 200)
    added = stroke((60, 40, 8), correction=True)
    for strokes in ([added], [added, stroke((15, 15, 3), kind="background")]):
        browser_draws(canvas, *strokes)
        (kept,) = saved(folder)
        assert kept["area"] == canvas.mask.sum()
        assert canvas.mask[19, 29]
        assert canvas.mask[rasterize([added], 60, 80).object].all()
        assert (kept["id"], kept["score"], kept["strokes"]) == (5, 0.5, strokes)
    assert not canvas.mask[15, 15]
    again = opened(folder, model)  # another day
    go(again, -1)
    assert (again.mask == canvas.mask).all()
    browser_draws(again)
    assert again.mask.sum() == 200
    assert saved(folder) == [THEIRS]


def test_an_object_of_another_program_can_be_deleted(folder):
    foreign(folder)
    canvas = opened(folder)
    press(canvas, type="delete")  # the current object is a new one
    assert saved(folder) == [THEIRS]
    press(canvas, type="object", step=-1)
    press(canvas, type="delete")
    assert saved(folder) == []
    assert not canvas.mask.any()
    assert canvas._session["objects"] == 0


def test_a_model_that_corrects_is_given_what_another_program_drew(folder):
    class Corrector:
        corrects = True

        def refine(self, image, stroke, background=None, mask=None):
            given.append(mask.sum())
            return mask | stroke

    given = []
    foreign(folder)
    canvas = opened(folder, Corrector())
    press(canvas, type="object", step=-1)
    browser_draws(canvas, stroke((60, 40, 4)))
    assert given == [200]
    assert saved(folder)[0]["area"] == 200 + rasterize(canvas.strokes, 60, 80).object.sum()


def test_what_cannot_be_shown_of_another_program_is_said_and_kept(folder):
    broken = THEIRS | {"segmentation": {"size": [9, 9], "counts": "1"}}
    boxed = {key: THEIRS[key] for key in ("image_id", "category_id", "bbox")} | {"id": 6}
    foreign(folder, annotations=[broken, boxed])
    canvas = opened(folder, Grower())
    assert "1 without a mask that can be shown" in canvas._note["text"]
    browser_draws(canvas, stroke((60, 40, 8)))
    assert saved(folder)[:2] == [broken, boxed]


@pytest.mark.parametrize(
    "name", ["images/a é b.png", "images\\a é b.png", "./a é b.png", "a%20%C3%A9%20b.png"]
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_record_is_found_however_its_name_is_written(tmp_path, name, form):
    Image.new("RGB", (80, 60)).save(tmp_path / unicodedata.normalize(form, "a é b.png"))
    for other in ("NFC", "NFD"):
        record = {"id": 7, "file_name": unicodedata.normalize(other, name)}
        foreign(tmp_path, record)
        session = FolderSession(tmp_path)
        session.record(np.ones((60, 80), bool), [stroke((1, 1, 1))])
        assert saved(tmp_path, "images") == [record | {"width": 80, "height": 60}], "and its size"
        assert session.state()["done"] == 1


def test_two_records_of_one_name_are_told_apart_by_their_folder_or_named(folder):
    names = [f"{folder.name}/a.png", "elsewhere/a.png"]
    images = [{"id": n, "file_name": name} for n, name in enumerate(names, 7)]
    foreign(folder, images=images)
    FolderSession(folder).record(np.ones((60, 80), bool), [stroke((1, 1, 1))])
    assert saved(folder)[-1]["image_id"] == 7
    images[0]["file_name"] = "third/a.png"
    foreign(folder, images=images)
    said = opened(folder)._note["text"]
    assert "2 records may be of a.png: third/a.png, elsewhere/a.png" in said


def test_numbers_as_text_are_read_and_names_that_are_none_not_offered(folder):
    text = PICTURE | {"id": "7", "width": "80", "height": 60.0}
    foreign(folder, text, categories=[{"id": 1, "name": None}, {"id": 2}])
    canvas = opened(folder, Grower())
    assert canvas.image.shape == (60, 80, 3)
    assert at(canvas, "categories") == ([],)
    browser_draws(canvas, stroke((60, 40, 8)))
    assert saved(folder, "images") == [PICTURE]


@pytest.mark.parametrize(
    ("width", "says"),
    [
        (70, "a.png: the picture is 80x60, its record says 70x60"),
        ("wide", "a.png: its record has a side of 'wide', which is no whole number"),
    ],
)
def test_a_picture_of_another_size_than_its_record_is_not_drawn_on(folder, width, says):
    foreign(folder, PICTURE | {"width": width})
    canvas = opened(folder)
    assert canvas.image is None
    assert canvas._note["level"] == "error"
    assert says in canvas._note["text"]
    go(canvas)
    assert at(canvas, "name") == ("b.png",)


def test_a_picture_of_its_record_s_shape_is_scaled_to_it_and_told(folder):
    foreign(folder, PICTURE | {"width": 160, "height": 120})
    canvas = opened(folder)
    assert canvas.image.shape == (120, 160, 3)
    assert "Picture scaled to its record's 160x120 pixels, from 80x60" in canvas._note["text"]
    browser_draws(canvas, stroke((60, 40, 8)))
    assert saved(folder)[-1]["segmentation"]["size"] == [120, 160]


VALUES = (
    None, -1, 0, 1e308, float("nan"), "x", "", [], {}, [[]], [{}], True, 2**70, "\0", [None], "1",
)  # fmt: skip


def places(value, path=()):
    """The path of every value within a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in inner:
        yield (*path, key)
        if isinstance(each, dict | list):
            yield from places(each, (*path, key))


@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_file_holds_is_opened_or_named(folder, seed):
    """One value of a good file replaced by another, or gone: no error but a line that names it."""
    rng = random.Random(seed)
    foreign(folder)
    canvas = opened(folder, Grower())
    browser_draws(canvas, stroke((60, 40, 8)))
    press(canvas, type="object", step=-1)
    browser_draws(canvas, stroke((15, 15, 4), correction=True))
    content = {key: saved(folder, key) for key in ("images", "annotations", "categories")}
    *way, last = rng.choice(list(places(content)))
    parent = content
    for key in way:
        parent = parent[key]
    parent[last] = rng.choice(VALUES)
    out = folder / "annotations.json"
    out.write_text(json.dumps(content))
    try:
        canvas = opened(folder, Grower())
    except DataError as error:
        canvas, said = None, str(error)
    if canvas is None:
        assert str(out) in said
        return
    for message in ({"type": "go", "step": -1}, {"type": "object", "step": 1}, {"type": "object"}):
        press(canvas, **message)
        if canvas.image is not None:
            browser_draws(canvas, stroke((20, 40, 4)))
        if canvas._note["level"] == "error":
            assert "a.png" in canvas._note["text"]
    json.loads(out.read_text())
