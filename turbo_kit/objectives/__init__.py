"""The training losses: pure functions on tensors, and `Objective`, which weights and sums them.

Where to read:

- `info_nce.py` opens with symmetric InfoNCE in its plain form, about ten lines; below it is the form with all options.
- The six contrastive terms of Turbo are the pairs of the preset ``"turbo"`` in `turbo_kit/board/presets.py`.
  `Objective.forward` in `objective.py` sums all terms; `pair_losses.py` compares the views of each pair.
- The other pair losses are `infoloob.py`, `siglip.py` and `gram.py`, one file each. `cyclic.py`, `supcon.py` and
  `classification_terms.py` (cross-entropy, R-Drop) hold the terms that are not pairs.
- `tiled/` computes InfoNCE of large batches in memory that is linear in the number of clips. It gives the same loss,
  so skip it on a first reading.

>>> import torch
>>> objective = Objective.preset("turbo", contrastive_weight=0.1)
>>> views = {name: torch.randn(8, 16, requires_grad=True) for name in ("a1", "a2", "t1", "t2")}  # (B, D) each
>>> logits, labels = torch.randn(2, 8, 3, requires_grad=True), torch.randint(3, (8,))  # (passes, B, C) and (B,)
>>> out = objective(views, logits, labels)
>>> out.total.backward()
>>> list(out.terms)
['cross_entropy', 'a1-a2', 't1-t2', 'a1-t1', 'a1-t2', 'a2-t1', 'a2-t2']
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
