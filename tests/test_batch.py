"""Rough masks of a folder made precise: what is written, resumed, left out and refused."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from skimage import data as photographs

from nseg_lib import batch
from nseg_lib.arrays import sureness
from nseg_lib.data import coco, formats
from nseg_lib.data.coco import DataError, mask_to_rle
from nseg_lib.networks.weights import shipped
from nseg_lib.refine import Refiner

WEIGHTS = shipped("tiny16-32_bce-dice")


class Counting(Refiner):
    """Counts its answers."""

    asked = 0

    def logits(self, *args, **keys):
        self.asked += 1
        return super().logits(*args, **keys)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Photos cat and cat_2, three rough masks of them, and one of another photo."""
    for folder in ("photos", "rough"):
        (tmp_path / folder).mkdir()
    picture = photographs.chelsea()[:120, :160]
    rough = np.zeros((120, 160), np.uint8)
    rough[30:90, 40:110] = 255
    for name in ("cat", "cat_2"):
        Image.fromarray(picture).save(tmp_path / "photos" / f"{name}.png")
    for name in ("cat", "cat_2", "cat_2_b", "dog"):
        Image.fromarray(rough).save(tmp_path / "rough" / f"{name}.png")
    return tmp_path


def refine(desk: Path, coarse: str = "rough") -> tuple[list[batch.Row], list[str], list[str], int]:
    refiner, said = Counting.load(WEIGHTS), []
    rows, failed = batch.refine_folder(
        refiner, WEIGHTS, desk / coarse, desk / "photos", desk / "out", say=said.append
    )
    return rows, failed, said, refiner.asked


def test_each_mask_gets_the_photo_of_its_name_and_a_row(desk: Path) -> None:
    rows, failed, said, _ = refine(desk)
    assert failed == []
    assert said == [f"{desk}/rough: left out, for want of a photo: 1 masks (dog.png)"]
    photos = {"cat.png": "cat.png", "cat_2.png": "cat_2.png", "cat_2_b.png": "cat_2.png"}
    assert {row.mask: row.photo for row in rows} == photos
    mask = np.asarray(Image.open(desk / "out" / "cat.png")) > 0
    rough = np.asarray(Image.open(desk / "rough" / "cat.png")) > 0
    assert rows[0].added == (mask & ~rough).sum() > 0
    assert rows[0].removed == (rough & ~mask).sum()
    assert rows[0].iou == pytest.approx((mask & rough).sum() / (mask | rough).sum(), abs=1e-4)
    assert 0.5 < rows[0].sure <= 1
    with (desk / "out" / batch.TABLE).open() as file:
        listed = [float(each["sure"]) for each in csv.DictReader(file)]
    assert listed == sorted(row.sure for row in rows), "the least sure first"


def test_masks_that_are_pictures_come_with_a_coco_file_that_says_how_sure_each_is(
    desk: Path,
) -> None:
    upside_down = Image.Exif()
    upside_down[0x0112] = 3
    photo = Image.open(desk / "photos" / "cat.png")
    photo.save(desk / "photos" / "cat.png", exif=upside_down)
    Image.open(desk / "rough" / "cat.png").save(desk / "rough" / "cat.png", exif=upside_down)
    rows, *_ = refine(desk)
    assert refine(desk)[0] == rows, "made again from the masks that are there"
    split, findings = coco.parse_split(
        coco.read_json(desk / "out" / batch.COCO_FILE), desk, "photos", "x"
    )
    assert findings == []
    found = [(n, a) for n, records in split.annotations.items() for a in records]
    assert [a["sure"] for _, a in found] == [row.sure for row in rows]
    for (number, annotation), row in zip(found, rows, strict=True):
        mask = np.asarray(Image.open(desk / "out" / row.mask)) > 0
        stored = mask[::-1, ::-1] if row.mask == "cat.png" else mask  # as COCO's readers see it
        assert (split.mask(number, annotation) == stored).all()
    formats.write(split, "report", desk)
    shown = re.findall(r"<td>(0\.\d\d)</td>", (desk / "report.html").read_text())
    assert sorted(shown) == sorted(f"{row.sure:.2f}" for row in rows)


def test_a_coco_file_that_is_not_its_own_is_not_written_over(desk: Path) -> None:
    (desk / "out").mkdir()
    (desk / "out" / batch.COCO_FILE).write_text("mine")
    with pytest.raises(DataError, match=r"has another annotations\.json already"):
        refine(desk)
    assert (desk / "out" / batch.COCO_FILE).read_text() == "mine"


