"""A live training is the kit's own training, starts from the same place each time, and leaves the rest alone."""

import pytest
import torch

from turbo_kit import InputError, Objective, train
from turbo_kit.inspection import live_training, prepare_live_training


@pytest.fixture(scope="module")
def lists(tones_corpus):
    return tones_corpus.fold(0)


@pytest.fixture
def config(quick):
    return quick(objective="turbo", contrastive_weight=0.1, epochs=2, patience=0)


@pytest.fixture
def live(config, lists):
    return prepare_live_training(config, lists.train, lists.dev)


def test_it_is_the_training_of_the_kit(live, config, lists, tmp_path):
    points = list(live_training(live, Objective.preset("turbo", contrastive_weight=0.1)))
    history = train(config, lists.train, lists.dev, out=tmp_path).history
    steps = len(points) // config.epochs
    assert [point.step for point in points] == list(range(1, live.steps + 1))
    for epoch, row in history.iterrows():
        part = points[epoch * steps : (epoch + 1) * steps]
        for name, column in (("total", "train_loss"), ("a1-t2", "term.a1-t2"), ("cross_entropy", "term.cross_entropy")):
            assert sum(point.losses[name] for point in part) / steps == pytest.approx(row[column], rel=1e-5)
        assert [point.UA for point in part] == [None] * (steps - 1) + [pytest.approx(row["dev_UA"])]


def test_every_board_starts_from_the_same_weights_and_masks(live):
    turbo = Objective.preset("turbo", contrastive_weight=0.1)
    first = list(live_training(live, turbo))
    other = next(live_training(live, Objective.preset("in-modal", contrastive_weight=0.1, temperature="learned")))
    assert list(live_training(live, turbo)) == first
    assert other.losses["cross_entropy"] == pytest.approx(first[0].losses["cross_entropy"])
    assert set(other.losses) == {"total", "cross_entropy", "a1-a2", "t1-t2"}


def test_an_objective_with_a_learned_temperature_is_not_moved(live):
    objective = Objective.preset("clip", temperature="learned")
    before = objective.logit_scale.item()
    first = list(live_training(live, objective))
    assert objective.logit_scale.item() == before
    assert list(live_training(live, objective)) == first


def test_random_numbers_outside_are_left_alone(live):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    points = live_training(live, Objective.preset("turbo"))
    next(points)
    next(points)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_a_loss_that_is_not_finite_is_said(quick, lists, clip_norm):
    live = prepare_live_training(quick(clip_norm=clip_norm), lists.train, lists.dev)
    with pytest.raises(InputError, match="not finite any more at step 1: lower learning_rate"):
        list(live_training(live, Objective.preset("turbo", temperature=1e-39, similarity="dot")))
