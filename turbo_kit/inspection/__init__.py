"""A look at one batch: the views that dropout makes of it, and what each pair of a board does with them."""

from turbo_kit.inspection.batch import Batch, draw_batch, dropout_rates, dropout_views

__all__ = ["Batch", "draw_batch", "dropout_rates", "dropout_views"]
