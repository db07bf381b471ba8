"""From a COCO split to training pairs and evaluation samples.

The unit is the paper's: one picture and the largest object annotated in it. Evaluation strokes
are drawn once and frozen to a file beside the data; training strokes are drawn anew each epoch.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from nseg_lib.config import DataConfig, InputKind
from nseg_lib.data import coco
from nseg_lib.data.frozen import EvaluationSamples
from nseg_lib.data.images import rescale, scaled_size
from nseg_lib.networks.inputs import network_input
from nseg_lib.strokes.recipes import MIN_STROKE_AREA, make_stroke


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
        mask = self.split.mask(image_id, annotation)
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
