# %% [markdown]
# # 07 · Attention
#
# After this chapter you will be able to
#
# - build an attention gate by hand and put it on a U-Net's skips;
# - look at what the gates of a network let through on a real photograph;
# - test whether a network uses its attention, instead of believing a picture of it.
#
# | | |
# |---|---|
# | makes | **Figure 4**: the U-Net with attention |
# | inputs → outputs | photographs, a trained network → `figures/figure4` |
# | takes | about half a minute; about a minute more where a small network has to be trained first |
# | previous, next | [06 · Two residuals](06_two_residuals.ipynb), [08 · Metrics by hand](08_metrics_by_hand.ipynb) |

# %% tags=["parameters"]
data = "data/sample"  # a data set in COCO's layout, with splits train, val and test
photos = "data/sample"  # the data set that holds the split "photos"
runs = "runs/sample"  # trained networks
out = "reports/sample"  # figures go here

# %%
import numpy as np
import pandas as pd
import torch
from torch import nn

from nseg_lib import networks
from nseg_lib.course import diagrams, exercises, look, standins
from nseg_lib.course.tracing import trace
from nseg_lib.data.images import rescale
from nseg_lib.evaluation import metrics
from nseg_lib.provenance import project_root
from reproduction import paper
from reproduction.artefacts import save_figure

look.use_style()
ROOT = project_root()
DATA = standins.data_set(ROOT / data)
PHOTOS = standins.photographs(standins.data_set(ROOT / photos))
OUT = ROOT / out

# %% [markdown]
# ## The idea
#
# A skip carries all features of the encoder to the decoder, those of the background too. An
# **attention gate** (Oktay et al. 2018) weighs them first: for every pixel a number $\alpha \in (0,
# 1)$, by which all channels of the skip are multiplied. What is the gate to judge by? By the skip's
# features $x$ at that pixel and by what the decoder already knows there, the gating signal $g$:
#
# $$\alpha = \sigma\Big(\mathrm{GN}_1\big(w * \mathrm{ReLU}(\mathrm{GN}_8(W_g * g) +
#   \mathrm{GN}_8(W_x * x))\big)\Big), \qquad \hat x = \alpha \cdot x$$
#
# All of $W_g$, $W_x$ and $w$ are 1×1 convolutions: each pixel is judged by itself. The two sides
# are mapped to half the channels and *added*, so it is called additive attention.
#
# Text and code differ in two places. The paper lists "U-Net Tiny / Residual with Attention"; its
# network with attention is a plain U-Net, and no stroke is added to the logits. And in Oktay's gate
# $g$ comes from the coarser level; here it comes after upsampling, so that nothing is resampled.

# %% [markdown]
# ## The gate, by hand


# %%
class AttentionGate(nn.Module):
    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.gate = nn.Sequential(nn.Conv2d(channels, half, 1), nn.GroupNorm(8, half))
        self.skip = nn.Sequential(nn.Conv2d(channels, half, 1), nn.GroupNorm(8, half))
        self.score = nn.Sequential(nn.Conv2d(half, 1, 1), nn.GroupNorm(1, 1))

    def forward(self, gate, skip):
        score = self.score(torch.relu(self.gate(gate) + self.skip(skip)))
        return skip * torch.sigmoid(score)


class AttentionUNet(networks.UNet):
    def __init__(self, widths):
        super().__init__(widths)
        self.gates = nn.ModuleList(AttentionGate(width) for width in reversed(widths))

    def weigh(self, depth, skip, gate):  # the U-Net asks this of every skip; 0 is the deepest
        return self.gates[depth](gate, skip)


# %%
def count(network):
    return sum(p.numel() for p in network.parameters())


mine, library = AttentionUNet([16, 32]), networks.AttentionUNet([16, 32])
mine.load_state_dict(library.state_dict())
x = torch.rand(1, 3, 60, 90)
with torch.no_grad():
    torch.testing.assert_close(mine(x), library(x), rtol=0, atol=0)

assert count(mine) == count(library)
assert count(AttentionUNet([32, 64, 128, 256])) == 7_854_717  # attn32-256
assert not any(stage.kind == "add" for stage in trace(library))  # no stroke is added
print("same parameters, same output")

