"""What a trained model is judged by: pure functions on numpy arrays that return plain, json-able dicts."""

from turbo_kit.metrics.classification import classification_scores, selection_score
from turbo_kit.metrics.detection import (
    at_threshold,
    det_curve,
    equal_error_rate,
    mean_det_curve,
    threshold_at,
    truth_and_score,
)
from turbo_kit.metrics.geometry import alignment, effective_rank, geometry_scores, modality_gap, uniformity
from turbo_kit.metrics.retrieval import retrieval_scores
from turbo_kit.metrics.statistics import detection_bootstrap, holm, paired_difference, speaker_bootstrap, verdict

__all__ = [
    "alignment",
    "at_threshold",
    "classification_scores",
    "det_curve",
    "detection_bootstrap",
    "effective_rank",
    "equal_error_rate",
    "geometry_scores",
    "holm",
    "mean_det_curve",
    "modality_gap",
    "paired_difference",
    "retrieval_scores",
    "selection_score",
    "speaker_bootstrap",
    "threshold_at",
    "truth_and_score",
    "uniformity",
    "verdict",
]
