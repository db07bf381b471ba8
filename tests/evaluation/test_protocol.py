"""Measuring interactive methods: prompts that stay, rounds of corrections, tables from rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from nseg_lib.arrays import Image, Logits, Mask
from nseg_lib.cli import app
from nseg_lib.config import ConfigError
from nseg_lib.evaluation import corrections as protocol
from nseg_lib.evaluation import judge, methods
from nseg_lib.evaluation import refiner_numbers as numbers
from nseg_lib.evaluation import refiner_tables as comparison
from nseg_lib.evaluation.methods import Method
from nseg_lib.files import only_writer, sha256
from nseg_lib.networks.weights import PRETRAINED, shipped
from nseg_lib.prompt import Predictor, Prompt
from nseg_lib.strokes import plain
from nseg_lib.strokes.drawing import Drawn

# --- rounds ---------------------------------------------------------------------------------------

ROWS, COLUMNS = np.mgrid[:200, :260]
RING = (np.hypot(ROWS - 100, COLUMNS - 120) < 80) & (np.hypot(ROWS - 100, COLUMNS - 120) > 30)
"""A thick ring: the straight way between two of its points may leave it."""

Round = tuple[Drawn, Mask, float]


def corrected(
    predictor: Predictor,
    rounds: int = 20,
    correction: protocol.Correction = plain.plain_correction,
) -> list[Round]:
    image = np.zeros((*RING.shape, 3), np.uint8)
    rng = np.random.default_rng
    return list(protocol.correct(predictor, image, RING, correction, rng, rounds))


class Growing:
    """Answers with the object strokes, grown more with every call; notes what it was given.

    It is stopped before it has answered more than ``answers`` times.
    """

    def __init__(self, answers: int = 99) -> None:
        self.answers = answers
        self.given: list[Prompt] = []

    def logits(self, image: Image, prompt: Prompt) -> Logits:
        if len(self.given) == self.answers:
            raise KeyboardInterrupt
        self.given.append(prompt)
        size = 16 * len(self.given) + 1
        grown = cv2.dilate(prompt.object.astype(np.uint8), np.ones((size, size), np.uint8)) > 0
        return np.where(grown & ~prompt.planes[1], 1, -1).astype(np.float32)


def test_each_round_sees_all_strokes_and_the_last_answer() -> None:
    asked = Growing()
    rounds = corrected(asked, 5)
    assert len(rounds) == 5
    assert asked.given[0].mask is None
    for number in range(1, 5):
        before, now = asked.given[number - 1 : number + 1]
        assert now.mask is rounds[number - 1][1]
        assert not (before.object & ~now.object & ~now.background).any()
        assert not (now.object & now.background).any()
        drawn = rounds[number][0]
        assert not (drawn.object & ~now.object).any()
        assert not (drawn.background & ~now.background).any()


def test_a_later_stroke_covers_an_earlier_one() -> None:
    asked = Growing()
    turns = iter([Drawn(RING, ~RING & False), Drawn(RING & False, RING)])
    corrected(asked, 2, lambda *_: next(turns))
    assert not asked.given[1].object.any()
    assert np.array_equal(asked.given[1].background, RING)


@pytest.mark.parametrize(("errors", "rounds"), [(0.0, 1), (0.05, protocol.CURVE), (0.5, 20)])
def test_it_ends_where_the_field_says(errors: float, rounds: int) -> None:
    """Perfect: nothing to correct. Above .90: after the curve's strokes. Below: after 20."""
    answer = RING.copy()
    answer[: int(200 * errors) + 20 * (errors > 0)] = False

    class Stubborn:
        def logits(self, image: Image, prompt: Prompt) -> Logits:
            return np.where(answer, 1, -1).astype(np.float32)

    assert len(corrected(Stubborn())) == rounds


@pytest.mark.parametrize(("target", "needed"), [(0.2, 1), (0.85, 2), (0.90, 4), (0.95, 20)])
def test_strokes_needed_counts_as_the_benchmarks_do(target: float, needed: int) -> None:
    ious = np.array([[0.2, 0.86, 0.84, 0.91], [0.99, 0.1, 0.1, 0.1]])
    assert protocol.strokes_needed(ious, target).tolist() == [needed, 1]


# --- the whole measurement ------------------------------------------------------------------------


