"""What each ingredient of the refiner adds: the recipe, and the recipe without it, side by side.

Every variant is trained alike, shorter and at a smaller size than the network that is shipped, and
judged on the validation split, for the recipe was chosen there. A difference is that of the same
pictures and strokes. ``python -m reproduction.refiner_ablation --data data/coco1000`` trains
what is not trained yet and goes on where it stopped; ``--table`` only writes the table anew.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from nseg_lib.config import RefinerConfig, load
from nseg_lib.data import coco
from nseg_lib.data.frozen import freeze_prompts, prompt_samples
from nseg_lib.evaluation import tables
from nseg_lib.evaluation.methods import Method, method
from nseg_lib.evaluation.rows import evaluate, note
from nseg_lib.evaluation.summary import bootstrap_interval
from nseg_lib.files import write_atomic
from nseg_lib.refine import Refiner
from nseg_lib.training import refiner as training
from reproduction.words import notes

SHORT: dict[str, Any] = {
    "training.steps": 250, "training.size": [160], "training.warmup": 25, "training.cycles": 1,
    "network.look": 192, "network.zoom": 224, "edge": None,
}  # fmt: skip
"""What sets the trainings compared here apart from the shipped network's: they are short and small,
and so are their looks; none has an edge network but the variants that are about it."""

SHORT_EDGE: dict[str, Any] = {"objects": 400, "training": {"steps": 500, "warmup": 50, "cycles": 1}}
"""Likewise of the edge network's training."""


def _short_edge(**changes: Any) -> dict[str, Any]:
    edge = load("lite0", kind=RefinerConfig).edge
    assert edge is not None
    values = edge.model_dump(mode="json")
    values["training"] |= SHORT_EDGE["training"]
    return {"edge": values | {"objects": SHORT_EDGE["objects"]} | changes}


VARIANTS: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "encoder not pretrained": {"training.pretrained": False},
    "released strokes alone": {"prompts.mix": {"erode": 1.0}, "prompts.late": None},
    "no predictions fed back": {"prompts.feedback": 0.0},
    "no stroke similarity": {"network.similarity": False},
    "strokes as distances": {"network.distance": True},
    "edge weighted": {"training.edge": 2.0},
    "focal loss": {"training.focal": 2.0},
    "no soft IoU in the loss": {"training.overlap": 0.0},
    "learning rate not lowered": {"training.cosine": False},
    "weights not averaged": {"training.average": 0.0},
    "neither mirrored nor recoloured": {"training.augment": False},
    "crops as the looks cut them": {"training.scales": False},
    "batches of one": {"training.batch_size": 1, "training.steps": 2000, "training.warmup": 200},
    "largest objects alone": {"prompts.largest": 1.0},
    "one look": {"network.looks": 1},
    "background strokes do not widen the first look": {"network.beside": 0.0},
    "an edge network": _short_edge(),
    "an edge network from random weights": _short_edge(start=None),
}
"""Name → settings that leave one ingredient out, or bring one in."""

ASKED = {
    "one look",
    "background strokes do not widen the first look",
    "an edge network",
    "an edge network from random weights",
}
"""Variants that ask the recipe's own network otherwise, or go on from it."""

IDENTITY = "stroke unchanged"
"""What doing nothing gives, beside the variants."""

KINDS = ("erode", "sparse", "sparse_object", "dense", "plain_sparse")
"""Kinds of prompt that are judged."""


say = partial(print, flush=True)


def file_name(name: str) -> str:
    """What the file or folder of a variant is called, without its ending."""
    return name.replace(",", "").replace(" ", "_")


