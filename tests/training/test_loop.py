import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from slow_cases import slow

from turbo_kit import InputError, RunConfig, Utterance, evaluate, train
from turbo_kit.corpora.corpus import Fold
from turbo_kit.corpora.utterance import UNLABELLED
from turbo_kit.model import TurboModel
from turbo_kit.objectives import Objective
from turbo_kit.runs import Run
from turbo_kit.training.loop import DIVERGED, development_outputs
from turbo_kit.training.optimizer import build_optimizer
from turbo_kit.training.setup import _class_weights, _visible_labels, build_objective, prepare
from turbo_kit.training.trainer import Trainer


@pytest.fixture(scope="module")
def fold(tones_corpus):
    return tones_corpus.fold(0)


def test_a_run_learns_and_its_folder_holds_all_it_produced(quick, fold, tmp_path):
    run = train(quick(epochs=10), fold.train, fold.dev, tmp_path)
    assert run.trained
    assert not run.done
    with pytest.raises(InputError, match="no predictions of 'test'"):
        run.predictions("test")
    scores = evaluate(run, fold.test)
    files = (
        "DONE checkpoint config.json embeddings.safetensors fold.json history.parquet predictions.parquet result.json"
    )
    assert sorted(path.name for path in run.folder.iterdir()) == files.split()
    assert scores["UA"] > 0.9  # the classes are plain in both modalities
    assert scores == run.result["metrics"]["test"]
    assert run.config == quick(epochs=10)
    assert run.result["status"] == "done"
    assert set(run.fold) == {"train", "dev", "test"}

    history, predictions = run.history, run.predictions("test")
    assert history["epoch"].tolist() == list(range(1, len(history) + 1))
    assert {"train_loss", "term.cross_entropy", "term.a1-a2", "term.a2-t2", "dev_loss", "dev_UA"} <= set(history)
    assert predictions["id"].tolist() == [u.id for u in fold.test.utterances]
    assert (predictions["predicted"] == predictions["label"]).mean() == pytest.approx(scores["WA"])
    assert len(run.embeddings("dev")["audio"]) == len(fold.dev)


def test_the_total_is_the_weighted_sum_of_the_terms(quick, fold, tmp_path):
    history = train(quick(contrastive_weight=0.5, normalize_pairs=True), fold.train, fold.dev, tmp_path).history
    pairs = [f"term.{pair}" for pair in ("a1-a2", "t1-t2", "a1-t1", "a1-t2", "a2-t1", "a2-t2")]
    expected = history["term.cross_entropy"] + 0.5 * history[pairs].mean(axis=1)
    np.testing.assert_allclose(history["train_loss"], expected, rtol=1e-5)


def test_the_best_epoch_is_the_first_with_the_highest_development_score_and_its_weights_are_kept(quick, fold, tmp_path):
    labels = [u.label for u in fold.train.utterances]
    wrong = [
        replace(u, label=label) for u, label in zip(fold.train.utterances, [*labels[5:], *labels[:5]], strict=True)
    ]
    run = train(
        quick(epochs=12, patience=3), fold.train.subset(wrong), fold.dev, tmp_path
    )  # so that scores go up and down
    history, best = run.history, run.result["best_epoch"]
    assert best == history["epoch"][history["dev_UA"].idxmax()]
    assert len(history) == best + 3 < 12
    assert history["dev_UA"].iloc[-1] < history["dev_UA"].max()
    assert run.result["metrics"]["dev"]["UA"] == pytest.approx(history["dev_UA"].max())
    again = run.model().predict([u.path for u in fold.dev.utterances], [u.text for u in fold.dev.utterances])
    assert again["label"].tolist() == run.predictions("dev")["predicted"].tolist()


def test_the_same_config_gives_the_same_run_and_another_seed_another(quick, fold, tmp_path):
    first = train(quick(), fold.train, fold.dev, tmp_path / "one")
    torch.rand(7)  # what happened before is of no matter
    again = train(quick(), fold.train, fold.dev, tmp_path / "two")
    other = train(quick(seed=1), fold.train, fold.dev, tmp_path / "one")
    assert first.folder.name == again.folder.name
    assert first.predictions("dev").equals(again.predictions("dev"))
    assert not first.predictions("dev").equals(other.predictions("dev"))


