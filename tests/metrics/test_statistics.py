import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, recall_score

from turbo_kit.config import InputError
from turbo_kit.metrics import paired_difference, speaker_bootstrap, verdict

CLASSES = np.array(["angry", "happy", "sad"])


def simulate(rng: np.random.Generator, speakers: int = 16, clips: int = 12, seeds: int = 2, shift: float = 0.0):
    """Predictions with an accuracy of about 0.6 that differs by speaker (sd 0.12) and is shared by a clip's seeds."""
    rows = []
    skill = np.clip(rng.normal(0.6 + shift, 0.12, size=speakers), 0, 1)
    for speaker in range(speakers):
        luck = rng.uniform(size=clips)
        for seed in range(seeds):
            right = 0.9 * luck + 0.1 * rng.uniform(size=clips) < skill[speaker]
            label = np.arange(clips) % 3
            predicted = np.where(right, label, (label + 1) % 3)
            for clip in range(clips):
                name = f"s{speaker}c{clip}"
                rows.append((name, f"s{speaker}", CLASSES[label[clip]], CLASSES[predicted[clip]], seed))
    return pd.DataFrame(rows, columns=["id", "speaker", "label", "predicted", "seed"])


def unbalanced(rng: np.random.Generator) -> pd.DataFrame:
    """Speakers with different classes and numbers of clips, so that a draw may lack a class."""
    frame = simulate(rng, speakers=5, clips=9, seeds=2)
    keep = ~((frame["label"] == "sad") & (frame["speaker"] != "s0"))
    return frame[keep].sample(frac=1, random_state=0)


def plain_interval(frame: pd.DataFrame, statistic: str, resamples: int, level: float, seed: int, other=None):
    """The same by putting the drawn speakers' rows together one by one, scored by scikit-learn."""

    def score(rows: pd.DataFrame) -> float:
        scores = []
        for _, one in rows.groupby("seed"):
            if statistic == "WA":
                scores.append(accuracy_score(one["label"], one["predicted"]))
            else:
                present = sorted(one["label"].unique())
                scores.append(recall_score(one["label"], one["predicted"], labels=present, average="macro"))
        return float(np.mean(scores))

    names = sorted(frame["speaker"].unique())
    drawn = np.random.default_rng(seed).multinomial(len(names), [1 / len(names)] * len(names), size=resamples)
    values = []
    for times in [np.ones(len(names), dtype=int), *drawn]:
        chosen = [name for name, n in zip(names, times, strict=True) for _ in range(n)]
        value = score(pd.concat([frame[frame["speaker"] == name] for name in chosen]))
        if other is not None:
            value -= score(pd.concat([other[other["speaker"] == name] for name in chosen]))
        values.append(value)
    n = len(names)
    tail = stats.norm.sf(np.sqrt(n / (n - 1)) * stats.t.isf((1 - level) / 2, n - 1))
    return {"mean": values[0], "low": np.quantile(values[1:], tail), "high": np.quantile(values[1:], 1 - tail)}


@pytest.mark.parametrize("statistic", ["UA", "WA"])
def test_agrees_with_resampling_row_by_row(statistic: str) -> None:
    frame = unbalanced(np.random.default_rng(0))
    fast = speaker_bootstrap(frame, statistic, resamples=60, level=0.8, seed=3)
    assert fast == pytest.approx(plain_interval(frame, statistic, 60, 0.8, 3))
    other = frame.assign(predicted=np.random.default_rng(1).permutation(frame["predicted"]))
    fast = paired_difference(frame, other.sample(frac=1, random_state=1), statistic, resamples=60, level=0.8, seed=3)
    assert fast == pytest.approx(plain_interval(frame, statistic, 60, 0.8, 3, other))


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


def test_false_alarms_and_power_of_the_paired_difference() -> None:
    rng = np.random.default_rng(1)
    alarms = sum(
        verdict(paired_difference(simulate(rng), simulate(rng), resamples=400)) != "cannot tell" for _ in range(150)
    )
    assert alarms / 150 <= 0.11
    found = [verdict(paired_difference(simulate(rng, shift=0.3), simulate(rng), resamples=400)) for _ in range(20)]
    assert found.count("better") >= 18 and "worse" not in found


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
    assert difference == {"mean": 0, "low": 0, "high": 0}
    assert verdict(difference) == "cannot tell"


def test_verdict_needs_the_whole_interval_on_one_side() -> None:
    assert verdict({"mean": 0.2, "low": 0.1, "high": 0.3}) == "better"
    assert verdict({"mean": -0.2, "low": -0.3, "high": -0.1}) == "worse"
    assert verdict({"mean": 0.2, "low": -0.1, "high": 0.3}) == "cannot tell"
    assert verdict({"mean": 0.2, "low": 0.0, "high": 0.3}) == "cannot tell"
    assert verdict({"mean": 0.2, "low": None, "high": None}) == "cannot tell"


def test_one_speaker_has_a_score_and_no_interval() -> None:
    frame = simulate(np.random.default_rng(0), speakers=1)
    interval = speaker_bootstrap(frame, "WA")
    assert interval == {"mean": pytest.approx((frame["label"] == frame["predicted"]).mean()), "low": None, "high": None}


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
