from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, recall_score

from turbo_kit.config import InputError
from turbo_kit.metrics import holm, paired_difference, speaker_bootstrap, verdict

CLASSES = np.array(["angry", "happy", "sad"])


def simulate(rng: np.random.Generator, speakers: int = 16, clips: int = 12, seeds: int = 2, shift: float = 0.0):
    """Predictions with an accuracy of about 0.6 that differs by speaker (sd 0.12) and is shared by a clip's seeds."""
    skill = np.clip(rng.normal(0.6 + shift, 0.12, size=(speakers, 1, 1)), 0, 1)
    luck = 0.9 * rng.uniform(size=(speakers, clips, 1)) + 0.1 * rng.uniform(size=(speakers, clips, seeds))
    speaker, clip, seed = np.indices(luck.shape).reshape(3, -1)
    label = clip % 3
    predicted = np.where((luck < skill).ravel(), label, (label + 1) % 3)
    names = [f"s{s}c{c}" for s, c in zip(speaker, clip, strict=True)]
    voices = [f"s{s}" for s in speaker]
    return pd.DataFrame(
        {"id": names, "speaker": voices, "label": CLASSES[label], "predicted": CLASSES[predicted], "seed": seed}
    )


def unbalanced(rng: np.random.Generator, seeds: int = 2) -> pd.DataFrame:
    """Speakers with different classes and numbers of clips, so that a draw may lack a class."""
    frame = simulate(rng, speakers=5, clips=9, seeds=seeds)
    keep = ~((frame["label"] == "sad") & (frame["speaker"] != "s0"))
    return frame[keep].sample(frac=1, random_state=0)


def plain_score(frame: pd.DataFrame, statistic: str) -> float:
    """Mean over the seeds of what scikit-learn gives for each."""
    scores = []
    for _, one in frame.groupby("seed"):
        if statistic == "WA":
            scores.append(accuracy_score(one["label"], one["predicted"]))
        else:
            present = sorted(one["label"].unique())
            scores.append(recall_score(one["label"], one["predicted"], labels=present, average="macro"))
    return float(np.mean(scores))


def plain_swaps(a: pd.DataFrame, b: pd.DataFrame, statistic: str) -> list[float]:
    """The difference under every swap of the predictions of whole speakers, first the data as they are."""
    names = a["speaker"].unique()
    values = []
    for chosen in product([False, True], repeat=len(names)):
        swapped = a["speaker"].isin(names[list(chosen)]).to_numpy()
        one = a.assign(predicted=np.where(swapped, b["predicted"], a["predicted"]))
        two = b.assign(predicted=np.where(swapped, a["predicted"], b["predicted"]))
        values.append(plain_score(one, statistic) - plain_score(two, statistic))
    return values


def plain_contributions(a: pd.DataFrame, b: pd.DataFrame, statistic: str) -> np.ndarray:
    """What each speaker adds to the difference: the score with a's predictions for this speaker alone, less b's."""
    found = []
    for name in a["speaker"].unique():
        mixed = b.assign(predicted=np.where(a["speaker"] == name, a["predicted"], b["predicted"]))
        found.append(plain_score(mixed, statistic) - plain_score(b, statistic))
    return np.array(found)


def interval(found: dict) -> dict:
    return {key: found[key] for key in ("mean", "low", "high")}


def plain_interval(frame: pd.DataFrame, statistic: str, resamples: int, level: float, seed: int, other=None):
    """The same by putting the drawn speakers' rows together one by one, scored by scikit-learn."""

    names = sorted(frame["speaker"].unique())
    drawn = np.random.default_rng(seed).multinomial(len(names), [1 / len(names)] * len(names), size=resamples)
    values = []
    for times in [np.ones(len(names), dtype=int), *drawn]:
        chosen = [name for name, n in zip(names, times, strict=True) for _ in range(n)]
        value = plain_score(pd.concat([frame[frame["speaker"] == name] for name in chosen]), statistic)
        if other is not None:
            value -= plain_score(pd.concat([other[other["speaker"] == name] for name in chosen]), statistic)
        values.append(value)
    n = len(names)
    tail = stats.norm.sf(np.sqrt(n / (n - 1)) * stats.t.isf((1 - level) / 2, n - 1))
    return {"mean": values[0], "low": np.quantile(values[1:], tail), "high": np.quantile(values[1:], 1 - tail)}


