"""Lines for the person at the terminal: progress, and warnings."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.text import Text

console = Console()

Value = TypeVar("Value")


def print_any_name() -> None:
    """Let the streams print `\\u0444` for a letter that the console's encoding lacks.

    Otherwise a command fails after its work is done, when it prints the name of a file.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(line: str, markup: bool = False) -> None:
    """Print one line of progress at once, so that a log file shows it as it happens."""
    console.print(one_line(line), markup=markup, highlight=False, soft_wrap=True)


def warn(line: str, style: str = "yellow") -> None:
    """Print one line on the error stream."""
    Console(stderr=True).print(Text(f"nseg: {one_line(line)}", style=style), soft_wrap=True)


def one_line(text: str) -> str:
    """A text without control characters, which the name of a file may hold: they are escaped."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], text)


@contextmanager
def few(tell: Callable[[str], None], name: str, what: str) -> Iterator[Callable[[str], None]]:
    """A function that tells the first five lines it is given; when the block ends, a last line
    counts the others: ``NAME: COUNT more WHAT``."""
    count = 0

    def told(line: str) -> None:
        nonlocal count
        count += 1
        if count <= 5:
            tell(line)

    yield told
    if count > 5:
        tell(f"{name}: {count - 5} more {what}")


def progress_bar(
    values: Iterable[Value], title: str, shown: bool = True, total: int | None = None
) -> Iterator[Value]:
    """The values, one by one, with a bar on the error stream that goes when all are done.

    `total`: their number, where they do not have it themselves.
    """
    error_stream = Console(stderr=True)
    yield from track(
        values, escape(title), total, console=error_stream, transient=True, disable=not shown
    )
