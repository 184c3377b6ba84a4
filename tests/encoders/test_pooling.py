"""Attentive statistics pooling, against loops, and in every family."""

import pytest
import torch
from tiny_models import ALL, assert_independent_of_neighbours, build, items

from turbo_kit.encoders.pooling import AttentivePooling


@pytest.fixture
def pooling():
    torch.manual_seed(0)
    return AttentivePooling(6).double()


def positions(batch=3, length=5):
    return torch.randn(batch, length, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


MASK = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True] + [False] * 4])


def by_loops(pooling, utterance):
    """Score, weight, mean and deviation of one utterance (T, 6), position by position."""
    wide, narrow = pooling.scores[0], pooling.scores[2]
    shares = [torch.exp(narrow.weight[0] @ torch.tanh(wide.weight @ h + wide.bias)) for h in utterance]
    shares = [share / sum(shares) for share in shares]
    mean = sum(share * h for share, h in zip(shares, utterance, strict=True))
    variance = sum(share * (h - mean) ** 2 for share, h in zip(shares, utterance, strict=True))
    return pooling.project.weight @ torch.cat([mean, variance.sqrt()]) + pooling.project.bias


def test_it_is_the_weighted_mean_and_deviation_of_the_real_positions(pooling):
    x = positions()
    found = pooling(x, MASK)
    for number in (0, 1):
        torch.testing.assert_close(found[number], by_loops(pooling, x[number][MASK[number]]))
    alone = pooling.project(torch.cat([x[2, 0], torch.full((6,), 1e-3, dtype=torch.float64)]))  # the least deviation
    torch.testing.assert_close(found[2], alone)


def test_it_tells_utterances_of_the_same_mean_apart_by_their_spread(pooling):
    with torch.no_grad():
        pooling.scores[2].weight.zero_()  # all positions weigh the same
    calm = torch.ones(1, 4, 6, dtype=torch.float64)
    lively = calm + 2 * torch.tensor([1.0, -1.0, 1.0, -1.0])[None, :, None]
    mask = torch.ones(1, 4, dtype=torch.bool)
    difference = pooling(lively, mask) - pooling(calm, mask)
    expected = (2 - 1e-3) * pooling.project.weight[:, 6:].sum(1)
    torch.testing.assert_close(difference[0], expected)


def test_what_stands_in_padded_positions_is_never_seen(pooling):
    x, dirty = positions(), positions()
    dirty[~MASK] = 100
    torch.testing.assert_close(pooling(dirty, MASK), pooling(x, MASK))
    torch.testing.assert_close(pooling(x, MASK)[1:2], pooling(x[1:2, :3], MASK[1:2, :3]))


def test_its_gradient_is_right_and_finite_where_there_is_no_spread(pooling):
    x = positions(batch=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: pooling(given, MASK[:2]), (x,))
    flat = torch.ones(3, 5, 6, dtype=torch.float64, requires_grad=True)
    pooling(flat, MASK).sum().backward()
    assert flat.grad.isfinite().all() and all(p.grad.isfinite().all() for p in pooling.parameters())


@pytest.mark.parametrize("trainable_layers", [0, 1])
@pytest.mark.parametrize("name", ALL)
def test_an_utterance_does_not_depend_on_its_neighbours(folders, name, trainable_layers):
    options = {"pooling": "attentive", "layer_mix": trainable_layers == 0}
    encoder = build(folders, name, trainable_layers, **options).eval()
    together = assert_independent_of_neighbours(encoder, name)
    assert not torch.allclose(together[0], together[1], atol=1e-2), "the model tells nothing apart"


@pytest.mark.parametrize("trainable_layers", [0, 1, -1])
@pytest.mark.parametrize("name", ALL)
def test_it_keeps_the_width_learns_and_passes_differ_by_dropout_alone(folders, name, trainable_layers):
    encoder = build(folders, name, trainable_layers, dropout=0.1, pooling="attentive")
    hidden = encoder.trunk(items(name))
    out = encoder(hidden, passes=2)
    assert out.pooled.shape == (2, 3, encoder.width) and out.sequence.shape[-1] == encoder.width
    assert ((out.pooled[0] - out.pooled[1]).abs().amax(-1) > 1e-4).all(), "two passes with dropout are equal"
    (out.pooled * torch.randn_like(out.pooled)).sum().backward()
    assert all((tensor.grad.abs() > 0).any() for tensor in encoder.pooling.parameters())
    first, second = encoder.eval()(hidden, passes=2).pooled
    torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-6)
