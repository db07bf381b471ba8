# %% [markdown]
# # 05 · Losses
#
# A loss is a teacher's marking scheme: a network learns whatever the scheme pays for. Two schemes that look
# alike on paper may pay for very different things. In this chapter you make mistakes on purpose, one kind
# at a time, and read the marks that each scheme gives. Then you train the same network with each of them,
# from the same start, and see whether the answers differ as the marks predict.
#
# After this chapter you will be able to
#
# - say what cross-entropy, Dice and the two "boundary losses" reward, and what each of them cannot see;
# - explain why a sum of two losses is often better than either;
# - predict from a loss which kind of mistakes a network trained on it will make.
#
# | | |
# |---|---|
# | before you start | chapter 04 |
# | learning time | 50 minutes |
# | running time | half a minute |
# | makes | nothing that is numbered: the losses of section 2.5 of the paper |
# | previous, next | [04 · Training by hand](04_training_by_hand.ipynb), [06 · Two residuals](06_two_residuals.ipynb) |

# %% tags=["parameters"]
photos = "data/sample"  # the data set that holds the split "photos"
steps = 60  # of each training at the end of the chapter

# %%
import cv2
import numpy as np
import torch

from nseg_lib import config, networks
from nseg_lib.course import exercises, look, plots, standins
from nseg_lib.provenance import project_root
from nseg_lib.training import losses

look.use_style()
truth, mistakes = plots.toy_mistakes()

# %% [markdown]
# ## Mistakes of equal size
#
# The truth is a disc. A *prediction* is a map of logits; here it is sure of itself everywhere (a
# probability of 0.98) and right everywhere, except for one mistake. Four of the mistakes have **exactly the
# same size** of 300 pixels: a rim that is missing all round, a bite out of the edge, a hole in the middle,
# and a blob far away. The fifth is hardly a wrong pixel at all: an edge that is blurred, because the
# network is unsure of it.

# %%
look.gallery({
    f"{name}: {((logits > 0) != truth).sum()} wrong": 1 / (1 + np.exp(-logits))
    for name, logits in mistakes.items()
})  # fmt: skip

# %% [markdown]
# ## Four schemes
#
# With $p = \sigma(\ell)$ the predicted probability of a pixel and $t \in \{0, 1\}$ the truth:
#
# | loss | formula | in words |
# |---|---|---|
# | cross-entropy (BCE) | $-\mathrm{mean}\,[t \log p + (1 - t) \log (1 - p)]$ | every pixel has one vote |
# | Dice | $1 - (2 \sum p t + 1) / (\sum p + \sum t + 1)$ | overlap counts, relative to the object's size |
# | boundary, the paper's | $\mathrm{mean}\,(\lvert\nabla p\rvert - \lvert\nabla t\rvert)^2$ | the two maps of edges should look alike |
# | boundary, Kervadec's | $\mathrm{mean}\,(\phi_t\, p)$, over the diagonal | a wrong pixel costs its distance $\phi_t$ to the true edge |
#
# The paper calls the third one "Boundary Loss". The literature's loss of that name is the fourth (Kervadec
# et al. 2021), which the paper does not use. As with metrics, a name is not a definition.
#
# ## Guess first
#
# The table below gives, for every mistake, what it adds to the loss of the faultless prediction, in units
# of what the **bite** adds. So 1 means "as bad as the bite". Which scheme thinks that the blob far away is
# the worst? Which one hardly minds the missing rim? And which schemes do not care where a mistake is?


# %%
def by_hand(logits, truth):
    """The four losses in NumPy, from a map of logits and a mask."""
    p, t = 1 / (1 + np.exp(-logits.astype(float))), truth.astype(float)
    bce = -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))
    dice = 1 - (2 * np.sum(p * t) + 1) / (np.sum(p) + np.sum(t) + 1)
    sobel = np.mean((edge_strength(p) - edge_strength(t)) ** 2)
    kervadec = np.mean(distance_to_edge(truth) * p) / np.hypot(*t.shape)
    return {"BCE": bce, "Dice": dice, "boundary (Sobel)": sobel, "boundary (Kervadec)": kervadec}


