"""SigLIP, InfoLOOB and GRAM: the pair losses beside InfoNCE."""

import math

import pytest
import torch
from objectives_by_loops import gram_loops, infoloob_loops, siglip_loops, volume
from open_clip.loss import SigLipLoss
from torch.nn import functional as F

from turbo_kit.config import InputError
from turbo_kit.objectives import PairBoard, gram, gram_logits, infoloob, pair_losses, siglip

# Clips 0 and 3 belong together, so do 1 and 2; 4 and 5 carry "no group".
GROUPS = [7, 2, 2, 7, -100, -100]
PRESENT = [True, True, False, True, True, False]
MASKS = pytest.mark.parametrize("present", [None, PRESENT], ids=["all", "some-absent"])
EXCLUDED = pytest.mark.parametrize("groups", [None, GROUPS], ids=["no-groups", "groups"])
ALL = pytest.mark.parametrize("loss_of", [siglip, infoloob, gram])


def two_views(batch=6, dim=4, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, batch, dim, generator=generator, dtype=torch.float64).to(dtype)
    return x.requires_grad_(), y.requires_grad_()


def tensors(groups, present):
    return {
        "groups": None if groups is None else torch.tensor(groups),
        "present": None if present is None else torch.tensor(present),
    }


@MASKS
@EXCLUDED
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_siglip_agrees_with_plain_loops_and_gradcheck(similarity, groups, present):
    x, y = two_views()
    bias = torch.tensor(-1.5, dtype=torch.float64, requires_grad=True)
    temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    settings = {"similarity": similarity, **tensors(groups, present)}

    loss = siglip(x, y, bias, temperature=temperature, **settings)

    lists = {"similarity": similarity, "groups": groups, "present": present}
    assert loss.item() == pytest.approx(siglip_loops(x.tolist(), y.tolist(), -1.5, temperature=0.3, **lists), rel=1e-12)
    assert torch.autograd.gradcheck(
        lambda a, b, c, d: siglip(a, b, c, temperature=d, **settings), (x, y, bias, temperature)
    )


@MASKS
@EXCLUDED
@pytest.mark.parametrize("negatives", ["other", "both"])
@pytest.mark.parametrize("direction", ["symmetric", "one"])
@pytest.mark.parametrize(
    ("loss_of", "loops", "options"),
    [
        (infoloob, infoloob_loops, {"similarity": "cosine"}),
        (infoloob, infoloob_loops, {"similarity": "dot"}),
        (gram, gram_loops, {}),
    ],
    ids=["infoloob-cosine", "infoloob-dot", "gram"],
)
def test_infoloob_and_gram_agree_with_plain_loops_and_gradcheck(
    loss_of, loops, options, direction, negatives, groups, present
):
    x, y = two_views()
    options = {"temperature": 0.3, "direction": direction, "negatives": negatives, **options}
    masks = tensors(groups, present)

    loss = loss_of(x, y, **options, **masks)

    expected = loops(x.tolist(), y.tolist(), **options, groups=groups, present=present)
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda a, b: loss_of(a, b, **options, **masks), (x, y))


@pytest.mark.parametrize(("batch", "dim"), [(1, 3), (2, 2), (9, 5)])
def test_every_size_of_batch_agrees_with_plain_loops(batch, dim):
    x, y = two_views(batch, dim)
    rows = x.tolist(), y.tolist()
    assert siglip(x, y).item() == pytest.approx(siglip_loops(*rows, -10.0, temperature=0.1), rel=1e-12)
    assert infoloob(x, y).item() == pytest.approx(infoloob_loops(*rows), rel=1e-12)
    assert gram(x, y).item() == pytest.approx(gram_loops(*rows), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("loss_of", [infoloob, gram])
def test_the_temperature_takes_a_gradient(loss_of):
    x, y = two_views()
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: loss_of(x.detach(), y.detach(), temperature=t), (temperature,))


@pytest.mark.parametrize(("scale", "bias"), [(10.0, -10.0), (100.0, -3.0)])
def test_siglip_and_its_gradient_are_those_of_open_clip(scale, bias):
    x, y = two_views(batch=9, dim=5)
    learned = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (scale, bias)]
    ours = siglip(x, y, learned[1], temperature=1 / learned[0])
    theirs = SigLipLoss()(F.normalize(x, dim=1), F.normalize(y, dim=1), *learned)

    torch.testing.assert_close(ours, theirs)
    inputs = (x, y, *learned)
    torch.testing.assert_close(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs))


