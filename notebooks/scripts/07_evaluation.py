# %% [markdown]
# # 07 · Evaluation
#
# After this chapter you will be able to
#
# - compute every metric of the paper by hand, and say which mistakes each one punishes;
# - spot what decides a number before any network does: empty masks, thresholds, which pictures;
# - read a table of results by what a method *adds to the stroke*, with an interval round it.
#
# | | |
# |---|---|
# | makes | Tables 1 and 2 |
# | inputs → outputs | per-picture results, photographs → the two tables as CSV, Markdown, LaTeX |
# | takes | about ten seconds; about a minute where nothing was evaluated before |
# | previous, next | [06](06_losses_and_training.ipynb), [08](08_qualitative_and_errors.ipynb) |

# %% tags=["parameters"]
profile = "sample"  # which settings: smoke, sample, half, paper
data = "data/sample"  # a data set in COCO's layout, with splits train, val and test
runs = "runs/sample"  # trained networks
rows = "reports/sample/rows"  # results picture by picture
out = "reports/sample"  # where tables and figures go

# %%
import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.spatial.distance import cdist

from nseg_lib import config, networks
from nseg_lib.course import exercises, look, standins
from nseg_lib.evaluation import metrics
from nseg_lib.evaluation.baselines import BASELINES
from nseg_lib.evaluation.metrics import LABELS
from nseg_lib.evaluation.summary import read_folder, summarise
from nseg_lib.provenance import project_root
from reproduction import paper
from reproduction.artefacts import save_table
from reproduction.table1 import table1 as make_table1
from reproduction.table1 import table1b as make_table1b
from reproduction.table1 import table2 as make_table2

look.use_style()
ROOT = project_root()
DATA, OUT = standins.data_set(Path(ROOT, data)), Path(ROOT, out)

# %% [markdown]
# ## Two masks
#
# A metric takes two masks, *predicted* and *target*, and returns one number. To see through a
# metric, one needs masks small enough to count on.

# %%
target = np.zeros((12, 14), bool)
target[2:9, 3:9] = True
predicted = np.zeros_like(target)
predicted[3:10, 4:9] = True
predicted[5, 9:12] = True


def draw(ax, predicted, target, title=""):
    """Both right in grey, missed in blue, added wrongly in magenta."""
    ax.imshow(np.where(predicted & target, 150, 255), vmin=0, vmax=255)
    ax.imshow(look.tint(target & ~predicted, "missed", 0.8))
    ax.imshow(look.tint(predicted & ~target, "extra", 0.8))
    ax.set(xticks=np.arange(-0.5, 14), yticks=np.arange(-0.5, 12), title=title)
    ax.tick_params(length=0, labelbottom=False, labelleft=False)
    ax.grid(color="white")
    ax.spines[:].set_visible(False)


fig, ax = plt.subplots(figsize=(3.2, 2.8))
draw(ax, predicted, target, "grey: both · blue: missed · magenta: added")
plt.show()

# %% [markdown]
# ## Accuracy and IoU: counting
#
# *Pixel accuracy* is the share of the picture's pixels that are right. *IoU* (intersection over
# union, or Jaccard index) leaves out the pixels that are background in both: nobody deserves credit
# for those.

# %%
right = (predicted == target).sum()
both, either = (predicted & target).sum(), (predicted | target).sum()
print(f"accuracy {right} / {target.size} = {right / target.size:.3f}")
print(f"IoU      {both} / {either} = {both / either:.3f}")
assert right / target.size == metrics.pixel_accuracy(predicted, target)
assert both / either == metrics.iou(predicted, target)

# %% [markdown]
# The smaller the object, the more an empty picture is worth in accuracy. That is why the
# accuracies in the paper's Table 1 all begin with .98, and why we look elsewhere.
#
# ## Boundary IoU: two metrics of one name
#
# The **paper's** Boundary IoU is the IoU of the two masks' inner boundaries, *one pixel wide*. A
# pixel is on the boundary if it is in the mask and one of its eight neighbours is not.


