import math

import pytest
import torch
from objectives_by_loops import supcon_loops
from pytorch_metric_learning.losses import SupConLoss

from turbo_kit.config import InputError
from turbo_kit.objectives import info_nce, supcon

LABELS = [0, 2, -100, 0, 1, -100]
GROUPS = [7, 7, 7, 7, -1, -1]
PRESENT = [None, [True, True, False, True, False, True]]


def some_views(number=2, batch=6, dim=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(number, batch, dim, generator=generator, dtype=torch.float64).to(dtype)
    return [view.clone().requires_grad_() for view in views]


@pytest.mark.parametrize("present", [None, PRESENT], ids=["all", "some-absent"])
@pytest.mark.parametrize("groups", [None, GROUPS], ids=["no-groups", "groups"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_agrees_with_plain_loops_and_gradcheck(similarity, groups, present):
    views, labels = some_views(), torch.tensor(LABELS)
    options = {"temperature": 0.4, "similarity": similarity}
    masks = {
        "groups": None if groups is None else torch.tensor(groups),
        "present": None if present is None else [None if mask is None else torch.tensor(mask) for mask in present],
    }

    loss = supcon(views, labels, **options, **masks)

    rows = [view.tolist() for view in views]
    assert loss.item() == pytest.approx(
        supcon_loops(rows, LABELS, **options, groups=groups, present=present), rel=1e-12
    )
    assert torch.autograd.gradcheck(lambda *tensors: supcon(tensors, labels, **options, **masks), views)


@pytest.mark.parametrize(("number", "labels"), [(2, [0]), (4, [-100]), (3, [1, 1]), (4, [0, 1, -100, 1, 0])])
def test_every_number_of_views_and_clips_agrees_with_plain_loops(number, labels):
    views = some_views(number, batch=len(labels))
    expected = supcon_loops([view.tolist() for view in views], labels)
    assert supcon(views, torch.tensor(labels)).item() == pytest.approx(expected, rel=1e-12)


def test_the_temperature_takes_a_gradient():
    views = [view.detach() for view in some_views()]
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: supcon(views, torch.tensor(LABELS), temperature=t), (temperature,))


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_value_and_gradient_are_those_of_pytorch_metric_learning(temperature):
    views = some_views(number=4)
    labels = torch.tensor([0, 1, 2, 0, 1, 1])
    ours = supcon(views, labels, temperature=temperature)
    theirs = SupConLoss(temperature=temperature)(torch.cat(views), labels.repeat(4))

    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, views), torch.autograd.grad(theirs, views))


def test_two_views_without_labels_are_nt_xent():
    views = some_views()
    unlabelled = torch.full((6,), -100)
    torch.testing.assert_close(supcon(views, unlabelled), info_nce(*views, temperature=0.07, negatives="both"))


def test_views_that_are_all_alike_give_the_logarithm_of_the_others():
    same = torch.ones(6, 3, dtype=torch.float64)
    assert supcon([same] * 4, torch.tensor(LABELS)).item() == pytest.approx(math.log(4 * 6 - 1))


def test_the_order_of_clips_and_views_does_not_matter():
    views, labels, groups = some_views(), torch.tensor(LABELS), torch.tensor(GROUPS)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    shuffled = supcon([view[order] for view in reversed(views)], labels[order], groups=groups[order])
    torch.testing.assert_close(shuffled, supcon(views, labels, groups=groups))


def test_an_absent_view_is_as_if_it_were_not_in_the_batch():
    views, labels = some_views(), torch.tensor(LABELS)
    present = torch.tensor(PRESENT[1])
    with torch.no_grad():
        views[1][~present] = float("nan")
    loss = supcon(views, labels, present=[None, present])
    loss.backward()
    expected = supcon_loops([view.tolist() for view in views], LABELS, present=PRESENT)
    assert loss.item() == pytest.approx(expected)
    assert views[0].grad.isfinite().all()
    assert not views[1].grad[~present].any()


def test_nothing_that_belongs_together_gives_zero_and_backward_works():
    views = some_views()
    absent = torch.zeros(6, dtype=torch.bool)
    for present in ([None, absent], [absent, absent]):
        loss = supcon(views, torch.tensor([0, 1, 2, 3, 4, -100]), present=present)
        loss.backward()
        assert loss.item() == 0
        assert not views[0].grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("alike", [False, True])
def test_low_precision_stays_finite_at_a_low_temperature(alike, dtype):
    views = [torch.ones(6, 4, dtype=dtype, requires_grad=True)] * 4 if alike else some_views(4, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = supcon(views, torch.tensor(LABELS), temperature=0.01)
    loss.backward()
    exact = supcon([view.detach().double() for view in views], torch.tensor(LABELS), temperature=0.01)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), exact, rtol=1e-4, atol=1e-4)
    assert all(view.grad.isfinite().all() for view in views)


@pytest.mark.parametrize(
    ("views", "labels", "options", "message"),
    [
        ([(4, 3)], 4, {}, "found 1, expected at least 2"),
        ([(4, 3), (5, 3)], 4, {}, r"SupCon needs two views of one shape \(B, D\), found \(4, 3\) and \(5, 3\)"),
        ([(4, 3), (4, 3)], 5, {}, r"labels must be \(4,\) long, found \(5,\)"),
        ([(4, 3), (4, 3)], 4, {"temperature": -1}, "temperature is -1: expected a finite number above 0"),
        ([(4, 3), (4, 3)], 4, {"groups": torch.zeros(4)}, r"groups .* must be \(4,\) integers"),
        ([(4, 3), (4, 3)], 4, {"present": [None, torch.ones(4)]}, r"present must be \(4,\) bool"),
    ],
)
def test_what_cannot_be_used_is_an_error(views, labels, options, message):
    with pytest.raises(InputError, match=message):
        supcon([torch.ones(shape) for shape in views], torch.zeros(labels).long(), **options)
