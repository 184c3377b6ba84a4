"""Training, read from top to bottom: features, batches, objective, optimiser, and the choice of an epoch."""

import logging
import platform
import time
from collections import Counter
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
    padded_batch,
    write_epochs,
    write_outputs,
)
from turbo_kit.gradient_cache import Batch, backward, memory_errors
from turbo_kit.metrics import classification_scores, selection_score, threshold_at, truth_and_score
from turbo_kit.model import TurboModel
from turbo_kit.objectives import Objective
from turbo_kit.objectives.pairs import PairKey
from turbo_kit.runs import Run, clear, fold_part, planned_run, source_fingerprint, write_atomically, write_json

if TYPE_CHECKING:
    import pandas as pd
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

MIX_RATE = 30
"""Times the learning rate: what the scalars of a layer mix learn at. AdamW moves a scalar by about its learning rate a
step, and the hundred steps of a short training at 1e-3 would leave all layers weighing the same."""

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
        InputError: a config that does not fit, or a clip that cannot be used. Nothing is left behind then.
    """
    run = planned_run(config, train, dev, out)
    if run.trained and not again:
        log.info("%s is there already: nothing is trained.", run.folder)
        return run
    started = time.perf_counter()
    ready = prepare(config, train, dev, progress=progress)
    prepared = time.perf_counter()
    history, best, epochs = _fit(ready, progress)
    model = ready.model
    model.load_trained_state(best.state)
    trained = time.perf_counter()

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
        "best_epoch": best.epoch,
        "metrics": {"dev": scores},
        "timings": {
            "features_seconds": prepared - started,
            "training_seconds": trained - prepared,
            "epochs": len(history),
            "seconds_per_epoch": (trained - prepared) / len(history),
        },
        "versions": _versions(),
        "device": str(ready.fabric.device),
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
    return run


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


def prepare(config: RunConfig, train: Corpus, dev: Corpus, *, progress: bool = False) -> Ready:
    """Builds the model and the objective, and computes or reads what the frozen trunks make of the clips.

    Raises:
        InputError: a config that does not fit, or a clip that cannot be used.
    """
    fabric = _fabric(config)
    fabric.seed_everything(config.seed, verbose=False)
    labels = _visible_labels(train, config)
    objective = build_objective(config, labels, len(train.classes))
    model = TurboModel.from_config(config, train.classes).to(fabric.device)
    train_features = clip_features(model, train, progress=progress)
    dev_features = clip_features(model, dev, progress=progress)
    batches = _Batches(config, train, train_features, labels, fabric.device)
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
    optimizer, schedule = _optimizer(config, ready.model, ready.objective, total)
    ready.objective.to(fabric.device)
    wrapped, optimizer = fabric.setup(ready.model, optimizer)
    for epoch in range(1, config.epochs + 1):
        for number, batch in enumerate(batches.of_epoch(epoch), start=1):
            ready.model.train()
            with memory_errors(config):
                loss = backward(fabric, wrapped, ready.objective, batch, config.accumulate)
            if number % config.accumulate == 0 or number == len(batches):
                if config.clip_norm:
                    fabric.clip_gradients(wrapped, optimizer, max_norm=config.clip_norm)
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


def _fit(ready: Ready, progress: bool) -> "tuple[pd.DataFrame, _Best, list[dict[str, NDArray[np.float32]]]]":
    """Trains epoch by epoch, looks at development data after each, and keeps the best epoch's weights."""
    import pandas as pd
    from tqdm.auto import tqdm

    config, model = ready.config, ready.model
    rows, best = [], _Best(0, -np.inf, {})
    epochs = [development_outputs(ready)] if config.epoch_embeddings else []
    bar = tqdm(total=config.epochs, desc=config.objective, unit="epoch", disable=not progress)
    sums: Counter[str] = Counter()
    started = time.perf_counter()
    for step in training_steps(ready):
        sums.update(step.losses)
        if step.number < len(ready.batches):
            continue
        epoch, means = step.epoch, {name: float(value) / len(ready.batches) for name, value in sums.items()}
        _check_finite(means, epoch)

        outputs = development_outputs(ready)
        dev_loss, scores = development_scores(ready, outputs)
        row: dict[str, Any] = {"epoch": epoch, **means, "dev_loss": dev_loss}
        row |= {f"dev_{name}": scores[name] for name in ("UA", "WA", "EER") if name in scores}
        row |= {"learning_rate": step.learning_rate, "seconds": time.perf_counter() - started}
        rows.append(row)
        if config.epoch_embeddings:
            epochs.append(outputs)
        bar.update()
        bar.set_postfix_str(f"loss {means['train_loss']:.3f}, dev UA {scores['UA']:.3f}")
        if selection_score(scores) > best.score:
            state = {name: value.clone() for name, value in model.trained_state().items()}
            best = _Best(epoch, selection_score(scores), state)
        if config.patience and epoch - best.epoch >= config.patience:
            break
        sums, started = Counter(), time.perf_counter()
    bar.close()
    return pd.DataFrame(rows), best, epochs