def test_a_run_that_is_there_is_not_trained_again_unless_asked(quick, fold, tmp_path):
    run = train(quick(), fold.train, fold.dev, tmp_path)
    evaluate(run, fold.test)
    stamp = (run.folder / "result.json").stat().st_mtime_ns
    assert train(quick(), fold.train, fold.dev, tmp_path) == run
    assert evaluate(run, fold.test) == run.result["metrics"]["test"]
    assert (run.folder / "result.json").stat().st_mtime_ns == stamp
    train(quick(), fold.train, fold.dev, tmp_path, again=True)
    assert not run.done  # a new training has not been tested


def test_test_clips_are_predicted_once_and_never_leak(quick, fold, tones_corpus, tmp_path):
    run = train(quick(), fold.train, fold.dev, tmp_path)
    for leak, named in ((fold.dev, "id 'clip12'"), (fold.train, "id 'clip24'")):
        with pytest.raises(InputError, match=f"leak: {named}"):
            evaluate(run, leak)
    stranger = replace(fold.test.utterances[0], speaker="speaker2", template="")
    with pytest.raises(InputError, match="leak: speaker 'speaker2'"):
        evaluate(run, fold.test.subset([stranger]))
    assert not run.done
    evaluate(run, fold.test)
    with pytest.raises(InputError, match="a run is tested once"):
        evaluate(run, fold.test.subset(fold.test.utterances[:3]))


@pytest.mark.parametrize("objective", ["ce", "ce-2pass", "r-drop", "simcse", "simcse-audio", "clip", "cross-modal"])
def test_every_preset_trains(quick, fold, tmp_path, objective):
    history = train(quick(objective=objective, epochs=1), fold.train, fold.dev, tmp_path).history
    assert np.isfinite(history["train_loss"]).all()


@pytest.mark.parametrize(
    "changes",
    [
        slow({"trainable_layers": 1}),
        {"trainable_layers": 2, "view_depth": 1},
        slow({"trainable_layers": -1}),
        slow({"text": "none", "objective": "simcse-audio"}),
        {"audio": "none", "objective": "ce-2pass"},
        slow({"fusion": "gated", "temperature": "learned"}),
        {"fusion": "cross-attention", "modality_dropout": 0.3},
        {"layer_mix": True, "pooling": "attentive", "modality_dropout": 0.3},
        slow({"trainable_layers": 1, "pooling": "attentive", "fusion": "gated"}),
        {"accumulate": 3, "class_weighting": "balanced", "exclude": "transcript"},
        slow({"projection": 0, "negatives": "both"}),
        {"precision": "bf16-mixed"},
    ],
)
def test_every_way_of_training_works_from_train_to_prediction(quick, fold, tmp_path, changes):
    run = train(quick(epochs=1, **changes), fold.train, fold.dev, tmp_path)
    assert evaluate(run, fold.test)["UA"] is not None
    given = {}
    if changes.get("audio") != "none":
        given["audio_paths"] = [u.path for u in fold.test.utterances]
    if changes.get("text") != "none":
        given["texts"] = [u.text for u in fold.test.utterances]
    predicted = run.model().predict(**given)["label"].tolist()
    assert predicted == run.predictions("test")["predicted"].tolist()


def test_only_what_should_move_moves(quick, fold, tmp_path):
    config = quick(epochs=1, trainable_layers=1)
    torch.manual_seed(0)
    before = TurboModel.from_config(config, fold.train.classes).state_dict()
    after = train(config, fold.train, fold.dev, tmp_path).model().state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("encoders.audio.backbone.model.layers.1.") for name in moved)
    assert any(name.startswith("encoders.text.backbone.model.encoder.layer.2.") for name in moved)
    for frozen in ("model.layers.0.", "model.conv1", "model.embeddings", "encoder.layer.0.", "encoder.layer.1."):
        assert not any(frozen in name for name in moved)


def test_the_weights_of_a_layer_mix_are_learnt_and_told(quick, fold, tmp_path):
    run = train(quick(objective="ce", layer_mix=True), fold.train, fold.dev, tmp_path)
    told = run.result["layer_weights"]
    assert told == run.model().layer_weights and told.keys() == {"audio", "text"}
    for weights in told.values():  # of audio 2 layers, of text 3, and the embeddings
        assert sum(weights) == pytest.approx(1) and max(weights) > 1.05 * min(weights)
    assert run.history["learning_rate"].max() <= run.config.learning_rate


