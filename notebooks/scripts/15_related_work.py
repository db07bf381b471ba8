# %% [markdown]
# # 15 · The related work, running
#
# Reading about five other methods is tiring, and soon forgotten. Running them is neither. In this chapter five ideas
# of the literature are tried on **our own network**, each in a few cells, with one picture and one measured number.
# What you see is the idea, and not the authors' network, which was trained for it. So the numbers say what the idea
# does *here*, and nothing about whose method is better.
#
# After this chapter you will be able to
#
# - say in a sentence what DEXTR, RITM, f-BRS, SAM and CBS are about;
# - turn an idea from a paper into a small experiment of your own;
# - say what such an experiment shows, and what it does not.
#
# | | |
# |---|---|
# | before you start | chapters 12 and 13 |
# | learning time | 60 minutes |
# | running time | half a minute |
# | makes | nothing that is in the paper |
# | previous, next | [14 · Judging a tool](14_judging_a_tool.ipynb), the [start](00_draw_first.ipynb) |

# %% tags=["parameters"]
photos = "data/sample"  # the data set that holds the split "photos"
picture = "astronaut"  # the photograph that is shown

# %%
import numpy as np

from nseg_lib import Refiner
from nseg_lib.course import exercises, games, look, plots, relatives, standins
from nseg_lib.evaluation import metrics
from nseg_lib.provenance import project_root
from nseg_lib.strokes.drawing import rasterize

look.use_style()
samples = standins.photographs(standins.data_set(project_root() / photos))
PHOTOS, photo = list(samples), standins.photograph(samples, picture)
image, mask = photo.image, photo.mask
refiner = Refiner.from_pretrained()


# %%
def dots(points, radius=5):
    """Strokes that are mere dots, as clicks are: bool H×W."""
    strokes = [{"kind": "object", "points": [[float(x), float(y), radius]]} for x, y in points]
    return rasterize(strokes, *mask.shape).object


def score(answers):
    """The mean IoU of some answers, in the order of the photographs."""
    return np.mean([metrics.iou(a, p.mask) for a, p in zip(answers, PHOTOS, strict=True)])


# %% [markdown]
# ## Guess first
#
# You may put four clicks on an object that a network should outline. Where do you put them: at four places in its
# middle, or at its four extremes (the leftmost, rightmost, highest and lowest point)? Note your guess; the first
# section measures it.
#
# ## 1. Extreme points: DEXTR
#
# *Maninis et al. (2018)* ask the user for the four **extreme points** of the object. They are quick to click, and they
# give the bounding box for free. The network gets a crop around the box and a channel with four blobs. Our refiner
# has hardly practised this: of a hundred prompts in its training, three were four dots at the extremes, mostly with
# their box. We give it four dots just within the extremes, without a box, and compare with four dots in the middle.

# %%
answers = {"extremes": [], "middle": []}
for p in PHOTOS:
    for name, points in relatives.four_points(p.mask).items():
        drawn = rasterize(
            [{"kind": "object", "points": [[*map(float, xy), 5.0]]} for xy in points], *p.mask.shape
        )
        answers[name].append(refiner.refine(p.image, drawn.object))
plots.table([(f"four dots, {name}", score(a)) for name, a in answers.items()],
            ("prompt", "mean IoU on the photographs"))  # fmt: skip

# %%
shown, four = {}, relatives.four_points(mask)
for name, points in four.items():
    answer = refiner.refine(image, dots(points))
    title = f"{name}: IoU {metrics.iou(answer, mask):.2f}"
    shown[title] = {"image": image, "stroke": dots(points), "mask": mask, "prediction": answer}
look.gallery(shown, legend_of=("stroke", "truth", "prediction"))

# %% [markdown]
# **What to look for.** Four dots at the extremes say how *large* the object is, which four dots in the middle leave
# open. Where does that help, and does the network make use of it after so little practice? If an answer ends in a
# straight edge, the network looked no farther than that: four dots in the middle do not say how far the object goes.
#
# ## 2. Clicks and mask feedback: RITM
#
# *Sofiiuk et al. (2022)* showed that a plain network becomes a strong interactive one if its **own last mask** is fed
# back as an input, and if it is trained by iterated, simulated clicks. Our refiner is built on that idea (chapter
# 13). How much is the mask worth? We correct each photograph with three strokes, once with the last mask and once
# without it.

# %%
with_mask, without = [], []
for p in PHOTOS:
    game = games.play(refiner, p, rounds=3)
    with_mask.append(game[-1][1])
    everything = np.logical_or.reduce([drawn.object for drawn, *_ in game])
    outside = np.logical_or.reduce([drawn.background for drawn, *_ in game])
    without.append(refiner.refine(p.image, everything, outside & ~everything))
plots.table([("the last mask is fed back", score(with_mask)), ("all strokes, no mask", score(without))],
            ("after three strokes", "mean IoU on the photographs"))  # fmt: skip

# %%
difference = {"image": image, "mask": mask}
number = [p.image_id for p in PHOTOS].index(photo.image_id)
look.gallery({"with the last mask": {**difference, "prediction": with_mask[number]},
              "without it": {**difference, "prediction": without[number]}},
             legend_of=("truth", "prediction"))  # fmt: skip

