"""The sample data set: its bytes, its layout, its masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO

from nseg_lib.data import check, coco
from nseg_lib.data.records import DataError
from nseg_lib.sample import make_sample, photograph
from nseg_lib.sample.scene import MAX_AREA, MIN_AREA, Scene, compose
from nseg_lib.sample.shapes import FAMILIES
from nseg_lib.sample.sources import load_data
from nseg_lib.strokes.recipes import MIN_STROKE_AREA, make_stroke

PICTURES = 24
SPLITS = {"train": 18, "val": 3, "test": 3, "photos": 6}


def connected(mask: NDArray[np.bool_]) -> int:
    """Number of connected parts of more than 8 pixels."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return int((stats[1:, cv2.CC_STAT_AREA] > 8).sum())


def pictures_of(root: Path) -> dict[str, bytes]:
    """File name → content of every picture under `root`; the same may be in another split."""
    return {path.name: path.read_bytes() for path in root.rglob("*.jpg")}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample of 24 pictures; do not write to it."""
    return make_sample(tmp_path_factory.mktemp("data") / "sample", PICTURES, seed=7)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Forty composed pictures of an odd size."""
    return [compose(np.random.default_rng((3, i)), 213, 285) for i in range(40)]


# --- bytes and folders ----------------------------------------------------------------------------


def test_pictures_depend_on_seed_and_id_alone(sample: Path, tmp_path: Path) -> None:
    fewer = pictures_of(make_sample(tmp_path / "deep" / "fewer", 8, seed=7))
    other = pictures_of(make_sample(tmp_path / "deep" / "other", 8, seed=8))
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"fewer", "other"}
    assert fewer.items() <= pictures_of(sample).items()
    same = {name for name, content in fewer.items() if other[name] == content}
    assert same == {path.name for path in (sample / "photos").iterdir()}


def test_a_finished_sample_is_left_alone(sample: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in sample.rglob("*")}
    assert make_sample(sample, PICTURES, seed=7) == sample
    for changes in ({"seed": 8}, {"pictures": 25}, {"max_side": 256}):
        with pytest.raises(DataError, match="holds another data set"):
            make_sample(sample, **({"pictures": PICTURES, "seed": 7} | changes))
    assert {path: path.stat().st_mtime_ns for path in sample.rglob("*")} == before


def test_foreign_folder_is_not_overwritten(tmp_path: Path) -> None:
    for content in ("mine", '{"request": {"split": "train"}}'):
        (tmp_path / "reduction.json").write_text(content)
        with pytest.raises(DataError, match=r"not valid JSON|holds another data set"):
            make_sample(tmp_path, 8)
        assert [path.read_text() for path in tmp_path.iterdir()] == [content]


