# %% [markdown]
# # 04 · Training by hand
#
# In the last chapter you built a network. Its 118 thousand parameters were random numbers, and so was its answer.
# This chapter turns it into a refiner. You will write the training loop yourself, see what it does step by step,
# break it with a bad setting, and at the end find that the library's training, with all its machinery, computes the
# very same numbers.
#
# After this chapter you will be able to
#
# - write a training loop, and say what each of its lines does;
# - check a new network in one minute: its loss at the start, and whether it can learn one picture;
# - choose a learning rate, and read a training log.
#
# | | |
# |---|---|
# | before you start | chapters 02 and 03 |
# | learning time | 60 minutes |
# | running time | about half a minute |
# | makes | **Figure 5**: the losses of two trainings |
# | previous, next | [03 · From convolution to U-Net](03_unet.ipynb), [05 · Losses](05_losses.ipynb) |

# %% tags=["parameters"]
profile = "sample"  # which settings: smoke, sample, half, paper
photos = "data/sample"  # the built-in data set
runs = "runs/sample"  # trained networks
out = "reports/sample"  # where tables and figures go

# %%
import math
import tempfile
from pathlib import Path

import lightning
import torch

from nseg_lib import config, networks
from nseg_lib.course import exercises, look, plots, standins
from nseg_lib.data.coco import load_split
from nseg_lib.data.datasets import EpochBatches, TrainingPairs, collate
from nseg_lib.provenance import project_root
from nseg_lib.training import unet as training
from nseg_lib.training.runs import Run
from reproduction import paper, shown

# %%
look.use_style()
ROOT = project_root()
DATA = standins.data_set(ROOT / photos)
PHOTOS = standins.photographs(DATA)
image, x, target = standins.one_pair(standins.photograph(PHOTOS, "coffee"), scale=0.25)
print("input", tuple(x.shape), "target", tuple(target.shape))

# %% [markdown]
# The pair $(x, t)$ is what a network is trained on: the input with its three channels (stroke, grey picture,
# gradient) and the **target**, which is the true mask as zeros and ones. The picture is a cup of coffee at a quarter
# of its size, which keeps the chapter quick. The object is the saucer.
#
# ## The loss is a number to be made small
#
# Training needs one number that says how wrong an answer is, and it must be a smooth function of the parameters, so
# that a small change of a parameter changes it a little. Such a number is called a **loss**. IoU cannot serve
# directly: it counts pixels above a threshold, and does not change at all while a probability moves from 0.6 to 0.7.
# The paper adds up two losses, with a weight of one half each:
#
# - **binary cross-entropy** (BCE): for each pixel the negative logarithm of the probability that the
#   network gave to the right answer, averaged over all pixels;
# - **Dice loss**: one minus a smooth relative of IoU, computed from probabilities.
#
# Chapter 05 takes both apart. Here it is enough to know that training makes their sum small.


# %%
def loss_of(logits, target):
    """Half binary cross-entropy, half Dice: the paper's loss without a boundary term."""
    bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
    p = logits.sigmoid()
    dice = 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
    return 0.5 * bce + 0.5 * dice


# %% [markdown]
# ## Guess first
#
# A network with random parameters has no opinion: its logits are near 0, so it gives every pixel a probability near
# one half. What is the binary cross-entropy of somebody who says "one half" everywhere? Write down a number before
# you go on. It does not depend on the picture, nor on the network, so it is the first thing to check in every
# training, of anybody's network.
#
# <details><summary>Answer to the guess</summary>
#
# Every pixel gets a probability of one half for the right answer, whichever answer is right. So each of them costs
# $-\ln 0.5 = 0.693$, and so does the mean. A start far above it tells you that the network is sure of something wrong
# before it has seen anything: perhaps its inputs are not scaled to 0 … 1, or the last layer's weights are too large.
#
# </details>

# %%
for seed in range(4):
    torch.manual_seed(seed)
    with torch.no_grad():
        logits = networks.UNet([16, 32])(x)
    bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, target).item()
    print(f"seed {seed}: BCE at the start {bce:.3f}; -ln 0.5 = {-math.log(0.5):.3f}")

