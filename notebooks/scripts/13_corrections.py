# %% [markdown]
# # 13 · A refiner that corrects
#
# After this chapter you will be able to
#
# - follow a refiner from its strokes through its two looks at the picture to its mask;
# - correct that mask with further strokes, and count how many it takes.
#
# | | |
# |---|---|
# | makes | nothing that is in the paper |
# | inputs → outputs | photographs, committed measurements → pictures and tables |
# | takes | about a minute |
# | previous, next | [12 · Strokes as people draw them](12_strokes_as_drawn.ipynb), [14 · Judging a tool](14_judging_a_tool.ipynb) |

# %% tags=["parameters"]
profile = "sample"  # which settings: smoke, sample, half, paper
data = "data/sample"  # a data set in COCO's layout, with splits train, val and test
runs = "runs/sample"  # trained networks
rows = "reports/sample/rows"  # results picture by picture
out = "reports/sample"  # where tables and figures go

# %%
from pathlib import Path
from types import SimpleNamespace

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import display
from matplotlib.patches import Rectangle
from torch.nn import functional as F

from nseg_lib import Refiner
from nseg_lib import config as configuration
from nseg_lib.course import exercises, look, probes, standins
from nseg_lib.data import frozen as prompts
from nseg_lib.data.coco import load_split
from nseg_lib.evaluation import corrections as protocol
from nseg_lib.evaluation import metrics
from nseg_lib.evaluation.methods import method
from nseg_lib.networks import crops, edge
from nseg_lib.networks import looks as inference
from nseg_lib.networks import promptnet as network
from nseg_lib.networks.weights import PRETRAINED
from nseg_lib.prompt import Prompt
from nseg_lib.provenance import project_root
from nseg_lib.strokes.drawing import Drawn
from nseg_lib.training import refiner as training
from nseg_lib.training.losses import refiner_loss
from nseg_lib.training.refiner_data import TrainingCrops

look.use_style()
ROOT = project_root()
DATA, OUT = standins.data_set(Path(ROOT, data)), Path(ROOT, out)
RUNS = standins.trained(Path(ROOT, runs), DATA)
ROWS = standins.evaluated(Path(ROOT, rows), RUNS, DATA)


def committed(name, command):
    """A table of `reports/refiner`, or None and the command that makes it."""
    path = ROOT / "reports" / "refiner" / name
    if path.is_file():
        return pd.read_csv(path)
    print(f"reports/refiner/{name} is not there: it has not been run. To make it: {command}")
    return None


# %% [markdown]
# ## A line through the middle
#
# The paper's networks were trained on one kind of stroke: nearly all of the object, with bites out
# of its edge. What does a person draw? Often a line through the middle of the thing. Below, the
# paper's smallest network, as the package ships it, trained by us on real pictures; first with the
# stroke it knows, then with two other recipes of the released code, then with a line: the object's
# skeleton, a few pixels wide. The photographs of this chapter are the built-in ones or, on
# COCO, the first validation pictures that a report may show; nothing was trained on them.

# %%
split = standins.photographs(DATA).split
photos = {}
for image_id in split.images:
    if split.credit(image_id) and split.annotations.get(image_id) and len(photos) < 6:
        stem = split.image_path(image_id).stem
        photos[stem] = SimpleNamespace(
            name=stem,
            id=image_id,
            image=split.read_image(image_id),
            mask=prompts.object_mask(split, image_id),
            credit=split.credit(image_id),
        )


def photograph(name):
    """The photograph of this name; in a data set without it, the first."""
    return photos.get(name, next(iter(photos.values())))


def frozen(photo, kind):
    """The same drawing at every run, whatever was drawn before."""
    if kind == "line":
        return Drawn(probes.thin_scribble(photo.mask, 3), np.zeros_like(photo.mask))
    return prompts.draw(photo.mask, kind, prompts.generator(kind, 0, photo.id))


papers = method(PRETRAINED[-1]).predictor
person = photograph("camera")
fig, axes = look.panels(2, 4, size=(2.3, 2.2))
for column, kind in enumerate(("erode", "dist", "paintbrush", "line")):
    stroke = frozen(person, kind).object
    answer = papers.logits(person.image, Prompt(stroke)) > 0
    before, after = metrics.iou(stroke, person.mask), metrics.iou(answer, person.mask)
    title = f"{kind}{' (trained on)' * (kind == 'erode')}: {before:.2f}"
    look.show(axes[0, column], person.image, stroke=stroke, title=title)
    look.show(axes[1, column], person.image, mask=person.mask, prediction=answer)
    axes[1, column].set_title(f"{papers.config.name}: {after:.2f}", fontsize=7)
