"""From a COCO split to training pairs and evaluation samples.

The unit is the paper's: one picture and the largest object annotated in it. Evaluation strokes
are drawn once and frozen to a file beside the data; training strokes are drawn anew each epoch.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from nseg_lib import coco
from nseg_lib.config import DataConfig, InputKind
from nseg_lib.inputs import network_input
from nseg_lib.provenance import write_atomic
from nseg_lib.strokes import MIN_STROKE_AREA, make_stroke

EVALUATION_SEED = 0
"""Seed of the frozen strokes that every validation loss and every table uses."""


Targets = dict[int, dict[str, Any]]
"""Picture id → the annotation of its largest object."""


def fingerprint(root: Path, splits: Sequence[str]) -> dict[str, str]:
    """SHA-256 of each split's annotation file: tells one data set from another."""
    files = coco.find_splits(root)
    missing = [name for name in splits if name not in files]
    if missing:
        raise coco.DataError(
            f"{root}: no split '{missing[0]}' (there: {', '.join(files) or 'none'}); "
            "'nseg data reduce' and 'nseg data sample' make data sets with train and val"
        )
    return {name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in splits}


@dataclass(frozen=True)
class Sample:
    """One picture, one object in it, one stroke over that object."""

    split: str
    recipe: str
    image_id: int
    annotation_id: int
    category: str
    supercategory: str
    image: NDArray[np.uint8]
    """uint8 H×W×3, RGB."""
    mask: NDArray[np.bool_]
    stroke: NDArray[np.bool_]


@dataclass(frozen=True)
class FrozenStrokes:
    """The strokes of a split, drawn once, and the objects whose stroke came out too small."""

    strokes: dict[int, tuple[int, dict[str, Any]]]
    """Picture id → (annotation id, compressed RLE at native size)."""
    dropped: tuple[int, ...]
    """Ids of pictures whose stroke has fewer than ``MIN_STROKE_AREA`` pixels."""


def freeze_strokes(
    split: coco.Split, recipe: str = "erode", seed: int = EVALUATION_SEED
) -> FrozenStrokes:
    """The evaluation strokes of a split, from ``<root>/strokes/``, drawn first where missing.

    Raises:
        coco.DataError: the file is unreadable or was drawn for other annotations.
    """
    path = split.root / "strokes" / f"{split.name}_{recipe}_seed{seed}.json"

    def draw(targets: Targets) -> dict[str, Any]:
        return _draw_strokes(split, targets, recipe, seed)

    return FrozenStrokes(*draw_once(split, path, draw, "strokes", ("rle",)))


def draw_once(
    split: coco.Split,
    path: Path,
    draw: Callable[[Targets], dict[str, Any]],
    rows: str,
    fields: Sequence[str],
) -> tuple[dict[int, Any], tuple[int, ...]]:
    """What was drawn once over the largest object of each picture, drawn first where missing.

    The file keeps a hash of the objects' outlines: an object that was outlined anew keeps its id,
    but not its stroke.

    Args:
        path: the file.
        draw: its content, for a file that is missing.
        rows: the content's list of what was drawn; the others are in the list ``dropped``.
        fields: of a row, what to return.

    Returns:
        Picture id → (annotation id, and the fields), and the ids of the dropped pictures.

    Raises:
        coco.DataError: the file is unreadable or was drawn for other annotations.
    """
    targets = {i: coco.largest_annotation(a) for i, a in sorted(split.annotations.items()) if a}
    outlines = json.dumps([[i, t["id"], t["segmentation"]] for i, t in targets.items()])
    now = hashlib.sha256(outlines.encode()).hexdigest()
    if not path.exists():
        write_atomic(path, json.dumps({**draw(targets), "outlines": now}))
    try:
        stored = json.loads(path.read_bytes())
        drawn = {r["image_id"]: (r["annotation_id"], *(r[f] for f in fields)) for r in stored[rows]}
        dropped = {r["image_id"]: r["annotation_id"] for r in stored["dropped"]}
        then = stored.get("outlines", now)
    except (ValueError, KeyError, TypeError):
        raise coco.DataError(
            f"{path}: not a file of frozen {rows}; delete it to draw them anew"
        ) from None
    ids = {i: row[0] for i, row in drawn.items()} | dropped
    if then != now or ids != {i: t["id"] for i, t in targets.items()}:
        raise coco.DataError(
            f"{path}: drawn for other annotations than {split.name} has now; "
            "delete it to draw them anew"
        )
    return drawn, tuple(dropped)


def _draw_strokes(split: coco.Split, targets: Targets, recipe: str, seed: int) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    for image_id, target in targets.items():
        stroke = make_stroke(
            _mask(split, image_id, target),
            recipe,
            seed=seed,
            image_id=image_id,
            annotation_id=target["id"],
        )
        row = {"image_id": image_id, "annotation_id": target["id"]}
        if stroke.sum() < MIN_STROKE_AREA:
            dropped.append({**row, "area": int(stroke.sum())})
        else:
            rows.append({**row, "rle": coco.mask_to_rle(stroke)})
    return {"recipe": recipe, "seed": seed, "strokes": rows, "dropped": dropped}


def _mask(split: coco.Split, image_id: int, annotation: dict[str, Any]) -> NDArray[np.bool_]:
    record = split.images[image_id]
    return coco.annotation_mask(annotation, record["height"], record["width"])


