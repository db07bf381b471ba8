# %% [markdown]
# # 06 · Two residuals
#
# The paper trains networks that it calls *residual*. Its text says one thing about them, and its code does
# another. Which of the two stands in Table 1? This chapter is a detective story with a clear answer: one
# number in Table 2 gives it away. On the way you learn what either kind of residual does, and that the one
# which was trained is nearly the plain network.
#
# After this chapter you will be able to
#
# - tell two networks apart that go by one name, and prove which of them was measured;
# - say in algebra and in numbers what it does to add the stroke to the logits;
# - build a residual block, and count what its shortcuts cost.
#
# | | |
# |---|---|
# | before you start | chapter 03; chapter 04 for Adam |
# | learning time | 50 minutes |
# | running time | a quarter of a minute |
# | makes | **Figure 3**, the U-Net with residual connections, and **Table 2**, the sizes |
# | previous, next | [05 · Losses](05_losses.ipynb), [07 · Attention](07_attention.ipynb) |

# %% tags=["parameters"]
photos = "data/sample"  # the data set that holds the split "photos"
out = "reports/sample"  # figures go here

# %%
import numpy as np
import torch
from torch import nn

from nseg_lib import config, networks
from nseg_lib.course import diagrams, exercises, look, plots, standins
from nseg_lib.networks.blocks import ResidualDoubleConv
from nseg_lib.provenance import project_root
from nseg_lib.training.losses import RefinementLoss
from reproduction import paper
from reproduction.artefacts import save_figure, save_table
from reproduction.table1 import table2

# %%
look.use_style()
ROOT = project_root()
OUT = ROOT / out
PHOTOS = standins.photographs(standins.data_set(ROOT / photos))
image, x, target = standins.one_pair(standins.photograph(PHOTOS, "coffee"), scale=0.5)
on = x[0, 0].numpy() > 0.5  # the stroke

# %% [markdown]
# ## One name, two networks
#
# The paper's text says: *"U-Net Tiny with Residual Connections: incorporates residual connections within both
# encoder and decoder blocks to improve gradient flow"*. That is a **block residual**: in every block the
# input is added to the output, as in ResNet (He et al. 2016).
#
# The paper's code does something else. The blocks of its `res` networks are plain, and the *stroke* $s$ is
# added to the logits at the very end. We call it a **mask residual**:
#
# $$\ell = s + f(x), \qquad s \in \{0, 1\}$$
#
# ## Guess first
#
# Shortcuts in blocks need additional parameters wherever the number of channels changes. Adding the stroke
# at the end needs none. The paper's Table 2 gives the size of every network as a file. So: if the text is
# right, how should the sizes of `tiny16-128` and `res16-128` compare? And if the code is right?
#
# ## The proof is in Table 2
#
# First, what is in such a file? The sizes in Table 2 are about three times as large as the weights. A file of
# the training framework holds each parameter in 4 bytes, and in addition the two running means that Adam
# keeps for each (exercise 4 of chapter 04): 12 bytes in all.


# %%
def count(network):
    return sum(p.numel() for p in network.parameters())


printed = paper.numbers()["table2"]
families = {
    "tiny16-128": networks.UNet,
    "res16-128 by the code": networks.MaskResidualUNet,
    "res16-128 by the text": networks.BlockResidualUNet,
}
sizes = {name: count(family([16, 32, 64, 128])) for name, family in families.items()}
plots.table([(name, n, 12 * n / 2**20) for name, n in sizes.items()],
            ("network", "parameters", "12 bytes each, in MiB"), "{:.2f}", parameters="{:,}")  # fmt: skip

# %%
for model in ("tiny16-128_bce-dice-bound", "res16-128_bce-dice-bound"):
    print(f"the paper's Table 2, {model}: {printed[model]}")
assert sizes["tiny16-128"] == sizes["res16-128 by the code"] < sizes["res16-128 by the text"]

# %% [markdown]
# <details><summary>Answer to the guess</summary>
#
# The paper prints the *same* size for both, 22.34. With the mask residual they must be equal to the byte.
# With block residuals, `res` would be a whole MiB larger. So the networks of Table 1 have mask residuals,
# whatever the text says. (The 0.09 by which 22.34 is above our number is what the file needs for its own
# structure.) A claim about a network can be tested without ever running it.
#
# </details>
#
# The whole table, with what a network needs in use beside the file of its training:

# %%
eight = [networks.size(name) for name in config.THE_EIGHT]
save_table(table2(eight, printed), OUT / "tables" / "table2", inputs=[paper.REPORTS / "paper.yml"])

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
    torch.testing.assert_close(mine(x), library(x), rtol=0, atol=0)
assert count(mine) == count(library) == 117_681
print("same parameters, same output")

