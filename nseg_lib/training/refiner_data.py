"""What a refiner is trained on: crops of brushed objects, and windows on painted ones.

Every sample is drawn from its key, ``(seed, step, slot)``, so it depends neither on the number of
processes nor on where a training was resumed.
"""

from __future__ import annotations

import pickle
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.utils.data import Dataset

from nseg_lib.arrays import Image, Mask
from nseg_lib.config import ConfigError, EdgeConfig, FitConfig, PromptConfig
from nseg_lib.data import coco
from nseg_lib.networks import crops, edge
from nseg_lib.networks.crops import Crop
from nseg_lib.strokes.drawing import Drawn
from nseg_lib.strokes.people import MIX, draw_prompt
from nseg_lib.training import neighbours

LEVELS = 30
"""Steps to a logit in which the refiner's answers are kept."""

TRIES = 200
"""Prompts that are drawn for one carefully painted object before it is given up."""

PICTURE_BYTES = 2**30
"""Decoded pictures that a process keeps at most: about 1,100 of COCO's, or 28 of 12 megapixels."""

BOXED: dict[str, float] = {
    "sparse": 1.0, "sparse_object": 1.0, "dense": 0.5, "hatch": 0.5, "fill": 0.5, "beside": 1.0,
    "click": 1.5, "extremes": 2.5, "box": 2.5,
}  # fmt: skip
"""Kinds of prompt that a box may come with, and how much more often than the recipe's share. A
painted box comes as nothing but a box, and extreme points mostly come with theirs."""

NEAR, FAR = 0.45, 0.4
"""Shares of crops like the second look's and like the first's; the rest see more still."""


class PictureCache:
    """The pictures of a split that were read last, decoded: as many as fit into ``limit`` bytes."""

    def __init__(self, read: Callable[[int], Image], limit: int = PICTURE_BYTES) -> None:
        self.read, self.limit, self.held = read, limit, 0
        self.pictures: OrderedDict[int, Image] = OrderedDict()

    def __call__(self, image_id: int) -> Image:
        """A picture by its id, uint8 H×W×3."""
        if image_id not in self.pictures:
            self.pictures[image_id] = self.read(image_id)
            self.held += self.pictures[image_id].nbytes
        image = self.pictures[image_id]
        self.pictures.move_to_end(image_id)
        while self.held > self.limit:  # those that were not asked for the longest go first
            self.held -= self.pictures.popitem(last=False)[1].nbytes
        return image


class Example(NamedTuple):
    """An object in a picture, and what was drawn to say that it is meant."""

    image: Image
    mask: Mask
    drawn: Drawn
    image_id: int
    box: Crop | None = None
    """A box that the object is in; all outside it is drawn as background."""


class Objects:
    """The objects of a split that are trained on.

    Raises:
        coco.DataError: there is none.
    """

    def __init__(self, split: coco.Split, smallest: int) -> None:
        usable = {
            i: [a for a in found if not a.get("iscrowd") and a["area"] >= smallest]
            for i, found in sorted(split.annotations.items())
        }
        self.pictures = [(i, found) for i, found in usable.items() if found]
        if not self.pictures:
            raise coco.DataError(
                f"{split.root}: no object of {smallest} px or more in the split '{split.name}'"
            )
        self.read = PictureCache(split.read_image)

    def __len__(self) -> int:
        return sum(len(found) for _, found in self.pictures)

    def choose(self, largest: float, rng: Generator) -> tuple[int, Any, list[Any]]:
        """A picture's id, one of its objects, and all of them.

        In a share ``largest`` of the cases it is the largest object, else any, the larger ones more
        often.
        """
        image_id, found = self.pictures[rng.integers(len(self.pictures))]
        if rng.random() < largest:
            return image_id, max(found, key=lambda a: float(a["area"])), found
        weights = np.sqrt([a["area"] for a in found])
        return image_id, found[rng.choice(len(found), p=weights / weights.sum())], found


