"""Maps keep neighbours, are the same each time, and keep a clip in its place from run to run."""

from itertools import pairwise

import numpy as np
import pytest
from fake_runs import write_run

from turbo_kit.figures import umap_layout
from turbo_kit.figures.umap_layout import (
    MAP_POINTS,
    MIN_CLIPS,
    aligned_maps,
    embedding_spaces,
    flat_map,
    sample_clips,
    separation,
)


@pytest.fixture(autouse=True)
def maps_by_umap(monkeypatch):
    """Undoes what conftest.py does for all other tests; `MIN_CLIPS` was imported before that."""
    monkeypatch.setattr(umap_layout, "MIN_CLIPS", MIN_CLIPS)


def spaces_of_one_corpus(clips=120):
    """Four groups of clips as three models see them: the same neighbours, turned and with other noise."""
    rng = np.random.default_rng(0)
    centres, groups = rng.normal(size=(4, 16)), np.arange(clips) % 4
    shared = centres[groups] + 0.5 * rng.normal(size=(clips, 16))
    turns = [np.linalg.qr(rng.normal(size=(16, 16)))[0] for _ in range(3)]
    return [(shared + 0.2 * rng.normal(size=shared.shape)) @ turn for turn in turns]


def moved(maps):
    """Median way of a clip from each map to the next, as a share of the first map's spread."""
    spread = np.sqrt(maps[0].var(axis=0).sum())
    ways = [np.linalg.norm(one - other, axis=1) for one, other in pairwise(maps)]
    return np.median(ways) / spread


@pytest.mark.slow  # AlignedUMAP compiles itself for half a minute
def test_a_clip_keeps_its_place_in_aligned_maps_which_are_the_same_each_time():
    spaces = spaces_of_one_corpus()
    aligned = aligned_maps(spaces)
    assert [flat.shape for flat in aligned] == [(120, 2)] * 3
    assert moved(aligned) < 0.1 < 0.5 < moved([flat_map(space) for space in spaces])
    groups = np.arange(120) % 4
    for flat in aligned:  # what is drawn is still each space's own map
        gaps = np.linalg.norm(flat[:, None] - flat[None], axis=-1) + 1e9 * np.eye(120)
        assert (groups[gaps.argmin(axis=1)] == groups).mean() > 0.9
    for flat, again in zip(aligned, aligned_maps(spaces), strict=True):
        np.testing.assert_array_equal(flat, again)


def test_one_space_alone_is_laid_out_by_itself():
    (space, *_) = spaces_of_one_corpus()
    np.testing.assert_array_equal(aligned_maps([space])[0], flat_map(space))


def test_maps_of_few_clips_are_turned_onto_the_first():
    grid = np.array([[x, y] for x in (-2.0, 0.0, 2.0) for y in (-1.0, 0.0, 1.0)])
    first, second = aligned_maps([grid, grid * [1, 3]])  # the second is longer the other way
    np.testing.assert_allclose(second, first * [1, 3], atol=1e-9)


def test_a_run_has_a_space_for_each_modality_and_one_for_both(tmp_path):
    both = write_run(tmp_path, clips=9)
    assert {name: space.shape for name, space in embedding_spaces(both).items()} == {
        "audio": (9, 8),
        "text": (9, 8),
        "audio + text": (9, 16),
    }
    assert list(embedding_spaces(write_run(tmp_path, objective="ce", text="none", clips=9))) == ["audio"]


def test_flat_map_keeps_far_groups_apart_and_is_the_same_each_time():
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1], 20)
    vectors = rng.normal(size=(40, 12)) + 30 * groups[:, None]
    flat = flat_map(vectors)
    assert flat.shape == (40, 2)
    centres = [flat[groups == g].mean(axis=0) for g in (0, 1)]
    spread = max(np.linalg.norm(flat[groups == g] - centres[g], axis=1).max() for g in (0, 1))
    assert np.linalg.norm(centres[0] - centres[1]) > spread
    np.testing.assert_array_equal(flat, flat_map(vectors))


@pytest.mark.parametrize("clips", [1, 2, 9])
def test_flat_map_of_few_points_keeps_their_distances(clips):
    plane = (
        np.random.default_rng(0).normal(size=(clips, 2))
        @ np.linalg.qr(np.random.default_rng(1).normal(size=(6, 2)))[0].T
    )
    flat = flat_map(plane)
    assert flat.shape == (clips, 2)
    np.testing.assert_allclose(
        np.linalg.norm(flat[:, None] - flat[None], axis=-1),
        np.linalg.norm(plane[:, None] - plane[None], axis=-1),
        atol=1e-9,
    )


def test_fewer_than_ten_clips_are_laid_out_by_principal_components_and_ten_by_umap():
    vectors = np.random.default_rng(0).normal(size=(MIN_CLIPS, 6))
    for clips, by_components in ((MIN_CLIPS - 1, True), (MIN_CLIPS, False)):
        left, values, _ = np.linalg.svd(vectors[:clips] - vectors[:clips].mean(axis=0), full_matrices=False)
        assert np.allclose(flat_map(vectors[:clips]), (left * values)[:, :2]) == by_components


def test_a_large_map_shows_a_fixed_sample():
    chosen = sample_clips(MAP_POINTS + 500)
    assert len(np.unique(chosen)) == MAP_POINTS and chosen.max() < MAP_POINTS + 500
    np.testing.assert_array_equal(chosen, sample_clips(MAP_POINTS + 500))
    np.testing.assert_array_equal(sample_clips(5), np.arange(5))


def test_separation_rises_with_the_distance_of_the_classes(tmp_path):
    near, far = (write_run(tmp_path, centre=centre, width=64) for centre in (0.01, 2.0))
    assert separation(far, "audio + text") > 0.5 > separation(near, "audio + text")
