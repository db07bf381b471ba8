"""Training: deterministic, resumable after a kill to the bit, and it learns."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from coco_builder import outline_anew

from nseg_lib import config
from nseg_lib.config import Config, ConfigError
from nseg_lib.data import coco
from nseg_lib.data.datasets import FrozenPairs
from nseg_lib.data.frozen import EvaluationSamples
from nseg_lib.evaluation import judge
from nseg_lib.evaluation.metrics import evaluate_mask
from nseg_lib.prompt import Prompt
from nseg_lib.refine import Refiner
from nseg_lib.training import unet as training
from nseg_lib.training.losses import RefinementLoss
from nseg_lib.training.runs import find_runs


def tiny_config(**overrides: object) -> Config:
    """The smallest network there is, for a few epochs."""
    settings = {"model.widths": [8], "training.epochs": 3, **overrides}
    return config.load("res16-32_bce-dice", settings)


def train(data: Path, out: Path, workers: int = 0, say=print, **settings: object) -> Path:
    """Such a network, trained."""
    return training.train(
        tiny_config(**settings), data, out, workers=workers, accelerator="cpu", say=say
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def without_seconds(path: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows(path)]


def weights_of(run: Path) -> bytes:
    return (run / "weights.safetensors").read_bytes()


def assert_same_run(one: Path, other: Path) -> None:
    assert weights_of(one) == weights_of(other)
    assert without_seconds(one / "log.csv") == without_seconds(other / "log.csv")
    assert rows(one / "steps.csv") == rows(other / "steps.csv")


TWO = {"training.epochs": 2}


@pytest.fixture(scope="module")
def uninterrupted(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny_data, tmp_path_factory.mktemp("runs") / "whole").parent


def test_a_run_leaves_its_log_and_its_weights(uninterrupted: Path) -> None:
    log = rows(uninterrupted / "log.csv")
    assert [row["epoch"] for row in log] == ["0", "1", "2"]
    assert [int(row["steps"]) for row in log] == [7, 14, 21]
    assert float(log[-1]["train_loss"]) < float(log[0]["train_loss"])
    steps = rows(uninterrupted / "steps.csv")
    assert [(row["epoch"], row["step"]) for row in steps] == [("0", "5"), ("1", "12"), ("2", "19")]
    assert {path.name for path in uninterrupted.iterdir()} == {
        "run.json", "log.csv", "steps.csv", "epochs", "best.ckpt", "last.ckpt",
        "weights.safetensors", "weights.safetensors.json",
    }  # fmt: skip


def test_each_epoch_is_judged_and_the_last_five_are_kept(tiny_data: Path, tmp_path: Path) -> None:
    settings = {"training.epochs": 6, "training.patience": 9, "data.scale": 0.5}
    weights = train(tiny_data, tmp_path / "r", **settings)
    kept = tmp_path / "r" / "epochs"
    assert sorted(path.name for path in kept.iterdir()) == [f"{n}.safetensors" for n in range(1, 6)]
    log = rows(tmp_path / "r" / "log.csv")
    best = min(log, key=lambda row: float(row["val_loss"]))
    assert (kept / f"{best['epoch']}.safetensors").read_bytes() == weights.read_bytes()
    samples = EvaluationSamples(coco.load_split(tiny_data, "val"), scale=0.5)
    for row in (log[1], log[5]):
        refiner = Refiner.load(kept / f"{row['epoch']}.safetensors")
        found = [evaluate_mask(refiner.predictor.logits(s.image, Prompt(s.stroke)) > 0, s.mask)
                 for s in samples]  # fmt: skip
        for name in ("iou", "pixel_accuracy", "boundary_iou_1px", "hd95"):
            mean = np.mean([values[name] for values in found])
            assert float(row[f"val_{name}"]) == pytest.approx(mean, rel=1e-4)


def test_a_run_of_an_earlier_version_is_gone_on_with(
    tiny_data: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    """Epochs were not judged yet, and pictures not hashed."""
    out, said = tmp_path / "m" / "seed42", list[str]()
    train(tiny_data, out, **TWO)
    old, judged = pd.read_csv(out / "log.csv", dtype=str), [f"val_{n}" for n in training.JUDGED]
    old.drop(columns=judged).to_csv(out / "log.csv", index=False)
    record = json.loads((out / "run.json").read_text())
    pictures = record.pop("pictures")
    (out / "run.json").write_text(json.dumps(record))
    shutil.rmtree(out / "epochs")
    train(tiny_data, out, say=said.append)
    assert "begun when pictures were not hashed" in said[0]
    assert json.loads((out / "run.json").read_text())["pictures"] == pictures
    (run,) = find_runs(tmp_path)["m"]
    assert run.log()["val_hd95"].isna().tolist() == [True, True, False]
    assert rows(out / "log.csv")[2]["val_hd95"] == rows(uninterrupted / "log.csv")[2]["val_hd95"]
    assert weights_of(out) == weights_of(uninterrupted)


def test_two_trainings_in_one_folder_and_data_that_can_only_be_read(
    own_data: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    """The second training is refused; frozen strokes go to the run's folder."""
    out, said = tmp_path / "r", list[str]()
    (own_data / "strokes").write_text("")  # no folder can be made here

    def another(line: str) -> None:
        said.append(line)
        if len(said) == 1:
            with pytest.raises(ValueError, match=r"r/run\.json: another process is writing it"):
                train(own_data, out)

    train(own_data, out, say=another)
    assert len(said) == 3
    assert [path.name for path in (out / "strokes").iterdir()] == ["val_erode_seed0.json"]
    assert_same_run(out, uninterrupted)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_more_epochs_go_on_from_where_fewer_stopped(
    tiny_data: Path, tmp_path: Path, uninterrupted: Path, workers: int
) -> None:
    """Processes that fetch ahead begin with the right epoch's batches and strokes."""
    out = tmp_path / "r"
    for epochs in (1, 3):
        train(tiny_data, out, workers, **{"training.epochs": epochs})
        assert len(rows(out / "log.csv")) == epochs
    with pytest.raises(ConfigError, match="got a run that took 3"):
        train(tiny_data, out, **TWO)
    assert_same_run(out, uninterrupted)


