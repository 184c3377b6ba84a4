"""Batches of clips of similar length: in a random order for training, in a fixed one for inference."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Lengths = Sequence[int] | NDArray[np.int64]


def bucketed_batches(lengths: Lengths, batch_size: int, *, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """One epoch of batches of a fixed number of clips, of similar length, in an order that (seed, epoch) decides.

    Clips are sorted by length, each is moved by a random way of at most one batch up or down, and the batches are
    shuffled: little is padded, and of a clip's neighbours a third are those of the epoch before. The longest quarter
    moves less and less, for a long clip among shorter ones pads them all. The clips that fill no batch, others in each
    epoch, sit it out (every batch has the same number of negatives), unless there are fewer clips than one batch holds.

    Args:
        lengths: length of each clip, in any unit.

    Returns:
        Indices of the clips of each batch.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    batch_size = min(batch_size, len(order))
    order = order[: len(order) // batch_size * batch_size]
    order = order[np.argsort(np.asarray(lengths)[order], kind="stable")]
    reach = batch_size * np.linspace(4, 0, len(order)).clip(max=1)
    places = np.arange(len(order)) + reach * generator.uniform(-1, 1, len(order))
    batches = np.split(order[np.argsort(places)], len(order) // batch_size)
    return [batches[i] for i in generator.permutation(len(batches))]


def ordered_batches(lengths: Lengths, batch_size: int) -> list[NDArray[np.int64]]:
    """Every clip once, longest first, in batches of similar length: the order for inference."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
