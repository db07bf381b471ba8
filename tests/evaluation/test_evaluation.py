"""From methods and samples to ``results.csv``: complete, resumable, and never silently wrong."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from nseg_lib.data.frozen import Sample
from nseg_lib.evaluation.methods import Method, baselines
from nseg_lib.evaluation.metrics import METRICS, evaluate_mask
from nseg_lib.evaluation.rows import COLUMNS, evaluate, read_rows
from nseg_lib.prompt import Prompt


def make_sample(image_id: int, **changes: object) -> Sample:
    """A disc and a smaller one as its stroke, placed by the id, in a grey picture."""
    rows, columns = np.mgrid[:30, :40]
    distance = np.hypot(rows - 12, columns - 10 - image_id)
    sample = Sample(
        split="val",
        recipe="erode",
        image_id=image_id,
        annotation_id=100 + image_id,
        category="cell phone",
        supercategory="electronic",
        image=np.full((30, 40, 3), 128, np.uint8),
        mask=distance <= 9,
        stroke=distance <= 6,
    )
    return replace(sample, **changes)  # type: ignore[arg-type]


@dataclass
class Recorder:
    """A method and its own predictor: it answers with the stroke, and may be killed."""

    name: str = "recorder"
    seed: int | None = 3
    fail_on: int | None = None
    calls: list[int] = field(default_factory=list)

    @property
    def predictor(self) -> Recorder:
        return self

    def logits(self, image: np.ndarray, prompt: Prompt) -> np.ndarray:
        if len(self.calls) == self.fail_on:
            raise KeyboardInterrupt
        self.calls.append(int(prompt.object.sum()))
        return np.where(prompt.object, 9, -9).astype(np.float32)


class Stub:
    """Logits of .3 on the stroke's left part, 1 on its right part, -1 elsewhere."""

    def __init__(self, fill: float = -1.0) -> None:
        self.fill = fill

    def logits(self, image: np.ndarray, prompt: Prompt) -> np.ndarray:
        stroke = prompt.object
        logits = np.full(stroke.shape, self.fill, np.float32)
        logits[stroke] = 1
        logits[stroke & (np.arange(stroke.shape[1]) < 15)] = 0.3
        return logits


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_row_per_method_and_picture_with_every_column(tmp_path: Path) -> None:
    samples = [make_sample(1), make_sample(2)]
    methods = [baselines()[0], Method("stub", Stub(), 7)]
    path = evaluate(methods, samples, tmp_path / "new" / "results.csv", progress=False)
    rows = rows_of(path)
    assert [(r["method"], r["seed"], r["image_id"]) for r in rows] == [
        ("identity", "", "1"),
        ("identity", "", "2"),
        ("stub", "7", "1"),
        ("stub", "7", "2"),
    ]
    first = rows[0]
    assert tuple(first) == COLUMNS
    assert (first["width"], first["height"]) == ("40", "30")
    assert first["object_area"] == str(samples[0].mask.sum())
    assert first["stroke_area"] == str(samples[0].stroke.sum())
    assert first["category"] == "cell phone"
    assert first["empty_prediction"] == first["empty_prediction_logit05"] == "0"
    assert 0 <= float(first["seconds"]) < 5
    expected = evaluate_mask(samples[0].stroke, samples[0].mask)
    for suffix in ("", "_logit05"):  # floats read back to the last bit
        assert {name: float(first[name + suffix]) for name in METRICS} == expected


def test_a_models_two_thresholds_give_two_masks(tmp_path: Path) -> None:
    sample = make_sample(1)
    path = evaluate([Method("stub", Stub(), 0)], [sample], tmp_path / "r.csv")
    (row,) = rows_of(path)
    right = sample.stroke & (np.arange(40) >= 15)
    whole = evaluate_mask(sample.stroke, sample.mask)["iou"]
    assert float(row["iou"]) == whole
    assert float(row["iou_logit05"]) == evaluate_mask(right, sample.mask)["iou"]
    path = tmp_path / "one_rule.csv"
    evaluate([Method("stub", Stub())], [sample], path, released_rule=False)
    (row,) = rows_of(path)
    assert float(row["iou"]) == float(row["iou_logit05"]) == whole