class _Batches:
    """The training clips as batches on the device, in an order that the seed and the epoch decide."""

    def __init__(
        self, config: RunConfig, train: Corpus, features: dict[str, Features], labels: list[int], device: torch.device
    ) -> None:
        self._features, self._lengths, self._device = features, clip_lengths(features), device
        self._labels = torch.tensor(labels)
        self._transcripts = torch.tensor(np.unique([u.text for u in train.utterances], return_inverse=True)[1])
        self._size, self._chunk, self._seed = config.batch_size, config.chunk_size, config.seed

    def __len__(self) -> int:
        return max(1, len(self._lengths) // self._size)

    def of_epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch, each in chunks of `chunk_size` clips that are padded no further than they need."""
        for indices in bucketed_batches(self._lengths, self._size, seed=self._seed, epoch=epoch):
            parts = np.split(indices, range(self._chunk, len(indices), self._chunk)) if self._chunk else [indices]
            chunks = [padded_batch(self._features, part, self._device) for part in parts]
            yield Batch(chunks, self._labels[indices].to(self._device), self._transcripts[indices].to(self._device))


def _check_finite(means: dict[str, float], epoch: int) -> None:
    if not np.isfinite(means["train_loss"]):
        broken = [name.removeprefix("term.") for name, value in means.items() if not np.isfinite(value)]
        raise InputError(
            f"the loss is {means['train_loss']} in epoch {epoch} (not finite: {', '.join(broken)}): lower "
            "learning_rate, or raise temperature."
        )


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


def _fabric(config: RunConfig) -> "Fabric":
    from lightning_fabric import Fabric

    precision = config.precision
    if precision == "auto":
        cuda = config.device in ("auto", "cuda") and torch.cuda.is_available()
        precision = "bf16-mixed" if cuda else "32-true"
    return Fabric(accelerator=config.device, devices=1, precision=precision)


def _optimizer(
    config: RunConfig, model: TurboModel, objective: Objective, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW with its own learning rate for pretrained layers, no decay of norms and biases, warm-up and cosine."""
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in [*model.named_parameters(), *objective.named_parameters()]:
        pretrained = name.split(".")[2:3] == ["backbone"]
        rate = config.encoder_learning_rate if pretrained else config.learning_rate
        rate *= MIX_RATE if name.endswith("mix.scalars") else 1
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        if parameter.requires_grad:
            groups.setdefault((rate, decay), []).append(parameter)
    # The first group is the one whose learning rate is reported: that of the new layers.
    ordered = sorted(groups.items(), key=lambda group: (group[0][0] <= config.learning_rate, *group[0]), reverse=True)
    groups_of_rates = [{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in ordered]
    optimizer = torch.optim.AdamW(groups_of_rates, fused=True)
    warm = max(1, round(config.warmup * steps))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + float(np.cos(np.pi * min(1.0, (step - warm) / max(1, steps - warm)))))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


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
