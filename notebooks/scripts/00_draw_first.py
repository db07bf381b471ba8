# %% [markdown]
# # 00 · Draw first
#
# After this chapter you will be able to
#
# - say what *coarse-mask refinement* is, and turn a stroke into a mask with one line of code;
# - read IoU, and say why a refiner must be compared with the stroke it was given;
# - find your way through the course, knowing that your machine has what it needs.
#
# | | |
# |---|---|
# | makes | no table or figure of the paper: the picture that the paper is about |
# | inputs → outputs | photographs, a trained network if there is one → pictures on this page |
# | takes | about half a minute |
# | previous, next | –, [01 · Masks and COCO](01_masks_and_coco.ipynb) |

# %% tags=["parameters"]
profile = "sample"  # which settings: smoke, sample, half, paper
data = "data/sample"  # a data set in COCO's layout, with splits train, val and test
photos = "data/sample"  # the data set that holds the split "photos"
runs = "runs/sample"  # trained networks

# %%
import platform
from importlib.metadata import version

import numpy as np  # noqa: F401 (for the exercises)
import torch
from IPython.display import Markdown

from nseg_lib import Refiner
from nseg_lib.course import exercises, look, standins
from nseg_lib.data import coco
from nseg_lib.evaluation import metrics
from nseg_lib.provenance import project_root
from nseg_lib.training.runs import find_runs

look.use_style()
ROOT = project_root()
DATA = standins.data_set(ROOT / data)
PHOTOS = standins.photographs(standins.data_set(ROOT / photos))

# %% [markdown]
# ## What this is about
#
# You paint roughly over an object, with a broad brush, in a second. Out comes its exact outline.
# That is the promise of **coarse-mask refinement**, and of *NeuralSegmentello* (Gentilini, Magrini,
# Petrarca and Scandale, 2025), the paper that this course takes apart and makes again.
#
# Three things are in play, and the whole course calls them by these names:
#
# - the **image** $I$, a photograph: `uint8`, height × width × 3;
# - the **stroke** $S \in \{0,1\}^{H \times W}$, what you brushed, right in parts and wrong in
#   parts;
# - the **mask** $M \in \{0,1\}^{H \times W}$, the object as it truly is (*ground truth*).
#
# A refiner is a function $R(I, S) = \hat M$, and it is good if $\hat M$ is close to $M$.
#
# **What to look for below:** the stroke in orange is not careless. It follows the object's outline
# for most of its way and has a few bites taken out. Nobody drew it: a program made it from the
# mask. Keep that in mind; it decides how the results must be read.

# %%
photo = standins.photograph(PHOTOS, "camera")
crop = look.around(photo.mask, photo.stroke)

fig, axes = look.panels(1, 3, size=(2.8, 2.4))
look.show(axes[0, 0], photo.image, crop=crop, title="the image")
look.show(axes[0, 1], photo.image, stroke=photo.stroke, crop=crop, title="image and stroke")
look.show(axes[0, 2], photo.image, mask=photo.mask, crop=crop, title="the mask we want")
look.legend(fig, ("stroke", "truth"))

# %% [markdown]
# ## What your machine has
#
# A laptop without a graphics card is enough for every chapter. The table says what was found.

# %%
found = find_runs(ROOT / runs)
device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none, and none is needed"
sizes = {name: len(coco.load_split(DATA, name).images) for name in coco.find_splits(DATA)}

rows = {
    "Python": platform.python_version(),
    "PyTorch": version("torch"),
    "nseg": version("nseg"),
    "GPU": device,
    "processor threads used": str(torch.get_num_threads()),
    "pictures": ", ".join(f"{name} {count}" for name, count in sizes.items()),
    "trained networks": ", ".join(found) or "none yet (`make reproduce` trains them)",
}
Markdown("| | |\n|---|---|\n" + "\n".join(f"| {k} | {v} |" for k, v in rows.items()))

# %% [markdown]
# ## From stroke to mask
#
# A trained network is a file. `Refiner.load` reads it and `refine` applies it: that is the whole
# interface. Where no network was trained yet, the next cell takes the one that comes with nseg: the
# paper's smallest, trained on 900 pictures of COCO at half their size. The line that the cell prints
# says which of the two you have.

# %%
model = "tiny16-32_bce-dice"
refiner: Refiner = standins.refiner(ROOT / runs, model, DATA)

# %%
prediction = refiner.refine(photo.image, photo.stroke)

before, after = metrics.iou(photo.stroke, photo.mask), metrics.iou(prediction, photo.mask)

fig, axes = look.panels(1, 3, size=(2.8, 2.4))
look.show(
    axes[0, 0], photo.image, stroke=photo.stroke, crop=crop, title=f"stroke: IoU {before:.3f}"
)
look.show(
    axes[0, 1],
    photo.image,
    mask=photo.mask,
    prediction=prediction,
    crop=crop,
    title=f"refined: IoU {after:.3f}",
)
look.show_errors(
    axes[0, 2], photo.image, photo.mask, prediction, crop=crop, title="what is still wrong"
)
look.legend(fig, ("stroke", "truth", "prediction", "missed", "extra"))

# %% [markdown]
# **What to look for.** On the left the input, in the middle the answer (magenta) over the truth
# (blue), on the right only the mistakes. Follow one bite of the stroke from left to right: was it
# filled? Then follow a piece of the outline where the stroke was right already: is it still right?
# A refiner can do harm there, and harm is easily overlooked when one looks at what was mended.
#
# **IoU**, intersection over union, sums up how close two masks are:
#
# $$\mathrm{IoU}(P, T) = \frac{|P \cap T|}{|P \cup T|} \in [0, 1]$$
#
# It is 1 for equal masks and 0 for masks that do not meet.

