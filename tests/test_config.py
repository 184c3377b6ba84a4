import inspect
import json
import pickle
from dataclasses import fields
from typing import Any

import pytest

from turbo_kit import InputError, RunConfig
from turbo_kit.config import Options, TrainingOptions


def test_a_misspelt_parameter_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="unknown parameter 'objectiv': did you mean 'objective'"):
        RunConfig.from_dict({"objectiv": "turbo"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 2.5}, "epochs = 2.5: expected a whole number"),
        ({"epochs": True}, "epochs = true: expected a whole number"),
        ({"epochs": "3"}, "expected a whole number"),
        ({"epochs": 0}, "epochs = 0 is out of range: it must be at least 1"),
        ({"learning_rate": float("nan")}, "expected a finite number"),
        ({"audio_dropout": 0.99}, "must be from 0 to 0.95"),
        ({"fusion": "concatt"}, "did you mean 'concat'"),
        ({"temperature": 0}, "must be above 0"),
        ({"temperature": "learnt"}, "expected a finite number or 'learned'"),
        ({"temperature": "warm"}, "temperature = 'warm'"),
        ({"pair_weights": {"a1-t1": "much"}}, r"pair_weights\['a1-t1'\]"),
        ({"pair_weights": ["a1-t1"]}, "expected names and values"),
        ({"searched": {"contrastive_weight": 0.1}}, r"searched\['contrastive_weight'\] = 0.1: expected a list"),
        ({"searched": {"contrastive_weight": [0.1]}}, "name the one seed of the search runs"),
        ({"searched": {"contrastive_weight": [0.1], "seed": [0]}}, "another one than the run's own"),
        ({"searched": {"seed": [100]}}, "no option to choose"),
        ({"searched": {"contrastive_weight": [], "seed": [100]}}, "is empty"),
        ({"searched": {"contrastive_wight": [0.1], "seed": [100]}}, "did you mean 'contrastive_weight'"),
        ({"searched": {"contrastive_weight": [-1], "seed": [100]}}, "contrastive_weight = -1.0 is out of range"),
        ({"view_depth": "all"}, "expected a whole number or None"),
        ({"head_width": 100}, "head_width = 100: it must be a multiple of 32"),
        ({"head_layers": 0}, "must be at least 1"),
        ({"chunk_size": 0}, "chunk_size = 0 is out of range: it must be at least 1"),
        ({"word_errors": 1.5}, "must be from 0 to 1"),
        ({"tested_word_errors": [0.1, 20]}, "tested_word_errors = 20.0 is out of range: it must be from 0 to 1"),
        ({"tested_snr": [500]}, "tested_snr = 500.0 is out of range"),
        ({"tested_snr": 10}, "tested_snr = 10: expected a list of numbers"),
        ({"tested_snr": [10, "loud"]}, r"tested_snr\[1\] = \"loud\": expected a finite number"),
        ({"layer_mix": 1}, "layer_mix = 1: expected true or false"),
        ({"layer_mix": True, "trainable_layers": -1}, "trainable_layers = -1 trains it: set trainable_layers = 0"),
        ({"pooling": "attention"}, "did you mean 'attentive'"),
        ({"label_fraction": 0}, "nothing to learn from"),
        ({"audio": "none", "text": "none"}, "at least one modality"),
        ({"text": "none", "fusion": "gated"}, "two modalities"),
        ({"text": "none", "modality_dropout": 0.2}, "two modalities"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RunConfig.from_dict(values)


def test_whole_numbers_serve_as_floats_and_the_config_survives_json() -> None:
    config = RunConfig(contrastive_weight=1, pair_weights={"a1-t1": 2}, temperature="learned")
    assert type(config.contrastive_weight) is float
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_notebook_gives_its_literals_and_nothing_else() -> None:
    variables = {"objective": "ce", "epochs": 2, "out": "runs", "_private": 1, "json": json, "In": ["x"], "Out": {}}
    assert RunConfig.from_notebook(variables) == RunConfig(objective="ce", epochs=2)
    with pytest.raises(InputError, match="did you mean 'epochs'"):
        RunConfig.from_notebook({"epoch": 2})


def test_modalities_leave_out_what_is_none() -> None:
    assert RunConfig(text="none").modalities == {"audio": "demo"}


def test_jupyter_shows_the_message_of_an_input_error_alone():
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    shell = InteractiveShell()
    with capture_output() as shown:
        shell.run_cell("from turbo_kit import RunConfig\nRunConfig(epochs=0)")
    assert shown.stdout.strip() == "InputError: epochs = 0 is out of range: it must be at least 1."


def test_options_are_given_flat_and_stand_in_groups() -> None:
    config = RunConfig(objective="ce", epochs=2, trainable_layers=1)
    assert config.loss.objective == "ce"
    assert config.training == TrainingOptions(epochs=2)
    assert config.model.encoder.trainable_layers == config.trainable_layers == 1
    assert RunConfig(training=TrainingOptions(epochs=2), seed=3).training == TrainingOptions(epochs=2, seed=3)
    changed = config.replace(seed=4, head_width=64)
    assert (changed.training.seed, changed.model.encoder.head_width, changed.loss) == (4, 64, config.loss)
    assert pickle.loads(pickle.dumps(changed)) == changed


def test_no_two_groups_have_an_option_of_one_name() -> None:
    def count(group: Options) -> int:
        values = [getattr(group, option.name) for option in fields(group)]
        return sum(count(value) if isinstance(value, Options) else 1 for value in values)

    config = RunConfig()
    names = inspect.signature(RunConfig).parameters  # what help() and Jupyter show
    assert sum(count(getattr(config, group.name)) for group in fields(config)) == len(config.to_dict()) == len(names)


def test_a_group_of_another_kind_or_an_unknown_name_is_an_error() -> None:
    with pytest.raises(InputError, match=r"training = .*: expected TrainingOptions"):
        RunConfig(training={"epochs": 2})
    with pytest.raises(InputError, match="did you mean 'epochs'"):
        RunConfig(epoch=2)
    with pytest.raises(AttributeError, match="no option 'epoch'"):
        _ = RunConfig().epoch
