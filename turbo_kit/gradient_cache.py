"""The loss and the gradient of a large batch in the memory of a small one, by gradient caching (arXiv 2101.06983)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from turbo_kit.config import InputError, RunConfig
from turbo_kit.encoders import Hidden
from turbo_kit.model import ModelOutput
from turbo_kit.objectives import Objective, ObjectiveOutput

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Batch(NamedTuple):
    """B training clips on the device: `chunks`, those that pass the model at once, as what the trunks gave by modality;
    `labels` (B,) and `transcripts` (B,), equal for clips with the same transcript, in the order of the chunks."""

    chunks: Sequence[Mapping[str, Hidden]]
    labels: Tensor
    transcripts: Tensor


def backward(fabric: "Fabric", model: Any, objective: Objective, batch: Batch, accumulate: int = 1) -> ObjectiveOutput:
    """Computes the loss of a batch, and adds its gradient to that of the model's and the objective's parameters.

    The loss is that of the whole batch, however many chunks it passes the model in. Their activations are never kept
    together: all chunks run without a graph; the loss gives its gradient by their outputs; each chunk runs once more,
    under the same dropout masks, and takes its outputs' gradient on to the parameters.

    Args:
        fabric: runs the backward passes.
        model: a TurboModel as `fabric.setup` gave it, in training mode.
        objective: of the training.
        batch: the clips.
        accumulate: the gradient is divided by this.

    Returns:
        The loss, before that division. Random numbers go on as if each chunk had run once.
    """
    if len(batch.chunks) == 1:
        outputs = _by_clip(model(batch.chunks[0], objective.passes))
        return _backward_of_loss(fabric, objective, outputs, batch, accumulate)

    device, states, parts = batch.labels.device, [], []
    for chunk in batch.chunks:
        states.append(_random_state(device))
        with torch.no_grad():
            parts.append(_by_clip(model(chunk, objective.passes)))
    outputs = {name: torch.cat([part[name] for part in parts]).requires_grad_() for name in parts[0]}
    loss = _backward_of_loss(fabric, objective, outputs, batch, accumulate)

    sizes = [len(part["logits"]) for part in parts]
    gradients = {name: torch.split(output.grad, sizes) for name, output in outputs.items() if output.grad is not None}
    for number, (chunk, state) in enumerate(zip(batch.chunks, states, strict=True)):
        _restore(state, device)
        part = _by_clip(model(chunk, objective.passes))
        # The gradient of this sum is the chain rule: what the loss makes of the outputs, times theirs.
        fabric.backward(reduce(add, ((part[name] * gradient[number]).sum() for name, gradient in gradients.items())))
    return loss


def _by_clip(output: ModelOutput) -> dict[str, Tensor]:
    """What the objective compares, with the clips first: each view (B, D), and `logits` (B, passes, C)."""
    return {**output.views, "logits": output.logits.transpose(0, 1)}


def _backward_of_loss(
    fabric: "Fabric", objective: Objective, outputs: Mapping[str, Tensor], batch: Batch, accumulate: int
) -> ObjectiveOutput:
    logits = outputs["logits"].transpose(0, 1)
    loss: ObjectiveOutput = objective(outputs, logits, batch.labels, same=batch.transcripts)
    fabric.backward(loss.total / accumulate)
    return loss


def _generators(device: torch.device) -> list[Any]:
    """Those parts of torch whose random numbers a model on this device draws."""
    return [torch] if device.type == "cpu" else [torch, torch.get_device_module(device)]


def _random_state(device: torch.device) -> list[Tensor]:
    return [generator.get_rng_state() for generator in _generators(device)]


def _restore(states: Sequence[Tensor], device: torch.device) -> None:
    for generator, state in zip(_generators(device), states, strict=True):
        generator.set_rng_state(state)


@contextmanager
def memory_errors(config: RunConfig) -> Iterator[None]:
    """Turns PyTorch's error about memory into one that says which knobs decide how much a step takes.

    Raises:
        InputError: the step does not fit into memory.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        at_once = min(config.chunk_size or config.batch_size, config.batch_size)
        raise InputError(
            f"out of memory with {at_once} clips in the model at once (batch_size = {config.batch_size}, chunk_size = "
            f"{config.chunk_size}): set chunk_size = {max(1, at_once // 2)} or less, which leaves the batch and its "
            "negatives as they are, or lower batch_size or max_seconds."
        ) from error
