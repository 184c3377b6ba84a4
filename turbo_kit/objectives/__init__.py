"""Objectives: the pair board, the pair losses, the other terms, and the presets.

>>> objective = Objective.preset("turbo", contrastive_weight=0.1)
>>> out = objective(views, logits, labels)   # views {"a1": (B, D), ...}, logits (passes, B, C), labels (B,)
>>> out.total.backward()
"""

from turbo_kit.board import PRESETS, Pair, PairBoard, Preset, View, cross_modal_pairs, in_modal_pairs
from turbo_kit.objectives.classification_terms import UNLABELLED, cross_entropy, r_drop
from turbo_kit.objectives.cyclic import cyclic_consistency
from turbo_kit.objectives.gram import gram, gram_logits
from turbo_kit.objectives.info_nce import info_nce
from turbo_kit.objectives.infoloob import infoloob
from turbo_kit.objectives.objective import Objective, ObjectiveOutput
from turbo_kit.objectives.pair_losses import pair_losses
from turbo_kit.objectives.siglip import siglip
from turbo_kit.objectives.similarity import similarity_logits
from turbo_kit.objectives.supcon import supcon

__all__ = [
    "PRESETS",
    "UNLABELLED",
    "Objective",
    "ObjectiveOutput",
    "Pair",
    "PairBoard",
    "Preset",
    "View",
    "cross_entropy",
    "cross_modal_pairs",
    "cyclic_consistency",
    "gram",
    "gram_logits",
    "in_modal_pairs",
    "info_nce",
    "infoloob",
    "pair_losses",
    "r_drop",
    "siglip",
    "similarity_logits",
    "supcon",
]
