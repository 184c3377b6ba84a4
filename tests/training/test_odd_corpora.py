"""Corpora that are odd as a whole: a fold, a training and a test of each work, or say by name what is missing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from turbo_kit import Corpus, InputError, Utterance, evaluate, train
from turbo_kit.corpora.corpus import Fold

Quick = Callable[..., Any]


def changed(corpus: Corpus, change: Callable[[Utterance], dict[str, Any]]) -> Corpus:
    return corpus.subset(replace(u, **change(u)) for u in corpus.utterances)


def run_through(quick: Quick, fold: Fold, out: Path, **knobs: Any) -> dict[str, Any]:
    """The test scores of a tiny run, and proof that its folder can be read."""
    run = train(quick(epochs=1, **knobs), fold.train, fold.dev, out)
    scores = evaluate(run, fold.test)
    assert len(run.predictions("test")) == len(fold.test)
    assert run.done and run.result["status"] == "done"
    return scores


def test_a_corpus_of_one_class_is_refused(tones_corpus: Corpus) -> None:
    high = [u for u in tones_corpus.utterances if u.label == "high"]
    with pytest.raises(InputError, match=r"has 1 class \(high\): a classifier needs at least two"):
        Corpus("one", tuple(high), ("high",))


def test_a_class_that_is_named_twice_is_refused(tones_corpus: Corpus) -> None:
    with pytest.raises(InputError, match="class 'low' is named twice"):
        replace(tones_corpus, classes=("low", "high", "middle", "low"))


def test_a_class_that_no_clip_has_is_learnt_from_nothing(quick: Quick, tones_corpus: Corpus, tmp_path: Path) -> None:
    fold = replace(tones_corpus, classes=(*tones_corpus.classes, "nobody's")).fold(0)
    scores = run_through(quick, fold, tmp_path, class_weighting="balanced")
    assert scores["recall"]["nobody's"] is None


def test_a_class_may_be_missing_from_dev_and_test(quick: Quick, tones_corpus: Corpus, tmp_path: Path) -> None:
    held_out = {"group0", "group1"}  # of fold 0, test and dev
    corpus = tones_corpus.subset(u for u in tones_corpus.utterances if u.label != "low" or u.group not in held_out)
    scores = run_through(quick, corpus.fold(0), tmp_path)
    assert scores["recall"]["low"] is None and scores["UA"] is not None
    with pytest.raises(InputError, match=r"label 'low' of utterance 'clip\d+' in (dev|test) never occurs in train"):
        tones_corpus.subset(
            u for u in tones_corpus.utterances if u.label != "low" or u.group not in {"group2", "group3"}
        ).fold(0)


def test_speakers_of_one_clip_make_folds(quick: Quick, tones_corpus: Corpus, tmp_path: Path) -> None:
    corpus = changed(tones_corpus, lambda u: {"speaker": u.id, "group": "", "template": ""})
    assert corpus.folds == 5
    assert corpus.fold_count("speaker") == len(corpus)
    fold = corpus.fold(7, "speaker")
    assert (len(fold.train), len(fold.dev), len(fold.test)) == (46, 1, 1)
    assert run_through(quick, fold, tmp_path)["UA"] in (0.0, 1.0)


@pytest.mark.parametrize("exclude", ["none", "transcript"])
def test_all_texts_may_be_equal(quick: Quick, tones_corpus: Corpus, tmp_path: Path, exclude: str) -> None:
    corpus = changed(tones_corpus, lambda u: {"text": "the same", "template": ""})
    scores = run_through(quick, corpus.fold(0), tmp_path, exclude=exclude)
    assert scores["retrieval"]["audio_to_text"]["R@1"] == 1.0
    with pytest.raises(InputError, match="no clip is left for"):
        corpus.fold(0, "speaker-text")


def test_all_clips_may_be_silent_in_words(quick: Quick, tones_corpus: Corpus, tmp_path: Path) -> None:
    odd = ["😀" * 50, "שלום עולם", "word " * 10_000, "\0", "\u200b"]
    corpus = changed(tones_corpus, lambda u: {"text": odd[int(u.id[4:]) % 5], "template": ""})
    scores = run_through(quick, corpus.fold(0), tmp_path)
    assert np.isfinite(scores["UA"])


def test_where_nearly_nothing_is_labelled_what_is_missing_is_said(
    quick: Quick, tones_corpus: Corpus, tmp_path: Path
) -> None:
    def only(*ids: str) -> Fold:
        return changed(tones_corpus, lambda u: {"label": u.label if u.id in ids else None}).fold(0)

    names = {name: getattr(tones_corpus.fold(0), name).utterances for name in ("train", "dev", "test")}
    learnt = names["train"][0]
    with pytest.raises(InputError, match="no clip of the training list has a label"):
        run_through(quick, only(), tmp_path)
    with pytest.raises(InputError, match=r"UA is undefined on these clips.*label some development clips"):
        run_through(quick, only(learnt.id), tmp_path)
    chosen = next(u for u in names["dev"] if u.label == learnt.label)
    scores = run_through(quick, only(learnt.id, chosen.id), tmp_path)
    assert scores["UA"] is None and set(scores["recall"].values()) == {None}


def test_two_classes_of_which_dev_has_one_are_refused_with_the_score(
    quick: Quick, tones_corpus: Corpus, tmp_path: Path
) -> None:
    two = replace(
        changed(tones_corpus, lambda u: {"label": None if u.label == "low" else u.label}), classes=("high", "middle")
    )
    fold = two.fold(0)
    dev = changed(fold.dev, lambda u: {"label": "high" if u.label else None})
    with pytest.raises(InputError, match="EER is undefined on these clips"):
        train(quick(epochs=1), fold.train, dev, tmp_path)


def test_one_clip_to_choose_by_is_enough_and_none_is_not(quick: Quick, tones_corpus: Corpus, tmp_path: Path) -> None:
    fold = tones_corpus.fold(0)
    one = Fold(fold.train, fold.dev.subset(fold.dev.utterances[:1]), fold.test.subset(fold.test.utterances[:1]))
    scores = run_through(quick, one, tmp_path, epoch_embeddings=True)
    assert scores["geometry"]["pooled"]["audio"]["uniformity"] is None
    with pytest.raises(InputError, match="has no utterance: give it at least one clip"):
        fold.dev.subset([])


def test_official_lists_of_one_training_speaker_cannot_do_without_dev(tones_corpus: Corpus) -> None:
    lists = changed(tones_corpus, lambda u: {"split": "train" if u.speaker == "speaker0" else "test", "template": ""})
    with pytest.raises(InputError, match=r"no clip is left for train: it has no development list, and too few"):
        lists.fold(0)


def test_one_clip_to_learn_from_is_trained_on_or_refused(quick: Quick, tones_corpus: Corpus, tmp_path: Path) -> None:
    fold = tones_corpus.fold(0)
    alone = Fold(
        fold.train.subset(fold.train.utterances[:1]),
        *(
            part.subset(u for u in part.utterances if u.label == fold.train.utterances[0].label)
            for part in (fold.dev, fold.test)
        ),
    )
    assert run_through(quick, alone, tmp_path)["UA"] is not None
