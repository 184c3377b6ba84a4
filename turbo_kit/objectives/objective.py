"""An objective: the weighted sum of named terms.

`Objective.forward` computes the terms and sums them; `turbo_kit/board/presets.py` lists the pairs of each preset.
"""

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
from turbo_kit.objectives.directions import Direction, Negatives
from turbo_kit.objectives.pair_losses import PairLoss, check_pair_options, clips_with_both, pair_losses
from turbo_kit.objectives.siglip import INITIAL_BIAS
from turbo_kit.objectives.similarity import Similarity
from turbo_kit.objectives.supcon import supcon
from turbo_kit.objectives.validation import check_choice, check_fixed_temperature

CrossEntropy = Literal["mean", "first", "none"]
Exclude = Literal["none", "transcript", "label"]


class ObjectiveOutput(NamedTuple):
    """The loss of a batch."""

    total: Tensor
    """Scalar, the weighted sum to minimise."""
    terms: dict[str, Tensor]
    """The unweighted loss of each term by its name, detached."""


class Objective(nn.Module):
    """A training loss: the weighted sum of named terms.

    The terms are the cross-entropy of the classifier, R-Drop's consistency between passes, one pair loss for each
    pair of views on the board, CyCLIP's two consistency terms, and SupCon. A view is one modality in one pass:
    ``"a1"`` is the audio of pass 1, ``"t2"`` the text of pass 2. Terms of weight 0 are never computed.

    Attributes:
        board: the pair board, its weights scaled if `normalize_pairs` is set.
        pairs: the pairs that are computed.
        weights: the weight of each computed term in the total: ``"cross_entropy"``, ``"r_drop"``, ``"a1-t2"``, ...,
            ``"cyclic_in_modal"``, ``"cyclic_cross_modal"``, ``"supcon"``.
        passes: how many passes the model has to make.
        views: the views that are needed, sorted.
        modalities: letters of the modalities whose views are needed, as in ``("a", "t")``.
        logit_scale: learned logarithm of 1 / temperature; None if the temperature is fixed or no term uses it.
        logit_bias: learned bias of SigLIP; None for the other pair losses. Both are parameters of this module: give
            them to the optimizer, without weight decay.

    Example:
        Turbo is two cross-entropies and six pairs; `contrastive_weight` is the paper's lambda.

        >>> objective = Objective.preset("turbo", contrastive_weight=0.1)
        >>> list(objective.weights)
        ['cross_entropy', 'a1-a2', 't1-t2', 'a1-t1', 'a1-t2', 'a2-t1', 'a2-t2']
        >>> views = {name: torch.randn(8, 16) for name in ("a1", "a2", "t1", "t2")}  # 8 clips, 16 features
        >>> logits, labels = torch.randn(2, 8, 3), torch.randint(3, (8,))  # 2 passes, 3 classes
        >>> out = objective(views, logits, labels)
        >>> bool(out.total.isclose(sum(objective.weights[name] * loss for name, loss in out.terms.items())))
        True
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
        """Choose the terms and their weights.

        Args:
            pairs: weight of each pair of views, as in ``{("a1", "t2"): 1.0}``; see `in_modal_pairs`,
                `cross_modal_pairs`.
            pair_loss: how every pair is compared: ``"info_nce"``, ``"siglip"`` (it has no direction), ``"infoloob"``
                or ``"gram"`` (cosine only).
            cyclic: weight of each of CyCLIP's two consistency terms, between a1 and t1.
            supcon: weight of SupCon over the audio and text views of all passes. It needs labels; clips without one
                take part too.
            contrastive_weight: weight of the pairs, the cyclic terms and SupCon as a whole (the lambda of arXiv
                2409.09282).
            temperature: of the similarities, above 0; or ``"learned"`` as in CLIP (arXiv 2103.00020, section 2.5):
                one temperature for all pairs and SupCon, initially 0.07 (SigLIP: 0.1) and never below 0.01. The
                cyclic terms have none.
            similarity: ``"cosine"`` or ``"dot"``.
            direction: of the pair losses: ``"symmetric"``, or ``"one"``, from the first-named view to the second.
            negatives: of the pair losses: from the ``"other"`` view only, or from ``"both"`` views (NT-Xent).
            normalize_pairs: scale the pair weights to sum 1, so that more pairs do not mean a larger loss.
            exclude: exclude clips with the same ``"transcript"`` or ``"label"`` from each other's negatives.
                Unlabelled clips are never excluded by label. The cyclic terms have no negatives.
            cross_entropy: ``"mean"`` of the passes, the ``"first"`` pass only, or ``"none"``.
            class_weights: (C,), weight of each class in the cross-entropy.
            r_drop_alpha: weight of R-Drop's KL divergence between the passes.
            passes: minimum number of passes; the terms may need more.

        Raises:
            InputError: an option cannot be used, or no term is left.
        """
        super().__init__()
        check_choice("exclude", exclude, get_args(Exclude))
        check_choice("cross_entropy", cross_entropy, get_args(CrossEntropy))
        check_pair_options(pair_loss, similarity, direction, negatives)
        self.pair_loss, self.similarity, self.direction, self.negatives = pair_loss, similarity, direction, negatives
        self.exclude, self.cross_entropy = exclude, cross_entropy

        board = PairBoard.parse(pairs or {})
        self.board = board.normalized() if normalize_pairs else board
        contrastive_weight = checked_weight(contrastive_weight, "contrastive_weight")
        self.pairs = self.board.active if contrastive_weight > 0 else ()
        self.weights = _classifier_weights(cross_entropy, r_drop_alpha)
        self.weights |= _contrastive_weights(self.pairs, cyclic, supcon, contrastive_weight)
        _check_not_empty(self.weights)

        self.passes = _needed_passes(passes, self.weights, self.pairs)
        self.views = _needed_views(self.weights, self.pairs, self.passes)
        self.modalities = tuple(sorted({view.modality for view in self.views}))
        self._add_temperature_and_bias(temperature)
        self.register_buffer("class_weights", _checked_class_weights(class_weights), persistent=False)

    def _add_temperature_and_bias(self, temperature: float | Literal["learned"]) -> None:
        if temperature != "learned":
            check_fixed_temperature(temperature)
        by_siglip = self.pair_loss == "siglip" and bool(self.pairs)
        initial = (0.1 if by_siglip else 0.07) if temperature == "learned" else float(temperature)
        # A parameter that no term uses never gets a gradient, and distributed training would wait for it for ever.
        learned = temperature == "learned" and bool(self.pairs or "supcon" in self.weights)
        self._initial_temperature = initial
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / initial))) if learned else None
        self.logit_bias = nn.Parameter(torch.tensor(INITIAL_BIAS)) if by_siglip else None

    @classmethod
    def preset(cls, name: str, *, pair_weights: Mapping[PairKey, float] | None = None, **options: Any) -> Objective:
        """Build a named objective of `PRESETS`.

        Args:
            name: as in ``"turbo"``.
            pair_weights: pairs to add to those of the preset, or to give another weight, as in ``{"a1-t1": 0.5}``;
                weight 0 removes a pair.
            options: arguments of `Objective`, above all `contrastive_weight`; they override those of the preset.

        Returns:
            The objective.

        Raises:
            InputError: no such preset or option, or an option that cannot be used.
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
        """The current temperature: a number, or a scalar tensor if it is learned."""
        return self._initial_temperature if self.logit_scale is None else (-self.logit_scale).exp()

    def forward(
        self,
        views: Mapping[str, Tensor],
        logits: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        same: Tensor | None = None,
        present: Mapping[str, Tensor] | None = None,
    ) -> ObjectiveOutput:
        """Compute every term and their weighted sum.

        Args:
            views: (B, D) for each view by name, as in ``{"a1": ..., "t1": ...}``; views that no term needs are
                ignored.
            logits: (passes, B, C) of the classifier; None if the objective has neither cross-entropy nor R-Drop.
            labels: (B,) long, -100 for unlabelled clips, which take part in the contrastive terms only.
            same: (B,) integers, equal for clips with the same transcript, negative for a transcript that occurs
                once; needed by ``exclude="transcript"``.
            present: (B,) bool by modality letter, False where a clip lacks that modality. Such a clip is left out of
                the pairs and cyclic terms of the modality; SupCon leaves out only its views of the modality. A
                modality that is not given is present in every clip.

        Returns:
            The total and the terms.

        Raises:
            InputError: something needed is missing, or shapes disagree.
        """
        terms = self._classifier_terms(logits, labels)
        if self.views:
            self._check_same_batch(views, labels)
            terms |= self._contrastive_terms(views, labels, self.groups(labels, same), present or {})
        total = reduce(add, (self.weights[name] * loss for name, loss in terms.items()))
        return ObjectiveOutput(total, {name: loss.detach() for name, loss in terms.items()})

    def extra_repr(self) -> str:
        """The weighted sum as `print` shows it: ``1 cross_entropy + 0.1 a1-t1``."""
        return " + ".join(f"{weight:g} {name}" for name, weight in self.weights.items())

    def losses_of(
        self,
        views: Mapping[str, Tensor],
        pairs: Sequence[Pair],
        groups: Tensor | None = None,
        present: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The unweighted losses of any pairs, on the board or not, with the options of this objective.

        Args:
            views: (B, D) for each view by name.
            pairs: the pairs to compute.
            groups: see `groups`.
            present: as for `forward`.

        Returns:
            The loss of each pair by its name.

        Raises:
            InputError: as for `pair_losses`.
        """
        return pair_losses(
            views,
            pairs,
            pair_loss=self.pair_loss,
            bias=INITIAL_BIAS if self.logit_bias is None else self.logit_bias,
            temperature=self.temperature,
            similarity=self.similarity,
            direction=self.direction,
            negatives=self.negatives,
            groups=groups,
            present=present,
        )

    def groups(self, labels: Tensor | None, same: Tensor | None) -> Tensor | None:
        """The groups of clips that are excluded from each other's negatives.

        Args:
            labels: (B,), as for `forward`.
            same: (B,), as for `forward`.

        Returns:
            (B,) integers, equal within a group and negative for "no group"; None if nothing is excluded.

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

    def _classifier_terms(self, logits: Tensor | None, labels: Tensor | None) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        if "cross_entropy" in self.weights or "r_drop" in self.weights:
            logits, labels = self._checked_logits(logits, labels)
            if "cross_entropy" in self.weights:
                used = logits[:1] if self.cross_entropy == "first" else logits
                terms["cross_entropy"] = cross_entropy(used, labels, self.class_weights)
            if "r_drop" in self.weights:
                terms["r_drop"] = r_drop(logits, labels)
        return terms

    def _contrastive_terms(
        self, views: Mapping[str, Tensor], labels: Tensor | None, groups: Tensor | None, present: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        if self.logit_scale is not None:
            with torch.no_grad():  # as CLIP does after each step; a clamp in the graph would stop its gradient
                self.logit_scale.clamp_(max=math.log(100.0))
        terms = self.losses_of(views, self.pairs, groups, present)
        if "cyclic_in_modal" in self.weights:
            terms["cyclic_in_modal"], terms["cyclic_cross_modal"] = cyclic_consistency(
                views["a1"], views["t1"], similarity=self.similarity, present=clips_with_both(present, "a", "t")
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


def _classifier_weights(cross_entropy: CrossEntropy, r_drop_alpha: float) -> dict[str, float]:
    weights = {"cross_entropy": 0.0 if cross_entropy == "none" else 1.0}
    weights["r_drop"] = checked_weight(r_drop_alpha, "r_drop_alpha")
    return {name: weight for name, weight in weights.items() if weight > 0}


def _contrastive_weights(
    pairs: Sequence[Pair], cyclic: float, supcon: float, contrastive_weight: float
) -> dict[str, float]:
    """The weights of the pairs and of the terms that are added to them, scaled as a whole."""
    cyclic, supcon = checked_weight(cyclic, "cyclic"), checked_weight(supcon, "supcon")
    unscaled = {pair.name: pair.weight for pair in pairs}
    unscaled |= {"cyclic_in_modal": cyclic, "cyclic_cross_modal": cyclic, "supcon": supcon}
    scaled = {name: contrastive_weight * weight for name, weight in unscaled.items()}
    return {name: weight for name, weight in scaled.items() if weight > 0}


def _check_not_empty(weights: Mapping[str, float]) -> None:
    if not weights:
        raise InputError(
            "the objective is empty: cross_entropy is 'none', r_drop_alpha is 0 and neither a pair nor cyclic nor "
            "supcon has a weight above 0; give at least one of them"
        )


def _needed_passes(least: int, weights: Mapping[str, float], pairs: Sequence[Pair]) -> int:
    if not isinstance(least, int) or least < 1:
        raise InputError(f"passes is {least!r}: expected a whole number of at least 1")
    of_pairs = [view.pass_number for pair in pairs for view in (pair.first, pair.second)]
    return max(least, 2 if "r_drop" in weights else 1, *of_pairs)


def _needed_views(weights: Mapping[str, float], pairs: Sequence[Pair], passes: int) -> tuple[View, ...]:
    views = {view for pair in pairs for view in (pair.first, pair.second)}
    if "cyclic_in_modal" in weights:
        views |= {View("a", 1), View("t", 1)}
    if "supcon" in weights:
        views |= {View(letter, number) for letter in "at" for number in range(1, passes + 1)}
    return tuple(sorted(views))


def _checked_class_weights(weights: Tensor | None) -> Tensor | None:
    if weights is None:
        return None
    if weights.ndim != 1 or not weights.isfinite().all() or (weights < 0).any() or not (weights > 0).any():
        raise InputError(
            f"class_weights is {weights.tolist()}: expected one finite number of at least 0 for each class, and one "
            "above 0"
        )
    return weights
