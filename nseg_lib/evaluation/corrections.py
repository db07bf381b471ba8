"""Correct a method's mask stroke after stroke, and measure how many strokes it needs.

The first stroke is drawn where the empty mask is wrong, each further one where the last answer is.
The summary of the IoU after every stroke is NoC@q, the number of strokes until the IoU first
reaches q, :data:`MAX_STROKES` where it never does, as in the field's benchmarks.

Source: Sofiiuk et al., "Reviving iterative training with mask guidance for interactive
segmentation", 2021 (RITM), section 5, with strokes in place of clicks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray

from nseg_lib.arrays import Image, Mask
from nseg_lib.console import progress_bar
from nseg_lib.data import coco, frozen
from nseg_lib.data.frozen import EVALUATION_SEED
from nseg_lib.evaluation.methods import Method
from nseg_lib.evaluation.metrics import boundary_iou, iou
from nseg_lib.files import only_writer, write_atomic
from nseg_lib.prompt import Predictor, Prompt
from nseg_lib.strokes import plain
from nseg_lib.strokes.drawing import Drawn
from nseg_lib.strokes.people import draw_correction

MAX_STROKES = 20
"""Strokes after which a picture counts as failed, as in the field's benchmarks."""

TARGETS = (0.85, 0.90)
"""The IoU that NoC asks for."""

CURVE = 6
"""Strokes that are drawn even where the highest target is reached sooner, for the curve of IoU
against strokes; beyond them a picture is left as soon as it has reached it."""

_KEY = ["method", "seed", "split", "strokes", "image_id", "annotation_id", "round"]

CORRECTION_COLUMNS = (*_KEY, "kind", "object_area", "stroke_area", "iou", "boundary_iou", "seconds")
"""Columns of a file of corrections, one row per stroke. ``strokes`` is the way they are drawn,
``round`` counts from 1, ``kind`` is what the stroke was drawn on, ``stroke_area`` its pixels."""

Correction = Callable[[Mask, Mask, Generator], Drawn]
"""(truth, answer, generator) → a stroke where the answer is wrong."""

CORRECTIONS: dict[str, Correction] = {"plain": plain.plain_correction, "simulated": draw_correction}
"""The ways to draw a correction: straight lines that no training uses, or the trainer's own."""


def correct(
    predictor: Predictor,
    image: Image,
    mask: Mask,
    correction: Correction,
    generator: Callable[[int], Generator],
    rounds: int = MAX_STROKES,
) -> Iterator[tuple[Drawn, Mask, float]]:
    """Draw strokes one by one, each where the last answer is wrong.

    It ends after :data:`CURVE` strokes or more, where the highest of :data:`TARGETS` is reached;
    where nothing is left to correct; or after ``rounds``.

    Args:
        predictor: is asked after every stroke, with all strokes so far and its last answer.
        image: uint8 H×W×3, RGB.
        mask: bool H×W, the truth.
        correction: draws a stroke where an answer is wrong.
        generator: round (from 1) → the random generator of its stroke.
        rounds: strokes at most.

    Yields:
        The stroke just drawn, the answer to all strokes so far, and seconds that it took.
    """
    nothing = np.zeros_like(mask)
    prompt, answer = Prompt(nothing, nothing), nothing
    for number in range(1, rounds + 1):
        drawn = correction(mask, answer, generator(number))
        if not (drawn.object.any() or drawn.background.any()):
            return
        # A later stroke covers earlier ones.
        stroke, background, _ = prompt.planes
        prompt = Prompt(
            (stroke & ~drawn.background) | drawn.object,
            (background & ~drawn.object) | drawn.background,
            None if number == 1 else answer,
        )
        start = time.perf_counter()
        answer = predictor.logits(image, prompt) > 0
        yield drawn, answer, time.perf_counter() - start
        if number >= CURVE and iou(answer, mask) >= max(TARGETS):
            return


def corrections(
    method: Method,
    split: coco.Split,
    rows_csv: Path,
    ways: Sequence[str] = tuple(CORRECTIONS),
    *,
    pictures: int | None = None,
    progress: bool = True,
) -> None:
    """Draw corrections on a split's pictures; adds to ``rows_csv`` what it does not hold yet.

    The file is complete for every picture it names: all rows of one are written at once.

    Args:
        ways: to draw them, of :data:`CORRECTIONS`.
        pictures: only so many, the first by id.

    Raises:
        ValueError: a file of other columns, or one that another process writes.
    """
    with only_writer(rows_csv):
        rows: list[Any] = read_corrections(rows_csv).to_dict("records") if rows_csv.exists() else []
        done = {(row["strokes"], row["image_id"]) for row in rows if row["split"] == split.name}
        ids = [i for i in sorted(split.annotations) if split.annotations[i]][:pictures]
        wanted = [(i, way) for i in ids for way in ways if (way, i) not in done]
        for image_id, way in progress_bar(wanted, "correcting", progress):
            mask = frozen.object_mask(split, image_id)
            generator = partial(frozen.generator, f"correction {way}", EVALUATION_SEED, image_id)
            image = split.read_image(image_id)
            game = correct(method.predictor, image, mask, CORRECTIONS[way], generator)
            annotation = coco.largest_annotation(split.annotations[image_id])["id"]
            key = (method.name, method.seed, split.name, way, image_id, annotation)
            for number, (drawn, answer, seconds) in enumerate(game, 1):
                kind = "object" if drawn.object.any() else "background"
                areas = int(mask.sum()), int(drawn.object.sum() + drawn.background.sum())
                judged = iou(answer, mask), boundary_iou(answer, mask), round(seconds, 6)
                row = *key, number, kind, *areas, *judged
                rows.append(dict(zip(CORRECTION_COLUMNS, row, strict=True)))
            table = pd.DataFrame(rows, columns=list(CORRECTION_COLUMNS)).sort_values(_KEY)
            write_atomic(rows_csv, table.to_csv(index=False, lineterminator="\n"))


def read_corrections(rows_csv: Path) -> pd.DataFrame:
    """A file that :func:`corrections` wrote.

    Raises:
        ValueError: other columns, or no IoU in [0, 1] in some row.
    """
    try:
        frame = pd.read_csv(rows_csv).astype({"seed": "Int64"})
    except (ValueError, KeyError) as error:
        raise ValueError(f"{rows_csv}: not a file of corrections ({error})") from None
    if tuple(frame.columns) != CORRECTION_COLUMNS:
        raise ValueError(f"{rows_csv}: not a file of corrections, or of another version")
    if not frame["iou"].between(0, 1).all():
        raise ValueError(f"{rows_csv}: iou must be a number from 0 to 1 in every row")
    return frame


def strokes_needed(ious: NDArray[np.float64], target: float) -> NDArray[np.float64]:
    """NoC of each picture: strokes until its IoU first is at least ``target``, else 20.

    Args:
        ious: float64 N×K, a row per picture: its IoU after stroke 1, 2, … up to 20.

    Returns:
        float64 N.
    """
    reached = ious >= target
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, MAX_STROKES)
