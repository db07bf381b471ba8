"""Evaluation strokes are drawn once and frozen to a file that belongs to its annotations."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nseg_lib.data import coco
from nseg_lib.data.frozen import HUMAN, EvaluationSamples, freeze_prompts, human_samples
from nseg_lib.evaluation.metrics import iou


def test_evaluation_strokes_are_drawn_once(tiny_data: Path, tmp_path: Path) -> None:
    root = shutil.copytree(tiny_data, tmp_path / "data")
    shutil.rmtree(root / "strokes", ignore_errors=True)
    first = [s.stroke for s in EvaluationSamples(coco.load_split(root, "val"))]
    (path,) = (root / "strokes").iterdir()
    written = path.stat().st_mtime_ns, path.read_bytes()
    again = [s.stroke for s in EvaluationSamples(coco.load_split(root, "val"))]
    assert len(first) == 3
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert (path.stat().st_mtime_ns, path.read_bytes()) == written


def test_a_small_stroke_is_dropped_and_named(tiny_data: Path, tmp_path: Path) -> None:
    root = shutil.copytree(tiny_data, tmp_path / "data")
    shutil.rmtree(root / "strokes", ignore_errors=True)
    path = root / "annotations" / "instances_val.json"
    document = json.loads(path.read_text())
    dot = np.zeros((128, 144), bool)
    dot[40:44, 50:54] = True
    document["annotations"][0] |= {"segmentation": coco.mask_to_rle(dot), "area": 16}
    path.write_text(json.dumps(document))
    frozen = freeze_prompts(coco.load_split(root, "val"))
    assert frozen.dropped == (101,)
    assert list(frozen.prompts) == [102, 103]


def test_strokes_of_other_annotations_are_refused(tiny_data: Path, tmp_path: Path) -> None:
    root = shutil.copytree(tiny_data, tmp_path / "data")
    split = coco.load_split(root, "val")
    freeze_prompts(split)
    (path,) = (root / "strokes").glob("val_*")
    stored = json.loads(path.read_text())
    stored["strokes"][0]["annotation_id"] += 1
    path.write_text(json.dumps(stored))
    with pytest.raises(coco.DataError, match="drawn for other annotations than val has now"):
        freeze_prompts(split)
    path.write_text("{")
    with pytest.raises(coco.DataError, match="not a file of frozen strokes"):
        freeze_prompts(split)


def test_strokes_of_an_object_that_was_outlined_anew_are_refused(
    tiny_data: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(tiny_data, tmp_path / "data")
    split = coco.load_split(root, "val")
    freeze_prompts(split)
    freeze_prompts(split)
    path = root / "annotations" / "instances_val.json"
    document = json.loads(path.read_text())
    target = coco.largest_annotation(split.annotations[101])
    (changed,) = (a for a in document["annotations"] if a["id"] == target["id"])
    mask = np.roll(coco.annotation_mask(changed, 128, 144), 3, axis=1)
    changed["segmentation"] = coco.mask_to_rle(mask)
    path.write_text(json.dumps(document))
    with pytest.raises(coco.DataError, match="drawn for other annotations than val has now"):
        freeze_prompts(coco.load_split(root, "val"))


# --- prompts of every kind ------------------------------------------------------------------------


@pytest.fixture
def split(tiny_data: Path, tmp_path: Path) -> coco.Split:
    """The tiny validation split; what is drawn for it goes to a folder of this test."""
    return replace(coco.load_split(tiny_data, "val"), root=tmp_path)


@pytest.mark.parametrize("kind", ["erode", "sparse", "plain_sparse", "plain_object"])
def test_prompts_are_drawn_once(split: coco.Split, kind: str) -> None:
    first = freeze_prompts(split, kind)
    stored = first.path.read_bytes()
    assert first.path.parent.name == ("strokes" if kind == "erode" else "prompts")
    background = first.drawn(next(iter(first.prompts))).background
    assert not (background.any() and kind in ("erode", "plain_object"))
    assert freeze_prompts(split, kind) == first
    first.path.unlink()
    freeze_prompts(split, kind)
    assert first.path.read_bytes() == stored
    assert freeze_prompts(split, kind, seed=1).prompts != first.prompts


def test_a_kind_that_nobody_knows_is_refused(split: coco.Split) -> None:
    with pytest.raises(ValueError, match="unknown kind of prompt 'scrawl'; one of: erode"):
        freeze_prompts(split, "scrawl")


def test_what_people_drew(real_scribbles: Path) -> None:
    samples = list(human_samples(real_scribbles, 4))
    assert {s.recipe for s in samples} <= set(HUMAN)
    with_both = [s for s in samples if s.recipe == "scribbles1"]
    assert len(with_both) == 4
    for sample in with_both:
        assert sample.background.any()
        assert sample.ignore is not None
        assert iou(sample.stroke, sample.mask, sample.ignore) > 0.05
