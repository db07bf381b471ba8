"""What each step of a profile does.

``workflow/Snakefile`` says which step needs which files and starts each as a process of its own:
``python -m reproduction.steps train/tiny16-32_bce-dice_seed42 --profile half …``. All that happens
goes to the error stream, the step's log in ``reports/<profile>/logs``; the console gets the lines
that tell how far it is, and one line where a step fails.

torch and matplotlib take seconds to load, so every step imports what it needs by itself. The code
that a step depends on is what its function below reaches (:mod:`reproduction.code`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from nseg_lib import config as configuration
from nseg_lib.config import ConfigError
from nseg_lib.files import sha256, write_atomic
from nseg_lib.provenance import sidecar_of, write_sidecar
from reproduction import ingredients, profiles
from reproduction.ingredients import RECIPE, SUMS, hash_files, read_record
from reproduction.profiles import Profile


class Job:
    """One step under way: its files, and where to tell how it goes."""

    def __init__(
        self,
        root: Path,
        profile: Profile,
        step: str,
        inputs: Sequence[Path],
        outputs: Sequence[Path],
        coco: Path | None,
        console: TextIO,
    ) -> None:
        self.root, self.profile, self.step, self.coco = root, profile, step, coco
        self.console = console
        self.outputs = [root / path for path in outputs]
        self.name = step.partition("/")[2]
        self.data = root / profile.data.folder
        self.record = read_record(self.outputs[0])
        """What the outputs say about themselves; empty where this workflow did not make them."""
        made_from = ingredients.made_from(root, profile, step)
        self.made_from = made_from | {"inputs": hash_files(root, inputs)}

    def note(self, line: str) -> None:
        """To the log, which is the error stream."""
        print(f"{_now():%H:%M:%S} {line}", file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """To the log and the console."""
        self.note(line)
        with suppress(BrokenPipeError):  # nobody reads any more; what is done is done
            print(f"{self.step}: {line}", file=self.console, flush=True)

    def begun(self, target: Path) -> Path:
        """A working name for ``target``, so that what is unfinished never takes its place.

        What the last try left there is gone on with if it was begun from the same, else removed.
        """
        work, origin = (target.with_name(f"{target.name}.begun{end}") for end in ("", ".json"))
        try:
            same = json.loads(origin.read_bytes()) == self.made_from
        except (OSError, ValueError):  # none, or a broken one
            same = False
        if not same:
            shutil.rmtree(work, ignore_errors=True)
            work.unlink(missing_ok=True)
            write_atomic(origin, json.dumps(self.made_from, indent=1))
        return work

    def run(self) -> None:
        """Do the step, unless its outputs are there and made from the same."""
        record, training = self.record, self.step.startswith("train/")
        if record.get("made_from") == self.made_from and record.get("products") == self.products():
            self.say("unchanged")
            return
        began, clock = _now(), time.monotonic()
        globals()[ingredients.function_of(self.profile, self.step)](self)
        seconds = time.monotonic() - clock
        artefact = self.outputs[0]
        # A training writes the sidecar by itself, and when it ended.
        if not (training and sidecar_of(artefact).is_file()):
            write_sidecar(artefact, self.made_from["settings"], [], seconds)
        record = {"finished": _now().isoformat(), **json.loads(sidecar_of(artefact).read_bytes())}
        record |= {"step": self.step, "profile": self.profile.name, "began": began.isoformat()}
        record |= {"command": f"nseg reproduce --profile {self.profile.name}"}
        record |= {"made_from": self.made_from, "products": self.products()}
        ingredients.write_record(artefact, record)
        for target in (artefact, artefact.parent):
            target.with_name(f"{target.name}.begun.json").unlink(missing_ok=True)
        self.say(f"done in {seconds:.0f} s")

    def products(self) -> dict[str, str | None]:
        """Hashes of what the step made; of a training, its logs too."""
        logs = ("log.csv", "steps.csv") if self.step.startswith("train/") else ()
        beside = [self.outputs[0].with_name(name) for name in logs]
        return hash_files(self.root, [*self.outputs, *beside])


# --- what each step does --------------------------------------------------------------------------


def make_sample(job: Job) -> None:
    """Make the built-in data set."""
    from nseg_lib import sample

    source = getattr(job.profile, job.step)
    folder = job.root / source.folder
    if job.record and "sample" in _request(folder):
        shutil.rmtree(folder)  # this workflow made it, from what is no longer so
    sample.make_sample(folder, source.pictures, source.seed, max_side=source.max_side)
    freeze(folder, job.say)


def make_coco(job: Job) -> None:
    """Reduce COCO, or take what was reduced or fetched by hand if it is as the profile wants."""
    from nseg_lib.data.reduce import reduce

    source = getattr(job.profile, job.step)
    folder = job.root / source.folder
    if job.coco is not None:
        reduce(job.coco, folder, source.pictures, source.seed, test_images=source.test_pictures)
    request = _request(folder)
    if (request.get("images"), request.get("seed")) != (source.pictures, source.seed):
        raise ConfigError(
            f"{source.folder}: profile '{job.profile.name}' wants {source.pictures} pictures of "
            f"COCO with seed {source.seed}, there are {request.get('images') or 'none'}; "
            "add COCO=DIR, or remove the folder"
        )
    freeze(folder, job.say)


def _request(folder: Path) -> dict[str, Any]:
    """What a finished data set says that it was made from; empty where it says nothing."""
    try:
        found = json.loads((folder / "reduction.json").read_bytes())["request"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def freeze(folder: Path, say: Callable[[str], None] = lambda line: None) -> None:
    """Draw the strokes that networks are judged on, and write :data:`SUMS`."""
    from nseg_lib.data import coco
    from nseg_lib.data.frozen import freeze_prompts

    for name in coco.find_splits(folder):
        if name != "train":  # strokes to train on are drawn as they are needed
            (folder / "strokes" / f"{name}_{RECIPE}_seed0.json").unlink(missing_ok=True)
            frozen = freeze_prompts(coco.load_split(folder, name), RECIPE)
            say(f"{name}: {len(frozen.prompts)} strokes, {len(frozen.dropped)} too small")
    lines = []
    for name in sorted(coco.find_splits(folder)):  # annotations, pictures and frozen strokes
        files = [folder / "annotations" / f"instances_{name}.json"]
        files += sorted(path for path in (folder / name).glob("*") if path.is_file())
        files += sorted((folder / "strokes").glob(f"{name}_{RECIPE}_seed0.json"))
        listing = "".join(f"{sha256(path)}  {path.name}\n" for path in files)
        lines.append(f"{hashlib.sha256(listing.encode()).hexdigest()}  {name}\n")
    write_atomic(folder / SUMS, "".join(lines))


def train(job: Job) -> None:
    """Train one network in a folder of another name, which takes its place when it is finished."""
    from nseg_lib.training import unet

    model, _, seed = job.name.rpartition("_seed")
    profile, folder = job.profile, job.outputs[0].parent
    # A run that was started by hand is gone on with where it lies, or taken as it is.
    by_hand = not job.record and (folder / "run.json").is_file()
    work = folder if by_hand else job.begun(folder)
    _choose_gpu(job)
    unet.train(
        configuration.load(model, {**profile.settings_of(model), "training.seed": int(seed)}),
        job.data,
        work,
        workers=profile.workers,
        accelerator=profile.accelerator,
        say=job.say,
    )
    if by_hand:
        return
    if (folder / "run.json").is_file():
        # Hours of work may be in it: the last one is kept, out of the way.
        aside = folder.with_name(f"{folder.name}.replaced")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        job.say(f"the network before is in {aside.relative_to(job.root)}")
    work.rename(folder)


def _choose_gpu(job: Job) -> None:
    """Spread the jobs of one machine over its GPUs; a cluster gives each job its own."""
    count = gpus()
    if count > 1 and not {"CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"} & os.environ.keys():
        profile = job.profile
        networks = [f"{model}_seed{seed}" for model in profile.models for seed in profile.seeds]
        place = networks.index(job.name) if job.name in networks else 0
        os.environ["CUDA_VISIBLE_DEVICES"] = str(place % count)


def gpus() -> int:
    """How many GPUs this machine has."""
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    return len(listing.stdout.splitlines())


def evaluate_baselines(job: Job) -> None:
    """The rows of all methods that need no training."""
    from nseg_lib.evaluation import methods

    _evaluate(job, methods.baselines(job.profile.scale))


def evaluate(job: Job) -> None:
    """The rows of one trained network."""
    from nseg_lib.evaluation import methods

    _evaluate(job, [methods.trained(_refiner(job, job.name))])


def _evaluate(job: Job, methods: Sequence[Any]) -> None:
    from nseg_lib.data import coco
    from nseg_lib.data.frozen import EvaluationSamples
    from nseg_lib.evaluation import rows

    unfinished = job.begun(job.outputs[0])
    for name in (name for name in coco.find_splits(job.data) if name in {"val", "test"}):
        samples = EvaluationSamples(coco.load_split(job.data, name), RECIPE, job.profile.scale)
        rows.evaluate(methods, samples, unfinished, progress=False)
        job.note(f"{name}: {len(samples)} pictures")
    unfinished.replace(job.outputs[0])


def _refiner(job: Job, network: str) -> Any:
    import torch

    from nseg_lib.refine import Refiner

    _choose_gpu(job)
    gpu = job.profile.accelerator != "cpu" and torch.cuda.is_available()
    model, _, seed = network.rpartition("_seed")
    weights = job.root / "runs" / job.profile.name / model / f"seed{seed}" / "weights.safetensors"
    return Refiner.load(weights, "cuda" if gpu else "cpu")


def measure_pictures(job: Job) -> None:
    """Size, clutter and licence of every picture."""
    from reproduction import measure

    measure.measure_pictures(job.data, job.outputs[0], job.profile.scale)


def measure_redraws(job: Job) -> None:
    """The paper's two smallest networks on strokes that are drawn again and again."""
    from reproduction import measure

    seed = job.profile.seeds[0]
    models = ingredients.redrawn(job.profile)
    networks = {model: _refiner(job, f"{model}_seed{seed}") for model in models}
    measure.measure_redraws(networks, job.data, job.outputs[0], job.profile.scale, job.note)