# %% [markdown]
# The values lie around 0.693 and not exactly on it, since random logits are near 0, but not 0. A start that is some
# tenths away is nothing to worry about; 2 or 5 would be.
#
# ## The loop
#
# This is all there is to training. For each step:
#
# 1. take a pair, and let the network answer (the *forward pass*);
# 2. compute the loss;
# 3. compute the **gradient**: for each parameter, how much the loss would change if that parameter were
#    raised a little. `backward` does it for all parameters at once, from the last layer to the first, by
#    the chain rule;
# 4. move every parameter a little *against* its gradient. How far depends on the **learning rate**.
#
# PyTorch adds new gradients to old ones, so they must be set to zero first. The rule that makes the move is called
# the *optimiser*. The paper uses **Adam**, which divides each gradient by its own typical size, so that all
# parameters move at a similar pace. The list of losses is all that we keep.
#
# Before the loop, look at one such move. The next cell computes the gradient once, goes against it by steps of
# different length, always from the same start, and draws the loss at which each of them arrives.

# %%
torch.manual_seed(0)
network, lengths, arrived = networks.UNet([16, 32]), [0.5 * n for n in range(-2, 33)], []
loss_of(network(x), target).backward()
start = [(p, p.detach().clone()) for p in network.parameters()]
for length in lengths:
    with torch.no_grad():
        for p, was in start:
            p.copy_(was - length * p.grad)
        arrived.append(loss_of(network(x), target).item())
look.curves({"one step against the gradient": {"loss": (lengths, arrived)}},
            x="length of the step", y="loss", level={"where it starts": arrived[2]})  # fmt: skip

# %% [markdown]
# **What to look for.** At length 0, where the curve meets the dashed line, the curve slopes: that slope is what the
# gradient says. So a short step downhill is sure to help. But the gradient knows only the slope at the start. Find
# the length that helps most, and see what becomes of a step that is several times as long. This is why the learning
# rate matters.


