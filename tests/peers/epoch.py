"""An epoch of Turbo at IEMOCAP's lengths, beside the usual research script: random batches, two forwards, six losses.

    python tests/peers/epoch.py [--device cpu|cuda] [--batch 4] [--batches 2] [--rounds 5] [--json FILE]

The corpus is synthetic: 4,300 clips of noise, about what a fold of IEMOCAP trains on, 0.6 to 34 s long and 4.5 s on
average (log-normal), each with 2.5 random words a second. Audio encoder: the size of wav2vec2-base, text encoder: the
size of MiniLM-L12 (12 layers of 384), both with random weights, all 12 layers of each trained, the rest frozen,
dropout 0.1, AdamW, gradients clipped; fp32 on a CPU, bf16-mixed on a GPU, where larger batches fit. 12 times 384 stands
in for the six layers of the usual MiniLM, since `trainable_layers` counts for both encoders.

The peer is what one would write: shuffled batches, waveforms and words padded to the longest of the batch with a mask,
transformers' Wav2Vec2Model and BertModel called twice, means over the real positions, two cross-entropies and six plain
losses. With equal lengths and without dropout its loss and gradient are those of ours. Its front end is frozen as
transformers does it, without a graph, and its batches lie ready in memory: it reads and pads nothing. Ours is the kit's
own loop (`Trainer`) on batches of `bucketed_batches`, from features in its cache. "later epochs" read them; "first
epoch" also computes and writes them (decoding from disk included), which is the price of each epoch where nothing can
be kept. `view_depth=3` is another computation: nine of the layers run once, under one dropout mask.

A whole epoch takes hours here, so some batches stand for all: both ways batch all 4,300 clips (so what is padded is
that of a whole epoch); the batches are sorted by their padded length and cut into `--batches` parts of equal padded
time; the middle batch of each part is timed and counts as often as its padded time goes into that of its part. An
epoch is the sum, "hours" are extrapolated so, and a ratio is that of two such sums of one round. What attention costs
beyond linearly is not seen within a part. Leave 20 GB of memory free.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from random_encoders import save_audio, save_text
from timing import alternate, arguments, keep, machine, ratio, spread, tell
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer, BertModel, Wav2Vec2FeatureExtractor, Wav2Vec2Model
from transformers.utils.logging import disable_progress_bar

from turbo_kit import RunConfig
from turbo_kit.corpora import Corpus, Utterance
from turbo_kit.corpora.batching import bucketed_batches
from turbo_kit.corpora.decoding import SAMPLE_RATE
from turbo_kit.encoders.feature_cache import Features
from turbo_kit.model.inference import clip_features, padded_batch
from turbo_kit.training.gradient_cache import Batch
from turbo_kit.training.setup import TrainingSetup, prepare
from turbo_kit.training.trainer import Trainer

CLASSES = ("angry", "happy", "neutral", "sad")
WORDS = 1000
WORDS_A_SECOND = 2.5
FRAMES_A_SECOND = 50
PAIRS = (("a1", "a2"), ("t1", "t2"), ("a1", "t1"), ("a1", "t2"), ("a2", "t1"), ("a2", "t2"))
BERT = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 1536}
SCRIPT, FRONT = "usual script", "front, computed and written"
PRECISION: dict[str, Any] = {"cpu": "32-true", "cuda": "bf16-mixed"}
Indices = NDArray[np.int64]
Seconds = NDArray[np.float64]
Task = Callable[[], object]


@dataclass(frozen=True)
class Sample:
    """A few batches of an epoch, and how often each counts."""

    batches: list[Indices]
    weights: list[float]
    padding: float
    """Share of the positions of all batches of the epoch that hold nothing."""


def iemocap_seconds(clips: int) -> Seconds:
    """Lengths from 0.6 to 34 s, 4.5 s on average before the ends are cut off (as in tests/corpora/test_batching.py)."""
    seconds = 4.5 * np.random.default_rng(0).lognormal(-(0.65**2) / 2, 0.65, size=2 * clips)
    return seconds[(seconds > 0.6) & (seconds < 34)][:clips]


def random_batches(clips: int, size: int) -> list[Indices]:
    order = np.random.default_rng(1).permutation(clips)[: clips // size * size]
    return np.split(order, clips // size)


def sample_of(batches: list[Indices], seconds: Seconds, count: int) -> Sample:
    """The middle batch of each of `count` parts of equal padded time, from short batches to long ones."""
    padded = np.array([len(batch) * seconds[batch].max() for batch in batches])
    order = np.argsort(padded, kind="stable")
    ends = np.cumsum(padded[order]) / padded.sum()
    chosen = [int(order[np.searchsorted(ends, (part + 0.5) / count)]) for part in range(count)]
    weights = [float(padded.sum() / count / padded[number]) for number in chosen]
    padding = 1 - seconds[np.concatenate(batches)].sum() / padded.sum()
    return Sample([batches[number] for number in chosen], weights, float(padding))


def save_encoders(folder: Path) -> None:
    torch.manual_seed(0)
    save_audio(folder / "audio")
    save_text(folder / "text", [f"w{number}" for number in range(WORDS)], **BERT)


def synthetic_clip(folder: Path, number: int, seconds: float) -> Utterance:
    """A file of noise with random words, the same for the same number."""
    path, generator = folder / f"{number}.wav", np.random.default_rng([2, number])
    soundfile.write(path, generator.normal(0, 0.1, round(SAMPLE_RATE * seconds)), SAMPLE_RATE)
    words = [f"w{word}" for word in generator.integers(0, WORDS, max(1, round(WORDS_A_SECOND * seconds)))]
    return Utterance(str(number), path, " ".join(words), CLASSES[number % len(CLASSES)], f"speaker {number % 10}")


@dataclass(frozen=True)
class Chosen:
    """The batches of every epoch, as training reads them: consecutive clips of a corpus, `size` each."""

    setup: TrainingSetup
    train: Corpus
    features: dict[str, Features]
    size: int

    def __len__(self) -> int:
        return len(self.train) // self.size

    def of_epoch(self, epoch: int, after: int = 0) -> Iterator[Batch]:
        device, labels = self.setup.fabric.device, torch.tensor(self.train.labels)
        for part in torch.arange(len(self.train)).split(self.size)[after:]:
            yield Batch([padded_batch(self.features, part.numpy(), device)], labels[part].to(device), part.to(device))


def ours(
    folder: Path, train: Corpus, size: int, rounds: int, view_depth: int | None, device: str
) -> tuple[TrainingSetup, list[Task]]:
    """What is trained, and a step for each batch; they have to be called in turn, at most `rounds` times each."""
    encoders = {modality: str(folder / modality) for modality in ("audio", "text")}
    config = RunConfig(
        **encoders,
        trainable_layers=12,
        view_depth=view_depth,
        batch_size=size,
        epochs=rounds,
        max_seconds=35.0,
        device=device,
        precision=PRECISION[device],
    )
    ready = prepare(config, train, train)
    chosen: Any = Chosen(ready, train, clip_features(ready.model, train), size)
    steps = iter(Trainer(replace(ready, batches=chosen)))
    return ready, [lambda: next(steps)] * len(chosen)


def front(ready: TrainingSetup, clips: Corpus) -> None:
    """What the frozen parts make of the clips, into an empty cache."""
    before = os.environ["TURBO_KIT_CACHE"]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TURBO_KIT_CACHE"] = cache
        clip_features(ready.model, clips)
    os.environ["TURBO_KIT_CACHE"] = before


class UsualScript(nn.Module):
    """Both encoders, their projections and a linear classifier of both side by side; one call is one pass."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.audio = Wav2Vec2Model.from_pretrained(folder / "audio")
        self.text = BertModel.from_pretrained(folder / "text", add_pooling_layer=False)
        self.extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder / "audio")
        self.tokenizer = AutoTokenizer.from_pretrained(folder / "text")
        widths = self.audio.config.hidden_size, self.text.config.hidden_size
        self.project_audio, self.project_text = (nn.Linear(width, 128) for width in widths)
        self.classifier = nn.Linear(sum(widths), len(CLASSES))
        self.audio.feature_extractor._freeze_parameters()  # unlike requires_grad_(False), it builds no graph then
        encoder = self.audio.encoder
        for part in (self.audio.feature_projection, encoder.pos_conv_embed, encoder.layer_norm, self.text.embeddings):
            part.requires_grad_(False)

    def collate(self, clips: list[NDArray[np.float32]], texts: list[str], device: str) -> tuple[Any, Any]:
        sound = self.extractor(
            clips, sampling_rate=SAMPLE_RATE, padding=True, return_attention_mask=True, return_tensors="pt"
        )
        words = self.tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
        return sound.to(device), words.to(device)

    def forward(self, sound: Any, words: Any) -> tuple[Tensor, Tensor, Tensor]:
        heard = self.audio(**sound).last_hidden_state
        frames = self.audio._get_feature_vector_attention_mask(heard.shape[1], sound["attention_mask"])
        audio = mean_of_real(heard, frames)
        text = mean_of_real(self.text(**words).last_hidden_state, words["attention_mask"])
        logits = self.classifier(torch.cat([audio, text], dim=1))
        return self.project_audio(audio), self.project_text(text), logits


