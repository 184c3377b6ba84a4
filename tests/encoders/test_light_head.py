"""The small head on a frozen encoder."""

import pytest
import torch

from turbo_kit.config import InputError
from turbo_kit.encoders.encoder import pool_frames
from turbo_kit.encoders.light_head import LightHead, sinusoids


def head(dropout=0.0, layers=2):
    torch.manual_seed(0)
    return LightHead(inputs=20, width=64, layers=layers, dropout=dropout)


def test_it_maps_to_its_width_once_for_each_pass():
    x, mask = torch.randn(3, 7, 20), torch.ones(3, 7, dtype=torch.bool)
    assert head()(x, mask, passes=2).shape == (6, 7, 64)


def test_the_first_rows_are_the_first_pass():
    x, mask = torch.randn(3, 7, 20), torch.ones(3, 7, dtype=torch.bool)
    once, twice = head()(x, mask, 1), head()(x, mask, 2)
    torch.testing.assert_close(twice[:3], once)
    torch.testing.assert_close(twice[3:], once)


def test_order_matters():
    x, mask = torch.randn(1, 7, 20), torch.ones(1, 7, dtype=torch.bool)
    forward, backward = head()(x, mask, 1).mean(1), head()(x.flip(1), mask, 1).mean(1)
    assert not torch.allclose(forward, backward, atol=1e-3)


def test_padded_positions_are_not_attended_to():
    x, mask = torch.randn(1, 7, 20), torch.arange(7)[None] < 4
    other = x.clone()
    other[:, 4:] = 100
    torch.testing.assert_close(head()(x, mask, 1)[:, :4], head()(other, mask, 1)[:, :4])
    torch.testing.assert_close(head()(x, mask, 1)[:, :4], head()(x[:, :4], mask[:, :4], 1), atol=1e-5, rtol=1e-5)


def test_its_gradient_is_right():
    small = LightHead(inputs=5, width=32, layers=1, dropout=0.0).double()
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, True], [True, False, False]])

    def loss(values):
        return (small(values, mask, 2).unflatten(0, (2, 2)) * mask[None, :, :, None]).square().sum()

    assert torch.autograd.gradcheck(loss, (x,), atol=1e-5)


@pytest.mark.parametrize("still", ["nothing", "dropout", "layers"])
def test_every_place_of_dropout_draws_for_each_row_alone(still):
    small = head(dropout=0.3)
    small.get_submodule("" if still == "nothing" else still).train(still == "nothing")
    x, mask = torch.randn(1, 7, 20).expand(4, 7, 20), torch.ones(4, 7, dtype=torch.bool)
    assert len({tuple(row.flatten().tolist()) for row in small(x, mask, 2)}) == 8


@pytest.mark.parametrize(("width", "layers"), [(100, 1), (16, 1), (-32, 1), (128, 0)])
def test_sizes_that_do_not_fit_are_errors(width, layers):
    with pytest.raises(InputError, match="head_width" if layers else "head_layers"):
        LightHead(20, width, layers, 0.1)


def test_sinusoids_tell_all_positions_apart():
    table = sinusoids(400, 64, torch.device("cpu"))
    assert table.shape == (400, 64) and table.abs().max() <= 1
    assert torch.cdist(table, table).add(10 * torch.eye(400)).min() > 0.1


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 23])
def test_frames_are_averaged_in_groups_and_the_last_group_may_be_shorter(length):
    x = torch.randn(length, 5)
    torch.testing.assert_close(pool_frames(x, 8), torch.stack([part.mean(0) for part in x.split(8)]))
    assert pool_frames(x, 1) is x
