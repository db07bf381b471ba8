"""Prompts to measure with: drawn once per split, kind and seed, and kept beside the data.

Every method sees the same strokes on the same pictures: those of the paper's released recipes,
those of the simulator that training uses, plain ones that no training uses (:mod:`.plain`), and
those that people drew.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from nseg_lib.arrays import Image, Mask
from nseg_lib.data import coco
from nseg_lib.data.records import Record
from nseg_lib.data.scaling import rescale, scaled_size
from nseg_lib.data.scribbles import SETS, load_scribbles
from nseg_lib.files import write_atomic
from nseg_lib.prompt import Box
from nseg_lib.strokes import plain
from nseg_lib.strokes.drawing import Drawn
from nseg_lib.strokes.people import PROMPTS, draw_prompt
from nseg_lib.strokes.recipes import MIN_STROKE_AREA, RECIPES, make_stroke

EVALUATION_SEED = 0
"""Seed of the frozen strokes that every validation loss and every table uses."""

PLAIN: dict[str, Callable[[Mask, Generator], Drawn]] = {
    "plain_sparse": plain.plain_sparse,
    "plain_object": plain.plain_object,
}
"""Kinds that no network is trained on."""

BOX = "+box"

BOXED = (f"nothing{BOX}", *(f"{kind}{BOX}" for kind in ("click", "extremes", "plain_object")))
"""Kinds that come with a box round the object; of the first, the box is all there is."""

KINDS = (*RECIPES, *(kind for kind in PROMPTS if kind not in RECIPES), *PLAIN, *BOXED)
"""Every kind of prompt that can be drawn from a mask: released, simulated, plain, with a box."""

HUMAN = (*(f"{name}{tail}" for name in SETS for tail in ("", "_object")), "boxes")
"""What people drew: sets of strokes, with and without those on the background; and boxes, which
are taken as a brush would fill them, a coarse mask that covers too much."""

HUMAN_SPLIT = "iseg_scribbles"

MIN_OBJECT = 1600
"""Pixels, at native size: where every object is judged, smaller ones are left out. It is a square
of 40 by 40, of which the paper's strokes leave enough to go on from."""


@dataclass(frozen=True)
class Sample:
    """One picture, one object in it, one stroke over that object."""

    split: str
    recipe: str
    image_id: int
    annotation_id: int
    category: str
    supercategory: str
    image: Image
    """uint8 H×W×3, RGB."""
    mask: Mask
    stroke: Mask
    background: Mask | None = None
    """Strokes on the background."""
    box: Box | None = None
    """A box that the object is in."""
    ignore: Mask | None = None
    """Undecided pixels, that no metric counts."""


# --- drawn once, and kept -------------------------------------------------------------------------


@dataclass(frozen=True)
class FrozenPrompts:
    """The prompts of one kind for a split, and the pictures that got none."""

    kind: str
    prompts: dict[int, tuple[Record, Record | None]]
    """Key of an object, as :func:`targets` has it → RLE of the object strokes, and of the
    background strokes or None, at native size, by ascending key."""
    dropped: tuple[int, ...]
    """Keys of objects whose object stroke came out too small (a recipe's: fewer than
    :data:`MIN_STROKE_AREA` pixels) or empty."""
    boxes: dict[int, Box]
    """Key → its box, of the kinds that have one."""
    path: Path
    """The file that holds them."""

    def drawn(self, key: int) -> Drawn:
        """An object's prompt as masks, at native size."""
        stroke, background = self.prompts[key]
        brushed = coco.rle_to_mask(stroke)
        nothing = np.zeros_like(brushed)
        return Drawn(brushed, nothing if background is None else coco.rle_to_mask(background))


def targets(split: coco.Split, every: bool = False) -> dict[int, Record]:
    """The objects of a split that are judged, under a key each, by ascending key.

    Args:
        every: each object of :data:`MIN_OBJECT` pixels or more that is no crowd, under its
            annotation's id; otherwise the largest object of each picture, under the picture's id.
    """
    if not every:
        return {i: coco.largest_annotation(a) for i, a in split.annotations.items() if a}
    found = (record for of_picture in split.annotations.values() for record in of_picture)
    large = (a for a in found if a["area"] >= MIN_OBJECT and not a.get("iscrowd"))
    return dict(sorted((a["id"], a) for a in large))


