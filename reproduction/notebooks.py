"""Run one notebook with papermill's parameters; keep notebooks and their script pairs the same.

``python -m reproduction.notebooks sync`` makes each ``notebooks/*.ipynb`` from the script of its
name in ``notebooks/scripts``; ``check`` says where the two disagree or an output was left in.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nseg_lib.files import write_atomic
from nseg_lib.provenance import project_root

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
"""The kernel every notebook asks for: the one that the environment's own ipykernel brings."""

_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class NotebookError(ValueError):
    """A notebook that cannot be run, or that failed; the message is one line."""


def read_cells(notebook: Path) -> list[dict[str, Any]]:
    """The cells of a notebook's file; ``source`` of each is one text.

    Reading the JSON is all that is needed, and nbformat takes a second to import.

    Raises:
        NotebookError: no such file, or no notebook.
    """
    try:
        cells = json.loads(notebook.read_bytes())["cells"]
        return [{**cell, "source": "".join(cell["source"])} for cell in cells]
    except (OSError, ValueError, KeyError, TypeError):
        raise NotebookError(f"{notebook}: cannot be read as a notebook") from None


def read_parameters(cells: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """What the cell tagged ``parameters`` sets, in its order: name → value.

    Only ``name = literal`` is allowed there. A value computed from another parameter would keep
    its old value when :func:`run` replaces the other in a cell of its own below.

    Args:
        cells: of a notebook, as :func:`read_cells` or :func:`nbformat.read` has them.
        name: of the notebook, for messages.

    Raises:
        NotebookError: no such cell or several, or a line that is no plain assignment.
    """
    tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    if len(tagged) != 1 or tagged[0]["cell_type"] != "code":
        raise NotebookError(
            f"{name}: needs exactly one code cell tagged 'parameters', has {len(tagged)}"
        )
    try:
        lines = ast.parse(tagged[0]["source"]).body
    except SyntaxError as error:
        raise NotebookError(f"{name}: parameters cell, line {error.lineno}: {error.msg}") from None
    values = {}
    for line in lines:
        try:
            match line:
                case ast.Assign(targets=[ast.Name(id=key)], value=value):
                    values[key] = ast.literal_eval(value)
                case ast.AnnAssign(target=ast.Name(id=key), value=ast.expr() as value):
                    values[key] = ast.literal_eval(value)
                case _:
                    raise ValueError
        except (ValueError, TypeError):
            raise NotebookError(
                f"{name}: parameters cell, line {line.lineno}: '{ast.unparse(line)}' is not "
                "'name = literal'; compute it in the next cell"
            ) from None
    return values


def run(
    source: Path,
    target: Path,
    parameters: Mapping[str, Any],
    *,
    limit: float,
    cwd: Path,
    failed: Path,
    say: Callable[[str], None],
) -> None:
    """Run a notebook from its first cell to its last; ``target`` appears only if all went well.

    Args:
        source: a notebook without outputs.
        target: where the executed notebook goes, without widget state.
        parameters: values for the cell tagged ``parameters``; they stand in a cell below it.
        limit: seconds for the whole notebook.
        cwd: the folder it runs in.
        failed: the folder for a notebook that failed, with its error.
        say: takes a line of progress when a cell starts and when it ends.

    Raises:
        NotebookError: a parameter that the notebook does not have, a cell that failed, exited, or
            was not reached, or the limit passed. One line, with the cell's number and the error.
    """
    import nbformat
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    name, cells = source.stem, read_cells(source)
    declared = read_parameters(cells, name)
    if unknown := sorted(parameters.keys() - declared.keys()):
        allowed = ", ".join(declared)
        raise NotebookError(f"{name}: unknown parameter '{unknown[0]}' (it has: {allowed})")
    # Papermill writes the values into a cell below the one tagged "parameters".
    notebook = parameterize_notebook(load_notebook_node(str(source)), dict(parameters))
    problem, seconds = _execute(notebook, limit, cwd, say)
    # Views of widgets would show nothing, as their state is not kept.
    for output in (o for cell in notebook.cells for o in cell.get("outputs", [])):
        output.get("data", {}).pop(_WIDGET_VIEW, None)
    notebook.metadata["seconds"] = round(seconds, 1)
    broken = failed / target.name
    write_atomic(broken if problem else target, nbformat.writes(notebook) + "\n")
    if problem:
        here = Path.cwd()
        shown = broken.relative_to(here) if broken.is_relative_to(here) else broken
        raise NotebookError(f"{name}: {problem}; see {shown}")
    broken.unlink(missing_ok=True)
    say(f"done in {seconds:.1f} s")


class _Progress:
    """What nbclient calls as a notebook runs: it says how far it is, and ends what takes too long.

    ``where`` is the cell that runs, for messages.
    """

    def __init__(self, cells: int, limit: float, say: Callable[[str], None]) -> None:
        self.cells, self.limit, self.say = cells, limit, say
        self.where, self.began, self.cell_began = "its kernel", time.monotonic(), 0.0

    def kernel_runs(self, notebook: Any) -> None:
        self.began = time.monotonic()  # what the kernel took to start does not count

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def seconds_left(self, cell: Any) -> int:
        """A cell's limit: nbclient takes whole seconds, and 0 for no limit."""
        return max(1, round(self.limit - self.seconds()))

    def cell_starts(self, cell: Any, cell_index: int) -> None:
        self.where, self.cell_began = f"cell {cell_index + 1}/{self.cells}", time.monotonic()
        if self.seconds() >= self.limit:
            raise NotebookError(f"not reached within {self.limit:.0f} s")
        lines = [line.strip() for line in cell.source.splitlines()]
        first = next((line for line in lines if line and not line.startswith("%")), "")
        self.say(f"{self.where} starts: {first if len(first) <= 60 else first[:57] + '…'}")

    def cell_ends(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        # exit() and quit() end the kernel some time after the cell, without an error.
        payload = execute_reply["content"].get("payload", [])
        if any(item.get("source") == "ask_exit" for item in payload):
            raise NotebookError("failed: it calls exit() or quit()")
        self.say(f"{self.where} ends after {time.monotonic() - self.cell_began:.1f} s")


def _execute(
    notebook: Any, limit: float, cwd: Path, say: Callable[[str], None]
) -> tuple[str, float]:
    """Fill in the outputs of a notebook's cells; what went wrong, or nothing, and the seconds."""
    from jupyter_client.kernelspec import KernelSpecManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    progress = _Progress(len(notebook.cells), limit, say)
    client = NotebookClient(
        notebook,
        kernel_name=KERNEL["name"],
        startup_timeout=120,
        # No word about how the kernel is reached.
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        store_widget_state=False,
        resources={"metadata": {"path": str(cwd)}},
        timeout_func=progress.seconds_left,
        on_notebook_start=progress.kernel_runs,
        on_cell_execute=progress.cell_starts,
        on_cell_executed=progress.cell_ends,
    )
    # A kernel of this name that a user installed may be another Python; without those there is only
    # the one of this very interpreter.
    client.create_kernel_manager().kernel_spec_manager = KernelSpecManager(kernel_dirs=[])
    problem = ""
    try:
        client.execute()
    except NotebookError as error:
        problem = str(error)
    except CellExecutionError as error:
        problem = f"failed: {_first_line(f'{error.ename}: {error.evalue}').removesuffix(':')}"
    except CellTimeoutError:
        problem = f"stopped: the notebook's limit of {limit:.0f} s is over"
    except DeadKernelError:
        problem = "failed: the kernel died (memory?)"
    except Exception as error:  # a kernel that does not start fails in many ways
        problem = f"failed: {type(error).__name__}: {_first_line(str(error))}"
    return f"{progress.where} {problem}" if problem else "", progress.seconds()


def _first_line(text: str) -> str:
    return next((line.strip() for line in _ANSI.sub("", text).splitlines() if line.strip()), "")


def render_pair(script: Path) -> str:
    """The text of the notebook that belongs to a py:percent script: the same bytes every time."""
    import jupytext
    import nbformat

    notebook = jupytext.read(script, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return str(nbformat.writes(notebook)) + "\n"


def sync(root: Path) -> list[Path]:
    """Make ``notebooks/*.ipynb`` from ``notebooks/scripts/*.py``; returns those that changed."""
    changed = []
    for script in sorted((root / "notebooks" / "scripts").glob("*.py")):
        pair, text = root / "notebooks" / f"{script.stem}.ipynb", render_pair(script)
        if not pair.exists() or pair.read_text(encoding="utf-8") != text:
            write_atomic(pair, text)
            changed.append(pair)
    return changed


def check(root: Path, edited: bool = False) -> list[str]:
    """One line for each notebook that disagrees with its script, or for which one is missing.

    Args:
        edited: compare only where the script is younger than the notebook; a second is saved for
            every three chapters. Pairs that agree are of the same age from then on.
    """
    folder = root / "notebooks"
    found = {path.stem for path in (*folder.glob("scripts/*.py"), *folder.glob("*.ipynb"))}
    problems = []
    for name in sorted(found):
        script, pair = folder / "scripts" / f"{name}.py", folder / f"{name}.ipynb"
        if not script.exists():
            problems.append(f"notebooks/{name}.ipynb: notebooks/scripts/{name}.py is missing")
            continue
        if not pair.exists():
            problems.append(f"notebooks/scripts/{name}.py: has no notebook yet")
            continue
        age = script.stat().st_mtime_ns
        if edited and pair.stat().st_mtime_ns >= age:
            continue
        try:
            cells = read_cells(pair)
            if pair.read_text(encoding="utf-8") == render_pair(script):
                read_parameters(cells, name)
                os.utime(pair, ns=(age, age))
            else:
                kept = any(c.get("outputs") or c.get("execution_count") for c in cells)
                what = "carries outputs" if kept else f"differs from notebooks/scripts/{name}.py"
                problems.append(f"notebooks/{name}.ipynb: {what}")
        except NotebookError as error:
            problems.append(str(error))
    return problems


def main(arguments: list[str]) -> int:
    """``sync`` or ``check`` the pairs of the project that holds the current folder."""
    root = project_root()
    if arguments == ["sync"]:
        for pair in sync(root):
            print(f"made {pair.relative_to(root)}")
        return 0
    if arguments != ["check"]:
        print("usage: python -m reproduction.notebooks sync|check", file=sys.stderr)
        return 2
    problems = check(root)
    if problems:
        problems.append("edit notebooks/scripts/*.py, then: python -m reproduction.notebooks sync")
    for line in problems:
        print(line, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