look.legend(fig, ("stroke", "truth", "prediction"))
plt.show()
print("photograph:", person.credit)

# %% [markdown]
# *What to look for:* in the last column, is the prediction an object, or a slightly thicker line?
# The network is not to blame. It was never shown such a stroke, it sees no colour, and it has no
# way to be told "not this". The rest of the chapter changes all three.


# %%
recipe = configuration.load("lite0", kind=configuration.RefinerConfig)


# %% [markdown]
# ## The network: two looks
#
# The paper's networks take in the whole picture, whatever the object's size. The refiner looks
# where it was drawn: first **wide**, round the strokes, for they may cover little of their object;
# then **close**, round what the first look found, at a larger working size that keeps thin parts.
# Each look is one pass of the same network. Strokes on the background are drawn round the object,
# so where there are any nearby, the first look takes them in. How wide it is, by hand:


# %%
def wide_look(drawn):
    """From the strokes' middle, 1.4 times their longer side each way, or .3 of the picture's.

    And as far as there are background strokes within four times that side.
    """
    ys, xs = np.nonzero(drawn.object)
    longer = max(np.ptp(ys), np.ptp(xs)) + 1
    middle = np.array([ys.min() + ys.max() + 1, xs.min() + xs.max() + 1]) / 2

    def window(reach):
        low, high = np.rint(middle - reach), np.rint(middle + reach)
        return np.maximum(low, 0).astype(int), np.minimum(high, drawn.object.shape).astype(int)

    low, high = window(max(1.4 * longer, 0.3 * max(drawn.object.shape), 12))
    pixels = np.argwhere(drawn.background)
    nearest, farthest = window(4 * longer)
    beside = pixels[((pixels >= nearest) & (pixels < farthest)).all(axis=1)]
    if len(beside):
        low, high = np.minimum(low, beside.min(axis=0)), np.maximum(high, beside.max(axis=0) + 1)
    return crops.Crop(low[0], high[0], low[1], high[1])


strokes = {name: frozen(one, "plain_sparse") for name, one in photos.items()}
for drawn in strokes.values():
    assert wide_look(drawn) == crops.look(*drawn)

# %% [markdown]
# A look cuts its crop from picture, strokes and last mask, scales the longer side to the working
# size, runs the network, and puts the logits back where they belong. The second look is told what
# the first one found, as the mask to correct. The shipped refiner looks a third time in just the
# same way, at what the second look found; two are enough to see how it works:

# %%
refiner = Refiner.from_pretrained()
settings = refiner.config.network


def one_look(image, drawn, last, crop, size):
    channels, (h, w) = crops.crop_input(image, (*drawn, last), crop, size)
    with torch.no_grad():
        small = refiner.network(torch.from_numpy(channels)[None])[0, 0, :h, :w].numpy()
    logits = np.full(last.shape, -10, np.float32)  # what is not looked at is not object
    logits[crop.window] = cv2.resize(small, (crop.right - crop.left, crop.bottom - crop.top))
    return logits, channels


def two_looks(image, drawn):
    wide, nothing = wide_look(drawn), np.zeros_like(drawn.object)
    first, seen_first = one_look(image, drawn, nothing, wide, settings.look)
    close = crops.zoom((first > 0) | drawn.object)
    second, seen = one_look(image, drawn, first > 0, close, settings.zoom)
    return SimpleNamespace(wide=wide, close=close, logits=second, seen=(seen_first, seen))


looks = {name: two_looks(one.image, strokes[name]) for name, one in photos.items()}
small = min(looks, key=lambda name: looks[name].close.overlap(looks[name].wide))
photo, drawn, both = photos[small], strokes[small], looks[small]
twice = settings.model_copy(update={"looks": 2})
by_library = inference.answer(refiner.network, twice, photo.image, Prompt(*drawn))
assert np.allclose(both.logits, by_library, atol=1e-3)

# %% [markdown]
# The photograph on which the two looks differ most:

# %%
fig, axes = look.panels(2, 5, size=(2.1, 1.9))
look.show_drawn(axes[0, 0], photo.image, drawn, title="the picture, both looks")
for crop, style in ((both.wide, "--"), (both.close, "-")):
    corner, sides = (crop.left, crop.top), (crop.right - crop.left, crop.bottom - crop.top)
    for width, colour in ((2.6, "black"), (1.2, "white")):
        axes[0, 0].add_patch(
            Rectangle(corner, *sides, fill=False, color=colour, ls=style, lw=width)
        )
