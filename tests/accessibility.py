"""axe-core in a page: what a person with a screen reader, or with weak eyes, would trip over.

The rules are those of axe-core, fetched from the npm registry into ``.cache`` the first time. A
test is skipped, saying so, where it cannot be fetched.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

AXE = "axe-core@4.14.1"
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")
"""The tags of the rules that are checked: WCAG 2.1, levels A and AA, contrast among them."""


def axe() -> str:
    """The source of axe-core."""
    kept = Path(__file__).parents[1] / ".cache" / f"{AXE}.js"
    if not kept.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm fetches axe-core, and is not on this machine")
        kept.parent.mkdir(exist_ok=True)
        command = [npm, "pack", AXE, "--silent", "--pack-destination", str(kept.parent)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            pytest.skip(f"npm could not fetch {AXE}")
        packed = kept.parent / done.stdout.split()[-1]
        with tarfile.open(packed) as archive:
            source = archive.extractfile("package/axe.min.js")
            assert source is not None
            kept.write_bytes(source.read())
        packed.unlink()
    return kept.read_text(encoding="utf-8")


def faults(page: Any) -> list[str]:
    """What axe finds in a page of a browser, a line for each rule that is broken."""
    page.evaluate(axe())
    found = page.evaluate(
        "rules => axe.run(document, {runOnly: {type: 'tag', values: rules}})", list(RULES)
    )
    return [
        f"{fault['id']}: {fault['help']}, {len(fault['nodes'])} times, first "
        f"{fault['nodes'][0]['html'][:160]} {fault['nodes'][0]['any'][:1]}"
        for fault in found["violations"]
    ]
