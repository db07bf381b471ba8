"""Splits, records, masks and pictures: what is read, and what is refused and how."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_builder import HEIGHT, WIDTH, document, square, write_document, write_set
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from nseg_lib.data import coco
from nseg_lib.data.coco import DataError
from nseg_lib.data.records import rle_problem, rle_runs, segmentation_problem

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24))


def runs_of(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, unset pixels first: the definition, pixel by pixel."""
    runs, value = [0], False
    for pixel in mask.flatten(order="F"):
        if pixel != value:
            runs.append(0)
            value = not value
        runs[-1] += 1
    return runs


# --- splits ---------------------------------------------------------------------------------------


def test_train_goes_before_val_and_two_trains_are_a_question(tmp_path: Path) -> None:
    write_set(tmp_path, "val2017", document([3, 1, 2]))
    loaded = coco.load_split(tmp_path)  # the only one
    assert (loaded.name, list(loaded.images)) == ("val2017", [1, 2, 3])
    assert [a["id"] for a in loaded.annotations[2]] == [21, 22]
    assert loaded.header["info"] == {"description": "squares"}
    assert loaded.read_image(3).shape == (HEIGHT, WIDTH, 3)
    write_set(tmp_path, "train2017", document([1]))
    assert coco.load_split(tmp_path).name == "train2017"
    assert coco.load_split(tmp_path, "val2017").name == "val2017"
    with pytest.raises(DataError, match="no split 'test'; there are: train2017, val2017"):
        coco.load_split(tmp_path, "test")
    write_set(tmp_path, "train2014", document([3]))
    with pytest.raises(DataError, match="name one of: train2014, train2017, val2017"):
        coco.load_split(tmp_path)


def test_folders_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no annotations/instances_<split>"):
        coco.load_split(tmp_path)
    write_document(tmp_path, "train", document([1]))
    with pytest.raises(DataError, match="folder of the split's pictures is missing"):
        coco.load_split(tmp_path)


def twice(key: str) -> dict[str, Any]:
    records = document([1, 2])[key]
    return {key: [*records, records[0]]}


def image(**changes: Any) -> dict[str, Any]:
    first, second = document([1, 2])["images"]
    return {"images": [first | changes, second]}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"images": None}, "key 'images' must hold a list"),
    ({"annotations": {}}, "key 'annotations' must hold a list"),
    ({"categories": None}, "key 'categories' must hold a list"),
    (image(id=-3), "id out of range"),
    (image(id=2**100), "id out of range"),
    (image(id=True), "no integer id"),
    (image(width="wide"), "image 1: no picture size"),
    (image(width=100_000, height=100_000), "too large a picture"),
    (image(file_name=None), "no file name"),
    (image(file_name="a\0.jpg"), "no file name"),
    (image(file_name="a\nb.jpg"), "impossible file name"),
    (image(file_name="../a.jpg"), "leaves the folder"),
    (image(file_name="/etc/passwd"), "leaves the folder"),
    (image(file_name="..\\a.jpg"), "leaves the folder"),
    (image(file_name="C:\\a.jpg"), "leaves the folder"),
    (image(file_name=".\\000000000002.jpg"), "file of two images"),
    (twice("images"), "duplicate image id"),
    (twice("annotations"), "annotation 11: duplicate annotation id"),
    (twice("categories"), "duplicate category id"),
    ({"images": [7]}, "position 0: not a record"),
    ({"images": [{"id": 1, "width": -1}, {"id": 2}]}, "split is refused; one of 2 errors"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSED)
def test_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    write_document(tmp_path, "train", document([1, 2]) | changes)
    with pytest.raises(DataError, match=re.escape(reason)) as caught:
        coco.load_split(tmp_path)
    assert "\n" not in str(caught.value)
    assert "annotations/instances_train.json" in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b"\x1f\x8b\x08"]
)
def test_malformed_json_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train.json").write_bytes(text)
    with pytest.raises(DataError, match="instances_train") as caught:
        coco.load_split(tmp_path)
    assert "\n" not in str(caught.value)


# --- annotations ----------------------------------------------------------------------------------