def freeze_prompts(
    split: coco.Split, kind: str = "erode", seed: int = EVALUATION_SEED, *, every: bool = False
) -> FrozenPrompts:
    """The prompts of a split, one for each object of :func:`targets`; drawn where missing.

    They are kept beside the data, those of the paper's recipes in
    ``<root>/strokes/<split>_<kind>_seed<seed>.json``, all others in ``<root>/prompts/``; where the
    data set can only be read, in the split's ``spare`` folder in place of ``<root>``. Those of
    every object are in files of their own, ``<split>_objects_…``; an object's prompt is the same in
    both. Randomness comes from the seed, the picture's and the annotation's id and the kind alone;
    ``plain_object`` has the object strokes of ``plain_sparse``. The file keeps a hash of the
    objects' outlines: an object that was outlined anew keeps its id, but not its stroke.

    Args:
        kind: one of :data:`KINDS`.
        seed: of all the split's prompts.
        every: as of :func:`targets`.

    Raises:
        ValueError: an unknown kind.
        coco.DataError: the file is unreadable or was drawn for other annotations.
        OSError: there is none, and neither folder can be written.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of prompt '{kind}'; one of: {', '.join(KINDS)}")
    # Two formats: the recipes' files are older, and hold object strokes alone.
    key, brushed = ("strokes", "rle") if kind in RECIPES else ("prompts", "object")
    objects = "_objects" if every else ""
    file = Path(key, f"{split.name}{objects}_{kind}_seed{seed}.json")
    paths = [root / file for root in (split.root, split.spare) if root is not None]
    path = next((path for path in paths if path.exists()), paths[0])
    wanted = targets(split, every)
    outlines = json.dumps([[a["image_id"], a["id"], a["segmentation"]] for a in wanted.values()])
    digest = hashlib.sha256(outlines.encode()).hexdigest()
    if not path.exists():
        kept, dropped = _draw_all(split, wanted, kind, seed)
        about = {"recipe" if kind in RECIPES else "kind": kind, "seed": seed}
        drawn = json.dumps({**about, key: kept, "dropped": dropped, "outlines": digest})
        try:
            write_atomic(path, drawn)
        except OSError:  # the data set can only be read
            path = paths[-1]
            write_atomic(path, drawn)
    try:
        stored = coco.parse_json(path.read_bytes())
        by = "annotation_id" if every else "image_id"
        prompts = {r[by]: (r[brushed], r.get("background")) for r in stored[key]}
        ids = {r[by]: r["annotation_id"] for r in (*stored[key], *stored["dropped"])}
        drawn_for = stored.get("outlines", digest)  # files of early versions have none
        small = tuple(r[by] for r in stored["dropped"])
        boxes: dict[int, Any] = {r[by]: (*r["box"],) for r in stored[key] if "box" in r}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise coco.DataError(
            f"{path}: not a file of frozen {key}; delete it to draw them anew"
        ) from None
    if drawn_for != digest or ids != {i: a["id"] for i, a in wanted.items()}:
        raise coco.DataError(
            f"{path}: drawn for other annotations than {split.name} has now; "
            "delete it to draw them anew"
        )
    return FrozenPrompts(kind, dict(sorted(prompts.items())), small, boxes, path)


def _draw_all(
    split: coco.Split, wanted: dict[int, Record], kind: str, seed: int
) -> tuple[list[Record], list[Record]]:
    """Rows of a new file: the prompts of these annotations, and what was dropped."""
    kept, dropped = list[Record](), list[Record]()
    for target in wanted.values():
        image_id = target["image_id"]
        mask = split.mask(image_id, target)
        row: Record = {"image_id": image_id, "annotation_id": target["id"]}
        if kind in RECIPES:
            stroke = make_stroke(mask, kind, seed=seed, **row)
            usable = stroke.sum() >= MIN_STROKE_AREA
            row |= {"rle": coco.mask_to_rle(stroke)} if usable else {"area": int(stroke.sum())}
        else:
            # A kind with a box has the strokes of the kind without it.
            rng = generator(kind.removesuffix(BOX), seed, image_id, target["id"])
            drawn, usable = Drawn(mask & False, mask & False), mask.any()
            if usable and not kind.startswith("nothing"):
                drawn = draw(mask, kind.removesuffix(BOX), rng)
                usable = drawn.object.any()
            if usable and kind in BOXED:
                row["box"] = plain.plain_box(mask, generator(BOX, seed, image_id, target["id"]))
            row |= {k: coco.mask_to_rle(m) for k, m in drawn._asdict().items() if usable}
        (kept if usable else dropped).append(row)
    return kept, dropped


def object_mask(split: coco.Split, image_id: int) -> Mask:
    """The largest object of a picture, bool H×W."""
    return split.mask(image_id, coco.largest_annotation(split.annotations[image_id]))


def draw(mask: Mask, kind: str, rng: Generator) -> Drawn:
    """One prompt for an object, bool H×W; its kind is one of :data:`KINDS`."""
    return PLAIN[kind](mask, rng) if kind in PLAIN else draw_prompt(mask, kind, rng)


def generator(kind: str, seed: int, *numbers: int) -> Generator:
    """A random generator that depends on these values alone."""
    key = "plain" if kind in PLAIN else kind
    return np.random.default_rng((seed, *numbers, zlib.crc32(key.encode())))


# --- samples --------------------------------------------------------------------------------------


class EvaluationSamples(Sequence[Sample]):
    """The samples of a split with their frozen strokes, read lazily, in order of their keys.

    Args:
        scale: 1 for native size; below 1 everything is shrunk by :func:`rescale`.
        every: as of :func:`targets`.

    Raises:
        ValueError: a scale that is not above 0 and at most 1.
        coco.DataError: as :func:`freeze_prompts`.
    """

    def __init__(
        self,
        split: coco.Split,
        recipe: str = "erode",
        scale: float = 1.0,
        seed: int = EVALUATION_SEED,
        *,
        every: bool = False,
    ) -> None:
        scaled_size(1, 1, scale)  # refuses a bad scale before anything is drawn or written
        self.split, self.recipe, self.scale = split, recipe, scale
        self._targets = targets(split, every)
        self._frozen = freeze_prompts(split, recipe, seed, every=every)
        self.dropped = self._frozen.dropped

    def check(self) -> None:
        """Refuse to go on without a sample.

        Raises:
            coco.DataError: every stroke was dropped, or no picture has an object.
        """
        if not len(self):
            why = "no picture has an object"
            if self.dropped:
                why = f"all {len(self.dropped)} strokes have fewer than {MIN_STROKE_AREA} pixels"
            raise coco.DataError(f"{self.split.root}: split '{self.split.name}': {why}")

    def __len__(self) -> int:
        return len(self._frozen.prompts)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        key = list(self._frozen.prompts)[index]
        target = self._targets[key]
        image = self.split.read_image(target["image_id"])
        mask, stroke = self.split.mask(target["image_id"], target), self._frozen.drawn(key).object
        shrunk = rescale(image, mask, stroke, self.scale)
        return Sample(*_about(self.split, self.recipe, target), *shrunk)


def _about(split: coco.Split, kind: str, target: Record) -> tuple[str, str, int, int, str, str]:
    """The first fields of a sample: which object of which picture it is of."""
    category = split.categories[target["category_id"]]
    names = category.get("name", ""), category.get("supercategory", "")
    return split.name, kind, target["image_id"], target["id"], *names


def prompt_samples(
    split: coco.Split, kinds: Sequence[str], pictures: int | None = None
) -> Iterator[Sample]:
    """The samples of a split, picture by picture (each read once), kind by kind.

    Args:
        pictures: only so many, the first by id.

    Raises:
        As :func:`freeze_prompts`.
    """
    of_kinds = [freeze_prompts(split, kind) for kind in kinds]
    ids = sorted({i for prompts in of_kinds for i in prompts.prompts})[:pictures]
    for image_id in ids:
        image, mask = split.read_image(image_id), object_mask(split, image_id)
        for prompts in (prompts for prompts in of_kinds if image_id in prompts.prompts):
            target = coco.largest_annotation(split.annotations[image_id])
            about = _about(split, prompts.kind, target)
            drawn, box = prompts.drawn(image_id), prompts.boxes.get(image_id)
            yield Sample(*about, image, mask, *drawn, box)


def human_samples(folder: Path, pictures: int | None = None) -> Iterator[Sample]:
    """The samples of what people drew, picture by picture; ids count from 1 by name.

    Args:
        folder: see :mod:`nseg_lib.data.scribbles`.
        pictures: only so many.

    Raises:
        coco.DataError: as :func:`nseg_lib.data.scribbles.load_scribbles`.
    """
    for number, picture in enumerate(islice(load_scribbles(folder), pictures), 1):
        nothing = np.zeros_like(picture.mask)
        drawn: list[tuple[str, Drawn]] = []
        for name, strokes in picture.strokes.items():
            drawn += [(name, strokes), (f"{name}_object", Drawn(strokes.object, nothing))]
        drawn += [("boxes", Drawn(box, nothing)) for box in picture.boxes.values()]
        for kind, prompt in drawn:
            about = HUMAN_SPLIT, kind, number, number, "object", "object"
            yield Sample(*about, picture.image, picture.mask, *prompt, ignore=picture.ignore)