# %%
def train(network, pairs, learning_rate=0.001, watch=lambda step: None):
    """Train a network on pairs of input and target; returns the loss of every step."""
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    losses = []
    for step, (x, target) in enumerate(pairs):
        watch(step)
        logits = network(x)
        loss = loss_of(logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# %% [markdown]
# ## First test: one picture by heart
#
# Before you train anything for hours, do this. Give the network the *same* pair again and again. With 118 thousand
# parameters it must be able to learn one picture by heart. If the loss does not go down here, there is a mistake in
# the code, and no amount of data will mend it. The function `watch` is called before each step; here it takes a
# photograph of the network's answer at some of the steps, which gives a film strip.

# %%
torch.manual_seed(0)
network, film = networks.UNet([16, 32]), {}


def watch(step):
    if step in (0, 5, 10, 20, 40, 79):
        with torch.no_grad():
            film[f"before step {step}"] = network(x).sigmoid()[0, 0].numpy()


by_heart = train(network, [(x, target)] * 80, watch=watch)
look.gallery(film)

# %%
look.curves({"one picture by heart": {"loss": by_heart}}, x="step", y="loss")

# %% [markdown]
# **What to look for.** The pictures show the probability of every pixel, black for 0 and white for 1. In the first
# one you can still recognise the photograph, since random filters pass on whatever they are given. Then something
# remarkable happens: within ten steps the network learns to **return the stroke**. That is the easiest good answer,
# as the stroke is one of its three inputs, and it is the identity of chapter 00. Only later do the bites begin to
# close. The curve shows the same: it falls steeply while the identity is learned, and slowly afterwards. That it
# falls at all is the point of the test.
#
# ## Many pictures
#
# Learning one picture by heart is useless for any other picture. So we give the network a *different* picture at each
# step, with a stroke that is drawn anew each time. One pass over all training pictures is called an **epoch**. The
# settings below are the paper's, on the built-in pictures at a quarter of their size; `EpochBatches` says which
# picture comes when, and the seed decides it.

# %%
settings = config.load("tiny16-32_bce-dice", {"training.epochs": 1, "data.scale": 0.25})
seed = settings.training.seed
strokes = TrainingPairs(load_split(DATA, "train"), settings.data, settings.model.inputs, seed)
order = EpochBatches(strokes.sizes(), batch_size=1, seed=seed)
pairs = [pair for keys in order if (pair := collate([strokes[key] for key in keys]))]

lightning.seed_everything(seed, verbose=False)
network = networks.build(settings.model)
losses = train(network, pairs, settings.training.learning_rate)
print(f"{len(losses)} steps, from {losses[0]:.3f} to a mean of {sum(losses[-20:]) / 20:.3f}")


# %%
def running_mean(values, window=20):
    last = [values[max(0, i + 1 - window) : i + 1] for i in range(len(values))]
    return [sum(part) / len(part) for part in last]


curves = {"each step": losses, "mean of the last 20": running_mean(losses)}
look.curves({"one epoch": curves}, x="step", y="loss")

# %% [markdown]
# **What to look for.** The single steps jump up and down, much more than on one picture. That is not a fault: some
# pictures are hard and some are easy, and every step shows another one. So a single step says mostly how hard its
# picture was. Only the running mean tells whether the network learns.
#
# ## Second test: the learning rate
#
# The learning rate is the one setting that you will always have to choose. Here are four, each ten times the one
# before, and all from the same random start: on the left on one picture again and again, on the right on eighty
# different ones. On the right each point is the mean of the last 20 steps.

# %%
same, different = {}, {}
for rate in (0.0001, 0.001, 0.01, 0.1):
    torch.manual_seed(0)
    same[f"{rate:g}"] = train(networks.UNet([16, 32]), [(x, target)] * 20, rate)
    torch.manual_seed(0)
    different[f"{rate:g}"] = running_mean(train(networks.UNet([16, 32]), pairs[:80], rate))
look.curves({"one picture": same, "eighty pictures": different}, x="step", y="loss")

# %% [markdown]
# **What to look for.** On the left, larger is better: with a single picture, every step may go as far as it likes. On
# the right the two largest rates are quick too, but soon they get no further: they have learned to return the stroke,
# and that is as far as they come in eighty steps. The paper's rate, 0.001, looks slow beside them. It was not chosen
# for eighty steps, however, but for 900 pictures and up to 50 epochs. That is the trap of short trials: they favour
# large rates, which reach the easy part sooner. So a short trial can rule a rate out, such as one that does not move
# or one whose loss explodes; to choose between those that work, compare trainings as long as the one that you plan.
#
# ## The same five numbers
#
# The library trains with Lightning. It can use a GPU, resume after a crash, read pictures in several processes and
# keep the best epoch. Does all that machinery compute anything else than our eleven lines? With the same seed it
# starts from the same parameters and sees the same pictures with the same strokes in the same order. Its log has the
# loss of every fifth step. If the first five of these numbers agree with ours to all their digits, then so do the 25
# steps that led to them.

# %%
with tempfile.TemporaryDirectory() as folder:
    training.train(settings, DATA, Path(folder), workers=0, accelerator="cpu")
    run = Run(settings.name, seed, Path(folder))
    log, theirs = run.log(), run.steps()["train_loss"][:5]
ours = losses[4::5][: len(theirs)]  # a small data set has fewer than 25 steps
plots.table(zip(range(5, 26, 5), ours, theirs, strict=False),
            ("step", "by hand", "the library"), "{:.6f}", step="{:d}")  # fmt: skip

# %%
assert all(f"{a:.4g}" == f"{b:.4g}" for a, b in zip(ours, theirs, strict=True))
print(f"after the epoch: IoU {log['val_iou'][0]:.3f} on the validation pictures,",
      f"stroke unchanged {standins.identity_iou(DATA, scale=0.25):.3f}")  # fmt: skip

# %% [markdown]
# From here on the library trains, and you know what it does. The last line shows the number that is missing in every
# training log that we know of: the IoU of doing nothing. An IoU that rises from epoch to epoch looks like success,
# but as long as it lies below that of the strokes, the network does harm. So compare the two numbers: after one
# epoch, what has the network added to its strokes?
#
# ## When to stop: Figure 5
#
# After each epoch, the loss is computed on **validation** pictures, which are not trained on. As long as it falls,
# the network learns something that holds for other pictures too. When it rises while the training loss still falls,
# the network learns its training pictures by heart (*overfitting*). **Early stopping** ends the training when some
# epochs in a row (the *patience*, five in the paper) bring no lower validation loss, and keeps the epoch of the
# lowest one.
#
# The paper's Figure 5 shows the losses of the network that it found best by pixel accuracy and of the one that it
# found worst. Solid lines are ours and dotted ones are the authors' own validation losses, from the logs that they
# released. A star marks the epoch that was kept. Where we trained a network several times, each training has its own
# lines, and a pale band shows how far they lie apart.

# %%
shown.figure5(ROOT, ROOT / runs, ROOT / out, profile)

# %% [markdown]
# **What to look for.** Two cautions. First, the two trainings differ in more than the network: the left one's loss
# has a third term and other weights. So the *heights* of the two panels cannot be compared, only their shapes.
# Second, the authors' right one stopped after a few epochs, and the left one went on. When the paper compares their
# best epochs, it compares a long training with a short one. Chapter 09 returns to that.

# %%
chosen = paper.numbers()["chosen_epochs"]
plots.table(chosen.items(), ("model", "the epoch that the authors kept, counted from 0"), "{:d}")

# %% [markdown]
# ## Exercises
#
# Solutions of the functions are in `notebooks/solutions/04_training_by_hand.py`.
#
# **1.** The cross-entropy of a new network starts at 4.2. What is most likely?
#
# - a) The network is too small for the task.
# - b) Its logits are large at the start: it is sure, and wrong.
# - c) The learning rate is too high.

# %%
print(exercises.choose("loss of 4.2 at the start", ""))

# %% [markdown]
# **2.** You forget `optimizer.zero_grad()`. What happens?
#
# - a) Nothing: `backward` overwrites the gradients.
# - b) The gradients of all steps so far are added up, so each step moves by old pictures too.
# - c) PyTorch raises an error.

# %%
print(exercises.choose("without zero_grad", ""))

# %% [markdown]
# **3.** A network cannot learn one picture by heart in 500 steps, at any learning rate. What next?
#
# - a) Train it on more pictures.
# - b) Make the patience longer.
# - c) Look for a mistake in the network, the loss or the target.

# %%
print(exercises.choose("one picture is not learned", ""))

# %% [markdown]
# **4. One step of Adam.** Adam keeps two running means for each parameter: $m$ of the gradient $g$ and
# $v$ of its square. At step $n = 1, 2, …$ it computes
#
# $$m \leftarrow 0.9\, m + 0.1\, g, \quad v \leftarrow 0.999\, v + 0.001\, g^2, \quad
#   w \leftarrow w - \eta\, \frac{m / (1 - 0.9^n)}{\sqrt{v / (1 - 0.999^n)} + 10^{-8}}$$
#
# with the learning rate $\eta$. Return the new $(w, m, v)$ for numbers. Try it on a first step with $m = v = 0$: how
# far does the parameter move, and does that depend on the size of the gradient?


# %%
def adam_step(w, g, m, v, n, rate): ...  # your turn


print(exercises.check(adam_step))

# %% [markdown]
# **5. Early stopping.** Given the validation loss of every epoch that *would* come, return the epoch that
# is kept and the last epoch that is trained, both counted from 0, for a given patience. An equal loss is
# not a lower one.


# %%
def stops_at(losses, patience): ...  # your turn


print(exercises.check(stops_at))

# %% [markdown]
# **6. Experiment.** Replace Adam in the loop by plain gradient descent, `torch.optim.SGD`, and repeat the
# test of the learning rates, with rates up to 10. Which rate works best now? By which factor does it differ
# from Adam's, and why would you have guessed so from exercise 4?
#
# **7. Open question.** Somebody shows you a training whose validation loss falls for ten epochs and then
# stays level for forty. The training loss falls all the time. What do you conclude, what would you look
# at next, and which single additional curve would you ask for?
#
# <details><summary>Rubric</summary>
#
# One point each: (1) the network still learns, but only its training pictures; (2) it is not yet worse on others, as
# the validation loss does not rise; (3) the epochs after the tenth cost time and give nothing but luck in the choice
# of the best; (4) it asks for more data, for drawing strokes anew, or for a smaller network, with a reason; (5) the
# curve to ask for is the loss or IoU of the stroke unchanged.
#
# </details>
#
# ## Recap
#
# - A training step: answer, loss, gradient, move. The loop has eleven lines.
# - A new network is tested in a minute: cross-entropy near 0.693 at the start, and one picture by heart.
# - Single steps scatter with the difficulty of their pictures; only means tell.
# - The library's training computes the same numbers, digit by digit.
#
# ## Words
#
# - **Adam**: an optimiser that scales every parameter's step by the typical size of its gradient.
# - **Early stopping**: ending a training when the validation loss has not fallen for some epochs.
# - **Epoch**: one pass over all training pictures.
# - **Gradient**: the change of the loss for a small change of each parameter.
# - **Learning rate**: how far the parameters move in one step.
# - **Loss**: the number that training makes small.
# - **Overfitting**: getting better on the training pictures and worse on all others.
#
# ## References
#
# - Kingma, D. P. and Ba, J. (2015). Adam: a method for stochastic optimization. *ICLR*.
#   [doi:10.48550/arXiv.1412.6980](https://doi.org/10.48550/arXiv.1412.6980)
# - Prechelt, L. (1998). Early stopping – but when? *Neural Networks: Tricks of the Trade*.
#   [doi:10.1007/3-540-49430-8_3](https://doi.org/10.1007/3-540-49430-8_3)
# - Rumelhart, D. E., Hinton, G. E. and Williams, R. J. (1986). Learning representations by
#   back-propagating errors. *Nature* 323, 533–536.
#   [doi:10.1038/323533a0](https://doi.org/10.1038/323533a0)
#
# Next: [05 · Losses](05_losses.ipynb), where we ask what it is that a loss rewards.
