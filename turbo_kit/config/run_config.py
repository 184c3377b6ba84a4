"""The config of one run: its groups of options, given and stored by flat names."""

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, Self

from turbo_kit.config.errors import InputError, unknown
from turbo_kit.config.options import (
    ConditionOptions,
    DataOptions,
    EvaluationOptions,
    HardwareOptions,
    LossOptions,
    ModelOptions,
    Options,
    TrainingOptions,
)


@dataclass(frozen=True, init=False)
class RunConfig:
    """All options of one run: what is trained, on what, towards which objective, and how.

    Options are given by their own names, and stand in groups: `RunConfig(objective="turbo", epochs=5)` has
    `config.loss.objective` and `config.training.epochs`. Grids, notebooks and files use the flat names alone;
    `config.replace(seed=1)` takes them too, and `config.epochs` reads one.

    Raises:
        InputError: a name that is no option, with the nearest one that is; a value that cannot be used; or two that do
            not fit together.
    """

    data: DataOptions = field(default_factory=DataOptions)
    conditions: ConditionOptions = field(default_factory=ConditionOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)
    hardware: HardwareOptions = field(default_factory=HardwareOptions)

    def __init__(self, **options: Any) -> None:
        groups = {group.name for group in fields(self)}
        for name in options:
            if name not in OPTION_PATHS and name not in groups:
                raise unknown("parameter", str(name), OPTION_PATHS)
        for group in fields(self):
            given = options.get(group.name, _DEFAULTS[group.name])
            if not isinstance(given, type(_DEFAULTS[group.name])):
                raise InputError(f"{group.name} = {given!r}: expected {type(_DEFAULTS[group.name]).__name__}.")
            object.__setattr__(self, group.name, given.updated(options))
        if self.training.searched:
            self._check_search()

    if not TYPE_CHECKING:  # within the kit an option is read from its group, and mypy sees to it

        def __getattr__(self, name: str) -> Any:
            """Reads an option by its flat name."""
            if name not in OPTION_PATHS:
                raise AttributeError(f"RunConfig has no option {name!r}")
            value = self
            for step in OPTION_PATHS[name]:
                value = getattr(value, step)
            return getattr(value, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *OPTION_PATHS]

    def _check_search(self) -> None:
        searched = self.training.searched
        seeds = searched.get("seed", [])
        if len(seeds) != 1 or seeds[0] == self.training.seed:
            raise InputError(
                f"searched has seed = {seeds}: name the one seed of the search runs, another one than the run's own "
                f'({self.training.seed}), such as "seed": [100].'
            )
        if len(searched) == 1:
            raise InputError('searched has no option to choose: add one, such as "contrastive_weight": [0.05, 0.1].')
        values = self.to_dict() | {"searched": {}}
        for name, choices in searched.items():
            if not choices:
                raise InputError(f"searched[{name!r}] is empty: give at least one value.")
            for value in choices:
                self.from_dict(values | {name: value})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Builds a config from names and values; a name that is no option is an error with the nearest right one."""
        for name in values:
            if name not in OPTION_PATHS:
                raise unknown("parameter", str(name), OPTION_PATHS)
        return cls(**values)

    @classmethod
    def from_notebook(cls, variables: Mapping[str, Any], other: Iterable[str] = ("out", "test")) -> Self:
        """Builds a config from the `parameters` cell of a notebook.

        Args:
            variables: `globals()` of the notebook. Every public variable that holds a literal counts as a parameter.
            other: names of parameters that belong to the notebook and not to the run.

        Raises:
            InputError: a parameter that is no option (papermill itself would run on with the default), or a wrong
                value.
        """
        own = set(other)
        return cls.from_dict({name: value for name, value in notebook_literals(variables).items() if name not in own})

    def to_dict(self) -> dict[str, Any]:
        """The config as flat names and literals, ready for JSON or for a notebook's parameters."""
        return {name: value for group in fields(self) for name, value in getattr(self, group.name).to_dict().items()}

    def replace(self, **options: Any) -> Self:
        """The same config with some options changed, each by its flat name: `config.replace(seed=1)`."""
        return dataclasses.replace(self, **options)

    @property
    def modalities(self) -> dict[str, str]:
        """Encoder name by modality, without the modalities that this run leaves out."""
        return self.model.modalities


def notebook_literals(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Every public variable of a notebook that holds a literal: what may be one of its parameters."""
    literals = (bool, int, float, str, list, dict, tuple, type(None))
    hidden = {name for name in variables if name.startswith("_") or name in ("In", "Out")}
    return {name: value for name, value in variables.items() if isinstance(value, literals) and name not in hidden}


def _paths(group: Options, path: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for option in fields(group):
        value = getattr(group, option.name)
        found |= _paths(value, (*path, option.name)) if isinstance(value, Options) else {option.name: path}
    return found


_DEFAULTS: dict[str, Options] = {name: group() for name, group in typing.get_type_hints(RunConfig).items()}
OPTION_PATHS = {name: path for group, options in _DEFAULTS.items() for name, path in _paths(options, (group,)).items()}
"""The group of each option, by its flat name, as the attributes that lead to it from a `RunConfig`."""

# Shown by help() and by Jupyter: each option with its default.
RunConfig.__signature__ = Signature(  # type: ignore[attr-defined]
    [Parameter(name, Parameter.KEYWORD_ONLY, default=value) for name, value in RunConfig().to_dict().items()]
)
