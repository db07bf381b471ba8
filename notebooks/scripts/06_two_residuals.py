# %% [markdown]
# # 06 · Two residuals
#
# After this chapter you will be able to
#
# - tell two networks apart that go by one name, and prove which of them was measured;
# - show what adding the stroke to the logits does, in algebra and in numbers;
# - build a residual block, and count what its shortcuts cost.
#
# | | |
# |---|---|
# | makes | **Figure 3**: the U-Net with residual connections |
# | inputs → outputs | one photograph → `figures/figure3` |
# | takes | about a quarter of a minute |
# | previous, next | [05 · Losses](05_losses.ipynb), [07 · Attention](07_attention.ipynb) |

# %% tags=["parameters"]
photos = "data/sample"  # the data set that holds the split "photos"
runs = "runs/sample"  # trained networks
out = "reports/sample"  # figures go here

# %%
import numpy as np
import pandas as pd
import torch
from torch import nn

from nseg_lib import config, networks
from nseg_lib.course import diagrams, exercises, look, standins
from nseg_lib.data.images import rescale
from nseg_lib.evaluation import metrics
from nseg_lib.networks.blocks import ResidualDoubleConv
from nseg_lib.networks.inputs import network_input
from nseg_lib.provenance import project_root
from nseg_lib.training.losses import RefinementLoss
from reproduction import paper
from reproduction.artefacts import save_figure, save_table
from reproduction.table1 import table2 as make_table2

look.use_style()
ROOT = project_root()
PHOTOS = standins.photographs(standins.data_set(ROOT / photos))
OUT = ROOT / out

photo = standins.photograph(PHOTOS, "coffee")
image, mask, stroke = rescale(photo.image, photo.mask, photo.stroke, 0.5)  # half the size: quicker
picture = torch.from_numpy(network_input(image, stroke))[None]

# %% [markdown]
# ## One name, two networks
#
# The paper's text says: *"U-Net Tiny with Residual Connections: incorporates residual connections
# within both encoder and decoder blocks to improve gradient flow"*. That is a **block residual**:
# in every block the input is added to the output, as in ResNet (He et al. 2016).
#
# The paper's code does something else. Its `res` networks have plain blocks, and the *stroke* is
# added to the logits at the very end, a **mask residual**:
#
# $$\ell = s + f(x), \qquad s \in \{0, 1\}$$
#
# Both are worth a look. But which of them stands in Table 1?

# %% [markdown]
# ## The proof is in Table 2
#
# Table 2 gives the sizes of the networks as files. A file of the training framework holds each
# parameter in 4 bytes, and two more numbers per parameter that the optimiser Adam keeps: 12 bytes
# in all. (So the sizes are three times the weights; "MB" is MiB.) Shortcuts in the blocks need
# parameters wherever the number of channels changes. Adding the stroke needs none.


# %%
def count(network):
    return sum(p.numel() for p in network.parameters())


printed = paper.numbers()["table2"]
print({name: size for name, size in printed.items() if "16-128_bce-dice-bound" in name})

# %%
families = {
    "tiny16-128": networks.UNet,
    "res16-128 by the code: mask residual": networks.MaskResidualUNet,
    "res16-128 by the text: block residual": networks.BlockResidualUNet,
}
parameters = {name: count(family([16, 32, 64, 128])) for name, family in families.items()}
pd.DataFrame(
    {"network": name, "parameters": n, "12 bytes each, in MiB": 12 * n / 2**20}
    for name, n in parameters.items()
).style.format(precision=2, thousands=",").hide()

# %% [markdown]
# The paper prints the **same** 22.34 for tiny and res. With mask residuals they must be the same to
# the byte; with block residuals res would be 1 MiB larger. So the networks of Table 1 have mask
# residuals, whatever the text says. (The .09 by which 22.34 is above ours is the file's overhead.)

# %%
assert parameters["tiny16-128"] == parameters["res16-128 by the code: mask residual"]
assert parameters["res16-128 by the text: block residual"] > parameters["tiny16-128"]
assert printed["tiny16-128_bce-dice-bound"] == printed["res16-128_bce-dice-bound"]

# %%
sizes = [networks.size(name) for name in config.THE_EIGHT]
save_table(make_table2(sizes, printed), OUT / "tables" / "table2",
           inputs=[paper.REPORTS / "paper.yml"])  # fmt: skip

# %% [markdown]
# ## The mask residual, by hand
#
# All of it is one line more than the U-Net of chapter 03.


# %%
class MaskResidualUNet(networks.UNet):
    def forward(self, x):
        return x[:, :1] + super().forward(x)


mine, library = MaskResidualUNet([16, 32]), networks.MaskResidualUNet([16, 32])
mine.load_state_dict(library.state_dict())
with torch.no_grad():
    torch.testing.assert_close(mine(picture), library(picture), rtol=0, atol=0)
assert count(mine) == count(library) == 117_681
print("same parameters, same output")