def test_a_run_that_is_ended_on_its_way_to_more_epochs_goes_on(
    tiny_data: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    """The weights of the shorter run, which are still there, do not pass for the longer one's."""
    out = tmp_path / "r"
    train(tiny_data, out, **TWO)
    with pytest.raises(SystemExit) as ended:
        train(tiny_data, out, say=lambda line: os.kill(os.getpid(), signal.SIGTERM))
    assert ended.value.code == 143
    assert len(rows(out / "log.csv")) == 3, "its row was written, but no state saved"
    train(tiny_data, out)
    assert_same_run(out, uninterrupted)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("last.ckpt",), "going on after its best epoch, 1"),
        (("best.ckpt",), "best.ckpt: broken, so it is not gone on from"),
        (("last.ckpt", "best.ckpt"), "its best epoch is lost, so it begins anew"),
        (("run.json",), "run.json: broken; what it said is taken from the saved state"),
        (("log.csv", "steps.csv"), "log.csv: broken; the rows of 2 epochs are lost"),
    ],
)
def test_a_moved_run_with_a_broken_file_goes_on_from_what_is_whole(
    tiny_data: Path, tmp_path: Path, uninterrupted: Path, names: tuple[str, ...], says: str
) -> None:
    train(tiny_data, tmp_path / "here", **TWO)
    out, said = (tmp_path / "here").rename(tmp_path / "there"), list[str]()
    for name in names:
        (out / name).write_bytes(b"PK\x03\x04 broken")
    train(tiny_data, out, say=said.append)
    assert any(says in line for line in said)
    assert not any("\n" in line for line in said)
    assert weights_of(out) == weights_of(uninterrupted)
    if "log.csv" not in names:
        assert_same_run(out, uninterrupted)


def test_another_configuration_or_other_data_is_refused(
    own_data: Path, uninterrupted: Path
) -> None:
    says = r"run\.json: this run was started with another configuration or other data"
    with pytest.raises(ConfigError, match=rf"{says} \('training.seed': 42, now 1\)"):
        train(own_data, uninterrupted, **{"training.seed": 1})
    annotations = own_data / "annotations" / "instances_train.json"
    picture = own_data / "train" / f"{1:012d}.png"
    for file, kind in ((annotations, "data"), (picture, "pictures")):
        whole = file.read_bytes()
        file.write_bytes(whole + b"\n")
        with pytest.raises(ConfigError, match=rf"{says} \(other {kind}\)"):
            train(own_data, uninterrupted)
        file.write_bytes(whole)
    picture.unlink()
    with pytest.raises(coco.DataError, match=f"{picture.name}: no such picture; 'nseg data check'"):
        train(own_data, uninterrupted)


