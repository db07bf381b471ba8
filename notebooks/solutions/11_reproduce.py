"""Solutions of chapter 11."""

import ast


def same_code(a, b):
    return ast.dump(ast.parse(a)) == ast.dump(ast.parse(b))


def all_stale(made_from, changed):
    stale = set(changed)
    while more := {s for s, inputs in made_from.items() if s not in stale and stale & {*inputs}}:
        stale |= more
    return sorted(stale)
