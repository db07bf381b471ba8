"""The tables and figures of a report, in the order of its page, and the function that makes each.

A new one needs an entry in :data:`EXHIBITS`, and its title and explanation at the same place in
``templates/captions.yml``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from reproduction.artefacts import Table
    from reproduction.evidence import Evidence

SUFFIXES = {
    "tables": (".csv", ".md", ".tex", ".json"),
    "figures": (".png", ".pdf", ".csv", ".json"),
}
"""The files of a table and of a figure, by their folder in the report."""


@dataclass(frozen=True)
class Drawing:
    """A figure that is not drawn yet: the numbers it shows, and the function that draws it."""

    numbers: pd.DataFrame
    draw: Callable[[], Figure] | None = None
    """``None`` if drawing also needs pictures of the data set."""


@dataclass(frozen=True)
class Exhibit:
    """One table or figure of a report."""

    stem: str
    """Its files in ``reports/<profile>`` without their suffix, such as ``tables/table1``."""
    maker: str
    """``module:function``, of this package, that makes it from the evidence, or returns ``None`` if
    the evidence lacks a part of it. It is imported only where it is called, since the workflow
    imports this module for every job, and torch and matplotlib take seconds. Empty if its numbers
    are in no rows."""
    chapter: str = ""
    """The notebook that makes it; empty if only ``nseg evidence`` does."""
    any_setting: bool = False
    """Whether it is the same at every setting, such as the resolution: what it shows is nothing
    but networks, or the pictures of the data set."""
    own_rows: bool = False
    """Whether it needs rows that the workflow does not make, so that it may be missing."""
    needs_pictures: str = ""
    """Why the evidence alone cannot make all of it; empty if it can."""

    @property
    def name(self) -> str:
        """Its name, such as ``table1``."""
        return self.stem.partition("/")[2]

    def files(self, report: Path) -> list[Path]:
        """The paths of its files in a profile's report, whether they exist or not."""
        suffixes = SUFFIXES[self.stem.partition("/")[0]]
        return [report / f"{self.stem}{suffix}" for suffix in suffixes]

    def make(self, evidence: Evidence) -> Table | Drawing | None:
        """The table or figure, if the evidence has what it is made from."""
        return resolve_name(f"reproduction.{self.maker}")(evidence) if self.maker else None


EXHIBITS = (
    Exhibit("tables/table1", "table1:table1_of", "09_results_table"),
    Exhibit("tables/table1b", "table1:table1b_of"),
    Exhibit("tables/table1b_native", "table1:native_of", any_setting=True, own_rows=True),
    Exhibit("figures/forest", "forest:forest"),
    Exhibit("tables/claims", "claims:claims_table"),
    Exhibit("tables/claim_tests", "claims:claim_tests_table"),
    Exhibit("figures/lucky", "lucky:lucky"),
    Exhibit("tables/table2", "table1:table2_of", "06_two_residuals", any_setting=True),
    Exhibit("figures/figure1", "figures:figure1_of", "01_masks_and_coco", any_setting=True),
    Exhibit("figures/figure2", "figures:figure2_of", "03_unet", any_setting=True),
    Exhibit("figures/figure3", "figures:figure3_of", "06_two_residuals", any_setting=True),
    Exhibit("figures/figure4", "figures:figure4_of", "07_attention", any_setting=True),
    Exhibit("figures/figure5", "figures:figure5_of", "04_training_by_hand"),
    Exhibit(
        "figures/figure6",
        "figures:figure6_of",
        "10_errors",
        needs_pictures="its pictures need the data set; the numbers on it were made again",
    ),
    Exhibit(
        "figures/figure7",
        "",
        "10_errors",
        needs_pictures="its numbers need the pictures and a network",
    ),
    Exhibit("tables/ablations", "ablations:ablations_table"),
    Exhibit("tables/runs", "listings:runs_table"),
    Exhibit("tables/categories", "listings:categories_table"),
    Exhibit("figures/spread", "spread:spread"),
)


def made_by(chapter: str) -> list[Exhibit]:
    """What the workflow makes in a notebook; for an empty name, with ``nseg evidence`` alone."""
    return [x for x in EXHIBITS if x.chapter == chapter and not x.own_rows]


def write(root: Path, profile: str, wanted: Iterable[Exhibit] = EXHIBITS) -> list[Path]:
    """Write every table and figure that can be made from the evidence alone.

    No network is needed, so the rows may come from another machine. The training logs in ``runs``,
    of finished trainings or not, are copied to the report first.

    Returns:
        The tables' Markdown files and the figures' PNG files.

    Raises:
        ValueError: no such profile, or rows that cannot be read.
    """
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    from reproduction.artefacts import Table, save_figure, save_table
    from reproduction.evidence import load
    from reproduction.kept import keep_logs

    mpl.use("Agg")
    keep_logs(root / "runs" / profile, root / "reports" / profile / "training")
    evidence = load(root, profile)
    folders = (evidence.folder / name for name in ("rows", "training", "measured", "native"))
    inputs = [folder for folder in folders if folder.is_dir()]
    written = []
    for exhibit in wanted:
        if exhibit.needs_pictures:
            continue
        began = time.perf_counter()
        made, stem = exhibit.make(evidence), evidence.folder / exhibit.stem
        of = None if exhibit.any_setting else profile
        if isinstance(made, Table):
            seconds = time.perf_counter() - began
            save_table(made, stem, profile=of, inputs=inputs, seconds=seconds)
            written.append(stem.with_suffix(".md"))
        elif made is not None and made.draw is not None:
            fig = made.draw()
            seconds = time.perf_counter() - began
            save_figure(fig, stem, made.numbers, profile=of, inputs=inputs, seconds=seconds)
            written.append(stem.with_suffix(".png"))
            plt.close(fig)
    return written
