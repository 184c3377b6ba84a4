import pytest

from turbo_kit.config import InputError
from turbo_kit.objectives import PairBoard, View, cross_modal_pairs, in_modal_pairs


def test_a_view_is_a_modality_and_a_pass():
    assert View.parse("a1") == ("a", 1)
    assert View.parse("v12") == ("v", 12)
    assert str(View.parse("t2")) == "t2"


@pytest.mark.parametrize("name", ["", "a", "1", "a0", "a01", "A1", "audio1", "a1 ", "a-1", 1, None])
def test_a_wrong_view_name_is_an_error(name):
    with pytest.raises(InputError, match=r"is not a view's name: expected .*'a1'"):
        View.parse(name)


def test_helpers_make_the_pairs_inside_and_across_modalities():
    assert list(in_modal_pairs()) == [("a1", "a2"), ("t1", "t2")]
    assert list(cross_modal_pairs()) == [("a1", "t1"), ("a1", "t2"), ("a2", "t1"), ("a2", "t2")]
    assert list(in_modal_pairs("t", passes=3, weight=0.5).items()) == [
        (("t1", "t2"), 0.5),
        (("t1", "t3"), 0.5),
        (("t2", "t3"), 0.5),
    ]
    assert len(cross_modal_pairs("atv", passes=2)) == 12


@pytest.mark.parametrize("key", [("a1", "t2"), ("t2", "a1"), "a1-t2", "t2-a1"])
def test_a_pair_has_one_name_however_it_is_written(key):
    (pair,) = PairBoard.parse({key: 0.5}).pairs
    assert (pair.name, pair.weight, pair.in_modal) == ("a1-t2", 0.5, False)


def test_passes_are_ordered_as_numbers():
    (pair,) = PairBoard.parse({("a10", "a9"): 1.0}).pairs
    assert pair.name == "a9-a10"
    assert pair.in_modal


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({("a1", "a1"): 1.0}, "pairs a view with itself"),
        ({("a1", "t1"): 1.0, ("t1", "a1"): 1.0}, "pair a1-t1 is given twice"),
        ({("a1", "t1"): 1.0, "a1-t1": 1.0}, "pair a1-t1 is given twice"),
        ({("a1", "t1"): -0.1}, r"weight of pair a1-t1 is -0.1: expected a finite number, 0"),
        ({("a1", "t1"): float("nan")}, "weight of pair a1-t1 is nan"),
        ({("a1", "t1"): float("inf")}, "weight of pair a1-t1 is inf"),
        ({("a1", "t1"): "1"}, "weight of pair a1-t1 is '1'"),
        ({("a1", "t1", "t2"): 1.0}, "is not two views"),
        ({"a1": 1.0}, "is not two views"),
        ({("a1", "x"): 1.0}, "view 'x' is not a view's name"),
        ([("a1", "t1")], "pairs must be a mapping"),
    ],
)
def test_a_wrong_board_is_an_error_that_names_the_pair(weights, message):
    with pytest.raises(InputError, match=message):
        PairBoard.parse(weights)


def test_normalized_weights_sum_to_one_and_keep_their_ratios():
    board = PairBoard.parse({"a1-a2": 1.0, "t1-t2": 3.0, "a1-t1": 0.0}).normalized()
    assert [pair.weight for pair in board.pairs] == [0.25, 0.75, 0.0]
    assert PairBoard.parse({"a1-a2": 0.0}).normalized() == PairBoard.parse({"a1-a2": 0.0})


def test_pairs_of_weight_zero_need_no_views():
    board = PairBoard.parse({"a1-t1": 1.0, "a1-v2": 0.0})
    assert [pair.name for pair in board.active] == ["a1-t1"]
    assert [str(view) for view in board.views] == ["a1", "t1"]


def test_the_table_is_symmetric_and_shows_every_view():
    assert PairBoard.parse({("t1", "a1"): 0.5, "a1-a2": 0.0}).table() == {
        "a1": {"a1": 0.0, "a2": 0.0, "t1": 0.5},
        "a2": {"a1": 0.0, "a2": 0.0, "t1": 0.0},
        "t1": {"a1": 0.5, "a2": 0.0, "t1": 0.0},
    }
