# %% [markdown]
# # 09 · Reading a results table
#
# A results table looks like an answer: eight rows, four columns, and the best number in bold. This chapter
# teaches you to read it as a question. You will take real results apart, picture by picture, and see which
# of the differences in such a table mean something. Nothing is trained here. The rows that you read were
# measured on photographs of COCO and are part of the project.
#
# After this chapter you will be able to
#
# - say what a method adds to its stroke, and give that number an interval;
# - explain why two methods must be compared on the same pictures;
# - recognise a lucky epoch, and a comparison of trainings of different length.
#
# | | |
# |---|---|
# | before you start | chapter 08 for the metrics; chapter 04 for epochs |
# | learning time | 60 minutes |
# | running time | a quarter of a minute |
# | makes | **Table 1** of the profile that runs |
# | previous, next | [08 · Metrics by hand](08_metrics_by_hand.ipynb), [10 · Errors](10_errors.ipynb) |

# %% tags=["parameters"]
profile = "sample"  # which settings: smoke, sample, half, paper
rows = "reports/sample/rows"  # results picture by picture
out = "reports/sample"  # where tables and figures go

# %%
import numpy as np

from nseg_lib.course import exercises, look, plots
from nseg_lib.evaluation.summary import read_folder, summarise
from nseg_lib.provenance import project_root
from reproduction import paper, shown

look.use_style()
ROOT = project_root()
results = read_folder(ROOT / shown.COMMITTED / "rows")
test = results[results["split"] == "test"]
print(f"{len(results):,} rows, {test['image_id'].nunique()} test pictures")

# %% [markdown]
# ## One row per answer
#
# No mean is stored anywhere in this project. What is stored is one row for every training of a method and
# every picture, with all metrics of that one answer. Every table is computed from these rows, so every number in
# it can be taken apart again. The pictures are 1,000 photographs of COCO at half their size plus a separate
# test set; the strokes were drawn once and frozen to a file, so that **every method saw the same stroke on
# the same picture**.

# %%
columns = ["method", "split", "image_id", "category", "iou", "boundary_iou_1px"]
results[columns].sample(5, random_state=1).style.hide()

# %% [markdown]
# Three classical methods stand beside the networks. They were never trained: *dilation* makes the stroke a
# little fatter, *GrabCut* models the colours inside and outside, and *watershed* lets regions grow from
# the stroke until they meet an edge.
#
# ## Guess first
#
# The strokes have a mean IoU of 0.79 on the test pictures. Guess three things, and write them down. What
# will the smallest network reach? What will the best classical method reach? And in the *one-pixel boundary
# IoU*, which compares nothing but outlines: will the classical methods lie above the unchanged stroke, or
# below it?

# %%
summary = summarise(results, split="test").set_index("method")
small = summary.loc[["identity", "dilation", "grabcut", "watershed", "tiny16-32_bce-dice"]]
plots.table(
    small[["iou", "boundary_iou_1px", "made_worse"]].reset_index().to_numpy().tolist(),
    ("method", "IoU", "1-px boundary IoU", "made worse"), **{"made worse": "{:.0%}"},
)  # fmt: skip

# %% [markdown]
# **What to look for.** Begin with the first row, the identity, and read every other row as a difference to
# it. The last column is the share of pictures on which the user would have been better off without the
# method, by more than 0.005 of IoU.
#
# <details><summary>Answer to the guess</summary>
#
# All classical methods raise the mean IoU a little, by two hundredths at most, and at the same time they
# *lower* the boundary IoU, to about half or far less, and spoil more than four pictures in ten. A mean can
# rise while about half of the users are worse off: large gains on a few bad strokes outweigh small losses on
# many good ones. The network adds more, also at the boundary, and spoils few pictures. If you had only been
# shown the column IoU of the four methods, you would not have seen any of this.
#
# </details>
#
# ## Pairs: the same picture, twice
#
# Pictures differ far more than methods do. On an easy picture every method scores high, on a hard one
# every method scores low. If you compare the mean of one method on some pictures with the mean of another
# method on *other* pictures, you mostly compare the pictures. The remedy is a **paired** comparison: take
# the difference on each picture first, and average afterwards. (Some networks were trained several times, with
# different random seeds. Their answers to one picture are averaged first, so that a picture counts once.)

