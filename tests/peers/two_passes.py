"""What the second pass costs: a Turbo step beside a cross-entropy step, and both beside transformers' own forward.

    python tests/peers/two_passes.py [--clips 4] [--seconds 4] [--rounds 5] [--json FILE]

The encoder has the size of wav2vec2-base and random weights: convolutions, projection and positions frozen, 12 layers
trained with dropout. A step is forward, loss, backward and AdamW, in fp32; the steps alternate in one process. "front
computed" runs the frozen part in each step, once for both passes; "front cached" starts from its output, as training
does. The peer runs transformers' Wav2Vec2Model on the same clips once (ce) and twice (Turbo), as a research script has
it. `view_depth=3` is another computation: nine of the layers run once, under one dropout mask.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from random_encoders import save_audio
from timing import alternate, arguments, keep, machine, ratio, spread, tell
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Wav2Vec2Model
from transformers.utils.logging import disable_progress_bar

from turbo_kit.config import EncoderConfig
from turbo_kit.encoders import Encoder, build_encoder
from turbo_kit.objectives import Objective

CLASSES = 4
CLIPS = list[np.ndarray[Any, np.dtype[np.float32]]]
Step = Callable[[], float]


def objective_of(passes: int) -> Objective:
    return Objective({("a1", "a2"): 1.0} if passes == 2 else None)


def stepper(parameters: list[nn.Parameter], loss: Callable[[], Tensor]) -> Step:
    optimizer = torch.optim.AdamW(parameters, lr=1e-6)

    def step() -> float:
        optimizer.zero_grad()
        total = loss()
        total.backward()
        optimizer.step()
        return total.item()

    return step


def ours(folder: Path, clips: CLIPS, passes: int, view_depth: int | None, cached: bool) -> Step:
    encoder: Encoder = build_encoder(
        str(folder), "audio", EncoderConfig(trainable_layers=12, view_depth=view_depth), dropout=0.1
    )
    encoder.train()
    classifier, objective = nn.Linear(encoder.width, CLASSES), objective_of(passes)
    labels, ready = torch.arange(len(clips)) % CLASSES, encoder.trunk(clips)

    def loss() -> Tensor:
        pooled = encoder(ready if cached else encoder.trunk(clips), passes).pooled
        views = {f"a{number}": view for number, view in enumerate(pooled, start=1)}
        return objective(views, classifier(pooled), labels).total

    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    return stepper([*trained, *classifier.parameters()], loss)


def theirs(model: Wav2Vec2Model, clips: CLIPS, passes: int) -> Step:
    model.train()
    model.feature_extractor._freeze_parameters()  # else transformers asks for the gradient of the waveform
    for part in (model.feature_projection, model.encoder.pos_conv_embed):
        part.requires_grad_(False)
    model.encoder.layer_norm.requires_grad_(False)
    classifier, labels = nn.Linear(model.config.hidden_size, CLASSES), torch.arange(len(clips)) % CLASSES
    samples = torch.from_numpy(np.stack(clips))

    def loss() -> Tensor:
        views = [model(samples).last_hidden_state.mean(dim=1) for _ in range(passes)]
        total = torch.stack([F.cross_entropy(classifier(view), labels) for view in views]).mean()
        if passes == 2:
            x, y = (F.normalize(view, dim=1) for view in views)
            logits, target = x @ y.T / 0.05, torch.arange(len(x))
            total = total + (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        return total

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return stepper([*trained, *classifier.parameters()], loss)


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--clips", type=int, default=4, help="clips in a batch")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each clip")
    options = parser.parse_args()
    disable_progress_bar()
    generator = np.random.default_rng(0)
    clips = [generator.normal(0, 0.1, round(16_000 * options.seconds)).astype("float32") for _ in range(options.clips)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        model = save_audio(folder)
        steps = {
            f"{what}, front {front}": ours(folder, clips, passes, depth, front == "cached")
            for front in ("computed", "cached")
            for what, passes, depth in (("ce", 1, None), ("turbo", 2, None), ("turbo, view_depth=3", 2, 3))
        }
    steps |= {"ce, transformers": theirs(model, clips, 1), "turbo, transformers": theirs(model, clips, 2)}
    seconds = alternate(steps, options.rounds)
    ratios = {
        f"{above} / {below}": ratio(seconds[above], seconds[below])
        for above, below in (
            ("turbo, front computed", "ce, front computed"),
            ("turbo, view_depth=3, front computed", "ce, front computed"),
            ("turbo, front cached", "ce, front cached"),
            ("turbo, view_depth=3, front cached", "ce, front cached"),
            ("turbo, transformers", "ce, transformers"),
            ("turbo, transformers", "turbo, front computed"),
            ("turbo, transformers", "turbo, front cached"),
            ("turbo, transformers", "turbo, view_depth=3, front cached"),
        )
    }
    figures = {"machine": machine(), "seconds": {name: spread(times) for name, times in seconds.items()}}
    tell(figures["seconds"] | ratios)
    keep(figures | {"ratios": ratios}, options.json)


if __name__ == "__main__":
    main()
