"""The page a profile ends with: the paper's tables and figures by number, the paper's beside ours.

It shows what the chapters made and reckons nothing itself; where a number came from, when, on
what and by which command is read from the sidecars.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from nseg_lib.evaluation.baselines import BASELINES
from nseg_lib.files import write_atomic
from reproduction import graph, paper
from reproduction.exhibits import EXHIBITS, Exhibit, made_by
from reproduction.graph import Step
from reproduction.profiles import Profile, reproduce_command
from reproduction.webpages import export_html, render

TITLES = {
    "table1": "Quality of each method",
    "table2": "Size of each model",
    "figure1": "Widths and heights of the pictures",
    "figure2": "U-Net Tiny",
    "figure3": "U-Net Tiny with residual connections",
    "figure4": "U-Net with attention gates",
    "figure5": "Training and validation loss",
    "figure6": "One stroke, eight predictions",
    "figure7": "Ambiguous strokes",
}


LABELS = {
    ".png": "PNG",
    ".pdf": "PDF",
    ".csv": "CSV",
    ".md": "Markdown",
    ".tex": "LaTeX",
    ".json": "provenance",
}


def write_page(root: Path, profile: Profile) -> Path:
    """Write ``reports/<profile>/index.html`` and, as pages too, the executed notebooks.

    Beside it ``README.md``, the same words round the figures and links to the tables, for those who
    read the repository and not the page.

    Raises:
        ValueError: a table is not as :func:`reproduction.artefacts.save_table` writes it.
    """
    out = root / "reports" / profile.name
    steps = graph.build(root, profile)
    chapters = {s.name.partition("/")[2]: s for s in steps.values() if s.kind == "chapter"}
    for step in chapters.values():
        if step.artefact.is_file():
            export_html(step.artefact, step.artefact.with_suffix(".html"))
    items = [_item(out, x, chapters.get(x.chapter)) for x in EXHIBITS if x.chapter]
    records = [graph.read_record(step) for step in steps.values()]
    finished = max((r["finished"] for r in records if r), default="")
    words = dict(
        paper=paper.numbers(root / "reports" / "paper.yml"),
        profile=profile,
        note=paper.setting_note(profile.name),
        items=items,
        facts=_facts(out / "tables" / "table1.csv"),
        command=reproduce_command(profile),
        evidence=[_evidence(out, exhibit) for exhibit in made_by("")],
    )
    page = render(
        "page.html",
        **words,
        title=f"nseg · {profile.name}",
        when=_day(finished),
        limitations=_limitations(root),
        chapters=[_chapter_row(name, step) for name, step in chapters.items()],
        versions=_versions(next((r for r in reversed(records) if r), {})),
    )
    write_atomic(out / "README.md", render("readme.md", **words))
    write_atomic(out / "index.html", page)
    return out / "index.html"


# --- tables and figures ---------------------------------------------------------------------------


def _item(out: Path, exhibit: Exhibit, step: Step | None) -> dict[str, Any]:
    """What the page shows of one table or figure of the paper."""
    key, kind, chapter = exhibit.name, exhibit.folder, exhibit.chapter
    files = {f.suffix: f for f in exhibit.files(out) if f.is_file()}
    href = {suffix: path.relative_to(out).as_posix() for suffix, path in files.items()}
    sidecar = _read_json(files.get(".json"))
    facts = paper_says()
    return {
        "key": key,
        "label": f"{kind[:-1].capitalize()} {key[-1]}",
        "title": TITLES[key],
        "table": read_table(files[".md"]) if ".md" in files else None,
        "image": href.get(".png"),
        "pdf": href.get(".pdf", href.get(".png")),
        "paper": facts[key],
        "here": HERE[key],
        "chapter": chapter,
        "page": f"notebooks/{chapter}.html" if step and step.artefact.is_file() else None,
        "files": [(LABELS[suffix], href[suffix]) for suffix in href],
        "made": _device(sidecar),
    }


def _evidence(out: Path, exhibit: Exhibit) -> dict[str, Any]:
    """What the page shows of the claims, the runs, the categories and what moves a number."""
    files = {f.suffix: f for f in exhibit.files(out) if f.is_file()}
    href = {suffix: path.relative_to(out).as_posix() for suffix, path in files.items()}
    key = exhibit.name
    title, words = BEYOND[key]
    return {
        "key": key,
        "title": title,
        "words": words,
        "table": read_table(files[".md"]) if ".md" in files else None,
        "image": href.get(".png"),
        "pdf": href.get(".pdf"),
        "files": [(LABELS[suffix], href[suffix]) for suffix in href],
    }


BEYOND = {
    "claims": (
        "The paper's claims, one by one",
        "What decides each was put into words when the first networks had been judged at half "
        "resolution and none in the paper's setting; what was changed since, and when, stands in "
        "the limitations. Where the trainings that it needs were not run, it cannot be told, and "
        "says so.",
    ),
    "ablations": (
        "What each choice changes",
        "Networks that the paper does not have, each beside the one that it departs from.",
    ),
    "runs": (
        "Every run, and the command for it",
        "Each command works by itself; started again it goes on where it stopped.",
    ),
    "categories": (
        "By kind of object",
        "The claim that the models generalise, taken apart.",
    ),
    "spread": (
        "What moves a number",
        "Above the line, how far a mean moves by chance or by a choice that no reader sees; below "
        "it, the differences in Table 1 that the paper interprets. Moves are absolute: a dot is "
        "one, the bar the median; what runs off the panel is written. The moves are of the mean of "
        "one network, the differences of two: where two networks share pictures and strokes, as "
        "ours do, part of a move is common to both and cancels. Strokes drawn anew are measured on "
        "the stroke itself and the two smallest networks, the draw of all tables among them, and "
        "also change which pictures drop out. "
        "The authors' epochs have strokes drawn anew at each, ours are on frozen ones. “res for "
        "tiny” is two networks that differ in the stroke added to the logits alone, at equal "
        "widths, loss and seed.",
    ),
}
"""Title and words of what is shown beside the paper's own tables and figures."""


