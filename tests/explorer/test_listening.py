"""The listening game hides the label, keeps first answers, and counts models on the clips that were answered."""

import base64
from dataclasses import replace

import pandas as pd
import pytest

from turbo_kit import InputError
from turbo_kit.explorer.listening import listening_clips, listening_game
from turbo_kit.runs import Run, write_json


@pytest.fixture
def dev(tones_corpus):
    return tones_corpus.fold(0).dev


@pytest.fixture
def runs(dev, tmp_path):
    """A model that is always right, and one that always says `high`."""
    found = {}
    for name, says in (("sure", lambda clip: clip.label), ("deaf", lambda clip: "high")):
        folder = tmp_path / name
        folder.mkdir()
        rows = [{"split": "dev", "id": clip.id, "predicted": says(clip)} for clip in dev.utterances]
        pd.DataFrame(rows).to_parquet(folder / "predictions.parquet")
        write_json(folder / "config.json", {})
        found[name] = Run(folder)
    return found


@pytest.fixture
def game(dev, runs):
    return listening_clips(dev, runs, count=6)


def wrong(game):
    return next(name for name in game.classes if name != game.clip.label)


def test_the_draw_is_the_same_each_time_and_another_with_another_seed(dev, runs):
    first, again, other = (listening_clips(dev, runs, 6, seed).clips for seed in (0, 0, 1))
    assert first == again != other and len(set(first)) == 6


def test_unlabelled_clips_are_no_question(dev, runs):
    some = dev.subset(replace(u, label=None) if i % 2 else u for i, u in enumerate(dev.utterances))
    assert all(clip.label is not None for clip in listening_clips(some, runs, len(dev) // 2).clips)
    with pytest.raises(InputError, match=f"the game has {len(dev) // 2} labelled clips"):
        listening_clips(some, runs, len(dev))


def test_a_run_of_other_clips_is_refused(tones_corpus, runs):
    with pytest.raises(InputError, match="has no prediction of clip"):
        listening_clips(tones_corpus.fold(1).dev, runs, 2)


def test_the_first_answer_counts_and_models_are_counted_on_the_same_clips(game):
    assert game.answer(game.clip.label, "audio")
    assert not game.answer(wrong(game), "audio")
    high = int(game.clip.label == "high")
    game.next()
    assert not game.answer(wrong(game), "audio")
    high += game.clip.label == "high"
    row = game.scores().set_index("given").loc["audio"]
    assert row.to_dict() == {"clips": 2, "you": 1, "sure": 2, "deaf": high}


def test_ways_of_being_given_a_clip_are_counted_apart(game):
    game.answer(game.clip.label, "text")
    game.answer(wrong(game), "both")
    scores = game.scores().set_index("given")
    assert scores["you"].to_dict() == {"text": 1, "both": 0}


def test_after_the_last_clip_comes_the_first(game):
    seen = []
    for _ in range(7):
        seen.append(game.clip.id)
        game.next()
    assert seen[6] == seen[0] and len(set(seen)) == 6


def test_what_is_no_answer_is_refused(game):
    with pytest.raises(InputError, match="did you mean 'high'"):
        game.answer("hihg", "audio")
    with pytest.raises(InputError, match="did you mean 'audio'"):
        game.answer("high", "audoi")


def test_the_static_twin_shows_every_clip_with_every_answer(game):
    table = game.table()
    assert table["id"].tolist() == [clip.id for clip in game.clips]
    assert (table["sure"] == table["label"]).all() and (table["deaf"] == "high").all()


def test_the_widgets_hide_what_is_not_given_and_keep_the_score(game):
    panel = listening_game(game)
    given, clip, answers, said, onward, score = panel.children

    def shown():
        return "".join(part.value for part in clip.children)

    sound = base64.b64encode(game.clip.path.read_bytes()).decode()
    assert f'aria-label="The clip" src="data:audio/wav;base64,{sound}"' in shown() and game.clip.text not in shown()
    given.value = "text"
    assert "<audio" not in shown() and game.clip.text in shown()
    assert game.clip.label not in said.value
    next(button for button in answers.children if button.description == game.clip.label).click()
    assert "right" in said.value and "sure said" in said.value and "<td>1</td>" in score.value
    before = game.clip
    onward.click()
    assert game.clip != before and "Clip 2 of 6" in clip.children[0].value and "right" not in said.value


def test_a_transcript_is_shown_as_text_and_never_as_markup(game):
    game.clips = tuple(replace(clip, text="<script>alert(1)</script>") for clip in game.clips)
    panel = listening_game(game)
    panel.children[0].value = "both"
    assert "<script>" not in panel.children[1].children[-1].value
