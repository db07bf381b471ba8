# %% [markdown]
# # 09 · Draw your own
#
# After this chapter you will be able to
#
# - brush over an object in any picture, and take its mask, its cut-out or its annotation away;
# - see two refiners answer the same stroke, while you draw it;
# - say how an answer moves as the stroke shrinks and overshoots, and judge refiners on strokes that
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
data = "data/sample"  # a data set in COCO's layout, with splits train and val
photos = "data/sample"  # the data set that holds the split "photos"
runs = "runs/sample"  # trained networks
out = "reports/sample"  # strokes go to its folder "strokes"
picture = "coffee"  # a photograph's name, or the path of a picture of yours

# %%
from pathlib import Path

import ipywidgets as widgets
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display

from nseg_lib import Refiner, course, exercises, figures, metrics
from nseg_lib import runs as trained_runs
from nseg_lib.baselines import grabcut
from nseg_lib.coco import DataError, read_image
from nseg_lib.notebooks import project_root
from nseg_lib.strokes import rasterize
from nseg_lib.widget import StrokeCanvas, results

ROOT = project_root()
DATA = course.data_set(ROOT / data)
PHOTOS = course.photographs(course.data_set(ROOT / photos))
STROKES = ROOT / out / "strokes"

# %% [markdown]
# ## Two refiners
#
# Anything with a method `refine(image, stroke) → mask` can sit behind the canvas. Here: a trained
# network, the one found first, and **GrabCut**, which was never trained on anything. The second
# could be another network just as well; change the last line.


# %%
class GrabCut:
    def refine(self, image, stroke):
        return grabcut(image, stroke)


found = trained_runs.find(course.trained(ROOT / runs, DATA))
name = next(iter(found))
refiners = {name: Refiner.load(found[name][0].weights), "grabcut": GrabCut()}

# %% [markdown]
# ## Draw
#
# Brush over the object: hold the button and move. **On release** the stroke goes to the kernel and
# the mask comes back; go on drawing, nothing waits for it. Once there is a mask, strokes *correct*
# it: **Object** adds, **Background** takes away, **Erase** takes back what was brushed. These models
# take no corrections themselves, so what you add is united with their mask and what you mark as
# background is cut from it; the canvas says so. The wheel or `[` `]` change the radius, `Z` undoes,
# `?` lists the rest. Another picture? Drop one onto the canvas, paste one, or press the folder.
#
# The strokes that are there already were laid by hand over the photograph, so that the chapter runs
# without you. Press the bin and draw your own; then run the cells below again.

# %%
if Path(picture).suffix:
    image, start = read_image(Path(picture)), []
else:
    image = course.photograph(PHOTOS, picture).image
    try:
        start = results.recorded(picture)
    except DataError:  # a data set of other photographs
        start = []
canvas = StrokeCanvas(image, refiners[name])
canvas.strokes = start
canvas

# %% [markdown]
# Both are ordinary values by now, and go on from here: `canvas.mask` is a bool array of the
# picture's size, `canvas.strokes` a list of vectors.

# %%
print(f"mask: {canvas.mask.shape}, {canvas.mask.mean():.1%} of the picture")
for stroke in canvas.strokes:
    first = stroke["points"][0]
    print(f"{stroke['kind']}: {len(stroke['points'])} points, the first (x, y, radius) = {first}")

# %% [markdown]
# A stroke becomes pixels by one rule, in the browser as in Python: neighbouring points span a
# **capsule**, the convex hull of their two discs, and a pixel is covered if its *centre* lies in
# one. No soft edges: what you see is what the network gets.
#
# ## The same stroke, two answers
#
# Draw in either canvas: the other follows, and each shows its own model's mask. (In a saved
# notebook you see the figure below instead.)

# %%
left, right = (StrokeCanvas(image, refiner, view="mask") for refiner in refiners.values())
widgets.dlink((canvas, "strokes"), (left, "strokes"))
widgets.link((left, "strokes"), (right, "strokes"))
columns = [
    widgets.VBox([widgets.Label(title), each], layout={"width": "50%"})
    for title, each in zip(refiners, (left, right), strict=True)
]
display(widgets.HBox(columns))

# %%
drawn = rasterize(canvas.strokes, *image.shape[:2]).object
assert drawn.any(), "nothing is drawn: brush over an object above, and run this cell again"
answers = {title: refiner.refine(image, drawn) for title, refiner in refiners.items()}
fig, axes = figures.panels(1, 3, size=(3.0, 2.3))
figures.show(axes[0, 0], image, stroke=drawn, title="your stroke")
for ax, (title, answer) in zip(axes[0, 1:], answers.items(), strict=True):
    figures.show(
        ax,
        image,
        prediction=answer,
        title=f"{title}: IoU to the stroke {metrics.iou(answer, drawn):.2f}",
    )
plt.show()

