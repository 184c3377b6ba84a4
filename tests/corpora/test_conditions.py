"""Transcripts made elsewhere, word errors and noise: how many, where, and that nothing leaks through them."""

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from turbo_kit import Corpus, InputError, RunConfig, Utterance, load_corpus, load_fold
from turbo_kit.ablation.plan import cached_fold
from turbo_kit.corpora.conditions import (
    SUBSTITUTES,
    Condition,
    conditions_of,
    transcript_errors,
    under_conditions,
    with_noise,
    with_transcripts,
    with_word_errors,
    word_error_rate,
)
from turbo_kit.corpora.decoding import decode
from turbo_kit.encoders.feature_cache import _keys

VOCABULARY = [f"word{i}" for i in range(200)]


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """600 clips of twelve words each, of which no sound exists."""
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("talk")
    clips = [
        Utterance(
            f"clip{i:03}", folder / f"{i}.wav", " ".join(random.choice(VOCABULARY, 12)).capitalize() + ".", "a", "s"
        )
        for i in range(600)
    ]
    return Corpus("talk", tuple(clips), ("a", "b"))


def texts(corpus):
    return [u.text for u in corpus.utterances]


def test_gold_stays_empty_has_no_words_and_both_keep_gold(talk):
    assert with_transcripts(talk, "gold") is talk
    empty = with_transcripts(talk, "empty")
    assert set(texts(empty)) == {""} and transcript_errors(empty) == 1.0
    assert [u.gold for u in empty.utterances] == texts(talk) == [u.gold for u in talk.utterances]
    assert transcript_errors(talk) == 0.0


@pytest.mark.parametrize("kind", ["column", "csv", "jsonl"])
def test_transcripts_made_elsewhere_take_the_place_of_gold(talk, tmp_path, kind):
    heard = {u.id: u.text.replace("word1", "world", 1) for u in talk.utterances[:-1]} | {talk.utterances[-1].id: ""}
    if kind == "column":
        source, corpus = "whisper", talk.subset(replace(u, extra={"whisper": heard[u.id]}) for u in talk.utterances)
    else:
        source, corpus = str(tmp_path / f"heard.{kind}"), talk
        rows = [{"id": id, "text": text} for id, text in [*heard.items(), ("another corpus' clip", "x")]]
        lines = [json.dumps(row) for row in rows]
        if kind == "csv":
            lines = ["id,text", *(f'"{row["id"]}","{row["text"]}"' for row in rows)]
        (tmp_path / f"heard.{kind}").write_text("\n".join(lines) + "\n")
    other = with_transcripts(corpus, source)
    assert texts(other) == list(heard.values())
    assert [u.gold for u in other.utterances] == texts(talk)
    assert 0 < transcript_errors(other) < 0.2


def test_clips_without_a_transcript_are_counted_and_named(talk, tmp_path):
    path = tmp_path / "heard.jsonl"
    path.write_text("".join(json.dumps({"id": u.id, "text": u.text}) + "\n" for u in talk.utterances[4:]))
    with pytest.raises(
        InputError, match=r"heard.jsonl': 4 of 600 clips .* \('clip000', 'clip001', 'clip002', \.\.\.\)"
    ):
        with_transcripts(talk, str(path))
    some = talk.subset(replace(u, extra={"asr": "x"} if u.id != "clip005" else {}) for u in talk.utterances)
    with pytest.raises(InputError, match=r"1 of 600 clips .* \('clip005'\)"):
        with_transcripts(some, "asr")
    with pytest.raises(InputError, match="clip 'clip000' has the number 2: name a column of texts"):
        with_transcripts(talk.subset(replace(u, extra={"arousal": 2.0}) for u in talk.utterances), "arousal")
    with pytest.raises(InputError, match="unknown source of transcripts 'asrr': did you mean 'asr'"):
        with_transcripts(some, "asrr")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "a"}\n', "row 1: column 'text' is missing"),
        ('{"id": "a", "text": 3}\n', "row 1: text = 3 is not a text"),
        ('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n', "row 2: id 'a' occurs twice"),
        ("[]\n", "row 1: expected a JSON object"),
    ],
)
def test_a_file_of_transcripts_that_cannot_be_used_is_named_with_its_row(talk, tmp_path, content, message):
    (tmp_path / "t.jsonl").write_text(content)
    with pytest.raises(InputError, match=f"t.jsonl, {message}"):
        with_transcripts(talk, str(tmp_path / "t.jsonl"))
    with pytest.raises(InputError, match=r"nowhere\.csv"):
        with_transcripts(talk, str(tmp_path / "nowhere.csv"))


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2, 0.4, 0.8, 1.0])
def test_the_word_error_rate_that_is_reached_is_the_one_asked_for(talk, rate):
    assert transcript_errors(with_word_errors(talk, rate)) == pytest.approx(rate, abs=0.02)


def test_half_of_the_errors_delete_and_substitutes_come_from_no_corpus(talk):
    heard = with_word_errors(talk, 0.4)
    words = Counter(word for text in texts(heard) for word in text.lower().replace(".", "").split())
    own = sum(count for word, count in words.items() if word in VOCABULARY)
    other = sum(count for word, count in words.items() if word in SUBSTITUTES)
    assert own + other == sum(words.values())
    assert own / 7200 == pytest.approx(0.6, abs=0.02) and other / 7200 == pytest.approx(0.2, abs=0.02)
    assert len([word for word in words if word in SUBSTITUTES]) > 0.9 * len(SUBSTITUTES)


