"""What a pair does with a batch agrees with the kit's own losses, and with what can be worked out by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from turbo_kit import InputError, Objective, TurboModel
from turbo_kit.inspection import (
    all_pairs,
    draw_batch,
    dropout_views,
    gradient_cosines,
    look_at_pair,
    loss_table,
    negative_weights,
    temperature_table,
    term_losses,
    view_gradients,
)
from turbo_kit.objectives import info_nce

SIX = ["a1-a2", "t1-t2", "a1-t1", "a1-t2", "a2-t1", "a2-t2"]


@pytest.fixture
def batch(model, clips):
    return draw_batch(model, clips, 8)


def random_views(size=6):
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(size, 5, generator=generator) for name in ("a1", "a2", "t1", "t2")}


def test_one_direction_is_pulled_by_softmax_minus_identity():
    objective, views = Objective(direction="one"), random_views()
    look = look_at_pair(objective, views, "a1-t2")
    cosines = F.normalize(views["a1"], dim=1) @ F.normalize(views["t2"], dim=1).T
    logits, softmax, gradient = map(torch.from_numpy, (look.logits, look.softmax, look.gradient))
    torch.testing.assert_close(logits, cosines / 0.05)
    torch.testing.assert_close(softmax, logits.softmax(dim=1))
    torch.testing.assert_close(gradient, (softmax - torch.eye(6)) / 6)
    torch.testing.assert_close(torch.from_numpy(look.negative_weights), negative_weights(logits))
    assert look.loss == pytest.approx(float(info_nce(views["a1"], views["t2"], direction="one")))


@pytest.mark.parametrize("groups", [None, torch.tensor([0, 0, 1, 2, 3, 4])])
def test_the_symmetric_gradient_is_the_mean_of_rows_and_columns(groups):
    objective, views = Objective(temperature=0.5), random_views()
    look = look_at_pair(objective, views, "a1-t1", groups)
    logits = torch.from_numpy(look.logits).clone()
    if groups is not None:
        logits[0, 1] = logits[1, 0] = -math.inf
        assert look.softmax[0, 1] == look.gradient[0, 1] == 0
    expected = ((logits.softmax(dim=1) + logits.softmax(dim=0)) / 2 - torch.eye(6)) / 6
    torch.testing.assert_close(torch.from_numpy(look.gradient), expected)
    assert look.loss == pytest.approx(float(info_nce(views["a1"], views["t1"], temperature=0.5, groups=groups)))


def test_equal_logits_cost_ln_of_the_batch():
    same = {name: torch.ones(6, 5) for name in ("a1", "t1")}
    look = look_at_pair(Objective(), same, "a1-t1")
    assert look.loss == pytest.approx(math.log(6))
    torch.testing.assert_close(torch.from_numpy(look.softmax), torch.full((6, 6), 1 / 6))


def test_the_first_named_view_is_the_anchor_and_either_name_is_the_pair():
    objective = Objective({("t1", "a1"): 1.0}, direction="one")
    views = random_views()
    for name in ("t1-a1", "a1-t1"):
        look = look_at_pair(objective, views, name)
        assert look.loss == pytest.approx(float(info_nce(views["t1"], views["a1"], direction="one")))


@pytest.mark.parametrize(
    ("options", "pair", "said"),
    [
        ({}, "a1-t3", "did you mean 'a1-t1'|did you mean 'a1-t2'"),
        ({}, "a1", "not two views"),
        ({"pairs": {"a1-t1": 1.0}, "pair_loss": "gram"}, "a1-t1", "pair_loss='gram'"),
        ({"negatives": "both"}, "a1-t1", "negatives='both'"),
    ],
)
def test_a_pair_that_cannot_be_looked_into(options, pair, said):
    with pytest.raises(InputError, match=said):
        look_at_pair(Objective(**options), random_views(), pair)


@pytest.mark.parametrize("options", [{}, {"exclude": "label"}, {"normalize_pairs": True, "temperature": 0.2}])
def test_terms_and_their_sum_are_those_of_the_objective(model, batch, options):
    objective = Objective.preset("turbo", contrastive_weight=0.3, **options)
    output = dropout_views(model, batch)
    own = objective(output.views, output.logits, batch.labels, same=batch.transcripts)
    table = loss_table(objective, term_losses(objective, output.views, output.logits, batch))
    assert list(table.index) == ["cross_entropy", *SIX]
    for name, loss in own.terms.items():
        assert table.loc[name, "loss"] == pytest.approx(float(loss))
    assert table["weighted"].sum() == pytest.approx(own.total.item())


def test_pairs_that_are_not_on_the_board_are_there_with_weight_0(model, batch):
    objective = Objective.preset("clip")
    assert {pair.name: pair.weight for pair in all_pairs(objective, random_views())} == {
        name: float(name == "a1-t1") for name in SIX
    }
    output = dropout_views(model, batch)
    losses = term_losses(objective, output.views, output.logits, batch)
    table = loss_table(objective, losses)
    assert (table["loss"] > 0).all() and table["weight"].to_dict()["a2-t2"] == 0
    torch.testing.assert_close(losses["cross_entropy"], F.cross_entropy(output.logits[0], batch.labels))
    assert set(term_losses(objective, output.views, output.logits, batch, include_inactive=False)) == {
        "cross_entropy",
        "a1-t1",
    }


def test_each_pair_pulls_at_its_own_two_views(model, batch):
    objective = Objective.preset("turbo")
    views = {name: view.detach() for name, view in dropout_views(model, batch).views.items()}
    norms = view_gradients(objective, views, batch)
    assert {pair: list(of) for pair, of in norms.items()} == {pair: pair.split("-") for pair in SIX}
    leaf = views["a1"].clone().requires_grad_()
    info_nce(leaf, views["t2"]).backward()
    torch.testing.assert_close(norms["a1-t2"]["a1"], leaf.grad.norm(dim=1))


def test_cosines_are_those_of_one_backward_a_term(model, batch):
    objective = Objective.preset("turbo", contrastive_weight=0.1)
    tables = gradient_cosines(model, objective, batch, seed=3)
    gradients = {}
    for name in ("cross_entropy", "a1-a2", "t1-t2", "a1-t1"):
        model.zero_grad()
        output = dropout_views(model, batch, seed=3)
        term_losses(objective, output.views, output.logits, batch)[name].backward()
        parts = {m: [p.grad for p in model.encoder(m).parameters() if p.grad is not None] for m in ("audio", "text")}
        gradients[name] = {m: torch.cat([g.flatten() for g in found]) if found else None for m, found in parts.items()}
    classified, crossed = (gradients[name] for name in ("cross_entropy", "a1-t1"))
    for modality, table in (("audio", tables["audio"]), ("text", tables["text"])):
        expected = F.cosine_similarity(classified[modality], crossed[modality], dim=0)
        assert table.loc["cross_entropy", "a1-t1"] == pytest.approx(float(expected), abs=1e-5)
    both = [torch.cat(list(g.values())) for g in (classified, crossed)]
    assert tables["both"].loc["cross_entropy", "a1-t1"] == pytest.approx(
        float(F.cosine_similarity(*both, dim=0)), abs=1e-5
    )
    assert tables["both"].loc["a1-t1", "norm"] == pytest.approx(float(both[1].norm()), rel=1e-4)
    # each in-modal pair reaches the heads of its own modality alone
    assert tables["both"].loc["a1-a2", "t1-t2"] == 0
    assert tables["audio"].drop(columns="norm").loc["t1-t2"].isna().all()
    assert tables["audio"].loc["t1-t2", "norm"] == 0


def test_cosines_of_a_board_of_one_pass_and_of_a_model_without_dropout(quick, clips):
    model = TurboModel.from_config(quick(audio_dropout=0.0, text_dropout=0.0), clips.classes)
    batch = draw_batch(model, clips, 8)
    tables = gradient_cosines(model, Objective.preset("clip"), batch, include_inactive=False)
    assert list(tables["both"].index) == ["cross_entropy", "a1-t1"]
    tables = gradient_cosines(model, Objective.preset("turbo"), batch)
    assert tables["both"].loc["a1-t1", "a2-t2"] == pytest.approx(1.0, abs=1e-5)  # the two passes are the same


def test_negatives_share_the_push_by_a_softmax_of_their_own():
    logits = torch.tensor([[9.0, 0.0, 1.0], [0.0, 9.0, 0.0], [2.0, 0.0, 9.0]])
    shares = negative_weights(logits)
    torch.testing.assert_close(shares[0], torch.tensor([1.0, 0.0]).softmax(dim=0))
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(3))
    torch.testing.assert_close(shares[1], torch.full((2,), 0.5))
    assert (shares[:, 0] >= shares[:, 1]).all()


def test_temperature_leaves_one_negative_when_low_and_all_when_high():
    views = random_views(12)
    table = temperature_table(Objective(), views, "a1-t1", [0.001, 0.05, 1000.0])
    assert table["effective_negatives"].iloc[0] == pytest.approx(1, abs=0.01)
    assert table["effective_negatives"].iloc[2] == pytest.approx(11, abs=1e-3)
    assert table["hardest_share"].to_list() == pytest.approx([1, table["hardest_share"].iloc[1], 5 / 11], abs=1e-3)
    assert table["loss"].iloc[2] == pytest.approx(math.log(12), abs=1e-3)
    assert table["pull"].iloc[2] == pytest.approx(11 / 12, abs=1e-3)
    assert table["loss"].iloc[1] == pytest.approx(float(info_nce(views["a1"], views["t1"], temperature=0.05)))
    with pytest.raises(InputError, match="temperature is 0"):
        temperature_table(Objective(), views, "a1-t1", [0.0])
