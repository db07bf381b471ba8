"""The command line: here the commands that train and evaluate; each parses, calls the library."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from nseg_lib import __version__, cli_data, cli_use, extras, limits, parsing
from nseg_lib.console import console, print_any_name, say, warn

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
networks = typer.Typer()
PANEL = "Data and networks"
"""Where --help lists these commands."""
# In this order --help lists them: what most people come for is first.
app.add_typer(cli_use.app)
app.add_typer(cli_data.app, name="data", rich_help_panel=PANEL)
app.add_typer(networks)

USAGE_ERROR: Any = typer.BadParameter.__base__
"""What Typer raises for an option that is unknown, missing or of a wrong value; it would print
several lines."""

TRAIN = ("torch", "lightning", "scipy", "skimage", "pandas")
"""What the extra ``train`` brings, by the names that are imported."""


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


@networks.command("models", rich_help_panel=PANEL)
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the networks by name, with their sizes: the paper's eight, then the ablations.

    Without PyTorch, it lists only those that come with the package.
    Example: nseg models --json
    """
    from nseg_lib import config as configuration
    from nseg_lib import networks as models
    from nseg_lib.networks import weights

    try:
        sizes = [models.size(name) for name in configuration.names()]
    except ModuleNotFoundError:  # without PyTorch, only what the package ships can be used
        rows = [asdict(weights.card(name)) for name in weights.PRETRAINED]
    else:
        rows = [
            {"of_the_paper": s.name in configuration.THE_EIGHT, "gflop_640x480": round(s.gflop, 4)}
            | {key: value for key, value in asdict(s).items() if key != "gflop"}
            | {"weight_bytes": s.weight_bytes, "checkpoint_bytes": s.checkpoint_bytes}
            for s in sizes
        ]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    every = "gflop_640x480" in rows[0]
    about = "MB: the weights as float32; GFLOP: one picture of 640x480" if every else None
    table = Table(Column("name", no_wrap=True), Column("inputs", no_wrap=True), caption=about)
    for column in ("parameters", "MB", *(["GFLOP"] if every else [])):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        cells = [f"{row['parameters']:,}", f"{row['weight_bytes'] / 1e6:.3f}"]
        cells += [f"{row['gflop_640x480']:.1f}"] if every else []
        last_of_the_paper = row["name"] == configuration.THE_EIGHT[-1]
        table.add_row(row["name"], row["inputs"], *cells, end_section=last_of_the_paper)
    console.print(table)
    if not every:
        more = extras.install_command("train")
        warn(f"these come with nseg; to list and train all others: {more}")


def overrides(settings: list[str]) -> dict[str, Any]:
    """``["training.epochs=2"]`` → ``{"training.epochs": 2}``; values are YAML."""
    values = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise parsing.ConfigError(f"--set {setting}: expected key=value")
        values[key] = parsing.read_yaml(value, f"--set {key}")
    return values


@networks.command(rich_help_panel=PANEL)
def train(
    model: Annotated[str, typer.Argument(help="A name from 'nseg models', or a .yml file.")],
    data: Data,
    out: RunFolder = None,
    settings: Settings = [],  # noqa: B006
    workers: Annotated[
        int, typer.Option(min=0, max=limits.MAX_WORKERS, help="Processes that prepare pictures.")
    ] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="How many of them, a process each.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines, each with so many devices.")] = 1,
) -> None:
    """Train one network; started again, it goes on where it stopped.

    Example: nseg train tiny16-32_bce-dice --data data/sample --set training.epochs=10
    """
    import torch
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    from nseg_lib import config as configuration
    from nseg_lib import networks
    from nseg_lib.training import unet as training

    if accelerator not in ("auto", "cpu", "gpu", "cuda", "mps"):
        raise configuration.ConfigError(f"--accelerator {accelerator}: one of auto, cpu, gpu")
    config = configuration.load(model, overrides(settings))
    try:  # only the networks know which architectures there are
        with torch.device("meta"):
            networks.build(config.model)
    except configuration.ConfigError as error:
        raise configuration.ConfigError(f"{model}: {error}") from None
    folder = out or Path("runs") / config.name / f"seed{config.training.seed}"
    say_once = rank_zero_only(say)
    try:
        weights = training.train(
            config, data, folder, workers=workers,
            accelerator=accelerator, devices=devices, nodes=nodes, say=say_once,
        )  # fmt: skip
    except RuntimeError as error:
        if "SLURM" not in str(error):
            raise
        raise configuration.ConfigError(f"srun: {error}") from None  # how it was called
    say_once(f"weights: {weights}")