def rescale(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    stroke: NDArray[np.bool_],
    scale: float,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """Shrink a picture, its mask and its stroke together, by area averaging.

    The stroke is drawn at native size first, so that it keeps its proportion to the object.
    """
    if scale == 1:
        return image, mask, stroke
    height, width = scaled_size(mask.shape[0], mask.shape[1], scale)

    def shrink(array: NDArray[Any]) -> NDArray[Any]:
        return cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA)

    masks = [shrink(m.astype(np.float32)) >= 0.5 for m in (mask, stroke)]
    return shrink(image), masks[0], masks[1]


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Height and width in pixels after :func:`rescale`, at least 1.

    Raises:
        ValueError: a scale that is not above 0 and at most 1.
    """
    if not 0 < scale <= 1:
        raise ValueError(f"scale must be above 0 and at most 1, got {scale}")
    return max(1, round(height * scale)), max(1, round(width * scale))


class EvaluationSamples(Sequence[Sample]):
    """The samples of a split with their frozen strokes, read lazily, in order of picture id.

    Args:
        scale: 1 for native size; below 1 everything is shrunk by :func:`rescale`.

    Raises:
        ValueError: a scale that is not above 0 and at most 1.
        coco.DataError: as :func:`freeze_strokes`.
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
        frozen = freeze_strokes(split, recipe, seed)
        self.dropped = frozen.dropped
        self._strokes = sorted(frozen.strokes.items())

    def __len__(self) -> int:
        return len(self._strokes)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        image_id, (annotation_id, rle) = self._strokes[index]
        annotation = next(a for a in self.split.annotations[image_id] if a["id"] == annotation_id)
        category = self.split.categories.get(annotation["category_id"], {})
        image, mask, stroke = rescale(
            self.split.read_image(image_id),
            _mask(self.split, image_id, annotation),
            coco.rle_to_mask(rle),
            self.scale,
        )
        return Sample(
            split=self.split.name,
            recipe=self.recipe,
            image_id=image_id,
            annotation_id=annotation_id,
            category=category.get("name", ""),
            supercategory=category.get("supercategory", ""),
            image=image,
            mask=mask,
            stroke=stroke,
        )


Pair = tuple[Tensor, Tensor]


class TrainingPairs(Dataset[Pair | None]):
    """Network input and target of each picture; the index carries the draw of the stroke.

    ``pairs[index, draw]`` is (float32 C×H×W in [0, 1], float32 1×H×W of 0 and 1), or ``None``
    where that draw's stroke is too small: such a pair is left out and counted, not replaced.
    Carrying the draw in the index makes a stroke independent of workers and of resuming.
    """

    def __init__(self, split: coco.Split, data: DataConfig, inputs: InputKind, seed: int) -> None:
        self.split, self.data, self.inputs, self.seed = split, data, inputs, seed
        self.targets = [
            (i, coco.largest_annotation(a)) for i, a in sorted(split.annotations.items()) if a
        ]

    def __len__(self) -> int:
        return len(self.targets)

    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of each pair, in pixels, without reading any picture."""
        records = (self.split.images[i] for i, _ in self.targets)
        return [scaled_size(r["height"], r["width"], self.data.scale) for r in records]

    def __getitem__(self, key: tuple[int, int]) -> Pair | None:
        index, draw = key
        image_id, annotation = self.targets[index]
        mask = _mask(self.split, image_id, annotation)
        stroke = make_stroke(
            mask,
            self.data.recipe,
            seed=self.seed,
            image_id=image_id,
            annotation_id=annotation["id"],
            draw=draw if self.data.redraw else 0,
        )
        if stroke.sum() < MIN_STROKE_AREA:
            return None
        return _pair(
            *rescale(self.split.read_image(image_id), mask, stroke, self.data.scale), self.inputs
        )


class FrozenPairs(Dataset[Pair]):
    """The pairs of a split with its frozen strokes: what validation loss is computed on."""

    def __init__(self, split: coco.Split, data: DataConfig, inputs: InputKind) -> None:
        self.samples = EvaluationSamples(split, data.recipe, data.scale)
        self.inputs: InputKind = inputs

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Pair:
        sample = self.samples[index]
        return _pair(sample.image, sample.mask, sample.stroke, self.inputs)


def _pair(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], stroke: NDArray[np.bool_], kind: InputKind
) -> Pair:
    target = torch.from_numpy(mask.astype(np.float32))[None]
    return torch.from_numpy(network_input(image, stroke, kind)), target


def collate(pairs: list[Pair | None]) -> Pair | None:
    """Stack the pairs that are there; ``None`` where the whole batch was dropped."""
    kept = [pair for pair in pairs if pair is not None]
    if not kept:
        return None
    return torch.stack([x for x, _ in kept]), torch.stack([y for _, y in kept])


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of equal-sized pictures in a new order each epoch, as lists of (index, epoch).

    The order depends on ``seed`` and the epoch alone, so a resumed run sees what an
    uninterrupted one would have. Batches left incomplete at the end of an epoch are used too.
    On several processes each takes every n-th batch, the last ones wrapping round.
    """

    def __init__(
        self,
        sizes: Sequence[tuple[int, int]],
        batch_size: int,
        seed: int,
        rank: int = 0,
        replicas: int = 1,
    ) -> None:
        self.sizes, self.batch_size, self.seed = sizes, batch_size, seed
        self.rank, self.replicas = rank, replicas
        self.epoch = 0
        # Lightning looks for `set_epoch` on a batch sampler's `sampler`, not on itself.
        self.sampler = self

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def _batches(self) -> list[list[tuple[int, int]]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        buckets: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        batches = []
        for index in rng.permutation(len(self.sizes)).tolist():
            bucket = buckets[self.sizes[index]]
            bucket.append((index, self.epoch))
            if len(bucket) == self.batch_size:
                batches.append(buckets.pop(self.sizes[index]))
        batches.extend(buckets.values())
        order = rng.permutation(len(batches))
        return [batches[i] for i in order]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        batches = self._batches()
        for i in range(len(self)):
            yield batches[(i * self.replicas + self.rank) % len(batches)]

    def __len__(self) -> int:
        return -(-len(self._batches()) // self.replicas)
