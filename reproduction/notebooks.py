"""Run one notebook with papermill, guarded; keep notebooks and their script pairs the same.

Papermill alone lets much pass: a parameter that the notebook does not have is only a warning,
``sys.exit()`` counts as success, a failed run overwrites the good notebook before it, and values
that the parameters cell computes keep what they were before a parameter replaced their source.
:func:`run` stops at each of these with one line that says where.

``python -m reproduction.notebooks sync`` makes each ``notebooks/*.ipynb`` from the script of its
name in ``notebooks/scripts``; ``check`` says where the two disagree or an output was left in.
"""

from __future__ import annotations

import ast
import difflib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nseg_lib.provenance import project_root

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
"""The kernel every notebook asks for: the one that the environment's own ipykernel brings."""


HEADLESS = "NSEG_HEADLESS"
"""Environment variable, ``1`` in a notebook that :func:`run` runs: nobody is there to draw."""


class NotebookError(ValueError):
    """A notebook that cannot be run, or that failed; the message is one line."""


_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


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
    its old value when papermill replaces the other in a cell of its own below.

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


def check_parameters(given: Mapping[str, Any], declared: Mapping[str, Any], name: str) -> None:
    """Refuse a parameter that the notebook does not declare, or of another type.

    A whole number may stand for a float; ``None`` as the declared value allows any type.

    Raises:
        NotebookError: names the parameter and what is allowed.
    """
    for key, value in given.items():
        if key not in declared:
            near = difflib.get_close_matches(key, declared, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            allowed = ", ".join(declared) or "none"
            raise NotebookError(f"{name}: unknown parameter '{key}'{hint} (it has: {allowed})")
        expected = type(declared[key])
        fits = type(value) is expected or (expected is float and type(value) is int)
        if declared[key] is not None and not fits:
            raise NotebookError(
                f"{name}: parameter '{key}' must be {expected.__name__}, got {value!r}"
            )


def run(
    source: str | Path,
    target: str | Path,
    parameters: Mapping[str, Any] | None = None,
    *,
    limit: float = 600,
    cwd: str | Path = ".",
    failed: str | Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Run a notebook from its first cell to its last; ``target`` appears only if all went well.

    Args:
        source: a notebook without outputs.
        target: where the executed notebook goes, without widget state. One that is there stays as
            it is until the new one is complete.
        parameters: values for the cell tagged ``parameters``.
        limit: seconds for the whole notebook.
        cwd: the folder it runs in.
        failed: the folder for a notebook that failed, with its error; by default ``failed``
            beside ``target``.
        say: takes a line of progress when a cell starts and when it ends.

    Raises:
        NotebookError: a wrong parameter or kernel, a cell that failed, exited, or was not
            reached, or the limit passed. One line, with the cell's number and the error.
    """
    import nbformat
    import papermill
    from papermill.engines import papermill_engines

    source, target = Path(source), Path(target)
    name, given = source.stem, dict(parameters or {})

    # Refuse, before anything runs, what papermill would let pass.
    if not source.is_file():
        raise NotebookError(f"{source}: no such notebook")
    notebook = nbformat.read(source, as_version=4)
    check_parameters(given, read_parameters(notebook.cells, name), name)
    _check_kernel(notebook, name)

    # Run into a file beside the target, so that a good notebook stays until a better one is whole.
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.stem}.part.ipynb")
    papermill_engines.register("nseg", _engine(limit, say))
    stopped, raised, began = None, None, time.monotonic()
    try:
        # Papermill would fill in braces in a path.
        paths = (str(path).replace("{", "{{").replace("}", "}}") for path in (source, unfinished))
        papermill.execute_notebook(
            *paths, given, engine_name="nseg", kernel_name=KERNEL["name"],
            cwd=str(cwd), progress_bar=False, store_widget_state=False,
        )  # fmt: skip
    except NotebookError as error:
        stopped = str(error)
    except Exception as error:
        raised = f"{type(error).__name__}: {_first_line(str(error))}"

    broken = Path(failed or target.parent / "failed") / target.name
    try:
        executed = nbformat.read(unfinished, as_version=4) if unfinished.exists() else notebook
        # Views of widgets would show nothing, as their state is not kept.
        executed.metadata.pop("widgets", None)
        for output in (o for cell in executed.cells for o in cell.get("outputs", [])):
            output.get("data", {}).pop(_WIDGET_VIEW, None)
            output.get("metadata", {}).pop(_WIDGET_VIEW, None)
        # What a cell says of its failure is nearer to the cause than what papermill raised.
        problem = stopped or _first_problem(executed) or raised
        place = broken if problem else target
        place.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(executed, unfinished)
        os.replace(unfinished, place)
    finally:
        unfinished.unlink(missing_ok=True)
    if problem:
        here = Path.cwd()
        shown = broken.relative_to(here) if broken.is_relative_to(here) else broken
        raise NotebookError(f"{name}: {problem}; see {shown}")
    broken.unlink(missing_ok=True)
    say(f"done in {time.monotonic() - began:.1f} s")
    return target


def _check_kernel(notebook: Any, name: str) -> None:
    """The kernel must be named as ours, and must be this very interpreter."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    wanted = notebook.metadata.get("kernelspec", {}).get("name")
    if wanted != KERNEL["name"]:
        raise NotebookError(f"{name}: asks for the kernel '{wanted}', must be '{KERNEL['name']}'")
    try:
        program = KernelSpecManager().get_kernel_spec(wanted).argv[0]
    except NoSuchKernel:
        raise NotebookError(f"{name}: no kernel '{wanted}'; pip install ipykernel") from None
    # A bare "python" becomes the interpreter that starts it; a path is taken as it is.
    if os.path.isabs(program) and not os.path.samefile(program, sys.executable):
        raise NotebookError(
            f"{name}: the kernel '{wanted}' is another Python than the one that has nseg; "
            "'python -m ipykernel install --sys-prefix' puts this one first"
        )


def _engine(limit: float, say: Callable[[str], None]) -> Any:
    """A papermill engine that tells its progress and keeps one time limit for all cells."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine

    class Client(PapermillNotebookClient):
        def papermill_execute_cells(self) -> None:
            self.deadline = time.monotonic() + limit
            super().papermill_execute_cells()

        def execute_cell(self, cell: Any, cell_index: int, **options: Any) -> Any:
            if cell.cell_type != "code" or not cell.source.strip():
                return super().execute_cell(cell, cell_index, **options)
            where, began = f"cell {cell_index + 1}/{len(self.nb.cells)}", time.monotonic()
            if began >= self.deadline:
                raise NotebookError(f"{where}: not reached within {limit:.0f} s")
            lines = [line.strip() for line in cell.source.splitlines()]
            first = next((line for line in lines if line and not line.startswith("%")), "")
            say(f"{where} starts: {first if len(first) <= 60 else first[:57] + '…'}")
            self.on_cell_executed = partial(_refuse_exit, where)
            # What is left is the cell's limit; nbclient takes whole seconds, and 0 for no limit.
            self.timeout = max(1, round(self.deadline - began))
            try:
                done = super().execute_cell(cell, cell_index, **options)
            except CellTimeoutError:
                raise NotebookError(
                    f"{where} stopped: the notebook's limit of {limit:.0f} s is over"
                ) from None
            except DeadKernelError:
                raise NotebookError(f"{where} failed: the kernel died (memory?)") from None
            say(f"{where} ends after {time.monotonic() - began:.1f} s")
            return done

    class Engine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
            kept = {k: v for k, v in options.items() if k == "store_widget_state"}
            client = Client(nb_man, kernel_name=kernel_name, startup_timeout=120, **kept)
            return client.execute(env={**os.environ, HEADLESS: "1"})

    return Engine


def _refuse_exit(where: str, execute_reply: Any, **_: Any) -> None:
    """``exit()`` and ``quit()`` end the kernel some time after the cell, without an error."""
    payload = execute_reply["content"].get("payload", [])
    if any(item.get("source") == "ask_exit" for item in payload):
        raise NotebookError(f"{where} failed: it calls exit() or quit()")


def _first_line(text: str) -> str:
    return next((line.strip() for line in _ANSI.sub("", text).splitlines() if line.strip()), "")


def _first_problem(notebook: Any) -> str | None:
    """What is wrong with the first cell that raised, exited or was never run; None if none did.

    Papermill lets the last two pass.
    """
    # Papermill marks a failure with cells of its own; a user counts without them.
    marker = "papermill-error-cell-tag"
    cells = [c for c in notebook.cells if marker not in c.metadata.get("tags", [])]
    for number, cell in enumerate(cells, 1):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        where = f"cell {number}/{len(cells)}"
        for output in cell.outputs:
            if output.output_type == "error":
                said = _first_line(f"{output.ename}: {output.evalue}")
                return f"{where} failed: {said.removesuffix(':').strip()}"
        if cell.execution_count is None:
            return f"{where} was not run"
    return None


def render_pair(script: str | Path) -> str:
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
    from nseg_lib.files import write_atomic

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
    scripts = {path.stem: path for path in (root / "notebooks" / "scripts").glob("*.py")}
    pairs = {path.stem: path for path in (root / "notebooks").glob("*.ipynb")}
    problems = []
    for name in sorted(scripts.keys() | pairs.keys()):
        if name not in scripts:
            problems.append(f"notebooks/{name}.ipynb: notebooks/scripts/{name}.py is missing")
            continue
        if name not in pairs:
            problems.append(f"notebooks/scripts/{name}.py: has no notebook yet")
            continue
        age = scripts[name].stat().st_mtime_ns
        if edited and pairs[name].stat().st_mtime_ns >= age:
            continue
        try:
            cells = read_cells(pairs[name])
            if pairs[name].read_text(encoding="utf-8") == render_pair(scripts[name]):
                read_parameters(cells, name)
                os.utime(pairs[name], ns=(age, age))
            else:
                kept = any(c.get("outputs") or c.get("execution_count") for c in cells)
                what = "carries outputs" if kept else f"differs from notebooks/scripts/{name}.py"
                problems.append(f"notebooks/{name}.ipynb: {what}")
        except NotebookError as error:
            problems.append(str(error))
    return problems


def main(arguments: list[str]) -> int:
    """``sync`` or ``check`` the pairs of the project that holds the current folder."""
    if arguments not in (["sync"], ["check"]):
        print("usage: python -m reproduction.notebooks sync|check", file=sys.stderr)
        return 2
    root = project_root()
    if arguments == ["sync"]:
        for pair in sync(root):
            print(f"made {pair.relative_to(root)}")
        return 0
    problems = check(root)
    for line in problems:
        print(line, file=sys.stderr)
    if problems:
        print(
            "edit notebooks/scripts/*.py, then: python -m reproduction.notebooks sync",
            file=sys.stderr,
        )
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
