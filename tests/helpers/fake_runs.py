"""Run folders as `train` and `evaluate` leave them, made up at once: nothing is trained."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from turbo_kit.config import RunConfig
from turbo_kit.corpora.conditions import conditions_of
from turbo_kit.metrics import classification_scores, geometry_scores, retrieval_scores
from turbo_kit.runs import Run

CLASSES = ("angry", "happy", "neutral", "sad")


def write_run(
    folder: Path,
    name: str = "",
    *,
    done: bool = True,
    skill: float = 1.0,
    centre: float = 0.35,
    classes: tuple[str, ...] = CLASSES,
    clips: int = 48,
    speakers: int = 4,
    epochs: int = 4,
    width: int = 8,
    about: str = "Synthetic speech, made up for a test.",
    source: str = "5" * 64,
    digest: str = "c0ffee" * 10,
    text_width: int | None = None,
    **knobs: Any,
) -> Run:
    """One run folder with test clips whose classes show in embeddings and predictions the more, the higher `skill`.

    The clips (ids, speakers, labels) depend on the fold alone, as those of a corpus do. A run with modality dropout is
    also tested without each modality, which halves its skill; each condition that it is tested under leaves less.
    """
    config = RunConfig(**knobs)
    run = Run(
        folder / (name or f"{config.objective}-fold{config.fold}-seed{config.seed}-{len(list(folder.glob('*')))}")
    )
    run.folder.mkdir(parents=True)
    noise = np.random.default_rng([config.seed, config.fold, *config.objective.encode(), int(1000 * skill)])
    parts = {
        split: _split(run, split, config, classes, clips, speakers, skill, centre, width, text_width, noise)
        for split in ("dev", "test")[: 2 if done else 1]
    }
    missing = [f"test without {modality}" for modality in config.modalities if done and config.modality_dropout]
    for split in missing:
        options = (classes, clips, speakers, skill / 2, centre, width, text_width, noise)
        table, _, scores = _split(run, "test", config, *options)
        parts[split] = (table, {}, {name: scores[name] for name in scores if name not in ("geometry", "retrieval")})
    conditions = conditions_of(config) if done else []
    for place, condition in enumerate(conditions, start=2):
        options = (classes, clips, speakers, skill / place, centre, width, text_width, noise)
        table, _, scores = _split(run, "test", config, *options)
        parts[condition.split] = (table, {}, {"UA": scores["UA"]})
    errors = dict.fromkeys(("train", "dev", "test")[: 3 if done else 2], config.word_errors)
    errors |= {c.split: config.word_errors + 0.99 * c.level for c in conditions if c.modality == "text"}
    history = _history(epochs, skill, noise)
    tables = [table.assign(split=split) for split, (table, _, _) in parts.items()]
    pd.concat(tables, ignore_index=True).to_parquet(run.folder / "predictions.parquet")
    arrays = {f"{split}.{key}": array for split, (_, named, _) in parts.items() for key, array in named.items()}
    save_file(arrays, run.folder / "embeddings.safetensors")
    history.to_parquet(run.folder / "history.parquet")
    fold = {"train": {"id": [f"train-{i}" for i in range(2 * clips)], "speaker": ["one", "two"], "template": []}}
    for split in ("dev", "test")[: 2 if done else 1]:
        table = parts[split][0]
        fold[split] = {"id": table["id"].tolist(), "speaker": sorted(set(table["speaker"])), "template": []}
    result = {
        "status": "done" if done else "trained",
        "config": config.to_dict(),
        "classes": list(classes),
        "about_corpus": about,
        "transcripts": {"source": config.transcripts, "word_error_rate": errors},
        "best_epoch": int(history["epoch"][history["dev_UA"].idxmax()]),
        "metrics": {split: scores for split, (_, _, scores) in parts.items()},
        "timings": {"features_seconds": 1.0, "training_seconds": 12.5, "epochs": epochs, "seconds_per_epoch": 0.8},
        "versions": {"python": "3.11.0", "turbo-kit": "0.1.0", "torch": "2.8.0"},
        "device": "cpu",
        "source": source,
        "encoders": dict.fromkeys(config.modalities, digest),
        "parameters": 123456,
    }
    _write(run.folder / "config.json", config.to_dict())
    _write(run.folder / "fold.json", fold)
    _write(run.folder / "result.json", result)
    if done:
        (run.folder / "DONE").write_text("done\n")
    return run


def _split(run, split, config, classes, clips, speakers, skill, centre, width, text_width, noise):
    truth = np.random.default_rng([config.fold, len(split)])
    labels = np.arange(clips) % len(classes)
    voices = truth.permutation(np.arange(clips) % speakers)
    logits = noise.normal(size=(clips, len(classes))) + skill * np.eye(len(classes))[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    texts = [f"sentence {i % max(1, clips - 4)}" for i in range(clips)]
    table = pd.DataFrame(
        {
            "id": [f"{split}-{config.fold}-{i:03}" for i in range(clips)],
            "speaker": [f"voice {config.fold}{v}" for v in voices],
            "text": texts,
            "label": [classes[i] for i in labels],
            "predicted": [classes[i] for i in probabilities.argmax(axis=1)],
            **{f"p_{name}": probabilities[:, i] for i, name in enumerate(classes)},
        }
    )
    widths = {"audio": width, "text": text_width or width}
    centres = np.random.default_rng(7).normal(size=(len(classes), max(widths.values())))
    pooled, projected, passes = {}, {}, {}
    for modality in config.modalities:
        clean = centre * skill * centres[labels][:, : widths[modality]] + noise.normal(size=(clips, widths[modality]))
        pooled[modality] = clean.astype(np.float32)
        projected[modality] = (clean[:, :4] + 0.3).astype(np.float32)
        passes[modality] = np.stack([clean + 0.2 * noise.normal(size=clean.shape) for _ in range(2)])
    scores = classification_scores(labels, probabilities, classes)
    scores["geometry"] = geometry_scores(pooled, projected, passes)
    if len(projected) == 2:
        scores["retrieval"] = retrieval_scores(projected["audio"], projected["text"], texts)
    return table, pooled | {f"{name}_projected": array for name, array in projected.items()}, scores


def _history(epochs: int, skill: float, noise: np.random.Generator) -> pd.DataFrame:
    steps = np.arange(1, epochs + 1)
    rise = 1 - np.exp(-steps / 4)
    return pd.DataFrame(
        {
            "epoch": steps,
            "train_loss": 2.0 - rise,
            "dev_loss": 1.4 - 0.5 * rise * min(skill, 2) / 2 + 0.02 * noise.normal(size=epochs),
            "dev_UA": 0.25 + 0.4 * rise * min(skill, 2) / 2 + 0.015 * noise.normal(size=epochs),
            "dev_WA": 0.25 + 0.4 * rise * min(skill, 2) / 2,
            "learning_rate": 1e-3,
            "seconds": 0.8,
        }
    )


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")
