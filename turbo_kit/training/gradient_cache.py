"""The loss and the gradient of a batch that is too large for one piece or one process.

The loss needs of each clip what the model makes of it, and no more. So each part of a batch passes the model by itself;
the loss of all clips gives its gradient by their outputs; each part takes its own on to the parameters (gradient
caching, arXiv 2101.06983).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from turbo_kit.config import InputError, TrainingOptions
from turbo_kit.encoders import TrunkOutput
from turbo_kit.model import ModelOutput
from turbo_kit.objectives import Objective, ObjectiveOutput
from turbo_kit.training.checkpoint import restore_torch_state, torch_state

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Batch(NamedTuple):
    """B training clips: `chunks`, those of this process that pass its model at once, as what the trunks gave by
    modality; `labels` (B,) and `transcripts` (B,), equal for clips with the same transcript, of all processes, in the
    order of their ranks and chunks; `shares`, how many clips each process has, where there are several."""

    chunks: Sequence[Mapping[str, TrunkOutput]]
    labels: Tensor
    transcripts: Tensor
    shares: Sequence[int] = ()


def backward(
    fabric: "Fabric", model: Any, objective: Objective, batch: Batch, accumulate: int = 1, *, last: bool = True
) -> ObjectiveOutput:
    """Computes the loss of a batch, and adds its gradient to that of the model's and the objective's parameters.

    The loss is that of the whole batch, however many processes share it and however many chunks each passes its model
    in. Activations of two chunks are never kept together: all run without a graph; the loss gives its gradient by their
    outputs; each chunk runs once more, under the same dropout masks, and takes its outputs' gradient on to the
    parameters. Each process computes the loss of all clips; the gradients of the parameters are summed over processes.

    Args:
        fabric: runs the backward passes.
        model: a TurboModel as `fabric.setup` gave it, in training mode.
        accumulate: the gradient is divided by this.
        last: whether the optimiser steps next; before, processes need not tell each other their gradients.

    Returns:
        The loss, before that division. Random numbers go on as if each chunk had run once.
    """
    once, alone = len(batch.chunks) == 1, not batch.shares
    if once and alone:
        outputs = _by_clip(model(batch.chunks[0], objective.passes))
        return _backward_of_loss(fabric, objective, outputs, batch, accumulate)

    device, states, parts = batch.labels.device, [], []
    for chunk in batch.chunks:
        states.append(torch_state(device))
        with nullcontext() if once else torch.no_grad(), fabric.no_backward_sync(model, enabled=not (once and last)):
            parts.append(_by_clip(model(chunk, objective.passes)))
    own = {name: torch.cat([part[name].detach() for part in parts]) for name in parts[0]}
    outputs = own if alone else _of_all(own, batch.shares)
    outputs = {name: output.requires_grad_() for name, output in outputs.items()}
    loss = _backward_of_loss(fabric, objective, outputs, batch, accumulate)

    before = 0 if alone else sum(batch.shares[: fabric.global_rank])
    for number, (chunk, state) in enumerate(zip(batch.chunks, states, strict=True), start=1):
        with fabric.no_backward_sync(model, enabled=not (last and number == len(batch.chunks))):
            if once:
                part = parts[0]
            else:
                restore_torch_state(state, device)
                part = _by_clip(model(chunk, objective.passes))
            rows = slice(before, before := before + len(part["logits"]))
            # The gradient of this sum is the chain rule: what the loss makes of the outputs, times theirs. Fabric takes
            # the mean of the processes' gradients, hence their number.
            by_output = {name: output.grad[rows] for name, output in outputs.items() if output.grad is not None}
            chained: Any = sum((part[name] * gradient).sum() for name, gradient in by_output.items())
            fabric.backward(chained * fabric.world_size)
    return loss


def _of_all(own: Mapping[str, Tensor], shares: Sequence[int]) -> dict[str, Tensor]:
    """The rows of every process, in the order of ranks, without a graph."""
    found = {}
    for name, rows in own.items():
        padded = rows.new_zeros((max(shares), *rows.shape[1:]))
        padded[: len(rows)] = rows
        everyone = [torch.empty_like(padded) for _ in shares]
        torch.distributed.all_gather(everyone, padded)
        found[name] = torch.cat([part[:share] for part, share in zip(everyone, shares, strict=True)])
    return found


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


@contextmanager
def memory_errors(options: TrainingOptions) -> Iterator[None]:
    """Turns PyTorch's error about memory into an `InputError` that says which options decide how much a step takes."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        at_once = min(options.chunk_size or options.batch_size, options.batch_size)
        smaller = f"set chunk_size = {at_once // 2} or less, which leaves the batch and its negatives as they are, or "
        raise InputError(
            f"out of memory with {at_once} clips in the model at once (batch_size = {options.batch_size}, chunk_size = "
            f"{options.chunk_size}): {smaller if at_once > 1 else ''}lower batch_size, max_seconds or trainable_layers."
        ) from error
