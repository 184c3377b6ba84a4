"""The head on a frozen encoder: a projection, positions and a few small transformer layers with dropout."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from turbo_kit.config import InputError
from turbo_kit.encoders.fast_dropout import Dropout, attend


class LightHead(nn.Module):
    """Projection to `width`, sinusoidal positions and `layers` pre-norm transformer layers.

    All before the first dropout runs once, whatever the number of passes.

    Args:
        inputs: features of what comes in.
        width: features of what goes out; a multiple of 32, the size of an attention head.
        layers: transformer layers, at least 1.
        dropout: rate after the positions, in the attention and after each sublayer.
        states: hidden states of the encoder that come in and are mixed first (see `LayerMix`); None: a single one.

    Raises:
        InputError: `width` is not a multiple of 32, or `layers` is below 1: without a layer no position would see
            another one.
    """

    def __init__(self, inputs: int, width: int, layers: int, dropout: float, states: int | None = None) -> None:
        super().__init__()
        if width < 32 or width % 32:
            raise InputError(f"head_width={width}: give a multiple of 32 (the size of one attention head), such as 128")
        if layers < 1:
            raise InputError(f"head_layers={layers}: give 1 or more")
        self.mix = nn.Identity() if states is None else LayerMix(states)
        self.norm_in = nn.LayerNorm(inputs)
        self.project = nn.Linear(inputs, width)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(LightLayer(width, dropout) for _ in range(layers))
        self.norm_out = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor, passes: int) -> Tensor:
        """Map (B, T, inputs), or (B, T, states, inputs), and its mask (B, T) to (passes * B, T, width)."""
        x = self.project(self.norm_in(self.mix(x)))
        x = x + sinusoids(x.shape[1], x.shape[2], x.device)
        x = self.dropout(x.repeat(passes, 1, 1))
        attended = mask.repeat(passes, 1)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, attended)
        return self.norm_out(x)  # type: ignore[no-any-return]


class LayerMix(nn.Module):
    """The sum of an encoder's hidden states, weighted by the softmax of one learned scalar each; all alike at first.

    As in SUPERB (arXiv 2105.01051) with the defaults of its code: the states are not normalised one by one before.
    """

    def __init__(self, states: int) -> None:
        super().__init__()
        self.scalars = nn.Parameter(torch.zeros(states))

    @property
    def weights(self) -> Tensor:
        """(states,), positive and of sum 1."""
        return self.scalars.softmax(dim=0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) from (B, T, states, D)."""
        return torch.einsum("s,btsd->btd", self.weights, x)


class LightLayer(nn.Module):
    """One pre-norm transformer layer whose feed-forward part is twice as wide as its input."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, attended: Tensor) -> Tensor:
        """Map (B, T, width) to the same shape; `attended` (B, 1, 1, T) is True where a key is real."""
        parts = self.queries_keys_values(self.norm_attention(x)).unflatten(-1, (3, -1, 32)).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts.unbind()
        mixed = attend(queries, keys, values, attended, self.dropout.p if self.training else 0.0)
        x = x + self.dropout(self.attention_out(mixed.transpose(1, 2).flatten(2)))
        wide = F.gelu(self.widen(self.norm_feed_forward(x)))
        return x + self.dropout(self.narrow(wide))  # type: ignore[no-any-return]


def sinusoids(length: int, width: int, device: torch.device) -> Tensor:
    """Fixed positions (length, width): sines, then cosines, of periods from 2 pi to 20,000 pi (arXiv 1706.03762)."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=device) * (-math.log(10_000) / (half - 1)))
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
