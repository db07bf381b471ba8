# %% [markdown]
# # 09 · Draw your own
#
# After this chapter you will be able to
#
# - brush over an object in any picture, and take its mask, its cut-out or its annotation away;
# - see two networks answer the same stroke, while you draw it;
# - say how an answer moves as the stroke shrinks and overshoots, and judge networks on strokes that
#   a hand drew, beside simulated ones.
#
# | | |
# |---|---|
# | makes | nothing that is in the paper: its strokes are simulated |
# | inputs → outputs | a picture and your hand → masks, strokes saved as JSON |
# | takes | about half a minute, and as long as you like to draw |
# | previous, next | [08 · Pictures and errors](08_qualitative_and_errors.ipynb), [10 · Beyond the paper](10_beyond_the_paper.ipynb) |

# %% tags=["parameters"]
profile = "sample"  # which settings: smoke, sample, half, paper
photos = "data/sample"  # the data set that holds the split "photos"
out = "reports/sample"  # strokes go to its folder "strokes"
picture = "astronaut"  # a photograph's name, or the path of a picture of yours

# %%
from pathlib import Path

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display

from nseg_lib.course import exercises, look, standins
from nseg_lib.data.coco import DataError
from nseg_lib.data.images import read_image
from nseg_lib.data.masks import parse_strokes
from nseg_lib.evaluation import metrics
from nseg_lib.networks.weights import PRETRAINED
from nseg_lib.provenance import project_root
from nseg_lib.refine import Refiner
from nseg_lib.strokes.drawing import rasterize
from nseg_lib.strokes.people import draw_prompt
from nseg_lib.widget import StrokeCanvas, results

look.use_style()
ROOT = project_root()
PHOTOS = standins.photographs(standins.data_set(ROOT / photos))
STROKES = ROOT / out / "strokes"

# %% [markdown]
# ## Two networks
#
# The package comes with trained networks, named in `PRETRAINED`. The first is the one that
# `nseg refine` and `nseg draw` use; the last is the paper's smallest. They stand side by side
# in this chapter, and get the same strokes. Another network, such as one that you trained, goes in
# by a line: `refiners["mine"] = Refiner.load("runs/…/weights.safetensors")`. And anything with a
# method `refine(image, stroke) → mask` can sit behind the canvas, a network or not.

# %%
refiners = {name: Refiner.from_pretrained(name) for name in (PRETRAINED[0], PRETRAINED[-1])}
first = PRETRAINED[0]
for name, refiner in refiners.items():
    parameters = sum(p.numel() for p in refiner.network.parameters())
    corrects = getattr(refiner, "corrects", False)
    print(f"{name}: {parameters:,} parameters, takes corrections: {'yes' if corrects else 'no'}")

# %% [markdown]
# ## Draw
#
# Brush over the object: hold the button and move. **On release** the stroke goes to the kernel and
# the mask comes back; go on drawing, nothing waits for it. Once there is a mask, strokes *correct*
# it: **Object** adds, **Background** takes away (so does the right mouse button, or `Alt`). **Erase**
# takes away what is seen: strokes where it meets one, else a part of the mask. A network
# that takes corrections is given them together with its own mask, and may change more than you
# touched; for one that takes none, what you add is united with its mask and what you mark as
# background is cut from it, and the canvas says so. `[` and `]` change the radius, the wheel zooms,
# `Z` undoes, `?` lists the rest. Another picture? Drop one onto the canvas, paste one, or press the
# folder.
#
# The strokes that are there already were laid by hand over the photograph, so that the chapter runs
# without you. Press the bin and draw your own; then run the cells below again.

# %%
if Path(picture).suffix:
    image, start = read_image(Path(picture)), []
else:
    image = standins.photograph(PHOTOS, picture).image
    try:
        start = results.recorded(picture)
    except DataError:  # a data set of other photographs
        start = []
canvas = StrokeCanvas(refiner=refiners[first])
canvas.load(image, Path(picture).name, start)
canvas

# %% [markdown]
# Both are ordinary values by now, and go on from here: `canvas.mask` is a bool array of the
# picture's size, `canvas.strokes` a list of vectors.

