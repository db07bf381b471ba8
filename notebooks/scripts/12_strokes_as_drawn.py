# %% [markdown]
# # 12 · Strokes as people draw them
#
# After this chapter you will be able to
#
# - show what happens to the paper's networks when the stroke is a line through the middle;
# - say how simulated strokes are compared with those that people drew.
#
# | | |
# |---|---|
# | makes | nothing that is in the paper |
# | inputs → outputs | photographs, committed measurements → pictures and tables |
# | takes | about half a minute |
# | previous, next | [11 · Reproduce it](11_reproduce.ipynb), [13 · A refiner that corrects](13_corrections.ipynb) |

# %% tags=["parameters"]
profile = "sample"  # which settings: smoke, sample, half, paper
data = "data/sample"  # a data set in COCO's layout, with splits train, val and test
runs = "runs/sample"  # trained networks
rows = "reports/sample/rows"  # results picture by picture
out = "reports/sample"  # where tables and figures go

# %%
import os
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display

from nseg_lib import config as configuration
from nseg_lib.course import exercises, look, probes, standins
from nseg_lib.data import frozen as prompts
from nseg_lib.data.coco import load_split
from nseg_lib.data.scribbles import load_scribbles, stroke_statistics
from nseg_lib.evaluation import metrics
from nseg_lib.evaluation import stroke_habits as habits
from nseg_lib.evaluation.methods import method
from nseg_lib.networks.weights import PRETRAINED
from nseg_lib.prompt import Prompt
from nseg_lib.provenance import project_root
from nseg_lib.strokes.drawing import Drawn
from nseg_lib.strokes.people import PROMPTS, draw_prompt
from nseg_lib.training.refiner_data import TrainingObjects

look.use_style()
ROOT = project_root()
DATA, OUT = standins.data_set(Path(ROOT, data)), Path(ROOT, out)
RUNS = standins.trained(Path(ROOT, runs), DATA)
ROWS = standins.evaluated(Path(ROOT, rows), RUNS, DATA)


def committed(name, command):
    """A table of `reports/refiner`, or None and the command that makes it."""
    path = ROOT / "reports" / "refiner" / name
    if path.is_file():
        return pd.read_csv(path)
    print(f"reports/refiner/{name} is not there: it has not been run. To make it: {command}")
    return None


# %% [markdown]
# ## A line through the middle
#
# The paper's networks were trained on one kind of stroke: nearly all of the object, with bites out
# of its edge. What does a person draw? Often a line through the middle of the thing. Below, the
# paper's smallest network, as the package ships it, trained by us on real pictures; first with the
# stroke it knows, then with two other recipes of the released code, then with a line: the object's
# skeleton, a few pixels wide. The photographs of this chapter are the built-in ones or, on
# COCO, the first validation pictures that a report may show; nothing was trained on them.

# %%
split = standins.photographs(DATA).split
photos = {}
for image_id in split.images:
    if split.credit(image_id) and split.annotations.get(image_id) and len(photos) < 6:
        stem = split.image_path(image_id).stem
        photos[stem] = SimpleNamespace(
            name=stem,
            id=image_id,
            image=split.read_image(image_id),
            mask=prompts.object_mask(split, image_id),
            credit=split.credit(image_id),
        )


def photograph(name):
    """The photograph of this name; in a data set without it, the first."""
    return photos.get(name, next(iter(photos.values())))


def frozen(photo, kind):
    """The same drawing at every run, whatever was drawn before."""
    if kind == "line":
        return Drawn(probes.thin_scribble(photo.mask, 3), np.zeros_like(photo.mask))
    return prompts.draw(photo.mask, kind, prompts.generator(kind, 0, photo.id))


