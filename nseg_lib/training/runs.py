"""A training's folder: bound to its configuration and data, logged, resumed, finished, found again.

======================= ==========================================================================
``run.json``            the configuration, and hashes of the data, that the folder belongs to
``log.csv``             a row per epoch (``nseg train``) or per 200 steps (``nseg train-refiner``)
``steps.csv``           a row every five steps (``nseg train`` alone)
``last.ckpt``           what a training goes on from; ``best.ckpt``: its best epoch so far
``epochs/``             the networks of the last five epochs (``nseg train`` alone), to be judged
``strokes/``            frozen strokes, where the data set's own folder cannot be written
``weights.safetensors`` the network, with its sidecar, once the training is done
======================= ==========================================================================
"""

from __future__ import annotations

import csv
import ctypes
import io
import json
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
import torch

from nseg_lib import config as configuration
from nseg_lib.config import ConfigError, Strict
from nseg_lib.data.datasets import fingerprint, picture_hashes
from nseg_lib.files import append_row, only_writer, write_atomic
from nseg_lib.networks.weights import save_weights
from nseg_lib.parsing import dotted, read_json
from nseg_lib.provenance import write_sidecar

KEPT_EPOCHS = 5
"""The networks of so many last epochs are kept: which single epoch is judged depends on luck, and
the mean of five depends on it less."""

# --- a training's side: bind, log, save, finish ---------------------------------------------------


