"""Does the same training give the same bits, whatever the workers and however often it was cut?

Same commit, data, seed, device and number of threads: then weights and ``results.csv`` are to be
equal, byte for byte, but for the column of ``results.csv`` that says how long a picture took. This
trains a network with 0, 0, 1 and 2 workers, once more with each number while SIGTERM ends it after
its first epoch, and evaluates each. It prints a table, and exits with 1 where two results differ.
Two minutes on one core; ``--long`` trains three networks for longer.

    python workflow/determinism.py [--long]
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NSEG = [sys.executable, "-m", "reproduction.commands"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

UNCUT = [(workers, False) for workers in (0, 0, 1, 2)]
CUT = [(workers, True) for workers in (0, 1, 2)]


def nseg(*words: object) -> None:
    """Run a command of nseg; its last words are shown where it fails."""
    command = [*NSEG, *map(str, words)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"nseg {words[0]} failed:\n{(done.stdout + done.stderr)[-2000:]}")


def train_and_cut(*words: object) -> None:
    """Train until the first epoch is over, then end it as a scheduler would."""
    command = [*NSEG, *map(str, words)]
    training = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    assert training.stdout is not None
    next(line for line in training.stdout if "epoch   0" in line)
    training.send_signal(signal.SIGTERM)
    training.communicate()
    if training.returncode != 143:
        sys.exit(f"a training that SIGTERM ends exits with 143, this one: {training.returncode}")


def digest(content: bytes) -> str:
    """The first digits of a SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]


def without_seconds(results: Path) -> bytes:
    """A file of results without the column of seconds."""
    with results.open(newline="", encoding="utf-8") as file:
        rows = [{**row, "seconds": ""} for row in csv.DictReader(file)]
    return repr(rows).encode()


def compare(model: str, epochs: int, data: Path, work: Path) -> bool:
    """Train and evaluate one network in every way; whether all gave the same bits."""
    found = []
    for place, (workers, cut) in enumerate([*UNCUT, *CUT]):
        out, began = work / f"{model}_{place}", time.monotonic()
        words = ["train", model, "--data", data, "--out", out / "seed42", "--workers", workers]
        words += ["--accelerator", "cpu", "--set", f"training.epochs={epochs}"]
        words += ["--set", "data.scale=0.5"]
        if cut:
            train_and_cut(*words)
        nseg(*words)
        weights = out / "seed42" / "weights.safetensors"
        nseg("evaluate", weights, "--data", data, "--out", out / "results")
        rows = without_seconds(out / "results" / "results.csv")
        found.append((digest(weights.read_bytes()), digest(rows)))
        said = f"{model:<28}{workers:>8}  {'yes' if cut else 'no':<4}{'  '.join(found[-1])}"
        verdict = "" if found[-1] == found[0] else "  DIFFERS"
        print(f"{said}{time.monotonic() - began:>8.0f} s{verdict}", flush=True)
    return len({*found}) == 1


def main() -> int:
    """Make the data set, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="three networks, more epochs")
    long = parser.parse_args().long
    models = ["tiny16-32_bce-dice", "res16-32_bce-dice", "attn32-256_bce-dice-bound"]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        nseg("data", "sample", "--out", data, "--pictures", 60 if long else 16, "--max-side", 200)
        print(f"{'network':<28}{'workers':>8}  cut {'weights':<18}{'results.csv':<16}")
        same = [
            compare(model, 6 if long else 3, data, Path(folder)) for model in models[: 1 + 2 * long]
        ]
    print("all the same" if all(same) else "results differ")
    return 0 if all(same) else 1


if __name__ == "__main__":
    raise SystemExit(main())
