"""Training, read from top to bottom: features, batches, objective, optimiser, and the choice of an epoch."""

import logging
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from turbo_kit.batches import bucketed_batches
from turbo_kit.config import ABSENT, InputError, RunConfig
from turbo_kit.corpora import Corpus
from turbo_kit.corpora.conditions import transcript_errors
from turbo_kit.corpora.utterance import UNLABELLED
from turbo_kit.encoders.cache import Features
from turbo_kit.evaluation import (
    card_scores,
    clip_features,
    clip_lengths,
    inspect,
    model_outputs,
    moved,
    padded_batch,
    write_epochs,
    write_outputs,
)
from turbo_kit.gradient_cache import Batch, backward, memory_errors
from turbo_kit.metrics import classification_scores, selection_score, threshold_at, truth_and_score
from turbo_kit.model import TurboModel
from turbo_kit.objectives import Objective
from turbo_kit.objectives.pairs import PairKey
from turbo_kit.optimisation import agree, compiled, fabric_of, optimizer_of
from turbo_kit.runs import Run, clear, fold_part, planned_run, source_fingerprint, write_atomically, write_json

if TYPE_CHECKING:
    import pandas as pd
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

CHECKED_STEPS = 20
"""Losses are looked at after so many steps and at the end of an epoch: a look makes the host wait for a GPU."""

log = logging.getLogger(__name__)


def train(
    config: RunConfig,
    train: Corpus,
    dev: Corpus,
    out: str | Path = "runs",
    *,
    again: bool = False,
    progress: bool = False,
) -> Run:
    """Trains one model and chooses its best epoch on development data; the test list is not among the arguments.

    Args:
        config: every knob of the run.
        train: the clips to learn from; those without a label take part in the contrastive terms alone.
        dev: the clips that choose the epoch, by UA (EER for two classes); of equal epochs the earlier one. For two
            classes they also choose the threshold that keeps to `false_accept_rate`.
        out: the folder that the run folder is made in.
        again: train even if this very run is there already.
        progress: show progress bars.

    Returns:
        The run; one that is there already is returned as it is.

    Raises:
        InputError: a config that does not fit, or a clip that cannot be used: nothing is left behind then. A loss that
            is not finite: the best model so far is kept in the run folder.
    """
    run = planned_run(config, train, dev, out)
    fabric = fabric_of(config)
    if fabric.broadcast(run.trained and not again):
        log.info("%s is there already: nothing is trained.", run.folder)
        return run
    started = time.perf_counter()
    progress = progress and fabric.is_global_zero
    ready = prepare(config, train, dev, fabric, progress=progress)
    prepared = time.perf_counter()
    history, best, epochs = _fit(ready, run, progress)
    ready.model.load_trained_state(best.state)
    trained = time.perf_counter()
    if fabric.is_global_zero:
        timings = {
            "features_seconds": prepared - started,
            "training_seconds": trained - prepared,
            "epochs": len(history),
            "seconds_per_epoch": (trained - prepared) / len(history),
        }
        _write(run, ready, train, best.epoch, history, epochs, timings)
    fabric.barrier()
    return run


def _write(
    run: Run,
    ready: "Ready",
    train: Corpus,
    best_epoch: int,
    history: "pd.DataFrame",
    epochs: "list[dict[str, NDArray[np.float32]]]",
    timings: dict[str, float],
) -> None:
    """Inspects the trained model, and writes the run folder."""
    config, model, dev = ready.config, ready.model, ready.dev
    table, arrays, scores = inspect(model, ready.dev_features, dev, config.seed)
    if len(dev.classes) == 2:
        scores["threshold"] = threshold_at(*truth_and_score(table, dev.classes), config.false_accept_rate)
    model.about = _facts(config, train, scores)
    result = {
        "status": "trained",
        "config": config.to_dict(),
        "classes": list(train.classes),
        "about_corpus": train.about,
        "transcripts": {
            "source": config.transcripts,
            "word_error_rate": {"train": transcript_errors(train), "dev": transcript_errors(dev)},
        },
        "best_epoch": best_epoch,
        "metrics": {"dev": scores},
        "timings": timings,
        "versions": _versions(),
        "device": str(ready.fabric.device),
        "processes": ready.fabric.world_size,
        "threads": torch.get_num_threads(),
        "source": source_fingerprint(),
        "encoders": model.fingerprints,
        "layer_weights": model.layer_weights,
        "parameters": sum(value.numel() for value in model.trained_state().values()),
    }
    clear(run)
    write_json(run.folder / "config.json", config.to_dict())
    write_json(run.folder / "fold.json", {"train": fold_part(train), "dev": fold_part(dev)})
    write_atomically(run.folder / "history.parquet", history.to_parquet)
    write_outputs(run, {"dev": (table, arrays)})
    if epochs:
        write_epochs(run, epochs)
    write_atomically(run.folder / "checkpoint", model.save_pretrained)
    write_json(run.folder / "result.json", result)


