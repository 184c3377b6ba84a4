"""The learned mix of all hidden states under a light head."""

import pytest
import torch
from tiny_models import ALL, AUDIO, LAYERS, assert_independent_of_neighbours, build, hidden_states, items

from turbo_kit import InputError
from turbo_kit.encoders.light_head import LayerMix, LightHead


def alike(plain, mixed, weighed):
    """Gives `mixed` the weights of `plain`, and all weight of its mix to one hidden state."""
    mixed.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        mixed.light_head.mix.scalars.zero_()[weighed] = 100.0


@pytest.mark.parametrize("name", ALL)
def test_the_trunk_hands_on_every_hidden_state_as_transformers_has_it(folders, name):
    encoder = build(folders, name, layer_mix=True)
    for item in items(name):
        expected = hidden_states(folders[name], item).transpose(0, 1)
        if name in AUDIO:  # 50 frames a second: every 8 become one
            expected = torch.stack([part.mean(0) for part in expected.split(8)])
        found = encoder.trunk([item]).sequence[0]
        assert found.shape[1] == LAYERS + 1
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_with_the_last_state_alone_it_is_the_plain_encoder(folders, name):
    plain, mixed = build(folders, name, dropout=0.2), build(folders, name, dropout=0.2, layer_mix=True)
    alike(plain, mixed, weighed=-1)
    hidden, all_states = plain.trunk(items(name)), mixed.trunk(items(name))
    assert torch.equal(all_states.sequence[:, :, -1], hidden.sequence) and torch.equal(all_states.mask, hidden.mask)
    results = []
    for encoder, given in ((plain, hidden), (mixed, all_states)):
        torch.manual_seed(1)  # the same dropout masks
        results.append(encoder(given, passes=2))
    torch.testing.assert_close(results[1].sequence, results[0].sequence, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(results[1].pooled, results[0].pooled, atol=1e-6, rtol=1e-6)
    alike(plain, mixed, weighed=0)
    assert not torch.allclose(mixed.eval()(all_states).pooled, plain.eval()(hidden).pooled, atol=1e-2)


@pytest.mark.parametrize("name", ALL)
def test_an_utterance_does_not_depend_on_its_neighbours(folders, name):
    assert_independent_of_neighbours(build(folders, name, layer_mix=True).eval(), name)


@pytest.mark.parametrize("name", ALL)
def test_a_padded_trunk_batch_as_on_a_gpu_gives_the_same(folders, name):
    encoder = build(folders, name, layer_mix=True)
    alone = encoder.trunk(items(name))
    with torch.no_grad():
        rows = encoder._run_frozen([encoder.backbone.front(item) for item in items(name)], batch=16)
    for row, sequence, mask in zip(rows, alone.sequence, alone.mask, strict=True):
        torch.testing.assert_close(row, sequence[mask], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_every_scalar_learns_and_the_encoder_below_does_not(folders, name):
    encoder = build(folders, name, layer_mix=True)
    assert encoder.layer_weights.tolist() == pytest.approx([1 / (LAYERS + 1)] * (LAYERS + 1))
    out = encoder(encoder.trunk(items(name)), passes=2)
    (out.pooled * torch.randn_like(out.pooled)).sum().backward()
    gradient = encoder.light_head.mix.scalars.grad
    assert (gradient.abs() > 1e-7).all() and gradient.isfinite().all()
    assert all(tensor.grad is None for tensor in encoder.backbone.parameters())


def test_the_mix_is_a_sum_by_softmax_weights():
    mix, x = LayerMix(3), torch.randn(2, 5, 3, 7)
    with torch.no_grad():
        mix.scalars.copy_(torch.tensor([0.0, 1.0, -2.0]))
    shares = torch.tensor([1.0, torch.e, torch.e**-2])
    shares = shares / shares.sum()
    torch.testing.assert_close(mix.weights, shares)
    torch.testing.assert_close(mix(x), sum(share * x[:, :, number] for number, share in enumerate(shares)))


def test_the_gradient_of_a_head_with_a_mix_is_right():
    head = LightHead(inputs=5, width=32, layers=1, dropout=0.0, states=3).double()
    x = torch.randn(2, 3, 3, 5, dtype=torch.float64)
    mask = torch.tensor([[True, True, True], [True, False, False]])

    def loss(scalars):
        given = {"mix.scalars": scalars}
        out = torch.func.functional_call(head, given, (x, mask, 1))
        return (out * mask[:, :, None] * torch.arange(32)).square().sum()

    assert torch.autograd.gradcheck(loss, (torch.randn(3, dtype=torch.float64, requires_grad=True),), atol=1e-4)


@pytest.mark.parametrize("layer_mix", [False, True])
def test_all_before_the_first_dropout_runs_once_for_all_passes(folders, layer_mix):
    encoder = build(folders, "bert", dropout=0.1, layer_mix=layer_mix)
    hidden, rows = encoder.trunk(items("bert")), {}
    for name in ("mix", "norm_in", "project", "dropout"):
        part = encoder.light_head.get_submodule(name)
        part.register_forward_hook(lambda _, __, output, name=name: rows.setdefault(name, []).append(len(output)))
    encoder(hidden, passes=2)
    assert rows == {"mix": [3], "norm_in": [3], "project": [3], "dropout": [6]}


def test_trunks_of_one_state_and_of_all_are_told_apart(folders):
    prints = {build(folders, "bert", **options).fingerprint for options in ({}, {"layer_mix": True})}
    prints |= {build(folders, "bert", layer_mix=True, depth=2).fingerprint}
    assert len(prints) == 3
    first, other = (build(folders, "bert", layer_mix=True, pooling=kind).fingerprint for kind in ("mean", "attentive"))
    assert first == other


@pytest.mark.parametrize("trainable_layers", [1, -1])
def test_layers_that_are_trained_are_not_mixed(folders, trainable_layers):
    with pytest.raises(InputError, match=rf"trainable_layers = {trainable_layers} trains it: set trainable_layers = 0"):
        build(folders, "bert", layer_mix=True, trainable_layers=trainable_layers)
    assert build(folders, "bert", trainable_layers=trainable_layers).layer_weights is None
