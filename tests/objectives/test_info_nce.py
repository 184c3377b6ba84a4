import math

import pytest
import torch
from lightly.loss import NTXentLoss as LightlyLoss
from objectives_by_loops import info_nce_loops
from open_clip.loss import ClipLoss
from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss
from torch.nn import functional as F

from turbo_kit.config import InputError
from turbo_kit.objectives import PairBoard, info_nce, pair_losses, similarity_logits
from turbo_kit.objectives.info_nce import symmetric_info_nce

# Clips 0 and 3 belong together, so do 1 and 2; 4 and 5 carry "no group".
GROUPS = [7, 2, 2, 7, -100, -100]
PRESENT = [True, True, False, True, True, False]


def two_views(batch=6, dim=4, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, batch, dim, generator=generator, dtype=torch.float64).to(dtype)
    return x.requires_grad_(), y.requires_grad_()


@pytest.mark.parametrize("present", [None, PRESENT], ids=["all", "some-absent"])
@pytest.mark.parametrize("groups", [None, GROUPS], ids=["no-groups", "groups"])
@pytest.mark.parametrize("negatives", ["other", "both"])
@pytest.mark.parametrize("direction", ["symmetric", "one"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_agrees_with_plain_loops_and_gradcheck(similarity, direction, negatives, groups, present):
    x, y = two_views()
    settings = {"temperature": 0.3, "similarity": similarity, "direction": direction, "negatives": negatives}
    masks = {
        "groups": None if groups is None else torch.tensor(groups),
        "present": None if present is None else torch.tensor(present),
    }

    loss = info_nce(x, y, **settings, **masks)

    expected = info_nce_loops(x.tolist(), y.tolist(), **settings, groups=groups, present=present)
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda a, b: info_nce(a, b, **settings, **masks), (x, y))


def test_the_temperature_takes_a_gradient():
    x, y = two_views()
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: info_nce(x.detach(), y.detach(), temperature=t), (temperature,))


@pytest.mark.parametrize("batch", [1, 9, 300], ids=["single", "plain", "tiled"])
@pytest.mark.parametrize("temperature", [0.01, 0.05, 1.0])
def test_the_defaults_are_the_plain_symmetric_form(temperature, batch):
    x, y = two_views(batch=batch, dim=8)
    full, plain = info_nce(x, y, temperature=temperature), symmetric_info_nce(x, y, temperature)

    torch.testing.assert_close(full, plain, rtol=1e-12, atol=1e-12)
    gradients = torch.autograd.grad(full, (x, y)), torch.autograd.grad(plain, (x, y))
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-11)


def test_the_defaults_are_the_plain_symmetric_form_in_float32():
    x, y = (view.detach() for view in two_views(batch=64, dim=16, dtype=torch.float32))
    torch.testing.assert_close(info_nce(x, y), symmetric_info_nce(x, y), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("temperature", [0.01, 0.05, 1.0])
def test_value_and_gradient_are_those_of_open_clip(temperature):
    x, y = two_views(batch=9, dim=5)
    ours = info_nce(x, y, temperature=temperature)
    theirs = ClipLoss()(F.normalize(x, dim=1), F.normalize(y, dim=1), 1 / temperature)

    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, (x, y)), torch.autograd.grad(theirs, (x, y)))


def test_both_negatives_are_the_nt_xent_of_pytorch_metric_learning():
    x, y = two_views(batch=7)
    ours = info_nce(x, y, temperature=0.2, negatives="both")
    theirs = SelfSupervisedLoss(NTXentLoss(temperature=0.2))(x, y)

    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, (x, y)), torch.autograd.grad(theirs, (x, y)))


def test_both_negatives_are_the_nt_xent_of_lightly():
    x, y = two_views(batch=7)
    ours = info_nce(x, y, temperature=0.2, negatives="both")
    theirs = LightlyLoss(temperature=0.2)(x, y)

    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, (x, y)), torch.autograd.grad(theirs, (x, y)))


def test_one_direction_is_the_non_symmetric_info_nce_of_pytorch_metric_learning():
    x, y = two_views(batch=7)
    clips = torch.arange(7)
    ours = info_nce(x, y, temperature=0.05, direction="one")
    theirs = NTXentLoss(temperature=0.05)(x, clips, ref_emb=y, ref_labels=clips.clone())

    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, (x, y)), torch.autograd.grad(theirs, (x, y)))


@pytest.mark.parametrize(("negatives", "candidates"), [("other", 8), ("both", 15)])
def test_clips_that_are_all_alike_give_the_logarithm_of_the_candidates(negatives, candidates):
    same = torch.ones(8, 3, dtype=torch.float64, requires_grad=True)
    loss = info_nce(same, same, negatives=negatives)
    assert loss.item() == pytest.approx(math.log(candidates))
    loss.backward()
    torch.testing.assert_close(same.grad, torch.zeros_like(same))


