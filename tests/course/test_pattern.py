"""Every chapter has the course's pattern, and none of its code solves its own exercises."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nseg_lib.course import exercises

SCRIPTS = Path(__file__).parents[2] / "notebooks" / "scripts"
CHAPTERS = sorted(SCRIPTS.glob("[0-9]*.py"))
LINES = 15
"""A cell is at most so long, comments and empty lines not counted."""
WORDS = 15
"""A chapter has at least so many words of prose for each line of code."""

NAMES = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def cells_of(path: Path) -> list[tuple[str, str]]:
    """The cells of a chapter's script: the marks behind ``# %%``, and the text."""
    parts = re.split(r"^# %%(.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return list(zip(map(str.strip, parts[::2]), parts[1::2], strict=True))


def prose_of(path: Path) -> str:
    texts = [text for marks, text in cells_of(path) if "markdown" in marks]
    return re.sub(r"^# ?", "", "\n".join(texts), flags=re.MULTILINE)


def code_of(path: Path) -> list[str]:
    return [text for marks, text in cells_of(path) if "markdown" not in marks]


def lines_of(code: str) -> list[str]:
    return [line for line in code.splitlines() if line.strip() and not line.strip().startswith("#")]


@NAMES
def test_a_chapter_has_its_parts_in_order(path: Path) -> None:
    prose = prose_of(path)
    first = prose.index("## Guess first")
    assert re.match(rf"\s*# {path.stem[:2]} · ", prose)
    for row in ("before you start", "learning time", "running time", "makes", "previous, next"):
        assert f"| {row} | " in prose[:first] or row in prose[:3000], row
    assert "After this chapter you will be able to" in prose
    assert prose.count("**What to look for.**") >= 2
    assert prose.count("<details><summary>") == prose.count("</details>") >= 2
    parts = [
        prose.index(f"\n## {name}\n") for name in ("Exercises", "Recap", "Words", "References")
    ]
    assert parts == sorted(parts)
    assert prose.count("](https://doi.org/10.") >= 1
    after = prose[parts[0] :]
    for number in range(1, 8):
        assert f"\n**{number}." in after, number
    assert "**6. Experiment.**" in after
    assert "**7. Open question.**" in after
    assert "<details><summary>Rubric</summary>" in after


@NAMES
def test_cells_are_short_and_prose_outweighs_code(path: Path) -> None:
    for code in code_of(path):
        assert len(lines_of(code)) <= LINES, code[:200]
    words = len(re.findall(r"\S*\w\S*", prose_of(path)))
    assert words / sum(len(lines_of(code)) for code in code_of(path)) >= WORDS


@NAMES
def test_a_chapter_draws(path: Path) -> None:
    drawn = r"look\.(gallery|curves|finish)\(|plots\.(?!table|toy|sure|disc)\w+\(|shown\.figure\d\("
    assert any(re.search(drawn, code) for code in code_of(path))


def test_every_figure_has_words_for_those_who_cannot_see_it() -> None:
    library = Path(exercises.__file__).parents[1].glob("*.py")
    for path in (*CHAPTERS, *library, SCRIPTS.parents[1] / "reproduction" / "shown.py"):
        assert "plt.show(" not in path.read_text(encoding="utf-8"), f"{path.name}: look.finish"


@NAMES
def test_three_questions_have_a_reason_for_each_answer(path: Path) -> None:
    asked = re.findall(r'exercises\.choose\("([^"]+)", ""\)', path.read_text(encoding="utf-8"))
    assert len(asked) == 3
    exercises_part = prose_of(path).partition("\n## Exercises\n")[2]
    offered = re.split(r"\n\*\*[123]\.\*\* ", exercises_part)[1:]
    for name, text in zip(asked, offered, strict=True):
        letters = re.findall(r"^- ([a-z])\) ", text, flags=re.MULTILINE)
        assert list(exercises.QUESTIONS[name]) == letters, name
        verdicts = [exercises.choose(name, letter) for letter in letters]
        assert sum(v.startswith("right: ") for v in verdicts) == 1
        assert all(len(v) > 30 for v in verdicts)


def test_an_answer_that_nobody_offered_is_told_and_none_is_not_done() -> None:
    name = next(iter(exercises.QUESTIONS))
    assert exercises.choose(name, "x").startswith("wrong: 'x' is none of the answers (a, b, c")
    assert exercises.choose(name, "").startswith("not done yet")
    assert exercises.choose("no such", "a") == "wrong: there is no question named 'no such'"


# --- pasted code ----------------------------------------------------------------------------------


def pasted(path: Path, arity: int) -> Iterator[Callable[..., Any]]:
    """Functions of ``arity`` arguments made of a chapter's code, as somebody may paste them.

    They are the chapter's own functions, what it calls of the library by name, and its assigned
    expressions, with the names that they use as arguments in every order.
    """
    trees = [ast.parse(code) for code in code_of(path)]
    body = [node for tree in trees for node in tree.body]
    space: dict[str, Any] = {}
    imports = [n for n in body if isinstance(n, ast.Import | ast.ImportFrom)]
    defined = [n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    exec(compile(ast.Module([*imports, *defined], []), path.stem, "exec"), space)
    for node in defined:
        if isinstance(node, ast.FunctionDef) and node.name not in exercises.CASES:
            yield from ordered(space[node.name], arity)
    for node in ast.walk(ast.Module(body, [])):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id in ("metrics", "probes", "look", "prompts"):
                yield from ordered(getattr(space[owner.id], node.func.attr), arity)
        if isinstance(node, ast.Assign):
            used = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
            free = sorted(
                name for name in used if name not in space and name not in dir(__builtins__)
            )
            if len(free) == arity and not any(isinstance(n, ast.Await) for n in ast.walk(node)):
                text = f"lambda {', '.join(free)}: {ast.unparse(node.value)}"
                yield from ordered(eval(text, space), arity)


def ordered(function: Callable[..., Any], arity: int) -> Iterator[Callable[..., Any]]:
    for order in itertools.permutations(range(arity)):
        yield lambda *args, order=order: function(*(args[i] for i in order))


@NAMES
@pytest.mark.filterwarnings("ignore")
def test_a_chapters_own_code_solves_none_of_its_exercises(path: Path) -> None:
    posed = re.findall(r"\bexercises\.check\((\w+)\)", path.read_text(encoding="utf-8"))
    assert len(posed) == 2
    for name in posed:
        arity = len(exercises.CASES[name][0].arguments)
        for candidate in pasted(path, arity):
            verdict = exercises.check_cases(candidate, exercises.CASES[name])
            assert verdict != exercises.RIGHT, name
