"""What holds for every family: it computes what transformers computes, for each utterance as if it were alone."""

import re

import numpy as np
import pytest
import tiny_models
import torch
from tiny_models import ALL, AUDIO, LAYERS, build, items, reference

from turbo_kit.encoders import EncoderOutput, TrunkOutput

DEPTHS = (0, 1, LAYERS, -1)  # trainable_layers


def real_rows(encoded, number, passes=1):
    return encoded.sequence[:passes, number][:, encoded.mask[number]]


@pytest.mark.parametrize("trainable_layers", [1, LAYERS, -1])
@pytest.mark.parametrize("name", ALL)
def test_it_computes_what_transformers_computes(folders, name, trainable_layers):
    encoder = build(folders, name, trainable_layers)  # in training mode: LayerDrop and SpecAugment must be off
    for item in items(name):
        expected = reference(folders[name], item)
        out = encoder(encoder.trunk([item]))
        assert out.sequence.shape == (1, 1, *expected.shape)
        torch.testing.assert_close(out.sequence[0, 0], expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_the_frozen_trunk_gives_the_last_layer_at_six_frames_a_second(folders, name):
    encoder = build(folders, name, 0)
    for item in items(name):
        expected = reference(folders[name], item)
        if name in AUDIO:  # 50 frames a second: every 8 become one
            expected = torch.stack([part.mean(0) for part in expected.split(8)])
        hidden = encoder.trunk([item])
        assert hidden.mask.all() and not hidden.sequence.requires_grad
        torch.testing.assert_close(hidden.sequence[0], expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("trainable_layers", [0, 1, -1])
@pytest.mark.parametrize("name", ALL)
def test_an_utterance_does_not_depend_on_its_neighbours(folders, name, trainable_layers):
    encoder = build(folders, name, trainable_layers).eval()
    everything = items(name)
    together = encoder(encoder.trunk(everything))
    for number, item in enumerate(everything):
        alone = encoder(encoder.trunk([item]))
        torch.testing.assert_close(real_rows(together, number), alone.sequence[:, 0], atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(together.pooled[0, number], alone.pooled[0, 0], atol=2e-5, rtol=1e-4)
    assert not torch.allclose(together.pooled[0, 0], together.pooled[0, 1], atol=1e-2), "the model tells nothing apart"


@pytest.mark.parametrize("trainable_layers", [0, 1])
@pytest.mark.parametrize("name", ALL)
def test_a_padded_trunk_batch_as_on_a_gpu_gives_the_same(folders, name, trainable_layers):
    encoder = build(folders, name, trainable_layers)
    everything = items(name)
    alone = encoder.trunk(everything)  # on a CPU one by one
    with torch.no_grad():
        rows = encoder._run_frozen([encoder.backbone.front(item) for item in everything], batch=16)
    for row, sequence, mask in zip(rows, alone.sequence, alone.mask, strict=True):
        torch.testing.assert_close(row, sequence[mask], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("trainable_layers", [0, LAYERS, -1])
@pytest.mark.parametrize("name", ALL)
def test_what_stands_in_padded_positions_is_never_seen(folders, name, trainable_layers):
    encoder = build(folders, name, trainable_layers).eval()
    hidden = encoder.trunk(items(name))
    filled = hidden.sequence.clone()
    filled[~hidden.mask] = 7
    clean, dirty = encoder(hidden), encoder(TrunkOutput(filled, hidden.mask))
    torch.testing.assert_close(dirty.pooled, clean.pooled, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(dirty.sequence, clean.sequence, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("trainable_layers", [0, -1])
@pytest.mark.parametrize("name", ALL)
def test_shapes_mask_and_pooling(folders, name, trainable_layers):
    encoder = build(folders, name, trainable_layers, dropout=0.2)
    everything = items(name)
    out = encoder(encoder.trunk(everything), passes=3)
    assert isinstance(out, EncoderOutput)
    length = max(len(encoder.trunk([item]).mask[0]) for item in everything)
    assert out.sequence.shape == (3, 3, length, encoder.width)
    assert out.mask.shape == (3, length) and out.mask.dtype == torch.bool
    assert out.pooled.shape == (3, 3, encoder.width)
    assert (out.sequence[:, ~out.mask] == 0).all()
    for number, item in enumerate(everything):
        count = len(encoder.trunk([item]).mask[0])
        assert out.mask[number].tolist() == [True] * count + [False] * (length - count)
        mean = out.sequence[:, number, :count].mean(1)
        torch.testing.assert_close(out.pooled[:, number], mean, atol=1e-5, rtol=1e-4)


def expected_to_train(name, parameter, trainable_layers):
    """By the names alone: is this parameter above the line that `trainable_layers` draws?"""
    if trainable_layers == 0 or parameter == "masked_spec_embed":
        return False
    if trainable_layers == -1:
        return not re.search(tiny_models.FRONT, parameter)
    found = re.search(r"\blayers?\.(\d+)\.(?!.*pos_conv)", parameter)
    if "feature_extractor" in parameter or "pos_conv" in parameter:
        return False
    if re.search(r"^encoder\.conv\.", parameter):  # DeBERTa-v2: a part of layer 0
        return trainable_layers == LAYERS
    if found:
        return int(found[1]) >= LAYERS - trainable_layers
    return name in tiny_models.FINAL_NORM and bool(re.search(tiny_models.FINAL_NORM[name], parameter))


@pytest.mark.parametrize("trainable_layers", DEPTHS)
@pytest.mark.parametrize("name", ALL)
def test_exactly_what_is_trainable_learns(folders, name, trainable_layers):
    encoder = build(folders, name, trainable_layers, dropout=0.1)
    out = encoder(encoder.trunk(items(name)), passes=2)
    torch.manual_seed(1)
    (out.sequence * torch.randn_like(out.sequence)).sum().backward()
    for parameter, tensor in encoder.backbone.model.named_parameters():
        trains = expected_to_train(name, parameter, trainable_layers)
        assert tensor.requires_grad == trains, parameter
        assert (tensor.grad is not None) == trains, parameter
        if trains:
            assert tensor.grad.isfinite().all(), parameter
            if not re.search(r"(k_proj|key|k_lin|key_proj)\.bias", parameter):  # softmax does not see the keys' bias
                assert tensor.grad.abs().sum() > 0, parameter
    head = [] if encoder.light_head is None else list(encoder.light_head.parameters())
    assert bool(head) == (trainable_layers == 0)
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in head)


@pytest.mark.parametrize("trainable_layers", [0, 1, -1])
@pytest.mark.parametrize("name", ALL)
def test_passes_differ_by_dropout_alone(folders, name, trainable_layers):
    encoders = [build(folders, name, trainable_layers, dropout) for dropout in (0.0, 0.01, 0.3)]
    hidden = encoders[0].trunk(items(name))
    still, weak, strong = (encoder(hidden, passes=2).pooled for encoder in encoders)
    assert ((weak[0] - weak[1]).abs().amax(-1) > 1e-4).all(), "two passes with dropout are equal"
    assert (strong[0] - strong[1]).norm() > (weak[0] - weak[1]).norm(), "the rate that was asked for is not used"
    for first, second in (still, encoders[2].eval()(hidden, passes=2).pooled):
        torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("trainable_layers", [0, 1])
@pytest.mark.parametrize("name", ALL)
def test_the_trunk_never_draws(folders, name, trainable_layers):
    encoder = build(folders, name, trainable_layers, dropout=0.5).train()
    first, second = encoder.trunk(items(name)), encoder.trunk(items(name))
    still = encoder.eval().trunk(items(name))
    assert torch.equal(first.sequence, second.sequence) and torch.equal(first.sequence, still.sequence)


@pytest.mark.parametrize("name", ALL)
def test_layers_below_view_depth_run_once_and_share_their_mask(folders, name):
    for trainable_layers, view_depth in ((2, 1), (-1, 1), (-1, 0), (2, None)):
        encoder = build(folders, name, trainable_layers, dropout=0.3, view_depth=view_depth)
        hidden = encoder.trunk(items(name))
        rows = []
        for layer in encoder.backbone.layers:
            layer.register_forward_hook(lambda _layer, inputs, _output, rows=rows: rows.append(len(inputs[0])))
        first, second = encoder(hidden, passes=2).pooled
        trained = LAYERS if trainable_layers == -1 else trainable_layers
        deep = trained if view_depth is None else view_depth
        assert rows == [3] * (trained - deep) + [6] * deep
        if view_depth == 0:
            torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-6)
            again = encoder(hidden, passes=2).pooled[0]
            assert not torch.allclose(first, again, atol=1e-4), "the stem has no dropout at all"
        else:
            assert not torch.allclose(first, second, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_the_dropout_on_the_embeddings_belongs_to_the_pass_unless_there_is_a_stem(folders, name):
    for view_depth, shared in ((None, False), (1, True)):
        encoder = build(folders, name, -1, dropout=0.3, view_depth=view_depth)
        encoder.backbone.layers.eval()  # so that no other dropout is left
        first, second = encoder(encoder.trunk(items(name)), passes=2).pooled
        assert torch.allclose(first, second, atol=1e-5) == shared


@pytest.mark.parametrize("name", ALL)
def test_depth_cuts_the_upper_layers_off(folders, name):
    short = build(folders, name, -1, depth=1)
    rows = []
    whole = build(folders, name, -1).eval()
    if name == "whisper" or "large" in name:  # the final norm follows on the last layer that is left
        whole.backbone.layers[1].register_forward_pre_hook(lambda _layer, inputs: rows.append(inputs[0]))
        item = items(name)[0]
        whole(whole.trunk([item]))
        expected = whole.backbone.final_norm()(rows[0])
    else:
        whole.backbone.layers[0].register_forward_hook(lambda _layer, _inputs, output: rows.append(output))
        item = items(name)[0]
        whole(whole.trunk([item]))
        expected = rows[0][0] if isinstance(rows[0], tuple) else rows[0]
        if name == "deberta-v2":
            return  # its convolution follows on layer 0: covered by the equality with transformers
    out = short(short.trunk([item]))
    torch.testing.assert_close(out.sequence[0], expected, atol=2e-5, rtol=1e-4)


def test_mel_features_are_those_of_transformers(folders):
    from transformers import WhisperFeatureExtractor

    encoder = build(folders, "whisper", 0)
    extractor = WhisperFeatureExtractor.from_pretrained(folders["whisper"])
    for clip in [*items("whisper"), np.zeros(4000, np.float32)]:
        expected = extractor(clip, sampling_rate=16_000, return_tensors="pt", padding="longest").input_features[0]
        torch.testing.assert_close(encoder.backbone.log_mel(torch.from_numpy(clip)), expected, atol=1e-4, rtol=1e-4)
