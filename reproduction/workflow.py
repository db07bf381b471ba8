"""Do a profile's steps with Snakemake, or say how each of them stands.

A step is stale if its record (:mod:`reproduction.ingredients`) names other code, settings or files
than it would be made from now. Snakemake, started on ``workflow/Snakefile``, is told which these
are; it adds what is missing and what follows, and runs all of it, here or on a cluster. What
Snakemake remembers in ``.snakemake`` decides nothing but whether a step has new inputs, so a fresh
checkout, a copied folder and a project that ran for weeks are judged alike.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nseg_lib import config
from nseg_lib.config import ConfigError
from nseg_lib.console import say
from nseg_lib.files import write_atomic
from nseg_lib.parsing import dotted
from reproduction import cluster, ingredients, notebooks, profiles, steps
from reproduction.profiles import Profile

State = tuple[str, str]
"""``done``, ``stale`` or ``missing``, and why."""
DONE = ("done", "")

CHOSEN = Path(".snakemake") / "nseg.json"
"""What ``workflow/Snakefile`` is told."""

PICTURE_MB, NETWORK_MB = 1, 200
"""Disk that a picture and a training take, at most."""


@dataclass(frozen=True)
class Run:
    """One use of Snakemake: the project, the profile, and what a user may choose."""

    root: Path
    profile: Profile
    coco: Path | None
    cores: int | None
    slurm: bool

    @property
    def made(self) -> dict[str, Path]:
        """Step → the first file it makes, from the root."""
        return ingredients.artefacts(self.root, self.profile)

    def snakemake(self, states: dict[str, State], *words: str) -> dict[str, Any]:
        """The arguments of a process of Snakemake that also makes anew what is stale."""
        if self.slurm:
            where = ["--profile", "workflow/slurm"]
            where += ["--slurm-jobname-prefix", cluster.prefix(self.root)]
        else:
            usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
            gpus = self.profile.jobs_per_gpu * max(1, steps.gpus())
            where = ["--cores", str(self.cores or usable or os.cpu_count() or 1)]
            where += ["--resources", f"gpu={gpus}"]
        stale = [step for step, (state, _) in states.items() if state == "stale"]
        threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        return {
            "args": [
                *(sys.executable, "-m", "snakemake", *words, "--snakefile", "workflow/Snakefile"),
                *("--configfile", str(CHOSEN), "--keep-going", "--rerun-incomplete"),
                *("--rerun-triggers", "input", "--max-checksum-file-size", "1GB"),
                "--nolock",  # :func:`_alone` keeps the others out
                *(("--forcerun", *(self.made[step].as_posix() for step in stale)) if stale else ()),
                *where,
            ],
            "cwd": self.root,
            "env": {
                **os.environ,
                **dict.fromkeys(threads, str(self.profile.threads)),
                ingredients.STARTER: str(os.getpid()),
            },
            "stdout": subprocess.PIPE,
            "text": True,
        }


def reproduce(
    root: Path,
    name: str,
    *,
    only: Mapping[str, Any] | None = None,
    coco: Path | None = None,
    cores: int | None = None,
    slurm: bool = False,
    dry_run: bool = False,
    keep_trained: bool = False,
) -> bool:
    """Do all steps of a profile that are missing or stale, and say which and why.

    Args:
        root: the project's folder.
        name: of the profile.
        only: ``models`` or ``seeds`` in place of the profile's.
        coco: a folder in COCO's layout, for profiles that reduce it; not needed once reduced.
        cores: how many to use; by default those this process may.
        slurm: start the jobs with ``workflow/slurm/config.yaml`` on a cluster.
        dry_run: only say what would be done, with Snakemake's own list of jobs.
        keep_trained: record trained networks as they are, though the library has changed since,
            where their configuration and data fit; where they don't, nothing is trained anew.

    Returns:
        Whether all is done.

    Raises:
        ConfigError: no such profile or model, COCO is needed and not given or cannot be read, the
            disk is too full, or another run is at work in this project.
        SystemExit: this process was told to end; all jobs are ended first.
    """
    profile = profiles.load(root, name, only)
    run = Run(root, profile, coco, cores, slurm)
    page = root / run.made["page"]
    with _alone(root) as lock:
        # In a file, because Snakemake reads values on its command line as YAML: "a #1", "b: c".
        reduced = str(coco.resolve() if coco else "")
        chosen = {"profile": name, "only": only or {}, "coco": reduced}
        write_atomic(root / CHOSEN, json.dumps(chosen))
        for problem in notebooks.check(root, edited=True):
            say(f"{problem}; edit the script, then: python -m reproduction.notebooks sync")
        if slurm and not dry_run:
            cluster.cancel_jobs(root)  # those of a run that was killed and could not do so itself
        states = status(root, name, only)
        _check_inputs(run, states)
        if keep_trained and not dry_run:
            if lost := _keep_trained(run, states):
                say(f"nothing was trained: without --keep-trained, {', '.join(lost)} are made anew")
                return False
            states = status(root, name, only)
        todo, said = _to_do(run, states)
        if not todo:
            say(f"nothing to do: all {len(run.made)} steps of '{name}' are done")
            say(str(page))
            return True
        say(f"{len(todo)} of {len(run.made)} steps of '{name}' to do:")
        for step, (state, why) in todo.items():
            first, more = why.split("; ")[:4], len(why.split("; ")[4:])
            say(f"  {step}: {state} ({'; '.join(first)}{f' and {more} more' if more else ''})")
        if dry_run:
            for line in said.splitlines():
                say(line)
            return True
        if _start(run, states, lock, len(todo)):
            say(str(page))
            return True
        left, _ = _to_do(run, status(root, name, only))
        say(f"not done: {', '.join(left)}" if left else "all steps ran, but Snakemake failed")
        say(f"logs: reports/{name}/logs; the same command goes on from here")
        return False


def status(root: Path, name: str, only: Mapping[str, Any] | None = None) -> dict[str, State]:
    """Every step of a profile: ``done``, ``stale`` or ``missing``, and why.

    Each is judged by itself: in a fresh checkout the rows of a network are done though the network
    is missing. A step that was made from files of a stale one is stale too.
    """
    profile = profiles.load(root, name, only)
    states: dict[str, State] = {}
    stale: set[str] = set()
    for step, artefact in ingredients.artefacts(root, profile).items():
        record = ingredients.read_record(root / artefact)
        products = [artefact.as_posix(), *record.get("products", {})]
        needed = products[:1] if step.startswith("train/") else products  # not a training's logs
        gone = [path for path in needed if not (root / path).is_file()]
        if gone:
            begun = (f"{root / path}.begun" for path in (artefact, artefact.parent))
            unfinished = any(map(os.path.exists, begun))
            why = "begun, not finished" if unfinished else f"not there: {gone[0]}"
            states[step] = "missing", why
            continue
        changed = ingredients.changes(root, record, ingredients.made_from(root, profile, step))
        inputs = record.get("made_from", {}).get("inputs", {})
        changed += [f"follows from {path}" for path in inputs if path in stale][:1]
        states[step] = ("stale", "; ".join(changed)) if changed else DONE
        if changed:
            stale.update(products)
    return states


# --- what there is to do --------------------------------------------------------------------------


def _to_do(run: Run, states: dict[str, State]) -> tuple[dict[str, State], str]:
    """What Snakemake would do: steps that are not done, and what follows from them; its own words.

    Raises:
        ConfigError: Snakemake failed; one line.
    """
    asked = subprocess.run(**run.snakemake(states, "--dry-run"), stderr=subprocess.STDOUT)
    said = asked.stdout
    if asked.returncode:
        lines = [line for line in said.splitlines() if line.strip()] or ["no answer"]
        problem = next((line for line in lines if "Error" in line), lines[-1])
        raise ConfigError(f"workflow/Snakefile: {problem}")
    reasons = {}
    for block in re.split(r"\n(?=\[)", said):
        log = re.search(r"^    log: \S*/logs/(\S+)\.log", block, re.MULTILINE)
        reason = re.search(r"^    reason: (.*)", block, re.MULTILINE)
        if log and reason:
            reasons[log[1].replace("_", "/", 1)] = reason[1]
    todo = {}
    for step in (step for step in states if step in reasons):
        todo[step] = states[step]
        if states[step] == DONE:
            kind, _, paths = reasons[step].partition(": ")
            follows = kind == "Input files updated by another job"
            first = paths.partition(", ")[0]
            todo[step] = "stale", f"follows from {first}" if follows else reasons[step]
    return todo, said


def _check_inputs(run: Run, states: dict[str, State]) -> None:
    """Stop before the first step where a later one could not be done."""
    from nseg_lib.data import coco

    if run.coco is not None and not run.coco.is_dir():
        raise ConfigError(f"{run.coco}: no such folder")
    needed = 0
    for kind in ("data", "photos"):
        source = getattr(run.profile, kind)
        if states.get(kind, DONE) == DONE:
            continue
        needed += source.pictures * PICTURE_MB
        if source.source == "coco" and run.coco:
            coco.choose_split(run.coco)  # is there what to reduce?
        elif source.source == "coco" and not (run.root / source.folder / "reduction.json").exists():
            raise ConfigError(
                f"profile '{run.profile.name}' needs COCO: add COCO=DIR (nseg reproduce --coco "
                f"DIR), or fetch {source.pictures} of its pictures with 'nseg data fetch'"
            )
    trainings = [step for step in states if step.startswith("train/")]
    needed += NETWORK_MB * sum(states[step] != DONE for step in trainings)
    free = shutil.disk_usage(run.root).free // 10**6
    if free < needed:
        raise ConfigError(f"{run.root}: {free:,} MB free on this disk, about {needed:,} are needed")


def _keep_trained(run: Run, states: dict[str, State]) -> list[str]:
    """Declare that networks are as they would be trained now, where only the code has changed.

    The sidecar keeps why they would have been trained again.

    Returns:
        The steps of those that do not fit, because their settings or files are others.
    """
    lost = []
    for step, (state, why) in states.items():
        artefact = run.root / run.made[step]
        record = ingredients.read_record(artefact)
        # A network without a record was trained by hand; its step takes it as it is.
        if state != "stale" or not step.startswith("train/") or not record:
            continue
        now = ingredients.made_from(run.root, run.profile, step)
        # Settings that came later are at their default.
        model = step.removeprefix("train/").rpartition("_seed")[0]
        defaults = dotted(config.load(model).model_dump(mode="json"))
        before = {**record["made_from"], "code": now["code"]}
        before["settings"] = {**defaults, **before["settings"]}
        if other := ingredients.changes(run.root, {**record, "made_from": before}, now):
            say(f"cannot keep {step}: {'; '.join(other)}")
            lost.append(step)
            continue
        record.setdefault("trained_from", record["made_from"])  # what it was, before it was kept
        kept = dict.fromkeys([*record.get("kept_despite", []), *why.split("; ")])
        record |= {"kept_despite": [*kept], "made_from": {**before, **now}}
        ingredients.write_record(artefact, record)
        say(f"kept {step} though {why}")
    return lost


# --- running --------------------------------------------------------------------------------------

PATIENCE = 15.0
"""Seconds that a run waits for another one to end."""


@contextmanager
def _alone(root: Path) -> Iterator[int]:
    """Be the only run in a project; the lock's file descriptor, for Snakemake to hold as well.

    The system takes the lock back when the last process that holds it is gone. The jobs of a run
    that was killed need some seconds to end, so this waits for them.

    Raises:
        ConfigError: another run is at work.
    """
    (root / ".snakemake").mkdir(exist_ok=True)
    with (root / ".snakemake" / "running").open("w") as file:
        deadline = time.monotonic() + PATIENCE
        while sys.platform != "win32":  # there, nothing keeps a second run out
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise ConfigError(
                        f"{root}: another 'nseg reproduce' is at work in this project; "
                        "wait for it, or end it"
                    ) from None
                time.sleep(0.2)
        yield file.fileno()


def _start(run: Run, states: dict[str, State], lock: int, count: int) -> bool:
    """Run Snakemake; its own words go to its log.

    The console gets the steps' lines, with how many of ``count`` are done.

    Raises:
        SystemExit: this process was told to end; all jobs are ended first.
    """
    log = run.root / "reports" / run.profile.name / "logs" / "snakemake.log"
    log.parent.mkdir(parents=True, exist_ok=True)

    def stop(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    with log.open("a") as stream:
        # In a session of its own, so that ending it ends every job and nothing else.
        process = subprocess.Popen(
            **run.snakemake(states), stderr=subprocess.STDOUT if run.slurm else stream,
            errors="replace", start_new_session=True, pass_fds=[lock],
            preexec_fn=cluster.end_with_parent if run.slurm else None,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            finished = 0
            for line in cluster.follow(process.stdout, stream) if run.slurm else process.stdout:
                said = line.rstrip()
                over = re.fullmatch(r"\S+: (done.*|unchanged)", said)
                finished += bool(over)
                say(f"{said} ({finished} of {count})" if over else said)
            return process.wait() == 0
        except BaseException:
            _end(process)
            if run.slurm:
                cluster.cancel_jobs(run.root)
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _end(process: subprocess.Popen[str]) -> None:
    """End Snakemake at once, so that it does nothing to any file, then its jobs."""
    process.kill()
    process.wait()
    for number in (signal.SIGTERM, signal.SIGKILL):  # so that they can clean up, then for good
        try:
            os.killpg(process.pid, number)
            for _ in range(50):
                time.sleep(0.1)
                os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
