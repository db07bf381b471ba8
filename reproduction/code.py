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

Name = tuple[str, str]
"""A module, and a name in it; an empty name stands for the module itself."""


class Module:
    """The top level of some source: definitions and imports by name, and what runs on import."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.definitions: dict[str, list[ast.stmt]] = defaultdict(list)
        self.imports: dict[str, Name] = {}
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
            or any(
                isinstance(node, ast.Name) and self._is_ours(node.id)
                for decorator in getattr(statement, "decorator_list", [])
                for node in ast.walk(decorator)
            )
        ]

    def _is_ours(self, name: str) -> bool:
        return name in self.definitions or self.imports.get(name, ("",))[0].startswith(PACKAGES)


def code_hashes(
    root: Path, start: Iterable[Name], cells: str = "", without: Collection[str] = ()
) -> dict[str, str]:
    """Hashes of the code that some definitions reach, themselves included.

    Args:
        root: the project's folder, which holds the packages.
        start: each definition, such as ``("nseg_lib.training.unet", "train")``.
        cells: the code of a notebook; what it uses counts too.
        without: modules that are not followed, though what is reached could call them.

    Returns:
        Path of each module from ``root`` → hash of the definitions reached in it, 12 digits.
    """
    notebook = Module("", cells)
    waiting = [*start, *(used for cell in notebook.body for used in _uses(root, notebook, cell))]
    reached: dict[str, set[ast.stmt]] = defaultdict(set)
    seen: set[Name] = set()
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
    hashes = {}
    for name, statements in sorted(reached.items()):
        if statements:
            text = "\n".join(sorted(map(_dumped, statements)))
            path = _path(root, name).relative_to(root).as_posix()
            hashes[path] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return hashes


@cache
def _dumped(statement: ast.stmt) -> str:
    return ast.dump(statement)


def _path(root: Path, name: str) -> Path:
    path = root.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _module(root: Path, name: str) -> Module | None:
    """A module of ours; read anew where its file has changed."""
    if name.partition(".")[0] not in PACKAGES or not (path := _path(root, name)).is_file():
        return None
    return _read(name, path, path.stat().st_mtime_ns)


@cache
def _read(name: str, path: Path, _mtime: int) -> Module:
    return Module(name, path.read_text(encoding="utf-8"))


def _without_words(tree: ast.Module) -> ast.Module:
    """Drop docstrings, the strings below a constant, and the annotations of functions."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                node.returns = None
            case ast.arg():
                node.annotation = None
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [line for line in body if not _is_text(line)]
    return tree


def _is_text(line: ast.AST) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


def _imports(statement: ast.stmt) -> Iterator[tuple[str, Name]]:
    """(local name, what it stands for) of every import in a statement, nested ones too."""
    for node in ast.walk(statement):
        match node:
            case ast.Import():
                for alias in node.names:
                    whole = alias.name if alias.asname else alias.name.partition(".")[0]
                    yield alias.asname or whole, (whole, "")
            case ast.ImportFrom(module=str(module), level=0):
                for alias in node.names:
                    yield alias.asname or alias.name, (module, alias.name)


def _defined(statement: ast.stmt) -> set[str]:
    """Names that a statement at the top level binds, imports aside."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    names = set()
    for node in ast.walk(statement):
        match node:
            # ``TABLE["key"] = …`` belongs to TABLE.
            case (
                ast.Name(id=name, ctx=ast.Store())
                | ast.Attribute(value=ast.Name(id=name), ctx=ast.Store())
                | ast.Subscript(value=ast.Name(id=name), ctx=ast.Store())
                | ast.FunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                names.add(name)
    return names


@cache
def _uses(root: Path, module: Module, statement: ast.AST) -> list[Name]:
    """Everything of ours that a statement uses, but its own arguments and variables.

    ``coco.Split`` is looked up in ``coco`` where that is a module.
    """
    if isinstance(statement, ast.ClassDef):  # each method has its own variables
        parts = ast.iter_child_nodes(statement)
        return [name for part in parts for name in _uses(root, module, part)]
    own, used, owners = set(), [], set()
    for node in ast.walk(statement):  # an attribute comes before its owner
        match node:
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                own.add(name)
            case ast.Attribute(value=ast.Name(id=name) as owner, attr=attribute):
                used.append((name, attribute))
                owners.add(owner)
            case ast.Name(id=name) if node not in owners:
                used.append((name, ""))
    found = []
    for name, attribute in used:
        if name in own:
            continue
        if name in module.imports:
            whole, inner = module.imports[name]
            path = f"{whole}.{inner}" if inner else whole
            found.append((path, attribute) if _module(root, path) else (whole, inner))
        elif name in module.definitions:
            found.append((module.name, name))
    return found
