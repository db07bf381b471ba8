"""Damaged and hostile files: each parser reads the file, or refuses it in one line.

Every parser is asked in a process of its own with a limit on its memory, some hundred mutations of
a sound file each. NSEG_FUZZ=20000 asks for as many; a failure names the seed that makes it again.
"""

from __future__ import annotations

import copy
import io
import json
import os
import random
import resource
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_builder import document, picture, write_set
from PIL import Image

from nseg_lib.data import coco, masks
from nseg_lib.data.check import check
from nseg_lib.data.fetch import read_archive
from nseg_lib.data.images import read_image
from nseg_lib.data.reduce import reduce

TIMES = int(os.environ.get("NSEG_FUZZ", "120"))
MEMORY = 3 * 2**30

VALUES: list[Any] = [
    None, True, -1, 0, 0.5, 1e308, 2**31, 2**63, 10**400, float("nan"), float("-inf"), "9" * 5000,
    "1e999", "", "é" * 300, "\ud800", "\0", "../x", "a\\..\\b", "\n", "o" * 100_000, [], {}, [[]],
    ["x"], [[[[[[[[]]]]]]]], [0] * 100_000, [1e9] * 7, {"size": [10**9] * 2},
]  # fmt: skip


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """Bytes changed, left out, repeated, and sizes made huge."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data))
        match rng.randrange(5):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at : at + 4] = rng.choice([b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0" * 4])
            case 2:
                del data[at : at + rng.randint(1, 40)]
            case 3:
                data[at:at] = data[at : at + rng.randint(1, 40)]
            case _:
                data = data[: max(1, at)] if rng.random() < 0.3 else data
        data = data or bytearray(b"x")
    return bytes(data)


def mutated_json(value: Any, rng: random.Random) -> str:
    """One or two values anywhere in it replaced by hostile ones, or taken out."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 2)):
        node, parent, key = value, None, None
        while isinstance(node, dict | list) and node and (parent is None or rng.random() < 0.9):
            parent = node
            key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
            node = parent[key]
        if parent is not None:
            parent[key] = rng.choice(VALUES)
    return json.dumps(value)


def pictures(folder: Path) -> Callable[[random.Random], None]:
    kinds: list[bytes] = []
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind, mode, options in (
        ("JPEG", "RGB", {"exif": exif}), ("JPEG", "CMYK", {}), ("PNG", "P", {"transparency": 0}),
        ("PNG", "RGBA", {"exif": exif}), ("WEBP", "RGBA", {"exif": exif}), ("GIF", "P", {}),
        ("TIFF", "RGB", {"exif": exif}), ("TIFF", "LA", {"compression": "tiff_lzw"}),
        ("BMP", "RGB", {}), ("PPM", "RGB", {}), ("PNG", "I;16", {}), ("TIFF", "I;16", {}),
    ):  # fmt: skip
        file = io.BytesIO()
        small = picture(1).resize((40, 30))
        grey = Image.fromarray(np.asarray(small.convert("L")).astype(np.uint16) * 9)
        (grey if mode == "I;16" else small.convert(mode)).save(file, kind, **options)
        kinds.append(file.getvalue())

    def once(rng: random.Random) -> None:
        path = folder / "picture"
        path.write_bytes(mutated_bytes(rng.choice(kinds), rng))
        rng.choice([read_image, masks.read_mask])(path)

    return once


def annotations(folder: Path) -> Callable[[random.Random], None]:
    sound = document([1, 2, 3])
    rle = coco.mask_to_rle(np.pad(np.ones((60, 60), bool), ((5, 55), (5, 95))))
    sound["annotations"][0]["segmentation"] = rle
    write_set(folder, "train", sound)
    number = iter(range(10**9))

    def once(rng: random.Random) -> None:
        path = folder / "annotations" / "instances_train.json"
        path.write_text(mutated_json(sound, rng))
        lines = check(folder).lines()
        assert all("\n" not in line and len(line) < 600 for line in lines), lines
        split = coco.load_split(folder)
        for image_id, found in split.annotations.items():
            for annotation in found:
                split.mask(image_id, annotation)
            split.credit(image_id)
        reduce(folder, folder / f"out{next(number)}", 2, copy=True)

    return once


def run_lengths(folder: Path) -> Callable[[random.Random], None]:
    sound = coco.mask_to_rle(np.random.default_rng(0).random((20, 30)) > 0.5)

    def once(rng: random.Random) -> None:
        counts = mutated_bytes(sound["counts"].encode(), rng).decode("latin-1")
        size = rng.choice([sound["size"], [rng.choice([0, 1, 20, 2**40]), rng.choice([30, "30"])]])
        coco.rle_to_mask({"size": size, "counts": counts})

    return once


def drawings(folder: Path) -> Callable[[random.Random], None]:
    photo = folder / "photo.png"
    picture(1).save(photo)
    taken = masks.open_photo(photo)
    strokes = [{"kind": "object", "points": [[5, 5, 3], [20, 5, 3]]}]
    drawn = {"format": masks.STROKES_FORMAT, "width": 160, "height": 120, "strokes": strokes}
    annotated = document([1])
    annotated["images"][0]["file_name"] = "photo.png"
    path = folder / "drawn.json"

    def once(rng: random.Random) -> None:
        path.write_text(mutated_json(rng.choice([drawn, annotated]), rng))
        rng.choice([masks.read_drawing, masks.read_mask])(path, taken)

    return once


def archives(folder: Path) -> Callable[[random.Random], None]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations/instances_train2014.json", json.dumps(document([1, 2])))

    def once(rng: random.Random) -> None:
        (folder / "a.zip").write_bytes(mutated_bytes(file.getvalue(), rng))
        read_archive(folder / "a.zip", "train2014")

    return once


PARSERS = {f.__name__: f for f in (pictures, annotations, run_lengths, drawings, archives)}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce the limit")
@pytest.mark.parametrize("parser", PARSERS)
def test_mutated_files_are_read_or_refused(tmp_path: Path, parser: str) -> None:
    command = [sys.executable, __file__, parser, str(tmp_path), str(TIMES)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + TIMES, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith(f"{TIMES} tried, ")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")  # Pillow's, of damaged tags
    once, refused = PARSERS[sys.argv[1]](Path(sys.argv[2])), 0
    for seed in range(int(sys.argv[3])):
        try:
            once(random.Random(seed))
        except coco.DataError as error:
            refused += 1
            if "\n" in str(error) or len(str(error)) > 600:
                sys.exit(f"seed {seed}: not one short line: {error!s:.2000}")
        except ValueError:
            refused += 1
        except BaseException:
            sys.stderr.write(f"seed {seed}: ")
            raise
    print(f"{sys.argv[3]} tried, {refused} refused")
