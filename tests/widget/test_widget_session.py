"""A folder drawn picture by picture into a COCO file."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from drawing import Grower, browser_draws, patch, save_turned, stroke
from PIL import Image
from pycocotools.coco import COCO
from skimage import data as photographs

from nseg_lib import provenance
from nseg_lib.data.coco import DataError, annotation_mask, load_split
from nseg_lib.strokes.drawing import rasterize
from nseg_lib.widget import FolderSession, StrokeCanvas, results


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b", "d"):
        Image.fromarray(photographs.chelsea()[:60, :80]).save(tmp_path / f"{name}.png")
    (tmp_path / "c.jpg").write_bytes(b"broken")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def press(canvas, strokes=None, **message):
    """A button of the folder's row, which takes with it what was drawn last."""
    drawing = dict(canvas._drawing)
    if strokes is not None:
        drawing |= {"revision": drawing["revision"] + 1, "strokes": strokes}
    canvas._message(canvas, {**message, "drawing": drawing}, [])


def go(canvas, step=1, strokes=None):
    press(canvas, strokes, type="go", step=step)


def at(canvas, *keys):
    return {key: canvas._session[key] for key in keys or ("index", "total", "done", "name")}


def test_a_folder_session_grows_a_coco_file_and_goes_on_another_day(folder):
    canvas = StrokeCanvas(refiner=Grower(), session=FolderSession(folder, category="cat"))
    assert at(canvas) == {"index": 0, "total": 4, "done": 0, "name": "a.png"}
    browser_draws(canvas, [stroke((20, 20, 8))], 2)
    assert len(json.loads((folder / "annotations.json").read_text())["annotations"]) == 1
    go(canvas, strokes=[stroke((20, 20, 9))])  # the last stroke travels with the button
    masks = {"a.png": np.roll(rasterize([stroke((20, 20, 9))], 60, 80).object, 3, axis=0)}
    assert canvas.strokes == []
    go(canvas, strokes=[stroke((40, 30, 5))])
    masks["b.png"] = np.roll(rasterize([stroke((40, 30, 5))], 60, 80).object, 3, axis=0)
    assert canvas.image is None
    assert canvas._note["level"] == "error"
    assert "c.jpg: not a readable picture" in canvas._note["text"]
    go(canvas)
    assert at(canvas) == {"index": 3, "total": 4, "done": 2, "name": "d.png"}
    go(canvas)
    assert "No more pictures" in canvas._note["text"]

    coco = COCO(str(folder / "annotations.json"))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["cat"]
    for annotation in coco.loadAnns(coco.getAnnIds()):
        name = coco.loadImgs(annotation["image_id"])[0]["file_name"]
        assert (coco.annToMask(annotation) == masks[name]).all()

    again = StrokeCanvas(session=FolderSession(folder, category="cat"))  # another day, no model
    assert again._session["name"] == "c.jpg"
    before = (folder / "annotations.json").read_bytes()
    go(again, -1)
    assert again.strokes == [stroke((40, 30, 5))]
    assert (again.mask == masks["b.png"]).all()  # looking changes nothing
    assert (folder / "annotations.json").read_bytes() == before
    browser_draws(again, [], 2)  # cleared: its annotation goes
    assert again._session["done"] == 1


def test_a_picture_holds_several_objects_of_several_categories(folder):
    canvas = StrokeCanvas(refiner=Grower(), session=FolderSession(folder))
    assert at(canvas, "object", "objects", "category") == {
        "object": 0, "objects": 0, "category": "object",
    }  # fmt: skip
    key, jpeg = canvas._picture["key"], canvas._jpeg
    cat, dog, tail = ([stroke((x, 20, 6))] for x in (15, 40, 65))
    press(canvas, type="category", name=" cat ")
    press(canvas, cat, type="object", step=0)
    assert canvas.strokes == []
    assert canvas._picture["key"] > key  # a late stroke of the first object cannot reach the second
    assert canvas._jpeg is jpeg
    others = np.asarray(Image.open(io.BytesIO(canvas._picture["others"])).convert("RGBA"))[..., 3]
    assert ((others > 0) == np.roll(rasterize(cat, 60, 80).object, 3, axis=0)).all()
    press(canvas, dog, type="category", name="dog")
    press(canvas, type="object", step=0)
    assert at(canvas, "object", "objects", "category", "categories") == {
        "object": 2, "objects": 2, "category": "dog", "categories": ["cat", "dog"],
    }  # fmt: skip
    browser_draws(canvas, tail, 2)
    go(canvas, 1)
    assert at(canvas, "done", "object", "objects") == {"done": 1, "object": 0, "objects": 0}

    content = json.loads((folder / "annotations.json").read_text())
    assert [a["strokes"] for a in content["annotations"]] == [cat, dog, tail]
    assert [a["category_id"] for a in content["annotations"]] == [1, 2, 2]
    assert len(content["images"]) == 1
    COCO(str(folder / "annotations.json"))

    again = StrokeCanvas(refiner=Grower(), session=FolderSession(folder))
    assert at(again, "name", "category") == {"name": "b.png", "category": "dog"}
    go(again, -1)
    press(again, type="object", step=1)
    assert again.strokes == dog
    browser_draws(again, [*dog, stroke((40, 40, 5))], 2)
    order = [a["id"] for a in json.loads((folder / "annotations.json").read_text())["annotations"]]
    assert order == [1, 2, 3]
    press(again, type="object", step=1)
    press(again, type="object", step=1)  # no further one
    assert again.strokes == tail
    press(again, type="object", step=-1)
    assert len(again.strokes) == 2
    assert again._session["category"] == "dog"