def test_an_empty_prediction_is_counted_per_threshold(tmp_path: Path) -> None:
    sample = make_sample(1, stroke=np.arange(40)[None] * np.ones((30, 1)) < 8)  # logits .3 only
    path = evaluate([Method("stub", Stub(), 0)], [sample], tmp_path / "r.csv")
    (row,) = rows_of(path)
    assert (row["empty_prediction"], row["empty_prediction_logit05"]) == ("0", "1")
    assert float(row["hd95_logit05"]) == 50.0  # the diagonal
    assert float(row["iou_logit05"]) == 0


def test_undecided_pixels_are_not_counted(tmp_path: Path) -> None:
    plain = make_sample(1)
    sample = replace(plain, ignore=plain.mask & ~plain.stroke)
    (row,) = rows_of(evaluate([baselines()[0]], [sample], tmp_path / "r.csv"))
    assert float(row["iou"]) == 1
    sample = replace(plain, ignore=plain.stroke)
    (row,) = rows_of(evaluate([baselines()[0]], [sample], tmp_path / "s.csv"))
    assert row["empty_prediction"] == "1"  # all of it lies on undecided pixels


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    samples = [make_sample(i) for i in range(4)]
    whole = evaluate([Recorder()], samples, tmp_path / "whole.csv", progress=False)
    path = tmp_path / "resumed.csv"
    with pytest.raises(KeyboardInterrupt):
        evaluate([Recorder(fail_on=2)], samples, path, progress=False)
    assert len(rows_of(path)) == 2
    second = Recorder()
    evaluate([second], samples, path, progress=False)
    assert len(second.calls) == 2, "rows already there are not computed again"
    third = Recorder()
    evaluate([third], samples, path, progress=False)
    assert third.calls == []
    drop = [{k: v for k, v in row.items() if k != "seconds"} for row in rows_of(path)]
    assert drop == [{k: v for k, v in row.items() if k != "seconds"} for row in rows_of(whole)]


def test_a_second_evaluation_into_the_same_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"

    def meanwhile() -> Iterator[Sample]:
        yield make_sample(1)
        assert len(rows_of(path)) == 1, "a row is on the disk before the next is begun"
        with pytest.raises(ValueError, match=r"results\.csv: another process is writing it; wait"):
            evaluate([Recorder("other")], [make_sample(1)], path)
        yield make_sample(2)

    evaluate([Recorder()], meanwhile(), path, progress=True)
    assert [row["image_id"] for row in rows_of(path)] == ["1", "2"]
    assert list(tmp_path.iterdir()) == [path], "the lock is gone"


def test_a_file_cut_anywhere_is_repaired(tmp_path: Path) -> None:
    """Every length a kill can leave behind, from nothing to the last byte missing."""
    samples = [make_sample(i) for i in range(2)]
    path = evaluate([Recorder()], samples, tmp_path / "results.csv", progress=False)
    data = path.read_bytes()
    for length in [*range(0, len(data), 37), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(KeyboardInterrupt):
            evaluate([Recorder(fail_on=0)], [*samples, make_sample(2)], path, progress=False)
        method = Recorder()
        evaluate([method], samples, path, progress=False)
        assert [row["image_id"] for row in rows_of(path)] == ["0", "1"]
        assert len(method.calls) == 2 - max(0, data[:length].count(b"\n") - 1)


def test_the_order_of_work_does_not_show_in_the_file(tmp_path: Path) -> None:
    samples = [make_sample(i, split="test" if i == 1 else "val") for i in (10, 9, 1)]
    methods = [Recorder("b", 10), Recorder("b", 9), Recorder("b", None), Recorder("a", 2)]
    first = evaluate(methods, samples, tmp_path / "1.csv", progress=False)
    second = tmp_path / "2.csv"
    for method in reversed(methods):
        evaluate([method], samples[::-1], second, progress=False)
    keys = [tuple(row.values())[:6] for row in rows_of(first)]
    assert keys == [tuple(row.values())[:6] for row in rows_of(second)]
    assert [key[:2] for key in keys[:4]] == [("a", "2"), ("b", ""), ("b", "9"), ("b", "10")]
    assert [key[4] for key in keys[4:6]] == ["9", "10"]


def test_names_with_commas_and_line_breaks_stay_in_their_cell(tmp_path: Path) -> None:
    sample = make_sample(1, category='a "b",\nc')
    path = evaluate([Recorder()], [sample], tmp_path / "r.csv", progress=False)
    method = Recorder()
    evaluate([method], [sample], path, progress=False)
    assert method.calls == []
    assert rows_of(path)[0]["category"] == 'a "b", c'


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"a,b\n1,2", b"notes", b"\x89PNG\r\n\x1a\n\0"])
def test_another_file_is_named_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    for call in (lambda: evaluate([Recorder()], [make_sample(1)], path), lambda: read_rows(path)):
        with pytest.raises(ValueError, match=r"results\.csv: ") as error:
            call()
        assert len(str(error.value).splitlines()) == 1
    assert path.read_bytes() == content


