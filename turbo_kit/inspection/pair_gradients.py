"""Each pair of a board on one batch: logits, softmax, loss, gradients, and the effect of the temperature."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from turbo_kit.config import InputError, unknown
from turbo_kit.inspection.one_batch import Batch, dropout_views
from turbo_kit.model import TurboModel
from turbo_kit.objectives import Objective, Pair, PairBoard, View, cross_entropy, info_nce, similarity_logits
from turbo_kit.objectives.masks import negatives_mask

HARDEST_NEGATIVES = 5
"""Number of negatives of an anchor that count as the hardest; `temperature_panels` names it too."""


@dataclass(frozen=True)
class PairLook:
    """What InfoNCE computes for one pair of views of B clips, as plain arrays; rows are anchors in the first view."""

    logits: NDArray[np.float32]
    """(B, B) similarity over temperature."""
    softmax: NDArray[np.float32]
    """(B, B) of each row; 0 where a clip is left out of another's negatives."""
    gradient: NDArray[np.float32]
    """(B, B) of the pair's loss with respect to the logits: below 0 is pulled together, above 0 pushed apart."""
    negative_weights: NDArray[np.float32]
    """(B, B - 1) the share of the push that each negative of an anchor gets, the hardest first: `negative_weights`."""
    loss: float


def all_pairs(objective: Objective, views: Mapping[str, Tensor]) -> tuple[Pair, ...]:
    """Every pair of the views, in-modal ones first, with the board's weights; 0 where the board does not have it."""
    own = {pair.name: pair for pair in objective.board.pairs}
    names = sorted(views, key=View.parse)
    pairs = [Pair(View.parse(one), View.parse(other), 0.0) for one, other in combinations(names, 2)]
    return tuple(own.get(pair.name, pair) for pair in sorted(pairs, key=lambda pair: not pair.in_modal))


def negative_groups(objective: Objective, batch: Batch) -> Tensor | None:
    """(B,) the numbers by which the objective leaves clips out of each other's negatives; None where it does not."""
    return objective.groups(batch.labels, batch.transcripts)


def look_at_pair(
    objective: Objective,
    views: Mapping[str, Tensor],
    pair: str,
    groups: Tensor | None = None,
    temperature: float | None = None,
) -> PairLook:
    """Looks inside the loss of one pair.

    Args:
        objective: whose similarity, temperature and direction are used; its pair loss must be InfoNCE with the other
            view's clips as negatives.
        views: (B, D) by name.
        pair: such as `a1-t2`; it need not be on the board.
        groups: see `negative_groups`.
        temperature: in the place of the objective's own.

    Returns:
        Logits, softmax, loss, and the gradient at the logits. With one direction that is (softmax - identity) / B;
        the symmetric loss has the mean of this and of the same for the columns.

    Raises:
        InputError: no such pair, or another pair loss, which has no such softmax.
    """
    _check_softmax(objective)
    chosen = _pair(objective, views, pair)
    with torch.no_grad():
        first, second = views[str(chosen.first)], views[str(chosen.second)]
        used = objective.temperature if temperature is None else temperature
        logits = similarity_logits(first, second, used, objective.similarity)
    size = len(logits)
    identity = torch.eye(size, dtype=logits.dtype, device=logits.device)
    kept = negatives_mask(size, logits.device, groups, None) | identity.bool()
    # Seen as clips in the space of the logits themselves, the kit's own loss gives the gradient at the logits.
    leaf = logits.clone().requires_grad_()
    loss = info_nce(leaf, identity, temperature=1.0, similarity="dot", direction=objective.direction, groups=groups)
    (gradient,) = torch.autograd.grad(loss, leaf)
    softmax = logits.masked_fill(~kept, -math.inf).softmax(dim=1)
    return PairLook(
        logits=logits.numpy(force=True),
        softmax=softmax.numpy(force=True),
        gradient=gradient.numpy(force=True),
        negative_weights=negative_weights(logits).numpy(force=True),
        loss=loss.item(),
    )


def term_losses(
    objective: Objective, views: Mapping[str, Tensor], logits: Tensor, batch: Batch, include_inactive: bool = True
) -> dict[str, Tensor]:
    """Cross-entropy and the unweighted loss of each pair of views, with their graphs.

    Args:
        objective: whose settings are used; its R-Drop, cyclic and SupCon terms are no pairs and are left out.
        views: (B, D) by name.
        logits: (passes, B, C); the cross-entropy takes the passes that the objective's own takes.
        batch: the B clips.
        include_inactive: take the pairs of weight 0 too.
    """
    pairs = [pair for pair in all_pairs(objective, views) if include_inactive or pair.weight]
    passes = 1 if objective.cross_entropy == "first" else objective.passes
    own = cross_entropy(logits[:passes], batch.labels, objective.class_weights)
    return {"cross_entropy": own} | objective.losses_of(views, pairs, negative_groups(objective, batch))


def loss_table(objective: Objective, losses: Mapping[str, Tensor | float]) -> pd.DataFrame:
    """What each term of a batch adds to the total.

    Args:
        objective: whose weights are used; a term that it does not have weighs 0.
        losses: of each term, unweighted, by name, as from `term_losses`.

    Returns:
        One row a term: `loss`, `weight` in the total, and their product `weighted`, which the total is the sum of.
    """
    table = pd.DataFrame({"loss": {name: torch.as_tensor(loss).item() for name, loss in losses.items()}})
    table["weight"] = [objective.weights.get(name, 0.0) for name in table.index]
    table["weighted"] = table["loss"] * table["weight"]
    return table.rename_axis("term")