def build_objective(config: RunConfig, labels: Sequence[int], classes: int) -> Objective:
    """The objective that a config names.

    Args:
        config: of the run.
        labels: the training labels that the classifier sees, for class weights; -100 = none.
        classes: how many there are.

    Raises:
        InputError: no such objective, or one that needs a modality that the run leaves out.
    """
    switches = ("temperature", "similarity", "direction", "negatives", "cross_entropy", "r_drop_alpha")
    pair_weights: dict[PairKey, float] = dict(config.pair_weights.items())
    objective = Objective.preset(
        config.objective,
        contrastive_weight=config.contrastive_weight,
        normalize_pairs=config.normalize_pairs,
        exclude=config.exclude,
        pair_weights=pair_weights,
        class_weights=_class_weights(labels, classes) if config.class_weighting == "balanced" else None,
        **{name: value for name in switches if (value := getattr(config, name)) is not None},
    )
    letters = {modality[0] for modality in config.modalities}
    for letter in objective.modalities:
        if letter not in letters:
            raise InputError(
                f"objective {config.objective!r} compares views of {letter!r}, and this run leaves that modality out "
                f"(audio={config.audio!r}, text={config.text!r}): choose ce or ce-2pass, or name an encoder for it."
            )
    return objective


@dataclass(frozen=True)
class Ready:
    """All that training needs, prepared from a config and two lists of clips."""

    config: RunConfig
    fabric: "Fabric"
    model: TurboModel
    objective: Objective
    batches: "_Batches"
    dev: Corpus
    dev_features: dict[str, Features]


def prepare(
    config: RunConfig, train: Corpus, dev: Corpus, fabric: "Fabric | None" = None, *, progress: bool = False
) -> Ready:
    """Builds the model and the objective, and computes or reads what the frozen trunks make of the clips.

    Raises:
        InputError: a config that does not fit, or a clip that cannot be used.
    """
    fabric = fabric or fabric_of(config)
    fabric.seed_everything(config.seed, verbose=False)
    labels = _visible_labels(train, config)
    objective = build_objective(config, labels, len(train.classes))
    model = TurboModel.from_config(config, train.classes).to(fabric.device)
    train_features = clip_features(model, train, progress=progress)
    dev_features = clip_features(model, dev, progress=progress)
    batches = _Batches(config, train, train_features, labels, fabric)
    if fabric.world_size > 1:  # the same weights everywhere, and masks of its own for each process
        torch.manual_seed(int(np.random.SeedSequence([config.seed, fabric.global_rank]).generate_state(1)[0]))
    return Ready(config, fabric, model, objective, batches, dev, dev_features)


@dataclass(frozen=True)
class Step:
    """One batch that training has seen: `losses` holds `train_loss` and each term as `term.<name>`, detached."""

    epoch: int
    number: int
    losses: dict[str, Tensor]
    learning_rate: float


