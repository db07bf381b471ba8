"""Training with several processes: all take part in every step and end in one network."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from coco_builder import outline_anew
from conftest import write_split
from safetensors.torch import load_file

from nseg_lib import config, networks
from nseg_lib.config import ConfigError
from nseg_lib.training import unet as training

# Dice is computed over a whole batch, so that it depends on which pictures share one. The other
# losses are means over pictures. With 8 channels, a bias before a normalisation in 8 groups would
# have no effect, and its gradient would be rounding alone.
SETTINGS = {"model.widths": [16, 32], "loss.dice": 0, "loss.boundary": 0.5}


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def start_two(data: Path, out: Path, epochs: int, *launcher: str) -> subprocess.Popen[str]:
    """``nseg train`` with two processes and batches of two; ``launcher`` starts its module."""
    settings = SETTINGS | {"training.batch_size": 2, "training.epochs": epochs}
    command = ["train", "tiny16-32_bce-dice", f"--data={data}", f"--out={out}",
               "--accelerator=cpu", "--devices=2", "--workers=0",
               *(f"--set={key}={value}" for key, value in settings.items())]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "nseg_lib.cli", *command], text=True,
        start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The status of ``nseg train`` and what it said; no process outlives this."""
    try:
        said = process.communicate(timeout=180)
        return process.returncode, "".join(said)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def log_of(run: Path) -> list[dict[str, float]]:
    with (run / "log.csv").open() as stream:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Has ``data``: three training pictures, of which the first has too small an object."""
    root = tmp_path_factory.mktemp("processes")
    write_split(root / "data", "train", [(96, 112)] * 3, 1)
    write_split(root / "data", "val", [(96, 112)], 101)
    outline_anew(root / "data", "train")
    return root


# The second training goes on from the first.
@pytest.mark.parametrize(("epochs", "launcher"), [(4, ()), (6, TORCHRUN)])
def test_two_processes_train_the_network_of_one_with_the_same_pictures_in_each_step(
    folder: Path, epochs: int, launcher: tuple[str, ...]
) -> None:
    """Every epoch is a step of all three pictures.

    Of two processes, one takes two pictures and the other the third, which is not always the same:
    sometimes the one without a stroke.
    """
    data, one, two = folder / "data", folder / "one", folder / "two"
    settings = SETTINGS | {"training.batch_size": 3, "training.epochs": epochs}
    recipe = config.load("tiny16-32_bce-dice", settings)
    training.train(recipe, data, one, accelerator="cpu", workers=0)
    status, said = ended(start_two(data, two, epochs, *launcher))
    assert status == 0, said

    # Adam divides each gradient by its own size. Where that is nearly zero, rounding decides on it
    # and a single weight may go another way; so the distance between the networks is compared with
    # the distance that training moved them. It was 0.0001 of that; where pictures do not count the
    # same, it is 0.16.
    torch.manual_seed(recipe.training.seed)
    start = networks.build(recipe.model).state_dict()
    weights, expected = (load_file(run / "weights.safetensors") for run in (two, one))
    apart, moved = (
        torch.cat([(some[name] - expected[name]).flatten() for name in expected]).norm()
        for some in (weights, start)
    )
    assert apart < 0.01 * moved
    ours, theirs = log_of(two), log_of(one)
    assert [row["steps"] for row in ours] == [row["steps"] for row in theirs]
    assert {row["dropped"] for row in ours} == {0, 1}
    for name in ("train_loss", "val_loss"):
        assert [row[name] for row in ours] == pytest.approx([row[name] for row in theirs], rel=1e-5)


def test_another_number_of_processes_does_not_go_on(folder: Path) -> None:
    recipe = config.load("tiny16-32_bce-dice", SETTINGS | {"training.batch_size": 2})
    if not (folder / "two" / "weights.safetensors").exists():
        status, said = ended(start_two(folder / "data", folder / "two", 1))
        assert status == 0, said
    with pytest.raises(ConfigError, match=r"two/run\.json: .* started with 2 processes, now 1"):
        training.train(recipe, folder / "data", folder / "two", accelerator="cpu")


def test_two_processes_end_at_sigterm_and_the_same_command_goes_on(
    folder: Path, tmp_path: Path
) -> None:
    process = start_two(folder / "data", tmp_path / "run", 1000)
    state = tmp_path / "run" / "last.ckpt"
    deadline = time.monotonic() + 150
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    process.terminate()
    status, said = ended(process)
    assert (status, "Traceback" in said) == (143, False), said
    assert "stopped by SIGTERM; the same command goes on" in said
    assert state.exists()
