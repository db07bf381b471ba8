"""The command ``nseg``: the library's commands, and those that make and check reports."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from nseg_lib import cli, provenance
from nseg_lib.console import say

reports = typer.Typer()
PANEL = "The paper and the course"
"""Where --help lists these commands."""
cli.app.add_typer(reports)


def checkout() -> Path:
    """The root of the checkout of nseg that the working folder is in.

    Raises:
        ValueError: it is in none.
    """
    try:
        root = provenance.project_root()
    except ValueError:
        root = Path.cwd()
    if not (root / "workflow" / "profiles").is_dir():
        raise ValueError(f"{root}: has no workflow/profiles; run this inside a checkout of nseg")
    return root


Profile = Annotated[str, typer.Option(help="smoke, sample, half or paper: workflow/profiles.")]
Models = Annotated[
    str | None, typer.Option(help="Only these, with commas, in place of the profile's.")
]
Seeds = Annotated[
    str | None, typer.Option(help="Only these, with commas, in place of the profile's.")
]


@reports.command(rich_help_panel=PANEL)
def grade(
    notebook: Annotated[Path, typer.Argument(help="A student's copy of a chapter.")],
) -> None:
    """Check the functions and the answers in a student's notebook. It runs these functions.

    Example: nseg grade 04_training_by_hand.ipynb
    """
    from nseg_lib.course.grading import grade as graded

    verdicts = graded(notebook)
    for name, said in verdicts:
        say(f"{name}: {said}")
    right = sum(said.startswith("right") for _, said in verdicts)
    say(f"{right} of {len(verdicts)} right")


@reports.command(rich_help_panel=PANEL)
def reproduce(
    profile: Profile = "sample",
    coco: Annotated[Path | None, typer.Option(help="Real COCO, for half and paper.")] = None,
    models: Models = None,
    seeds: Seeds = None,
    cores: Annotated[int | None, typer.Option(min=1, help="Default: all there are.")] = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="On a cluster: workflow/slurm.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    keep_trained: Annotated[
        bool, typer.Option("--keep-trained", help="Keep networks though the library changed.")
    ] = False,
) -> None:
    """Make every table and figure of the paper, from data to page; only what is not done yet.

    Example: nseg reproduce --profile half --coco coco --models tiny16-32_bce-dice
    """
    from reproduction import profiles, workflow

    done = workflow.reproduce(
        checkout(), profile, only=profiles.only(models, seeds), coco=coco, cores=cores,
        slurm=slurm, dry_run=dry_run, keep_trained=keep_trained,
    )  # fmt: skip
    if not done:
        raise typer.Exit(1)


@reports.command(rich_help_panel=PANEL)
def status(profile: Profile = "sample", models: Models = None, seeds: Seeds = None) -> None:
    """Say what of a profile is done, stale or missing, and why.

    Example: nseg status --profile sample
    """
    from reproduction import profiles, workflow

    states = workflow.status(checkout(), profile, profiles.only(models, seeds))
    colours = {"done": "green", "stale": "yellow", "missing": "red"}
    width = max(map(len, states))
    for name, (state, why) in states.items():
        kind = f"[{colours[state]}]{state:<8}[/]"
        say(f"{kind} {name:<{width}}  {escape(why)}".rstrip(), markup=True)
    counts = Counter(state for state, _ in states.values())
    say(", ".join(f"{counts[state]} {state}" for state in colours))


@reports.command(rich_help_panel=PANEL)
def verify(
    profile: Profile = "half",
    replay: Annotated[
        int | None,
        typer.Option(min=5, help="Also train so many steps again, and judge so many pictures."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="For --replay: the profile's data, by default.")
    ] = None,
) -> None:
    """Make every table and all figures' numbers but Figure 7's again from the rows, and compare.

    Needs no pictures and trains nothing, but with --replay, which takes some minutes.
    Example: nseg verify --profile half --replay 20 --data data/coco1000
    """
    from reproduction import profiles
    from reproduction import verify as verification

    root = checkout()
    outcomes = {profile: verification.verify(root, profile)}
    if (root / "reports" / "refiner" / "rows").is_dir():
        outcomes["refiner"] = verification.verify_refiner(root)
    for report, found in outcomes.items():
        for line in found.problems[:20]:
            say(f"[red]{escape(line)}[/]", markup=True)
        if len(found.problems) > 20:
            say(f"and {len(found.problems) - 20} more")
        for line in found.left:
            say(f"not made again: {line}")
        verdict = f"{len(found.checked)} files of reports/{report} are what their rows make"
        say(f"{verdict}; {len(found.problems)} differences" if found.problems else verdict)
    apart = []
    if replay is not None:
        from reproduction import replay as replaying

        folder = data or root / profiles.load(root, profile).data.folder
        apart = replaying.replay(root, profile, folder, replay, say)
        for line in apart:
            say(f"[red]{escape(line)}[/]", markup=True)
    if apart or any(found.problems for found in outcomes.values()):
        raise typer.Exit(1)


@reports.command(rich_help_panel=PANEL)
def evidence(profile: Profile = "half") -> None:
    """Write all tables and figures that rows make, and the page, from what the report holds.

    For rows that were made on another machine: no network needs to be here.
    Example: nseg evidence --profile paper
    """
    from reproduction import exhibits, profiles
    from reproduction import page as report

    root = checkout()
    for path in exhibits.write(root, profile):
        say(str(path.relative_to(root)))
    say(str(report.write_page(root, profiles.load(root, profile))))


@reports.command(rich_help_panel=PANEL)
def ship(
    model: Annotated[str, typer.Argument(help="A network that the package ships.")],
    profile: Profile = "half",
    seed: Annotated[int, typer.Option(min=0)] = 42,
) -> None:
    """Copy a trained network, its provenance and its checksum into the package.

    Example: nseg ship tiny16-32_bce-dice --profile half
    """
    from nseg_lib.training.runs import Run
    from reproduction.kept import ship_weights

    root = checkout()
    run = Run(model, seed, root / "runs" / profile / model / f"seed{seed}")
    for path in ship_weights(run, root / "nseg_lib" / "weights"):
        say(f"{path.relative_to(root)}: {path.stat().st_size / 1e6:.2f} MB")


app, main = cli.app, cli.main

if __name__ == "__main__":
    main()