# %%
def inner(mask, depth=1, beyond=True):
    """The mask less `depth` erosions by a 3x3 square; `beyond` is what lies outside the picture."""
    eroded = mask
    for _ in range(depth):
        padded = np.pad(eroded, 1, constant_values=beyond)
        shifts = [padded[y : y + 12, x : x + 14] for y in range(3) for x in range(3)]
        eroded = np.all(shifts, axis=0)
    return mask & ~eroded


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


by_hand = overlap(inner(predicted), inner(target))
assert by_hand == metrics.boundary_iou_1px(predicted, target)

fig, axes = plt.subplots(1, 2, figsize=(6.4, 2.8))
draw(axes[0], inner(predicted), inner(target), f"1 px: {by_hand:.3f}")
draw(axes[1], inner(predicted, 2), inner(target, 2), "2 px wide")
plt.show()

# %% [markdown]
# The **literature's** Boundary IoU (Cheng et al. 2021) takes a band of 2 % of the picture's
# diagonal instead (of our tiny picture, a pixel again), so that being one pixel off costs little,
# and being far off costs all. Beyond the picture everything counts as background there. The two
# carry different names here.

# %%
diagonal = np.hypot(*target.shape)
depth = max(1, round(0.02 * diagonal))
banded = overlap(inner(predicted, depth, beyond=False), inner(target, depth, beyond=False))
assert banded == metrics.boundary_iou(predicted, target)
print(f"band of 2 % of the diagonal, here {depth} px: {banded:.3f}")

# %% [markdown]
# ## Hausdorff distance: the worst pixel
#
# From each pixel of one set to the *nearest* pixel of the other; of all these, the *largest*; and
# that both ways. The paper's text says "between boundaries", its code takes all pixels of the
# masks. HD95 takes the 95th percentile in place of the largest.


# %%
def contour(mask):
    """Mask pixels with one of four neighbours outside the mask, or on the picture's border."""
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def both_ways(a, b):
    """Distance of each pixel of a to the nearest of b, and of each of b to the nearest of a."""
    distances = cdist(np.argwhere(a), np.argwhere(b))
    return distances.min(axis=1), distances.min(axis=0)


region = max(d.max() for d in both_ways(predicted, target))
outline = max(d.max() for d in both_ways(contour(predicted), contour(target)))
hd95 = max(np.percentile(d, 95) for d in both_ways(contour(predicted), contour(target)))
assert np.isclose(region, metrics.hausdorff_region(predicted, target))
assert np.isclose(outline, metrics.hausdorff_contour(predicted, target))
assert np.isclose(hd95, metrics.hd95(predicted, target))
print(f"region {region:.2f} px, contour {outline:.2f} px, 95 % of the contour {hd95:.2f} px")

# %% [markdown]
# From here on the library's versions are used. They do the same with distance transforms, in
# milliseconds.
#
# ## What each metric sees
#
# A disc of 80 px across in a picture of 640x480, with one mistake at a time. Guess each row's
# lowest number before you look.

# %%
y, x = np.ogrid[:480, :640]


def disc(dx=0, radius=40):
    return (y - 240) ** 2 + (x - 320 - dx) ** 2 <= radius**2


speck = disc()
speck[20, 20] = True
mistakes = {
    "shifted by 1 px": disc(1),
    "shifted by 4 px": disc(4),
    "1 px too small all round": disc(radius=39),
    "one wrong pixel, far away": speck,
    "a quarter missing": disc() & ~((y > 240) & (x > 320)),
    "empty": np.zeros((480, 640), bool),
}
seen = pd.DataFrame({k: metrics.evaluate_mask(m, disc()) for k, m in mistakes.items()}).T
seen.rename(columns=LABELS).style.format("{:.3f}").format(
    "{:.1f}", subset=[LABELS[name] for name in metrics.DISTANCES]
)