# %% [markdown]
# ## The same network, up to a constant
#
# Take a plain U-Net and a mask-residual one with the *same weights*. Their logits differ by the constant 1 on
# every pixel of the stroke, and by 0 on every other pixel. What does that mean for a probability $p =
# \sigma(\ell)$? The **odds** are $p / (1 - p) = e^{\ell}$. Adding 1 to the logit multiplies the odds by $e$.
#
# So a probability of 0.5, which has odds of 1 to 1, becomes 0.73, with odds of 2.7 to 1. The decision "more than
# one half" of the residual network is the decision "more than 0.27" of the plain one, on the stroke. That is a
# gentle push towards the stroke. A true residual would start *at* the stroke, with logits far from 0 on both
# sides, and learn what to change.

# %%
plain, residual = networks.UNet([16, 32]), networks.MaskResidualUNet([16, 32])
residual.load_state_dict(plain.state_dict())
with torch.no_grad():
    a, b = (network(x)[0, 0].double() for network in (plain, residual))
difference, odds = (b - a).numpy(), torch.exp(b - a).numpy()
print(f"logits on the stroke:  {difference[on].min():.4f} to {difference[on].max():.4f} higher")
print(f"logits off the stroke: {difference[~on].min():.4f} to {difference[~on].max():.4f} higher")
print(f"odds on the stroke are multiplied by {odds[on].mean():.4f}; e = {np.e:.4f}")

# %%
p = np.linspace(0.001, 0.999, 100)
raised = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + 1)))
look.curves({"probabilities": {"off the stroke": (p, p), "on the stroke": (p, raised)}},
            x="probability of the plain network", y="with the stroke added")  # fmt: skip

# %% [markdown]
# **What to look for.** The upper curve is never far from the diagonal: at most 0.24, in the middle, where the
# network is undecided. Where it is sure, hardly anything changes.
#
# ## What is left: the start
#
# The slope of the logits with respect to the weights is the same in both networks. The constant enters
# training only through the loss, which sees the shifted logits. So the difference is in the *start*. Random
# weights give logits near 0: the plain network begins by saying one half everywhere. How much better is a
# start with the stroke added, over ten random starts, and what if the push were stronger?

# %%
loss = RefinementLoss(config.load("res16-32_bce-dice").loss)
rows = []
for push in (0.0, 1.0, 4.0, 8.0):
    middle = push / 2 if push > 1 else 0  # pushes both ways: off the stroke downwards
    values = []
    for seed in range(10):
        torch.manual_seed(seed)
        logits = networks.UNet([16, 32])(x) + push * x[:, :1] - middle
        values.append(loss(logits, target).item())
    rows.append((push, np.mean(values), np.std(values)))
plots.table(
    rows, ("added on the stroke", "mean loss", "deviation"), **{"added on the stroke": "{:g}"}
)

# %% [markdown]
# **What to look for.** All ten networks of a row differ only in their random weights, so the deviation says
# how much of a difference between two rows could be chance. Row 0 is the plain network, and row 1 is the paper's
# residual, whose loss is a little lower before the first step. Rows 4 and 8 also push the pixels *off* the stroke
# towards background. They start far nearer to the goal, at the identity. The paper did not try them.
#
# Does the start matter in the end? The authors' own logs say: hardly. The table shows their validation IoU,
# `res` minus `tiny`, as the mean over the epochs that both have, and what Table 1 prints for one kept epoch.

# %%
logs = paper.authors_logs().pivot(index="epoch", columns="model", values="val_iou")
table1 = {name: row["iou"] for name, row in paper.numbers()["table1"].items()}
rows = []
for size in ("16-32_bce-dice", "16-128_bce-dice", "16-128_bce-dice-bound"):
    gap = (logs[f"res{size}"] - logs[f"tiny{size}"]).dropna()
    rows.append((size, len(gap), gap.mean(), table1[f"res{size}"] - table1[f"tiny{size}"]))
plots.table(rows, ("res minus tiny", "epochs", "at equal epochs", "in Table 1"), "{:+.4f}",
            epochs="{:d}")  # fmt: skip

# %% [markdown]
# The differences are thousandths, and not even of one sign. That is no wonder: a U-Net has the stroke in channel 0,
# and the first skip hands it on at full resolution, so the plain network can learn the push by itself.
#
# ## The block residual, by hand
#
# Now what the text describes. The input of a block takes a shortcut and is added to what the two convolutions
# made of it; the sum goes through the last ReLU. Where the number of channels changes, the shortcut is a 1×1
# convolution, which is where additional parameters come from.


# %%
class ResidualBlock(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs),
        )  # fmt: skip
        same = inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x):
        return torch.relu(self.layers(x) + self.shortcut(x))


# %%
for inputs, outputs in ((3, 16), (16, 16)):
    block, theirs = ResidualBlock(inputs, outputs), ResidualDoubleConv(inputs, outputs)
    block.load_state_dict(theirs.state_dict())
    noise = torch.randn(1, inputs, 20, 30)
    torch.testing.assert_close(block(noise), theirs(noise), rtol=0, atol=0)
print("the library's block")

# %% [markdown]
# Shortcuts help very deep networks, in which the gradient fades on its way down to the first layer. Does it
# fade here? We compare the size of the gradient at the first convolution with that at the head.