class TrainingObjects:
    """Objects with a prompt drawn for each.

    Args:
        split: pictures with objects.
        prompts: what is drawn, and how often.
        persons: pictures of one person each with its parts, whole persons first; where the recipe
            has a share of them.
    """

    def __init__(
        self, split: coco.Split, prompts: PromptConfig, persons: coco.Split | None = None
    ) -> None:
        self.prompts = prompts
        early = prompts.mix or MIX
        self.mixes = [_shares(early), _shares(prompts.late or early)]
        self.objects = Objects(split, prompts.smallest)
        self.persons = Objects(persons, prompts.smallest) if persons is not None else None
        self.read = self.objects.read

    def __len__(self) -> int:
        return len(self.objects) + (len(self.persons) if self.persons is not None else 0)

    def draw(self, rng: Generator, late: bool) -> Example:
        """An object, and a prompt of the early or the late mix."""
        prompts = self.prompts
        while True:
            # Which object. A chance is only taken where the recipe asks for it, so that recipes
            # without it draw what they always drew.
            person = bool(prompts.persons) and rng.random() < prompts.persons
            objects = self.persons if person and self.persons is not None else self.objects
            image_id, chosen, found = objects.choose(prompts.largest, rng)
            image = objects.read(image_id)
            mask = coco.annotation_mask(chosen, *image.shape[:2])
            if not mask.any():
                continue
            part = person and chosen is not found[0]  # of a person

            # Beside it: one just like it, and neighbours that are finished already.
            others: list[Mask] = []
            if prompts.alike and not part and rng.random() < prompts.alike:
                pasted = neighbours.paste_twin(image, mask, rng)
                if pasted is not None:
                    image, mask, twin = pasted
                    others.append(twin)
            walls = np.zeros_like(mask)
            if prompts.finished and (part or rng.random() < prompts.finished):
                # The other parts of a person tell that only this one is meant.
                kept = (a for a in found if a is not chosen and not (part and a is found[0]))
                others += [coco.annotation_mask(a, *mask.shape) for a in kept]
                walls = neighbours.finished(mask, others, rng)

            # What is drawn: strokes or a coarse mask, and perhaps a box.
            kinds, shares = self.mixes[late]
            kind = str(rng.choice(kinds, p=shares))
            drawn, box = draw_prompt(mask, kind, rng), None
            if prompts.boxes and kind in BOXED and rng.random() < BOXED[kind] * prompts.boxes:
                box = _loose_box(mask, drawn.object if kind == "box" else None, rng)
                outside = np.ones_like(mask)
                outside[box.window] = False
                walls = walls | outside
            stroke = drawn.object & ~walls
            if stroke.any():
                drawn = Drawn(stroke, (drawn.background | walls) & ~stroke)
                return Example(image, mask, drawn, image_id, box)


class TrainingCrops(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """One crop with its prompts, its truth and the pixels that count, by (step, slot, size).

    Each item is (float32 6×S×S in [0, 1]: colours, object strokes, background strokes, an empty
    last mask; float32 1×S×S of 0 and 1: the object; float32 1×S×S: 0 beyond the picture).
    """

    def __init__(
        self,
        split: coco.Split,
        prompts: PromptConfig,
        fit: FitConfig,
        persons: coco.Split | None = None,
    ) -> None:
        self.objects = TrainingObjects(split, prompts, persons)
        self.seed, self.half = fit.seed, fit.steps / 2
        self.augment, self.scales = fit.augment, fit.scales

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, key: Any) -> tuple[Tensor, Tensor, Tensor]:
        step, slot, size = key
        rng = np.random.default_rng((self.seed, step, slot))
        image, mask, drawn, _, box = self.objects.draw(rng, late=step >= self.half)
        crop = _crop(mask, drawn, box, self.scales, rng)
        # The picture and its prompts as the network sees them when it is asked.
        channels, (height, width) = crops.crop_input(
            image, (drawn.object, drawn.background, np.zeros_like(mask)), crop, size, size
        )
        # The crop is rarely square: what is beyond it has no target and does not count.
        truth = mask.astype(np.uint8) * 255
        target, counts = np.zeros((2, 1, size, size), np.float32)
        target[0, :height, :width] = crops.resize(truth[crop.window], height, width) > 127
        counts[0, :height, :width] = 1
        if self.augment:
            channels[:3, :height, :width] = _recolour(channels[:3, :height, :width], rng)
        return _tensors((channels, target, counts), self.augment and rng.random() < 0.5)


