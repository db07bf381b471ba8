"""The tables and figures of a report, in the order of its page, and the function that makes each.

A new one needs an entry in :data:`EXHIBITS`, and its title and explanation in
``templates/captions.yml``. The workflow imports this module at the start of every job. So the
functions below import torch and matplotlib, which take seconds to load, only when they are called.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
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
    make: Callable[[Evidence], Table | Drawing | None] | None
    """Makes it from the evidence, or returns ``None`` if the evidence lacks a part of it. An
    exhibit whose numbers are in no rows has ``None`` in place of the function."""
    chapter: str = ""
    """The notebook that makes it; empty if only ``nseg evidence`` does."""
    every_profile: bool = False
    """Whether it is the same in every profile, because it shows nothing but the networks."""
    own_setting: bool = True
    """Whether the profile's setting, such as its resolution, touches it."""
    needs_pictures: str = ""
    """Why the evidence alone cannot make all of it; empty if it can."""

    @property
    def folder(self) -> str:
        """``tables`` or ``figures``."""
        return self.stem.partition("/")[0]

    @property
    def name(self) -> str:
        """Its name, such as ``table1``."""
        return self.stem.partition("/")[2]

    def files(self, report: Path) -> list[Path]:
        """The paths of its files in a profile's report, whether they exist or not."""
        return [report / f"{self.stem}{suffix}" for suffix in SUFFIXES[self.folder]]


# --- what makes each of them ----------------------------------------------------------------------


def _claims(evidence: Evidence) -> Table:
    from reproduction.claims import claims_table

    return claims_table(evidence)


def _forest(evidence: Evidence) -> Drawing | None:
    from reproduction import forest

    if not evidence.evaluated:
        return None
    numbers = forest.data(evidence)
    return Drawing(numbers, lambda: forest.figure(numbers))


def _claim_tests(evidence: Evidence) -> Table:
    from reproduction.claims import claim_tests_table

    return claim_tests_table(evidence)


def _table1(evidence: Evidence) -> Table:
    from reproduction.table1 import table1

    return table1(evidence.results, evidence.printed, evidence.profile.name)


def _table1b(evidence: Evidence) -> Table:
    from reproduction.table1 import table1b

    return table1b(evidence.results)


def _native(evidence: Evidence) -> Table | None:
    from reproduction.table1 import native_table

    return None if evidence.native.empty else native_table(evidence.native)


def _lucky(evidence: Evidence) -> Drawing:
    from reproduction import lucky

    numbers = lucky.data(evidence)
    return Drawing(numbers, lambda: lucky.figure(numbers))


def _table2(evidence: Evidence) -> Table:
    from nseg_lib import networks
    from reproduction.table1 import table2

    printed = evidence.printed["table2"]
    return table2([networks.size(name) for name in printed], printed)


def _ablations(evidence: Evidence) -> Table:
    from reproduction.ablations import ablations_table

    return ablations_table(evidence)


def _runs(evidence: Evidence) -> Table:
    from reproduction.listings import runs_table

    return runs_table(evidence)


def _categories(evidence: Evidence) -> Table:
    from reproduction.listings import categories_table

    return categories_table(evidence)


def _figure1(evidence: Evidence) -> Drawing | None:
    from reproduction import figures

    if evidence.pictures.empty:
        return None
    pictures = evidence.pictures[evidence.pictures["split"].isin(["train", "val"])]
    numbers = figures.figure1_data(zip(pictures["width"], pictures["height"], strict=True))
    return Drawing(numbers, lambda: figures.figure1(numbers, evidence.printed["figure1"]))


def _architecture(name: str, evidence: Evidence) -> Drawing:
    """Figures 2, 3 and 4, which need no evidence, only the networks' modules."""
    from nseg_lib.course import diagrams

    networks = diagrams.of_the_paper(name)
    return Drawing(diagrams.stages(networks), lambda: diagrams.architecture(networks))


def _figure5(evidence: Evidence) -> Drawing:
    from reproduction import figures
    from reproduction.profiles import train_command

    models, seed = evidence.printed["figure5"], evidence.profile.seeds[0]
    numbers = figures.figure5_data(models, evidence.logs, evidence.authors)
    commands = {model: train_command(evidence.profile, model, seed) for model in models}
    return Drawing(numbers, lambda: figures.figure5(numbers, commands))