papers = method(PRETRAINED[-1]).predictor
person = photograph("camera")
fig, axes = look.panels(2, 4, size=(2.3, 2.2))
for column, kind in enumerate(("erode", "dist", "paintbrush", "line")):
    stroke = frozen(person, kind).object
    answer = papers.logits(person.image, Prompt(stroke)) > 0
    before, after = metrics.iou(stroke, person.mask), metrics.iou(answer, person.mask)
    title = f"{kind}{' (trained on)' * (kind == 'erode')}: {before:.2f}"
    look.show(axes[0, column], person.image, stroke=stroke, title=title)
    look.show(axes[1, column], person.image, mask=person.mask, prediction=answer)
    axes[1, column].set_title(f"{papers.config.name}: {after:.2f}", fontsize=7)
look.legend(fig, ("stroke", "truth", "prediction"))
plt.show()
print("photograph:", person.credit)

# %% [markdown]
# *What to look for:* in the last column, is the prediction an object, or a slightly thicker line?
# The network is not to blame. It was never shown such a stroke, it sees no colour, and it has no
# way to be told "not this". The rest of the chapter changes all three.


# %% [markdown]
# ## Strokes as people draw them
#
# What a network learns lies in what it is shown. So first a **simulator**: from an object's mask,
# strokes that somebody might draw over it. A kind of prompt is a short function; the variety comes
# from the hand that carries it out: where it starts, how far it gets, how hard it presses, how it
# trembles and cuts corners. Sizes scale with the object.


# %%
fig, axes = look.panels(4, 4, size=(2.0, 2.1))
for number, (ax, kind) in enumerate(zip(axes.flat, PROMPTS, strict=True)):
    drawn = draw_prompt(person.mask, kind, np.random.default_rng((3, number)))
    look.show_drawn(ax, person.image, drawn, title=kind)
plt.show()

# %% [markdown]
# The first seven are brushed, on the object (orange) and sometimes on the background (blue); the
# others are coarse masks, from a shifted or blocky one to the four released recipes. No two draws
# are alike. Six hands that were asked for the same, a sparse prompt:

# %%
fig, axes = look.panels(1, 6, size=(1.7, 1.8))
for number, ax in enumerate(axes.flat):
    drawn = draw_prompt(person.mask, "sparse", np.random.default_rng((5, number)))
    cover = (drawn.object & person.mask).sum() / person.mask.sum()
    assert np.isclose(cover, stroke_statistics(drawn, person.mask)["cover"])
    look.show_drawn(ax, person.image, drawn, title=f"covers {cover:.1%}")
plt.show()

# %% [markdown]
# ### From a hint to nearly the mask
#
# How good a prompt is already, as its IoU with the object, is spread on purpose: each kind has
# ranges of its own, and the recipe says how often each kind is drawn. Twelve objects of the data at
# hand, each under every kind:

# %%
recipe = configuration.load("lite0", kind=configuration.RefinerConfig)
rng = np.random.default_rng(7)
any_object = TrainingObjects(load_split(DATA, "train"), recipe.prompts)
masks = [any_object.draw(rng, late=False)[1] for _ in range(12)]
quality = {
    kind: [metrics.iou(draw_prompt(mask, kind, rng).object, mask) for mask in masks]
    for kind in sorted(recipe.prompts.mix, key=recipe.prompts.mix.get, reverse=True)
}
total = sum(recipe.prompts.mix.values())
share = {kind: weight / total for kind, weight in recipe.prompts.mix.items()}

fig, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for y, values in enumerate(reversed(quality.values())):
    axes[0].plot(values, np.full(len(values), y), "|", color=look.PALETTE["classical"], mew=1.5)
labels = [f"{kind}, {share[kind]:.0%}" for kind in reversed(quality)]
axes[0].set_yticks(range(len(quality)), labels, fontsize=7)
axes[0].set(xlabel="IoU of the prompt with its object", xlim=(-0.02, 1.02), title="by kind")
weights = [share[kind] / len(masks) for kind in quality for _ in masks]
axes[1].hist(
    np.concatenate(list(quality.values())), bins=np.linspace(0, 1, 11), weights=weights,
    color=look.PALETTE["classical"],
)  # fmt: skip
axes[1].set(xlabel="IoU of the prompt with its object", ylabel="share", title="as the recipe mixes")
plt.show()