def test_learning_rates_and_decay_follow_what_a_parameter_is(fold):
    knobs = {"trainable_layers": 1, "temperature": "learned", "pooling": "attentive"}
    config = RunConfig(**knobs, learning_rate=1e-3, encoder_learning_rate=1e-5)
    model = TurboModel.from_config(config, fold.train.classes)
    objective = build_objective(config, fold.train.labels, 3)
    optimizer, schedule = build_optimizer(config.training, model, objective, steps=100)
    named = {id(p): n for n, p in [*model.named_parameters(), *objective.named_parameters()]}
    found = {named[id(p)]: (g["initial_lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert found["classifier.weight"] == (1e-3, 0.01)
    assert found["classifier.bias"] == (1e-3, 0.0)
    assert found["logit_scale"] == (1e-3, 0.0)
    assert found["encoders.audio.backbone.model.layers.1.fc1.weight"] == (1e-5, 0.01)
    assert found["encoders.audio.pooling.project.weight"] == (1e-3, 0.01)
    assert len(found) == sum(p.requires_grad for p in [*model.parameters(), *objective.parameters()])

    rates = []
    for _ in range(100):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[9] == max(rates) == 1e-3
    assert rates[0] == pytest.approx(1e-4)
    assert rates[-1] < 1e-6


def test_a_model_that_can_do_without_a_modality_is_tested_so(quick, fold, tmp_path):
    run = train(quick(modality_dropout=0.4, epochs=8), fold.train, fold.dev, tmp_path)
    evaluate(run, fold.test)
    tables = {name: run.predictions(name) for name in ("test", "test without audio", "test without text")}
    for name, table in tables.items():
        assert table["id"].tolist() == [u.id for u in fold.test.utterances]
        score = (table["predicted"] == table["label"]).mean()
        assert run.result["metrics"][name]["WA"] == pytest.approx(score)
    model, texts = run.model(), [u.text for u in fold.test.utterances]
    np.testing.assert_allclose(tables["test without audio"]["p_high"], model.predict(texts=texts)["p_high"], atol=1e-5)
    assert not np.allclose(tables["test without text"]["p_high"], tables["test"]["p_high"], atol=1e-3)


def test_labels_are_hidden_from_the_classifier_by_class(fold):
    labels = _visible_labels(fold.train, RunConfig(label_fraction=0.25))
    kept = [label for label in labels if label != UNLABELLED]
    assert len(labels) == len(fold.train)
    assert np.bincount(kept).tolist() == [2, 2, 2]
    assert all(hidden in (UNLABELLED, true) for hidden, true in zip(labels, fold.train.labels, strict=True))
    with pytest.raises(InputError, match="has a label"):
        _visible_labels(fold.train.subset(replace(u, label=None) for u in fold.train.utterances), RunConfig())


def test_class_weights_are_inverse_to_how_often_a_class_is_seen():
    weights = _class_weights([0, 0, 0, 1, UNLABELLED], 3)
    torch.testing.assert_close(weights, torch.tensor([4 / 6, 4 / 2, 0.0]))


def test_unlabelled_clips_take_part_in_the_contrastive_terms(quick, fold, tmp_path):
    half = [replace(u, label=None) if i % 2 else u for i, u in enumerate(fold.train.utterances)]
    labelled = [u for u in half if u.label]
    config = quick(epochs=1, batch_size=24, temperature=10.0)  # so warm that the loss is log of the number of clips
    with_all = train(config, fold.train.subset(half), fold.dev, tmp_path).history
    few = train(config, fold.train.subset(labelled), fold.dev, tmp_path).history
    assert with_all["term.a1-t1"][0] == pytest.approx(np.log(24), rel=0.02)
    assert few["term.a1-t1"][0] == pytest.approx(np.log(12), rel=0.02)
    assert np.isfinite(with_all["term.cross_entropy"]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "turbo", "text": "none"}, "'turbo' compares views of 't'"),
        ({"objective": "trubo"}, "did you mean 'turbo'"),
        ({"pair_weights": {"a1-x1": 1.0}}, "compares views of 'x'"),
        ({"trainable_layers": 9}, "transformer layers"),
        ({"audio": "/nowhere"}, "does not exist"),
    ],
)
def test_what_cannot_be_trained_is_an_error_and_leaves_nothing(quick, fold, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        train(quick(**changes), fold.train, fold.dev, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_runs_away_stops_in_its_first_epoch(quick, fold, tmp_path):
    with pytest.raises(InputError, match=r"nan in batch 2 of epoch 1 \(not finite: cross_entropy, a1-a2") as caught:
        train(quick(learning_rate=1e30, clip_norm=0.0), fold.train, fold.dev, tmp_path)
    (folder,) = tmp_path.iterdir()
    assert [path.name for path in folder.iterdir()] == [DIVERGED]  # no epoch came to its end: there is no model to keep
    assert str(folder / DIVERGED) in str(caught.value)


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_a_term_that_is_not_finite_is_named_with_its_clips_and_the_best_model_is_kept(
    quick, fold, tmp_path, monkeypatch, clip_norm
):
    config = quick(epochs=9, patience=0, clip_norm=clip_norm)
    computed, calls = Objective.forward, []

    def broken(self, *arguments, **options):
        """From the second batch of the eighth epoch on, one pair's loss is NaN."""
        out = computed(self, *arguments, **options)
        calls.append(1)
        if len(calls) < 23:
            return out
        nan = out.terms["t1-t2"] * torch.nan
        return out._replace(total=out.total + nan, terms={**out.terms, "t1-t2": nan})

    monkeypatch.setattr(Objective, "forward", broken)
    with pytest.raises(InputError) as caught:
        train(config, fold.train, fold.dev, tmp_path / "runs")
    found = re.fullmatch(
        r"the loss is nan in batch 2 of epoch 8 \(not finite: t1-t2; clips (\w+), (\w+), (\w+) and 5 more\): lower "
        r"learning_rate, or raise temperature. All of them are named in (.+diverged.json). The model of epoch (\d), "
        r"the best one, is kept in (.+checkpoint).",
        str(caught.value),
    )
    assert found, str(caught.value)
    batches = prepare(config, fold.train, fold.dev).batches
    assert list(found.groups()[:3]) == batches.clips(8, 2)[:3]
    facts = json.loads(Path(found[4]).read_text())
    assert facts == {"epoch": 8, "batch": 2, "loss": "nan", "terms": ["t1-t2"], "clips": batches.clips(8, 2)}
    model = TurboModel.from_pretrained(found[6])
    assert all(torch.isfinite(value).all() for value in model.trained_state().values())
    table = model.predict([u.path for u in fold.dev.utterances], [u.text for u in fold.dev.utterances])
    assert (table["label"] == [u.label for u in fold.dev.utterances]).mean() > 0.5
    assert not Run(Path(found[6]).parent).trained  # nobody takes it for a training that came to its end


def test_a_clip_that_breaks_leaves_no_run(quick, fold, tmp_path):
    (tmp_path / "clip.wav").write_bytes(b"not audio")
    broken = Utterance("broken", tmp_path / "clip.wav", "text", "high", "speaker4")
    with pytest.raises(InputError, match=r"clip.wav \(utterance 'broken'\)"):
        train(quick(), fold.train.subset([*fold.train.utterances, broken]), fold.dev, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def two_classes(fold):
    """The fold without its third class: of low and high, high is the positive one."""

    def two(part):
        clips = [u for u in part.utterances if u.label != "middle"]
        return replace(part, utterances=tuple(clips), classes=("low", "high"))

    return Fold(two(fold.train), two(fold.dev), two(fold.test))


def test_of_two_classes_the_development_eer_chooses_the_epoch(quick, two_classes, tmp_path):
    run = train(quick(epochs=4, patience=0), two_classes.train, two_classes.dev, tmp_path)
    scores = evaluate(run, two_classes.test)
    assert {"EER", "ROC_AUC"} <= set(scores)
    assert run.result["metrics"]["dev"]["EER"] == pytest.approx(run.history["dev_EER"].min())


def test_of_two_classes_development_chooses_the_threshold_and_test_never(quick, two_classes, tmp_path):
    config = quick(epochs=1, false_accept_rate=0.3, modality_dropout=0.3)
    wrong = two_classes.test.subset(
        replace(u, label="low" if u.label == "high" else "high") for u in two_classes.test.utterances
    )
    found = {}
    for name, test in (("right", two_classes.test), ("wrong", wrong)):
        run = train(config, two_classes.train, two_classes.dev, tmp_path / name)
        evaluate(run, test)
        found[name] = run
    for run in found.values():
        dev = run.predictions("dev")
        threshold = run.result["metrics"]["dev"]["threshold"]
        assert threshold == lowest_threshold(dev["label"] == "high", dev["p_high"], 0.3)
        for split in ("test", "test without audio", "test without text"):
            table, told = run.predictions(split), run.result["metrics"][split]["at_threshold"]
            accepted, positive = table["p_high"] >= threshold, table["label"] == "high"
            assert (told["threshold"], told["target"]) == (threshold, 0.3)
            assert told["false_accept_rate"] == accepted[~positive].mean()
            assert told["false_reject_rate"] == 1 - accepted[positive].mean()
            assert told["accuracy"] == pytest.approx((accepted == positive).mean())
    right, wrong = (run.result["metrics"]["test"]["at_threshold"] for run in found.values())
    assert right["threshold"] == wrong["threshold"]
    assert wrong["accuracy"] == pytest.approx(1 - right["accuracy"])
    card = (found["right"].folder / "checkpoint" / "README.md").read_text()
    assert f"accept a clip as **high** where that column is\nat least {right['threshold']:.6g}" in card
    assert f"| test false accept rate at the threshold | {right['false_accept_rate']:.3f} |" in card


def lowest_threshold(positive, score, share):
    """The lowest score that accepts no more than this share of the negative clips, and none where there is none."""
    fitting = [value for value in sorted(score) if (score[~positive] >= value).mean() <= share]
    return fitting[0] if fitting else np.nextafter(score.max(), np.inf)


def test_of_more_classes_there_is_no_threshold(quick, fold, tmp_path):
    run = train(quick(epochs=1), fold.train, fold.dev, tmp_path)
    assert "at_threshold" not in evaluate(run, fold.test)
    assert "threshold" not in run.result["metrics"]["dev"]
    assert "false accepts" not in (run.folder / "checkpoint" / "README.md").read_text()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_trains_in_bf16(quick, fold, tmp_path):
    run = train(quick(device="cuda", epochs=10), fold.train, fold.dev, tmp_path)
    assert run.result["device"].startswith("cuda")
    assert evaluate(run, fold.test)["UA"] > 0.9


def test_epoch_embeddings_show_how_development_clips_moved(quick, fold, tmp_path):
    run = train(quick(epoch_embeddings=True, patience=0), fold.train, fold.dev, tmp_path)
    epochs, table, embeddings = run.epochs(), run.predictions("dev"), run.embeddings("dev")
    assert set(epochs) == {"audio", "text", "predicted"}
    assert epochs["predicted"].shape == (4, len(table))
    assert epochs["audio"].shape == (4, *embeddings["audio"].shape)
    best = run.result["best_epoch"]
    for modality in ("audio", "text"):
        np.testing.assert_allclose(epochs[modality][best], embeddings[modality], atol=1e-6)
        assert not np.allclose(epochs[modality][0], epochs[modality][1])
    classes = np.array(run.result["classes"])
    assert classes[epochs["predicted"][best]].tolist() == table["predicted"].tolist()


def test_a_run_without_epoch_embeddings_says_how_to_get_them(quick, fold, tmp_path):
    run = train(quick(epochs=1), fold.train, fold.dev, tmp_path)
    with pytest.raises(InputError, match="epoch_embeddings=True"):
        run.epochs()


def test_epoch_embeddings_change_no_result(quick, fold, tmp_path):
    runs = [train(quick(epoch_embeddings=kept), fold.train, fold.dev, tmp_path) for kept in (False, True)]
    one, other = (run.history.drop(columns="seconds") for run in runs)
    assert one.equals(other)


def test_training_can_be_watched_step_by_step_without_changing_it(quick, fold, tmp_path):
    config = quick(epochs=2, patience=0)
    watched: list[float] = []
    ready = prepare(config, fold.train, fold.dev)
    for step in Trainer(ready):
        development_outputs(ready)  # leaves the model in evaluation mode
        watched.append(float(step.losses["train_loss"]))
    history = train(config, fold.train, fold.dev, tmp_path).history
    means = np.array(watched).reshape(2, -1).mean(axis=1)
    np.testing.assert_allclose(means, history["train_loss"], rtol=1e-6)


@pytest.mark.slow  # the compiler takes a minute, however short the training
def test_compiling_changes_nothing_but_rounding(quick, fold, tmp_path):
    configs = [quick(compile=compiled, chunk_size=5, modality_dropout=0.2) for compiled in (False, True)]
    one, other = (train(config, fold.train, fold.dev, tmp_path).history for config in configs)
    np.testing.assert_allclose(one.drop(columns="seconds"), other.drop(columns="seconds"), rtol=2e-4, atol=1e-6)


def test_compiling_without_a_compiler_is_an_error(quick, fold, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(InputError, match=r"compile = True needs a C\+\+ compiler"):
        train(quick(compile=True), fold.train, fold.dev, tmp_path)