# %% [markdown]
# ## Better than what?
#
# The paper reports an IoU of .86 for this network. That sounds fine, until one asks for the IoU of
# the *stroke*. The paper does not give it. Measured once, before this project began, on 154 COCO
# pictures, with strokes from the paper's own recipe and the networks that its authors released (the
# pictures are not here, so no command repeats this table; the networks are, in `reports/released`,
# whose README names the command that judges them on other pictures):
#
# | method | IoU | 1-px boundary IoU | pictures made worse |
# |---|---|---|---|
# | stroke unchanged (*identity*) | .816 | **.193** | – |
# | released tiny16-32 | **.845** | .138 | 21 % |
# | released res16-32 | **.846** | .139 | 18 % |
#
# (The *1-px boundary IoU* is the IoU of the two outlines, one pixel wide; more in chapter 02.) Doing
# nothing costs .03 of IoU, and keeps the outline *better* than those networks do. So the course
# has one rule: **no method is shown without the row "identity"**. Here are all photographs
# at hand whose stroke did not come out too small (chapter 02 says what becomes of those).

# %%
results = []
for sample in PHOTOS:
    answer = refiner.refine(sample.image, sample.stroke)
    results.append((sample, answer))

lines = ["| picture | stroke | refined | difference |", "|---|---:|---:|---:|"]
for sample, answer in results:
    was, now = metrics.iou(sample.stroke, sample.mask), metrics.iou(answer, sample.mask)
    lines.append(f"| {sample.category} | {was:.3f} | {now:.3f} | {now - was:+.3f} |")
Markdown("\n".join(lines))

# %%
shown = results[:8]
fig, axes = look.panels(2, 4, size=(2.1, 2.1))
for ax, (sample, answer) in zip(axes.flat, shown, strict=False):
    where = look.around(sample.mask, sample.stroke)
    change = metrics.iou(answer, sample.mask) - metrics.iou(sample.stroke, sample.mask)
    title = f"{sample.category}: {change:+.3f}"
    look.show(ax, sample.image, stroke=sample.stroke, prediction=answer, crop=where, title=title)
look.legend(fig, ("stroke", "prediction"))

# %% [markdown]
# **What to look for.** The number in a title is the change of IoU against the stroke. Where it is
# negative, the network made the picture worse. A network that was trained for a moment often loses
# against doing nothing; one that was trained to the end gains a little on most pictures. The
# photographs are also larger than the small pictures of the built-in sample, so a network trained
# on those meets strokes here of another size than it knows.

# %% [markdown]
# ## The map
#
# | chapter | what you do in it | of the paper |
# |---|---|---|
# | [01](01_masks_and_coco.ipynb) | read COCO, polygons and RLE; choose 1,000 pictures | Figure 1 |
# | [02](02_strokes.ipynb) | make strokes from masks; meet the identity | section 2.2 |
# | [03](03_unet.ipynb) | build the U-Net by hand | Figure 2 |
# | [04](04_training_by_hand.ipynb) | train a network and read its log | Figure 5 |
# | [05](05_losses.ipynb) | see what a loss rewards | section 2.5 |
# | [06](06_two_residuals.ipynb) | find out which "residual" was trained | Figure 3 |
# | [07](07_attention.ipynb) | add attention gates and look at them | Figure 4 |
# | [08](08_metrics_by_hand.ipynb) | build the metrics | section 2.6 |
# | [09](09_results_table.ipynb) | read a results table | Tables 1, 2 |
# | [10](10_errors.ipynb) | find failures by slicing | Figures 6, 7 |
# | [12](12_strokes_as_drawn.ipynb) | strokes as people draw them | – |
# | [13](13_corrections.ipynb) | a refiner that can be corrected | – |
# | [14](14_judging_a_tool.ipynb) | judge a tool | – |
#
# Chapters can be read in any order after 02. Each starts with a cell of *parameters*: which data,
# which trained networks. Change them there and run the chapter again, or let
# `make reproduce PROFILE=…` run all of them.

# %% [markdown]
# ## Exercises
#
# An exercise is a function without a body. Write it, run the cell, then run the check below it:
# it prints `right`, or says what is wrong. Solutions are in `notebooks/solutions/00_draw_first.py`.
#
# **1. IoU.** Write it for two bool arrays. Two empty masks agree: their IoU is 1.


# %%
def iou(predicted, target): ...  # your turn


# %%
print(exercises.check(iou))

# %% [markdown]
# **2. Pixel accuracy.** The share of *all* pixels on which two masks agree, background included.
# When it is right, ask it about an empty prediction of a small object, and you will know why the
# course does not rely on it.


# %%
def pixel_accuracy(predicted, target): ...  # your turn


# %%
print(exercises.check(pixel_accuracy))

# %% [markdown]
# **3. Made worse.** From the IoU of each picture's stroke and that of its refined mask: the share
# of pictures that the refiner made worse. An unchanged IoU is not worse.


# %%
def made_worse(before, after): ...  # your turn


# %%
print(exercises.check(made_worse))

# %% [markdown]
# ## What you have seen
#
# A stroke becomes a mask through one call; IoU says how close two masks are; and the stroke itself
# is a strong answer already, so a refiner is judged by what it *adds*.
#
# Next: [01 · Masks and COCO](01_masks_and_coco.ipynb), where the masks come
# from.