look.show_drawn(axes[1, 0], photo.image, drawn, mask=photo.mask, prediction=both.logits > 0)
axes[1, 0].set_title(f"answer: IoU {metrics.iou(both.logits > 0, photo.mask):.2f}")
names = ("colours", "object strokes", "background strokes", "last mask")
for line, channels, which in zip(axes, both.seen, ("wide", "close"), strict=True):
    planes = [channels[:3].transpose(1, 2, 0), *channels[3:]]
    for ax, plane, title in zip(line[1:], planes, names, strict=True):
        ax.imshow(plane, vmin=0, vmax=1)
        ax.set_title(f"{which}: {title}")
plt.show()
print("photograph:", photo.credit)

# %% [markdown]
# *What to look for:* **six channels** where the paper has three. Three of colour; strokes on the
# object and on the background, apart; and the last mask. The wide look (dashed) starts from none,
# the close one (solid) gets the wide one's answer there, and so does a correction that of the answer
# before. Grey is what lies beyond the picture.
#
# ### A mask painted with care is finished at the picture's own size
#
# A crop that was shrunk to the working size has its edge a pixel or two off. And where somebody
# painted a mask with care, much of *its* edge is right to the pixel: what the two looks make of it
# can be worse than the mask was. So where the object strokes are such a mask (paint rather than
# lines or a box, smooth, nearly all of it in the answer: `edge.is_careful`), and nothing else was
# drawn, a second and small network answers anew. It sees the picture's own pixels, the paint and
# what the looks found, and has learned which to trust where. It is the paper's U-Net, on pixels
# folded into channels: 2 × 2 of them become one place, which answers for all four. So it costs
# about what the paper's network does at half size, and could start from one that was trained there.
# The photograph on which it changes most:

# %%
steps = {}
for name, one in photos.items():
    coarse = frozen(one, "erode")
    finished = logits = inference.answer(refiner.network, settings, one.image, Prompt(*coarse))
    alone = refiner.network.edge is not None and not coarse.background.any()
    careful = alone and edge.is_careful(coarse.object, logits > 0)
    if careful:
        finished = edge.finish(refiner.network.edge, one.image, coarse.object, logits)
    assert ((finished > 0) == refiner.refine(one.image, *coarse)).all()
    steps[name] = coarse, logits > 0, finished > 0
    print(f"{name}: {'painted with care' if careful else 'not taken for a careful mask'}")

most = max(steps, key=lambda name: (steps[name][1] ^ steps[name][2]).sum())
one, (coarse, found, finished) = photos[most], steps[most]
fig, axes = look.panels(1, 4, size=(2.6, 2.2))
crop = look.around(one.mask, margin=0.05)
look.show_drawn(axes[0, 0], one.image, coarse, crop=crop, title="the mask: erode")
for ax, (title, answer) in zip(
    axes[0, 1:], {"two looks": found, "finished": finished}.items(), strict=False
):
    look.show_errors(ax, one.image, one.mask, answer, crop=crop)
    score = metrics.boundary_iou_1px(answer, one.mask)
    ax.set_title(f"{title}: 1-px boundary IoU {score:.2f}", fontsize=8)
look.show(axes[0, 3], found ^ finished, crop=crop, title="what the edge network changed")
look.legend(fig, ("stroke", "missed", "extra"))
plt.show()
print("photograph:", one.credit)

# %% [markdown]
# ### What the strokes look like to the network
#
# The encoder (EfficientNet-Lite0) comes with weights from ImageNet: it has seen a million pictures,
# which 900 of COCO cannot replace. What it makes of the pixels under a stroke says a lot about the
# object, and a convolution cannot carry that across the picture. So the network is told outright:
# the mean feature under the strokes, compared with the feature at each place by the cosine of
# their angle (as in PANet, Wang et al. 2019). By hand, on the wide look of the photograph above:

# %%
net = refiner.network
with torch.no_grad():
    batch = torch.from_numpy(both.seen[0])[None]
    colours, planes = (batch[:, :3] - net.mean) / net.std, batch[:, 3:]
    features = net.encoder(colours, planes)[3]  # 1 × 112 × h × w, at 1/16 of the size
    covered = F.interpolate(planes, size=features.shape[2:], mode="area")[:, :2]
    library = network.stroke_similarity(features, covered)[0].numpy()

unit = features[0].numpy() / np.linalg.norm(features[0].numpy(), axis=0)
by_hand = []
for share in covered[0].numpy():  # how much of each place the strokes cover
    prototype = (unit * share).sum(axis=(1, 2))
    prototype /= max(np.linalg.norm(prototype), 1e-12)
    by_hand.append(np.tensordot(prototype, unit, axes=1))
