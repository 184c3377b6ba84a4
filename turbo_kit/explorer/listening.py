"""A listening game: name the class of clips by ear, by eye or by both, and see how models did on the same clips."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd

from turbo_kit.config import InputError, unknown
from turbo_kit.corpora import Corpus, Utterance
from turbo_kit.explorer.sound import playable_audio
from turbo_kit.runs import Run

GIVEN = {"audio": "hear it", "text": "read it", "both": "hear and read it"}
"""What a player is given of a clip, and how the button says it."""


@dataclass
class ListeningGame:
    """Clips that are shown one after another without their label, and what a player and models answered."""

    clips: tuple[Utterance, ...]
    classes: tuple[str, ...]
    models: dict[str, dict[str, str]]
    """What each model answered, by its name and the clip's id."""
    place: int = 0
    """Of the clip that is asked for."""
    answers: dict[str, dict[str, str]] = field(default_factory=lambda: {given: {} for given in GIVEN})
    """What the player answered, by what was given and the clip's id; the first answer counts."""

    @property
    def clip(self) -> Utterance:
        """The clip that is asked for now."""
        return self.clips[self.place]

    def answer(self, label: str, given: str) -> bool:
        """Takes the player's answer to the present clip, and says whether it is right.

        Args:
            label: a class.
            given: what the player had of the clip: `audio`, `text` or `both`.

        Raises:
            InputError: no such class, or nothing that can be given.
        """
        if label not in self.classes:
            raise unknown("class", label, self.classes)
        if given not in GIVEN:
            raise unknown("part of a clip", given, GIVEN)
        self.answers[given].setdefault(self.clip.id, label)
        return label == self.clip.label

    def next(self) -> None:
        """Goes on to the next clip; after the last comes the first."""
        self.place = (self.place + 1) % len(self.clips)

    def scores(self) -> pd.DataFrame:
        """How many answers were right: the player's, and those of each model on the clips that the player answered.

        Returns:
            One row for each way of being given a clip that was played: `given`, `clips`, `you`, and a column for each
            model; the counts are of right answers.
        """
        rows = []
        for given, answers in self.answers.items():
            played = [clip for clip in self.clips if clip.id in answers]
            if played:
                row: dict[str, Any] = {"given": given, "clips": len(played), "you": _right(played, answers)}
                rows.append(row | {name: _right(played, said) for name, said in self.models.items()})
        return pd.DataFrame(rows, columns=["given", "clips", "you", *self.models])

    def table(self) -> pd.DataFrame:
        """Every clip of the game with its label and each model's answer: the game without a player."""
        rows = [
            {"id": clip.id, "text": clip.text, "label": clip.label}
            | {name: said[clip.id] for name, said in self.models.items()}
            for clip in self.clips
        ]
        return pd.DataFrame(rows)


def _right(clips: Sequence[Utterance], answers: Mapping[str, str]) -> int:
    return sum(answers[clip.id] == clip.label for clip in clips)


def listening_clips(clips: Corpus, runs: Mapping[str, Run], count: int = 12, seed: int = 0) -> ListeningGame:
    """Draws development clips for a game, and looks up what the models made of them.

    Args:
        clips: the development clips of the runs.
        runs: trained runs by the name that the scores show, such as `audio alone`.
        count: how many clips.
        seed: of the draw; the same clips each time.

    Raises:
        InputError: fewer labelled clips than `count`, or a run that has no prediction of a clip.
    """
    labelled = [clip for clip in clips.utterances if clip.label is not None]
    if not 1 <= count <= len(labelled):
        raise InputError(f"count = {count}: the game has {len(labelled)} labelled clips; draw 1 to that many.")
    drawn = tuple(labelled[i] for i in np.random.default_rng(seed).permutation(len(labelled))[:count])
    models = {}
    for name, run in runs.items():
        table = run.predictions("dev")
        said = dict(zip(table["id"], table["predicted"], strict=True))
        missing = [clip.id for clip in drawn if clip.id not in said]
        if missing:
            raise InputError(
                f"{run.folder} has no prediction of clip {missing[0]!r}: play with the development clips of its fold."
            )
        models[name] = said
    return ListeningGame(drawn, clips.classes, models)


def listening_game(game: ListeningGame) -> ipywidgets.VBox:
    """The game as widgets: what to be given, the clip, a button for each class, and the score.

    Args:
        game: what `listening_clips` drew; it keeps the answers.
    """
    given = ipywidgets.ToggleButtons(options=[(said, name) for name, said in GIVEN.items()], description="You")
    clip, said, score = ipywidgets.VBox(), ipywidgets.HTML(), ipywidgets.HTML()
    answers = [ipywidgets.Button(description=name, tooltip=f"Answer {name}") for name in game.classes]
    onward = ipywidgets.Button(description="next clip", icon="arrow-right")

    def show(_: Any = None) -> None:
        clip.children = _presented(game.clip, given.value, game.place, len(game.clips))
        said.value = _status("Which class is it?")

    def take(button: Any) -> None:
        right = game.answer(button.description, given.value)
        first = game.answers[given.value][game.clip.id]
        kept = "" if first == button.description else f" Your first answer, {first}, counts."
        verdict = "right" if right else f"it is {game.clip.label}"
        said.value = _status(f"{button.description}: {verdict}.{kept} {_model_answers(game)}")
        score.value = _tabulated(game)

    def go_on(_: Any) -> None:
        game.next()
        show()

    given.observe(show, names="value")
    onward.on_click(go_on)
    for button in answers:
        button.on_click(take)
    show()
    return ipywidgets.VBox([given, clip, ipywidgets.HBox(answers), said, onward, score])


def _presented(clip: Utterance, given: str, place: int, count: int) -> tuple[ipywidgets.Widget, ...]:
    """The parts of a clip that the player is given."""
    parts: list[Any] = [ipywidgets.HTML(f"Clip {place + 1} of {count}")]
    if given != "text":
        parts.append(ipywidgets.HTML(_player(clip.path)))
    if given != "audio":
        parts.append(ipywidgets.HTML(f'<blockquote style="font-size:1.2em">{escape(clip.text)}</blockquote>'))
    return tuple(parts)


def _player(path: Path) -> str:
    """A player with a name for a screen reader, which `ipywidgets.Audio` cannot have."""
    kind, content = playable_audio(path)
    sound = base64.b64encode(content).decode("ascii")
    return f'<audio controls aria-label="The clip" src="data:{kind};base64,{sound}"></audio>'


def _tabulated(game: ListeningGame) -> str:
    """The scores as JupyterLab shows a table."""
    table = game.scores().to_html(index=False, border=0)
    return f'<div class="jp-RenderedHTMLCommon"><p>Right answers:</p>{table}</div>'


def _model_answers(game: ListeningGame) -> str:
    said = [f"{name} said {answers[game.clip.id]}" for name, answers in game.models.items()]
    return f"Of the models, {', '.join(said)}." if said else ""


def _status(text: str) -> str:
    """A line that a screen reader reads out when it changes."""
    return f'<p role="status" aria-live="polite">{escape(text)}</p>'
