import math

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

from turbo_kit.config import InputError
from turbo_kit.objectives import Objective, cross_modal_pairs, in_modal_pairs

LABELS = torch.tensor([0, 2, -100, 1, 2, 0])
SAME = torch.tensor([4, 1, 1, 4, 0, -1])
ALL_VIEWS = ("a1", "a2", "t1", "t2")
PAIR = {("a1", "t1"): 1.0}


@pytest.fixture
def views():
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(6, 4, generator=generator, dtype=torch.float64).requires_grad_()
        for name in (*ALL_VIEWS, "v1", "v2")
    }


@pytest.fixture
def logits():
    return torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()


def test_the_total_is_the_weighted_sum_of_the_terms(views, logits):
    weights = torch.tensor([0.5, 2.0, 1.0])
    objective = Objective(
        {("a1", "a2"): 2.0, ("t2", "a1"): 0.5},
        contrastive_weight=0.1,
        temperature=0.3,
        class_weights=weights,
        r_drop_alpha=0.7,
    )
    out = objective(views, logits, LABELS)

    expected = {
        "cross_entropy": cross_entropy_loops(logits.tolist(), LABELS.tolist(), weights.tolist()),
        "r_drop": r_drop_loops(*logits.tolist(), LABELS.tolist()),
        "a1-a2": info_nce_loops(views["a1"].tolist(), views["a2"].tolist(), temperature=0.3),
        "a1-t2": info_nce_loops(views["a1"].tolist(), views["t2"].tolist(), temperature=0.3),
    }
    assert {name: loss.item() for name, loss in out.terms.items()} == pytest.approx(expected)
    assert objective.weights == pytest.approx({"cross_entropy": 1.0, "r_drop": 0.7, "a1-a2": 0.2, "a1-t2": 0.05})
    assert out.total.item() == pytest.approx(sum(objective.weights[name] * expected[name] for name in expected))
    assert (objective.passes, objective.modalities) == (2, ("a", "t"))


def test_the_gradient_of_everything_at_once_is_right(views, logits):
    objective = Objective(
        in_modal_pairs() | cross_modal_pairs(),
        contrastive_weight=0.3,
        temperature=0.5,
        negatives="both",
        exclude="label",
        r_drop_alpha=0.5,
    )

    def total(logits, *tensors):
        return objective(dict(zip(ALL_VIEWS, tensors, strict=True)), logits, LABELS).total

    assert torch.autograd.gradcheck(total, (logits, *(views[name] for name in ALL_VIEWS)))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("similarity", "dot"),
        ("direction", "one"),
        ("negatives", "both"),
        ("temperature", 0.8),
    ],
)
def test_each_switch_of_the_pairs_reaches_the_loss(views, option, value):
    switches = {"temperature": 0.3, option: value}
    out = Objective(PAIR, cross_entropy="none", **switches)(views)
    assert out.total.item() == pytest.approx(info_nce_loops(views["a1"].tolist(), views["t1"].tolist(), **switches))


def test_one_direction_goes_from_the_first_named_view_to_the_second(views):
    one_way = {
        pair: Objective({pair: 1.0}, direction="one", cross_entropy="none")(views).terms["a1-t1"].item()
        for pair in (("a1", "t1"), ("t1", "a1"))
    }
    a1, t1 = views["a1"].tolist(), views["t1"].tolist()
    assert one_way["a1", "t1"] == pytest.approx(info_nce_loops(a1, t1, direction="one"))
    assert one_way["t1", "a1"] == pytest.approx(info_nce_loops(t1, a1, direction="one"))


@pytest.mark.parametrize("negatives", ["other", "both"])
@pytest.mark.parametrize(("exclude", "groups"), [("none", None), ("transcript", SAME), ("label", LABELS)])
def test_exclude_decides_which_clips_are_no_negatives(views, logits, exclude, groups, negatives):
    objective = Objective(PAIR, temperature=0.3, exclude=exclude, negatives=negatives, passes=2)
    out = objective(views, logits, LABELS, same=SAME)
    expected = info_nce_loops(
        views["a1"].tolist(),
        views["t1"].tolist(),
        temperature=0.3,
        negatives=negatives,
        groups=None if groups is None else groups.tolist(),
    )
    assert out.terms["a1-t1"].item() == pytest.approx(expected)


