"""A contact sheet of a refiner's worst answers, by its rows: where does it fail, and what is alike?

``python -m reproduction.refiner_worst --data data/coco1000`` asks the network again for the prompts
whose rows are worst. The sheet is for whoever makes it: the pictures' licences are their owners'.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from nseg_lib.course import look
from nseg_lib.data import coco, frozen
from nseg_lib.prompt import Prompt
from nseg_lib.refine import Refiner

COLUMNS = 6


def sheet(data: Path, rows: Path, kind: str, split: str, count: int) -> plt.Figure:
    """The ``count`` answers of the lowest IoU to one kind of prompt, the worst first.

    Args:
        rows: of the refiner, in the form of ``reports/refiner/rows``; its name is the network's.

    Raises:
        ValueError: no row of that kind and split; an unknown network or data set.
    """
    judged = pd.read_csv(rows)
    judged = judged[(judged["split"] == split) & (judged["recipe"] == kind)]
    if judged.empty:
        raise ValueError(f"{rows}: no row of split '{split}' and kind '{kind}'")
    worst = judged.nsmallest(count, "iou").set_index("image_id")["iou"]

    refiner = Refiner.from_pretrained(rows.stem)
    samples = frozen.prompt_samples(coco.load_split(data, split), (kind,))
    asked = {sample.image_id: sample for sample in samples if sample.image_id in worst.index}
    figure, axes = look.panels(-(-len(worst) // COLUMNS), COLUMNS)
    for ax, (image_id, iou) in zip(axes.flat, worst.items(), strict=False):
        sample = asked[image_id]
        prompt = Prompt(sample.stroke, sample.background, box=sample.box)
        answer = refiner.logits(sample.image, prompt) > 0
        look.show(ax, sample.image, stroke=sample.stroke, mask=sample.mask, prediction=answer)
        ax.set_title(f"{sample.category}, {image_id}: {iou:.2f}", fontsize=7)
    look.legend(figure, ("stroke", "truth", "prediction"))
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/coco1000"))
    parser.add_argument("--rows", type=Path, default=Path("reports/refiner/rows/lite1.csv"))
    parser.add_argument("--kind", default="plain_object")
    parser.add_argument("--split", default="test")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("-o", "--out", type=Path, default=Path("worst.png"))
    args = parser.parse_args()
    try:
        look.use_style()
        figure = sheet(args.data, args.rows, args.kind, args.split, args.count)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    figure.savefig(args.out, dpi=100)
    print(args.out)


if __name__ == "__main__":
    main()
