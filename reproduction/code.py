"""Which code a step runs, as hashes: only what it reaches counts, and no comment or docstring.

A change to a loss makes a training stale; a change to a table, to a function that training never
calls, or to a sentence in a docstring does not. The source is read, not imported: from one function
on, every name that is used is followed to its definition, through the imports, from module to
module. A class counts as a whole, and so does what a module runs when it is imported. A name that
is only looked up while the program runs (``getattr``, ``import_module``) cannot be followed.
"""

from __future__ import annotations

import ast
import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGES = ("nseg_lib", "reproduction")


class Module:
    """The top level of some source: definitions and imports by name, and what runs on import."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.definitions: dict[str, list[ast.stmt]] = defaultdict(list)
        self.imports: dict[str, tuple[str, str]] = {}
        """Local name → (module, name in it); an empty name stands for the module itself."""
        self.body = _without_words(ast.parse(source)).body
        for statement in self.body:
            self.imports |= _imports(statement)
            for defined in _defined(statement):
                self.definitions[defined].append(statement)
        # Loops and bare calls run on import. So does a decorator, and one of ours may enter the
        # function in a table, as that of the metrics does.
        self.on_import = [
            statement
            for statement in self.body
            if isinstance(statement, ast.For | ast.Expr)
            or any(map(self._is_ours, _decorators(statement)))
        ]

    def _is_ours(self, name: str) -> bool:
        return name in self.definitions or self.imports.get(name, ("",))[0].startswith(PACKAGES)


def code_hashes(
    root: Path, start: Iterable[tuple[str, str]], cells: str = "", without: Collection[str] = ()
) -> dict[str, str]:
    """Hashes of the code that some definitions reach, themselves included.

    Args:
        root: the project's folder, which holds the packages.
        start: (module, name) of each definition, such as ``("nseg_lib.training.unet", "train")``.
        cells: the code of a notebook; what it uses counts too.
        without: modules that are not followed, though what is reached could call them.

    Returns:
        Path of each module from ``root`` → hash of the definitions reached in it, 12 digits.
    """
    notebook = Module("", cells)
    waiting = [*start, *(found for cell in notebook.body for found in _uses(root, notebook, cell))]
    reached: dict[str, set[ast.stmt]] = defaultdict(set)
    seen: set[tuple[str, str]] = set()
    while waiting:
        wanted = waiting.pop()
        if wanted in seen or wanted[0] in without or (module := _module(root, wanted[0])) is None:
            continue
        seen.add(wanted)
        name, found = wanted[1], [*module.on_import]
        if not name:  # the module itself is handed on: all of it counts
            found += [s for statements in module.definitions.values() for s in statements]
        elif name in module.definitions:
            found += module.definitions[name]
        elif name in module.imports:
            waiting.append(module.imports[name])
        elif _module(root, f"{module.name}.{name}"):
            waiting.append((f"{module.name}.{name}", ""))
        else:  # made on demand, as ``nseg_lib.Refiner`` is
            found += module.definitions.get("__getattr__", ())
        for statement in {*found} - reached[module.name]:
            reached[module.name].add(statement)
            waiting += _uses(root, module, statement)
    return {
        _path(root, name).relative_to(root).as_posix(): _short_hash(*sorted(map(_hash, statements)))
        for name, statements in sorted(reached.items())
        if statements
    }


def _short_hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


@cache
def _hash(statement: ast.stmt) -> str:
    return hashlib.sha256(ast.dump(statement).encode()).hexdigest()


def _path(root: Path, name: str) -> Path:
    path = root.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _module(root: Path, name: str) -> Module | None:
    if name.partition(".")[0] not in PACKAGES or not (path := _path(root, name)).is_file():
        return None
    return _read(name, path, path.stat().st_mtime_ns)


@cache
def _read(name: str, path: Path, _mtime: int) -> Module:
    return Module(name, path.read_text(encoding="utf-8"))


def _without_words(tree: ast.Module) -> ast.Module:
    """Drop docstrings, the strings below a constant, and the annotations of functions."""
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    return tree


def _is_text(line: ast.AST) -> bool:
    value = line.value if isinstance(line, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _imports(statement: ast.stmt) -> Iterator[tuple[str, tuple[str, str]]]:
    """(local name, (module, name in it)) of every import in a statement, nested ones too."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or whole, (whole, "")
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                yield alias.asname or alias.name, (node.module, alias.name)


def _decorators(statement: ast.stmt) -> Iterator[str]:
    """First names of a definition's decorators, such as ``app`` of ``@app.command()``."""
    for decorator in getattr(statement, "decorator_list", []):
        yield from (node.id for node in ast.walk(decorator) if isinstance(node, ast.Name))


def _defined(statement: ast.stmt) -> set[str]:
    """Names that a statement at the top level binds, imports aside."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    names = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name):  # ``TABLE["key"] = …`` belongs to TABLE
                names.add(node.value.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return names


@cache
def _uses(root: Path, module: Module, statement: ast.AST) -> list[tuple[str, str]]:
    """(module, name) of everything of ours that a statement uses.

    ``coco.Split`` is looked up in ``coco`` where that is a module. The names of a function's own
    arguments and variables are not followed.
    """
    if isinstance(statement, ast.ClassDef):  # each method has its own variables
        parts = ast.iter_child_nodes(statement)
        return [name for part in parts for name in _uses(root, module, part)]
    found, owners, nodes = [], set(), [*ast.walk(statement)]
    own = {node.arg for node in nodes if isinstance(node, ast.arg)}
    own |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used, attribute = node.value, node.attr
            owners.add(used)
        elif isinstance(node, ast.Name) and node not in owners:
            used, attribute = node, ""
        else:
            continue
        if used.id in own:
            continue
        if used.id in module.imports:
            whole, name = module.imports[used.id]
            inner = f"{whole}.{name}" if name else whole
            found.append((inner, attribute) if _module(root, inner) else (whole, name))
        elif used.id in module.definitions:
            found.append((module.name, used.id))
    return found
