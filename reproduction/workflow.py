"""Start Snakemake on ``workflow/Snakefile``: do a profile's steps, or say how each of them stands.

Snakemake decides which steps are stale, runs them side by side, here or on a cluster, and keeps two
runs from writing the same files. What it remembers of a step lies in ``.snakemake``, which does not
travel with a checkout; there the sidecars say what things were made from, and Snakemake is told so
before it decides (:func:`_adopt`).
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nseg_lib.config import ConfigError
from reproduction import ingredients, notebooks, profiles, steps
from reproduction.profiles import Profile

Say = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """One use of Snakemake: the project, the profile, and what a user may choose."""

    root: Path
    profile: Profile
    models: str = ""
    coco: Path | None = None
    cores: int | None = None
    slurm: bool = False

    @property
    def page(self) -> Path:
        """The page that a profile ends with."""
        return self.root / "reports" / self.profile.name / "index.html"

    def command(self, *words: str, mode: str = "run", slurm: bool = False) -> list[str]:
        """A command line of Snakemake; its jobs run on a cluster where ``slurm`` is set."""
        config = {"profile": self.profile.name, "models": self.models, "mode": mode}
        config |= {"coco": str(self.coco.resolve())} if self.coco else {}
        return [
            *(sys.executable, "-m", "snakemake", *words),
            *("--snakefile", str(self.root / "workflow" / "Snakefile")),
            *("--directory", str(self.root), "--keep-going", "--rerun-incomplete"),
            *("--rerun-triggers", "mtime", "params", "--max-checksum-file-size", "1GB"),
            *("--config", *(f"{key}={value}" for key, value in config.items() if value)),
            *self._where(slurm),
        ]

    def _where(self, slurm: bool) -> list[str]:
        if slurm:
            return ["--profile", str(self.root / "workflow" / "slurm")]
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        cores = self.cores or usable or os.cpu_count() or 1
        gpus = self.profile.jobs_per_gpu * max(1, steps.gpus())
        return ["--cores", str(cores), "--resources", f"gpu={gpus}"]

    @property
    def environment(self) -> dict[str, str]:
        """This process's, with the profile's number of threads for a job."""
        threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        return {**os.environ, **dict.fromkeys(threads, str(self.profile.threads))}


def reproduce(
    root: Path,
    name: str,
    *,
    models: list[str] | None = None,
    coco: Path | None = None,
    cores: int | None = None,
    slurm: bool = False,
    dry_run: bool = False,
    keep_trained: bool = False,
    say: Say = print,
) -> bool:
    """Do all steps of a profile that are missing or stale, and say which and why.

    Args:
        root: the project's folder.
        name: of the profile.
        models: in place of the profile's.
        coco: a folder in COCO's layout, for profiles that reduce it; not needed once reduced.
        cores: how many to use; by default those this process may.
        slurm: start the jobs with ``workflow/slurm/config.yaml`` on a cluster.
        dry_run: only say what would be done, with Snakemake's own list of jobs.
        keep_trained: record trained networks as they are, though the library has changed since,
            where their configuration and data fit; their sidecars name what changed. Nothing is
            trained anew that was to be kept and cannot be.
        say: takes lines for the console.

    Returns:
        Whether all is done.

    Raises:
        ConfigError: no such profile or model, COCO is needed and not given, or another run is at
            work on the same files.
    """
    profile = profiles.load(root, name, models)
    run = Run(root, profile, ",".join(models or ()), coco, cores, slurm)
    for problem in notebooks.check(root):
        say(f"{problem}; edit the script, then: python -m reproduction.notebooks sync")
    _check_coco(run)
    with _running(run):
        _adopt(run)
        if keep_trained and not dry_run:
            if data := [step for step in _to_do(run) if step in ("data", "photos")]:
                _start(run, *(str(_sums(run, step)) for step in data))
            if lost := _keep_trained(run, say):
                say(f"nothing was trained: without --keep-trained, {', '.join(lost)} are made anew")
                return False
            _adopt(run)
        todo = _to_do(run)
        if not todo:
            count = len(ingredients.names(root, profile))
            say(f"nothing to do: all {count} steps of '{name}' are done\n{run.page}")
            return True
        say(f"{len(todo)} of {len(ingredients.names(root, profile))} steps of '{name}' to do:")
        for step, (state, why) in todo.items():
            say(f"  {step}: {state} ({_short(why)})")
        if dry_run:
            listing = run.command("--dry-run", slurm=slurm)
            return subprocess.run(listing, cwd=root, check=False).returncode == 0
        if _start(run):
            say(str(run.page))
            return True
        _adopt(run)
        left = _to_do(run)
        say(f"not done: {', '.join(left)}" if left else "all steps ran, but Snakemake failed")
        logs = steps.log_path(root, profile, "snakemake").parent.relative_to(root)
        say(f"logs: {logs}; the same command goes on from here")
        return False


def status(root: Path, name: str, models: list[str] | None = None) -> dict[str, tuple[str, str]]:
    """Every step of a profile: ``done``, ``stale`` or ``missing``, and why."""
    profile = profiles.load(root, name, models)
    run = Run(root, profile, ",".join(models or ()))
    _adopt(run)
    todo = _to_do(run, mode="status")
    return {step: todo.get(step, ("done", "")) for step in ingredients.names(root, profile)}


# --- what Snakemake says --------------------------------------------------------------------------


def _to_do(run: Run, mode: str = "run") -> dict[str, tuple[str, str]]:
    """Steps that Snakemake would run: ``stale`` or ``missing``, and why in plain words."""
    said = _ask(run, run.command("--dry-run", mode=mode))
    found: dict[str, tuple[str, str]] = {}
    for block in re.split(r"\n(?=\[)", said):
        log = re.search(r"^    log: \S*/logs/(\S+)\.log", block, re.MULTILINE)
        reason = re.search(r"^    reason: (.*)", block, re.MULTILINE)
        if log and reason:
            found[log[1].replace("_", "/", 1)] = _explain(run, reason[1])
    names = ingredients.names(run.root, run.profile)
    return {step: found[step] for step in names if step in found}


def _ask(run: Run, command: list[str]) -> str:
    """What Snakemake prints.

    Raises:
        ConfigError: it failed; one line.
    """
    done = subprocess.run(
        command, cwd=run.root, env=run.environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ConfigError(f"workflow/Snakefile: {_last_line(done.stderr + done.stdout)}")
    return done.stdout + done.stderr


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "Error" in line), lines[-1] if lines else "no answer")


REASONS = (
    "Missing output files", "Updated input files", "Input files updated by another job",
    "Params have changed", "Code has changed", "Set of input files has changed",
    "Forced execution", "Incomplete", "Unfinished",
)  # fmt: skip
"""How each of Snakemake's reasons begins, where it gives several for one step."""


