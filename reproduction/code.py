"""Which code a job runs, as hashes: only what it reaches counts, and no comment or docstring.

A change to a loss makes a training stale; a change to a table, to a function that training never
calls, or to a sentence in a docstring does not. What is reached is read from the source, without
importing it: starting from one function, every name it uses is followed to its definition, through
the imports, from module to module. A class counts as a whole, and so does what a module runs when
it is imported. A name that is only looked up while the program runs (``getattr``,
``import_module``) cannot be followed.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

PACKAGES = ("nseg_lib", "reproduction")


class Module:
    """The top level of one source file: definitions by name, imports, and bare statements."""

    def __init__(self, name: str, tree: ast.Module) -> None:
        self.name = name
        self.definitions: dict[str, list[ast.stmt]] = defaultdict(list)
        self.imports: dict[str, tuple[str, str]] = {}
        """Local name → (module, name in it); an empty name stands for the module itself."""
        self.statements: list[ast.stmt] = []
        """What runs on import and defines nothing, such as the registration of a YAML type."""
        self.digests: dict[ast.stmt, str] = {}
        self.uses: dict[ast.stmt, list[tuple[str, str]]] = {}
        """What is known already of a statement, as many steps reach the same ones."""
        for statement in tree.body:
            self.imports |= imported(statement)
            names = set(_defined(statement))
            for defined in names:
                self.definitions[defined].append(statement)
            if isinstance(statement, ast.For | ast.Expr):
                self.statements.append(statement)
        # A decorator of ours may note the function in a table, as that of the metrics does.
        self.statements += [s for s in tree.body if any(map(self._is_ours, decorators(s)))]

    def _is_ours(self, name: str) -> bool:
        module = self.imports[name][0] if name in self.imports else ""
        return name in self.definitions or module.partition(".")[0] in PACKAGES


def code_hashes(
    root: Path,
    start: Iterable[tuple[str, str]],
    source: str = "",
    without: Collection[str] = (),
) -> dict[str, str]:
    """Hashes of the code that some definitions reach, themselves included.

    Args:
        root: the project's folder, which holds the packages.
        start: (module, name) of each definition, such as ``("nseg_lib.training.unet", "train")``.
        source: code that is no module, such as the cells of a notebook; what it uses counts too.
        without: modules that are not followed, though what is reached could call them.

    Returns:
        Path of each module from ``root`` → hash of the definitions reached in it, 12 digits.
    """
    root = root.resolve()
    waiting = list(start)
    if source:
        cells = Module("", _without_words(ast.parse(source)))
        waiting += _used(root, cells, ast.parse(source).body)
    reached: dict[str, set[ast.stmt]] = defaultdict(set)
    seen: set[tuple[str, str]] = set()
    while waiting:
        wanted = waiting.pop()
        if wanted[0] in without or wanted in seen or (module := _module(root, wanted[0])) is None:
            continue
        seen.add(wanted)
        name = wanted[1]
        found = [*module.definitions.get(name, ()), *module.statements]
        if not name:  # the module itself is handed on: all of it counts
            found += [s for statements in module.definitions.values() for s in statements]
        elif name in module.imports and name not in module.definitions:
            waiting.append(module.imports[name])
        elif _module(root, f"{module.name}.{name}"):
            waiting.append((f"{module.name}.{name}", ""))
        elif name not in module.definitions:  # made on demand, as ``nseg_lib.Refiner`` is
            found += module.definitions.get("__getattr__", ())
        new = [statement for statement in found if statement not in reached[module.name]]
        reached[module.name].update(new)
        waiting += _used(root, module, new)
    return {
        _path(root, name).relative_to(root).as_posix(): _digest(root, name, statements)
        for name, statements in sorted(reached.items())
        if statements
    }


def _digest(root: Path, name: str, statements: Iterable[ast.stmt]) -> str:
    module = _module(root, name)
    assert module is not None
    for statement in (statement for statement in statements if statement not in module.digests):
        dumped = ast.dump(statement).encode()
        module.digests[statement] = hashlib.sha256(dumped).hexdigest()
    listed = sorted(module.digests[statement] for statement in statements)
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()[:12]


def _path(root: Path, name: str) -> Path:
    path = root.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _module(root: Path, name: str) -> Module | None:
    if name.partition(".")[0] not in PACKAGES or not (path := _path(root, name)).is_file():
        return None
    return _parsed(name, path, path.stat().st_mtime_ns)


@cache
def _parsed(name: str, path: Path, _mtime: int) -> Module:
    return Module(name, _without_words(ast.parse(path.read_text(encoding="utf-8"))))


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


def imported(node: ast.AST) -> dict[str, tuple[str, str]]:
    """Local name → (module, name in it) for every import in a statement, nested ones too."""
    found: dict[str, tuple[str, str]] = {}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import):
            for alias in inner.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                found[alias.asname or whole] = (whole, "")
        elif isinstance(inner, ast.ImportFrom) and inner.module and inner.level == 0:
            for alias in inner.names:
                found[alias.asname or alias.name] = (inner.module, alias.name)
    return found


def decorators(statement: ast.stmt) -> list[str]:
    """First names of a definition's decorators, such as ``app`` of ``@app.command()``."""
    listed = getattr(statement, "decorator_list", [])
    names = (node.id for each in listed for node in ast.walk(each) if isinstance(node, ast.Name))
    return [*names]