def _limitations(root: Path) -> str:
    """``reports/limitations.md`` as HTML."""
    from nbconvert.filters import markdown2html

    text = (root / "reports" / "limitations.md").read_text(encoding="utf-8")
    return markdown2html(text.partition("\n")[2])


HERE = {
    "table1": "The same columns, measured on frozen strokes, with the stroke itself and three "
    "classical methods as rows: a model is judged by what it adds to the stroke it was given. "
    "Beside them, how much of the paper's row the authors' own log gives to the epoch chosen.",
    "table2": "Parameters and sizes of the same eight networks, counted from their modules: "
    "weights alone, and with the two moments that Adam keeps while training.",
    "figure1": "The pictures of this profile's data set, drawn the same way.",
    "figure2": "Drawn from the module itself: what it shows is what runs.",
    "figure3": "Drawn from the module: (a) the same network, and the stroke added to its logits, "
    "which is what the paper's released code trains; (b) the blocks that its text describes.",
    "figure4": "Drawn from the module: gates on the skips, and no residual.",
    "figure5": "The same two models where they were trained here, every epoch and every seed, with "
    "a star at the one kept and, of several seeds, the band between them; dotted, the authors' own "
    "logs. The two losses are not of the same terms, so their heights say nothing. Which models "
    "are best and worst by pixel accuracy here, Table 1 and the claims tell. The axis counts "
    "finished epochs, the tables count them from 0.",
    "figure6": "The same arrangement on a picture of this profile's data.",
    "figure7": "The same test: one object, a stroke that is too small and one that overshoots. An "
    "example, as the paper's is: what poor strokes do to all pictures stands in the claims.",
}


def paper_says() -> dict[str, str]:
    """What the paper shows in each table and figure, in words: its pictures are not ours."""
    numbers = paper.numbers()
    table, sizes = numbers["table1"], numbers["table2"]
    best = max(table, key=lambda name: table[name]["iou"])
    width, height = numbers["figure1"]["width"], numbers["figure1"]["height"]
    first, second = numbers["figure5"]
    return {
        "table1": f"Eight models on {numbers['setting']['validation']} validation pictures, no "
        f"baseline. IoU from {min(t['iou'] for t in table.values()):.4f} to "
        f"{table[best]['iou']:.4f} ({best}).",
        "table2": f"From {min(sizes.values()):.2f} to {max(sizes.values()):.2f} “MB”.",
        "figure1": f"{numbers['setting']['pictures']:,} pictures of COCO. Widths: mean "
        f"{width['mean']}, median {width['median']}, {width['low']} to {width['high']} pixels. "
        f"Heights: mean {height['mean']}, median {height['median']}, {height['low']} to "
        f"{height['high']}.",
        "figure2": "The base network as layered blocks: encoder, decoder, skip connections.",
        "figure3": "The same with residual connections inside encoder and decoder blocks.",
        "figure4": "The same with attention modules in the decoder.",
        "figure5": f"Loss of {first} and {second}, the best and the worst by pixel accuracy, side "
        "by side on a logarithmic axis; training loss smoothed over 80 logged steps.",
        "figure6": "One picture with its stroke, the ground truth, and the predictions of all "
        "eight models.",
        "figure7": f"{numbers['figure7']} given one object under two strokes, one too small and "
        "one overshooting; it fails on both.",
    }