def _explain(run: Run, reason: str) -> tuple[str, str]:
    """One of Snakemake's reasons in plain words, and whether anything is there."""
    why: list[str] = []
    # Settings may hold a "; " of their own, so a reason ends only where the next one begins.
    for part in re.split(rf"; (?={'|'.join(REASONS)})", reason):
        kind, _, files = part.partition(": ")
        first, *more = files.split(", ")
        shown = first + (f" and {len(more)} more" if more else "")
        if kind == "Missing output files":
            target = run.root / first
            unfinished = [path.with_name(f"{path.name}.begun") for path in (target, target.parent)]
            begun = any(path.exists() for path in unfinished)
            return "missing", "begun, not finished" if begun else f"not there: {shown}"
        if kind == "Updated input files":
            why.append(f"{shown} changed")
        elif kind == "Input files updated by another job":
            why.append(f"follows from {shown}")
        elif kind.startswith("Params have changed"):
            why += _changes(part)
        else:
            why.append(part)
    return "stale", "; ".join(why)


def _changes(reason: str) -> list[str]:
    """What differs between the two states of ``made_from`` that Snakemake prints."""
    _, _, both = reason.partition("before: ")
    try:
        before, now = (json.loads(ast.literal_eval(text)) for text in both.strip().split(" now: "))
    except (ValueError, SyntaxError):  # recorded by another version of the workflow
        return ["what it was made from is not known"]
    if not before["code"]:
        return ["there, but not recorded"]
    why = [f"{path} changed since" for path in before.get("other", ())]
    for path in sorted(before["code"].keys() | now["code"].keys()):
        old, new = before["code"].get(path), now["code"].get(path)
        if old != new:
            verb = "changed" if old and new else "is new" if new else "is not used any more"
            why.append(f"{path} {verb}")
    for key in sorted(before["settings"].keys() | now["settings"].keys()):
        old, new = (part["settings"].get(key, "unset") for part in (before, now))
        if old != new:
            why.append(f"{key}: {old} → {new}")
    return why


