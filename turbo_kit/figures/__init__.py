"""All static figures, one function each: plain data in, a matplotlib `Figure` out, in one style. None needs torch.

>>> from turbo_kit.figures import confusion
>>> confusion(run.predictions("test"), run.result["classes"])
"""

from turbo_kit.figures.dropout_maps import dropout_view_map, layer_curves, view_curves
from turbo_kit.figures.embedding_maps import (
    GEOMETRY,
    embedding_map,
    epoch_geometry,
    geometry_curves,
    geometry_scatter,
    map_panels,
)
from turbo_kit.figures.error_tradeoff import det_curves, mean_curve, operating_point
from turbo_kit.figures.noise_curves import robustness_curves
from turbo_kit.figures.scores import (
    confusion,
    confusion_counts,
    confusions,
    run_classes,
    score_intervals,
    speaker_differences,
)
from turbo_kit.figures.similarity_maps import (
    cosine_maps,
    live_curves,
    pair_maps,
    pair_tables,
    temperature_panels,
    term_bars,
)
from turbo_kit.figures.style import MARKERS, OKABE_ITO, Mark, inline_svg, marks
from turbo_kit.figures.training_curves import learning_curves
from turbo_kit.figures.waveforms import clip_measures, waveform_and_mel
from turbo_kit.figures.weight_maps import pair_matrix, pair_ratios, search_map

__all__ = [
    "GEOMETRY",
    "MARKERS",
    "OKABE_ITO",
    "Mark",
    "clip_measures",
    "confusion",
    "confusion_counts",
    "confusions",
    "cosine_maps",
    "det_curves",
    "dropout_view_map",
    "embedding_map",
    "epoch_geometry",
    "geometry_curves",
    "geometry_scatter",
    "inline_svg",
    "layer_curves",
    "learning_curves",
    "live_curves",
    "map_panels",
    "marks",
    "mean_curve",
    "operating_point",
    "pair_maps",
    "pair_matrix",
    "pair_ratios",
    "pair_tables",
    "robustness_curves",
    "run_classes",
    "score_intervals",
    "search_map",
    "speaker_differences",
    "temperature_panels",
    "term_bars",
    "view_curves",
    "waveform_and_mel",
]
