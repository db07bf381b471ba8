"""The seeded sample: what is chosen, what is written, and what a second run does."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_builder import document, outline_anew, write_document, write_set

from nseg_lib.data import coco, reduce
from nseg_lib.data.check import check
from nseg_lib.data.coco import DataError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A train2014 of 40 pictures."""
    return write_set(tmp_path / "coco", "train2014", document(list(range(1, 41))))


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_layout_numbers_and_content(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = reduce.reduce(source, out, 20, test_images=7)
    assert result["pictures"] == {"train": 18, "val": 2, "test": 7}
    assert result["left_out"]["pictures_not_chosen"] == 13
    assert json.loads((out / "reduction.json").read_text()) == result
    assert str(tmp_path) not in (out / "reduction.json").read_text()
    assert {path.name for path in out.iterdir()} == {*result["pictures"], "annotations",
                                                     "reduction.json"}  # fmt: skip
    original = coco.load_split(source)
    seen: set[int] = set()
    for name in result["pictures"]:
        split = coco.load_split(out, name)
        assert list(split.images) == result["chosen"][name]
        assert not seen & set(split.images)
        seen |= set(split.images)
        for image_id, record in split.images.items():
            assert record == original.images[image_id]
            assert split.annotations[image_id] == original.annotations[image_id]
            assert (split.read_image(image_id) == original.read_image(image_id)).all()
        assert (split.header, split.categories) == (original.header, original.categories)


def test_a_set_without_an_object_large_enough_is_told_as_check_tells_it(source: Path) -> None:
    split = outline_anew(source, "train2014", count=80)
    assert not reduce.keeps_a_stroke(split)
    assert "train2014 (no object of which keeps a stroke)" in check(source).uses[-1]


def test_the_sample_is_this_one() -> None:
    """Published ids depend on this order: it must never change."""
    ranked = [1, 11, 6, 4, 7, 12, 9, 5, 8, 3, 2, 10]
    assert reduce.rank(range(1, 13), 42) == ranked
    assert reduce.rank(reversed(range(1, 13)), 42) == ranked
    assert reduce.rank(range(1, 13), 43) != ranked
    assert reduce.Request("train2014").sizes() == {"train": 900, "val": 100, "test": 500}


def test_the_same_bytes_whatever_the_order_of_the_records(source: Path, tmp_path: Path) -> None:
    reduce.reduce(source, tmp_path / "a", 20)
    content = json.loads((source / "annotations" / "instances_train2014.json").read_text())
    for key in ("images", "annotations"):
        random.Random(1).shuffle(content[key])
        content[key] = [dict(reversed(record.items())) for record in content[key]]
    write_document(source, "train2014", content)
    reduce.reduce(source, tmp_path / "b", 20)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_no_test_split_where_nothing_is_left_or_none_is_wanted(
    source: Path, tmp_path: Path
) -> None:
    assert reduce.reduce(source, tmp_path / "a", 40)["pictures"] == {"train": 36, "val": 4}
    assert list(coco.find_splits(tmp_path / "a")) == ["train", "val"]
    assert "test" not in reduce.reduce(source, tmp_path / "b", 10, test_images=0)["pictures"]


def test_what_cannot_be_used_is_passed_over_and_counted(source: Path, tmp_path: Path) -> None:
    content = document(list(range(1, 41)))
    del content["annotations"][0:2]  # image 1 has none left
    content["annotations"][0]["segmentation"] = [[1, 1, 5, 5]]  # image 2 has one
    write_document(source, "train2014", content)
    missing, cut = (source / "train2014" / f"{i:012d}.jpg" for i in (3, 4))
    missing.unlink()
    cut.write_bytes(cut.read_bytes()[:300])
    result = reduce.reduce(source, tmp_path / "out", 37)
    assert set(range(1, 41)) - {i for ids in result["chosen"].values() for i in ids} == {1, 3, 4}
    first, second = result["left_out"].pop("unreadable_pictures")
    assert first == "image 3: 000000000003.jpg: no such picture"
    assert second.startswith("image 4: 000000000004.jpg: not a readable picture: ")
    assert result["left_out"] == {
        "pictures_without_usable_annotation": 1,
        "pictures_not_chosen": 0,
        "unusable_annotations": {"polygon of fewer than three points": 1},
    }
    with pytest.raises(DataError, match=r"has 37 pictures .* images is 38"):
        reduce.reduce(source, tmp_path / "more", 38)
    assert not (tmp_path / "more").exists()


def test_running_again_changes_nothing(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = reduce.reduce(source, out, 20)
    dates = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert reduce.reduce(source, out, 20) == first
    assert dates == {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    (out / "train" / f"{first['chosen']['train'][0]:012d}.jpg").unlink()
    reduce.reduce(source, out, 20)
    assert (out / "train" / f"{first['chosen']['train'][0]:012d}.jpg").exists()


def test_an_interrupted_run_is_finished_by_the_same_request_alone(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write, link and rename of it is made to fail in `tests/faults`."""
    reduce.reduce(source, tmp_path / "whole", 20, test_images=7)
    out, real, left = tmp_path / "out", os.replace, iter(range(10))

    def replace(part: Any, path: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        real(part, path)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        reduce.reduce(source, out, 20, test_images=7)
    monkeypatch.undo()
    assert not (out / "reduction.json").exists()
    with pytest.raises(DataError, match="holds another data set"):
        reduce.reduce(source, out, 20, test_images=7, seed=5)
    reduce.reduce(source, out, 20, test_images=7)
    assert files(out) == files(tmp_path / "whole")


def test_a_picture_that_vanishes_is_named_and_nothing_half_written_stays(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = coco.Split.read_image

    def read_and_remove(split: coco.Split, image_id: int) -> np.ndarray:
        pixels = read(split, image_id)
        if image_id == 3:
            split.image_path(image_id).unlink()
        return pixels

    monkeypatch.setattr(coco.Split, "read_image", read_and_remove)
    with pytest.raises(OSError, match=r"000000000003\.jpg: cannot be copied .*: No such file"):
        reduce.reduce(source, tmp_path / "out", 40)
    assert not (tmp_path / "out" / "reduction.json").exists()
    assert not list((tmp_path / "out").rglob("*.part"))
    assert not check(tmp_path / "out").ok


def test_another_reduction_is_refused(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    reduce.reduce(source, out, 20)
    before = files(out)
    for numbers in ({"images": 21}, {"seed": 1}, {"test_images": 3}):
        with pytest.raises(DataError, match=r"holds another data set, .*choose a new folder"):
            reduce.reduce(source, out, **({"images": 20} | numbers))
    content = document(list(range(1, 41)))
    for annotation in content["annotations"]:
        annotation["area"] += 1
    write_document(source, "train2014", content)
    with pytest.raises(DataError, match="its source has changed"):
        reduce.reduce(source, out, 20)
    assert files(out) == before


def test_a_folder_with_other_things_is_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for taken in (source, tmp_path / "file"):
        with pytest.raises(DataError, match="neither an empty folder nor a data set"):
            reduce.reduce(source, taken, 20)
    (tmp_path / "empty").mkdir()
    assert reduce.reduce(source, tmp_path / "empty", 20)["pictures"]["train"] == 18


@pytest.mark.parametrize(
    ("images", "test_images"), [(1, 5), (-3, 5), (20, -1), (10**20, 5), (20, 10**20)]
)
def test_impossible_numbers(source: Path, tmp_path: Path, images: int, test_images: int) -> None:
    with pytest.raises(DataError, match=r"images is -?[0-9]+;"):
        reduce.reduce(source, tmp_path / "out", images, test_images=test_images)
    assert not (tmp_path / "out").exists()


def test_links_are_made_and_copies_where_they_cannot_be(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def links(name: str, **options: bool) -> set[int]:
        reduce.reduce(source, tmp_path / name, 20, **options)
        return {p.stat().st_nlink for p in (tmp_path / name).glob("train/*.jpg")}

    def other_disk(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    assert links("copied", copy=True) == {1}
    assert links("linked") == {2}
    monkeypatch.setattr(os, "link", other_disk)
    assert links("other") == {1}
    assert files(tmp_path / "copied") == files(tmp_path / "linked") == files(tmp_path / "other")


def test_pictures_in_subfolders_and_behind_symbolic_links(source: Path, tmp_path: Path) -> None:
    content = document(list(range(1, 41)))
    shutil.move(source / "train2014", tmp_path / "elsewhere")
    (source / "train2014").mkdir()
    (source / "train2014" / "deep").symlink_to(tmp_path / "elsewhere")
    for record in content["images"]:
        record["file_name"] = f"deep/{record['file_name']}"
    write_document(source, "train2014", content)
    reduce.reduce(source, tmp_path / "out", 20)
    val = coco.load_split(tmp_path / "out", "val")
    assert all(val.read_image(image_id).any() for image_id in val.images)
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


def test_real_coco_is_reduced(real_coco: Path, tmp_path: Path) -> None:
    result = reduce.reduce(real_coco, tmp_path / "out", 100, test_images=20, copy=True)
    assert result["pictures"] == {"train": 90, "val": 10, "test": 20}
    original = coco.load_split(real_coco)
    val = coco.load_split(tmp_path / "out", "val")
    assert all(val.annotations[i] == original.annotations[i] for i in val.images)
    assert not val.left_out