class RunFolder:
    """The folder of one training.

    Args:
        path: the folder; :meth:`bind` makes it if it is missing.
        say: takes a line of progress.
    """

    def __init__(self, path: Path, say: Callable[[str], None] = lambda line: None) -> None:
        self.path, self.say = path, say
        self.last, self.best = path / "last.ckpt", path / "best.ckpt"
        self.weights = path / "weights.safetensors"
        self.processes, self.leads = 1, True
        """How many processes train the network together, and whether this is the one that writes;
        to be set before :meth:`bind`."""
        self.record: dict[str, Any] = {}
        """The content of ``run.json``, once bound."""
        self.stop: Callable[..., None] | None = None
        """What SIGTERM does while a training is under way."""
        self._held = ExitStack()

    def bind(
        self,
        config: Strict,
        binding: Callable[[Any], dict[str, Any]],
        data: Path,
        splits: Sequence[str],
        **more: str,
    ) -> None:
        """Bind the folder to a configuration and to data, and keep other processes out of it.

        A folder that a training left before it saved anything is free for any other.

        Args:
            config: what is to be trained.
            binding: configuration → its settings that may not differ from those of the training
                that the folder holds.
            data, splits: the data set, and those of its splits that are seen.
            more: hashes of whatever else the result depends on, by name.

        Raises:
            ConfigError: the folder belongs to another configuration, to other data or to another
                number of processes.
            DataError: the data set has no such split, or a picture of it is missing.
            ValueError: another process is training in the folder.
        """
        path = self.path / "run.json"
        now = {
            "config": config.model_dump(mode="json"),
            "data": fingerprint(data, splits),
            "pictures": picture_hashes(data, splits),
            "processes": self.processes,
            **more,
        }
        if self.leads:
            self._held.enter_context(only_writer(path))
        if before := self._bound_to():
            # The same settings, those that were added since the run began having their defaults ...
            theirs = configuration.parse(before["config"], str(path), type(config))
            old, new = (dotted(binding(each)) for each in (theirs, config))
            wrong = [f"'{key}': {old.get(key)}, now {new.get(key)}"
                     for key in (old | new) if old.get(key) != new.get(key)]  # fmt: skip
            # ... and the same data, as far as the run knew it.
            hashes = [key for key in ("data", *more, "pictures") if key in before or key in more]
            wrong += [f"other {key}" for key in hashes if before.get(key) != now[key]]
            if wrong:
                raise ConfigError(
                    f"{path}: this run was started with another configuration or other data "
                    f"({wrong[0]}); choose another folder or delete this one"
                )
            started = before.get("processes", 1)
            if started != self.processes:
                raise ConfigError(
                    f"{path}: this run was started with {started} processes, now {self.processes}; "
                    "ask for as many (--devices times --nodes), or choose another folder"
                )
            if "pictures" not in before:
                self.say(f"{path}: begun when pictures were not hashed; they are taken on trust")
        self.note(**before | now)

    def _bound_to(self) -> dict[str, Any]:
        """What the folder belongs to; empty where there is nothing in it to lose."""
        if not any(path.exists() for path in (self.last, self.best, self.weights)):
            return {}
        path = self.path / "run.json"
        with suppress(OSError, ValueError):
            record = read_json(path.read_bytes(), str(path))
            if isinstance(record, dict) and {"config", "data"} <= record.keys():
                return record
        for saved in (self.load(self.last), self.load(self.best)):
            if saved and "run" in saved:
                self.say(f"{path}: broken; what it said is taken from the saved state")
                return dict(saved["run"])
        raise ConfigError(
            f"{path}: missing or broken, so nobody knows what was trained here; choose another "
            "folder or delete this one"
        )

    def save(self, path: Path, state: dict[str, Any]) -> None:
        """Write the state of a training, whole or, with an OSError, not at all."""
        if not self.leads:
            return
        content = io.BytesIO()
        torch.save(state | {"run": self.record}, content)
        write_atomic(path, content.getvalue())

    def load(self, path: Path, device: str = "cpu") -> dict[str, Any] | None:
        """A saved state; ``None`` where there is none or, said in a line, where it is broken."""
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location=device, weights_only=True)
        except Exception:  # a damaged file can fail at any of the format's layers
            self.say(f"{path}: broken, so it is not gone on from")
            return None

    def keep_epoch(self, epoch: int, network: torch.nn.Module, config: Strict) -> None:
        """Keep the network of an epoch; of those before it, the last :data:`KEPT_EPOCHS` - 1."""
        folder = self.path / "epochs"
        save_weights(network, config, folder / f"{epoch}.safetensors")
        for path in folder.glob("*.safetensors"):
            if path.stem.isdigit() and not epoch - KEPT_EPOCHS < int(path.stem) <= epoch:
                path.unlink()

    def finish(
        self,
        network: torch.nn.Module,
        config: Strict,
        inputs: Sequence[Path],
        seconds: float,
        **facts: Any,
    ) -> None:
        """Write the weights and, before them, their sidecar.

        Args:
            inputs: the files that they depend on.
            seconds: that training took, those before a cut included.
            facts: what the sidecar says besides.
        """
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        write_sidecar(self.weights, config, inputs, seconds, finished=ended, **facts)
        save_weights(network, config, self.weights)

    def note(self, **facts: Any) -> None:
        """Add to ``run.json``."""
        self.record |= facts
        if self.leads:
            write_atomic(self.path / "run.json", json.dumps(self.record, indent=1) + "\n")

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Run a training in this folder; all that it changes in the process ends with it.

        SIGTERM, a scheduler's time limit, ends the process with status 143, resumably. A training
        that fails before it has saved anything leaves no folder.
        """
        stopped, told = False, f"{self.path}: stopped by SIGTERM; the same command goes on"

        def stop(*_: object) -> None:
            nonlocal stopped
            stopped = True
            if self.processes > 1:
                # The others wait for this one in the middle of a step. What it has begun with them
                # it cannot end in order, and its end is what ends them.
                if self.leads:
                    self.say(told)
                os._exit(143)
            raise SystemExit(143)  # 128 + 15, what a shell reports of a process ended by SIGTERM

        self.stop = stop
        listens = threading.current_thread() is threading.main_thread()  # others get no signals
        before = signal.signal(signal.SIGTERM, stop) if listens else None
        try:
            with _settings_of_training():
                yield
        except BaseException as error:
            # Where nothing was saved, nothing is left. Finished weights keep their files.
            if self.leads and self.record and not (self.last.exists() or self.best.exists()):
                if not self.weights.exists():
                    for name in ("run.json", "log.csv", "steps.csv"):
                        (self.path / name).unlink(missing_ok=True)
                self._held.close()
                with suppress(OSError):  # there is something else in it
                    self.path.rmdir()
            # A scheduler ends the processes that read pictures too, and theirs may be seen first.
            if stopped or "killed by signal: Terminated" in str(error):
                self.say(told)
                raise SystemExit(143) from None
            if self.processes > 1 and " by peer" in str(error):  # another one was ended
                raise SystemExit(143) from None
            raise
        finally:
            self._held.close()
            if listens:
                signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


@contextmanager
def _settings_of_training() -> Iterator[None]:
    """OpenCV on one thread, and no words of libraries' own; as before when the training ends."""
    threads, lightning = cv2.getNumThreads(), logging.getLogger("lightning.pytorch")
    level = lightning.level
    try:
        # On masks of this size more threads cost time and save none.
        cv2.setNumThreads(1)
        with warnings.catch_warnings():
            # Progress is said by us: no device banners, no advice that does not apply here.
            lightning.setLevel(logging.WARNING)
            for advice in ("have many workers", "yielded None", "LeafSpec", "ckpt_path"):
                warnings.filterwarnings("ignore", message=f".*{advice}.*")
            yield
    finally:
        cv2.setNumThreads(threads)
        lightning.setLevel(level)