# %% [markdown]
# **What to look for.** The strokes are the same in both rows, drawn where the answers *with* mask were wrong. That is
# slightly unfair to the other row, whose mistakes may lie elsewhere. If the row without a mask comes out as good all
# the same, then on these photographs three strokes say enough by themselves. What the mask is worth shows later, when
# a small correction must not undo what is right far away from it. A fair comparison would play two longer games.
#
# ## 3. A gradient at test time: f-BRS
#
# A network may contradict its user: the stroke says "object", and the answer says "background" on the very same pixel.
# *Jang and Kim (2019)* and *Sofiiuk et al. (2020)* mend that **when the network is used**. They take the loss on the
# stroked pixels alone, and move a few numbers within the network by its gradient, until the answer agrees with the
# strokes. The weights stay. Here we do it for the paper's small network. Each channel of its last features gets two
# such numbers: a scale, by which it is multiplied, and a shift, which is added to it.

# %%
tiny = Refiner.from_pretrained("tiny16-32_bce-dice")
middle = relatives.middle_line(mask)
before, after, costs = relatives.backpropagating_refinement(tiny, photo, middle, steps=20)
print(f"loss on the stroke {costs[0]:.3f} → {costs[-1]:.3f};",
      f"IoU {metrics.iou(before, mask):.3f} → {metrics.iou(after, mask):.3f}")  # fmt: skip

# %%
look.gallery({"the line": {"image": image, "stroke": middle, "mask": mask},
              "before": {"image": image, "mask": mask, "prediction": before},
              "after 20 steps": {"image": image, "mask": mask, "prediction": after}},
             legend_of=("stroke", "truth", "prediction"))  # fmt: skip

# %% [markdown]
# **What to look for.** The loss on the stroked pixels goes down, as it must. Now look at the last picture, and not at its
# IoU. Two numbers per channel are a blunt tool: to lift the stroked pixels they lift everything that is like them, and
# much of the background with it. An answer of "object nearly everywhere" has an IoU as large as the object's share of
# the picture, which is more than the thin line had. Nothing in the loss speaks against it. The published methods
# therefore keep the change small by a further term, use strokes on the background as well, and start from networks
# that are good already. So the idea is sound, and here you see why these three parts of it are needed.
#
# ## 4. Part or whole: SAM
#
# One click on a face can mean the face, the head, or the person. *Kirillov et al. (2023)* let the network answer with
# **three masks**, for part, object and whole, together with its own estimate of their quality. Our network has one
# answer. But its logits can be cut at several heights, and this gives several nested masks: a poor man's part and
# whole.

# %%
click = dots([relatives.centre(mask)])
logits = relatives.logits(refiner, image, click)
cuts = {"part": 2.0, "as always": 0.0, "whole": -2.0}
nested = {name: logits > height for name, height in cuts.items()}
look.gallery({
    f"{name}: IoU {metrics.iou(answer, mask):.2f}":
        {"image": image, "stroke": click, "prediction": answer} for name, answer in nested.items()
})  # fmt: skip

# %%
best = [
    max(
        metrics.iou(relatives.logits(refiner, p.image, relatives.dot(p)) > h, p.mask)
        for h in cuts.values()
    )
    for p in PHOTOS
]
one = [
    metrics.iou(relatives.logits(refiner, p.image, relatives.dot(p)) > 0, p.mask) for p in PHOTOS
]
print(f"one click: mean IoU {np.mean(one):.3f}; the best of three cuts: {np.mean(best):.3f}")

# %% [markdown]
# **What to look for.** "The best of three" is a generous number: somebody who knows the truth has to choose. That is
# how SAM's results for one click are often reported, beside those of its own choice. When you read "oracle" in a
# table, that is what it means.
#
# ## 5. Styling one object: CBS
#
# What is a mask good for? *Kurzman, Vazquez and Laradji (2019)* use masks to **style one object** of a picture and leave
# the rest alone. (Their abbreviation CBS is class-based styling.) A style can be a trained network; here it is a
# plain poster effect with few colours. The quality of the mask decides whether the result looks right, and a mean
# IoU does not tell you that.

# %%
answer = refiner.refine(image, middle)
look.gallery({"the mask": {"image": image, "prediction": answer},
              "object styled": relatives.styled(image, answer),
              "background styled": relatives.styled(image, ~answer)})  # fmt: skip

# %%
rim = relatives.rim_error(answer, mask)
print(f"IoU {metrics.iou(answer, mask):.3f}; wrong pixels within 5 px of the outline: {rim:.1%}")

