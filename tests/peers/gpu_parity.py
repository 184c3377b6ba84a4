"""Checks that a device computes what the CPU computes; `gpu_check.py` runs them. Each is a function of the device.

On the CPU itself they compare CPU with CPU. The limits were chosen before a GPU was at hand. Those of float32 are at
least 25 times what the same figures are between float32 and float64 on a CPU (loss 4e-7, gradient 3e-6), or between
padded batches of a trunk and single clips there (4e-7); those of bf16 five times what they are there (9e-4 and 6e-3).
What an H200 gave is in `tests/peers/README.md`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple
from unittest import mock

import torch
from info_nce import draw, ours, plain
from lightning_fabric import Fabric
from torch import Tensor

from turbo_kit.config import RunConfig
from turbo_kit.corpora import load_corpus
from turbo_kit.corpora.decoding import decode
from turbo_kit.encoders import TrunkOutput, build_encoder
from turbo_kit.encoders.fast_dropout import attend, dropout
from turbo_kit.model import TurboModel
from turbo_kit.objectives import Objective, ObjectiveOutput
from turbo_kit.training import optimizer
from turbo_kit.training.gradient_cache import Batch, backward

CLIPS = 20  # more than a padded batch of the trunk holds
SHORT = 0.5  # seconds of each clip that a step sees
PRESETS = ("turbo", "simcse", "siglip", "supcon", "cross+self")
TRAINED = {"light heads": 0, "all layers trained": -1}
LOSS, GRADIENT, TRUNK = 1e-5, 1e-4, 1e-4
LOSS64, GRADIENT64 = 1e-12, 1e-11
LOSS_BF16, GRADIENT_BF16 = 0.005, 0.03
SIZES = 512, 2048  # of these batches tiles are kept for the backward pass, and computed again
SDS = 4.0
GROWTH, SHARE_OF_PLAIN = 2.2, 0.06

Losses = dict[str, Tensor]


class Finding(NamedTuple):
    """A figure, and what it may be at most, or has to be at least."""

    what: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def good(self) -> bool:
        """Whether the limit is kept; a NaN never keeps it."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        bound = f" {sign} {self.limit:.3g}" if math.isfinite(self.limit) else ""
        return f"{self.what:58} {self.value:9.2e}{bound:12} {'ok' if self.good else 'FAILED'}"


