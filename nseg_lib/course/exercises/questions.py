"""Questions with a choice of answers: which one is right, and why each other one is wrong.

The question and its answers stand in the chapter, the reasons in ``questions.yml``, so that nobody
reads them before choosing.
"""

from __future__ import annotations

from pathlib import Path

import yaml

_FILE = Path(__file__).with_name("questions.yml")

QUESTIONS: dict[str, dict[str, str]] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
"""Question → the letter of each answer → ``right`` with a reason, or why it is wrong."""

NOT_CHOSEN = "not done yet: write the letter of your answer between the quotation marks"


def choose(question: str, answer: str) -> str:
    """Say whether an answer is right, and why.

    Args:
        question: its name in :data:`QUESTIONS`.
        answer: a letter, such as ``"b"``; ``""`` where nothing was chosen yet.

    Returns:
        ``right: …``, ``wrong: …`` with the reason, or ``not done yet: …``.
    """
    if question not in QUESTIONS:
        return f"wrong: there is no question named '{question}'"
    answers, letter = QUESTIONS[question], str(answer).strip().lower()
    if not letter:
        return NOT_CHOSEN
    if letter not in answers:
        return f"wrong: '{letter}' is none of the answers ({', '.join(answers)})"
    said = answers[letter]
    return said if said.startswith("right: ") else f"wrong: {said}"