# %% [markdown]
# From here on: `nseg_lib.networks.AttentionUNet`. Attention costs little: 1.1 % more parameters and 2
# % more work than `res32-256`.

# %%
sizes = [networks.size(f"{name}32-256_bce-dice-bound") for name in ("res", "attn")]
pd.DataFrame(
    {"model": s.name, "parameters": s.parameters, "GFLOP at 640×480": s.gflop} for s in sizes
).style.format(precision=1, thousands=",").hide()

# %% [markdown]
# ## Figure 4

# %%
panels = diagrams.of_the_paper("figure4")
figure4 = diagrams.architecture(panels)
data4 = diagrams.stages(panels)
_ = save_figure(figure4, OUT / "figures" / "figure4", data4)

# %% [markdown]
# **What to look for.** Each α has two arrows in: the skip from the left, and the upsampled features
# from below, the green slab. What leaves it is the skip again, weighed: the white slab.

# %% [markdown]
# ## What do gates look at?
#
# Now a trained network. Where `attn32-256` was trained, it is used; where not, the next cell trains
# a small one (widths 16 and 32) for a moment, and says so. The photograph is halved, towards
# the size of the pictures that the built-in sample trains on.

# %%
refiner = standins.refiner(ROOT / runs, "attn32-256_bce-dice-bound", DATA, widths=[16, 32])
network = refiner.network

photo = standins.photograph(PHOTOS, "camera")
image, mask, stroke = rescale(photo.image, photo.mask, photo.stroke, 0.5)

# %%
attention = []


def remember(gate, inputs, _result):
    attention.append(gate.weights(*inputs)[0, 0].numpy())


hooks = [gate.register_forward_hook(remember) for gate in network.gates]
prediction = refiner.refine(image, stroke, scale=1)
for hook in hooks:
    hook.remove()

# %%
fig, axes = look.panels(1, len(attention) + 2, size=(8.6 / (len(attention) + 2), 2.1))
look.show(axes[0, 0], image, stroke=stroke, mask=mask, title="stroke and truth")
for ax, alpha in zip(axes[0, 1:], attention, strict=False):
    drawn = ax.imshow(alpha, vmin=0, vmax=1, cmap="viridis")
    ax.set_title(f"α at {alpha.shape[1]}×{alpha.shape[0]}")
fig.colorbar(drawn, ax=axes[0, 1:-1], shrink=0.8)
title = f"IoU {metrics.iou(stroke, mask):.2f} → {metrics.iou(prediction, mask):.2f}"
_ = look.show(axes[0, -1], image, mask=mask, prediction=prediction, title=title)

# %% [markdown]
# **What to look for.** From the deepest gate to the one at full size. (A checkerboard comes from
# the transposed convolutions, which give each pixel of a 2×2 cell weights of its own; training has
# to even it out, and a briefly trained network shows it.) A story is quickly found: "the network
# looks at the object". Before you believe it, ask three questions. Does α follow the *object*, or
# only the stroke, which was in the input? Is it *high* where it should be? What a gate lets through
# is not yet what the next block makes of it, and a gate may as well mark what to leave out. And
# does the network *use* it?

# %% [markdown]
# ## Object or stroke?
#
# Mean attention in four regions: the stroke's right part, what the stroke missed, what it added
# wrongly, and the rest. If a gate finds the object, the first two agree. If it repeats the stroke,
# the second agrees with the rest.

# %%
regions = {
    "stroke, right": stroke & mask,
    "missed by the stroke": mask & ~stroke,
    "added by the stroke": stroke & ~mask,
    "rest": ~mask & ~stroke,
}


def at_full_size(alpha):
    """A gate's attention at the picture's size, by bilinear interpolation."""
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(alpha)[None, None], size=mask.shape, mode="bilinear"
    )
    return resized[0, 0].numpy()


table = pd.DataFrame(
    {
        f"{alpha.shape[1]}×{alpha.shape[0]}": {
            name: at_full_size(alpha)[region].mean() if region.any() else np.nan
            for name, region in regions.items()
        }
        for alpha in attention
    }
)
table.style.format(precision=2)

# %% [markdown]
# ## A gate cannot shut
#
# Before the sigmoid, the scores go through a group norm of *one* channel: over the whole picture
# they get mean 0 and variance 1, then the scale $\gamma$ and the shift $\beta$ that were learned.
# So a gate has the same spread of scores on every picture. It can say *where*, never *whether*: a
# picture without anything of interest gets as much contrast as any other.