# %% [markdown]
# **What to look for.** Look along the outline. A handful of wrong pixels at the hair is worse for this use than a larger
# piece missing at the border of the picture. A measure for this use would weigh the pixels of the outline.
#
# <details><summary>Answer to the guess</summary>
#
# The first table has the answer for our network and these photographs. In the literature, extreme points win over
# clicks in the middle *for networks that were trained on them*. Most prompts of our network's training lie well
# inside the object. If its middle dots do as well or better, that is no evidence against DEXTR. It shows once more
# that a network knows best the prompts that it was trained on most.
#
# </details>
#
# ## Exercises
#
# Solutions of the functions are in `notebooks/solutions/15_related_work.py`.
#
# **1.** Extreme points work worse than middle dots in our first table. What follows for DEXTR?
#
# - a) Its idea is wrong.
# - b) Nothing: our network was hardly trained on extreme points.
# - c) Its authors measured badly.

# %%
print(exercises.choose("extreme points here", ""))

# %% [markdown]
# **2.** A gradient step at test time makes the loss on the stroked pixels zero. What is certain?
#
# - a) The answer agrees with the strokes.
# - b) The answer is better everywhere.
# - c) The network has learned something for the next picture.

# %%
print(exercises.choose("gradient at test time", ""))

# %% [markdown]
# **3.** A table reports "oracle IoU" for the best of three masks. What does a user get?
#
# - a) That number.
# - b) A higher one.
# - c) A lower one, unless choosing among the three is counted as work.

# %%
print(exercises.choose("oracle", ""))

# %% [markdown]
# **4. Gaussian clicks.** DEXTR and others paint clicks as blobs, not as discs. From a shape `(height, width)`, a list of
# clicks `(x, y)` and `sigma`, return a float array: at each pixel the *largest* of $\exp(-d^2 / 2\sigma^2)$ over the
# clicks, where $d$ is the distance to the click. Without clicks it is 0 everywhere.


# %%
def gaussian_map(shape, clicks, sigma): ...  # your turn


print(exercises.check(gaussian_map))

# %% [markdown]
# **5. The crop around extreme points.** From a list of points `(x, y)`, a `margin` in pixels and the picture's `height`
# and `width`, return the crop `(left, top, right, bottom)`: the box around the points, widened by the margin on
# every side, and cut at the picture's border. `right` and `bottom` are exclusive, so that a single point without
# margin gives a crop of one pixel.


# %%
def crop_around(points, margin, height, width): ...  # your turn


print(exercises.check(crop_around))

# %% [markdown]
# **6. Experiment.** Make the comparison of section 2 fair: play two games of three strokes for each photograph, each with
# the strokes drawn where *its own* answers are wrong. Does the difference stay?
#
# **7. Open question.** Choose a sixth paper on interactive segmentation. Describe its idea in two sentences, and an
# experiment of at most twenty lines that shows the idea on our network. What would the number of your experiment
# show, and what would it not?
#
# <details><summary>Rubric</summary>
#
# One point each: (1) the two sentences are right, and say what is new; (2) the experiment isolates the idea; (3) it
# names what it is compared with, and the identity; (4) it says what cannot be concluded, since the network was not
# trained for it; (5) it names what one would have to train for a fair comparison.
#
# </details>
#
# ## Recap
#
# - DEXTR: four extreme points. RITM: feed the last mask back. f-BRS: a gradient in use. SAM: several answers. CBS: what
#   masks are for.
# - A small experiment shows an idea; a comparison of methods needs training for it.
# - "Oracle" means that somebody who knew the truth has chosen.
#
# ## Words
#
# - **Backpropagating refinement**: changing a few numbers in a network by the gradient of a loss on the strokes.
# - **Extreme points**: the leftmost, rightmost, highest and lowest point of an object.
# - **Mask feedback**: the last answer as an input.
# - **Oracle**: a choice made with knowledge of the truth.
#
# ## References
#
# - Maninis, K.-K. et al. (2018). Deep extreme cut. *CVPR*.
#   [doi:10.1109/CVPR.2018.00071](https://doi.org/10.1109/CVPR.2018.00071)
# - Sofiiuk, K., Petrov, I. and Konushin, A. (2022). Reviving iterative training with mask guidance. *ICIP*.
#   [doi:10.48550/arXiv.2102.06583](https://doi.org/10.48550/arXiv.2102.06583)
# - Jang, W.-D. and Kim, C.-S. (2019). Interactive image segmentation via backpropagating refinement scheme. *CVPR*,
#   [open access](https://openaccess.thecvf.com/content_CVPR_2019/html/Jang_Interactive_Image_Segmentation_via_Backpropagating_Refinement_Scheme_CVPR_2019_paper.html)
# - Sofiiuk, K. et al. (2020). f-BRS: rethinking backpropagating refinement. *CVPR*.
#   [doi:10.48550/arXiv.2001.10331](https://doi.org/10.48550/arXiv.2001.10331)
# - Kirillov, A. et al. (2023). Segment anything. *ICCV*.
#   [doi:10.1109/ICCV51070.2023.00371](https://doi.org/10.1109/ICCV51070.2023.00371)
# - Kurzman, L., Vazquez, D. and Laradji, I. (2019). Class-based styling: real-time localized style transfer with
#   semantic segmentation. *ICCV Workshops*.
#   [doi:10.48550/arXiv.1908.11525](https://doi.org/10.48550/arXiv.1908.11525)
#
# Back to the [start](00_draw_first.ipynb), with your own pictures.
