"""Training: the loop over epochs, the choice of one, and the run folder that comes of it."""

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from turbo_kit.config import InputError, RunConfig
from turbo_kit.corpora import Corpus
from turbo_kit.corpora.utterance import UNLABELLED
from turbo_kit.identity import planned_run
from turbo_kit.metrics import classification_scores, selection_score
from turbo_kit.model.inference import model_outputs
from turbo_kit.model.turbo_model import Arrays
from turbo_kit.runs import Run, write_atomically, write_json
from turbo_kit.training.checkpoint import UNFINISHED, read_state, write_state
from turbo_kit.training.optimizer import build_fabric
from turbo_kit.training.results import TrainingRecord, write_results
from turbo_kit.training.setup import TrainingSetup, prepare
from turbo_kit.training.trainer import Step, Trainer

CHECKED_STEPS = 20
"""Losses are looked at after so many steps and at the end of an epoch: a look makes the host wait for a GPU."""

DIVERGED = "diverged.json"
"""In the folder of a run whose loss was not finite: in which batch, which terms, and of which clips."""

log = logging.getLogger(__name__)


def train(
    config: RunConfig,
    train: Corpus,
    dev: Corpus,
    out: str | Path = "runs",
    *,
    again: bool = False,
    progress: bool = False,
    save_every: float = 60.0,
) -> Run:
    """Trains one model and chooses its best epoch on development data; the test list is not among the arguments.

    A training that was stopped, however rudely, goes on from where it was last saved when it is started again, and its
    numbers are those of one that was never stopped: to the last bit on a CPU with as many threads.

    Args:
        config: every knob of the run.
        train: the clips to learn from; those without a label take part in the contrastive terms alone.
        dev: the clips that choose the epoch, by UA (EER for two classes); of equal epochs the earlier one. For two
            classes they also choose the threshold that keeps to `false_accept_rate`.
        out: the folder that the run folder is made in.
        again: train from the beginning, even if this very run is there already or half done.
        progress: show progress bars.
        save_every: seconds after which it is saved, once the next `CHECKED_STEPS` steps are taken.

    Returns:
        The run; one that is there already is returned as it is.

    Raises:
        InputError: a config that does not fit, or a clip that cannot be used: nothing is left behind then. A loss that
            is not finite: `DIVERGED` and the best model so far are kept in the run folder. A training that was stopped
            with another number of processes or on another kind of device.
    """
    run = planned_run(config, train, dev, out)
    fabric = build_fabric(config.hardware)
    if fabric.broadcast(run.trained and not again):
        log.info("%s is there already: nothing is trained.", run.folder)
        return run
    if again and fabric.is_global_zero:
        (run.folder / UNFINISHED).unlink(missing_ok=True)
    started = time.perf_counter()
    progress = progress and fabric.is_global_zero
    setup = prepare(config, train, dev, fabric, progress=progress)
    features_seconds = time.perf_counter() - started
    record = _fit(setup, run, save_every, progress)
    if fabric.is_global_zero:
        write_results(run, setup, train, record, features_seconds)
    fabric.barrier()
    return run


def _fit(setup: TrainingSetup, run: Run, save_every: float, progress: bool) -> TrainingRecord:
    """Trains epoch by epoch, scores development data after each, and keeps the best epoch's weights."""
    from tqdm.auto import tqdm

    options, fabric = setup.config.training, setup.fabric
    trainer, record = _start(setup, run)
    name, done = setup.config.loss.objective, len(record.rows)
    bar = tqdm(total=options.epochs, initial=done, desc=name, unit="epoch", disable=not progress)
    saved = time.perf_counter()
    begun, checked = saved - record.seconds, len(record.losses)
    for step in trainer:
        record.losses.append(step.losses)
        ended = step.number == len(setup.batches)
        if not ended and step.number % (CHECKED_STEPS * options.accumulate):
            continue
        _check_losses(run, setup, record, step, checked)
        if ended:
            _end_epoch(run, setup, record, step, begun)
            bar.update()
            bar.set_postfix_str("loss {train_loss:.3f}, dev UA {dev_UA:.3f}".format(**record.rows[-1]))
            if step.epoch == options.epochs or 0 < options.patience <= step.epoch - record.best_epoch:
                break
        checked, now = len(record.losses), time.perf_counter()
        if fabric.broadcast(now - saved >= save_every):
            record.seconds = now - begun
            state = {"training": trainer.state(), "record": record.state()}
            if fabric.is_global_zero:
                write_state(run.folder / UNFINISHED, state)
            saved = time.perf_counter()
    record.seconds = time.perf_counter() - begun
    bar.total = bar.n  # a notebook draws a bar that ends before its total in red
    bar.refresh()
    bar.close()
    return record