# %% [markdown]
# *What to look for:* accuracy hardly moves. A single pixel takes Hausdorff, contour or region, to
# the other end of the picture and leaves everything else alone. A shift by one pixel takes most
# of the one-pixel Boundary IoU, which no eye would notice, and next to nothing of IoU. One number
# is never enough, and a mean of Hausdorff distances is mostly a count of stray specks.
#
# ## Empty masks
#
# What is 0 / 0? Every implementation decides it, most of them silently. Popular libraries return
# NaN for the distance to an empty mask, *and then leave NaN out of the mean*: the worst failure
# of all raises the average. Here every case has a value.

# %%
small, empty, full = disc()[200:280, 280:360], np.zeros((80, 80), bool), np.ones((80, 80), bool)
cases = {
    "both empty": (empty, empty),
    "predicted empty": (empty, small),
    "target empty": (small, empty),
    "predicted full": (full, small),
    "both full": (full, full),
}
pd.DataFrame({k: metrics.evaluate_mask(*pair) for k, pair in cases.items()}).T.rename(
    columns=LABELS
).style.format("{:.2f}")

# %% [markdown]
# *What to look for:* two empty masks agree. One empty mask is as wrong as can be: overlap 0, and
# a distance of the picture's whole diagonal, which no two real masks can have.
#
# ## Threshold: probability .5 or logit .5?
#
# A network gives a logit $\ell$ for each pixel, and a probability $\sigma(\ell)$. A mask needs a
# threshold. The released code compares the *logit* with .5, which is another place on the same
# curve:

# %%
logits = np.linspace(-4, 4, 200)
fig, ax = plt.subplots(figsize=(4, 2.6), layout="constrained")
ax.plot(logits, 1 / (1 + np.exp(-logits)), color="black")
for at, label, colour in ((0.0, "probability > .5", "res"), (0.5, "logit > .5", "stroke")):
    p = 1 / (1 + np.exp(-at))
    ax.plot([at, at, -4], [0, p, p], color=look.PALETTE[colour], label=f"{label}: p = {p:.3f}")
ax.set(xlabel="logit", ylabel="probability", xlim=(-4, 4), ylim=(0, 1))
ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# A stricter threshold makes every mask a little smaller. The tables here use probability > .5 for
# every method and show the other rule in a column of its own.
#
# ## Real results
#
# Everything below is computed from files with one row per method and picture. No number in a
# table comes from anywhere else, so each of them can be taken apart again.

# %%
RUNS = standins.trained(Path(ROOT, runs), DATA)
ROWS = standins.evaluated(Path(ROOT, rows), RUNS, DATA)
results = read_folder(ROWS)
results.groupby(["method", "split"], sort=False)["iou"].agg(["count", "mean"]).round(4).unstack()

# %% [markdown]
# ## Table 1
#
# The paper's Table 1, with our number beside each of the paper's. Where our pictures are smaller
# than the paper's, metrics that are counted in pixels would mean something else; they are left out.

# %%
printed = paper.numbers()
table1 = make_table1(results, printed, profile)
save_table(
    table1, OUT / "tables" / "table1", profile=profile, inputs=[ROWS, paper.REPORTS / "paper.yml"]
)

# %% [markdown]
# This table cannot tell you whether any network is worth running, for two reasons. It does not say
# what the stroke alone would have scored. And its pictures are those that chose the epoch of each
# network. Table 1b mends both:
#
# - **The first row is doing nothing**: the stroke itself, called *identity*. Then come three
#   classical methods that were never trained. Only then the networks, the best first.
# - **Δ IoU** is the mean, over pictures, of a method's IoU minus the stroke's *on the same
#   picture*, with its 95 % interval over pictures, which is made by hand below. If the interval
#   holds 0, the method has not been shown to do anything.
# - **made worse** is the share of pictures on which the user would have been better off without.
# - The **test** pictures chose nothing: no epoch, no model.

# %%
make_table1b(results)

