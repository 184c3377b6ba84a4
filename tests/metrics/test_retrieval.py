import itertools

import numpy as np
import pytest

from turbo_kit.config import InputError
from turbo_kit.metrics import retrieval_scores


def plain_recall(queries: np.ndarray, candidates: np.ndarray, texts: list[str], k: int) -> float:
    """R@k with every order of tied items counted out: for a handful of items only."""
    found = []
    for query, own in zip(queries, texts, strict=True):
        cosine = [round(float(query @ c / (np.linalg.norm(query) * np.linalg.norm(c) or 1.0)), 9) for c in candidates]
        hits = []
        for order in itertools.permutations(range(len(candidates))):
            ranked = sorted(order, key=lambda i: -cosine[i])  # stable: ties stay in the order of this permutation
            hits.append(any(texts[i] == own for i in ranked[:k]))
        found.append(np.mean(hits))
    return float(np.mean(found))


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_counting_out_every_order_of_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    audio = rng.integers(-1, 2, size=(6, 2)).astype(float)  # few directions, so many ties, and zero vectors
    text = rng.integers(-1, 2, size=(6, 2)).astype(float)
    texts = ["yes", "no", "yes", "maybe", "no", "so"]
    scores = retrieval_scores(audio, text, texts, ks=(1, 2, 3, 5))
    for k in (1, 2, 3, 5):
        assert scores["audio_to_text"][f"R@{k}"] == pytest.approx(plain_recall(audio, text, texts, k))
        assert scores["text_to_audio"][f"R@{k}"] == pytest.approx(plain_recall(text, audio, texts, k))
        assert scores["chance"][f"R@{k}"] == pytest.approx(plain_recall(np.zeros((6, 2)), text, texts, k))


def test_many_items_agree_with_a_plain_ranking() -> None:
    rng = np.random.default_rng(0)
    text = rng.normal(size=(1300, 8))  # more than one block of rows
    audio = text + rng.normal(size=text.shape)
    texts = [f"sentence {i % 400}" for i in range(1300)]
    scores = retrieval_scores(audio, text, texts)
    for name, one, other in (("audio_to_text", audio, text), ("text_to_audio", text, audio)):
        cosine = (one / np.linalg.norm(one, axis=1)[:, None]) @ (other / np.linalg.norm(other, axis=1)[:, None]).T
        for k in (1, 5, 10):
            top = np.argsort(-cosine, axis=1)[:, :k]
            expected = np.mean([any(texts[j] == texts[i] for j in top[i]) for i in range(1300)])
            assert scores[name][f"R@{k}"] == pytest.approx(expected)


def test_perfect_views_find_each_other() -> None:
    x = np.random.default_rng(0).normal(size=(20, 16))
    scores = retrieval_scores(x, 3 * x, [str(i) for i in range(20)])
    assert set(scores["audio_to_text"].values()) == set(scores["text_to_audio"].values()) == {1.0}
    assert scores["chance"] == pytest.approx({"R@1": 1 / 20, "R@5": 5 / 20, "R@10": 10 / 20})


def test_collapsed_model_gets_chance() -> None:
    texts = [f"sentence {i % 7}" for i in range(30)]
    audio = np.tile(np.random.default_rng(0).normal(size=(1, 33)).astype(np.float32), (30, 1))
    text = np.tile(np.random.default_rng(1).normal(size=(1, 33)).astype(np.float32), (30, 1))
    scores = retrieval_scores(audio, text, texts)
    assert scores["audio_to_text"] == pytest.approx(scores["chance"])
    assert scores["text_to_audio"] == pytest.approx(scores["chance"])
    assert scores["chance"]["R@1"] == pytest.approx(sum(texts.count(t) for t in texts) / 30**2)


def test_identical_transcripts_are_right() -> None:
    audio = np.array([[1.0, 0.0], [0.0, 1.0]])
    crossed = audio[::-1]
    assert retrieval_scores(audio, crossed, ["a", "b"])["audio_to_text"]["R@1"] == 0
    assert retrieval_scores(audio, crossed, ["a", "a"])["audio_to_text"]["R@1"] == 1


def test_fewer_items_than_k_is_certain() -> None:
    x = np.eye(3)
    scores = retrieval_scores(x, -x, ["a", "b", "c"], ks=(1, 3, 10))
    assert scores["audio_to_text"] == {"R@1": 0.0, "R@3": 1.0, "R@10": 1.0}


def test_scale_rotation_and_order_change_nothing() -> None:
    rng = np.random.default_rng(0)
    audio, text = rng.normal(size=(2, 40, 6))
    texts = [f"sentence {i % 25}" for i in range(40)]
    before = retrieval_scores(audio, text, texts)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    order = rng.permutation(40)
    after = retrieval_scores(
        (audio * rng.uniform(0.1, 9, size=(40, 1)) @ turn)[order], (text @ turn)[order], [texts[i] for i in order]
    )
    for direction, scores in before.items():
        assert after[direction] == pytest.approx(scores)


@pytest.mark.parametrize(
    ("audio", "text", "texts", "ks", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), ["a", "b"], (1,), r"\(2, 3\) and text \(2, 4\)"),
        (np.ones((2, 3)), np.ones((2, 3)), ["a"], (1,), "1 transcripts for 2"),
        (np.ones((0, 3)), np.ones((0, 3)), [], (1,), "at least one"),
        (np.full((2, 3), np.inf), np.ones((2, 3)), ["a", "b"], (1,), "audio embedding in row 0 is not finite"),
        (np.ones((2, 3)), np.ones((2, 3)), ["a", "b"], (0,), "at least 1"),
    ],
)
def test_bad_input_is_named(
    audio: np.ndarray, text: np.ndarray, texts: list[str], ks: tuple[int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        retrieval_scores(audio, text, texts, ks)
