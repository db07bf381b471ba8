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
        split="val", recipe="erode", image_id=image_id, annotation_id=100 + image_id,
        category="cell phone", supercategory="electronic",
        image=np.full((30, 40, 3), 128, np.uint8), mask=distance <= 9, stroke=distance <= 6,
    )  # fmt: skip
    return replace(sample, **changes)


ONE = make_sample(1)


@dataclass
class Recorder:
    """A method and its own predictor: it answers with the stroke, and may be killed."""

    name: str = "recorder"
    seed: int | None = 3
    fail_on: int | None = None
    answer: np.ndarray | None = None
    asked: list[Prompt] = field(default_factory=list)

    @property
    def predictor(self) -> Recorder:
        return self

    def logits(self, image: np.ndarray, prompt: Prompt) -> np.ndarray:
        if len(self.asked) == self.fail_on:
            raise KeyboardInterrupt
        self.asked.append(prompt)
        answer = self.answer
        return np.where(prompt.object, 9, -9).astype(np.float32) if answer is None else answer


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def row_of(path: Path, sample: Sample, answer: np.ndarray | None = None, **options: bool):
    """The row of one sample, for which a method answers so."""
    path.unlink(missing_ok=True)
    evaluate([Recorder(answer=answer)], [sample], path, progress=False, **options)
    (row,) = rows_of(path)
    return row


def test_one_row_per_method_and_picture_with_every_column(tmp_path: Path) -> None:
    methods = [baselines()[0], Recorder("stub", 7)]
    path = evaluate(methods, [ONE, make_sample(2)], tmp_path / "new" / "results.csv")
    rows = rows_of(path)
    assert [(r["method"], r["seed"], r["image_id"]) for r in rows] == [
        ("identity", "", "1"), ("identity", "", "2"), ("stub", "7", "1"), ("stub", "7", "2"),
    ]  # fmt: skip
    first = rows[0]
    assert tuple(first) == COLUMNS
    expected = {"width": 40, "height": 30, "object_area": ONE.mask.sum(), "category": "cell phone"}
    expected |= {"stroke_area": ONE.stroke.sum(), "empty_prediction": 0}
    assert {name: first[name] for name in expected} == {k: str(v) for k, v in expected.items()}
    assert 0 <= float(first["seconds"]) < 5
    values = evaluate_mask(ONE.stroke, ONE.mask)
    for suffix in ("", "_logit05"):  # floats read back to the last bit
        assert {name: float(first[name + suffix]) for name in METRICS} == values


def test_a_models_two_thresholds_give_two_masks(tmp_path: Path) -> None:
    right = ONE.stroke & (np.arange(40) >= 15)
    answer = np.where(right, 1, np.where(ONE.stroke, 0.3, -1)).astype(np.float32)
    row = row_of(tmp_path / "r.csv", ONE, answer)
    whole = evaluate_mask(ONE.stroke, ONE.mask)["iou"]
    assert float(row["iou"]) == whole
    assert float(row["iou_logit05"]) == evaluate_mask(right, ONE.mask)["iou"]
    row = row_of(tmp_path / "r.csv", ONE, answer, released_rule=False)
    assert float(row["iou"]) == float(row["iou_logit05"]) == whole
    row = row_of(tmp_path / "r.csv", ONE, np.minimum(answer, np.float32(0.3)))
    assert (row["empty_prediction"], row["empty_prediction_logit05"]) == ("0", "1")
    assert float(row["hd95_logit05"]) == 50.0  # the diagonal
    assert float(row["iou_logit05"]) == 0


def test_undecided_pixels_are_not_counted(tmp_path: Path) -> None:
    row = row_of(tmp_path / "r.csv", replace(ONE, ignore=ONE.mask & ~ONE.stroke))
    assert float(row["iou"]) == 1
    row = row_of(tmp_path / "r.csv", replace(ONE, ignore=ONE.stroke))
    assert row["empty_prediction"] == "1"  # all of it lies on undecided pixels


def test_a_second_evaluation_into_the_same_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"

    def meanwhile() -> Iterator[Sample]:
        yield ONE
        assert len(rows_of(path)) == 1, "a row is on the disk before the next is begun"
        with pytest.raises(ValueError, match=r"results\.csv: another process is writing it; wait"):
            evaluate([Recorder("other")], [ONE], path)
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
        assert len(method.asked) == 2 - max(0, data[:length].count(b"\n") - 1)


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
    sample, path = make_sample(1, category='a "b",\nc'), tmp_path / "r.csv"
    assert row_of(path, sample)["category"] == 'a "b", c'
    again = Recorder()
    evaluate([again], [sample], path, progress=False)
    assert not again.asked


def test_background_strokes_and_a_baselines_scale_reach_the_method(tmp_path: Path) -> None:
    method = Recorder()
    evaluate([method], [replace(ONE, background=~ONE.mask)], tmp_path / "r.csv", progress=False)
    assert np.array_equal(method.asked[0].background, ~ONE.mask)
    native, half = (
        (baselines(scale)[1].predictor.logits(ONE.image, Prompt(ONE.stroke)) > 0).sum()
        for scale in (1, 0.5)
    )
    assert ONE.stroke.sum() < half < native


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"a,b\n1,2", b"notes", b"\x89PNG\r\n\x1a\n\0"])
def test_another_file_is_named_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    for call in (lambda: evaluate([Recorder()], [ONE], path), lambda: read_rows(path)):
        with pytest.raises(ValueError, match=r"results\.csv: ") as error:
            call()
        assert len(str(error.value).splitlines()) == 1
    assert path.read_bytes() == content


def test_broken_lines_are_named_by_number(tmp_path: Path) -> None:
    path = evaluate([Recorder()], [ONE], tmp_path / "r.csv", progress=False)
    header, line = path.read_text().splitlines()
    columns = r"columns missing: \['hd95'\]; unknown: \['hd99'\]"
    for lines, message in [
        ([header.replace(",hd95,", ",hd99,"), line], columns),
        ([header, line, line + ",1"], r"line 3 has \d+ fields, not \d+"),
        ([header, line, line], "line 3 repeats line 2"),
        ([header, line.replace(",1,101,", ",x,101,")], "line 2: seed or an id is no whole number"),
    ]:
        path.write_text("\n".join([*lines, ""]))
        with pytest.raises(ValueError, match=message):
            evaluate([Recorder()], [ONE], path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="last line is cut short"):
        read_rows(path)
    with pytest.raises(ValueError, match="no such file"):
        read_rows(tmp_path / "missing.csv")


def test_two_methods_or_samples_that_cannot_be_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two are named recorder with seed 3"):
        evaluate([Recorder(), Recorder()], [ONE], tmp_path / "r.csv")
    with pytest.raises(ValueError, match="annotation 101 occurs twice"):
        evaluate([Recorder()], [ONE, ONE], tmp_path / "r.csv")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (np.zeros((40, 30), np.float32), "predicted must"),
        (np.ones((30, 40), bool), "logits must be a float32 array, got bool"),
        (np.full((30, 40), np.nan, np.float32), "logits are not all finite"),
    ],
)
def test_a_prediction_that_cannot_be_judged_names_method_and_picture(
    tmp_path: Path, answer: np.ndarray, says: str
) -> None:
    method = Method("mine", Recorder(answer=answer), 0)
    with pytest.raises(ValueError, match=f"^mine, picture 1, annotation 101: {says}"):
        evaluate([method], [ONE], tmp_path / "r.csv", progress=False)
    assert rows_of(tmp_path / "r.csv") == []
