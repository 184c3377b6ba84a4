import math

import pytest
import torch
from objectives_by_loops import cross_entropy_loops, r_drop_loops
from torch.nn import functional as F

from turbo_kit.config import InputError
from turbo_kit.objectives import UNLABELLED, cross_entropy, r_drop

LABELS = torch.tensor([0, 2, UNLABELLED, 1, 2])


def two_passes(passes=2, batch=5, classes=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(passes, batch, classes, generator=generator, dtype=torch.float64)
    return logits.to(dtype).requires_grad_()


@pytest.mark.parametrize("passes", [1, 2, 3])
@pytest.mark.parametrize("class_weights", [None, [0.5, 2.0, 1.5]])
def test_cross_entropy_agrees_with_plain_loops_and_gradcheck(passes, class_weights):
    logits = two_passes(passes)
    weights = None if class_weights is None else torch.tensor(class_weights)
    loss = cross_entropy(logits, LABELS, weights)
    assert loss.item() == pytest.approx(cross_entropy_loops(logits.tolist(), LABELS.tolist(), class_weights), rel=1e-12)
    assert torch.autograd.gradcheck(lambda rows: cross_entropy(rows, LABELS, weights), (logits,))


def test_cross_entropy_of_one_pass_is_that_of_torch():
    logits, weights = two_passes(passes=1), torch.tensor([0.5, 2.0, 1.5], dtype=torch.float64)
    torch.testing.assert_close(cross_entropy(logits, LABELS), F.cross_entropy(logits[0], LABELS))
    torch.testing.assert_close(
        cross_entropy(logits, LABELS, weights), F.cross_entropy(logits[0], LABELS, weight=weights)
    )


def test_r_drop_agrees_with_plain_loops_and_gradcheck():
    logits = two_passes()
    loss = r_drop(logits, LABELS)
    assert loss.item() == pytest.approx(r_drop_loops(*logits.tolist(), LABELS.tolist()), rel=1e-12)
    assert torch.autograd.gradcheck(lambda rows: r_drop(rows, LABELS), (logits,))


def test_r_drop_of_three_passes_is_the_mean_over_pairs_of_passes():
    logits = two_passes(passes=3)
    pairs = [r_drop(logits[[i, j]], LABELS) for i, j in ((0, 1), (0, 2), (1, 2))]
    torch.testing.assert_close(r_drop(logits, LABELS), sum(pairs) / 3)


def test_r_drop_of_equal_passes_is_zero():
    logits = two_passes(passes=1).detach().expand(2, -1, -1)
    assert r_drop(logits, LABELS).item() == 0


def test_uniform_logits_give_the_logarithm_of_the_classes():
    assert cross_entropy(torch.zeros(2, 5, 3), LABELS).item() == pytest.approx(math.log(3))


@pytest.mark.parametrize("term", [cross_entropy, r_drop])
def test_unlabelled_clips_change_nothing(term):
    logits = two_passes()
    labelled = LABELS != UNLABELLED
    loss = term(logits, LABELS)
    torch.testing.assert_close(loss, term(logits[:, labelled], LABELS[labelled]))
    assert not torch.autograd.grad(loss, logits)[0][:, ~labelled].any()


@pytest.mark.parametrize(
    ("label", "class_weights"),
    [(UNLABELLED, None), (UNLABELLED, torch.tensor([1.0, 1.0, 0.0])), (2, torch.tensor([1.0, 1.0, 0.0]))],
)
def test_nothing_to_learn_from_gives_zero_and_backward_works(label, class_weights):
    logits = two_passes()
    loss = cross_entropy(logits, torch.full((5,), label), class_weights)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_r_drop_without_labels_is_zero_and_backward_works():
    logits = two_passes()
    loss = r_drop(logits, torch.full((5,), UNLABELLED))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("term", [cross_entropy, r_drop])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_float32(term, dtype):
    logits = (1000 * two_passes().detach()).to(dtype).requires_grad_()
    loss = term(logits, LABELS)
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), term(logits.detach().double(), LABELS))
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(5, 3), LABELS, r"logits must be \(passes, B, C\), none of them 0, found \(5, 3\)"),
        (torch.zeros(2, 0, 3), LABELS[:0], "none of them 0"),
        (torch.zeros(2, 4, 3), LABELS, r"labels must be \(4,\) long.*found \(5,\)"),
        (torch.zeros(2, 5, 3), LABELS.float(), "found .* torch.float32"),
        (torch.zeros(2, 5, 2), LABELS, "label 2 is no class: expected 0 to 1, or -100"),
        (torch.zeros(2, 5, 3), LABELS - 1, "label -1 is no class"),
    ],
)
@pytest.mark.parametrize("term", [cross_entropy, r_drop])
def test_what_cannot_be_used_is_an_error(term, logits, labels, message):
    with pytest.raises(InputError, match=message):
        term(logits, labels)


def test_class_weights_must_fit_the_classes():
    with pytest.raises(InputError, match=r"class_weights must be \(3,\).*found \(2,\)"):
        cross_entropy(two_passes(), LABELS, torch.ones(2))


def test_r_drop_needs_two_passes():
    with pytest.raises(InputError, match="logits has 1 pass, expected at least 2"):
        r_drop(two_passes(passes=1), LABELS)