# %% [markdown]
# Two helpers are needed. The first is the strength of edges. Sobel's two 3×3 filters measure how much a
# picture changes from left to right and from top to bottom; the length of the two together says how steep
# it is at each pixel, whichever way the edge runs. The small number under the root keeps its slope finite
# where the picture is flat. The second helper is the signed distance to the true edge, which is positive
# outside the object and negative inside. Multiplied by the probability, it charges for what is predicted
# far outside, and pays for what is predicted deep inside.


# %%
def edge_strength(u):
    padded = np.pad(u, 1)  # zeros beyond the picture
    dx, dy = (
        cv2.Sobel(padded, cv2.CV_64F, *way, borderType=cv2.BORDER_CONSTANT)[1:-1, 1:-1]
        for way in ((1, 0), (0, 1))
    )
    return np.sqrt(dx**2 + dy**2 + 1e-8)


def distance_to_edge(mask):
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return outside - np.maximum(inside - 1, 0)


edges, distance = edge_strength(truth.astype(float)), distance_to_edge(truth)
look.gallery(
    {"the truth": truth, "strength of its edges": edges, "signed distance to its edge": distance}
)

# %% [markdown]
# **What to look for.** In the middle, only the edge is bright. So the paper's boundary loss compares the pixels within
# a narrow ring, and a place far from both edges adds nothing to it. On the right, grey is the edge, white is far
# outside, and black is deep inside: this is the price that Kervadec's loss sets on predicting "object" at each pixel.

# %%
marks = {name: by_hand(logits, truth) for name, logits in mistakes.items()}
terms = list(marks["none"])
added = {
    name: [m[k] - marks["none"][k] for k in terms] for name, m in marks.items() if name != "none"
}
plots.table(
    [(name, *np.divide(values, added["bite"])) for name, values in added.items()],
    ("mistake", *terms), "{:.2f}",
)  # fmt: skip

# %% [markdown]
# **What to look for.** Read one column at a time.
#
# <details><summary>Answer to the guess</summary>
#
# In the column BCE, mistakes of equal size cost the same wherever they are: it counts pixels. Dice does so
# too, and is a little milder on what is added than on what is missed. The paper's boundary loss charges for the
# **length of wrong edge**. A missing rim moves the edge all round, so it costs more than four times as much as
# the bite, which moves a short piece of it. Kervadec's loss charges for the **distance from the true edge**: the
# rim is almost free, and the blob is ruinous.
#
# </details>
#
# The library's losses must give the same numbers, or one of the two is wrong. They are written for tensors
# and can be differentiated; ours are written to be read.

# %%
for name, logits in mistakes.items():
    x, t = (torch.from_numpy(a.astype(np.float32))[None, None] for a in (logits, truth))
    library = (
        torch.nn.functional.binary_cross_entropy_with_logits(x, t),
        losses.dice_loss(x, t), losses.SobelLoss()(x, t), losses.kervadec_loss(x, t),
    )  # fmt: skip
    for ours, theirs in zip(marks[name].values(), library, strict=True):
        assert np.isclose(ours, float(theirs), rtol=1e-3, atol=1e-6), name
print("by hand = library, for", len(mistakes), "predictions and", len(terms), "losses")

# %% [markdown]
# ## How far does each scheme see?
#
# A loss is only useful where it has a **slope**: training follows the slope downhill. So we shift the whole
# disc sideways by $n$ pixels and watch each loss come down as the prediction comes nearer. To compare their
# shapes, each curve is divided by its value at 16 pixels, after subtracting its lowest value.

# %%
shifts = np.arange(0, 17)
costs = [by_hand(plots.sure(plots.disc(n)), truth) for n in shifts]
shapes = {}
for k in terms:
    values = np.array([c[k] for c in costs]) - costs[0][k]
    shapes[k] = (shifts, values / values[-1])
look.curves(
    {"the disc is shifted sideways": shapes}, x="shift (px)", y="share of the cost at 16 px"
)

