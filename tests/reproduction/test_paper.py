"""The paper's numbers, the authors' logs, and what was trained here."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from nseg_lib import config
from nseg_lib import networks as models
from nseg_lib.provenance import PROJECT
from nseg_lib.training.runs import find_runs
from reproduction import paper
from reproduction.kept import keep_logs
from reproduction.paper import LOG_COLUMNS, around_the_best
from reproduction.shown import how_to_train


def test_the_logs_give_the_table_at_the_chosen_epochs() -> None:
    printed, logs = paper.numbers(), paper.authors_logs().set_index(["model", "epoch"])
    digits = {"pixel_accuracy": 4, "iou": 4, "boundary_iou_1px": 4, "hausdorff_region": 2}
    assert tuple(printed["table1"]) == config.THE_EIGHT
    for model, epoch in printed["chosen_epochs"].items():
        row = logs.loc[(model, epoch)]
        assert row["val_loss"] == logs.loc[model]["val_loss"].min()
        for metric, places in digits.items():
            half, value = 0.5001 * 10**-places, printed["table1"][model][metric]
            assert row[LOG_COLUMNS[metric]] == pytest.approx(value, abs=half), model


def test_the_papers_sizes_are_three_times_the_weights() -> None:
    for model, size in paper.numbers()["table2"].items():
        assert size == pytest.approx(models.size(model).checkpoint_bytes / 2**20, abs=0.2)


def test_only_the_papers_own_setting_goes_without_a_note() -> None:
    assert paper.setting_note("paper") == ""
    for profile in ("smoke", "sample", "half", "mine"):
        assert paper.setting_note(profile).startswith("Not the paper's setting: ")


def test_half_says_which_networks_were_in_bfloat16_and_for_how_many_epochs() -> None:
    note = paper.setting_note("half")
    assert "at most 25 epochs" in note
    assert "32 to 256 channels in bfloat16" in note
    for path in (paper.REPORTS / "half" / "training").glob("*/seed*/weights.safetensors.json"):
        record = json.loads(path.read_text())
        config = record["config"]
        wide = config["model"]["widths"][-1] == 256 or config["name"].endswith("-bf16")
        found = config["training"].get("precision", "32-true")
        assert found == ("bf16-mixed" if wide else "32-true"), path
        assert len((path.parent / "log.csv").read_text().splitlines()) - 1 <= 25


def test_the_tolerances_are_those_that_their_reason_gives() -> None:
    """Mean and standard deviation of how far the authors' rows move in one epoch."""
    tolerance = paper.numbers()["tolerance"]
    assert tolerance.keys() == LOG_COLUMNS.keys() - {"loss"}
    for metric in tolerance:
        moves = []
        for _, log in paper.authors_logs().groupby("model"):
            before, there, after = around_the_best(log, LOG_COLUMNS[metric])
            moves += [abs(value - there) for value in (before, after)]
        assert pd.Series(moves).count() == 16, "no best epoch is a first or last one"
        expected = pd.Series(moves).mean() + pd.Series(moves).std()
        assert tolerance[metric] == pytest.approx(expected, rel=0.05), metric


def make_run(root: Path, model: str, seed: int, finished: bool = True, **training: int) -> Path:
    folder = root / model / f"seed{seed}"
    folder.mkdir(parents=True)
    values = config.load(model).model_dump()
    values["training"] |= training | {"seed": seed}
    (folder / "run.json").write_text(json.dumps({"config": values}))
    (folder / "log.csv").write_text("epoch,steps,val_loss\n0,9,0.3\n1,18,0.1\n2,27,0.2\n")
    (folder / "steps.csv").write_text("epoch,step,train_loss\n0,5,0.5\n1,10,0.4\n")
    if finished:
        (folder / "weights.safetensors").touch()
    return folder


def test_finished_runs_are_found_in_table_order(tmp_path: Path) -> None:
    make_run(tmp_path, "res16-128_bce-dice", 43)
    make_run(tmp_path, "res16-128_bce-dice", 7)
    make_run(tmp_path, "tiny16-32_bce-dice", 42)
    make_run(tmp_path, "tiny16-128_bce-dice", 42, finished=False)
    (tmp_path / "res16-128_bce-dice" / "seedling").mkdir()
    found = find_runs(tmp_path)
    assert list(found) == ["tiny16-32_bce-dice", "res16-128_bce-dice"]
    assert [run.seed for run in found["res16-128_bce-dice"]] == [7, 43]
    assert found["tiny16-32_bce-dice"][0].best_epoch == 1
    assert find_runs(tmp_path / "nothing") == {}


def test_a_report_keeps_the_logs_of_finished_and_unfinished_runs(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "tiny16-32_bce-dice", 42)
    make_run(tmp_path / "runs", "res16-32_bce-dice", 42, finished=False)
    begun = make_run(tmp_path / "runs", "res16-32_bce-dice", 43, finished=False)
    (begun / "log.csv").write_text("epoch,steps,val_loss\n")
    keep_logs(tmp_path / "runs", tmp_path / "kept")
    copies = {path.relative_to(tmp_path / "kept") for path in (tmp_path / "kept").rglob("*.*")}
    models = ("tiny16-32_bce-dice", "res16-32_bce-dice")
    logs = ("log.csv", "steps.csv")
    assert copies == {Path(model, "seed42", log) for model in models for log in logs}


def test_the_command_for_what_is_missing_is_the_profiles(tmp_path: Path) -> None:
    model = "attn32-256_bce-dice-bound"
    assert how_to_train(model, PROJECT, tmp_path, "half") == "make reproduce PROFILE=half"
    make_run(tmp_path, "tiny16-32_bce-dice", 42)
    command = how_to_train(model, PROJECT, tmp_path, "half")
    assert f"nseg train {model} --data data/coco1000 --out runs/half/{model}/seed42" in command
    assert command.endswith("--set training.precision=bf16-mixed"), "a setting of its own"
