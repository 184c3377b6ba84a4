"""Classification scores under the names the field of speech emotion recognition uses."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turbo_kit.config import InputError
from turbo_kit.metrics.detection import equal_error_rate


def classification_scores(
    labels: NDArray[np.integer[Any]], probabilities: NDArray[np.floating[Any]], classes: Sequence[str]
) -> dict[str, Any]:
    """Score class probabilities against the true classes.

    WA is the overall accuracy and UA the mean of the per-class recalls (balanced accuracy); some public code swaps the
    two names. A class that no labelled clip belongs to has the recall ``None`` and takes no part in UA and macro F1.
    Where nothing is labelled, every score is ``None``; EER and ROC-AUC are ``None`` also where only one of the two
    classes occurs.

    Args:
        labels: (N,) index of the true class; a negative one means unlabelled, and that row is left out.
        probabilities: (N, C), one column for each class; the largest decides, the first of equals.
        classes: the C class names; of two classes, the second is the positive one.

    Returns:
        ``WA``, ``UA``, ``macro_F1``, ``recall`` (by class name), ``confusion`` (rows = truth, columns = prediction)
        and, for two classes, ``EER`` (linear interpolation on the ROC curve) and ``ROC_AUC``.

    Raises:
        InputError: the shapes do not fit one another, a label is out of range or a probability is not finite.
    """
    _check(labels, probabilities, classes)
    truth, probabilities = labels[labels >= 0], probabilities[labels >= 0]

    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (truth, probabilities.argmax(axis=1)), 1)
    support, predicted, hits = confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal()
    present = support > 0
    recall = hits[present] / support[present]
    f1 = 2 * hits[present] / (support[present] + predicted[present])

    scores: dict[str, Any] = {
        "WA": float(hits.sum() / support.sum()) if present.any() else None,
        "UA": float(recall.mean()) if present.any() else None,
        "macro_F1": float(f1.mean()) if present.any() else None,
        "recall": {name: float(hits[c] / support[c]) if present[c] else None for c, name in enumerate(classes)},
        "confusion": confusion.tolist(),
    }
    if len(classes) == 2:
        scores |= _detection_scores(truth, probabilities[:, 1]) if present.all() else {"EER": None, "ROC_AUC": None}
    return scores


def selection_score(scores: Mapping[str, Any]) -> float:
    """The number by which a model is chosen on development data, higher is better.

    Args:
        scores: what ``classification_scores`` returned.

    Returns:
        UA, or -EER for two classes.

    Raises:
        InputError: the score is undefined, because the data hold too few labels.
    """
    name = "EER" if "EER" in scores else "UA"
    if (value := scores[name]) is None:
        needed = "a labelled clip of each of the two classes" if name == "EER" else "a labelled clip"
        raise InputError(
            f"{name} is undefined on these clips, so no model can be chosen by it: expected at least {needed}; "
            "label some development clips or choose another development split"
        )
    return -float(value) if name == "EER" else float(value)


def _detection_scores(truth: NDArray[np.integer[Any]], score: NDArray[np.floating[Any]]) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    return {"EER": equal_error_rate(truth, score), "ROC_AUC": float(roc_auc_score(truth, score))}


def _check(labels: NDArray[Any], probabilities: NDArray[Any], classes: Sequence[str]) -> None:
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"labels must be a 1-D array of integers, found shape {labels.shape} and type {labels.dtype}: "
            "give the index of each class, -1 for unlabelled"
        )
    if probabilities.shape != (len(labels), len(classes)):
        raise InputError(
            f"probabilities have shape {probabilities.shape}, expected {(len(labels), len(classes))}: "
            f"one row for each of the {len(labels)} labels and one column for each of {list(classes)}"
        )
    if (beyond := np.flatnonzero(labels >= len(classes))).size:
        raise InputError(
            f"label {labels[beyond[0]]} in row {beyond[0]} names no class: expected 0 to {len(classes) - 1}, "
            "or -1 for unlabelled"
        )
    if (broken := np.flatnonzero(~np.isfinite(probabilities).all(axis=1))).size:
        raise InputError(
            f"probabilities of row {broken[0]} are not finite ({broken.size} such rows): the model has diverged; "
            "lower the learning rate or the contrastive weight"
        )