def test_orthogonal_clips_give_the_known_value():
    clips = torch.eye(5, dtype=torch.float64)
    assert info_nce(clips, clips, temperature=0.5).item() == pytest.approx(math.log(1 + 4 * math.exp(-2)))


@pytest.mark.parametrize("direction", ["symmetric", "one"])
@pytest.mark.parametrize("negatives", ["other", "both"])
def test_a_single_clip_has_no_loss_and_no_gradient(negatives, direction):
    x, y = two_views(batch=1)
    loss = info_nce(x, y, negatives=negatives, direction=direction)
    loss.backward()
    assert loss.item() == 0
    assert not x.grad.any()
    assert not y.grad.any()


def test_the_order_of_the_clips_does_not_matter():
    x, y = two_views()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    groups, present = torch.tensor(GROUPS), torch.tensor(PRESENT)
    shuffled = info_nce(x[order], y[order], groups=groups[order], present=present[order])
    torch.testing.assert_close(shuffled, info_nce(x, y, groups=groups, present=present))


def test_the_order_of_the_views_matters_only_in_one_direction():
    x, y = two_views()
    torch.testing.assert_close(info_nce(x, y), info_nce(y, x))
    assert info_nce(x, y, direction="one").item() != pytest.approx(info_nce(y, x, direction="one").item(), rel=1e-3)


def test_cosine_does_not_see_the_length_of_a_vector_and_dot_does():
    x, y = two_views()
    lengths = torch.tensor([[0.01], [1], [3], [50], [0.2], [7]], dtype=torch.float64)
    torch.testing.assert_close(info_nce(x * lengths, y), info_nce(x, y))
    assert info_nce(x * lengths, y, similarity="dot").item() != pytest.approx(info_nce(x, y, similarity="dot").item())


def test_clips_of_one_group_are_no_negatives_and_clips_without_a_group_are():
    x, y = two_views(batch=3)
    alone = info_nce(x, y, groups=torch.tensor([4, 4, 4]))
    assert alone.item() == 0
    torch.testing.assert_close(info_nce(x, y, groups=torch.tensor([-100, -100, -100])), info_nce(x, y))


@pytest.mark.parametrize("negatives", ["other", "both"])
def test_an_absent_clip_is_as_if_it_were_not_in_the_batch(negatives):
    x, y = two_views()
    present = torch.tensor(PRESENT)
    expected = info_nce(x[present], y[present], negatives=negatives)
    with torch.no_grad():
        y[~present] = float("nan")  # whatever stands in for the missing modality

    loss = info_nce(x, y, negatives=negatives, present=present)
    torch.testing.assert_close(loss, expected)
    for gradient, wanted in zip(torch.autograd.grad(loss, (x, y)), torch.autograd.grad(expected, (x, y)), strict=True):
        torch.testing.assert_close(gradient, wanted)
        assert not gradient[~present].any()


