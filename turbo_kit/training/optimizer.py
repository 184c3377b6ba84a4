"""How steps are taken: on which device, in which processes, at which learning rates."""

import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from turbo_kit.config import HardwareOptions, InputError, TrainingOptions
from turbo_kit.model import TurboModel
from turbo_kit.objectives import Objective

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MIX_RATE = 30
"""Times the learning rate: what the scalars of a layer mix learn at. AdamW moves a scalar by about its learning rate a
step, and the hundred steps of a short training at 1e-3 would leave all layers weighing the same."""


def build_fabric(options: HardwareOptions) -> "Fabric":
    """One process, or as many as `torchrun` has started."""
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    precision = options.precision
    if precision == "auto":
        cuda = options.device in ("auto", "cuda") and torch.cuda.is_available()
        precision = "bf16-mixed" if cuda else "32-true"
    if not torch.distributed.is_torchelastic_launched():
        return Fabric(accelerator=options.device, devices=1, precision=precision)
    here, everywhere = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    strategy = DDPStrategy(find_unused_parameters=True)  # not every objective uses every parameter
    fabric = Fabric(
        accelerator=options.device, strategy=strategy, devices=here, num_nodes=everywhere // here, precision=precision
    )
    fabric.launch()
    return fabric


def compile_model(model: TurboModel) -> Any:
    """The model through `torch.compile`: for all shapes at once, and with the dropout masks that it has without."""
    if not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++", "cl"))):
        raise InputError(
            "compile = True needs a C++ compiler such as g++, and none was found: install one or leave it."
        )
    return torch.compile(model, dynamic=True, options={"fallback_random": True})


def build_optimizer(
    options: TrainingOptions, model: TurboModel, objective: Objective, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW with its own learning rate for pretrained layers, no decay of norms and biases, warm-up and cosine."""
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in [*model.named_parameters(), *objective.named_parameters()]:
        pretrained = name.split(".")[2:3] == ["backbone"]
        rate = options.encoder_learning_rate if pretrained else options.learning_rate
        rate *= MIX_RATE if name.endswith("mix.scalars") else 1
        decay = options.weight_decay if parameter.ndim > 1 else 0.0
        if parameter.requires_grad:
            groups.setdefault((rate, decay), []).append(parameter)
    # The first group is the one whose learning rate is reported: that of the new layers.
    ordered = sorted(groups.items(), key=lambda group: (group[0][0] <= options.learning_rate, *group[0]), reverse=True)
    groups_of_rates = [{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in ordered]
    optimizer = torch.optim.AdamW(groups_of_rates, fused=True)
    warm = max(1, round(options.warmup * steps))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + float(np.cos(np.pi * min(1.0, (step - warm) / max(1, steps - warm)))))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