@networks.command("train-refiner", rich_help_panel=PANEL)
def train_refiner(
    data: Data,
    recipe: Annotated[
        str, typer.Option(help="A .yml file, or lite0 or lite1, the package's own networks.")
    ] = "lite0",
    persons: Annotated[
        Path | None, typer.Option(help="A data set that 'nseg data persons' made; lite1 needs it.")
    ] = None,
    out: RunFolder = None,
    edge_for: Annotated[
        Path | None, typer.Option(help="Weights of a refiner: train only its edge network.")
    ] = None,
    settings: Settings = [],  # noqa: B006
    workers: Annotated[
        int, typer.Option(min=0, max=limits.MAX_WORKERS, help="Processes that draw strokes.")
    ] = 1,
    device: Device = "cpu",
    minutes: Annotated[float, typer.Option(min=0, help="Stop, resumably, after so long.")] = float(
        "inf"
    ),
) -> None:
    """Train the refiner for strokes as people draw them; started again, it goes on.

    Example: nseg train-refiner --data data/coco1000 --set training.steps=2000
    """
    from nseg_lib import config as configuration
    from nseg_lib.networks.weights import usable_device
    from nseg_lib.training import refiner as training

    if ":" in usable_device(device):
        raise configuration.ConfigError(f"--device must be cpu or cuda, got '{device}'")
    changed = overrides(settings)
    config = configuration.load(recipe, changed, kind=configuration.RefinerConfig)
    folder = out or Path("runs") / "refiner" / config.name
    options: Any = {"workers": workers, "device": device, "minutes": minutes, "say": say}
    if edge_for is None:
        weights = training.train(config, data, folder, persons=persons, **options)
    else:
        others = [key for key in changed if not key.startswith("edge.")]
        if config.edge is None or others:
            wrong = f"--set {others[0]}" if others else f"{config.name} without 'edge'"
            raise configuration.ConfigError(
                f"--edge-for trains the edge network alone (got {wrong})"
            )
        weights = training.train_edge(config.edge, edge_for, data, folder / "edge", **options)
    say(f"weights: {weights}" if weights else f"stopped; the same command goes on ({folder})")


@networks.command(rich_help_panel=PANEL)
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


@networks.command("evaluate-refiner", rich_help_panel=PANEL)
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
    ways: Annotated[
        list[str] | None,
        typer.Option("--strokes", help="Of corrections: plain, simulated; repeatable."),
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

    asked = {"kinds": kinds, "ways": ways}
    given: dict[str, Any] = {name: tuple(value) for name, value in asked.items() if value}
    plan = judge.Plan(data, out, split, pictures=pictures, corrected=corrections, **given)
    chosen = [methods.method(name) for name in wanted or methods.names()]
    for path in judge.evaluate_methods(chosen, plan):
        say(f"{path}")


def main() -> None:
    """Run the command line; a known mistake is one line on the error stream and exit status 2."""
    print_any_name()
    # A damaged TIFF is named in one line of ours; Pillow's lines would come before it.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    try:
        raise SystemExit(app(prog_name="nseg", standalone_mode=False) or 0)
    except USAGE_ERROR as error:
        if said := error.format_message():  # empty where a command's help was printed instead
            command = f" (see {error.ctx.command_path} --help)" if error.ctx is not None else ""
            warn(f"{said.rstrip('.')}{command}", "red")
        raise SystemExit(error.exit_code) from None
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "nseg_lib", "reproduction"):
            raise
        extra = "train" if missing in TRAIN else "course"
        warn(f"this needs {missing}: {extras.install_command(extra)}", "red")
        raise SystemExit(2) from None
    except RuntimeError as error:
        if "Symlink loop" not in str(error):  # how Path.resolve says it, until Python 3.13
            raise
        warn(str(error), "red")
        raise SystemExit(2) from None
    except (ValueError, TypeError, OSError) as error:
        message = str(error)
        if isinstance(error, OSError) and error.filename and error.strerror:
            message = f"{error.filename}: {error.strerror}"  # not "[Errno 2] …: '…'"
        if message.startswith("Caught ") and "DataLoader worker" in message:
            # torch puts a worker's whole traceback into the message; its last line is the mistake.
            message = message.strip().splitlines()[-1].partition(": ")[2]
        warn(message, "red")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