@pytest.mark.parametrize("negatives", ["other", "both"])
def test_no_clip_present_gives_zero_and_backward_works(negatives):
    x, y = two_views()
    loss = info_nce(x, y, negatives=negatives, present=torch.zeros(6, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert not x.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("negatives", ["other", "both"])
@pytest.mark.parametrize("batch", ["random", "single", "duplicates", "orthogonal", "opposite"])
def test_low_precision_stays_finite_at_a_low_temperature(batch, negatives, dtype):
    x, y = {
        "random": two_views(batch=16, dim=8),
        "single": two_views(batch=1),
        "duplicates": (torch.ones(8, 4), torch.ones(8, 4)),
        "orthogonal": (torch.eye(8), torch.eye(8)),
        "opposite": (torch.eye(8), -torch.eye(8)),
    }[batch]
    x, y = (view.detach().to(dtype).requires_grad_() for view in (x, y))
    loss = info_nce(x, y, temperature=0.01, negatives=negatives)
    loss.backward()

    expected = info_nce(x.detach().double(), y.detach().double(), temperature=0.01, negatives=negatives)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-4)
    assert x.grad.dtype == dtype
    assert x.grad.isfinite().all()
    assert y.grad.isfinite().all()


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_similarities_are_never_below_float32(dtype, similarity):
    x, y = (view.detach() for view in two_views(batch=16, dim=8, dtype=dtype))
    logits = similarity_logits(x, y, 0.01, similarity)
    assert logits.dtype == torch.float32
    exact = similarity_logits(x.double(), y.double(), 0.01, similarity)
    torch.testing.assert_close(logits.double(), exact, rtol=1e-5, atol=1e-3)


def test_autocast_does_not_lower_the_precision():
    x, y = two_views(batch=16, dim=8, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, loss = similarity_logits(x, y, 0.01), info_nce(x, y, temperature=0.01)
    torch.testing.assert_close(logits, similarity_logits(x, y, 0.01), rtol=0, atol=0)
    torch.testing.assert_close(loss, info_nce(x, y, temperature=0.01), rtol=0, atol=0)


def test_similarity_logits_are_cosines_over_the_temperature():
    x = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    y = torch.tensor([[1.0, 0.0], [0.0, -1.0], [5.0, 0.0]])
    torch.testing.assert_close(similarity_logits(x, y, 0.1), torch.tensor([[6.0, -8.0, 6.0], [0.0, -10.0, 0.0]]))
    torch.testing.assert_close(similarity_logits(x, y, 0.5, "dot"), 2 * x @ y.T)


@pytest.mark.parametrize("temperature", [0, -0.05, float("nan"), float("inf"), "learned", None])
def test_a_wrong_temperature_is_an_error(temperature):
    with pytest.raises(InputError, match=r"temperature is .*: expected a finite number above 0"):
        info_nce(*two_views(), temperature=temperature)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        ((4, 3), (5, 3), {}, r"one shape \(B, D\), found \(4, 3\) and \(5, 3\)"),
        ((4, 3), (4, 2), {}, "project them to one width"),
        ((2, 4, 3), (2, 4, 3), {}, r"one shape \(B, D\)"),
        ((0, 3), (0, 3), {}, "empty batch"),
        ((4, 3), (4, 3), {"similarity": "cosin"}, "unknown similarity 'cosin': did you mean 'cosine'"),
        ((4, 3), (4, 3), {"direction": "both"}, "unknown direction 'both'"),
        ((4, 3), (4, 3), {"negatives": "others"}, "unknown negatives 'others': did you mean 'other'"),
        ((4, 3), (4, 3), {"groups": torch.zeros(3).long()}, r"groups .* must be \(4,\) integers, found \(3,\)"),
        ((4, 3), (4, 3), {"groups": torch.zeros(4)}, r"groups .* must be \(4,\) integers, found .* torch.float32"),
        ((4, 3), (4, 3), {"present": torch.ones(5).bool()}, r"present must be \(4,\) bool, found \(5,\)"),
        ((4, 3), (4, 3), {"present": torch.ones(4)}, r"present must be \(4,\) bool, found .* torch.float32"),
    ],
)
def test_what_cannot_be_used_is_an_error(x, y, options, message):
    with pytest.raises(InputError, match=message):
        info_nce(torch.ones(x), torch.ones(y), **options)


def test_logits_of_two_widths_are_an_error():
    with pytest.raises(InputError, match=r"found \(4, 3\) and \(5, 2\)"):
        similarity_logits(torch.ones(4, 3), torch.ones(5, 2))


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_the_losses_of_a_board_are_those_of_its_pairs(similarity):
    a1, t1 = two_views()
    a2, t2 = two_views(seed=1)
    has_text = torch.tensor(PRESENT)
    options = {"temperature": 0.3, "similarity": similarity, "negatives": "both", "groups": torch.tensor(GROUPS)}
    pairs = PairBoard.parse({"a1-a2": 1.0, "a2-t1": 0.5, "t1-t2": 2.0}).pairs

    losses = pair_losses({"a1": a1, "a2": a2, "t1": t1, "t2": t2}, pairs, present={"t": has_text}, **options)

    assert list(losses) == ["a1-a2", "a2-t1", "t1-t2"]
    torch.testing.assert_close(losses["a1-a2"], info_nce(a1, a2, **options))
    torch.testing.assert_close(losses["a2-t1"], info_nce(a2, t1, present=has_text, **options))
    torch.testing.assert_close(losses["t1-t2"], info_nce(t1, t2, present=has_text, **options))


def test_each_modality_can_be_absent_in_its_own_clips():
    a1, t1 = two_views()
    has_audio = torch.tensor([True, True, True, True, False, False])
    has_text = torch.tensor([False, True, True, True, True, False])
    with torch.no_grad():
        a1[~has_audio], t1[~has_text] = float("nan"), float("nan")
    pairs = PairBoard.parse({"a1-t1": 1.0}).pairs

    loss = pair_losses({"a1": a1, "t1": t1}, pairs, present={"a": has_audio, "t": has_text})["a1-t1"]

    torch.testing.assert_close(loss, info_nce(a1[1:4], t1[1:4]))
    for gradient in torch.autograd.grad(loss, (a1, t1)):
        assert gradient.isfinite().all()
