"""The commands that train, evaluate, refine and draw: each parses, calls the library, prints."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from nseg_lib import __version__, cli_data, parsing
from nseg_lib import config as configuration
from nseg_lib.console import console, print_any_name, say, warn

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cli_data.app, name="data")


def _say_version(asked: bool) -> None:
    if asked:
        print(f"nseg {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Say which version this is."
        ),
    ] = False,
) -> None:
    """Coarse-mask refinement: from a brush stroke to a precise mask."""


Data = Annotated[Path, typer.Option(help="A reduced or sample data set.")]
RunFolder = Annotated[Path | None, typer.Option(help="The run's folder.")]
Settings = Annotated[
    list[str], typer.Option("--set", help="Change a setting, as key=value; repeatable.")
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]
Browser = Annotated[bool, typer.Option(help="Open the page in a browser.")]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        "-c",
        help="Weights of 'nseg train' or 'nseg train-refiner', or a shipped network's name; "
        "default: lite0.",
    ),
]


@app.command("models")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the networks by name, with their sizes: the paper's eight, then the ablations.

    Example: nseg models --json
    """
    from nseg_lib import networks as models

    sizes = [models.size(name) for name in configuration.names()]
    if as_json:
        rows = [
            {"of_the_paper": s.name in configuration.THE_EIGHT, "gflop_640x480": round(s.gflop, 4)}
            | {key: value for key, value in asdict(s).items() if key != "gflop"}
            | {"weight_bytes": s.weight_bytes, "checkpoint_bytes": s.checkpoint_bytes}
            for s in sizes
        ]
        print(json.dumps(rows, indent=1))
        return
    about = "MB: the weights as float32; GFLOP: one picture of 640x480"
    table = Table(Column("name", no_wrap=True), Column("inputs", no_wrap=True), caption=about)
    for column in ("parameters", "MB", "GFLOP"):
        table.add_column(column, justify="right", no_wrap=True)
    for s in sizes:
        table.add_row(
            s.name, s.inputs, f"{s.parameters:,}",
            f"{s.weight_bytes / 1e6:.3f}", f"{s.gflop:.1f}",
            end_section=s.name == configuration.THE_EIGHT[-1],
        )  # fmt: skip
    console.print(table)


def overrides(settings: list[str]) -> dict[str, Any]:
    """``["training.epochs=2"]`` → ``{"training.epochs": 2}``; values are YAML."""
    values = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise configuration.ConfigError(f"--set {setting}: expected key=value")
        values[key] = parsing.read_yaml(value, f"--set {key}")
    return values


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="A name from 'nseg models', or a .yml file.")],
    data: Data,
    out: RunFolder = None,
    settings: Settings = [],  # noqa: B006
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare pictures.")] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="How many of them.")] = 1,
) -> None:
    """Train one network; started again, it goes on where it stopped.

    Example: nseg train tiny16-32_bce-dice --data data/sample --set training.epochs=10
    """
    import torch

    from nseg_lib import networks
    from nseg_lib.training import unet as training

    config = configuration.load(model, overrides(settings))
    try:  # only the networks know which architectures there are
        with torch.device("meta"):
            networks.build(config.model)
    except configuration.ConfigError as error:
        raise configuration.ConfigError(f"{model}: {error}") from None
    folder = out or Path("runs") / config.name / f"seed{config.training.seed}"
    weights = training.train(
        config, data, folder, workers=workers, accelerator=accelerator, devices=devices, say=say
    )
    say(f"weights: {weights}")


@app.command("train-refiner")
def train_refiner(
    data: Data,
    recipe: Annotated[
        Path | None, typer.Option(help="A .yml file; default: the package's own network.")
    ] = None,
    out: RunFolder = None,
    edge_for: Annotated[
        Path | None, typer.Option(help="Weights of a refiner: train only its edge network.")
    ] = None,
    settings: Settings = [],  # noqa: B006
    workers: Annotated[int, typer.Option(min=0, help="Processes that draw strokes.")] = 1,
    device: Device = "cpu",
    minutes: Annotated[float, typer.Option(help="Stop, resumably, after so long.")] = float("inf"),
) -> None:
    """Train the refiner for strokes as people draw them; started again, it goes on.

    Example: nseg train-refiner --data data/coco1000 --set training.steps=2000
    """
    from nseg_lib.networks.weights import usable_device
    from nseg_lib.training import refiner as training

    if usable_device(device).index is not None:
        raise configuration.ConfigError(f"--device must be cpu or cuda, got '{device}'")
    changed = overrides(settings)
    config = configuration.load(recipe or "lite0", changed, kind=configuration.RefinerConfig)
    folder = out or Path("runs") / "refiner" / config.name
    options: Any = {"workers": workers, "device": device, "minutes": minutes, "say": say}
    if edge_for is None:
        weights = training.train(config, data, folder, **options)
    else:
        others = [key for key in changed if not key.startswith("edge.")]
        if config.edge is None or others:
            wrong = f"--set {others[0]}" if others else f"{config.name} without 'edge'"
            raise configuration.ConfigError(
                f"--edge-for trains the edge network alone (got {wrong})"
            )
        weights = training.train_edge(config.edge, edge_for, data, folder / "edge", **options)
    say(f"weights: {weights}" if weights else f"stopped; the same command goes on ({folder})")