# %% [markdown]
# **What to look for.** BCE and Dice rise in proportion to the shift: a straight line, with the same slope
# near and far. (Their two curves lie on each other.) The paper's boundary loss has spent most of its cost after
# three pixels, which is the width of its filter. Once the two edges no longer touch, it cannot tell near from far: it is a fine brush for the
# last pixels and blind at a distance. Kervadec's is nearly level at small shifts and steep at large ones: it hardly
# notices a small shift, and punishes a large one hard. That is why neither of the two is used alone.
#
# ## Why Dice at all?
#
# Let the network give up and predict "nothing here, I am sure". How bad is that?

# %%
lines = []
for radius in (3, 8, 16, 32):
    found = by_hand(plots.sure(np.zeros_like(truth)), plots.disc(radius=radius))
    lines.append(
        (f"{plots.disc(radius=radius).mean():.1%} of the picture", found["BCE"], found["Dice"])
    )
plots.table(lines, ("the object covers", "BCE of giving up", "Dice of giving up"))

# %% [markdown]
# For BCE, giving up on a small object is nearly as good as finding it, since nearly all pixels are
# background. For Dice it is the worst answer there is, at any size. The sum of both has BCE's even slope and
# Dice's sense of proportion. The paper gives them 0.5 each or, with the boundary loss, 0.4, 0.4 and 0.2.

# %%
weights = config.load("res16-128_bce-dice-bound").loss
x, t = (torch.from_numpy(a.astype(np.float32))[None, None] for a in (mistakes["bite"], truth))
total = 0.4 * marks["bite"]["BCE"] + 0.4 * marks["bite"]["Dice"]
total += 0.2 * marks["bite"]["boundary (Sobel)"]
assert np.isclose(total, float(losses.RefinementLoss(weights)(x, t)), rtol=1e-3)
print(f"the paper's loss of the bite: {total:.4f}, with weights {weights}")

# %% [markdown]
# ## The same network, trained with each
#
# Marks on toy mistakes are one thing. What do networks do that are trained by them? Below, the paper's
# smallest network learns one photograph with each loss, **from the same random start**, with the same number
# of steps. The stroke has bites; the network should fill them.

# %%
sample = standins.photograph(
    standins.photographs(standins.data_set(project_root() / photos)), "coffee"
)
image, x, target = standins.one_pair(sample, scale=0.3)
SCHEMES = {
    "BCE": torch.nn.functional.binary_cross_entropy_with_logits,
    "Dice": losses.dice_loss,
    "boundary (Sobel)": losses.SobelLoss(),
    "boundary (Kervadec)": losses.kervadec_loss,
    "BCE + Dice": losses.RefinementLoss(config.load("tiny16-32_bce-dice").loss),
    "BCE + Dice + Sobel": losses.RefinementLoss(weights),
}


