import json
import warnings
from math import exp, isnan, log, sqrt

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from turbo_kit.config import InputError
from turbo_kit.metrics import alignment, effective_rank, geometry_scores, modality_gap, uniformity


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def unit(row: np.ndarray) -> np.ndarray:
    return row / sqrt(sum(float(v) ** 2 for v in row))


def test_measures_agree_with_plain_loops() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 12, 5)) + 0.5
    distances = [sum((unit(a) - unit(b)) ** 2) for a, b in zip(x, y, strict=True)]
    assert alignment(x, y) == pytest.approx(np.mean(distances))
    kernel = [exp(-2 * sum((unit(x[i]) - unit(x[j])) ** 2)) for i in range(12) for j in range(i + 1, 12)]
    assert uniformity(x) == pytest.approx(log(sum(kernel) / len(kernel)))
    centres = [sum(unit(row) for row in rows) / 12 for rows in (x, y)]
    assert modality_gap(x, y) == pytest.approx(sqrt(sum((centres[0] - centres[1]) ** 2)))
    rows = np.stack([unit(row) for row in x])
    rows = rows - rows.mean(axis=0)
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(rows.T @ rows), 0))
    shares = values / values.sum()
    assert effective_rank(x) == pytest.approx(exp(-sum(p * log(p) for p in shares)))


@pytest.mark.parametrize("rows", [1023, 1024, 1025, 2500])
def test_uniformity_in_blocks_is_that_of_all_pairs_at_once(rows: int) -> None:
    x = np.random.default_rng(rows).normal(size=(rows, 8))
    distances = pdist(np.stack([unit(row) for row in x]), "sqeuclidean")
    assert uniformity(x) == pytest.approx(np.log(np.exp(-2 * distances).mean()), rel=1e-12)


def test_known_values() -> None:
    x = np.eye(4)
    assert alignment(x, x) == 0
    assert alignment(x, -x) == pytest.approx(4)
    assert uniformity(x) == pytest.approx(-4)  # every two at right angles: d^2 = 2
    assert uniformity(np.ones((5, 3))) == pytest.approx(0)
    assert uniformity(np.array([[1.0, 0], [-1.0, 0]])) == pytest.approx(-8)
    assert modality_gap(np.ones((2, 3)), -np.ones((3, 3))) == pytest.approx(2)
    assert modality_gap(x, x[::-1]) == pytest.approx(0)
    cross = np.concatenate([np.eye(3), -np.eye(3)])
    assert effective_rank(cross) == pytest.approx(3)  # three directions, used alike
    assert effective_rank(np.array([[1.0, 0, 0], [-1, 0, 0], [1, 0, 0]])) == pytest.approx(1)
    assert effective_rank(np.tile([0.3, 0.1, 0.7], (9, 1))) == 0
    assert effective_rank(np.outer(np.arange(1, 51) / 7, [0.3, 0.1, 0.7])) == 0  # one direction but for rounding


def test_uniform_directions_come_near_what_theory_says() -> None:
    x = np.random.default_rng(0).normal(size=(400, 64))
    assert uniformity(x) == pytest.approx(-4 + 8 / 64, abs=0.02)  # log E exp(-4 + 4 cos), cos of variance 1 / 64
    assert 55 < effective_rank(x) <= 64


def test_a_common_offset_is_the_gaps_matter_and_not_the_ranks() -> None:
    x = np.random.default_rng(0).normal(size=(200, 16))
    narrow = x * 0.01 + np.eye(16)[0]
    assert effective_rank(narrow) > 12
    assert modality_gap(x, narrow) > 0.8


def test_rotation_scale_and_order_change_nothing() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30, 7)) + 1
    turn = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    order = rng.permutation(30)
    moved_x, moved_y = (((v * rng.uniform(0.1, 9, size=(30, 1))) @ turn)[order] for v in (x, y))
    for measure in (alignment, modality_gap):
        assert measure(moved_x, moved_y) == pytest.approx(measure(x, y))
        assert measure(moved_y, moved_x) == pytest.approx(measure(x, y))
    for single in (uniformity, effective_rank):
        assert single(moved_x) == pytest.approx(single(x))


def test_degenerate_input_is_nan_without_warnings() -> None:
    one, nothing, zero = np.ones((1, 3)), np.ones((0, 3)), np.array([[0.0, 0.0], [1.0, 0.0]])
    assert isnan(uniformity(one)) and isnan(effective_rank(one))
    assert alignment(one, one) == 0 and modality_gap(one, one) == 0
    for measure in (alignment, modality_gap):
        assert isnan(measure(nothing, nothing)) and isnan(measure(zero, np.eye(2))) and isnan(measure(np.eye(2), zero))
    for single in (uniformity, effective_rank):
        assert isnan(single(nothing)) and isnan(single(zero))


def test_scores_are_nested_by_space_modality_and_pair() -> None:
    rng = np.random.default_rng(0)
    pooled = {"audio": rng.normal(size=(10, 6)), "text": rng.normal(size=(10, 4))}
    projected = {"audio": rng.normal(size=(10, 3)), "text": rng.normal(size=(10, 3))}
    passes = {"audio": rng.normal(size=(2, 10, 6))}
    scores = geometry_scores(pooled, projected, passes)
    assert scores["pooled"]["audio"] == {
        "uniformity": uniformity(pooled["audio"]),
        "effective_rank": effective_rank(pooled["audio"]),
        "alignment": alignment(passes["audio"][0], passes["audio"][1]),
    }
    assert "alignment" not in scores["pooled"]["text"], "no passes were given for text"
    assert scores["pooled"]["cross_modal"] == {}, "the widths differ"
    assert scores["projected"]["cross_modal"] == {
        "audio-text": {
            "alignment": alignment(projected["audio"], projected["text"]),
            "modality_gap": modality_gap(projected["audio"], projected["text"]),
        }
    }
    assert "projected" not in geometry_scores(pooled)
    three = geometry_scores({name: rng.normal(size=(5, 2)) for name in ("audio", "text", "video")})
    assert list(three["pooled"]["cross_modal"]) == ["audio-text", "audio-video", "text-video"]


def test_undefined_scores_are_none_and_json() -> None:
    scores = geometry_scores({"audio": np.zeros((3, 2)), "text": np.ones((3, 2))})
    assert scores["pooled"]["audio"] == {"uniformity": None, "effective_rank": None}
    assert scores["pooled"]["cross_modal"]["audio-text"] == {"alignment": None, "modality_gap": None}
    json.dumps(scores, allow_nan=False)


def test_bad_input_is_named() -> None:
    good = {"audio": np.ones((3, 2)), "text": np.ones((3, 2))}
    with pytest.raises(InputError, match=r"pooled embeddings of 'audio' have shape \(3,\)"):
        geometry_scores({"audio": np.ones(3)})
    with pytest.raises(InputError, match="projected embeddings of 'text' are not finite in row 0"):
        geometry_scores(good, {"text": np.full((3, 2), np.nan)})
    with pytest.raises(InputError, match="'audio' has 3 rows and 'text' 4"):
        geometry_scores({"audio": np.ones((3, 2)), "text": np.ones((4, 2))})
    with pytest.raises(InputError, match=r"passes of 'audio' have shape \(3, 2\)"):
        geometry_scores(good, passes={"audio": np.ones((3, 2))})
    with pytest.raises(InputError, match="passes name the modality 'video'"):
        geometry_scores(good, passes={"video": np.ones((2, 3, 2))})