def test_clips_without_a_modality_leave_its_pairs(views):
    has_text = torch.tensor([True, False, True, True, False, True])
    objective = Objective(in_modal_pairs() | cross_modal_pairs(passes=1), temperature=0.3, cross_entropy="none")
    with torch.no_grad():
        views["t1"][~has_text] = float("nan")
    out = objective(views, present={"t": has_text})
    out.total.backward()

    a1, a2, t1, t2 = (views[name].detach() for name in ALL_VIEWS)
    expected = {
        "a1-a2": info_nce_loops(a1.tolist(), a2.tolist(), temperature=0.3),
        "t1-t2": info_nce_loops(t1[has_text].tolist(), t2[has_text].tolist(), temperature=0.3),
        "a1-t1": info_nce_loops(a1[has_text].tolist(), t1[has_text].tolist(), temperature=0.3),
    }
    assert {name: loss.item() for name, loss in out.terms.items()} == pytest.approx(expected)
    assert all(views[name].grad.isfinite().all() for name in ALL_VIEWS)


@pytest.mark.parametrize(("cross_entropy", "used"), [("mean", [0, 1]), ("first", [0])])
def test_cross_entropy_takes_the_mean_of_the_passes_or_the_first(logits, cross_entropy, used):
    out = Objective(cross_entropy=cross_entropy, passes=2)({}, logits, LABELS)
    expected = cross_entropy_loops([logits[number].tolist() for number in used], LABELS.tolist())
    assert out.total.item() == pytest.approx(expected)


def test_without_cross_entropy_neither_logits_nor_labels_are_needed(views):
    assert list(Objective(PAIR, cross_entropy="none")(views).terms) == ["a1-t1"]


def test_terms_are_detached_and_the_total_is_not(views, logits):
    out = Objective(PAIR, r_drop_alpha=1.0)(views, logits, LABELS)
    assert out.total.requires_grad
    assert not any(loss.requires_grad for loss in out.terms.values())


def test_a_pair_of_weight_zero_is_never_computed(views, logits):
    views["t2"] = torch.full((6, 4), float("nan"), dtype=torch.float64, requires_grad=True)
    out = Objective({("a1", "t1"): 1.0, ("a1", "t2"): 0.0, ("v7", "v8"): 0.0}, passes=2)(views, logits, LABELS)
    out.total.backward()
    assert list(out.terms) == ["cross_entropy", "a1-t1"]
    assert out.total.isfinite()
    assert views["t2"].grad is None


def test_contrastive_weight_zero_leaves_the_classifier_alone(logits):
    objective = Objective.preset("turbo", contrastive_weight=0.0, temperature="learned")
    assert (objective.passes, objective.modalities, list(objective.weights)) == (2, (), ["cross_entropy"])
    assert not list(objective.parameters())
    assert list(objective({}, logits, LABELS).terms) == ["cross_entropy"]


def test_normalized_pairs_sum_to_one_before_the_contrastive_weight():
    weights = Objective({"a1-t1": 1.0, "a1-t2": 3.0}, normalize_pairs=True, contrastive_weight=0.2).weights
    assert weights == pytest.approx({"cross_entropy": 1.0, "a1-t1": 0.05, "a1-t2": 0.15})


def test_any_number_of_modalities_and_passes(views):
    objective = Objective(cross_modal_pairs("atv", passes=1) | {("v1", "v2"): 1.0}, cross_entropy="none")
    assert list(objective(views).terms) == ["a1-t1", "a1-v1", "t1-v1", "v1-v2"]
    assert (objective.passes, objective.modalities) == (2, ("a", "t", "v"))
    assert Objective({("a1", "a3"): 1.0}).passes == 3


