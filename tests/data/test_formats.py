"""Masks of other tools: each form is read as it is written, and as the tools write it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nseg_lib.data import coco, formats
from nseg_lib.data.coco import DataError, annotation_mask, mask_to_rle
from nseg_lib.data.outputs import annotation
from nseg_lib.widget import FolderSession
from nseg_lib.widget.annotations import take_up

SIZE = (60, 80)


def disc(x: int, y: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


MASKS = {
    1: ("cat", disc(20, 20, 12)),
    2: ("dog", disc(55, 30, 9) | disc(70, 50, 6)),  # in two parts
    3: ("cat", disc(25, 50, 7)),
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "b"):
        Image.new("RGB", SIZE[::-1], "teal").save(folder / f"{name}.jpg")
    return folder


@pytest.fixture
def split(photos: Path) -> coco.Split:
    """Three objects on a.jpg, none on b.jpg."""
    common = {"image_id": 1, "iscrowd": 0, "bbox": [0, 0, 1, 1]}
    annotations = [
        {"id": n, "category_id": 1 + (label == "dog"), "segmentation": mask_to_rle(mask),
         "area": int(mask.sum())} | common
        for n, (label, mask) in MASKS.items()
    ]  # fmt: skip
    sizes = {"height": SIZE[0], "width": SIZE[1]}
    content = {
        "images": [{"id": n, "file_name": f"{s}.jpg"} | sizes for n, s in enumerate("ab", 1)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    return coco.parse_split(content, photos.parent, "photos", "annotations.json")[0]


def objects(source: Path, photos: Path) -> list[tuple[str, np.ndarray]]:
    """What is read of a.jpg, with nothing left out and nothing of b.jpg."""
    said: list[str] = []
    pictures = [photos / "a.jpg", photos / "b.jpg"]
    ((picture, size, found),) = formats.read(source, pictures, said.append)
    assert (picture.name, size, said) == ("a.jpg", SIZE, [])
    return [
        (each.category, annotation_mask({"id": 1, "segmentation": each.segmentation}, *SIZE))
        for each in found
    ]


@pytest.mark.parametrize("kind", ["coco", "labelme", "yolo", "voc"])
def test_what_is_written_is_read_again(
    split: coco.Split, photos: Path, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "out"
    assert formats.write(split, kind, out) == {"coco": 1, "labelme": 1, "yolo": 2, "voc": 3}[kind]
    source = out / "annotations.json" if kind == "coco" else out
    found = objects(source, photos)
    expected = list(MASKS.values())
    if kind == "yolo":  # the parts of an object are lines of their own
        parts = [("dog", disc(70, 50, 6)), ("dog", disc(55, 30, 9))]
        expected[1:2] = parts if (found[1][1] & parts[0][1]).any() else parts[::-1]
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (_, mask), (_, wanted) in zip(found, expected, strict=True):
        assert (mask == wanted).all()


def test_objects_of_a_smaller_copy_are_scaled_and_told(
    split: coco.Split, photos: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (SIZE[1] * 2, SIZE[0] * 2)).save(photos / "a.jpg")
    said: list[str] = []
    for kind, source in (("coco", tmp_path / "annotations.json"), ("labelme", tmp_path)):
        formats.write(split, kind, tmp_path)
        ((_, size, found),) = formats.read(source, [photos / "a.jpg"], said.append)
        assert size == (SIZE[0] * 2, SIZE[1] * 2)
        mask = annotation_mask({"segmentation": found[0].segmentation}, *size)
        assert (mask[::2, ::2] == MASKS[1][1]).mean() > 0.99
    assert f"{tmp_path / 'annotations.json'}: annotation 1: 80x60 pixels, scaled to" in said[0]
    assert "a.json: drawn on 80x60 pixels, scaled to the picture's 160x120" in said[-1]
    shutil.copy(photos / "a.jpg", tmp_path / "a.jpg")
    for number in range(8):
        for name in ("a.jpg", "a.json"):
            shutil.copy(tmp_path / name, tmp_path / f"{number}_{name}")
    pictures, said[:] = [tmp_path / f"{n}_a.jpg" for n in range(8)], []
    assert len(list(formats.read(tmp_path, pictures, said.append))) == 8
    assert said[5:] == [f"{tmp_path}: 3 more lines such as these"]
    Image.new("RGB", (50, 50)).save(photos / "a.jpg")
    assert list(formats.read(tmp_path / "annotations.json", [photos / "a.jpg"], said.append)) == []
    assert "left out: " in said[-1]
    assert "a.jpg: the picture is 50x50, its record says 80x60" in said[-1]


def test_what_a_form_cannot_hold_is_told(photos: Path, tmp_path: Path) -> None:
    ring = disc(30, 30, 20) & ~disc(30, 30, 5)
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": SIZE[0], "width": SIZE[1]}],
        "annotations": [annotation(ring) | {"id": n, "category_id": n} for n in (1, 2)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    split = coco.parse_split(content, photos.parent, "photos", "annotations.json")[0]
    hole = int(disc(30, 30, 5).sum())
    filled = [f"a.jpg: annotation {n}: polygons have no holes; {hole} pixels are" for n in (1, 2)]
    shared = [f"a.jpg: {ring.sum()} pixels are of several objects"]
    for kind in formats.KINDS:
        said: list[str] = []
        formats.write(split, kind, tmp_path / kind, said.append)
        expected = {"coco": filled, "labelme": filled, "yolo": filled, "voc": shared}.get(kind, [])
        assert all(line.startswith(e) for line, e in zip(said, expected, strict=True)), said
    written = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert written["annotations"][0]["area"] == disc(30, 30, 20).sum(), "of the filled outline"


def test_masks_and_cutouts_are_a_picture_per_object(split: coco.Split, tmp_path: Path) -> None:
    assert formats.write(split, "masks", tmp_path / "masks") == 3
    assert ((np.asarray(Image.open(tmp_path / "masks" / "a_2.png")) > 0) == MASKS[2][1]).all()
    assert formats.write(split, "cutouts", tmp_path / "cut") == 3
    cut = np.asarray(Image.open(tmp_path / "cut" / "a_1.png"))
    assert cut.shape == (25, 25, 4), "cropped"
    assert cut[12, 12, 3] == 255
    assert cut[0, 0, 3] == 0
    assert 0 < cut[0, 12, 3] < 255, "its edge is soft"
    assert formats.write(split, "report", tmp_path) == 1
    page = (tmp_path / "report.html").read_text()
    assert page.count("<figure>") == 1
    assert page.count("<path ") == 3
    area = sum(int(mask.sum()) for _, mask in MASKS.values())
    pixels = re.findall(r"<td>([\d,]+)</td>", page)
    assert sum(int(each.replace(",", "")) for each in pixels) == area
    assert "how sure" not in page


def test_the_report_says_how_sure_the_network_is_and_begins_with_the_least(
    split: coco.Split, tmp_path: Path
) -> None:
    first, second, third = split.annotations[1]
    first["sure"] = 0.934
    second["score"] = 0.5
    third["score"] = 0.4  # of the mask as it was
    third["strokes"] = [{"kind": "outline", "points": [[0, 0, 1], [9, 0, 1], [9, 9, 1]]}]
    split.annotations[2] = [first | {"id": 9, "image_id": 2, "sure": 0.2}, first | {"sure": 87}]
    formats.write(split, "report", tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert re.findall(r"<figcaption>(\w)", page) == ["b", "a"]
    told = r"<td>(0\.\d+|by hand|no figure)</td>"
    assert re.findall(told, page) == ["0.20", "no figure", "0.50", "0.93", "by hand"]
    assert "calibrated" in page
    rows = re.findall(r"</i>(\d) (\w+)</td>", page)
    assert rows[2:] == [("1", "dog"), ("2", "cat"), ("3", "cat")]
    for x, y, number in re.findall(r'<text x="(\d+)" y="(\d+)"[^>]*>(\d)<', page):
        on_it = any(mask[int(y), int(x)] for _, mask in MASKS.values())
        assert on_it, f"{number} stands on an object"
    assert not re.search(r"https?:|src=", page), "nothing stands beside it"
    with pytest.raises(DataError, match="cannot write 'svg'; one of: coco, labelme"):
        formats.write(split, "svg", tmp_path)


@pytest.mark.parametrize("kind", ["labelme", "yolo", "voc"])
def test_no_picture_s_file_takes_the_place_of_another_s(
    split: coco.Split, tmp_path: Path, kind: str
) -> None:
    split.images[2]["file_name"] = "more/a.jpg"
    split.annotations[2] = [split.annotations[1][0] | {"id": 9, "image_id": 2}]
    with pytest.raises(
        DataError, match=rf"more/a\.jpg: its {kind} files would be named as those of"
    ):
        formats.write(split, kind, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_mask_is_not_written_over_a_picture(split: coco.Split, photos: Path) -> None:
    split.images[2]["file_name"] = "a_1.png"
    with pytest.raises(DataError, match=r"a_1\.png is a picture of it; choose another folder"):
        formats.write(split, "masks", photos)


def test_shapes_as_labelme_draws_them(photos: Path, tmp_path: Path) -> None:
    shapes = [
        {"label": "box", "points": [[10, 10], [30, 20]], "shape_type": "rectangle"},
        {"label": "ball", "points": [[50, 30], [50, 40]], "shape_type": "circle"},
        {"label": "dot", "points": [[5, 5]], "shape_type": "point"},
    ]
    (tmp_path / "a.json").write_text(json.dumps({"shapes": shapes}))
    said: list[str] = []
    ((_, _, found),) = formats.read(tmp_path, [photos / "a.jpg"], said.append)
    areas = [annotation_mask({"segmentation": f.segmentation}, *SIZE).sum() for f in found]
    assert areas[0] == 200
    assert areas[1] == pytest.approx(np.pi * 100, rel=0.03)
    assert said == [f"{tmp_path / 'a.json'}: shape 3 is a point, which is no area: left out"]


def test_yolo_s_boxes_are_left_out_and_names_may_be_missing(photos: Path, tmp_path: Path) -> None:
    square = "7 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5"
    (tmp_path / "a.txt").write_text(f"0 0.5 0.5 0.2 0.2\n{square}\n")
    said: list[str] = []
    ((_, _, found),) = formats.read(tmp_path, [photos / "a.jpg"], said.append)
    assert [each.category for each in found] == ["class 7"]
    assert said == [f"{tmp_path / 'a.txt'}: line 1 is no polygon (of a box, say): left out"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "0 0.5 oak", "a.txt: could not convert string to float"),
        ("a.json", "{}", "a.json: 'shapes'"),
        ("a.json", '{"shapes": [], "imageHeight": 9, "imageWidth": 9}', "drawn on 9x9 pixels"),
        ("c.txt", "", "no file that is named as a picture of the folder"),
    ],
)
def test_malformed_files_are_named(
    photos: Path, tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        list(formats.read(tmp_path, [photos / "a.jpg"], print))


def test_another_tool_s_masks_are_taken_up_once_and_can_be_corrected(
    split: coco.Split, photos: Path, tmp_path: Path
) -> None:
    formats.write(split, "voc", tmp_path / "voc")
    session = FolderSession(photos)
    assert take_up(session.file, tmp_path / "voc", session.pictures) == (3, 1)
    assert take_up(session.file, tmp_path / "voc", session.pictures) == (0, 0), "once"
    again = FolderSession(photos)
    opened = again.open()
    assert opened.others is not None
    assert ((opened.others > 0) == MASKS[1][1] | MASKS[2][1] | MASKS[3][1]).all()
    assert again.pick(20, 20, opened.image)
    assert (again.open().mask == MASKS[1][1]).all()
    assert again.state()["category"] == "cat"
