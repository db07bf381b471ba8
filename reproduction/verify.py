"""Make every table and every figure's numbers, but Figure 7's, again from what is committed.

No picture is read and no network trained: rows, logs and measurements in ``reports/<profile>`` are
all there is to a table (:mod:`reproduction.evidence`). Of a figure the numbers it shows are
compared, and its files with the hashes that were noted when they were drawn from these numbers: no
two versions of matplotlib draw the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from nseg_lib import networks as models
from nseg_lib.course import diagrams, probes
from nseg_lib.evaluation import refiner_tables as comparison
from nseg_lib.files import sha256
from reproduction import (
    ablations,
    claims,
    evidence,
    figures,
    listings,
    table1,
)
from reproduction import refiner_ablation as ablation
from reproduction import spread as moves
from reproduction.artefacts import Table, figure_text, save_figure, save_table, table_texts
from reproduction.evidence import Evidence
from reproduction.kept import keep_logs
from reproduction.profiles import train_command

NEEDS_PICTURES = {
    "figure6": "its pictures need the data set; the numbers on it were made again",
    "figure7": "its numbers need the pictures and a network",
}
"""What of the figures cannot be made from rows alone."""


def tables(e: Evidence) -> dict[str, Table]:
    """Every table of a report by its name."""
    sizes = [models.size(name) for name in e.printed["table2"]]
    return {
        "table1": table1.table1(e.results, e.printed, e.authors, e.profile.name),
        "table2": table1.table2(sizes, e.printed["table2"]),
        "claims": claims.claims_table(e),
        "ablations": ablations.ablations_table(e),
        "runs": listings.runs_table(e),
        "categories": listings.categories_table(e),
    }


def drawn(e: Evidence) -> dict[str, pd.DataFrame]:
    """The numbers of every figure that rows, logs and modules hold, by its name."""
    found = {name: diagrams.stages(diagrams.of_the_paper(name)) for name in diagrams.PAPERS}
    found["figure5"] = figures.figure5_data(e.printed["figure5"], e.logs, e.authors)
    found["spread"] = moves.data(e)
    if len(e.pictures):
        seen = e.pictures[e.pictures["split"].isin(["train", "val"])]
        found["figure1"] = figures.figure1_data(zip(seen["width"], seen["height"], strict=True))
        if e.evaluated:
            val = e.pictures[(e.pictures["split"] == "val") & (e.pictures["showable"] == 1)]
            typical = probes.typical(e.results, e.evaluated, [*val["image_id"]])
            found["figure6"] = figures.figure6_data(e.results, e.evaluated, typical)
    return found


@dataclass(frozen=True)
class Outcome:
    """What :func:`verify` found."""

    checked: tuple[str, ...]
    """Files that are as they should be."""
    problems: tuple[str, ...]
    """A line for each thing that is not."""
    left: tuple[str, ...]
    """A line for each thing that could not be made again."""


def verify(root: Path, profile: str) -> Outcome:
    """Compare a report with what its rows make.

    Raises:
        ValueError: no such profile, or rows that cannot be read.
    """
    e = evidence.load(root, profile)
    checked: list[str] = []
    problems = [*_records(root, e, checked)]
    for name, table in tables(e).items():
        for suffix, text in table_texts(table, name, profile).items():
            problems += _compare(e.folder, f"tables/{name}{suffix}", text, checked)
    numbers = drawn(e)
    left = [f"figures/{name}: {why}" for name, why in NEEDS_PICTURES.items()]
    for name, frame in numbers.items():
        if name in NEEDS_PICTURES and not (e.folder / "figures" / f"{name}.csv").is_file():
            continue
        problems += _compare(e.folder, f"figures/{name}.csv", figure_text(frame), checked)
    problems += _pictures(e.folder, checked)
    problems += _strangers(e.folder, {*numbers, *NEEDS_PICTURES, "figure1"})
    if "figure1" not in numbers:
        left.append("figures/figure1: measured/pictures.csv is missing")
    return Outcome(tuple(checked), tuple(problems), tuple(left))


def refiner(root: Path) -> Outcome:
    """Compare the tables of ``reports/refiner`` with what their rows make.

    Every other CSV file there is one that a run wrote and noted.
    """
    folder = root / "reports" / "refiner"
    checked: list[str] = []
    made = comparison.tables_of(folder)
    if (folder / "ablation").is_dir():
        tables = ablation.tables_of(folder / "ablation")
        made |= {f"ablation/{name}": text for name, text in tables.items()}
    noted = (path.with_suffix("") for path in folder.rglob("*.csv.json"))
    files = {*folder.rglob("*.csv"), *noted} - {folder / name for name in made}
    problems = [*_rows(root, folder, sorted(files), checked)]
    for name, text in made.items():
        problems += _compare(folder, name, text, checked)
    return Outcome(tuple(checked), tuple(problems), ("refiner.png, refiner.pdf: drawn from them",))


def write(root: Path, profile: str, only: Collection[str] = ()) -> list[Path]:
    """Write every table, and every figure that numbers alone draw, from what is committed.

    For rows that came from elsewhere: their networks need not be here. The logs of those that are,
    finished or not, are copied to the report first. Figures 6 and 7 need the
    pictures and are left to their chapter.

    Args:
        only: names of tables and figures, in place of all.

    Returns:
        The tables' Markdown and the figures' PNG.
    """
    keep_logs(root / "runs" / profile, root / "reports" / profile / "training")
    e = evidence.load(root, profile)
    folders = (e.folder / name for name in ("rows", "training", "measured"))
    inputs = [folder for folder in folders if folder.is_dir()]
    written = []
    for name, table in tables(e).items():
        if only and name not in only:
            continue
        stem = e.folder / "tables" / name
        save_table(table, stem, profile=profile, inputs=inputs)
        written.append(stem.with_suffix(".md"))
    for name, frame in drawn(e).items():
        if name not in NEEDS_PICTURES and (not only or name in only):
            figure = _draw(e, name, frame)
            stem = e.folder / "figures" / name
            written.append(save_figure(figure, stem, frame, profile=profile, inputs=inputs))
            plt.close(figure)
    return written


def _draw(e: Evidence, name: str, frame: pd.DataFrame) -> Figure:
    if name in diagrams.PAPERS:
        return diagrams.architecture(diagrams.of_the_paper(name))
    if name == "figure1":
        return figures.figure1(frame, e.printed["figure1"])
    if name == "figure5":
        seed = e.profile.seeds[0]
        missing = {model: train_command(e.profile, model, seed) for model in e.printed["figure5"]}
        return figures.figure5(frame, missing)
    return moves.figure(frame)


# --- what the report is made from -----------------------------------------------------------------


def _records(root: Path, e: Evidence, checked: list[str]) -> Iterator[str]:
    """Rows, logs and measurements as the steps that made them noted them."""
    rows = sorted([*e.folder.glob("rows/*.csv"), *e.folder.glob("measured/*.csv")])
    yield from _rows(root, e.folder, rows, checked)
    for run in (run for of_model in e.logs.values() for run in of_model):
        record = evidence.read_json(run.folder / "weights.safetensors.json")
        for name in ("log.csv", "steps.csv"):
            there = f"runs/{e.profile.name}/{run.model}/seed{run.seed}/{name}"
            noted = record.get("products", {}).get(there)
            if noted or not record:  # a run that goes on has no record yet
                yield from _as_noted(e.folder, run.folder / name, noted, checked, bool(record))


def _rows(root: Path, folder: Path, files: Iterable[Path], checked: list[str]) -> Iterator[str]:
    """Files with a sidecar each that holds their hash."""
    for path in files:
        noted = evidence.read_json(path.with_name(f"{path.name}.json")).get("products", {})
        yield from _as_noted(folder, path, noted.get(path.relative_to(root).as_posix()), checked)


def _as_noted(
    folder: Path, path: Path, noted: str | None, checked: list[str], needed: bool = True
) -> Iterator[str]:
    name = path.relative_to(folder).as_posix()
    if not path.is_file():
        yield f"{name}: is missing"
    elif noted is None and needed:
        yield f"{name}: no run is noted for it"
    elif noted is not None and sha256(path) != noted:
        yield f"{name}: was changed since its run wrote it"
    else:
        checked.append(name)


# --- tables and figures ---------------------------------------------------------------------------


def _compare(folder: Path, name: str, made: str, checked: list[str]) -> Iterator[str]:
    path = folder / name
    if not path.is_file():
        yield f"{name}: is missing"
        return
    there = path.read_bytes().decode("utf-8", "replace")
    if there == made:
        checked.append(name)
        return
    found = False
    for where, committed, rebuilt in _differences(there, made, path.suffix):
        found = True
        yield f"{name}: {where}: committed {committed!r}, rebuilt {rebuilt!r}"
    if not found:
        yield f"{name}: line ends or blanks differ"


def _differences(there: str, made: str, suffix: str) -> Iterator[tuple[str, str, str]]:
    """Place, committed and rebuilt text of every cell that differs."""
    before, after = (_cells(text, suffix) for text in (there, made))
    header = next((line for line in after if len(line) > 1), [])
    none: list[str] = []
    for number, (old, new) in enumerate(zip_longest(before, after, fillvalue=none), 1):
        for column, (a, b) in enumerate(zip_longest(old, new, fillvalue="")):
            if a != b:
                known = len(new) == len(header) and column < len(header)
                name = header[column] if known else f"cell {column + 1}"
                label = new[0] if new and len(new) > 1 else ""
                yield f"line {number}{f' ({label})' if label else ''}, {name}", a, b


def _cells(text: str, suffix: str) -> list[list[str]]:
    if suffix == ".csv":
        return [*csv.reader(io.StringIO(text, newline=""))]
    cut = {".md": " | ", ".tex": " & "}[suffix]
    return [[cell.strip(" |\\") for cell in line.split(cut)] for line in text.splitlines()]


def _pictures(folder: Path, checked: list[str]) -> Iterator[str]:
    """The drawn files as their sidecars noted them, together with the numbers they show."""
    for sidecar in sorted((folder / "figures").glob("*.json")):
        try:
            noted: Mapping[str, Any] = json.loads(sidecar.read_text(encoding="utf-8"))["files"]
        except (ValueError, KeyError, TypeError):
            yield f"figures/{sidecar.name}: does not say which files were drawn"
            continue
        for suffix, digest in noted.items():
            path = sidecar.with_suffix(suffix)
            name = f"figures/{path.name}"
            if not path.is_file():
                yield f"{name}: is missing"
            elif sha256(path) != digest:
                yield f"{name}: is not the file that was drawn with figures/{sidecar.name}"
            elif name not in checked:
                checked.append(name)


def _strangers(folder: Path, known: set[str]) -> Iterator[str]:
    """Figures that nothing makes; tables are few enough to be all known."""
    for path in sorted((folder / "figures").glob("*.csv")):
        if path.stem not in known:
            yield f"figures/{path.name}: nothing makes it"