def test_every_pair_of_three_modalities_and_three_passes_is_its_own_loss():
    names = [f"{letter}{number}" for letter in "atv" for number in (1, 2, 3)]
    generator = torch.Generator().manual_seed(2)
    views = {name: torch.randn(4, 3, generator=generator, dtype=torch.float64) for name in names}
    objective = Objective(
        in_modal_pairs("atv", passes=3, weight=2.0) | cross_modal_pairs("atv", passes=3), cross_entropy="none"
    )
    out = objective(views)

    expected = {
        f"{one}-{other}": info_nce_loops(views[one].tolist(), views[other].tolist())
        for i, one in enumerate(names)
        for other in names[i + 1 :]
    }
    assert len(expected) == 36
    assert {name: loss.item() for name, loss in out.terms.items()} == pytest.approx(expected)
    weighted = [(2 if name[0] == name[3] else 1) * loss for name, loss in expected.items()]
    assert out.total.item() == pytest.approx(sum(weighted))


def test_unlabelled_clips_take_part_in_the_pairs_only(views, logits):
    objective = Objective(PAIR, temperature=0.3, passes=2)
    out = objective(views, logits, torch.full((6,), -100))
    out.total.backward()
    assert out.terms["cross_entropy"].item() == 0
    assert out.total.item() == pytest.approx(
        info_nce_loops(views["a1"].tolist(), views["t1"].tolist(), temperature=0.3)
    )
    assert not logits.grad.any()
    assert views["a1"].grad.any(dim=1).all()