def test_a_word_is_never_substituted_by_itself(talk):
    same = talk.subset(replace(u, text=" ".join(SUBSTITUTES[:12])) for u in talk.utterances)
    kept = [text.split() for text in texts(with_word_errors(same, 1.0)) if len(text.split()) == 12]
    heard = texts(with_word_errors(same.subset(replace(u, text="A") for u in same.utterances), 1.0))
    assert "a" not in heard and not kept


def test_the_errors_of_a_clip_are_its_own_whatever_list_it_is_in_and_grow_with_the_rate(talk):
    whole = dict(zip([u.id for u in talk.utterances], texts(with_word_errors(talk, 0.3)), strict=True))
    part = with_word_errors(talk.subset(talk.utterances[40:7:-3]), 0.3)
    assert texts(part) == [whole[u.id] for u in part.utterances]
    assert texts(with_word_errors(talk, 0.3, seed=1)) != list(whole.values())
    for few, many in zip(whole.values(), texts(with_word_errors(talk, 0.1)), strict=True):
        left, before = (Counter(word for word in text.split() if word not in SUBSTITUTES) for text in (few, many))
        assert not left - before


def test_word_error_rate_is_all_edits_over_all_words_of_the_references():
    pairs = [("a b c d", "a x c"), ("one two", "one two three"), ("", "")]
    assert word_error_rate(pairs) == 3 / 6  # a substitution, a deletion, an insertion
    assert word_error_rate([("Yes, it's ours!", "yes it's OURS")]) == 0
    assert word_error_rate([("a", "b c d")]) == 3
    assert word_error_rate([("", "x")]) is None


def test_noise_has_the_ratio_asked_for_and_is_the_same_each_time(tones_corpus):
    clip, other = tones_corpus.utterances[:2]
    plain = decode(clip)
    for snr in (20.0, 0.0, -10.0):
        (noised,) = with_noise(tones_corpus.subset([clip]), snr).utterances
        noise = decode(noised) - plain
        assert 10 * np.log10(np.mean(plain**2) / np.mean(noise**2)) == pytest.approx(snr, abs=0.05)
        np.testing.assert_array_equal(decode(noised), decode(replace(noised, id="renamed", text="other")))
        assert decode(noised).dtype == np.float32
        spectrum = np.abs(np.fft.rfft(noise)) ** 2
        low, high = np.array_split(spectrum, 2)
        assert low.mean() / high.mean() == pytest.approx(1, abs=0.3)  # white
    one, two = (decode(replace(u, snr=0.0))[:4000] - decode(u)[:4000] for u in (clip, other))
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.1


def test_silence_stays_silent(tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16000)
    assert not decode(Utterance("a", tmp_path / "a.wav", "", None, "s", snr=0.0)).any()


def test_noise_and_gold_count_in_the_fingerprint_and_noise_in_what_features_are_kept_under(tones_corpus):
    noised = [with_noise(tones_corpus, snr) for snr in (10.0, 20.0)]
    reworded = tones_corpus.subset(replace(u, original="other") for u in tones_corpus.utterances)
    prints = {corpus.fingerprint for corpus in (tones_corpus, reworded, *noised)}
    assert len(prints) == 4
    clips = [tones_corpus.utterances[0], *(corpus.utterances[0] for corpus in noised)]
    assert len(set(_keys(clips, "audio", 30.0))) == 3 and len(set(_keys(clips, "text", 30.0))) == 1


def test_a_fold_has_what_its_config_asks_for_and_lists_that_go_by_gold(quick):
    plain = load_fold(quick())
    noised = load_fold(quick(transcripts="empty", word_errors=0.5, snr=5))
    for name in ("train", "dev", "test"):
        one, other = getattr(plain, name).utterances, getattr(noised, name).utterances
        assert [u.id for u in one] == [u.id for u in other]
        assert {u.snr for u in other} == {5.0} and {u.snr for u in one} == {math.inf}
        assert {u.text for u in other} == {""} and [u.gold for u in other] == [u.text for u in one]


def test_an_ablation_gives_each_run_the_lists_of_its_own_conditions(quick):
    configs = [quick(), quick(transcripts="empty"), quick(word_errors=0.5), quick(snr=5), quick(objective="ce")]
    prints = [cached_fold(config).test.fingerprint for config in configs]
    assert len(set(prints)) == 4 and prints[0] == prints[-1]


def test_word_errors_hide_no_sentence_that_stands_in_two_lists(manifest_of):
    def plant(rows):
        rows[-1]["text"] = rows[0]["text"] = "the same sentence in two lists of a fold"

    path = manifest_of(plant, "planted.jsonl")
    for knobs in ({}, {"word_errors": 0.5}, {"transcripts": "empty"}):
        with pytest.raises(InputError, match="leak: text 'the same sentence"):
            load_fold(RunConfig(corpus=f"manifest:{path}", **knobs))


def test_words_that_come_to_be_alike_are_no_leak(tones):
    corpus = load_corpus(f"manifest:{tones}")
    assert len(under_conditions(corpus, RunConfig(word_errors=1.0)).fold(0).test) == len(corpus.fold(0).test)


def test_conditions_are_those_of_the_modalities_that_a_run_has(talk):
    both = RunConfig(tested_word_errors=[0.2], tested_snr=[10, 0])
    assert [c.split for c in conditions_of(both)] == [
        "test at 20 % word errors",
        "test at 10 dB SNR",
        "test at 0 dB SNR",
    ]
    assert conditions_of(RunConfig(text="none", tested_word_errors=[0.2], tested_snr=[10])) == [
        Condition("audio", 10.0)
    ]
    twice = Condition("text", 0.5).of(with_word_errors(talk, 0.5))
    assert transcript_errors(twice) == pytest.approx(0.75, abs=0.03)  # other words than those that were hit before
    assert {u.snr for u in Condition("audio", 3.0).of(with_noise(talk, 20)).utterances} == {3.0}
