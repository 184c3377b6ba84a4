"""The dropout-view explorer repaints for every control, and says in its sentence what the plain functions say."""

import re
from html import unescape

import pytest
import torch

from turbo_kit import InputError, TurboModel
from turbo_kit.explorer.dropout_views import explore_views, look_at_views
from turbo_kit.inspection import draw_batch, encoder_views, neighbour_groups, view_distances


@pytest.fixture(scope="module")
def clips(tones_corpus):
    return tones_corpus.fold(0).train


@pytest.fixture
def models(quick, clips):
    torch.manual_seed(0)
    return {name: TurboModel.from_config(quick(), clips.classes) for name in ("untrained", "other")}


@pytest.fixture
def batch(models, clips):
    return draw_batch(models["other"], clips, 8)


def controls_of(panel):
    return {widget.description: widget for row in panel.children[:-1] for widget in row.children}


def plain(html):
    return re.sub(r"explorer\d+-", "", html)


def said(panel):
    return unescape(re.search(r'<p role="status"[^>]*>([^<]*)</p>', panel.children[-1].value)[1])


def test_it_shows_what_the_plain_functions_find(models, batch):
    panel = explore_views(models, batch)
    controls = controls_of(panel)
    controls["model"].value = "other"
    controls["modality"].value = "text"
    controls["text dropout"].value = 0.4
    controls["passes"].value = 3
    views = encoder_views(models["other"], batch, "text", 3, 0.4, controls["masks, seed"].value)
    means = view_distances(views, neighbour_groups(batch, "text")).means()
    sentence = said(panel)
    assert sentence.startswith("Text, other, dropout rate 0.40, 3 passes of 8 clips")
    assert f"{means['spread']:.3f}" in sentence and f"({means['nearest']:.3f})" in sentence
    assert look_at_views(models, batch, "other", "text", 0.4, 3)[1] == sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [("model", "other"), ("modality", "text"), ("audio dropout", 0.5), ("passes", 5), ("masks, seed", 7)],
)
def test_each_control_changes_the_figure(models, batch, name, value):
    panel = explore_views(models, batch)
    before = plain(panel.children[-1].value)
    controls_of(panel)[name].value = value
    assert plain(panel.children[-1].value) != before


def test_the_button_draws_other_masks(models, batch):
    panel = explore_views(models, batch)
    before = plain(panel.children[-1].value)
    controls_of(panel)["new masks"].click()
    after = plain(panel.children[-1].value)
    assert controls_of(panel)["masks, seed"].value == 1 and after != before
    controls_of(panel)["masks, seed"].value = 0
    assert plain(panel.children[-1].value) == before  # the same masks, the same figure


def test_only_the_rate_of_the_modality_shown_can_be_moved(models, batch):
    controls = controls_of(explore_views(models, batch))
    assert (controls["audio dropout"].disabled, controls["text dropout"].disabled) == (False, True)
    controls["modality"].value = "text"
    assert (controls["audio dropout"].disabled, controls["text dropout"].disabled) == (True, False)


def test_it_opens_at_the_model_asked_for(models, batch):
    assert "Audio, other" in said(explore_views(models, batch, "other"))
    with pytest.raises(InputError, match="did you mean 'other'"):
        explore_views(models, batch, "othr")


def test_a_model_of_one_modality_has_one_rate(quick, clips):
    model = TurboModel.from_config(quick(audio="none", objective="ce"), clips.classes)
    panel = explore_views({"text alone": model}, draw_batch(model, clips, 6))
    assert "audio dropout" not in controls_of(panel) and said(panel).startswith("Text, text alone")


def test_models_on_other_trunks_are_refused(models, batch, quick, clips):
    deep = TurboModel.from_config(quick(trainable_layers=2), clips.classes)
    with pytest.raises(InputError, match="different frozen trunks"):
        explore_views({**models, "deep": deep}, batch)
