"""What has come of a training so far, and the run folder that is written at its end."""

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from turbo_kit.corpora import Corpus
from turbo_kit.corpora.conditions import transcript_errors
from turbo_kit.identity import source_fingerprint
from turbo_kit.metrics import threshold_at, truth_and_score
from turbo_kit.model.turbo_model import Arrays
from turbo_kit.runs import Run, clear, fold_part, write_atomically, write_json
from turbo_kit.training.checkpoint import UNFINISHED
from turbo_kit.training.evaluation import card_scores, predict_and_score, write_epochs, write_outputs
from turbo_kit.training.setup import TrainingSetup

PACKAGES = ("turbo-kit", "torch", "transformers", "lightning-fabric", "numpy")
"""Those whose versions a run records."""


@dataclass
class TrainingRecord:
    """What has come of a training so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)  # of the history
    best_epoch: int = 0  # the one that development data prefers; of equal ones the earlier
    best_score: float = -math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    epochs: list[Arrays] = field(default_factory=list)  # development outputs, if wanted
    losses: list[dict[str, Tensor]] = field(default_factory=list)  # of the batches of the epoch under way
    seconds: float = 0.0
    resumed: int = 0  # how often the training was stopped and went on

    def state(self) -> dict[str, Any]:
        """Itself as `write_state` takes it."""
        names = self.losses[0] if self.losses else ()
        losses = {name: torch.stack([batch[name] for batch in self.losses]) for name in names}
        epochs = [{name: torch.from_numpy(array) for name, array in outputs.items()} for outputs in self.epochs]
        return vars(self) | {"losses": losses, "epochs": epochs}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: torch.device) -> "TrainingRecord":
        """What `state` gave, to go on with; the losses on the device where those of the next batches will be."""
        values = zip(*(losses.to(device).unbind() for losses in state["losses"].values()), strict=True)
        losses = [dict(zip(state["losses"], batch, strict=True)) for batch in values]
        epochs = [{name: tensor.numpy() for name, tensor in outputs.items()} for outputs in state["epochs"]]
        return cls(**{**state, "losses": losses, "epochs": epochs, "resumed": state["resumed"] + 1})


def write_results(
    run: Run, setup: TrainingSetup, train: Corpus, record: TrainingRecord, features_seconds: float
) -> None:
    """Scores the model of the best epoch on development data, and writes the run folder."""
    import pandas as pd

    config, model, dev = setup.config, setup.model, setup.dev
    model.load_trained_state(record.best_weights)
    table, arrays, scores = predict_and_score(model, setup.dev_features, dev, config.training.seed)
    encoders = ", ".join(f"{modality} {name}" for modality, name in config.modalities.items())
    model.about = {
        "objective": config.loss.objective,
        "data": f"Corpus {train.name}, {len(train)} training clips, fold {config.data.fold}. {train.about} "
        f"Encoders: {encoders}.",
        "scores": card_scores("dev", scores),
        "threshold": {},
    }
    if len(dev.classes) == 2:
        target = config.evaluation.false_accept_rate
        scores["threshold"] = threshold_at(*truth_and_score(table, dev.classes), target)
        model.about["threshold"] = {"value": scores["threshold"], "target": target}
    clear(run, but=UNFINISHED)
    write_json(run.folder / "config.json", config.to_dict())
    write_json(run.folder / "fold.json", {"train": fold_part(train), "dev": fold_part(dev)})
    write_atomically(run.folder / "history.parquet", pd.DataFrame(record.rows).to_parquet)
    write_outputs(run, {"dev": (table, arrays)})
    if record.epochs:
        write_epochs(run, record.epochs)
    write_atomically(run.folder / "checkpoint", model.save_pretrained)
    write_json(run.folder / "result.json", _result(setup, train, record, scores, features_seconds))
    (run.folder / UNFINISHED).unlink(missing_ok=True)  # only now: until here a stop costs no more than before


def _result(
    setup: TrainingSetup, train: Corpus, record: TrainingRecord, scores: Mapping[str, Any], features_seconds: float
) -> dict[str, Any]:
    """What stands in result.json until the run is evaluated on test."""
    config, model = setup.config, setup.model
    return {
        "status": "trained",
        "config": config.to_dict(),
        "classes": list(train.classes),
        "about_corpus": train.about,
        "transcripts": {
            "source": config.data.transcripts,
            "word_error_rate": {"train": transcript_errors(train), "dev": transcript_errors(setup.dev)},
        },
        "best_epoch": record.best_epoch,
        "metrics": {"dev": dict(scores)},
        "timings": {
            "training_seconds": record.seconds,
            "epochs": len(record.rows),
            "seconds_per_epoch": record.seconds / len(record.rows),
            "resumed": record.resumed,
            "features_seconds": features_seconds,
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "device": str(setup.fabric.device),
        "processes": setup.fabric.world_size,
        "threads": torch.get_num_threads(),
        "source": source_fingerprint(),
        "encoders": model.fingerprints,
        "layer_weights": model.layer_weights,
        "parameters": sum(value.numel() for value in model.trained_state().values()),
    }
