from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from turbo_kit import Corpus, Fold, InputError, Utterance, load_corpus


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


def test_without_groups_speakers_are_dealt_into_five_units_of_similar_size() -> None:
    def clip(number: int) -> Utterance:
        return Utterance(str(number), Path("x.wav"), "hello", "ab"[number // 12 % 2], f"s{number % 12}")

    corpus = Corpus("c", tuple(clip(i) for i in range(48)), ("a", "b"))
    assert corpus.folds == 5
    sizes = [len(corpus.fold(i).test) for i in range(5)]
    assert sum(sizes) == 48
    assert max(sizes) - min(sizes) <= 4  # one speaker


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