def run(data: Path, runs: Path, out: Path, pictures: int | None, names: list[str]) -> Path:
    """Train and judge the variants; the table, as Markdown, beside its rows."""
    split = coco.load_split(data, "val")
    prompts = (freeze_prompts(split, kind).path for kind in KINDS)
    of = [coco.find_splits(data)["val"], *prompts]

    def judge(judged: Method, name: str, config: Any, *inputs: Path) -> None:
        began, file = time.monotonic(), out / f"{file_name(name)}.csv"
        samples = prompt_samples(split, KINDS, pictures=pictures)
        evaluate([judged], samples, file, released_rule=False)
        note(file, config, [*of, *inputs], time.monotonic() - began)

    judge(method("identity"), IDENTITY, None)
    if "the recipe" not in names and not (out / f"{file_name('the recipe')}.csv").exists():
        names = ["the recipe", *names]  # what the others are compared with
    for name in names:
        trained = "the recipe" if name in ASKED else name
        config = load("lite0", SHORT | VARIANTS[trained], kind=RefinerConfig)
        weights = training.train(config, data, runs / file_name(trained), workers=0, say=say)
        assert weights is not None
        asked = load("lite0", SHORT | VARIANTS[name], kind=RefinerConfig)
        if asked.edge is not None:
            weights = training.train_edge(
                asked.edge, weights, data, runs / file_name(name), workers=0, say=say
            )
            assert weights is not None
        refiner = Refiner(Refiner.load(weights).network, asked)
        judge(Method(name, refiner), name, asked, weights)
    return write_table(out)


def write_table(out: Path) -> Path:
    """Write :func:`tables_of` beside the rows; the Markdown's path."""
    for name, text in tables_of(out).items():
        write_atomic(out / name, text)
    return out / "ablation.md"


def tables_of(out: Path) -> dict[str, str]:
    """``ablation.csv`` and ``ablation.md`` from the variants' rows, as text."""
    found = {name: out / f"{file_name(name)}.csv" for name in (IDENTITY, *VARIANTS)}
    rows = {name: pd.read_csv(path) for name, path in found.items() if path.exists()}
    csv, cells, counts = ["variant,kind,n,iou,difference,low,high"], [], Counter[str]()
    for name, table in rows.items():
        line = [name]
        for kind in KINDS:
            iou, whole = (iou_by_picture(t, kind) for t in (table, rows["the recipe"]))
            count, numbers = compared(iou, whole)
            fields = [f"{value:.4f}" for value in numbers]
            csv.append(",".join([name, kind, str(count), *fields]))
            line.append(cell(map(float, fields), alone=name == "the recipe"))
            counts[kind] = max(counts[kind], count)
        cells.append(line)
    (note,) = notes(
        "refiner_ablation",
        counts=counts,
        steps=SHORT["training.steps"],
        single=VARIANTS["batches of one"]["training.steps"],
        settings=SHORT,
        edge=SHORT_EDGE["training"] | {"objects": SHORT_EDGE["objects"]},
    )
    text = f"{note}\n\n{tables.markdown(['variant', *KINDS], cells)}"
    return {"ablation.csv": "\n".join(csv) + "\n", "ablation.md": text}


def iou_by_picture(rows: pd.DataFrame, kind: str) -> pd.Series:
    """The IoU of each picture's prompt of one kind, by the picture's id."""
    return rows[rows["recipe"] == kind].set_index("image_id")["iou"]


def compared(values: pd.Series, base: pd.Series) -> tuple[int, list[float]]:
    """Compare a value per picture with another one of the same pictures.

    Returns:
        How many pictures have both; the mean of the values, their mean difference to the base, and
        the ends of its 95 % interval.
    """
    change = (values - base).dropna()
    low, high = bootstrap_interval(change.to_numpy()[:, None], change.index.to_numpy())
    return len(change), [values.mean(), change.mean(), low[0], high[0]]


def cell(numbers: Iterable[float], *, alone: bool) -> str:
    """The numbers of :func:`compared` as a table has them; ``alone``: the mean without the rest."""
    mean, *change = numbers
    text = "{:+.3f} [{:+.3f}, {:+.3f}]".format(*change)
    return f"{mean:.3f}" if alone else f"{mean:.3f} ({text})"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/coco1000"))
    parser.add_argument("--runs", type=Path, default=Path("runs/refiner/ablation"))
    parser.add_argument("--out", type=Path, default=Path("reports/refiner/ablation"))
    parser.add_argument("--pictures", type=int, help="only so many, for a rehearsal")
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), help="some variants")
    parser.add_argument("--table", action="store_true", help="only write the table anew")
    args = parser.parse_args()
    if args.table:
        print(write_table(args.out))
    else:
        names = args.only or list(VARIANTS)
        print(run(args.data, args.runs, args.out, args.pictures, names))


if __name__ == "__main__":
    main()