def test_damage_is_named(tmp_path: Path) -> None:
    root = make_sample(tmp_path / "sample", 8, max_side=128)
    picture = next((root / "train").glob("*.jpg"))
    picture.unlink()
    with pytest.raises(DataError, match=rf"{picture.name}: missing"):
        make_sample(root, 8, max_side=128)
    (root / "annotations" / "instances_val.json").write_text("{}")
    with pytest.raises(DataError, match=r"instances_val\.json: missing or changed"):
        make_sample(root, 8, max_side=128)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pictures": 7}, "pictures is 7; an integer of 8 or more"),
        ({"pictures": 10**11}, "pictures is 100000000000; at most 10,000,000"),
        ({"seed": -1}, "seed is -1; an integer of 0 or more"),
        ({"max_side": 1281}, "max_side is 1281; at most 1280"),
    ],
)
def test_impossible_numbers(tmp_path: Path, arguments: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_sample(tmp_path / "sample", **arguments)
    assert not (tmp_path / "sample").exists()


# --- layout ---------------------------------------------------------------------------------------


def test_splits_as_the_library_reads_them(sample: Path) -> None:
    assert set(coco.find_splits(sample)) == set(SPLITS)
    ids: list[int] = []
    known = load_data("sources.json")["photographs"]
    for name, pictures in SPLITS.items():
        split = coco.load_split(sample, name)
        assert not split.left_out
        assert len(split.images) == pictures
        assert all(split.annotations.values())
        ids += [a["id"] for found in split.annotations.values() for a in found]
        licences = {licence["id"]: licence for licence in split.header["licenses"]}
        for image_id, record in split.images.items():
            split.read_image(image_id)
            assert licences[record["license"]]["url"].startswith("https://creativecommons.org/")
            assert set(record["sources"]) <= set(known)
    assert len(set(ids)) == len(ids)
    assert check.check(sample).ok
    records = coco.load_split(sample, "train").images.values()
    sizes = {(record["width"], record["height"]) for record in records}
    assert {max(size) for size in sizes} == {320}
    assert any(width < height for width, height in sizes)


def test_pycocotools_reads_the_same_masks(sample: Path) -> None:
    for name in SPLITS:
        split = coco.load_split(sample, name)
        oracle = COCO(str(sample / "annotations" / f"instances_{name}.json"))
        for image_id, record in split.images.items():
            for annotation in split.annotations[image_id]:
                mask = coco.annotation_mask(annotation, record["height"], record["width"])
                np.testing.assert_array_equal(mask, oracle.annToMask(annotation).astype(bool))
                assert annotation["area"] == mask.sum() > 0
                assert annotation["bbox"] == list(cv2.boundingRect(mask.astype(np.uint8)))


# --- composed pictures ----------------------------------------------------------------------------


def test_masks_are_visible_parts(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.shape == (213, 285, 3)
        assert 1 <= len(scene.objects) <= 5
        stacked = np.sum([visible for _, visible in scene.objects], axis=0)
        assert stacked.max() == 1, "two objects cannot both be seen in a pixel"
        whole = np.any([whole_object.mask for whole_object, _ in scene.objects], axis=0)
        np.testing.assert_array_equal(stacked > 0, whole)
        nearest, seen = scene.objects[-1]
        np.testing.assert_array_equal(seen, nearest.mask)
        for whole_object, visible in scene.objects:
            assert MIN_AREA <= visible.mean() <= MAX_AREA
            # Half covered or more, but for what pycocotools rounds otherwise along the edge.
            assert (whole_object.mask != (whole_object.coverage >= 0.5)).mean() < 0.01
            if whole_object.polygons is not None:
                drawn = coco.annotation_mask({"segmentation": whole_object.polygons}, 213, 285)
                np.testing.assert_array_equal(drawn, whole_object.mask)


def test_pictures_show_the_edges(scenes: list[Scene]) -> None:
    """Across an object's edge the picture changes more than along lines beside it."""
    ratios = []
    for scene in scenes:
        grey = scene.image.mean(axis=2)
        change = np.abs(np.diff(grey, axis=1))
        for _, visible in scene.objects:
            edge = visible[:, 1:] != visible[:, :-1]
            beside = (np.roll(edge, 6, axis=1) | np.roll(edge, -6, axis=1)) & ~edge
            ratios.append(change[edge].mean() / change[beside].mean())
    assert np.median(ratios) > 1.5
    assert min(ratios) < 1.3, "some edges must be hard to see"


def test_what_the_sample_holds(scenes: list[Scene]) -> None:
    items = [item for scene in scenes for item in scene.objects]
    assert {whole_object.family for whole_object, _ in items} == set(FAMILIES)
    parts, holes, split_up = 0, 0, 0
    for whole_object, visible in items:
        parts += whole_object.polygons is not None and len(whole_object.polygons) > 1
        holes += connected(np.pad(~visible, 1, constant_values=True)) > 1
        split_up += connected(visible) > 1
    assert min(parts, holes, split_up) >= 5
    areas = [visible.mean() for _, visible in items]
    assert min(areas) < 0.03
    assert max(areas) > 0.35
    assert np.mean([len(scene.objects) > 1 for scene in scenes]) > 0.5


def test_most_strokes_survive(scenes: list[Scene]) -> None:
    largest = [max((visible for _, visible in s.objects), key=np.sum) for s in scenes]
    strokes = [make_stroke(mask, "erode", image_id=i) for i, mask in enumerate(largest)]
    assert np.mean([stroke.sum() >= MIN_STROKE_AREA for stroke in strokes]) >= 0.9


# --- photographs ----------------------------------------------------------------------------------


def test_photographs_are_whole_and_outlined(sample: Path) -> None:
    split = coco.load_split(sample, "photos")
    assert len(split.images) >= 6
    for image_id, record in split.images.items():
        original = photograph(record["sources"][0]).astype(float)
        saved = split.read_image(image_id)
        assert saved.shape == original.shape
        assert np.abs(saved - original).mean() < 6
    names = {record["name"] for record in split.categories.values()}
    assert {"cat", "person", "cup", "rocket", "coin", *FAMILIES} <= names


def test_outlines_follow_edges(sample: Path) -> None:
    """Every outline lies on steeper edges where it is, give or take a pixel, than 5 px away."""
    near = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    away = [(5 * dy, 5 * dx) for dy, dx in near if dy or dx]
    split = coco.load_split(sample, "photos")
    for image_id, record in split.images.items():
        image = cv2.GaussianBlur(split.read_image(image_id).astype(np.float32), (0, 0), 1.0)
        slope = sum(np.abs(cv2.Sobel(image, cv2.CV_32F, dx, 1 - dx)).max(axis=2) for dx in (0, 1))
        height, width = record["height"], record["width"]
        for annotation in split.annotations[image_id]:
            mask = coco.annotation_mask(annotation, height, width).astype(np.uint8)
            y, x = np.nonzero(mask - cv2.erode(mask, np.ones((3, 3), np.uint8)))
            inner = (x > 6) & (y > 6) & (x < width - 7) & (y < height - 7)
            y, x = y[inner], x[inner]
            here, elsewhere = (
                max(slope[y + dy, x + dx].mean() for dy, dx in shifts) for shifts in (near, away)
            )
            assert here > elsewhere, annotation["id"]


def test_unknown_photograph() -> None:
    with pytest.raises(DataError, match=r"no photograph 'moon\.png'; there are: astronaut\.png"):
        photograph("moon.png")
