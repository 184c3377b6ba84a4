import weakref

import numpy as np
import pytest
import tiny_models
import torch
from slow_cases import slow

from turbo_kit import InputError, train
from turbo_kit.encoders import TrunkOutput
from turbo_kit.model import TurboModel
from turbo_kit.training.gradient_cache import backward
from turbo_kit.training.setup import prepare
from turbo_kit.training.trainer import Trainer

DROPOUT = {"audio_dropout": 0.3, "text_dropout": 0.3}
WITHOUT_DROPOUT = {"audio_dropout": 0.0, "text_dropout": 0.0}
UNEVEN = {"batch_size": 16, "chunk_size": 5}  # 5, 5, 5 and a single clip


@pytest.fixture(scope="module")
def fold(tones_corpus):
    return tones_corpus.fold(0)


@pytest.fixture(scope="module")
def transformers(tmp_path_factory):
    """Encoders that can be trained from the embeddings up."""
    root = tmp_path_factory.mktemp("tiny")
    names = {"audio": "wav2vec2-base", "text": "deberta-v2"}
    return {modality: str(tiny_models.save(name, root / name)) for modality, name in names.items()}


@pytest.fixture
def ready(quick, fold, transformers):
    """Prepares a training; `encoders="transformers"` takes the tiny ones, `dtype` another arithmetic."""

    def prepared(encoders="demo", **changes):
        changes |= {"transformers": transformers, "demo": {}}[encoders]
        return prepare(quick(**UNEVEN | changes), fold.train, fold.dev)

    return prepared


def batch_of(ready, dtype=torch.float32):
    """The first batch, and a function that runs the model on it."""
    batch = next(ready.batches.of_epoch(1))
    ready.model.to(dtype).train()
    ready.objective.to(ready.fabric.device, dtype)
    chunks = [
        {
            m: TrunkOutput(h.sequence.to(dtype) if h.sequence.is_floating_point() else h.sequence, h.mask)
            for m, h in c.items()
        }
        for c in batch.chunks
    ]
    return ready.fabric.setup(ready.model), batch._replace(chunks=chunks)


def with_graphs_kept(fabric, model, objective, batch, accumulate=1):
    """The same chunks, all of whose activations are kept until one loss of all clips."""
    outputs = [model(chunk, objective.passes) for chunk in batch.chunks]
    views = {name: torch.cat([output.views[name] for output in outputs]) for name in outputs[0].views}
    logits = torch.cat([output.logits for output in outputs], dim=1)
    loss = objective(views, logits, batch.labels, same=batch.transcripts)
    fabric.backward(loss.total / accumulate)
    return loss


def of_seed(ready, model, batch, how, seed=1, **options):
    """Loss, terms and gradients by parameter, and the random number that is drawn next."""
    parameters = dict([*ready.model.named_parameters(), *ready.objective.named_parameters()])
    for parameter in parameters.values():
        parameter.grad = None
    torch.manual_seed(seed)
    loss = how(ready.fabric, model, ready.objective, batch, **options)
    drawn = torch.rand(())
    gradients = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
    return {"total": loss.total.detach(), **loss.terms}, gradients, drawn


def furthest(found, expected):
    """The largest difference of a gradient, relative to its own norm or a thousandth of all their norms."""
    assert found.keys() == expected.keys()
    floor = 1e-3 * torch.cat([value.flatten() for value in expected.values()]).norm()
    return max(float((found[n] - value).norm() / torch.maximum(value.norm(), floor)) for n, value in expected.items())


WAYS = {
    "light heads": {
        "modality_dropout": 0.4,
        "pooling": "attentive",
        "temperature": "learned",
        "exclude": "label",
        "label_fraction": 0.5,
    },
    "siglip": {"objective": "siglip", "fusion": "cross-attention", "class_weighting": "balanced"},
    "r-drop": {"objective": "r-drop", "fusion": "gated"},
    "ce": {"objective": "ce", "layer_mix": True},
    "transformers": {
        "encoders": "transformers",
        "trainable_layers": -1,
        "temperature": "learned",
        "exclude": "transcript",
    },
    "top layers": {
        "encoders": "transformers",
        "trainable_layers": 2,
        "view_depth": 1,
        "objective": "supcon",
        "pooling": "attentive",
        "modality_dropout": 0.4,
    },
}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("way", WAYS)
def test_the_gradient_is_that_of_one_loss_over_chunks_whose_activations_are_kept(ready, way, dtype, tolerance):
    ready = ready(**DROPOUT, **WAYS[way])
    model, batch = batch_of(ready, dtype)
    losses, gradients, drawn = of_seed(ready, model, batch, backward)
    same_losses, same_gradients, same_drawn = of_seed(ready, model, batch, with_graphs_kept)
    torch.testing.assert_close(losses, same_losses, rtol=tolerance, atol=0)
    assert furthest(gradients, same_gradients) < tolerance
    assert drawn == same_drawn
    assert {name for name, _ in ready.objective.named_parameters()} <= gradients.keys()
    assert len(batch.chunks) == 4
    other = of_seed(ready, model, batch, backward, seed=2)[1]  # dropout matters here
    assert furthest(other, same_gradients) > 0.01


@pytest.mark.parametrize("way", ["light heads", "transformers"])
def test_without_the_random_state_of_each_chunk_the_gradient_would_be_another(ready, way, monkeypatch):
    ready = ready(**DROPOUT, **WAYS[way])
    model, batch = batch_of(ready)
    expected = of_seed(ready, model, batch, with_graphs_kept)[1]
    monkeypatch.setattr("turbo_kit.training.gradient_cache.restore_torch_state", lambda states, device: None)
    assert furthest(of_seed(ready, model, batch, backward)[1], expected) > 0.01


