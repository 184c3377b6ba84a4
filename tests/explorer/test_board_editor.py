"""A click, a key or a slider changes the board, its losses follow, and a training can be watched and stopped."""

import asyncio
import re

import pytest

from turbo_kit import InputError, Objective
from turbo_kit.explorer.board_editor import BOARDS, CUSTOM_BOARD, PAIRS, PairBoardExplorer, board_objective
from turbo_kit.inspection import draw_batch, dropout_views, live_training, prepare_live_training


@pytest.fixture(scope="module")
def live(tones, tones_corpus):
    from turbo_kit import RunConfig

    lists = tones_corpus.fold(0)
    small = {"epochs": 2, "batch_size": 8, "head_width": 32, "projection": 16}
    return prepare_live_training(RunConfig(corpus=f"manifest:{tones}", **small), lists.train, lists.dev)


@pytest.fixture(scope="module")
def batch(live, tones_corpus):
    return draw_batch(live.setup.model, tones_corpus.fold(0).train, 8)


@pytest.fixture
def explorer(live, batch):
    return PairBoardExplorer(live, batch)


def total(explorer):
    return float(re.search(r"Total ([\d.]+)", explorer.losses.value)[1])


def test_a_board_is_the_preset_of_its_name_on_two_passes():
    for name, pairs in BOARDS.items():
        preset = Objective.preset(name, contrastive_weight=0.1, normalize_pairs=True)
        board = board_objective(dict.fromkeys(pairs, 1.0))
        assert board.weights == pytest.approx(preset.weights)
        assert board.passes == 2


def test_the_losses_are_those_of_the_objective_on_the_untrained_model(explorer, live, batch):
    list(live_training(live, explorer.objective))  # moves the weights
    explorer = PairBoardExplorer(live, batch, contrastive_weight=0.3, normalize_pairs=False)
    live.setup.model.load_trained_state(live.weights)
    output = dropout_views(live.setup.model, batch)
    own = Objective.preset("turbo", contrastive_weight=0.3)(output.views, output.logits, batch.labels)
    assert total(explorer) == pytest.approx(own.total.item(), abs=1e-3)
    for pair in PAIRS:
        assert f"{pair} 0.3 × {own.terms[pair]:.2f}" in explorer.losses.value
    explorer.cells["a1-a2"].click()
    assert f"Left out: a1-a2 {own.terms['a1-a2']:.2f}." in explorer.losses.value


def test_a_click_switches_a_pair_above_and_below_the_diagonal(explorer):
    before = total(explorer)
    explorer.cells["a1-t2"].click()
    assert explorer.weights["a1-t2"] == 0 and explorer.weights["a1-t1"] == 1
    for cells in (explorer.cells, explorer.mirrored):
        assert cells["a1-t2"].description == "a1-t2: 0" and cells["a1-t1"].description == "a1-t1: 1"
    assert explorer.controls["board"].value is None and explorer.board == CUSTOM_BOARD
    assert explorer.controls["weight"].description == "weight of a1-t2" and explorer.controls["weight"].value == 0
    assert total(explorer) != before
    explorer.mirrored["a1-t2"].click()
    assert explorer.controls["board"].value == "turbo" and total(explorer) == before


def test_the_slider_weighs_the_pair_that_was_switched_last_and_no_other(explorer):
    explorer.cells["t1-t2"].click()
    explorer.controls["weight"].value = 0.4
    assert explorer.weights == {pair: 0.4 if pair == "t1-t2" else 1.0 for pair in PAIRS}
    assert explorer.cells["t1-t2"].description == "t1-t2: 0.4"
    explorer.cells["a1-a2"].click()
    explorer.controls["weight"].value = 2.0
    assert explorer.weights["a1-a2"] == 2 and explorer.weights["t1-t2"] == 0.4
    explorer.cells["t1-t2"].click()
    assert explorer.weights["t1-t2"] == 0


def test_a_preset_fills_the_board(explorer):
    for name, pairs in BOARDS.items():
        explorer.controls["board"].value = name
        assert explorer.weights == {pair: float(pair in pairs) for pair in PAIRS}
    explorer.controls["board"].value = None  # no button is pressed: nothing changes
    assert explorer.board == name and explorer.weights == dict.fromkeys(PAIRS, 1.0)


def test_weights_as_a_whole_scale_the_pairs_and_not_the_cross_entropy(explorer):
    def parts():
        return [
            float(x) for x in re.search(r"cross-entropy ([\d.]+) \+ pairs ([\d.]+):", explorer.losses.value).groups()
        ]

    own, pairs = parts()
    explorer.controls["contrastive_weight"].value = 0.2
    assert parts() == pytest.approx([own, 2 * pairs], abs=2e-3)
    explorer.controls["normalize_pairs"].value = False
    assert parts() == pytest.approx([own, 12 * pairs], abs=2e-2)


def test_cells_say_their_weight_in_words_and_the_keyboard_meets_each_pair_once(explorer):
    for pair in PAIRS:
        assert pair in explorer.cells[pair].description and "weighs 1" in explorer.cells[pair].tooltip
        assert explorer.cells[pair].tabbable is not False and explorer.mirrored[pair].tabbable is False


def test_a_training_is_drawn_to_its_end_and_earlier_ones_are_kept(explorer, live):
    explorer.controls["train"].click()  # no kernel runs here: it trains to the end
    (name,) = explorer.runs
    assert explorer.runs[name] == list(
        live_training(live, Objective.preset("turbo", contrastive_weight=0.1, normalize_pairs=True))
    )
    assert f"step {live.steps} of {live.steps}" in explorer.curves.value
    explorer.controls["board"].value = "in-modal"
    explorer.controls["train"].click()
    assert "training 1 (turbo" in explorer.curves.value and "training 2 (in-modal" in explorer.curves.value
    assert not explorer.controls["train"].disabled and explorer.controls["stop"].disabled
    for _ in range(6):
        explorer.controls["train"].click()
    assert len(explorer.runs) == 6 and "training 2" not in explorer.curves.value


def test_a_training_goes_on_beside_the_kernel_and_can_be_stopped(explorer, live):
    async def watch():
        explorer.controls["train"].click()
        while not explorer.curves.value:
            await asyncio.sleep(0.001)
        during = len(next(iter(explorer.runs.values())))
        explorer.cells["a1-a2"].click()  # the board may be changed meanwhile; this training keeps its own
        assert explorer.controls["train"].disabled and not explorer.controls["stop"].disabled
        explorer.controls["stop"].click()
        await explorer._task
        return during

    during = asyncio.run(watch())
    (points,) = explorer.runs.values()
    assert 1 <= during <= len(points) <= during + 1 < live.steps
    assert "a1-a2" in points[-1].losses
    assert not explorer.controls["train"].disabled and explorer.controls["stop"].disabled


def test_a_training_that_fails_says_why_and_the_next_one_starts(live, batch):
    explorer = PairBoardExplorer(live, batch, similarity="dot", temperature=1e-39)
    explorer.controls["train"].click()
    assert 'role="alert"' in explorer.curves.value and "not finite" in explorer.curves.value
    assert not explorer.runs and not explorer.controls["train"].disabled
    explorer.controls["board"].value = "ce-2pass"
    explorer.controls["train"].click()
    assert f"step {live.steps}" in explorer.curves.value


def test_wrong_settings_stop_before_anything_is_shown(live, batch):
    with pytest.raises(InputError, match="did you mean 'turbo'"):
        PairBoardExplorer(live, batch, board="turb")
    with pytest.raises(InputError, match="temperature is 0"):
        PairBoardExplorer(live, batch, temperature=0)
