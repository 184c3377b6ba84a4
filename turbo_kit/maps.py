"""Embedding spaces of a run, laid out in the plane, and how far apart the classes are before that."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from turbo_kit.runs import Run

MAP_POINTS = 2000
"""A map shows at most so many clips, drawn at random: more are slow to lay out and hide one another."""


def embedding_spaces(run: Run, split: str = "test") -> dict[str, NDArray[np.float64]]:
    """(N, D) unit-norm pooled embeddings of each modality, and, where there are two, both side by side."""
    arrays = run.embeddings(split)
    spaces = {name: _unit(arrays[name]) for name in run.config.modalities}
    if len(spaces) > 1:
        spaces[" + ".join(spaces)] = np.concatenate(list(spaces.values()), axis=1)
    return spaces


def flat_map(vectors: NDArray[np.floating[Any]], seed: int = 0) -> NDArray[np.float64]:
    """UMAP to two dimensions (arXiv 1802.03426), the same each time; principal components below ten points.

    Args:
        vectors: (N, D).
        seed: of the layout.

    Returns:
        (N, 2).
    """
    if len(vectors) < 10:
        left, values, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
        flat = (left * values)[:, :2]
        return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1]))).astype(np.float64)
    import warnings

    from sklearn.neighbors import NearestNeighbors
    from umap import UMAP

    # UMAP would find the same neighbours itself, but compiles its search for seconds first.
    count = min(15, len(vectors) - 1)
    distances, indices = NearestNeighbors(n_neighbors=count).fit(vectors).kneighbors(vectors)
    known = {
        "precomputed_knn": (indices, distances.astype(np.float32), None),
        "force_approximation_algorithm": True,
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*knn_search_index", category=UserWarning)
        fitted = UMAP(n_neighbors=count, n_epochs=200, random_state=seed, n_jobs=1, **known).fit_transform(vectors)
    return np.asarray(fitted, dtype=np.float64)


def separation(run: Run, space: str, split: str = "test") -> float | None:
    """Mean silhouette of the labelled clips by class, from cosine distances; None where it is undefined."""
    from sklearn.metrics import silhouette_score

    labels = run.predictions(split)["label"]
    labelled = labels.notna().to_numpy()
    if not 2 <= labels.nunique() < labelled.sum():
        return None
    vectors = embedding_spaces(run, split)[space][labelled]
    return float(silhouette_score(vectors, labels[labelled].to_numpy(str), metric="cosine"))


def sample(clips: int) -> NDArray[np.int64]:
    """Which of so many clips a map shows, in their order; the same each time."""
    return np.sort(np.random.default_rng(0).permutation(clips)[:MAP_POINTS])


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    x = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(np.divide(x, norms, out=np.zeros_like(x), where=norms > 0))
