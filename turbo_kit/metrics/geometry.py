"""How embeddings lie on the unit sphere: alignment, uniformity, modality gap and effective rank.

Every measure first scales the rows to unit norm. A row of zeros has no direction, so a measure over it is undefined;
undefined measures are ``nan`` here and ``None`` in what ``geometry_scores`` returns.
"""

from collections.abc import Mapping
from itertools import combinations
from math import isnan, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turbo_kit.config import InputError

Vectors = NDArray[np.floating[Any]]

ROWS_AT_ONCE = 1024
"""Of the pairs of N rows, those of so many with all others are held at once."""


def geometry_scores(
    pooled: Mapping[str, Vectors],
    projected: Mapping[str, Vectors] | None = None,
    passes: Mapping[str, Vectors] | None = None,
) -> dict[str, Any]:
    """All measures for each modality and each pair of modalities, in the pooled and the projected space.

    The two spaces are given side by side and never mixed. In-modal alignment needs two passes with different dropout
    masks and is absent without them; the other measures want dropout off. Cross-modal alignment and the modality gap
    need one width: they are absent for modalities whose widths differ.

    Args:
        pooled: the classifier's inputs by modality, each (N, D), row i of each from the same utterance.
        projected: the same for the outputs of the projection heads.
        passes: by modality, (2, N, D): the pooled embeddings of two passes with dropout on.

    Returns:
        ``{"pooled": space, "projected": space}``, the second only where given. A space holds, by modality,
        ``uniformity``, ``effective_rank`` and where known ``alignment`` (in-modal), and under ``cross_modal``, by pair
        of modalities such as ``"audio-text"``, ``alignment`` and ``modality_gap``. ``None`` marks what is undefined.

    Raises:
        InputError: an array is not of the shape said above, or a value is not finite.
    """
    scores = {"pooled": _space(pooled, "pooled")}
    if projected is not None:
        scores["projected"] = _space(projected, "projected")
    for modality, both in (passes or {}).items():
        if both.ndim != 3 or len(both) != 2:
            raise InputError(f"passes of {modality!r} have shape {both.shape}, expected (2, N, D)")
        if modality not in pooled:
            raise InputError(f"passes name the modality {modality!r}, which pooled ({', '.join(pooled)}) lacks")
        for one in both:
            _check(one, f"passes of {modality!r}")
        scores["pooled"][modality]["alignment"] = _json(alignment(both[0], both[1]))
    return scores


def alignment(first: Vectors, second: Vectors) -> float:
    """Mean squared distance between paired rows, lower is better (arXiv 2005.10242, section 4.1, alpha = 2).

    Args:
        first: (N, D).
        second: (N, D); row i is the other view of row i of ``first``.

    Returns:
        From 0 (each pair in one place) to 4; ``nan`` without rows or with a row of zeros.
    """
    a, b = _unit(first), _unit(second)
    return nan if a is None or b is None else float(((a - b) ** 2).sum(axis=1).mean())


def uniformity(vectors: Vectors) -> float:
    """Log of the mean of exp(-2 d^2) over all pairs i < j, lower is better (arXiv 2005.10242, section 4.1, t = 2).

    Args:
        vectors: (N, D).

    Returns:
        At most 0 (all in one place); ``nan`` with fewer than two rows or with a row of zeros.
    """
    x = _unit(vectors)
    if x is None or len(x) < 2:
        return nan
    total = 0.0
    for start in range(0, len(x), ROWS_AT_ONCE):
        rows = x[start : start + ROWS_AT_ONCE]
        kernel = np.exp(4 * (rows @ x[start:].T) - 4)  # of unit vectors, d^2 = 2 - 2 cos
        among = kernel[:, : len(rows)]
        total += kernel[:, len(rows) :].sum() + (among.sum() - np.trace(among)) / 2
    return float(np.log(total / (len(x) * (len(x) - 1) / 2)))


def modality_gap(first: Vectors, second: Vectors) -> float:
    """Distance between the centres of two modalities (arXiv 2203.02053, section 4.2).

    Args:
        first: (N, D), one modality.
        second: (M, D), the other.

    Returns:
        From 0 to 2; ``nan`` without rows or with a row of zeros.
    """
    a, b = _unit(first), _unit(second)
    return nan if a is None or b is None else float(np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)))


def effective_rank(vectors: Vectors) -> float:
    """Number of directions in use: exp of the entropy of the normalised singular values.

    After O. Roy and M. Vetterli, "The effective rank", EUSIPCO 2007, definition 1. The rows are centred first, which
    is our choice: embeddings of one modality share a large offset (a narrow cone), which the modality gap measures
    already and which would otherwise outweigh all that differs between utterances.

    Args:
        vectors: (N, D).

    Returns:
        From 1 to min(N - 1, D); 0 where all rows are one and the same direction; ``nan`` with fewer than two rows or
        with a row of zeros.
    """
    x = _unit(vectors)
    if x is None or len(x) < 2:
        return nan
    values = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    # What rounding leaves of a zero is no direction; the rows have norm 1, so the uncentred matrix has norm sqrt(N).
    values = values[values > np.sqrt(len(x)) * max(x.shape) * np.finfo(np.float64).eps]
    if not values.size:
        return 0.0
    shares = values / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _space(vectors: Mapping[str, Vectors], name: str) -> dict[str, Any]:
    space: dict[str, Any] = {}
    for modality, x in vectors.items():
        _check(x, f"{name} embeddings of {modality!r}")
        space[modality] = {"uniformity": _json(uniformity(x)), "effective_rank": _json(effective_rank(x))}
    space["cross_modal"] = {}
    for (one, x), (other, y) in combinations(vectors.items(), 2):
        if len(x) != len(y):
            raise InputError(
                f"{name} embeddings: {one!r} has {len(x)} rows and {other!r} {len(y)}, expected a row of each for "
                "every utterance"
            )
        if x.shape[1] == y.shape[1]:
            space["cross_modal"][f"{one}-{other}"] = {
                "alignment": _json(alignment(x, y)),
                "modality_gap": _json(modality_gap(x, y)),
            }
    return space


def _unit(vectors: Vectors) -> NDArray[np.float64] | None:
    """The rows at unit norm, or None where there are none or one has no direction."""
    x = np.asarray(vectors, dtype=np.float64)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return x / norm if len(x) and norm.all() else None


def _json(value: float) -> float | None:
    return None if isnan(value) else value


def _check(vectors: Vectors, name: str) -> None:
    if vectors.ndim != 2:
        raise InputError(f"{name} have shape {vectors.shape}, expected (N, D)")
    if (broken := np.flatnonzero(~np.isfinite(vectors).all(axis=1))).size:
        raise InputError(f"{name} are not finite in row {broken[0]} ({broken.size} such rows): the model has diverged")
