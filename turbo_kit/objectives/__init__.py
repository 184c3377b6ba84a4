"""Objectives: the pair board, InfoNCE and the other terms, and the presets.

>>> objective = Objective.preset("turbo", contrastive_weight=0.1)
>>> out = objective(views, logits, labels)   # views {"a1": (B, D), ...}, logits (passes, B, C), labels (B,)
>>> out.total.backward()
"""

from turbo_kit.objectives.info_nce import info_nce, pair_losses, similarity_logits
from turbo_kit.objectives.objective import Objective, ObjectiveOutput
from turbo_kit.objectives.other_terms import UNLABELLED, cross_entropy, r_drop
from turbo_kit.objectives.pairs import Pair, PairBoard, View, cross_modal_pairs, in_modal_pairs
from turbo_kit.objectives.presets import PRESETS, Preset

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
    "in_modal_pairs",
    "info_nce",
    "pair_losses",
    "r_drop",
    "similarity_logits",
]
