"""A run's jobs on a cluster: what the console is told of them, and which of them are cancelled."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from nseg_lib.config import ConfigError
from reproduction import cluster

SQUEUE = "#!/bin/sh\n[ -e '{folder}/cancelled' ] || printf '%s' '{jobs}'\n"
SCANCEL = "#!/bin/sh\necho $* >'{folder}/cancelled'\n"


def test_only_the_projects_jobs_are_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = cluster.prefix(tmp_path), cluster.prefix(tmp_path.parent)
    jobs = f"7 {mine}_run\n8 {other}_run\n9 {mine}_run\n10 bash\n"
    for name, script in (("squeue", SQUEUE), ("scancel", SCANCEL)):
        (tmp_path / name).write_text(script.format(folder=tmp_path, jobs=jobs))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    cluster.cancel_jobs(tmp_path)
    assert (tmp_path / "cancelled").read_text().split() == ["7", "9"]


def test_a_machine_without_slurm_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="--slurm: squeue does not answer"):
        cluster.cancel_jobs(tmp_path)


def test_the_console_gets_a_line_per_step_that_ends() -> None:
    said = """\
rule train:
    log: reports/smoke/logs/train_tiny16-32_bce-dice_seed43.log
    jobid: 3
rule evaluate:
    log: reports/smoke/logs/evaluate_baselines.log
    jobid: 6
Error in rule evaluate:
    message: SLURM-job '4_2' failed, SLURM status is: 'CANCELLED'. For further error details …
    jobid: 6
    log: reports/smoke/logs/evaluate_baselines.log, /a/4_2.log (check log file(s) for details)
localrule all:
    jobid: 0
Finished jobid: 3 (Rule: train)
Finished jobid: 0 (Rule: all)
"""
    log = io.StringIO()
    assert [*cluster.follow(io.StringIO(said), log)] == [
        "evaluate/baselines: SLURM-job '4_2' failed, SLURM status is: 'CANCELLED'",
        "train/tiny16-32_bce-dice_seed43: done",
    ]
    assert log.getvalue() == said
