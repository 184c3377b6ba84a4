"""Measure what each layer and each pruning step of the embedded encoders costs: the table of README.md.

    python turbo_kit/encoders/weights/measure.py WHISPER_FOLDER MINILM_FOLDER [--manifest FILE]

Each candidate is cut and written to a temporary folder, as cut.py would, and loaded from there. Its frozen, mean-pooled
features go to a logistic regression, in the four folds of demo-emotion. A fold trains on two groups, chooses the
regularisation inside them (five parts, no sentence template in two of them) and is scored on its development group; its
test group is not used. The table only chooses between encoders: none of its numbers is a result of the kit.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from cut import AUDIO_LAYERS, TEXT_LAYERS, TOKENS, cut_audio, cut_text, source_parser

from turbo_kit.config import EncoderConfig
from turbo_kit.encoders import build_encoder

HERE = Path(__file__).parent
MANIFEST = HERE.parents[1] / "corpora/demo/emotion/manifest.jsonl"
GRID = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # values of C
WHOLE = 30_522  # tokens of MiniLM's own vocabulary


def development_score(x: np.ndarray, rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Unweighted accuracy on the development groups, mean over speakers, and its standard error.

    Args:
        x: (clips, D) features.
        rows: the manifest's row of each clip.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    keys = ("label", "group", "template", "speaker")
    labels, groups, templates, speakers = (np.array([row[key] for row in rows]) for key in keys)
    names = sorted(set(groups.tolist()))
    scores = {}
    for number, test in enumerate(names):
        dev = groups == names[(number + 1) % len(names)]
        train = ~dev & (groups != test)
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        search = GridSearchCV(model, {"logisticregression__C": GRID}, scoring="balanced_accuracy", cv=GroupKFold(5))
        search.fit(x[train], labels[train], groups=templates[train])
        for speaker in sorted(set(speakers[dev].tolist())):
            own = speakers == speaker
            scores[speaker] = float(balanced_accuracy_score(labels[own], search.predict(x[own])))
    values = np.array(list(scores.values()))
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)


@torch.no_grad()
def pooled(folder: Path, modality: str, items: Sequence[Any]) -> np.ndarray:
    """The mean state of each utterance after the last layer and its norm: (utterances, D)."""
    encoder = build_encoder(str(folder), modality, EncoderConfig(trainable_layers=1), dropout=0.0).eval()
    keys = [item if isinstance(item, str) else item.tobytes() for item in items]
    known = {key: encoder(encoder.trunk([item])).pooled[0] for key, item in dict(zip(keys, items, strict=True)).items()}
    return torch.cat([known[key] for key in keys]).numpy()


def megabytes(folder: Path) -> float:
    """Size of all files of an encoder."""
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def counted(layers: int) -> str:
    """So many layers, in words."""
    return f"{layers} layer{'s' if layers > 1 else ''}"


class Table:
    """Cuts candidates out of the two models, probes them and prints their rows as Markdown."""

    def __init__(self, whisper: Path, minilm: Path, manifest: Path, scratch: Path) -> None:
        self.whisper, self.minilm, self.scratch = whisper, minilm, scratch
        self.rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
        self.texts = [row["text"] for row in self.rows]
        self.clips = [soundfile.read(manifest.parent / row["path"], dtype="float32")[0] for row in self.rows]

    def audio(self, layers: int) -> np.ndarray:
        """The row of a Whisper of so many layers; returns its features."""
        folder = self.scratch / f"audio-{layers}"
        cut_audio(self.whisper, folder, layers)
        features = pooled(folder, "audio", self.clips)
        self.report(f"Whisper, {counted(layers)}", megabytes(folder), features)
        return features

    def text(self, layers: int, tokens: int, *, with_corpus: bool) -> np.ndarray:
        """The row of a MiniLM of so many layers and tokens; returns its features."""
        folder = self.scratch / f"text-{layers}-{tokens}-{with_corpus}"
        cut_text(self.minilm, folder, layers, tokens, self.texts if with_corpus else ())
        features = pooled(folder, "text", self.texts)
        words = "" if tokens == WHOLE else ", the corpus' words among them" if with_corpus else ", by frequency alone"
        self.report(f"MiniLM, {counted(layers)}, {tokens:,} tokens{words}", megabytes(folder), features)
        return features

    def report(self, label: str, size: float, features: np.ndarray) -> None:
        """Print one row."""
        score, error = development_score(features, self.rows)
        print(f"| {label} | {size:.1f} | {score:.3f} | {error:.3f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = source_parser(__doc__)
    parser.add_argument("--manifest", type=Path, default=MANIFEST)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        table = Table(chosen.whisper, chosen.minilm, chosen.manifest, Path(scratch))
        audio = {layers: table.audio(layers) for layers in (1, 2, 3, 4)}
        for layers in (1, 2, 3, 4, 5, 6):
            table.text(layers, WHOLE, with_corpus=True)
        for tokens in (16_000, 8_000, 4_000, 2_000):
            table.text(TEXT_LAYERS, tokens, with_corpus=False)
        text = table.text(TEXT_LAYERS, TOKENS, with_corpus=True)
        size = megabytes(HERE / "demo-audio") + megabytes(HERE / "demo-text")
        table.report("both embedded encoders side by side", size, np.hstack([audio[AUDIO_LAYERS], text]))


if __name__ == "__main__":
    main()
