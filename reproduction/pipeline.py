"""Make everything of a profile: which steps are to be done, and doing one of them.

``nseg reproduce`` compares all steps with what is there (:mod:`reproduction.graph`) and hands those
that are not done to Snakemake, which starts each as a process of its own, in order, side by side
where cores allow, here or on a cluster. That process is :func:`run_step`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nseg_lib.config import ConfigError
from reproduction import graph, notebooks, profiles
from reproduction.graph import State, Step
from reproduction.profiles import Profile

Say = Callable[[str], None]

MARKS = ".steps"
"""Folder of a report with an empty file for each step that Snakemake need not start."""


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
        keep_trained: record trained networks whose configuration and data fit as they are,
            though the library has changed since; their sidecars name what changed. One that was
            trained elsewhere, or ended after fewer epochs, is taken over; the list of runs says
            that it was cut short. Nothing is trained anew that was to be kept and cannot be.
        say: takes lines for the console.

    Returns:
        Whether all is done.

    Raises:
        ConfigError: no such profile or model, or COCO is needed and not given.
    """
    profile = profiles.load(root, name, models)
    for problem in notebooks.check(root):
        say(f"{problem}; edit the script, then: python -m reproduction.notebooks sync")
    steps = graph.build(root, profile)
    if keep_trained and not dry_run:
        if not _make_data(root, profile, steps, models, coco):
            return False
        if lost := _keep_trained(root, steps, say):
            say(f"nothing was trained: without --keep-trained, {', '.join(lost)} are made anew")
            return False
    states = graph.plan(root, steps)
    todo = {step: state for step, state in states.items() if state.kind != "done"}
    page = graph_page(root, profile)
    if not todo:
        say(f"nothing to do: all {len(steps)} steps of '{name}' are done\n{page}")
        return True
    _check_coco(root, profile, coco, states)
    say(f"{len(todo)} of {len(steps)} steps of '{name}' to do:")
    for step, state in todo.items():
        say(f"  {step}: {_because(state)}")
    _mark(root, profile, steps, states)
    command = snakemake_command(root, profile, models, coco, cores, slurm, dry_run)
    log = log_path(root, profile, "snakemake")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as stream:
        # The steps' own lines come through standard output, Snakemake's go to its log.
        quiet = None if dry_run else stream
        try:
            code = subprocess.run(
                command, cwd=root, env=_environment(profile), stderr=quiet, check=False
            ).returncode
        except KeyboardInterrupt:
            code = 130
    if dry_run:
        return code == 0
    left = {n: s for n, s in graph.plan(root, steps).items() if s.kind != "done"}
    if left and code == 0:
        say(f"all steps ran, but something changed meanwhile: {len(left)} are to be done again")
    elif left:
        say(f"not done: {', '.join(left)}")
        say(f"logs: {_shown(root, log.parent)}; the same command goes on from here")
    else:
        say(str(page))
    return not left


def status(root: Path, name: str, models: list[str] | None = None) -> list[tuple[str, State]]:
    """Every step of a profile with its state."""
    steps = graph.build(root, profiles.load(root, name, models))
    return list(graph.plan(root, steps).items())


def graph_page(root: Path, profile: Profile) -> Path:
    """The page that a profile ends with."""
    return root / "reports" / profile.name / "index.html"


def mark_path(root: Path, profile: Profile, step: str) -> Path:
    """Snakemake's output of a step: an empty file."""
    return root / "reports" / profile.name / MARKS / step


def log_path(root: Path, profile: Profile, step: str) -> Path:
    """Where a step's process writes what happens."""
    return root / "reports" / profile.name / "logs" / f"{step.replace('/', '_')}.log"


