"""A small map for the embedding explorer: a made-up run, its corpus of short tones, and texts that mean harm."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from fake_runs import CLASSES, write_run
from safetensors.numpy import save_file

from turbo_kit import Corpus
from turbo_kit.corpora import Utterance
from turbo_kit.explorer.embedding_explorer import EmbeddingData, embedding_data
from turbo_kit.runs import EPOCHS, Run

CLIPS = 9
"""So few are laid out by principal components, at once."""
HOSTILE = (
    "</script><script>window.broken = true</script><img src=x onerror='window.broken = true'>&amp; \"it's\" \u2028"
)


def run_with_epochs(folder: Path, epochs: int = 4, **options) -> Run:
    """A finished run that kept how its development clips moved; the last epoch is how they are at last."""
    run = write_run(folder, clips=CLIPS, epochs=epochs, **options)
    noise = np.random.default_rng(1)
    last = run.embeddings("dev")
    ways = np.linspace(2, 0, epochs + 1)[:, None, None]
    kept = {m: last[m] + ways * noise.normal(size=(epochs + 1, *last[m].shape)) for m in run.config.modalities}
    kept = {name: array.astype(np.float32) for name, array in kept.items()}
    kept["predicted"] = noise.integers(len(CLASSES), size=(epochs + 1, CLIPS))
    save_file(kept, run.folder / EPOCHS)
    return run


def corpus_of(run: Run, folder: Path) -> Corpus:
    """The clips of a made-up run, each a tone of its own."""
    utterances = []
    for split in ("dev", "test") if run.done else ("dev",):
        for place, clip in enumerate(run.predictions(split).itertuples()):
            path = folder / f"{clip.id}.wav"
            tone = 0.2 * np.sin(2 * np.pi * (200 + 40 * place) * np.arange(8000) / 16000)
            soundfile.write(path, tone, 16000)
            utterances.append(Utterance(clip.id, path, clip.text, clip.label, clip.speaker))
    return Corpus("made-up", tuple(utterances), CLASSES)


def small_map(folder: Path) -> EmbeddingData:
    """Three epochs of a run, the first clip unlabelled and full of what would break a careless page."""
    run = run_with_epochs(folder)
    data = embedding_data(run, epochs=3, corpus=corpus_of(run, folder))
    clips = data.clips.copy()
    clips.loc[0, ["id", "speaker", "transcript"]] = HOSTILE
    clips.loc[0, "label"] = None
    return replace(data, clips=clips)
