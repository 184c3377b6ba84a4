"""turbo-kit: in-modal and cross-modal contrastive learning (Turbo, arXiv 2409.09282) for audio-text classification."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turbo_kit.config import InputError, RunConfig
    from turbo_kit.corpora import Corpus, Fold, Utterance, load_corpus, load_fold
    from turbo_kit.model import TurboModel
    from turbo_kit.objectives import Objective
    from turbo_kit.runs import Run
    from turbo_kit.training import evaluate, train

__version__ = "0.1.0"
__all__ = ["Corpus", "Fold", "InputError", "Objective", "Run", "RunConfig", "TurboModel", "Utterance"]
__all__ += ["evaluate", "load_corpus", "load_fold", "train"]

_HOMES = {
    "config": ("InputError", "RunConfig"),
    "corpora": ("Corpus", "Fold", "Utterance", "load_corpus", "load_fold"),
    "model": ("TurboModel",),
    "objectives": ("Objective",),
    "runs": ("Run",),
    "training": ("evaluate", "train"),
}


def __getattr__(name: str) -> Any:
    """Loads a public name from its room when it is first used, so that `import turbo_kit` itself stays quick."""
    from importlib import import_module

    for room, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"turbo_kit.{room}"), name)
    raise AttributeError(f"module 'turbo_kit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
