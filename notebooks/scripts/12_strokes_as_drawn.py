# %% [markdown]
# # 12 · Strokes as people draw them
#
# The paper's networks know one kind of stroke: the true mask with bites taken out. People draw something else.
# Here the paper ends, and the work on a tool begins. You will see what happens to a network when the stroke is
# a line, how a program can draw as many hands do, and how one checks whether it really does.
#
# After this chapter you will be able to
#
# - show that a network has learned its strokes, and not the objects;
# - describe a simulator of strokes, and what variety it needs;
# - compare simulated strokes with those that people drew, in numbers.
#
# | | |
# |---|---|
# | before you start | chapters 02 and 09 |
# | learning time | 50 minutes |
# | running time | a quarter of a minute |
# | makes | nothing that is in the paper |
# | previous, next | [11 · Reproduce it](11_reproduce.ipynb), [13 · A refiner that corrects](13_corrections.ipynb) |

# %% tags=["parameters"]
photos = "data/sample"  # the data set that holds the split "photos"
picture = "camera"  # the photograph that is drawn on

# %%
import numpy as np

from nseg_lib import Refiner
from nseg_lib.course import exercises, look, plots, probes, standins
from nseg_lib.evaluation import metrics
from nseg_lib.networks.weights import PRETRAINED
from nseg_lib.provenance import project_root
from nseg_lib.strokes.drawing import rasterize
from nseg_lib.strokes.people import draw_prompt
from nseg_lib.strokes.recipes import make_stroke
from nseg_lib.widget import results

# %%
look.use_style()
ROOT = project_root()
PHOTOS = standins.photographs(standins.data_set(ROOT / photos))
photo = standins.photograph(PHOTOS, picture)
networks = {
    "tiny16-32": Refiner.from_pretrained(PRETRAINED[-1]),
    "refiner": Refiner.from_pretrained(),
}

# %% [markdown]
# ## A line through the middle
#
# Below, the paper's smallest network is given four strokes for one object. The first is the kind that it was
# trained on. The next two are other recipes of the released code (chapter 02). The last is a line: the object's
# skeleton, a few pixels wide, which is about what you would draw if somebody told you to mark this person.
#
# ## Guess first
#
# The network has never met the last three kinds. On which of them will it do better than the stroke itself, and
# on which worse? Order the four by the IoU of the *answer*.

# %%
key = dict(image_id=photo.image_id, annotation_id=photo.annotation_id)
strokes = {kind: make_stroke(photo.mask, kind, **key) for kind in ("erode", "dist", "paintbrush")}
strokes["line"] = probes.thin_scribble(photo.mask, 3)

shown = {}
for kind, stroke in strokes.items():
    answer = networks["tiny16-32"].refine(photo.image, stroke)
    before, after = (metrics.iou(m, photo.mask) for m in (stroke, answer))
    shown[f"{kind}: {before:.2f} → {after:.2f}"] = {
        "image": photo.image, "stroke": stroke, "mask": photo.mask, "prediction": answer,
    }  # fmt: skip
look.gallery(shown, columns=2, width=3.6, legend_of=("stroke", "truth", "prediction"))

# %% [markdown]
# **What to look for.** Compare the magenta line with the orange area in each panel. In the last one, is the answer
# an object, or a slightly thicker line?
#
# <details><summary>Answer to the guess</summary>
#
# The titles give the order. What they have in common: each answer stays close to its stroke. That is no defect of
# the network. Its training strokes were nearly right, so staying close was nearly always right. It was never
# shown a line, it sees no colour, and it has no way of being told "not this". Chapter 13 changes all three.
#
# </details>
#
# ## A thinner and a thicker brush
#
# Strokes are lists of points with a radius, so the same hand can hold another brush: multiply the radii. The
# object keeps its size, whatever the brush. So a network that knew the *object* would answer with masks of one
# size. One that copies its stroke gives larger masks for larger brushes.