def test_an_object_that_is_cleared_leaves_the_others_alone(folder):
    canvas = StrokeCanvas(refiner=Grower(), session=FolderSession(folder))
    for x in (15, 40):
        press(canvas, type="object", step=0)
        browser_draws(canvas, [stroke((x, 20, 6))], 2)
    press(canvas, type="object", step=-1)
    browser_draws(canvas, [], 2)
    assert at(canvas, "object", "objects") == {"object": 1, "objects": 1}
    browser_draws(canvas, [stroke((65, 20, 6))], 3)
    content = json.loads((folder / "annotations.json").read_text())
    assert [a["strokes"][0]["points"][0][0] for a in content["annotations"]] == [40, 65]
    assert len({a["id"] for a in content["annotations"]}) == 2


def test_a_session_goes_on_after_the_last_picture_that_is_done(folder):
    session = FolderSession(folder)
    session.go(1)
    session.record(np.ones((60, 80), bool), [stroke((1, 1, 1))])
    assert FolderSession(folder).path.name == "c.jpg"  # a.png was passed over


def test_a_failing_model_takes_no_annotation_away(folder):
    class Failing(Grower):
        def refine(self, image, stroke):
            if self.calls:
                raise RuntimeError("out of memory")
            return super().refine(image, stroke)

    canvas = StrokeCanvas(refiner=Failing(), session=FolderSession(folder))
    browser_draws(canvas, [stroke((20, 20, 8))], 2)
    mask = canvas.mask
    browser_draws(canvas, [stroke((20, 20, 8)), stroke((40, 20, 8))], 3)
    assert (canvas.mask == mask).all()
    assert "out of memory" in canvas._note["text"]
    (kept,) = json.loads((folder / "annotations.json").read_text())["annotations"]
    assert kept["area"] == mask.sum()
    assert len(kept["strokes"]) == 2


def test_a_category_needs_a_name(folder):
    canvas = StrokeCanvas(session=FolderSession(folder))
    press(canvas, type="category", name="  ")
    assert canvas._note == {"text": "a category needs a name", "level": "error"}


def test_an_annotation_that_is_damaged_names_file_and_picture(folder):
    canvas = StrokeCanvas(session=FolderSession(folder))
    browser_draws(canvas, [stroke((20, 20, 8))], 2)
    out = folder / "annotations.json"
    content = json.loads(out.read_text())
    content["annotations"][0]["strokes"] = 3
    out.write_text(json.dumps(content))
    canvas = StrokeCanvas(session=FolderSession(folder))
    go(canvas, -1)
    assert canvas.image is None
    assert canvas._note["text"].startswith(f"{out}: a.png: strokes must be a list")


