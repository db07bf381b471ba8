# %% [markdown]
# # 08 · Metrics by hand
#
# After this chapter you will be able to
#
# - compute every metric of the paper by hand, and say which mistakes each one punishes;
# - name the value of each metric where a mask is empty.
#
# | | |
# |---|---|
# | makes | no numbered table or figure |
# | inputs → outputs | two small masks → pictures and tables on this page |
# | takes | about ten seconds |
# | previous, next | [07 · Attention](07_attention.ipynb), [09 · Reading a results table](09_results_table.ipynb) |

# %% tags=["parameters"]
profile = "sample"  # which settings: smoke, sample, half, paper
data = "data/sample"  # a data set in COCO's layout, with splits train, val and test
runs = "runs/sample"  # trained networks
rows = "reports/sample/rows"  # results picture by picture
out = "reports/sample"  # where tables and figures go

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from nseg_lib.course import exercises, look, standins
from nseg_lib.evaluation import metrics
from nseg_lib.evaluation.metrics import LABELS
from nseg_lib.provenance import project_root

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


# %% [markdown]
# ## Exercises
#
# Solutions are in `notebooks/solutions/08_metrics_by_hand.py`.


# %% [markdown]
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
# ## What you have seen
#
# - Each metric is a few lines, and each is blind to something; names such as "Boundary IoU" and
#   "Hausdorff" stand for more than one definition.
# - Empty masks and thresholds are decisions. Silent ones change results.
#
# Next: [09 · Reading a results table](09_results_table.ipynb).