def chapter(job: Job) -> None:
    """Execute a notebook; one that fails goes to ``reports/<profile>/failed``."""
    from reproduction import notebooks

    notebooks.run(
        job.root / "notebooks" / f"{job.name}.ipynb",
        job.outputs[0],
        job.made_from["settings"],
        limit=60 * job.profile.limit(job.step),
        cwd=job.root,
        failed=job.root / "reports" / job.profile.name / "failed",
        say=job.note,
    )


def evidence(job: Job) -> None:
    """Write the tables and figures that rows, logs and measurements make and no chapter shows."""
    from reproduction import exhibits

    wanted = [exhibit for exhibit in exhibits.EXHIBITS if not exhibit.chapter]
    exhibits.write(job.root, job.profile.name, wanted)


def page(job: Job) -> None:
    """Write the page and the README of a report."""
    from reproduction.page import write_page

    write_page(job.root, job.profile)


# --- one step as a process ------------------------------------------------------------------------


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _end_with_its_reader(console: TextIO) -> None:
    """End all jobs of a run once nobody reads its console, because it was killed."""
    reader = select.poll()
    reader.register(console, 0)  # that the pipe is broken is told in any case
    reader.poll()
    # Snakemake leads a session of its own (`reproduction.workflow`), and every job is in it. A step
    # that was started by hand is in its user's session, which must not be ended.
    leader = os.getsid(0)
    if leader == os.getpgrp():
        with suppress(ProcessLookupError):
            os.kill(leader, signal.SIGKILL)  # at once, so that it does nothing to any file
        os.killpg(leader, signal.SIGTERM)