def test_a_crash_while_writing_leaves_the_file_as_it_was(folder, monkeypatch):
    session = FolderSession(folder)
    mask = np.ones((60, 80), bool)
    session.record(mask, [stroke((1, 1, 1))])
    before = session.out.read_bytes()

    def crash(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(provenance.os, "fsync", crash)
    session.go(1)
    with pytest.raises(KeyboardInterrupt):
        session.record(mask, [stroke((2, 2, 2))])
    assert session.out.read_bytes() == before
    monkeypatch.undo()
    assert FolderSession(folder).state()["done"] == 1


def test_what_could_not_be_written_is_told_and_written_later(folder, monkeypatch):
    canvas = StrokeCanvas(refiner=Grower(), session=FolderSession(folder))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(provenance.os, "fsync", full)
        browser_draws(canvas, [stroke((20, 20, 8))], 2)
        assert "Not saved" in canvas._note["text"]
        assert "No space left" in canvas._note["text"]
        go(canvas)
        assert at(canvas, "name") == {"name": "a.png"}, "it stays"
        assert canvas._note["level"] == "error"
        assert sorted(p.name for p in folder.iterdir()) == [
            "a.png", "b.png", "c.jpg", "d.png", "notes.txt"
        ]  # fmt: skip
    go(canvas)
    assert at(canvas, "name") == {"name": "b.png"}
    (kept,) = json.loads((folder / "annotations.json").read_text())["annotations"]
    assert kept["strokes"] == [stroke((20, 20, 8))]


def test_a_file_that_somebody_broke_is_not_written_over(folder):
    canvas = StrokeCanvas(refiner=Grower(), session=FolderSession(folder))
    browser_draws(canvas, [stroke((20, 20, 8))], 2)
    out = folder / "annotations.json"
    good = out.read_text()
    out.write_text(good[:-1] + ",")
    for revision in (3, 4):
        browser_draws(canvas, [stroke((20, 20, revision))], revision)
        assert "Not saved" in canvas._note["text"]
    go(canvas)
    assert at(canvas, "name") == {"name": "a.png"}
    assert out.read_text() == good[:-1] + ","
    out.write_text(good)
    go(canvas)
    assert at(canvas, "name") == {"name": "b.png"}
    (kept,) = json.loads(out.read_text())["annotations"]
    assert kept["strokes"] == [stroke((20, 20, 4))]


def test_a_file_that_is_gone_for_a_moment_comes_back_whole(folder):
    session = FolderSession(folder)
    mask = np.ones((60, 80), bool)
    session.record(mask, [stroke((1, 1, 1))])
    session.go(1)
    session.out.unlink()
    session.record(mask, [stroke((2, 2, 2))])
    assert len(json.loads(session.out.read_text())["annotations"]) == 2


def test_two_tabs_on_one_folder_keep_each_other_s_objects(folder):
    one, other = FolderSession(folder), FolderSession(folder)
    mask = np.ones((60, 80), bool)
    other.go(1)
    one.record(mask, [stroke((1, 1, 1))])
    other.record(mask, [stroke((2, 2, 2))])
    one.set_category("dog")
    one.record(mask, [stroke((3, 3, 3))])
    content = json.loads((folder / "annotations.json").read_text())
    assert {a["id"]: a["strokes"] for a in content["annotations"]} == {
        1: [stroke((3, 3, 3))], 2: [stroke((2, 2, 2))]
    }  # fmt: skip
    assert sorted(i["file_name"] for i in content["images"]) == ["a.png", "b.png"]


def test_annotations_of_others_stay(folder):
    foreign = results.document(
        [{"id": 7, "file_name": "a.png", "width": 80, "height": 60}],
        [results.annotation(np.ones((60, 80), bool)) | {"id": 3, "image_id": 7}],
        [results.category("dog")],
    )
    out = folder / "instances_mine.json"
    out.write_text(json.dumps(foreign))
    session = FolderSession(folder, out, "cat")
    session.record(np.eye(60, 80, dtype=bool), [stroke((1, 1, 1))])
    content = json.loads(out.read_text())
    assert content["annotations"][0] == foreign["annotations"][0]
    drawn = content["annotations"][1]
    assert (drawn["id"], drawn["image_id"], drawn["category_id"]) == (4, 7, 2)


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_lie_on_the_picture_as_every_reader_has_it(tmp_path, orientation, width, recorded):
    name = save_turned(tmp_path / "mine", patch(60, width), orientation).name
    out = tmp_path / "annotations" / "instances_mine.json"
    out.parent.mkdir()
    if recorded:  # by another program, at the size as it is stored
        image = {"id": 1, "file_name": name, "width": width, "height": 60}
        out.write_text(json.dumps(results.document([image], [])))
    canvas = StrokeCanvas(session=FolderSession(tmp_path / "mine", out))
    bright = canvas.image[..., 0] > 127
    y, x = np.argwhere(bright).mean(axis=0) + 0.5
    browser_draws(canvas, [stroke((x, y, 5))], 2)
    if orientation >= 5 and width == 80 and not recorded:
        assert canvas.image.shape == (80, 60, 3), "upright where the size tells"

    split = load_split(tmp_path)
    assert split.left_out == ()
    ((annotation,),) = split.annotations.values()
    seen = split.read_image(annotation["image_id"])
    mask = annotation_mask(annotation, *seen.shape[:2])
    assert mask.sum() == canvas.mask.sum() > 50
    assert (seen[mask] > 127).all()

    again = StrokeCanvas(session=FolderSession(tmp_path / "mine", out))
    assert (again.image == canvas.image).all()
    assert (again.mask == canvas.mask).all()


def test_a_picture_of_another_size_than_its_record_is_not_drawn_on(folder):
    out = folder / "annotations.json"
    image = {"id": 1, "file_name": "a.png", "width": 70, "height": 60}
    out.write_text(json.dumps(results.document([image], [])))
    canvas = StrokeCanvas(session=FolderSession(folder))
    assert canvas.image is None
    assert canvas._note["level"] == "error"
    assert "a.png: the picture is 80x60, its record says 70x60" in canvas._note["text"]
    go(canvas)
    assert at(canvas, "name") == {"name": "b.png"}


def test_bad_folders_and_files_are_named(folder, tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        FolderSession(folder / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no pictures in it"):
        FolderSession(empty)
    (folder / "annotations.json").write_text('{"images": 3}')
    with pytest.raises(DataError, match="'images' must be a list"):
        FolderSession(folder)
