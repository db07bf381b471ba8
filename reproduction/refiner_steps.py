"""What each step from lite0 to lite1 gives: the same prompts and corrections, answered by each.

On the validation split, for it is there that the steps were chosen. ``python -m
reproduction.refiner_steps --data data/coco1000`` judges what is not judged yet and goes on where it
stopped; ``--table`` only writes the table anew.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nseg_lib.data.frozen import BOXED
from nseg_lib.evaluation import tables
from nseg_lib.evaluation.corrections import CURVE
from nseg_lib.evaluation.judge import Plan, evaluate_method
from nseg_lib.evaluation.methods import Method, method
from nseg_lib.evaluation.summary import bootstrap_interval
from nseg_lib.files import write_atomic
from nseg_lib.networks.weights import shipped
from nseg_lib.refine import Refiner
from reproduction.words import notes

STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "lite0, two looks": ("lite0", {"looks": 2, "local": False}),
    "a third look": ("lite0", {"looks": 3, "local": False}),
    "corrections near their marks": ("lite0", {"looks": 3, "local": True}),
    "lite1": ("lite1", {"looks": 3, "local": True}),
}
"""Name → the network, and how it is asked. Each step keeps what the one before it brought."""

KINDS = (
    "erode", "sparse", "sparse_object", "dense", "plain_sparse", "plain_object", "click", *BOXED,
)  # fmt: skip
"""Kinds of prompt that are judged."""

AFTER = (1, 2, 4, CURVE)
"""Strokes after which corrections are judged."""

HURT = 0.005
"""A correction that lowers the IoU by more than this hurts."""


def _file(name: str) -> str:
    return name.replace(",", "").replace(" ", "_")


def run(data: Path, out: Path, pictures: int | None) -> Path:
    """Judge every step; the table, as Markdown, beside its rows."""
    plan = Plan(data, out, "val", KINDS, ("plain",), pictures)
    evaluate_method(
        method("identity"), Plan(data, out, "val", KINDS, pictures=pictures, corrected=0)
    )
    for name, (network, asked) in STEPS.items():
        refiner = Refiner.from_pretrained(network)
        config = refiner.config.model_copy(
            update={"network": refiner.config.network.model_copy(update=asked)}  # type: ignore[union-attr]
        )
        predictor = Refiner(refiner.network, config)
        seed = config.training.seed
        evaluate_method(Method(_file(name), predictor, seed, shipped(network)), plan)
    for file, text in tables_of(out).items():
        write_atomic(out / file, text)
    return out / "steps.md"


def tables_of(out: Path) -> dict[str, str]:
    """``steps.csv`` and ``steps.md`` from the rows of every step, as text."""
    rows = {name: pd.read_csv(out / "rows" / f"{_file(name)}.csv") for name in STEPS}
    games = {name: pd.read_csv(out / "corrections" / f"{_file(name)}.csv") for name in STEPS}
    first = next(iter(STEPS))
    csv, cells = ["step,what,n,value,difference,low,high"], []
    for name in STEPS:
        line = [name]
        of_kinds = {kind: _by_picture(rows[name], kind) for kind in KINDS}
        compared = {kind: _by_picture(rows[first], kind) for kind in KINDS}
        curve, curve_first = (_curve(games[which]) for which in (name, first))
        of_kinds |= {f"after {n}": curve[n] for n in AFTER}
        compared |= {f"after {n}": curve_first[n] for n in AFTER}
        for what, values in of_kinds.items():
            change = (values - compared[what]).dropna()
            low, high = bootstrap_interval(change.to_numpy()[:, None], change.index.to_numpy())
            numbers = [values.mean(), change.mean(), low[0], high[0]]
            csv.append(",".join([name, what, str(len(change)), *(f"{v:.4f}" for v in numbers)]))
            line.append(f"{numbers[0]:.3f}")
            if name != first:
                line[-1] += " ({:+.3f} [{:+.3f}, {:+.3f}])".format(*numbers[1:])
        hurt, count = _hurt(games[name])
        csv.append(f"{name},hurt,{count},{hurt:.4f},,,")
        cells.append([*line, f"{100 * hurt:.1f} %"])
    counted = {kind: int((rows[first]["recipe"] == kind).sum()) for kind in KINDS}
    (note,) = notes("refiner_steps", counts=counted, corrected=len(_curve(games[first])), hurt=HURT)
    head = ["step", *KINDS, *(f"after {n}" for n in AFTER), "hurt"]
    # One line a kind: a table of sixteen columns is wider than any page.
    turned = [list(column) for column in zip(head, *cells, strict=True)]
    text = f"{note}\n\n{tables.markdown(turned[0], turned[1:])}"
    return {"steps.csv": "\n".join(csv) + "\n", "steps.md": text}


def _by_picture(rows: pd.DataFrame, kind: str) -> pd.Series:
    return rows[rows["recipe"] == kind].set_index("image_id")["iou"]


def _curve(game: pd.DataFrame) -> pd.DataFrame:
    """IoU after each stroke, a row per picture; where a picture is left early, its last one."""
    table = game.pivot(index="image_id", columns="round", values="iou")
    return table.reindex(columns=range(1, CURVE + 1)).ffill(axis=1)


def _hurt(game: pd.DataFrame) -> tuple[float, int]:
    """The share of corrections within the first strokes that hurt, and how many there were."""
    early = game[game["round"] <= CURVE].sort_values(["image_id", "round"])
    change = early.groupby("image_id")["iou"].diff().dropna().to_numpy()
    return float(np.mean(change < -HURT)), len(change)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/coco1000"))
    parser.add_argument("--out", type=Path, default=Path("reports/refiner/steps"))
    parser.add_argument("--pictures", type=int, help="only so many, for a rehearsal")
    parser.add_argument("--table", action="store_true", help="only write the table anew")
    args = parser.parse_args()
    if args.table:
        for name, text in tables_of(args.out).items():
            write_atomic(args.out / name, text)
    else:
        print(run(args.data, args.out, args.pictures))


if __name__ == "__main__":
    main()
