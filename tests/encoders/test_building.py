"""Finding, loading and refusing: what `build_encoder` and `trunk` do with what a user gives them."""

import json
import logging
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import ALL, AUDIO, LAYERS, LONG_TEXT, SHORT_TEXT, clip, edit_json, items, modality

from turbo_kit.config import EncoderConfig, InputError
from turbo_kit.encoders import FAMILIES, build_encoder
from turbo_kit.encoders.build import WEIGHTS


def change_weights(folder, part):
    """Double every tensor whose name contains `part`."""
    weights = load_file(folder / "model.safetensors")
    changed = [name for name in weights if part in name and weights[name].is_floating_point()]
    assert changed, f"no tensor has {part!r} in its name"
    for name in changed:
        weights[name] = weights[name] * 2
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def fingerprint(folder, kind, trainable_layers=0, **options):
    return built(folder, kind, trainable_layers=trainable_layers, **options).fingerprint


def built(folder, kind, dropout=0.1, depth=None, **options):
    return build_encoder(str(folder), kind, EncoderConfig(**options), dropout=dropout, depth=depth)


@pytest.mark.parametrize("name", ALL)
def test_the_fingerprint_stands_for_what_the_trunk_returns(folders, name):
    depths = (0, 1, LAYERS, -1)
    prints = [fingerprint(folders[name], modality(name), depth) for depth in depths]
    assert len(set(prints)) == len(depths)
    assert prints == [fingerprint(folders[name], modality(name), depth, dropout=0.4) for depth in depths]
    assert prints[0] == fingerprint(folders[name], modality(name), head_width=64, head_layers=2)
    assert prints[-1] == fingerprint(folders[name], modality(name), -1, view_depth=1)
    assert prints[0] != fingerprint(folders[name], modality(name), depth=2)


@pytest.mark.parametrize("name", ["whisper", "wav2vec2-base", "bert"])
def test_the_fingerprint_follows_frozen_weights_only(folders, copy_of, name):
    first, last, embeddings, front = {
        "whisper": ("encoder.layers.0.", "encoder.layers.2.", "encoder.layers.0.", "encoder.conv1."),
        "wav2vec2-base": ("encoder.layers.0.", "encoder.layers.2.", "feature_projection", "feature_extractor"),
        "bert": ("layer.0.", "layer.2.", "word_embeddings.weight", None),
    }[name]

    def changes(part, trainable_layers):
        changed = copy_of(name)
        change_weights(changed, part)
        before = fingerprint(folders[name], modality(name), trainable_layers)
        return before != fingerprint(changed, modality(name), trainable_layers)

    assert changes(last, 0) and changes(first, 0) and changes(embeddings, 0)
    assert not changes(last, 1) and changes(first, 1)
    assert not changes(last, -1) and not changes(first, -1) and not changes(embeddings, -1)
    assert front is None or (changes(front, 0) and changes(front, 1) and changes(front, -1))


