"""Check a report: make its tables and its figures' numbers again and compare them with the files.

This needs no picture and no training, only the committed rows, logs and measurements
(:mod:`reproduction.evidence`). Figure 7 is left out: its numbers are in no rows. Drawings cannot be
made again byte by byte, since versions of matplotlib differ; they are compared with the hashes that
were recorded together with their numbers.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path

from nseg_lib import config
from nseg_lib.evaluation import refiner_tables
from nseg_lib.files import sha256
from nseg_lib.parsing import dotted
from nseg_lib.provenance import sidecar_of
from reproduction import quoted, refiner_ablation, refiner_steps
from reproduction.artefacts import Table, figure_text, table_texts
from reproduction.evidence import Evidence, load, read_json, section
from reproduction.exhibits import EXHIBITS
from reproduction.kept import RECORDS, records
from reproduction.page import readme

CHANGED = "was changed since its run wrote it"

RECORD_CHANGED = f"is not as {RECORDS} has it; if a run wrote it since, nseg evidence lists it anew"


class Verification:
    """The outcome of comparing the files of one report with what they should be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checked: list[str] = []
        """Files that are as they should be, as paths relative to the report's folder."""
        self.problems: list[str] = []
        """One line for every file that is missing or differs."""
        self.left: list[str] = []
        """One line for everything that could not be made again."""

    def compare_hash(self, name: str, noted: str | None, problem: str) -> None:
        """Compare a file with the SHA-256 that was recorded when it was made, if one was."""
        path = self.folder / name
        if not path.is_file():
            self.problems.append(f"{name}: is missing")
        elif noted is None:
            self.problems.append(f"{name}: no run is noted for it")
        elif sha256(path) != noted:
            self.problems.append(f"{name}: {problem}")
        elif name not in self.checked:
            self.checked.append(name)

    def compare_text(self, name: str, rebuilt: str) -> None:
        """Compare a committed CSV, Markdown or LaTeX file with the text made again from rows."""
        path = self.folder / name
        if not path.is_file():
            self.problems.append(f"{name}: is missing")
            return
        committed = path.read_bytes().decode("utf-8", "replace")
        if committed == rebuilt:
            self.checked.append(name)
            return
        cells = [f"{name}: {line}" for line in differing_cells(committed, rebuilt, path.suffix)]
        self.problems += cells or [f"{name}: line ends or blanks differ"]

    def compare_sums(self, sums: Path, problem: str) -> None:
        """Compare the files that a list of checksums names with it."""
        for name, digest in _sums(sums).items():
            self.compare_hash(os.path.relpath(sums.parent / name, self.folder), digest, problem)


def verify(root: Path, profile: str) -> Verification:
    """Compare a profile's report with what is made again from its rows.

    Raises:
        ValueError: no such profile, or rows that cannot be read.
    """
    evidence = load(root, profile)
    found = Verification(evidence.folder)
    _compare_sources(found, root, evidence)

    # What the rows make.
    for exhibit in EXHIBITS:
        made = exhibit.make(evidence)
        if isinstance(made, Table):
            texts = table_texts(made, None if exhibit.any_setting else profile)
            for suffix, text in texts.items():
                found.compare_text(f"{exhibit.stem}{suffix}", text)
        elif made is not None:
            # A figure that needs pictures may be missing: its chapter did not run.
            if made.draw is not None or (evidence.folder / f"{exhibit.stem}.csv").is_file():
                found.compare_text(f"{exhibit.stem}.csv", figure_text(made.numbers))
        elif not exhibit.needs_pictures:
            found.left.append(f"{exhibit.stem}: no rows or measurements to make it from")
        if exhibit.needs_pictures:
            found.left.append(f"{exhibit.stem}: {exhibit.needs_pictures}")

    # Drawings, which belong to the numbers that were written with them.
    for sidecar in sorted((found.folder / "figures").glob("*.json")):
        try:
            noted = read_json(sidecar)["files"].items()
        except (ValueError, KeyError, AttributeError):
            found.problems.append(f"figures/{sidecar.name}: does not say which files were drawn")
            continue
        problem = f"is not the file that was drawn with figures/{sidecar.name}"
        for suffix, digest in noted:
            found.compare_hash(f"figures/{sidecar.stem}{suffix}", digest, problem)
    known = {exhibit.name for exhibit in EXHIBITS}
    for path in sorted((found.folder / "figures").glob("*.csv")):
        if path.stem not in known:
            found.problems.append(f"figures/{path.name}: nothing makes it")

    # Prose, and the records beside the files.
    found.compare_text("README.md", readme(root, evidence.profile))
    if profile == quoted.PROFILE:
        found.problems += quoted.missing(root, evidence)
    found.compare_sums(found.folder / RECORDS, RECORD_CHANGED)
    listed = _sums(found.folder / RECORDS)
    for name in (path.relative_to(found.folder).as_posix() for path in records(found.folder)):
        if name not in listed:
            found.problems.append(f"{name}: is not in {RECORDS}")
    return found