@pytest.mark.parametrize("statistic", ["UA", "WA"])
def test_agrees_with_resampling_row_by_row(statistic: str) -> None:
    frame = unbalanced(np.random.default_rng(0))
    fast = speaker_bootstrap(frame, statistic, resamples=25, level=0.8, seed=3)
    assert fast == pytest.approx(plain_interval(frame, statistic, 25, 0.8, 3))
    other = frame.assign(predicted=np.random.default_rng(1).permutation(frame["predicted"]))
    fast = paired_difference(frame, other.sample(frac=1, random_state=1), statistic, resamples=25, level=0.8, seed=3)
    assert interval(fast) == pytest.approx(plain_interval(frame, statistic, 25, 0.8, 3, other))


def test_seed_that_lacks_the_drawn_speakers_is_left_out() -> None:
    frame = simulate(np.random.default_rng(0), speakers=3)
    frame = frame[(frame["seed"] == 0) | (frame["speaker"] == "s0")]
    interval = speaker_bootstrap(frame, "WA", resamples=200)
    right = frame["label"] == frame["predicted"]
    by_speaker = right.groupby(frame["speaker"]).mean()
    assert interval["mean"] == pytest.approx(right.groupby(frame["seed"]).mean().mean())
    assert interval["low"] >= by_speaker.min() - 0.05


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    truth = np.mean([speaker_bootstrap(simulate(rng, speakers=400), "UA", 1)["mean"] for _ in range(5)])
    held = 0
    for _ in range(150):
        interval = speaker_bootstrap(simulate(rng), "UA", resamples=400)
        held += interval["low"] <= truth <= interval["high"]
    assert 0.89 <= held / 150 <= 0.99  # 0.95 give or take three standard errors


@pytest.mark.parametrize("statistic", ["UA", "WA"])
def test_the_interval_is_scipys_bootstrap_of_speaker_means_but_for_its_expansion(statistic: str) -> None:
    rng = np.random.default_rng(0)
    a, b = simulate(rng, speakers=20), simulate(rng, speakers=20)
    # Speakers with the same clips of each class: both scores are means of one number a speaker.
    gain = (a["predicted"] == a["label"]).astype(float) - (b["predicted"] == b["label"])
    by_speaker = gain.groupby(a["speaker"]).mean().to_numpy()
    tail = stats.norm.sf(np.sqrt(20 / 19) * stats.t.isf(0.025, 19))
    draws = {"n_resamples": 20_000, "method": "percentile", "rng": np.random.default_rng(1)}
    expected = stats.bootstrap((by_speaker,), np.mean, confidence_level=1 - 2 * tail, **draws).confidence_interval
    found = paired_difference(a, b, statistic, resamples=20_000)
    # The standard error of such a quantile is about 2.8 sd / sqrt(draws), 0.02 sd: of it four, for the two of them.
    slack = 0.08 * by_speaker.std(ddof=1) / np.sqrt(20)
    assert (found["low"], found["high"]) == pytest.approx(tuple(expected), abs=slack)


@pytest.mark.parametrize("statistic", ["UA", "WA"])
def test_p_and_effect_size_agree_with_swapping_the_predictions_of_speakers(statistic: str) -> None:
    rng = np.random.default_rng(3)
    a = unbalanced(rng, seeds=3)
    b = a.assign(predicted=rng.permutation(a["predicted"]))
    swaps = np.abs(plain_swaps(a, b, statistic))
    found = paired_difference(a.sample(frac=1, random_state=1), b, statistic, resamples=1)
    assert len(swaps) == 32 and found["p"] == np.mean(swaps >= swaps[0] - 1e-12)
    assert 0.1 < found["p"] < 1
    parts = plain_contributions(a, b, statistic)
    assert found["mean"] == pytest.approx(parts.sum())
    assert found["effect_size"] == pytest.approx(parts.mean() / parts.std(ddof=1))


