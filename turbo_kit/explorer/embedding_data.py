"""What the embedding explorer shows: clips, their places in one map or several, predictions, neighbours, sound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from turbo_kit.config import InputError, unknown
from turbo_kit.corpora import Corpus, load_corpus
from turbo_kit.figures import run_classes
from turbo_kit.figures.embedding_maps import clip_orders, epoch_names, epoch_spaces, named_runs
from turbo_kit.figures.umap_layout import MAP_POINTS, aligned_maps, embedding_spaces
from turbo_kit.runs import Run

SPLITS = {"dev": ("dev",), "test": ("test",), "both": ("dev", "test")}
NEIGHBOURS = 5
"""Number of neighbours shown for a clip."""


@dataclass(frozen=True)
class EmbeddingData:
    """Everything the explorer shows: N clips on E maps, its frames."""

    title: str
    corpus: str
    """As `RunConfig.corpus` names it: decides what an export may hold."""
    clips: pd.DataFrame
    """One row a clip: `id`, `split`, `speaker`, `label` (None: unlabelled), `transcript`."""
    classes: tuple[str, ...]
    frames: tuple[str, ...]
    """What each map is called, such as "epoch 3" or "turbo"."""
    positions: NDArray[np.float32]
    """(E, N, 2), on common axes."""
    predicted: NDArray[np.int16]
    """(E, N) places of the predicted classes in `classes`."""
    neighbours: NDArray[np.int32]
    """(F, 2, N, K) rows of the clips whose text is nearest to a clip's audio, and whose audio is nearest to its text;
    F is E, or 1 where they are the same in all frames. K is 0 where the modalities share no space."""
    similarities: NDArray[np.float32]
    """(F, 2, N, K) their cosines."""
    about_neighbours: str
    """Which space the neighbours are neighbours in, in one sentence."""
    audio: tuple[Path, ...]
    """Where each clip's sound is."""
    chosen_frame: int | None = None
    """The frame that is shown first: the chosen epoch; None = the last one."""

    def table(self, rows: Sequence[int], frame: int = 0) -> pd.DataFrame:
        """Some of the clips with what was predicted of them in a frame, and whether that is right."""
        table = self.clips.iloc[list(rows)].copy()
        predicted = np.array(self.classes, dtype=object)[self.predicted[frame][list(rows)]]
        right = pd.Series(predicted == table["label"].to_numpy(), index=table.index, dtype="boolean")
        table.insert(4, "predicted", predicted)
        table.insert(5, "right", right.mask(table["label"].isna()))
        return table.reset_index(drop=True)


@dataclass(frozen=True)
class _Frames:
    """What each frame knows, all in one order of the clips: tables, spaces (N, D), predicted (N,), projected views."""

    names: tuple[str, ...]
    table: pd.DataFrame
    spaces: list[NDArray[np.float64]]
    predicted: list[NDArray[np.int16]]
    views: list[dict[str, NDArray[np.float32]]]
    chosen: int | None = None


def embedding_data(
    runs: "Run | Mapping[str, Run] | Sequence[Run]",
    split: str | None = None,
    *,
    epochs: int | None = None,
    corpus: Corpus | None = None,
    max_clips: int = MAP_POINTS,
) -> EmbeddingData:
    """Gathers what the explorer shows: maps of one run, of several runs on the same clips, or of one run's epochs.

    Maps are UMAPs of what the classifier sees, all modalities side by side, laid out together so that a clip keeps its
    place as far as its neighbours do (`turbo_kit.figures.umap_layout.aligned_maps`). Neighbours are nearest by cosine
    in the projected space, which both modalities share and in which the contrastive terms compare them.

    Args:
        runs: one run, or several by the name of their frame; a plain list is named by objective.
        split: `dev`, `test` or `both`; None = test where all runs are finished, else dev. Epochs know only dev.
        epochs: of one run trained with `epoch_embeddings`, so many frames from before training to the last epoch; None
            = one frame a run, as its chosen epoch has it.
        corpus: holds the clips; None = what the runs were trained on.
        max_clips: more clips are cut to so many, drawn at random, the same each time.

    Raises:
        InputError: a run folder that is missing or lacks such embeddings, runs that hold other clips, or a clip that
            the corpus lacks.
    """
    named = named_runs([runs] if isinstance(runs, Run) else runs)
    chosen = list(named.values())
    split = _split(split, chosen, epochs)
    frames = _run_frames(named, split) if epochs is None else _epoch_frames(chosen, epochs)
    rows = np.sort(np.random.default_rng(0).permutation(len(frames.table))[:max_clips])
    clips = frames.table.iloc[rows].reset_index(drop=True)
    found = [_neighbours({name: view[rows] for name, view in views.items()}) for views in frames.views]
    config = chosen[0].config
    corpus = corpus or load_corpus(config.data.corpus)
    return EmbeddingData(
        title=f"{' / '.join(named)} on {corpus.name}, {len(clips)} {' and '.join(SPLITS[split])} clips",
        corpus=config.data.corpus,
        clips=clips,
        classes=tuple(run_classes(chosen)),
        frames=frames.names,
        positions=_landscape(np.stack(aligned_maps([space[rows] for space in frames.spaces]))),
        predicted=np.stack(frames.predicted)[:, rows],
        neighbours=np.stack([indices for indices, _ in found]),
        similarities=np.stack([cosines for _, cosines in found]),
        about_neighbours=_about_neighbours(frames, has_neighbours=found[0][0].shape[-1] > 0),
        audio=_audio_paths(corpus, clips["id"].tolist()),
        chosen_frame=frames.chosen,
    )


