from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from turbo_kit import Corpus, Fold, InputError, RunConfig, Utterance, load_corpus, load_fold
from turbo_kit.identity import planned_run


def test_every_group_is_tested_once_and_the_next_one_chooses(tones_corpus: Corpus) -> None:
    tested = []
    for index in range(tones_corpus.folds):
        fold = tones_corpus.fold(index)
        groups = [{u.group for u in part.utterances} for part in (fold.train, fold.dev, fold.test)]
        assert groups[1:] == [{f"group{(index + 1) % 4}"}, {f"group{index}"}]
        assert groups[0] == {"group0", "group1", "group2", "group3"} - groups[1] - groups[2]
        tested += [u.id for u in fold.test.utterances]
    assert sorted(tested) == sorted(u.id for u in tones_corpus.utterances)


@pytest.mark.parametrize(
    ("change", "leak"),
    [
        ({"speaker": "speaker0"}, "leak: speaker 'speaker0' stands in train"),
        ({"template": "group0-low"}, "leak: template 'group0-low' stands in train"),
    ],
)
def test_a_leak_is_an_error_that_names_it(manifest_of: Callable[..., Path], change: dict[str, str], leak: str) -> None:
    # clip 40 is of group 3; what it now shares stands in group 0
    path = manifest_of(lambda rows: rows[40].update(change), "leak.jsonl")
    with pytest.raises(InputError, match=rf"{leak}.*'clip40'"):
        load_corpus(f"manifest:{path}").fold(2)


def test_an_utterance_in_two_lists_is_a_leak(tones_corpus: Corpus) -> None:
    fold = tones_corpus.fold(0)
    with pytest.raises(InputError, match="leak: id"):
        Fold(fold.train, fold.dev, fold.train)


def test_a_class_that_train_lacks_is_an_error(tones_corpus: Corpus) -> None:
    fold = tones_corpus.fold(0)
    poorer = fold.train.subset(u for u in fold.train.utterances if u.label != "low")
    with pytest.raises(InputError, match=r"label 'low' .* never occurs in train"):
        Fold(poorer, fold.dev, fold.test)


