"""Chapter 10's slices: what each picture is like, and how a network does on such pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from nseg_lib.course import look, probes
from nseg_lib.data.coco import load_split
from nseg_lib.data.frozen import EvaluationSamples
from nseg_lib.evaluation import metrics
from nseg_lib.palette import PALETTE
from nseg_lib.refine import Refiner


def measure(refiner: Refiner, data: Path, scale: float, results: pd.DataFrame) -> pd.DataFrame:
    """A row for every validation and test picture.

    Args:
        refiner: is asked about pictures at ``scale``.
        data: the data set.
        results: its splits are measured.

    Returns:
        Columns ``split``, ``image_id``, ``stroke quality`` (IoU), ``clutter``, ``object size``
        (share of the picture), ``IoU``, ``stroke's IoU``, ``difference``, ``precision`` and
        ``recall``.
    """
    rows = []
    for split in (name for name in ("val", "test") if name in set(results["split"])):
        for s in EvaluationSamples(load_split(data, split), scale=scale):
            answer = refiner.refine(s.image, s.stroke, scale=1)
            both = np.count_nonzero(answer & s.mask)
            before, after = (metrics.iou(m, s.mask) for m in (s.stroke, answer))
            rows.append(
                {
                    "split": split, "image_id": s.image_id, "stroke quality": before,
                    "clutter": probes.clutter(s.image, s.mask), "object size": s.mask.mean(),
                    "IoU": after, "stroke's IoU": before, "difference": after - before,
                    "precision": both / max(1, answer.sum()), "recall": both / s.mask.sum(),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def show(sliced: pd.DataFrame, modes: Sequence[str]) -> None:
    """Draw the IoU of network and stroke, and their difference, in thirds along each mode."""
    fig, axes = plt.subplots(
        2, len(modes), figsize=(9.5, 5), sharey="row", layout="constrained", squeeze=False
    )
    for column, mode in zip(axes.T, modes, strict=True):
        bins = probes.binned(sliced, mode, ["IoU", "stroke's IoU", "difference"])
        drawn = (
            (column[0], "stroke's IoU", "identity", "stroke unchanged", -0.06),
            (column[0], "IoU", "res", "network", 0.06),
            (column[1], "difference", "prediction", "network - stroke", 0.0),
        )
        for ax, value, colour, label, shift in drawn:
            bars = [bins[value] - bins[f"{value}_low"], bins[f"{value}_high"] - bins[value]]
            place = bins["bin"] + shift
            ax.errorbar(place, bins[value], bars, fmt="o", color=PALETTE[colour], label=label)
        column[1].axhline(0, color=PALETTE["identity"], ls="--", lw=1)
        names = [f"{r.low:.2g} to {r.high:.2g}\nn = {r.n}" for r in bins.itertuples()]
        column[0].set(title=mode, xticks=[])
        column[1].set_xticks(bins["bin"], names)
        column[1].set(xlim=(0.6, 3.4))
    axes[0, 0].set_ylabel("IoU")
    axes[1, 0].set_ylabel("network - stroke")
    axes[0, 0].legend(loc="lower right")
    look.finish(
        fig,
        "Dots with 95 % intervals in thirds of the pictures. Above: the IoU of the network and of "
        f"the stroke; below: their difference. Sliced by {', '.join(modes)}.",
    )


def _ranked(frame: pd.DataFrame, a: str, b: str, without: str) -> float:
    """Of the ranks of a and b, after removing what the ranks of ``without`` explain of both."""
    ab = _alike(frame, a, b)
    if not without:
        return ab
    ac, bc = _alike(frame, a, without), _alike(frame, b, without)
    unexplained = (1 - ac**2) * (1 - bc**2)
    return (ab - ac * bc) / math.sqrt(unexplained) if unexplained > 1e-9 else math.nan


def _alike(frame: pd.DataFrame, a: str, b: str) -> float:
    return float(frame[a].rank().corr(frame[b].rank()))


def correlation(frame: pd.DataFrame, a: str, b: str, without: str = "") -> str:
    """The rank correlation of two columns with its 95 % interval over resampled pictures.

    Args:
        without: a column whose influence is taken out of both first (partial correlation).
    """
    rng = np.random.default_rng(0)
    drawn = [
        _ranked(frame.iloc[rng.integers(len(frame), size=len(frame))], a, b, without)
        for _ in range(200)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return f"{_ranked(frame, a, b, without):+.2f} [{low:+.2f}, {high:+.2f}]"


def show_ends(sliced: pd.DataFrame, refiner: Refiner, data: Path, scale: float) -> None:
    """Show the pictures on which the network adds most to the stroke, and least."""
    splits = {name: load_split(data, name) for name in dict.fromkeys(sliced["split"])}
    pairs = zip(sliced["split"], sliced["image_id"], strict=True)
    free = [splits[split].credit(int(image_id)) is not None for split, image_id in pairs]
    difference = sliced[free if any(free) else [True] * len(sliced)]["difference"]
    shown: dict[str, dict[str, object]] = {}
    for title, place in (("adds most", difference.argmax()), ("adds least", difference.argmin())):
        row = sliced.loc[difference.index].to_dict("records")[int(place)]
        samples = EvaluationSamples(splits[row["split"]], scale=scale)
        s = next(sample for sample in samples if sample.image_id == row["image_id"])
        answer, crop = refiner.refine(s.image, s.stroke, scale=1), look.around(s.mask, s.stroke)
        base = {"image": s.image, "mask": s.mask, "crop": crop}
        shown[f"{title}: stroke {row['stroke quality']:.3f}"] = {**base, "stroke": s.stroke}
        shown[f"{title}: network {row['IoU']:.3f}"] = {**base, "prediction": answer}
        shown[f"{title}: what is wrong"] = {**base, "errors": answer}
        print("photograph:", splits[row["split"]].credit(row["image_id"]))
    look.gallery(shown, legend_of=("stroke", "truth", "prediction", "missed", "extra"))