def read_table(path: Path) -> dict[str, Any]:
    """Read what :func:`reproduction.artefacts.save_table` wrote as Markdown.

    Returns:
        ``groups`` (name and span, empty where no column has one), ``columns``, ``rows``, ``notes``.

    Raises:
        ValueError: the file holds no table.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = [_cells(line) for line in lines if line.startswith("|")]
    if len(cells) < 3:
        raise ValueError(f"{path}: holds no table")
    heads = [head.rpartition(": ")[::2] for head in cells[0]]
    runs_of = [(g, len([*run])) for g, run in itertools.groupby(g for g, _ in heads)]
    groups = [pair for g, n in runs_of for pair in ([(g, n)] if g else [("", 1)] * n)]
    # Emphasis is for other readers of the file: the caption is the section's title here.
    notes = [line for line in lines if line and not line.startswith(("|", "**"))]
    return {
        "groups": groups if any(g for g, _ in heads) else [],
        "columns": [name for _, name in heads],
        "rows": cells[2:],
        "notes": notes,
    }


def _cells(line: str) -> list[str]:
    parts = re.split(r"(?<!\\)\|", line.strip().strip("|"))
    return [part.strip().replace("\\|", "|") for part in parts]


def _facts(table: Path) -> list[dict[str, str]]:
    """The few numbers to see first: identity, the best model, and what it adds."""
    if not table.is_file():
        return []
    frame = pd.read_csv(table)
    split = "test" if "test" in set(frame["split"]) else "val"
    val, frame = (frame[frame["split"] == name].set_index("method") for name in ("val", split))
    of = f"on {frame['n']['identity']:.0f} {'untouched test' * (split == 'test')} pictures"
    models = frame[~frame.index.isin([*BASELINES])].dropna(subset=["iou"])
    chosen = val.loc[models.index]
    stroke = f"{frame['iou']['identity']:.4f}"
    facts = [{"value": stroke, "text": f"IoU of the stroke unchanged, {of}"}]
    if len(models):
        best = str(chosen["iou"].idxmax())
        row = models.loc[best]
        interval = f"95 % interval {row['iou_low']:+.4f} to {row['iou_high']:+.4f}"
        words = f"IoU of {best}, the best of {len(models)} models on the validation pictures"
        facts += [
            {"value": f"{row['iou']:.4f}", "text": words},
            {"value": f"{row['iou_difference']:+.4f}", "text": f"what it adds, {interval}"},
            {"value": f"{100 * row['made_worse']:.0f} %", "text": "of the pictures it made worse"},
            {
                "value": f"{(models['iou_difference'] > 0).sum()} of {len(models)}",
                "text": "trained models above the stroke they were given",
            },
        ]
    return facts


# --- where it came from ---------------------------------------------------------------------------


def _ran(step: Step) -> dict[str, str]:
    """Minutes, day, machine and commit of a step, from its sidecar."""
    record = graph.read_record(step)
    if not record:
        return dict.fromkeys(("minutes", "seconds", "finished", "device", "commit"), "–")
    commit = (record["commit"] or "–")[:8] + (" +" if record["dirty"] else "")
    return {
        "minutes": f"{record['seconds'] / 60:.1f}",
        "seconds": f"{record['seconds']:.0f}",
        "finished": record["finished"].replace("T", " ")[:16],
        "device": record["device"],
        "commit": commit,
    }


def _chapter_row(name: str, step: Step) -> dict[str, str]:
    there = {"name": name.replace("_", " "), "page": f"notebooks/{name}.html"}
    return there | {"notebook": f"notebooks/{name}.ipynb"} | _ran(step)


def _versions(record: Mapping[str, Any]) -> str:
    packages = {k: v for k, v in record.get("packages", {}).items() if v}
    listed = ", ".join(f"{name} {version}" for name, version in packages.items())
    return (
        f"Python {record['python']}, {listed}. A “+” after a commit: with changes not in it."
        if packages
        else ""
    )


def _device(sidecar: Mapping[str, Any]) -> str:
    return f"on {sidecar['device']}" if sidecar.get("device") else ""


def _day(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%d %B %Y, %H:%M} UTC".lstrip("0") if moment else ""


def _read_json(path: Path | None) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path else {}
