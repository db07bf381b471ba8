"""Lines for the person at the terminal: progress, and warnings."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

console = Console()


def say(line: str, markup: bool = False) -> None:
    """Print one line of progress at once, so that a log file shows it as it happens."""
    console.print(line, markup=markup, highlight=False, soft_wrap=True)


def warn(line: str, style: str = "yellow") -> None:
    """Print one line on the error stream."""
    Console(stderr=True).print(Text(f"nseg: {line}", style=style), soft_wrap=True)
