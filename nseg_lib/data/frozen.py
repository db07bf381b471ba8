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
from nseg_lib.data.images import rescale, scaled_size
from nseg_lib.data.scribbles import SETS, load_scribbles
from nseg_lib.files import write_atomic
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

KINDS = (*RECIPES, *(kind for kind in PROMPTS if kind not in RECIPES), *PLAIN)
"""Every kind of prompt that can be drawn from a mask: released, simulated, plain."""

HUMAN = (*(f"{name}{tail}" for name in SETS for tail in ("", "_object")), "boxes")
"""What people drew: sets of strokes, with and without those on the background; and boxes, which
are taken as a brush would fill them, a coarse mask that covers too much."""

HUMAN_SPLIT = "iseg_scribbles"


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
    ignore: Mask | None = None
    """Undecided pixels, that no metric counts."""


# --- drawn once, and kept -------------------------------------------------------------------------


@dataclass(frozen=True)
class FrozenPrompts:
    """The prompts of one kind for a split, and the pictures that got none."""

    kind: str
    prompts: dict[int, tuple[int, dict[str, Any], dict[str, Any] | None]]
    """Picture id → (annotation id, RLE of the object strokes, of the background strokes or None),
    at native size."""
    dropped: tuple[int, ...]
    """Ids of pictures whose object stroke came out too small (a recipe's: fewer than
    :data:`MIN_STROKE_AREA` pixels) or empty."""
    path: Path
    """The file that holds them."""

    def drawn(self, image_id: int) -> Drawn:
        """A picture's prompt as masks, at native size."""
        _, stroke, background = self.prompts[image_id]
        brushed = coco.rle_to_mask(stroke)
        if background is None:
            return Drawn(brushed, np.zeros_like(brushed))
        return Drawn(brushed, coco.rle_to_mask(background))


