"""What the classifier reads of two modalities."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from turbo_kit.encoders import EncoderOutput


class Fusion(nn.Module):
    """One vector for each pass and clip, from what the encoders returned.

    Args:
        widths: features of each modality.
        kind: concat (pooled vectors side by side), gated (their gated sum), cross-attention (each modality's positions
            attend to the other's, then side by side), or the name of the one modality that is read.
    """

    def __init__(self, widths: Mapping[str, int], kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.width = {"gated": max(widths.values()), **widths}.get(kind, sum(widths.values()))
        if kind == "gated":
            self.values = nn.ModuleDict({m: nn.Linear(width, self.width) for m, width in widths.items()})
            self.gate = nn.Linear(sum(widths.values()), self.width)
        if kind == "cross-attention":
            one, other = widths.items()
            pairs = ((one[0], one[1], other[1]), (other[0], other[1], one[1]))
            self.attention = nn.ModuleDict({m: CrossAttention(width, theirs) for m, width, theirs in pairs})

    def forward(self, encoded: Mapping[str, EncoderOutput]) -> Tensor:
        """Encodings by modality to (passes, B, width)."""
        if self.kind in encoded:
            return encoded[self.kind].pooled
        if self.kind == "cross-attention":
            (one, first), (other, second) = encoded.items()
            return torch.cat([self.attention[one](first, second), self.attention[other](second, first)], dim=-1)
        together = torch.cat([part.pooled for part in encoded.values()], dim=-1)
        if self.kind == "concat":
            return together
        gate = self.gate(together).sigmoid()
        left, right = (self.values[modality](part.pooled) for modality, part in encoded.items())
        return gate * left + (1 - gate) * right  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """The pooled vector of one modality, plus the mean of what its positions find in the other one."""

    def __init__(self, width: int, other: int) -> None:
        super().__init__()
        heads = width // 32 if width % 32 == 0 else 1
        self.attention = nn.MultiheadAttention(width, heads, kdim=other, vdim=other, batch_first=True)

    def forward(self, own: EncoderOutput, other: EncoderOutput) -> Tensor:
        """Two encodings of the same clips to (passes, B, width)."""
        passes = len(own.pooled)
        theirs, padded = other.sequence.flatten(0, 1), ~other.mask.repeat(passes, 1)
        queries = own.sequence.flatten(0, 1)
        found, _ = self.attention(queries, theirs, theirs, key_padding_mask=padded, need_weights=False)
        real = own.mask.repeat(passes, 1)[:, :, None]
        mean: Tensor = (found * real).sum(dim=1) / real.sum(dim=1)
        return own.pooled + mean.reshape(own.pooled.shape)