def _about_neighbours(frames: _Frames, has_neighbours: bool) -> str:
    """Which space the neighbours are neighbours in, and of which frame where that is not the one shown."""
    if not has_neighbours:
        return "No neighbours: this run has no space that both modalities share."
    where = ""
    if frames.chosen is not None and len(frames.views) < len(frames.names):
        where = f" of {frames.names[frames.chosen]}, whichever epoch the map shows"
    return f"Cosine in the projected space{where}; among the clips shown."


def _landscape(positions: NDArray[np.float64]) -> NDArray[np.float32]:
    """All maps (E, N, 2) turned by one angle, so that the clips spread across rather than upwards, as a screen does."""
    centred = positions - positions.mean(axis=(0, 1))
    _, _, axes = np.linalg.svd(centred.reshape(-1, 2), full_matrices=False)
    return np.asarray(centred @ axes.T, dtype=np.float32)


def _split(split: str | None, runs: Sequence[Run], epochs: int | None) -> str:
    if split is not None and split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if epochs is not None and split not in (None, "dev"):
        raise InputError(f"split = {split!r} with epochs: a run keeps its epochs of development clips alone; use dev.")
    if split is None:
        return "test" if epochs is None and all(run.done for run in runs) else "dev"
    unfinished = [run.folder for run in runs if not run.done]
    if split != "dev" and unfinished:
        raise InputError(f"{unfinished[0]} was not evaluated: its test clips stay unseen; evaluate it, or use dev.")
    return split


def _run_frames(runs: Mapping[str, Run], split: str) -> _Frames:
    """A frame for each run, as its chosen epoch has the clips."""
    classes = run_classes(runs.values())
    parts = []
    for part in SPLITS[split]:
        orders = clip_orders(list(runs.values()), part)
        one = []
        for run, order in zip(runs.values(), orders, strict=True):
            arrays = {name: array[order] for name, array in run.embeddings(part).items()}
            space = list(embedding_spaces(run, part).values())[-1][order]
            one.append((run.predictions(part).iloc[order].assign(split=part), space, arrays))
        parts.append(one)
    tables = [pd.concat([one[i][0] for one in parts], ignore_index=True) for i in range(len(runs))]
    return _Frames(
        names=tuple(runs),
        table=_clip_table(tables[0]),
        spaces=[np.concatenate([one[i][1] for one in parts]) for i in range(len(runs))],
        predicted=[_places(table["predicted"], classes) for table in tables],
        views=[_joined([_views(one[i][2]) for one in parts]) for i in range(len(runs))],
    )


def _epoch_frames(runs: Sequence[Run], epochs: int) -> _Frames:
    """A frame for each of so many epochs of a run; the neighbours are those of the chosen one."""
    if len(runs) > 1:
        raise InputError(f"epochs = {epochs} with {len(runs)} runs: show the epochs of one run, or several runs.")
    (run,) = runs
    names = epoch_names(run, epochs)
    predicted = run.epochs()["predicted"]
    return _Frames(
        names=tuple(names.values()),
        table=_clip_table(run.predictions("dev").assign(split="dev")),
        spaces=epoch_spaces(run, list(names)),
        predicted=[predicted[epoch].astype(np.int16) for epoch in names],
        views=[_views(run.embeddings("dev"))],
        chosen=list(names).index(run.result["best_epoch"]),
    )


def _clip_table(predictions: pd.DataFrame) -> pd.DataFrame:
    table = predictions.rename(columns={"text": "transcript"})[["id", "split", "speaker", "label", "transcript"]]
    return table.astype(object).where(table.notna(), None)


def _places(names: "pd.Series[str]", classes: Sequence[str]) -> NDArray[np.int16]:
    place = {name: i for i, name in enumerate(classes)}
    return np.array([place[name] for name in names], dtype=np.int16)


def _views(arrays: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """The projected embeddings by modality, where there are two in one space."""
    views = {m: arrays[f"{m}_projected"] for m in ("audio", "text") if f"{m}_projected" in arrays}
    shared = len(views) == 2 and len({view.shape[1] for view in views.values()}) == 1
    return views if shared else {}


def _joined(parts: Sequence[dict[str, NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _neighbours(views: Mapping[str, NDArray[np.float32]]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The nearest clips in the other modality and their cosines, (2, N, K) each: by audio in text, by text in audio."""
    from sklearn.neighbors import NearestNeighbors

    if not views:
        return np.zeros((2, 0, 0), np.int32), np.zeros((2, 0, 0), np.float32)
    found: list[Any] = []
    for one, other in (("audio", "text"), ("text", "audio")):
        search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(views[other])), metric="cosine", algorithm="brute")
        found.append(search.fit(views[other]).kneighbors(views[one]))
    indices = np.stack([rows for _, rows in found]).astype(np.int32)
    return indices, 1 - np.stack([distances for distances, _ in found]).astype(np.float32)


def _audio_paths(corpus: Corpus, ids: Sequence[str]) -> tuple[Path, ...]:
    paths = {utterance.id: utterance.path for utterance in corpus.utterances}
    lacking = [clip for clip in ids if clip not in paths]
    if lacking:
        raise InputError(
            f"corpus {corpus.name!r} has no clip {lacking[0]!r}, which the run was shown: name its corpus."
        )
    return tuple(paths[clip] for clip in ids)
