"""A contact sheet of a network's worst answers, by its rows: where does it fail, and what is alike?

``python -m reproduction.refiner_worst --data data/coco1000`` asks the network again for the prompts
whose rows are worst. The sheet is for whoever makes it: the pictures' licences are their owners'.
With ``--shown`` it has only pictures that may be passed on, small, and credits each: these sheets,
in ``reports/refiner/worst``, stand on the model cards.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from nseg_lib import provenance
from nseg_lib.course import look
from nseg_lib.data import coco, frozen
from nseg_lib.files import sha256
from nseg_lib.prompt import Prompt
from nseg_lib.refine import Refiner

COLUMNS = 6


def sheet(
    data: Path, rows: Path, kind: str, split: str, count: int, network: str = "lite1",
    shown: bool = False,
) -> Figure:  # fmt: skip
    """The ``count`` answers of the lowest IoU to one kind of prompt, the worst first.

    Args:
        rows: in the form of ``reports/refiner/rows``.
        network: a shipped network, which the rows are of.
        shown: leave out pictures whose licence forbids to show them, and credit the others.

    Raises:
        ValueError: no row of that kind and split; an unknown network or data set.
    """
    judged = pd.read_csv(rows)
    judged = judged[(judged["split"] == split) & (judged["recipe"] == kind)]
    if "method" in judged:
        judged = judged[judged["method"] == network]
    pictures = coco.load_split(data, split)
    if shown:
        judged = judged[[pictures.credit(int(i)) is not None for i in judged["image_id"]]]
    if judged.empty:
        raise ValueError(f"{rows}: no row of split '{split}' and kind '{kind}' for {network}")
    lowest = judged.nsmallest(count, "iou")
    worst = {int(i): float(iou) for i, iou in zip(lowest["image_id"], lowest["iou"], strict=True)}

    refiner = Refiner.from_pretrained(network)
    samples = frozen.prompt_samples(pictures, (kind,))
    asked = {sample.image_id: sample for sample in samples if sample.image_id in worst}
    columns = min(COLUMNS, 3) if shown else COLUMNS
    figure, axes = look.panels(-(-len(worst) // columns), columns)
    for ax, (image_id, iou) in zip(axes.flat, worst.items(), strict=False):
        sample = asked[image_id]
        prompt = Prompt(sample.stroke, sample.background, box=sample.box)
        answer = refiner.logits(sample.image, prompt) > 0
        look.show(ax, sample.image, stroke=sample.stroke, mask=sample.mask, prediction=answer)
        ax.set_title(f"{sample.category}, {image_id}: {iou:.2f}", fontsize=7 if not shown else 10)
    look.legend(figure, ("stroke", "truth", "prediction"))
    if shown:
        credits = "\n".join(f"{image_id}: {pictures.credit(image_id)}" for image_id in worst)
        figure.suptitle(credits, fontsize=6, x=0.01, ha="left")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/coco1000"))
    parser.add_argument("--network", default="lite1")
    parser.add_argument("--rows", type=Path, help="default: reports/refiner/rows/NETWORK.csv")
    parser.add_argument("--kind", default="plain_object")
    parser.add_argument("--split", default="test")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--shown", action="store_true", help="only what may be passed on")
    parser.add_argument("-o", "--out", type=Path, default=Path("worst.png"))
    args = parser.parse_args()
    began = time.perf_counter()
    try:
        look.use_style()
        rows = args.rows or Path("reports", "refiner", "rows", f"{args.network}.csv")
        asked = (args.kind, args.split, args.count, args.network, args.shown)
        figure = sheet(args.data, rows, *asked)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    figure.savefig(args.out, dpi=110)
    if args.shown:
        drawn = {args.out.suffix: sha256(args.out)}
        seconds = time.perf_counter() - began
        stem = args.out.with_suffix("")
        provenance.write_sidecar(stem, None, [rows], seconds, files=drawn)
    print(args.out)


if __name__ == "__main__":
    main()
