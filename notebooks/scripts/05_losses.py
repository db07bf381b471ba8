# %% [markdown]
# # 05 · Losses
#
# After this chapter you will be able to
#
# - say what each term of the paper's loss rewards, and what it cannot see;
# - show which mistakes of equal size cost the same, and which do not.
#
# | | |
# |---|---|
# | makes | a second look at what section 3.2 says of losses |
# | inputs → outputs | a toy edge → pictures and tables on this page |
# | takes | about ten seconds |
# | previous, next | [04 · Training by hand](04_training_by_hand.ipynb), [06 · Two residuals](06_two_residuals.ipynb) |

# %% tags=["parameters"]
profile = "sample"  # which settings: smoke, sample, half, paper
data = "data/sample"  # a data set in COCO's layout, with splits train, val and test
photos = "data/sample"  # the built-in data set, for the training below
runs = "runs/sample"  # trained networks
out = "reports/sample"  # where tables and figures go

# %%
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from nseg_lib import config
from nseg_lib.course import exercises, look, standins
from nseg_lib.provenance import project_root
from nseg_lib.training import losses

look.use_style()
ROOT = project_root()
DATA, RUNS, OUT = Path(ROOT, data), Path(ROOT, runs), Path(ROOT, out)
PHOTOS = standins.data_set(Path(ROOT, photos))

# %% [markdown]
# ## A toy edge
#
# A loss is a teacher's marking scheme: the network learns whatever the scheme pays for. To see what
# each scheme pays for, we make mistakes on purpose, one kind at a time, and read the marks.
#
# The truth is a disc. A *prediction* is a map of logits; here it is sure of itself everywhere, and
# right everywhere except for the mistake. The logit 4 is a probability of .98.

# %%
SIZE, RADIUS, SURE = 128, 32, 4.0
rows, columns = np.mgrid[:SIZE, :SIZE]


def disc(dx: float = 0, radius: float = RADIUS) -> np.ndarray:
    """A disc whose centre is dx pixels right of the picture's."""
    return (rows - SIZE / 2) ** 2 + (columns - SIZE / 2 - dx) ** 2 <= radius**2


def sure(mask: np.ndarray) -> np.ndarray:
    """Logits of a prediction that has no doubt."""
    return np.where(mask, SURE, -SURE).astype(np.float32)


truth = disc()


# %% [markdown]
# Four mistakes of exactly the same size, in pixels: a bite out of the edge, a hole in the middle,
# a blob far away, and a rim missing all round. And one that is hardly a wrong pixel at all: an
# edge that is blurred because the network is unsure of it.


# %%
def nearest(allowed: np.ndarray, y: float, x: float, count: int) -> np.ndarray:
    """The `count` allowed pixels nearest to a point."""
    away = np.where(allowed, (rows - y) ** 2 + (columns - x) ** 2, np.inf)
    chosen = np.zeros(away.size, bool)
    chosen[np.argsort(away, axis=None, kind="stable")[:count]] = True
    return chosen.reshape(away.shape)


middle, WRONG = SIZE / 2, 300
rim = truth & ~nearest(truth, middle, middle, int(truth.sum()) - WRONG)
mistakes = {
    "none": sure(truth),
    "rim missing": sure(truth & ~rim),
    "bite": sure(truth & ~nearest(truth, middle, middle + RADIUS, WRONG)),
    "hole": sure(truth & ~nearest(truth, middle, middle, WRONG)),
    "blob far away": sure(truth | nearest(~truth, 12, 12, WRONG)),
    "blurred edge": cv2.GaussianBlur(sure(truth), (0, 0), 4),
}

fig, axes = look.panels(1, 6, size=(1.5, 1.6))
for ax, (name, logits) in zip(axes.flat, mistakes.items(), strict=True):
    wrong = int(((logits > 0) != truth).sum())
    ax.imshow(1 / (1 + np.exp(-logits)), vmin=0, vmax=1)
    ax.contour(truth, [0.5], colors=look.PALETTE["truth"], linewidths=0.8)
    ax.set_title(f"{name}\n{wrong} wrong pixels", fontsize=8)

