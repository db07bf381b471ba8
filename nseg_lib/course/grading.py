"""Grade a student's notebook: the functions that its chapter poses, and its questions."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from nseg_lib.course import exercises
from nseg_lib.parsing import ConfigError


def grade(notebook: Path) -> list[tuple[str, str]]:
    """The verdict on every exercise of a chapter that can be checked.

    The student's imports and functions are executed, no other cell is. A cell that is no Python is
    passed over, and an exercise that it should have held is not done.

    Args:
        notebook: a chapter with the student's functions and answers.

    Returns:
        Question or function → what its check says, in the chapter's order.

    Raises:
        ConfigError: no notebook, or one without exercises; one line.
    """
    try:
        cells = json.loads(notebook.read_bytes())["cells"]  # with its pictures, a few megabytes
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise ConfigError(f"{notebook}: cannot be read as a notebook") from None
    space: dict[str, object] = {}
    verdicts: list[tuple[str, str]] = []
    for source in sources:
        try:
            body = ast.parse(source).body
        except (SyntaxError, ValueError, MemoryError, RecursionError):  # too deep for the parser
            continue
        kept = [n for n in body if isinstance(n, ast.Import | ast.ImportFrom | ast.FunctionDef)]
        for node in kept:
            try:
                exec(compile(ast.Module([node], []), str(notebook), "exec"), space)
            except Exception as error:
                space[getattr(node, "name", "")] = error
        for call in (n for node in body for n in ast.walk(node) if isinstance(n, ast.Call)):
            match call:
                case ast.Call(
                    func=ast.Attribute(attr="choose"),
                    args=[ast.Constant(value=question), ast.Constant(value=answer)],
                ):
                    verdicts.append((str(question), exercises.choose(str(question), str(answer))))
                case ast.Call(func=ast.Attribute(attr="check"), args=[ast.Name(id=name)]):
                    posed = space.get(name)
                    said = exercises.check(posed) if callable(posed) else exercises.NOT_DONE
                    verdicts.append((name, said))
    if not verdicts:
        raise ConfigError(f"{notebook}: has no exercises of the course")
    return verdicts