@contextmanager
def tf32(matmul: bool, convolutions: bool) -> Iterator[None]:
    """Sets whether float32 products may be rounded to 10 bits on a GPU; torch allows it in convolutions by itself."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, convolutions
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def relative(found: Tensor, expected: Tensor) -> float:
    """The norm of the difference in shares of the norm; both are taken to the CPU and to float64."""
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((found - expected).norm() / expected.norm().clamp(min=1e-30))


def furthest(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """The largest difference of a tensor, relative to its own norm or to a thousandth of all their norms."""
    if found.keys() != expected.keys():
        raise AssertionError(f"only one of the two has {sorted(found.keys() ^ expected.keys())}")
    pairs = [(found[name].cpu().double(), value.cpu().double()) for name, value in expected.items()]
    floor = 1e-3 * torch.cat([value.flatten() for _, value in pairs]).norm()
    return max(float((one - other).norm() / torch.maximum(other.norm(), floor)) for one, other in pairs)


@cache
def clips(seconds: float = math.inf) -> tuple[dict[str, list[Any]], Tensor]:
    """Demo clips of all voices as the items of each modality, cut after so many seconds, and labels (CLIPS,)."""
    corpus = load_corpus("demo-emotion")
    chosen = [number * len(corpus.utterances) // CLIPS for number in range(CLIPS)]
    items = {
        "audio": [decode(corpus.utterances[number], seconds) for number in chosen],
        "text": [corpus.utterances[number].text for number in chosen],
    }
    return items, torch.tensor(corpus.labels)[chosen]


@cache
def untrained(trainable_layers: int, rate: float) -> tuple[TurboModel, dict[str, TrunkOutput]]:
    """A model of the demo encoders with that dropout rate, and what its trunks give on the CPU."""
    torch.manual_seed(0)
    rates = {"audio_dropout": rate, "text_dropout": rate}
    model = TurboModel.from_config(RunConfig(trainable_layers=trainable_layers, **rates), list("abcdef"))
    return model, {modality: model.encoder(modality).trunk(items) for modality, items in clips(SHORT)[0].items()}


def gradient_step(
    device: torch.device,
    trainable_layers: int,
    rate: float = 0.0,
    *,
    precision: Any = "32-true",
    chunk: int = CLIPS,
    compiled: bool = False,
    how: Callable[..., ObjectiveOutput] = backward,
    seed: int = 1,
) -> tuple[Losses, dict[str, Tensor], Tensor]:
    """Loss and terms, gradients by parameter, and the random number that comes next, of one step of Turbo."""
    model, hidden = untrained(trainable_layers, rate)
    fabric = Fabric(accelerator=device.type, devices=1, precision=precision)
    wrapped = fabric.setup(optimizer.compile_model(model.train()) if compiled else model.train())
    objective = Objective.preset("turbo", contrastive_weight=0.1, temperature="learned").to(fabric.device)
    here = {m: TrunkOutput(*(part.to(fabric.device) for part in both)) for m, both in hidden.items()}
    parts = [
        {m: TrunkOutput(*(part[start : start + chunk] for part in both)) for m, both in here.items()}
        for start in range(0, CLIPS, chunk)
    ]
    batch = Batch(parts, clips(SHORT)[1].to(fabric.device), torch.arange(CLIPS, device=fabric.device))
    model.zero_grad()
    torch.manual_seed(seed)
    loss = how(fabric, wrapped, objective, batch)
    drawn = torch.rand(4, device=fabric.device)
    named = [*model.named_parameters(), *objective.named_parameters()]
    gradients = {name: parameter.grad.cpu() for name, parameter in named if parameter.grad is not None}
    return {"total": loss.total.detach().cpu()} | {n: t.cpu() for n, t in loss.terms.items()}, gradients, drawn.cpu()


def with_graphs_kept(fabric: Fabric, model: Any, objective: Objective, batch: Batch) -> ObjectiveOutput:
    """The chunks of a batch, all of whose activations are kept until one loss of all clips."""
    outputs = [model(chunk, objective.passes) for chunk in batch.chunks]
    views = {name: torch.cat([output.views[name] for output in outputs]) for name in outputs[0].views}
    logits = torch.cat([output.logits for output in outputs], dim=1)
    loss: ObjectiveOutput = objective(views, logits, batch.labels, same=batch.transcripts)
    fabric.backward(loss.total)
    return loss


def trunks(device: torch.device) -> list[Finding]:
    """What the frozen encoders give of each clip: in padded batches on a GPU, one by one on the CPU."""
    found = []
    for modality, items in clips()[0].items():
        encoder = build_encoder("demo", modality)
        expected, got = encoder.trunk(items), encoder.to(device).trunk(items)
        rows = zip(got.sequence.cpu(), expected.sequence, expected.mask, strict=True)
        alike = torch.equal(got.mask.cpu(), expected.mask)
        worst = max(relative(one[real], other[real]) for one, other, real in rows) if alike else math.nan
        found.append(Finding(f"{modality}: furthest clip", worst, TRUNK))
    return found


def training_step(device: torch.device) -> list[Finding]:
    """One step of Turbo in float32 without dropout: loss, terms and the gradient of every parameter."""
    found = []
    for name, layers in TRAINED.items():
        expected, expected_gradients, _ = gradient_step(torch.device("cpu"), layers)
        losses, gradients, _ = gradient_step(device, layers)
        found += [
            Finding(f"{name}: loss and terms", furthest(losses, expected), LOSS),
            Finding(f"{name}: gradient of the furthest parameter", furthest(gradients, expected_gradients), GRADIENT),
        ]
    return found


def bf16_step(device: torch.device) -> list[Finding]:
    """The same step in bf16-mixed against float32, both on the device."""
    found = []
    for name, layers in TRAINED.items():
        expected, expected_gradients, _ = gradient_step(device, layers)
        losses, gradients, _ = gradient_step(device, layers, precision="bf16-mixed")
        away = relative(joined(gradients), joined(expected_gradients))
        found += [
            Finding(f"{name}: loss and terms", furthest(losses, expected), LOSS_BF16),
            Finding(f"{name}: the whole gradient", away, GRADIENT_BF16),
        ]
    return found


def joined(gradients: Mapping[str, Tensor]) -> Tensor:
    """All gradients as one vector."""
    return torch.cat([value.flatten() for value in gradients.values()])


def of_objective(
    preset: str, device: torch.device, dtype: torch.dtype, rounded: bool = False, **options: Any
) -> tuple[Losses, dict[str, Tensor]]:
    """Loss and terms, and the gradients of the views and logits, of 64 drawn clips of six classes."""
    generator = torch.Generator().manual_seed(0)
    objective = Objective.preset(preset, **options).to(device, dtype if dtype == torch.float64 else None)
    drawn = {name: torch.randn(64, 128, generator=generator) for name in ("a1", "a2", "t1", "t2")}
    drawn["logits"] = torch.randn(objective.passes, 64, 6, generator=generator)
    labels = torch.randint(6, (64,), generator=generator).to(device)
    if rounded:  # to what bf16 can hold
        drawn = {name: value.bfloat16() for name, value in drawn.items()}
    inputs = {name: value.to(device, dtype).requires_grad_() for name, value in drawn.items()}
    loss = objective({n: value for n, value in inputs.items() if n != "logits"}, inputs["logits"], labels)
    loss.total.backward()
    gradients = {name: value.grad for name, value in inputs.items() if value.grad is not None}
    gradients |= {name: value.grad for name, value in objective.named_parameters() if value.grad is not None}
    return {"total": loss.total.detach()} | loss.terms, gradients


def objectives(device: torch.device) -> list[Finding]:
    """Loss and gradient of the presets on drawn views, in float32, in float64 and of bf16 views."""
    cpu, found = torch.device("cpu"), []
    kinds = {torch.float32: (LOSS, GRADIENT)}
    if device.type != "mps":  # which has no float64
        kinds[torch.float64] = (LOSS64, GRADIENT64)
    for preset in PRESETS:
        for dtype, limits in kinds.items():
            pairs = zip(of_objective(preset, device, dtype), of_objective(preset, cpu, dtype), strict=True)
            for what, (one, other), limit in zip(("loss", "gradient"), pairs, limits, strict=True):
                found.append(Finding(f"{preset}: {what}, {str(dtype)[6:]}", furthest(one, other), limit))
        cold = {"temperature": 0.01, "rounded": True}
        losses, gradients = of_objective(preset, device, torch.bfloat16, **cold)
        wild = sum(int((~value.isfinite()).sum()) for value in (*losses.values(), *gradients.values()))
        found.append(Finding(f"{preset}: numbers not finite, bf16 at temperature 0.01", wild, 0))
        wide, _ = of_objective(preset, device, torch.float32, **cold)
        found.append(Finding(f"{preset}: loss of bf16 views, as float32", furthest(losses, wide), LOSS))
    return found


def memory_flat(device: torch.device) -> list[Finding]:
    """InfoNCE of six pairs in tiles against six plain losses, on the device; on a GPU also what memory it takes."""
    found = []
    for size in SIZES:
        results = []
        for loss in (ours, plain):
            views = {name: view.detach().to(device).requires_grad_() for name, view in draw(size).items()}
            with device:  # where `plain` makes its targets
                total = loss(views)
            total.backward()
            results.append(({"loss": total.detach()}, {name: view.grad for name, view in views.items()}))
        (flat, flat_gradients), (expected, expected_gradients) = results
        found += [
            Finding(f"{size:,} clips: loss", furthest(flat, expected), LOSS),
            Finding(f"{size:,} clips: gradient", furthest(flat_gradients, expected_gradients), GRADIENT),
        ]
    if device.type == "cuda":
        small, large = (peak_of_loss(ours, size, device) for size in (8192, 16384))
        share = small / peak_of_loss(plain, 8192, device)
        found += [
            Finding("peak memory of 16,384 clips / that of 8,192", large / small, GROWTH),
            Finding("peak memory of 8,192 clips / that of six plain losses", share, SHARE_OF_PLAIN),
        ]
    return found


def peak_of_loss(loss: Callable[[Any], Tensor], size: int, device: torch.device) -> float:
    """MB that a loss and its gradient take at most, above the views."""
    views = {name: view.detach().to(device).requires_grad_() for name, view in draw(size).items()}

    def task() -> None:
        with device:
            loss(views).backward()

    return device_peak(task, device)


def device_peak(task: Callable[[], object], device: torch.device) -> float:
    """MB of GPU memory that a task takes at most, above what is taken before it; NaN elsewhere."""
    if device.type != "cuda":
        task()
        return math.nan
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    task()
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 1e6


def gradient_caching(device: torch.device) -> list[Finding]:
    """Chunks under the same dropout masks twice, against all graphs kept; without the random state it must differ."""
    found = []
    for name, layers in TRAINED.items():
        kinds = {"how": with_graphs_kept}, {}, {"seed": 2}
        runs = [gradient_step(device, layers, 0.3, chunk=7, **kind) for kind in kinds]
        with mock.patch("turbo_kit.training.gradient_cache.restore_torch_state"):
            runs.append(gradient_step(device, layers, 0.3, chunk=7))
        expected, expected_gradients, drawn = runs[0]
        away = [furthest(gradients, expected_gradients) for _, gradients, _ in runs[1:]]
        found += [
            Finding(f"{name}: loss and terms", furthest(runs[1][0], expected), LOSS),
            Finding(f"{name}: gradient", away[0], GRADIENT),
            Finding(f"{name}: next random numbers", float((runs[1][2] - drawn).abs().max()), 0),
            Finding(f"{name}: gradient under other masks", away[1], 0.01, at_least=True),
            Finding(f"{name}: gradient, random state not restored", away[2], 0.01, at_least=True),
        ]
    return found


def dropout_statistics(device: torch.device) -> list[Finding]:
    """Masks of the device: how many are dropped, what scale the others get, and whether two masks are independent."""
    torch.manual_seed(0)
    found, ones, side = [], torch.ones(2**20, device=device), 64
    for rate in (0.1, 0.3, 0.5):
        one, other = (dropout(ones, rate) for _ in range(2))
        dropped = (one == 0).double().mean().item()
        scale = (one[one != 0].double() * (1 - rate) - 1).abs().max().item()
        both = ((one == 0) & (other == 0)).double().mean().item()
        heads = torch.zeros(32, 4, side, side, device=device)  # every key alike, so that dropped weights can be seen
        values = torch.eye(side, device=device).expand(32, 4, side, side)
        weights = attend(heads, heads, values, None, rate)
        missed = (weights == 0).double().mean().item()
        found += [
            Finding(f"rate {rate}: off by so many sd", off_by(dropped, rate, ones.numel()), SDS),
            Finding(f"rate {rate}: scale of what stays", scale, 1e-4),
            Finding(f"rate {rate}: dropped twice, off by so many sd", off_by(both, rate**2, ones.numel()), SDS),
            Finding(f"rate {rate}: attention weights, off by so many sd", off_by(missed, rate, weights.numel()), SDS),
        ]
    return found


def off_by(share: float, expected: float, count: int) -> float:
    """How many standard deviations a share of `count` independent draws is off."""
    return abs(share - expected) / math.sqrt(expected * (1 - expected) / count)


def compiled(device: torch.device) -> list[Finding]:
    """`torch.compile` of the model: breaks of its graph, and the numbers of eager, also in chunks under dropout."""
    found = []
    for name, layers in TRAINED.items():
        model, hidden = untrained(layers, 0.0)
        here = {m: TrunkOutput(*(part.to(device) for part in both)) for m, both in hidden.items()}
        told = torch._dynamo.explain(model.to(device))(here, 2)
        for reason in told.break_reasons:
            print(f"graph break: {reason.reason}")
        torch._dynamo.reset()
        expected, expected_gradients, _ = gradient_step(device, layers)
        losses, gradients, _ = gradient_step(device, layers, compiled=True)
        kinds = {"how": with_graphs_kept}, {"compiled": True, "how": with_graphs_kept}, {"compiled": True}
        eager, kept, cached = (gradient_step(device, layers, 0.3, chunk=7, **kind)[1] for kind in kinds)
        found += [
            Finding(f"{name}: breaks of the graph", told.graph_break_count, math.inf),
            Finding(f"{name}: loss and terms against eager", furthest(losses, expected), LOSS),
            Finding(f"{name}: gradient against eager", furthest(gradients, expected_gradients), GRADIENT),
            Finding(f"{name}: gradient under dropout against eager", furthest(kept, eager), GRADIENT),
            Finding(f"{name}: gradient caching under dropout", furthest(cached, kept), GRADIENT),
        ]
    return found


CHECKS: dict[str, Callable[[torch.device], list[Finding]]] = {
    "trunks": trunks,
    "one training step": training_step,
    "one training step in bf16-mixed": bf16_step,
    "objectives": objectives,
    "memory-flat InfoNCE": memory_flat,
    "gradient caching": gradient_caching,
    "dropout masks": dropout_statistics,
}