def main(arguments: list[str]) -> int:
    """Do one step; an error is one line on the console, all of it in the log."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.steps")
    parser.add_argument("step", help="such as data, train/<model>_seed<k>, page")
    parser.add_argument("--profile", required=True)
    for key in ("models", "seeds"):
        parser.add_argument(f"--{key}", help="with commas; default: the profile's")
    parser.add_argument("--coco", type=Path)
    parser.add_argument("--inputs", nargs="*", type=Path, default=[])
    parser.add_argument("--outputs", nargs="+", type=Path, required=True)
    given = parser.parse_args(arguments)
    # Ended from outside, a step still runs its ``finally`` blocks.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Whatever libraries print goes to the log: the console stays readable side by side.
    console = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if ingredients.STARTER in os.environ and hasattr(select, "poll"):  # Windows has no poll
        threading.Thread(target=_end_with_its_reader, args=(console,), daemon=True).start()
    root = Path.cwd()
    try:
        profile = profiles.load(root, given.profile, profiles.only(given.models, given.seeds))
        Job(root, profile, given.step, given.inputs, given.outputs, given.coco, console).run()
    except Exception as error:
        traceback.print_exc()
        said = next(iter(str(error).splitlines()), "")
        if not isinstance(error, ValueError | OSError):  # these say all in their one line
            log = f"reports/{given.profile}/logs/{given.step.replace('/', '_')}.log"
            said = f"{type(error).__name__}: {said}; see {log}"
        with suppress(BrokenPipeError):
            print(f"{given.step}: FAILED: {said}", file=console, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
