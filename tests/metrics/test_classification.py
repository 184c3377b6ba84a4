import json

import numpy as np
import pytest
from sklearn import metrics as sk

from turbo_kit.config import InputError
from turbo_kit.metrics import classification_scores, selection_score

FOUR = ("angry", "happy", "neutral", "sad")
TWO = ("background", "directed")


def draw(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, size=n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    logits = rng.normal(size=(n, classes)) + np.eye(classes)[labels]
    return labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def equal_error_rate_by_search(labels: np.ndarray, score: np.ndarray) -> float:
    """Where the two error rates cross, over every threshold, interpolated between the last two: a plain loop."""
    previous = None
    for threshold in [np.inf, *sorted(set(score), reverse=True)]:
        alarm = float(np.mean(score[labels == 0] >= threshold))
        miss = float(np.mean(score[labels == 1] < threshold))
        if miss <= alarm:
            if previous is None:
                return alarm
            share = (previous[1] - previous[0]) / ((previous[1] - previous[0]) + (alarm - miss))
            return previous[0] + share * (alarm - previous[0])
        previous = (alarm, miss)
    raise AssertionError("the error rates never cross")


def test_scores_agree_with_scikit_learn() -> None:
    labels, probabilities = draw(300, 4)
    predicted = probabilities.argmax(axis=1)
    scores = classification_scores(labels, probabilities, FOUR)
    assert scores["WA"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert scores["UA"] == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    assert scores["macro_F1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert scores["confusion"] == sk.confusion_matrix(labels, predicted).tolist()
    assert list(scores["recall"]) == list(FOUR)
    assert list(scores["recall"].values()) == pytest.approx(sk.recall_score(labels, predicted, average=None))
    assert scores["WA"] != pytest.approx(scores["UA"], abs=0.01), "the draw must tell the two apart"


def test_weighted_is_overall_and_unweighted_is_mean_recall() -> None:
    labels = np.array([0, 0, 0, 1])
    scores = classification_scores(labels, np.eye(2)[[0, 0, 0, 0]], TWO)
    assert (scores["WA"], scores["UA"]) == (0.75, 0.5)
    assert scores["confusion"] == [[3, 0], [1, 0]], "rows are the truth"


def test_an_imbalanced_example_worked_by_hand() -> None:
    labels = np.array([0] * 8 + [1] * 2)
    predicted = np.array([0] * 6 + [1] * 2 + [0] + [1])
    scores = classification_scores(labels, np.eye(2)[predicted], TWO)
    assert scores["confusion"] == [[6, 2], [1, 1]]
    assert scores["WA"] == pytest.approx(7 / 10)  # 6 + 1 of 10 clips
    assert scores["UA"] == pytest.approx((6 / 8 + 1 / 2) / 2)
    assert scores["recall"] == pytest.approx({"background": 6 / 8, "directed": 1 / 2})
    assert scores["macro_F1"] == pytest.approx((12 / 15 + 2 / 5) / 2)  # 2 hits / (true + predicted)


def test_unlabelled_rows_are_left_out_and_nothing_else() -> None:
    labels, probabilities = draw(60, 4)
    hidden = np.where(np.arange(60) % 3 == 0, -1, labels)
    kept = hidden >= 0
    assert classification_scores(hidden, probabilities, FOUR) == classification_scores(
        labels[kept], probabilities[kept], FOUR
    )


def test_absent_class_has_no_recall_and_no_part_in_the_means() -> None:
    labels, probabilities = draw(80, 4)
    kept = labels != 2
    scores = classification_scores(labels[kept], probabilities[kept], FOUR)
    predicted = probabilities[kept].argmax(axis=1)
    assert (predicted == 2).any(), "the absent class must be predicted somewhere"
    assert scores["recall"]["neutral"] is None
    assert scores["UA"] == pytest.approx(np.mean([r for r in scores["recall"].values() if r is not None]))
    assert scores["macro_F1"] == pytest.approx(sk.f1_score(labels[kept], predicted, labels=[0, 1, 3], average="macro"))


@pytest.mark.parametrize("seed", range(5))
def test_detection_scores_agree_with_plain_search(seed: int) -> None:
    labels, probabilities = draw(101, 2, seed)
    probabilities = probabilities.round(1 if seed == 0 else 6)  # the first with many ties
    scores = classification_scores(labels, probabilities, TWO)
    assert scores["EER"] == pytest.approx(equal_error_rate_by_search(labels, probabilities[:, 1]))
    assert scores["ROC_AUC"] == pytest.approx(sk.roc_auc_score(labels, probabilities[:, 1]))
    pairs = [(hit, alarm) for hit in probabilities[labels == 1, 1] for alarm in probabilities[labels == 0, 1]]
    assert scores["ROC_AUC"] == pytest.approx(np.mean([(a > b) + (a == b) / 2 for a, b in pairs]))


@pytest.mark.parametrize(("score", "eer", "auc"), [([0, 0, 1, 1], 0, 1), ([1, 1, 0, 0], 1, 0), ([0.5] * 4, 0.5, 0.5)])
def test_detection_scores_of_perfect_reversed_and_constant_scores(score: list[float], eer: float, auc: float) -> None:
    right = np.array(score, dtype=float)
    scores = classification_scores(np.array([0, 0, 1, 1]), np.stack([1 - right, right], axis=1), TWO)
    assert (scores["EER"], scores["ROC_AUC"]) == pytest.approx((eer, auc))


def test_nothing_labelled_or_one_class_only_gives_none_and_json() -> None:
    empty = classification_scores(np.array([-1, -1]), np.full((2, 2), 0.5), TWO)
    assert [empty[name] for name in ("WA", "UA", "macro_F1", "EER", "ROC_AUC")] == [None] * 5
    one = classification_scores(np.array([1, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]), TWO)
    assert (one["UA"], one["EER"], one["ROC_AUC"]) == (0.5, None, None)
    json.dumps([empty, one], allow_nan=False)


def test_model_choice_is_by_ua_and_by_eer_for_two_classes() -> None:
    labels, probabilities = draw(50, 4)
    scores = classification_scores(labels, probabilities, FOUR)
    assert selection_score(scores) == scores["UA"]
    labels, probabilities = draw(50, 2)
    scores = classification_scores(labels, probabilities, TWO)
    assert selection_score(scores) == -scores["EER"]
    with pytest.raises(InputError, match="EER is undefined"):
        selection_score(classification_scores(np.array([1]), np.array([[0.5, 0.5]]), TWO))


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        (np.array([0, 1]), np.full((3, 2), 0.5), r"shape \(3, 2\), expected \(2, 2\)"),
        (np.array([0, 2]), np.full((2, 2), 0.5), "label 2 in row 1"),
        (np.array([0, 1]), np.array([[0.5, 0.5], [np.nan, 0.5]]), "row 1 are not finite"),
        (np.array([0.0, 1.0]), np.full((2, 2), 0.5), "array of integers"),
    ],
)
def test_bad_input_is_named(labels: np.ndarray, probabilities: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        classification_scores(labels, probabilities, TWO)