# %% [markdown]
# ## The same network up to a constant
#
# Take a plain U-Net $f$ and a mask-residual one with the *same weights*. Their logits differ by
# $s$: by the constant 1 on every pixel of the stroke, by 0 on every other.
#
# $$\ell_{\text{res}}(x) - \ell_{\text{tiny}}(x) = s$$
#
# In terms of probability, with $p = \sigma(\ell)$ and the odds $p / (1 - p) = e^{\ell}$: **on the
# stroke, the odds are multiplied by $e$.**
#
# $$\frac{p_{\text{res}}}{1 - p_{\text{res}}} = e \cdot \frac{p_{\text{tiny}}}{1 - p_{\text{tiny}}}$$
#
# A probability of .5 becomes .73. The decision $\ell_{\text{res}} > 0$ is the plain network's
# decision with another threshold on the stroke, $\ell_{\text{tiny}} > -1$, that is $p > .27$. The
# derivative of the logits by the weights is the same in both; the constant enters training only
# through the loss, which sees the shifted logits. In numbers:

# %%
plain = networks.UNet([16, 32])
residual = networks.MaskResidualUNet([16, 32])
residual.load_state_dict(plain.state_dict())
with torch.no_grad():
    a, b = plain(picture)[0, 0], residual(picture)[0, 0]

on, off = stroke, ~stroke
difference = (b - a).numpy()
print(f"on the stroke:  {difference[on].min():.6f} to {difference[on].max():.6f}")
print(f"off the stroke: {difference[off].min():.6f} to {difference[off].max():.6f}")
odds = (b.sigmoid() / (1 - b.sigmoid())) / (a.sigmoid() / (1 - a.sigmoid()))
print(f"odds on the stroke are multiplied by {odds.numpy()[on].mean():.4f}; e = {np.e:.4f}")

# %%
p = np.linspace(0.001, 0.999, 300)
fig, ax = look.plt.subplots(figsize=(3.6, 3.2), layout="constrained")
ax.plot(p, p, ":", color="black", lw=1, label="off the stroke: unchanged")
raised = p * np.e / (1 - p + p * np.e)
ax.plot(p, raised, color=look.PALETTE["res"], lw=2, label="on the stroke")
ax.plot([0.5, 0.5], [0, np.e / (1 + np.e)], color=look.PALETTE["paper"], lw=0.8)
ax.plot([0, 0.5], [np.e / (1 + np.e)] * 2, color=look.PALETTE["paper"], lw=0.8)
ax.set(xlabel="probability of the plain network", ylabel="with the stroke added")
_ = ax.legend(loc="lower right")

# %% [markdown]
# **What to look for.** The curve is never far from the diagonal: .24 at most. The "residual" is a
# gentle push towards the stroke. A true residual would start *at* the stroke, with logits far from
# 0 on both sides, and learn what to change.
#
# ## What is left of the difference: the start
#
# Random weights give logits near 0: the plain network starts by saying one half everywhere. Adding
# the stroke makes the start better. How much better, on this photograph, over ten random starts?

# %%
loss = RefinementLoss(config.load("res16-32_bce-dice").loss)
target = torch.from_numpy(mask.astype(np.float32))[None, None]
strengths = (0.0, 1.0, 4.0, 8.0)

rows = []
for seed in range(10):
    torch.manual_seed(seed)
    with torch.no_grad():
        logits = networks.UNet([16, 32])(picture)
        for strength in strengths:
            shifted = logits + strength * picture[:, :1] - (strength / 2 if strength > 1 else 0)
            rows.append({"added on the stroke": strength, "loss": float(loss(shifted, target))})
table = pd.DataFrame(rows).groupby("added on the stroke")["loss"].agg(["mean", "std"])
table.style.format(precision=3).format_index(precision=0)

# %% [markdown]
# **What to look for.** 0 is the plain network, 1 the paper's residual: a slightly lower loss before
# the first step. The rows 4 and 8 push both ways (half of it is taken off everywhere, so that
# pixels off the stroke start as background): they start far nearer to the goal, at the stroke
# itself. The paper did not try them; exercise 2 asks how strong a push has to be.
#
# Does the start matter in the end? The authors' logs say: hardly. Their validation IoU, `res` minus
# `tiny`, in the mean over the epochs that both have, and what Table 1 prints:

# %%
logs = paper.authors_logs().pivot(index="epoch", columns="model", values="val_iou")
printed = {name: row["iou"] for name, row in paper.numbers()["table1"].items()}
pairs = {
    size: (f"res{size}", f"tiny{size}")
    for size in ("16-32_bce-dice", "16-128_bce-dice", "16-128_bce-dice-bound")
}
table = pd.DataFrame(
    {
        size: {
            "epochs": (logs[res] - logs[tiny]).count(),
            "at equal epochs": (logs[res] - logs[tiny]).mean(),
            "in Table 1": printed[res] - printed[tiny],
        }
        for size, (res, tiny) in pairs.items()
    }
).T
table.style.format({"epochs": "{:.0f}", **dict.fromkeys(table.columns[1:], "{:+.4f}")})

