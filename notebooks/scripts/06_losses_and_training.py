from reproduction import figures

# %% [markdown]
# # 06 · Losses and training
#
# After this chapter you will be able to
#
# - say what each term of the paper's loss rewards, and what it cannot see;
# - train a network, read its log, and tell why training stopped where it did;
# - judge a claim such as "the boundary loss helps" by comparing runs at equal epochs.
#
# | | |
# |---|---|
# | makes | Figure 5, and a second look at what section 3.2 says of losses |
# | inputs → outputs | a toy edge, photographs, training logs (ours and the authors') → Figure 5 |
# | takes | about half a minute in every profile: the network trained here is a small one |
# | previous, next | [05](05_unet_attention.ipynb), [07 · Evaluation](07_evaluation.ipynb) |

# %% tags=["parameters"]
profile = "sample"  # which settings: smoke, sample, half, paper
data = "data/sample"  # a data set in COCO's layout, with splits train, val and test
photos = "data/sample"  # the built-in data set, for the training below
runs = "runs/sample"  # trained networks
out = "reports/sample"  # where tables and figures go

# %%
import tempfile
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from nseg_lib import config
from nseg_lib.course import exercises, look, standins
from nseg_lib.data.coco import load_split
from nseg_lib.data.frozen import EvaluationSamples
from nseg_lib.evaluation.metrics import iou
from nseg_lib.provenance import project_root
from nseg_lib.training import losses
from nseg_lib.training import unet as training
from nseg_lib.training.runs import Run, logged_runs
from reproduction import paper
from reproduction.artefacts import save_figure
from reproduction.kept import missing_run_command

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
# ## Training, live
#
# One small network, a few epochs, on the built-in pictures at half their size. The paper's recipe
# (section 2.5): Adam with a learning rate of .001, one picture at a time, a new stroke for every
# picture in every epoch, and after each epoch a look at the validation pictures.

# %%
settings = config.load(
    "tiny16-32_bce-dice", {"model.widths": [8, 16], "training.epochs": 4, "data.scale": 0.5}
)
with tempfile.TemporaryDirectory() as folder:
    training.train(settings, PHOTOS, Path(folder), workers=0, accelerator="cpu", say=print)
    live = Run(settings.name, 0, Path(folder))
    log, steps, best = live.log(), live.steps(), live.best_epoch

# %% [markdown]
# What training wrote while it ran: a row an epoch in `log.csv`, a row every five steps in
# `steps.csv`. Everything one may say about a training comes from these two files.

# %%
log

# %% [markdown]
# One number is missing in every training log that we know of: what *doing nothing* scores. The
# stroke is already close to the object, so a rising IoU means little until it passes the stroke's
# own.

# %%
strokes = EvaluationSamples(load_split(PHOTOS, "val"), scale=0.5)
identity = np.mean([iou(sample.stroke, sample.mask) for sample in strokes])

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
at = steps["step"] / log["steps"][0]
left.plot(at, steps["train_loss"], ".", ms=2, color=look.PALETTE["stroke"], label="one step")
smooth = steps["train_loss"].rolling(figures.SMOOTHING, min_periods=1).mean()
left.plot(at, smooth, color=look.PALETTE["stroke"], label="mean of the last 80 logged")
left.plot(log["epoch"] + 1, log["val_loss"], "o-", color=look.PALETTE["res"], label="validation")
left.set(yscale="log", xlabel="epochs finished", ylabel="loss (log axis)")
figures.plain_log_axis(left)
left.legend()
right.plot(log["epoch"] + 1, log["val_iou"], "o-", color=look.PALETTE["res"], label="network")
right.axhline(identity, color=look.PALETTE["identity"], ls="--", label="stroke unchanged")
right.set(xlabel="epochs finished", ylabel="validation IoU")
right.legend()
plt.show()
print(f"kept: epoch {best}; its IoU minus the stroke's: {log['val_iou'][best] - identity:+.3f}")

