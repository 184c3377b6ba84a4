"""From the positions of an utterance to one vector, where their mean is not enough."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SCORE_WIDTH = 128
SMALLEST_VARIANCE = 1e-6  # below it no gradient is passed on: that of a square root grows without bound towards 0


class AttentivePooling(nn.Module):
    """Attentive statistics pooling (arXiv 1803.10963), and a projection back to the width of what comes in.

    Each real position h gets a score, v . tanh(W h + b). The softmax of an utterance's scores weighs its positions in a
    mean and a standard deviation of each feature; the two stand side by side, 2 * width features, and are projected.

    Args:
        width: features of a position and of the result.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        # The last has no bias: added to all scores alike, it would change nothing.
        self.scores = nn.Sequential(nn.Linear(width, SCORE_WIDTH), nn.Tanh(), nn.Linear(SCORE_WIDTH, 1, bias=False))
        # Back to `width`, since a pooled vector has to stand beside positions and take their place: cross-attention
        # adds to it what positions found, and one vector stands in for both where a modality is absent.
        self.project = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, width) from (B, T, width) and its mask (B, T), of which at least one position a row is real."""
        scores = self.scores(x)[:, :, 0].masked_fill(~mask, -torch.inf)
        weights = scores.softmax(dim=1)[:, :, None]
        mean = (weights * x).sum(1)
        variance = (weights * (x - mean[:, None]).square()).sum(1)
        statistics = torch.cat([mean, variance.clamp(min=SMALLEST_VARIANCE).sqrt()], dim=1)
        return self.project(statistics)  # type: ignore[no-any-return]