def one_thread(worker: int) -> None:
    """Keep OpenCV to one thread in a process that reads pictures, as in the training's own."""
    cv2.setNumThreads(1)


def reuse_memory() -> None:
    """Let the C library keep the memory that tensors give back, for the next step's tensors.

    By default glibc asks the system for every large buffer anew, and the system fills it with
    zeros, in every step. Results are the same.

    Source: mallopt(3), ``M_MMAP_THRESHOLD`` and ``M_TRIM_THRESHOLD``.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for threshold in (-3, -1):  # their numbers in malloc.h
            mallopt(threshold, 2**31 - 1)


class Log:
    """A CSV file with a row per ``columns[0]``: an epoch or a step, which only ever grows."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self.path, self.columns = path, columns

    def rows(self) -> list[dict[str, str]]:
        """The rows that are whole: a kill can cut the last line short.

        A log from before a column was added has an empty cell there.
        """
        try:
            with self.path.open(newline="", encoding="utf-8") as stream:
                found = list(csv.DictReader(stream))
        except (OSError, UnicodeDecodeError, csv.Error):
            return []
        rows = [{name: row.get(name, "") for name in self.columns} for row in found]
        return [row for row in rows if row[self.columns[0]] and all(map(_is_number, row.values()))]

    def start(self, before: int) -> list[dict[str, str]]:
        """Keep the rows below this number, which are returned: a training makes all others."""
        kept = [row for row in self.rows() if int(row[self.columns[0]]) < before]
        lines = [self.columns, *(tuple(row.values()) for row in kept)]
        write_atomic(self.path, "".join(f"{','.join(line)}\n" for line in lines))
        return kept

    def add(self, *values: object) -> None:
        """Append a row."""
        append_row(self.path, values)


def _is_number(cell: str | None) -> bool:
    return cell is not None and re.fullmatch(r"[-+.e\d]*", cell) is not None


# --- a reader's side: the runs of a folder, and what they logged ----------------------------------


@dataclass(frozen=True)
class Run:
    """One trained network: a model, a seed, and the folder that ``nseg train`` filled."""

    model: str
    seed: int
    folder: Path

    @property
    def weights(self) -> Path:
        """The network of the epoch with the lowest validation loss."""
        return self.folder / "weights.safetensors"

    def log(self) -> pd.DataFrame:
        """A row per epoch: ``epoch``, ``steps``, ``dropped``, ``train_loss``, ``val_loss``, …."""
        return pd.read_csv(self.folder / "log.csv")

    def steps(self) -> pd.DataFrame:
        """A row every few steps: ``epoch``, ``step``, ``train_loss``."""
        return pd.read_csv(self.folder / "steps.csv")

    @property
    def best_epoch(self) -> int:
        """The epoch whose network was kept; the first is 0."""
        log = self.log()
        return int(log["epoch"].iloc[log["val_loss"].argmin()])

    @property
    def waited(self) -> int:
        """Epochs since the one that was kept: early stopping ends a run at a number of these."""
        return len(self.log()) - 1 - self.best_epoch


def find_runs(runs: str | Path) -> dict[str, list[Run]]:
    """Model → its finished runs, seed 42 first; the paper's eight models come first."""
    return _by_model(Path(runs).glob("*/seed*/weights.safetensors"))


def logged_runs(runs: str | Path) -> dict[str, list[Run]]:
    """Model → its runs that finished an epoch, also those that were cut off or go on."""
    found = _by_model(Path(runs).glob("*/seed*/log.csv"))
    some = {model: [run for run in of_model if len(run.log())] for model, of_model in found.items()}
    return {model: of_model for model, of_model in some.items() if of_model}


def _by_model(files: Iterable[Path]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for path in files:
        match = re.fullmatch(r"seed(\d+)", path.parent.name)
        if match:
            run = Run(path.parent.parent.name, int(match[1]), path.parent)
            found.setdefault(run.model, []).append(run)
    order = {name: place for place, name in enumerate(configuration.names())}
    models = sorted(found, key=lambda name: (order.get(name, len(order)), name))
    # Where one training must stand for a network, it is that of the seed which no setting changed.
    usual = configuration.TrainingConfig().seed
    return {name: sorted(found[name], key=lambda r: (r.seed != usual, r.seed)) for name in models}
