"""The tables of a report: the paper's 1 and 2 beside ours, every run, and the categories.

Each is a function of rows and logs (:mod:`nseg_lib.evidence`); chapter ``07_evaluation`` shows
the first two. Nothing that was planned is left out: what was not run is a row that says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from nseg_lib.baselines import BASELINES
from nseg_lib.evidence import Evidence, around_the_best, read_json
from nseg_lib.models import ModelSize
from nseg_lib.profiles import Profile, train_command
from nseg_lib.runs import Run
from nseg_lib.summaries import IOU_MARGIN, bootstrap_interval, summarise
from nseg_lib.tables import LABELS, Table, difference_cell, grouped, mean_cell, number

PAPER_METRICS = ("pixel_accuracy", "iou", "boundary_iou_1px", "hausdorff_region")
"""What the paper's Table 1 reports, in its order: its "Boundary IoU" is the overlap of one-pixel
boundaries, its "Hausdorff Distance" that between all mask pixels."""

ON_TEST = ("iou", "boundary_iou_1px", "hausdorff_region")
"""Of these, the ones shown for the test split too."""

NOT_RUN = "not run"

FEWEST = 10
"""Pictures that a supercategory must have for an interval."""

Cells = dict[tuple[str, str], str]


def table1(
    results: pd.DataFrame, printed: Mapping[str, Any], authors: pd.DataFrame, profile: str
) -> Table:
    """Table 1: paper, its authors' logs and ours, identity and the classical methods first.

    Args:
        results: from :func:`nseg_lib.tables.read_rows`.
        printed: the paper's, :func:`nseg_lib.paper.numbers`.
        authors: :func:`nseg_lib.paper.authors_logs`.
        profile: its name; a verdict is given in the paper's own setting only.
    """
    val, logit, test = _summaries(results)
    theirs = printed["table1"]
    models = [*theirs, *(m for m in val if m not in theirs and m not in BASELINES)]
    rows, numbers = [], []
    for method in [*BASELINES, *models]:
        paper, ours, judged = theirs.get(method, {}), val.get(method), test.get(method)
        row: Cells = {("", "method"): method}
        for name in PAPER_METRICS:
            row[LABELS[name], "paper"] = number(paper.get(name, math.nan), name)
            row[LABELS[name], "ours"] = mean_cell(ours, name) if ours else "–"
        row |= _authors_cells(authors, method)
        row["", "verdict"] = _verdict(method, ours, paper, printed["tolerance"], profile)
        row |= _against_identity("validation", ours, method)
        row["validation", "IoU, logit > .5"] = mean_cell(logit[method], "iou") if ours else "–"
        if test:
            for name in ON_TEST:
                row["test", LABELS[name]] = mean_cell(judged, name) if judged else "–"
            row |= _against_identity("test", judged, method)
        rows.append(row)
        for split, summary in (("val", ours), ("test", judged)):
            if summary or split == "val":
                known = {f"paper_{k}": v for k, v in paper.items()} if split == "val" else {}
                numbers.append({"method": method, "split": split, **known, **(summary or {})})
    return Table(
        "Table 1. Paper and ours, by method.",
        grouped(rows),
        pd.DataFrame(numbers).round(6),
        _notes1(results, val, test, printed["tolerance"], profile, models),
    )


def _summaries(results: pd.DataFrame) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Method → its row of a summary: validation, validation by the logit rule, test."""
    wanted = [("val", "probability"), ("val", "logit")]
    if "test" in set(results["split"]):
        wanted.append(("test", "probability"))
    found = []
    for split, rule in wanted:
        summary = summarise(results, split=split, rule=rule)
        found.append({row["method"]: row for row in summary.to_dict("records")})
    return found[0], found[1], found[2] if len(found) > 2 else {}


def _authors_cells(authors: pd.DataFrame, method: str) -> Cells:
    """The epoch that the authors' row comes from, and what stood beside it."""
    group = "authors' log, IoU"
    log = authors[authors["model"] == method]
    if log.empty:
        return {(group, column): "–" for column in ("epoch", "there", "before, after")}
    epoch, there, near = around_the_best(log, "val_iou")
    return {
        (group, "epoch"): f"{epoch} of {len(log)}",
        (group, "there"): number(there, "iou"),
        (group, "before, after"): ", ".join(number(value, "iou") for value in near),
    }


def _verdict(
    method: str,
    ours: Any,
    paper: Mapping[str, float],
    tolerance: Mapping[str, float],
    profile: str,
) -> str:
    if not ours:
        return NOT_RUN
    if not paper or profile != "paper":
        return "–"
    off = [n for n in tolerance if abs(ours[n] - paper[n]) > tolerance[n]]
    return "agrees" if not off else f"differs: {', '.join(LABELS[n] for n in off)}"


def _against_identity(group: str, row: Any, method: str) -> Cells:
    judged = row is not None and method != "identity"
    return {
        (group, "Δ IoU to identity [95 %]"): difference_cell(row, "iou") if judged else "–",
        (group, "made worse"): f"{100 * row['made_worse']:.0f} %" if judged else "–",
    }


