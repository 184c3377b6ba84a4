from functools import partial

import pytest
import torch
from objectives_by_loops import (
    cross_entropy_loops,
    cyclic_loops,
    gram_loops,
    info_nce_loops,
    infoloob_loops,
    r_drop_loops,
    siglip_loops,
    supcon_loops,
)
from open_clip.loss import ClipLoss
from torch.nn import functional as F

from turbo_kit.config import InputError
from turbo_kit.objectives import PRESETS, Objective

IN_MODAL = ["a1-a2", "t1-t2"]
CROSS_MODAL = ["a1-t1", "a1-t2", "a2-t1", "a2-t2"]
ALL_VIEWS = ("a1", "a2", "t1", "t2")
EVERYTHING = dict.fromkeys(IN_MODAL + CROSS_MODAL, 1.0)
MCSE = {"t1-t2": 1.0, "a1-t1": 0.025, "a1-t2": 0.025}
CROSS_SELF = {"a1-t1": 1.0, "a1-a2": 0.5, "t1-t2": 0.5}
# name: passes, modalities, weight of each pair, the pairs as loops
EXPECTED = {
    "ce": (1, "", {}, None),
    "ce-2pass": (2, "", {}, None),
    "r-drop": (2, "", {}, None),
    "simcse": (2, "t", {"t1-t2": 1.0}, partial(info_nce_loops, direction="one")),
    "simcse-audio": (2, "a", {"a1-a2": 1.0}, partial(info_nce_loops, direction="one")),
    "mcse": (2, "at", MCSE, partial(info_nce_loops, direction="one")),
    "in-modal": (2, "at", dict.fromkeys(IN_MODAL, 1.0), info_nce_loops),
    "clip": (1, "at", {"a1-t1": 1.0}, info_nce_loops),
    "cyclip": (1, "at", {"a1-t1": 1.0}, info_nce_loops),
    "siglip": (1, "at", {"a1-t1": 1.0}, partial(siglip_loops, bias=-10.0, temperature=0.1)),
    "infoloob": (1, "at", {"a1-t1": 1.0}, infoloob_loops),
    "gram": (1, "at", {"a1-t1": 1.0}, gram_loops),
    "cross-modal": (2, "at", dict.fromkeys(CROSS_MODAL, 1.0), info_nce_loops),
    "cross+self": (2, "at", CROSS_SELF, partial(info_nce_loops, negatives="both")),
    "supcon": (2, "at", {}, None),
    "turbo": (2, "at", EVERYTHING, info_nce_loops),
}
# Where only one direction is taken, the anchor is text.
TEXT_FIRST = {"mcse"}