def test_a_single_clip_can_be_trained_on(views, logits):
    out = Objective.preset("turbo", contrastive_weight=0.1)(
        {name: view[:1] for name, view in views.items()}, logits[:, :1], LABELS[:1]
    )
    out.total.backward()
    assert out.total.item() == pytest.approx(out.terms["cross_entropy"].item())
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_gives_a_finite_total_and_gradient(views, logits, dtype):
    small = {name: view.detach().to(dtype).requires_grad_() for name, view in views.items()}
    objective = Objective.preset("turbo", contrastive_weight=0.1, temperature=0.01, r_drop_alpha=1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = objective(small, logits.to(dtype), LABELS)
    out.total.backward()
    assert out.total.dtype == torch.float32
    assert out.total.isfinite()
    assert all(small[name].grad.isfinite().all() for name in ALL_VIEWS)
    exact = objective({name: view.double() for name, view in small.items()}, logits.to(dtype).double(), LABELS)
    torch.testing.assert_close(out.total.double(), exact.total, rtol=1e-5, atol=1e-5)


def test_a_learned_temperature_starts_as_in_clip_and_takes_a_gradient(views):
    objective = Objective(PAIR, temperature="learned", cross_entropy="none")
    out = objective(views)
    out.total.backward()

    assert objective.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    assert objective.temperature.item() == pytest.approx(0.07)
    expected = info_nce_loops(views["a1"].tolist(), views["t1"].tolist(), temperature=objective.temperature.item())
    assert out.total.item() == pytest.approx(expected)

    # The slope along logit_scale by central differences of the loops.
    step = 1e-5
    at = [
        info_nce_loops(views["a1"].tolist(), views["t1"].tolist(), temperature=1 / math.exp(scale))
        for scale in (objective.logit_scale.item() - step, objective.logit_scale.item() + step)
    ]
    assert objective.logit_scale.grad.item() == pytest.approx((at[1] - at[0]) / (2 * step), rel=1e-4)


def test_a_learned_scale_is_held_at_one_hundred_and_can_come_down_again(views):
    objective = Objective(PAIR, temperature="learned", cross_entropy="none")
    with torch.no_grad():
        objective.logit_scale.fill_(9.0)
    objective(views).total.backward()  # unrelated views: a larger temperature would be better
    assert objective.temperature.item() == pytest.approx(0.01)
    assert objective.logit_scale.grad.item() > 0


def test_a_fixed_temperature_is_no_parameter():
    objective = Objective(PAIR, temperature=0.1)
    assert objective.temperature == 0.1
    assert not list(objective.parameters())


def test_class_weights_move_with_the_module_and_stay_out_of_its_state():
    objective = Objective(class_weights=torch.ones(3)).to(torch.float64)
    assert objective.class_weights.dtype == torch.float64
    assert not objective.state_dict()


def test_cyclic_terms_and_supcon_are_weighed_with_the_pairs_and_not_normalised_with_them(views, logits):
    objective = Objective(
        {("a1", "t1"): 2.0, ("a1", "a2"): 2.0},
        cyclic=0.25,
        supcon=3.0,
        contrastive_weight=0.1,
        normalize_pairs=True,
        temperature=0.3,
        r_drop_alpha=0.7,
    )
    out = objective(views, logits, LABELS)

    rows = {name: views[name].tolist() for name in ALL_VIEWS}
    in_modal, cross_modal = cyclic_loops(rows["a1"], rows["t1"])
    expected = {
        "cyclic_in_modal": in_modal,
        "cyclic_cross_modal": cross_modal,
        "supcon": supcon_loops(list(rows.values()), LABELS.tolist(), temperature=0.3),
    }
    assert {name: out.terms[name].item() for name in expected} == pytest.approx(expected)
    assert objective.weights == pytest.approx(
        {
            "cross_entropy": 1.0,
            "r_drop": 0.7,
            "a1-t1": 0.05,
            "a1-a2": 0.05,
            "cyclic_in_modal": 0.025,
            "cyclic_cross_modal": 0.025,
            "supcon": 0.3,
        }
    )
    assert list(out.terms) == list(objective.weights)
    assert out.total.item() == pytest.approx(
        sum(objective.weights[name] * out.terms[name].item() for name in out.terms)
    )


@pytest.mark.parametrize("options", [{"cyclic": 0.0, "supcon": 0.0}, {"contrastive_weight": 0.0, "supcon": 1.0}])
def test_terms_of_weight_zero_are_never_computed(logits, monkeypatch, options):
    def never(*arguments, **settings):
        raise AssertionError("computed")

    monkeypatch.setattr("turbo_kit.objectives.objective.cyclic_consistency", never)
    monkeypatch.setattr("turbo_kit.objectives.objective.supcon", never)
    objective = Objective(passes=2, temperature="learned", pair_loss="siglip", **options)
    assert list(objective({}, logits, LABELS).terms) == ["cross_entropy"]
    assert (objective.modalities, objective.views, list(objective.parameters())) == ((), (), [])


@pytest.mark.parametrize(
    ("options", "passes", "views"),
    [
        ({"cyclic": 0.25}, 1, "a1 t1"),
        ({"supcon": 1.0}, 1, "a1 t1"),
        ({"supcon": 1.0, "passes": 2}, 2, "a1 a2 t1 t2"),
        ({"supcon": 1.0, "r_drop_alpha": 1.0}, 2, "a1 a2 t1 t2"),
        ({"supcon": 1.0, "pairs": {("v1", "v2"): 1.0}}, 2, "a1 a2 t1 t2 v1 v2"),
        ({"cyclic": 0.25, "pairs": {("t1", "t2"): 1.0}}, 2, "a1 t1 t2"),
    ],
)
def test_the_terms_decide_which_views_and_passes_are_needed(options, passes, views):
    objective = Objective(**options)
    assert (objective.passes, " ".join(map(str, objective.views))) == (passes, views)
    assert objective.modalities == tuple(sorted({view[0] for view in views.split()}))


def test_the_terms_beside_the_pairs_leave_out_what_is_absent_and_excluded(views):
    has_text = torch.tensor([True, False, True, True, False, True])
    has_audio = torch.tensor([True, True, True, False, True, True])
    objective = Objective(cyclic=1.0, supcon=1.0, passes=2, temperature=0.3, exclude="transcript", cross_entropy="none")
    with torch.no_grad():
        for name in ("t1", "t2"):
            views[name][~has_text] = float("nan")
    out = objective(views, labels=LABELS, same=SAME, present={"t": has_text, "a": has_audio})

    rows = {name: views[name].tolist() for name in ALL_VIEWS}
    both = (has_text & has_audio).tolist()
    assert [out.terms["cyclic_in_modal"].item(), out.terms["cyclic_cross_modal"].item()] == pytest.approx(
        cyclic_loops(rows["a1"], rows["t1"], present=both)
    )
    present = [has_audio.tolist()] * 2 + [has_text.tolist()] * 2
    assert out.terms["supcon"].item() == pytest.approx(
        supcon_loops(list(rows.values()), LABELS.tolist(), temperature=0.3, groups=SAME.tolist(), present=present)
    )


def test_the_gradient_of_the_terms_beside_the_pairs_is_right(views, logits):
    objective = Objective(
        PAIR, pair_loss="siglip", cyclic=0.5, supcon=0.5, temperature="learned", exclude="label", passes=2
    ).double()

    def total(logits, *tensors):
        return objective(dict(zip(ALL_VIEWS, tensors, strict=True)), logits, LABELS).total

    assert torch.autograd.gradcheck(total, (logits, *(views[name] for name in ALL_VIEWS)))


@pytest.mark.parametrize(
    ("pair_loss", "loops"), [("info_nce", info_nce_loops), ("infoloob", infoloob_loops), ("gram", gram_loops)]
)
def test_the_pair_loss_is_the_one_asked_for(views, pair_loss, loops):
    switches = {"temperature": 0.3, "direction": "one", "negatives": "both"}
    out = Objective(PAIR, pair_loss=pair_loss, cross_entropy="none", **switches)(views)
    assert out.total.item() == pytest.approx(loops(views["a1"].tolist(), views["t1"].tolist(), **switches))


@pytest.mark.parametrize("temperature", [0.2, "learned"])
def test_siglip_starts_as_in_the_paper_and_its_parameters_take_gradients(views, temperature):
    objective = Objective(PAIR, pair_loss="siglip", temperature=temperature, cross_entropy="none")
    out = objective(views)
    out.total.backward()

    a1, t1 = views["a1"].tolist(), views["t1"].tolist()
    fixed = 0.1 if temperature == "learned" else temperature
    assert out.total.item() == pytest.approx(siglip_loops(a1, t1, -10.0, temperature=fixed), rel=1e-6)
    slope = [siglip_loops(a1, t1, -10.0 + step, temperature=fixed) for step in (-1e-5, 1e-5)]
    assert objective.logit_bias.grad.item() == pytest.approx((slope[1] - slope[0]) / 2e-5, rel=1e-4)
    if temperature == "learned":
        assert objective.logit_scale.item() == pytest.approx(math.log(10))
        slope = [siglip_loops(a1, t1, -10.0, temperature=0.1 / math.exp(step)) for step in (-1e-5, 1e-5)]
        assert objective.logit_scale.grad.item() == pytest.approx((slope[1] - slope[0]) / 2e-5, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"cyclic": 1.0, "temperature": "learned"}, []),
        ({"supcon": 1.0, "temperature": "learned"}, ["logit_scale"]),
        ({"supcon": 1.0, "pair_loss": "siglip"}, []),
        ({"pairs": PAIR, "pair_loss": "siglip"}, ["logit_bias"]),
        ({"pairs": PAIR, "pair_loss": "gram", "temperature": "learned"}, ["logit_scale"]),
    ],
)
def test_only_what_is_used_is_a_parameter(views, options, parameters):
    objective = Objective(**options, cross_entropy="none")
    objective(views, labels=LABELS).total.backward()
    assert [name for name, _ in objective.named_parameters()] == parameters
    assert all(parameter.grad is not None for parameter in objective.parameters())


