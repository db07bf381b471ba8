"""Prompts to measure with: drawn once per split, kind and seed, and kept beside the data.

Every method sees the same strokes on the same pictures: those of the paper's released recipes,
those of the simulator that training uses, plain ones that no training uses (:mod:`.plain`), and
those that people drew.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nseg_lib import coco
from nseg_lib.datasets import EVALUATION_SEED, Sample, Targets, draw_once, freeze_strokes
from nseg_lib.interactive import plain
from nseg_lib.interactive.scribbles import SETS, Scribbled, load_scribbles
from nseg_lib.interactive.simulate import PROMPTS, draw_prompt
from nseg_lib.strokes import RECIPES, Drawn

Mask = NDArray[np.bool_]

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
class FrozenPrompts:
    """The prompts of one kind for a split, and the pictures that got none."""

    kind: str
    prompts: dict[int, tuple[int, dict[str, Any], dict[str, Any] | None]]
    """Picture id → (annotation id, RLE of the object strokes, of the background strokes)."""
    dropped: tuple[int, ...]
    """Ids of pictures whose object stroke came out too small, or empty."""
    path: Path
    """The file that holds them."""

    def drawn(self, image_id: int) -> Drawn:
        """A picture's prompt as masks, at native size."""
        _, stroke, background = self.prompts[image_id]
        brushed = coco.rle_to_mask(stroke)
        if background is None:
            return Drawn(brushed, np.zeros_like(brushed))
        return Drawn(brushed, coco.rle_to_mask(background))


@dataclass(frozen=True)
class PromptSample(Sample):
    """A sample with strokes on the background too; what :mod:`nseg_lib.evaluation` reads."""

    background: Mask
    ignore: Mask | None = None
    """Undecided pixels, that no metric counts."""


def freeze_prompts(split: coco.Split, kind: str, seed: int = EVALUATION_SEED) -> FrozenPrompts:
    """The prompts of a split, one for the largest object of each picture; drawn where missing.

    The recipes' are the very strokes of :func:`nseg_lib.datasets.freeze_strokes`. All others are
    kept in ``<root>/prompts/<split>_<kind>_seed<seed>.json``. Randomness comes from the seed,
    the picture's and the annotation's id and the kind alone; ``plain_object`` has the object
    strokes of ``plain_sparse``.

    Raises:
        ValueError: an unknown kind.
        coco.DataError: the file is unreadable or was drawn for other annotations.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of prompt '{kind}'; one of: {', '.join(KINDS)}")
    if kind in RECIPES:
        same = freeze_strokes(split, kind, seed)
        strokes = {i: (annotation, rle, None) for i, (annotation, rle) in same.strokes.items()}
        path = split.root / "strokes" / f"{split.name}_{kind}_seed{seed}.json"
        return FrozenPrompts(kind, dict(strokes), same.dropped, path)
    path = split.root / "prompts" / f"{split.name}_{kind}_seed{seed}.json"

    def draw_all(targets: Targets) -> dict[str, Any]:
        return _draw(split, targets, kind, seed)

    fields = ("object", "background")
    return FrozenPrompts(kind, *draw_once(split, path, draw_all, "prompts", fields), path)


def prompt_samples(
    split: coco.Split,
    kinds: Sequence[str],
    seed: int = EVALUATION_SEED,
    pictures: int | None = None,
) -> Iterator[PromptSample]:
    """The samples of a split, picture by picture (each read once), kind by kind.

    Args:
        pictures: only so many, the first by id.

    Raises:
        As :func:`freeze_prompts`.
    """
    of_kinds = [freeze_prompts(split, kind, seed) for kind in kinds]
    ids = sorted({i for prompts in of_kinds for i in prompts.prompts})[:pictures]
    for image_id in ids:
        image = split.read_image(image_id)
        target = coco.largest_annotation(split.annotations[image_id])
        category = split.categories.get(target["category_id"], {})
        for prompts in of_kinds:
            if image_id not in prompts.prompts:
                continue
            drawn = prompts.drawn(image_id)
            yield PromptSample(
                split=split.name,
                recipe=prompts.kind,
                image_id=image_id,
                annotation_id=target["id"],
                category=category.get("name", ""),
                supercategory=category.get("supercategory", ""),
                image=image,
                mask=object_mask(split, image_id),
                stroke=drawn.object,
                background=drawn.background,
            )


def human_samples(folder: Path, pictures: int | None = None) -> Iterator[PromptSample]:
    """The samples of what people drew, picture by picture; ids count from 1 by name.

    Args:
        folder: see :mod:`nseg_lib.interactive.scribbles`.
        pictures: only so many.

    Raises:
        coco.DataError: as :func:`nseg_lib.interactive.scribbles.load_scribbles`.
    """
    for number, picture in enumerate(load_scribbles(folder), 1):
        if pictures is not None and number > pictures:
            return
        for kind, drawn in _human_prompts(picture):
            yield PromptSample(
                split=HUMAN_SPLIT,
                recipe=kind,
                image_id=number,
                annotation_id=number,
                category="object",
                supercategory="object",
                image=picture.image,
                mask=picture.mask,
                stroke=drawn.object,
                background=drawn.background,
                ignore=picture.ignore,
            )


def _human_prompts(picture: Scribbled) -> Iterator[tuple[str, Drawn]]:
    nothing = np.zeros_like(picture.mask)
    for name, drawn in picture.strokes.items():
        yield name, drawn
        yield f"{name}_object", Drawn(drawn.object, nothing)
    for box in picture.boxes.values():
        yield "boxes", Drawn(box, nothing)


def object_mask(split: coco.Split, image_id: int) -> Mask:
    """The largest object of a picture, bool H×W."""
    record = split.images[image_id]
    target = coco.largest_annotation(split.annotations[image_id])
    return coco.annotation_mask(target, record["height"], record["width"])


def draw(mask: Mask, kind: str, rng: Generator) -> Drawn:
    """One prompt of a kind in :data:`KINDS`."""
    return PLAIN[kind](mask, rng) if kind in PLAIN else draw_prompt(mask, kind, rng)


def generator(kind: str, seed: int, *numbers: int) -> Generator:
    """A random generator that depends on these values alone."""
    key = "plain" if kind in PLAIN else kind
    return np.random.default_rng((seed, *numbers, zlib.crc32(key.encode())))


def _draw(split: coco.Split, targets: Targets, kind: str, seed: int) -> dict[str, Any]:
    """The content of a file of prompts."""
    prompts: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    for image_id, target in targets.items():
        mask = object_mask(split, image_id)
        row = {"image_id": image_id, "annotation_id": target["id"]}
        if not mask.any():
            dropped.append(row)
            continue
        drawn = draw(mask, kind, generator(kind, seed, image_id, target["id"]))
        if drawn.object.any():
            strokes = {name: coco.mask_to_rle(m) for name, m in drawn._asdict().items()}
            prompts.append(row | strokes)
        else:
            dropped.append(row)
    return {"kind": kind, "seed": seed, "prompts": prompts, "dropped": dropped}
