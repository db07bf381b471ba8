"""One palette: the canvas repeats it, and no import changes how other people's figures look."""

from __future__ import annotations

import re
from importlib import resources

import matplotlib as mpl
from matplotlib.colors import to_rgba

from nseg_lib.course import look
from nseg_lib.palette import CANVAS, LAYERS, PALETTE, rgb


def test_colours_are_read_as_matplotlib_reads_them() -> None:
    for colour in (PALETTE | LAYERS | CANVAS).values():
        assert tuple(value / 255 for value in rgb(colour)) == to_rgba(colour)[:3]


def test_the_canvas_has_the_palettes_colours() -> None:
    files = resources.files("nseg_lib") / "widget"
    script, style = ((files / f"canvas.{kind}").read_text() for kind in ("js", "css"))
    written = re.search(r"const COLOURS = \{(.*?)\};", script, re.S)
    assert written
    found = re.findall(r"(\w+): \[(\d+), (\d+), (\d+)\]", written[1])
    assert {name: tuple(map(int, colour)) for name, *colour in found} == {
        name: rgb(colour) for name, colour in CANVAS.items()
    }
    for name in ("object", "background"):
        assert f"--nseg-{name}: rgb({' '.join(map(str, rgb(CANVAS[name])))});" in style


def test_drawing_leaves_matplotlibs_settings_alone() -> None:
    before = {key: mpl.rcParams[key] for key in look.STYLE}
    look.panels(1, 1)
    assert {key: mpl.rcParams[key] for key in look.STYLE} == before
    with mpl.rc_context():
        look.use_style()
        assert mpl.rcParams["savefig.dpi"] == look.STYLE["savefig.dpi"] != before["savefig.dpi"]
