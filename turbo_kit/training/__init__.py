"""Training: from a config and two lists of clips to a run folder, and the one evaluation on test."""

from turbo_kit.training.evaluation import evaluate
from turbo_kit.training.loop import train

__all__ = ["evaluate", "train"]