@pytest.fixture
def crossed(tmp_path: Path) -> Corpus:
    """12 speakers who say 6 sentences in two ways: 144 clips without groups, each of its own content."""

    def clip(number: int) -> Utterance:
        path = tmp_path / f"{number}.wav"
        path.write_bytes(b"%d" % number)
        text = f"Sentence {'abcdef'[number // 24]}."
        return Utterance(str(number), path, text, "ab"[number // 12 % 2], f"s{number % 12:02d}")

    return Corpus("crossed", tuple(clip(number) for number in range(144)), ("a", "b"))


def test_without_groups_speakers_are_dealt_into_five_units_of_similar_size(crossed: Corpus) -> None:
    assert crossed.folds == 5
    sizes = [len(crossed.fold(i).test) for i in range(5)]
    assert sum(sizes) == 144
    assert max(sizes) - min(sizes) <= 12  # one speaker


def test_leave_one_speaker_out_tests_every_speaker_once(crossed: Corpus) -> None:
    assert crossed.fold_count("speaker") == 12
    tested = [{u.speaker for u in crossed.fold(i, "speaker").test.utterances} for i in range(12)]
    assert tested == [{f"s{i:02d}"} for i in range(12)]


def test_speakers_and_sentences_are_both_left_out(crossed: Corpus) -> None:
    for index in range(crossed.fold_count("speaker-text")):
        lists = [part.utterances for part in vars(crossed.fold(index, "speaker-text")).values()]
        assert all(lists)
        for kind in ("speaker", "text"):
            train, dev, test = ({getattr(u, kind) for u in part} for part in lists)
            assert not (train & dev or train & test or dev & test)


def test_repeated_words_are_told_and_may_differ_in_their_marks(crossed: Corpus) -> None:
    fold = crossed.fold(0)
    assert len(fold.repeated_texts("test")) == 6
    assert crossed.fold(0, "speaker-text").repeated_texts("test") == []
    shouted = fold.test.subset(replace(u, text=u.text.upper() + "!") for u in fold.test.utterances)
    assert "SENTENCE A.!" in Fold(fold.train, fold.dev, shouted).repeated_texts("test")


def official(corpus: Corpus, splits: dict[str, str], **change: Any) -> Corpus:
    """The corpus with a list for each speaker; those not named are in train."""
    clips = (replace(u, split=splits.get(u.speaker, "train")) for u in corpus.utterances)
    return replace(corpus, utterances=tuple(clips), **change)


def test_official_lists_are_one_fold_and_may_share_only_what_the_corpus_says(crossed: Corpus) -> None:
    corpus = official(crossed, {"s00": "dev", "s01": "test"})
    assert corpus.folds == 1
    fold = corpus.fold(0)
    assert [{u.split for u in part.utterances} for part in (fold.train, fold.dev, fold.test)] == [
        {"train"},
        {"dev"},
        {"test"},
    ]
    first, *others = corpus.utterances  # one clip of a speaker of dev is now in train
    mixed = (replace(first, split="train"), *others)
    with pytest.raises(InputError, match="leak: speaker 's00'"):
        replace(corpus, utterances=mixed).fold(0)
    shared = replace(corpus, utterances=mixed, shared=("speaker",))
    assert len(shared.fold(0).dev) == 11
    assert len(shared.fold(0, "speaker").test) == 12
    with pytest.raises(InputError, match="leak: speaker"):  # what official lists share, no other lists may
        fold = shared.fold(0, "speaker")
        Fold(fold.train, fold.dev, fold.train.subset(replace(u, id=f"x{u.id}") for u in fold.dev.utterances))


def test_an_official_test_list_alone_gets_development_speakers_out_of_train(crossed: Corpus) -> None:
    fold = official(crossed, {"s01": "test"}).fold(0)
    speakers = [{u.speaker for u in part.utterances} for part in (fold.train, fold.dev, fold.test)]
    assert speakers[2] == {"s01"}
    assert 1 <= len(speakers[1]) <= 3
    assert len(speakers[0] | speakers[1]) == 11


@pytest.mark.parametrize(
    ("protocol", "said"), [("official", "no train and test list"), ("group", "not every clip .* has a group")]
)
def test_a_protocol_needs_what_it_goes_by(crossed: Corpus, protocol: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        crossed.fold(0, protocol)


def test_one_recording_under_two_names_is_a_leak(crossed: Corpus) -> None:
    clips = list(crossed.utterances)
    clips[1].path.write_bytes(clips[0].path.read_bytes())
    with pytest.raises(InputError, match=r"one recording \(audio\) stands in .*'1'"):
        for index in range(5):
            crossed.fold(index)


def test_the_same_words_under_two_templates_are_a_leak(manifest_of: Callable[..., Path]) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[40]["text"] = rows[0]["text"].upper()

    with pytest.raises(InputError, match=r"leak: text .*'clip40'"):
        load_corpus(f"manifest:{manifest_of(change, 'words.jsonl')}").fold(2)


def test_what_changes_in_the_test_list_changes_no_run(
    manifest_of: Callable[..., Path], quick: Callable[..., RunConfig], tmp_path: Path
) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        held = [row for row in rows if row["group"] == "group0"]
        labels = [row["label"] for row in held]
        for row, label in zip(held, labels[1:] + labels[:1], strict=True):
            row["label"] = label

    config = quick(corpus=f"manifest:{manifest_of(change, 'permuted.jsonl')}")
    permuted, plain = load_fold(config), load_fold(replace(config, corpus=quick().corpus))
    assert [u.label for u in permuted.test.utterances] != [u.label for u in plain.test.utterances]
    runs = [planned_run(config, fold.train, fold.dev, tmp_path) for fold in (permuted, plain)]
    assert runs[0] == runs[1]


def test_too_few_speakers_and_a_fold_that_does_not_exist(tones_corpus: Corpus) -> None:
    few = tones_corpus.subset(replace(u, group="") for u in tones_corpus.utterances[:12])
    with pytest.raises(InputError, match="at least 3"):
        few.fold(0)
    with pytest.raises(InputError, match=r"fold 4 does not exist: .* folds 0 to 3"):
        tones_corpus.fold(4)


def test_the_fingerprint_follows_what_a_run_sees(tones_corpus: Corpus, tmp_path: Path) -> None:
    first = tones_corpus.utterances[0]
    other_audio = tmp_path / "other.wav"
    other_audio.write_bytes(first.path.read_bytes() + b"\0")

    def with_first(**change: Any) -> str:
        return tones_corpus.subset([replace(first, **change), *tones_corpus.utterances[1:]]).fingerprint

    same = tmp_path / "same.wav"
    same.write_bytes(first.path.read_bytes())
    assert with_first(path=same) == tones_corpus.fingerprint  # where the file lies is of no matter
    changes: list[dict[str, Any]] = [{"path": other_audio}, {"text": "other"}, {"label": None}, {"speaker": "q"}]
    assert len({with_first(**change) for change in changes} | {tones_corpus.fingerprint}) == 5
