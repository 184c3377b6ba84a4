"""A look at one batch: the views that dropout makes of it, and what each pair of a board does with them."""

from turbo_kit.inspection.dropout_distances import (
    ViewDistances,
    check_trunks,
    encoder_views,
    layer_sweep,
    layer_views,
    neighbour_groups,
    pull_and_push,
    view_distances,
    view_sentence,
    view_sweep,
)
from turbo_kit.inspection.live_training import LiveStep, LiveTraining, live_training, prepare_live_training
from turbo_kit.inspection.one_batch import Batch, draw_batch, dropout_rates, dropout_views
from turbo_kit.inspection.pair_gradients import (
    PairLook,
    all_pairs,
    gradient_cosines,
    groups_of,
    look_at_pair,
    loss_table,
    negative_weights,
    temperature_table,
    term_losses,
    view_gradients,
)

__all__ = [
    "Batch",
    "LiveStep",
    "LiveTraining",
    "PairLook",
    "ViewDistances",
    "all_pairs",
    "check_trunks",
    "draw_batch",
    "dropout_rates",
    "dropout_views",
    "encoder_views",
    "gradient_cosines",
    "groups_of",
    "layer_sweep",
    "layer_views",
    "live_training",
    "look_at_pair",
    "loss_table",
    "negative_weights",
    "neighbour_groups",
    "prepare_live_training",
    "pull_and_push",
    "temperature_table",
    "term_losses",
    "view_distances",
    "view_gradients",
    "view_sentence",
    "view_sweep",
]