def freeze_prompts(
    split: coco.Split, kind: str = "erode", seed: int = EVALUATION_SEED
) -> FrozenPrompts:
    """The prompts of a split, one for the largest object of each picture; drawn where missing.

    They are kept beside the data, those of the paper's recipes in
    ``<root>/strokes/<split>_<kind>_seed<seed>.json``, all others in ``<root>/prompts/``; where the
    data set can only be read, in the split's ``spare`` folder in place of ``<root>``. Randomness
    comes from the seed, the picture's and the annotation's id and the kind alone; ``plain_object``
    has the object strokes of ``plain_sparse``. The file keeps a hash of the objects' outlines: an
    object that was outlined anew keeps its id, but not its stroke.

    Args:
        kind: one of :data:`KINDS`.
        seed: of all the split's prompts.

    Raises:
        ValueError: an unknown kind.
        coco.DataError: the file is unreadable or was drawn for other annotations.
        OSError: there is none, and neither folder can be written.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of prompt '{kind}'; one of: {', '.join(KINDS)}")
    # Two formats: the recipes' files are older, and hold object strokes alone.
    key, brushed = ("strokes", "rle") if kind in RECIPES else ("prompts", "object")
    file = Path(key, f"{split.name}_{kind}_seed{seed}.json")
    paths = [root / file for root in (split.root, split.spare) if root is not None]
    path = next((path for path in paths if path.exists()), paths[0])
    largest = {i: coco.largest_annotation(a) for i, a in sorted(split.annotations.items()) if a}
    outlines = json.dumps([[i, a["id"], a["segmentation"]] for i, a in largest.items()])
    digest = hashlib.sha256(outlines.encode()).hexdigest()
    if not path.exists():
        drawn = json.dumps({**_draw_all(split, kind, seed), "outlines": digest})
        try:
            write_atomic(path, drawn)
        except OSError:  # the data set can only be read
            path = paths[-1]
            write_atomic(path, drawn)
    try:
        stored = json.loads(path.read_bytes())
        prompts = {
            r["image_id"]: (r["annotation_id"], r[brushed], r.get("background"))
            for r in stored[key]
        }
        dropped = {r["image_id"]: r["annotation_id"] for r in stored["dropped"]}
        drawn_for = stored.get("outlines", digest)  # files of early versions have none
    except (ValueError, KeyError, TypeError, AttributeError):
        raise coco.DataError(
            f"{path}: not a file of frozen {key}; delete it to draw them anew"
        ) from None
    ids = {i: annotation_id for i, (annotation_id, *_) in prompts.items()} | dropped
    if drawn_for != digest or ids != {i: a["id"] for i, a in largest.items()}:
        raise coco.DataError(
            f"{path}: drawn for other annotations than {split.name} has now; "
            "delete it to draw them anew"
        )
    return FrozenPrompts(kind, prompts, tuple(dropped), path)


def _draw_all(split: coco.Split, kind: str, seed: int) -> dict[str, Any]:
    """The content of a new file, but for the hash of the outlines."""
    kept: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    for image_id, found in sorted(split.annotations.items()):
        if not found:
            continue
        target = coco.largest_annotation(found)
        annotation_id, mask = target["id"], split.mask(image_id, target)
        row: dict[str, Any] = {"image_id": image_id, "annotation_id": annotation_id}
        if kind in RECIPES:
            key = {"seed": seed, "image_id": image_id, "annotation_id": annotation_id}
            stroke = make_stroke(mask, kind, **key)
            if stroke.sum() < MIN_STROKE_AREA:
                dropped.append(row | {"area": int(stroke.sum())})
            else:
                kept.append(row | {"rle": coco.mask_to_rle(stroke)})
            continue
        if mask.any():
            drawn = draw(mask, kind, generator(kind, seed, image_id, annotation_id))
            if drawn.object.any():
                kept.append(row | {k: coco.mask_to_rle(m) for k, m in drawn._asdict().items()})
                continue
        dropped.append(row)
    if kind in RECIPES:
        return {"recipe": kind, "seed": seed, "strokes": kept, "dropped": dropped}
    return {"kind": kind, "seed": seed, "prompts": kept, "dropped": dropped}


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
    """The samples of a split with their frozen strokes, read lazily, in order of picture id.

    Args:
        scale: 1 for native size; below 1 everything is shrunk by :func:`rescale`.

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
    ) -> None:
        scaled_size(1, 1, scale)  # refuses a bad scale before anything is drawn or written
        self.split, self.recipe, self.scale = split, recipe, scale
        frozen = freeze_prompts(split, recipe, seed)
        self.dropped = frozen.dropped
        self._prompts = sorted(frozen.prompts.items())

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
        return len(self._prompts)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        image_id, (annotation_id, rle, _) = self._prompts[index]
        annotation = next(a for a in self.split.annotations[image_id] if a["id"] == annotation_id)
        image, mask, stroke = rescale(
            self.split.read_image(image_id),
            self.split.mask(image_id, annotation),
            coco.rle_to_mask(rle),
            self.scale,
        )
        about = _about(self.split, annotation)
        return Sample(recipe=self.recipe, image=image, mask=mask, stroke=stroke, **about)


def _about(split: coco.Split, annotation: dict[str, Any]) -> dict[str, Any]:
    """Which object of which picture a sample is of, and of what kind."""
    category = split.categories[annotation["category_id"]]
    return {
        "split": split.name,
        "image_id": annotation["image_id"],
        "annotation_id": annotation["id"],
        "category": category.get("name", ""),
        "supercategory": category.get("supercategory", ""),
    }


def prompt_samples(
    split: coco.Split,
    kinds: Sequence[str],
    seed: int = EVALUATION_SEED,
    pictures: int | None = None,
) -> Iterator[Sample]:
    """The samples of a split, picture by picture (each read once), kind by kind.

    Args:
        pictures: only so many, the first by id.

    Raises:
        As :func:`freeze_prompts`.
    """
    of_kinds = [freeze_prompts(split, kind, seed) for kind in kinds]
    ids = sorted({i for prompts in of_kinds for i in prompts.prompts})[:pictures]
    for image_id in ids:
        target = coco.largest_annotation(split.annotations[image_id])
        image, mask = split.read_image(image_id), split.mask(image_id, target)
        for prompts in (prompts for prompts in of_kinds if image_id in prompts.prompts):
            stroke, background = prompts.drawn(image_id)
            about = _about(split, target) | {"recipe": prompts.kind}
            yield Sample(image=image, mask=mask, stroke=stroke, background=background, **about)


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
        for kind, (stroke, background) in drawn:
            yield Sample(
                split=HUMAN_SPLIT,
                recipe=kind,
                image_id=number,
                annotation_id=number,
                category="object",
                supercategory="object",
                image=picture.image,
                mask=picture.mask,
                stroke=stroke,
                background=background,
                ignore=picture.ignore,
            )