@pytest.fixture(autouse=True, scope="module")
def no_people() -> Iterator[None]:
    """No strokes that people drew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NSEG_SCRIBBLES", raising=False)
        yield


def measure(name: str, plan: judge.Plan) -> None:
    judge.evaluate_method(methods.method(name), plan, progress=False)


@pytest.fixture(scope="module")
def plan(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> judge.Plan:
    """Two kinds of prompt and two pictures corrected, measured with two methods; do not write."""
    out = tmp_path_factory.mktemp("refiner")
    data = shutil.copytree(tiny_data, out / "data")
    plan = judge.Plan(data, out, "val", ("erode", "plain_sparse"), ("plain",), corrected=2)
    measure("identity", plan)
    measure("watershed", plan)
    return plan


@pytest.fixture
def copied(plan: judge.Plan, tmp_path: Path) -> judge.Plan:
    """The same in a folder that may be written to."""
    without = shutil.ignore_patterns("data")
    return replace(plan, out=shutil.copytree(plan.out, tmp_path / "refiner", ignore=without))


def sidecar(file: Path) -> dict[str, Any]:
    return json.loads(file.with_name(f"{file.name}.json").read_text())


def test_rows_are_kept_and_completed(copied: judge.Plan) -> None:
    files = [copied.out / folder / "watershed.csv" for folder in ("rows", "corrections")]
    before = [pd.read_csv(file) for file in files]
    text = files[0].read_text()
    files[0].write_text(text[: len(text) // 2])
    measure("watershed", copied)
    after = [pd.read_csv(file) for file in files]
    for old, new in zip(before, after, strict=True):
        pd.testing.assert_frame_equal(old.drop(columns="seconds"), new.drop(columns="seconds"))
    assert after[1]["seconds"].equals(before[1]["seconds"])  # nothing was computed again
    assert sidecar(files[0])["objects"] == {"val, erode": 3, "val, plain_sparse": 3}
    assert len(sidecar(files[0])["inputs"]) == 3


def test_tables_come_from_the_rows_alone(plan: judge.Plan) -> None:
    overview = numbers.overview(numbers.read(plan.out).answers)
    rows = pd.read_csv(plan.out / "rows" / "watershed.csv")
    for kind in ("erode", "plain_sparse"):
        found = overview[(overview["method"] == "watershed") & (overview["recipe"] == kind)]
        assert found["iou"].item() == pytest.approx(rows.loc[rows["recipe"] == kind, "iou"].mean())
    assert list(overview["method"])[:2] == ["identity", "watershed"]
    assert (overview["low"] <= overview["iou"]).all()
    assert comparison.tables_of(plan.out)["corrections.md"].count("| plain |") == 2


def test_corrections_of_two_splits_are_not_averaged(copied: judge.Plan) -> None:
    file = copied.out / "corrections" / "watershed.csv"
    rows = pd.read_csv(file)
    both = pd.concat([rows, rows.assign(split="test")])
    both.to_csv(file, index=False, lineterminator="\n")
    with pytest.raises(ValueError, match="each split into a folder of its own"):
        numbers.read(copied.out)


def test_failures_count_as_twenty(plan: judge.Plan) -> None:
    corrections = numbers.read(plan.out).corrections
    table = numbers.strokes_table(corrections.assign(iou=0.0))
    assert (table["noc85"] == 20).all()
    assert (table["failed85"] == table["n"]).all()
    curve = numbers.curve(corrections)
    last = curve[curve["round"] == 20].set_index("method")["iou"]
    ends = corrections.sort_values("round").groupby(["method", "image_id"])["iou"].last()
    assert last["watershed"] == pytest.approx(ends["watershed"].mean())


def test_a_method_on_fewer_pictures_is_compared_on_those(copied: judge.Plan) -> None:
    folder = copied.out
    file, base = folder / "rows" / "watershed.csv", folder / "rows" / "identity.csv"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:-1]))
    identity = pd.read_csv(base)
    refiner = identity.assign(method=PRETRAINED[0], iou=identity["iou"] / 2)
    refiner.to_csv(folder / "rows" / f"{PRETRAINED[0]}.csv", index=False)
    overview = numbers.overview(numbers.read(folder).answers)
    found = overview[overview["recipe"] == "plain_sparse"].set_index("method")
    assert found["n"].to_dict() == {"identity": 3, "watershed": 2, PRETRAINED[0]: 3}
    same = identity[identity["recipe"] == "plain_sparse"]["iou"][:2].mean()
    row = found.loc["watershed"]
    assert row["iou"] - row["difference"] == pytest.approx(same)
    assert row["refiner"] == pytest.approx(same / 2)
    gap = f"{row['iou'] - same / 2:+.3f}"
    line = f"| watershed | plain_sparse (val) | 2 | {row['iou']:.3f} | {same / 2:.3f} | {gap} ["
    assert line in comparison.tables_of(folder)["overview.md"]
    (folder / "rows" / f"{PRETRAINED[0]}.csv").unlink()
    file.write_text("".join(lines))
    base.write_text("".join(base.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match="watershed has 1 objects that identity lacks"):
        comparison.tables_of(folder)
    base.unlink()
    with pytest.raises(ValueError, match=r"no rows/identity\.csv"):
        comparison.tables_of(folder)


# --- rows and the weights they are of -------------------------------------------------------------


@pytest.fixture
def short(copied: judge.Plan) -> judge.Plan:
    """One prompt and one correction, into a folder with the rows of identity."""
    return replace(copied, kinds=["erode"], pictures=1, corrected=1)


@pytest.fixture
def mine(tmp_path: Path) -> Callable[..., Method]:
    """A method with a file of weights, by its name."""

    def method(weights: str | None, answers: int = 99) -> Method:
        path = tmp_path / f"{weights}.safetensors"
        path.write_text(path.name)
        return Method("mine", Growing(answers), weights=path if weights else None)

    return method


def contents(folder: Path) -> dict[str, bytes]:
    """The files of rows and their sidecars."""
    found = [*folder.glob("rows/mine*"), *folder.glob("corrections/mine*")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


REFUSED = r"mine\.csv: holds rows of another mine; delete it or choose another folder \(--out\)$"


def test_rows_of_other_weights_are_refused(short: judge.Plan, mine: Callable[..., Method]) -> None:
    first, second = mine("first"), mine("second")
    files = [short.out / folder / "mine.csv" for folder in ("rows", "corrections")]
    judge.evaluate_method(first, short, progress=False)
    before = contents(short.out)
    assert len(before) == 4
    for file in files:
        noted = sidecar(file)
        assert sha256(first.weights) in [made["sha256"] for made in noted["inputs"]]
        assert [*noted["products"].values()] == [sha256(file)]
    for other in (second, mine(None)):
        with pytest.raises(ConfigError, match=f"rows/{REFUSED}"):
            judge.evaluate_methods([methods.method("grabcut"), other], short, progress=False)
    assert not (short.out / "rows" / "grabcut.csv").exists(), "refused before any is measured"
    assert contents(short.out) == before
    files[0].unlink()
    with pytest.raises(ConfigError, match=f"corrections/{REFUSED}"):
        judge.evaluate_method(second, replace(short, corrected=0), progress=False)
    files[1].unlink()
    judge.evaluate_method(second, short, progress=False)
    assert sidecar(files[0])["config"]["rows_of"]["mine"] == sha256(second.weights)


def test_rows_of_a_call_that_was_cut_off_are_of_its_weights(
    short: judge.Plan, mine: Callable[..., Method]
) -> None:
    plan = replace(short, pictures=3)
    with pytest.raises(KeyboardInterrupt):
        judge.evaluate_method(mine("first", answers=1), plan, progress=False)
    with pytest.raises(ConfigError, match=REFUSED):
        judge.evaluate_method(mine("second"), plan, progress=False)
    judge.evaluate_method(mine("first"), plan, progress=False)
    assert len(pd.read_csv(plan.out / "rows" / "mine.csv")) == 3


@pytest.mark.parametrize(
    ("changed", "said"),
    [("annotations/instances_val.json", "split val"), ("val/*101.png", "set of val pictures")],
)
def test_rows_of_other_data_are_refused(
    short: judge.Plan, tmp_path: Path, changed: str, said: str
) -> None:
    data, refused = shutil.copytree(short.data, tmp_path / "other"), f"holds rows of another {said}"
    judge.evaluate_networks([], data, tmp_path / "paper")
    (file,) = data.glob(changed)
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(ConfigError, match=rf"watershed\.csv: {refused}"):
        measure("watershed", replace(short, data=data))
    with pytest.raises(ConfigError, match=rf"results\.csv: {refused}"):
        judge.evaluate_networks([], data, tmp_path / "paper")


def test_a_second_evaluation_into_the_same_folder_is_refused(
    tiny_data: Path, tmp_path: Path
) -> None:
    says = r"out: another process is writing it; wait for its end, or choose another folder"
    with only_writer(tmp_path / "out"), pytest.raises(ValueError, match=says):
        judge.evaluate_networks([], tiny_data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_strokes_for_data_that_can_only_be_read_go_to_the_results(
    tiny_data: Path, tmp_path: Path
) -> None:
    data, out = shutil.copytree(tiny_data, tmp_path / "data"), tmp_path / "out"
    shutil.rmtree(data / "strokes", ignore_errors=True)
    for folder in ("strokes", "prompts"):
        (data / folder).write_text("")  # no folder can be made here
    judge.evaluate_networks([], data, out)
    measure("identity", judge.Plan(data, out, "val", kinds=["plain_object"], corrected=0))
    strokes = {path.relative_to(out).as_posix() for path in out.glob("*/val_*_seed0.json")}
    assert strokes == {"strokes/val_erode_seed0.json", "prompts/val_plain_object_seed0.json"}


def test_a_call_that_adds_nothing_leaves_the_sidecar(
    short: judge.Plan, mine: Callable[..., Method]
) -> None:
    judge.evaluate_method(mine("first"), short, progress=False)
    files = [short.out / folder / "mine.csv" for folder in ("rows", "corrections")]
    for file in files:
        noted = sidecar(file) | {"commit": "of then"}
        file.with_name("mine.csv.json").write_text(json.dumps(noted))
    judge.evaluate_method(mine("first"), short, progress=False)
    assert [sidecar(file)["commit"] for file in files] == ["of then", "of then"]
    judge.evaluate_method(mine("first"), replace(short, pictures=2), progress=False)
    assert [sidecar(file)["commit"] == "of then" for file in files] == [False, True]


def test_rows_that_nobody_noted_the_weights_of_are_kept_and_get_no_note(
    short: judge.Plan, mine: Callable[..., Method]
) -> None:
    judge.evaluate_method(mine("first"), short, progress=False)
    file = short.out / "rows" / "mine.csv"
    noted = sidecar(file) | {"inputs": [], "config": {}, "products": {}}
    file.with_name("mine.csv.json").write_text(json.dumps(noted))
    (short.out / "corrections" / "mine.csv").unlink()
    second = mine("second")
    judge.evaluate_method(second, replace(short, pictures=2), progress=False)
    after = sidecar(file)
    assert after["objects"] == {"val, erode": 2}
    assert after["config"]["rows_of"] == {}
    assert sha256(second.weights) not in [made["sha256"] for made in after["inputs"]]


def test_without_identity_nothing_is_measured(
    short: judge.Plan, mine: Callable[..., Method]
) -> None:
    shutil.rmtree(short.out / "rows")
    with pytest.raises(ValueError, match=r"no rows/identity\.csv; measure identity into this"):
        judge.evaluate_methods([mine(None)], short, progress=False)
    assert not contents(short.out)


def test_methods_and_plans_by_name(tmp_path: Path) -> None:
    assert methods.method("grabcut").name == "grabcut"
    for wanted in ("tiny16-32_bce-dice", f"mine={shipped('tiny16-32_bce-dice')}"):
        assert methods.method(wanted).weights == shipped("tiny16-32_bce-dice")
    with pytest.raises(ValueError, match=r"none\.safetensors: no such checkpoint"):
        methods.method(f"mine={tmp_path}/none.safetensors")
    with pytest.raises(ValueError, match="unknown method 'magic'"):
        methods.method("magic")
    for unknown in ({"kinds": ["scrawl"]}, {"ways": ["clicks"]}):
        with pytest.raises(ValueError, match=r"unknown (kind of|way to) .*; one of: "):
            judge.Plan(tmp_path, tmp_path, **unknown)


def test_the_command_measures_and_writes_tables(plan: judge.Plan, tmp_path: Path) -> None:
    arguments = ["evaluate-refiner", "identity", "--data", plan.data, "--split", "val"]
    arguments += ["--kind", "plain_object", "--out", tmp_path, "--pictures", "1"]
    result = CliRunner().invoke(app, [str(a) for a in [*arguments, "--corrections", "1"]])
    assert result.exit_code == 0, result.output
    assert "plain_object (val, n 1)" in (tmp_path / "overview.md").read_text()
    assert (tmp_path / "refiner.png").stat().st_size > 5000
    assert {"simulated", "plain"} == set(pd.read_csv(tmp_path / "corrections.csv")["strokes"])