class EdgeWindows(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Windows on carefully painted objects at the picture's own size, for the edge network.

    A number of objects are painted and answered by the refiner without its edge network, each when
    it is first asked for, and kept, packed (in each process anew).

    Items by (step, slot, size): float32 7×S×S as of :func:`edge.edge_input`, float32 1×S×S of 0
    and 1: the object, float32 1×S×S: 0 beyond the picture.

    Args:
        answer: (image, paint) → the refiner's logits, float32 H×W.

    Raises:
        ConfigError: when asked for an item, if the mix hardly ever paints with care.
    """

    def __init__(
        self, split: coco.Split, config: EdgeConfig, answer: Callable[[Image, Mask], crops.Floats]
    ) -> None:
        self.drawn = TrainingObjects(split, PromptConfig(mix=config.mix, largest=config.largest))
        self.count, self.seed, self.answer = config.objects, config.training.seed, answer
        self.augment = config.training.augment
        self.painted: dict[int, bytes] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: Any) -> tuple[Tensor, Tensor, Tensor]:
        step, slot, size = key
        rng = np.random.default_rng((self.seed, step, slot))
        image, mask, paint, logits = self._object(int(rng.integers(self.count)))
        # A window where there is something to learn: at the edge, or where the paint is wrong.
        window = _window_near_edge(mask, paint, size, rng)
        height, width = mask[window].shape
        channels = np.zeros((edge.CHANNELS, size, size), np.float32)
        target, counts = np.zeros((2, 1, size, size), np.float32)
        channels[-4] = -1  # the logits: beyond the picture, the refiner is sure
        # Colours change before the input is made of the whole picture, and is then cut.
        if self.augment:
            colours = np.moveaxis(image, -1, 0).astype(np.float32) / np.float32(255)
            shown = np.moveaxis(_recolour(colours, rng) * 255, 0, -1).round().astype(np.uint8)
            image = np.ascontiguousarray(shown)
        part = edge.edge_input(image, paint, logits)
        channels[:, :height, :width] = part[:, *window]
        target[0, :height, :width] = mask[window]
        counts[0, :height, :width] = 1
        return _tensors((channels, target, counts), self.augment and rng.random() < 0.5)

    def _object(self, index: int) -> tuple[Image, Mask, Mask, crops.Floats]:
        """What the network would see of a picture: image, object, paint and logits."""
        if index not in self.painted:
            self.painted[index] = self._paint(np.random.default_rng((self.seed, index, 0, 1)))
        image_id, crop, shape, *bits, levels = pickle.loads(zlib.decompress(self.painted[index]))
        mask, paint = (
            np.unpackbits(plane, count=shape[0] * shape[1]).reshape(shape).astype(bool)
            for plane in bits
        )
        image = self.drawn.read(image_id)[crop.window]
        if image.shape[:2] != shape:
            image = crops.resize(image, *shape).round().astype(np.uint8)
        return image, mask, paint, levels.astype(np.float32) / LEVELS

    def _paint(self, rng: Generator) -> bytes:
        """One carefully painted object, packed: picture id, crop, shape, truth, paint, logits."""
        for _ in range(TRIES):
            image, mask, drawn, image_id, _ = self.drawn.draw(rng, late=False)
            if not edge.is_careful(drawn.object, drawn.object):
                continue  # whatever the refiner would answer
            logits = self.answer(image, drawn.object)
            if not edge.is_careful(drawn.object, logits > 0):
                continue
            crop = edge.surroundings(drawn.object, logits)
            _, paint, answered = edge.shown(image, drawn.object, logits, crop)
            _, truth, _ = edge.shown(image, mask, logits, crop)
            levels = (np.clip(answered, -edge.SURE, edge.SURE) * LEVELS).round().astype(np.int8)
            packed = (np.packbits(plane) for plane in (truth, paint))
            return zlib.compress(pickle.dumps((image_id, crop, paint.shape, *packed, levels)), 1)
        raise ConfigError(
            f"'edge.mix': {TRIES} prompts drawn; the refiner agrees with no smooth mask among them"
        )


def _tensors(planes: tuple[crops.Floats, ...], mirrored: bool) -> tuple[Tensor, Tensor, Tensor]:
    step = -1 if mirrored else 1
    x, y, w = (torch.from_numpy(np.ascontiguousarray(p[..., ::step])) for p in planes)
    return x, y, w


def _window_near_edge(mask: Mask, paint: Mask, size: int, rng: Generator) -> tuple[slice, slice]:
    """``size`` pixels to a side, or all there is, with a pixel of interest in the middle half.

    That is one where the paint is wrong, or, in half of the cases or if there is none, of the edge.
    """
    wrong = np.flatnonzero(mask != paint)
    if len(wrong) == 0 or rng.random() < 0.5:
        plane = mask.astype(np.uint8)
        rim = np.flatnonzero(plane - cv2.erode(plane, np.ones((3, 3), np.uint8)))
        wrong = rim if len(rim) else np.arange(mask.size)
    point = np.array(np.unravel_index(wrong[rng.integers(len(wrong))], mask.shape))
    room = np.maximum(np.array(mask.shape) - size, 0)
    top, left = np.clip(point - rng.integers(size // 4, 3 * size // 4 + 1, 2), 0, room)
    return slice(int(top), int(top) + size), slice(int(left), int(left) + size)


def _shares(mix: Mapping[str, float]) -> tuple[list[str], list[float]]:
    """Kinds of prompt, and the share of each."""
    total = sum(mix.values())
    return list(mix), [weight / total for weight in mix.values()]


def _loose_box(mask: Mask, painted: Mask | None, rng: Generator) -> Crop:
    """A box as somebody drags it round an object; where a box was painted, just that one."""
    if painted is not None:
        return crops.bounding_box(painted)
    box = crops.bounding_box(mask)
    top, bottom, left, right = (rng.uniform(-0.02, 0.1, 4) * box.longer).round().astype(int)
    height, width = mask.shape
    return Crop(
        max(0, box.top - top), min(height, max(box.bottom + bottom, box.top + 1)),
        max(0, box.left - left), min(width, max(box.right + right, box.left + 1)),
    )  # fmt: skip


def _crop(mask: Mask, drawn: Drawn, box: Crop | None, scales: bool, rng: Generator) -> Crop:
    """Near, as the second look round the object; far, as the first round the strokes; or farther.

    Without ``scales`` exactly as the looks are cut, and never farther.
    """
    if box is not None and rng.random() < 0.5:
        inside = np.zeros_like(mask)
        inside[box.window] = True
        return crops.zoom(inside, margin=crops.CORRECTION_MARGIN * rng.uniform(0.3, 1.5))
    if not scales:
        near = rng.random() < NEAR / (NEAR + FAR)
        return crops.zoom(mask | drawn.object) if near else crops.look(*drawn)
    kind = rng.random()
    if NEAR <= kind < NEAR + FAR:
        return crops.look(*drawn, scale=rng.uniform(0.6, 1.6))
    box = crops.bounding_box(mask | drawn.object)
    margins = rng.uniform(0.03, 0.5 if kind < NEAR else 2.0, 4) * box.longer
    above, below, left, right = map(int, np.maximum(margins, 4))
    height, width = mask.shape
    return Crop(
        max(0, box.top - above), min(height, box.bottom + below),
        max(0, box.left - left), min(width, box.right + right),
    )  # fmt: skip


def _recolour(colours: crops.Floats, rng: Generator) -> crops.Floats:
    """Exposure, contrast, saturation and white balance, a little; sometimes grey or blurred."""
    luma = colours.mean(axis=0, keepdims=True)
    saturation = 0.0 if rng.random() < 0.05 else rng.uniform(0.6, 1.4)
    tinted = luma + saturation * (colours - luma)
    tinted = tinted * rng.uniform(0.92, 1.08, (3, 1, 1))
    contrast, shift = rng.uniform(0.7, 1.3), rng.uniform(-0.12, 0.12)
    shown = np.clip((tinted - 0.5) * contrast + 0.5 + shift, 0, 1) ** rng.uniform(0.8, 1.25)
    if rng.random() < 0.15:
        sigma = rng.uniform(0.5, 1.5)
        shown = np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in shown])
    return shown.astype(np.float32)
