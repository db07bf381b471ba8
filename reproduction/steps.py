"""One step of the graph, done in a process of its own: ``python -m reproduction.steps PROFILE
STEP``.

Snakemake starts it. What happens goes to ``reports/<profile>/logs/<step>.log``; the console gets
the lines that tell how far it is, and one line where it fails. Two processes never make the same
thing at once, and a step that was cut off goes on if what it is made from is still the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from nseg_lib.config import ConfigError
from nseg_lib.files import write_atomic
from nseg_lib.provenance import write_sidecar
from nseg_lib.training.runs import Run
from reproduction import graph, pipeline, profiles
from reproduction.graph import Step
from reproduction.profiles import DataSource, Profile


class Job:
    """A step with what its body needs: where it runs, what came before, and where to tell."""

    def __init__(self, root: Path, profile: Profile, step: Step, coco: Path | None) -> None:
        self.root, self.profile, self.step, self.coco = root, profile, step, coco
        self.out = root / "reports" / profile.name
        self.resumes = False
        """Whether what is there is an unfinished part of what is to be made."""
        self.console: TextIO = sys.stdout

    def note(self, line: str) -> None:
        """To the log."""
        print(f"{_now():%H:%M:%S} {line}", file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """To the log and the console."""
        self.note(line)
        print(f"{self.step.name}: {line}", file=self.console, flush=True)


def run_step(job: Job) -> None:
    """Make what a step makes, unless it is there and still what it should be.

    Raises:
        ValueError: what went wrong, in one line.
    """
    step, root = job.step, job.root
    with _locked(root, step):
        found = graph.state(root, step)
        if found.kind == "done":
            job.say("unchanged")
            return
        job.note(f"{found.kind}: {'; '.join(found.why)}")
        ingredients = graph.made_from(root, step)
        before, record = _begun(step), graph.read_record(step)
        # Data and runs tell themselves what they were made from; rows without a record do not.
        by_hand = not record and step.kind in {"data", "train"}
        job.resumes = before == ingredients if before is not None else by_hand
        write_atomic(step.begun, json.dumps(ingredients, indent=1))
        began, clock = _now(), time.monotonic()
        BODIES[step.kind](job)
        seconds = time.monotonic() - clock
        _record(job, ingredients, began, seconds)
        step.begun.unlink(missing_ok=True)
        job.say(f"done in {seconds:.0f} s")


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _begun(step: Step) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(step.begun.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


@contextlib.contextmanager
def _locked(root: Path, step: Step) -> Iterator[None]:
    """Wait until no other process makes this step; the system frees the lock of a dead one."""
    name = step.artefact.relative_to(root).as_posix().replace("/", "_")
    path = root / "runs" / ".locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        except ImportError:  # Windows: nothing keeps two processes apart there
            pass
        yield


def _record(job: Job, ingredients: dict[str, Any], began: datetime, seconds: float) -> None:
    """Write the sidecar, or add to the one that training wrote."""
    step = job.step
    facts: dict[str, Any] = {
        "step": step.name,
        "profile": job.profile.name,
        "began": began.isoformat(),
        "finished": _now().isoformat(),
        "command": f"nseg reproduce --profile {job.profile.name}",
        "made_from": ingredients,
        "products": step.products(),
    }
    if step.kind == "train":
        written = _training_sidecar(step)
        if "finished" in written:  # when training ended, not when its network was taken over
            facts["finished"] = written["finished"]
        write_atomic(step.sidecar, json.dumps(written | facts, indent=2, ensure_ascii=False) + "\n")
        return
    write_sidecar(step.artefact, step.settings, [], seconds, **facts)


def _training_sidecar(step: Step) -> dict[str, Any]:
    if not step.sidecar.exists():  # trained before sidecars were written: all we know is the log
        seconds = float(Run("", 0, step.artefact.parent).log()["seconds"].sum())
        write_sidecar(step.artefact, step.settings, [], seconds, device="not recorded")
    found: dict[str, Any] = json.loads(step.sidecar.read_text(encoding="utf-8"))
    return found


def adopt(root: Path, step: Step) -> str:
    """Record a network that was trained outside the graph, perhaps for fewer epochs.

    Returns:
        Why it cannot be: what of its configuration or data is another than the step's.
    """
    from nseg_lib.data.datasets import fingerprint

    folder = step.artefact.parent
    theirs, ours = trained_settings(folder), graph._flat(step.settings)
    other = [key for key, value in ours.items() if theirs.get(key) != value]
    if other and other != ["training.epochs"]:
        return ", ".join(f"{key}: {theirs.get(key)} → {ours[key]}" for key in other)
    data = next(iter(step.inputs())).rpartition(":")[0]
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    if run["data"] != fingerprint(root / data, sorted(run["data"])):
        return "it was trained on other data"
    record = _training_sidecar(step)
    record |= {"step": step.name, "finished": _now().isoformat(), "made_from": {}}
    write_atomic(step.sidecar, json.dumps(record))
    rewrite_record(root, step, taken_over=[f"{k}: {theirs.get(k)} of {ours[k]}" for k in other])
    step.begun.unlink(missing_ok=True)
    return ""


def trained_settings(folder: Path) -> dict[str, Any]:
    """A run's configuration by dotted keys, those that came later at their default."""
    from nseg_lib import config

    path = folder / "run.json"
    if not path.is_file():
        return {}
    run = json.loads(path.read_text(encoding="utf-8"))
    return graph._flat(config.parse(run["config"], str(path)).model_dump())


