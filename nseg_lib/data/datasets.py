"""What the paper's networks are trained on: pairs of input and target, and their order.

The unit is the paper's: one picture and the largest object annotated in it. Training strokes are
drawn anew in each epoch; those that the validation loss is computed on are drawn once and kept in a
file (:mod:`nseg_lib.data.frozen`).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from nseg_lib.arrays import Image, Mask
from nseg_lib.config import DataConfig, InputKind
from nseg_lib.data import coco
from nseg_lib.data.frozen import EvaluationSamples
from nseg_lib.data.scaling import rescale, scaled_size
from nseg_lib.files import sha256
from nseg_lib.networks.inputs import network_input
from nseg_lib.strokes.recipes import MIN_STROKE_AREA, make_stroke


def fingerprint(root: Path, splits: Sequence[str]) -> dict[str, str]:
    """Split → SHA-256 of its annotation file.

    Raises:
        DataError: there is no such split.
    """
    files = coco.find_splits(root)
    missing = [name for name in splits if name not in files]
    if missing:
        raise coco.DataError(
            f"{root}: no split '{missing[0]}' (there: {', '.join(files)}); "
            "'nseg data reduce' and 'nseg data sample' make data sets with train and val"
        )
    return {name: sha256(files[name]) for name in splits}


def picture_hashes(root: Path, splits: Sequence[str]) -> dict[str, str]:
    """Split → SHA-256 over the files of its annotated pictures: names and contents.

    Beside :func:`fingerprint`, it notices a picture that was changed under the same name. A
    thousand of COCO's pictures, 95 MB, take about half a second.

    Raises:
        DataError: a picture is missing, or as :func:`nseg_lib.data.coco.load_split`.
    """
    hashes = {}
    for name in splits:
        split = coco.load_split(root, name)
        whole = hashlib.sha256()
        for image_id in (i for i, objects in split.annotations.items() if objects):
            path = split.image_path(image_id)
            if not path.is_file():
                raise coco.DataError(f"{path}: no such picture; 'nseg data check' lists them all")
            whole.update(f"{split.images[image_id]['file_name']}\n{sha256(path)}\n".encode())
        hashes[name] = whole.hexdigest()
    return hashes


Pair = tuple[Tensor, Tensor]


class TrainingPairs(Dataset[Pair | None]):
    """Network input and target of each picture; the index carries the draw of the stroke.

    ``pairs[index, draw]`` is (float32 C×H×W in [0, 1], float32 1×H×W of 0 and 1), or ``None``
    where that draw's stroke is too small: such a pair is left out and counted, not replaced.
    Carrying the draw in the index makes a stroke independent of workers and of resuming.
    """

    def __init__(self, split: coco.Split, data: DataConfig, inputs: InputKind, seed: int) -> None:
        self.split, self.data, self.inputs, self.seed = split, data, inputs, seed
        self.targets = [(i, coco.largest_annotation(a)) for i, a in split.annotations.items() if a]

    def __len__(self) -> int:
        return len(self.targets)

    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of each pair, in pixels, without reading any picture."""
        records = (self.split.images[i] for i, _ in self.targets)
        return [scaled_size(r["height"], r["width"], self.data.scale) for r in records]

    def __getitem__(self, key: tuple[int, int]) -> Pair | None:
        index, draw = key
        image_id, annotation = self.targets[index]
        # The stroke is drawn at the picture's own size, as the paper's; only then all is shrunk.
        mask = self.split.mask(image_id, annotation)
        of = {"seed": self.seed, "image_id": image_id, "annotation_id": annotation["id"]}
        stroke = make_stroke(mask, self.data.recipe, **of, draw=draw if self.data.redraw else 0)
        if stroke.sum() < MIN_STROKE_AREA:
            return None
        image = self.split.read_image(image_id)
        return _pair(*rescale(image, mask, stroke, self.data.scale), self.inputs)


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


def _pair(image: Image, mask: Mask, stroke: Mask, kind: InputKind) -> Pair:
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
    On several processes each takes every n-th batch. All take equally many: where the batches do
    not go round, some processes get an empty one last.
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
        self.rank, self.replicas, self.epoch = rank, replicas, 0
        # Lightning looks for `set_epoch` on a batch sampler's `sampler`, not on itself.
        self.sampler = self

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def _batches(self) -> list[list[tuple[int, int]]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        # Pictures in a new order, each put with the others of its size; a full batch goes out.
        buckets: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        batches = []
        for index in rng.permutation(len(self.sizes)).tolist():
            bucket = buckets[self.sizes[index]]
            bucket.append((index, self.epoch))
            if len(bucket) == self.batch_size:
                batches.append(buckets.pop(self.sizes[index]))
        # What is left over makes smaller batches; shuffled, so that they do not all come last.
        batches.extend(buckets.values())
        order = rng.permutation(len(batches))
        return [batches[i] for i in order]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        batches = self._batches()
        mine = batches[self.rank :: self.replicas]
        yield from mine
        yield from [[]] * (len(self) - len(mine))

    def __len__(self) -> int:
        return -(-len(self._batches()) // self.replicas)

    @property
    def padding(self) -> int:
        """How many empty batches the processes get, all together."""
        return len(self) * self.replicas - len(self._batches())