# %% [markdown]
# *What to look for:* compare each network's row with the first one. Which networks beat the stroke
# in IoU? Which beat it in the one-pixel Boundary IoU? Does any network beat the best classical row?

# %%
judging = "test" if "test" in set(results["split"]) else "val"
summary = summarise(results, split=judging)
for name in ("iou", "boundary_iou_1px", "hausdorff_region"):
    better = (
        summary[f"{name}_high"] < 0 if name in metrics.DISTANCES else summary[f"{name}_low"] > 0
    )
    worse = summary[f"{name}_low"] > 0 if name in metrics.DISTANCES else summary[f"{name}_high"] < 0
    print(f"{LABELS[name]}: of {len(summary) - 1} methods {better.sum()} better "
          f"than the stroke and {worse.sum()} worse, by intervals without 0")  # fmt: skip

# %% [markdown]
# Where an interval comes from: other pictures would have given another mean. How far another? The
# *bootstrap* (Efron and Tibshirani 1993) lets the pictures at hand stand for all pictures: draw as
# many of them as there are, with replacement, so that some come twice and some not at all; take the
# mean; do that a thousand times. The interval holds the middle 95 % of these means. Both methods
# are judged on the same pictures in each draw: hard pictures are hard for both, so their difference
# is known better than either mean.

# %%
trained = summary[~summary["method"].isin(BASELINES)]
best = trained.loc[trained["iou"].idxmax(), "method"]
judged = results[results["split"] == judging]
wide = judged.groupby(["image_id", "method"])["iou"].mean().unstack()
added = (wide[best] - wide["identity"]).to_numpy()

rng = np.random.default_rng(0)
means = [rng.choice(added, len(added)).mean() for _ in range(1000)]
low, high = np.percentile(means, [2.5, 97.5])

fig, ax = plt.subplots(figsize=(5, 2.4), layout="constrained")
ax.hist(means, bins=25, color=look.colour(best))
for x in (low, high):
    ax.axvline(x, color="black", ls="--")
ax.axvline(0, color=look.PALETTE["identity"])
ax.set(xlabel=f"mean of {best} minus the stroke, in 1,000 draws", yticks=[])
plt.show()

parts = [f"iou_{part}" for part in ("difference", "low", "high")]
mean, lowest, highest = summary.set_index("method").loc[best, parts]
print(f"by hand {added.mean():+.4f} [{low:+.4f}, {high:+.4f}], "
      f"the library's {mean:+.4f} [{lowest:+.4f}, {highest:+.4f}]")  # fmt: skip
apart = max(abs(low - lowest), abs(high - highest)) / (highest - lowest)
assert apart < 0.15 or len(added) < 20

# %% [markdown]
# *What to look for:* the two agree up to the luck of the draws. It is an interval over *pictures*
# alone: how far the same network would lie from this one, trained again with another seed, no
# number of pictures can tell.
#
# All differences as a picture, for IoU. A method whose bar crosses the line has not been shown to help.

# %%
splits = [name for name in ("val", "test") if name in set(results["split"])]
fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
for shift, split, marker in zip((-0.12, 0.12), splits, "os", strict=False):
    s = summarise(results, split=split).iloc[1:]
    for i, row in enumerate(s.to_dict("records")):
        bar = [[row["iou_difference"] - row["iou_low"]], [row["iou_high"] - row["iou_difference"]]]
        colour = look.colour(row["method"])
        fill = colour if split == "val" else "white"
        ax.errorbar(row["iou_difference"], i + shift, xerr=bar, fmt=marker, color=colour, mfc=fill)
ax.axvline(0, color=look.PALETTE["identity"], ls="--")
ax.set_yticks(range(len(s)), s["method"])
ax.invert_yaxis()
ax.set_xlabel("IoU minus the stroke's IoU; filled: validation, open: test")
plt.show()

# %% [markdown]
# ## What a mean hides
#
# A mean gain can be a little everywhere, or much on a few pictures and a loss on most. So look at
# all the pictures of the model with the largest mean, sorted.