def _short(why: str) -> str:
    parts = why.split("; ")
    return "; ".join(parts[:4]) + (f" and {len(parts) - 4} more" if len(parts) > 4 else "")


# --- what Snakemake is told -----------------------------------------------------------------------


def _marker(run: Run) -> Path:
    """A file as old as the last sidecar that Snakemake knows of; none after a run that failed.

    Snakemake forgets what a failing step's outputs were made from, though it puts them back.
    """
    return run.root / ".snakemake" / f"adopted_{run.profile.name}"


def _adopt(run: Run) -> None:
    """Record everything that is there with Snakemake, as made from what its sidecar says.

    Only where sidecars are newer than the last time, as in a fresh checkout, or a run failed.
    """
    report, runs = (run.root / folder / run.profile.name for folder in ("reports", "runs"))
    found = [*report.glob("*/*.json"), *runs.glob("*/seed*/*.json")]
    found += [ingredients.sidecar(_sums(run, step)) for step in ("data", "photos")]
    dates = [path.stat().st_mtime_ns for path in found if path.is_file()]
    marker = _marker(run)
    known = marker.stat().st_mtime_ns if marker.is_file() else 0
    if dates and max(dates) > known:
        _ask(run, run.command("--touch", "--forceall", "--nolock", mode="adopt"))
        marker.touch()


def _sums(run: Run, step: str) -> Path:
    source = run.profile.data if step == "data" else run.profile.photos
    return run.root / source.folder / ingredients.SUMS


def _keep_trained(run: Run, say: Say) -> list[str]:
    """Declare that stale networks are what would be trained now, and list those that do not fit.

    The sidecar keeps why Snakemake would have trained them again.
    """
    lost = []
    for step, (_, why) in _to_do(run).items():
        kind, _, network = step.partition("/")
        model, _, seed = network.rpartition("_seed")
        folder = run.root / "runs" / run.profile.name / model / f"seed{seed}"
        artefact = folder / "weights.safetensors"
        if kind != "train" or not artefact.is_file():
            continue
        now = ingredients.made_from(run.root, run.profile, step)
        if other := _misfit(run, folder, now["settings"]):
            say(f"cannot keep {step}: {other}")
            lost.append(step)
            continue
        record = json.loads(ingredients.sidecar(artefact).read_bytes())
        inputs = ingredients.hash_files(run.root, [_sums(run, "data")])
        kept = [*record.get("kept_despite", []), *why.split("; ")]
        record |= {"step": step, "kept_despite": [*dict.fromkeys(kept)]}
        record |= {"made_from": now | {"inputs": inputs}}
        products = [artefact, folder / "log.csv", folder / "steps.csv"]
        record |= {"products": ingredients.hash_files(run.root, products)}
        ingredients.write_record(artefact, record)
        say(f"kept {step} though {why}")
    return lost


