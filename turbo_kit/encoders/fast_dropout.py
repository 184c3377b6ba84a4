"""Dropout whose masks are cheap on a CPU, where torch's own took a seventh of a demo step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 2**16
"""A rate is rounded to a multiple of 1 / STEPS: four masks are cut from one random number of 64 bits."""


def dropout(x: Tensor, rate: float) -> Tensor:
    """Zeroes each entry with probability `rate` and scales the others by 1 / (1 - rate), so that means stay.

    On a CPU the masks come from torch's generator by another way than those of `torch.nn.functional.dropout`, three
    times as quickly; the rate is then a multiple of 1 / STEPS, and the scale fits it exactly.

    Args:
        x: floats of any shape.
        rate: from 0 up to, but not including, 1.
    """
    dropped = round(rate * STEPS)
    if rate == 0.0 or dropped == STEPS or x.device.type != "cpu":  # STEPS: hardly an entry would stay
        return F.dropout(x, rate)
    count = x.numel()
    draws = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
    mask = torch.empty(x.shape, dtype=x.dtype)
    torch.ge(draws.view(x.shape), dropped - STEPS // 2, out=mask)
    return x * mask.mul_(STEPS / (STEPS - dropped))


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, with the masks of `dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        """The input, of any shape; in training mode with entries dropped."""
        return dropout(input, self.p) if self.training else input


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, attended: Tensor | None, rate: float, scale: float | None = None
) -> Tensor:
    """`torch.nn.functional.scaled_dot_product_attention`, with the masks of `dropout` on a CPU.

    Args:
        queries, keys, values: (B, heads, T, D).
        attended: True where a key is real, or what is added to the logits, to be broadcast to (B, heads, T, T);
            None: all keys are.
        rate: of the dropout of the attention weights; 0 outside training.
        scale: of the logits; None: 1 / sqrt(D).

    Returns:
        (B, heads, T, D)
    """
    if rate == 0.0 or queries.device.type != "cpu":
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=attended, dropout_p=rate, scale=scale)
    logits = (queries * (queries.shape[-1] ** -0.5 if scale is None else scale)) @ keys.transpose(-2, -1)
    if attended is not None and attended.dtype == torch.bool:
        attended = torch.zeros(attended.shape, dtype=logits.dtype).masked_fill_(~attended, -torch.inf)
    logits = logits if attended is None else logits + attended
    return dropout(logits.softmax(dim=-1), rate) @ values


def transformers_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """`attend` as transformers wants to call it: the output is (B, T, heads, D)."""
    return attend(query, key, value, attention_mask, dropout, scaling).transpose(1, 2).contiguous(), None


def use_cheap_masks(model: nn.Module) -> None:
    """Puts `Dropout` in the place of every `torch.nn.Dropout` of the model."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p))