@pytest.mark.parametrize("way", [way if way in ("light heads", "siglip") else slow(way) for way in WAYS])
def test_without_dropout_it_is_the_gradient_of_the_batch_in_one_piece(ready, way):
    knobs = WAYS[way] | WITHOUT_DROPOUT | {"modality_dropout": 0.0}
    results = []
    for chunk_size, chunks in ((5, 4), (None, 1), (16, 1), (1, 16)):
        prepared = ready(**knobs, chunk_size=chunk_size)
        model, batch = batch_of(prepared, torch.float64)
        assert len(batch.chunks) == chunks
        results.append(of_seed(prepared, model, batch, backward)[:2])
    for losses, gradients in results[1:]:
        torch.testing.assert_close(losses, results[0][0], rtol=1e-9, atol=1e-15)
        assert furthest(gradients, results[0][1]) < 1e-9


def test_gradients_of_several_batches_add_up(ready):
    ready = ready(**DROPOUT, **WAYS["light heads"])
    model, batch = batch_of(ready)

    def twice(how):
        def run(*arguments):
            how(*arguments, accumulate=4)
            return how(*arguments, accumulate=4)

        return run

    found, expected = (of_seed(ready, model, batch, twice(how))[1] for how in (backward, with_graphs_kept))
    assert furthest(found, expected) < 1e-5
    whole = of_seed(ready, model, batch, with_graphs_kept)[1]
    assert found["classifier.weight"].norm() < 0.75 * whole["classifier.weight"].norm()


def test_both_runs_of_a_chunk_see_the_same_bf16(ready):
    ready = ready(**DROPOUT, **WAYS["transformers"], precision="bf16-mixed")
    model, batch = batch_of(ready)
    losses, gradients, _ = of_seed(ready, model, batch, backward)
    same_losses, same_gradients, _ = of_seed(ready, model, batch, with_graphs_kept)
    torch.testing.assert_close(losses, same_losses, rtol=1e-5, atol=0)
    assert furthest(gradients, same_gradients) < 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("way", WAYS)
def test_the_random_state_of_a_gpu_is_restored_too(ready, way):
    ready = ready(**DROPOUT, **WAYS[way], device="cuda", precision="32-true")
    model, batch = batch_of(ready)
    found, expected = (of_seed(ready, model, batch, how)[1] for how in (backward, with_graphs_kept))
    assert furthest(found, expected) < 1e-4


class Kept:
    """Counts the numbers that are kept for backward passes beside the parameters: now, and at most so far."""

    def __init__(self):
        self.now = self.most = 0

    def pack(self, tensor):
        if isinstance(tensor, torch.nn.Parameter):
            return lambda: tensor
        holder = lambda: tensor  # noqa: E731  # lives as long as the graph
        self.add(tensor.numel())
        weakref.finalize(holder, self.add, -tensor.numel())
        return holder

    def add(self, numbers):
        self.now += numbers
        self.most = max(self.most, self.now)


def most_kept(ready):
    model, batch = batch_of(ready)
    kept = Kept()
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda holder: holder()):
        of_seed(ready, model, batch, backward)
    assert kept.now == 0
    return kept.most


def test_what_is_kept_for_the_backward_pass_is_that_of_one_chunk(ready):
    knobs = DROPOUT | WAYS["transformers"]
    whole = most_kept(ready(**knobs, chunk_size=None))
    assert 0 < most_kept(ready(**knobs, chunk_size=4)) < 0.3 * whole
    assert most_kept(ready(**knobs, chunk_size=2)) < 0.16 * whole


@pytest.mark.parametrize("accumulate", [1, 2])
def test_without_dropout_a_training_in_chunks_is_the_training_without(quick, fold, tmp_path, accumulate):
    config = WITHOUT_DROPOUT | {"accumulate": accumulate, "temperature": "learned"}
    one, other = (train(quick(**config, chunk_size=size), fold.train, fold.dev, tmp_path).history for size in (3, None))
    np.testing.assert_allclose(one.drop(columns="seconds"), other.drop(columns="seconds"), rtol=1e-4)


def test_a_training_in_chunks_is_reproduced_by_its_seed(quick, fold, tmp_path):
    config = quick(**DROPOUT, chunk_size=3, modality_dropout=0.3)
    runs = [train(config, fold.train, fold.dev, tmp_path / name) for name in ("one", "two")]
    one, other = (run.history.drop(columns="seconds") for run in runs)
    assert one.equals(other)
    assert runs[0].predictions("dev").equals(runs[1].predictions("dev"))


@pytest.mark.parametrize(
    ("chunk_size", "proposed"),
    [
        (None, "8 clips in the model at once .* set chunk_size = 4 or less"),
        (3, "3 clips .* chunk_size = 1 or less"),
        (1, r"1 clips .* chunk_size = 1\): lower batch_size, max_seconds or trainable_layers"),
    ],
)
def test_a_batch_larger_than_memory_is_told_with_what_to_do(quick, fold, tmp_path, monkeypatch, chunk_size, proposed):
    monkeypatch.setattr(TurboModel, "forward", lambda *_: torch.empty(10**16))  # 40 petabytes
    with pytest.raises(InputError, match=f"out of memory with {proposed}"):
        train(quick(chunk_size=chunk_size), fold.train, fold.dev, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [(torch.OutOfMemoryError("CUDA out of memory."), InputError), (RuntimeError("another one"), RuntimeError)],
)
def test_other_errors_of_a_step_stay_what_they_are(ready, monkeypatch, error, expected):
    def failing(*_):
        raise error

    monkeypatch.setattr(TurboModel, "forward", failing)
    with pytest.raises(expected):
        next(iter(Trainer(ready())))