PIXELS = HEIGHT * WIDTH


def rle(counts: Any, size: Any = (HEIGHT, WIDTH)) -> dict[str, Any]:
    return {"size": list(size), "counts": counts}


FULL = coco.mask_to_rle(np.ones((HEIGHT, WIDTH), bool))["counts"]
UNUSABLE_SEGMENTATIONS = {
    "missing": (None, "no segmentation"),
    "empty": ([], "no segmentation"),
    "text": ("1,2,3", "no segmentation"),
    "RLEs": ([rle([0, PIXELS])] * 2, "malformed polygon"),
    "shares": ([[0, 0, 0.5, 0, 0.5, 1]], "polygon in shares of the picture"),
    "endless outline": ([[0, 0, 40, 20] * 60_000], "outline too long"),
    "odd": ([[1, 1, 5, 1, 5, 5, 3]], "malformed polygon"),
    "two points, a box to pycocotools": ([[1, 1, 5, 5]], "fewer than three points"),
    "left of it": ([square(-9, 1, 5)], "polygon outside the picture"),
    "far away": ([square(1e9, 1, 5)], "polygon far outside"),
    "endless digits": ([[1, 1, 10**400, 1, 5, 5]], "polygon far outside"),
    "RLE turned": (rle([0, PIXELS], (WIDTH, HEIGHT)), "RLE of the wrong size"),
    "RLE size of floats": (rle([0, PIXELS], (20.0, 30.0)), "RLE of the wrong size"),
    "RLE too short": (rle([3, 4]), "malformed RLE"),
    "RLE too long": (rle([0, PIXELS + 1]), "malformed RLE"),
    "RLE negative": (rle([-1, PIXELS + 1]), "malformed RLE"),
    "RLE floats": (rle([0.0, PIXELS]), "malformed RLE"),
    "RLE as Python's bytes": (rle("b'0h'"), "malformed RLE"),
    "RLE of endless runs": (rle([0] * 2 * PIXELS + [PIXELS]), "malformed RLE"),
    "RLE string cut": (rle("0h"), "malformed RLE"),
    "RLE string foreign": (rle("é!"), "malformed RLE"),
    "RLE endless number": (rle("o" * 50), "malformed RLE"),
    "RLE padded number": (rle("P" * 13 + FULL), "malformed RLE"),
    "RLE without a pixel": (rle([PIXELS]), "empty RLE"),
}
UNUSABLE_FIELDS = {
    "unknown picture": ({"image_id": 99}, "unknown picture"),
    "picture a word": ({"image_id": "one"}, "unknown picture"),
    "unknown category": ({"category_id": 99}, "unknown category"),
    "area infinite": ({"area": "inf"}, "no area"),
    "area endless": ({"area": 10**400}, "no area"),
    "area negative": ({"area": -1}, "no area"),
    "no id": ({"id": None}, "no integer id"),
} | {k: ({"segmentation": v}, problem) for k, (v, problem) in UNUSABLE_SEGMENTATIONS.items()}


@pytest.mark.parametrize("case", UNUSABLE_FIELDS)
def test_unusable_annotations_are_left_out_and_named(tmp_path: Path, case: str) -> None:
    changes, expected = UNUSABLE_FIELDS[case]
    content = document([1, 2])
    content["annotations"][0].update(changes)
    write_set(tmp_path, "train", content)
    loaded = coco.load_split(tmp_path)
    assert [a["id"] for found in loaded.annotations.values() for a in found] == [12, 21, 22]
    (finding,) = loaded.left_out
    assert expected in finding.problem
    assert finding.record == ("annotation at position 0" if "id" in changes else "annotation 11")
    if "segmentation" in changes:  # what loading leaves out makes no mask either
        with pytest.raises(DataError, match=f"annotation 5: .*{expected}"):
            coco.annotation_mask({"id": 5, **changes}, HEIGHT, WIDTH)


