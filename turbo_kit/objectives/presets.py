"""Named objectives, as data: a row here is a preset everywhere (Python, command line, notebooks, grids)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from turbo_kit.objectives.pairs import cross_modal_pairs, in_modal_pairs


@dataclass(frozen=True, slots=True)
class Preset:
    """A named setting of `Objective`.

    Attributes:
        about: one line that tells it from the others.
        source: where it comes from.
        options: arguments of `Objective`; a user's own override them.
    """

    about: str
    source: str
    options: Mapping[str, Any]


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "ce": Preset(
            about="Cross-entropy of one pass: plain fine-tuning",
            source="the usual classifier",
            options={},
        ),
        "ce-2pass": Preset(
            about="Mean cross-entropy of two passes: the control for every two-pass objective",
            source="the two-pass part of R-Drop without its KL, arXiv 2106.14448",
            options={"passes": 2},
        ),
        "r-drop": Preset(
            about="ce-2pass + alpha x the symmetric KL between the two passes (alpha: r_drop_alpha)",
            source="R-Drop, arXiv 2106.14448, with the mean, not the sum, of the two cross-entropies",
            options={"passes": 2, "r_drop_alpha": 1.0},
        ),
        "simcse": Preset(
            about="ce-2pass + InfoNCE from t1 to t2, one direction: text through two dropout masks",
            source="unsupervised SimCSE, arXiv 2104.08821, eq. 4, here beside cross-entropy",
            options={"passes": 2, "pairs": {("t1", "t2"): 1.0}, "direction": "one"},
        ),
        "simcse-audio": Preset(
            about="ce-2pass + InfoNCE from a1 to a2, one direction: audio through two dropout masks",
            source="SimCSE, arXiv 2104.08821, eq. 4, carried over to audio",
            options={"passes": 2, "pairs": {("a1", "a2"): 1.0}, "direction": "one"},
        ),
        "clip": Preset(
            about="ce + symmetric InfoNCE between audio and text, one pass (CLIP's own temperature is 'learned')",
            source="CLIP, arXiv 2103.00020, fig. 3, here beside cross-entropy",
            options={"pairs": cross_modal_pairs(passes=1)},
        ),
        "in-modal": Preset(
            about="ce-2pass + InfoNCE inside each modality: a1-a2 and t1-t2",
            source="the in-modal half of Turbo, arXiv 2409.09282",
            options={"passes": 2, "pairs": in_modal_pairs()},
        ),
        "cross-modal": Preset(
            about="ce-2pass + InfoNCE across modalities: a1-t1, a1-t2, a2-t1 and a2-t2",
            source="the cross-modal half of Turbo, arXiv 2409.09282",
            options={"passes": 2, "pairs": cross_modal_pairs()},
        ),
        "turbo": Preset(
            about="ce-2pass + InfoNCE of all six pairs of a1, a2, t1, t2",
            source="Turbo, arXiv 2409.09282",
            options={"passes": 2, "pairs": in_modal_pairs() | cross_modal_pairs()},
        ),
    }
)