# %%
print(f"mask: {canvas.mask.shape}, {canvas.mask.mean():.1%} of the picture")
for stroke in canvas.strokes:
    point = stroke["points"][0]
    print(f"{stroke['kind']}: {len(stroke['points'])} points, the first (x, y, radius) = {point}")

# %% [markdown]
# A stroke becomes pixels by one rule, in the browser as in Python: neighbouring points span a
# **capsule**, the convex hull of their two discs, and a pixel is covered if its *centre* lies in
# one. No soft edges: what you see is what the network gets.
#
# ## The same stroke, two answers
#
# Draw in either canvas: the other follows, and each shows its own network's mask. Another picture
# on the canvas above comes here too. (In a saved notebook you see the figure below instead.)

# %%
left, right = (StrokeCanvas(refiner=refiner, view="mask") for refiner in refiners.values())


def follow(_=None):
    for each in (left, right):
        if each.image is not canvas.image:
            each.load(canvas.image, canvas.name)
    left.strokes = canvas.strokes


follow()
canvas.observe(follow, "mask")
widgets.link((left, "strokes"), (right, "strokes"))
columns = [
    widgets.VBox([widgets.Label(title), each], layout={"width": "50%"})
    for title, each in zip(refiners, (left, right), strict=True)
]
display(widgets.HBox(columns))

# %%
image = canvas.image  # a dropped one, perhaps
drawn = rasterize(canvas.strokes, *image.shape[:2]).object
assert drawn.any(), "nothing is drawn: brush over an object above, and run this cell again"
answers = {title: refiner.refine(image, drawn) for title, refiner in refiners.items()}
fig, axes = look.panels(1, 3, size=(3.0, 2.3))
look.show(axes[0, 0], image, stroke=drawn, title="your stroke")
for ax, (title, answer) in zip(axes[0, 1:], answers.items(), strict=True):
    look.show(
        ax,
        image,
        prediction=answer,
        title=f"{title}: IoU to the stroke {metrics.iou(answer, drawn):.2f}",
    )
plt.show()

# %% [markdown]
# *What to look for:* the paper's network (right) keeps close to the stroke. That is what it learned:
# its training strokes miss a seventh of the object and hardly ever leave it, so doing little is
# nearly right.
#
# ## A stroke that shrinks, a stroke that overshoots
#
# Strokes are vectors, so the same hand can hold a thinner or a thicker brush: multiply the radii.


# %%
def with_brush(strokes, factor):
    return [
        {**stroke, "points": [[x, y, r * factor] for x, y, r in stroke["points"]]}
        for stroke in strokes
    ]


factors = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
rows, moved = [], {}
for factor in factors:
    stroke = rasterize(with_brush(canvas.strokes, factor), *image.shape[:2]).object
    for title, refiner in refiners.items():
        moved[title, factor] = stroke, refiner.refine(image, stroke)
        rows.append((title, factor, stroke.mean(), moved[title, factor][1].mean()))

shown = (0.25, 0.5, 1.0, 2.0)
fig, axes = look.panels(len(refiners), len(shown), size=(2.5, 1.9))
for line, title in zip(axes, refiners, strict=True):
    for ax, factor in zip(line, shown, strict=True):
        stroke, answer = moved[title, factor]
        look.show(ax, image, stroke=stroke, prediction=answer, title=f"{title}\nbrush × {factor}")
look.legend(fig, ["stroke", "prediction"])
plt.show()

# %%
moves = pd.DataFrame(rows, columns=["network", "brush", "stroke", "mask"])
fig, ax = plt.subplots(figsize=(4.6, 3.2), layout="constrained")
for title, rows_of in moves.groupby("network"):
    ax.plot(rows_of["brush"], rows_of["mask"], marker="o", label=title)
ax.plot(factors, moves.groupby("brush")["stroke"].first(), "k--", label="the stroke itself")
ax.set(xlabel="radius of the brush, as a multiple of yours", ylabel="share of the picture")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# *What to look for:* the object has one size, whatever the brush. A network that knew the object
# would draw a **level** line here; one that copies its stroke runs along the dashed line. A broad
# brush can also be taken for a coarse mask, and followed: set `picture = "coffee"` at the top, where
# the strokes leave open whether the cup is meant.
#
# With your hand: the slider sets the brush of the strokes above, and the mask follows.

