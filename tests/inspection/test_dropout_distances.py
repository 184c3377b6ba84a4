"""What is said of views against brute force, and that layers, depths and rates do what their names say."""

import numpy as np
import pytest
import torch

from turbo_kit import InputError, TurboModel
from turbo_kit.inspection import (
    check_shared_trunk,
    describe_views,
    draw_batch,
    dropout_views,
    encoder_views,
    layer_sweep,
    layer_views,
    pull_and_push,
    view_distances,
    view_sweep,
)
from turbo_kit.metrics.geometry import alignment, uniformity
from turbo_kit.objectives import info_nce


@pytest.fixture
def deep(quick, clips):
    """Makes a model of two trained layers, and a batch drawn with it."""

    def build(view_depth):
        torch.manual_seed(0)
        made = TurboModel.from_config(quick(trainable_layers=2, view_depth=view_depth), clips.classes)
        return made, draw_batch(made, clips, 6)

    return build


def cosine_distance(a, b):
    return 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def by_loops(views, same):
    """Spread, farthest, nearest and identified of each clip, one distance at a time."""
    passes, size = views.shape[:2]
    rows = []
    for i in range(size):
        own, nearest, found = [], [], []
        for p in range(passes):
            for q in range(passes):
                if p == q:
                    continue
                mine = cosine_distance(views[p, i], views[q, i])
                other = min(cosine_distance(views[p, i], views[q, j]) for j in range(size) if same[j] != same[i])
                own.append(mine)
                nearest.append(other)
                found.append(mine < other)
        rows.append((np.mean(own), np.max(own), np.mean(nearest), np.mean(found)))
    return np.array(rows).T


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("passes", [2, 3])
def test_distances_are_those_of_a_plain_loop(passes, grouped):
    random = np.random.default_rng(0)
    views = random.standard_normal((1, 7, 4)) + 0.6 * random.standard_normal((passes, 7, 4))
    same = np.array([0, 1, 2, 0, 3, 4, 1]) if grouped else np.arange(7)
    found = view_distances(views, same if grouped else None)
    expected = by_loops(views, same)
    np.testing.assert_allclose([found.spread, found.farthest, found.nearest, found.identified], expected, atol=1e-12)
    assert 0 < found.identified.mean() < 1
    assert found.means()["nearest"] == pytest.approx(expected[2].mean())


def test_mean_spread_is_half_the_alignment():
    views = np.random.default_rng(1).standard_normal((2, 9, 5))
    assert 2 * view_distances(views).spread.mean() == pytest.approx(alignment(*views))


@pytest.mark.parametrize(
    ("views", "same", "said"),
    [
        (np.ones((1, 5, 3)), None, "1 passes of 5 clips"),
        (np.ones((2, 1, 3)), None, "2 passes of 1 clips"),
        (np.ones((2, 3, 3)), [4, 4, 4], "larger batch"),
        (np.zeros((2, 3, 3)), None, "all zeros"),
    ],
)
def test_views_that_have_no_distances(views, same, said):
    with pytest.raises(InputError, match=said):
        view_distances(views, same)


@pytest.mark.parametrize("modality", ["audio", "text"])
def test_one_modality_alone_is_what_all_of_them_give(model, clips, modality):
    batch = draw_batch(model, clips, 8)
    model.eval()
    state = torch.get_rng_state()
    views = encoder_views(model, batch, modality, passes=3, rate=0.3, seed=4)
    assert torch.equal(state, torch.get_rng_state()) and not model.encoder(modality).training
    assert views.shape == (3, 8, 32)
    np.testing.assert_array_equal(views, encoder_views(model, batch, modality, passes=3, rate=0.3, seed=4))
    assert not np.array_equal(views, encoder_views(model, batch, modality, passes=3, rate=0.3, seed=5))
    still = encoder_views(model, batch, modality, passes=1, rate=0.0)
    expected = dropout_views(model, batch, passes=1, rates={"audio": 0.0, "text": 0.0}).pooled[modality]
    np.testing.assert_allclose(still, expected.detach(), atol=1e-6)
    assert view_distances(views).spread.min() > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"modality": "adio"}, "did you mean 'audio'"), ({"modality": "text", "passes": 0}, "at least 1")],
)
def test_views_that_cannot_be_made(model, clips, arguments, said):
    with pytest.raises(InputError, match=said):
        encoder_views(model, draw_batch(model, clips, 4), **arguments)


def test_the_last_step_of_a_head_is_what_the_classifier_reads(model, clips, deep):
    for made, batch in ((model, draw_batch(model, clips, 6)), deep(None)):
        for modality in made.modalities:
            steps = layer_views(made, batch, modality, passes=2, seed=3)
            last = encoder_views(made, batch, modality, passes=2, seed=3)
            np.testing.assert_allclose(list(steps.values())[-1], last, atol=1e-6)
    assert list(layer_views(model, draw_batch(model, clips, 6), "audio")) == ["first dropout", "layer 1", "norm"]
    assert list(steps) == ["layer 2", "layer 3"]  # of text: no final norm
    assert not any(part._forward_hooks for part in made.modules())