# %% [markdown]
# *Predicted probability, black 0 to white 1; the true edge in blue.*
#
# ## Four marking schemes, by hand
#
# With $p = \sigma(\ell)$ the predicted probability and $t \in \{0, 1\}$ the truth:
#
# | term | formula |
# |---|---|
# | binary cross-entropy (BCE) | $-\mathrm{mean}\,[t \log p + (1 - t) \log (1 - p)]$ |
# | Dice | $1 - (2 \sum p t + 1) / (\sum p + \sum t + 1)$ |
# | boundary (the paper's) | $\mathrm{mean}\,(\lvert\nabla p\rvert - \lvert\nabla t\rvert)^2$ |
# | boundary (Kervadec) | $\mathrm{mean}\,(\phi_t\, p)$ over the picture's diagonal |
#
# In words: every pixel has one vote; overlap counts, relative to the object's size; the two maps of
# edges should look alike; a wrong pixel costs its distance $\phi_t$ to the true edge.
#
# The paper calls the third one "Boundary Loss". The literature's loss of that name is the fourth,
# which the paper does not use; it is here for comparison.


# %%
def by_hand(logits: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The four terms in NumPy."""
    p, t = 1 / (1 + np.exp(-logits.astype(float))), truth.astype(float)
    bce = -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))
    dice = 1 - (2 * np.sum(p * t) + 1) / (np.sum(p) + np.sum(t) + 1)
    sobel = np.mean((edge_strength(p) - edge_strength(t)) ** 2)
    kervadec = np.mean(distance_to_edge(truth) * p) / np.hypot(*t.shape)
    return {"BCE": bce, "Dice": dice, "boundary (Sobel)": sobel, "boundary (Kervadec)": kervadec}


def edge_strength(u: np.ndarray) -> np.ndarray:
    """Length of the gradient by Sobel's two 3x3 filters, zeros beyond the picture."""
    zero_border = cv2.BORDER_CONSTANT
    dx = cv2.Sobel(np.pad(u, 1), cv2.CV_64F, 1, 0, borderType=zero_border)[1:-1, 1:-1]
    dy = cv2.Sobel(np.pad(u, 1), cv2.CV_64F, 0, 1, borderType=zero_border)[1:-1, 1:-1]
    return np.sqrt(dx**2 + dy**2 + 1e-8)


def distance_to_edge(mask: np.ndarray) -> np.ndarray:
    """Positive outside, negative inside, 0 along the mask's own rim."""
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return outside - np.maximum(inside - 1, 0)


# %% [markdown]
# The library's versions must give the same numbers, or one of the two is wrong.


# %%
def from_library(logits: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The same four terms from nseg_lib.training.losses."""
    x, t = (torch.from_numpy(a.astype(np.float32))[None, None] for a in (logits, truth))
    terms = (
        torch.nn.functional.binary_cross_entropy_with_logits(x, t),
        losses.dice_loss(x, t),
        losses.SobelLoss()(x, t),
        losses.kervadec_loss(x, t),
    )
    return dict(zip(by_hand(logits, truth), map(float, terms), strict=True))


for name, logits in mistakes.items():
    ours, theirs = by_hand(logits, truth), from_library(logits, truth)
    assert np.allclose(list(ours.values()), list(theirs.values()), rtol=1e-4, atol=1e-6), name
print("by hand = library, for all", len(mistakes), "predictions and", len(ours), "terms")

# %% [markdown]
# ## What do mistakes of equal size cost?
#
# Each column below is one scheme; the costs are what the mistake adds to the loss of the faultless
# prediction, in units of what the **bite** adds. So a 1 means "as bad as the bite". Before you run
# it: which scheme thinks the hole is worse than the bite? Which ones do not care?

# %%
marks = pd.DataFrame({name: from_library(logits, truth) for name, logits in mistakes.items()}).T
added = marks.loc["rim missing":] - marks.loc["none"]
(added / added.loc["bite"]).style.format("{:.2f}")

# %% [markdown]
# *What to look for:* down the BCE column, mistakes of equal size cost the same, wherever they
# are: it counts pixels. So does Dice, a little milder on what is added than on what is missed.
# The paper's boundary term pays for **length of wrong edge**: a rim cut evenly leaves no long
# false edge but moves the whole true one. Kervadec's pays for **distance from the true edge**:
# the rim is almost free, the far blob ruinous.
#
# ## How far does each scheme see?
#
# Now shift the whole disc sideways by $n$ pixels. A useful loss keeps falling as the prediction
# comes nearer: its slope is what the network follows. The vertical axes differ (and Kervadec's
# term is below zero at its best, which changes nothing for a slope); compare the shapes.

# %%
shifts = np.arange(-16, 17)
sigmas = np.linspace(0.1, 8, 25)
shifted = pd.DataFrame([from_library(sure(disc(n)), truth) for n in shifts], index=shifts)
blurred = pd.DataFrame(
    [from_library(cv2.GaussianBlur(sure(truth), (0, 0), s), truth) for s in sigmas], index=sigmas
)

fig, axes = plt.subplots(2, 4, figsize=(10, 4.2), layout="constrained")
for column, term in enumerate(shifted):
    axes[0, column].plot(shifted[term], color=look.PALETTE["res"])
    axes[0, column].set(title=term, xlabel="edge shifted by (px)")
    axes[1, column].plot(blurred[term], color=look.PALETTE["attn"])
    axes[1, column].set(xlabel="edge blurred by (px)")
axes[0, 0].set_ylabel("loss")
axes[1, 0].set_ylabel("loss")
plt.show()

# %%
cost = shifted - shifted.loc[0]
near = (cost.loc[3] / cost.loc[16]).rename("share of the cost of 16 px that 3 px already have")
near.to_frame().style.format("{:.0%}")

# %% [markdown]
# *What to look for:* BCE and Dice rise in proportion to the shift. The paper's boundary term has
# spent most of its cost after three pixels, the width of its filter: once the two edges no longer
# touch, it cannot tell near from far. It is a fine brush for the last pixels and blind at a
# distance. Kervadec's rises faster than the shift: blind close by, loud far away. This is why
# neither is used alone.
#
# ## Why Dice at all?
#
# Let the network give up and predict "nothing here, I am sure". How bad is that?

# %%
nothing = sure(np.zeros_like(truth))
given_up = {
    f"object of {disc(radius=r).mean():.1%} of the picture": from_library(nothing, disc(radius=r))
    for r in (3, 8, 16, 32)
}
pd.DataFrame(given_up).T[["BCE", "Dice"]].style.format("{:.3f}")

# %% [markdown]
# For BCE, giving up on a small object is nearly as good as finding it. For Dice it is the worst
# answer there is, at any size. The sum of both has BCE's even slope and Dice's sense of proportion.
#
# The paper weighs BCE and Dice .5 each or, with the boundary term, .4, .4 and .2. In the library
# the weights are part of a model's configuration, and `RefinementLoss` adds up:

# %%
weights = config.load("res16-128_bce-dice-bound").loss
example = mistakes["blurred edge"]
x, t = (torch.from_numpy(a.astype(np.float32))[None, None] for a in (example, truth))
terms = by_hand(example, truth)
total = 0.4 * terms["BCE"] + 0.4 * terms["Dice"] + 0.2 * terms["boundary (Sobel)"]
assert np.isclose(total, float(losses.RefinementLoss(weights)(x, t)), rtol=1e-4)
print(weights, "→", round(total, 4))


# %% [markdown]
# ## Exercises
#
# Solutions are in `notebooks/solutions/05_losses.py`.


# %% [markdown]
# **1. Soft Dice.** Write the Dice loss of probabilities `p` and truth `t` (arrays of one shape),
# with the smoothing of 1 as above.


# %%
def soft_dice(p, t): ...  # your turn


print(exercises.check(soft_dice))


# %% [markdown]
# ## What you have seen
#
# BCE counts wrong pixels, Dice weighs them by the object's size, the paper's boundary term compares
# edges within a few pixels, Kervadec's weighs by distance.
#
# Next: [06 · Two residuals](06_two_residuals.ipynb), where text and code of the paper part.
