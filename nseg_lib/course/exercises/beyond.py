"""Exercises of chapters 11 to 15: reproduction, strokes as drawn, corrections, tools, relatives."""

from __future__ import annotations

from nseg_lib.course.exercises.checking import Case

CASES: dict[str, list[Case]] = {}


# --- 11_reproduce ---------------------------------------------------------------------------------

# same_code(a, b): whether two sources differ in comments and layout alone.
CASES["same_code"] = [
    Case(("x = 1  # one\n", "x = 1\n"), True, "a comment changes nothing"),
    Case(("x = 1\n", "x = 2\n"), False),
    Case(("f(a,b)\n", "\n\nf(\n    a,\n    b,\n)\n"), True, "the layout does not count"),
    Case(("s = '# 1'\n", "s = '# 2'\n"), False, "within quotation marks there is no comment"),
    Case(("if x:\n    y = 1\nz = 2\n", "if x:\n    y = 1\n    z = 2\n"), False, "indents count"),
]

# all_stale(made_from, changed): the changed steps and all that follow from them, sorted.
_STEPS = {"rows": ["net"], "net": ["data"], "table": ["rows"], "page": ["table", "text"]}
CASES["all_stale"] = [
    Case((_STEPS, {"rows"}), ["page", "rows", "table"], "what follows from a stale step is stale"),
    Case((_STEPS, {"text"}), ["page", "text"]),
    Case((_STEPS, {"data"}), ["data", "net", "page", "rows", "table"], "go on to the end"),
    Case((_STEPS, set()), []),
]