# %%
wide = test.pivot_table(index="image_id", columns="method", values="iou")
network, stroke = wide["tiny16-32_bce-dice"], wide["identity"]
gain = network - stroke
print(f"spread of the IoU over pictures (standard deviation): {network.std():.3f}")
print(f"spread of the difference on the same picture:         {gain.std():.3f}")

# %%
look.curves(
    {"test pictures, sorted by the gain": {"IoU of tiny16-32 minus the stroke's": np.sort(gain)}},
    x="picture", y="gain", level={"no gain": 0.0, "mean": gain.mean()},
)  # fmt: skip

# %% [markdown]
# **What to look for.** The curve says more than its mean. Where does it cross zero? How much of the mean
# comes from the right end, from a few pictures with terrible strokes? The median picture gains about half
# of what the mean says.
#
# ## An interval: other pictures would have given another mean
#
# The mean gain on these test pictures is a number. On other pictures, drawn in the same way, it would have
# been another one. How far off could it be? The **bootstrap** answers without any formula. Let the pictures
# at hand stand for all pictures. Draw as many of them as there are, *with replacement*, so that some come
# twice and others not at all, and take the mean. Repeat this a thousand times. The middle 95 % of the
# thousand means is the interval.

# %%
rng = np.random.default_rng(0)
differences = gain.to_numpy()
means = [rng.choice(differences, len(differences)).mean() for _ in range(1000)]
low, high = np.percentile(means, [2.5, 97.5])
library = summary.loc["tiny16-32_bce-dice", ["iou_difference", "iou_low", "iou_high"]]
print(f"by hand:     {differences.mean():+.4f} [{low:+.4f}, {high:+.4f}]")
print("the library: {:+.4f} [{:+.4f}, {:+.4f}]".format(*library))
assert abs(low - library["iou_low"]) < 0.003

# %% [markdown]
# The two agree up to the luck of the draws.

# %%
plots.distribution(means, low, high, "mean gain, in each of a thousand draws")

# %% [markdown]
# **What to look for.** Each bar counts draws. The dark ones are the middle 95 %, and the two numbers are the ends of the
# interval. How far is the dashed line of "no gain" from the darkest part? If it ran through the dark bars, the
# interval would contain 0. That would mean: on so many pictures, this method has not been shown to do anything.
#
# Note what the interval does *not* cover. It is an interval over
# pictures, for these trained networks. Trained again with another random seed, a network would be another
# one, and no number of pictures can tell how different. `reports/half/README.md` shows what is
# known about that.

# %%
networks = [name for name in summary.index if name.startswith(("tiny", "res", "attn"))]
shown_rows = summary.loc[[*["dilation", "grabcut", "watershed"], *networks]].sort_values("iou")
plots.intervals(shown_rows, "iou", "IoU minus the stroke's, test pictures")

# %% [markdown]
# (Four names end in a word of their own. They are the plain network with one thing changed: `-rgb` sees
# colours, `-frozen` got the same strokes in every epoch, `-kervadec` has the other boundary loss of chapter 05, and
# `-bf16` computed with numbers of 16 bits instead of 32.)
#
# **What to look for.** First: which intervals touch the dashed line of doing nothing? Second: compare the
# networks with each other. Their intervals overlap widely, and yet they are measured on the same pictures.
# To compare two networks, take *their* paired difference; two overlapping intervals do not show that two
# methods are equal, and neither does the order of the dots show that one is better.

# %%
rivals = ("res16-32_bce-dice", "tiny16-128_bce-dice", "res32-256_bce-dice-bound")
lines = []
for rival in rivals:
    difference = (wide[rival] - network).to_numpy()
    drawn = [rng.choice(difference, len(difference)).mean() for _ in range(1000)]
    lines.append((rival, difference.mean(), *np.percentile(drawn, [2.5, 97.5])))
plots.table(lines, ("minus tiny16-32", "difference", "low", "high"), "{:+.4f}")