def _notes1(
    results: pd.DataFrame,
    val: Mapping[str, Any],
    test: Mapping[str, Any],
    tolerance: Mapping[str, float],
    profile: str,
    models: Sequence[str],
) -> tuple[str, ...]:
    size = f"{results['width'].median():.0f}x{results['height'].median():.0f}"
    counts = f"{val['identity']['n']} validation"
    if test:
        counts += f" and {test['identity']['n']} untouched test"
    seeds = sorted({int(row["seeds"]) for m, row in val.items() if m not in BASELINES})
    trained = f"Seeds a model: {' or '.join(map(str, seeds))}. " if seeds else ""
    within = ", ".join(f"{LABELS[n]} {value:g}" for n, value in tolerance.items())
    judged = (
        f"Verdict: whether our mean is within a tolerance of the paper's ({within}), fixed with "
        "its reason in reports/paper.yml before any network was trained in this setting."
        if profile == "paper"
        else "No verdict on the paper's numbers is given in this setting, see reports/paper.yml; "
        f"the tolerance for one: {within}."
    )
    missing = [name for name in models if name not in val]
    return (
        f"Ours: {counts} pictures, one object and one frozen stroke each, {size} in the median "
        f"where the paper's are 640x480: distances in pixels shrink with that. {trained}A mask is "
        "where the probability is above .5; the released code took logit > .5, the column of that "
        "name. The first eight columns and the group “validation” are of validation pictures, "
        "which also chose each model's epoch, in the paper as here; test pictures chose nothing.",
        "identity is the stroke unchanged; the paper has no such row. Δ is the mean of the "
        "per-picture differences to it with a bootstrap interval over pictures; made worse is the "
        f"share of pictures whose IoU falls by more than {IOU_MARGIN}.",
        "The paper's row is one epoch, the one of lowest validation loss, of one training; the "
        "authors' logs give what stood one epoch before and after it. " + judged,
        *([f"{NOT_RUN.capitalize()}: {', '.join(missing)}."] if missing else []),
    )


def table2(sizes: Sequence[ModelSize], printed: Mapping[str, float]) -> Table:
    """Table 2: the paper's sizes beside weights and training checkpoint.

    Args:
        sizes: of each model, :func:`nseg_lib.models.size`.
        printed: the paper's "MB", ``paper.numbers()["table2"]``.
    """
    rows, numbers = [], []
    for size in sizes:
        paper = printed.get(size.name, math.nan)
        mib = {"weights": size.weight_bytes / 2**20, "checkpoint": size.checkpoint_bytes / 2**20}
        rows.append(
            {
                ("", "method"): size.name,
                ("", "parameters"): f"{size.parameters:,}",
                ("paper", "MB"): "–" if math.isnan(paper) else f"{paper:.2f}",
                ("ours, MiB", "weights"): f"{mib['weights']:.2f}",
                ("ours, MiB", "with Adam's moments"): f"{mib['checkpoint']:.2f}",
                ("", "GFLOP at 640x480"): f"{size.gflop:.1f}",
            }
        )
        numbers.append(
            {
                "method": size.name,
                "parameters": size.parameters,
                "paper_mb": paper,
                "weights_mib": mib["weights"],
                "checkpoint_mib": mib["checkpoint"],
                "gflop_640x480": size.gflop,
            }
        )
    note = (
        "The paper's MB are MiB of a training checkpoint: the weights and Adam's two moments, "
        "three times what a user has to load, and some overhead."
    )
    return Table("Table 2. Size of each model.", grouped(rows), pd.DataFrame(numbers), (note,))


# --- beyond the paper's two -----------------------------------------------------------------------


def runs_table(e: Evidence) -> Table:
    """Every run that the profile plans or has, done or not, with its command."""
    rows = [_baselines_row(e)]
    for model in e.models:
        for seed in e.seeds(model):
            logged = [run for run in e.logs.get(model, []) if run.seed == seed]
            rows.append(_run_row(e, model, seed, logged[0] if logged else None))
    done = sum(row["state"] == "done" for row in rows[1:])
    note = (
        f"{done} of {len(rows) - 1} trainings are done. Kept is the epoch of lowest validation "
        "loss; the first is 0. Minutes are of training (of evaluating, for the baselines), on a "
        "machine that other work may have shared. A “+” after a commit: with changes not in it."
    )
    text = [{("", key): value for key, value in row.items()} for row in rows]
    return Table("Every run.", grouped(text), pd.DataFrame(rows), (note,))


def _baselines_row(e: Evidence) -> dict[str, str]:
    record = e.record("baselines")
    command = f"nseg evaluate --data {e.profile.data.folder.as_posix()} --scale {e.profile.scale}"
    command += f" --out reports/{e.profile.name}/baselines"
    row = {"run": "baselines, identity first", "state": "done", "epochs": "–", "kept": "–"}
    row |= {f"{split} IoU": _mean_iou(e, split, "identity") for split in e.splits}
    return row | _provenance(record) | {"command": command}