def view_gradients(objective: Objective, views: Mapping[str, Tensor], batch: Batch) -> dict[str, dict[str, Tensor]]:
    """How strongly each pair pulls at each clip: the norm of the gradient of its unweighted loss at the view.

    Returns:
        By pair and view, (B,) norms.
    """
    leaves = {name: view.detach().clone().requires_grad_() for name, view in views.items()}
    nothing = torch.zeros(objective.passes, len(batch), len(batch.classes), device=batch.labels.device)
    losses = term_losses(objective, leaves, nothing, batch)
    del losses["cross_entropy"]
    norms = {}
    for name, loss in losses.items():
        both = name.split("-")
        gradients = torch.autograd.grad(loss, [leaves[view] for view in both], retain_graph=True)
        norms[name] = {view: gradient.norm(dim=1) for view, gradient in zip(both, gradients, strict=True)}
    return norms


def gradient_cosines(
    model: TurboModel, objective: Objective, batch: Batch, *, include_inactive: bool = True, seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Cosines between the gradients of the terms, over the parameters that the pairs and the classifier share.

    Those are the trained parameters of the encoders' heads; projections belong to the pairs alone, fusion and the
    classifier to the cross-entropy. One backward a term.

    Args:
        model: the model, seen with dropout on.
        objective: whose terms are compared: cross-entropy and pairs.
        batch: the clips.
        include_inactive: take the pairs of weight 0 too.
        seed: of the dropout masks.

    Returns:
        (terms, terms) cosines, and in the column `norm` the length of each gradient: over all heads as `both`, and
        over those of one modality by its name. NaN where a term does not reach the parameters.

    Raises:
        InputError: a model without a trained head.
    """
    needed = [view.pass_number for view in objective.board.views]
    passes = max(objective.passes, 2 if include_inactive else 1, *needed)
    output = dropout_views(model, batch, passes, seed=seed)
    losses = term_losses(objective, output.views, output.logits, batch, include_inactive)
    shared = {m: [p for p in model.encoder(m).parameters() if p.requires_grad] for m in model.modalities}
    if not all(shared.values()):
        raise InputError("this model has no trained head: the gradients of its terms meet nowhere.")
    gradients: dict[str, list[Tensor]] = {modality: [] for modality in shared}
    for loss in losses.values():
        for modality, found in zip(shared, _gradients(loss, list(shared.values())), strict=True):
            gradients[modality].append(found)
    stacked = {modality: torch.stack(rows) for modality, rows in gradients.items()}
    stacked = {"both": torch.cat(list(stacked.values()), dim=1)} | stacked
    tables = {}
    for name, rows in stacked.items():
        norms = rows.norm(dim=1)
        cosines = (rows / norms[:, None]) @ (rows / norms[:, None]).T  # 0 / 0: NaN
        tables[name] = pd.DataFrame(cosines.numpy(force=True), index=list(losses), columns=list(losses))
        tables[name]["norm"] = norms.numpy(force=True)
    return tables


def negative_weights(logits: Tensor) -> Tensor:
    """The share of the push that each negative of an anchor gets: the softmax over its negatives alone.

    Args:
        logits: (B, B), the positives on the diagonal; at least 2 clips.

    Returns:
        (B, B - 1), the hardest first; each row sums to 1.
    """
    size = len(logits)
    others = logits[~torch.eye(size, dtype=torch.bool, device=logits.device)].reshape(size, size - 1)
    return others.softmax(dim=1).sort(dim=1, descending=True)[0]


def temperature_table(
    objective: Objective, views: Mapping[str, Tensor], pair: str, temperatures: Sequence[float]
) -> pd.DataFrame:
    """Loss and negatives of one pair of views by temperature, with all other clips as negatives.

    Args:
        objective: whose similarity and direction are used.
        views: (B, D) by name.
        pair: such as `a1-t2`.
        temperatures: each above 0.

    Returns:
        One row a temperature: `loss`; `effective_negatives`, exp of the entropy of the shares of the push that an
        anchor's negatives get (all equal: B - 1; one alone: 1); `hardest_share`, the share of its five hardest;
        `pull`, one minus the softmax of the positive, by which that is drawn. The last three are means over the
        anchors of the rows.

    Raises:
        InputError: as for `look_at_pair`.
    """
    rows = []
    for temperature in temperatures:
        look = look_at_pair(objective, views, pair, temperature=temperature)
        shares = torch.from_numpy(look.negative_weights)
        entropy = -torch.special.xlogy(shares, shares).sum(dim=1)
        rows.append(
            {
                "temperature": temperature,
                "loss": look.loss,
                "effective_negatives": float(entropy.exp().mean()),
                "hardest_share": float(shares[:, :HARDEST_NEGATIVES].sum(dim=1).mean()),
                "pull": float(1 - look.softmax.diagonal().mean()),
            }
        )
    return pd.DataFrame(rows).set_index("temperature")


def _check_softmax(objective: Objective) -> None:
    if objective.pair_loss != "info_nce" or objective.negatives != "other":
        raise InputError(
            f"pair_loss={objective.pair_loss!r}, negatives={objective.negatives!r}: only InfoNCE with the other view's "
            "clips as negatives has one softmax over (B, B) logits; choose pair_loss='info_nce' and negatives='other'."
        )


def _pair(objective: Objective, views: Mapping[str, Tensor], name: str) -> Pair:
    (given,) = PairBoard.parse({name: 0.0}).pairs
    known = {pair.name: pair for pair in all_pairs(objective, views)}
    if given.name not in known:
        raise unknown("pair", name, known)
    return known[given.name]


def _gradients(loss: Tensor, parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The gradient of a loss over each part's parameters as one vector, 0 where it does not reach them."""
    flat = [parameter for part in parts for parameter in part]
    found = iter(torch.autograd.grad(loss, flat, retain_graph=True, allow_unused=True, materialize_grads=True))
    return [torch.cat([next(found).flatten() for _ in part]) for part in parts]