def verify_refiner(root: Path) -> Verification:
    """Compare the tables of ``reports/refiner`` with what is made again from their rows.

    Every other CSV file there must have the hash that its run recorded.
    """
    folder = root / "reports" / "refiner"
    found = Verification(folder)
    made = refiner_tables.tables_of(folder)
    parts = {"persons": refiner_tables, "ablation": refiner_ablation, "steps": refiner_steps}
    for part, module in parts.items():
        if (folder / part).is_dir():
            tables = module.tables_of(folder / part)
            made |= {f"{part}/{name}": text for name, text in tables.items()}
    noted = {path.with_suffix("") for path in folder.rglob("*.csv.json")}
    for path in sorted({*folder.rglob("*.csv"), *noted} - {folder / name for name in made}):
        found.compare_hash(path.relative_to(folder).as_posix(), _noted(root, path), CHANGED)
    for name, text in made.items():
        found.compare_text(name, text)
    drawn = section(read_json(folder / "refiner.json"), "files")
    for suffix in (".png", ".pdf"):
        problem = "is not the file that was drawn with refiner.json"
        found.compare_hash(f"refiner{suffix}", drawn.get(suffix), problem)
    weights = Path("nseg_lib") / "weights" / "SHA256SUMS"
    found.compare_sums(root / weights, f"is not as {weights.as_posix()} has it")
    return found


def _sums(path: Path) -> dict[str, str]:
    """File → hash, of a file as ``sha256sum`` writes it; empty if it is missing."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _compare_sources(found: Verification, root: Path, evidence: Evidence) -> None:
    """Compare rows, measurements and logs with the hashes that their runs recorded."""
    folder = found.folder
    for path in sorted([*folder.glob("rows/*.csv"), *folder.glob("measured/*.csv")]):
        found.compare_hash(path.relative_to(folder).as_posix(), _noted(root, path), CHANGED)
    for run in (run for of_model in evidence.logs.values() for run in of_model):
        record = read_json(run.folder / "weights.safetensors.json")
        if not record:  # a training that has not ended has no record yet
            continue
        trained = f"runs/{evidence.profile.name}/{run.model}/seed{run.seed}"
        kept = run.folder.relative_to(folder).as_posix()
        for log in ("log.csv", "steps.csv"):
            noted = section(record, "products").get(f"{trained}/{log}")
            found.compare_hash(f"{kept}/{log}", noted, CHANGED)

        # What was trained is what the profile asks for, or else the run is another one.
        place = f"{kept}/weights.safetensors.json"
        asked = evidence.profile.settings_of(run.model) | {"training.seed": run.seed}
        now = dotted(config.load(run.model, asked).model_dump(mode="json"))
        trained_as = config.parse(record.get("config"), str(folder / place))
        was = dotted(trained_as.model_dump(mode="json"))
        found.problems += [
            f"{place}: '{key}' is {was[key]}, the profile has {now[key]}"
            for key in now
            if was[key] != now[key]
        ]


def _noted(root: Path, path: Path) -> str | None:
    """The hash of a file that its sidecar records; None if it records none."""
    record = read_json(sidecar_of(path))
    return section(record, "products").get(path.relative_to(root).as_posix())


# --- which cells of a table differ ----------------------------------------------------------------


def differing_cells(committed: str, rebuilt: str, suffix: str) -> Iterator[str]:
    """One line for every cell of a table that differs, with its place and both texts.

    Args:
        suffix: ``.csv``, ``.md`` or ``.tex``, by which lines are split into cells.
    """
    before, after = (
        [_cells(line, suffix) for line in text.splitlines()] for text in (committed, rebuilt)
    )
    header = max(after, key=len, default=())  # the first of the lines with most cells
    # Match lines first, so that an inserted line does not make all lines below it differ.
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for kind, first, last, start, stop in matcher.get_opcodes():
        if kind == "equal":
            continue
        pairs = zip_longest(before[first:last], after[start:stop], fillvalue=())
        for number, (old, new) in enumerate(pairs, first + 1):
            label = f" ({new[0]})" if len(new) > 1 and new[0] else ""
            names = header if len(new) == len(header) else ()
            for column, (a, b) in enumerate(zip_longest(old, new, fillvalue="")):
                if a != b:
                    where = names[column] if column < len(names) else f"cell {column + 1}"
                    yield f"line {number}{label}, {where}: committed {a!r}, rebuilt {b!r}"


def _cells(line: str, suffix: str) -> tuple[str, ...]:
    if suffix == ".csv":
        return tuple(next(csv.reader([line]), []))
    cut = {".md": " | ", ".tex": " & "}[suffix]
    return tuple(cell.strip(" |\\") for cell in line.split(cut))
