"""The command line as a user meets it: train, evaluate, help, and one line for a mistake."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
from command_line import nseg

from nseg_lib import __version__
from reproduction import commands as cli


def test_the_installed_command_answers() -> None:
    command = Path(sys.executable).with_name("nseg")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert "from a brush stroke to a precise mask" in done.stdout
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"nseg {__version__}\n"


def test_models_as_json_and_as_a_table() -> None:
    listed = json.loads(nseg("models", "--json").stdout)
    first = listed[0]
    assert first["name"] == "tiny16-32_bce-dice"
    assert (first["parameters"], first["weight_bytes"]) == (117_681, 470_724)
    assert first["gflop_640x480"] == pytest.approx(15.1, abs=0.05)
    assert "blockres16-128_bce-dice-bound" in {row["name"] for row in listed}
    assert "117,681" in nseg("models").stdout


def test_evaluate_writes_rows_and_tables_and_adds_nothing_twice(
    trained: Path, tiny_data: Path, tmp_path: Path
) -> None:
    command = ("evaluate", trained, "--data", tiny_data, "--out", tmp_path, "--split", "val")
    shown = nseg(*command).stdout
    rows = pd.read_csv(tmp_path / "results.csv")
    methods = ["dilation", "grabcut", "identity", "res16-32_bce-dice", "watershed"]
    assert sorted(rows["method"].unique()) == methods
    assert len(rows) == 5 * 3
    identity = rows[rows["method"] == "identity"].iloc[0]
    table = (tmp_path / "table_val.md").read_text()
    assert table.splitlines()[2].startswith("| identity |")
    assert table in shown
    assert 0 < identity["iou"] < 1
    sidecar = json.loads((tmp_path / "results.csv.json").read_text())
    assert sidecar["config"]["dropped"] == {"val": 0}
    before = (tmp_path / "results.csv").read_bytes()
    nseg(*command)
    assert (tmp_path / "results.csv").read_bytes() == before
    nseg("evaluate", trained, *command[1:])  # given twice, it counts once
    assert (tmp_path / "results.csv").read_bytes() == before
    copied = shutil.copy(trained, tmp_path / "copy.safetensors")
    fresh = ("--data", tiny_data, "--out", tmp_path / "fresh")
    assert "seed 42, as" in nseg("evaluate", trained, copied, *fresh, status=2).stderr
    assert not (tmp_path / "fresh").exists()
    assert "holds rows at scale 1.0, not 0.5" in nseg(*command, "--scale", 0.5, status=2).stderr
    for name in ("res16-32_bce-dice, seed 42", "split val"):
        changed = copy.deepcopy(sidecar)
        changed["config"]["rows_of"][name] = "of what was since replaced"
        (tmp_path / "results.csv.json").write_text(json.dumps(changed))
        assert f"holds rows of another {name}" in nseg(*command, status=2).stderr
    assert (tmp_path / "results.csv").read_bytes() == before
    nseg("evaluate", "--data", tiny_data, "--out", tmp_path / "other")
    assert not (tmp_path / "other" / "table_test.md").exists(), "this data set has none"


def test_a_mistake_is_one_line_and_leaves_nothing(
    trained: Path, tiny_data: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(tiny_data, tmp_path / "data")
    (other / "annotations" / "instances_val.json").unlink()
    mine = tmp_path / "mine.yml"
    mine.write_text("name: mine\nmodel: {architecture: vit, widths: [8]}\n")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "results.csv").write_text("mine\n")
    before = sorted(tmp_path.rglob("*"))
    for arguments, says in (
        (("train", "resnet", "--data", tiny_data), "no model named 'resnet'"),
        (("train", mine, "--data", tiny_data), "mine.yml: 'model.architecture': unknown 'vit'; on"),
        (("train", "res16-32_bce-dice", "--data", tmp_path / "x"), "instances_<split>.json"),
        (("train", "res16-32_bce-dice", "--data", tiny_data, "--set", "a"), "expected key=value"),
        (("train", "res16-32_bce-dice", "--data", tiny_data, "--set", "a=[8"), "not valid YAML"),
        (("refine", tmp_path / "gone[/b].jpg", mine, "-o", tmp_path / "m.png"), "gone[/b].jpg"),
        (("evaluate", "--data", tiny_data, "--out", tmp_path / "r", "--split", "tes"), "'tes'"),
        (("evaluate", "--data", other, "--out", tmp_path / "r"), "no split val or test (there: tr"),
        (("train", "tiny16-32_bce-dice", "--data", tiny_data, "--accelerator", "tpu"), "--accel"),
        (("data", "reduce", "--coco", tiny_data, "--out", tmp_path / "r2"), "split"),
        (("train", "x", "--data", tiny_data, "--devices", 0), "'--devices': "),
        (("train", "x", "--data", tiny_data, "--nope"), "No such option: --nope"),
        (("train", "--data", tiny_data), "Missing argument 'model' (see nseg train --help)"),
        (("nope",), "No such command 'nope'"),
        (("evaluate", "--data", tiny_data, "--out", broken), "results.csv: not a results file"),
    ):
        done = nseg(*arguments, status=2)
        assert says in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert sorted(tmp_path.rglob("*")) == before


def test_a_mistake_that_a_worker_meets_is_one_line_too(tiny_data: Path, tmp_path: Path) -> None:
    root = shutil.copytree(tiny_data, tmp_path / "data")
    for picture in (root / "train").iterdir():
        picture.write_bytes(picture.read_bytes()[:200])
    command = ("train", "res16-32_bce-dice", "--data", root, "--out", tmp_path / "r")
    done = nseg(*command, "--workers", 1, "--set", "model.widths=[8]", status=2)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"nseg: {root}/train")


def commands(group: Any, before: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command of the app, those of its groups included, as a user types it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))
        else:
            yield " ".join((*before, name))


@pytest.mark.parametrize("command", commands(typer.main.get_command(cli.app)))
def test_every_command_has_help_with_an_example(command: str) -> None:
    text = " ".join(nseg(*command.split(), "--help").stdout.split())
    assert "Example: nseg " + command in text
