"""Checks of how many processes and machines are to train one network."""

from __future__ import annotations

import os

import lightning as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from nseg_lib.config import ConfigError


def check_devices(accelerator: str, devices: int) -> None:
    """Refuse more processes than this machine has processors or GPUs, before any is started.

    Raises:
        ConfigError: there are fewer.
    """
    gpus = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    gpus |= {"gpu": sum(gpus.values()), "auto": sum(gpus.values())}
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not gpus["auto"])
    there, kind = (os.cpu_count() or 1, "processors") if on_cpu else (gpus[accelerator], "GPUs")
    if devices > max(1, there):  # that there is no GPU at all, Lightning says
        asked = f"devices {devices}: at most one for each"
        raise ConfigError(f"{asked} of this machine's {there} {kind}")


def check_machines(trainer: L.Trainer, devices: int, nodes: int) -> None:
    """Refuse numbers that differ from what torchrun or Slurm has started, before data is read.

    Raises:
        ConfigError: nothing has started the other machines, for which this one would wait.
        ValueError, RuntimeError: Lightning's, of numbers that disagree.
    """
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if environment is None:  # one process
        return
    alone = isinstance(environment, LightningEnvironment) and "NODE_RANK" not in os.environ
    if nodes > 1 and alone:
        raise ConfigError(f"nodes {nodes}: nothing starts the other machines; use srun or torchrun")
    environment.validate_settings(num_devices=devices, num_nodes=nodes)