def test_siglip_of_orthogonal_clips_gives_the_known_value():
    clips = torch.eye(5, dtype=torch.float64)
    expected = math.log(1 + math.exp(-(2 - 1))) + 4 * math.log(1 + math.exp(-1))
    assert siglip(clips, clips, -1.0, temperature=0.5).item() == pytest.approx(expected)


def test_infoloob_of_orthogonal_clips_gives_the_known_value():
    clips = torch.eye(5, dtype=torch.float64)
    assert infoloob(clips, clips, temperature=0.5).item() == pytest.approx(math.log(4) - 2)


def test_gram_of_orthogonal_clips_gives_the_known_value():
    clips = torch.eye(5, dtype=torch.float64)
    assert gram(clips, clips, temperature=0.5).item() == pytest.approx(math.log(1 + 4 * math.exp(-2)))


@pytest.mark.parametrize("direction", ["symmetric", "one"])
@pytest.mark.parametrize("negatives", ["other", "both"])
def test_infoloob_of_an_anchor_without_a_negative_is_zero_and_backward_works(negatives, direction):
    x, y = two_views(batch=3)
    options = {"negatives": negatives, "direction": direction, "temperature": 0.3}
    alone = infoloob(x, y, groups=torch.tensor([4, 4, 4]), **options)
    alone.backward()
    assert alone.item() == 0
    assert not x.grad.any()
    assert not y.grad.any()

    some = infoloob(x, y, present=torch.tensor([True, False, True]), groups=torch.tensor([4, 5, 4]), **options)
    assert some.item() == 0
    assert not torch.autograd.grad(some, x)[0].any()
    single = infoloob(x[:1], y[:1], **options)
    assert single.item() == 0
    assert not torch.autograd.grad(single, x)[0].any()


@pytest.mark.parametrize("others", [1, 2, 3])
def test_gram_logits_are_the_volumes_of_any_number_of_views(others):
    generator = torch.Generator().manual_seed(3)
    views = torch.randn(others + 1, 4, 5, generator=generator, dtype=torch.float64).unbind()
    logits = gram_logits(*views, temperature=0.3)

    rows = [view.tolist() for view in views]
    expected = [[-volume(anchor, *(other[j] for other in rows[1:])) / 0.3 for j in range(4)] for anchor in rows[0]]
    torch.testing.assert_close(logits, torch.tensor(expected, dtype=torch.float64))
    inputs = [view.requires_grad_() for view in views]
    assert torch.autograd.gradcheck(lambda *tensors: gram_logits(*tensors, temperature=0.3), inputs)


def test_the_volume_of_three_views_does_not_depend_on_their_order():
    generator = torch.Generator().manual_seed(3)
    a, b, c = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    diagonal = gram_logits(a, b, c).diagonal()
    for order in ((a, c, b), (b, a, c), (c, b, a)):
        torch.testing.assert_close(gram_logits(*order).diagonal(), diagonal)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1, -1])
def test_parallel_and_opposite_vectors_have_volume_zero_and_a_finite_gradient(sign, dtype):
    x = two_views(batch=8, dim=16)[0].detach().to(dtype).requires_grad_()
    y = (sign * x.detach()).requires_grad_()
    logits = gram_logits(x, y, temperature=0.01)
    assert not logits.diagonal().any()
    assert not gram_logits(x, y, (x + y).detach() + 1, temperature=0.01).diagonal().any()

    loss = gram(x, y, temperature=0.01)
    loss.backward()
    assert loss.isfinite()
    assert x.grad.isfinite().all()
    assert y.grad.isfinite().all()


def test_gram_does_not_see_the_length_or_the_sign_of_a_vector():
    x, y = two_views()
    factors = torch.tensor([[0.01], [-1], [3], [-50], [0.2], [7]], dtype=torch.float64)
    torch.testing.assert_close(gram(x * factors, y), gram(x, y))


@ALL
def test_the_order_of_the_clips_does_not_matter(loss_of):
    x, y = two_views()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    groups, present = torch.tensor(GROUPS), torch.tensor(PRESENT)
    shuffled = loss_of(x[order], y[order], groups=groups[order], present=present[order])
    torch.testing.assert_close(shuffled, loss_of(x, y, groups=groups, present=present))