def _run_row(e: Evidence, model: str, seed: int, run: Run | None) -> dict[str, str]:
    row = {"run": f"{model}, seed {seed}", "state": NOT_RUN, "epochs": "–", "kept": "–"}
    record: dict[str, Any] = {}
    if run is not None:
        record = read_json(run.folder / "weights.safetensors.json")
        row |= {"epochs": str(len(run.log())), "kept": str(run.best_epoch)}
    means = {f"{split} IoU": _mean_iou(e, split, model, seed) for split in e.splits}
    row["state"] = run_state(e.profile, run, evaluated=any(m != "–" for m in means.values()))
    return row | means | _provenance(record) | {"command": train_command(e.profile, model, seed)}


def run_state(profile: Profile, run: Run | None, *, evaluated: bool) -> str:
    """``not run``, ``unfinished, …``, ``cut short, …`` or ``done``.

    A run is at its end after the profile's epochs, or where early stopping ends it; one that was
    ended before and evaluated all the same is cut short.
    """
    if run is None:
        return "done, its log is not kept" if evaluated else NOT_RUN
    epochs = int(profile.settings.get("training.epochs", 50))
    patience = int(profile.settings.get("training.patience", 5))
    taken = len(run.log())
    if taken >= epochs or taken - 1 - run.best_epoch >= patience:
        return "done" if evaluated else "trained, not evaluated"
    return f"{'cut short' if evaluated else 'unfinished'}, {taken} of {epochs} epochs"


def _mean_iou(e: Evidence, split: str, method: str, seed: int | None = None) -> str:
    rows = e.results[(e.results["method"] == method) & (e.results["split"] == split)]
    rows = rows if seed is None else rows[rows["seed"] == seed]
    return number(rows["iou"].mean(), "iou") if len(rows) else "–"


def _provenance(record: Mapping[str, Any]) -> dict[str, str]:
    if not record:
        return dict.fromkeys(("minutes", "finished", "where", "commit"), "–")
    commit = (record["commit"] or "–")[:8] + (" +" if record["dirty"] else "")
    return {
        "minutes": f"{record['seconds'] / 60:.1f}",
        "finished": record.get("finished", "–").replace("T", " ")[:16],
        "where": record["device"],
        "commit": commit,
    }


def categories(results: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """What the models add to the stroke in each supercategory, validation and test together.

    Args:
        results: from :func:`nseg_lib.tables.read_rows`.
        models: whose mean is taken, per picture first.

    Returns:
        Rows by falling ``n``: ``supercategory``, ``n`` (pictures), ``identity`` and ``models``
        (mean IoU), ``difference``, and ``low`` and ``high``, its 95 % interval over pictures.
    """
    key = ["supercategory", "split", "image_id", "annotation_id"]
    wide = results.groupby([*key, "method"])["iou"].mean().unstack()
    added = pd.DataFrame({"identity": wide["identity"], "models": wide[list(models)].mean(axis=1)})
    rows = []
    for name, part in added.groupby("supercategory"):
        difference = (part["models"] - part["identity"]).to_numpy()
        pictures = part.index.get_level_values("image_id").to_numpy()
        low, high = bootstrap_interval(difference[:, None], pictures)
        means = {"identity": part["identity"].mean(), "models": part["models"].mean()}
        row = {"supercategory": name, "n": len(part), **means, "difference": difference.mean()}
        rows.append(row | {"low": low[0], "high": high[0]})
    columns = ["supercategory", "n", "identity", "models", "difference", "low", "high"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.sort_values(["n", "supercategory"], ascending=[False, True], ignore_index=True)


def categories_table(e: Evidence) -> Table:
    """:func:`categories` of the paper's models that have rows, as a table."""
    found = categories(e.results, e.evaluated)
    rows = [
        {
            ("", "supercategory"): str(row["supercategory"]),
            ("", "pictures"): str(row["n"]),
            ("IoU", "stroke unchanged"): number(row["identity"], "iou"),
            ("IoU", "models"): number(row["models"], "iou"),
            ("IoU", "difference [95 %]"): _category_cell(row),
        }
        for row in found.to_dict("records")
    ]
    note = (
        f"No interval for fewer than {FEWEST} pictures. "
        f"Mean over {', '.join(e.evaluated) or 'no model'}; validation and test pictures together; "
        "the largest object of each picture. Training had pictures of all of these categories: "
        "this is no test on categories never seen."
    )
    return Table("What the models add, by supercategory.", grouped(rows), found.round(6), (note,))


def _category_cell(row: Mapping[Any, Any]) -> str:
    mean, low, high = (number(row[k], "iou", "+") for k in ("difference", "low", "high"))
    return f"{mean} [{low}, {high}]" if row["n"] >= FEWEST else mean
