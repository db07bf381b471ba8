"""The commands of somebody who has pictures: refine, draw, serve, export, demo, convert."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from nseg_lib.console import console, few, one_line, say, warn

app = typer.Typer()
PANEL = "Pictures"
"""Where --help lists these commands."""

Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]
Browser = Annotated[bool, typer.Option(help="Open the page in a browser.")]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        "-c",
        help="Weights of 'nseg train' or 'nseg train-refiner', or a shipped network's name; "
        "default: lite1.",
    ),
]


@app.command(rich_help_panel=PANEL)
def draw(
    path: Annotated[
        Path | None, typer.Argument(metavar="[PICTURE|FOLDER]", help="Of yours; or drop one there.")
    ] = None,
    checkpoint: Checkpoint = None,
    out: Annotated[
        Path | None, typer.Option(help="A folder's COCO file; FOLDER/annotations.json.")
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="A label of a folder's objects; repeatable.")
    ] = None,
    take: Annotated[
        Path | None, typer.Option(help="Another tool's masks of a FOLDER, to go on with.")
    ] = None,
    model: Annotated[bool, typer.Option(help="Refine, or keep what is brushed.")] = True,
    port: Port = 0,
    browser: Browser = True,
) -> None:
    """Brush over a picture in the browser and see the mask follow.

    Of a FOLDER, objects are drawn picture by picture into a COCO file that grows.
    Started again, it goes on where it stopped.
    Example: nseg draw photo.jpg
    """
    from nseg_lib.widget import app as widget_app

    status = widget_app.draw(
        path, checkpoint, out=out, category=category, take=take, model=model, port=port,
        browser=browser,
    )  # fmt: skip
    if status:
        raise typer.Exit(status)


@app.command(rich_help_panel=PANEL)
def refine(
    photo: Annotated[Path, typer.Argument(help="The picture; with --batch, a folder of them.")],
    stroke: Annotated[
        Path | None,
        typer.Argument(help="What was brushed: white on black, or on clear, or the canvas's JSON."),
    ] = None,
    checkpoint: Checkpoint = None,
    click: Annotated[
        list[str] | None,
        typer.Option(metavar="X,Y", help="A point on the object, in pixels; repeatable."),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option(metavar="X0,Y0,X1,Y1", help="The object is only in here, in pixels."),
    ] = None,
    extent: Annotated[
        str | None,
        typer.Option(metavar="part|whole", help="Less, or more, than would usually be taken."),
    ] = None,
    strokes: Annotated[
        Path | None, typer.Option(help="What was drawn in the canvas, as it saves it (JSON).")
    ] = None,
    coco: Annotated[
        Path | None, typer.Option(help="Another tool's COCO file: its mask, taken as rough.")
    ] = None,
    background: Annotated[
        Path | None, typer.Option("--background", "-b", help="What was brushed as not the object.")
    ] = None,
    correct: Annotated[Path | None, typer.Option("--mask", "-m", help="A mask to correct.")] = None,
    label: Annotated[
        int | None,
        typer.Option(min=0, help="MASK's value of the object, or its id, where there are several."),
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option(help="A folder of rough masks, or a COCO file: each is made precise."),
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
    """Turn strokes, clicks, a box or a rough mask into a mask.

    All pictures are taken as they are shown, turned as their EXIF says.
    OUT may be the MASK.
    With --batch, each mask of a folder is made precise; a table says what changed.
    Example: nseg refine photo.jpg --click 320,200 -o mask.png
    """
    if batch is not None:
        alone = {
            "stroke": stroke, "--strokes": strokes, "--coco": coco, "--background": background,
            "--mask": correct, "--click": click, "--box": box, "--overlay": overlay,
            "--label": label, "--extent": extent,
        }  # fmt: skip
        _refine_batch(photo, batch, out, checkpoint, device, alone)
        return
    from nseg_lib import asked
    from nseg_lib.data import masks, outputs
    from nseg_lib.networks.weights import PRETRAINED
    from nseg_lib.refine import Refiner

    # Both results can be written, and over no input, which is seen before anything is computed.
    inputs = [path for path in (photo, stroke, strokes, coco, background) if path is not None]
    if out is None:
        out = Path(f"{photo.stem}_mask.png")
        if correct is None or correct.resolve() != out.resolve():
            outputs.check_default(out, photo)
    outputs.check_target(out, "--out", inputs)
    overlay = overlay or out.with_name(f"{out.stem}_overlay.png")
    inputs += [out] if correct is None else [out, correct]
    outputs.check_target(overlay, "--overlay", inputs)

    # A drawing of the canvas, given alone, becomes the very mask that the canvas made of it.
    image, prompt = asked.read_prompt(
        photo, stroke, clicks=click or (), box=box, strokes=strokes, coco=coco,
        background=background, mask=correct, label=label, extent=extent, warn=warn,
    )  # fmt: skip
    refiner = Refiner.load(checkpoint or PRETRAINED[0], device)
    drawings, drawn = [path for path in (stroke, strokes) if path is not None], None
    if len(drawings) == 1 and not (click or box or extent or coco or background or correct):
        drawn = masks.read_strokes(drawings[0], *image.shape[:2])
    if drawn is not None:
        from nseg_lib.widget.answers import replay

        mask = replay(refiner, image, *drawn)
    else:
        mask = asked.answer(refiner, image, prompt, photo)

    outputs.write_png(out, mask, photo)
    outputs.write_png(overlay, outputs.overlay(image, prompt.object, mask))
    if not mask.any():
        warn(f"{out}: the mask is empty; brush or click more on the object, and refine again")
    say(f"mask: {out} ({int(mask.sum())} of {mask.size} pixels)")
    say(f"overlay: {overlay}")


def _refine_batch(
    photos: Path,
    coarse: Path,
    out: Path | None,
    checkpoint: Path | None,
    device: str,
    alone: Mapping[str, object],
) -> None:
    """Refine a folder, and print the table: all of it, or the masks that are least sure.

    ``alone``: what was given of the options that are for a single picture, by name.
    """
    from nseg_lib import batch
    from nseg_lib.data.records import DataError
    from nseg_lib.networks.weights import PRETRAINED, checkpoint_file
    from nseg_lib.refine import Refiner

    if wrong := [name for name, value in alone.items() if value is not None]:
        raise DataError(f"--batch takes a folder of photos and --out, and no {wrong[0]}")
    if out is None:
        raise DataError("--batch needs --out, the folder that the masks go to")
    weights = checkpoint_file(checkpoint or PRETRAINED[0])
    refiner = Refiner.load(weights, device)
    rows, failed = batch.refine_folder(
        refiner, weights, coarse, photos, out, say=say, progress=True
    )
    least = sorted(rows, key=lambda row: row.sure)[:20]
    title = "The 20 least sure" if len(rows) > len(least) else None
    table = Table(Column("mask", overflow="fold"), title=title)
    for name in ("IoU to rough", "added px", "removed px", "sure"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in least:
        cells = f"{row.iou:.3f}", f"{row.added:,}", f"{row.removed:,}", f"{row.sure:.3f}"
        table.add_row(Text(one_line(row.mask)), *cells)
    console.print(table)
    for line in failed:
        warn(line, "red")
    say(f"{len(rows)} masks in {out}, each with a row in {out / batch.TABLE}; {len(failed)} failed")
    if failed:
        raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def export(
    onnx: Annotated[Path, typer.Option(help="The file to write.")],
    checkpoint: Checkpoint = None,
) -> None:
    """Write a network for programs without PyTorch; docs/onnx.md says how to ask it.

    Example: nseg export --onnx lite1.onnx
    """
    from nseg_lib.data.records import DataError
    from nseg_lib.files import check_writable
    from nseg_lib.networks import onnx as exporting
    from nseg_lib.networks.loading import load_weights
    from nseg_lib.networks.weights import PRETRAINED, checkpoint_file

    weights = checkpoint_file(checkpoint or PRETRAINED[0])
    # Else a slip would write over the weights, or over a picture.
    if onnx.suffix.lower() != ".onnx" or onnx.is_dir() or onnx.resolve() == weights.resolve():
        raise DataError(f"--onnx {onnx}: a file whose name ends in .onnx, and no input, is needed")
    check_writable(onnx)
    network, config = load_weights(weights)
    say(f"exporting {config.name}; this takes a minute")
    exporting.export(network, config, onnx)
    channels, multiple = exporting.shape_of(network, config)
    say(
        f"{onnx}: input float32 1×{channels}×H×W, H and W multiples of {multiple}, "
        "to logits float32 1×1×H×W"
    )


@app.command(rich_help_panel=PANEL)
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to make.")] = Path("site"),
    checkpoint: Checkpoint = None,
) -> None:
    """Build a page without Python: static files in which the network runs in the browser.

    Example: nseg demo -o site
    """
    from nseg_lib.demo.build import build
    from nseg_lib.networks.weights import PRETRAINED, checkpoint_file

    build(out, checkpoint_file(checkpoint or PRETRAINED[0]), say)


@app.command(rich_help_panel=PANEL)
def serve(
    checkpoint: Checkpoint = None,
    port: Port = 0,
    token: Annotated[
        str | None,
        typer.Option(envvar="NSEG_TOKEN", help="What a request must know; by default a new one."),
    ] = None,
    device: Device = "cpu",
) -> None:
    """Answer prompts of other programs over HTTP, on this machine alone; see docs/serve.md.

    Example: nseg serve --port 8070
    """
    import re
    import secrets

    from nseg_lib import limits, service
    from nseg_lib.config import ConfigError
    from nseg_lib.networks.weights import PRETRAINED
    from nseg_lib.refine import Refiner
    from nseg_lib.widget import server

    if token and not re.fullmatch("[!-~]+", token):
        raise ConfigError(
            "--token, or NSEG_TOKEN: a header cannot carry it; ASCII without blanks is allowed"
        )
    refiner = Refiner.load(checkpoint or PRETRAINED[0], device)
    known = token or secrets.token_urlsafe(24)

    def ready(found: int) -> None:
        say(f"serving {refiner.config.name} at http://127.0.0.1:{found}/v1 (stop with Ctrl+C)")
        if not token:
            say(f"token: {known}")

    answers = service.application(refiner, refiner.config.name, known)
    if status := server.serve(answers, port, ready, max_body=limits.MAX_SERVED):
        raise typer.Exit(status)


@app.command(rich_help_panel=PANEL)
def convert(
    annotations: Annotated[Path, typer.Argument(help="A COCO file, as 'nseg draw' writes it.")],
    to: Annotated[str, typer.Option(help="coco, labelme, yolo, voc, masks, cutouts or report.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder that the files go to.")],
    photos: Annotated[
        Path | None, typer.Option(help="The pictures' folder; by default, the COCO file's.")
    ] = None,
) -> None:
    """Write the masks of a folder as other tools read them.

    Exit status 1 if there is nothing to write.
    Example: nseg convert photos/annotations.json --to yolo -o labels
    """
    from nseg_lib.data import coco, formats
    from nseg_lib.data.records import DataError

    formats.check_target(to, out)
    folder = photos or annotations.parent
    split, findings = coco.parse_split(
        coco.read_json(annotations), folder.parent, folder.name, annotations.name
    )
    coco.refuse(findings, annotations.parent)
    for finding in findings:
        warn(finding.at(annotations.parent))
    if to == "coco" and annotations.resolve() == (out / "annotations.json").resolve():
        raise DataError(f"--out {out}: would overwrite {annotations}; choose another folder")
    every = [record for found in split.annotations.values() for record in found]
    with few(warn, str(annotations), "lines such as these") as tell:
        written = formats.write(split, to, out, tell) if every else 0
    objects = sum(not record.get("iscrowd") for record in every)
    if not written:
        total = len(every) + len(split.left_out)
        why = "has a pixel" if objects else "is the mask of a single object"
        warn(f"{annotations}: nothing is written: none of its {total} annotations {why}", "red")
        raise typer.Exit(1)
    say(f"{written} file{'s' * (written != 1)} in {out}")
    if to == "cutouts" and written < objects:
        empty = objects - written
        warn(f"{annotations}: {empty} of {objects} objects have no pixel, and so no file")
