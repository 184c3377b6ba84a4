"""One batch under the microscope: its dropout views, and the logits, losses and gradients of each pair."""

from turbo_kit.inspection.dropout_distances import (
    ViewDistances,
    check_shared_trunk,
    describe_views,
    encoder_views,
    layer_sweep,
    layer_views,
    neighbour_groups,
    pull_and_push,
    view_distances,
    view_sweep,
)
from turbo_kit.inspection.live_training import LiveStep, LiveTraining, live_training, prepare_live_training
from turbo_kit.inspection.one_batch import Batch, draw_batch, dropout_views, override_dropout_rates
from turbo_kit.inspection.pair_gradients import (
    PairLook,
    all_pairs,
    gradient_cosines,
    look_at_pair,
    loss_table,
    negative_groups,
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
    "check_shared_trunk",
    "describe_views",
    "draw_batch",
    "dropout_views",
    "encoder_views",
    "gradient_cosines",
    "layer_sweep",
    "layer_views",
    "live_training",
    "look_at_pair",
    "loss_table",
    "negative_groups",
    "negative_weights",
    "neighbour_groups",
    "override_dropout_rates",
    "prepare_live_training",
    "pull_and_push",
    "temperature_table",
    "term_losses",
    "view_distances",
    "view_gradients",
    "view_sweep",
]