# %% [markdown]
# *What to look for:* single steps scatter widely, because some pictures are hard;
# only the running mean shows progress. Validation can lie below training: strokes for training
# are drawn anew and the mean still holds older, worse steps. And on the right: is the network
# above the dashed line yet?
#
# **Early stopping** keeps the epoch of lowest validation loss, and ends training when five epochs
# in a row (the *patience*) bring none lower. Logs number the epochs from 0: the
# first point of a curve, after one finished epoch, is epoch 0.
#
# ## Figure 5: two full trainings
#
# The paper shows the loss of the model that it found best by pixel accuracy and of the one it found
# worst. Solid lines are ours, where they have been trained; dotted lines are the authors' own
# validation losses, from the logs they released. A star marks the epoch that was kept. Where a
# model was trained from several seeds, each has its curve, and a band spans their range.

# %%
shown, logs = paper.numbers()["figure5"], logged_runs(RUNS)
data5 = figures.figure5_data(shown, logs, paper.authors_logs())
commands = {model: missing_run_command(model, DATA, RUNS) for model in shown}
figure5 = figures.figure5(data5, commands)
inputs = [run.folder for model in shown for run in logs.get(model, [])]
inputs.append(paper.REPORTS / "authors_logs.csv")
save_figure(figure5, OUT / "figures" / "figure5", data5, profile=profile, inputs=inputs)
plt.show()

# %% [markdown]
# *What to look for:* the two trainings differ in more than the network: the left one's loss has a
# third term and other weights, so **the two vertical positions cannot be compared**, only the
# shapes. And the authors' right one stopped after a few epochs. Hold that thought.

# %%
chosen = {
    name: {"ours, best epoch": logs[name][0].best_epoch if name in logs else "not run here",
           "authors', best epoch": epoch}
    for name, epoch in paper.numbers()["chosen_epochs"].items()
}  # fmt: skip
pd.DataFrame(chosen).T

# %% [markdown]
# ## Does the boundary loss help?
#
# The paper compares the best epoch of one training with the best epoch of another. If the two
# stopped at very different epochs, the difference mixes two causes: the loss, and the length of
# training. The authors' logs let us separate them, since they hold the validation metrics of
# *every* epoch.

# %%
logs = paper.authors_logs().set_index("epoch")
pairs = {
    "tiny16-128": ("tiny16-128_bce-dice-bound", "tiny16-128_bce-dice"),
    "res16-128": ("res16-128_bce-dice-bound", "res16-128_bce-dice"),
}
fig, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for ax, (name, (bound, plain)) in zip(axes, pairs.items(), strict=True):
    for model, kind, colour in ((bound, "with", "res"), (plain, "without", "stroke")):
        values, kept = logs[logs["model"] == model], paper.numbers()["chosen_epochs"][model]
        ax.plot(values["val_iou"], color=look.PALETTE[colour], label=f"{kind} boundary term")
        ax.plot(kept, values["val_iou"][kept], "*", ms=13, color=look.PALETTE[colour], mec="white")
    ax.set(title=f"{name}, the authors' logs", xlabel="epoch", ylabel="validation IoU")
    ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# *What to look for:* the stars are what the paper's table compares. Then cover everything to the
# right of where the shorter curve ends.


# %%
SIGNED = dict.fromkeys(("as in Table 1", "at equal epochs"), "{:+.4f}")
SIGNED |= {"± standard error": "{:.4f}", "epochs": "{:d}"}


def compare(a: str, b: str) -> pd.DataFrame:
    """a - b in the authors' logs: at the epochs that the table took, and at equal epochs."""
    first, second = (logs[logs["model"] == m].drop(columns="model") for m in (a, b))
    epochs = paper.numbers()["chosen_epochs"]
    gap = (first - second).dropna()
    return pd.DataFrame(
        {
            "as in Table 1": first.loc[epochs[a]] - second.loc[epochs[b]],
            "at equal epochs": gap.mean(),
            "± standard error": gap.std() / np.sqrt(len(gap)),
            "epochs": len(gap),
        }
    ).drop("val_loss")


compared = pd.concat({name: compare(*pair) for name, pair in pairs.items()})
compared.style.format(SIGNED)

# %% [markdown]
# (For the Hausdorff distance, negative is better.) The IoU that the table credits to the boundary
# loss is gone once both networks have seen equally many pictures, as far as
# the logs tell: the runs without the term ended after nine epochs, and nothing compares later ones. A gain remains in the boundary
# metric, which is what the term is for, and it is a small part of what the table shows.
#
# The same look at the residual models, where the table puts `tiny` ahead with the boundary term:

# %%
residual = {
    "16-32": ("res16-32_bce-dice", "tiny16-32_bce-dice"),
    "16-128": ("res16-128_bce-dice", "tiny16-128_bce-dice"),
    "16-128, boundary": ("res16-128_bce-dice-bound", "tiny16-128_bce-dice-bound"),
}
pd.concat({name: compare(*pair) for name, pair in residual.items()}).style.format(SIGNED)

# %% [markdown]
# ## Lucky epochs
#
# Keeping the epoch of lowest validation loss, and then reporting that epoch's score *on the same
# pictures*, reports the luck too. How much does the kept epoch stand out from its neighbours?

# %%
luck = {}
for model, kept in paper.numbers()["chosen_epochs"].items():
    values = logs[logs["model"] == model]["val_iou"]
    around = values.drop(kept).loc[kept - 2 : kept + 2]
    luck[model] = {
        "kept epoch": kept,
        "IoU there": values[kept],
        "two before, two after": around.mean(),
    }
luck = pd.DataFrame(luck).T
luck["stands out by"] = luck["IoU there"] - luck["two before, two after"]
luck.style.format("{:.4f}").format("{:.0f}", subset="kept epoch")

# %%
together = logs.pivot_table(index="epoch", columns="model", values="val_iou").diff()
four = [model for pair in pairs.values() for model in pair]
print(f"the kept epoch stands out in {(luck['stands out by'] > 0).sum()} of {len(luck)} models, "
      f"by {luck['stands out by'].mean():+.4f} IoU in the mean")  # fmt: skip
print("how alike four different models rise and fall from epoch to epoch (correlation):")
together[four].corr().style.format("{:.2f}")

# %% [markdown]
# Now look again at the zigzag in the plot above. The curves of **different models rise and fall
# together**, close to perfectly. Networks with other losses have no reason to agree on which epoch is
# a good one. What they share is what the released code draws anew for each epoch: the validation
# strokes. A high point is an *easy draw of strokes*, and keeping the best epoch keeps the easiest
# draw. The excess is as large as the differences that the paper's table is read for.
#
# Two remedies, both free: validate every epoch on the same frozen strokes (our training does), and
# choose on the validation pictures but **report on others** (chapter 07 does). The first is no full
# cure: trainings that share a seed see the same pictures and training strokes in the same order, and
# rise and fall together for that too. The second takes away what the choice adds.

# %% [markdown]
# ## Exercises
#
# Solutions are in `notebooks/solutions/06_losses_and_training.py`.
#
# **1. Soft Dice.** Write the Dice loss of probabilities `p` and truth `t` (arrays of one shape),
# with the smoothing of 1 as above.


# %%
def soft_dice(p, t): ...  # your turn


print(exercises.check(soft_dice))

# %% [markdown]
# **2. Running mean.** The mean of the last `window` values at each place; at the beginning, of as
# many as there are. It is the smoothing of Figure 5.


# %%
def running_mean(values, window): ...  # your turn


print(exercises.check(running_mean))

# %% [markdown]
# **3. Early stopping.** Given the validation loss of every epoch that *would* come, return the
# epoch that is kept and the last epoch that is trained, counted from 0, for a given patience.


# %%
def stops_at(losses, patience): ...  # your turn


print(exercises.check(stops_at))

# %% [markdown]
# **4. At equal epochs.** Two logs of different length: the mean difference `a - b` over the
# epochs that both have.


# %%
def matched_difference(a, b): ...  # your turn


print(exercises.check(matched_difference))

# %% [markdown]
# ## What you have seen
#
# - BCE counts wrong pixels, Dice weighs them by the object's size, the paper's boundary term
#   compares edges within a few pixels, Kervadec's weighs by distance.
# - A training log becomes readable once it is smoothed and once it carries the score of doing
#   nothing.
# - Two best epochs are not a fair comparison; equal epochs are. The paper's gain from the
#   boundary loss, in IoU, is not there at equal epochs of the authors' logs.
#
# Next: [07 · Evaluation](07_evaluation.ipynb), where the metrics themselves are taken apart.
