# %% [markdown]
# # 09 · Reading a results table
#
# After this chapter you will be able to
#
# - spot what decides a number before any network does: empty masks, thresholds, which pictures;
# - read a table of results by what a method *adds to the stroke*, with an interval round it;
# - judge a claim such as "the boundary loss helps" by comparing runs at equal epochs.
#
# | | |
# |---|---|
# | makes | Tables 1 and 2 |
# | inputs → outputs | per-picture results, training logs → the two tables as CSV, Markdown, LaTeX |
# | takes | about ten seconds; about a minute where nothing was evaluated before |
# | previous, next | [08 · Metrics by hand](08_metrics_by_hand.ipynb), [10 · Errors](10_errors.ipynb) |

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
# residual of the paper adds no layer (chapter 06).


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
# choose on the validation pictures but **report on others** (as Table 1b does). The first is no full
# cure: trainings that share a seed see the same pictures and training strokes in the same order, and
# rise and fall together for that too. The second takes away what the choice adds.


# %% [markdown]
# ## Exercises
#
# Solutions are in `notebooks/solutions/09_results_table.py`.


# %% [markdown]
# **1. Paired comparison.** From the IoU of every picture before and after, return the mean
# difference, and the share of pictures that are worse by more than `margin`.


# %%
def paired(before, after, margin): ...  # your turn


print(exercises.check(paired))


# %% [markdown]
# **2. At equal epochs.** Two logs of different length: the mean difference `a - b` over the
# epochs that both have.


# %%
def matched_difference(a, b): ...  # your turn


print(exercises.check(matched_difference))


# %% [markdown]
# ## What you have seen
#
# - A table needs the row of doing nothing, differences picture by picture, intervals, and
#   pictures that chose nothing.
# - Two best epochs are not a fair comparison; equal epochs are. The paper's gain from the
#   boundary loss, in IoU, is not there at equal epochs of the authors' logs.
#
# Next: [10 · Errors](10_errors.ipynb), where the pictures behind the numbers are looked at.