def test_it_goes_on_where_it_was_stopped_and_sees_what_changed(desk: Path) -> None:
    rows, *_, asked = refine(desk)
    assert asked == 3
    assert refine(desk)[0] == rows
    assert refine(desk)[3] == 0
    (desk / "out" / "cat_2.png").unlink()
    table = desk / "out" / batch.TABLE
    table.write_text(table.read_text()[:-30])  # the last row was cut off
    assert refine(desk)[3] == 2
    Image.new("L", (160, 120)).save(desk / "rough" / "cat.png")
    again, failed, *_ = refine(desk)
    assert [row.mask for row in again] == ["cat_2.png", "cat_2_b.png"]
    assert failed == [f"{desk / 'rough' / 'cat.png'}: nothing is painted"]


def test_a_coco_file_of_another_tool_comes_back_with_precise_masks(desk: Path) -> None:
    rough = np.asarray(Image.open(desk / "rough" / "cat.png")) > 0
    objects = [
        {"id": 7, "segmentation": mask_to_rle(rough)},
        {"id": 8, "segmentation": [[10, 10, 60, 10, 60, 60, 10, 60]], "own": "kept"},
    ]
    common = {"image_id": 1, "category_id": 3, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1]}
    content = {
        "images": [{"id": 1, "file_name": "cat.png", "height": 120, "width": 160}],
        "annotations": [common | each for each in objects],
        "categories": [{"id": 3, "name": "cat"}],
    }
    (desk / "rough.json").write_text(json.dumps(content))
    rows, failed, *_ = refine(desk, "rough.json")
    assert failed == []
    assert [row.mask for row in rows] == ["cat_7.png", "cat_8.png"]
    made = COCO(str(desk / "out" / "annotations.json"))
    for number, row in zip((7, 8), rows, strict=True):
        (annotation,) = made.loadAnns([number])
        assert annotation["sure"] == row.sure, "nseg convert --to report shows it"
        mask = np.asarray(Image.open(desk / "out" / f"cat_{number}.png")) > 0
        assert (made.annToMask(annotation) > 0).tolist() == mask.tolist()
        assert annotation["area"] == mask.sum()
        assert annotation["category_id"] == 3
    assert annotation["own"] == "kept"


def test_what_cannot_be_read_is_told_and_the_rest_is_done(desk: Path) -> None:
    (desk / "photos" / "cat.png").write_bytes(b"broken")
    rows, failed, *_ = refine(desk)
    assert [row.mask for row in rows] == ["cat_2.png", "cat_2_b.png"]
    assert len(failed) == 1
    assert "photos/cat.png: not a readable picture" in failed[0]


def test_what_would_have_one_name_is_told_and_not_written_over(desk: Path) -> None:
    shutil.copy(desk / "rough" / "cat_2.png", desk / "rough" / "cat_2.bmp")
    shutil.copy(desk / "photos" / "cat.png", desk / "photos" / "cat.jpg")
    rows, failed, *_ = refine(desk)
    assert [row.mask for row in rows] == ["cat_2.png", "cat_2_b.png"]
    said = "\n".join(failed)
    assert f"rough/cat.png: may belong to {desk}/photos/cat.jpg and {desk}/photos/cat.png" in said
    assert f"would have the name of {desk}/rough/cat_2.bmp's" in said