def _defined(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement at the top level binds, imports aside."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name):  # ``TABLE["key"] = …`` belongs to TABLE
                yield node.value.id
        elif node is not statement and isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


def _used(root: Path, module: Module, statements: Iterable[ast.stmt]) -> Iterator[tuple[str, str]]:
    """(module, name) of everything that some statements of a module use."""
    for statement in statements:
        if statement not in module.uses:
            local = module.imports | imported(statement)
            used = [_resolve(root, module, local, *name) for name in _names(statement, frozenset())]
            module.uses[statement] = [name for name in used if name]
        yield from module.uses[statement]


def _resolve(
    root: Path, module: Module, local: dict[str, tuple[str, str]], name: str, attribute: str = ""
) -> tuple[str, str] | None:
    """Where a name is defined; ``coco.Split`` is looked up in ``coco`` where that is a module."""
    if name in local:
        whole = _as_module(root, *local[name])
        return (whole, attribute) if whole else local[name]
    return (module.name, name) if name in module.definitions else None


def _names(node: ast.AST, hidden: frozenset[str]) -> Iterator[list[str]]:
    """``[name]`` or ``[name, attribute]`` wherever a name is used that no inner scope hides."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        if node.value.id not in hidden:
            yield [node.value.id, node.attr]
        return
    if isinstance(node, ast.Name) and node.id not in hidden:
        yield [node.id]
    scopes = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    scopes |= ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    inner = hidden | _bound(node) if isinstance(node, scopes) else hidden
    for child in ast.iter_child_nodes(node):
        yield from _names(child, inner)


def _bound(scope: ast.AST) -> set[str]:
    """Arguments and variables of a function or comprehension, those of functions in it aside."""
    names: set[str] = set()
    waiting = [*ast.iter_child_nodes(scope)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif not isinstance(node, ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return names


def _as_module(root: Path, module: str, name: str) -> str | None:
    """The module that an imported name stands for, if it stands for one."""
    whole = f"{module}.{name}" if name else module
    return whole if _module(root, whole) else None


def read_notebook(path: Path) -> tuple[str, str]:
    """The code cells of a notebook, and a hash of its cells without their outputs."""
    # Reading the JSON is all that is needed here, and nbformat takes a second to import.
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    content = [[c["cell_type"], "".join(c["source"]), c["metadata"].get("tags", [])] for c in cells]
    lines = [
        line
        for kind, source, _ in content
        if kind == "code"
        for line in source.splitlines()
        if not line.lstrip().startswith(("%", "!"))
    ]
    return "\n".join(lines), hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def notebook_parameters(path: Path) -> dict[str, Any]:
    """The parameters that a notebook declares, see :func:`reproduction.notebooks.read_parameters`.

    Raises:
        NotebookError: its parameters cell is not as that function wants it.
    """
    from reproduction.notebooks import read_parameters

    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return read_parameters([_Cell(cell) for cell in cells], path.stem)


class _Cell:
    """A cell of a notebook's JSON, under the names that nbformat gives to its parts."""

    def __init__(self, cell: dict[str, Any]) -> None:
        self.cell_type, self.metadata = cell["cell_type"], cell["metadata"]
        self.source = "".join(cell["source"])
