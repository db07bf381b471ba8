"""Turn a drawing into a mask with any model, whether or not it can correct a mask."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from nseg_lib.arrays import Image, Mask, Probability, check, sureness, unsure
from nseg_lib.data.coco import mask_to_rle, rle_to_mask
from nseg_lib.prompt import Prompt
from nseg_lib.strokes.drawing import box_of, extent_of, rasterize
from nseg_lib.widget.models import AnyRefiner
from nseg_lib.widget.pictures import resize, shown_size

Stroke = Mapping[str, Any]

MAX_REFINED = 1_200_000
"""Pixels that a refiner is given at most, so that its answer does not take long, unless it
corrects: such a one looks at crops of its own. Larger pictures are refined scaled; the mask is
enlarged to the picture's own size."""

LEAST_RADIUS = 0.75
"""Of a scaled stroke, in pixels: from √½ on, a disc holds a pixel's centre wherever it lies."""

NO_MODEL = "No model is loaded: the mask is what you brush."
BOX_ALONE = "The box alone says little: a line or a click on the object makes the mask better."
NO_BOX = "This model sees no box: brush over the object too."
NO_OBJECT = "Background alone gives no mask: brush over the object too."
UNCORRECTED = (
    "This model takes no corrections: what you add is united with its mask, "
    "and background is taken away."
)
ONE_ANSWER = "There is no other answer: this model has one only, or it corrects a mask."
SHARED = "What belongs to a finished object stays with it."
TAKEN = "Most of this belongs to a finished object: click that object to go on with it."


class Answer(NamedTuple):
    """What there is for a drawing."""

    mask: Mask
    """bool H×W."""
    note: str = ""
    """A line for the user, or ""."""
    failed: bool = False
    """Whether the model failed; the mask is then the last one, or what is brushed."""
    sure: float | None = None
    """:func:`nseg_lib.arrays.sureness` of the model's mask; None where it gave none."""
    steps: tuple[int, ...] = ()
    """How many strokes there were at each mask on the way to this one, and at this one; each mask
    corrects the one before. :func:`replay` makes them again."""


class _Known(NamedTuple):
    """An answer that is remembered."""

    by: AnyRefiner | None
    mask: dict[str, Any]
    """RLE, before what belongs to finished objects is taken from it."""
    note: str
    sure: float | None
    free: dict[str, Any]
    """RLE of the mask without what belongs to finished objects; ``sure`` is about this one."""
    steps: tuple[int, ...]
    unsure: dict[str, Any] | None = None
    """RLE of where the model is not sure; None where it gave no probabilities."""