# %%
for name in ("tiny16-128", "res16-128 by the text"):
    torch.manual_seed(0)
    network = families[name]([16, 32, 64, 128])
    loss(network(x), target).backward()
    first = network.encoder[0].layers[0].weight.grad.norm()
    print(f"{name}: {float(first / network.head.weight.grad.norm()):.2f}")

# %% [markdown]
# Neither fades: in both networks the two gradients are of one order of magnitude. A U-Net has a short way to
# its first block, the skip at full resolution, so that in a network of this depth block residuals have little
# to mend. Such a network is part of this project as `blockres16-128_bce-dice-bound`; it is not one of the
# paper's eight.
#
# ## Figure 3

# %%
panels = diagrams.of_the_paper("figure3")
figure3 = diagrams.architecture(panels)
save_figure(figure3, OUT / "figures" / "figure3", diagrams.stages(panels))
look.finish(figure3, "Figure 3: the two residual networks, drawn as blocks of layers.")

# %% [markdown]
# **What to look for.** In (a) there is one long line over everything, from channel 0 of the input to the plus
# sign behind the head. In (b) there are nine small arcs, one for each block, and 4.5 % more parameters.
#
# ## What to take from this
#
# Two lessons go beyond these networks. The first: **a name is not a definition.** "Residual" stands for two
# things here, as "boundary loss" did in chapter 05 and "Boundary IoU" does in chapter 08. If a result matters
# to you, find the line of code that it depends on. The second: **sizes, counts and equalities are evidence.**
# They are cheaper than any training and more certain than any mean. Whoever can say what the number of
# parameters must be has a test that takes a second, and that no random seed can disturb. Several
# claims of this project are checked by such tests, among them the number of parameters of each of the eight networks.
#
# ## Exercises
#
# Solutions of the functions are in `notebooks/solutions/06_two_residuals.py`.
#
# **1.** What proves that Table 1 was measured on mask residuals?
#
# - a) The released code has them.
# - b) `tiny` and `res` of one width have files of the same size.
# - c) Their IoUs are nearly equal.

# %%
print(exercises.choose("proof of the residual", ""))

# %% [markdown]
# **2.** The plain network says 0.9 for a pixel *off* the stroke. What does the mask-residual network with the
# same weights say?
#
# - a) More than 0.9.
# - b) 0.9.
# - c) Less than 0.9.

# %%
print(exercises.choose("off the stroke", ""))

# %% [markdown]
# **3.** Why do block residuals have parameters of their own?
#
# - a) Because the addition has weights.
# - b) Because the last ReLU needs them.
# - c) Because input and output have different numbers of channels in most blocks.

# %%
print(exercises.choose("cost of shortcuts", ""))

# %% [markdown]
# **4. Strength.** How much must be added to the logit of a pixel of probability `p`, so that its probability
# becomes `wanted`?


# %%
def strength(p, wanted): ...  # your turn


print(exercises.check(strength))

# %% [markdown]
# **5. What all shortcuts cost.** Return the additional parameters of a block-residual U-Net, for any `widths`
# and number of input channels: a 1×1 convolution with biases for every block whose input has another number
# of channels than its output. Remember what enters a decoder block. (Check: for [16, 32, 64, 128] and 3 it is
# the difference of the two networks above.)


# %%
def shortcuts_cost(widths, in_channels): ...  # your turn


print(exercises.check(shortcuts_cost))

# %% [markdown]
# **6. Experiment.** Train with the loop of chapter 04 from the starts 0, 1, 4 and 8 (add the push in a subclass
# of `UNet`), on one hundred pictures each, and draw the four curves. Does the better start stay better?
#
# **7. Open question.** A paper's text and its code disagree, and you have to build on it. How do you find out
# which one was measured, if there is no table of sizes? Name three traces that a network leaves in what is
# published, and say what you would write to the authors.
#
# <details><summary>Rubric</summary>
#
# One point each for three traces, such as parameters or FLOPs, released weights, training logs, run time, file
# dates or versions in the repository; one for saying what each trace can and cannot show; one for a letter
# that states the two readings neutrally, gives the evidence, and asks a question that can be answered in a
# sentence.
#
# </details>
#
# ## Recap
#
# - The networks called "residual" add the stroke to the logits; equal file sizes prove it.
# - With equal weights, that multiplies the odds on the stroke by $e$ and changes nothing else.
# - Block residuals are another network. The paper describes it and did not measure it.
#
# ## Words
#
# - **Block residual**: a block's input is added to its output.
# - **Checkpoint**: the file of a training, with weights and the optimiser's running means.
# - **Mask residual**: the stroke is added to the logits.
# - **Odds**: the probability of yes over that of no.
#
# ## References
#
# - He, K., Zhang, X., Ren, S. and Sun, J. (2016). Deep residual learning for image recognition. *CVPR*.
#   [doi:10.1109/CVPR.2016.90](https://doi.org/10.1109/CVPR.2016.90)
# - Kingma, D. P. and Ba, J. (2015). Adam. *ICLR*.
#   [doi:10.48550/arXiv.1412.6980](https://doi.org/10.48550/arXiv.1412.6980)
#
# Next: [07 · Attention](07_attention.ipynb), the largest of the eight.
