"""A look at one batch: the views that dropout makes of it, and what each pair of a board does with them."""

from turbo_kit.inspection.batch import Batch, draw_batch, dropout_rates, dropout_views
from turbo_kit.inspection.live import Live, Point, live_training, prepare_live
from turbo_kit.inspection.pairs import (
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
from turbo_kit.inspection.views import (
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

__all__ = [
    "Batch",
    "Live",
    "PairLook",
    "Point",
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
    "prepare_live",
    "pull_and_push",
    "temperature_table",
    "term_losses",
    "view_distances",
    "view_gradients",
    "view_sentence",
    "view_sweep",
]