assert np.allclose(by_hand, library, atol=1e-4)

fig, axes = look.panels(1, 3, size=(3.0, 2.4))
look.show_drawn(axes[0, 0], photo.image, drawn, crop=both.wide.window, title="the wide look")
height, width = crops.fitted(both.wide, settings.look)  # the rest is filled up
for ax, plane, title in zip(axes[0, 1:], library, ("object", "background"), strict=True):
    large = cv2.resize(plane, both.seen[0].shape[:0:-1], interpolation=cv2.INTER_NEAREST)
    heat = ax.imshow(large[:height, :width], cmap="magma")
    ax.set_title(f"likeness to the {title} strokes")
    fig.colorbar(heat, ax=ax, shrink=0.7)
plt.show()

sizes = {
    "encoder, from ImageNet": sum(p.numel() for p in net.encoder.parameters()),
    "edge network": sum(p.numel() for p in net.edge.parameters()) if net.edge else 0,
    "all": sum(p.numel() for p in net.parameters()),
}
print({part: f"{count:,} parameters" for part, count in sizes.items()})

# %% [markdown]
# *What to look for:* the map is coarse, one value for 16 × 16 pixels, and knows no edges. It says
# *where more of the same is*, also where no stroke went, and it lights up on neighbours of the same
# kind, too. The decoder is left to find the border, and to tell the brushed thing from its twin.
#
# ## Training in small
#
# A training sample is a crop: any object of a picture, brushed by the simulator, seen from near or
# far, with changed colours. Eight of them, of the data set at hand:

# %%
drawer = TrainingCrops(load_split(DATA, "train"), recipe.prompts, recipe.training)
items = [drawer[(0, slot, 128)] for slot in range(8)]
x, y, counts = (torch.stack(column) for column in zip(*items, strict=True))


def show_batch(x, y, last=None):
    _, axes = look.panels(1, len(x), size=(1.35, 1.5))
    for ax, planes, truth in zip(axes.flat, x.numpy(), y.numpy(), strict=True):
        strokes = Drawn(planes[3] > 0.5, planes[4] > 0.5)
        found = None if last is None else planes[5] > 0.5
        colours = planes[:3].transpose(1, 2, 0)
        look.show_drawn(ax, colours, strokes, mask=truth[0] > 0.5, prediction=found)
    plt.show()


show_batch(x, y)

# %% [markdown]
# In most of the steps the network sees **its own prediction** as the last mask, with strokes that
# correct it: the largest error gets a stroke, on the object where something was missed, on the
# background where something was added. That is how it learns to be corrected. The same eight, with
# the shipped network's predictions (magenta) fed back:

# %%
fed = training.feed_back(refiner.network, x, y, counts, (1, 0, 1))
show_batch(fed, y, last=True)

# %% [markdown]
# Before anything is trained for hours, a test that takes seconds: a network that cannot learn eight
# crops **by heart** will learn nothing else. The loss is the library's, cross-entropy plus one minus
# the soft IoU (it can give the object's edge more weight; this recipe does not):

# %%
torch.manual_seed(0)
pupil = network.build(recipe).train()  # without ImageNet weights, so that nothing is needed
optimizer = torch.optim.AdamW(pupil.parameters(), lr=2e-3)
steps = []
for _ in range(20):
    logits = pupil(x)
    value = refiner_loss(logits, y, counts, recipe.training)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    found, truth = (logits > 0) & (counts > 0), y > 0
    iou = (found & truth).sum((1, 2, 3)) / (found | truth).sum((1, 2, 3)).clamp(min=1)
    steps.append((value.item(), iou.mean().item()))
assert steps[-1][0] < steps[0][0]

log = committed("training.csv", "nseg train-refiner --data data/coco1000")
fig, axes = plt.subplots(1, 2 if log is None else 4, figsize=(11, 2.6), layout="constrained")
for ax, values, title in zip(axes, zip(*steps, strict=True), ("loss", "IoU"), strict=False):
    ax.plot(values, color=look.PALETTE["res"])
    ax.set(xlabel="step", title=f"eight crops by heart: {title}")
if log is not None:
    names = {"loss": "loss", "train_iou": "IoU"}
    for ax, column in zip(axes[2:], names, strict=True):
        for size, part in log.groupby("size"):
            ax.plot(part["step"], part[column], ".-", ms=3, label=f"crops of {size} px")
        ax.set(xlabel="step", title=f"the shipped network: {names[column]}")
    axes[2].legend()
