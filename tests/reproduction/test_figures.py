"""What a figure shows and says, and how it is saved."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl

from nseg_lib.training.runs import logged_runs
from reproduction import evidence, figures, forest
from reproduction.artefacts import save_figure
from reproduction.figures import figure6, figure7

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from test_paper import make_run

from nseg_lib import config
from nseg_lib.course import look
from nseg_lib.files import sha256
from nseg_lib.provenance import PROJECT
from reproduction import paper


@pytest.fixture(autouse=True)
def close_figures() -> object:
    yield
    plt.close("all")


def words(fig: plt.Figure) -> str:
    axes = [text.get_text() for ax in fig.axes for text in (*ax.texts, ax.title)]
    return " ".join([*(t.get_text() for t in fig.texts), *axes]).replace("\n", " ")


NUMBERS = pd.DataFrame({"a": [1 / 3]})


@pytest.mark.parametrize("profile", ["sample", "paper", None])  # None: the same in each
def test_a_figure_says_where_its_setting_is_not_the_papers(
    tmp_path: Path, profile: str | None
) -> None:
    fig, _ = look.panels(1, 1)
    for _ in range(2):  # saved again, it does not say it twice
        png = save_figure(fig, tmp_path / "figure9", NUMBERS, profile=profile)
    assert words(fig).count("Not the paper's setting") == (profile == "sample")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert png.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert png.with_suffix(".csv").read_text() == "a\n0.333333\n"
    sidecar = json.loads(png.with_suffix(".json").read_text())
    assert (sidecar["artefact"], sidecar["profile"]) == ("figure9", profile)
    drawn = {suffix: sha256(png.with_suffix(suffix)) for suffix in (".csv", ".png", ".pdf")}
    assert sidecar["files"] == drawn
    assert len(list(tmp_path.iterdir())) == 4


def test_a_figure_that_cannot_be_drawn_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError("disk full")

    fig, _ = look.panels(1, 1)
    monkeypatch.setattr(fig, "savefig", fails)
    with pytest.raises(OSError, match="disk full"):
        save_figure(fig, tmp_path / "figure9", NUMBERS, profile="paper")
    assert not list(tmp_path.iterdir())


def test_figure_5_marks_the_chosen_epoch_and_names_what_is_missing(tmp_path: Path) -> None:
    left, right = paper.numbers()["figure5"]
    make_run(tmp_path, right, 42)
    data = figures.figure5_data([left, right], logged_runs(tmp_path), paper.authors_logs())
    fig = figures.figure5(data, {model: f"nseg train {model}" for model in (left, right)})
    assert "nseg train attn32-256_bce-dice-bound" in words(fig)
    assert "nseg train res16-128_bce-dice" not in words(fig)
    assert all(ax.get_yscale() == "log" for ax in fig.axes)
    stars = [line for line in fig.axes[1].lines if line.get_marker() == "*"]
    at = sorted(float(line.get_xdata()[0]) for line in stars)
    assert at == [2, 4], "ours after two epochs, the authors' epoch 3 after four"
    theirs = data[(data["model"] == right) & (data["who"] == "authors")]
    assert len(theirs) == 9, "all epochs"


def test_figure_5_has_a_curve_for_each_seed_and_their_band(tmp_path: Path) -> None:
    _, model = paper.numbers()["figure5"]
    lines = "".join(f"0,{i},{i % 2}\n" for i in range(200))
    for seed, lowest in ((1, "0.1"), (2, "0.15"), (3, "0.05")):
        run = make_run(tmp_path, model, seed)
        log = (run / "log.csv").read_text()
        (run / "log.csv").write_text(log.replace("0.1\n", f"{lowest}\n"))
        (run / "steps.csv").write_text(f"epoch,step,train_loss\n{lines}")
    data = figures.figure5_data([model], logged_runs(tmp_path), paper.authors_logs())
    assert set(data["who"]) == {"authors", "seed 1", "seed 2", "seed 3"}
    training = data[(data["curve"] == "training") & (data["epochs"] > 80 / 9)]
    assert np.allclose(training["loss"], 0.5, atol=0.01), "a running mean"
    (ax,) = figures.figure5(data, {}).axes
    (band,) = ax.collections
    points = band.get_paths()[0].vertices
    assert {round(y, 4) for x, y in points if x == 2} == {0.05, 0.15}


def test_figures_6_and_7_give_every_iou_and_the_command_for_what_is_missing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    mask, stroke = np.zeros((2, 60, 80), bool)
    mask[10:50, 20:60], stroke[15:45, 20:50] = True, True
    answers: dict[str, np.ndarray | str] = dict.fromkeys(config.THE_EIGHT, "nseg train it")
    answers["tiny16-32_bce-dice"] = mask
    ious = {"identity": 0.5625, "tiny16-32_bce-dice": 0.875}
    said = words(figure6(image, stroke, mask, answers, ious))
    assert "tiny16-32_bce-dice IoU 0.875" in said
    assert said.count("nseg train it") == 7
    assert "stroke unchanged: IoU 0.562" in said
    strokes = {"too small": stroke, "right": mask}
    said = words(figure7(image, mask, strokes, {"too small": mask, "right": stroke}))
    for part in ("too small: IoU 0.562", "prediction: IoU 1.000", "right: IoU 1.000"):
        assert part in said


def test_the_forest_has_each_claim_once_and_counts_in_its_direction() -> None:
    drawing = forest.forest(evidence.load(PROJECT, "half"))
    numbers = drawing.numbers
    rows = numbers.set_index("claim")
    assert rows.index.is_unique
    assert rows.loc["Without boundary loss, depth hurts, in both pairs: IoU", "printed"] == 0.0077
    refines = rows.loc["Every model refines the stroke significantly: Hausdorff distance"]
    assert refines["ours"] > 0, "a smaller distance is what is claimed"
    assert (numbers["ours_low"] <= numbers["ours"]).all()
    assert (numbers["ours"] <= numbers["ours_high"]).all()
    fig = drawing.draw()
    ticks = [label.get_text() for ax in fig.axes for label in ax.get_yticklabels()]
    assert len(ticks) == len(numbers)
    too_small = (numbers["verdict"] == "too small to matter").sum()
    assert words(fig).count("too small to matter") == too_small