MENDED = {
    "numbers as text": {"id": "11", "image_id": "1", "category_id": "1", "area": "400.0"},
    "numbers as floats": {"id": 11.0, "image_id": 1.0, "category_id": 1.0},
    "a polygon not in a list": {"segmentation": square(2, 3, 20)},
    "an RLE in a list": {
        "segmentation": [coco.mask_to_rle(np.pad(np.ones((20, 20), bool), ((3, 97), (2, 138))))]
    },
    "a part of two points": {"segmentation": [square(2, 3, 20), [1, 1, 5, 5]]},
    "no area": {"area": None},
    "no iscrowd": {"iscrowd": None},
    "iscrowd as text": {"iscrowd": "0"},
    **{
        f"a box that is {box}": {"bbox": box}
        for box in (
            [float("nan")] * 4,
            [2, 3, -20, 20],
            ["2", "3", "20", "20"],
            [2, 3, 20],
            "2,3,20,20",
            {},
        )
    },
}


@pytest.mark.parametrize("case", MENDED)
def test_what_other_programs_write_is_read_as_meant(tmp_path: Path, case: str) -> None:
    content = document([1, 2])
    usual = dict(content["annotations"][0])
    content["annotations"][0].update(MENDED[case])
    content["images"][0].update({"id": "1", "width": str(WIDTH), "height": float(HEIGHT)})
    write_document(tmp_path, "train", content)
    (tmp_path / "train").mkdir()
    loaded = coco.load_split(tmp_path)
    assert not loaded.left_out
    assert (loaded.images[1]["width"], loaded.images[1]["height"]) == (WIDTH, HEIGHT)
    read = loaded.annotations[1][0]
    assert {k: read[k] for k in ("id", "image_id", "category_id", "area")} == {
        k: usual[k] for k in ("id", "image_id", "category_id", "area")
    }
    expected = coco.annotation_mask(usual, HEIGHT, WIDTH)
    np.testing.assert_array_equal(loaded.mask(1, read), expected)
    assert "NaN" not in json.dumps(read)
    assert not read["iscrowd"]
    if "bbox" in MENDED[case]:
        assert read["bbox"] is None
        path = tmp_path / "annotations" / "instances_train.json"
        _, findings = coco.parse_split(coco.read_json(path), tmp_path, "train", "f")
        assert "malformed box" in {finding.problem for finding in findings}


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("annotations/instances_default.json", "images"),
        ("annotations/instances_default.json", "images/default"),
        ("train/_annotations.coco.json", "train"),
        ("result.json", "images"),
        ("annotations.json", "."),
    ],
)
def test_exports_of_annotation_tools_are_read(tmp_path: Path, file: str, folder: str) -> None:
    content = document([1, 2])
    write_set(tmp_path / "usual", "train", content)
    root = tmp_path / "export"
    (root / folder).mkdir(parents=True)
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text(json.dumps(content))
    for path in (tmp_path / "usual" / "train").iterdir():
        path.rename(root / folder / path.name)
    split = coco.load_split(root)
    assert split.image_dir == root / folder
    assert split.read_image(2).shape == (HEIGHT, WIDTH, 3)


def test_polygons_make_the_expected_pixels_and_are_cut_at_the_border() -> None:
    polygons = [square(12, 3, 5), square(-4, -4, 10), square(140, 90, 40), square(-9, 2, 3)]
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[3:8, 12:17] = expected[:6, :6] = expected[90:, 140:] = True
    mask = coco.annotation_mask({"segmentation": polygons}, HEIGHT, WIDTH)
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, expected)


def test_largest_annotation_takes_crowds_and_of_equals_the_lowest_id() -> None:
    records = [{"id": 3, "area": 5}, {"id": 2, "area": 9, "iscrowd": 1}, {"id": 1, "area": 9}]
    assert coco.largest_annotation(records)["id"] == 1
    assert coco.largest_annotation(records[:2])["id"] == 2
    with pytest.raises(DataError, match="without annotations"):
        coco.largest_annotation([])


