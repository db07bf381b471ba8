"""Make the parts that travel to a machine without internet: a data set, wheels, the commit.

python workflow/gpu/pack.py [--data data/coco1000] [--wheels pycocotools,safetensors]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

PART = 56 * 2**20
"""Bytes of a part, at most."""


def write_parts(root: Path, files: Sequence[Path], stem: Path, limit: int) -> list[Path]:
    """Write files, in order, into ``<stem>1.tar``, … of at most ``limit`` bytes, as from ``root``.

    Raises:
        ValueError: a single file is larger.
    """
    parts: list[list[Path]] = [[]]
    size = 0
    for path in files:
        taken = path.stat().st_size + 1536  # a header, and the padding of the block
        if taken > limit:
            raise ValueError(f"{path}: {taken:,} bytes do not fit into a part of {limit:,}")
        if size + taken > limit:
            parts.append([])
            size = 0
        parts[-1].append(path)
        size += taken
    stem.parent.mkdir(parents=True, exist_ok=True)
    for old in stem.parent.glob(f"{stem.name}*.tar"):
        old.unlink()
    written = []
    for number, members in enumerate(parts, 1):
        written.append(stem.with_name(f"{stem.name}{number}.tar"))
        with tarfile.open(written[-1], "w", dereference=True) as tar:
            for path in members:
                tar.add(path, path.relative_to(root).as_posix())
    return written


def pack(root: Path, data: Path, out: Path, limit: int = PART) -> list[Path]:
    """Write ``data1.tar``, ``data2.tar``, … of a data set, with paths from ``root``."""
    files = sorted(path for path in (root / data).rglob("*") if path.is_file())
    if not files:
        raise ValueError(f"{root / data}: no data set here; 'nseg data reduce' makes one")
    if not any(path.parent.name == "strokes" for path in files):
        # Drawn there, by another OpenCV, they might be others; and a run is bound to its strokes.
        raise ValueError(
            f"{root / data}: no frozen strokes; python workflow/gpu/pack.py draws them"
        )
    return write_parts(root, files, out / "data", limit)


def main() -> None:
    """Pack, fetch wheels for Python 3.12 on Linux, and note the commit."""
    from nseg_lib.provenance import code_version
    from reproduction.steps import freeze

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/coco1000"))
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu")
    names = ("pycocotools", "pydantic", "pydantic-core", "annotated-types", "typing-inspection")
    wheels = ",".join(f"{name}=={version(name)}" for name in names)  # those that fit together
    parser.add_argument("--wheels", default=wheels, help="with commas; none: ''")
    arguments = parser.parse_args()
    freeze(ROOT / arguments.data)
    for path in pack(ROOT, arguments.data, arguments.out):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 2**20:.1f} MiB")
    commit, dirty = code_version(ROOT)
    (arguments.out / "commit").write_text(f"{commit or ''}{'+' if dirty else ''}\n")
    for name in filter(None, arguments.wheels.split(",")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--python-version", "3.12"]
        command += ["--platform", "manylinux_2_17_x86_64", "--platform", "manylinux_2_28_x86_64"]
        command += ["--dest", str(arguments.out / "wheels"), name]
        subprocess.run(command, check=True)
        print(f"wheel: {name}")


if __name__ == "__main__":
    main()