@ALL
def test_the_order_of_the_views_matters_only_in_one_direction(loss_of):
    x, y = two_views()
    torch.testing.assert_close(loss_of(x, y), loss_of(y, x))
    if loss_of is not siglip:
        one, other = loss_of(x, y, direction="one").item(), loss_of(y, x, direction="one").item()
        assert one != pytest.approx(other, rel=1e-3)


@ALL
def test_an_absent_clip_is_as_if_it_were_not_in_the_batch(loss_of):
    x, y = two_views()
    present = torch.tensor(PRESENT)
    expected = loss_of(x[present], y[present])
    with torch.no_grad():
        y[~present] = float("nan")

    loss = loss_of(x, y, present=present)
    torch.testing.assert_close(loss, expected)
    for gradient, wanted in zip(torch.autograd.grad(loss, (x, y)), torch.autograd.grad(expected, (x, y)), strict=True):
        torch.testing.assert_close(gradient, wanted)
        assert not gradient[~present].any()


@ALL
def test_no_clip_present_gives_zero_and_backward_works(loss_of):
    x, y = two_views()
    loss = loss_of(x, y, present=torch.zeros(6, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert not x.grad.any()


@ALL
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("batch", ["random", "single", "duplicates", "orthogonal", "opposite"])
def test_low_precision_stays_finite_at_a_low_temperature(batch, dtype, loss_of):
    x, y = {
        "random": two_views(batch=16, dim=8),
        "single": two_views(batch=1),
        "duplicates": (torch.ones(8, 4), torch.ones(8, 4)),
        "orthogonal": (torch.eye(8), torch.eye(8)),
        "opposite": (torch.eye(8), -torch.eye(8)),
    }[batch]
    x, y = (view.detach().to(dtype).requires_grad_() for view in (x, y))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_of(x, y, temperature=0.01)
    loss.backward()

    expected = loss_of(x.detach().double(), y.detach().double(), temperature=0.01)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-4)
    assert x.grad.isfinite().all()
    assert y.grad.isfinite().all()


@ALL
@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        ((4, 3), (5, 3), {}, r"one shape \(B, D\), found \(4, 3\) and \(5, 3\)"),
        ((0, 3), (0, 3), {}, "empty batch"),
        ((4, 3), (4, 3), {"temperature": 0}, "temperature is 0: expected a finite number above 0"),
        ((4, 3), (4, 3), {"groups": torch.zeros(3).long()}, r"groups .* must be \(4,\) integers, found \(3,\)"),
        ((4, 3), (4, 3), {"present": torch.ones(4)}, r"present must be \(4,\) bool, found .* torch.float32"),
    ],
)
def test_what_cannot_be_used_is_an_error(loss_of, x, y, options, message):
    with pytest.raises(InputError, match=message):
        loss_of(torch.ones(x), torch.ones(y), **options)


@pytest.mark.parametrize("shapes", [[(4, 3)], [(4, 3), (4, 2)], [(4, 3), (4, 3), (5, 3)], [(3,), (3,)]])
def test_gram_needs_views_of_one_shape(shapes):
    with pytest.raises(InputError, match=r"GRAM needs an anchor and at least one other view, all \(B, D\)"):
        gram_logits(*(torch.ones(shape) for shape in shapes))


@pytest.mark.parametrize(
    ("pair_loss", "loss_of"),
    [("siglip", lambda x, y, **masks: siglip(x, y, -2.0, **masks)), ("infoloob", infoloob), ("gram", gram)],
)
def test_the_losses_of_a_board_are_those_of_its_pairs(pair_loss, loss_of):
    a1, t1 = two_views()
    a2, t2 = two_views(seed=1)
    has_text = torch.tensor(PRESENT)
    options = {"temperature": 0.3, "groups": torch.tensor(GROUPS)}
    pairs = PairBoard.parse({"a1-a2": 1.0, "a2-t1": 0.5}).pairs

    views = {"a1": a1, "a2": a2, "t1": t1, "t2": t2}
    losses = pair_losses(views, pairs, pair_loss=pair_loss, bias=-2.0, present={"t": has_text}, **options)

    torch.testing.assert_close(losses["a1-a2"], loss_of(a1, a2, **options))
    torch.testing.assert_close(losses["a2-t1"], loss_of(a2, t1, present=has_text, **options))
