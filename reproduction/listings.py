"""Two tables that the paper does not have: every run, and the results by kind of object."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from nseg_lib import config
from nseg_lib.evaluation.summary import bootstrap_interval
from nseg_lib.evaluation.tables import number
from nseg_lib.training.runs import Run
from reproduction.artefacts import Table, grouped
from reproduction.evidence import Evidence, commit_text, read_json
from reproduction.profiles import Profile, pinned, reproduce_command, train_command
from reproduction.table1 import NOT_RUN
from reproduction.words import notes

MIN_PICTURES = 10
"""The fewest pictures of a supercategory for which an interval is given."""


def runs_table(evidence: Evidence) -> Table:
    """Every run that the profile plans or has, with its state and command."""
    rows = [_baselines_row(evidence)]
    for model in evidence.models:
        for seed in evidence.seeds(model):
            logged = [run for run in evidence.logs.get(model, []) if run.seed == seed]
            rows.append(_run_row(evidence, model, seed, logged[0] if logged else None))
    text = [{("", key): value for key, value in row.items()} for row in rows]
    below = notes(
        "runs",
        done=sum(row["state"] == "done" for row in rows[1:]),
        trainings=len(rows) - 1,
        profile=evidence.profile.name,
        command=reproduce_command(evidence.profile),
    )
    return Table("Every run.", grouped(text), pd.DataFrame(rows), below)


def _baselines_row(evidence: Evidence) -> dict[str, str]:
    record = read_json(evidence.folder / "rows" / "baselines.csv.json")
    profile = evidence.profile
    words = [pinned(profile), "nseg", "evaluate", "--data", profile.data.folder.as_posix()]
    words += ["--scale", str(profile.scale), "--out", f"reports/{profile.name}/baselines"]
    row = {"run": "baselines, identity first", "state": "done", "epochs": "–", "kept": "–"}
    row |= {f"{split} IoU": _mean_iou(evidence, split, "identity") for split in evidence.splits}
    return row | _provenance(record) | {"kept despite": "–", "command": shlex.join(words)}


def _run_row(evidence: Evidence, model: str, seed: int, run: Run | None) -> dict[str, str]:
    row = {"run": f"{model}, seed {seed}", "state": NOT_RUN, "epochs": "–", "kept": "–"}
    record: dict[str, Any] = {}
    if run is not None:
        record = read_json(run.folder / "weights.safetensors.json")
        row |= {"epochs": str(len(run.log())), "kept": str(run.best_epoch)}
    means = {f"{split} IoU": _mean_iou(evidence, split, model, seed) for split in evidence.splits}
    row["state"] = run_state(evidence.profile, run, evaluated=any(m != "–" for m in means.values()))
    row |= means | _provenance(record)
    row["kept despite"] = "; ".join(record.get("kept_despite", [])) or "–"
    return row | {"command": train_command(evidence.profile, model, seed)}


def run_state(profile: Profile, run: Run | None, *, evaluated: bool) -> str:
    """The state of a run in words, such as ``not run``, ``unfinished, …`` or ``done``.

    A training ends after the profile's epochs or by early stopping. A run that was evaluated before
    that is ``cut short, …``.
    """
    if run is None:
        return "done, its log is not kept" if evaluated else NOT_RUN
    training = config.load(run.model, profile.settings_of(run.model)).training
    taken = len(run.log())
    if taken >= training.epochs or run.waited >= training.patience:
        return "done" if evaluated else "trained, not evaluated"
    return f"{'cut short' if evaluated else 'unfinished'}, {taken} of {training.epochs} epochs"


def _mean_iou(evidence: Evidence, split: str, method: str, seed: int | None = None) -> str:
    rows = evidence.results.query("method == @method and split == @split")
    rows = rows if seed is None else rows[rows["seed"] == seed]
    return number(rows["iou"].mean(), "iou") if len(rows) else "–"


def _provenance(record: Mapping[str, Any]) -> dict[str, str]:
    if not {"seconds", "device"} <= record.keys():
        return dict.fromkeys(("minutes", "finished", "where", "commit"), "–")
    return {
        "minutes": f"{record['seconds'] / 60:.1f}",
        "finished": record.get("finished", "–").replace("T", " ")[:16],
        "where": record["device"],
        "commit": commit_text(record),
    }


def categories(results: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """The models' gain over the stroke in each supercategory of COCO.

    Args:
        results: from :func:`nseg_lib.evaluation.summary.read_folder`.
        models: on each picture, their mean IoU is taken.

    Returns:
        Columns ``supercategory``, ``n`` (pictures), ``identity`` and ``models`` (mean IoU),
        ``difference``, and ``low`` and ``high``, its 95 % interval over pictures; by falling ``n``.
    """
    key = ["supercategory", "split", "image_id", "annotation_id"]
    wide = results.groupby([*key, "method"])["iou"].mean().unstack()
    added = pd.DataFrame({"identity": wide["identity"], "models": wide[list(models)].mean(axis=1)})
    added["difference"] = added["models"] - added["identity"]
    rows = []
    for name, part in added.groupby("supercategory"):
        pictures = part.index.get_level_values("image_id").to_numpy()
        low, high = bootstrap_interval(part[["difference"]].to_numpy(), pictures)
        rows.append((name, len(part), *part.mean(), low[0], high[0]))
    columns = ["supercategory", "n", "identity", "models", "difference", "low", "high"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.sort_values(["n", "supercategory"], ascending=[False, True], ignore_index=True)


def categories_table(evidence: Evidence) -> Table:
    """The table of :func:`categories` of the paper's models, on validation and test pictures."""
    found = categories(evidence.results, evidence.evaluated)
    rows = []
    for row in found.to_dict("records"):
        mean, low, high = (number(row[k], "iou", "+") for k in ("difference", "low", "high"))
        enough = row["n"] >= MIN_PICTURES
        rows.append({
            ("", "supercategory"): str(row["supercategory"]),
            ("", "pictures"): str(row["n"]),
            ("IoU", "stroke unchanged"): number(row["identity"], "iou"),
            ("IoU", "models"): number(row["models"], "iou"),
            ("IoU", "difference [95 %]"): f"{mean} [{low}, {high}]" if enough else mean,
        })  # fmt: skip
    below = notes("categories", fewest=MIN_PICTURES, models=evidence.evaluated)
    return Table("What the models add, by supercategory.", grouped(rows), found.round(6), below)