# %%
key = ["split", "image_id", "annotation_id"]
per_picture = results.groupby(["method", *key])["iou"].mean()
gain = (per_picture[best] - per_picture["identity"]).sort_values()

fig, ax = plt.subplots(figsize=(8, 2.6), layout="constrained")
colours = np.where(gain < 0, look.PALETTE["extra"], look.PALETTE["tiny"])
ax.bar(range(len(gain)), gain, width=1.0, color=colours)
ax.axhline(gain.mean(), color="black", ls=":", label=f"mean {gain.mean():+.4f}")
ax.axhline(gain.median(), color="black", ls="--", label=f"median {gain.median():+.4f}")
ax.set(xlabel="pictures, sorted", ylabel="IoU minus the stroke's", title=best, xlim=(-1, len(gain)))
ax.legend()
plt.show()
print(
    f"better on {(gain > 0).mean():.0%}, worse on {(gain < 0).mean():.0%} of {len(gain)} pictures"
)

# %% [markdown]
# ## Table 2
#
# The paper gives the models' sizes in "MB". They are three times as large as their weights. A
# checkpoint of training holds, for every weight, two more numbers: the running moments of the Adam
# optimiser. Nobody needs them to *use* the network. Proof, on the smallest model:

# %%
network = networks.build(config.load("tiny16-32_bce-dice").model)
adam = torch.optim.Adam(network.parameters())
network(torch.zeros(1, 3, 32, 32)).sum().backward()
adam.step()
file = io.BytesIO()
torch.save({"weights": network.state_dict(), "optimizer": adam.state_dict()}, file)
weights = sum(p.numel() * 4 for p in network.parameters())
print(f"weights {weights / 2**20:.2f} MiB, checkpoint {file.tell() / 2**20:.2f} MiB, "
      f"the paper says {paper.numbers()['table2']['tiny16-32_bce-dice']:.2f} MB")  # fmt: skip

# %%
sizes = [networks.size(name) for name in config.THE_EIGHT]
table2 = make_table2(sizes, printed["table2"])
save_table(table2, OUT / "tables" / "table2", inputs=[paper.REPORTS / "paper.yml"])

# %% [markdown]
# *What to look for:* the weights with Adam's moments agree with what the paper prints to the
# overhead of a file; and `tiny` and `res` are equal in size to the last parameter, so the
# residual of the paper adds no layer (chapter 04).
#
# ## Exercises
#
# Solutions are in `notebooks/solutions/07_evaluation.py`.
#
# **1. Inner boundary.** Return the pixels of a mask that have a background pixel among their eight
# neighbours. Beyond the picture's border there is no background.


# %%
def inner_boundary(mask): ...  # your turn


print(exercises.check(inner_boundary))

# %% [markdown]
# **2. Hausdorff.** The distance between two sets of points, arrays `n×2` and `m×2`, both ways.


# %%
def hausdorff(a, b): ...  # your turn


print(exercises.check(hausdorff))

# %% [markdown]
# **3. Logit of a probability.** Which logit belongs to a given probability?


# %%
def logit_of(probability): ...  # your turn


print(exercises.check(logit_of))

# %% [markdown]
# **4. Paired comparison.** From the IoU of every picture before and after, return the mean
# difference, and the share of pictures that are worse by more than `margin`.


# %%
def paired(before, after, margin): ...  # your turn


print(exercises.check(paired))

# %% [markdown]
# ## What you have seen
#
# - Each metric is a few lines, and each is blind to something; names such as "Boundary IoU" and
#   "Hausdorff" stand for more than one definition.
# - Empty masks and thresholds are decisions. Silent ones change results.
# - A table needs the row of doing nothing, differences picture by picture, intervals, and
#   pictures that chose nothing.
#
# Next: [08 · Qualitative results and errors](08_qualitative_and_errors.ipynb), where the pictures
# behind the numbers are looked at.