def test_what_a_training_changes_in_the_process_ends_with_it(
    tiny_data: Path, tmp_path: Path
) -> None:
    cv2.setNumThreads(2)
    try:
        before = [*warnings.filters], signal.getsignal(signal.SIGTERM)
        train(tiny_data, tmp_path / "r", **{"training.epochs": 1})
        assert ([*warnings.filters], signal.getsignal(signal.SIGTERM)) == before
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(1)


def test_training_stops_early_and_keeps_the_best_epoch(tiny_data: Path, tmp_path: Path) -> None:
    settings = {"training.epochs": 40, "training.patience": 1, "training.seed": 5,
                "training.learning_rate": 0.05}  # fmt: skip
    weights = train(tiny_data, tmp_path / "r", **settings)
    losses = [float(row["val_loss"]) for row in rows(tmp_path / "r" / "log.csv")]
    assert int(np.argmin(losses)) == len(losses) - 2 < 38
    last = torch.load(tmp_path / "r" / "last.ckpt", weights_only=True)
    assert last["epoch"] == len(losses) - 1
    before = weights.read_bytes()
    train(tiny_data, tmp_path / "r", **settings | {"training.epochs": 60})
    assert weights.read_bytes() == before
    weights.unlink()  # as if it had been cut after its last epoch
    train(tiny_data, tmp_path / "r", **settings)
    assert weights.read_bytes() == before
    refiner = Refiner.load(weights)
    recipe = refiner.config
    pairs = FrozenPairs(coco.load_split(tiny_data, "val"), recipe.data, recipe.model.inputs)
    loss = RefinementLoss(recipe.loss)
    three = [pairs[i] for i in range(3)]
    with torch.no_grad():
        values = [float(loss(refiner.network(x[None]), y[None])) for x, y in three]
    assert np.mean(values) == pytest.approx(min(losses), rel=1e-4)


def test_what_cannot_be_trained_leaves_no_folder(own_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    message = "validation loss of epoch 0 is (nan|inf); try a lower training.learning"
    with pytest.raises(ConfigError, match=message):
        train(own_data, out, **{"training.learning_rate": 1e30})
    assert not out.exists(), "nothing was saved"
    missing = "mps" if sys.platform == "linux" else "cuda"
    with pytest.raises(ConfigError, match=f"accelerator '{missing}', devices 1: .*; 'auto' takes"):
        training.train(tiny_config(), own_data, out, accelerator=missing)
    for asked, says in (
        ({"devices": 10**20}, r"devices 1(0{20}): at most one for each of this machine's \d+ proc"),
        ({"nodes": 2}, "nodes 2: nothing starts the other machines; use srun or torchrun"),
    ):
        with pytest.raises(ConfigError, match=says):
            training.train(tiny_config(), tmp_path / "no data", out, accelerator="cpu", **asked)
    (own_data / "annotations" / "instances_val.json").unlink()
    with pytest.raises(coco.DataError, match=r"no split 'val' \(there: train\)"):
        train(own_data, out)
    assert not out.exists()


def test_a_split_whose_strokes_are_all_too_small_is_named(own_data: Path, tmp_path: Path) -> None:
    outline_anew(own_data, "val", count=3)
    says = "split 'val': all 3 strokes have fewer than 50 pixels"
    for command in (lambda: train(own_data, tmp_path / "r"),
                    lambda: judge.evaluate_networks([], own_data, tmp_path / "r")):  # fmt: skip
        with pytest.raises(coco.DataError, match=says):
            command()
    assert not (tmp_path / "r" / "run.json").exists()


def test_a_dropped_stroke_is_left_out_and_counted(own_data: Path, tmp_path: Path) -> None:
    outline_anew(own_data, "train")
    train(own_data, tmp_path / "r", **TWO)
    log = rows(tmp_path / "r" / "log.csv")
    assert [(row["steps"], row["dropped"]) for row in log] == [("6", "1"), ("12", "1")]
