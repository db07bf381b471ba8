# %% [markdown]
# # 10 · Errors
#
# Anybody can find a picture on which a network fails, and another one on which it shines. Neither says how
# often it happens, nor why. In this chapter pictures are chosen by rules that were written down beforehand,
# and "it fails on small objects" becomes a number with an interval.
#
# After this chapter you will be able to
#
# - choose the pictures of a figure by a rule, so that nobody has to trust your taste;
# - turn a suspected failure into slices of equal size, and compare them with doing nothing;
# - tell a network's failure from a hard picture.
#
# | | |
# |---|---|
# | before you start | chapter 09 |
# | learning time | 50 minutes |
# | running time | half a minute; the first time, the shipped networks are evaluated in another half |
# | makes | **Figures 6 and 7**, and the failures of section 3.4 of the paper as measurements |
# | previous, next | [09 · Reading a results table](09_results_table.ipynb), [11 · Reproduce it](11_reproduce.ipynb) |

# %% tags=["parameters"]
profile = "sample"  # which settings: smoke, sample, half, paper
data = "data/sample"  # a data set in COCO's layout, with splits train, val and test
runs = "runs/sample"  # trained networks
rows = "reports/sample/rows"  # results picture by picture
out = "reports/sample"  # where tables and figures go

# %%
import cv2
import numpy as np

from nseg_lib.course import exercises, look, plots, probes, slices, standins
from nseg_lib.data.coco import load_split
from nseg_lib.data.frozen import EvaluationSamples
from nseg_lib.evaluation import metrics
from nseg_lib.evaluation.summary import bootstrap_interval, read_folder
from nseg_lib.provenance import project_root
from reproduction import shown

# %%
look.use_style()
ROOT = project_root()
DATA = standins.data_set(ROOT / data)
known = standins.refiners(ROOT / runs)
results = read_folder(standins.evaluated(ROOT / rows, known, DATA))
scale = next(iter(known.values()))[0].scale
split = load_split(DATA, "val")
val = list(EvaluationSamples(split, scale=scale))
print(f"{len(known)} networks, {len(val)} validation pictures at scale {scale:g}")

# %% [markdown]
# ## Which picture to show?
#
# Whoever picks by looking picks a success, or a joke. The rule here was fixed before any prediction was drawn:
#
# > Of the validation pictures whose object covers between 5 % and 50 % of the picture, and whose licence lets
# > a report show them, take the one on which the networks' mean IoU is the **median**.
#
# Half of these pictures come out better than this one, and half come out worse.

# %%
candidates = results[results["method"].isin(known) & (results["split"] == "val")]
share = candidates["object_area"] / (candidates["width"] * candidates["height"])
means = candidates[share.between(0.05, 0.5)].groupby("image_id")["iou"].mean().sort_values()
showable = [i for i in split.images if split.credit(i) is not None]
typical_id = probes.typical(results, list(known), showable)
typical = next(s for s in val if s.image_id == typical_id)
print(f"picture {typical_id}: mean IoU {means.get(typical_id, float('nan')):.3f}; "
      f"the others' from {means.iloc[0]:.3f} to {means.iloc[-1]:.3f}")  # fmt: skip

# %% [markdown]
# ## Guess first
#
# Below you see the typical picture with the answers of the networks. Before you scroll: will the networks
# differ more from each other, or from the truth? Then think of an *unusual* stroke: one that covers only the
# core of the object, and one that spills over to twice its size. What will a network do with either?
#
# ## Figure 6: one input, all networks

# %%
shown.figure6(ROOT, ROOT / runs, ROOT / out, profile, known, results, typical, split)

# %% [markdown]
# **What to look for.** Compare the magenta outlines with each other before you compare them with the blue one.
# Which mistakes of the stroke does *every* network keep? The paper sees "more precise boundaries" in the
# networks with residual connections or attention. One picture can neither show nor refute that; chapter 09
# asks all test pictures.
#
# ## Figure 7: strokes that are too small, or too large
#
# The paper shows one object under an *ambiguous* stroke, and its network failing on it. Here are two such
# strokes, made from the mask so that "too small" has a measure. The first is the object's core: the 30 % of
# its pixels that lie deepest inside.


# %%
def core_by_hand(mask, share):
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    deepest = np.argsort(-depth, axis=None, kind="stable")[: round(share * mask.sum())]
    core = np.zeros(mask.size, bool)
    core[deepest] = True
    return core.reshape(mask.shape)


