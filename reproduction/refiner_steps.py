"""What each step from lite0 to lite1 gives: the same prompts and corrections, answered by each.

On the validation split, for it is there that the steps were chosen; the shipped refiners also on
the test pictures whose object has neighbours of its kind, and what it gains to ask for a part or
the whole. ``python -m
reproduction.refiner_steps --data data/coco1000`` judges what is not judged yet and goes on where it
stopped; ``--table`` only writes the table anew.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from nseg_lib.arrays import Image, Logits
from nseg_lib.config import RefinerConfig
from nseg_lib.data import coco, frozen
from nseg_lib.data.frozen import BOXED
from nseg_lib.evaluation import tables
from nseg_lib.evaluation.calibration import fit_temperature, reliability
from nseg_lib.evaluation.corrections import CURVE
from nseg_lib.evaluation.judge import Plan, evaluate_method
from nseg_lib.evaluation.methods import Method, method
from nseg_lib.evaluation.rows import evaluate, note
from nseg_lib.files import write_atomic
from nseg_lib.networks import crops
from nseg_lib.networks.looks import OUTSIDE
from nseg_lib.networks.weights import checkpoint_file, shipped
from nseg_lib.prompt import Extent, Prompt
from nseg_lib.refine import Refiner
from reproduction.refiner_ablation import cell, compared, file_name, iou_by_picture
from reproduction.words import notes

LONGER = "runs/refiner/longer/weights.safetensors"
"""Not shipped: ``nseg train-refiner --recipe lite1 --data data/coco1000 --persons data/ccp --out
runs/refiner/longer --set training.steps=4800 --set training.cycles=2``."""

STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "lite0, two looks": ("lite0", {"looks": 2, "local": False}),
    "three looks, corrections near their marks": ("lite0", {"looks": 3, "local": True}),
    "lite1": ("lite1", {"looks": 3, "local": True}),
    "lite1, trained twice as long": (LONGER, {"looks": 3, "local": True}),
}
"""Name → the network, and how it is asked. The third look changes first answers alone, and where a
correction may change a mask concerns corrections alone, so one step tells of both."""

KINDS = (
    "erode", "sparse", "sparse_object", "dense", "plain_sparse", "plain_object", "click", *BOXED,
)  # fmt: skip
"""Kinds of prompt that are judged."""

ALIKE = ("alike", "alike, finished")
"""A line on an object that has neighbours of its kind, alone, and with these marked as finished."""

SHIPPED = ("lite0", "lite1")
"""The refiners that come with nseg are also judged on such objects of the test split."""

NEAR = 0.25
"""A neighbour's box is no farther than this, in times the object's longer side."""

EXTENTS: dict[str, Extent] = {"first answer": "object", "more": "whole", "less": "part"}
"""The answers that a person can ask for with the same strokes."""

AMBIGUOUS = ("sparse", "sparse_object", "plain_object", "click", "plain_object+box")
"""Kinds of prompt that may mean more or less."""

AFTER = (1, 2, 4, CURVE)
"""Strokes after which corrections are judged."""

CALIBRATED = ("erode", "sparse", "plain_object", "plain_object+box")
"""Kinds of prompt that lite1's temperature is fitted on."""

PIXELS = 4000
"""Pixels of each answer that count for it, drawn by chance."""

HURT = 0.005
"""A correction that lowers the IoU by more than this hurts."""


def run(data: Path, out: Path, pictures: int | None) -> Path:
    """Judge every step; the table, as Markdown, beside its rows."""
    plan = Plan(data, out, "val", KINDS, ("plain",), pictures)
    alone = Plan(data, out, "val", KINDS, pictures=pictures, corrected=0)
    evaluate_method(method("identity"), alone)
    split = coco.load_split(data, "val")
    for name, (network, asked) in STEPS.items():
        weights = checkpoint_file(network)
        if not weights.exists() and (out / "rows" / f"{file_name(name)}.csv").exists():
            continue  # judged where its weights were
        refiner = Refiner.load(weights)
        assert isinstance(refiner.config, RefinerConfig)
        network_config = refiner.config.network.model_copy(update=asked)
        config = refiner.config.model_copy(update={"network": network_config})
        predictor = Refiner(refiner.network, config)
        step = Method(file_name(name), predictor, config.training.seed, weights)
        evaluate_method(step, plan)
        judge_alike(step, split, out)
    calibrate(split, out, pictures)
    judge_extents(split, out, pictures)
    test = coco.load_split(data, "test")
    for name in SHIPPED:
        judge_alike(method(name), test, out / "test")
    return write_table(out)


