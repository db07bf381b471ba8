"""What a chapter shows: the results of its own profile, or else the committed ones.

A student can open any chapter before anything was trained. Then the logs and rows of
``reports/half`` stand in, which were measured on COCO at half its size, and a line says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from IPython.display import display

from nseg_lib import config
from nseg_lib.arrays import Mask
from nseg_lib.course import look
from nseg_lib.data.coco import Split
from nseg_lib.data.frozen import Sample
from nseg_lib.evaluation.metrics import iou
from nseg_lib.evaluation.summary import read_folder
from nseg_lib.refine import Refiner
from nseg_lib.training.runs import find_runs, logged_runs
from reproduction import figures, paper, profiles
from reproduction import table1 as tables
from reproduction.artefacts import Table, save_figure, save_table

COMMITTED = Path("reports", "half")
"""The report that the project carries, below its root."""


def how_to_train(model: str, root: Path, runs: Path, profile: str) -> str:
    """The profile's command for a network that was not trained; for all, where none was."""
    if not find_runs(runs) or profile not in profiles.available(root):
        return f"make reproduce PROFILE={profile}"
    known = profiles.load(root, profile)
    return profiles.train_command(known, model, known.seeds[0])


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
    commands = {model: how_to_train(model, root, runs, profile) for model in wanted}
    figure = figures.figure5(numbers, commands)
    if own:
        inputs = [run.folder for model in wanted for run in logs.get(model, [])]
        inputs.append(paper.REPORTS / "authors_logs.csv")
        save_figure(figure, out / "figures" / "figure5", numbers, profile=profile, inputs=inputs)
    look.finish(
        figure, f"Figure 5: the losses of {' and '.join(wanted)} by epoch, ours and theirs."
    )


def table1(root: Path, rows: Path, out: Path, profile: str) -> None:
    """Show Table 1 as the paper prints it; save it to ``out`` where the profile has rows."""
    printed, inputs = paper.numbers(), [rows, paper.REPORTS / "paper.yml"]
    if (rows / "baselines.csv").is_file():
        made: Table = tables.table1(read_folder(rows), printed, profile)
        display(save_table(made, out / "tables" / "table1", profile=profile, inputs=inputs))
        return
    print("nothing was evaluated here: this is the committed table of COCO at half its size")
    display(tables.table1(read_folder(root / COMMITTED / "rows"), printed, COMMITTED.name))


def _credit(split: Split, image_id: int) -> str:
    return split.credit(image_id) or "licence not stated: not to be passed on"


def figure6(
    root: Path,
    runs: Path,
    out: Path,
    profile: str,
    known: Mapping[str, tuple[Refiner, Path]],
    results: pd.DataFrame,
    typical: Sample,
    split: Split,
) -> None:
    """Show Figure 6; save it where the profile's own networks were trained.

    Args:
        known: of :func:`nseg_lib.course.standins.refiners`.
        results: rows of the evaluation.
        typical: the picture, at the networks' scale, and its ``split``.
    """
    own = bool(find_runs(runs))
    names = config.THE_EIGHT if own else tuple(known)
    predictions = {
        name: known[name][0].refine(typical.image, typical.stroke, scale=1)
        if name in known
        else how_to_train(name, root, runs, profile)
        for name in names
    }
    numbers = figures.figure6_data(results, list(known), typical.image_id)
    ious = dict(zip(numbers["method"], numbers["iou"].map(float), strict=True))
    figure = figures.figure6(typical.image, typical.stroke, typical.mask, predictions, ious)
    if own:
        inputs = [split.image_dir, *(path for _, path in known.values())]
        save_figure(
            figure, out / "figures" / "figure6", numbers, profile=profile, inputs=inputs,
            credit=_credit(split, typical.image_id),
        )  # fmt: skip
    said = ", ".join(f"{name} {value:.2f}" for name, value in ious.items())
    look.finish(figure, f"Figure 6: one picture refined by each network; IoU: {said}.")


def figure7(
    root: Path,
    runs: Path,
    out: Path,
    profile: str,
    known: Mapping[str, tuple[Refiner, Path]],
    typical: Sample,
    strokes: Mapping[str, Mask],
    split: Split,
) -> str:
    """Show Figure 7; save it where the profile's own networks were trained.

    Returns:
        The model: the paper's, or of those there are the one next to it in the paper's table.
    """
    place, wanted = config.THE_EIGHT.index, str(paper.numbers()["figure7"])
    model = min(known, key=lambda name: abs(place(name) - place(wanted)))
    refiner, weights = known[model]
    answers = {
        name: refiner.refine(typical.image, stroke, scale=1) for name, stroke in strokes.items()
    }
    figure = figures.figure7(typical.image, typical.mask, strokes, answers)
    also = "" if model == wanted else f" (nearest in the table to the paper's {wanted})"
    figure.suptitle(model + also, fontsize=10)
    numbers = pd.DataFrame(
        {
            "image_id": typical.image_id,
            "method": model,
            "stroke": name,
            "iou_before": iou(stroke, typical.mask),
            "iou_after": iou(answers[name], typical.mask),
        }
        for name, stroke in strokes.items()
    )
    if find_runs(runs):
        save_figure(
            figure, out / "figures" / "figure7", numbers, profile=profile,
            inputs=[split.image_dir, weights], credit=_credit(split, typical.image_id),
        )  # fmt: skip
    said = ", ".join(
        f"{r.stroke} {r.iou_before:.2f} to {r.iou_after:.2f}" for r in numbers.itertuples()
    )
    look.finish(
        figure, f"Figure 7: one picture with several strokes; IoU before and after: {said}."
    )
    return model