def _figure6(evidence: Evidence) -> Drawing | None:
    from nseg_lib.course import probes
    from reproduction import figures

    if evidence.pictures.empty or not evidence.evaluated:
        return None
    val = evidence.pictures.query("split == 'val' and showable == 1")
    typical = probes.typical(evidence.results, evidence.evaluated, [*val["image_id"]])
    return Drawing(figures.figure6_data(evidence.results, evidence.evaluated, typical))


def _spread(evidence: Evidence) -> Drawing:
    from reproduction import spread

    numbers = spread.data(evidence)
    return Drawing(numbers, lambda: spread.figure(numbers))


# --- the registry ---------------------------------------------------------------------------------

EXHIBITS = (
    Exhibit("tables/table1", _table1, "07_evaluation"),
    Exhibit("tables/table1b", _table1b),
    Exhibit("tables/table1b_native", _native, own_setting=False),
    Exhibit("figures/forest", _forest),
    Exhibit("tables/claims", _claims),
    Exhibit("tables/claim_tests", _claim_tests),
    Exhibit("figures/lucky", _lucky),
    Exhibit("tables/table2", _table2, "07_evaluation", every_profile=True),
    Exhibit("figures/figure1", _figure1, "01_dataset_reduction", own_setting=False),
    Exhibit(
        "figures/figure2", partial(_architecture, "figure2"), "03_unet_tiny", every_profile=True
    ),
    Exhibit(
        "figures/figure3", partial(_architecture, "figure3"), "04_unet_residual", every_profile=True
    ),
    Exhibit(
        "figures/figure4",
        partial(_architecture, "figure4"),
        "05_unet_attention",
        every_profile=True,
    ),
    Exhibit("figures/figure5", _figure5, "06_losses_and_training"),
    Exhibit(
        "figures/figure6",
        _figure6,
        "08_qualitative_and_errors",
        needs_pictures="its pictures need the data set; the numbers on it were made again",
    ),
    Exhibit(
        "figures/figure7",
        None,
        "08_qualitative_and_errors",
        needs_pictures="its numbers need the pictures and a network",
    ),
    Exhibit("tables/ablations", _ablations),
    Exhibit("tables/runs", _runs),
    Exhibit("tables/categories", _categories),
    Exhibit("figures/spread", _spread),
)


def made_by(chapter: str) -> list[Exhibit]:
    """The exhibits that a notebook makes; for an empty name, those of ``nseg evidence`` alone."""
    return [exhibit for exhibit in EXHIBITS if exhibit.chapter == chapter]


def write(root: Path, profile: str, only: Collection[str] = ()) -> list[Path]:
    """Write every table and figure that can be made from the evidence alone.

    No network is needed, so the rows may come from another machine. The training logs in ``runs``,
    of finished trainings or not, are copied to the report first.

    Args:
        only: names of exhibits to write; empty for all.

    Returns:
        The tables' Markdown files and the figures' PNG files.

    Raises:
        ValueError: no such profile, or rows that cannot be read.
    """
    import matplotlib.pyplot as plt

    from reproduction.artefacts import Table, save_figure, save_table
    from reproduction.evidence import load
    from reproduction.kept import keep_logs

    keep_logs(root / "runs" / profile, root / "reports" / profile / "training")
    evidence = load(root, profile)
    folders = (evidence.folder / name for name in ("rows", "training", "measured"))
    inputs = [folder for folder in folders if folder.is_dir()]
    written = []
    for exhibit in EXHIBITS:
        if exhibit.make is None or exhibit.needs_pictures or (only and exhibit.name not in only):
            continue
        began = time.perf_counter()
        made, stem = exhibit.make(evidence), evidence.folder / exhibit.stem
        of = None if exhibit.every_profile else profile
        if isinstance(made, Table):
            seconds = time.perf_counter() - began
            save_table(made, stem, profile=of, inputs=inputs, seconds=seconds)
            written.append(stem.with_suffix(".md"))
        elif made is not None and made.draw is not None:
            fig = made.draw()
            seconds = time.perf_counter() - began
            save_figure(
                fig,
                stem,
                made.numbers,
                profile=of,
                inputs=inputs,
                seconds=seconds,
                own_setting=exhibit.own_setting,
            )
            written.append(stem.with_suffix(".png"))
            plt.close(fig)
    return written
