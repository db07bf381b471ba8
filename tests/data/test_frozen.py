"""Evaluation strokes are drawn once and frozen to a file that belongs to its annotations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from coco_builder import outline_anew

from nseg_lib.data import coco
from nseg_lib.data.frozen import (
    BOXED,
    HUMAN,
    EvaluationSamples,
    freeze_prompts,
    human_samples,
    prompt_samples,
)
from nseg_lib.evaluation.metrics import iou
from nseg_lib.prompt import Prompt


@pytest.mark.parametrize("kind", ["erode", "sparse", "plain_sparse", "plain_object"])
def test_prompts_are_drawn_once(tiny_data: Path, tmp_path: Path, kind: str) -> None:
    split = replace(coco.load_split(tiny_data, "val"), root=tmp_path)
    first = freeze_prompts(split, kind)
    written = first.path.stat().st_mtime_ns, first.path.read_bytes()
    assert first.path.parent.name == ("strokes" if kind == "erode" else "prompts")
    background = first.drawn(next(iter(first.prompts))).background
    assert not (background.any() and kind in ("erode", "plain_object"))
    assert freeze_prompts(split, kind) == first
    assert (first.path.stat().st_mtime_ns, first.path.read_bytes()) == written
    first.path.unlink()
    freeze_prompts(split, kind)
    assert first.path.read_bytes() == written[1]
    assert freeze_prompts(split, kind, seed=1).prompts != first.prompts
    with pytest.raises(ValueError, match="unknown kind of prompt 'scrawl'; one of: erode"):
        freeze_prompts(split, "scrawl")


@pytest.mark.parametrize("kind", BOXED)
def test_a_box_lies_round_its_object_and_strokes_are_as_without_it(
    own_data: Path, kind: str
) -> None:
    split = coco.load_split(own_data, "val")
    with_box = list(prompt_samples(split, [kind]))
    assert [sample.image_id for sample in with_box] == [101, 102, 103]
    for sample in with_box:
        assert sample.box is not None
        inside = Prompt(sample.stroke, box=sample.box).inside
        assert inside[sample.mask].all()
        assert inside.sum() < 1.6 * sample.mask.sum(), "the objects are round"
        assert kind != "nothing+box" or not sample.stroke.any()
    if kind == "plain_object+box":
        alone = list(prompt_samples(split, ["plain_object"]))
        assert all((a.stroke == b.stroke).all() for a, b in zip(alone, with_box, strict=True))


def test_a_small_stroke_is_dropped_and_named(own_data: Path) -> None:
    samples = EvaluationSamples(outline_anew(own_data, "val"))
    assert samples.dropped == (101,)
    assert [sample.image_id for sample in samples] == [102, 103]


def test_every_object_is_judged_on_the_stroke_that_it_has_as_the_largest(own_data: Path) -> None:
    split = coco.load_split(own_data, "val")
    (first,) = split.annotations[101]
    smaller = np.zeros_like(split.mask(101, first))
    smaller[:50, :50] = True
    rle = coco.mask_to_rle(smaller)
    second = {**first, "id": 900, "segmentation": rle, "area": 2500}
    crowd, tiny = {**second, "id": 901, "iscrowd": 1}, {**second, "id": 902, "area": 1599}
    found = {**split.annotations, 101: [first, second, crowd, tiny]}
    largest, every = (
        {
            s.annotation_id: s
            for s in EvaluationSamples(replace(split, annotations=found), every=all)
        }
        for all in (False, True)
    )
    assert {*every} - {*largest} == {900}
    assert every[900].image_id == 101
    for annotation_id, sample in largest.items():
        assert np.array_equal(every[annotation_id].stroke, sample.stroke)


def test_strokes_of_other_annotations_are_refused(own_data: Path) -> None:
    split = coco.load_split(own_data, "val")
    path = freeze_prompts(split).path
    stored = json.loads(path.read_text())
    stored["strokes"][0]["annotation_id"] += 1
    for text, reason in (
        (json.dumps(stored), "drawn for other annotations than val has now"),
        ("{", "not a file of frozen strokes"),
    ):
        path.write_text(text)
        with pytest.raises(coco.DataError, match=reason):
            freeze_prompts(split)


def test_strokes_of_an_object_that_was_outlined_anew_are_refused(own_data: Path) -> None:
    split = coco.load_split(own_data, "val")
    freeze_prompts(split)
    (target,) = split.annotations[101]
    moved = coco.mask_to_rle(np.roll(split.mask(101, target), 3, axis=1))
    with pytest.raises(coco.DataError, match="drawn for other annotations than val has now"):
        freeze_prompts(outline_anew(own_data, "val", moved, target["area"]))


def test_what_people_drew(real_scribbles: Path) -> None:
    samples = list(human_samples(real_scribbles, 4))
    assert {s.recipe for s in samples} <= set(HUMAN)
    with_both = [s for s in samples if s.recipe == "scribbles1"]
    assert len(with_both) == 4
    for sample in with_both:
        assert sample.background.any()
        assert sample.ignore is not None
        assert iou(sample.stroke, sample.mask, sample.ignore) > 0.05
