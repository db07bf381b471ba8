"""A folder drawn picture by picture into a COCO file."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import time
import unicodedata

import numpy as np
import pytest
from drawing import Grower, browser_draws, patch, save_turned, stroke
from PIL import Image
from pycocotools.coco import COCO
from skimage import data as photographs

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


def test_a_process_that_is_killed_leaves_a_whole_file(folder):
    """Killed at random moments while it writes: the file is whole, and nothing else is damaged."""
    mask = np.ones((60, 80), bool)
    for trial in range(8):
        child = os.fork()
        if not child:
            session = FolderSession(folder)
            while True:
                session.new_object()
                session.record(mask, [stroke((1, 1, 1))])
        time.sleep(random.Random(trial).uniform(0.02, 0.15))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        session = FolderSession(folder)
        annotations = session.file.annotations
        assert len({a["id"] for a in annotations}) == len(annotations)
    assert annotations


def test_what_could_not_be_written_is_told_and_written_later(folder, monkeypatch):
    canvas = StrokeCanvas(refiner=Grower(), session=FolderSession(folder))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
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
    out.unlink()  # gone for a moment, and back whole
    browser_draws(canvas, [stroke((30, 30, 4))], 2)
    assert len(json.loads(out.read_text())["annotations"]) == 2


def test_two_windows_on_one_folder_keep_each_other_s_objects_and_say_so(folder):
    one = StrokeCanvas(refiner=Grower(), session=FolderSession(folder))
    other = StrokeCanvas(refiner=Grower(), session=FolderSession(folder))
    assert one._note["text"] == ""
    assert "Another window has this folder open" in other._note["text"]
    go(other)
    browser_draws(one, [stroke((20, 20, 8))], 2)
    browser_draws(other, [stroke((30, 20, 8))], 2)
    browser_draws(one, [stroke((40, 20, 8))], 3)
    content = json.loads((folder / "annotations.json").read_text())
    assert [a["strokes"][0]["points"][0][0] for a in content["annotations"]] == [40, 30]
    assert sorted(i["file_name"] for i in content["images"]) == ["a.png", "b.png"]


def test_an_object_that_another_program_changed_is_kept_beside_ours(folder):
    canvas = StrokeCanvas(refiner=Grower(), session=FolderSession(folder))
    browser_draws(canvas, [stroke((20, 20, 8))], 2)
    out = folder / "annotations.json"
    content = json.loads(out.read_text())
    theirs = content["annotations"][0] | results.annotation(np.ones((60, 80), bool)) | {"area": 1}
    out.write_text(json.dumps(content | {"annotations": [theirs]}))
    browser_draws(canvas, [stroke((30, 20, 8))], 3)
    assert "Another program changed this object" in canvas._note["text"]
    kept, ours = json.loads(out.read_text())["annotations"]
    assert kept == theirs
    assert ours["strokes"] == [stroke((30, 20, 8))]
    browser_draws(canvas, [stroke((40, 20, 8))], 4)
    assert len(json.loads(out.read_text())["annotations"]) == 2


def test_a_picture_that_vanishes_keeps_its_mask(folder):
    canvas = StrokeCanvas(refiner=Grower(), session=FolderSession(folder))
    (folder / "a.png").unlink()
    browser_draws(canvas, [stroke((20, 20, 8))], 2)
    go(canvas)
    go(canvas, -1)
    assert "a.png: no such picture" in canvas._note["text"]
    assert len(json.loads((folder / "annotations.json").read_text())["annotations"]) == 1


THEIRS = {
    "id": 5, "image_id": 7, "category_id": 1, "iscrowd": 0, "area": 200.5, "bbox": [9, 9, 20, 10],
    "segmentation": [[10.0, 10.0, 30.0, 10.0, 30.0, 20.0, 10.0, 20.0]], "score": 0.5,
}  # fmt: skip


def foreign(folder, image=None, **more):
    """A file that another program wrote, with an object on a.png."""
    images = [image or {"id": 7, "file_name": "a.png", "width": 80, "height": 60}]
    content = {"images": images, "annotations": [THEIRS], "categories": [{"id": 1, "name": "dog"}]}
    (folder / "annotations.json").write_text(json.dumps(content | more))
    return lambda key: json.loads((folder / "annotations.json").read_text())[key]


def test_an_object_of_another_program_is_shown_and_stays_when_one_is_drawn_beside_it(folder):
    read = foreign(folder)
    canvas = StrokeCanvas(refiner=Grower(), session=FolderSession(folder))
    assert "1 object of another program" in canvas._note["text"]
    cover = np.asarray(Image.open(io.BytesIO(canvas._picture["others"])).convert("RGBA"))[..., 3]
    assert (np.argwhere(cover)[[0, -1]] == [[10, 10], [19, 29]]).all()
    assert at(canvas, "done", "object", "objects") == {"done": 0, "object": 1, "objects": 1}
    browser_draws(canvas, [stroke((60, 40, 8))], 2)
    assert read("annotations")[0] == THEIRS
    assert [a["id"] for a in read("annotations")] == [5, 6]
    assert read("annotations")[1]["image_id"] == 7


@pytest.mark.parametrize("model", [None, Grower()])
def test_an_object_of_another_program_is_taken_up_and_comes_back(folder, model):
    read = foreign(folder)
    canvas = StrokeCanvas(refiner=model, session=FolderSession(folder))
    press(canvas, type="object", step=-1)
    assert (canvas.strokes, canvas.mask.sum()) == ([], 200)
    added = stroke((60, 40, 8), correction=True)
    for strokes in ([added], [added, stroke((15, 15, 3), kind="background")]):
        browser_draws(canvas, strokes, canvas._drawing["revision"] + 1)
        (kept,) = read("annotations")
        assert kept["area"] == canvas.mask.sum()
        assert canvas.mask[19, 29]
        assert canvas.mask[rasterize([added], 60, 80).object].all()
        assert (kept["id"], kept["score"], kept["strokes"]) == (5, 0.5, strokes)
    assert not canvas.mask[15, 15]
    again = StrokeCanvas(refiner=model, session=FolderSession(folder))  # another day
    go(again, -1)
    assert (again.mask == canvas.mask).all()
    browser_draws(again, [], again._drawing["revision"] + 1)
    assert again.mask.sum() == 200
    assert read("annotations") == [THEIRS]


def test_a_model_that_corrects_is_given_what_another_program_drew(folder):
    class Corrector:
        corrects = True

        def refine(self, image, stroke, background=None, mask=None):
            given.append(mask.sum())
            return mask | stroke

    given, read = [], foreign(folder)
    canvas = StrokeCanvas(refiner=Corrector(), session=FolderSession(folder))
    press(canvas, type="object", step=-1)
    browser_draws(canvas, [stroke((60, 40, 4))], canvas._drawing["revision"] + 1)
    assert given == [200]
    assert read("annotations")[0]["area"] == 200 + rasterize(canvas.strokes, 60, 80).object.sum()


def test_what_cannot_be_shown_of_another_program_is_said_and_kept(folder):
    broken = THEIRS | {"segmentation": {"size": [9, 9], "counts": "1"}}
    boxed = {key: THEIRS[key] for key in ("image_id", "category_id", "bbox")} | {"id": 6}
    read = foreign(folder, annotations=[broken, boxed])
    canvas = StrokeCanvas(refiner=Grower(), session=FolderSession(folder))
    assert "1 without a mask that can be shown" in canvas._note["text"]
    browser_draws(canvas, [stroke((60, 40, 8))], 2)
    assert read("annotations")[:2] == [broken, boxed]


@pytest.mark.parametrize(
    "name", ["images/a é b.png", "images\\a é b.png", "./a é b.png", "a%20%C3%A9%20b.png"]
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_record_is_found_however_its_name_is_written(tmp_path, name, form):
    Image.new("RGB", (80, 60)).save(tmp_path / unicodedata.normalize(form, "a é b.png"))
    for other in ("NFC", "NFD"):
        record = {"id": 7, "file_name": unicodedata.normalize(other, name)}
        read = foreign(tmp_path, record)
        session = FolderSession(tmp_path)
        session.record(np.ones((60, 80), bool), [stroke((1, 1, 1))])
        assert read("images") == [record | {"width": 80, "height": 60}], "and gets its size"
        assert session.state()["done"] == 1


def test_two_records_of_one_name_are_told_apart_by_their_folder_or_named(folder):
    names = [f"{folder.name}/a.png", "elsewhere/a.png"]
    images = [{"id": n, "file_name": name} for n, name in enumerate(names, 7)]
    read = foreign(folder, images=images)
    FolderSession(folder).record(np.ones((60, 80), bool), [stroke((1, 1, 1))])
    assert read("annotations")[-1]["image_id"] == 7
    images[0]["file_name"] = "third/a.png"
    foreign(folder, images=images)
    canvas = StrokeCanvas(session=FolderSession(folder))
    assert "2 records may be of a.png: third/a.png, elsewhere/a.png" in canvas._note["text"]


def test_numbers_as_text_are_read_and_names_that_are_none_not_offered(folder):
    text = {"id": "7", "file_name": "a.png", "width": "80", "height": 60.0}
    read = foreign(folder, text, categories=[{"id": 1, "name": None}, {"id": 2}])
    canvas = StrokeCanvas(refiner=Grower(), session=FolderSession(folder))
    assert canvas.image.shape == (60, 80, 3)
    assert canvas._session["categories"] == []
    browser_draws(canvas, [stroke((60, 40, 8))], 2)
    assert read("images") == [text | {"id": 7, "width": 80, "height": 60}]
    foreign(folder, text | {"width": "wide"})
    canvas = StrokeCanvas(session=FolderSession(folder))
    assert (
        "a.png: its record has a side of 'wide', which is no whole number" in canvas._note["text"]
    )


def test_pictures_of_every_format_come_in_natural_order_and_the_rest_is_named(tmp_path):
    names = ["img10.jpg", "img2.JPE", "img1.jfif", "img9.gif", "Img3.png", "img11.tif"]
    for name in names:
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    for name in ("._img1.jpg", "b.heic", "notes.txt", "annotations.json.77.part"):
        (tmp_path / name).write_bytes(b"\0")
    (tmp_path / "folder.jpg").mkdir()
    session = FolderSession(tmp_path)
    assert [int("".join(filter(str.isdigit, p.stem))) for p in session.pictures] == [
        1,
        2,
        3,
        9,
        10,
        11,
    ]
    assert session.left_out == ["b.heic", "notes.txt"]


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
    out = folder / "annotations.json"
    for written, says in (
        ('{"images": 3}', "'images' must be a list"),
        ('{"images": [{"id": 1}, {"id": "x"}]}', "'images', record 2: no integer id"),
        ("[", "not valid JSON"),
    ):
        out.write_text(written)
        with pytest.raises(DataError, match=says):
            FolderSession(folder)


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
    read = foreign(folder)
    canvas = StrokeCanvas(refiner=Grower(), session=FolderSession(folder))
    browser_draws(canvas, [stroke((60, 40, 8))], 2)
    press(canvas, type="object", step=-1)
    browser_draws(canvas, [stroke((15, 15, 4), correction=True)], canvas._drawing["revision"] + 1)
    content = {key: read(key) for key in ("images", "annotations", "categories")}
    *way, last = rng.choice(list(places(content)))
    parent = content
    for key in way:
        parent = parent[key]
    parent[last] = rng.choice(VALUES)
    out = folder / "annotations.json"
    out.write_text(json.dumps(content))
    try:
        canvas = StrokeCanvas(refiner=Grower(), session=FolderSession(folder))
    except DataError as error:
        canvas, said = None, str(error)
    if canvas is None:
        assert str(out) in said
        return
    for message in ({"type": "go", "step": -1}, {"type": "object", "step": 1}, {"type": "object"}):
        press(canvas, **message)
        if canvas.image is not None:
            browser_draws(canvas, [stroke((20, 40, 4))], canvas._drawing["revision"] + 1)
        if canvas._note["level"] == "error":
            assert "a.png" in canvas._note["text"]
    json.loads(out.read_text())