# %% [markdown]
# *What to look for:* lines cover next to nothing and are drawn nearly half of the time, for they are
# the hardest and the commonest. The rest is spread up to nearly the mask, without a gap. The paper
# trained on one of these kinds alone, `erode`.
#
# ### Is that how people draw?
#
# A set of strokes that people drew lies at hand, to look at and to measure with, never to train on
# (`iseg_scribbles`; its pictures are not part of this project, and neither is any of its strokes).
# Its numbers are: `python -m nseg_lib.evaluation.stroke_habits` measured people's strokes, and beside
# them simulated ones *on the same objects*. Lengths are in units of $\sqrt{\text{area}}$ of the
# object, so that a coin and a cathedral compare.

# %%
numbers = committed("strokes.csv", "python -m nseg_lib.evaluation.stroke_habits")
if numbers is not None:
    people = [name for name in numbers["strokes"].unique() if name not in habits.SIMULATED]
    shown = {
        "object_width": "width",
        "object_length": "length",
        "cover": "share of the object covered",
        "object_depth": "median distance to the edge",
        "over": "share beyond the object",
    }
    fig, axes = plt.subplots(1, len(shown), figsize=(11, 2.9), sharey=True, layout="constrained")
    kinds = list(reversed(numbers["strokes"].unique()))
    jitter = np.random.default_rng(0)
    for ax, (column, title) in zip(axes, shown.items(), strict=True):
        for y, kind in enumerate(kinds):
            values = numbers.loc[numbers["strokes"] == kind, column].dropna()
            colour = look.PALETTE["prediction" if kind in people else "classical"]
            ax.plot(values, y + jitter.uniform(-0.25, 0.25, len(values)), ".", ms=4, color=colour)
            ax.plot(values.median(), y, "k|", ms=16, mew=2)
        ax.set_title(title)
        if column in {"object_width", "object_length", "cover"}:
            ax.set_xscale("log")
    names = [f"people ({kind})" if kind in people else f"simulated: {kind}" for kind in kinds]
    axes[0].set_yticks(range(len(kinds)), names)
    plt.show()
    spread = numbers.groupby("strokes", sort=False)[list(shown)].quantile([0.1, 0.5, 0.9])
    display(spread.rename(columns=shown).rename_axis(["", "quantile"]).style.format("{:.3f}"))

# %% [markdown]
# *What to look for:* compare the pink cloud with the grey ones. These people hatched: long thin
# lines, over a fifth of the object; `dense` covers as much with broader and shorter ones (the
# thinnest and longest of people's lie outside it), while `sparse` asks what happens if someone has
# less patience. The paper's stroke (`erode`) is in another world:
# as wide as a third of the object or more, covering nearly all of it. Simulation is meant to be
# *wider* than any one group of people, for nobody knows how the next person draws.

# %%
folder = os.environ.get(habits.SCRIBBLES)
if not folder:
    print(f"people's strokes stand here where {habits.SCRIBBLES} names their folder")
else:
    fig, axes = look.panels(3, 4, size=(2.6, 2.0))
    for line, found in zip(axes, islice(load_scribbles(Path(folder)), 3), strict=False):
        (by, drawn), *_ = found.strokes.items()
        look.show_drawn(line[0], found.image, drawn, title=f"people ({by})")
        for ax, kind in zip(line[1:], ("dense", "hatch", "sparse"), strict=True):
            simulated = draw_prompt(found.mask, kind, prompts.generator(kind, 0, found.mask.sum()))
            look.show_drawn(ax, found.image, simulated, title=f"simulated: {kind}")
    plt.show()


# %% [markdown]
# ## Exercises
#
# Solutions are in `notebooks/solutions/12_strokes_as_drawn.py`.


# %% [markdown]
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
# ## What you have seen
#
# A network knows the strokes it was trained on. So strokes are simulated widely, and compared with
# people's.
#
# Next: [13 · A refiner that corrects](13_corrections.ipynb).
