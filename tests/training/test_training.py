"""Training: deterministic, resumable after a kill to the bit, and it learns."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

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
from nseg_lib.training.unet import train


def tiny_config(**overrides: object) -> Config:
    """The smallest network there is, for a few epochs."""
    settings = {"model.widths": [8], "training.epochs": 3, **overrides}
    return config.load("res16-32_bce-dice", settings)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def without_seconds(path: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows(path)]


def assert_same_run(one: Path, other: Path) -> None:
    assert (one / "weights.safetensors").read_bytes() == (
        other / "weights.safetensors"
    ).read_bytes()
    assert without_seconds(one / "log.csv") == without_seconds(other / "log.csv")
    assert rows(one / "steps.csv") == rows(other / "steps.csv")


@pytest.fixture(scope="module")
def uninterrupted(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(tiny_config(), tiny_data, out, workers=0, accelerator="cpu")
    return out


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
    weights = train(tiny_config(**settings), tiny_data, tmp_path / "r", workers=0)
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


def test_a_log_from_before_epochs_were_judged_is_gone_on_with(
    tiny_data: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    out = tmp_path / "m" / "seed42"
    train(tiny_config(**{"training.epochs": 2}), tiny_data, out, workers=0)
    old = pd.read_csv(out / "log.csv", dtype=str)
    old.drop(columns=[f"val_{name}" for name in training.JUDGED]).to_csv(
        out / "log.csv", index=False
    )
    shutil.rmtree(out / "epochs")
    train(tiny_config(), tiny_data, out, workers=0)
    assert [row["val_hd95"] for row in rows(out / "log.csv")][:2] == ["", ""]
    assert rows(out / "log.csv")[2]["val_hd95"] == rows(uninterrupted / "log.csv")[2]["val_hd95"]
    (run,) = find_runs(tmp_path)["m"]
    assert run.log()["val_hd95"].isna().tolist() == [True, True, False]
    assert (out / "weights.safetensors").read_bytes() == (
        uninterrupted / "weights.safetensors"
    ).read_bytes()


def test_two_trainings_in_one_folder_and_data_that_can_only_be_read(
    tiny_data: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    """The second training is refused; frozen strokes go to the run's folder."""
    data, out, said = shutil.copytree(tiny_data, tmp_path / "data"), tmp_path / "r", list[str]()
    shutil.rmtree(data / "strokes", ignore_errors=True)
    (data / "strokes").write_text("")  # no folder can be made here

    def another(line: str) -> None:
        said.append(line)
        if len(said) == 1:
            with pytest.raises(ValueError, match=r"r/run\.json: another process is writing it"):
                train(tiny_config(), data, out, workers=0)

    train(tiny_config(), data, out, workers=0, say=another)
    assert len(said) == 3
    assert [path.name for path in (out / "strokes").iterdir()] == ["val_erode_seed0.json"]
    assert_same_run(out, uninterrupted)


def train_until(step: int, data: Path, out: Path, reached: Path) -> None:
    """Train; at this step, say so and wait to be killed."""
    usual = training.RefinementModule.training_step

    def waiting(module, batch, index):  # type: ignore[no-untyped-def]
        if module.trainer.global_step >= step:
            reached.touch()
            time.sleep(600)
        return usual(module, batch, index)

    training.RefinementModule.training_step = waiting  # type: ignore[method-assign]
    train(tiny_config(), data, out, workers=0, accelerator="cpu")