class Answers:
    """A model's answers to the drawings of one picture after the other.

    All are remembered: undo brings back the very same mask, though a model that corrects may give
    another one when it is asked again. What is remembered holds also after the user left the
    picture and came back.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, _Known] = {}  # by picture, start and drawing
        self._unsure: dict[str, Any] | None = None  # of the last mask

    def open(self, image: Image, start: Mask | None = None, walls: Mask | None = None) -> None:
        """Name what the next drawings are of.

        Args:
            image: uint8 H×W×3 RGB.
            start: bool H×W, what there was of the object before anything was drawn.
            walls: bool H×W, what is never given to the object.
        """
        self._image, self._start, self._walls = image, start, walls
        self._strokes: list[Stroke] = []  # those that gave the last mask
        self._steps: tuple[int, ...] = ()  # of the last mask
        self._unsure = None
        self._mask = np.zeros(image.shape[:2], bool) if start is None else start
        self._place = hashlib.blake2b(np.ascontiguousarray(image).data)
        self._place.update(b"" if start is None else np.ascontiguousarray(start).data)

    def _key(self, strokes: Sequence[Stroke]) -> bytes:
        place = self._place.copy()
        place.update(json.dumps(strokes, default=float).encode())
        return place.digest()

    def keep(
        self,
        strokes: Sequence[Stroke],
        refiner: AnyRefiner | None,
        mask: Mask,
        sure: float | None = None,
        steps: Sequence[int] = (),
    ) -> None:
        """Take a mask from elsewhere, such as a file, for the refiner's answer to a drawing."""
        rle, steps = mask_to_rle(mask), tuple(steps) or (len(strokes),)
        self._known[self._key(strokes)] = _Known(refiner, rle, "", sure, rle, steps)
        self._strokes, self._steps, self._mask = list(strokes), steps, mask
        self._unsure = None

    @property
    def unsure(self) -> Mask | None:
        """bool H×W: where the model is not sure of the last mask, as :func:`nseg_lib.arrays.unsure`
        has it; None where that is not known."""
        return None if self._unsure is None else rle_to_mask(self._unsure)

    def ask(
        self, refiner: AnyRefiner | None, strokes: Sequence[Stroke], keep: bool = True
    ) -> Answer:
        """The mask of a drawing, beside the walls; see :func:`mask_of`.

        Args:
            keep: False for a drawing that is not finished: the next one does not correct its mask.
        """
        key, number = self._key(strokes), len(self._strokes)
        known = self._known.get(key)
        probability: Probability | None = None
        steps: tuple[int, ...] = (len(strokes),)
        if known is not None and known.by is refiner:
            mask, note = rle_to_mask(known.mask), known.note
        else:
            known = None
            # A mask is corrected where strokes were only added to those that gave it.
            goes_on = 0 < number < len(strokes) and strokes[:number] == self._strokes
            before = self._mask if goes_on and self._mask.any() else None
            steps = steps if before is None else (*self._steps, *steps)
            try:
                mask, note, probability = mask_of(
                    refiner, self._image, strokes, before, self._start, with_probability=keep
                )
            except Exception as error:  # of any model; the user sees it and can go on
                kept = self.without(strokes)
                if keep:
                    self._strokes, self._steps, self._mask = list(strokes), steps, kept
                    self._unsure = None
                return Answer(kept, f"The model failed: {error}", failed=True)
        free, at_walls = beside_walls(mask, self._walls, strokes)
        if not keep:
            return Answer(free, at_walls or note)
        if known is None:
            sure = doubt = None
            if probability is not None:
                if self._walls is not None:
                    probability[self._walls] = 0
                sure, doubt = sureness(probability, free), mask_to_rle(unsure(probability))
            rles = mask_to_rle(mask), mask_to_rle(free)
            known = self._known[key] = _Known(refiner, rles[0], note, sure, rles[1], steps, doubt)
        self._strokes, self._steps, self._mask = list(strokes), known.steps, free
        self._unsure = known.unsure
        # Another object may have taken a part meanwhile; the figure is about the mask as it was.
        sure = known.sure if mask_to_rle(free) == known.free else None
        return Answer(free, at_walls or note, sure=sure, steps=known.steps)

    def without(self, strokes: Sequence[Stroke]) -> Mask:
        """What there is of the object without the model: the last mask, or what is brushed."""
        if self._strokes:
            return self._mask
        brushed = mask_of(None, self._image, strokes, start=self._start)[0]
        return beside_walls(brushed, self._walls, strokes)[0]


def replay(
    refiner: AnyRefiner, image: Image, strokes: Sequence[Stroke], steps: Sequence[int]
) -> Mask:
    """The mask that the canvas made of a drawing: the mask of each step corrects the one before.

    Args:
        steps: how many strokes there were at each mask, as
            :func:`nseg_lib.data.masks.parse_strokes` gives them.

    Returns:
        bool H×W.

    Raises:
        ValueError: the model failed.
    """
    answers = Answers()
    answers.open(image)
    for count in steps:
        answer = answers.ask(refiner, strokes[:count])
        if answer.failed:
            raise ValueError(answer.note)
    return answer.mask


def mask_of(
    refiner: AnyRefiner | None,
    image: Image,
    strokes: Sequence[Stroke],
    before: Mask | None = None,
    start: Mask | None = None,
    with_probability: bool = False,
) -> tuple[Mask, str, Probability | None]:
    """The mask of a drawing, what there is to say about it, and how sure the model is.

    Args:
        refiner: None takes what is brushed.
        image: uint8 H×W×3 RGB.
        strokes: as :func:`nseg_lib.strokes.drawing.rasterize` takes them.
        before: bool H×W, the mask that the drawing corrects; for models that take corrections.
        start: bool H×W, a mask that was there before anything was drawn.
        with_probability: ask for probabilities, if the model gives them.

    Returns:
        bool H×W, a line for the user or "", and the probability of each pixel, float32 H×W: 0 or 1
        where a stroke or the box decides alone. Instead None without ``with_probability``, or if no
        model made the mask or the model gives no probabilities.

    Raises:
        TypeError: the model returned something else than a mask; one line.
    """
    height, width = image.shape[:2]
    kept = np.zeros((height, width), bool) if start is None else start
    if not strokes:  # before the model is asked anything, which may have to load first
        return kept, "", None

    # What needs no model: every pixel is drawn, as an outline does it; nothing says what is meant;
    # or there is no model.
    drawn, box = rasterize(strokes, height, width), box_of(strokes, height, width)
    inside = Prompt(drawn.object, box=box).inside
    if (drawn.object | drawn.background).all():
        return drawn.object, "", None
    brushed = drawn.object & inside
    box_alone = not brushed.any()
    if box_alone and (box is None or (drawn.background >= inside).all()):
        lacking = drawn.background.any() and start is None
        return kept & ~drawn.background, NO_OBJECT if lacking else "", None
    if refiner is None:
        painted = inside if box_alone else brushed
        return (kept | painted) & ~drawn.background & inside, NO_MODEL, None

    # A model that corrects gets everything. Any other sees the object strokes alone, and its answer
    # is united with what was there.
    corrects, probability = getattr(refiner, "corrects", False), None
    extent = extent_of(strokes)
    others = corrects and start is None and getattr(refiner, "takes_extent", False)
    with_extent = extent != "object" and others
    with_probability = with_probability and getattr(refiner, "gives_probability", False)
    if corrects:
        given: dict[str, Any] = {"box": box} if box else {}
        given |= {"background": drawn.background, "mask": start if before is None else before}
        if with_extent:
            given["extent"] = extent
        answer, probability = _asked(refiner, image, brushed, with_probability, **given)
    elif box_alone:
        answer = kept | inside
    else:
        answer, probability = _scaled_answer(refiner, image, strokes, brushed, with_probability)
        answer = kept | answer

    # What was drawn as a correction is added, and what was marked as background taken away,
    # whatever the model made of it.
    corrections = [s for s in strokes if s["kind"] != "object" or s.get("correction")]
    added = rasterize(corrections, height, width).object
    away = drawn.background | ~inside
    if probability is not None:
        probability[added if corrects else added | kept] = 1
        probability[away] = 0
    note = ""
    if box_alone:
        note = BOX_ALONE if corrects else NO_BOX
    elif not corrects and (added.any() or drawn.background.any()):
        note = UNCORRECTED
    elif extent != "object" and not others:
        note = ONE_ANSWER
    return (answer | added) & ~away, note, probability