# %%
astronaut = standins.photograph(PHOTOS, "astronaut")
hand = results.recorded("astronaut")  # strokes that a person drew on this photograph
factors = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
sizes = {"the stroke itself": [], **{name: [] for name in networks}}
for factor in factors:
    wider = [{**s, "points": [[x, y, r * factor] for x, y, r in s["points"]]} for s in hand]
    stroke = rasterize(wider, *astronaut.mask.shape).object
    sizes["the stroke itself"].append(stroke.mean())
    for name, network in networks.items():
        sizes[name].append(network.refine(astronaut.image, stroke).mean())

# %%
look.curves({"share of the picture": {name: (factors, v) for name, v in sizes.items()}},
            x="radius of the brush, times the drawn one", y="share",
            level={"the object": astronaut.mask.mean()})  # fmt: skip

# %% [markdown]
# **What to look for.** Which curve is level, and which one runs along with the stroke? And at which brush does
# either leave the dashed line of the true size? A brush that is broad enough looks like a coarse mask, and a
# network may then follow it although it is wrong.
#
# ## A simulator of hands
#
# A network learns to answer what it is shown. So the refiner of this project is trained on **simulated**
# strokes of many kinds. A kind of prompt is a short function; the variety comes from the hand that carries it
# out: where it starts, how far it gets, how hard it presses, how it trembles and cuts corners. Sizes scale with
# the object. Orange strokes are on the object, and blue ones on the background.
#
# Nine kinds are shown. *Sparse* is a few thin lines, *dense* and *hatch* are many. *Outline* runs along the edge,
# *fill* is a broad brush to and fro, and *beside* is a short stroke that misses the object in part. The last three
# imitate the masks of other tools: a *polygon* clicked in a hurry, a mask of coarse *blocks*, and the paper's
# *erode*.

# %%
KINDS = ("sparse", "dense", "hatch", "outline", "fill", "beside", "polygon", "blocks", "erode")
rng = np.random.default_rng(3)
look.gallery({
    kind: {"image": photo.image, "drawn": draw_prompt(photo.mask, kind, rng)} for kind in KINDS
})  # fmt: skip

# %% [markdown]
# No two draws are alike. Six hands that were asked for the same thing, a sparse prompt:

# %%
six = [draw_prompt(photo.mask, "sparse", np.random.default_rng((5, n))) for n in range(6)]
look.gallery({
    f"hand {n}: covers {(drawn.object & photo.mask).sum() / photo.mask.sum():.1%}":
        {"image": photo.image, "drawn": drawn} for n, drawn in enumerate(six, 1)
})  # fmt: skip

# %% [markdown]
# **What to look for.** Could you tell these from a person's? Look at speed (straight parts), at tremble, and at what
# is left out. Then look for something that people do and these hands never do; exercise 7 asks for it.
#
# ## From a hint to nearly the mask
#
# Some prompts of a training should be a mere hint, and others should be nearly the mask. So their IoU with the object
# should be spread over the whole range. If all of them are of one quality, the network learns to expect just that
# quality, as the paper's did.

# %%
masks = [s.mask for s in PHOTOS]
rows = []
for kind in KINDS:
    ious = [metrics.iou(draw_prompt(m, kind, rng).object, m) for m in masks for _ in range(3)]
    rows.append((kind, min(ious), np.median(ious), max(ious)))
plots.table(rows, ("kind of prompt", "lowest IoU", "median", "highest"), "{:.2f}")

# %% [markdown]
# ## Is that how people draw?
#
# A simulator is a claim about people, and a claim has to be checked. There is a public collection of strokes that
# people drew over objects. Its pictures are not part of this project, and nothing was trained on it. But its
# strokes were **measured**, and beside them simulated strokes *on the same objects*. Lengths are in units of the
# square root of the object's area, so that a coin and a cathedral can be compared.

# %%
measured = standins.committed_table(ROOT, "strokes.csv")
columns = {"object_width": "width", "object_length": "length", "cover": "object covered",
           "over": "beyond the object"}  # fmt: skip
medians = measured.groupby("strokes", sort=False)[list(columns)].median().reset_index()
plots.table(medians.to_numpy().tolist(), ("strokes (medians)", *columns.values()))

