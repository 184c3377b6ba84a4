from collections import Counter

import pytest
import torch
from tiny_models import ALL, build, items
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from turbo_kit.encoders.fast_dropout import Dropout, attend, dropout, use_cheap_masks


def kept(rate, shape=(1000, 400), seed=0):
    """Which of so many ones stay."""
    torch.manual_seed(seed)
    return dropout(torch.ones(shape), rate) != 0


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3, 0.5, 0.9])
def test_entries_are_dropped_at_the_rate_in_every_place_and_one_by_one(rate):
    mask = kept(rate).float()
    sd = (rate * (1 - rate)) ** 0.5
    assert abs(mask.mean() - (1 - rate)) < 4 * sd / mask.numel() ** 0.5
    for lane in range(4):  # one random number makes four entries
        assert abs(mask.flatten()[lane::4].mean() - (1 - rate)) < 4 * sd / (mask.numel() / 4) ** 0.5
    centred = (mask.flatten() - mask.mean()) / sd
    for distance in (1, 2, 3, 4, 5, 8, 400):
        correlation = (centred[distance:] * centred[:-distance]).mean()
        assert abs(correlation) < 4 / mask.numel() ** 0.5
    # Rows are sums of independent entries only if they vary as such sums do.
    assert mask.sum(dim=1).var() == pytest.approx(400 * sd**2, rel=0.2)
    assert mask.sum(dim=0).var() == pytest.approx(1000 * sd**2, rel=0.3)


def test_two_masks_have_nothing_in_common():
    torch.manual_seed(0)
    one, other = (dropout(torch.ones(400_000), 0.5) != 0 for _ in range(2))
    assert abs((one == other).float().mean() - 0.5) < 4 * 0.5 / 400_000**0.5


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.9999])
def test_what_stays_is_scaled_so_that_means_stay(rate):
    """Also where the rate is rounded: the scale is that of the rate which entries are dropped at."""
    torch.manual_seed(0)
    values = dropout(torch.ones(4_000_000, dtype=torch.float64), rate)
    assert len(values.unique()) == 2
    assert abs(values.mean() - 1) < 4 * (rate / (1 - rate) / len(values)) ** 0.5


def test_a_rate_next_to_0_or_1_is_no_error():
    assert (dropout(torch.ones(1000), 1e-9) == 1).all()
    assert (dropout(torch.ones(1000), 1 - 1e-9) == 0).all()


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (0, 4), (2, 3, 5, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_and_type_stay(shape, dtype):
    values = dropout(torch.ones(shape, dtype=dtype), 0.5)
    assert (values.shape, values.dtype) == (shape, dtype)
    assert set(values.double().flatten().tolist()) <= {0.0, 2.0}


def test_the_gradient_passes_where_the_value_does():
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    torch.manual_seed(0)
    y = dropout(x, 0.25)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.where(y.detach() == 0, 0.0, 1 / 0.75))


def test_a_view_that_is_not_contiguous_is_dropped_in_its_own_shape():
    x = torch.arange(1.0, 13).view(3, 4).T
    torch.manual_seed(0)
    y = dropout(x, 0.5)
    assert torch.equal(torch.where(y == 0, 0, y / 2), torch.where(y == 0, 0, x))


def test_masks_follow_torchs_generator():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one, other = dropout(torch.ones(100), 0.5), dropout(torch.ones(100), 0.5)
    torch.set_rng_state(state)
    assert torch.equal(dropout(torch.ones(100), 0.5), one)
    assert not torch.equal(one, other)


def test_nothing_is_dropped_at_rate_0_or_in_evaluation():
    x, module = torch.randn(5, 5), Dropout(0.5)
    assert torch.equal(dropout(x, 0.0), x)
    assert torch.equal(module.eval()(x), x)
    assert not torch.equal(module.train()(x), x)
    module.p = 0.0
    assert torch.equal(module(x), x)


MASKS = {
    "none": None,
    "bool": torch.tensor([True, True, False, True, False])[None, None, None, :],
    "added": torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(1)),
}


def heads(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, 5, 8, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(3)]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("scale", [None, 0.3])
def test_attention_is_torchs_where_hardly_anything_is_dropped(mask, scale):
    values = []
    for rate in (0.0, 1e-9):  # torch's own way, and the kit's
        inputs = heads()
        allowed = MASKS[mask].double() if mask == "added" else MASKS[mask]
        out = attend(*inputs, allowed, rate, scale)
        values.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
    for theirs, ours in zip(*values, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_attention_drops_weights_not_outputs():
    queries, keys, _ = heads()
    shown = torch.eye(5, dtype=torch.float64).expand(2, 3, 5, 5)  # so that the output shows the weights, twice
    torch.manual_seed(0)
    output = attend(queries, keys, torch.cat([shown, 3 * shown], dim=-1), MASKS["bool"], 0.25)
    dropped = output[..., :5]
    torch.testing.assert_close(output[..., 5:], 3 * dropped)  # one weight, dropped or not, for all features
    whole = F.scaled_dot_product_attention(queries, keys, shown, MASKS["bool"])
    assert (dropped[..., [2, 4]] == 0).all()
    stays = dropped != 0
    assert 0 < stays[..., [0, 1, 3]].sum() < 2 * 3 * 5 * 3
    torch.testing.assert_close(dropped, torch.where(stays, whole / 0.75, 0.0), rtol=1e-9, atol=0)


def test_a_model_s_dropouts_are_replaced_with_their_rates():
    class Special(nn.Dropout):
        """Not to be replaced: it may do something else."""

    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.2), Special(0.3)), nn.Dropout(0.4))
    use_cheap_masks(model)
    found = [(type(m).__name__, m.p) for m in model.modules() if isinstance(m, nn.Dropout)]
    assert found == [("Dropout", 0.2), ("Special", 0.3), ("Dropout", 0.4)]
    assert [type(m) is Dropout for m in (model[1][0], model[1][1], model[2])] == [True, False, True]


class Draws(TorchDispatchMode):
    """Counts the random numbers that each operation draws."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name.startswith(("bernoulli", "random", "native_dropout", "rand", "uniform")):
            self.counts[name] += args[0].numel()
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("trainable_layers", [0, -1])
@pytest.mark.parametrize("name", ALL)
def test_no_family_draws_its_masks_in_torchs_dear_way(folders, name, trainable_layers):
    """Except where transformers calls it as a function: all dropout in Whisper's layers, and WavLM's attention."""
    encoder = build(folders, name, trainable_layers, dropout=0.1)
    hidden = encoder.trunk(items(name))
    with Draws() as draws:
        encoder(hidden, passes=2)
    if trainable_layers == 0 or not name.startswith(("whisper", "wavlm")):
        assert set(draws.counts) == {"random_"}