def rewrite_record(root: Path, step: Step, **extra: Any) -> None:
    """Declare that what is there is what would be made now; ``extra`` says why."""
    record = graph.read_record(step)
    record |= {"made_from": graph.made_from(root, step), "products": step.products(), **extra}
    write_atomic(step.sidecar, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


# --- what each kind of step does; torch is imported only where it is used -------------------------


def _make_data(job: Job) -> None:
    from nseg_lib.data import coco
    from nseg_lib.data.frozen import freeze_prompts

    source = job.profile.data if job.step.name == "data" else job.profile.photos
    folder = job.root / source.folder
    if source.source == "sample":
        from nseg_lib.sample import make_sample

        if graph.read_record(job.step) and "sample" in _request(folder):
            shutil.rmtree(folder)  # made by this graph from what is no longer so
        make_sample(folder, source.pictures, source.seed, max_side=source.max_side)
    else:
        _reduce_coco(job, source, folder)
    for name in coco.find_splits(folder):
        if name != "train":  # strokes to train on are drawn as they are needed
            (folder / "strokes" / f"{name}_{graph.RECIPE}_seed0.json").unlink(missing_ok=True)
            frozen = freeze_prompts(coco.load_split(folder, name), graph.RECIPE)
            job.say(f"{name}: {len(frozen.prompts)} strokes, {len(frozen.dropped)} too small")


def _request(folder: Path) -> dict[str, Any]:
    """What a finished data set says that it was made from; empty where it says nothing."""
    try:
        found = json.loads((folder / "reduction.json").read_text(encoding="utf-8"))["request"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _reduce_coco(job: Job, source: DataSource, folder: Path) -> None:
    from nseg_lib.data.reduce import reduce

    if job.coco is not None:
        reduce(job.coco, folder, source.pictures, source.seed, test_images=source.test_pictures)
        return
    request = _request(folder)
    held, wanted = (request.get("images"), request.get("seed")), (source.pictures, source.seed)
    if held != wanted:
        raise ConfigError(
            f"{source.folder}: profile '{job.profile.name}' wants {wanted[0]} pictures of COCO "
            f"with seed {wanted[1]}, there are {held[0] or 'none'}; "
            "add COCO=DIR, or remove the folder"
        )


def _train(job: Job) -> None:
    from nseg_lib import config
    from nseg_lib.training import unet as training

    profile, folder = job.profile, job.step.artefact.parent
    if not job.resumes and (folder / "run.json").exists():
        # Hours of work may be in it: the last one is kept, out of the way.
        aside = folder.with_name(f"{folder.name}.replaced")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for path in folder.iterdir():
            if path != job.step.begun:
                path.rename(aside / path.name)
        job.say(f"trained anew; the network before is in {aside.relative_to(job.root)}")
    _choose_gpu(job)
    training.train(
        config.parse(job.step.settings, job.step.name), job.root / profile.data.folder, folder,
        workers=profile.workers, accelerator=profile.accelerator, say=job.say,
    )  # fmt: skip


def _choose_gpu(job: Job) -> None:
    """Spread the jobs of one machine over its GPUs; a cluster gives each job its own."""
    count = pipeline._gpus()
    if count > 1 and not {"CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"} & os.environ.keys():
        names = [n for n in graph.build(job.root, job.profile) if n.startswith("train/")]
        of = job.step.name.replace("evaluate/", "train/")
        os.environ["CUDA_VISIBLE_DEVICES"] = str(names.index(of) % count if of in names else 0)


def _evaluate(job: Job) -> None:
    from nseg_lib.data import coco
    from nseg_lib.data.frozen import EvaluationSamples
    from nseg_lib.evaluation import methods
    from nseg_lib.evaluation.rows import evaluate

    profile, rows = job.profile, job.step.artefact
    if not job.resumes:
        rows.unlink(missing_ok=True)
    judged = methods.baselines(profile.scale)
    if job.step.name != "evaluate/baselines":
        judged = [methods.trained(_refiner(job, job.step.needs[-1]))]
    folder = job.root / profile.data.folder
    for name in (name for name in coco.find_splits(folder) if name in {"val", "test"}):
        samples = EvaluationSamples(coco.load_split(folder, name), graph.RECIPE, profile.scale)
        evaluate(judged, samples, rows, progress=False)
        job.note(f"{name}: {len(samples)} pictures")


def _refiner(job: Job, trained: str) -> Any:
    import torch

    from nseg_lib.refine import Refiner

    _choose_gpu(job)
    gpu = job.profile.accelerator != "cpu" and torch.cuda.is_available()
    weights = graph.build(job.root, job.profile)[trained].artefact
    return Refiner.load(weights, "cuda" if gpu else "cpu")


def _measure(job: Job) -> None:
    from nseg_lib.data import coco
    from reproduction import measure

    folder, target = job.root / job.profile.data.folder, job.step.artefact
    scale = job.profile.scale
    there = [name for name in ("train", "val", "test") if name in coco.find_splits(folder)]
    if job.step.name == "measure/pictures":
        splits = [coco.load_split(folder, name) for name in there]
        measure.measure_pictures(splits, target, scale=scale)
        return
    networks = {
        name.removeprefix("train/").partition("_seed")[0]: _refiner(job, name)
        for name in job.step.needs[1:]
    }
    split = coco.load_split(folder, there[-1])
    measure.measure_redraws(networks, split, target, scale=scale, say=job.note)


def _write_evidence(job: Job) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from reproduction import exhibits

    only = [exhibit.name for exhibit in exhibits.made_by("")]
    exhibits.write(job.root, job.profile.name, only)


def _run_chapter(job: Job) -> None:
    from reproduction import notebooks

    executed = job.step.artefact
    notebooks.run(
        job.root / "notebooks" / executed.name,
        executed,
        job.step.settings,
        limit=60 * job.profile.limit(job.step.name),
        cwd=job.root,
        failed=job.out / "failed",
        say=job.note,
    )


def _write_page(job: Job) -> None:
    from reproduction.page import write_page

    write_page(job.root, job.profile)


BODIES = {
    "data": _make_data,
    "train": _train,
    "evaluate": _evaluate,
    "measure": _measure,
    "evidence": _write_evidence,
    "chapter": _run_chapter,
    "page": _write_page,
}


def main(arguments: list[str]) -> int:
    """Do one step; an error is one line on the console, all of it in the log."""
    profile_name, name, models, coco = (*arguments, "", "")[:4]
    root = Path.cwd()
    profile = profiles.load(root, profile_name, [m for m in models.split(",") if m] or None)
    job = Job(root, profile, graph.build(root, profile)[name], Path(coco) if coco else None)
    log = pipeline.log_path(root, profile, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    job.console = os.fdopen(os.dup(1), "w")
    with log.open("a", encoding="utf-8") as file:
        # Whatever libraries print goes to the log: the console stays readable side by side.
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            run_step(job)
        except (ValueError, TypeError, OSError) as error:
            job.say(f"FAILED: {error}")
            return 1
        except Exception as error:
            import traceback

            traceback.print_exc()
            where = log.relative_to(root)
            first = next(iter(str(error).splitlines()), "")
            job.say(f"FAILED: {type(error).__name__}: {first}; see {where}")
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