def some_batch(passes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    views = {
        view: torch.randn(5, 4, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        for view in ALL_VIEWS
    }
    logits = torch.randn(passes, 5, 3, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    return views, logits, torch.tensor([0, 1, 2, -100, 1])


def test_every_preset_is_tested_here():
    assert list(PRESETS) == list(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_preset_is_the_loss_that_its_name_promises(name):
    passes, modalities, weights, loss_by_loops = EXPECTED[name]
    views, logits, labels = some_batch(passes)
    rows = {view: tensor.tolist() for view, tensor in views.items()}

    objective = Objective.preset(name, contrastive_weight=0.1)
    out = objective(views, logits, labels)

    expected = cross_entropy_loops(logits.tolist(), labels.tolist())
    if name == "r-drop":
        expected += r_drop_loops(*logits.tolist(), labels.tolist())
    for pair, weight in weights.items():
        first, second = sorted(pair.split("-"), reverse=name in TEXT_FIRST and pair != "t1-t2")
        expected += 0.1 * weight * loss_by_loops(rows[first], rows[second])
    if name == "cyclip":
        expected += 0.1 * 0.25 * sum(cyclic_loops(rows["a1"], rows["t1"]))
    if name == "supcon":
        expected += 0.1 * supcon_loops(list(rows.values()), labels.tolist(), temperature=0.07)
    assert out.total.item() == pytest.approx(expected, rel=1e-6)
    assert (objective.passes, objective.modalities) == (passes, tuple(modalities))
    assert {pair.name: pair.weight for pair in objective.pairs} == weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", EXPECTED)
def test_a_preset_trains_all_that_it_uses(name, dtype):
    objective = Objective.preset(name, contrastive_weight=0.1)
    views, logits, labels = some_batch(objective.passes, dtype)

    objective(views, logits, labels).total.backward()

    assert logits.grad.any()
    used = {str(view) for view in objective.views}
    for view, tensor in views.items():
        assert (tensor.grad is not None and tensor.grad.isfinite().all() and tensor.grad.any().item()) == (view in used)
    assert all(parameter.grad is not None and parameter.grad != 0 for parameter in objective.parameters())
    learned = {"logit_scale", "logit_bias"} if name == "siglip" else set()
    assert {parameter for parameter, _ in objective.named_parameters()} == learned


@pytest.mark.parametrize("exclude", ["none", "transcript", "label"])
@pytest.mark.parametrize("temperature", [0.05, "learned"])
@pytest.mark.parametrize("name", EXPECTED)
def test_a_preset_works_with_every_temperature_exclusion_and_absence(name, temperature, exclude):
    objective = Objective.preset(name, contrastive_weight=0.1, temperature=temperature, exclude=exclude)
    views, logits, labels = some_batch(objective.passes)
    has_text = torch.tensor([True, False, True, True, False])
    with torch.no_grad():
        views["t1"][~has_text] = float("nan")
        views["t2"][~has_text] = float("nan")

    out = objective(views, logits, labels, same=torch.tensor([3, 3, 3, 1, 0]), present={"t": has_text})
    out.total.backward()

    assert out.total.isfinite()
    assert all(view.grad is None or view.grad.isfinite().all() for view in views.values())
    assert all(parameter.grad is not None for parameter in objective.parameters())


@pytest.mark.parametrize("pair_loss", ["siglip", "infoloob", "gram"])
def test_turbo_takes_every_pair_loss_on_all_six_pairs(pair_loss):
    views, logits, labels = some_batch(2)
    out = Objective.preset("turbo", pair_loss=pair_loss, pair_weights={"a1-a2": 2.0})(views, logits, labels)
    loops = {"siglip": partial(siglip_loops, bias=-10.0, temperature=0.05), "infoloob": infoloob_loops}
    loss_by_loops = loops.get(pair_loss, gram_loops)
    for pair in IN_MODAL + CROSS_MODAL:
        x, y = (views[view].tolist() for view in pair.split("-"))
        assert out.terms[pair].item() == pytest.approx(loss_by_loops(x, y))


@pytest.mark.parametrize("contrastive_weight", [0.01, 1.0])
def test_turbo_is_the_mean_cross_entropy_and_the_sum_of_six_clip_losses(contrastive_weight):
    generator = torch.Generator().manual_seed(1)
    views = {
        name: (5 * torch.randn(7, 4, generator=generator, dtype=torch.float64)).requires_grad_()
        for name in ("a1", "a2", "t1", "t2")
    }
    logits = torch.randn(2, 7, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 2, 1, 0, 0])
    unit = {name: F.normalize(view, dim=1) for name, view in views.items()}

    ours = Objective.preset("turbo", contrastive_weight=contrastive_weight)(views, logits, labels).total
    six = sum(ClipLoss()(unit[pair[:2]], unit[pair[3:]], 1 / 0.05) for pair in IN_MODAL + CROSS_MODAL)
    classifier = (F.cross_entropy(logits[0], labels) + F.cross_entropy(logits[1], labels)) / 2
    theirs = classifier + contrastive_weight * six

    torch.testing.assert_close(ours, theirs)
    inputs = (logits, *views.values())
    torch.testing.assert_close(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_what_it_is_and_where_it_comes_from(name):
    for line in (PRESETS[name].about, PRESETS[name].source):
        assert 0 < len(line) <= 110
        assert "\n" not in line


def test_options_override_a_preset():
    objective = Objective.preset("simcse", contrastive_weight=0.2, direction="symmetric", temperature="learned")
    assert objective.direction == "symmetric"
    assert objective.logit_scale is not None
    assert Objective.preset("r-drop", r_drop_alpha=4.0).weights["r_drop"] == 4.0


def test_pair_weights_change_single_pairs_of_a_preset():
    objective = Objective.preset(
        "in-modal", contrastive_weight=1.0, pair_weights={"t2-t1": 0.5, "a1-a2": 0.0, ("a1", "t1"): 2.0}
    )
    assert objective.weights == {"cross_entropy": 1.0, "t1-t2": 0.5, "a1-t1": 2.0}
    assert Objective.preset("ce", pair_weights={"a1-t1": 1.0}).weights == {"cross_entropy": 1.0, "a1-t1": 1.0}
    assert Objective.preset("turbo", pair_weights={}).weights.keys() == Objective.preset("turbo").weights.keys()


def test_presets_are_not_changed_by_use():
    Objective.preset("turbo", contrastive_weight=0.5, pair_weights={"a1-a2": 0.0}, normalize_pairs=True)
    assert set(Objective.preset("turbo").weights.values()) == {1.0}


@pytest.mark.parametrize("name", PRESETS)
def test_the_data_of_a_preset_say_what_its_objective_computes(name):
    objective, preset = Objective.preset(name), PRESETS[name]
    assert preset.board == objective.board
    assert preset.contrastive == bool(set(objective.weights) - {"cross_entropy", "r_drop"})
    weights = {"t2-a1": 0.3, "a1-a2": 0.0}
    assert preset.board.updated(weights) == Objective.preset(name, pair_weights=weights).board


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tubro", {}, "unknown objective 'tubro': did you mean 'turbo'"),
        ("turbo", {"temprature": 0.1}, "unknown objective option 'temprature': did you mean 'temperature'"),
        ("turbo", {"contrastive_weight": -0.1}, "contrastive_weight is -0.1"),
        ("turbo", {"pair_weights": {"a1-a1": 1.0}}, "pairs a view with itself"),
        ("siglip", {"direction": "one"}, "'siglip': it compares each two clips once, so it has no direction"),
        ("siglip", {"negatives": "both"}, "negatives='both' with the pair loss 'siglip'"),
        ("simcse", {"pair_loss": "siglip"}, "direction='one', .* leave direction='symmetric'"),
        ("gram", {"similarity": "dot"}, "similarity='dot' with the pair loss 'gram'"),
    ],
)
def test_a_wrong_name_or_option_is_an_error(name, options, message):
    with pytest.raises(InputError, match=message):
        Objective.preset(name, **options)
