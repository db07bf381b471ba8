"""Checks numbers in prose: those in the sentences of ``reports/quoted.yml`` are computed anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml
from scipy import stats

from reproduction import spread
from reproduction.evidence import Evidence

QUOTED = Path("reports") / "quoted.yml"
PROFILE = "half"
"""The profile that the prose is about."""


def values(evidence: Evidence) -> dict[str, str]:
    """Name in braces → the number as it is written, such as ``0.0021``."""
    printed, logs = evidence.printed, evidence.authors
    found = {
        "epochs": str(evidence.profile.settings["training.epochs"]),
        "paper_epochs": str(printed["setting"]["epochs"]),
    }

    # Pictures whose stroke came out too small have no row.
    identity = evidence.results[evidence.results["method"] == "identity"]
    for split in evidence.splits:
        there = int((evidence.pictures["split"] == split).sum())
        found[split] = str(there)
        found[f"{split}_dropped"] = str(there - int((identity["split"] == split).sum()))

    # How much more networks add to their stroke on validation pictures.
    gains = [value for _, value in spread.other_pictures(evidence, "iou")]
    found |= {"gain_low": f"{min(gains):.2f}", "gain_high": f"{max(gains):.2f}"}

    # The authors' trainings, without and with boundary loss.
    epochs = logs.groupby("model")["epoch"].size()
    bound = epochs.index.str.endswith("-bound")
    for name, part in (("short", epochs[~bound]), ("long", epochs[bound])):
        kept = sorted({printed["chosen_epochs"][model] for model in part.index})
        found |= {f"{name}_low": str(part.min()), f"{name}_high": str(part.max())}
        found[f"{name}_kept"] = " or ".join(map(str, kept))

    # The few networks with several seeds: the deviation of their means over seeds.
    means = spread.seed_means(evidence, "iou").groupby("method").agg(["std", "size"])
    for model, row in means[means["size"] > 1].iterrows():
        found[f"sd {model}"] = f"{row['std']:.4f} over {row['size']:.0f} seeds"

    # The scatter of trainings, and its interval, which follows chi-squared.
    trainings = evidence.scatter("iou")
    found |= {"scatter": f"{trainings.sd:.4f}", "degrees": str(trainings.degrees)}
    for name, tail in (("low", 0.975), ("high", 0.025)):
        factor = (trainings.degrees / stats.chi2.ppf(tail, trainings.degrees)) ** 0.5
        found[f"scatter_{name}"] = f"{trainings.sd * factor:.4f}"
    return found


def missing(root: Path, evidence: Evidence) -> Iterator[str]:
    """One line for every sentence of ``quoted.yml`` that a file does not say."""
    known = values(evidence)
    for name, sentences in yaml.safe_load((root / QUOTED).read_text(encoding="utf-8")).items():
        text = " ".join((root / name).read_text(encoding="utf-8").split())
        for sentence in sentences:
            wanted = sentence.format(**known)
            if wanted not in text:
                yield f"{name}: should say “{wanted}”"
