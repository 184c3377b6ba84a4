"""An objective: named terms and their weights, summed."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from turbo_kit.board import PRESETS, Pair, PairBoard, PairKey, View, checked_weight
from turbo_kit.config import InputError, unknown
from turbo_kit.objectives.classification_terms import check_logits, cross_entropy, r_drop
from turbo_kit.objectives.cyclic import cyclic_consistency
from turbo_kit.objectives.info_nce import Direction, Negatives
from turbo_kit.objectives.pair_losses import PairLoss, both_present, check_pair_settings, pair_losses
from turbo_kit.objectives.similarity import Similarity, check_choice, check_temperature
from turbo_kit.objectives.supcon import supcon

CrossEntropy = Literal["mean", "first", "none"]
Exclude = Literal["none", "transcript", "label"]


class ObjectiveOutput(NamedTuple):
    """The loss to minimise, and each term's own unweighted loss by name, detached."""

    total: Tensor
    terms: dict[str, Tensor]


class Objective(nn.Module):
    """Cross-entropy, R-Drop, the weighted pairs of a board and two terms beside it (cyclic consistency, SupCon).

    Terms of weight 0 are never computed.

    Attributes:
        board: the pair board, its weights scaled where `normalize_pairs` asks for it.
        pairs: the pairs that are computed.
        weights: weight of each computed term in the total: ``"cross_entropy"``, ``"r_drop"``, ``"a1-t2"``, ...,
            ``"cyclic_in_modal"``, ``"cyclic_cross_modal"``, ``"supcon"``.
        passes: how many passes the heads have to be run.
        views: the views that are needed, sorted.
        modalities: letters of the modalities whose views are needed, as in ``("a", "t")``.
        logit_scale: learned logarithm of 1 / temperature, None where the temperature is fixed or nothing uses it.
        logit_bias: SigLIP's learned bias, None for the other pair losses. Both are parameters of this module: give
            them to the optimiser, without weight decay.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        pairs: Mapping[PairKey, float] | None = None,
        *,
        pair_loss: PairLoss = "info_nce",
        cyclic: float = 0.0,
        supcon: float = 0.0,
        contrastive_weight: float = 1.0,
        temperature: float | Literal["learned"] = 0.05,
        similarity: Similarity = "cosine",
        direction: Direction = "symmetric",
        negatives: Negatives = "other",
        normalize_pairs: bool = False,
        exclude: Exclude = "none",
        cross_entropy: CrossEntropy = "mean",
        class_weights: Tensor | None = None,
        r_drop_alpha: float = 0.0,
        passes: int = 1,
    ) -> None:
        """Set up the terms.

        Args:
            pairs: weight of each pair of views, as in ``{("a1", "t2"): 1.0}``; see `in_modal_pairs`,
                `cross_modal_pairs`.
            pair_loss: how every pair is compared: ``"info_nce"``, ``"siglip"`` (it has no direction), ``"infoloob"``
                or ``"gram"`` (cosine only).
            cyclic: weight of each of CyCLIP's two consistency terms, between a1 and t1.
            supcon: weight of SupCon over the audio and text views of all passes; it needs labels, and takes clips
                without one too.
            contrastive_weight: weight of the pairs, the cyclic terms and SupCon as a whole (the lambda of arXiv
                2409.09282).
            temperature: of the similarities, above 0; or ``"learned"`` as in CLIP (arXiv 2103.00020, section 2.5):
                one for all pairs and SupCon, 0.07 at first (SigLIP: 0.1) and never below 0.01. The cyclic terms
                have none.
            similarity: ``"cosine"`` or ``"dot"``.
            direction: of the pairs, ``"symmetric"``, or ``"one"``: from the first-named view of each to the second.
            negatives: of the pairs, from the ``"other"`` view only, or from ``"both"`` views (NT-Xent).
            normalize_pairs: scale the pair weights to sum 1, so that objectives with more pairs are not louder.
            exclude: leave clips with the same ``"transcript"`` or ``"label"`` out of each other's negatives;
                unlabelled clips are never left out by label. The cyclic terms have no negatives.
            cross_entropy: ``"mean"`` of the passes, the ``"first"`` alone, or ``"none"``.
            class_weights: (C,), weight of each class in the cross-entropy.
            r_drop_alpha: weight of R-Drop's KL between the passes.
            passes: number of passes at least; the terms may need more.

        Raises:
            InputError: a setting that cannot be used, or nothing left to compute.
        """
        super().__init__()
        for name, value, known in (
            ("exclude", exclude, get_args(Exclude)),
            ("cross_entropy", cross_entropy, get_args(CrossEntropy)),
        ):
            check_choice(name, value, known)
        check_pair_settings(pair_loss, similarity, direction, negatives)
        self.pair_loss, self.similarity, self.direction, self.negatives = pair_loss, similarity, direction, negatives
        self.exclude, self.cross_entropy = exclude, cross_entropy
        board = PairBoard.parse(pairs or {})
        self.board = board.normalized() if normalize_pairs else board
        contrastive_weight = checked_weight(contrastive_weight, "contrastive_weight")
        self.pairs = self.board.active if contrastive_weight > 0 else ()

        self.weights: dict[str, float] = {}
        if cross_entropy != "none":
            self.weights["cross_entropy"] = 1.0
        if checked_weight(r_drop_alpha, "r_drop_alpha") > 0:
            self.weights["r_drop"] = float(r_drop_alpha)
        cyclic, supcon = checked_weight(cyclic, "cyclic"), checked_weight(supcon, "supcon")
        beside = {"cyclic_in_modal": cyclic, "cyclic_cross_modal": cyclic, "supcon": supcon}
        parts = {pair.name: pair.weight for pair in self.pairs} | beside
        parts = {name: contrastive_weight * weight for name, weight in parts.items()}
        self.weights |= {name: weight for name, weight in parts.items() if weight > 0}
        if not self.weights:
            raise InputError(
                "the objective is empty: cross_entropy is 'none', r_drop_alpha is 0 and neither a pair nor cyclic nor "
                "supcon has a weight above 0; give at least one of them"
            )

        if not isinstance(passes, int) or passes < 1:
            raise InputError(f"passes is {passes!r}: expected a whole number of at least 1")
        views = {view for pair in self.pairs for view in (pair.first, pair.second)}
        self.passes = max(passes, 2 if "r_drop" in self.weights else 1, *(view.pass_number for view in views))
        if "cyclic_in_modal" in self.weights:
            views |= {View("a", 1), View("t", 1)}
        if "supcon" in self.weights:
            views |= {View(letter, number) for letter in "at" for number in range(1, self.passes + 1)}
        self.views = tuple(sorted(views))
        self.modalities = tuple(sorted({view.modality for view in views}))

        if temperature != "learned":
            check_temperature(temperature)
        # A parameter that nothing uses would make a distributed step wait for its gradient for ever.
        learned = temperature == "learned" and bool(self.pairs or "supcon" in self.weights)
        biased = pair_loss == "siglip" and bool(self.pairs)
        first_temperature = 0.1 if biased else 0.07
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / first_temperature))) if learned else None
        self._fixed_temperature = first_temperature if temperature == "learned" else float(temperature)
        self.logit_bias = nn.Parameter(torch.tensor(-10.0)) if biased else None
        self.register_buffer("class_weights", _checked_class_weights(class_weights), persistent=False)

    @classmethod
    def preset(cls, name: str, *, pair_weights: Mapping[PairKey, float] | None = None, **options: Any) -> Objective:
        """Build a named objective of `PRESETS`.

        Args:
            name: as in ``"turbo"``.
            pair_weights: pairs to add to the preset's, or to give another weight, as in ``{"a1-t1": 0.5}``; 0 leaves
                a pair out.
            options: arguments of `Objective`, above all `contrastive_weight`; they override the preset's own.

        Returns:
            The objective.

        Raises:
            InputError: no such preset or option, or a setting that cannot be used.
        """
        if name not in PRESETS:
            raise unknown("objective", str(name), PRESETS)
        known = inspect.signature(cls).parameters
        for option in options:
            if option not in known:
                raise unknown("objective option", option, known)
        options = {**PRESETS[name].options, **options}
        if pair_weights:
            boards = PairBoard.parse(options.get("pairs") or {}), PairBoard.parse(pair_weights)
            pairs = {pair.name: pair for board in boards for pair in board.pairs}
            options["pairs"] = {(str(pair.first), str(pair.second)): pair.weight for pair in pairs.values()}
        return cls(**options)

    @property
    def temperature(self) -> float | Tensor:
        """The temperature in use: a number, or a scalar tensor where it is learned."""
        return self._fixed_temperature if self.logit_scale is None else (-self.logit_scale).exp()

    def forward(
        self,
        views: Mapping[str, Tensor],
        logits: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        same: Tensor | None = None,
        present: Mapping[str, Tensor] | None = None,
    ) -> ObjectiveOutput:
        """Compute every term of weight above 0, and their weighted sum.

        Args:
            views: (B, D) for each view by name, as in ``{"a1": ..., "t1": ...}``; more than are needed do no harm.
            logits: (passes, B, C); None where neither cross-entropy nor R-Drop is asked for.
            labels: (B,) long, -100 = unlabelled: such clips take part in the contrastive terms only.
            same: (B,) integers, equal for clips with the same transcript (negative: a transcript like no other);
                needed by ``exclude="transcript"``.
            present: (B,) bool by modality letter, False where a clip lacks that modality and so leaves its
                contrastive terms (of SupCon, the clip's views of that modality); a letter that is not given is there
                for every clip.

        Returns:
            The total and the terms.

        Raises:
            InputError: something needed is missing, or shapes disagree.
        """
        terms: dict[str, Tensor] = {}
        if "cross_entropy" in self.weights or "r_drop" in self.weights:
            logits, labels = self._checked_logits(logits, labels)
            if "cross_entropy" in self.weights:
                used = logits[:1] if self.cross_entropy == "first" else logits
                terms["cross_entropy"] = cross_entropy(used, labels, self.class_weights)
            if "r_drop" in self.weights:
                terms["r_drop"] = r_drop(logits, labels)
        if self.views:
            self._check_same_batch(views, labels)
            terms |= self._contrastive_terms(views, labels, self.groups(labels, same), present or {})
        total = reduce(add, (self.weights[name] * loss for name, loss in terms.items()))
        return ObjectiveOutput(total, {name: loss.detach() for name, loss in terms.items()})

    def extra_repr(self) -> str:
        """The sum, as in ``1 cross_entropy + 0.1 a1-t1``, for `print`."""
        return " + ".join(f"{weight:g} {name}" for name, weight in self.weights.items())

    def losses_of(
        self,
        views: Mapping[str, Tensor],
        pairs: Sequence[Pair],
        groups: Tensor | None = None,
        present: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The unweighted losses of some pairs, on the board or not, compared as this objective compares its own.

        Args:
            views: (B, D) for each view by name.
            pairs: those to compute.
            groups: see `groups`.
            present: as for the call.

        Raises:
            InputError: as for `pair_losses`.
        """
        return pair_losses(
            views,
            pairs,
            pair_loss=self.pair_loss,
            bias=-10.0 if self.logit_bias is None else self.logit_bias,
            temperature=self.temperature,
            similarity=self.similarity,
            direction=self.direction,
            negatives=self.negatives,
            groups=groups,
            present=present,
        )

    def groups(self, labels: Tensor | None, same: Tensor | None) -> Tensor | None:
        """(B,) the numbers by which clips are left out of each other's negatives; None where none are.

        Raises:
            InputError: what `exclude` asks for is missing.
        """
        if self.exclude == "none":
            return None
        groups = labels if self.exclude == "label" else same
        if groups is None:
            argument = "labels" if self.exclude == "label" else "same (a number for each clip's transcript)"
            raise InputError(f"exclude={self.exclude!r} needs {argument}: give it to the objective's call")
        return groups

    def _contrastive_terms(
        self, views: Mapping[str, Tensor], labels: Tensor | None, groups: Tensor | None, present: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        if self.logit_scale is not None:
            with torch.no_grad():  # as CLIP after each step; a clamp in the graph would hold it there for good
                self.logit_scale.clamp_(max=math.log(100.0))
        terms = self.losses_of(views, self.pairs, groups, present)
        if "cyclic_in_modal" in self.weights:
            terms["cyclic_in_modal"], terms["cyclic_cross_modal"] = cyclic_consistency(
                views["a1"], views["t1"], similarity=self.similarity, present=both_present(present, "a", "t")
            )
        if "supcon" in self.weights:
            if labels is None:
                raise InputError("labels missing: SupCon needs them; give -100 for a clip that has none")
            compared = [view for view in self.views if view.modality in "at"]
            terms["supcon"] = supcon(
                [views[str(view)] for view in compared],
                labels,
                temperature=self.temperature,
                similarity=self.similarity,
                groups=groups,
                present=[present.get(view.modality) for view in compared],
            )
        return terms

    def _checked_logits(self, logits: Tensor | None, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        if logits is None or labels is None:
            missing = "logits" if logits is None else "labels"
            raise InputError(f"{missing} missing: cross-entropy and R-Drop need the classifier's logits and the labels")
        check_logits(logits, labels)
        if len(logits) != self.passes:
            raise InputError(
                f"logits has {len(logits)} pass(es), this objective takes {self.passes}: run the heads "
                "`objective.passes` times and give logits (passes, B, C)"
            )
        return logits, labels

    def _check_same_batch(self, views: Mapping[str, Tensor], labels: Tensor | None) -> None:
        for name in map(str, self.views):
            if name not in views:
                raise unknown("view", name, views)
            if labels is not None and len(views[name]) != len(labels):
                raise InputError(
                    f"view {name} has {len(views[name])} clips, labels has {len(labels)}: give both the same batch"
                )


def _checked_class_weights(weights: Tensor | None) -> Tensor | None:
    if weights is None:
        return None
    if weights.ndim != 1 or not weights.isfinite().all() or (weights < 0).any() or not (weights > 0).any():
        raise InputError(
            f"class_weights is {weights.tolist()}: expected one finite number of at least 0 for each class, and one "
            "above 0"
        )
    return weights