def test_training_leaves_the_fingerprint_and_the_trunk_alone(folders):
    encoder = build_encoder(str(folders["wav2vec2-base"]), "audio", EncoderConfig(trainable_layers=-1))
    hidden = encoder.trunk(items("wav2vec2-base"))
    optimiser = torch.optim.SGD([tensor for tensor in encoder.parameters() if tensor.requires_grad], lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        encoder(hidden, passes=2).pooled.square().sum().backward()
        optimiser.step()
    assert torch.equal(encoder.trunk(items("wav2vec2-base")).sequence, hidden.sequence)
    encoder.train().eval().train()
    assert encoder.fingerprint == fingerprint(folders["wav2vec2-base"], "audio", -1)


@pytest.mark.parametrize("name", ["whisper", "bert"])
def test_the_fingerprint_survives_another_version_of_transformers(folders, copy_of, monkeypatch, name):
    from transformers import PretrainedConfig

    folder = copy_of(name)
    before = fingerprint(folder, modality(name))
    edit_json(folder / "config.json", transformers_version="99.0", dtype="float16", _name_or_path="elsewhere")
    as_now = PretrainedConfig.to_dict
    monkeypatch.setattr(PretrainedConfig, "to_dict", lambda config: as_now(config) | {"setting_of_next_year": 1})
    assert fingerprint(folder, modality(name)) == before
    edit_json(folder / "config.json", layer_norm_eps=0.1, activation_function="relu")
    assert fingerprint(folder, modality(name)) != before


@pytest.mark.parametrize("name", ["wav2vec2-base", "hubert-base", "wavlm-base", "data2vec-audio"])
def test_a_model_without_the_mask_vector_of_spec_augment_is_the_same_encoder(folders, copy_of, name):
    folder = copy_of(name)  # as facebook/wav2vec2-base-960h comes
    weights = load_file(folder / "model.safetensors")
    kept = {key: tensor for key, tensor in weights.items() if "masked_spec_embed" not in key}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    assert fingerprint(folder, "audio") == fingerprint(folder, "audio") == fingerprint(folders[name], "audio")


def test_the_fingerprint_follows_how_an_utterance_becomes_numbers(copy_of):
    loud, words = copy_of("wav2vec2-base"), copy_of("bert")
    before = fingerprint(loud, "audio", -1), fingerprint(words, "text", -1)
    edit_json(loud / "preprocessor_config.json", do_normalize=False)
    rules = json.loads((words / "tokenizer.json").read_text("utf-8"))
    rules["model"]["vocab"]["open"], rules["model"]["vocab"]["door"] = (
        rules["model"]["vocab"]["door"],
        rules["model"]["vocab"]["open"],
    )
    (words / "tokenizer.json").write_text(json.dumps(rules), "utf-8")
    assert fingerprint(loud, "audio", -1) != before[0]
    assert fingerprint(words, "text", -1) != before[1]


def test_batch_norm_never_learns_from_a_batch(folders):
    encoder = build_encoder(str(folders["hubert-batch-norm"]), "audio", EncoderConfig(trainable_layers=-1))
    norm = encoder.backbone.model.encoder.pos_conv_embed.batch_norm
    before = norm.running_mean.clone()
    encoder(encoder.trunk(items("hubert-batch-norm")))
    assert torch.equal(norm.running_mean, before)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("./nowhere", "audio", "encoder folder './nowhere' does not exist; give 'demo'"),
        ("/nowhere/at/all", "text", "does not exist"),
        ("", "text", "does not exist"),
        ("demo", "video", "modality 'video': give 'audio' or 'text'"),
    ],
)
def test_a_wrong_name_is_an_error(name, kind, message):
    with pytest.raises(InputError, match=message):
        build_encoder(name, kind)


def test_a_folder_without_a_config_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json in it; give a folder made by save_pretrained"):
        build_encoder(str(tmp_path), "audio")


def test_a_family_of_the_other_modality_is_an_error(folders):
    with pytest.raises(
        InputError, match=r"'bert', which reads text; as audio encoder the kit knows: whisper, wav2vec2"
    ):
        build_encoder(str(folders["bert"]), "audio")
    with pytest.raises(InputError, match=r"'whisper', which reads audio; as text encoder the kit knows: bert, roberta"):
        build_encoder(str(folders["whisper"]), "text")


@pytest.mark.parametrize("kind", ["gpt2", "no-such-family"])
def test_an_unsupported_family_is_an_error(tmp_path, kind):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}), "utf-8")
    with pytest.raises(InputError, match=kind) as error:
        build_encoder(str(tmp_path), "text")
    assert str(tmp_path) in str(error.value)


def test_every_family_is_tested(folders):
    kinds = {json.loads((folder / "config.json").read_text("utf-8"))["model_type"] for folder in folders.values()}
    assert kinds == set(FAMILIES)


