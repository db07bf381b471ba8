"""A run's jobs on a cluster with Slurm: how they are named, followed and cancelled."""

from __future__ import annotations

import ctypes
import hashlib
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from nseg_lib.config import ConfigError
from nseg_lib.console import say


def prefix(root: Path) -> str:
    """How the names of the jobs of the project at ``root`` begin."""
    return f"nseg-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]}"


def end_with_parent() -> None:
    """Let this process be killed when the one that started it ends, however that is.

    Snakemake would otherwise go on alone, unseen, and keep the project locked. Source: prctl(2).
    """
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def follow(said: Iterable[str], log: TextIO) -> Iterator[str]:
    """A line per step that ends or fails, from Snakemake's own words, which go to its log.

    What a job says stays on its node and in its log.
    """
    steps, step, failed = dict[str, str](), "", ""
    for line in said:
        log.write(line)
        log.flush()
        if found := re.match(r"    log: \S*?/logs/([^\s,]+)\.log", line):
            step = found[1].replace("_", "/", 1)
        elif re.match(r"(local)?rule ", line):
            step = ""
        elif (found := re.match(r"    jobid: (\d+)", line)) and failed:
            yield f"{steps.get(found[1], 'a job')}: {failed}"
            failed = ""
        elif found:
            steps[found[1]] = step
        elif (found := re.match(r"Finished jobid: (\d+)", line)) and steps.get(found[1]):
            yield f"{steps[found[1]]}: done"
        elif found := re.search(r"SLURM-job '\S+' failed, SLURM status is: '\w+'", line):
            failed = found[0]  # its number comes in the next line


def cancel_jobs(root: Path) -> None:
    """Cancel the jobs of the project at ``root``, and wait until none runs any more.

    Snakemake does not take up the jobs of an earlier run, and two must not write one file. A
    training that is cancelled keeps its finished epochs.

    Raises:
        ConfigError: Slurm does not answer, or jobs do not end.
    """
    listing = ["squeue", "--me", "--noheader", "--format=%A %j"]
    for attempt in range(120):
        try:
            said = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            why = getattr(error, "stderr", None) or str(error)
            raise ConfigError(f"--slurm: squeue does not answer ({why.strip()})") from None
        jobs = [line.split()[0] for line in said.splitlines() if f" {prefix(root)}" in line]
        if not jobs:
            return
        if attempt == 0:
            what = f"cancelling {len(jobs)} jobs that still run"
            say(f"{what}; trainings go on after their last epoch")
            subprocess.run(["scancel", *jobs], check=False)
        time.sleep(1)
    raise ConfigError(f"--slurm: jobs {', '.join(jobs)} were cancelled and do not end")
