"""Runs on transcripts as they would be in use, and their tests with noise in one modality."""

import numpy as np
import pytest

from turbo_kit import evaluate, load_fold, train


def trained(config, folder):
    fold = load_fold(config)
    run = train(config, fold.train, fold.dev, folder)
    return run, evaluate(run, fold.test)


@pytest.fixture(scope="module")
def plain_and_tested(tones, tmp_path_factory):
    """A run that is tested as it is, and the same one that is tested under noise too."""
    from turbo_kit import RunConfig

    small = {"corpus": f"manifest:{tones}", "epochs": 8, "batch_size": 8, "head_width": 32, "projection": 16}
    folder = tmp_path_factory.mktemp("runs")
    under = {"tested_word_errors": [0.5, 1.0], "tested_snr": [30, -20]}
    configs = [RunConfig(**small, device="cpu", modality_dropout=0.3, **more) for more in ({}, under)]
    return [trained(config, folder)[0] for config in configs]


def test_a_run_is_tested_under_the_noise_that_its_config_names(plain_and_tested):
    plain, run = plain_and_tested
    splits = ["test at 50 % word errors", "test at 100 % word errors", "test at 30 dB SNR", "test at -20 dB SNR"]
    assert list(run.result["metrics"]) == ["dev", "test", "test without audio", "test without text", *splits]
    clean = run.predictions("test")
    for split in splits:
        table, scores = run.predictions(split), run.result["metrics"][split]
        assert table["id"].tolist() == clean["id"].tolist()
        assert scores["WA"] == pytest.approx((table["label"] == table["predicted"]).mean())
        assert "geometry" not in scores
        assert not np.allclose(table["p_high"], clean["p_high"], atol=1e-4)
    assert clean.equals(plain.predictions("test"))  # what else is tested changes nothing
    with pytest.raises(Exception, match="no embeddings"):
        run.embeddings(splits[0])
    assert run.result["metrics"]["test at 30 dB SNR"]["UA"] >= run.result["metrics"]["test at -20 dB SNR"]["UA"]
    assert run.predictions(splits[0])["text"].tolist() != clean["text"].tolist()
    assert run.predictions(splits[2])["text"].tolist() == clean["text"].tolist()


def test_word_error_rates_stand_in_the_result_by_list(plain_and_tested):
    plain, run = plain_and_tested
    assert plain.result["transcripts"] == {"source": "gold", "word_error_rate": {"train": 0.0, "dev": 0.0, "test": 0.0}}
    rates = run.result["transcripts"]["word_error_rate"]
    assert rates["test"] == 0.0
    assert rates["test at 50 % word errors"] == pytest.approx(0.5, abs=0.15)
    assert rates["test at 100 % word errors"] == pytest.approx(1, abs=0.1)
    assert "test at 30 dB SNR" not in rates


def test_without_any_text_a_run_does_as_well_as_one_of_audio_alone(quick, tmp_path):
    run, scores = trained(quick(transcripts="empty", epochs=10), tmp_path)
    _, alone = trained(quick(text="none", objective="simcse-audio", epochs=10), tmp_path)
    assert scores["UA"] == pytest.approx(alone["UA"], abs=0.1) and scores["UA"] > 0.8
    assert set(run.result["transcripts"]["word_error_rate"].values()) == {1.0}
    assert set(run.predictions("test")["text"]) == {""}


def test_each_condition_of_the_lists_makes_another_run_and_another_tested_level_too(quick, tmp_path):
    changes = ({}, {"transcripts": "empty"}, {"word_errors": 0.3}, {"snr": 0}, {"tested_snr": [0]})
    folders = set()
    for change in changes:
        config = quick(epochs=1, **change)
        fold = load_fold(config)
        folders.add(train(config, fold.train, fold.dev, tmp_path).folder)
    assert len(folders) == len(changes)
