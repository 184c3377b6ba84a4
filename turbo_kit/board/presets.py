"""Named objectives, as data: a row here is a preset everywhere (Python, command line, notebooks, grids)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from turbo_kit.board.pair_board import PairBoard, cross_modal_pairs, in_modal_pairs


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

    @property
    def board(self) -> PairBoard:
        """The pair board of the preset, empty where it compares no pairs."""
        return PairBoard.parse(self.options.get("pairs") or {})

    @property
    def contrastive(self) -> bool:
        """Whether it has contrastive terms, so that options such as the temperature change something."""
        return bool(self.board.active) or any(self.options.get(term) for term in ("cyclic", "supcon"))


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
        "mcse": Preset(
            about="simcse + audio as a third view: InfoNCE from t1 and from t2 to a1, 0.025 each",
            source="MCSE, arXiv 2204.10931, with lambda 0.05, halved; audio in the place of images",
            options={
                "passes": 2,
                "pairs": {("t1", "t2"): 1.0, ("t1", "a1"): 0.025, ("t2", "a1"): 0.025},
                "direction": "one",
            },
        ),
        "in-modal": Preset(
            about="ce-2pass + InfoNCE inside each modality: a1-a2 and t1-t2",
            source="the in-modal half of Turbo, arXiv 2409.09282",
            options={"passes": 2, "pairs": in_modal_pairs()},
        ),
        "clip": Preset(
            about="ce + symmetric InfoNCE between audio and text, one pass (CLIP's own temperature is 'learned')",
            source="CLIP, arXiv 2103.00020, fig. 3, here beside cross-entropy",
            options={"pairs": cross_modal_pairs(passes=1)},
        ),
        "cyclip": Preset(
            about="clip + 0.25 x in-modal + 0.25 x cross-modal cyclic consistency",
            source="CyCLIP, arXiv 2205.14459, here beside cross-entropy",
            options={"pairs": cross_modal_pairs(passes=1), "cyclic": 0.25},
        ),
        "siglip": Preset(
            about="ce + sigmoid loss between audio and text, one pass, temperature and bias learned",
            source="SigLIP, arXiv 2303.15343, here beside cross-entropy",
            options={"pairs": cross_modal_pairs(passes=1), "pair_loss": "siglip", "temperature": "learned"},
        ),
        "infoloob": Preset(
            about="clip with the positive left out of the denominator",
            source="InfoLOOB of arXiv 2110.11316 alone, without CLOOB's Hopfield retrieval",
            options={"pairs": cross_modal_pairs(passes=1), "pair_loss": "infoloob"},
        ),
        "gram": Preset(
            about="clip with the volume that audio and text span in the place of their cosine",
            source="GRAM, arXiv 2412.11959, of two modalities, here beside cross-entropy",
            options={"pairs": cross_modal_pairs(passes=1), "pair_loss": "gram"},
        ),
        "cross-modal": Preset(
            about="ce-2pass + InfoNCE across modalities: a1-t1, a1-t2, a2-t1 and a2-t2",
            source="the cross-modal half of Turbo, arXiv 2409.09282",
            options={"passes": 2, "pairs": cross_modal_pairs()},
        ),
        "cross+self": Preset(
            about="ce-2pass + NT-Xent of a1-t1, and half of it for a1-a2 and for t1-t2",
            source="the baseline Cross+Self of CoMM, arXiv 2409.07402, with s = 1; dropout masks as the views",
            options={
                "passes": 2,
                "pairs": {("a1", "t1"): 1.0, ("a1", "a2"): 0.5, ("t1", "t2"): 0.5},
                "negatives": "both",
            },
        ),
        "supcon": Preset(
            about="ce-2pass + SupCon over a1, a2, t1, t2: all views of one label belong together (temperature 0.07)",
            source="SupCon, arXiv 2004.11362, eq. 2, carried over to two modalities",
            options={"passes": 2, "supcon": 1.0, "temperature": 0.07},
        ),
        "turbo": Preset(
            about="ce-2pass + InfoNCE of all six pairs of a1, a2, t1, t2",
            source="Turbo, arXiv 2409.09282",
            options={"passes": 2, "pairs": in_modal_pairs() | cross_modal_pairs()},
        ),
    }
)