def snakemake_command(
    root: Path,
    profile: Profile,
    models: list[str] | None = None,
    coco: Path | None = None,
    cores: int | None = None,
    slurm: bool = False,
    dry_run: bool = False,
) -> list[str]:
    """The command line that starts Snakemake on ``workflow/Snakefile``."""
    config = [f"profile={profile.name}"]
    config += [f"models={','.join(models)}"] if models else []
    config += [f"coco={Path(coco).resolve()}"] if coco else []
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "workflow/Snakefile")]
    # Steps lock themselves, say what went wrong, and judge by content what is to be done.
    command += ["--directory", str(root), "--nolock", "--keep-going", "--rerun-incomplete"]
    command += ["--rerun-triggers", "mtime", "--ignore-incomplete", "--drop-metadata"]
    command += ["--config", *config]
    if slurm:
        command += ["--profile", str(root / "workflow" / "slurm")]
    else:
        count = cores or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
        command += ["--cores", str(count or os.cpu_count() or 1)]
        command += ["--resources", f"gpu={profile.jobs_per_gpu * max(1, _gpus())}"]
    return [*command, *(["--dry-run"] if dry_run else [])]


def step_command(
    profile: Profile, name: str, models: Sequence[str] = (), coco: str | Path = ""
) -> list[str]:
    """The command line that does one step, in a process of its own."""
    words = [profile.name, name, ",".join(models), str(coco)]
    return [sys.executable, "-m", "reproduction.steps", *words]


def _environment(profile: Profile) -> dict[str, str]:
    threads = str(profile.threads)
    quick = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    return {**os.environ, **quick}


def _gpus() -> int:
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    return len(listing.stdout.splitlines())


def _because(state: State) -> str:
    shown = ", ".join(state.why[:4]) + (f" and {len(state.why) - 4} more" * (len(state.why) > 4))
    return f"{state.kind} ({shown})"


def _shown(root: Path, path: Path) -> str:
    return str(path.relative_to(root))


def _check_coco(
    root: Path, profile: Profile, coco: Path | None, states: Mapping[str, State]
) -> None:
    """Stop before anything starts where COCO is to be reduced and nobody said where it is."""
    source = profile.data
    there = (root / source.folder / "reduction.json").is_file()
    if source.source == "coco" and states["data"].kind != "done" and not (coco or there):
        raise ConfigError(
            f"profile '{profile.name}' needs COCO: add COCO=DIR (nseg reproduce --coco DIR), "
            f"or fetch {source.pictures} of its pictures with 'nseg data fetch'"
        )
    if coco is not None and not Path(coco).is_dir():
        raise ConfigError(f"{coco}: no such folder")


def _mark(
    root: Path, profile: Profile, steps: Mapping[str, Step], states: Mapping[str, State]
) -> None:
    """Tell Snakemake what is done: it starts exactly the steps without a mark."""
    for name in steps:
        mark = mark_path(root, profile, name)
        if states[name].kind == "done":
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        else:
            mark.unlink(missing_ok=True)


def _make_data(
    root: Path,
    profile: Profile,
    steps: Mapping[str, Step],
    models: list[str] | None,
    coco: Path | None,
) -> bool:
    """Make the data that are missing or stale, before anything is held against them."""
    states = graph.plan(root, steps)
    _check_coco(root, profile, coco, states)
    for name in [n for n, step in steps.items() if step.kind == "data"]:
        if states[name].kind != "done":
            command = step_command(profile, name, models or (), coco.resolve() if coco else "")
            if subprocess.run(command, cwd=root, env=_environment(profile), check=False).returncode:
                return False
    return True


def _keep_trained(root: Path, steps: Mapping[str, Step], say: Say) -> list[str]:
    """Record what fits as it is; the steps that were trained here and do not fit."""
    from reproduction.steps import adopt, rewrite_record, trained_settings

    lost = []
    for step in steps.values():
        state = graph.state(root, step)
        if step.kind == "train" and state.kind == "missing" and step.artefact.is_file():
            other = adopt(root, step)
            say(f"cannot take over {step.name}: {other}" if other else f"took over {step.name}")
            lost += [step.name] * bool(other)
        elif step.kind == "train" and state.kind == "stale":
            theirs = trained_settings(step.artefact.parent).items()
            added = [f"{k}: unset → {v}" for k, v in theirs]  # settings that came later
            if all(why.startswith("nseg_lib/") or why in added for why in state.why):
                rewrite_record(root, step, kept_despite=list(state.why))
                say(f"kept {step.name} though {', '.join(state.why)}")
            else:
                say(f"cannot keep {step.name}: {', '.join(state.why)}")
                lost.append(step.name)
    return lost
