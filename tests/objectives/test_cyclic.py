import pytest
import torch
from objectives_by_loops import cyclic_loops

from turbo_kit.config import InputError
from turbo_kit.objectives import cyclic_consistency

PRESENT = [True, True, False, True, True, False]


def two_views(batch=6, dim=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, batch, dim, generator=generator, dtype=torch.float64).to(dtype)
    return x.requires_grad_(), y.requires_grad_()


@pytest.mark.parametrize("present", [None, PRESENT], ids=["all", "some-absent"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_agrees_with_plain_loops_and_gradcheck(similarity, present):
    x, y = two_views()
    mask = None if present is None else torch.tensor(present)
    terms = cyclic_consistency(x, y, similarity=similarity, present=mask)
    expected = cyclic_loops(x.tolist(), y.tolist(), similarity=similarity, present=present)
    assert [term.item() for term in terms] == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda a, b: cyclic_consistency(a, b, similarity=similarity, present=mask), (x, y))


@pytest.mark.parametrize(("batch", "dim"), [(1, 3), (2, 2), (9, 5)])
def test_every_size_of_batch_agrees_with_plain_loops(batch, dim):
    x, y = two_views(batch, dim)
    terms = [term.item() for term in cyclic_consistency(x, y)]
    assert terms == pytest.approx(cyclic_loops(x.tolist(), y.tolist()), abs=1e-12)


def test_the_known_values_of_two_clips():
    # Within x the clips are at right angles, within y alike: 2 couples of 4 differ by 1, over 2 clips.
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    y = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    in_modal, cross_modal = cyclic_consistency(x, y)
    assert (in_modal.item(), cross_modal.item()) == (1.0, 1.0)


def test_equal_geometry_is_consistent():
    x, _ = two_views()
    turned = x[:, [1, 0, 3, 2]] * torch.tensor([1.0, -1.0, 1.0, -1.0])
    in_modal, _ = cyclic_consistency(x, turned)
    _, cross_modal = cyclic_consistency(x, x)
    assert in_modal.item() == pytest.approx(0, abs=1e-12)
    assert cross_modal.item() == pytest.approx(0, abs=1e-12)


def test_the_order_of_clips_and_views_does_not_matter():
    x, y = two_views()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(cyclic_consistency(y[order], x[order]), cyclic_consistency(x, y))


def test_an_absent_clip_is_as_if_it_were_not_in_the_batch():
    x, y = two_views()
    present = torch.tensor(PRESENT)
    expected = cyclic_consistency(x[present], y[present])
    with torch.no_grad():
        y[~present] = float("nan")
    terms = cyclic_consistency(x, y, present=present)
    torch.testing.assert_close(terms, expected)
    gradient = torch.autograd.grad(sum(terms), x)[0]
    torch.testing.assert_close(gradient, torch.autograd.grad(sum(expected), x)[0])


@pytest.mark.parametrize(("batch", "mask"), [(1, None), (6, torch.zeros(6, dtype=torch.bool))])
def test_a_single_clip_or_none_gives_zero_and_backward_works(batch, mask):
    x, y = two_views(batch)
    total = sum(cyclic_consistency(x, y, present=mask))
    total.backward()
    assert total.item() == pytest.approx(0, abs=1e-12)
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_float32(dtype):
    x, y = two_views(batch=16, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = torch.stack(cyclic_consistency(x, y))
    terms.sum().backward()
    exact = torch.stack(cyclic_consistency(x.detach().double(), y.detach().double()))
    assert terms.dtype == torch.float32
    torch.testing.assert_close(terms.double(), exact, rtol=1e-5, atol=1e-5)
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        ((4, 3), (5, 3), {}, r"cyclic consistency needs two views of one shape \(B, D\)"),
        ((0, 3), (0, 3), {}, "cyclic consistency of an empty batch"),
        ((4, 3), (4, 3), {"similarity": "cosin"}, "unknown similarity 'cosin': did you mean 'cosine'"),
        ((4, 3), (4, 3), {"present": torch.ones(4)}, r"present must be \(4,\) bool"),
    ],
)
def test_what_cannot_be_used_is_an_error(x, y, options, message):
    with pytest.raises(InputError, match=message):
        cyclic_consistency(torch.ones(x), torch.ones(y), **options)