def test_it_prints_as_the_sum_that_it_is():
    assert str(Objective(PAIR, contrastive_weight=0.1)) == "Objective(1 cross_entropy + 0.1 a1-t1)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cross_entropy": "none"}, "the objective is empty"),
        ({"cross_entropy": "none", "pairs": {("a1", "t1"): 0.0}}, "the objective is empty"),
        ({"cross_entropy": "none", "pairs": PAIR, "contrastive_weight": 0}, "the objective is empty"),
        ({"contrastive_weight": -1}, "contrastive_weight is -1: expected a finite number"),
        ({"contrastive_weight": float("nan")}, "contrastive_weight is nan"),
        ({"r_drop_alpha": -0.5}, "r_drop_alpha is -0.5"),
        ({"cyclic": -0.5}, "cyclic is -0.5: expected a finite number"),
        ({"supcon": float("nan")}, "supcon is nan"),
        ({"supcon": 1.0, "contrastive_weight": 0, "cross_entropy": "none"}, "the objective is empty"),
        ({"pair_loss": "infonce"}, "unknown pair_loss 'infonce': did you mean 'info_nce'"),
        ({"pairs": {("a1", "a1"): 1.0}}, "pairs a view with itself"),
        ({"temperature": 0}, "temperature is 0: expected a finite number above 0"),
        (
            {"temperature": "learnt"},
            "temperature is 'learnt': expected a finite number above 0, such as 0.05; .*'learned'",
        ),
        ({"similarity": "cos"}, "unknown similarity 'cos'"),
        ({"direction": "two"}, "unknown direction 'two'"),
        ({"negatives": "all"}, "unknown negatives 'all'"),
        ({"exclude": "transcripts"}, "unknown exclude 'transcripts': did you mean 'transcript'"),
        ({"cross_entropy": "last"}, "unknown cross_entropy 'last'"),
        ({"passes": 0}, "passes is 0: expected a whole number of at least 1"),
        ({"passes": 1.5}, "passes is 1.5"),
        ({"class_weights": torch.ones(2, 2)}, "expected one finite number of at least 0 for each class"),
        ({"class_weights": torch.tensor([1.0, float("nan")])}, r"class_weights is \[1.0, nan\]"),
        ({"class_weights": torch.tensor([1.0, -1.0])}, "class_weights is"),
        ({"class_weights": torch.zeros(2)}, "one above 0"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(options, message):
    with pytest.raises(InputError, match=message):
        Objective(**options)


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        ({}, {"a1": None}, "unknown view 'a1'.* Known: t1"),
        ({}, {"a1": (5, 4)}, "view a1 has 5 clips, labels has 6"),
        (
            {"cross_entropy": "none"},
            {"a1": (5, 4), "labels": None},
            r"views a1 and t1 have shapes \(5, 4\) and \(6, 4\)",
        ),
        ({}, {"a1": (6, 3)}, "projected to one width"),
        ({}, {"logits": None}, "logits missing"),
        ({}, {"labels": None}, "labels missing"),
        ({}, {"logits": (2, 6, 3)}, r"logits has 2 pass\(es\), this objective takes 1"),
        ({"r_drop_alpha": 1.0}, {}, r"logits has 1 pass\(es\), this objective takes 2"),
        ({"class_weights": torch.ones(4)}, {}, r"class_weights must be \(3,\)"),
        ({"exclude": "transcript"}, {}, "exclude='transcript' needs same"),
        ({"exclude": "label", "cross_entropy": "none"}, {"labels": None}, "exclude='label' needs labels"),
        ({"supcon": 1.0}, {"t1": None}, "unknown view 't1'.* Known: a1"),
        ({"supcon": 1.0, "cross_entropy": "none"}, {"labels": None}, "labels missing: SupCon needs them"),
        ({"exclude": "transcript"}, {"same": (6,)}, r"transcripts or labels\) must be \(6,\) integers, found .*32"),
    ],
)
def test_a_wrong_batch_is_an_error_that_names_it(options, change, message):
    batch = {"a1": torch.ones(6, 4), "t1": torch.ones(6, 4), "logits": torch.zeros(1, 6, 3), "labels": LABELS}
    batch |= {name: None if shape is None else torch.zeros(shape) for name, shape in change.items()}
    views = {name: batch[name] for name in ("a1", "t1") if batch[name] is not None}
    with pytest.raises(InputError, match=message):
        Objective(PAIR, **options)(views, batch["logits"], batch["labels"], same=batch.get("same"))
