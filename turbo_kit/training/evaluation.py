"""What a trained model makes of a list of clips: predictions, embeddings and every score; the test list, once."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import save_file

from turbo_kit.config import InputError
from turbo_kit.corpora import Corpus
from turbo_kit.corpora.conditions import conditions_of, transcript_errors
from turbo_kit.encoders.feature_cache import Features, trunk_features
from turbo_kit.metrics import at_threshold, classification_scores, geometry_scores, retrieval_scores, truth_and_score
from turbo_kit.model import TurboModel
from turbo_kit.model.inference import clip_features, model_outputs, on_device
from turbo_kit.model.turbo_model import Arrays
from turbo_kit.runs import EPOCHS, Run, fold_part, write_atomically, write_json

if TYPE_CHECKING:
    import pandas as pd

REACHED = ("false_accept_rate", "false_reject_rate", "accuracy")
"""What a model card tells of the threshold that development data chose."""

Inspection = tuple["pd.DataFrame", Arrays, dict[str, Any]]
"""Predictions (one row a clip), embeddings by name (one row a clip), scores by name."""


def evaluate(run: Run, test: Corpus, *, progress: bool = False) -> dict[str, Any]:
    """Predicts the test list, once, with the model that development data chose, and completes the run folder.

    Args:
        run: what `train` returned.
        test: clips that share no utterance, speaker or sentence template with train and dev.
        progress: show a progress bar where features have to be computed.

    Returns:
        The test scores: WA, UA, macro_F1, recall, confusion, retrieval, geometry; for two classes also EER, ROC_AUC
        and `at_threshold`: error rates and accuracies at the threshold that development data chose.
        A model that can do without a modality (`modality_dropout` above 0) is also tested without audio and without
        text, and any under the noise of `tested_word_errors` and `tested_snr`: see `run.result["metrics"]` and
        `run.predictions`.
        A run that was evaluated before gives the same scores again without predicting anything.

    Raises:
        InputError: the run was evaluated on other clips, or the list leaks into what the run was trained or chosen on.
    """
    part, fold = fold_part(test), run.fold
    if run.done:
        if fold["test"] != part:
            raise InputError(f"{run.folder} was evaluated on another test list; a run is tested once. Train a new run.")
        return dict(run.result["metrics"]["test"])
    for name in ("train", "dev"):
        for kind, values in part.items():
            shared = sorted(set(fold[name].get(kind, ())) & set(values))
            if shared and kind not in test.shared:
                raise InputError(
                    f"leak: {kind} {shared[0]!r} of the test list stands in {name} of {run.folder}: "
                    "evaluate on the test list of the run's own fold."
                )
    started = time.perf_counter()
    model = on_device(run.model(), run.config.hardware.device)
    features = clip_features(model, test, progress=progress)
    table, arrays, scores = predict_and_score(model, features, test, run.config.training.seed)
    result = run.result
    noised = {condition: condition.of(test) for condition in conditions_of(run.config)}
    optional = model.modalities if model.absent else ()
    others = {f"test without {m}": _predicted(model_outputs(model, features, missing=m), test) for m in optional}
    for c, clips in noised.items():
        noisy = trunk_features(model.encoder(c.modality), clips.utterances, model.max_seconds, progress=progress)
        others[c.split] = _predicted(model_outputs(model, {**features, c.modality: noisy}), clips)
    for predicted, found in ((table, scores), *others.values()):
        found |= _at_threshold(result, run.config.evaluation.false_accept_rate, predicted)
    result["metrics"] |= {"test": scores} | {name: found for name, (_, found) in others.items()}
    spoken = {"test": test} | {c.split: clips for c, clips in noised.items() if c.modality == "text"}
    result["transcripts"]["word_error_rate"] |= {name: transcript_errors(clips) for name, clips in spoken.items()}
    result["timings"]["evaluation_seconds"] = time.perf_counter() - started
    result["status"] = "done"
    model.about["scores"] = {**model.about.get("scores", {}), **card_scores("test", scores)}
    write_atomically(run.folder / "checkpoint", model.save_pretrained)  # its card now tells the test scores
    parts = {"dev": (run.predictions("dev"), run.embeddings("dev")), "test": (table, arrays)}
    write_outputs(run, parts | {name: (predicted, {}) for name, (predicted, _) in others.items()})
    write_json(run.folder / "fold.json", {**fold, "test": part})
    write_json(run.folder / "result.json", result)
    write_atomically(run.folder / "DONE", lambda partial: partial.write_text("done\n"))
    return scores


def predict_and_score(model: TurboModel, features: Mapping[str, Features], corpus: Corpus, seed: int) -> Inspection:
    """Predictions, embeddings and every score of the model on some clips; dropout is on for in-modal alignment alone.

    Args:
        model: the model, left in evaluation mode.
        features: what its trunks gave for the clips of the corpus.
        seed: of the two dropout passes whose distance is in-modal alignment.
    """
    model.eval()
    outputs = model_outputs(model, features)
    table, scores = _predicted(outputs, corpus)
    pooled = {modality: outputs[f"pooled.{modality}"][0] for modality in model.modalities}
    projected = {modality: outputs[f"view.{modality[0]}1"] for modality in model.modalities}
    scores["geometry"] = geometry_scores(pooled, projected, _two_passes(model, features, seed))
    if len(projected) == 2 and len({array.shape[1] for array in projected.values()}) == 1:
        scores["retrieval"] = retrieval_scores(projected["audio"], projected["text"], table["text"].tolist())
    arrays = pooled | {f"{modality}_projected": array for modality, array in projected.items()}
    return table, arrays, scores


def _predicted(outputs: Arrays, corpus: Corpus) -> tuple["pd.DataFrame", dict[str, Any]]:
    """The table of predictions, one row a clip, and the classification scores, from a model's outputs."""
    import pandas as pd

    probabilities = torch.from_numpy(outputs["logits"][0]).softmax(dim=-1).numpy()
    table = pd.DataFrame(
        {name: [getattr(u, name) for u in corpus.utterances] for name in ("id", "speaker", "text", "label")}
    )
    table["predicted"] = [corpus.classes[i] for i in probabilities.argmax(axis=1)]
    table[[f"p_{name}" for name in corpus.classes]] = probabilities
    return table, classification_scores(np.array(corpus.labels), probabilities, corpus.classes)