def training_steps(ready: Ready) -> Iterator[Step]:
    """Trains batch by batch, epoch by epoch, and says what each batch cost; whoever asks for the next may look on.

    The model may be put into evaluation mode between two steps.
    """
    config, fabric, batches = ready.config, ready.fabric, ready.batches
    total = config.epochs * -(-len(batches) // config.accumulate)
    optimizer, schedule = optimizer_of(config, ready.model, ready.objective, total)
    ready.objective.to(fabric.device)
    wrapped, optimizer = fabric.setup(compiled(ready.model) if config.compile else ready.model, optimizer)
    for epoch in range(1, config.epochs + 1):
        for number, batch in enumerate(batches.of_epoch(epoch), start=1):
            ready.model.train()
            last = number % config.accumulate == 0 or number == len(batches)
            with memory_errors(config):
                loss = backward(fabric, wrapped, ready.objective, batch, config.accumulate, last=last)
            if last:
                if fabric.world_size > 1:
                    agree(fabric, ready.objective)
                if config.clip_norm:
                    fabric.clip_gradients(wrapped, optimizer, max_norm=config.clip_norm, error_if_nonfinite=False)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            terms = {f"term.{name}": term for name, term in loss.terms.items()}
            yield Step(epoch, number, {"train_loss": loss.total.detach()} | terms, float(schedule.get_last_lr()[0]))


@dataclass
class _Best:
    """The epoch that development data prefers so far; of equal ones the earlier."""

    epoch: int
    score: float
    state: dict[str, Tensor]


def _fit(ready: Ready, run: Run, progress: bool) -> "tuple[pd.DataFrame, _Best, list[dict[str, NDArray[np.float32]]]]":
    """Trains epoch by epoch, looks at development data after each, and keeps the best epoch's weights."""
    import pandas as pd
    from tqdm.auto import tqdm

    config, model = ready.config, ready.model
    rows, best = [], _Best(0, -np.inf, {})
    epochs = [development_outputs(ready)] if config.epoch_embeddings else []
    bar = tqdm(total=config.epochs, desc=config.objective, unit="epoch", disable=not progress)
    steps: list[Step] = []
    started = time.perf_counter()
    for step in training_steps(ready):
        steps.append(step)
        ended = step.number == len(ready.batches)
        if (ended or step.number % CHECKED_STEPS == 0) and (fault := _divergence(ready, steps[-CHECKED_STEPS:])):
            raise InputError(fault + _kept(run, ready, best))
        if not ended:
            continue
        outputs = development_outputs(ready)
        if not np.isfinite(outputs["logits"]).all():
            fault = f"after epoch {step.epoch} the model's outputs are not finite: lower learning_rate."
            raise InputError(fault + _kept(run, ready, best))
        dev_loss, scores = development_scores(ready, outputs)
        means = {name: float(sum(step.losses[name] for step in steps)) / len(steps) for name in step.losses}
        row: dict[str, Any] = {"epoch": step.epoch, **means, "dev_loss": dev_loss}
        row |= {f"dev_{name}": scores[name] for name in ("UA", "WA", "EER") if name in scores}
        row |= {"learning_rate": step.learning_rate, "seconds": time.perf_counter() - started}
        rows.append(row)
        if config.epoch_embeddings:
            epochs.append(outputs)
        bar.update()
        bar.set_postfix_str(f"loss {means['train_loss']:.3f}, dev UA {scores['UA']:.3f}")
        score = ready.fabric.broadcast(selection_score(scores))  # all processes stop at the same epoch
        if score > best.score:
            best = _Best(step.epoch, score, {name: value.clone() for name, value in model.trained_state().items()})
        if config.patience and step.epoch - best.epoch >= config.patience:
            break
        steps, started = [], time.perf_counter()
    bar.total = bar.n  # a notebook draws a bar that ends before its total in red
    bar.refresh()
    bar.close()
    return pd.DataFrame(rows), best, epochs


def _divergence(ready: Ready, steps: Sequence[Step]) -> str:
    """Of the first of these steps whose loss is not finite: which terms, and of which clips; empty where all are."""
    totals = torch.stack([step.losses["train_loss"] for step in steps])
    for step, finite in zip(steps, totals.isfinite().tolist(), strict=True):
        if not finite:
            terms = [name.removeprefix("term.") for name, loss in step.losses.items() if not torch.isfinite(loss)]
            clips = ready.batches.clips(step.epoch, step.number)
            named = ", ".join(clips[:3]) + (f" and {len(clips) - 3} more" if len(clips) > 3 else "")
            return (
                f"the loss is {float(step.losses['train_loss'])} in batch {step.number} of epoch {step.epoch} (not "
                f"finite: {', '.join(terms[1:] or terms)}; clips {named}): lower learning_rate, or raise temperature."
            )
    return ""


def _kept(run: Run, ready: Ready, best: _Best) -> str:
    """Keeps the best model so far of a training that cannot go on, and says where."""
    if not best.epoch:
        return ""
    ready.model.load_trained_state(best.state)
    if ready.fabric.is_global_zero:
        write_atomically(run.folder / "checkpoint", ready.model.save_pretrained)
    return f" The model of epoch {best.epoch}, the best one, is kept in {run.folder / 'checkpoint'}."


class _Batches:
    """The training clips as batches on the device, in an order that the seed and the epoch decide."""

    def __init__(
        self, config: RunConfig, train: Corpus, features: dict[str, Features], labels: list[int], fabric: "Fabric"
    ) -> None:
        self._features, self._lengths, self._device = features, clip_lengths(features), fabric.device
        self._rank, self._processes = fabric.global_rank, fabric.world_size
        if (smallest := min(len(train), config.batch_size)) < self._processes:
            raise InputError(f"a batch of {smallest} clips for {self._processes} processes: start fewer.")
        self._names = [utterance.id for utterance in train.utterances]
        self._labels = torch.tensor(labels)
        self._transcripts = torch.tensor(np.unique([u.text for u in train.utterances], return_inverse=True)[1])
        self._size, self._chunk, self._seed = config.batch_size, config.chunk_size, config.seed

    def __len__(self) -> int:
        return max(1, len(self._lengths) // self._size)

    def clips(self, epoch: int, number: int) -> list[str]:
        """Who was in a batch, the first of an epoch being number 1."""
        return [self._names[index] for index in self._order(epoch)[number - 1]]

    def _order(self, epoch: int) -> "list[NDArray[np.int64]]":
        return bucketed_batches(self._lengths, self._size, seed=self._seed, epoch=epoch)

    def of_epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch, each in chunks of `chunk_size` clips that are padded no further than they need.

        Of several processes each takes its share of every batch: every so-manieth clip, so that all have long ones.
        """
        for indices in self._order(epoch):
            shares = [indices[rank :: self._processes] for rank in range(self._processes)]
            own, everyone = shares[self._rank], np.concatenate(shares)
            parts = np.split(own, range(self._chunk, len(own), self._chunk)) if self._chunk else [own]
            chunks = [padded_batch(self._features, part, self._device) for part in parts]
            labels, transcripts = (moved(kind[everyone], self._device) for kind in (self._labels, self._transcripts))
            yield Batch(chunks, labels, transcripts, [len(share) for share in shares] if len(shares) > 1 else ())


def development_outputs(ready: Ready) -> "dict[str, NDArray[np.float32]]":
    """What the model makes of the development clips now, without dropout: see `model_outputs`."""
    ready.model.eval()
    return model_outputs(ready.model, ready.dev_features)


def development_scores(ready: Ready, outputs: "Mapping[str, NDArray[np.float32]]") -> tuple[float, dict[str, Any]]:
    """Cross-entropy and scores of those outputs."""
    logits = torch.from_numpy(outputs["logits"][0])
    labels = torch.tensor(ready.dev.labels)
    loss = float(torch.nn.functional.cross_entropy(logits, labels, ignore_index=UNLABELLED))
    return loss, classification_scores(labels.numpy(), logits.softmax(dim=-1).numpy(), ready.dev.classes)


def _visible_labels(train: Corpus, config: RunConfig) -> list[int]:
    """The training labels, of which `label_fraction` hides all but a share of each class (at least one clip)."""
    labels = np.array(train.labels)
    if not (labels >= 0).any():
        raise InputError(f"corpus {train.name!r}: no clip of the training list has a label; label some of them.")
    if config.label_fraction == 1:
        return list(map(int, labels))
    generator = np.random.default_rng([config.seed, len(labels)])
    visible = np.full_like(labels, UNLABELLED)
    for index in range(len(train.classes)):
        members = generator.permutation(np.flatnonzero(labels == index))
        kept = members[: max(1, round(config.label_fraction * len(members)))]
        visible[kept] = index
    return list(map(int, visible))


def _class_weights(labels: Sequence[int], classes: int) -> Tensor:
    """Weights that are inverse to how often a class occurs, with mean 1 over the clips; 0 for one that does not."""
    counts = np.bincount([label for label in labels if label >= 0], minlength=classes)
    weights = np.divide(counts.sum(), (counts > 0).sum() * counts, out=np.zeros(len(counts)), where=counts > 0)
    return torch.tensor(weights, dtype=torch.float32)


def _facts(config: RunConfig, train: Corpus, scores: Mapping[str, Any]) -> dict[str, Any]:
    """What the model card says of where a model comes from."""
    encoders = ", ".join(f"{modality} {name}" for modality, name in config.modalities.items() if name != ABSENT)
    return {
        "objective": config.objective,
        "data": f"Corpus {train.name}, {len(train)} training clips, fold {config.fold}. {train.about} "
        f"Encoders: {encoders}.",
        "scores": card_scores("dev", scores),
        "threshold": {"value": scores["threshold"], "target": config.false_accept_rate}
        if "threshold" in scores
        else {},
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("turbo-kit", "torch", "transformers", "lightning-fabric", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