# %% [markdown]
# *What to look for:* the network keeps close to the stroke. That is what it learned: its training
# strokes miss a seventh of the object and hardly ever leave it, so doing little is nearly right.
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
rows = []
for factor in factors:
    stroke = rasterize(with_brush(canvas.strokes, factor), *image.shape[:2]).object
    for title, refiner in refiners.items():
        rows.append((title, factor, stroke.mean(), refiner.refine(image, stroke).mean()))
moves = pd.DataFrame(rows, columns=["refiner", "brush", "stroke", "mask"])

fig, ax = plt.subplots(figsize=(4.6, 3.2), layout="constrained")
for title, rows_of in moves.groupby("refiner"):
    ax.plot(rows_of["brush"], rows_of["mask"], marker="o", label=title)
ax.plot(factors, moves.groupby("brush")["stroke"].first(), "k--", label="the stroke itself")
ax.set(xlabel="radius of the brush, as a multiple of yours", ylabel="share of the picture")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# *What to look for:* the object has one size, whatever the brush. A refiner that knew the object
# would draw a **level** line here; one that copies its stroke runs along the dashed line.
#
# With your hand: the slider sets the brush of the strokes above, and the mask follows.

# %%
brush = widgets.FloatSlider(1.0, min=0.25, max=2.0, step=0.05, description="brush ×")
trial = StrokeCanvas(image, refiners[name])


def follow(_=None):
    trial.strokes = with_brush(canvas.strokes, brush.value)


brush.observe(follow, "value")
canvas.observe(follow, "strokes")
follow()
display(widgets.VBox([brush, trial]))

# %% [markdown]
# ## Save strokes to judge by
#
# A stroke file holds the vectors and the size of its picture; it opens again on the canvas (drop
# it there), and it is what an evaluation needs. The cell saves the drawing of the picture above
# and judges on every photograph that has strokes: what you saved, else the recorded ones.

# %%
STROKES.mkdir(parents=True, exist_ok=True)
if canvas.strokes:
    canvas.save(STROKES / f"{Path(picture).stem}.json", "strokes")

rows = []
for sample in PHOTOS:
    stem = PHOTOS.split.image_path(sample.image_id).stem
    saved, (height, width) = STROKES / f"{stem}.json", sample.mask.shape
    try:
        strokes = (
            results.parse_strokes(saved.read_bytes(), height, width, str(saved))
            if saved.exists()
            else results.recorded(stem)
        )
    except DataError as error:
        print(error)
        continue
    by_hand = rasterize(strokes, height, width).object
    for kind, stroke in (("by hand", by_hand), ("simulated", sample.stroke)):
        row = {"photograph": stem, "strokes": kind, "the stroke": metrics.iou(stroke, sample.mask)}
        for title, refiner in refiners.items():
            row[title] = metrics.iou(refiner.refine(sample.image, stroke), sample.mask)
        rows.append(row)
judged = pd.DataFrame(rows)
if len(judged):
    display(judged.pivot(index="photograph", columns="strokes").style.format("{:.3f}"))
    display(judged.groupby("strokes").mean(numeric_only=True).style.format("{:.3f}"))

# %% [markdown]
# *What to look for:* compare "the stroke" with each refiner *within* a kind of stroke: is the mask
# better than what was handed in? Six photographs prove nothing; they show what to measure. Your own
# strokes on pictures of your own are the test that counts. `nseg annotate DIR` opens the same
# canvas over a folder, one picture after the other, and writes a COCO file that keeps the strokes.
#
# ## Exercises
#
# Solutions are in `solutions/09_draw_your_own.py`.
#
# **1. A broader brush.** The strokes of a drawing with every radius multiplied by a factor; the
# path and all else stay. Do not change the strokes that you are given.


# %%
def scaled(strokes, factor): ...  # your turn


# %%
print(exercises.check_scaled(scaled))

# %% [markdown]
# **2. In the capsule?** For a brush of one radius, drawn from `a` to `b` (each a pair `(x, y)`):
# is the point `(x, y)` painted, border included? The nearest point of the line from `a` to `b`
# decides; mind its ends, and a dot, where `a` is `b`.


# %%
def in_capsule(x, y, a, b, radius): ...  # your turn


# %%
print(exercises.check_in_capsule(in_capsule))

# %% [markdown]
# **3. Corrections.** For a model that takes none, the canvas corrects its mask by itself: what was
# added is united with it, what was marked as background is taken away. The user marked background
# *last*.


# %%
def corrected(mask, add, remove): ...  # your turn


# %%
print(exercises.check_corrected(corrected))

# %% [markdown]
# ## What you have seen
#
# A canvas that any refiner can sit behind; that a network trained on simulated strokes follows the
# brush rather than the object; and how to collect the strokes that would tell it otherwise.
#
# Next: [10 · Beyond the paper](10_beyond_the_paper.ipynb), where the strokes change and the
# protocol for a better refiner is laid down.
