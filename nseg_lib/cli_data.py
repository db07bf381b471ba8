"""The commands ``nseg data …``, which make, fetch and check data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nseg_lib.console import say, warn
from nseg_lib.strokes.recipes import MIN_STROKE_AREA

SHOWN = 20
"""Findings of each kind that ``check`` prints unless asked for all."""

app = typer.Typer(help="Make, fetch and check data sets.", no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="The folder to make.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the sample.")]
Images = Annotated[int, typer.Option(min=2, help="Pictures in train and val together.")]
TestImages = Annotated[int, typer.Option(min=0, help="Pictures in the test split, at most.")]


@app.command()
def sample(
    out: Out = Path("data/sample"),
    pictures: Annotated[int, typer.Option(min=8, help="Composite pictures to make.")] = 240,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 42,
    max_side: Annotated[int, typer.Option(min=128, help="Longer side in pixels.")] = 320,
) -> None:
    """Make the built-in data set: composites with exact masks, and outlined photographs.

    Example: nseg data sample --out data/sample
    """
    from nseg_lib.sample import make_sample

    made = make_sample(out, pictures, seed, max_side=max_side, progress=True)
    typer.echo(f"{made}: {pictures} composed pictures and the photographs, in COCO's layout")


@app.command()
def reduce(
    coco: Annotated[Path, typer.Option(help="A folder in COCO's 2014 or 2017 layout.")],
    out: Out = Path("data/coco1000"),
    images: Images = 1000,
    seed: Seed = 42,
    split: Annotated[str | None, typer.Option(help="Of --coco; found by itself if one.")] = None,
    test_images: TestImages = 500,
    copy: Annotated[bool, typer.Option("--copy", help="Copy pictures, do not link.")] = False,
) -> None:
    """Take a seeded sample of COCO: train, val, and an untouched test split.

    Example: nseg data reduce --coco coco --images 1000 --seed 42 --out data/coco1000
    """
    from nseg_lib.data import reduce as module
    from nseg_lib.data.coco import load_split

    made = module.reduce(
        coco, out, images, seed, split, test_images=test_images, copy=copy, progress=True
    )
    numbers = ", ".join(f"{len(ids)} {name}" for name, ids in made["chosen"].items())
    typer.echo(f"{out}: {numbers}")
    for name in made["chosen"]:
        if not module.keeps_a_stroke(load_split(out, name)):
            warn(
                f"{out}: no object of {name} keeps a stroke of {MIN_STROKE_AREA} pixels; "
                "'nseg train' and 'nseg evaluate' need larger objects"
            )


@app.command()
def fetch(
    out: Out = Path("data/coco1000"),
    images: Images = 1000,
    seed: Seed = 42,
    split: Annotated[str, typer.Option(help="train2014 (the paper's), train2017 …")] = "train2014",
    test_images: TestImages = 500,
    workers: Annotated[int, typer.Option(min=1, help="Pictures fetched at a time.")] = 8,
    base_url: Annotated[str | None, typer.Option(help="A mirror of COCO's server.")] = None,
) -> None:
    """Download COCO's annotations and just the pictures that the sample needs.

    Started again, it goes on where it stopped. Example: nseg data fetch --out data/coco1000
    """
    from nseg_lib.data import fetch as module

    result = module.fetch(
        out, images, seed, split,
        test_images=test_images, base_url=base_url or module.COCO_URL, workers=workers,
        progress=True,
    )  # fmt: skip
    for line in result.lines():
        say(line)
    if not result.ok:
        raise typer.Exit(1)


@app.command()
def persons(
    ccp: Annotated[Path, typer.Option(help="Clothing Co-Parsing: images, labels, labels.json.")],
    out: Out = Path("data/ccp"),
    max_side: Annotated[int, typer.Option(min=64, help="Shrink longer sides to this.")] = 480,
) -> None:
    """Make a data set of persons with exact outlines, which the recipe lite1 learns from too.

    Example: nseg data persons --ccp ccp --out data/ccp
    """
    from nseg_lib.data.ccp import convert

    for split, count in convert(ccp, out, max_side, progress=True).items():
        typer.echo(f"{split}: {count} pictures")


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="A data set in COCO's layout.")],
    split: Annotated[str | None, typer.Option(help="One split; otherwise all.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help=f"Every finding, not {SHOWN} of each kind.")
    ] = False,
) -> None:
    """Say what is wrong with a data set, record by record, and what can be done with it.

    Exit status 1 if it cannot be used as it stands. Example: nseg data check data/coco1000
    """
    from nseg_lib.data import check as module

    report = module.check(folder, split, progress=True)
    for line in report.lines(None if every else SHOWN):
        say(line)
    if not report.ok:
        raise typer.Exit(1)