def test_a_killed_run_ends_in_the_same_weights(
    tiny_data: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    """SIGKILL in the first epoch and SIGTERM in the second, then run to the end."""
    out = tmp_path / "r"
    for step, signal_, status in ((3, signal.SIGKILL, -9), (11, signal.SIGTERM, 143)):
        reached = tmp_path / str(step)
        process = multiprocessing.get_context("fork").Process(
            target=train_until, args=(step, tiny_data, out, reached)
        )
        process.start()
        deadline = time.monotonic() + 60
        while not reached.exists():
            assert process.is_alive(), "the run ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert process.pid is not None
        os.kill(process.pid, signal_)
        process.join()
        assert process.exitcode == status
        assert not (out / "weights.safetensors").exists()
    assert len(rows(out / "log.csv")) == 1
    train(tiny_config(), tiny_data, out, workers=0, accelerator="cpu")
    assert_same_run(out, uninterrupted)
    assert not [*out.rglob("*.part"), *out.rglob("*.lock")]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_more_epochs_go_on_from_where_fewer_stopped(
    tiny_data: Path, tmp_path: Path, uninterrupted: Path, workers: int
) -> None:
    """Processes that fetch ahead begin with the right epoch's batches and strokes."""
    out = tmp_path / "r"
    for epochs in (1, 3):
        longer = tiny_config(**{"training.epochs": epochs})
        train(longer, tiny_data, out, workers=workers, accelerator="cpu")
        assert len(rows(out / "log.csv")) == epochs
    assert_same_run(out, uninterrupted)
    with pytest.raises(ConfigError, match="got a run that took 3"):
        train(tiny_config(**{"training.epochs": 2}), tiny_data, out)
    assert_same_run(out, uninterrupted)


def test_a_run_that_is_cut_on_its_way_to_more_epochs_goes_on(
    tiny_data: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    """The weights of the shorter run, which are still there, do not pass for the longer one's."""
    out = tmp_path / "r"
    train(tiny_config(**{"training.epochs": 2}), tiny_data, out, workers=0, accelerator="cpu")

    def cut(line: str) -> None:
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        train(tiny_config(), tiny_data, out, workers=0, accelerator="cpu", say=cut)
    assert len(rows(out / "log.csv")) == 3, "its row was written, but no state saved"
    train(tiny_config(), tiny_data, out, workers=0, accelerator="cpu")
    assert_same_run(out, uninterrupted)


BROKEN = b"PK\x03\x04 broken"


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
    short = tiny_config(**{"training.epochs": 2})
    train(short, tiny_data, tmp_path / "here", workers=0, accelerator="cpu")
    out, said = (tmp_path / "here").rename(tmp_path / "there"), list[str]()
    for name in names:
        (out / name).write_bytes(BROKEN)
    train(tiny_config(), tiny_data, out, workers=0, accelerator="cpu", say=said.append)
    assert any(says in line for line in said)
    assert not any("\n" in line for line in said)
    weights = [folder / "weights.safetensors" for folder in (out, uninterrupted)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    if "log.csv" not in names:
        assert_same_run(out, uninterrupted)


def test_another_configuration_or_other_data_is_refused(
    tiny_data: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    says = r"run\.json: this run was started with another configuration or other data"
    with pytest.raises(ConfigError, match=rf"{says} \('training.seed': 42, now 1\)"):
        train(tiny_config(**{"training.seed": 1}), tiny_data, uninterrupted)
    other = shutil.copytree(tiny_data, tmp_path / "data")
    path = other / "annotations" / "instances_train.json"
    whole = path.read_text()
    document = json.loads(whole)
    document["images"].pop()
    document["annotations"].pop()
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match=rf"{says} \(other data\)"):
        train(tiny_config(), other, uninterrupted)
    path.write_text(whole)
    picture = sorted((other / "train").iterdir())[0]
    picture.write_bytes(picture.read_bytes() + b"changed")
    with pytest.raises(ConfigError, match=rf"{says} \(other pictures\)"):
        train(tiny_config(), other, uninterrupted)
    picture.unlink()
    with pytest.raises(coco.DataError, match=f"{picture.name}: no such picture; 'nseg data check'"):
        train(tiny_config(), other, uninterrupted)


def test_a_run_from_before_pictures_were_hashed_goes_on(
    tiny_data: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    out, said = shutil.copytree(uninterrupted, tmp_path / "r"), list[str]()
    record = json.loads((out / "run.json").read_text())
    pictures = record.pop("pictures")
    (out / "run.json").write_text(json.dumps(record))
    train(tiny_config(), tiny_data, out, workers=0, say=said.append)
    assert ["begun when pictures were not hashed" in said[0], *said[1:]] == [
        True, f"{out}/weights.safetensors: already trained",
    ]  # fmt: skip
    assert json.loads((out / "run.json").read_text())["pictures"] == pictures


def test_a_disk_that_is_full_costs_no_epoch_that_is_there(
    tiny_data: Path, tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "r"
    train(tiny_config(**{"training.epochs": 1}), tiny_data, out, workers=0)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="cannot be written: No space left"):
            train(tiny_config(), tiny_data, out, workers=0)
    assert not [*out.rglob("*.part"), *out.rglob("*.lock")]
    train(tiny_config(), tiny_data, out, workers=0)
    assert_same_run(out, uninterrupted)


def test_what_a_training_changes_in_the_process_ends_with_it(
    tiny_data: Path, tmp_path: Path
) -> None:
    cv2.setNumThreads(2)
    try:
        before = [*warnings.filters], signal.getsignal(signal.SIGTERM)
        train(tiny_config(**{"training.epochs": 1}), tiny_data, tmp_path / "r", workers=0)
        assert ([*warnings.filters], signal.getsignal(signal.SIGTERM)) == before
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(1)


def test_a_data_set_without_the_splits_says_how_to_make_one(
    tiny_data: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(tiny_data, tmp_path / "data")
    (other / "annotations" / "instances_val.json").unlink()
    with pytest.raises(coco.DataError, match=r"no split 'val' \(there: train\)"):
        train(tiny_config(), other, tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_training_stops_early_and_keeps_the_best_epoch(tiny_data: Path, tmp_path: Path) -> None:
    stopped = tiny_config(**{"training.epochs": 40, "training.patience": 1, "training.seed": 5,
                             "training.learning_rate": 0.05})  # fmt: skip
    weights = train(stopped, tiny_data, tmp_path / "r", workers=0, accelerator="cpu")
    losses = [float(row["val_loss"]) for row in rows(tmp_path / "r" / "log.csv")]
    assert len(losses) < 40
    last = torch.load(tmp_path / "r" / "last.ckpt", weights_only=True)
    assert last["epoch"] == len(losses) - 1
    before = weights.read_bytes()
    more = stopped.model_copy(
        update={"training": stopped.training.model_copy(update={"epochs": 60})}
    )
    train(more, tiny_data, tmp_path / "r", workers=0, accelerator="cpu")
    assert weights.read_bytes() == before
    weights.unlink()  # as if it had been cut after its last epoch
    train(stopped, tiny_data, tmp_path / "r", workers=0, accelerator="cpu")
    assert weights.read_bytes() == before
    assert int(np.argmin(losses)) == len(losses) - 2
    network = Refiner.load(weights).network
    split = coco.load_split(tiny_data, "val")
    pairs = FrozenPairs(split, stopped.data, stopped.model.inputs)
    loss = RefinementLoss(stopped.loss)
    with torch.no_grad():
        values = [float(loss(network(x[None]), y[None])) for x, y in (pairs[i] for i in range(3))]
    assert np.mean(values) == pytest.approx(min(losses), rel=1e-4)


def test_a_loss_that_is_no_number_ends_the_run(tiny_data: Path, tmp_path: Path) -> None:
    diverging = tiny_config(**{"training.learning_rate": 1e30})
    message = "validation loss of epoch 0 is (nan|inf); try a lower training.learning"
    with pytest.raises(ConfigError, match=message):
        train(diverging, tiny_data, tmp_path / "r", workers=0)
    assert not (tmp_path / "r").exists(), "what saved nothing leaves no folder"


def test_an_accelerator_that_is_not_here_is_refused(tiny_data: Path, tmp_path: Path) -> None:
    missing = "mps" if sys.platform == "linux" else "cuda"
    with pytest.raises(ConfigError, match=f"accelerator '{missing}', devices 1: .*; 'auto' takes"):
        train(tiny_config(), tiny_data, tmp_path / "r", accelerator=missing)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_split_whose_strokes_are_all_too_small_is_named(
    tiny_data: Path, tmp_path: Path, command: str
) -> None:
    root = shutil.copytree(tiny_data, tmp_path / "data")
    path = root / "annotations" / "instances_val.json"
    document = json.loads(path.read_text())
    for annotation in document["annotations"]:
        record = next(i for i in document["images"] if i["id"] == annotation["image_id"])
        dot = np.zeros((record["height"], record["width"]), bool)
        dot[40:44, 50:54] = True
        annotation |= {"segmentation": coco.mask_to_rle(dot), "area": 16}
    path.write_text(json.dumps(document))
    shutil.rmtree(root / "strokes", ignore_errors=True)
    calls = {
        "train": lambda: train(tiny_config(), root, tmp_path / "r", workers=0),
        "evaluate": lambda: judge.evaluate_networks([], root, tmp_path / "r"),
    }
    says = "split 'val': all 3 strokes have fewer than 50 pixels"
    with pytest.raises(coco.DataError, match=says):
        calls[command]()
    assert not (tmp_path / "r" / "run.json").exists()


def test_a_dropped_stroke_is_left_out_and_counted(tiny_data: Path, tmp_path: Path) -> None:
    root = shutil.copytree(tiny_data, tmp_path / "data")
    path = root / "annotations" / "instances_train.json"
    document = json.loads(path.read_text())
    dot = np.zeros((128, 144), bool)
    dot[40:44, 50:54] = True
    document["annotations"][0] |= {"segmentation": coco.mask_to_rle(dot), "area": 16}
    path.write_text(json.dumps(document))
    train(tiny_config(), root, tmp_path / "r", workers=0, accelerator="cpu")
    log = rows(tmp_path / "r" / "log.csv")
    assert [(row["steps"], row["dropped"]) for row in log] == [("6", "1"), ("12", "1"), ("18", "1")]
