"""What a trained model is judged by: pure functions on numpy arrays that return plain, json-able dicts."""

from turbo_kit.metrics.classification import classification_scores, selection_score
from turbo_kit.metrics.geometry import alignment, effective_rank, geometry_scores, modality_gap, uniformity
from turbo_kit.metrics.retrieval import retrieval_scores
from turbo_kit.metrics.statistics import holm, paired_difference, speaker_bootstrap, verdict

__all__ = [
    "alignment",
    "classification_scores",
    "effective_rank",
    "geometry_scores",
    "holm",
    "modality_gap",
    "paired_difference",
    "retrieval_scores",
    "selection_score",
    "speaker_bootstrap",
    "uniformity",
    "verdict",
]
