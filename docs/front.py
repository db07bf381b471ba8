"""README's pictures and its table of results.

    python docs/front.py

writes ``docs/front.jpg`` (one line, the paper's network on it, ours on it), ``docs/course.jpg``
(a network learns one picture) and ``docs/reproduce.jpg`` (claims on a report's page), and puts the
table of results into README, from the committed measurements. Run it after a change of the refiner
or of the page. It needs ``make setup`` and the system's package ``chromium``, and takes half a
minute. The photographs are scikit-image's: NASA's portrait, public domain, and Rachel Michetti's
cup of coffee, CC0.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import torch
from PIL import Image

from nseg_lib import Refiner, config, networks
from nseg_lib.course import look, standins
from nseg_lib.evaluation import metrics
from nseg_lib.files import write_atomic
from nseg_lib.provenance import PROJECT
from nseg_lib.sample import make_sample
from nseg_lib.strokes.drawing import rasterize
from nseg_lib.training.losses import RefinementLoss
from reproduction import profiles
from reproduction.page import write_page

DOCS = Path(__file__).parent
PAPERS = "tiny16-32_bce-dice"
LINE = [[225, 70, 6], [225, 170, 6], [200, 260, 6], [190, 360, 6], [230, 450, 6]]
"""Points (x, y, radius) down the middle of the portrait."""

METHODS = {
    "identity": "the stroke unchanged",
    "watershed": "watershed, never trained",
    PAPERS: "the paper's smallest network",
    "lite1": "**nseg's refiner**",
}
KINDS = {
    "erode": "the paper's strokes, nearly the object",
    "sparse_object": "a few thin lines on the object",
    "click": "one click",
}
BEGIN, END = "<!-- table: python docs/front.py -->\n", "<!-- end -->\n"


def headline(root: Path) -> str:
    """The table of results in Markdown, from ``reports/refiner/overview.csv``.

    Mean IoU on the test pictures of COCO, at their own size; a dash where a method was not run on
    all of them.
    """
    rows = pd.read_csv(root / "reports" / "refiner" / "overview.csv")
    rows = rows[rows["split"] == "test"].set_index(["recipe", "method"])
    every = {kind: rows.loc[kind, "n"].max() for kind in KINDS}

    def cell(kind: str, method: str) -> str:
        found = (kind, method) in rows.index and rows.loc[(kind, method), "n"] == every[kind]
        return f"{rows.loc[(kind, method), 'iou']:.2f}" if found else "–"

    lines = [f"| mean IoU on COCO's test pictures | {' | '.join(KINDS.values())} |"]
    lines += ["|---|" + "---:|" * len(KINDS)]
    for method, words in METHODS.items():
        lines.append(f"| {words} | {' | '.join(cell(kind, method) for kind in KINDS)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    mpl.use("Agg")
    look.use_style()
    readme = PROJECT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    write_atomic(readme, before + BEGIN + headline(PROJECT) + END + rest.partition(END)[2])
    with tempfile.TemporaryDirectory() as folder:
        make_sample(Path(folder, "sample"), 8)
        photographs = standins.photographs(Path(folder, "sample"))
        front(standins.photograph(photographs, "astronaut"))
        course(standins.photograph(photographs, "coffee"))
        reproduce(Path(folder))


def front(photo: Any) -> None:
    """One line, and what two networks make of it."""
    height, width = photo.mask.shape
    line = rasterize([{"kind": "object", "points": LINE}], height, width).object
    shown = {f"one line: IoU {metrics.iou(line, photo.mask):.2f}": {"stroke": line}}
    for name, model in (("the paper's smallest network", PAPERS), ("nseg's refiner", None)):
        refiner = Refiner.from_pretrained(model) if model else Refiner.from_pretrained()
        answer = refiner.refine(photo.image, line)
        shown[f"{name}: IoU {metrics.iou(answer, photo.mask):.2f}"] = {"prediction": answer}
    figure, axes = look.panels(1, 3, size=(2.9, 3.1))
    for ax, (title, drawn) in zip(axes.flat, shown.items(), strict=True):
        look.show(ax, photo.image, title=title, **drawn)
        if "prediction" in drawn:
            ax.imshow(look.tint(drawn["prediction"], "prediction", 0.25))
    save(figure, "front.jpg")


def course(photo: Any) -> None:
    """What a network answers while it learns one picture by heart, as in chapter 04."""
    _, x, target = standins.one_pair(photo, 0.4)
    loss_of = RefinementLoss(config.load(PAPERS).loss)
    torch.manual_seed(0)
    network = networks.UNet([16, 32])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    figure, axes = look.panels(2, 2, size=(2.9, 2.15))
    frames = dict(zip((0, 5, 20, 79), axes.flat, strict=True))
    for step in range(80):
        logits = network(x)
        if step in frames:
            answer = logits.detach().sigmoid()[0, 0].numpy()
            look.show(frames[step], answer, title=f"after {step} steps")
        optimizer.zero_grad()
        loss_of(logits, target).backward()
        optimizer.step()
    save(figure, "course.jpg")


def reproduce(folder: Path) -> None:
    """The first claims on the page of the committed report, as a browser shows them."""
    from playwright.sync_api import sync_playwright

    sys.path.insert(0, str(PROJECT / "tests"))
    from browser import FLAGS, find_chromium

    shutil.copytree(PROJECT / "workflow" / "profiles", folder / "workflow" / "profiles")
    for part in ("half/tables", "half/figures"):
        shutil.copytree(PROJECT / "reports" / part, folder / "reports" / part)
    for name in ("paper.yml", "limitations.md"):
        shutil.copy(PROJECT / "reports" / name, folder / "reports")
    page = write_page(folder, profiles.load(folder, "half"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        tab = browser.new_page(viewport={"width": 800, "height": 900})
        tab.goto(page.as_uri())
        top = tab.locator(".claims").bounding_box()
        assert top is not None
        clip = {"x": top["x"], "y": top["y"], "width": top["width"], "height": 600}
        shot = tab.screenshot(clip=clip, full_page=True)
        browser.close()
    keep(Image.open(io.BytesIO(shot)), "reproduce.jpg")


def save(figure: Any, name: str) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", pad_inches=0.06)
    keep(Image.open(buffer), name)


def keep(picture: Image.Image, name: str) -> None:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format="jpeg", quality=85, optimize=True)
    write_atomic(DOCS / name, buffer.getvalue())
    print(f"docs/{name}: {picture.size}, {len(buffer.getvalue()) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
