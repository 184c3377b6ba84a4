"""What holds for both embedded corpora: four folds, of voices that share no sentence."""

from collections import Counter

import pytest

from turbo_kit import load_corpus

CORPORA = {"demo-emotion": (720, 360, 360), "demo-directed": (384, 192, 192)}


@pytest.mark.parametrize("name", CORPORA)
def test_four_folds_without_a_leak(name):
    corpus = load_corpus(name)
    assert corpus.folds == 4
    for index in range(4):
        fold = corpus.fold(index)  # raises where it leaks
        assert (len(fold.train), len(fold.dev), len(fold.test)) == CORPORA[name]


@pytest.mark.parametrize("name", CORPORA)
def test_no_voice_reads_a_sentence_twice_and_groups_share_none(name):
    corpus = load_corpus(name)
    assert max(Counter((u.speaker, u.text) for u in corpus.utterances).values()) == 1
    groups = [{u.text for u in corpus.utterances if u.group == group} for group in ("g1", "g2", "g3", "g4")]
    assert len(set.union(*groups)) == sum(map(len, groups))
