"""What a step of the graph is made from: code, files, data sets and notebooks, by content.

A Python module counts without its comments and docstrings, a notebook without its outputs, so
that neither a better sentence nor a saved output makes anything be computed again.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from nseg_lib.files import sha256

Hashes = dict[str, Any]
"""Name of an ingredient → its hash, or its value where that is short; None: not there."""

READ_BY_MODULE = {
    "reproduction.paper": ("reports/paper.yml", "reports/authors_logs.csv"),
    "reproduction.claims": ("reports/claims.yml",),
    "nseg_lib.sample": ("nseg_lib/data/*",),
    "nseg_lib.widget": ("nseg_lib/widget/**/*.js", "nseg_lib/widget/**/*.css"),
    "reproduction.page": ("reproduction/templates/*", "reports/limitations.md"),
}
"""Files that a module reads, as patterns from the project's root."""


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content; of a Python file, of what the interpreter makes of it."""
    stat = path.stat()
    return _hash_file(path, stat.st_mtime_ns, stat.st_size)


@cache
def _hash_file(path: Path, _mtime: int, _size: int) -> str:
    if path.suffix != ".py":
        return sha256(path)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError:
        return sha256(path)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # Docstrings, and the strings below a constant that say what it is.
            node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_text(line: ast.AST) -> bool:
    value = line.value if isinstance(line, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def hash_files(root: Path, files: Iterable[Path]) -> Hashes:
    """Path from ``root`` → hash; None for a file that is not there."""
    return {
        path.relative_to(root).as_posix(): hash_file(path) if path.is_file() else None
        for path in files
    }


def hash_splits(root: Path, folder: Path, splits: Iterable[str] | None = None) -> Hashes:
    """``<folder>:<split>`` → hash of its annotations, pictures and frozen ``erode`` strokes.

    Args:
        folder: a data set in COCO's layout, from ``root``.
        splits: by default all there are.
    """
    base = root / folder
    if splits is None:
        found = (base / "annotations").glob("instances_*.json")
        splits = sorted(path.stem.removeprefix("instances_") for path in found)
    hashes: Hashes = {}
    for split in splits:
        annotations = base / "annotations" / f"instances_{split}.json"
        files = [annotations, *sorted(p for p in (base / split).glob("*") if p.is_file())]
        files += sorted((base / "strokes").glob(f"{split}_erode_seed0.json"))
        listing = "".join(f"{hash_file(p)}  {p.name}\n" for p in files if p.is_file())
        there = annotations.is_file()
        digest = hashlib.sha256(listing.encode()).hexdigest() if there else None
        hashes[f"{folder.as_posix()}:{split}"] = digest
    return hashes or {folder.as_posix(): None}


def read_notebook(path: Path) -> tuple[dict[str, Any], str, tuple[str, ...]]:
    """Parameters that a notebook declares, the hash of its cells, the modules it imports.

    Raises:
        NotebookError: its parameters cell is not as :func:`reproduction.notebooks.read_parameters`
            wants it.
    """
    return _read_notebook(path, path.stat().st_mtime_ns)


@cache
def _read_notebook(path: Path, _mtime: int) -> tuple[dict[str, Any], str, tuple[str, ...]]:
    from reproduction.notebooks import read_parameters

    # Reading the JSON is all that is needed here, and nbformat takes a second to import.
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [_Cell(cell) for cell in notebook["cells"]]
    modules: set[str] = set()
    for cell in cells:
        if cell.cell_type == "code":
            lines = (s for s in cell.source.splitlines() if not s.lstrip().startswith(("%", "!")))
            modules |= imports("\n".join(lines))
    content = [[c.cell_type, c.source, c.metadata.get("tags", [])] for c in cells]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return read_parameters(cells, path.stem), digest, tuple(sorted(modules))


class _Cell:
    """A cell of a notebook's JSON, under the names that nbformat gives to its parts."""

    def __init__(self, cell: dict[str, Any]) -> None:
        self.cell_type, self.metadata = cell["cell_type"], cell["metadata"]
        source = cell["source"]
        self.source = source if isinstance(source, str) else "".join(source)


def imports(source: str) -> set[str]:
    """What code imports from ``nseg_lib``, anywhere in it: modules, and names in modules."""
    found = set()
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith(("nseg_lib.", "reproduction"))}


def sources(root: Path, modules: Iterable[str]) -> list[Path]:
    """The files of some modules, of all that they import in turn, and what these read.

    ``nseg_lib/__init__.py`` itself is left out: it holds the version and a shortcut.
    """
    found: set[Path] = set()
    waiting, seen = list(modules), {"nseg_lib"}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = root.joinpath(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if path.is_file():
            found.add(path)
            waiting += [*imports(path.read_text(encoding="utf-8")), name.rpartition(".")[0]]
            for pattern in READ_BY_MODULE.get(name, ()):
                found |= {file for file in root.glob(pattern) if file.is_file()}
        elif name == "nseg_lib.Refiner":
            waiting.append("nseg_lib.refine")
    return sorted(found)
