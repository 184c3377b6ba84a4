"""The widgets of the pair board: the buttons of its table, its controls, and their layout."""

from typing import Any

import ipywidgets

from turbo_kit.explorer.slider import new_slider

Cells = dict[str, ipywidgets.Button]

VIEWS = ("a1", "a2", "t1", "t2")
PAIR_WEIGHTS = tuple(step / 10 for step in range(21))
"""Stops of a pair's slider."""
CONTRASTIVE_WEIGHTS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)
"""Stops of the slider for the contrastive weight."""
CELL_COLOUR = (0, 114, 178)
"""The colour of a cell of weight 1 or more."""


def weight_button() -> ipywidgets.Button:
    return ipywidgets.Button(layout=ipywidgets.Layout(width="auto", height="2.6em", margin="1px", padding="0"))


def update_button(cell: ipywidgets.Button, pair: str, weight: float, chosen: bool) -> None:
    """Shows the pair and its weight as text, the weight as opacity, and the chosen pair with a frame."""
    cell.description = f"{pair}: {weight:g}"
    cell.tooltip = f"{pair} weighs {weight:g}; switches it {'off' if weight else 'on'}"
    red, green, blue = CELL_COLOUR
    cell.style.button_color = f"rgba({red}, {green}, {blue}, {min(weight, 1.0):.2f})"
    cell.style.text_color = "#ffffff" if weight >= 0.95 else "var(--jp-ui-font-color1)"
    cell.style.font_weight = "bold" if weight else "normal"
    cell.layout.border = "2px solid var(--jp-ui-font-color1)" if chosen else "1px solid var(--jp-border-color1)"


def board_controls(boards: list[str], board: str, contrastive_weight: float, normalize_pairs: bool) -> dict[str, Any]:
    return {
        # Buttons: the arrow keys that a drop-down list needs are JupyterLab's own, and move to another cell.
        "board": ipywidgets.ToggleButtons(
            options=boards,
            value=board,
            description="board",
            style={"description_width": "4em", "button_width": "8.5em"},
        ),
        "weight": new_slider("", PAIR_WEIGHTS, 0.0),
        "contrastive_weight": new_slider("contrastive weight", CONTRASTIVE_WEIGHTS, contrastive_weight),
        "normalize_pairs": ipywidgets.Checkbox(
            normalize_pairs, description="scale the pairs to sum 1", indent=False, layout={"margin": "0 0 0 10.3em"}
        ),
        "train": ipywidgets.Button(description="train", icon="play", button_style="primary"),
        "stop": ipywidgets.Button(description="stop", icon="stop", disabled=True),
    }


def board_layout(
    cells: Cells, mirrored: Cells, controls: dict[str, Any], losses: ipywidgets.HTML, curves: ipywidgets.HTML
) -> ipywidgets.VBox:
    """The table of cells beside its controls, the losses below, and then the training."""

    def head(text: str) -> Any:
        return ipywidgets.HTML(f'<b style="display:block;text-align:center">{text}</b>')

    places = [head(""), *map(head, VIEWS)]
    for row, one in enumerate(VIEWS):
        places.append(head(one))
        for column, other in enumerate(VIEWS):
            side = cells if row < column else mirrored
            name = f"{min(one, other)}-{max(one, other)}"
            places.append(side[name] if row != column else head("–"))
    for cell in mirrored.values():
        cell.tabbable = False  # the same six pairs again: for the eye and the mouse
    grid = ipywidgets.GridBox(places, layout={"grid_template_columns": "2em repeat(4, 5.8em)", "align_items": "center"})
    beside = [controls[name] for name in ("weight", "contrastive_weight", "normalize_pairs")]
    above = ipywidgets.Box([grid, ipywidgets.VBox(beside)], layout={"flex_flow": "row wrap", "align_items": "center"})
    buttons = ipywidgets.HBox([controls["train"], controls["stop"]])
    return ipywidgets.VBox([controls["board"], above, losses, buttons, curves])
