import pytest

from turbo_kit import InputError
from turbo_kit.ablation.grid import (
    configs_of,
    load_grid,
    parse_settings,
    preset_names,
    read_grid,
    search_configs,
    with_chosen_values,
)


def test_a_grid_is_the_product_of_its_values_the_last_fastest():
    configs = configs_of({"objective": ["ce", "turbo"], "seed": [0, 1], "epochs": 2})
    assert [(c.objective, c.seed, c.epochs) for c in configs] == [
        ("ce", 0, 2),
        ("ce", 1, 2),
        ("turbo", 0, 2),
        ("turbo", 1, 2),
    ]


def test_several_grids_follow_each_other_and_each_config_comes_once():
    configs = configs_of([{"objective": ["ce", "turbo"]}, {"objective": "turbo", "contrastive_weight": [0.1, 0.5]}])
    assert [(c.objective, c.contrastive_weight) for c in configs] == [("ce", 0.1), ("turbo", 0.1), ("turbo", 0.5)]


def test_tables_go_together_with_what_stands_beside_them():
    grid = {
        "about": "two",
        "seed": [0, 1],
        "epochs": 2,
        "grid": [{"objective": "ce"}, {"objective": "turbo", "epochs": 3}],
    }
    assert [(c.objective, c.seed, c.epochs) for c in configs_of(grid)] == [
        ("ce", 0, 2),
        ("ce", 1, 2),
        ("turbo", 0, 3),
        ("turbo", 1, 3),
    ]
    replaced = configs_of(grid, {"seed": 7, "batch_size": 8})
    assert [(c.objective, c.seed, c.batch_size) for c in replaced] == [("ce", 7, 8), ("turbo", 7, 8)]


def test_a_search_goes_through_the_values_and_takes_the_best_the_first_of_equal_ones():
    searched = {"contrastive_weight": [0.1, 0.5], "temperature": [0.05, 0.1], "seed": [100]}
    (config,) = configs_of({"objective": "turbo", "seed": 3, "searched": searched})
    tried = search_configs(config)
    assert [(c.contrastive_weight, c.temperature) for c in tried] == [(0.1, 0.05), (0.1, 0.1), (0.5, 0.05), (0.5, 0.1)]
    assert all(c.seed == 100 and c.searched == {} and c.objective == "turbo" for c in tried)
    best = with_chosen_values(config, [0.6, 0.7, 0.7, 0.5])
    assert (best.contrastive_weight, best.temperature, best.seed, best.searched) == (0.1, 0.1, 3, searched)


def test_every_grid_on_board_can_be_run():
    assert preset_names() == [
        "demo",
        "dropout",
        "features",
        "iemocap",
        "label-fraction",
        "modality",
        "objectives",
        "pairs",
        "robustness",
        "temperature",
    ]
    for name in preset_names():
        assert load_grid(name)["about"]
        assert configs_of(load_grid(name))
    with pytest.raises(InputError, match="did you mean 'objectives'"):
        load_grid("objectivs")


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"objectives": ["ce"]}, "unknown parameter 'objectives': did you mean 'objective'"),
        ({"epochs": [2, "3"]}, 'epochs = "3": expected a whole number'),
        ({"seed": []}, "no run"),
    ],
)
def test_a_grid_that_cannot_run_is_an_error(grid, message):
    with pytest.raises(InputError, match=message):
        configs_of(grid)


def test_settings_of_a_command_line():
    settings = ["objective=ce,turbo", "seed=0,1", "normalize-pairs=true", "temperature=learned", "view_depth=None"]
    assert parse_settings(settings) == {
        "objective": ["ce", "turbo"],
        "seed": [0, 1],
        "normalize_pairs": [True],
        "temperature": ["learned"],
        "view_depth": [None],
    }
    assert parse_settings(['pair_weights={"a1-t1": 0.5, "a1-t2": 0}']) == {"pair_weights": {"a1-t1": 0.5, "a1-t2": 0}}


@pytest.mark.parametrize("settings", [["seed"], ["seed="], ["seed=0", "seed=1"]])
def test_a_setting_that_cannot_be_read_is_an_error(settings):
    with pytest.raises(InputError, match="seed"):
        parse_settings(settings)


def test_grids_from_files(tmp_path):
    (tmp_path / "one.toml").write_text('objective = ["ce", "turbo"]\nseed = [0, 1]\n')
    (tmp_path / "two.toml").write_text('[[grid]]\nobjective = "ce"\n[[grid]]\nobjective = "turbo"\nseed = 1\n')
    (tmp_path / "three.json").write_text('{"objective": ["ce", "turbo"], "seed": [0, 1]}')
    (tmp_path / "four.yaml").write_text("objective: [ce, turbo]\nseed: [0, 1]\n")
    one = configs_of(read_grid(tmp_path / "one.toml"))
    assert one == configs_of(read_grid(tmp_path / "three.json")) == configs_of(load_grid(str(tmp_path / "four.yaml")))
    assert [(c.objective, c.seed) for c in configs_of(read_grid(tmp_path / "two.toml"))] == [("ce", 0), ("turbo", 1)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("grid.txt", "seed: 0", "a grid is a .toml, .yaml or .json file"),
        ("grid.yaml", "seed: [0", "not valid YAML"),
        ("grid.yaml", "!!python/object/apply:os.getcwd []", "not valid YAML"),
        ("grid.yaml", "", "expected parameters and values"),
        ("grid.toml", "grid = 3", "expected parameters and values"),
        ("grid.toml", "seed = ", "not valid TOML"),
        ("grid.json", "[1, 2]", "expected parameters and values"),
    ],
)
def test_a_file_that_holds_no_grid_is_an_error(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_grid(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        read_grid(tmp_path / "nowhere.toml")
