"""The figures of dropout views say what their data say."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from turbo_kit import InputError
from turbo_kit.figures import dropout_view_map, layer_curves, marks, view_curves
from turbo_kit.figures.style import PAPER
from turbo_kit.inspection import view_distances

CLASSES = ("calm", "loud", "never")


@pytest.fixture
def drawn():
    """A figure of six clips, the last of them without a label, and what it was drawn from."""
    random = np.random.default_rng(0)
    still = random.standard_normal((6, 5))
    views = still + 0.5 * random.standard_normal((3, 6, 5))
    distances = view_distances(views)
    labels = np.array([0, 1, 0, 1, 1, -100])
    figure = dropout_view_map(views, still, distances, labels, CLASSES, "audio, turbo")
    return figure, views, still, distances, labels


def lines_of(axes, size):
    return [line for line in axes.lines if line.get_markersize() == size and line.get_marker() not in ("None", "")]


def test_clips_and_views_stand_in_the_plane_of_the_clips(drawn):
    figure, views, still, distances, labels = drawn
    unit = still / np.linalg.norm(still, axis=1, keepdims=True)
    centre = unit.mean(axis=0)
    directions = np.linalg.svd(unit - centre)[2][:2].T
    left = figure.axes[0]
    assert left.get_title(loc="left") == "audio, turbo"
    found = np.concatenate([line.get_xydata() for line in lines_of(left, 6)])
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort((unit - centre) @ directions, axis=0))
    assert sum(len(line.get_xydata()) for line in lines_of(left, 2.6)) == views.shape[0] * len(labels)
    hollow = [line for line in lines_of(left, 6) if to_hex(line.get_markerfacecolor()) == PAPER]
    assert 0 < sum(len(line.get_xydata()) for line in hollow) == (distances.identified < 1).sum() < 6
    for name, mark in marks(CLASSES).items():
        count = sum(len(line.get_xydata()) for line in lines_of(left, 6) if line.get_marker() == mark.marker)
        assert count == (labels == CLASSES.index(name)).sum()


def test_the_plane_does_not_move_with_the_views(drawn):
    figure, views, still, _, labels = drawn
    far = still + 4 * np.random.default_rng(5).standard_normal(views.shape)
    other = dropout_view_map(far, still, view_distances(far), labels, CLASSES)
    assert other.axes[0].get_xlim() == figure.axes[0].get_xlim()
    assert other.axes[0].get_ylim() == figure.axes[0].get_ylim()
    low, high = np.array([other.axes[0].get_xlim(), other.axes[0].get_ylim()]).T
    for line in lines_of(other.axes[0], 2.6):  # what would leave the frame stands at its edge
        assert (line.get_xydata() >= low - 1e-9).all() and (line.get_xydata() <= high + 1e-9).all()


def test_one_scale_for_both_directions_of_the_map(drawn):
    left = drawn[0].axes[0]
    box = left.get_position()
    inches = np.array([box.width, box.height]) * drawn[0].get_size_inches()
    spans = np.array([np.ptp(left.get_xlim()), np.ptp(left.get_ylim())])
    assert (spans / inches).std() == pytest.approx(0, abs=1e-9)


def test_both_distributions_and_their_means(drawn):
    figure, _, _, distances, _ = drawn
    right = figure.axes[1]
    heights = [patch.get_data()[0] for patch in right.patches]
    assert [int(np.abs(values).sum()) for values in heights] == [6, 6]
    assert heights[0].min() >= 0 >= heights[1].max()
    notes = [text.get_text() for text in right.texts]
    assert notes == [
        f"own views, mean {distances.spread.mean():.3f}",
        f"other clip, mean {distances.nearest.mean():.3f}",
    ]


def sweep(**columns):
    table = pd.DataFrame(
        [(m, o, v) for m in ("untrained", "turbo") for o in ("audio", "text") for v in (2, 3)],
        columns=["model", "modality", "passes"],
    )
    numbers = {name: np.arange(8) / 10 + i for i, name in enumerate(("spread", "farthest", "nearest"))}
    return table.assign(rate=table["passes"] / 10, identified=np.arange(8) / 8, **numbers).assign(**columns)


@pytest.mark.parametrize(("by", "measures"), [("rate", 2), ("passes", 3)])
def test_a_sweep_has_a_line_for_each_model_and_measure(by, measures):
    table = sweep()
    figure = view_curves(table, by)
    above, other, below, _ = figure.axes
    assert above.get_title(loc="left").startswith("Audio") and other.get_title(loc="left").startswith("Text")
    assert len(above.lines) == 2 * measures and len(below.lines) == 2
    first = table[(table["model"] == "untrained") & (table["modality"] == "audio")]
    np.testing.assert_allclose(above.lines[0].get_xydata(), first[[by, "spread"]])
    np.testing.assert_allclose(below.lines[0].get_ydata(), 100 * first["identified"])
    for axes in (above, other):  # one scale, on which every line lies
        assert axes.get_ylim()[0] == 0 and all(max(line.get_ydata()) <= axes.get_ylim()[1] for line in axes.lines)
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown[:2] == ["untrained", "turbo"] and len(shown) == 2 + measures


def test_a_sweep_that_is_no_line():
    with pytest.raises(InputError, match="several rows for one dropout rate"):
        view_curves(sweep(rate=0.1), "rate")
    with pytest.raises(InputError, match="expected 'rate' or 'passes'"):
        view_curves(sweep(), "layer")


def test_layers_in_their_order_with_the_share_that_is_found_again():
    rows = [("one", "audio", "first dropout", 0.1, 0.2, 1.0), ("one", "audio", "norm", 0.3, 0.25, 0.625)]
    rows += [("two", "audio", "layer 2", 0.0, 0.4, 0.5)]
    table = pd.DataFrame(rows, columns=["model", "modality", "layer", "spread", "nearest", "identified"])
    left, right = layer_curves(table).axes
    assert [text.get_text() for text in left.texts] == ["100 %", "62 %"]
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["first\ndropout", "norm"]
    np.testing.assert_allclose(left.lines[0].get_ydata(), [0.1, 0.3])
    np.testing.assert_allclose(right.lines[1].get_ydata(), [0.4])
    assert left.get_ylim() == right.get_ylim() and left.get_ylim()[0] == 0 and left.get_ylim()[1] > 0.4
    left.figure.canvas.draw()
    for axes in (left, right):  # the shares stand above the panel, clear of its grid, and below its title
        said = axes.get_title(loc="left")
        (title,) = axes.findobj(lambda artist, said=said: isinstance(artist, Text) and artist.get_text() == said)
        for text in axes.texts:
            place = text.get_window_extent()
            assert axes.get_window_extent().y1 <= place.y0 and place.y1 <= title.get_window_extent().y0


def test_text_is_9_points_or_more(drawn):
    table = sweep()
    figures = [drawn[0], view_curves(table), layer_curves(table.assign(layer="norm"))]
    for figure in figures:
        sizes = [text.get_fontsize() for text in figure.findobj(lambda artist: hasattr(artist, "get_fontsize"))]
        assert sizes and min(sizes) >= 9
