import json

import pytest
import torch

from turbo_kit import InputError, RunConfig, TurboModel, evaluate, train
from turbo_kit.config import ModelOptions
from turbo_kit.encoders import TrunkOutput
from turbo_kit.training.setup import prepare
from turbo_kit.training.trainer import Trainer


def small_config(tones, epochs=8):
    return RunConfig(
        corpus=f"manifest:{tones}", epochs=epochs, batch_size=8, head_width=32, projection=16, modality_dropout=0.4
    )


@pytest.fixture(scope="module")
def trained(tones_corpus, tones, tmp_path_factory):
    """A run on both modalities that may do without one, tested."""
    fold = tones_corpus.fold(0)
    run = train(small_config(tones), fold.train, fold.dev, tmp_path_factory.mktemp("runs"))
    evaluate(run, fold.test)
    return run


@pytest.fixture(scope="module")
def clips(tones_corpus):
    return tones_corpus.fold(0).test.utterances


def hidden(model, batch=3, seed=0):
    """What the trunks of the embedded encoders, of 2 and of 3 layers, could have given."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.ones(batch, 5, dtype=torch.bool)
    states = {m: [len(weights)] for m, weights in model.layer_weights.items()}
    shapes = {m: (batch, 5, *states.get(m, []), 384) for m in model.modalities}
    return {m: TrunkOutput(torch.randn(shape, generator=generator), mask) for m, shape in shapes.items()}


def model_of(**changes):
    torch.manual_seed(0)
    facts = {name: changes.pop(name) for name in ("classes", "fingerprints", "about") if name in changes}
    options = ModelOptions().updated({"head_width": 32, "projection": 16, **changes})
    return TurboModel(**{"classes": ["x", "y", "z"], "options": options, **facts})


def test_prediction_from_files_equals_the_evaluation(trained, clips):
    table = trained.model().predict([u.path for u in clips], [u.text for u in clips])
    stored = trained.predictions("test")
    assert table["label"].tolist() == stored["predicted"].tolist()
    columns = ["p_high", "p_low", "p_middle"]
    assert abs(table[columns].to_numpy() - stored[columns].to_numpy()).max() < 1e-5
    assert abs(table[columns].to_numpy().sum(axis=1) - 1).max() < 1e-5


def test_embeddings_from_files_equal_the_evaluation(trained, clips):
    arrays = trained.model().embed([u.path for u in clips], [u.text for u in clips])
    stored = trained.embeddings("test")
    assert arrays.keys() == stored.keys() == {"audio", "audio_projected", "text", "text_projected"}
    for name, array in arrays.items():
        assert array.shape == (len(clips), 16 if name.endswith("projected") else 32)
        assert abs(array - stored[name]).max() < 1e-4


def test_a_model_trained_for_it_does_without_a_modality(tones_corpus, tones, clips):
    # To the last epoch: development data, which always has both, may well choose one that has learnt a single modality.
    fold = tones_corpus.fold(0)
    ready = prepare(small_config(tones, epochs=24), fold.train, fold.dev)
    for _ in Trainer(ready):
        pass
    texts_alone = ready.model.predict(texts=[u.text for u in clips])
    audio_alone = ready.model.predict([u.path for u in clips])
    both = ready.model.predict([u.path for u in clips], [u.text for u in clips])
    assert not texts_alone.equals(both)
    assert not audio_alone.equals(both)
    truth = [u.label for u in clips]
    for table in (texts_alone, audio_alone):  # 3 classes that either modality tells apart
        assert (table["label"] == truth).mean() > 0.75


def test_a_model_trained_without_it_says_that_it_needs_both(clips):
    with pytest.raises(InputError, match=r"needs audio for every clip: .* modality_dropout above 0"):
        model_of().predict(texts=["hello"])


def test_input_that_does_not_fit_together_is_an_error(trained, clips):
    model = trained.model()
    with pytest.raises(InputError, match="2 audio files and 1 texts"):
        model.predict([clips[0].path, clips[1].path], ["one"])
    with pytest.raises(InputError, match="nothing to predict"):
        model.predict([], [])
    with pytest.raises(InputError, match="no such audio file"):
        model.predict(["nowhere.wav"], ["hello"])


def test_saving_and_loading_gives_the_same_model(trained, clips, tmp_path):
    model = trained.model()
    model.save_pretrained(tmp_path / "saved")
    assert {p.name for p in (tmp_path / "saved").iterdir()} == {"config.json", "model.safetensors", "README.md"}
    loaded = TurboModel.from_pretrained(tmp_path / "saved")
    inputs = [u.path for u in clips[:3]], [u.text for u in clips[:3]]
    assert loaded.predict(*inputs).equals(model.predict(*inputs))
    assert not loaded.training


@pytest.mark.parametrize(
    "knobs", [{"layer_mix": True}, {"pooling": "attentive"}, {"layer_mix": True, "pooling": "attentive"}]
)
def test_mix_and_pooling_are_saved_and_loaded(knobs, clips, tmp_path):
    model = model_of(**knobs).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "mix" in name or "pooling" in name:
                value.add_(torch.randn_like(value))
    model.save_pretrained(tmp_path)
    loaded = TurboModel.from_pretrained(tmp_path)
    assert loaded.layer_weights == model.layer_weights
    assert {m: len(weights) for m, weights in model.layer_weights.items()} == (
        {"audio": 3, "text": 4} if "layer_mix" in knobs else {}
    )
    inputs = [u.path for u in clips[:3]], [u.text for u in clips[:3]]
    assert loaded.predict(*inputs).equals(model.predict(*inputs))
    plain = json.loads((tmp_path / "config.json").read_text()) | {"layer_mix": False, "pooling": "mean"}
    (tmp_path / "config.json").write_text(json.dumps(plain | {"fingerprints": None}))
    with pytest.raises(InputError, match="unknown to the model"):
        TurboModel.from_pretrained(tmp_path)


def test_the_card_tells_data_metrics_limits_and_ethics(trained):
    card = (trained.folder / "checkpoint" / "README.md").read_text()
    for section in ("## Data", "## Metrics", "## Limits", "## Ethics"):
        assert section in card
    for split in ("dev", "test"):
        assert f"| {split} UA | {trained.result['metrics'][split]['UA']:.3f} |" in card
    assert "Either modality may be missing" in card
    assert "high, low, middle" in card


def test_weights_of_another_model_or_encoder_are_refused(trained, tmp_path):
    trained.model().save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "fingerprints": {**config["fingerprints"], "audio": "0" * 64}}))
    with pytest.raises(InputError, match="audio encoder 'demo' found here is not the one"):
        TurboModel.from_pretrained(tmp_path / "saved")
    path.write_text(json.dumps({**config, "classes": ["x", "y"]}))
    with pytest.raises(InputError, match=r"'classifier.*' is \(3"):
        TurboModel.from_pretrained(tmp_path / "saved")
    path.write_text(json.dumps({**config, "head_layers": 2}))
    with pytest.raises(InputError, match="missing from the saved weights"):
        TurboModel.from_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no such file"):
        TurboModel.from_pretrained(tmp_path / "saved")


def test_two_passes_differ_by_dropout_and_share_everything_else():
    model = model_of().train()
    output = model(hidden(model), passes=2)
    assert list(output.views) == ["a1", "a2", "t1", "t2"]
    assert output.logits.shape == (2, 3, 3)
    assert not torch.allclose(output.views["a1"], output.views["a2"])
    output = model.eval()(hidden(model), passes=2)
    torch.testing.assert_close(output.views["a1"], output.views["a2"])


def test_without_projection_the_views_are_what_the_classifier_reads():
    model = model_of(projection=0).eval()
    output = model(hidden(model))
    torch.testing.assert_close(output.views["t1"], output.pooled["text"][0])


def test_modality_dropout_hides_one_modality_from_the_classifier_and_none_from_the_views():
    model = model_of(modality_dropout=0.9, audio_dropout=0.0, text_dropout=0.0)
    with torch.no_grad():
        model.absent["audio"].fill_(5.0)
    whole = model.eval()(hidden(model, batch=64))
    some = model.train()(hidden(model, batch=64))
    torch.testing.assert_close(some.views["a1"], whole.views["a1"])
    changed = (some.logits[0] - whole.logits[0]).abs().amax(dim=1) > 1e-6
    assert 0.7 < changed.float().mean() < 1.0
    assert len(some.logits[0].unique(dim=0)) == 64  # nobody lost both: those would all look the same


@pytest.mark.parametrize("pooling", ["mean", "attentive"])
@pytest.mark.parametrize("fusion", ["concat", "gated", "cross-attention", "audio", "text"])
def test_the_classifier_sees_what_the_fusion_says(fusion, pooling):
    model = model_of(fusion=fusion, pooling=pooling).eval()
    inputs = hidden(model)
    before = model(inputs).logits
    for modality in ("audio", "text"):
        other = {**inputs, modality: hidden(model, seed=1)[modality]}
        blind = fusion in ("audio", "text") and fusion != modality
        assert torch.equal(model(other).logits, before) == blind


@pytest.mark.parametrize("knobs", [{}, {"layer_mix": True, "pooling": "attentive"}])
@pytest.mark.parametrize("fusion", ["concat", "gated", "cross-attention"])
def test_what_the_classifier_sees_of_a_clip_does_not_depend_on_its_neighbours(fusion, knobs):
    model = model_of(fusion=fusion, **knobs).eval()
    inputs = hidden(model)
    mask = torch.tensor([[True] * 3 + [False] * 2, [True] * 5, [True] * 4 + [False]])
    batch = {m: TrunkOutput(h.sequence, mask) for m, h in inputs.items()}
    alone = {m: TrunkOutput(h.sequence[:1, :3], mask[:1, :3]) for m, h in inputs.items()}
    torch.testing.assert_close(model(batch, passes=2).logits[:, :1], model(alone, passes=2).logits)


@pytest.mark.parametrize("knobs", [{}, {"layer_mix": True, "pooling": "attentive"}])
@pytest.mark.parametrize("fusion", ["concat", "gated", "cross-attention"])
def test_the_classifier_hears_of_an_absent_modality_nothing_but_the_absent_vector(fusion, knobs):
    model = model_of(fusion=fusion, modality_dropout=0.1, **knobs).eval()
    inputs = hidden(model)
    absent = {"audio": torch.tensor([True, True, True])}
    other = {**inputs, "audio": hidden(model, seed=1)["audio"]}
    torch.testing.assert_close(model(inputs, absent=absent).logits, model(other, absent=absent).logits)
    assert not torch.allclose(model(inputs).logits, model(other).logits)
