"""Frozen-feature probes of the embedded corpora: how much do sound, words and both tell of the label before training?

    python probes.py emotion --audio WHISPER_FOLDER --text MINILM_FOLDER [--manifest MANIFEST] [--out probes.json]

Every layer of the two encoders is mean-pooled over the clip (Whisper at the clip's own length, not padded to 30 s) and
given to a logistic regression. Four folds: test on group i, choose the regularisation on group i + 1, train on the
other two, so that speakers and sentences of the test were never seen. Each corpus was frozen on these numbers
(demo-directed: on those of a pilot that was drawn with another seed).
"""

import argparse
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from kokoro import RATE

GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)  # values of C


def probe(
    features: np.ndarray, labels: Sequence[str] | np.ndarray, groups: Sequence[str] | np.ndarray
) -> dict[str, Any]:
    """Unweighted accuracy of a logistic regression on unseen speakers and sentences.

    Args:
        features: (clips, D), one row a clip.
        labels: (clips,) class names.
        groups: (clips,) names of the groups that a fold keeps apart; sorted, each is the test once.

    Returns:
        "UA" mean over folds, "sd" over folds, "folds" each fold's UA, "C" each fold's choice.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.preprocessing import StandardScaler

    labels, groups = np.asarray(labels), np.asarray(groups)
    names = sorted(set(groups.tolist()))
    scores, chosen = [], []
    for i, name in enumerate(names):
        test, dev = groups == name, groups == names[(i + 1) % len(names)]
        train = ~test & ~dev
        x = StandardScaler().fit(features[train]).transform(features)
        models = [LogisticRegression(C=c, max_iter=2000).fit(x[train], labels[train]) for c in GRID]
        on_dev = [balanced_accuracy_score(labels[dev], m.predict(x[dev])) for m in models]
        best = int(np.argmax(on_dev))
        scores.append(float(balanced_accuracy_score(labels[test], models[best].predict(x[test]))))
        chosen.append(GRID[best])
    return {"UA": float(np.mean(scores)), "sd": float(np.std(scores, ddof=1)), "folds": scores, "C": chosen}


def upper_reference(design: Any) -> float:
    """UA of a reader who knows the pool of every sentence and the chances of the design, and nothing of the sound."""
    chances = np.array([design.POOL_CHANCES[label] for label in design.LABELS])  # (classes, pools)
    return float(chances.max(axis=0).sum() / len(design.LABELS))


def design_features(design: Any, ids: Sequence[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What the design drew for the clips: prosody numbers (clips, P) and pool of the sentence (clips, 3), one-hot."""
    clips = {clip.id: clip for clip in design.draw_design(seed)}
    prosody = np.array([clips[i].prosody for i in ids])
    pools = np.array([[clips[i].template[3:6] == pool[:3] for pool in design.POOLS] for i in ids], float)
    return prosody, pools


def audio_features(folder: Path, paths: Sequence[Path]) -> list[np.ndarray]:
    """Mean-pooled states of Whisper's encoder, one (clips, D) array a layer, the convolutions' output first."""
    import soundfile
    import torch
    from transformers import WhisperFeatureExtractor, WhisperModel

    mel = WhisperFeatureExtractor.from_pretrained(folder)
    encoder = WhisperModel.from_pretrained(folder, dtype=torch.float32).encoder.eval()
    pooled = []
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32")
        if rate != RATE:
            raise ValueError(f"{path}: {rate} Hz, expected {RATE} Hz: make the clip again")
        frames = mel(samples, sampling_rate=rate, return_tensors="pt", padding="longest").input_features
        with torch.inference_mode():
            pooled.append([h.mean(dim=1)[0].numpy() for h in whisper_layers(encoder, frames)])
    return [np.stack(layer) for layer in zip(*pooled, strict=True)]


def whisper_layers(encoder: Any, frames: Any) -> list[Any]:
    """States (1, T, D) before, between and after the layers, for mel frames (1, 80, 2T) of any length."""
    from torch.nn import functional

    hidden = functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(frames)))).transpose(1, 2)
    hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
    states = [hidden]
    for layer in encoder.layers:
        out = layer(hidden, None)
        hidden = out[0] if isinstance(out, tuple) else out
        states.append(hidden)
    return [*states[:-1], encoder.layer_norm(states[-1])]


def text_features(folder: Path, texts: Sequence[str]) -> list[np.ndarray]:
    """Mean-pooled states of a BERT-like encoder, one (clips, D) array a layer, the embeddings first."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    pooled = []
    for start in range(0, len(texts), 64):
        batch = tokenizer(list(texts[start : start + 64]), padding=True, return_tensors="pt")
        with torch.inference_mode():
            states = model(**batch, output_hidden_states=True).hidden_states
        mask = batch["attention_mask"][..., None]
        pooled.append([((h * mask).sum(1) / mask.sum(1)).numpy() for h in states])
    return [np.concatenate(layer) for layer in zip(*pooled, strict=True)]


def main() -> None:
    """Prints the table of the datasheet."""
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description="Probe an embedded corpus with frozen encoders.")
    parser.add_argument("corpus", choices=["emotion", "directed"])
    parser.add_argument("--audio", type=Path, required=True, help="folder of a Whisper model (transformers)")
    parser.add_argument("--text", type=Path, required=True, help="folder of a BERT-like model (transformers)")
    parser.add_argument("--manifest", type=Path, help="of a pilot; without it that of the corpus")
    parser.add_argument("--seed", type=int, help="seed of a pilot's design")
    parser.add_argument("--out", type=Path, help="where to keep the numbers as JSON")
    args = parser.parse_args()

    design = importlib.import_module(f"generate_{args.corpus}")
    manifest = args.manifest or here / args.corpus / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    labels, groups = [row["label"] for row in rows], [row["group"] for row in rows]
    audio = audio_features(args.audio, [manifest.parent / row["path"] for row in rows])
    text = text_features(args.text, [row["text"] for row in rows])
    table = {f"audio, layer {i}": probe(x, labels, groups) for i, x in enumerate(audio)}
    table |= {f"text, layer {i}": probe(x, labels, groups) for i, x in enumerate(text)}
    table["both (audio layer 1, text last)"] = probe(np.hstack([audio[1], text[-1]]), labels, groups)
    prosody, pools = design_features(design, [row["id"] for row in rows], args.seed or design.SEED)
    table["audio, from the drawn prosody"] = probe(prosody, labels, groups)
    table["text, from the drawn pool"] = probe(pools, labels, groups)
    table["both, from prosody and pool"] = probe(np.hstack([prosody, pools]), labels, groups)
    for name, result in table.items():
        print(f"{name:32} UA {result['UA']:.3f} +- {result['sd']:.3f}  folds {np.round(result['folds'], 3)}")
    print(f"{'text, best possible':32} UA {upper_reference(design):.3f}")
    if args.out:
        args.out.write_text(json.dumps(table, indent=1), "utf-8")


if __name__ == "__main__":
    main()
