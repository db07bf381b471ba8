"""Hostile files: small on the disk, vast if believed; each is refused in little memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nseg_lib import limits
from nseg_lib.config import parse
from nseg_lib.data import coco
from nseg_lib.data.images import read_image
from nseg_lib.networks.loading import load_weights
from nseg_lib.parsing import read_json, read_yaml
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


def checkpoint(folder: Path, widths: Any) -> Path:
    """A file of weights of some hundred bytes that claims a network of these widths."""
    config = {"name": "x", "model": {"architecture": "res", "widths": widths}}
    header = {"__metadata__": {"nseg_config": json.dumps(config)}}
    text = json.dumps(header).encode()
    path = folder / "small.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    return path


ALIASES = "a0: &a0 [x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20)
)
"""A YAML of 1,100 bytes that stands for 9^19 values."""


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
    "wide network": lambda folder: load_weights(checkpoint(folder, widths=[512] * 7)),
    "nested JSON": lambda _: read_json("[" * 60_000, "here"),
    "wrong values": lambda _: parse({"model": {"widths": ["x"] * 10**5}}, "here"),
    "aliases": lambda _: read_yaml(ALIASES, "here"),
    "long YAML": lambda _: read_yaml("- {}\n" * 10**6, "here"),
    "rows": lambda _: strokes(np.tile([[0, 0, 1], [0, 480, 1]], (30_000, 1))),
}


SAYS = {
    "size": "pixels, at most 250,000,000",
    "picture of 250 megapixels": "a.png: not a readable picture: 68 bytes cannot hold the 15800x",
    "picture of 4 gigapixels": "a.png: too large: 65000x65000 pixels, at most 250,000,000",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Case → the lines that it was refused with."""
    command = [sys.executable, __file__, str(tmp_path_factory.mktemp("hostile"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert not done.stderr
    lines: dict[str, list[str]] = {case: [] for case in HOSTILE}
    for line in done.stdout.splitlines():
        case, _, message = line.partition(" | ")
        lines[case].append(message)
    return lines


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce the limit")
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_within_300_mb(said: dict[str, list[str]], case: str) -> None:
    (message,) = said[case]
    assert len(message) < 400
    assert SAYS.get(case, "") in message


def in_little_memory(case: str, folder: Path) -> None:
    """Run a case in a process of its own, with 300 MB of address space beyond what it has."""
    if os.fork():
        os.wait()
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 300 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        HOSTILE[case](folder)
    except ValueError as error:
        print(f"{case} | {error}", flush=True)
    os._exit(0)


if __name__ == "__main__":
    for each in HOSTILE:
        in_little_memory(each, Path(sys.argv[1]))


def test_the_page_on_reliability_lists_every_limit() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reliability.md").read_text(encoding="utf-8")
    for name, value in vars(limits).items():
        if name.startswith("MAX_"):
            assert f"(`{name}`) | {value:,.0f} |" in page
