"""Hostile files: small on the disk, vast if believed; each is refused in little memory."""

from __future__ import annotations

import resource
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nseg_lib.data import coco
from nseg_lib.data.images import read_image
from nseg_lib.strokes.drawing import rasterize


def claim(path: Path, side: int) -> Path:
    """A small PNG whose header claims ``side`` × ``side`` pixels."""
    Image.new("1", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    return path


def mask(segmentation: Any) -> None:
    coco.annotation_mask({"id": 1, "segmentation": segmentation}, 480, 640)


def strokes(*points: Any) -> None:
    rasterize([{"kind": "object", "points": p} for p in points], 480, 640)


HOSTILE = {
    "outline": lambda _: mask([[0, 0, 640, 480] * 10_000]),
    "longer outline": lambda _: mask([[0, 0, 640, 480] * 100_000]),
    "many outlines": lambda _: mask([[0, 0, 640, 480] * 400] * 100),
    "runs": lambda _: mask({"size": [480, 640], "counts": [0] * 10**6 + [480 * 640]}),
    "runs as text": lambda _: mask({"size": [480, 640], "counts": "0" * 10**7}),
    "size": lambda _: coco.rle_to_mask({"size": [10**6, 10**6], "counts": [10**12]}),
    "picture of 250 megapixels": lambda folder: read_image(claim(folder / "a.png", 15_800)),
    "picture of 4 gigapixels": lambda folder: read_image(claim(folder / "a.png", 65_000)),
    "points": lambda _: strokes(*[np.full((20_000, 3), 5.0)] * 6),
    "radius": lambda _: strokes([[0, 0, 1e5]]),
    "rows": lambda _: strokes(np.tile([[0, 0, 1], [0, 480, 1]], (30_000, 1))),
}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce the limit")
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_within_300_mb(tmp_path: Path, case: str) -> None:
    command = [sys.executable, __file__, case, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1, "the refusal is one line"
    assert len(done.stdout) < 400


if __name__ == "__main__":
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 300 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        HOSTILE[sys.argv[1]](Path(sys.argv[2]))
    except ValueError as error:
        print(error)
    else:
        sys.exit("it was not refused")