@app.command()
def evaluate(
    checkpoints: Annotated[
        list[Path] | None, typer.Argument(help="weights.safetensors, as 'nseg train' made them.")
    ] = None,
    data: Data = Path("data/sample"),
    out: Annotated[Path, typer.Option(help="Folder for results and tables.")] = Path("results"),
    splits: Annotated[
        list[str] | None, typer.Option("--split", help="Repeatable; default: val, test.")
    ] = None,
    scale: Annotated[float | None, typer.Option(help="Default: the checkpoints'.")] = None,
    every_object: Annotated[
        bool, typer.Option("--every-object", help="Not only the largest of each picture.")
    ] = False,
) -> None:
    """Judge networks beside identity, dilation, GrabCut and watershed, picture by picture.

    Writes OUT/results.csv (a row per method and picture; goes on where it stopped) and a table
    per split. Example: nseg evaluate runs/*/seed42/weights.safetensors --data data/sample
    """
    from nseg_lib.evaluation import judge

    for table in judge.evaluate_networks(
        checkpoints or [], data, out, splits, scale, every=every_object, progress=True
    ):
        print(table.read_text(encoding="utf-8"))
        say(f"table: {table}")


@app.command("evaluate-refiner")
def evaluate_refiner(
    wanted: Annotated[
        list[str] | None,
        typer.Argument(help="Baselines, shipped networks, NAME=weights.safetensors; default: all."),
    ] = None,
    data: Data = Path("data/coco1000"),
    split: Annotated[str, typer.Option(help="Of the data set.")] = "test",
    out: Annotated[Path, typer.Option(help="Rows, tables, figure.")] = Path("reports/refiner"),
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", help="Of prompts; repeatable.")
    ] = None,
    strokes: Annotated[
        list[str] | None, typer.Option(help="Of corrections: plain, simulated; repeatable.")
    ] = None,
    pictures: Annotated[int | None, typer.Option(min=1, help="Only so many.")] = None,
    corrections: Annotated[int, typer.Option(min=0, help="Pictures to correct.")] = 60,
) -> None:
    """Judge what corrects strokes: one answer to frozen prompts, then stroke after stroke.

    Writes a file of rows per method, and tables and a figure of all there are; goes on where it
    stopped, with the same weights. Every table needs identity. People's strokes count too where
    NSEG_SCRIBBLES names their folder.
    Example: nseg evaluate-refiner identity grabcut --data data/coco1000 --pictures 5
    """
    from nseg_lib.evaluation import judge, methods

    asked = {"kinds": kinds, "strokes": strokes}
    given: dict[str, Any] = {name: tuple(value) for name, value in asked.items() if value}
    plan = judge.Plan(data, out, split, pictures=pictures, corrected=corrections, **given)
    chosen = [methods.method(name) for name in wanted or methods.names()]
    for path in judge.evaluate_methods(chosen, plan):
        say(f"{path}")