def test_pickled_weights_are_refused(copy_of):
    folder = copy_of("bert")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"cannot be loaded: .*weights as pickle \(\.bin\) are not read"):
        build_encoder(str(folder), "text")


@pytest.mark.parametrize("missing", ["tokenizer.json", "model.safetensors"])
def test_a_text_folder_without_a_file_is_an_error(copy_of, missing):
    folder = copy_of("bert")
    (folder / missing).unlink()
    with pytest.raises(InputError, match="cannot be loaded"):
        build_encoder(str(folder), "text")


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_an_audio_folder_without_a_readable_extractor_is_an_error(copy_of, content):
    folder = copy_of("whisper")
    path = folder / "preprocessor_config.json"
    path.unlink() if content is None else path.write_text(content, "utf-8")
    with pytest.raises(InputError, match="cannot be loaded"):
        build_encoder(str(folder), "audio")


def test_damaged_weights_are_an_error(copy_of):
    folder = copy_of("bert")
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="cannot be loaded"):
        build_encoder(str(folder), "text")


def test_weights_that_lack_a_tensor_are_an_error_and_not_random(copy_of):
    folder = copy_of("bert")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "layer.1.output.dense.weight" in name)
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lack 1 tensors .* such as encoder\.layer\.1\.output\.dense\.weight"):
        build_encoder(str(folder), "text")


def test_another_sampling_rate_is_an_error(copy_of):
    folder = copy_of("hubert-base")
    edit_json(folder / "preprocessor_config.json", sampling_rate=8000)
    with pytest.raises(InputError, match="wants 8000 samples a second; the kit works at 16000"):
        build_encoder(str(folder), "audio")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trainable_layers": 4}, r"trainable_layers=4: this audio encoder has 3 transformer layers; give 0 "),
        ({"trainable_layers": -2}, r"trainable_layers = -2 is out of range"),
        ({"view_depth": 1}, r"view_depth=1: 0 layers are trainable"),
        ({"trainable_layers": 2, "view_depth": 3}, r"view_depth=3: 2 layers are trainable"),
        ({"trainable_layers": -1, "view_depth": -1}, r"view_depth = -1 is out of range"),
        ({"depth": 0}, r"depth=0: encoder .* has 3 layers"),
        ({"depth": 4}, r"depth=4: encoder .* has 3 layers"),
        ({"depth": 1, "trainable_layers": 2}, r"trainable_layers=2: this audio encoder has 1 transformer layer"),
        ({"head_width": 48}, r"head_width = 48: it must be a multiple of 32"),
        ({"head_width": 0}, r"head_width = 0 is out of range: it must be at least 32"),
        ({"head_layers": 0}, r"head_layers = 0 is out of range: it must be at least 1"),
        ({"dropout": 1.0}, r"dropout=1\.0: give a rate from 0"),
        ({"dropout": -0.1}, r"dropout=-0\.1: give a rate from 0"),
        ({"dropout": float("nan")}, r"dropout=nan: give a rate from 0"),
    ],
)
def test_a_number_that_does_not_fit_is_an_error(folders, options, message):
    with pytest.raises(InputError, match=message):
        built(folders["whisper"], "audio", **options)


@pytest.mark.parametrize("name", AUDIO)
def test_the_shortest_clip_works_and_a_shorter_one_is_an_error(folders, name):
    encoder = build_encoder(str(folders[name]), "audio", EncoderConfig(trainable_layers=-1))
    shortest = encoder.backbone.shortest
    whole = clip(1.0)
    assert encoder(encoder.trunk([whole[:shortest]])).pooled.isfinite().all()
    with pytest.raises(InputError, match=rf"utterance 2 of 2: found {shortest - 1} samples .* at least {shortest}"):
        encoder.trunk([whole, whole[: shortest - 1]])
    with pytest.raises(InputError, match="utterance 1 of 1: found 0 samples"):
        encoder.trunk([whole[:0]])