def _start(setup: TrainingSetup, run: Run) -> tuple[Trainer, TrainingRecord]:
    """A training from its beginning, or from where it was last saved in the run folder."""
    fabric = setup.fabric
    state = fabric.broadcast(read_state(run.folder / UNFINISHED) if fabric.is_global_zero else None)
    if state is None:
        record = TrainingRecord()
        if setup.config.evaluation.epoch_embeddings:
            record.epochs = [development_outputs(setup)]
        return Trainer(setup), record
    try:
        trainer = Trainer(setup, state["training"])
        record = TrainingRecord.from_state(state["record"], fabric.device)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{run.folder / UNFINISHED} is no state of this training ({error}): delete it, or start from the "
            "beginning with again=True."
        ) from error
    log.info("%s: going on after batch %d of epoch %d.", run.folder, trainer.number, trainer.epoch)
    return trainer, record


def _end_epoch(run: Run, setup: TrainingSetup, record: TrainingRecord, step: Step, begun: float) -> None:
    """Asks development data what the epoch was worth, and adds it to the record."""
    outputs = development_outputs(setup)
    if not np.isfinite(outputs["logits"]).all():
        _stop(run, setup, record, f"after epoch {step.epoch} the model's outputs are not finite: lower learning_rate.")
    dev_loss, scores = development_scores(setup, outputs)
    means = {name: float(sum(batch[name] for batch in record.losses)) / len(record.losses) for name in step.losses}
    row: dict[str, Any] = {"epoch": step.epoch, **means, "dev_loss": dev_loss}
    row |= {f"dev_{name}": scores[name] for name in ("UA", "WA", "EER") if name in scores}
    seconds = time.perf_counter() - begun - sum(earlier["seconds"] for earlier in record.rows)
    record.rows.append(row | {"learning_rate": step.learning_rate, "seconds": seconds})
    record.losses = []
    if setup.config.evaluation.epoch_embeddings:
        record.epochs.append(outputs)
    score = setup.fabric.broadcast(selection_score(scores))  # all processes stop at the same epoch
    if score > record.best_score:
        record.best_epoch, record.best_score = step.epoch, score
        record.best_weights = {name: value.clone() for name, value in setup.model.trained_state().items()}


def _check_losses(run: Run, setup: TrainingSetup, record: TrainingRecord, step: Step, since: int) -> None:
    """Stops at the first batch of the epoch, after the first `since`, whose loss is not finite."""
    finite = torch.stack([batch["train_loss"] for batch in record.losses[since:]]).isfinite().tolist()
    if all(finite):
        return
    number = since + finite.index(False) + 1
    losses = {name.removeprefix("term."): float(loss) for name, loss in record.losses[number - 1].items()}
    total, clips = losses.pop("train_loss"), setup.batches.clips(step.epoch, number)
    terms = [name for name, loss in losses.items() if not math.isfinite(loss)] or ["the sum"]
    named = ", ".join(clips[:3]) + (f" and {len(clips) - 3} more" if len(clips) > 3 else "")
    fault = (
        f"the loss is {total} in batch {number} of epoch {step.epoch} (not finite: {', '.join(terms)}; clips "
        f"{named}): lower learning_rate, or raise temperature."
    )
    facts = {"epoch": step.epoch, "batch": number, "loss": str(total), "terms": terms, "clips": clips}
    _stop(run, setup, record, fault, facts)


def _stop(
    run: Run, setup: TrainingSetup, record: TrainingRecord, fault: str, facts: Mapping[str, Any] | None = None
) -> NoReturn:
    """Ends a training that cannot go on: writes down why, keeps the best model so far, and says where."""
    if setup.fabric.is_global_zero and facts:
        write_json(run.folder / DIVERGED, facts)
        fault += f" All of them are named in {run.folder / DIVERGED}."
    if record.best_epoch:
        setup.model.load_trained_state(record.best_weights)
        if setup.fabric.is_global_zero:
            write_atomically(run.folder / "checkpoint", setup.model.save_pretrained)
        fault += f" The model of epoch {record.best_epoch}, the best one, is kept in {run.folder / 'checkpoint'}."
    raise InputError(fault)


def development_outputs(setup: TrainingSetup) -> Arrays:
    """What the model makes of the development clips now, without dropout: see `model_outputs`."""
    setup.model.eval()
    return model_outputs(setup.model, setup.dev_features)


def development_scores(setup: TrainingSetup, outputs: Arrays) -> tuple[float, dict[str, Any]]:
    """Cross-entropy and scores of those outputs."""
    logits = torch.from_numpy(outputs["logits"][0])
    labels = torch.tensor(setup.dev.labels)
    loss = float(torch.nn.functional.cross_entropy(logits, labels, ignore_index=UNLABELLED))
    return loss, classification_scores(labels.numpy(), logits.softmax(dim=-1).numpy(), setup.dev.classes)