# %%
brush = widgets.FloatSlider(1.0, min=0.25, max=2.0, step=0.05, description="brush ×")
trial = StrokeCanvas(refiner=refiners[first])


def resize(_=None):
    if trial.image is not canvas.image:
        trial.load(canvas.image, canvas.name)
    trial.strokes = with_brush(canvas.strokes, brush.value)


resize()
brush.observe(resize, "value")
canvas.observe(resize, "mask")
display(widgets.VBox([brush, trial]))

# %% [markdown]
# ## Save strokes to judge by
#
# A stroke file holds the vectors and the size of its picture; it opens again on the canvas (drop
# it there), and it is what an evaluation needs. The cell saves the drawing of the picture above
# and judges on every photograph that has strokes: what you saved, else the recorded ones. Beside
# them stand two simulations: the paper's strokes, and a **scribble** as the package's simulator of
# drawing hands makes it.

# %%
STROKES.mkdir(parents=True, exist_ok=True)
if canvas.strokes:
    canvas.save(STROKES / f"{Path(canvas.name).stem}.json", "strokes")

rows = []
for sample in PHOTOS:
    stem = PHOTOS.split.image_path(sample.image_id).stem
    saved, (height, width) = STROKES / f"{stem}.json", sample.mask.shape
    try:
        strokes = (
            parse_strokes(saved.read_bytes(), height, width, str(saved))
            if saved.exists()
            else results.recorded(stem)
        )
    except DataError as error:
        print(error)
        continue
    by_kind = {
        "by hand": rasterize(strokes, height, width).object,
        "the paper's": sample.stroke,
        "scribble": draw_prompt(sample.mask, "sparse_object", np.random.default_rng(9)).object,
    }
    for kind, stroke in by_kind.items():
        row = {"photograph": stem, "strokes": kind, "the stroke": metrics.iou(stroke, sample.mask)}
        for title, refiner in refiners.items():
            row[title] = metrics.iou(refiner.refine(sample.image, stroke), sample.mask)
        rows.append(row)
judged = pd.DataFrame(rows)
if len(judged):
    display(judged.pivot(index="photograph", columns="strokes").style.format("{:.3f}"))
    display(judged.groupby("strokes").mean(numeric_only=True).style.format("{:.3f}"))

# %% [markdown]
# *What to look for:* compare "the stroke" with each network *within* a kind of stroke: is the mask
# better than what was handed in? Then compare the kinds: which simulation is like your hand? So few
# photographs prove nothing; they show what to measure. Your own strokes on pictures of your own are
# the test that counts. `nseg draw FOLDER` opens the same canvas over a folder, as many objects a
# picture as you like, and writes a COCO file that keeps the strokes.
#
# ## Exercises
#
# Solutions are in `notebooks/solutions/09_draw_your_own.py`.
#
# **1. A broader brush.** The strokes of a drawing with every radius multiplied by a factor; the
# path and all else stay. Do not change the strokes that you are given.


# %%
def scaled(strokes, factor): ...  # your turn


# %%
print(exercises.check(scaled))

# %% [markdown]
# **2. In the capsule?** For a brush of one radius, drawn from `a` to `b` (each a pair `(x, y)`):
# is the point `(x, y)` painted, border included? The nearest point of the line from `a` to `b`
# decides; mind its ends, and a dot, where `a` is `b`.


# %%
def in_capsule(x, y, a, b, radius): ...  # your turn


# %%
print(exercises.check(in_capsule))

# %% [markdown]
# **3. Corrections.** For a model that takes none, the canvas corrects its mask by itself: what was
# added is united with it, what was marked as background is taken away. The user marked background
# *last*.


# %%
def corrected(mask, add, remove): ...  # your turn


# %%
print(exercises.check(corrected))

# %% [markdown]
# ## What you have seen
#
# A canvas that any refiner can sit behind; that a network trained on strokes which nearly cover the
# object follows the brush rather than the object; and how to collect the strokes that tell.
#
# Next: [10 · Beyond the paper](10_beyond_the_paper.ipynb), where the strokes change and the
# protocol for a better refiner is laid down.
