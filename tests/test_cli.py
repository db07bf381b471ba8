"""The command line as a user meets it: train, evaluate, refine, and one line for a mistake."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nseg_lib import cli, coco, pictures
from nseg_lib.strokes import make_stroke


@dataclass
class Done:
    """What a command left: exit status and the two streams."""

    status: int
    stdout: str
    stderr: str


def nseg(*arguments: object, status: int = 0) -> Done:
    """Run a command in this process, as the installed ``nseg`` would."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["nseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    done = Done(int(stopped.value.code or 0), out.getvalue(), err.getvalue())
    assert done.status == status, done
    return done


def test_the_installed_command_answers() -> None:
    command = Path(sys.executable).with_name("nseg")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert "from a brush stroke to a precise mask" in done.stdout


@pytest.fixture(scope="module")
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    settings = ("--set", "training.epochs=2", "--set", "model.widths=[8]")
    done = nseg(
        "train", "res16-32_bce-dice", "--data", tiny_data, "--out", out, *settings, "--workers", 0
    )
    assert "epoch   1" in done.stdout
    return out / "weights.safetensors"


def test_models_as_json_and_as_a_table() -> None:
    listed = json.loads(nseg("models", "--json").stdout)
    first = listed[0]
    assert first["name"] == "tiny16-32_bce-dice"
    assert (first["parameters"], first["weight_bytes"]) == (117_681, 470_724)
    assert first["gflop_640x480"] == pytest.approx(15.1, abs=0.05)
    assert "blockres16-128_bce-dice-bound" in {row["name"] for row in listed}
    assert "117,681" in nseg("models").stdout


def test_weights_have_a_sidecar(trained: Path) -> None:
    sidecar = json.loads(trained.with_name("weights.safetensors.json").read_text())
    assert sidecar["config"]["training"]["epochs"] == 2
    assert len(sidecar["inputs"]) == 2
    assert sidecar["seconds"] > 0


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
    assert "holds rows at scale 1.0, not 0.5" in nseg(*command, "--scale", 0.5, status=2).stderr
    for name in ("res16-32_bce-dice, seed 42", "split val"):
        changed = copy.deepcopy(sidecar)
        changed["config"]["rows_of"][name] = "of what was since replaced"
        (tmp_path / "results.csv.json").write_text(json.dumps(changed))
        assert f"holds rows of another {name}" in nseg(*command, status=2).stderr
        nseg("evaluate", "--data", tiny_data, "--out", tmp_path / "other")
        assert not (tmp_path / "other" / "table_test.md").exists(), "this data set has none"
    assert (tmp_path / "results.csv").read_bytes() == before


def test_refine_writes_mask_and_overlay(trained: Path, tiny_data: Path, tmp_path: Path) -> None:
    split = coco.load_split(tiny_data, "val")
    image = split.read_image(101)
    annotation = split.annotations[101][0]
    stroke = make_stroke(coco.annotation_mask(annotation, *image.shape[:2]))
    pictures.write_png(tmp_path / "photo.png", image)
    pictures.write_png(tmp_path / "stroke.png", stroke)
    out = tmp_path / "out.png"
    nseg("refine", tmp_path / "photo.png", tmp_path / "stroke.png", "-o", out, "-c", trained)
    mask = np.asarray(Image.open(out))
    assert mask.shape == stroke.shape
    assert set(np.unique(mask)) <= {0, 255}
    nseg("refine", tmp_path / "photo.png", tmp_path / "stroke.png", "-o", tmp_path / "own.png")
    assert np.asarray(Image.open(tmp_path / "own.png")).shape == stroke.shape
    overlay = np.asarray(Image.open(tmp_path / "out_overlay.png"))
    assert overlay.shape == image.shape
    assert (overlay != image).any()


def test_a_mistake_is_one_line_and_leaves_nothing(
    trained: Path, tiny_data: Path, tmp_path: Path
) -> None:
    pictures.write_png(tmp_path / "photo.png", np.zeros((20, 30, 3), np.uint8))
    pictures.write_png(tmp_path / "small.png", np.ones((10, 30), bool))
    pictures.write_png(tmp_path / "none.png", np.zeros((20, 30), bool))
    (tmp_path / "text.png").write_text("not a picture")
    before = sorted(tmp_path.iterdir())
    photo, to = tmp_path / "photo.png", ("-o", tmp_path / "mask.png", "-c", trained)
    for arguments, says in (
        (("refine", photo, tmp_path / "small.png", *to), "the stroke is 30x10 pixels"),
        (("refine", photo, tmp_path / "none.png", *to), "nothing is brushed"),
        (("refine", photo, tmp_path / "text.png", *to), "not a readable picture"),
        (("refine", tmp_path / "text.png", tmp_path / "none.png", *to), "text.png"),
        (("refine", tmp_path / "gone.jpg", tmp_path / "none.png", *to), "gone.jpg"),
        (("train", "resnet", "--data", tiny_data), "no model named 'resnet'"),
        (("train", "res16-32_bce-dice", "--data", tmp_path / "x"), "instances_<split>.json"),
        (("train", "res16-32_bce-dice", "--data", tiny_data, "--set", "a"), "expected key=value"),
        (("train", "res16-32_bce-dice", "--data", tiny_data, "--set", "a=[8"), "not valid YAML"),
        (("refine", tmp_path / "gone[/b].jpg", tmp_path / "none.png", *to), "gone[/b].jpg"),
        (("evaluate", "--data", tiny_data, "--out", tmp_path / "r", "--split", "tes"), "'tes'"),
        (("data", "reduce", "--coco", tiny_data, "--out", tmp_path / "r2"), "split"),
    ):
        done = nseg(*arguments, status=2)
        assert says in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "command",
    ["models", "train", "evaluate", "refine", "data sample", "data reduce", "data fetch",
     "data check"],
)  # fmt: skip
def test_every_command_has_help_with_an_example(command: str) -> None:
    text = " ".join(nseg(*command.split(), "--help").stdout.split())
    assert "Example: nseg " + command in text


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_strokes_on_black_and_on_clear_layers_read_alike(tmp_path: Path, mode: str) -> None:
    stroke = np.zeros((12, 20), bool)
    stroke[3:7, 5:15] = True
    if mode == "RGBA":
        pixels = np.zeros((12, 20, 4), np.uint8)
        pixels[stroke] = (10, 200, 30, 255)
        Image.fromarray(pixels).save(tmp_path / "s.png")
    else:
        Image.fromarray(stroke.astype(np.uint8) * 255).convert(mode).save(tmp_path / "s.png")
    assert np.array_equal(pictures.read_stroke(tmp_path / "s.png"), stroke)


def test_a_stroke_is_read_as_its_photograph_is(tmp_path: Path) -> None:
    stroke = np.zeros((20, 30), bool)
    stroke[5:10, 3:9] = True
    turned = Image.fromarray(stroke.astype(np.uint8) * 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    turned.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(pictures.read_stroke(tmp_path / "turned.png"), np.rot90(stroke, -1))
    deep = np.where(stroke, 65535, 300).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(pictures.read_stroke(tmp_path / "deep.png"), stroke)
