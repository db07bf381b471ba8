"""Every fault is named with its file and record, and what is reported is what loading does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
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


def spoil_record(data: Path, key: str, position: int, **changes: Any) -> None:
    path = data / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    content[key][position].update(changes)
    path.write_text(json.dumps(content))


def jpg(data: Path, image_id: int) -> Path:
    return data / "train" / f"{image_id:012d}.jpg"


def only(report: Report) -> Finding:
    (finding,) = report.findings
    return finding


def test_a_faultless_set_has_no_findings(data: Path) -> None:
    report = check(data)
    assert report.ok
    assert report.findings == ()
    assert report.lines() == [
        "train: 6 pictures, 6 readable pictures, 12 annotations, 12 usable annotations"
    ]


# --- pictures: errors -----------------------------------------------------------------------------


def remove(data: Path) -> None:
    jpg(data, 2).unlink()


def truncate(data: Path) -> None:
    jpg(data, 2).write_bytes(jpg(data, 2).read_bytes()[:-40])


def replace_by_text(data: Path) -> None:
    jpg(data, 2).write_text("<html>404</html>")


def resize(data: Path) -> None:
    picture(2).resize((WIDTH + 1, HEIGHT)).save(jpg(data, 2))


def store_32_bits(data: Path) -> None:
    Image.fromarray(np.full((HEIGHT, WIDTH), 1e6, np.float32)).save(jpg(data, 2), "TIFF")


@pytest.mark.parametrize(
    ("spoil", "problem", "detail"),
    [
        (remove, "missing picture", ""),
        (truncate, "unreadable picture", "truncated"),
        (replace_by_text, "unreadable picture", "cannot identify image file"),
        (resize, "sizes disagree", "the picture is 31x20, its record says 30x20"),
        (store_32_bits, "unsupported pixels", "floating-point"),
    ],
)
def test_a_picture_that_cannot_be_read(data: Path, spoil: Any, problem: str, detail: str) -> None:
    spoil(data)
    report = check(data)
    finding = only(report)
    assert (finding.severity, finding.problem) == ("error", problem)
    assert (finding.file, finding.record) == ("train/000000000002.jpg", "image 2")
    assert detail in finding.detail
    assert str(data) not in str(finding)
    assert report.splits["train"]["readable pictures"] == 5
    assert not report.ok
    split = coco.load_split(data)
    with pytest.raises(DataError):
        split.read_image(2)


# --- pictures: notes ------------------------------------------------------------------------------


def grey(path: Path) -> None:
    picture(2).convert("L").save(path)


def grey_in_three_channels(path: Path) -> None:
    picture(2).convert("L").convert("RGB").save(path, "PNG")


def cmyk(path: Path) -> None:
    picture(2).convert("CMYK").save(path)


def deep_grey(path: Path) -> None:
    Image.fromarray(np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 99).save(
        path, "PNG"
    )


def deep_colour(path: Path) -> None:
    cv2.imwrite(str(path.with_suffix(".png")), np.asarray(picture(2)).astype(np.uint16) * 257)
    path.with_suffix(".png").rename(path)


def transparent(path: Path) -> None:
    picture(2).convert("RGBA").save(path, "PNG")


def frames(path: Path) -> None:
    picture(2).save(path, "GIF", save_all=True, append_images=[picture(3)])


def exif(turned: bool) -> Any:
    def write(path: Path) -> None:
        tags = Image.Exif()
        tags[0x0112] = 6
        stored = picture(2).transpose(Image.Transpose.ROTATE_90) if turned else picture(2)
        stored.save(path, exif=tags)

    return write


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (grey, {"greyscale picture": "read as three equal channels"}),
        (grey_in_three_channels, {"greyscale picture": "read as three equal channels"}),
        (cmyk, {"CMYK picture": "converted to RGB, without its colour profile"}),
        (deep_grey, {"16-bit picture": "its range of 0 to 65535 is scaled to 8 bits"}),
        (deep_colour, {"16-bit picture": "its range of 0 to 65535 is scaled to 8 bits"}),
        (transparent, {"transparent picture": "laid on white"}),
        (frames, {"several frames": "the first is read"}),
        (exif(False), {"EXIF orientation": "not turned: its stored size is its record's"}),
        (exif(True), {"EXIF orientation": "turned"}),
    ],
)
def test_a_picture_that_is_converted_is_named_and_read(
    data: Path, write: Any, expected: dict[str, str]
) -> None:
    write(jpg(data, 2))
    report = check(data)
    assert report.ok
    found = {f.problem: f.outcome for f in report.findings}
    if write is deep_grey:
        assert found.pop("greyscale picture")
    assert found == expected
    assert {(f.severity, f.record) for f in report.findings} == {("note", "image 2")}
    assert coco.load_split(data).read_image(2).shape == (HEIGHT, WIDTH, 3)


def test_the_same_picture_twice_is_named_across_splits(data: Path) -> None:
    write_set(data, "val", document([7, 8]))
    (data / "val" / f"{7:012d}.jpg").write_bytes(jpg(data, 3).read_bytes())
    finding = only(check(data))
    assert finding.problem == "repeated picture"
    assert (finding.file, finding.detail) == (
        "val/000000000007.jpg",
        "the same bytes as train/000000000003.jpg",
    )
    assert check(data, "val").findings == ()


def test_files_without_a_record_are_left_out(data: Path) -> None:
    (data / "train" / "notes.txt").write_text("mine")
    picture(0).save(data / "train" / "extra.jpg")
    finding = only(check(data))
    assert (finding.severity, finding.problem) == ("left out", "files without a record")
    assert finding.detail == "2, first 'extra.jpg'"


# --- records --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"segmentation": [[1, 1, 5, 5]]}, "polygon of fewer than three points"),
        ({"segmentation": [square(-50, 1, 5)]}, "polygon far outside the picture"),
        ({"segmentation": [square(-20, 1, 5)]}, "polygon outside the picture"),
        ({"segmentation": {"size": [5, 5], "counts": [0, 25]}}, "RLE of the wrong size"),
        ({"image_id": 77}, "unknown picture"),
        ({"category_id": None}, "unknown category"),
        ({"area": "large"}, "no area"),
    ],
)
def test_an_unusable_annotation_is_left_out_as_loading_does(
    data: Path, changes: dict[str, Any], problem: str
) -> None:
    spoil_record(data, "annotations", 2, **changes)
    report = check(data)
    finding = only(report)
    assert (finding.severity, finding.problem) == ("left out", problem)
    assert finding.record == "annotation 21"
    assert report.ok
    assert report.splits["train"]["usable annotations"] == 11
    assert coco.load_split(data).left_out == report.findings


def test_nothing_to_use_is_an_error(data: Path) -> None:
    content = document([1, 2, 3, 4, 5, 6])
    for annotation in content["annotations"]:
        annotation["segmentation"] = [[1, 1]]
    write_document(data, "train", content)
    assert not check(data).ok
    assert ("error", "no usable annotations") in check(data).counts()


def test_a_picture_under_another_name_is_pointed_to(data: Path) -> None:
    spoil_record(data, "images", 1, file_name="images/7/000000000002.jpg")
    jpg(data, 3).rename(data / "train" / "my photo.jpg")
    spoil_record(data, "images", 2, file_name="my%20photo.jpg")
    details = [f.detail for f in check(data).findings if f.problem == "missing picture"]
    assert details == [
        "'000000000002.jpg' is there: file_name must be a path from train/",
        "'my photo.jpg' is there: file_name must be a path from train/",
    ]


def test_a_repeated_annotation_is_noted(data: Path) -> None:
    content = document([1, 2, 3, 4, 5, 6])
    content["annotations"].append(content["annotations"][0] | {"id": 99})
    write_document(data, "train", content)
    finding = only(check(data))
    assert (finding.problem, finding.detail) == ("repeated annotation", "the mask of annotation 11")


def test_a_picture_without_usable_annotations_is_left_out(data: Path) -> None:
    for position in (2, 3):
        spoil_record(data, "annotations", position, segmentation=[])
    counts = check(data).counts()
    assert counts[("left out", "no segmentation")] == 2
    assert counts[("left out", "no usable annotation")] == 1


@pytest.mark.parametrize(
    ("key", "changes", "problem"),
    [
        ("images", {"file_name": "../secret.jpg"}, "file name leaves the folder"),
        ("images", {"file_name": "/secret.jpg"}, "file name leaves the folder"),
        ("images", {"id": 1}, "duplicate image id"),
        ("images", {"file_name": "000000000001.jpg"}, "file of two images"),
        ("images", {"width": None}, "no picture size"),
        ("annotations", {"id": 11}, "duplicate annotation id"),
        ("categories", {"id": "x"}, "no integer id"),
    ],
)
def test_what_loading_refuses_is_an_error(
    data: Path, key: str, changes: dict[str, Any], problem: str
) -> None:
    spoil_record(data, key, 0 if key == "categories" else 1, **changes)
    errors = [f for f in check(data).findings if f.severity == "error"]
    assert [f.problem for f in errors] == [problem]
    with pytest.raises(DataError, match=problem):
        coco.load_split(data)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"segmentation": [[1, 1, 1.2, 1.1, 1.1, 1.2]], "area": 0.1}, "empty mask"),
        ({"area": 900.0}, "area disagrees with the mask"),
        ({"segmentation": [square(-4, 2, 12)], "area": 100}, "polygon crosses the border"),
    ],
)
def test_a_doubtful_mask_is_noted(data: Path, changes: dict[str, Any], problem: str) -> None:
    spoil_record(data, "annotations", 3, **changes)
    report = check(data)
    finding = only(report)
    assert (finding.severity, finding.problem, finding.record) == (
        "note",
        problem,
        "annotation 22",
    )
    assert report.splits["train"]["usable annotations"] == 12


# --- the whole ------------------------------------------------------------------------------------


def test_it_does_not_stop_at_the_first_fault(data: Path) -> None:
    remove(data)
    truncate_other = jpg(data, 3)
    truncate_other.write_bytes(truncate_other.read_bytes()[:100])
    grey(jpg(data, 4))
    spoil_record(data, "annotations", 0, segmentation=[[1, 1]])
    spoil_record(data, "images", 4, file_name="../../x.jpg")
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


@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
def test_what_is_no_data_set_is_an_error(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "x"
    if kind == "file":
        root.write_text("")
    elif kind == "empty":
        root.mkdir()
    report = check(root)
    assert only(report).problem == "no data set"
    assert not report.ok


def test_an_unknown_split_is_an_error(data: Path) -> None:
    assert "there are: train" in only(check(data, "val")).detail


def test_a_reduction_is_checked_against_its_record(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    reduce(data, out, 4, test_images=1)
    assert check(out).findings == ()
    path = out / "annotations" / "instances_val.json"
    path.write_text(path.read_text().replace("100.0", "101.0"))
    assert only(check(out)).problem == "changed since it was reduced"
    (out / "reduction.json").write_text("{}")
    assert only(check(out)).problem == "unreadable reduction"
    (out / "reduction.json").rename(out / "reduction.unfinished.json")
    assert only(check(out)).problem == "unfinished reduction"


def test_real_coco_has_no_errors(real_coco: Path, tmp_path: Path) -> None:
    reduce(real_coco, tmp_path / "out", 60, test_images=0, copy=True)
    report = check(tmp_path / "out", progress=True)
    assert report.ok
    assert {problem for _, problem in report.counts()} <= {
        "greyscale picture",
        "area disagrees with the mask",
        "polygon crosses the border",
    }


def test_a_long_report_can_be_cut_to_a_few_lines_of_each_kind() -> None:
    findings = tuple(Finding("note", "f.json", f"image {i}", "greyscale") for i in range(30))
    report = Report(Path("data"), findings, {})
    assert len(report.lines()) == 31
    short = report.lines(5)
    assert len(short) == 7
    assert short[5:] == ["note: greyscale: and more of the same …", "    30 note: greyscale"]