def _misfit(run: Run, folder: Path, wanted: Mapping[str, Any]) -> str:
    """What of a run's configuration or data is not what the profile asks for; empty if all fits."""
    from nseg_lib import config
    from nseg_lib.data.datasets import fingerprint

    path = folder / "run.json"
    if not path.is_file():
        return f"{path.relative_to(run.root)}: no such file"
    theirs = json.loads(path.read_bytes())
    # Settings that came later are at their default.
    settings = ingredients.flat(config.parse(theirs["config"], str(path)).model_dump(mode="json"))
    other = [key for key, value in wanted.items() if settings.get(key) != value]
    if other:
        return ", ".join(f"{key}: {settings.get(key)} → {wanted[key]}" for key in other)
    data = run.root / run.profile.data.folder
    same = theirs["data"] == fingerprint(data, sorted(theirs["data"]))
    return "" if same else "it was trained on other data"


def _check_coco(run: Run) -> None:
    """Stop before anything starts where COCO is to be reduced and nobody said where it is."""
    if run.coco is not None and not run.coco.is_dir():
        raise ConfigError(f"{run.coco}: no such folder")
    for source in (run.profile.data, run.profile.photos):
        there = (run.root / source.folder / "reduction.json").is_file()
        if source.source == "coco" and not (run.coco or there):
            raise ConfigError(
                f"profile '{run.profile.name}' needs COCO: add COCO=DIR (nseg reproduce --coco "
                f"DIR), or fetch {source.pictures} of its pictures with 'nseg data fetch'"
            )


# --- running --------------------------------------------------------------------------------------


@contextmanager
def _running(run: Run) -> Iterator[None]:
    """Note that a run is under way; free what a run that was killed has left locked.

    The system takes back the lock of a process that is gone, Snakemake's own stays.
    """
    folder = run.root / ".snakemake"
    folder.mkdir(exist_ok=True)
    with (folder / "running").open("w") as file:
        try:
            import fcntl
        except ImportError:  # Windows: a lock that was left is freed by hand, snakemake --unlock
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass  # another run is alive; it is in our way only if it works on the same files
        else:
            if any((folder / "locks").glob("*")):
                _ask(run, run.command("--unlock"))
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def _start(run: Run, *targets: str) -> bool:
    """Run Snakemake; its own words go to its log, those of the steps to the console.

    Raises:
        ConfigError: another run is at work on the same files.
        SystemExit: this process was told to end; all jobs are ended first.
    """
    log = steps.log_path(run.root, run.profile, "snakemake")
    log.parent.mkdir(parents=True, exist_ok=True)
    # Snakemake puts back what a failing job was to replace, but not always when it is ended in the
    # middle of it. So a second link to each finished file is made before it starts.
    finished = _finished(run)
    kept = run.root / ".snakemake" / f"kept-{os.getpid()}"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for number, path in enumerate(finished):
        try:
            os.link(path, kept / str(number))
        except OSError:  # a file system without hard links
            shutil.copy2(path, kept / str(number))

    def stop(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    _marker(run).unlink(missing_ok=True)
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    with log.open("a") as stream:
        said_before = stream.tell()
        # In a session of its own, so that ending it ends every job and nothing else.
        process = subprocess.Popen(
            run.command(*targets, slurm=run.slurm),
            cwd=run.root,
            env=run.environment,
            stderr=stream,
            start_new_session=True,
        )
        try:
            code = process.wait()
        except SystemExit:
            _end(process)
            for number, path in enumerate(finished):
                if not path.exists():
                    shutil.move(kept / str(number), path)
            raise
        finally:
            shutil.rmtree(kept, ignore_errors=True)
            for number, handler in before.items():
                signal.signal(number, handler)
    if code and b"cannot be locked" in log.read_bytes()[said_before:]:
        raise ConfigError(
            f"another 'nseg reproduce' is at work on files of '{run.profile.name}'; "
            "wait for it, or end it"
        )
    if code == 0:
        _marker(run).touch()
    return code == 0


def _finished(run: Run) -> list[Path]:
    """The weights and the report's files that are there, which no ended run may lose."""
    weights = (run.root / "runs" / run.profile.name).glob("*/seed*[0-9]/weights.safetensors")
    report = run.root / "reports" / run.profile.name
    made = [*report.glob("*/*"), *report.glob("*.*")]
    return [path for path in (*weights, *made) if path.is_file()]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End Snakemake and its jobs: first so that they can clean up, then for good."""
    for number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return