# %%
def learn(loss_of):
    """The probabilities after some steps on one picture, from the same start every time."""
    torch.manual_seed(0)
    network = networks.UNet([16, 32])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.003)
    for _ in range(steps):
        loss = loss_of(network(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return network(x).sigmoid()[0, 0].numpy()


answers = {name: learn(loss_of) for name, loss_of in SCHEMES.items()}

# %%
mask = target[0, 0].numpy() > 0.5
shown = {}
for name, p in answers.items():
    overlap = ((p > 0.5) & mask).sum() / ((p > 0.5) | mask).sum()
    shown[f"{name}: IoU {overlap:.2f}"] = {"image": p, "mask": mask}
look.gallery(shown, legend_of=("truth",))

# %% [markdown]
# **What to look for.** Compare the *grey* values, which are the probabilities, and remember the marks. The
# network that was trained with the paper's boundary loss alone has a sharp outline, and away from it an
# undecided grey: a flat grey has no edges, so it costs nothing, whether it is the right grey or not. The
# one with Kervadec's loss has a halo round the object: pixels near the edge cost next to nothing, so they
# are left soft, and far away it is black. Each has exactly the fault that its loss cannot see. The sums
# have neither. That the six IoUs lie within about a tenth of each other is no contradiction. IoU looks at the threshold of
# one half and at nothing else, so it does not see the greys either.
#
# Do not conclude that the loss with the highest number here is the best one. This is one photograph, one
# random start and a few seconds of training. It illustrates what a loss *can* do. What it does for hundreds of
# pictures is a question for a results table, and chapter 09 shows how hard that question is: the paper's
# table credits its boundary loss with a gain that is mostly the luck and the length of the trainings.
#
# ## Exercises
#
# Solutions of the functions are in `notebooks/solutions/05_losses.py`.
#
# **1.** You segment cells that cover 1 % of each picture, with cross-entropy alone. The network predicts
# background everywhere. Why?
#
# - a) The learning rate is too low.
# - b) The network is too small.
# - c) Giving up costs hardly more than a perfect answer.

# %%
print(exercises.choose("network gives up", ""))

# %% [markdown]
# **2.** Which loss distinguishes a wrong blob next to the object from one in the far corner?
#
# - a) Cross-entropy.
# - b) Kervadec's boundary loss.
# - c) Dice.

# %%
print(exercises.choose("near and far blob", ""))

# %% [markdown]
# **3.** You halve the weight of every loss in a sum. What changes in training with Adam?
#
# - a) Nearly nothing.
# - b) The network learns half as fast.
# - c) The network becomes less sure.

# %%
print(exercises.choose("half the loss", ""))

# %% [markdown]
# **4. Focal loss.** Lin et al. (2017) multiply each pixel's cross-entropy by $(1 - q)^\gamma$, where $q$ is
# the probability that was given to the *right* answer, so that pixels which are nearly right hardly count.
# Return the mean over all pixels for probabilities `p` and truth `t`, arrays of one shape.


# %%
def focal_loss(p, t, gamma): ...  # your turn


print(exercises.check(focal_loss))

# %% [markdown]
# **5. Tversky loss.** Dice treats missed and added pixels alike. The Tversky loss weighs them: with $TP =
# \sum p t$, $FN = \sum (1 - p) t$ and $FP = \sum p (1 - t)$ it is $1 - (TP + 1) / (TP + a\, FN + (1 - a)\, FP
# + 1)$. Write it. Which $a$ would you choose if a missed tumour is worse than a false alarm?


# %%
def tversky_loss(p, t, a): ...  # your turn


print(exercises.check(tversky_loss))

# %% [markdown]
# **6. Experiment.** In the last cell, train with the paper's boundary loss alone from another start: let the
# network first learn ten steps of BCE. Does the boundary loss now keep the object's inside? Explain what you
# see with the plot of the shifts.
#
# **7. Open question.** Design a loss for a refiner that must *never* remove what the user painted, but may
# add. Write it as a formula, say what it does on the five mistakes, and name one way in which a network
# could exploit it.
#
# <details><summary>Rubric</summary>
#
# One point each: (1) the formula uses the stroke, and not only the truth; (2) removing painted pixels costs
# much more than leaving others out; (3) it still has a slope for adding what is missing; (4) the five
# mistakes are ranked by it, and the ranking fits the aim; (5) an exploit is named, such as adding too much,
# or keeping a wrong stroke since that is safe.
#
# </details>
#
# ## Recap
#
# - Cross-entropy counts pixels; Dice weighs them by the object's size.
# - The paper's boundary loss compares edges within a few pixels; Kervadec's counts distance.
# - A loss is useful where it has a slope. Sums combine what each of their parts sees.
#
# ## Words
#
# - **Boundary loss**: two different losses of one name; look up which.
# - **Cross-entropy**: the negative logarithm of the probability given to the right answer.
# - **Dice loss**: one minus a smooth overlap, relative to the size of the two masks.
# - **Sobel filter**: two 3×3 filters that measure how steep a picture is.
#
# ## References
#
# - Milletari, F., Navab, N. and Ahmadi, S.-A. (2016). V-Net. *3DV* (the Dice loss).
#   [doi:10.1109/3DV.2016.79](https://doi.org/10.1109/3DV.2016.79)
# - Kervadec, H. et al. (2021). Boundary loss for highly unbalanced segmentation. *Medical Image Analysis*
#   67. [doi:10.1016/j.media.2020.101851](https://doi.org/10.1016/j.media.2020.101851)
# - Lin, T.-Y. et al. (2017). Focal loss for dense object detection. *ICCV*.
#   [doi:10.1109/ICCV.2017.324](https://doi.org/10.1109/ICCV.2017.324)
#
# Next: [06 · Two residuals](06_two_residuals.ipynb), where text and code of the paper part.