def beside_walls(mask: Mask, walls: Mask | None, strokes: Sequence[Stroke]) -> tuple[Mask, str]:
    """A mask without what belongs to finished objects, and what there is to say about it.

    A network's border is off by some pixels, so a rim around a finished object would be left. The
    rim goes too, unless it was brushed.

    Args:
        mask: bool H×W.
        walls: bool H×W, what belongs to finished objects; None if there are none.
        strokes: those that gave the mask.

    Returns:
        bool H×W, and a line for the user or "".
    """
    if walls is None or not (shared := mask & walls).any():
        return mask, ""
    height, width = mask.shape
    free = mask & ~walls
    # A rim is what is narrower than 5 pixels of a picture of 640, and as near to the wall.
    side = 2 * max(1, round(max(height, width) / 320)) + 1
    square = np.ones((side, side), np.uint8)
    broad = cv2.morphologyEx(free.astype(np.uint8), cv2.MORPH_OPEN, square) > 0
    near = cv2.dilate(shared.astype(np.uint8), square, iterations=2) > 0
    brushed = rasterize(strokes, height, width).object
    kept = free & (broad | ~near | brushed)
    taken = not kept.any() or (brushed & walls).sum() > brushed.sum() / 2
    return kept, TAKEN if taken else SHARED


def _asked(
    refiner: AnyRefiner, image: Image, stroke: Mask, with_probability: bool, **given: Any
) -> tuple[Mask, Probability | None]:
    """The mask that a model returned, checked, and its probabilities if they were asked for."""
    refine: Callable[..., Any] = refiner.refine
    probability = None
    if with_probability:
        answer, probability = refine(image, stroke, return_probability=True, **given)
    else:
        answer = refine(image, stroke, **given)
    try:
        check(image, mask=answer)
    except (TypeError, ValueError) as error:
        raise TypeError(f"what refine returned is no mask: {error}") from None
    return answer, probability


def _scaled_answer(
    refiner: AnyRefiner,
    image: Image,
    strokes: Sequence[Stroke],
    drawn: Mask,
    with_probability: bool,
) -> tuple[Mask, Probability | None]:
    """The answer of a model that sees all of a picture, which is scaled down where it is large."""
    height, width = image.shape[:2]
    small = shown_size(height, width, MAX_REFINED)
    if small == (height, width):
        return _asked(refiner, image, drawn, with_probability)
    scale = np.array([small[1] / width, small[0] / height, small[0] / height])
    least = (-np.inf, -np.inf, LEAST_RADIUS)  # a thin stroke would vanish between the pixels
    scaled = [np.maximum(np.multiply(s["points"], scale), least) for s in strokes]
    fewer = [{**s, "points": points} for s, points in zip(strokes, scaled, strict=True)]
    shrunk = rasterize(fewer, *small).object
    if not shrunk.any():  # hidden by background that was drawn beside it
        return drawn, None
    answer, probability = _asked(refiner, resize(image, *small), shrunk, with_probability)
    soft = cv2.resize(answer.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    if probability is not None:
        probability = np.asarray(cv2.resize(probability, (width, height)), np.float32)
    return soft > 0.5, probability
