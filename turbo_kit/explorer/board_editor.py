"""The pair board: a table of views to click on, what each pair costs on a batch, and a short training of the board."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets
import torch

from turbo_kit.config import InputError, unknown
from turbo_kit.explorer.figure_panel import figure_html
from turbo_kit.explorer.weight_cells import board_controls, board_layout, update_button, weight_button
from turbo_kit.figures import live_curves, term_bars
from turbo_kit.inspection import Batch, LiveStep, LiveTraining, dropout_views, live_training, loss_table, term_losses
from turbo_kit.objectives import Objective

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from turbo_kit.inspection import Batch, LiveStep, LiveTraining
PAIRS = ("a1-a2", "t1-t2", "a1-t1", "a1-t2", "a2-t1", "a2-t2")
BOARDS: dict[str, tuple[str, ...]] = {
    "ce-2pass": (),
    "in-modal": PAIRS[:2],
    "clip": ("a1-t1",),
    "cross-modal": PAIRS[2:],
    "turbo": PAIRS,
}
"""Presets that are only a board, with the pairs of weight 1 in each."""
CUSTOM_BOARD = "a board of your own"
REDRAW_SECONDS = 0.3
"""Seconds between redraws of a training's curves."""
KERNEL_PAUSE = 0.01
"""Seconds after each step in which the kernel handles other clicks and cells."""
KEPT_TRAININGS = 5
"""Number of earlier trainings whose curves stay for comparison."""


def board_objective(
    weights: Mapping[str, float], contrastive_weight: float = 0.1, normalize_pairs: bool = True, **settings: Any
) -> Objective:
    """The objective of a board: cross-entropy and its pairs. It always runs two passes, so that boards differ by pairs.

    Args:
        weights: by pair, such as `{"a1-t2": 0.5}`.
        contrastive_weight, normalize_pairs: as in `RunConfig`.
        settings: further options of `Objective`, such as `temperature`.
    """
    scale: dict[str, Any] = {"contrastive_weight": contrastive_weight, "normalize_pairs": normalize_pairs}
    pairs: dict[Any, float] = dict(weights)
    return Objective(pairs, passes=2, **scale, **settings)


def board_view(table: "pd.DataFrame", batch: int) -> "tuple[Figure, str]":
    """What the explorer shows of a board: each term's loss and its part of the total, and the same in a sentence.

    Args:
        table: see `loss_table`.
        batch: clips in it.
    """
    total, own = float(table["weighted"].sum()), float(table["weighted"]["cross_entropy"])
    parts = [f"{name} {row.weight:.3g} × {row.loss:.2f}" for name, row in table.iterrows() if row.weight]
    left_out = [f"{name} {row.loss:.2f}" for name, row in table.iterrows() if not row.weight]
    said = f"Total {total:.3f} = cross-entropy {own:.3f} + pairs {total - own:.3f}: {', '.join(parts[1:]) or 'none'}."
    said += f" Left out: {', '.join(left_out)}." if left_out else ""
    return term_bars(table, batch), said


def training_view(
    live: LiveTraining, runs: Mapping[str, Sequence[LiveStep]], present: str, batch: int
) -> "tuple[Figure, str]":
    """What the explorer shows of short trainings: the curves, and the last step of each in a sentence.

    Args:
        live: what was trained.
        runs: points by name.
        present: the one that is drawn in colour.
        batch: clips in a batch.
    """
    said = []
    for name, points in sorted(runs.items(), key=lambda item: item[0] != present):
        scores = [point.UA for point in points if point.UA is not None]
        score = f"UA on development clips {100 * scores[-1]:.1f} %" if scores else "no UA yet"
        step, losses = points[-1].step, points[-1].losses
        said.append(f"{name}: step {step} of {live.steps}, cross-entropy {losses['cross_entropy']:.2f}, {score}.")
    said.append(f"Before training: {100 * live.UA:.1f} %.")
    return live_curves(runs, present, live.UA, batch, live.steps), " ".join(said)


