"""What a chapter shows: the results of its own profile, or else the committed ones.

A student can open any chapter before anything was trained. Then the logs and rows of
``reports/half`` stand in, which were measured on COCO at half its size, and a line says so.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from IPython.display import display

from nseg_lib.evaluation.summary import read_folder
from nseg_lib.training.runs import logged_runs
from reproduction import figures, paper
from reproduction import table1 as tables
from reproduction.artefacts import Table, save_figure, save_table
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


def table1(root: Path, rows: Path, out: Path, profile: str) -> None:
    """Show Table 1 as the paper prints it; save it to ``out`` where the profile has rows."""
    printed, inputs = paper.numbers(), [rows, paper.REPORTS / "paper.yml"]
    if (rows / "baselines.csv").is_file():
        made: Table = tables.table1(read_folder(rows), printed, profile)
        display(save_table(made, out / "tables" / "table1", profile=profile, inputs=inputs))
        return
    print("nothing was evaluated here: this is the committed table of COCO at half its size")
    display(tables.table1(read_folder(root / COMMITTED / "rows"), printed, COMMITTED.name))
