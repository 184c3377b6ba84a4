"""The embedded encoders, and the real models that they were cut out of where someone has these."""

import pytest
import torch
from tiny_models import clip, hidden_states, reference

from turbo_kit.config import EncoderConfig
from turbo_kit.encoders import build_encoder

CLIPS = [clip(0.8, 1), clip(1.7, 2), clip(6.0, 3)]
SENTENCES = ["I can't believe it!", "The letter was left behind the door again, and no one told us.", "All right."]
SOURCES = {"audio": "whisper-tiny.en", "text": "all-MiniLM-L6-v2"}
UTTERANCES = {"audio": CLIPS, "text": SENTENCES}


def states(encoder, item):
    return encoder(encoder.trunk([item])).sequence[0, 0]


@pytest.mark.parametrize("kind", ["audio", "text"])
def test_the_embedded_encoder_trains_at_every_depth(kind):
    torch.manual_seed(0)
    for trainable_layers in (0, 1, -1):
        encoder = build_encoder("demo", kind, EncoderConfig(trainable_layers=trainable_layers))
        out = encoder(encoder.trunk(UTTERANCES[kind]), passes=2)
        assert out.pooled.shape == (2, 3, 128 if trainable_layers == 0 else 384)
        assert not torch.allclose(out.pooled[0], out.pooled[1], atol=1e-3)
        out.pooled.square().sum().backward()
        assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.requires_grad)


def test_the_embedded_tokenizer_spells_what_it_does_not_know():
    encoder = build_encoder("demo", "text")
    tokens = encoder.backbone.tokenizer
    for text in ("xylophonists zigzagged", "HELLO, wOrld; 42% of #7 (maybe)?", "naïve café", "it's"):
        ids = tokens(text)["input_ids"]
        assert tokens.unk_token_id not in ids, tokens.convert_ids_to_tokens(ids)
        assert ids[0] == tokens.cls_token_id and ids[-1] == tokens.sep_token_id
    assert tokens.unk_token_id in tokens("\N{SNOWMAN}")["input_ids"]
    assert len(tokens("stay " * 400, truncation=True)["input_ids"]) == 256
    assert encoder.trunk(["stay " * 400]).mask.shape == (1, 256)


@pytest.mark.parametrize("kind", ["audio", "text"])
def test_the_embedded_encoder_is_the_first_layers_of_the_real_one(real_models, kind):
    encoder = build_encoder("demo", kind, EncoderConfig(trainable_layers=1)).eval()
    for item in UTTERANCES[kind]:
        expected = reference(real_models / SOURCES[kind], item, layers=len(encoder.backbone.layers))
        got = states(encoder, item)
        if kind == "text" and got.shape != expected.shape:
            pytest.fail(f"{item!r} needs a word that was pruned: choose a plainer sentence")
        torch.testing.assert_close(got, expected, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("trainable_layers", [1, -1])
@pytest.mark.parametrize("kind", ["audio", "text"])
def test_a_real_model_computes_what_transformers_computes(real_models, kind, trainable_layers):
    folder = real_models / SOURCES[kind]
    encoder = build_encoder(str(folder), kind, EncoderConfig(trainable_layers=trainable_layers), dropout=0.0)
    for item in UTTERANCES[kind]:
        torch.testing.assert_close(states(encoder, item), reference(folder, item), atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", ["audio", "text"])
def test_every_hidden_state_of_a_real_model_is_that_of_transformers(real_models, kind):
    folder = real_models / SOURCES[kind]
    encoder = build_encoder(str(folder), kind, EncoderConfig(layer_mix=True))
    for item in UTTERANCES[kind]:
        expected = hidden_states(folder, item).transpose(0, 1)
        if kind == "audio":
            expected = torch.stack([part.mean(0) for part in expected.split(8)])
        torch.testing.assert_close(encoder.trunk([item]).sequence[0], expected, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("trainable_layers", [0, 1, -1])
@pytest.mark.parametrize("kind", ["audio", "text"])
def test_a_real_model_ignores_neighbours(real_models, kind, trainable_layers):
    encoder = build_encoder(
        str(real_models / SOURCES[kind]), kind, EncoderConfig(trainable_layers=trainable_layers)
    ).eval()
    check_neighbours(encoder, UTTERANCES[kind])


@pytest.mark.parametrize("trainable_layers", [0, 1, -1])
@pytest.mark.parametrize("kind", ["audio", "text"])
def test_the_embedded_encoder_ignores_neighbours(kind, trainable_layers):
    check_neighbours(
        build_encoder("demo", kind, EncoderConfig(trainable_layers=trainable_layers)).eval(), UTTERANCES[kind]
    )


def check_neighbours(encoder, utterances):
    together = encoder(encoder.trunk(utterances)).pooled[0]
    for row, item in zip(together, utterances, strict=True):
        torch.testing.assert_close(row, encoder(encoder.trunk([item])).pooled[0, 0], atol=1e-4, rtol=1e-3)
