"""Every fault is named with its file and record, and what is reported is what loading does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_builder import HEIGHT, WIDTH, document, picture, square, write_document, write_set
from PIL import Image

from nseg_lib.data import coco
from nseg_lib.data.check import Report, check
from nseg_lib.data.coco import DataError
from nseg_lib.data.records import Finding
from nseg_lib.data.reduce import reduce


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A faultless train split of 6 pictures."""
    return write_set(tmp_path / "data", "train", document([1, 2, 3, 4, 5, 6]))


def change(data: Path, key: str, position: int, **changes: Any) -> None:
    """Change a record of the annotation file."""
    path = data / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    content[key][position].update(changes)
    path.write_text(json.dumps(content))


def jpg(data: Path, image_id: int) -> Path:
    return data / "train" / f"{image_id:012d}.jpg"


def only(report: Report) -> Finding:
    (finding,) = report.findings
    return finding


# --- what can be done with it ---------------------------------------------------------------------


def test_a_set_without_val_can_be_reduced_but_not_trained_on(data: Path, tmp_path: Path) -> None:
    report = check(data)
    assert report.ok
    assert report.lines() == [
        "train: 6 pictures, 6 readable pictures, 12 annotations, 12 usable annotations",
        "nseg train: cannot: no split val; 'nseg data reduce' makes train and val of one split",
        "nseg evaluate: cannot: no split val, no split test; with --split, train",
        "nseg data reduce: --images up to 6 of train",
    ]
    reduce(data, tmp_path / "out", 4, test_images=2)
    reduced = check(tmp_path / "out")
    assert reduced.findings == ()
    assert reduced.uses[:2] == (
        "nseg train: 3 pictures, 1 to validate",
        "nseg evaluate: 1 pictures of val, 2 pictures of test; with --split, train",
    )


@pytest.mark.parametrize(
    ("polygon", "left"),
    [(square(2, 3, 12), "--images up to 6 of train"), ([1, 1], "cannot: two pictures")],
)
def test_nothing_to_use_is_an_error(data: Path, polygon: list[float], left: str) -> None:
    content = document([1, 2, 3, 4, 5, 6])
    for annotation in content["annotations"]:
        annotation.update(segmentation=[polygon], area=144.0)
    write_document(data, "train", content)
    report = check(data)
    assert not report.ok
    assert ("error", "no usable annotations") in report.counts()
    assert report.uses[1].startswith("nseg evaluate: cannot")
    assert report.uses[2].startswith(f"nseg data reduce: {left}")