small, large = probes.too_small(typical.mask, 0.3), probes.overshooting(typical.mask, 2.0)
assert (small == core_by_hand(typical.mask, 0.3)).all()
strokes = {"too small, 30 % of the object": small, "overshooting, twice its area": large}
model = shown.figure7(ROOT, ROOT / runs, ROOT / out, profile, known, typical, strokes, split)

# %% [markdown]
# **What to look for.** How much of the stroke's shape is still in the answer? Blue is what is missing and
# magenta what is too much.
#
# One picture is an anecdote. The same two strokes on up to thirty validation pictures:

# %%
lines = []
kinds = {
    "as in training": lambda s: s.stroke,
    "too small, 30 %": lambda s: probes.too_small(s.mask, 0.3),
    "overshooting, 200 %": lambda s: probes.overshooting(s.mask, 2.0),
}
for kind, make in kinds.items():
    made = [make(s) for s in val[:30]]
    before = np.array([metrics.iou(m, s.mask) for m, s in zip(made, val, strict=False)])
    after = np.array([metrics.iou(known[model][0].refine(s.image, m, scale=1), s.mask)
                      for m, s in zip(made, val, strict=False)])  # fmt: skip
    low, high = bootstrap_interval((after - before)[:, None], np.arange(len(after)))
    lines.append((kind, before.mean(), after.mean(), (after - before).mean(), low[0], high[0]))

# %%
plots.table(lines, ("stroke", "its IoU", "the answer's", "difference", "low", "high"))

# %% [markdown]
# <details><summary>Answer to the guess</summary>
#
# The networks usually differ less from each other than each of them differs from the truth: they were trained
# on the same strokes, and they keep the same mistakes. With the unusual strokes they stay near what they were
# given. In training a stroke was always nearly right, so they learned to change little. The table says whether
# that is so on the pictures at hand.
#
# </details>
#
# ## Three failures, measured
#
# Section 3.4 of the paper names three kinds of pictures on which its networks fail: **ambiguous strokes**,
# **cluttered backgrounds** and **small objects**. An example proves that a failure *exists*. Whether it is *more
# frequent* there takes three steps:
#
# 1. Give each picture a number: how good its stroke is, how busy its surroundings are, how small its object.
# 2. Cut the pictures into three **slices of equal count** along that number.
# 3. Compare the slices, with intervals, and **compare the stroke's own IoU in the same slices**. Where doing
#    nothing is just as bad, the network did not fail. The picture was hard.
#
# The number for clutter is the mean gradient of the picture in a ring around the object.

