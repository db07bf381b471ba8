"""The fault bench: runs a command again and again, and each time another change to a file fails.

The long form, ``NSEG_FAULTS=long pytest tests/faults``, tries every change; otherwise a few, spread
evenly, are tried.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
LONG = os.environ.get("NSEG_FAULTS") == "long"
KILL = 0
"""In place of an errno: end the whole process group with SIGKILL."""

FAULTS = {
    "EIO once": (errno.EIO, 0),
    "disk full": (errno.ENOSPC, 1),
    "read-only": (errno.EROFS, 1),
    "kill -9": (KILL, 0),
}
"""What happens → its errno, and whether it lasts."""


@dataclass
class Ended:
    """How a command ended."""

    status: int
    changes: int
    """The calls that created, wrote, flushed, renamed or linked a file under the folder."""
    orphans: int
    said: str


@dataclass
class Bench:
    """Commands in forks of one warm process."""

    process: subprocess.Popen[str]
    log: Path

    def run(
        self,
        command: list[str],
        folder: Path,
        *,
        at: int = 0,
        error: int = 0,
        lasting: int = 0,
        code: str = "",
        environment: dict[str, str] | None = None,
        seconds: float = 120,
    ) -> Ended:
        """Run ``nseg`` with these arguments, or ``code``; the ``at``-th change of files fails."""
        job = {
            "command": command, "code": code, "cwd": str(folder.parent), "folder": str(folder),
            "at": at, "error": error, "lasting": lasting, "log": str(self.log),
            "environment": environment or {}, "seconds": seconds,
        }  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return Ended(**answer, said=self.log.read_text(errors="replace"))


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("faults are injected on Linux, by a library that a C compiler makes")
    folder = tmp_path_factory.mktemp("bench")
    library, plan = folder / "inject.so", folder / "plan"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "inject.c"), "-ldl"],
        check=True,
    )
    plan.write_bytes(bytes(4096 + 24))
    environment = os.environ | {
        "LD_PRELOAD": str(library), "FAULT_PLAN": str(plan), "OMP_NUM_THREADS": "1",
        "COLUMNS": "300", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, str(HERE / "zygote.py")], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["ready"]
    yield Bench(process, folder / "log")
    process.kill()
    process.wait()


def tree(folder: Path, timed: tuple[str, ...] = ()) -> dict[str, str]:
    """Relative path → hash of what a repeated run must give again: times are left out.

    Of a file whose name is in ``timed``, only that it is there.
    """
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        if path.suffix == ".ckpt" or path.name in timed:
            content = b""  # holds times beside the weights, which are compared elsewhere
        elif path.suffix == ".json":
            content = json.dumps(_timeless(json.loads(content))).encode()
        elif path.suffix in (".csv", ".md"):
            # Seconds stand in the last column.
            content = re.sub(rb"[,|] *[\d.e-]+[ |]*$", b"", content, flags=re.MULTILINE)
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def _timeless(value: Any) -> Any:
    """JSON data without times, hashes of files that hold times, and the state of the checkout."""
    timed = ("seconds", "finished", "began", "inputs", "products", "commit", "dirty")
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in timed}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def leftovers(folder: Path) -> list[str]:
    """Files that a writer should have taken away."""
    return [path.name for path in folder.rglob("*") if ".part" in path.name]


def places(changes: int, fault: str, most: int) -> list[int]:
    """Which changes are hit: at most ``most`` in the long form, else two if killed, and one."""
    if fault == "read-only":
        return [1]
    if LONG:
        return list(range(1, changes + 1, -(-changes // most)))
    if fault != "kill -9":
        return [1 + changes * (1 + list(FAULTS).index(fault)) // 3 % changes]
    return [1 + changes // 3, 1 + 4 * changes // 5]


def survives(
    bench: Bench,
    folder: Path,
    command: list[str],
    *,
    grows: tuple[str, ...] = (),
    prepare: Callable[[Path], object] = lambda folder: None,
    most: int = 10**6,
    timed: tuple[str, ...] = (),
    **more: Any,
) -> None:
    """Run a command undisturbed, then with faults and once more; the end must be the same.

    After a fault that the command could see, it says one line with the reason, and leaves no
    unfinished file. After any fault, what has its final name is whole: as it was, or as it will be.

    Args:
        folder: where the command writes; it is emptied before each trial.
        grows: endings of the files that a part of the work may leave, such as a log.
        prepare: fills the folder, as it was before the command.
        timed: see :func:`tree`.
        most: the long form tries each fault at this many changes at most, spread evenly.
        more: see :meth:`Bench.run`.
    """

    def fresh() -> dict[str, str]:
        shutil.rmtree(folder, ignore_errors=True)
        prepare(folder)
        return tree(folder, timed)

    fresh()
    whole = bench.run(command, folder, **more)
    assert whole.status == 0, whole.said
    assert whole.changes > 0
    assert not leftovers(folder)
    expected = tree(folder, timed)

    for fault, (error, lasting) in FAULTS.items():
        for at in places(whole.changes, fault, most):
            before = fresh()
            hit = bench.run(command, folder, at=at, error=error, lasting=lasting, **more)
            where = f"change {at} of {whole.changes}, {fault}: status {hit.status}\n{hit.said}"
            after = tree(folder, timed)
            if error:
                assert "Traceback" not in hit.said, where
                left = [name for name in leftovers(folder) if not name.endswith(grows)]
                assert not left, f"{left} after {where}"
                assert hit.orphans == 0, where
                if hit.status == 0:  # the command could do without
                    assert after == expected, where
                else:
                    assert os.strerror(error) in hit.said, where
                    assert str(folder.name) in hit.said, where
            for name, content in after.items():
                if not name.endswith((*grows, ".lock")) and ".part" not in name:
                    assert content in (before.get(name), expected.get(name)), f"{name}, {where}"
            again = bench.run(command, folder, **more)
            assert again.status == 0, f"{again.said}\nafter {where}"
            found = tree(folder, timed)
            other = [
                name for name in {**expected, **found} if expected.get(name) != found.get(name)
            ]
            assert not other, f"{other} differ after {where}"
