import pytest
import tiny_models
import torch
from torch import nn

from turbo_kit import InputError, TurboModel
from turbo_kit.inspection import draw_batch, dropout_views, override_dropout_rates


def test_a_batch_is_drawn_from_the_clips_the_same_each_time(model, clips):
    batch, again, other = (draw_batch(model, clips, 8, seed) for seed in (0, 0, 1))
    assert batch.utterances == again.utterances != other.utterances
    assert set(batch.utterances) < set(clips.utterances) and len(set(batch.utterances)) == len(batch) == 8
    for number, utterance in enumerate(batch.utterances):
        assert batch.classes[batch.labels[number]] == utterance.label
        same = [u.text == utterance.text for u in batch.utterances]
        assert (batch.transcripts == batch.transcripts[number]).tolist() == same
    for hidden in batch.hidden.values():
        assert len(hidden.mask) == 8


@pytest.mark.parametrize("size", [1, 25])
def test_a_batch_that_cannot_be_drawn(model, clips, size):
    with pytest.raises(InputError, match="24 here"):
        draw_batch(model, clips, size)


def test_views_differ_by_dropout_alone(model, clips):
    batch = draw_batch(model, clips, 8)
    model.eval()
    torch.manual_seed(5)
    first = dropout_views(model, batch)
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))  # the random state outside is left alone
    assert not model.training
    assert set(first.views) == {"a1", "a2", "t1", "t2"}
    assert not torch.equal(first.views["a1"], first.views["a2"])
    assert torch.equal(first.views["a1"], dropout_views(model, batch).views["a1"])
    assert not torch.equal(first.views["a1"], dropout_views(model, batch, seed=1).views["a1"])


def test_rates_hold_for_one_modality_and_no_longer_than_asked(model, clips):
    batch = draw_batch(model, clips, 8)
    before = [part.p for part in model.modules() if isinstance(part, nn.Dropout)]
    still = dropout_views(model, batch, rates={"audio": 0.0}).views
    torch.testing.assert_close(still["a1"], still["a2"])
    assert not torch.allclose(still["t1"], still["t2"])
    wide = dropout_views(model, batch, rates={"text": 0.5}).views
    mild = dropout_views(model, batch, rates={"text": 0.05}).views
    assert (wide["t1"] - wide["t2"]).norm() > (mild["t1"] - mild["t2"]).norm()
    assert [part.p for part in model.modules() if isinstance(part, nn.Dropout)] == before


@pytest.mark.parametrize("name", tiny_models.ALL)
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_a_rate_set_later_gives_what_an_encoder_built_with_it_gives(name, rate, quick, clips, tmp_path):
    folder, modality = str(tiny_models.save(name, tmp_path / name)), tiny_models.modality(name)

    def built(dropout):
        torch.manual_seed(0)
        knobs = {"audio": "none", "text": "none", modality: folder, f"{modality}_dropout": dropout}
        return TurboModel.from_config(quick(trainable_layers=-1, objective="ce", **knobs), clips.classes)

    changed, right = built(0.1), built(rate)
    batch = draw_batch(changed, clips, 4)
    with torch.no_grad():
        one = dropout_views(changed, batch, rates={modality: rate}).pooled[modality]
        other = dropout_views(right, batch).pooled[modality]
    assert torch.equal(one, other)
    assert torch.allclose(one[0], one[1], atol=1e-6) == (rate == 0)


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_a_rate_reaches_every_place_of_a_head_with_mix_and_pooling(rate, quick, clips):
    def built(dropout):
        torch.manual_seed(0)
        knobs = {"layer_mix": True, "pooling": "attentive", "head_layers": 2, "text_dropout": dropout}
        return TurboModel.from_config(quick(**knobs), clips.classes)

    changed, right = built(0.1), built(rate)
    batch = draw_batch(changed, clips, 4)
    with torch.no_grad():
        one = dropout_views(changed, batch, rates={"text": rate}).pooled["text"]
        other = dropout_views(right, batch).pooled["text"]
    assert torch.equal(one, other)
    assert torch.allclose(one[0], one[1], atol=1e-6) == (rate == 0)


@pytest.mark.parametrize(("rates", "said"), [({"audoi": 0.1}, "did you mean 'audio'"), ({"text": 1.0}, "0 to 0.95")])
def test_rates_that_cannot_be_set(model, rates, said):
    with pytest.raises(InputError, match=said), override_dropout_rates(model, rates):
        pass
