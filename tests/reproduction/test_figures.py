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


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    mask, stroke = np.zeros((2, 60, 80), bool)
    mask[10:50, 20:60], stroke[15:45, 20:50] = True, True
    return image, stroke, mask


@pytest.fixture(autouse=True)
def close_figures() -> object:
    yield
    plt.close("all")


def words(fig: plt.Figure) -> str:
    axes = [text.get_text() for ax in fig.axes for text in (*ax.texts, ax.title)]
    return " ".join([*(t.get_text() for t in fig.texts), *axes]).replace("\n", " ")


NUMBERS = pd.DataFrame({"a": [1 / 3]})


def test_a_figure_says_where_its_setting_is_not_the_papers(tmp_path: Path) -> None:
    for profile, name, says in (
        ("sample", "figure9", True),
        ("paper", "figure9", False),
        (None, "figure3", False),  # the same in every profile
    ):
        fig, _ = look.panels(1, 1)
        for _ in range(2):  # saved again, it does not say it twice
            png = save_figure(fig, tmp_path / str(profile) / name, NUMBERS, profile=profile)
        assert words(fig).count("Not the paper's setting") == says
        assert png.read_bytes().startswith(b"\x89PNG")
        assert png.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        assert png.with_suffix(".csv").read_text() == "a\n0.333333\n"
        sidecar = json.loads(png.with_suffix(".json").read_text())
        assert sidecar["artefact"] == name
        assert sidecar["profile"] == profile
        drawn = {suffix: sha256(png.with_suffix(suffix)) for suffix in (".csv", ".png", ".pdf")}
        assert sidecar["files"] == drawn
        assert len(list(png.parent.glob(f"{name}*"))) == 4


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


def test_figure_1_sets_the_papers_numbers_beside_ours() -> None:
    data = figures.figure1_data([(640, 480), (500, 427)])
    fig = figures.figure1(data, paper.numbers()["figure1"])
    labels = [text.get_text() for ax in fig.axes for text in ax.get_legend().get_texts()]
    assert "mean 570.0" in labels
    assert "paper: mean 579.4, median 640" in labels
    assert "paper: mean 487.7, median 480" in labels


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
    assert not fig.axes[1].collections, "one seed has no band"


def test_figure_5_has_a_curve_for_each_seed_and_their_band(tmp_path: Path) -> None:
    _, model = paper.numbers()["figure5"]
    for seed, lowest in ((1, "0.1"), (2, "0.15"), (3, "0.05")):
        log = make_run(tmp_path, model, seed) / "log.csv"
        log.write_text(log.read_text().replace("0.1\n", f"{lowest}\n"))
    data = figures.figure5_data([model], logged_runs(tmp_path), paper.authors_logs())
    assert set(data["who"]) == {"authors", "seed 1", "seed 2", "seed 3"}
    (ax,) = figures.figure5(data, {}).axes
    (band,) = ax.collections
    points = band.get_paths()[0].vertices
    assert {round(y, 4) for x, y in points if x == 2} == {0.05, 0.15}


def test_the_training_loss_of_figure_5_is_a_running_mean(tmp_path: Path) -> None:
    _, model = paper.numbers()["figure5"]
    steps = make_run(tmp_path, model, 1) / "steps.csv"
    lines = [f"0,{i},{i % 2}" for i in range(200)]
    steps.write_text("\n".join(["epoch,step,train_loss", *lines]) + "\n")
    data = figures.figure5_data([model], logged_runs(tmp_path), paper.authors_logs())
    training = data[data["curve"] == "training"]
    assert len(training) == 200 / 8
    assert np.allclose(training["loss"][training["epochs"] > 80 / 9], 0.5, atol=0.01)


def test_figure_6_shows_all_eight_or_says_which_command_makes_them(
    scene: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    image, stroke, mask = scene
    answers: dict[str, np.ndarray | str] = dict.fromkeys(config.THE_EIGHT, "nseg train it")
    answers["tiny16-32_bce-dice"] = mask
    ious = {"identity": 0.5625, "tiny16-32_bce-dice": 0.875}
    said = words(figure6(image, stroke, mask, answers, ious))
    assert "tiny16-32_bce-dice IoU 0.875" in said
    assert said.count("nseg train it") == 7
    assert "stroke unchanged: IoU 0.562" in said


def test_figure_7_has_a_row_for_each_stroke(
    scene: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    image, stroke, mask = scene
    strokes = {"too small": stroke, "right": mask}
    fig = figure7(image, mask, strokes, {"too small": mask, "right": stroke})
    said = words(fig)
    for part in ("too small: IoU 0.562", "prediction: IoU 1.000", "right: IoU 1.000"):
        assert part in said


def test_a_logarithmic_axis_reads_in_plain_numbers() -> None:
    fig, ax = plt.subplots()
    ax.plot(pd.Series([0.06, 0.3]))
    ax.set_yscale("log")
    figures.plain_log_axis(ax)
    fig.canvas.draw()
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert "0.1" in labels
    assert "0.2" in labels


def test_the_forest_has_each_claim_once_and_counts_in_its_direction() -> None:
    numbers = forest.data(evidence.load(PROJECT, "half"))
    rows = numbers.set_index("claim")
    assert rows.index.is_unique
    assert rows.loc["Without boundary loss, depth hurts: IoU", "printed"] == 0.0077
    refines = rows.loc["Every model refines the stroke significantly: Hausdorff distance"]
    assert refines["ours"] > 0, "a smaller distance is what is claimed"
    assert (numbers["ours_low"] <= numbers["ours"]).all()
    assert (numbers["ours"] <= numbers["ours_high"]).all()
    fig = forest.figure(numbers)
    ticks = [label.get_text() for ax in fig.axes for label in ax.get_yticklabels()]
    assert len(ticks) == len(numbers)
    assert (
        words(fig).count("too small to matter")
        == (numbers["verdict"] == "too small to matter").sum()
    )
