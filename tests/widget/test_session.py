"""A folder drawn picture by picture into a COCO file."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor

import drawing
import numpy as np
import pytest
from drawing import (
    Grower,
    Teller,
    at,
    browser_draws,
    covered,
    go,
    grown,
    opened,
    press,
    saved,
    stroke,
)
from PIL import Image
from pycocotools.coco import COCO

from nseg_lib.data import outputs
from nseg_lib.data.coco import DataError
from nseg_lib.strokes.drawing import rasterize
from nseg_lib.widget import FolderSession, results


@pytest.fixture
def folder(tmp_path):
    return drawing.write_pictures(tmp_path)


def test_a_folder_session_grows_a_coco_file_and_goes_on_another_day(folder):
    canvas = opened(folder, Grower(), category="cat")
    assert at(canvas, "index", "total", "done", "name") == (0, 4, 0, "a.png")
    browser_draws(canvas, stroke((20, 20, 8)))
    assert len(saved(folder)) == 1
    last, other = stroke((20, 20, 9)), stroke((40, 30, 5))
    go(canvas, strokes=[last])  # the last stroke travels with the button
    assert canvas.strokes == []
    go(canvas, strokes=[other])
    masks = {"a.png": grown([last], 60, 80), "b.png": grown([other], 60, 80)}
    assert canvas.image is None
    assert canvas._note["level"] == "error"
    assert "c.jpg: not a readable picture" in canvas._note["text"]
    go(canvas)
    assert at(canvas, "index", "total", "done", "name") == (3, 4, 2, "d.png")
    go(canvas)
    assert "No more pictures" in canvas._note["text"]

    coco = COCO(str(folder / "annotations.json"))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["cat"]
    for annotation in coco.loadAnns(coco.getAnnIds()):
        name = coco.loadImgs(annotation["image_id"])[0]["file_name"]
        assert (coco.annToMask(annotation) == masks[name]).all()

    again = opened(folder, category="cat")  # another day, no model
    assert at(again, "name") == ("c.jpg",)
    before = (folder / "annotations.json").read_bytes()
    go(again, -1)
    assert again.strokes == [other]
    assert (again.mask == masks["b.png"]).all()  # looking changes nothing
    assert (folder / "annotations.json").read_bytes() == before
    browser_draws(again)  # cleared: its annotation goes
    assert at(again, "done") == (1,)


def test_a_picture_holds_several_objects_of_several_categories(folder):
    canvas = opened(folder, Grower())
    assert at(canvas, "object", "objects", "category") == (0, 0, "object")
    key, jpeg = canvas._picture["key"], canvas._jpeg
    cat, dog, tail = ([stroke((x, 20, 6))] for x in (15, 40, 65))
    press(canvas, type="category", name="  ")
    assert canvas._note == {"text": "a category needs a name", "level": "error"}
    press(canvas, type="category", name=" cat ")
    assert canvas._note["text"] == "This label is kept for the objects to come: cat"
    press(canvas, cat, type="object", step=0)
    assert canvas.strokes == []
    assert canvas._picture["key"] > key  # a late stroke of the first object cannot reach the second
    assert canvas._jpeg is jpeg
    assert (covered(canvas._picture["others"]) == grown(cat, 60, 80)).all()
    press(canvas, dog, type="category", name="dog")
    press(canvas, type="object", step=0)
    assert at(canvas, "object", "objects", "category") == (2, 2, "dog")
    assert at(canvas, "categories") == (["cat", "dog"],)
    browser_draws(canvas, *tail)
    go(canvas)
    assert at(canvas, "done", "object", "objects") == (1, 0, 0)
    assert [a["strokes"] for a in saved(folder)] == [cat, dog, tail]
    assert [a["category_id"] for a in saved(folder)] == [1, 2, 2]
    assert len(saved(folder, "images")) == 1

    again = opened(folder, Grower())
    assert at(again, "name", "category") == ("b.png", "dog")
    go(again, -1)
    press(again, type="object", step=1)
    assert again.strokes == dog
    browser_draws(again, *dog, stroke((40, 40, 5)))
    assert [a["id"] for a in saved(folder)] == [1, 2, 3]
    press(again, type="object", step=1)
    press(again, type="object", step=1)  # no further one
    assert again.strokes == tail
    press(again, type="object", step=-1)
    assert len(again.strokes) == 2


def test_nothing_of_a_finished_object_is_given_to_the_next(folder):
    canvas = opened(folder, Grower())
    first, over, beside = stroke((20, 20, 8)), stroke((20, 20, 6)), stroke((30, 20, 8))
    browser_draws(canvas, first)
    theirs = canvas.mask
    press(canvas, type="object", step=0)
    browser_draws(canvas, over)  # wholly on the first one
    assert not canvas.mask.any()
    assert "click that object" in canvas._note["text"]
    assert len(saved(folder)) == 1
    browser_draws(canvas, over, beside)
    assert "stays with it" in canvas._note["text"]
    free = grown([over, beside], 60, 80) & ~theirs
    assert not (canvas.mask & ~free).any()
    assert canvas.mask.sum() > 0.9 * free.sum()
    assert (covered(canvas._answer["png"]) == canvas.mask).all()
    browser_draws(canvas, over)
    browser_draws(canvas, over, beside)  # undone and drawn again
    assert not (canvas.mask & theirs).any()
    assert [annotation["area"] for annotation in saved(folder)] == [theirs.sum(), canvas.mask.sum()]


def test_no_rim_is_left_around_a_finished_object_unless_it_is_brushed(folder):
    canvas = opened(folder, Grower())
    browser_draws(canvas, stroke((20, 20, 8)))
    press(canvas, type="object", step=0)
    around = stroke((20, 20, 9))
    browser_draws(canvas, around)
    brushed = rasterize([around], 60, 80).object
    assert canvas.mask.any()
    assert not (canvas.mask & ~brushed).any()


def test_what_was_left_is_shown_again(folder):
    canvas = opened(folder, Grower())
    assert at(canvas, "back", "saved") == (False, "annotations.json")
    browser_draws(canvas, stroke((20, 20, 8)))
    press(canvas, type="object", step=0)
    assert at(canvas, "back") == (True,)
    press(canvas, type="back")
    assert canvas.strokes == [stroke((20, 20, 8))]
    press(canvas, type="go", step=1)
    press(canvas, type="back")
    assert at(canvas, "name", "back") == ("a.png", False)
    assert canvas.strokes == [stroke((20, 20, 8))]


def test_a_session_goes_on_after_the_last_picture_that_is_done(folder):
    session = FolderSession(folder)
    session.go(1)
    session.record(np.ones((60, 80), bool), [stroke((1, 1, 1))])
    assert FolderSession(folder).path.name == "c.jpg"  # a.png was passed over


def test_a_failing_model_takes_no_annotation_away(folder):
    canvas = opened(folder, Grower())
    browser_draws(canvas, stroke((20, 20, 8)))
    canvas.refiner, mask = object(), canvas.mask
    browser_draws(canvas, stroke((20, 20, 8)), stroke((40, 20, 8)))
    assert (canvas.mask == mask).all()
    assert "The model failed: 'object' object has no attribute" in canvas._note["text"]
    (kept,) = saved(folder)
    assert (kept["area"], len(kept["strokes"])) == (mask.sum(), 2)


# --- what goes wrong with the file ----------------------------------------------------------------


def test_what_could_not_be_written_is_told_and_written_later(folder, monkeypatch):
    canvas = opened(folder, Grower())
    before = sorted(folder.iterdir())

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        browser_draws(canvas, stroke((20, 20, 8)))
        assert canvas._note["text"].startswith("Not saved: ")
        assert "No space left" in canvas._note["text"]
        go(canvas)
        assert at(canvas, "name") == ("a.png",), "it stays"
        assert canvas._note["level"] == "error"
        assert sorted(folder.iterdir()) == before
    go(canvas)
    assert at(canvas, "name") == ("b.png",)
    assert [a["strokes"] for a in saved(folder)] == [[stroke((20, 20, 8))]]


def test_a_file_that_somebody_broke_is_not_written_over(folder):
    canvas = opened(folder, Grower())
    browser_draws(canvas, stroke((20, 20, 8)))
    out = folder / "annotations.json"
    good = out.read_text()
    out.write_text(good[:-1] + ",")
    for radius in (3, 4):
        browser_draws(canvas, stroke((20, 20, radius)))
        assert "Not saved" in canvas._note["text"]
    go(canvas)
    assert at(canvas, "name") == ("a.png",)
    assert out.read_text() == good[:-1] + ","
    out.write_text(good)
    go(canvas)
    assert at(canvas, "name") == ("b.png",)
    assert [a["strokes"] for a in saved(folder)] == [[stroke((20, 20, 4))]]
    out.unlink()  # gone for a moment, and back whole
    browser_draws(canvas, stroke((30, 30, 4)))
    assert len(saved(folder)) == 2


def test_two_windows_on_one_folder_keep_each_other_s_objects_and_say_so(folder):
    one, other = opened(folder, Grower()), opened(folder, Grower())
    assert one._note["text"] == ""
    assert "Another window has this folder open" in other._note["text"]
    go(other)
    for canvas, x in ((one, 20), (other, 30), (one, 40)):
        browser_draws(canvas, stroke((x, 20, 8)))
    assert [a["strokes"][0]["points"][0][0] for a in saved(folder)] == [40, 30]
    assert sorted(i["file_name"] for i in saved(folder, "images")) == ["a.png", "b.png"]


def test_who_drew_on_the_same_picture_meanwhile_is_told(folder):
    one, other = opened(folder, Grower()), opened(folder, Grower())
    browser_draws(one, stroke((20, 20, 8)))
    browser_draws(other, stroke((50, 20, 8)))
    assert "drew another object of this picture" in other._note["text"]
    browser_draws(other, stroke((50, 20, 8)), stroke((50, 30, 8)))
    assert other._note["text"] == "", "told once"
    assert len(saved(folder)) == 2
    go(one)
    go(one, -1)
    assert at(one, "objects") == (2,)
    press(other, type="object", step=-1)
    browser_draws(other)  # deletes the first window's
    browser_draws(one, stroke((20, 20, 8)), stroke((20, 30, 8)))
    assert "deleted this object: yours is kept" in one._note["text"]
    assert len(saved(folder)) == 2


def test_how_sure_the_network_is_is_saved_with_its_masks_alone(folder):
    canvas = opened(folder, Teller())
    line, beside = stroke((10, 30, 2), (60, 30, 2)), stroke((30, 36, 8))
    browser_draws(canvas, line)
    painted = rasterize([line], 60, 80).object
    below = np.roll(painted, 1, axis=0) & ~painted
    expected = painted.sum() / (painted.sum() + 0.5 * below.sum())
    assert [a["sure"] for a in saved(folder)] == [pytest.approx(expected, abs=1e-4)]
    assert json.loads(canvas.export("rle")[1])["annotations"][0]["sure"] == saved(folder)[0]["sure"]

    # An outline by hand has none; undone, the figure is back, also after leaving the object.
    rings = results.editable_outline(canvas.mask)
    outline = [{"kind": "outline", "points": points} for points in rings]
    browser_draws(canvas, line, *outline)
    assert "sure" not in saved(folder)[0]
    press(canvas, [line], type="object", step=0)
    first = saved(folder)[0]
    assert first["sure"] == pytest.approx(expected, abs=1e-4)

    # Taken up again after a restart, a correction goes on from the steps that were saved.
    more = stroke((10, 40, 2), (60, 40, 2), correction=True)
    press(canvas, type="object", step=-1)
    browser_draws(canvas, line, more)
    again = opened(folder, Teller())
    go(again, -1)
    assert json.loads(again.export("strokes")[1])["steps"] == saved(folder)[0]["steps"] == [1, 2]
    browser_draws(again, line)
    assert "steps" not in saved(folder)[0]
    go(canvas)
    go(canvas, -1)
    press(canvas, type="object", step=0)

    # What is taken by a finished object counts neither for nor against the next one.
    browser_draws(canvas, beside)
    below = np.roll(rasterize([beside], 60, 80).object, 1, axis=0) & ~canvas.mask & ~painted
    beside_it = canvas.mask.sum() / (canvas.mask.sum() + 0.5 * below.sum())
    assert saved(folder)[1]["sure"] == pytest.approx(beside_it, abs=0.02)


def test_windows_that_save_at_the_same_moment_lose_nothing(folder):
    """Each reads the file and writes it: nobody else may do so in between."""
    sessions = [FolderSession(folder) for _ in range(3)]

    def draw(session):
        for number in range(8):
            session.new_object()
            session.record(np.ones((60, 80), bool), [stroke((number, 1, 1))])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(draw, sessions))
    assert len({annotation["id"] for annotation in saved(folder)}) == 24
    assert not list(folder.glob(".*lock"))


def test_an_object_that_another_program_changed_is_kept_beside_ours(folder):
    canvas = opened(folder, Grower())
    browser_draws(canvas, stroke((20, 20, 8)))
    out = folder / "annotations.json"
    content = json.loads(out.read_text())
    theirs = content["annotations"][0] | outputs.annotation(np.ones((60, 80), bool)) | {"area": 1}
    out.write_text(json.dumps(content | {"annotations": [theirs]}))
    browser_draws(canvas, stroke((30, 20, 8)))
    owner = out.owner()
    assert re.match(rf"{owner} \(\d\d:\d\d\) changed this object too", canvas._note["text"])
    kept, ours = saved(folder)
    assert kept == theirs
    assert ours["strokes"] == [stroke((30, 20, 8))]
    browser_draws(canvas, stroke((40, 20, 8)))
    assert len(saved(folder)) == 2


def test_a_picture_that_vanishes_keeps_its_mask(folder):
    canvas = opened(folder, Grower())
    (folder / "a.png").unlink()
    browser_draws(canvas, stroke((20, 20, 8)))
    go(canvas)
    go(canvas, -1)
    assert "a.png: no such picture" in canvas._note["text"]
    assert len(saved(folder)) == 1


# --- pictures -------------------------------------------------------------------------------------


def test_pictures_of_every_format_come_in_natural_order_and_the_rest_is_named(tmp_path):
    names = ["img1.jfif", "img2.JPE", "Img3.png", "img9.gif", "img10.jpg", "img11.tif"]
    for name in reversed(names):
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    for name in ("._img1.jpg", "b.psd", "notes.txt", "annotations.json.77.part"):
        (tmp_path / name).write_bytes(b"\0")
    (tmp_path / "folder.jpg").mkdir()
    session = FolderSession(tmp_path)
    assert [path.name for path in session.pictures] == names
    assert session.left_out == ["b.psd", "notes.txt"]


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_lie_on_the_picture_as_every_reader_has_it(tmp_path, orientation, width, recorded):
    folder, out = tmp_path / "mine", tmp_path / "annotations" / "instances_mine.json"
    name = drawing.save_turned(folder, width, orientation).name
    out.parent.mkdir()
    if recorded:  # by another program, at the size as it is stored
        image = {"id": 1, "file_name": name, "width": width, "height": 60}
        out.write_text(json.dumps(outputs.document([image], [])))
    canvas = opened(folder, out=out)
    drawing.draw_on_the_patch(canvas)
    if orientation >= 5 and width == 80 and not recorded:
        assert canvas.image.shape == (80, 60, 3), "upright where the size tells"
    drawing.check_for_readers(tmp_path, canvas.mask)
    again = opened(folder, out=out)
    assert (again.image == canvas.image).all()
    assert (again.mask == canvas.mask).all()


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('{"images": 3}', "'images' must be a list"),
        ('{"images": [{"id": 1}, {"id": "x"}]}', "'images', record 2: no integer id"),
        ("[", "not valid JSON"),
        ('{"images": [], "annotations": [], "images": []}', "key 'images' stands there twice"),
    ],
)
def test_bad_folders_and_files_are_named(folder, written, says):
    with pytest.raises(DataError, match="no such folder"):
        FolderSession(folder / "nowhere")
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures in it"):
        FolderSession(folder / "empty")
    (folder / "annotations.json").write_text(written)
    with pytest.raises(DataError, match=says):
        FolderSession(folder)