def write_table(out: Path) -> Path:
    """Write :func:`tables_of` beside the rows; the Markdown's path."""
    for name, text in tables_of(out).items():
        write_atomic(out / name, text)
    return out / "steps.md"


def calibrate(split: coco.Split, out: Path, pictures: int | None = None) -> Path:
    """How sure lite1 is and how right, as it is shipped, and the temperature that fits best.

    Writes ``calibration.csv``: the temperature, 1 in the first rows and the fitted one in the
    others; the pixels in each tenth of the probability, their mean probability, and the share of
    them that is object.
    """
    refiner, began = Refiner.from_pretrained("lite1"), time.monotonic()
    rng = np.random.default_rng(0)
    logits, truth = list[Any](), list[Any]()
    for sample in frozen.prompt_samples(split, CALIBRATED, pictures):
        prompt = Prompt(sample.stroke, sample.background, box=sample.box)
        answer = refiner.logits(sample.image, prompt)
        # Beyond what was looked at, nothing was answered.
        seen = np.flatnonzero(answer > OUTSIDE)
        chosen = rng.choice(seen, min(PIXELS, len(seen)), replace=False)
        logits.append(answer.flat[chosen])
        truth.append(sample.mask.flat[chosen])
    all_logits, all_truth = np.concatenate(logits), np.concatenate(truth)
    fitted = fit_temperature(all_logits, all_truth)
    found = []
    for temperature in (1.0, fitted):
        sure = expit(all_logits / np.float32(temperature)).astype(np.float32)
        found.append(reliability(sure, all_truth).assign(temperature=round(temperature, 3)))
    file = out / "calibration.csv"
    text = pd.concat(found)[["temperature", "pixels", "probability", "object"]]
    write_atomic(file, text.round(4).to_csv(index=False, lineterminator="\n"))
    inputs = [coco.find_splits(split.root)[split.name], shipped("lite1")]
    note(file, {"kinds": CALIBRATED, "pixels": PIXELS}, inputs, time.monotonic() - began)
    return file


def judge_alike(judged: Method, split: coco.Split, out: Path) -> Path:
    """Rows of a method on the objects that have neighbours of their kind; the file."""
    file, began = out / "alike" / f"{judged.name}.csv", time.monotonic()
    evaluate([judged], alike_samples(split), file, released_rule=False)
    inputs = [coco.find_splits(split.root)[split.name]]
    note(file, {"method": judged.name}, inputs, time.monotonic() - began)
    return file


@dataclass(frozen=True)
class Asked:
    """A refiner that is asked for a part or the whole."""

    refiner: Refiner
    extent: Extent

    def logits(self, image: Image, prompt: Prompt) -> Logits:
        """As the refiner's."""
        return self.refiner.logits(image, replace(prompt, extent=self.extent))


def judge_extents(split: coco.Split, out: Path, pictures: int | None = None) -> Path:
    """Rows of each of lite1's answers to the prompts that may mean more or less; the file."""
    file, began = out / "extents" / "lite1.csv", time.monotonic()
    refiner = Refiner.from_pretrained("lite1")
    asked = [Method(name, Asked(refiner, extent)) for name, extent in EXTENTS.items()]
    samples = frozen.prompt_samples(split, AMBIGUOUS, pictures)
    evaluate(asked, samples, file, released_rule=False)
    inputs = [coco.find_splits(split.root)[split.name], shipped("lite1")]
    note(file, {"kinds": AMBIGUOUS, "answers": list(EXTENTS)}, inputs, time.monotonic() - began)
    return file


def alike_samples(split: coco.Split) -> Iterator[frozen.Sample]:
    """Both of :data:`ALIKE` for each largest object that has a neighbour of its kind near by."""
    for image_id, target in frozen.targets(split).items():
        same = [
            a for a in split.annotations[image_id]
            if a["category_id"] == target["category_id"] and a is not target and not a["iscrowd"]
        ]  # fmt: skip
        mask = split.mask(image_id, target)
        box = crops.bounding_box(mask)
        masks = [split.mask(image_id, other) for other in same]
        near = [m for m in masks if m.any() and box.gap(crops.bounding_box(m)) <= NEAR * box.longer]
        if target["iscrowd"] or not near:
            continue
        rng = frozen.generator("plain_object", frozen.EVALUATION_SEED, image_id, target["id"])
        line, image = frozen.draw(mask, "plain_object", rng).object, split.read_image(image_id)
        category = str(split.categories[target["category_id"]].get("name", ""))
        walls = np.logical_or.reduce(near) & ~mask & ~line
        for kind, background in zip(ALIKE, (None, walls), strict=True):
            about = split.name, kind, image_id, int(target["id"]), category, ""
            yield frozen.Sample(*about, image, mask, line, background)