@app.command()
def refine(
    photo: Annotated[Path, typer.Argument(help="The picture.")],
    stroke: Annotated[
        Path,
        typer.Argument(help="What was brushed: white on black, or on clear, or the canvas's JSON."),
    ],
    checkpoint: Checkpoint = None,
    background: Annotated[
        Path | None, typer.Option("--background", "-b", help="What was brushed as not the object.")
    ] = None,
    correct: Annotated[Path | None, typer.Option("--mask", "-m", help="A mask to correct.")] = None,
    label: Annotated[
        int | None,
        typer.Option(min=0, help="MASK's value of the object, or its id, where there are several."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where the mask goes; PHOTO's name_mask.png, here."),
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Where picture, stroke and mask go; OUT's name_overlay.png.")
    ] = None,
    device: Device = "cpu",
) -> None:
    """Turn a brush stroke over a picture into a mask.

    All pictures are taken as they are shown, turned as their EXIF says. OUT may be the MASK.
    Example: nseg refine photo.jpg stroke.png -o mask.png
    """
    from nseg_lib import limits
    from nseg_lib.data import coco, masks, outputs
    from nseg_lib.data import images as pictures
    from nseg_lib.networks.weights import PRETRAINED
    from nseg_lib.refine import Refiner

    # See that both results can be written, over no input, before anything is computed.
    if out is None:
        out = Path(f"{photo.stem}_mask.png")
        if correct is None or correct.resolve() != out.resolve():
            outputs.check_default(out, photo)
    inputs = [path for path in (photo, stroke, background) if path is not None]
    outputs.check_target(out, "--out", inputs)
    overlay = overlay or out.with_name(f"{out.stem}_overlay.png")
    inputs += [out] if correct is None else [out, correct]
    outputs.check_target(overlay, "--overlay", inputs)
    # An empty plane says nothing, so it is not given on.
    stored = pictures.open_picture(photo)
    image = pictures.as_rgb(photo, stored)
    taken = masks.Photo(photo, stored, image)
    brushed, not_object = masks.read_stroke(stroke, taken)
    # A file of strokes may say what is background; a file of its own takes the place of that.
    given = {"background": not_object} if not_object.any() else {}
    for name, path in (("background", background), ("mask", correct)):
        if path is None:
            continue
        plane = masks.read_mask(path, taken, name, label if name == "mask" else None)
        if masks.seems_inverted(plane):
            warn(f"{path}: covers {plane.mean():.0%} of the picture; is it inverted?")
        if plane.any():
            given[name] = plane
    if "background" in given and (brushed <= given["background"]).all():
        raise coco.DataError(f"{background or stroke}: covers all of {stroke}; is it inverted?")
    for unusual, detail, outcome in pictures.notes(stored):
        if unusual == "several frames" or (unusual == "16-bit picture" and "65535" not in outcome):
            warn(f"{photo}: {unusual} ({detail}): {outcome}")
    if brushed.mean() > 0.9:
        warn(f"{stroke}: covers {brushed.mean():.0%} of the picture; is it inverted?")
    # The paper's networks see the whole picture at once, and memory grows with it.
    refiner = Refiner.load(checkpoint or PRETRAINED[0], device)
    if not refiner.corrects and brushed.size > limits.MAX_RECORD_PIXELS:
        raise coco.DataError(
            f"{photo}: {brushed.size:,} pixels, at most {limits.MAX_RECORD_PIXELS:,} for "
            f"{refiner.config.name}, which sees all of them; {PRETRAINED[0]} takes it"
        )
    mask = refiner.refine(image, brushed, given.get("background"), given.get("mask"))
    outputs.write_png(out, mask, photo)
    outputs.write_png(overlay, outputs.overlay(image, brushed, mask))
    say(f"mask: {out} ({int(mask.sum())} of {mask.size} pixels)\noverlay: {overlay}")


@app.command()
def draw(
    path: Annotated[
        Path | None, typer.Argument(metavar="[PICTURE|FOLDER]", help="Of yours; or drop one there.")
    ] = None,
    checkpoint: Checkpoint = None,
    out: Annotated[
        Path | None, typer.Option(help="A folder's COCO file; FOLDER/annotations.json.")
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="What a folder's objects are; 'object'.")
    ] = None,
    model: Annotated[bool, typer.Option(help="Refine, or keep what is brushed.")] = True,
    port: Port = 0,
    browser: Browser = True,
) -> None:
    """Brush over a picture in the browser and see the mask follow.

    Of a FOLDER, objects are drawn picture by picture into a COCO file that grows. Started again,
    it goes on where it stopped.
    Example: nseg draw photo.jpg
    """
    from nseg_lib.widget import app as widget_app

    status = widget_app.draw(
        path, checkpoint, out=out, category=category, model=model, port=port, browser=browser
    )
    if status:
        raise typer.Exit(status)


def main() -> None:
    """Run the command line; a known mistake is one line on the error stream and exit status 2."""
    print_any_name()
    try:
        app()
    except (ValueError, TypeError, OSError) as error:
        message = str(error)
        if message.startswith("Caught ") and "DataLoader worker" in message:
            # torch puts a worker's whole traceback into the message; its last line is the mistake.
            message = message.strip().splitlines()[-1].partition(": ")[2]
        warn(message, "red")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