def mean_of_real(x: Tensor, mask: Tensor) -> Tensor:
    return (x * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def plain_loss(x: Tensor, y: Tensor) -> Tensor:
    logits, target = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T / 0.05, torch.arange(len(x), device=x.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def usual_steps(folder: Path, batches: list[list[Utterance]], device: str) -> list[Task]:
    """A step of the usual script for each batch; the clips are decoded and padded beforehand."""
    model = UsualScript(folder).to(device).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-5)

    def step(sound: Any, words: Any, labels: Tensor) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=PRECISION[device] == "bf16-mixed"):
            (a1, t1, first), (a2, t2, second) = model(sound, words), model(sound, words)
            views = {"a1": a1, "a2": a2, "t1": t1, "t2": t2}
            loss = (F.cross_entropy(first, labels) + F.cross_entropy(second, labels)) / 2
            loss = loss + 0.1 * sum(plain_loss(views[one], views[other]) for one, other in PAIRS)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()

    def task(batch: list[Utterance]) -> Task:
        clips = [soundfile.read(clip.path, dtype="float32")[0] for clip in batch]
        labels = torch.tensor([CLASSES.index(str(clip.label)) for clip in batch], device=device)
        sound, words = model.collate(clips, [clip.text for clip in batch], device)
        return lambda: step(sound, words, labels)

    return [task(batch) for batch in batches]


