import pytest
import torch
from objectives_by_loops import cross_entropy_loops, info_nce_loops, r_drop_loops
from open_clip.loss import ClipLoss
from torch.nn import functional as F

from turbo_kit.config import InputError
from turbo_kit.objectives import PRESETS, Objective

IN_MODAL = ["a1-a2", "t1-t2"]
CROSS_MODAL = ["a1-t1", "a1-t2", "a2-t1", "a2-t2"]
# name: passes, modalities, pairs, direction
EXPECTED = {
    "ce": (1, "", [], "symmetric"),
    "ce-2pass": (2, "", [], "symmetric"),
    "r-drop": (2, "", [], "symmetric"),
    "simcse": (2, "t", ["t1-t2"], "one"),
    "simcse-audio": (2, "a", ["a1-a2"], "one"),
    "clip": (1, "at", ["a1-t1"], "symmetric"),
    "in-modal": (2, "at", IN_MODAL, "symmetric"),
    "cross-modal": (2, "at", CROSS_MODAL, "symmetric"),
    "turbo": (2, "at", IN_MODAL + CROSS_MODAL, "symmetric"),
}


def test_every_preset_is_tested_here():
    assert list(PRESETS) == list(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_preset_is_the_loss_that_its_name_promises(name):
    passes, modalities, pairs, direction = EXPECTED[name]
    generator = torch.Generator().manual_seed(0)
    views = {view: torch.randn(5, 4, generator=generator, dtype=torch.float64) for view in ("a1", "a2", "t1", "t2")}
    logits = torch.randn(passes, 5, 3, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, -100, 1])

    objective = Objective.preset(name, contrastive_weight=0.1)
    out = objective(views, logits, labels)

    expected = cross_entropy_loops(logits.tolist(), labels.tolist())
    if name == "r-drop":
        expected += r_drop_loops(*logits.tolist(), labels.tolist())
    for pair in pairs:
        x, y = (views[view].tolist() for view in pair.split("-"))
        expected += 0.1 * info_nce_loops(x, y, temperature=0.05, direction=direction)
    assert out.total.item() == pytest.approx(expected)
    assert (objective.passes, objective.modalities) == (passes, tuple(modalities))
    assert [pair.name for pair in objective.pairs] == pairs
    assert [pair.weight for pair in objective.pairs] == [1.0] * len(pairs)


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


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tubro", {}, "unknown objective 'tubro': did you mean 'turbo'"),
        ("turbo", {"temprature": 0.1}, "unknown objective option 'temprature': did you mean 'temperature'"),
        ("turbo", {"contrastive_weight": -0.1}, "contrastive_weight is -0.1"),
        ("turbo", {"pair_weights": {"a1-a1": 1.0}}, "pairs a view with itself"),
    ],
)
def test_a_wrong_name_or_option_is_an_error(name, options, message):
    with pytest.raises(InputError, match=message):
        Objective.preset(name, **options)