@pytest.mark.parametrize("trainable_layers", [0, 1, -1])
def test_bad_clips_are_errors_that_say_which(folders, trainable_layers):
    encoder = build_encoder(str(folders["hubert-base"]), "audio", EncoderConfig(trainable_layers=trainable_layers))
    good = clip(0.3)
    for value in (np.nan, np.inf, -np.inf):
        bad = good.copy()
        bad[7] = value
        with pytest.raises(InputError, match="utterance 2 of 3: found samples that are NaN or infinite"):
            encoder.trunk([good, bad, good])
    with pytest.raises(InputError, match=r"of 1: found float32 array of shape \(2, 4800\), expected one channel"):
        encoder.trunk([np.stack([good, good])])
    with pytest.raises(InputError, match="found int16 array"):
        encoder.trunk([(good * 1000).astype(np.int16)])
    with pytest.raises(InputError, match="found str, expected one channel"):
        encoder.trunk([SHORT_TEXT])
    with pytest.raises(InputError, match="found an empty list, expected at least one clip or transcript"):
        encoder.trunk([])


def test_double_precision_clips_are_taken_too(folders):
    encoder = build_encoder(str(folders["whisper"]), "audio")
    assert torch.equal(encoder.trunk([clip(0.3).astype(np.float64)]).sequence, encoder.trunk([clip(0.3)]).sequence)


def test_silence_has_a_finite_embedding(folders):
    for name in AUDIO:
        encoder = build_encoder(str(folders[name]), "audio", EncoderConfig(trainable_layers=-1))
        assert encoder(encoder.trunk([np.zeros(8000, np.float32)])).pooled.isfinite().all(), name


def test_whisper_takes_what_its_positions_reach_and_not_more(folders):
    encoder = build_encoder(str(folders["whisper"]), "audio")  # 200 positions of 20 ms
    assert encoder.trunk([clip(4.0)]).mask.shape == (1, 25)
    with pytest.raises(InputError, match=r"utterance 1 of 1: found 4\.1 s, this Whisper takes at most 4\.0 s"):
        encoder.trunk([clip(4.1)])


def test_bad_transcripts_are_errors(folders):
    encoder = build_encoder(str(folders["bert"]), "text")
    with pytest.raises(InputError, match="utterance 2 of 2: found NoneType, expected a transcript: a str"):
        encoder.trunk([SHORT_TEXT, None])
    with pytest.raises(InputError, match="found an empty list"):
        encoder.trunk([])
    assert encoder(encoder.trunk([""])).pooled.isfinite().all()  # the two marks are left


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "deberta", "deberta-v2", "deberta-v3"])
def test_a_long_transcript_is_cut_with_a_warning(folders, caplog, name):
    encoder = build_encoder(str(folders[name]), "text")
    caplog.set_level(logging.WARNING, "turbo_kit")
    assert encoder.trunk([LONG_TEXT]).mask.shape[1] < 64 and not caplog.records
    exactly = " ".join(["door"] * 62)
    assert encoder.trunk([exactly]).mask.shape == (1, 64) and not caplog.records
    assert encoder.trunk([exactly + " door"]).mask.shape == (1, 64)
    assert "was cut to its first 64 tokens" in caplog.text
    assert encoder(encoder.trunk([exactly])).pooled.isfinite().all()


def test_the_global_state_of_transformers_is_left_as_it_was(folders):
    from transformers.utils import logging as their_logging

    before = their_logging.get_verbosity(), their_logging.is_progress_bar_enabled()
    build_encoder(str(folders["bert"]), "text")
    assert (their_logging.get_verbosity(), their_logging.is_progress_bar_enabled()) == before


def test_a_folder_may_be_moved(folders, tmp_path):
    moved = shutil.copytree(folders["whisper"], tmp_path / "elsewhere")
    assert fingerprint(moved, "audio") == fingerprint(folders["whisper"], "audio")


def test_the_embedded_weights_are_small_enough_and_readable():
    files = [path for path in WEIGHTS.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) <= 30e6
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in files)
