"""What a chapter shows: the results of its own profile, or else the committed ones.

A student can open any chapter before anything was trained. Then the logs and rows of
``reports/half`` stand in, which were measured on COCO at half its size, and a line says so.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

from nseg_lib.training.runs import logged_runs
from reproduction import figures, paper
from reproduction.artefacts import save_figure
from reproduction.kept import missing_run_command

COMMITTED = Path("reports", "half")
"""The report that the project carries, below its root."""


def figure5(root: Path, runs: Path, out: Path, profile: str) -> None:
    """Show Figure 5; save it to ``out`` where it shows the profile's own trainings.

    Args:
        root: of the project.
        runs: the profile's trained networks.
        out: the profile's report.
        profile: its name.
    """
    wanted, logs = paper.numbers()["figure5"], logged_runs(runs)
    own = bool(logs)
    if not own:
        print("nothing was trained here: these are the committed logs of COCO at half its size")
        logs = logged_runs(root / COMMITTED / "training")
    numbers = figures.figure5_data(wanted, logs, paper.authors_logs())
    commands = {model: missing_run_command(model, root, runs) for model in wanted}
    figure = figures.figure5(numbers, commands)
    if own:
        inputs = [run.folder for model in wanted for run in logs.get(model, [])]
        inputs.append(paper.REPORTS / "authors_logs.csv")
        save_figure(figure, out / "figures" / "figure5", numbers, profile=profile, inputs=inputs)
    plt.show()