# --- RLE ------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(masks)
def test_rle_round_trip(mask: np.ndarray) -> None:
    packed = json.loads(json.dumps(coco.mask_to_rle(mask)))
    plain = rle(runs_of(mask), mask.shape)
    for each in (packed, plain):
        np.testing.assert_array_equal(coco.rle_to_mask(each), mask)
    assert rle_runs(packed) == plain["counts"]


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**20), min_size=1, max_size=30))
def test_long_runs_are_read_as_pycocotools_writes_them(runs: list[int]) -> None:
    size = [sum(runs) or 1, 1]
    runs[0] += not sum(runs)
    packed = coco_mask.frPyObjects({"size": size, "counts": runs}, *size)
    assert rle_runs({"counts": packed["counts"].decode()}) == runs


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
def test_any_string_is_decoded_as_pycocotools_does_or_refused(counts: str) -> None:
    packed = rle(counts, (4, 5))
    if rle_problem(packed, 4, 5):
        with pytest.raises(DataError):
            coco.rle_to_mask(packed)
    else:
        np.testing.assert_array_equal(coco.rle_to_mask(packed), coco_mask.decode(packed))


@pytest.mark.parametrize("mask", [np.zeros((2, 2)), np.zeros(4, bool), np.zeros((0, 3), bool)])
def test_only_masks_become_rle(mask: np.ndarray) -> None:
    with pytest.raises(DataError, match="a mask must be bool HxW"):
        coco.mask_to_rle(mask)


@pytest.mark.parametrize("size", [None, [4], [4, 5, 6], ["4", 5], [0, 5], [4.0, 5]])
def test_rle_size_must_be_two_integers(size: Any) -> None:
    with pytest.raises(DataError, match=r"\[height, width\] is needed"):
        coco.rle_to_mask({"size": size, "counts": [20]})


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-WIDTH, 2 * WIDTH), st.floats(-HEIGHT, 2 * HEIGHT)), min_size=3
    ).map(lambda points: [float(v) for point in points for v in point])
)
def test_any_polygon_makes_a_mask_or_is_refused(polygon: list[float]) -> None:
    annotation = {"id": 1, "segmentation": [polygon]}
    if segmentation_problem([polygon], HEIGHT, WIDTH):
        with pytest.raises(DataError):
            coco.annotation_mask(annotation, HEIGHT, WIDTH)
    else:
        mask = coco.annotation_mask(annotation, HEIGHT, WIDTH)
        assert mask.shape == (HEIGHT, WIDTH)
        x, y = polygon[::2], polygon[1::2]
        for found, given in zip(np.nonzero(mask), (y, x), strict=True):
            if found.size:  # no pixel is set beyond the polygon's own box
                assert np.floor(min(given)) - 1 <= found.min()
                assert found.max() <= np.ceil(max(given))


# --- real data ------------------------------------------------------------------------------------


def test_masks_of_real_coco_equal_pycocotools_own(
    real_coco: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pycocotools.coco import COCO

    path = next(iter(coco.find_splits(real_coco).values()))
    split = coco.load_split(real_coco, path.stem.removeprefix("instances_"))
    peer = COCO(str(path))
    for image_id in list(split.images)[:150]:
        image = split.images[image_id]
        assert [a["id"] for a in split.annotations[image_id]] == sorted(peer.getAnnIds([image_id]))
        for annotation in split.annotations[image_id]:
            mask = coco.annotation_mask(annotation, image["height"], image["width"])
            np.testing.assert_array_equal(mask, peer.annToMask(copy.deepcopy(annotation)))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Attribution License", True),
        ("Attribution-ShareAlike License", True),
        ("No known copyright restrictions", True),
        ("Attribution-NonCommercial License", False),
        ("Attribution-NoDerivs License", False),
        (None, False),
    ],
)
def test_a_picture_is_credited_only_where_its_licence_lets_a_report_show_it(
    tmp_path: Path, name: str | None, shown: bool
) -> None:
    record = {"id": 1, "file_name": "a.jpg", "flickr_url": "http://example.org/a", "license": 3}
    licences = [{"id": 3, "name": name}] if name else None
    split = coco.Split(tmp_path, "val", {1: record}, {1: []}, {}, (), {"licenses": licences})
    assert split.credit(1) == (f"http://example.org/a ({name})" if shown else None)