# %% [markdown]
# **What to look for.** `scribbles1` are people. Find the simulated kind that comes closest to them in width, and
# the one that comes closest in length. No kind is as long as theirs: these people had been asked to be thorough.
# Others will be quicker, so the simulation as a whole is meant to be more varied than any one group of people.
# Then compare the row `erode`, the paper's stroke, with them. It is wider by far, and it covers nearly all of the
# object, as no person's stroke does.
#
# ## Exercises
#
# Solutions of the functions are in `notebooks/solutions/12_strokes_as_drawn.py`.
#
# **1.** A network answers a thin line with a slightly thicker line. Why?
#
# - a) It is too small to find objects.
# - b) Its training strokes were nearly right, so staying close to the stroke was always right.
# - c) Thin lines get lost when the picture is scaled down.

# %%
print(exercises.choose("thin line returned", ""))

# %% [markdown]
# **2.** Why is a stroke's length divided by the square root of the object's area?
#
# - a) So that strokes on small and on large objects can be compared.
# - b) So that the number lies between 0 and 1.
# - c) Because area is measured in pixels squared and time is not.

# %%
print(exercises.choose("length over root area", ""))

# %% [markdown]
# **3.** The simulated strokes have the same median width and length as people's. Is the simulator right?
#
# - a) Yes.
# - b) Not shown: the spread, and everything that was not measured, may differ.
# - c) No: simulated strokes are never right.

# %%
print(exercises.choose("equal medians", ""))

# %% [markdown]
# **4. In the capsule?** A brush of one radius is drawn from `a` to `b`, each a pair `(x, y)`. Is the point `(x, y)`
# painted, border included? The nearest point of the line from `a` to `b` decides; mind its ends, and a dot, where
# `a` is `b`.


# %%
def in_capsule(x, y, a, b, radius): ...  # your turn


print(exercises.check(in_capsule))

# %% [markdown]
# **5. How long is a stroke?** From a list of points `[x, y, radius]` and a bool mask of the object, return the length
# of the line through the points in units of the square root of the object's area.


# %%
def relative_length(points, mask): ...  # your turn


print(exercises.check(relative_length))

# %% [markdown]
# **6. Experiment.** Ask three people to mark the same three objects with the canvas of chapter 00, without telling
# them what for, and save their strokes (the button with the arrow). Measure width, length and cover. Which of the
# simulated kinds is nearest, and what do your people do that none of them does?
#
# **7. Open question.** Propose one more kind of prompt, and the experiment that decides whether it is worth adding
# to the training. What could get worse?
#
# <details><summary>Rubric</summary>
#
# One point each: (1) the kind comes from something that was observed; (2) it is described so that somebody else
# could write it; (3) two trainings, equal but for the kind, are compared on the same frozen strokes; (4) they are
# also compared on *other* kinds, since what is added takes the place of something; (5) the decision is by an
# interval, against the identity, on pictures that chose nothing.
#
# </details>
#
# ## Recap
#
# - A network knows the strokes that it was trained on; a line through the middle shows it.
# - Simulated strokes need variety in kind, in hand and in quality.
# - A simulator is a claim about people: measure theirs, and compare.
#
# ## Words
#
# - **Capsule**: the convex hull of two discs; what a round brush paints between two points.
# - **Prompt**: all that a user gives to say which object is meant.
# - **Scribble**: a thin line drawn over an object.
# - **Simulator**: a program that draws strokes as people might.
#
# ## References
#
# - Lin, D. et al. (2016). ScribbleSup: scribble-supervised convolutional networks for semantic segmentation. *CVPR*.
#   [doi:10.1109/CVPR.2016.344](https://doi.org/10.1109/CVPR.2016.344)
# - Benenson, R., Popov, S. and Ferrari, V. (2019). Large-scale interactive object segmentation with human
#   annotators. *CVPR*. [doi:10.1109/CVPR.2019.01197](https://doi.org/10.1109/CVPR.2019.01197)
#
# Next: [13 · A refiner that corrects](13_corrections.ipynb), which was trained on such strokes.