class PairBoardExplorer:
    """A table of views whose pairs are switched and weighed, what they cost at once, and what training makes of them.

    A click on a cell, or the space bar, switches its pair between weight 0 and 1; the slider then gives it any weight.
    `train` starts a short training of the board as it is; it goes on while other cells and controls are used, and
    `stop` ends it. Show the explorer by naming it in a cell.

    Args:
        live: what each training starts from; its untrained model is the one that sees the batch.
        batch: the clips whose losses are shown.
        board: one of `BOARDS`, to begin with.
        contrastive_weight, normalize_pairs: to begin with.
        seed: of the dropout masks of the batch's views.
        settings: further options of `Objective`, such as `temperature`.

    Attributes:
        cells: the buttons by pair, such as `a1-t2`; `mirrored` has those below the diagonal.
        controls: `board`, `weight`, `contrastive_weight`, `normalize_pairs`, `train` and `stop`.
        weights: the board as it is.
        chosen: the pair that the slider weighs, switched last.
        runs: the points of each training by name.
        losses, curves: the places of the two figures.
        panel: all of it.

    Raises:
        InputError: no such board, or a setting that cannot be used.
    """

    def __init__(
        self,
        live: LiveTraining,
        batch: Batch,
        board: str = "turbo",
        contrastive_weight: float = 0.1,
        normalize_pairs: bool = True,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        if board not in BOARDS:
            raise unknown("board", board, BOARDS)
        self.live, self.batch, self._settings = live, batch, settings
        self.weights = {pair: float(pair in BOARDS[board]) for pair in PAIRS}
        self.runs: dict[str, list[LiveStep]] = {}
        self.chosen = PAIRS[0]
        self.cells, self.mirrored = ({pair: weight_button() for pair in PAIRS} for _ in range(2))
        self.controls = board_controls(list(BOARDS), board, contrastive_weight, normalize_pairs)
        self.losses, self.curves = ipywidgets.HTML(), ipywidgets.HTML()
        self._terms = self._losses_of_terms(seed)
        self._trainings, self._stopped, self._setting = 0, False, False
        self._task: asyncio.Task[None] | None = None
        self._connect_controls()
        self.panel = board_layout(self.cells, self.mirrored, self.controls, self.losses, self.curves)
        self._show()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.panel._repr_mimebundle_(**options)

    @property
    def objective(self) -> Objective:
        """The objective of the board as it is."""
        scale = {name: self.controls[name].value for name in ("contrastive_weight", "normalize_pairs")}
        return board_objective(self.weights, **scale, **self._settings)

    @property
    def board(self) -> str:
        """The name of the board, where it is one of `BOARDS`."""
        for name, pairs in BOARDS.items():
            if self.weights == {pair: float(pair in pairs) for pair in PAIRS}:
                return name
        return CUSTOM_BOARD

    async def train(self) -> None:
        """Trains the board as it is from the start, and draws as it goes; the kernel stays free between the steps."""
        self._trainings, self._stopped = self._trainings + 1, False
        weight = self.controls["contrastive_weight"].value
        name = f"training {self._trainings} ({self.board}, contrastive weight {weight:.2g})"
        points: list[LiveStep] = []
        earlier, drawn = dict(list(self.runs.items())[-KEPT_TRAININGS:]), 0.0
        self._set_busy(True)
        try:
            for point in live_training(self.live, self.objective):
                points.append(point)
                self.runs = earlier | {name: points}
                if time.perf_counter() - drawn > REDRAW_SECONDS:
                    self._draw_curves(name)
                    drawn = time.perf_counter()
                await asyncio.sleep(KERNEL_PAUSE)
                if self._stopped:
                    break
            self._draw_curves(name)
        except InputError as error:
            self.curves.value += f'<p role="alert">{escape(str(error))}</p>'
        finally:
            self._set_busy(False)

    def _losses_of_terms(self, seed: int) -> dict[str, float]:
        """The unweighted loss of each term on the batch."""
        model = self.live.setup.model
        model.load_trained_state(self.live.weights)
        with torch.no_grad():
            output = dropout_views(model, self.batch, seed=seed)
            losses = term_losses(self.objective, output.views, output.logits, self.batch)
        return {name: float(loss) for name, loss in losses.items()}

    def _connect_controls(self) -> None:
        """Connects every control with what it changes."""

        def switch(pair: str) -> None:
            with self._changed_together():
                self.chosen = pair
                self.weights[pair] = 0.0 if self.weights[pair] else 1.0

        def choose(change: Any) -> None:
            if change.new in BOARDS and not self._setting:
                with self._changed_together():
                    self.weights = {pair: float(pair in BOARDS[change.new]) for pair in PAIRS}

        def weigh(change: Any) -> None:
            if not self._setting:
                with self._changed_together():
                    self.weights[self.chosen] = change.new

        def show(_: Any) -> None:
            if not self._setting:
                self._show()

        for cells in (self.cells, self.mirrored):
            for pair, cell in cells.items():
                cell.on_click(lambda _, pair=pair: switch(pair))
        self.controls["board"].observe(choose, names="value")
        self.controls["weight"].observe(weigh, names="value")
        for name in ("contrastive_weight", "normalize_pairs"):
            self.controls[name].observe(show, names="value")
        self.controls["train"].on_click(lambda _: self._start())
        self.controls["stop"].on_click(lambda _: self._stop())

    @contextmanager
    def _changed_together(self) -> Iterator[None]:
        """Sets controls without triggering their callbacks; redraws once at the end."""
        self._setting = True
        try:
            yield
        finally:
            self._setting = False
        self._show()

    def _show(self) -> None:
        """Updates cells, controls and losses to the current board."""
        slider = self.controls["weight"]
        self._setting = True
        self.controls["board"].value = self.board if self.board in BOARDS else None
        slider.value, slider.description = self.weights[self.chosen], f"weight of {self.chosen}"
        self._setting = False
        for cells in (self.cells, self.mirrored):
            for pair, cell in cells.items():
                update_button(cell, pair, self.weights[pair], pair == self.chosen)
        try:
            self.losses.value = figure_html(*board_view(loss_table(self.objective, self._terms), len(self.batch)))
        except InputError as error:
            self.losses.value = f'<p role="alert">{escape(str(error))}</p>'

    def _start(self) -> None:
        """Trains in the background of a running kernel; without one, blocks until the training ends."""
        try:
            self._task = asyncio.get_running_loop().create_task(self.train())
        except RuntimeError:
            asyncio.run(self.train())

    def _stop(self) -> None:
        self._stopped = True

    def _set_busy(self, busy: bool) -> None:
        self.controls["train"].disabled, self.controls["stop"].disabled = busy, not busy

    def _draw_curves(self, name: str) -> None:
        batch_size = self.live.setup.config.training.batch_size
        self.curves.value = figure_html(*training_view(self.live, self.runs, name, batch_size))
