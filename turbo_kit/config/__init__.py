"""The options of a run in groups, and the error that says what is wrong with what a user gave."""

from turbo_kit.config.errors import InputError, unknown
from turbo_kit.config.options import (
    ABSENT,
    ConditionOptions,
    DataOptions,
    EncoderConfig,
    EvaluationOptions,
    HardwareOptions,
    LossOptions,
    ModelOptions,
    Options,
    Protocol,
    TrainingOptions,
)
from turbo_kit.config.run_config import RunConfig, notebook_literals

__all__ = ["ABSENT", "InputError", "Protocol", "RunConfig", "notebook_literals", "unknown"]
__all__ += ["ConditionOptions", "DataOptions", "EncoderConfig", "EvaluationOptions", "HardwareOptions"]
__all__ += ["LossOptions", "ModelOptions", "Options", "TrainingOptions"]