# %%
luma = cv2.GaussianBlur(cv2.cvtColor(typical.image, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
dx, dy = (cv2.Sobel(luma, cv2.CV_32F, x, 1 - x) / 8 for x in (1, 0))
gradient = np.sqrt(dx**2 + dy**2)
away = cv2.distanceTransform((~typical.mask).astype(np.uint8), cv2.DIST_L2, 5)
ring = (away > 2) & (away <= 17)
assert np.isclose(gradient[ring].mean(), probes.clutter(typical.image, typical.mask))
look.gallery({"the picture": {"image": typical.image, "mask": typical.mask}, "its gradient": gradient,
              "in the ring": np.where(ring, gradient, 0)}, crop=look.around(typical.mask))  # fmt: skip

# %%
sliced = slices.measure(known[model][0], DATA, scale, results)
slices.show(sliced, ("stroke quality", "clutter", "object size"))

# %% [markdown]
# **What to look for.** The upper row is what the paper talks about: in which slice does the network's IoU fall?
# The lower row is what the *network* has to do with it: in which slices does it add something to the stroke,
# and in which does it take something away? A blue point that falls together with its grey neighbour is a hard
# picture, and not a failing network.
#
# The three numbers are not independent of each other. Small objects also get the worse strokes (chapter 02), so
# a trend along one may be the shadow of the other. A **partial** rank correlation takes the influence of the
# stroke's quality out of both sides before it compares them.

# %%
claims = {
    "bad strokes: IoU with stroke quality": ("IoU", "stroke quality"),
    "clutter: precision with clutter": ("precision", "clutter"),
    "small objects: IoU with object size": ("IoU", "object size"),
}
lines = []
for claim, (a, b) in claims.items():
    alone = slices.correlation(sliced, a, b)
    partial = "–" if b == "stroke quality" else slices.correlation(sliced, a, b, "stroke quality")
    lines.append((claim, alone, partial))
plots.table(lines, ("claim", "rank correlation [95 %]", "at equal strokes [95 %]"))

# %% [markdown]
# A correlation whose interval holds 0 has not been shown on so many pictures, however convincing its examples
# look. The second column says what is left of a claim once the quality of the stroke is accounted for. Of
# *occluded* objects, which the paper names too, nothing can be said: the annotations do not say what is
# occluded.
#
# ## The two ends
#
# At last the extremes, again by rule: of the pictures that a report may show, the one on which the network adds
# most to the stroke, and the one on which it adds least, or takes most away.

# %%
slices.show_ends(sliced, known[model][0], DATA, scale)

# %% [markdown]
# **What to look for.** In the upper row, compare the stroke with the answer: which parts did the network fill, and
# which did it leave out? In the lower row, find out what kept the network from helping, and then ask yourself how you would *test* that reason on all pictures: by which number would
# you slice?
#
# ## Exercises
#
# Solutions of the functions are in `notebooks/solutions/10_errors.py`.
#
# **1.** In the slice of the smallest objects, the network has an IoU of 0.62 and the stroke has 0.60; in the slice
# of the largest it is 0.95 and 0.96. Where does the network fail?
#
# - a) On the small objects, where its IoU is lowest.
# - b) Nowhere, as both IoUs are close to the stroke's.
# - c) If anywhere, on the large ones: there it takes something away.

# %%
print(exercises.choose("where it fails", ""))

# %% [markdown]
# **2.** Why slices of equal *count*, and not of equal width?
#
# - a) So that each mean is known equally well.
# - b) So that the slices look alike.
# - c) Because widths cannot be computed for ranks.

# %%
print(exercises.choose("equal count", ""))

# %% [markdown]
# **3.** Someone shows eight impressive examples, "chosen at random". What do you ask?
#
# - a) For more examples.
# - b) For the rule or the seed by which they were chosen, and when it was fixed.
# - c) For examples of failures.

# %%
print(exercises.choose("chosen at random", ""))

# %% [markdown]
# **4. Slices by hand.** Sort the pictures along `by`, cut them into `bins` groups of equal count, and return the
# list of the means of `values` in each. Pictures of equal `by` keep the order that they came in.


# %%
def bin_means(by, values, bins): ...  # your turn


print(exercises.check(bin_means))

# %% [markdown]
# **5. The worst slice.** From the IoU of each picture and its category, both lists, return the category of the
# lowest mean among those with at least `least` pictures. Without that condition, which category would you
# nearly always find?


# %%
def worst_category(ious, categories, least): ...  # your turn


print(exercises.check(worst_category))

# %% [markdown]
# **6. Experiment.** Add a fourth number to the slices: the share of the object's outline that lies on the
# picture's border, or how elongated the object is. Is there a slice in which the network harms? How many
# numbers can you try before one of them shows a difference by chance?
#
# **7. Open question.** A network works well on average and badly on the pictures of one camera. The camera took
# 4 % of the pictures. Describe how you would have found this out, how you would prove it, and what you would
# write into the tool's manual.
#
# <details><summary>Rubric</summary>
#
# One point each: (1) slices by what is known of the pictures, not only by what is seen in them; (2) the
# comparison with the identity in the slice; (3) an interval, given the few pictures; (4) a second explanation is
# tested, such as other objects on that camera's pictures; (5) the manual says for which pictures the tool was
# not shown to work, and not merely its average.
#
# </details>
#
# ## Recap
#
# - Pictures in a figure are chosen by a rule that is written down before they are drawn.
# - A failure is a slice with a count and an interval, beside the slice of doing nothing.
# - Trends cast shadows: small objects have worse strokes.
#
# ## Words
#
# - **Anecdote**: one example; it proves that something exists, and not how frequent it is.
# - **Precision, recall**: the share of the prediction that is object, and the share of the object predicted.
# - **Rank correlation**: how well two orders of the same pictures agree, from −1 to 1.
# - **Slice**: a part of the pictures, cut along a number or a name.
#
# ## References
#
# - Hoiem, D., Chodpathumwan, Y. and Dai, Q. (2012). Diagnosing error in object detectors. *ECCV*.
#   [doi:10.1007/978-3-642-33712-3_25](https://doi.org/10.1007/978-3-642-33712-3_25)
# - Oakden-Rayner, L. et al. (2020). Hidden stratification causes clinically meaningful failures in machine
#   learning for medical imaging. *CHIL*.
#   [doi:10.1145/3368555.3384468](https://doi.org/10.1145/3368555.3384468)
#
# Next: [11 · Reproduce it](11_reproduce.ipynb): would you get the same numbers?
