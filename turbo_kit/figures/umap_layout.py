"""Two-dimensional layouts of a run's embedding spaces, and class separation before the layout."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turbo_kit.runs import Run

MAP_POINTS = 1000
"""Maximum number of clips on a map, drawn at random: more are slow to lay out and overlap."""
MIN_CLIPS = 10
"""With fewer clips the layout is by principal components."""


def embedding_spaces(run: Run, split: str = "test") -> dict[str, NDArray[np.float64]]:
    """(N, D) unit-norm pooled embeddings of each modality, and, where there are two, both side by side."""
    arrays = run.embeddings(split)
    spaces = {name: unit_norm(arrays[name]) for name in run.config.modalities}
    if len(spaces) > 1:
        spaces[" + ".join(spaces)] = np.concatenate(list(spaces.values()), axis=1)
    return spaces


def flat_map(vectors: NDArray[np.floating[Any]], seed: int = 0) -> NDArray[np.float64]:
    """UMAP to two dimensions (arXiv 1802.03426), deterministic; principal components below ten points.

    Args:
        vectors: (N, D).
        seed: of the layout.

    Returns:
        (N, 2).
    """
    if len(vectors) < MIN_CLIPS:
        left, values, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
        flat = (left * values)[:, :2]
        return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1]))).astype(np.float64)
    import warnings

    from sklearn.neighbors import NearestNeighbors
    from umap import UMAP

    # UMAP would find the same neighbours itself, but compiles its search for seconds first.
    count = min(15, len(vectors) - 1)
    distances, indices = NearestNeighbors(n_neighbors=count).fit(vectors).kneighbors(vectors)
    known = {"precomputed_knn": (indices, distances.astype(np.float32), None), "force_approximation_algorithm": True}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*knn_search_index", category=UserWarning)
        fitted = UMAP(n_neighbors=count, n_epochs=200, random_state=seed, n_jobs=1, **known).fit_transform(vectors)
    return np.asarray(fitted, dtype=np.float64)


def aligned_maps(spaces: Sequence[NDArray[np.floating[Any]]], seed: int = 0) -> list[NDArray[np.float64]]:
    """Maps of several embedding spaces of the same clips, in which a clip keeps its place from map to map.

    AlignedUMAP (umap-learn) lays them out together: the more neighbours a clip shares with the adjacent maps, the
    more strongly it is pulled towards its place in them, so it moves only where its neighbours change. A single space
    is laid out by `flat_map`; fewer than ten clips by principal components, rotated onto those of the first space.

    Args:
        spaces: (N, D) each, one row a clip, in the same order; D may differ.
        seed: of the layout, which is the same each time.

    Returns:
        (N, 2) each, on common axes.
    """
    clips = len(spaces[0])
    if len(spaces) == 1 or clips < MIN_CLIPS:
        first, *others = (flat_map(space, seed) for space in spaces)
        return [first, *(_aligned_to(flat, first) for flat in others)]
    import warnings

    from umap import AlignedUMAP

    settings = {"n_neighbors": min(15, clips - 1), "n_epochs": 150, "alignment_regularisation": 0.1}
    same = {clip: clip for clip in range(clips)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_jobs value|Spectral initialisation", category=UserWarning)
        model = AlignedUMAP(**settings, random_state=seed, transform_seed=seed)
        model.fit([space.astype(np.float32) for space in spaces], relations=[same] * (len(spaces) - 1))
    return [np.asarray(flat, dtype=np.float64) for flat in model.embeddings_]


def _aligned_to(flat: NDArray[np.float64], onto: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points rotated and mirrored to lie as near as possible to others (orthogonal Procrustes)."""
    left, _, right = np.linalg.svd(flat.T @ onto)
    return np.asarray(flat @ left @ right, dtype=np.float64)


def separation(run: Run, space: str, split: str = "test") -> float | None:
    """Mean silhouette of the labelled clips by class, from cosine distances; None where it is undefined."""
    from sklearn.metrics import silhouette_score

    labels = run.predictions(split)["label"]
    labelled = labels.notna().to_numpy()
    if not 2 <= labels.nunique() < labelled.sum():
        return None
    vectors = embedding_spaces(run, split)[space][labelled]
    return float(silhouette_score(vectors, labels[labelled].to_numpy(str), metric="cosine"))


def sample_clips(clips: int) -> NDArray[np.int64]:
    """Sorted indices of the clips that a map shows, at most `MAP_POINTS`; the same each time."""
    return np.sort(np.random.default_rng(0).permutation(clips)[:MAP_POINTS])


def unit_norm(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The vectors (..., D) over their norms; zeros stay zeros."""
    x = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.asarray(np.divide(x, norms, out=np.zeros_like(x), where=norms > 0))