@pytest.mark.parametrize(("view_depth", "apart"), [(2, [True, True]), (1, [False, True]), (0, [False, False])])
def test_views_part_where_the_view_depth_says(deep, view_depth, apart):
    made, batch = deep(view_depth)
    for modality, top in (("audio", ["layer 1", "layer 2"]), ("text", ["layer 2", "layer 3"])):
        steps = layer_views(made, batch, modality)
        assert [bool(np.abs(np.subtract(*steps[name])).max() > 1e-5) for name in top] == apart


def test_a_sweep_has_a_row_for_each_of_its_settings(model, clips):
    batch = draw_batch(model, clips, 8)
    table = view_sweep({"one": model}, batch, rates=[0.0, 0.4], passes=[2, 3], seed=2)
    assert len(table) == 2 * 2 * 2
    row = table[(table["modality"] == "text") & (table["rate"] == 0.4) & (table["passes"] == 3)].iloc[0]
    views = encoder_views(model, batch, "text", 3, 0.4, seed=2)
    means = view_distances(views, batch.transcripts).means()
    assert {name: row[name] for name in means} == pytest.approx(means)
    assert row["alignment"] == pytest.approx(2 * row["spread"])
    assert row["uniformity"] == pytest.approx(np.mean([uniformity(view) for view in views]))
    still = table[table["rate"] == 0.0]
    np.testing.assert_allclose(still["spread"], 0, atol=1e-6)
    assert (still["nearest"] > 0).all() and (still["identified"] == 1).all()


def test_equal_transcripts_are_no_neighbours_in_text_alone(model, clips):
    drawn = draw_batch(model, clips, 4)
    twins = type(drawn)(
        drawn.utterances[:1] * 2 + drawn.utterances[2:],
        {m: type(h)(*(part[[0, 0, 2, 3]] for part in h)) for m, h in drawn.hidden.items()},
        drawn.labels[[0, 0, 2, 3]],
        torch.tensor([0, 0, 1, 2]),
        drawn.classes,
    )
    table = view_sweep({"one": model}, twins, rates=[0.0]).set_index("modality")
    assert table.loc["text", "identified"] == 1
    assert table.loc["audio", "identified"] == 0.5  # two clips that are one cannot be told apart


def test_a_sweep_of_layers_ends_where_the_other_one_stands(model, clips):
    batch = draw_batch(model, clips, 8)
    table = layer_sweep({"one": (model, batch)})
    audio = table[table["modality"] == "audio"]
    assert list(audio["layer"]) == ["first dropout", "layer 1", "norm"]
    whole = view_sweep({"one": model}, batch, rates=[0.1])
    assert audio["spread"].iloc[-1] == pytest.approx(whole["spread"].iloc[0], abs=1e-6)


def test_models_on_other_trunks_do_not_share_a_batch(model, deep):
    with pytest.raises(InputError, match="'one' and 'two' stand on different frozen trunks"):
        check_shared_trunk({"one": model, "two": deep(None)[0]})
    with pytest.raises(InputError, match="no model"):
        check_shared_trunk({})


def test_pull_and_push_are_the_two_halves_of_info_nce():
    torch.manual_seed(0)
    x = torch.randn(6, 4, dtype=torch.float64)
    y = x + 0.5 * torch.randn(6, 4, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1, -100, -100])
    with torch.no_grad():
        forces = pull_and_push(x.clone(), y.clone(), labels, temperature=0.2)
    assert forces.loss == pytest.approx(float(info_nce(x, y, temperature=0.2)))
    logits = torch.nn.functional.cosine_similarity(x[:, None], y[None], dim=2) / 0.2
    weights = logits.softmax(1) + logits.softmax(0).T
    alike = weights[0, 1] + weights[1, 0] + weights[2, 3] + weights[3, 2]
    assert forces.same_class == pytest.approx(float(alike / (weights.sum() - weights.trace())))
    assert forces.pull > 0 and forces.push > 0


def test_equal_views_leave_nothing_to_pull():
    torch.manual_seed(0)
    x = torch.randn(6, 4)
    forces = pull_and_push(x, x, torch.zeros(6))
    assert forces.pull == pytest.approx(0, abs=1e-5) and forces.push > 1e-3
    assert forces.loss == pytest.approx(float(info_nce(x, x)), abs=1e-5)


@pytest.mark.parametrize(("scale", "said"), [(0.01, "nearer than the nearest"), (9.0, "no nearer than the nearest")])
def test_the_sentence_says_which_is_nearer(scale, said):
    random = np.random.default_rng(0)
    views = random.standard_normal((1, 8, 6)) + scale * random.standard_normal((2, 8, 6))
    distances = view_distances(views)
    sentence = describe_views("turbo", "audio", 0.1, views, distances)
    assert said in sentence and f"{distances.spread.mean():.3f}" in sentence
    assert f"{100 * distances.identified.mean():.1f} %" in sentence and "2 passes of 8 clips" in sentence
