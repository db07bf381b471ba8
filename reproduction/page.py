"""The web page of a report: every table and figure, the paper's beside ours.

It shows what the chapters and ``nseg evidence`` made; its words are in ``templates``. When, on
which machine and from which commit each was made is read from the sidecars.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from nbconvert.filters import markdown2html

from nseg_lib.evaluation.baselines import BASELINES
from nseg_lib.files import write_atomic
from nseg_lib.provenance import sidecar_of
from reproduction import paper
from reproduction.claim_rows import claim_rows, counted
from reproduction.evidence import commit_text, read_json
from reproduction.exhibits import EXHIBITS, Exhibit
from reproduction.forest_rows import added, forest_panels
from reproduction.kept import write_record_sums
from reproduction.profiles import Profile, reproduce_command
from reproduction.table_files import read_table
from reproduction.webpages import export_html
from reproduction.words import render

FORMATS = {
    ".png": "PNG",
    ".pdf": "PDF",
    ".csv": "CSV",
    ".md": "Markdown",
    ".tex": "LaTeX",
    ".json": "provenance",
}
"""Suffix of an exhibit's file → the words of its link."""


def write_page(root: Path, profile: Profile) -> Path:
    """Write ``reports/<profile>/index.html``, and the executed notebooks as pages too.

    ``README.md`` beside it has the same words and figures, with links to the tables, for readers
    of the repository.

    Raises:
        ValueError: a table is not as :func:`reproduction.artefacts.save_table` writes it.
    """
    out = root / "reports" / profile.name
    executed = sorted((out / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    for notebook in executed:
        export_html(notebook, notebook.with_suffix(".html"))

    # When, and with which versions, the newest part of the report was made.
    records = (read_json(path) for path in out.rglob("*.json"))
    finished = (record for record in records if "finished" in record)
    newest = max(finished, key=lambda record: str(record["finished"]), default=None)
    limitations = (root / "reports" / "limitations.md").read_text(encoding="utf-8")
    page = render(
        "page.html",
        **_words(root, profile),
        when=f"{datetime.fromisoformat(newest['finished']):%d %B %Y, %H:%M} UTC".lstrip("0")
        if newest
        else "",
        limitations=markdown2html(limitations.partition("\n")[2]),  # without its title
        chapters=[_chapter(notebook) for notebook in executed],
        python=newest and newest.get("python"),
        packages={k: v for k, v in newest.get("packages", {}).items() if v} if newest else {},
    )
    write_atomic(out / "README.md", readme(root, profile))
    write_atomic(out / "index.html", page)
    write_record_sums(out)
    return out / "index.html"


def readme(root: Path, profile: Profile) -> str:
    """The text of a report's ``README.md``, made from its tables and figures."""
    return render("readme.md", **_words(root, profile))


def _words(root: Path, profile: Profile) -> dict[str, Any]:
    """What the page and ``README.md`` have in common: captions, first numbers and exhibits."""
    out = root / "reports" / profile.name
    printed = paper.numbers(root / "reports" / "paper.yml")
    numbers = first_numbers(out / "tables" / "table1.csv")
    # The template is YAML once Jinja has filled it in.
    captions = yaml.safe_load(render("captions.yml", printed=printed, numbers=numbers))
    if missing := [x.name for x in EXHIBITS if x.name not in captions["exhibits"]]:
        raise ValueError(f"reproduction/templates/captions.yml: no caption for '{missing[0]}'")
    return {
        "title": printed["title"],
        "profile": profile.name,
        "note": paper.setting_note(profile.name),
        "command": reproduce_command(profile),
        "facts": captions["facts"],
        "exhibits": [_shown(out, x, captions["exhibits"][x.name]) for x in EXHIBITS],
    }


def _shown(out: Path, exhibit: Exhibit, caption: Mapping[str, str]) -> dict[str, Any]:
    """The variables of an exhibit in the templates: its caption, and the files that exist."""
    files = {path.suffix: path for path in exhibit.files(out) if path.is_file()}
    links = {suffix: path.relative_to(out).as_posix() for suffix, path in files.items()}
    executed = out / "notebooks" / f"{exhibit.chapter}.html"
    claims = claim_rows(files[".csv"]) if exhibit.name == "claims" and files else []
    return {
        **caption,
        "name": exhibit.name,
        "of_the_paper": "paper" in caption,
        "table": read_table(files[".md"]) if ".md" in files else None,
        "claims": claims,
        "counted": counted(claims) if claims else "",
        # What the page draws by itself, so that it can be read on a phone.
        "panels": forest_panels(out) if exhibit.name == "forest" else [],
        "added": added(out) if exhibit.name == "table1b" else None,
        "image": links.get(".png"),
        "pdf": links.get(".pdf", links.get(".png")),
        "files": [(FORMATS[suffix], link) for suffix, link in links.items()],
        "device": read_json(files[".json"]).get("device") if ".json" in files else None,
        "chapter": exhibit.chapter,
        "own_rows": exhibit.own_rows,
        "chapter_page": f"notebooks/{executed.name}" if executed.is_file() else None,
    }


def first_numbers(table1: Path) -> dict[str, Any]:
    """The headline numbers of ``table1.csv``: those of the stroke, and of the best model.

    The best model is chosen on validation pictures and judged on test pictures, if there are any.
    Its numbers are left out if none was evaluated; all are, without the file.
    """
    if not table1.is_file():
        return {}
    frame = pd.read_csv(table1)
    split = "test" if "test" in set(frame["split"]) else "val"
    val, judged = (frame[frame["split"] == name].set_index("method") for name in ("val", split))
    rows = judged.to_dict("index")
    identity = rows["identity"]
    found = {"split": split, "pictures": int(identity["n"]), "stroke": identity["iou"]}
    models = judged[~judged.index.isin(BASELINES)].dropna(subset=["iou"])
    if models.empty:
        return found
    best = str(val.loc[models.index, "iou"].idxmax())
    row = rows[best]
    return found | {
        "models": len(models),
        "above": int((models["iou_difference"] > 0).sum()),
        "best": best,
        "iou": row["iou"],
        "added": row["iou_difference"],
        "low": row["iou_low"],
        "high": row["iou_high"],
        "made_worse": row["made_worse"],
    }


def _chapter(notebook: Path) -> dict[str, str]:
    """Links to an executed notebook, and how it ran, from its sidecar."""
    record = read_json(sidecar_of(notebook))
    row = {"name": notebook.stem.replace("_", " ")}
    row |= {"page": f"notebooks/{notebook.stem}.html", "notebook": f"notebooks/{notebook.name}"}
    if not {"seconds", "finished", "device"} <= record.keys():
        return row | dict.fromkeys(("seconds", "finished", "device", "commit"), "–")
    return row | {
        "seconds": f"{record['seconds']:.0f}",
        "finished": record["finished"].replace("T", " ")[:16],
        "device": record["device"],
        "commit": commit_text(record),
    }
