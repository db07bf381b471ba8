"""The command line: parse, call, print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from nseg_lib import config as configuration

app = typer.Typer(
    help="Coarse-mask refinement: from a brush stroke to a precise mask.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console()


def say(line: str) -> None:
    """Print one line of progress at once, so that a log file shows it as it happens."""
    console.print(line, highlight=False, soft_wrap=True)


@app.command("models")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the networks by name, with their sizes.

    Example: nseg models --json
    """
    from nseg_lib import models

    sizes = [models.size(name) for name in configuration.names()]
    if as_json:
        rows = [
            {
                "name": s.name,
                "architecture": s.architecture,
                "widths": s.widths,
                "inputs": s.inputs,
                "parameters": s.parameters,
                "weight_bytes": s.weight_bytes,
                "checkpoint_bytes": s.checkpoint_bytes,
                "gflop_640x480": round(s.gflop, 4),
            }
            for s in sizes
        ]
        print(json.dumps(rows, indent=1))
        return
    table = Table("name", "widths", "inputs")
    for column in ("parameters", "weights, MB", "checkpoint, MiB", "GFLOP at 640x480"):
        table.add_column(column, justify="right")
    for s in sizes:
        table.add_row(
            s.name, " ".join(map(str, s.widths)), s.inputs, f"{s.parameters:,}",
            f"{s.weight_bytes / 1e6:.3f}", f"{s.checkpoint_bytes / 2**20:.2f}", f"{s.gflop:.1f}",
        )  # fmt: skip
    console.print(table)


def overrides(settings: list[str]) -> dict[str, Any]:
    """``["training.epochs=2"]`` → ``{"training.epochs": 2}``; values are YAML."""
    import yaml

    values = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise configuration.ConfigError(f"--set {setting}: expected key=value")
        values[key] = yaml.safe_load(value)
    return values


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="A name from 'nseg models', or a .yml file.")],
    data: Annotated[Path, typer.Option(help="A reduced or sample data set.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder.")] = None,
    settings: Annotated[
        list[str], typer.Option("--set", help="Change a setting, as key=value; repeatable.")
    ] = [],  # noqa: B006
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare pictures.")] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="How many of them.")] = 1,
) -> None:
    """Train one network; started again, it goes on where it stopped.

    Example: nseg train tiny16-32_bce-dice --data data/sample --set training.epochs=10
    """
    from nseg_lib import training

    config = configuration.load(model, overrides(settings))
    folder = out or Path("runs") / config.name / f"seed{config.training.seed}"
    weights = training.train(
        config, data, folder, workers=workers, accelerator=accelerator, devices=devices, say=say
    )
    say(f"weights: {weights}")


def main() -> None:
    """Run the command line; a known mistake is one line on the error stream and exit status 2."""
    try:
        app()
    except (ValueError, TypeError, OSError) as error:
        Console(stderr=True).print(f"nseg: {error}", style="red", highlight=False, soft_wrap=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