def test_what_is_no_data_set_is_an_error(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name in ("file", "empty", "missing"):
        assert only(check(tmp_path / name)).problem == "no data set"
        assert not check(tmp_path / name).ok
    assert "there are: train" in only(check(data, "val")).detail
    path = data / "annotations" / "instances_train.json"
    path.unlink()
    path.symlink_to("nowhere.json")
    assert only(check(data)).detail == "cannot be read: No such file or directory"


def test_a_reduction_is_checked_against_its_record(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    reduce(data, out, 4, test_images=1)
    path = out / "annotations" / "instances_val.json"
    path.write_text(path.read_text().replace("10000.0", "10001.0"))
    assert only(check(out)).problem == "missing or changed since it was made"
    (out / "reduction.json").rename(out / "reduction.unfinished.json")
    assert only(check(out)).problem == "unfinished reduction"
    (out / "reduction.unfinished.json").rename(out / "reduction.json")
    (out / "reduction.json").write_text("[]")
    assert only(check(out)).problem == "unreadable reduction"


# --- pictures -------------------------------------------------------------------------------------


FLOATS = Image.fromarray(np.full((HEIGHT, WIDTH), 1e6, np.float32))
WIDER = picture(2).resize((WIDTH + 1, HEIGHT))


@pytest.mark.parametrize(
    ("spoil", "problem", "detail"),
    [
        (Path.unlink, "missing picture", ""),
        (lambda p: p.write_bytes(p.read_bytes()[:-40]), "unreadable picture", "truncated"),
        (WIDER.save, "sizes disagree", "the picture is 161x120, its record says 160x120"),
        (lambda p: FLOATS.save(p, "TIFF"), "unsupported pixels", "floating-point"),
    ],
)
def test_a_picture_that_cannot_be_read(data: Path, spoil: Any, problem: str, detail: str) -> None:
    spoil(jpg(data, 2))
    report = check(data)
    finding = only(report)
    assert (finding.severity, finding.problem) == ("error", problem)
    assert (finding.file, finding.record) == ("train/000000000002.jpg", "image 2")
    assert detail in finding.detail
    assert str(data) not in str(finding)
    assert report.splits["train"]["readable pictures"] == 5
    assert report.uses[2].endswith("up to 5 of train")
    with pytest.raises(DataError):
        coco.load_split(data).read_image(2)


FRAMES = {"format": "GIF", "save_all": True, "append_images": [picture(3)]}
TURNED = Image.Exif()
TURNED[0x0112] = 6


@pytest.mark.parametrize(
    ("stored", "options", "problem", "outcome"),
    [
        (picture(2).convert("L"), {}, "greyscale picture", "read as three equal channels"),
        (picture(2).convert("CMYK"), {}, "CMYK picture", "converted to RGB, without its colour"),
        (picture(2).convert("RGBA"), {"format": "PNG"}, "transparent picture", "laid on white"),
        (picture(2), FRAMES, "several frames", "the first is read"),
        (picture(2), {"exif": TURNED}, "EXIF orientation", "not turned: its stored size is its"),
        (picture(2).transpose(Image.Transpose.ROTATE_90), {"exif": TURNED}, "EXIF orientation",
         "turned"),
    ],
)  # fmt: skip
def test_a_picture_that_is_converted_is_named_and_read(
    data: Path, stored: Image.Image, options: dict[str, Any], problem: str, outcome: str
) -> None:
    stored.save(jpg(data, 2), **options)
    finding = only(check(data))
    assert (finding.severity, finding.record, finding.problem) == ("note", "image 2", problem)
    assert finding.outcome.startswith(outcome)
    assert coco.load_split(data).read_image(2).shape == (HEIGHT, WIDTH, 3)


def test_the_same_picture_twice_is_named_across_splits(data: Path) -> None:
    write_set(data, "val", document([7, 8]))
    (data / "val" / f"{7:012d}.jpg").write_bytes(jpg(data, 3).read_bytes())
    finding = only(check(data))
    assert (finding.file, finding.problem) == ("val/000000000007.jpg", "repeated picture")
    assert finding.detail == "the same bytes as train/000000000003.jpg"
    assert check(data, "val").findings == ()


# --- names ----------------------------------------------------------------------------------------


def rename(data: Path, stored: str, named: str) -> None:
    """Give a picture another name on the disk, and yet another in its record."""
    (data / "train" / stored).parent.mkdir(exist_ok=True)
    jpg(data, 2).rename(data / "train" / stored)
    change(data, "images", 1, file_name=named)


ACCENT = [unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD")]


@pytest.mark.parametrize(
    ("stored", "named"),
    [("a/b.jpg", "a\\b.jpg"), ACCENT, ACCENT[::-1], ("a|b 'c' [d].jpg", "a|b 'c' [d].jpg")],
)
def test_a_name_that_another_system_spelled_is_found(
    data: Path, tmp_path: Path, stored: str, named: str
) -> None:
    rename(data, stored, named)
    assert check(data).findings == ()
    reduce(data, tmp_path / "out", 6)
    assert check(tmp_path / "out").findings == ()


@pytest.mark.parametrize(
    ("stored", "named"),
    [("0.jpg", "images/7/0.jpg"), ("my photo.jpg", "my%20photo.jpg"), ("A.JPG", "a.jpg")],
)
def test_a_picture_under_another_name_is_pointed_to(data: Path, stored: str, named: str) -> None:
    rename(data, stored, named)
    (missing,) = (f for f in check(data).findings if f.severity == "error")
    assert missing.detail == f"{stored!r} is there: file_name must be a path from train/"


def test_files_without_a_record_are_left_out(data: Path) -> None:
    (data / "train" / "notes.txt").write_text("mine")
    picture(0).save(data / "train" / "extra.jpg")
    finding = only(check(data))
    assert (finding.severity, finding.problem) == ("left out", "files without a record")
    assert finding.detail == "2, first 'extra.jpg'"


def test_what_is_of_another_size_and_the_same_shape_is_told(data: Path) -> None:
    rle = {"size": [HEIGHT // 2, WIDTH // 2], "counts": [0, HEIGHT * WIDTH // 4]}
    change(data, "annotations", 2, segmentation=rle)
    noted = [f for f in check(data).findings if f.record == "annotation 21"]
    assert [(f.severity, f.problem) for f in noted] == [("note", "RLE of another size")]
    image_id = sorted(coco.load_split(data).images)[0]
    picture(0).resize((WIDTH // 2, HEIGHT // 2)).save(coco.load_split(data).image_path(image_id))
    (told,) = [f for f in check(data).findings if f.severity == "error"]
    assert told.problem == "sizes disagree"
    assert "as the shapes agree, 'nseg draw' and 'nseg refine' scale the masks" in told.detail


# --- records --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"segmentation": [[1, 1, 5, 5]]}, "polygon of fewer than three points"),
        ({"image_id": 77}, "unknown picture"),
    ],
)
def test_an_unusable_annotation_is_left_out_as_loading_does(
    data: Path, changes: dict[str, Any], problem: str
) -> None:
    change(data, "annotations", 2, **changes)
    report = check(data)
    finding = only(report)
    assert (finding.severity, finding.problem) == ("left out", problem)
    assert finding.record == "annotation 21"
    assert report.ok
    assert report.splits["train"]["usable annotations"] == 11
    assert coco.load_split(data).left_out == report.findings


def test_a_picture_without_usable_annotations_is_left_out(data: Path) -> None:
    for position in (2, 3):
        change(data, "annotations", position, segmentation=[])
    counts = check(data).counts()
    assert counts == {("left out", "no segmentation"): 2, ("left out", "no usable annotation"): 1}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"segmentation": [[1, 1, 1.2, 1.1, 1.1, 1.2]], "area": 0.1}, "empty mask"),
        ({"area": 90000.0}, "area disagrees with the mask"),
        ({"segmentation": [square(-4, 2, 104)]}, "polygon crosses the border"),
        ({"segmentation": [square(2, 3, 20)], "area": 400.0}, "repeated annotation"),
    ],
)
def test_a_doubtful_mask_is_noted(data: Path, changes: dict[str, Any], problem: str) -> None:
    change(data, "annotations", 3, **changes)
    report = check(data)
    finding = only(report)
    assert (finding.severity, finding.problem) == ("note", problem)
    assert finding.record == "annotation 22"
    assert report.splits["train"]["usable annotations"] == 12


def test_it_does_not_stop_at_the_first_fault(data: Path) -> None:
    jpg(data, 2).unlink()
    jpg(data, 3).write_bytes(jpg(data, 3).read_bytes()[:100])
    picture(4).convert("L").save(jpg(data, 4))
    change(data, "annotations", 0, segmentation=[[1, 1]])
    change(data, "images", 4, file_name="../../x.jpg")
    write_document(data, "broken", {"images": 3})
    (data / "annotations" / "instances_torn.json").write_text('{"images": [')
    report = check(data)
    assert not report.ok
    assert report.counts() == {
        ("error", "missing list"): 3,
        ("error", "file name leaves the folder"): 1,
        ("error", "missing picture"): 1,
        ("error", "no folder of pictures"): 1,
        ("error", "unreadable annotations"): 1,
        ("error", "unreadable picture"): 1,
        ("left out", "unknown picture"): 2,
        ("left out", "files without a record"): 1,
        ("left out", "polygon of fewer than three points"): 1,
        ("note", "greyscale picture"): 1,
    }
    assert len([line for line in report.lines() if line.startswith("error: ")]) == 8
    assert all("\n" not in line for line in report.lines())


def test_lines_of_a_kind_can_be_limited(data: Path) -> None:
    for position in range(5):
        change(data, "annotations", position, area="large")
    report = check(data)
    assert [sum("no area" in line for line in report.lines(n)) for n in (2, None)] == [4, 6]


def test_a_name_that_the_console_cannot_print_is_written_in_another_way(data: Path) -> None:
    change(data, "images", 2, file_name="фото|写真.jpg")
    done = subprocess.run(
        [sys.executable, "-m", "nseg_lib.cli", "data", "check", str(data)],
        capture_output=True, encoding="cp1252", env={**os.environ, "PYTHONIOENCODING": "cp1252"},
    )  # fmt: skip
    assert done.returncode == 1
    assert r"train/\u0444\u043e\u0442\u043e|\u5199\u771f.jpg: image 3: missing" in done.stdout
    assert "Traceback" not in done.stderr
