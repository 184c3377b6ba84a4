"""The dropout-view explorer: a batch's clips with their views around them, under rates and masks of one's choice."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import ipywidgets

from turbo_kit.config import unknown
from turbo_kit.explorer.figure_panel import figure_panel
from turbo_kit.explorer.slider import new_slider
from turbo_kit.figures import dropout_view_map
from turbo_kit.inspection import (
    Batch,
    check_shared_trunk,
    describe_views,
    encoder_views,
    neighbour_groups,
    view_distances,
)
from turbo_kit.inspection.dropout_distances import Views
from turbo_kit.model import TurboModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATES = tuple(step / 20 for step in range(13))
"""Stops of the dropout rate sliders."""
MAX_PASSES = 6


def look_at_views(
    models: Mapping[str, TurboModel],
    batch: Batch,
    model: str,
    modality: str = "audio",
    rate: float = 0.1,
    passes: int = 2,
    seed: int = 0,
    still: Views | None = None,
) -> "tuple[Figure, str]":
    """What the explorer shows, as a static figure.

    Args:
        models: by name.
        batch: clips drawn with one of them.
        model: which of the models.
        modality: whose views.
        rate: its dropout rate.
        passes: views of each clip, at least 2.
        seed: of the masks.
        still: (B, D) the embeddings without dropout, where they are known.

    Returns:
        The figure, and a sentence that says in numbers what it shows.

    Raises:
        InputError: no such model or modality, or a rate or number of passes that cannot be used.
    """
    if model not in models:
        raise unknown("model", model, models)
    views = encoder_views(models[model], batch, modality, passes, rate, seed)
    if still is None:
        still = dropout_free_views(models[model], batch, modality)
    distances = view_distances(views, neighbour_groups(batch, modality))
    figure = dropout_view_map(
        views, still, distances, batch.labels.numpy(), batch.classes, f"{modality}, {model}: each clip and its views"
    )
    return figure, describe_views(model, modality, rate, views, distances)


def dropout_free_views(model: TurboModel, batch: Batch, modality: str) -> Views:
    """(B, D) pooled embeddings without dropout."""
    alone: Views = encoder_views(model, batch, modality, passes=1, rate=0.0)[0]
    return alone


def explore_views(models: Mapping[str, TurboModel], batch: Batch, model: str | None = None) -> ipywidgets.VBox:
    """Sliders for dropout rates and passes, a choice of model and modality, and new masks, above the batch's views.

    Args:
        models: by name, all with the trunks that the batch was drawn with.
        batch: the clips.
        model: the one that is shown first; None = the first.

    Returns:
        The panel; its last child holds the figure.

    Raises:
        InputError: no model, or models whose trunks differ.
    """
    check_shared_trunk(models)
    names = list(models)
    if model is not None and model not in models:
        raise unknown("model", model, names)
    modalities = models[names[0]].modalities
    wide: Any = {"style": {"description_width": "8em"}, "layout": {"width": "25em"}}
    rates = {modality: new_slider(f"{modality} dropout", RATES, 0.1, "{:.2f}".format) for modality in modalities}
    controls = {
        # Buttons: the arrow keys that a drop-down list needs are JupyterLab's own, and move to another cell.
        "model": ipywidgets.ToggleButtons(options=names, value=model or names[0], description="model", **wide),
        "modality": ipywidgets.ToggleButtons(options=modalities, description="modality", **wide),
        **rates,
        "passes": new_slider("passes", range(2, MAX_PASSES + 1), 2),
        "seed": ipywidgets.BoundedIntText(0, min=0, max=2**31, description="masks, seed", **wide),
    }
    fresh = ipywidgets.Button(description="new masks", layout={"width": "9em"}, tooltip="Draw other dropout masks")

    @cache
    def still(model: str, modality: str) -> Views:
        return dropout_free_views(models[model], batch, modality)

    def draw(model: str, modality: str, passes: int, seed: int, **rate: float) -> "tuple[Figure, str]":
        known = still(model, modality)
        return look_at_views(models, batch, model, modality, rate[modality], passes, seed, known)

    def only_the_rate_shown(_: Any = None) -> None:
        for modality, slider in rates.items():
            slider.disabled = modality != controls["modality"].value

    def other_masks(_: Any) -> None:
        controls["seed"].value += 1

    controls["modality"].observe(only_the_rate_shown, names="value")
    fresh.on_click(other_masks)
    only_the_rate_shown()
    place = figure_panel(draw, controls).children[-1]
    row = ipywidgets.Layout(flex_flow="row wrap")
    first = ipywidgets.Box([controls["model"], controls["modality"]], layout=row)
    second = ipywidgets.Box(list(rates.values()), layout=row)
    third = ipywidgets.Box([controls["passes"], controls["seed"], fresh], layout=row)
    return ipywidgets.VBox([first, second, third, place])