@pytest.mark.parametrize("speakers", [2, 7, 16, 17])
def test_p_agrees_with_scipy(speakers: int) -> None:
    rng = np.random.default_rng(speakers)
    a, b = simulate(rng, speakers, clips=7, shift=0.06), simulate(rng, speakers, clips=7)
    parts = plain_contributions(a, b, "UA")
    expected = stats.permutation_test(
        (parts, np.zeros(speakers)),
        lambda x, y, axis: x.sum(axis=axis) - y.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert 0.02 < expected.pvalue <= 1
    # Beyond 16 speakers swaps are drawn: four standard errors of a share of 99,999.
    slack = 1e-12 if speakers <= 16 else 4 * np.sqrt(0.25 / 99_999)
    assert paired_difference(a, b, resamples=1)["p"] == pytest.approx(expected.pvalue, abs=slack)


def coins(ahead: int, behind: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Speakers of one clip each, which the first model alone gets right, or the second alone."""
    names = [f"s{i:03}" for i in range(ahead + behind)]
    frame = pd.DataFrame({"id": names, "speaker": names, "label": "x", "seed": 0})
    right = np.arange(ahead + behind) < ahead
    return frame.assign(predicted=np.where(right, "x", "y")), frame.assign(predicted=np.where(right, "y", "x"))


@pytest.mark.parametrize(("ahead", "behind"), [(3, 0), (7, 2), (5, 5), (12, 1), (70, 40)])
def test_p_of_coin_tosses_is_the_sign_tests(ahead: int, behind: int) -> None:
    # 0.1 and the like have no exact sum in floating point: swaps that tie with the data have to count all the same.
    expected = stats.binomtest(ahead, ahead + behind).pvalue
    slack = 1e-12 if ahead + behind <= 16 else 4 * np.sqrt(expected / 99_999)
    assert paired_difference(*coins(ahead, behind), resamples=1)["p"] == pytest.approx(expected, abs=slack)


def test_p_is_never_0() -> None:
    assert paired_difference(*coins(60, 0), resamples=1)["p"] == 1 / 100_000
    assert paired_difference(*coins(60, 0), resamples=1)["effect_size"] is None  # all contribute alike


def test_p_and_effect_size_turn_with_the_sign() -> None:
    rng = np.random.default_rng(0)
    a, b = simulate(rng, shift=0.1), simulate(rng)
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert there["p"] == back["p"]
    assert there["effect_size"] == pytest.approx(-back["effect_size"]) and there["effect_size"] > 0


def plain_holm(p_values: list[float]) -> list[float]:
    """The smallest p times their number, the next times one less, ..., none below the one before."""
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = least
    return corrected


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    for seed in range(20):
        values = np.random.default_rng(seed).uniform(size=7).round(1).tolist()  # rounded: some are equal
        assert holm(values) == pytest.approx(plain_holm(values))
    found = holm([0.01, None, 0.04, float("nan"), 0.03])
    assert found[1] is None and np.isnan(found[3])
    assert [found[i] for i in (0, 2, 4)] == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == [] and holm([None]) == [None]


def comparisons(draws: int, shift: float = 0.0) -> list[dict]:
    """Paired differences of models whose skill differs by speaker, the same for the clips and seeds of a speaker."""
    rng = np.random.default_rng(5)
    keep = None
    found = []
    for _ in range(draws):
        a, b = (simulate(rng, speakers=10, clips=18, shift=by) for by in (shift, 0.0))
        if keep is None:  # classes that are not balanced, and not alike in all speakers
            keep = ~(a["label"].eq("sad") & a["speaker"].isin(["s1", "s3", "s5"])).to_numpy()
        found.append(paired_difference(a[keep], b[keep], resamples=200))
    return found


COMPARED = 400


@pytest.fixture(scope="module")
def nothing_differs() -> list[dict]:
    return comparisons(COMPARED)


@pytest.mark.slow  # 400 comparisons
def test_false_alarms_are_as_rare_as_p_says(nothing_differs: list[dict]) -> None:
    for level in (0.05, 0.2):
        alarms = sum(found["p"] <= level for found in nothing_differs)
        low, high = stats.binom.ppf([0.001, 0.999], COMPARED, level)
        assert low <= alarms <= high
    verdicts = [verdict(found) for found in nothing_differs]
    told = [word for word in verdicts if word != "cannot tell"]
    assert len(told) <= stats.binom.ppf(0.999, COMPARED, 0.05)
    assert {"better", "worse"} == set(told)


@pytest.mark.slow  # 400 comparisons
def test_holm_keeps_the_false_alarms_of_a_family_at_their_rate(nothing_differs: list[dict]) -> None:
    families = [[found["p"] for found in nothing_differs[start : start + 5]] for start in range(0, COMPARED, 5)]
    alarmed = [family for family in families if min(family) <= 0.05]
    most = stats.binom.ppf(0.999, COMPARED // 5, 0.05)
    assert len(alarmed) > most  # what the correction is there for
    assert sum(min(holm(family)) <= 0.05 for family in alarmed) <= most


def test_a_difference_that_is_there_is_found() -> None:
    verdicts = [verdict(found) for found in comparisons(60, shift=0.3)]
    assert verdicts.count("better") >= 54 and "worse" not in verdicts


def width(interval: dict[str, float]) -> float:
    return interval["high"] - interval["low"]


@pytest.mark.parametrize("statistic", ["UA", "WA"])
def test_the_interval_widens_where_the_clips_of_a_speaker_go_together(statistic: str) -> None:
    frame = simulate(np.random.default_rng(0), speakers=24, seeds=1)
    # Half of the clips are right: whole speakers, or the same number of clips wherever they fall.
    right = frame["speaker"].isin([f"s{speaker}" for speaker in range(0, 24, 2)])
    together = speaker_bootstrap(frame.assign(predicted=frame["label"].where(right, "none")), statistic)
    scattered = np.random.default_rng(1).permutation(right)
    apart = speaker_bootstrap(frame.assign(predicted=frame["label"].where(scattered, "none")), statistic)

    assert (together["mean"], apart["mean"]) == pytest.approx((0.5, 0.5), abs=0.01)
    # Together, 288 clips tell no more than 24 coin tosses; apart, each speaker is a mean of 12 tosses.
    tail = stats.norm.sf(np.sqrt(24 / 23) * stats.t.isf(0.025, 23))
    tosses = (stats.binom.ppf(1 - tail, 24, 0.5) - stats.binom.ppf(tail, 24, 0.5)) / 24
    assert width(together) == pytest.approx(tosses, abs=1 / 24)
    assert width(apart) == pytest.approx(tosses / np.sqrt(12), rel=0.35)


def test_the_interval_narrows_with_more_speakers_and_a_lower_level() -> None:
    rng = np.random.default_rng(0)
    few, many = (width(speaker_bootstrap(simulate(rng, speakers=n))) for n in (8, 128))
    assert many < few / 2
    frame = simulate(rng)
    assert width(speaker_bootstrap(frame, level=0.5)) < width(speaker_bootstrap(frame, level=0.95)) / 2


def test_more_seeds_of_the_same_clips_are_not_more_data() -> None:
    frame = simulate(np.random.default_rng(0), seeds=1)
    copies = pd.concat([frame.assign(seed=seed) for seed in range(10)])
    assert speaker_bootstrap(copies) == pytest.approx(speaker_bootstrap(frame))


def test_same_draws_for_the_same_seed_whatever_the_row_order() -> None:
    frame = simulate(np.random.default_rng(0))
    shuffled = frame.sample(frac=1, random_state=1)
    assert speaker_bootstrap(frame, seed=5) == speaker_bootstrap(shuffled, seed=5)
    assert speaker_bootstrap(frame, seed=5) != speaker_bootstrap(frame, seed=6)


def test_a_model_does_not_differ_from_itself() -> None:
    frame = simulate(np.random.default_rng(0))
    difference = paired_difference(frame, frame)
    assert difference == {"mean": 0, "low": 0, "high": 0, "p": 1, "effect_size": None}
    assert verdict(difference) == "cannot tell"


def test_verdict_needs_the_whole_interval_on_one_side_and_a_small_p() -> None:
    above, below = {"mean": 0.2, "low": 0.1, "high": 0.3}, {"mean": -0.2, "low": -0.3, "high": -0.1}
    assert verdict(above | {"p": 0.05}) == "better"
    assert verdict(below | {"p": 0.01}) == "worse"
    assert verdict(above | {"p": 0.051}) == verdict(above | {"p": None}) == "cannot tell"
    for low in (-0.1, 0.0, None):
        assert verdict({"mean": 0.2, "low": low, "high": 0.3, "p": 0.01}) == "cannot tell"
    assert verdict(above | {"p": 0.01}, p=0.06) == verdict(above | {"p": 0.01}, p=float("nan")) == "cannot tell"
    assert verdict(above | {"p": 0.06}, p=0.01) == "better"


def test_one_speaker_has_a_score_and_no_interval() -> None:
    frame = simulate(np.random.default_rng(0), speakers=1)
    interval = speaker_bootstrap(frame, "WA")
    assert interval == {"mean": pytest.approx((frame["label"] == frame["predicted"]).mean()), "low": None, "high": None}
    other = frame.assign(predicted=frame["label"])
    assert {paired_difference(other, frame)[key] for key in ("low", "high", "p", "effect_size")} == {None}


def test_unlabelled_rows_are_left_out() -> None:
    frame = simulate(np.random.default_rng(0))
    extra = frame.head(4).assign(id=list("abcd"), label=None, speaker="somebody")
    assert speaker_bootstrap(pd.concat([frame, extra])) == speaker_bootstrap(frame)


def test_bad_input_is_named() -> None:
    frame = simulate(np.random.default_rng(0), speakers=2, clips=3)
    with pytest.raises(InputError, match="frame lacks speaker, seed"):
        speaker_bootstrap(frame.drop(columns=["speaker", "seed"]))
    with pytest.raises(InputError, match="none with a label"):
        speaker_bootstrap(frame.assign(label=None))
    with pytest.raises(InputError, match="'s0c0' more than once under seed 0"):
        speaker_bootstrap(pd.concat([frame, frame]))
    with pytest.raises(InputError, match="'s0c0' several speakers"):
        speaker_bootstrap(frame.assign(speaker=["odd", *frame["speaker"][1:]]))
    for column, value in (("speaker", None), ("predicted", None), ("seed", np.nan)):
        with pytest.raises(InputError, match=rf"frame has no {column} for clip 's0c1' \(1 such rows\)"):
            gap = frame["id"].eq("s0c1") & frame["seed"].eq(0)
            speaker_bootstrap(frame.assign(**{column: frame[column].astype(object).where(~gap, value)}))
    with pytest.raises(InputError, match="resamples is 0"):
        speaker_bootstrap(frame, resamples=0)
    with pytest.raises(InputError, match="statistic is 'F1'"):
        speaker_bootstrap(frame, "F1")
    with pytest.raises(InputError, match="level is 95"):
        speaker_bootstrap(frame, level=95)


def test_a_mismatch_of_pairs_is_named() -> None:
    frame = simulate(np.random.default_rng(0), speakers=2, clips=3)
    with pytest.raises(InputError, match="differ in id: only one has 's1c0', 's1c1', 's1c2'"):
        paired_difference(frame, frame[frame["speaker"] == "s0"])
    with pytest.raises(InputError, match="differ in seed: only one has 0, 1, 7"):
        paired_difference(frame, frame.assign(seed=7).drop_duplicates("id"))
    with pytest.raises(InputError, match=r"differ in \(id, seed\): only one has \('s0c0', 0\)"):
        paired_difference(frame, frame[(frame["id"] != "s0c0") | (frame["seed"] == 1)])
    with pytest.raises(InputError, match="differ in speaker: clip 's0c0' has 's0' in one and 's5' in the other"):
        paired_difference(frame, frame.assign(speaker=frame["speaker"].replace("s0", "s5")))
    with pytest.raises(InputError, match="differ in label: clip 's0c0'"):
        paired_difference(frame, frame.assign(label=frame["label"].replace("angry", "sad")))