def test_annotations_that_cannot_be_used_are_told(desk: Path) -> None:
    picture = {"id": 1, "file_name": "cat.png", "height": 120, "width": 160}
    whole = {"size": [120, 160], "counts": [4000, 9000, 6200]}
    records: list[dict[str, object]] = [
        {"id": n, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 9000, "segmentation": rle}
        for n, rle in ((1, whole), (2, whole | {"size": [5, 5]}))
    ]
    content = {"images": [picture], "annotations": records, "categories": [{"id": 1, "name": "x"}]}
    (desk / "rough.json").write_text(json.dumps(content))
    rows, _, said, _ = refine(desk, "rough.json")
    assert [row.mask for row in rows] == ["cat_1.png"]
    assert said[0].startswith(f"{desk}/rough.json: annotation 2: RLE of the wrong size")
    records[1] |= {"segmentation": whole, "iscrowd": 1}
    (desk / "rough.json").write_text(json.dumps(content))
    assert "left out, as no masks of single objects: 1 crowds" in refine(desk, "rough.json")[2][0]
    records[1]["id"] = 1
    (desk / "rough.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="duplicate annotation id; the split is refused"):
        refine(desk, "rough.json")


def test_annotations_of_a_smaller_copy_are_scaled_and_the_file_stays_of_its_size(
    desk: Path,
) -> None:
    rough = (np.asarray(Image.open(desk / "rough" / "cat.png")) > 0)[::2, ::2]
    picture = {"id": 1, "file_name": "cat.png", "height": 60, "width": 80}
    record = {"id": 1.0, "image_id": 1, "category_id": 1, "segmentation": mask_to_rle(rough)}
    content = {"images": [picture], "annotations": [record], "categories": [{"id": 1, "name": "x"}]}
    (desk / "rough.json").write_text(json.dumps(content))
    (row,), failed, said, _ = refine(desk, "rough.json")
    assert failed == []
    assert said == [
        f"{desk}/rough.json: annotation 1: 80x60 pixels, scaled to {desk}/photos/cat.png's 160x120"
    ]
    mask = np.asarray(Image.open(desk / "out" / row.mask)) > 0
    assert mask.shape == (120, 160)
    (written,) = COCO(desk / "out" / "annotations.json").anns.values()
    assert written["segmentation"]["size"] == [60, 80]
    assert written["area"] == pytest.approx(mask.sum() / 4, rel=0.05)


def test_of_many_masks_that_are_scaled_a_few_are_named_and_the_others_counted(desk: Path) -> None:
    half = Image.open(desk / "rough" / "cat.png").resize((80, 60), Image.Resampling.NEAREST)
    for path in (desk / "rough").iterdir():
        path.unlink()
    for number in range(8):
        half.save(desk / "rough" / f"cat_{number}.png")
    rows, failed, said, _ = refine(desk)
    assert (len(rows), failed) == (8, [])
    assert said[0].startswith(f"{desk}/rough/cat_0.png: 80x60 pixels, scaled to ")
    assert said[5:] == [f"{desk}/rough: 3 more lines such as these"]


def test_what_looks_odd_is_told(desk: Path) -> None:
    Image.new("RGB", (160, 120), "grey").save(desk / "photos" / "cat.png")
    pages = [Image.open(desk / "photos" / "cat_2.png"), Image.new("RGB", (160, 120))]
    (desk / "photos" / "cat_2.png").unlink()
    pages[0].save(desk / "photos" / "cat_2.tif", save_all=True, append_images=pages[1:])
    inverted = ~(np.asarray(Image.open(desk / "rough" / "cat_2.png")) > 0)
    Image.fromarray(inverted).save(desk / "rough" / "cat_2.png")
    _, failed, said, _ = refine(desk)
    assert failed == []
    assert f"{desk}/photos/cat.png: is of one colour all over; " in "".join(said)
    assert f"{desk}/photos/cat_2.tif: several frames (2): the first is read" in said
    assert any("cat_2.png: covers" in line and "is it inverted?" in line for line in said)


def test_masks_of_somebody_else_are_not_written_over(desk: Path) -> None:
    (desk / "out").mkdir()
    (desk / "out" / "cat.png").write_text("mine")
    with pytest.raises(DataError, match=r"out: has another cat\.png already; choose another fol"):
        refine(desk)
    assert [path.name for path in (desk / "out").iterdir()] == ["cat.png"]


def test_a_table_that_is_no_text_counts_as_none_and_a_folder_is_refused(desk: Path) -> None:
    table = desk / "out" / batch.TABLE
    table.parent.mkdir()
    table.write_bytes(b"\xff\xfe\x00mask\n\x00" + b"x" * 200_000)
    rows, failed, *_ = refine(desk)
    assert (len(rows), failed) == (3, [])
    shutil.rmtree(table.parent)
    table.mkdir(parents=True)
    with pytest.raises(OSError, match=r"refined\.csv: cannot be written: it is a folder"):
        refine(desk)
    assert [*table.parent.iterdir()] == [table]


def test_sureness_is_the_iou_to_be_expected() -> None:
    def of(*probability: float) -> float:
        values = np.array([probability], np.float32)
        return sureness(values, values > 0.5)

    assert of(1, 1, 0) == 1
    assert of(0.6, 0) == pytest.approx(0.6)
    assert of(1, 0.5, 0.5) == pytest.approx(1 / 2)
    assert of(0.3) == 0