# %%
rows = []
for alpha, gate in zip(attention, network.gates, strict=True):
    scale, shift = gate.score[1].weight.item(), gate.score[1].bias.item()
    scores = np.log(alpha / (1 - alpha))
    rows.append(
        {
            "gate": f"{alpha.shape[1]}×{alpha.shape[0]}",
            "γ": scale,
            "β": shift,
            "mean of scores": scores.mean(),
            "deviation of scores": scores.std(),
            "mean α": alpha.mean(),
        }
    )
pd.DataFrame(rows).style.format(precision=2).hide()

# %% [markdown]
# **What to look for.** The mean of the scores is β and their deviation |γ|, in every row, whatever
# the picture shows.

# %% [markdown]
# ## Is it used?
#
# The test of an explanation: break it, and see whether the answer breaks. Three versions of the
# same trained network: gates as they are; gates that let the *mean* of α through everywhere, so
# that "where" is lost; gates wide open, α = 1.


# %%
def break_gates(how):
    """Make every gate weigh all pixels alike; returns the hooks that do it."""

    def replaced(gate, inputs, result):
        if how == "open":
            return inputs[1]
        return inputs[1] * gate.weights(*inputs).mean()

    return [gate.register_forward_hook(replaced) for gate in network.gates]


shrunk = [(s.category, *rescale(s.image, s.mask, s.stroke, 0.5)) for s in list(PHOTOS)[:5]]
scores = {"stroke unchanged": [metrics.iou(stroke, mask) for _, _, mask, stroke in shrunk]}
for how in ("as trained", "mean", "open"):
    hooks = [] if how == "as trained" else break_gates(how)
    scores[f"gates: {how}"] = [
        metrics.iou(refiner.refine(image, stroke, scale=1), mask)
        for _, image, mask, stroke in shrunk
    ]
    for hook in hooks:
        hook.remove()

table = pd.DataFrame(scores, index=[name for name, *_ in shrunk])
table.loc["mean"] = table.mean()
table.style.format(precision=3)

# %% [markdown]
# **What to look for.** Compare the columns "as trained" and "mean". Where they differ much, the
# network relies on *where* its gates open; where they hardly differ, the pretty maps above explain
# nothing. Neither says that a network *without* gates, trained as long, would be worse. For that,
# train one. The authors' own logs hold such a pair, and a network with a quarter of the parameters;
# the mean over the epochs that all three have:

# %%
rivals = [f"{name}_bce-dice-bound" for name in ("attn32-256", "res32-256", "res16-128")]
logs = paper.authors_logs().pivot(index="epoch", columns="model", values="val_iou")
logs[rivals].dropna().agg(["count", "mean"]).T.style.format({"count": "{:.0f}", "mean": "{:.4f}"})

# %% [markdown]
# The attention row leads Table 1 in two columns, but each row of that table is one epoch, chosen by
# its loss on the very pictures of the table.

# %% [markdown]
# ## Exercises
#
# Solutions are in `notebooks/solutions/07_attention.py`.
#
# **1. What a gate costs.** Parameters of a gate for so many channels (a multiple of 16). Check
# yourself: the four gates of `attn32-256` have 88,732 together, the difference to `res32-256`.


# %%
def gate_parameters(channels): ...  # your turn


# %%
print(exercises.check(gate_parameters))

# %% [markdown]
# **2. Apply a gate.** From a skip, channels × height × width, and scores, height × width: each
# pixel of the skip times the sigmoid of its score.


# %%
def apply_gate(skip, scores): ...  # your turn


# %%
print(exercises.check(apply_gate))

# %% [markdown]
# **3. Contrast.** Mean attention inside the object minus mean attention outside.


# %%
def contrast(attention, mask): ...  # your turn


# %%
print(exercises.check(contrast))

# %% [markdown]
# ## What you have seen
#
# A gate weighs each pixel of a skip by what the skip and the decoder say there. It costs about 1 %
# of parameters. Its maps are pretty; whether they matter is found by breaking them.
#
# Next: [08 · Metrics by hand](08_metrics_by_hand.ipynb), where the numbers come from.