# %% [markdown]
# **What to look for.** Two of these three intervals do not contain 0, although all four networks' intervals overlap in
# the plot above. Whether a picture is easy or hard is the same for both networks of a pair, so it cancels in
# the difference. What does not cancel is the luck of each training, which these intervals leave out.
#
# ## Which pictures? Those that chose nothing
#
# A training keeps the epoch of the lowest *validation* loss. If one then reports the score on the same
# validation pictures, the number contains the luck of that choice. It is like throwing a die five times and
# reporting the best throw as its typical value. The paper's Table 1 does that: its pictures are those that
# chose each network's epoch. Our Table 1 follows the paper, so that the two can be compared; our Table 1b
# and everything above use **test** pictures, which chose nothing.
#
# ## Lucky epochs
#
# How large is the luck? The authors released the logs of all eight trainings, with the validation IoU of
# every epoch. For each of them, compare the epoch that was kept with its neighbours, two before and two
# after. If the kept epoch were no more than a point on a slowly rising curve, it would lie in the middle of
# its neighbours.

# %%
logs, chosen = paper.authors_logs().set_index("epoch"), paper.numbers()["chosen_epochs"]
luck = []
for model, kept in chosen.items():
    values = logs.loc[logs["model"] == model, "val_iou"]
    around = values.loc[max(0, kept - 2) : kept + 2].drop(kept).mean()
    luck.append((model, kept, values[kept], around, values[kept] - around))
plots.table(luck, ("model", "kept epoch", "IoU there", "neighbours", "stands out by"), "{:.4f}",
            **{"kept epoch": "{:d}", "stands out by": "{:+.4f}"})  # fmt: skip

# %%
pivot = logs.pivot_table(index="epoch", columns="model", values="val_iou")
four = list(chosen)[2:6]
look.curves({"the authors' logs": {name: pivot[name] for name in four}},
            x="epoch", y="validation IoU")  # fmt: skip

# %% [markdown]
# **What to look for.** Nearly every kept epoch stands out, by an amount that is as large as the differences
# for which Table 1 is read. And the curves show why: *different networks go up and down together*. They
# have no reason to agree on which epoch is a good one. What they share is that the released code draws the
# **validation strokes** anew for each epoch, the same ones for every network. A high point is an easy draw
# of strokes, and whoever keeps the best epoch keeps the easiest draw. The remedy costs nothing: freeze the
# strokes, and report on pictures that chose nothing.
#
# ## At equal epochs
#
# There is a second trap in a table of best epochs. In the authors' logs, the trainings with a boundary loss
# ran for twenty epochs and more, those without it for nine or eleven. Comparing their best epochs compares two causes
# at once: the loss, and the length of the training. The logs allow a fairer look: the mean difference over
# the epochs that *both* have.

# %%
pairs = {
    "boundary loss, tiny16-128": ("tiny16-128_bce-dice-bound", "tiny16-128_bce-dice"),
    "boundary loss, res16-128": ("res16-128_bce-dice-bound", "res16-128_bce-dice"),
    "residual, 16-32": ("res16-32_bce-dice", "tiny16-32_bce-dice"),
    "residual, 16-128": ("res16-128_bce-dice", "tiny16-128_bce-dice"),
}
lines = []
for name, (a, b) in pairs.items():
    both = (pivot[a] - pivot[b]).dropna()
    lines.append((name, pivot[a][chosen[a]] - pivot[b][chosen[b]], both.mean(), len(both)))
plots.table(lines, ("comparison", "best epochs", "equal epochs", "epochs"), "{:+.4f}",
            epochs="{:d}")  # fmt: skip

# %% [markdown]
# The gain that the table credits to the boundary loss is much smaller at equal epochs, or gone, as far as
# the logs reach. That does not prove that the loss is useless: perhaps it is the reason why those trainings
# could go on for longer. It shows that the table cannot tell.
#
# ## The paper's table, and ours
#
# Here is Table 1 with our numbers beside the paper's. With all you know now: which of its differences would
# you bet on?

# %%
shown.table1(ROOT, ROOT / rows, ROOT / out, profile)