plt.show()

# %% [markdown]
# The real thing was done in two steps. The first is one command,
# `nseg train-refiner --data data/coco1000`: the recipe is `nseg_lib/configs/refiner/lite0.yml`, the
# log is `reports/refiner/training.csv`. Each loss in it is of
# crops that were never seen before and mostly never come again, so it is no loss by heart. It runs
# in cycles, in each of which the crops grow and the learning rate falls; the mean of the
# weights at their ends is what it keeps. Then the edge network learns, on paint and on what the looks
# make of it (`reports/refiner/training_edge.csv`). The file came about a little otherwise: its
# model card (`nseg_lib/weights/README.md`) says how. The second step goes on from there, with the
# recipe `lite1.yml`: it adds boxes, clicks, neighbours and persons with exact outlines.


# %% [markdown]
# ## Corrections
#
# An answer is not the end. `refine(image, stroke, background, mask)` takes all strokes so far and
# the last answer. The game that measures it: a straight line is drawn through the **deepest
# mistake**, object or background; the refiner answers; again. The field counts the strokes until
# an IoU is reached (NoC@85: until .85). Shown are two photographs: the one whose first answer is in
# the middle, and below it the one whose first answer is worst.

# %%
ROUNDS = 5
games = {}
for name, one in photos.items():

    def generator(number, one=one):
        return prompts.generator("correction plain", 0, one.id, number)

    ways = protocol.CORRECTIONS["plain"]
    session = protocol.correct(
        method(PRETRAINED[0]).predictor, one.image, one.mask, ways, generator, ROUNDS
    )
    games[name] = [(drawn, answer, metrics.iou(answer, one.mask)) for drawn, answer, _ in session]

by_start = sorted(games, key=lambda name: games[name][0][2])
middle, last = by_start[len(by_start) // 2], by_start[0]
fig, axes = look.panels(2, ROUNDS, size=(2.2, 2.0))
for line, name in zip(axes, (middle, last), strict=True):
    one = photos[name]
    crop = look.around(one.mask, *(answer for _, answer, _ in games[name]), margin=0.1)
    for ax, (number, (drawn, answer, iou)) in zip(line, enumerate(games[name], 1), strict=False):
        look.show_drawn(ax, one.image, drawn, mask=one.mask, prediction=answer, crop=crop)
        ax.set_title(f"stroke {number}: IoU {iou:.2f}")
look.legend(fig, ("stroke", "truth", "prediction"))
plt.show()
print("photographs:", photos[middle].credit, "|", photos[last].credit)

# %%
course_of = pd.DataFrame(
    {name: pd.Series([iou for *_, iou in game]) for name, game in games.items()}
)
course_of.index = [f"stroke {n + 1}" for n in course_of.index]
display(course_of.T.style.format("{:.2f}", na_rep="–"))
strokes_needed = committed("corrections.csv", "nseg evaluate-refiner --data data/coco1000")
if strokes_needed is not None:
    display(strokes_needed.round(2))

# %% [markdown]
# *What to look for:* each panel shows the stroke that was drawn *last*, and the answer to it. Does
# a correction change more than it touches? Does a later stroke spoil what was right? Then the
# photographs: who is done after one stroke, and who never gets there?


# %% [markdown]
# ## Exercises
#
# Solutions are in `notebooks/solutions/13_corrections.py`.


# %% [markdown]
# **1. The next stroke.** From the object and the last answer, both bool H×W: what should the next
# stroke be drawn on? Return `"object"` where the deepest mistake is a missed part, `"background"`
# where it is a wrongly added one, and `""` where there is no mistake. The depth of a mistake is the
# largest distance of one of its pixels to the nearest pixel outside it; beyond the picture nothing
# is wrong. Of two equally deep ones the missed part comes first.


# %%
def next_stroke(mask, answer): ...  # your turn


print(exercises.check(next_stroke))


# %% [markdown]
# **2. Likeness.** From features C×H×W and `cover` H×W (how far each place is brushed, 0 to 1), the
# cosine of the angle between each place's feature and the mean of the *normalised* features under
# the brush. Where nothing was brushed, zero everywhere.


# %%
def likeness(features, cover): ...  # your turn


print(exercises.check(likeness))


# %% [markdown]
# ## What you have seen
#
# - Two looks, six channels and a likeness to the strokes; then its own answers fed back, so that it
#   can be corrected.
# - Where somebody painted with care, much of the edge is right: a small network at the picture's own
#   size has learned which part to keep.
#
# Next: [14 · Judging a tool](14_judging_a_tool.ipynb).