def test_broken_lines_are_named_by_number(tmp_path: Path) -> None:
    path = evaluate([Recorder()], [make_sample(1)], tmp_path / "r.csv", progress=False)
    header, line = path.read_text().splitlines()
    for lines, message in [
        ([header.replace(",hd95,", ",hd99,"), line], "columns missing: hd95; unknown: hd99"),
        ([header, line, line + ",1"], r"line 3 has \d+ fields, not \d+"),
        ([header, line, line], "line 3 repeats line 2"),
        ([header, line.replace(",1,101,", ",x,101,")], "line 2: seed or an id is no whole number"),
    ]:
        path.write_text("\n".join([*lines, ""]))
        with pytest.raises(ValueError, match=message):
            evaluate([Recorder()], [make_sample(1)], path)


def test_reading_an_unfinished_or_missing_file_says_so(tmp_path: Path) -> None:
    path = evaluate([Recorder()], [make_sample(1)], tmp_path / "r.csv", progress=False)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="last line is cut short"):
        read_rows(path)
    with pytest.raises(ValueError, match="no such file"):
        read_rows(tmp_path / "missing.csv")


def test_two_methods_or_samples_that_cannot_be_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two are named recorder with seed 3"):
        evaluate([Recorder(), Recorder()], [make_sample(1)], tmp_path / "r.csv")
    with pytest.raises(ValueError, match="annotation 101 occurs twice"):
        evaluate([Recorder()], [make_sample(1), make_sample(1)], tmp_path / "r.csv")


def test_a_prediction_that_cannot_be_judged_names_method_and_picture(tmp_path: Path) -> None:
    class Wrong(Recorder):
        answer: object = np.zeros((40, 30), np.float32)

        def logits(self, image: np.ndarray, prompt: Prompt) -> np.ndarray:
            return self.answer  # type: ignore[return-value]

    with pytest.raises(ValueError, match=r"recorder, picture 1, annotation 101: predicted must"):
        evaluate([Wrong()], [make_sample(1)], tmp_path / "r.csv", progress=False)
    Wrong.answer = np.ones((30, 40), bool)
    with pytest.raises(ValueError, match=r"picture 1.*logits must be a float32 array, got bool"):
        evaluate([Wrong()], [make_sample(1)], tmp_path / "r.csv", progress=False)
    broken = Method("stub", Stub(fill=float("nan")), 0)
    with pytest.raises(ValueError, match=r"stub, picture 1.*logits are not all finite"):
        evaluate([broken], [make_sample(1)], tmp_path / "r.csv", progress=False)
    assert rows_of(tmp_path / "r.csv") == []


def test_background_strokes_reach_the_method(tmp_path: Path) -> None:
    class Asked(Recorder):
        def logits(self, image: np.ndarray, prompt: Prompt) -> np.ndarray:
            assert prompt.background is not None
            return np.where(prompt.background, 1, -1).astype(np.float32)

    plain = make_sample(1)
    sample = replace(plain, background=plain.mask)
    (row,) = rows_of(evaluate([Asked()], [sample], tmp_path / "r.csv"))
    assert float(row["iou"]) == 1


def test_a_baselines_scale_reaches_it() -> None:
    sample, prompt = make_sample(1), Prompt(make_sample(1).stroke)
    native, half = (
        (baselines(scale)[1].predictor.logits(sample.image, prompt) > 0).sum() for scale in (1, 0.5)
    )
    assert sample.stroke.sum() < half < native