def _at_threshold(result: Mapping[str, Any], target: float, predicted: "pd.DataFrame") -> dict[str, Any]:
    """Scores of two classes at the threshold that development data chose; nothing where there are more."""
    threshold = result["metrics"]["dev"].get("threshold")
    if threshold is None:
        return {}
    reached = at_threshold(*truth_and_score(predicted, result["classes"]), threshold)
    return {"at_threshold": {"threshold": threshold, "target": target, **reached}}


def _two_passes(model: TurboModel, features: Mapping[str, Features], seed: int) -> Arrays:
    """(2, N, D) by modality: what the classifier reads in two passes with dropout on."""
    devices = [model.classifier.weight.device] if model.classifier.weight.is_cuda else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        model.train()
        outputs = model_outputs(model, features, passes=2)
        model.eval()
    return {modality: outputs[f"pooled.{modality}"] for modality in model.modalities}


def card_scores(split: str, scores: Mapping[str, Any]) -> dict[str, str]:
    """The scores that a model card shows, by name."""
    reached = scores.get("at_threshold", {})
    shown = {name: scores.get(name) for name in ("UA", "WA", "macro_F1", "EER", "ROC_AUC")}
    shown |= {f"{name.replace('_', ' ')} at the threshold": reached[name] for name in REACHED if name in reached}
    return {f"{split} {name}": f"{value:.3f}" for name, value in shown.items() if value is not None}


def write_outputs(run: Run, parts: "Mapping[str, tuple[pd.DataFrame, Arrays]]") -> None:
    """Writes the predictions and embeddings of each list into the run folder."""
    import pandas as pd

    tables = [table.assign(split=split) for split, (table, _) in parts.items()]
    arrays = {f"{split}.{n}": np.ascontiguousarray(a) for split, (_, named) in parts.items() for n, a in named.items()}
    write_atomically(run.folder / "embeddings.safetensors", lambda partial: save_file(arrays, partial))
    predictions = pd.concat(tables, ignore_index=True)
    write_atomically(run.folder / "predictions.parquet", predictions.to_parquet)


def write_epochs(run: Run, epochs: Sequence[Arrays]) -> None:
    """Writes what `model_outputs` gave of the development clips, time after time, into the run folder."""
    pooled = [name for name in epochs[0] if name.startswith("pooled.")]
    arrays = {name.removeprefix("pooled."): np.stack([outputs[name][0] for outputs in epochs]) for name in pooled}
    arrays["predicted"] = np.stack([outputs["logits"][0].argmax(axis=1) for outputs in epochs])
    write_atomically(run.folder / EPOCHS, lambda partial: save_file(arrays, partial))
