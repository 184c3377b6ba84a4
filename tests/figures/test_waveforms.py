"""The figures of clips, and of models and speakers side by side, show their own numbers on axes that compare."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from torchaudio.transforms import MelSpectrogram

from turbo_kit import InputError
from turbo_kit.corpora.decoding import decode
from turbo_kit.figures import clip_measures, confusions, speaker_differences, waveform_and_mel
from turbo_kit.figures.waveforms import HOP, MEL_BINS, STEP, WINDOW, log_mel


@pytest.fixture
def clips(tones_corpus):
    return {u.label: u for u in tones_corpus.utterances[:3]}


def test_each_clip_is_a_column_of_its_own_samples_on_shared_axes(clips):
    figure = waveform_and_mel(clips)
    above, below = figure.axes[:3], figure.axes[3:]
    assert [axes.get_title(loc="left") for axes in above] == list(clips)
    for axes, clip in zip(above, clips.values(), strict=True):
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), decode(clip))
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    assert len({axes.get_ylim() for axes in above}) == len({axes.get_ylim() for axes in below}) == 1
    assert len({axes.collections[0].get_clim() for axes in below}) == 1


def test_the_mel_spectrogram_is_brightest_where_the_tone_is(clips):
    rows = {}
    for name, clip in clips.items():
        mel = log_mel(decode(clip))
        assert mel.shape == (MEL_BINS, len(decode(clip)) // HOP + 1)
        rows[name] = int(mel.mean(axis=1).argmax())
    assert rows["low"] < rows["middle"] < rows["high"]
    shown = waveform_and_mel(clips).axes[3].collections[0].get_array()
    mel = log_mel(decode(next(iter(clips.values()))))
    assert np.abs(shown - mel).max() <= STEP


def test_the_mel_spectrogram_is_that_of_torchaudio(clips):
    wave = decode(clips["middle"])
    transform = MelSpectrogram(16000, n_fft=WINDOW, hop_length=HOP, n_mels=MEL_BINS)
    power = transform(torch.from_numpy(wave)).double().numpy()
    np.testing.assert_allclose(10 ** (log_mel(wave) / 10), np.maximum(power, 1e-10), rtol=1e-3, atol=1e-6 * power.max())


def test_a_quieter_clip_is_darker_and_not_scaled_up(clips, tmp_path):
    loud = clips["high"]
    soundfile.write(tmp_path / "quiet.wav", decode(loud) / 10, 16000, subtype="FLOAT")
    figure = waveform_and_mel({"loud": loud, "quiet": replace(loud, path=tmp_path / "quiet.wav")})
    bright, dark = (axes.collections[0].get_array().max() for axes in figure.axes[2:])
    assert bright - dark == pytest.approx(20, abs=STEP)


def test_no_clip_and_a_missing_file_are_said(clips):
    with pytest.raises(InputError, match="no clip to draw"):
        waveform_and_mel({})
    with pytest.raises(InputError, match="no such audio file"):
        waveform_and_mel({"gone": replace(clips["low"], path=clips["low"].path.with_name("gone.wav"))})


def test_measures_are_those_of_the_tone(clips):
    table = clip_measures(list(clips.values())).set_index("label")
    for name, hertz in {"middle": 300, "low": 150}.items():
        clip = clips[name]
        wave = decode(clip)
        row = table.loc[name]
        assert row["seconds"] == pytest.approx(len(wave) / 16000)
        assert row["level"] == pytest.approx(20 * np.log10(0.2 / np.sqrt(2)), abs=0.2)
        assert row["words_per_second"] == pytest.approx(len(clip.text.split()) / row["seconds"])
        assert row["pitch"] == pytest.approx(hertz, rel=0.03)


def test_differences_stand_at_their_speaker_and_value_in_the_colour_of_their_objective():
    values = pd.DataFrame({"in-modal": [0.02, -0.03], "turbo": [0.01, 0.0]}, index=["anna", "bert"])
    (axes,) = speaker_differences(values, "ce-2pass").axes
    points = [line for line in axes.lines if line.get_linestyle() == "None"]
    for line, name in zip(points, values, strict=True):
        np.testing.assert_allclose(line.get_ydata(), 100 * values[name])
        np.testing.assert_array_equal(np.round(line.get_xdata()), [0, 1])
    assert len({(line.get_color(), line.get_marker()) for line in points}) == 2
    assert [label.get_text() for label in axes.get_xticklabels()] == ["anna", "bert"]
    assert "ce-2pass" in axes.get_ylabel()


def test_each_model_has_its_own_confusion_under_its_name():
    labels = ["a", "a", "b"]
    tables = {
        name: pd.DataFrame({"label": labels, "predicted": predicted})
        for name, predicted in {"one": ["a", "b", "b"], "other": ["a", "a", "a"]}.items()
    }
    panels = {
        axes.get_title(loc="left"): [text.get_text() for text in axes.texts]
        for axes in confusions(tables, ["a", "b"]).axes
    }
    assert panels == {"one": ["1", "1", "0", "1"], "other": ["2", "0", "1", "0"]}