def tables_of(out: Path) -> dict[str, str]:
    """``steps.csv`` and ``steps.md`` from the rows of every step, as text."""
    rows = {name: pd.read_csv(out / "rows" / f"{file_name(name)}.csv") for name in STEPS}
    alike = {name: pd.read_csv(out / "alike" / f"{file_name(name)}.csv") for name in STEPS}
    games = {name: pd.read_csv(out / "corrections" / f"{file_name(name)}.csv") for name in STEPS}
    first = next(iter(STEPS))
    csv, cells = ["step,what,n,value,difference,low,high"], []
    for name in STEPS:
        line = [name]
        values_of, before = (
            {kind: iou_by_picture(rows[which], kind) for kind in KINDS}
            | {kind: iou_by_picture(alike[which], kind) for kind in ALIKE}
            | {f"after {n}": _curve(games[which])[n] for n in AFTER}
            for which in (name, first)
        )
        for what, values in values_of.items():
            count, numbers = compared(values, before[what])
            csv.append(",".join([name, what, str(count), *(f"{v:.4f}" for v in numbers)]))
            line.append(cell(numbers, alone=name == first))
        hurt, count = _hurt(games[name])
        csv.append(f"{name},hurt,{count},{hurt:.4f},,,")
        cells.append([*line, f"{100 * hurt:.1f} %"])
    together = pd.concat([rows[first], alike[first]])
    counted = {kind: int((together["recipe"] == kind).sum()) for kind in (*KINDS, *ALIKE)}
    (note,) = notes("refiner_steps", counts=counted, corrected=len(_curve(games[first])), hurt=HURT)
    head = ["step", *KINDS, *ALIKE, *(f"after {n}" for n in AFTER), "hurt"]
    # One line a kind: a table of sixteen columns is wider than any page.
    turned = [list(column) for column in zip(head, *cells, strict=True)]
    text = f"{note}\n\n{tables.markdown(turned[0], turned[1:])}"
    return {"steps.csv": "\n".join(csv) + "\n", "steps.md": text, "alike.md": alike_table(out),
            "extents.md": extents_table(out)}  # fmt: skip


def alike_table(out: Path) -> str:
    """Objects with neighbours of their kind on the test split, as Markdown: a row per refiner."""
    rows = {name: pd.read_csv(out / "test" / "alike" / f"{name}.csv") for name in SHIPPED}
    first, lines = SHIPPED[0], list[list[str]]()
    for name, frame in rows.items():
        numbers = [
            compared(iou_by_picture(frame, kind), iou_by_picture(rows[first], kind))
            for kind in ALIKE
        ]
        lines.append([name, *(cell(of, alone=name == first) for _, of in numbers)])
    counted = int((rows[first]["recipe"] == ALIKE[0]).sum())
    (note,) = notes("refiner_alike", count=counted)
    return f"{note}\n\n{tables.markdown(['refiner', *ALIKE], lines)}"


def extents_table(out: Path) -> str:
    """What asking for more or for less gains, as Markdown: a row per kind of prompt."""
    rows = pd.read_csv(out / "extents" / "lite1.csv")
    lines = list[list[str]]()
    for kind in AMBIGUOUS:
        found = rows[rows["recipe"] == kind].pivot(index="image_id", columns="method", values="iou")
        first, best = found["first answer"], found.max(axis=1)
        means = [f"{found[name].mean():.3f}" for name in EXTENTS]
        _, numbers = compared(best, first)
        lines.append([kind, str(len(found)), *means, cell(numbers, alone=False)])
    (note,) = notes("refiner_extents")
    head = ["prompt", "n", *EXTENTS, "best of the three"]
    return f"{note}\n\n{tables.markdown(head, lines)}"


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
    print(write_table(args.out) if args.table else run(args.data, args.out, args.pictures))


if __name__ == "__main__":
    main()
