"""Cross-modal retrieval: does a clip find its transcript, and a transcript its clip?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turbo_kit.config import InputError
from turbo_kit.metrics.geometry import ROWS_AT_ONCE, Vectors

Numbers = NDArray[np.integer[Any]]

# Cosines closer than this are ties: equal vectors differ in the last bits with their place in a matrix product.
TIE = 1e-9


def retrieval_scores(
    audio: Vectors, text: Vectors, texts: Sequence[str], ks: Sequence[int] = (1, 5, 10)
) -> dict[str, dict[str, float]]:
    """Recall at k by cosine similarity, from audio to text and from text to audio.

    R@k is the share of queries with a right item among the first k of all N candidates. Every item with the query's
    transcript is right. Tied items are ordered at random and the *expected* R@k is given, so that a collapsed model
    gets what chance gives and no more. Where k >= N, R@k is 1. A zero vector has cosine 0 with everything.

    Args:
        audio: (N, D) in the space the two modalities share.
        text: (N, D); row i belongs to the same utterance as row i of ``audio``.
        texts: the N transcripts.
        ks: the depths, each at least 1.

    Returns:
        ``audio_to_text`` and ``text_to_audio``, each ``{"R@1": ..., ...}``, and ``chance``: R@k of a random order,
        which repeated transcripts lift above k / N.

    Raises:
        InputError: shapes differ, a value is not finite, nothing to retrieve or a depth below 1.
    """
    _check(audio, text, texts, ks)
    audio, text = _unit(audio), _unit(text)
    places = {text: place for place, text in enumerate(sorted(set(texts)))}
    transcript = np.array([places[text] for text in texts])
    return {
        "audio_to_text": _recalls(audio, text, transcript, ks),
        "text_to_audio": _recalls(text, audio, transcript, ks),
        "chance": _chance(transcript, ks),
    }


def _recalls(queries: Vectors, candidates: Vectors, transcript: Numbers, ks: Sequence[int]) -> dict[str, float]:
    found = dict.fromkeys(ks, 0.0)
    for start in range(0, len(queries), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        cosine = queries[rows] @ candidates.T
        right = transcript[rows, None] == transcript[None, :]
        best = np.where(right, cosine, -np.inf).max(axis=1, keepdims=True)
        ahead = (cosine > best + TIE).sum(axis=1)
        tied = np.abs(cosine - best) <= TIE
        for k in ks:
            found[k] += float(_hit_probability(k - ahead, tied.sum(axis=1), (tied & right).sum(axis=1)).sum())
    return {f"R@{k}": found[k] / len(queries) for k in ks}


def _chance(transcript: Numbers, ks: Sequence[int]) -> dict[str, float]:
    """Where all are tied."""
    alike, everyone = np.bincount(transcript)[transcript], np.full(len(transcript), len(transcript))
    return {f"R@{k}": float(_hit_probability(np.full(len(alike), k), everyone, alike).mean()) for k in ks}


def _hit_probability(places: Numbers, tied: Numbers, right: Numbers) -> NDArray[np.float64]:
    """Chance that ``places`` draws, without replacement, from ``tied`` items hold a ``right`` one: (Q,) each."""
    from scipy.special import gammaln

    wrong = tied - right
    drawn = np.clip(places, 0, wrong)  # beyond the number of wrong items a hit is certain: dealt with below
    log_miss = gammaln(wrong + 1) - gammaln(wrong - drawn + 1) + gammaln(tied - drawn + 1) - gammaln(tied + 1)
    return np.where(places > wrong, 1.0, 1.0 - np.exp(log_miss))


def _unit(vectors: Vectors) -> NDArray[np.float64]:
    vectors = np.asarray(vectors, dtype=np.float64)
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norm == 0, 1.0, norm)


def _check(audio: Vectors, text: Vectors, texts: Sequence[str], ks: Sequence[int]) -> None:
    if audio.ndim != 2 or audio.shape != text.shape:
        raise InputError(
            f"audio has shape {audio.shape} and text {text.shape}, expected the same (N, D): retrieval needs both "
            "modalities in one space; give the projected embeddings"
        )
    if len(texts) != len(audio) or not len(audio):
        raise InputError(f"found {len(texts)} transcripts for {len(audio)} embeddings: expected one each, at least one")
    for name, vectors in (("audio", audio), ("text", text)):
        if (broken := np.flatnonzero(~np.isfinite(vectors).all(axis=1))).size:
            raise InputError(f"{name} embedding in row {broken[0]} is not finite ({broken.size} such rows)")
    if any(k < 1 for k in ks):
        raise InputError(f"retrieval depths are {list(ks)}: expected each to be at least 1")