# %% [markdown]
# Thousandths, and Table 1, which compares one kept epoch of each, has them now this way, now that.
# A U-Net that wants to know the stroke has it in channel 0, at full resolution through the first
# skip; it can learn the push by itself.

# %% [markdown]
# ## The block residual, by hand
#
# Now what the text describes. The shortcut is the identity where the channels agree and a 1×1
# convolution where they change; the sum goes through the last ReLU.
#
# $$y = \mathrm{ReLU}\big(F(x) + P x\big), \qquad F = \mathrm{GN} \circ W_2 \circ \mathrm{ReLU} \circ
#   \mathrm{GN} \circ W_1$$


# %%
class ResidualBlock(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.GroupNorm(8, outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.GroupNorm(8, outputs),
        )
        same = inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x):
        return torch.relu(self.layers(x) + self.shortcut(x))


for inputs, outputs in ((3, 16), (16, 16)):
    block, theirs = ResidualBlock(inputs, outputs), ResidualDoubleConv(inputs, outputs)
    block.load_state_dict(theirs.state_dict())
    x = torch.randn(1, inputs, 20, 30)
    torch.testing.assert_close(block(x), theirs(x), rtol=0, atol=0)
    assert count(block) == count(theirs)
print("the library's block")

# %% [markdown]
# Shortcuts help very deep networks, where the gradient fades on its way down. Does it fade here?
# The size of the gradient at the first convolution, relative to that at the head, for both kinds:


# %%
def gradient_ratio(network):
    """Gradient norm at the first convolution over that at the head."""
    network.zero_grad()
    loss(network(picture), target).backward()
    first = network.encoder[0].layers[0].weight.grad.norm()
    return float(first / network.head.weight.grad.norm())


for name in ("tiny16-128", "res16-128 by the text: block residual"):
    torch.manual_seed(0)
    print(f"{name}: {gradient_ratio(families[name]([16, 32, 64, 128])):.2f}")

# %% [markdown]
# Neither fades: the two gradients are of one order. A U-Net has a short way to its first block, the
# skip of full resolution, so in a network of this depth block residuals have little to mend. As
# `blockres16-128_bce-dice-bound` it can be trained like the others, outside the paper's eight.

# %% [markdown]
# ## Figure 3
#
# What was trained, and what the text describes. The paper's own Figure 3 is titled "U-Net
# architecture with residual connections".

# %%
panels = diagrams.of_the_paper("figure3")
figure3 = diagrams.architecture(panels)
data3 = diagrams.stages(panels)
_ = save_figure(figure3, OUT / "figures" / "figure3", data3)

# %% [markdown]
# **What to look for.** In (a), one long line over everything, from channel 0 of the input to the
# plus sign behind the head. In (b), nine small arcs, one a block, and 4.5 % more parameters.

# %% [markdown]
# ## Trained side by side
#
# The answers of both small networks on the photographs at hand, with the stroke as the row to beat.
# They are yours where you trained them, else those that come with nseg.

# %%
scores = {"stroke unchanged": [metrics.iou(s.stroke, s.mask) for s in PHOTOS]}
for name in ("tiny16-32_bce-dice", "res16-32_bce-dice"):
    refiner = standins.refiner(ROOT / runs, name, ROOT / photos)
    scores[name] = [metrics.iou(refiner.refine(s.image, s.stroke), s.mask) for s in PHOTOS]

table = pd.DataFrame(scores, index=[f"{s.image_id} {s.category}" for s in PHOTOS])
table.style.format(precision=3)

# %% [markdown]
# ## Exercises
#
# Solutions are in `notebooks/solutions/06_two_residuals.py`.
#
# **1. With the stroke.** The plain network gives a pixel of the stroke the probability `p`. Which
# does the mask-residual network with the same weights give it?


# %%
def with_stroke(p): ...  # your turn


# %%
print(exercises.check(with_stroke))

# %% [markdown]
# **2. Strength.** How much would have to be added to the logits, so that a pixel which the network
# thinks .5 gets the probability `p`?


# %%
def strength(p): ...  # your turn


# %%
print(exercises.check(strength))

# %% [markdown]
# **3. Table 2.** Size in MiB of a checkpoint with so many parameters: weights and Adam's two
# moments, in float32.


# %%
def checkpoint_mib(parameters): ...  # your turn


# %%
print(exercises.check(checkpoint_mib))

# %% [markdown]
# **4. What a shortcut costs.** Parameters of the shortcut of a residual block.


# %%
def shortcut_parameters(inputs, outputs): ...  # your turn


# %%
print(exercises.check(shortcut_parameters))

# %% [markdown]
# ## What you have seen
#
# The networks called "residual" add the stroke to the logits; equal file sizes prove it. With equal
# weights that is the plain network, with the odds on the stroke multiplied by $e$. The residual
# blocks of the text are another network, which the paper did not measure.
#
# Next: [07 · Attention](07_attention.ipynb), the largest of the eight.