# %% [markdown]
# ## Exercises
#
# Solutions of the functions are in `notebooks/solutions/09_results_table.py`.
#
# **1.** Method A has a mean IoU of 0.86 with a standard deviation of 0.13 over 146 pictures, and B has 0.87
# with 0.13, on the same pictures. Is B better?
#
# - a) No: 0.01 is far smaller than 0.13.
# - b) Yes: 0.87 is more than 0.86.
# - c) One cannot tell without the differences picture by picture.

# %%
print(exercises.choose("spread and difference", ""))

# %% [markdown]
# **2.** A method raises the mean IoU by 0.02 and makes 45 % of the pictures worse. How can that be?
#
# - a) Large gains on some pictures outweigh small losses on many.
# - b) It is a mistake in the evaluation; the two contradict each other.
# - c) The pictures that got worse are not counted in the mean.

# %%
print(exercises.choose("mean up and many worse", ""))

# %% [markdown]
# **3.** The interval of a difference is [−0.002, +0.011]. What do you write?
#
# - a) The two methods are equally good.
# - b) The first method is better, as most of the interval lies above 0.
# - c) On these pictures it has not been shown that one is better; a gain above 0.011 is unlikely.

# %%
print(exercises.choose("interval over zero", ""))

# %% [markdown]
# **4. Paired comparison.** From the IoU of every picture before and after, return the mean difference and
# the share of pictures that are worse by more than `margin`.


# %%
def paired(before, after, margin): ...  # your turn


print(exercises.check(paired))

# %% [markdown]
# **5. How lucky?** From the list of a log's validation IoU, by epoch, return by how much the *best* epoch
# stands out from the mean of its neighbours, at most `reach` epochs away on either side. Near an end there
# are fewer neighbours. Of equally good epochs, the first is meant.


# %%
def stands_out(values, reach): ...  # your turn


print(exercises.check(stands_out))

# %% [markdown]
# **6. Experiment.** How many test pictures would have been enough? Repeat the bootstrap with 20, 40 and 80
# pictures drawn from the 146, and plot the width of the interval against the number of pictures. By which
# law does it shrink? How many pictures would you need to halve the width that we have?
#
# **7. Open question.** Take a paper of your own field that has a table of results. Write half a page: what
# plays the role of the identity there, and is it in the table? Are the comparisons paired? On which data
# was the reported model chosen? Which single column would you ask the authors to add?
#
# <details><summary>Rubric</summary>
#
# One point each: (1) the baseline of doing nothing, or the cheapest method, is named and its value is found
# or asked for; (2) it is said whether the methods saw the same samples; (3) it is said what chose the
# reported model, and whether that can inflate the number; (4) uncertainty is discussed with the right
# source (samples, seeds or both); (5) the column that is asked for would change how the table is read.
#
# </details>
#
# ## Recap
#
# - Read every row as a difference to the identity, with the share of pictures made worse.
# - Compare on the same pictures, and take differences before means.
# - An interval over pictures says how far the mean could be off, for these trained networks.
# - A best epoch contains luck; best epochs of different lengths contain more than one cause.
#
# ## Words
#
# - **Bootstrap**: drawing again from the sample at hand, to see how a mean would vary.
# - **Confidence interval**: a range that holds the true value in 95 of 100 such studies.
# - **Paired difference**: the difference of two methods on the same picture.
# - **Test pictures**: pictures that served neither training nor any choice.
#
# ## References
#
# - Efron, B. and Tibshirani, R. J. (1993). *An Introduction to the Bootstrap*. Chapman & Hall.
#   [doi:10.1201/9780429246593](https://doi.org/10.1201/9780429246593)
# - Reinke, A. et al. (2024). Understanding metric-related pitfalls in image analysis validation. *Nature
#   Methods* 21. [doi:10.1038/s41592-023-02150-0](https://doi.org/10.1038/s41592-023-02150-0)
# - Cawley, G. C. and Talbot, N. L. C. (2010). On over-fitting in model selection and subsequent selection
#   bias in performance evaluation. *JMLR* 11, 2079–2107. <https://jmlr.org/papers/v11/cawley10a.html>
#
# Next: [10 · Errors](10_errors.ipynb), where we look at the pictures behind the numbers.