def finished(task: Task, device: str) -> Task:
    """The task, until the device has done it."""

    def whole() -> None:
        task()
        if device == "cuda":
            torch.cuda.synchronize()

    return whole


def measure(
    folder: Path, seconds: Seconds, samples: dict[str, Sample], rounds: int, device: str
) -> dict[str, list[float]]:
    """Seconds of a whole epoch of each way, in each round."""
    clips = {
        name: [[synthetic_clip(folder, int(number), seconds[number]) for number in batch] for batch in sample.batches]
        for name, sample in samples.items()
    }
    corpora = [Corpus("noise", tuple(batch), CLASSES) for batch in clips["ours"]]
    train = Corpus("noise", tuple(clip for batch in clips["ours"] for clip in batch), CLASSES)
    size, epochs = len(corpora[0]), rounds + 1
    ready, full = ours(folder, train, size, epochs, None, device)
    _, top = ours(folder, train, size, epochs, 3, device)
    fronts: list[Task] = [lambda corpus=corpus: front(ready, corpus) for corpus in corpora]  # type: ignore[misc]
    script = usual_steps(folder, clips["script"], device)
    ways = {SCRIPT: script, "turbo": full, "turbo, view_depth=3": top, FRONT: fronts}
    # Batch by batch, so that what is compared is also near in time.
    tasks = {
        f"{way} {number}": finished(tasks[number], device)
        for number in range(len(corpora))
        for way, tasks in ways.items()
    }
    times = alternate(tasks, rounds)

    def epoch(way: str) -> list[float]:
        weights = samples["script" if way == SCRIPT else "ours"].weights
        return [
            sum(weight * times[f"{way} {number}"][turn] for number, weight in enumerate(weights))
            for turn in range(rounds)
        ]

    return {way: epoch(way) for way in ways}


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--clips", type=int, default=4300, help="clips of the corpus that is batched")
    parser.add_argument("--device", choices=tuple(PRECISION), default="cpu")
    parser.add_argument("--batch", type=int, default=4, help="clips in a batch")
    parser.add_argument("--batches", type=int, default=2, help="batches of each way that are timed")
    options = parser.parse_args()
    disable_progress_bar()
    seconds = iemocap_seconds(options.clips)
    positions = np.round(FRAMES_A_SECOND * seconds) + np.maximum(1, np.round(WORDS_A_SECOND * seconds))
    batchings = {
        "script": random_batches(options.clips, options.batch),
        "ours": bucketed_batches(positions.astype(np.int64), options.batch, seed=0, epoch=1),
    }
    samples = {name: sample_of(batches, seconds, options.batches) for name, batches in batchings.items()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TURBO_KIT_CACHE"] = str(folder / "cache")
        save_encoders(folder)
        epochs = measure(folder, seconds, samples, options.rounds, options.device)
    ways = ("turbo", "turbo, view_depth=3")
    epochs |= {
        f"{way}, first epoch": [one + front for one, front in zip(epochs[way], epochs[FRONT], strict=True)]
        for way in ways
    }
    figures: dict[str, Any] = {
        "machine": machine() | {"device": options.device},
        "clips": options.clips,
        "batch": options.batch,
        "padding": {name: round(sample.padding, 3) for name, sample in samples.items()},
        "seconds of the timed clips": {
            name: [np.round(seconds[batch], 1).tolist() for batch in sample.batches] for name, sample in samples.items()
        },
        "hours": {way: spread([one / 3600 for one in times]) for way, times in epochs.items()},
        "ratios": {
            f"{SCRIPT} / {way}, {which}": ratio(epochs[SCRIPT], epochs[key])
            for way in ways
            for which, key in (("later epochs", way), ("first epoch", f"{way}, first epoch"))
        },
    }
    for batching, share in figures["padding"].items():
        print(f"padding, {batching:51} {share:8}")
    tell(figures["hours"] | figures["ratios"])
    keep(figures, options.json)


if __name__ == "__main__":
    main()
