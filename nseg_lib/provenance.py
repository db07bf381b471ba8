"""Where an artefact came from: a JSON file beside each table, figure and checkpoint."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from nseg_lib.files import sha256, write_atomic

PROJECT = Path(__file__).resolve().parent.parent
"""The folder that holds the package: the repository's root in a checkout."""

PACKAGES = (
    "nseg", "torch", "lightning", "numpy", "scipy", "pandas", "opencv-python-headless",
    "scikit-image", "pycocotools",
)  # fmt: skip
"""Distributions whose version can change a result."""

OUTPUT_FOLDERS = ("reports", "benchmarks/results", "data", "runs")
"""Where artefacts are written; a change in them does not make the code "dirty"."""

CODE_FOLDERS = ("nseg_lib", "reproduction", "workflow", "notebooks")
"""Where a file that git does not know yet can change a result."""


def write_sidecar(
    artefact: str | Path,
    config: Any,
    inputs: Sequence[str | Path],
    seconds: float | None,
    *,
    device: str | None = None,
    **extra: Any,
) -> Path:
    """Write ``<artefact>.json``: everything needed to know, and to redo, how it was made.

    Paths, wherever they occur, are relative to the project, or bare names if they lie outside it:
    a sidecar tells nothing about the machine's folders or its name.

    Args:
        artefact: the file described; it need not exist yet.
        config: the configuration that made it: a pydantic model, plain JSON data, or ``None``.
        inputs: files, or folders, whose files then count by name and content.
        seconds: wall time that making it took; ``None`` where it was not measured.
        device: what computed it; by default :func:`describe_device`.
        extra: further JSON data, such as the number of pictures left out.

    Returns:
        The sidecar's path. It is complete or not there, never half-written.

    Raises:
        ValueError: an input that does not exist, ``extra`` naming one of the keys above, or
            something that is not JSON, such as NaN.
    """
    commit, dirty = code_version()
    record = {
        "artefact": Path(artefact).name,
        "commit": commit,
        "dirty": dirty,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device or describe_device(),
        "config": _portable(config),
        "inputs": [{"path": portable_path(path), "sha256": sha256(path)} for path in inputs],
        "seconds": None if seconds is None else round(seconds, 3),
    }
    taken = sorted(record.keys() & extra.keys())
    if taken:
        raise ValueError(f"extra: {', '.join(taken)} already written; choose another key")
    sidecar = sidecar_of(artefact)
    try:
        text = json.dumps(record | _portable(extra), indent=2, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{sidecar.name}: {error}; only JSON data can be written") from None
    write_atomic(sidecar, text + "\n")
    return sidecar


def sidecar_of(artefact: str | Path) -> Path:
    """The path of the file beside an artefact that says where it came from."""
    return Path(artefact).with_name(f"{Path(artefact).name}.json")


def code_version(project: Path = PROJECT) -> tuple[str | None, bool | None]:
    """Commit of the code, and whether it is "dirty": a tracked file differs, or code is new.

    Both are ``None`` where ``project`` is not the root of a git repository with a commit: an
    installed package must not report the commit of some other project that holds its folder. A
    copy of the code that travelled without its repository says what it is of in the environment:
    ``NSEG_COMMIT=<commit>``, with a ``+`` behind it where it was not clean.
    """
    told = os.environ.get("NSEG_COMMIT", "")
    if told:
        return told.rstrip("+"), told.endswith("+")
    root = _git(project, "rev-parse", "--show-toplevel")
    if root is None or Path(root).resolve() != project.resolve():
        return None, None
    commit = _git(project, "rev-parse", "HEAD")
    if commit is None:
        return None, None
    ignored = (f":(exclude){folder}" for folder in OUTPUT_FOLDERS)
    changed = _git(project, "status", "--porcelain", "--untracked-files=no", "--", ".", *ignored)
    # Masks that `nseg refine` wrote, or notes, lie about untracked and change nothing.
    new_code = _git(project, "ls-files", "--others", "--exclude-standard", "--", *CODE_FOLDERS)
    return commit, bool(changed or new_code)


def _git(folder: Path, *arguments: str) -> str | None:
    """Git's answer, or ``None`` where it is missing, fails or takes half a minute."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def describe_device() -> str:
    """The GPU where this process has used one, else the processor and its number of cores."""
    torch = sys.modules.get("torch")  # not imported: then no GPU was used
    if torch is not None and torch.cuda.is_initialized():
        return str(torch.cuda.get_device_name())
    try:  # Linux tells the model
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(models, platform.machine())}, {os.cpu_count()} cores"


def portable_path(path: str | Path) -> str:
    """A path relative to the project, with forward slashes; its bare name if it lies outside."""
    absolute = Path(os.path.abspath(path))
    for root in (PROJECT, PROJECT.resolve()):
        if absolute.is_relative_to(root) and absolute != root:
            return absolute.relative_to(root).as_posix()
    return absolute.name


def _portable(value: Any) -> Any:
    """JSON data with every path, and every string that is an absolute one, made portable."""
    if hasattr(value, "model_dump"):
        return _portable(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(key): _portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    if isinstance(value, Path) or (isinstance(value, str) and os.path.isabs(value)):
        return portable_path(value)
    return value


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def project_root(start: str | Path = ".") -> Path:
    """The nearest folder with a ``pyproject.toml``, from ``start`` upwards.

    Raises:
        ValueError: there is none.
    """
    here = Path(start).resolve()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file():
            return folder
    raise ValueError(f"{here}: no pyproject.toml here or above; open the notebook in its project")
