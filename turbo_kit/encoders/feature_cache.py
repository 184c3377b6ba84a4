"""What the frozen trunks give, computed once for each clip and kept on disk for every run and process to share."""

import hashlib
import json
import logging
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import BaseFileLock, FileLock
from numpy.typing import NDArray

from turbo_kit.corpora import Utterance
from turbo_kit.corpora.batching import ordered_batches
from turbo_kit.corpora.decoding import decode_all
from turbo_kit.corpora.fingerprints import audio_fingerprints, cache_folder
from turbo_kit.encoders.encoder import Encoder, TrunkOutput

TRUNK_BATCH = 32
"""Clips that go through a trunk together."""
SHARD = 512
"""Clips whose features are computed between two writes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Features:
    """What a trunk gives for each of some utterances, in their order, read from memory-mapped files."""

    items: tuple[NDArray[np.generic], ...]
    """One array an utterance: (T, D) floats, or (T,) token ids where the trunk is empty."""

    @property
    def lengths(self) -> list[int]:
        """T of each utterance."""
        return [len(item) for item in self.items]

    def batch(self, indices: Sequence[int] | NDArray[np.int64], *, pinned: bool = False) -> TrunkOutput:
        """Some of the utterances, padded with zeros to the longest of them; in pinned memory if they go to a GPU."""
        chosen = [self.items[i] for i in indices]
        lengths = torch.tensor([len(item) for item in chosen])
        shape = (len(chosen), int(lengths.max()), *chosen[0].shape[1:])
        dtype = torch.from_numpy(np.empty(0, chosen[0].dtype)).dtype
        sequence = torch.zeros(shape, dtype=dtype, pin_memory=pinned)
        for row, item in zip(sequence.numpy(), chosen, strict=True):
            row[: len(item)] = item
        return TrunkOutput(sequence, torch.arange(shape[1]) < lengths[:, None])


def trunk_features(
    encoder: Encoder, utterances: Sequence[Utterance], max_seconds: float, *, progress: bool = False
) -> Features:
    """What the encoder's trunk gives for each utterance: read from the cache where it is there, else computed into it.

    Raises:
        InputError: a clip that cannot be decoded.
    """
    store = FeatureStore(cache_folder() / "features" / encoder.fingerprint[:32])
    keys = _keys(utterances, encoder.modality, max_seconds)
    with store.lock():
        store.refresh()
        missing = {key: utterance for key, utterance in zip(keys, utterances, strict=True) if key not in store}
        for part, items in _decoded(encoder.modality, missing, max_seconds):
            names = {key: f"{missing[key].path} (utterance {missing[key].id!r})" for key in part}
            store.add(_computed(encoder, names, items, progress))
    return Features(tuple(store[key] for key in keys))


def _keys(utterances: Sequence[Utterance], modality: str, max_seconds: float) -> list[str]:
    """What each utterance's features are kept under: the content of what the trunk sees of it."""
    if modality == "text":
        return [hashlib.sha256(utterance.text.encode(errors="surrogatepass")).hexdigest() for utterance in utterances]
    prints = audio_fingerprints([utterance.path for utterance in utterances])
    noise = ["" if math.isinf(utterance.snr) else f"-white{utterance.snr:g}dB" for utterance in utterances]
    return [f"{digest}-{max_seconds:g}{over}" for digest, over in zip(prints, noise, strict=True)]


Items = list[str] | list[NDArray[np.float32]]


def _decoded(modality: str, missing: dict[str, Utterance], max_seconds: float) -> Iterator[tuple[list[str], Items]]:
    """The keys of each shard and what the trunk sees of them; the next shard is decoded while this one is used."""
    keys = list(missing)
    parts = [keys[start : start + SHARD] for start in range(0, len(keys), SHARD)]

    def items(part: list[str]) -> Items:
        utterances = [missing[key] for key in part]
        return [u.text for u in utterances] if modality == "text" else list(decode_all(utterances, max_seconds))

    with ThreadPoolExecutor(max_workers=1) as ahead:
        decoded = [ahead.submit(items, part) for part in parts[:1]]
        for number, part in enumerate(parts, start=1):
            now = decoded.pop().result()
            decoded += [ahead.submit(items, after) for after in parts[number : number + 1]]
            yield part, now


def _computed(
    encoder: Encoder, names: Mapping[str, str], items: Items, progress: bool
) -> dict[str, NDArray[np.generic]]:
    """What the trunk gives for each item, by its key; `names` holds what an error calls them, by key."""
    from tqdm.auto import tqdm

    called = list(names.values())
    done: dict[int, NDArray[np.generic]] = {}
    bar = tqdm(total=len(items), desc=f"{encoder.modality} features", unit="clip", disable=not progress, leave=False)
    with bar:
        for batch in ordered_batches([len(item) for item in items], TRUNK_BATCH):
            hidden = encoder.trunk([items[i] for i in batch], [called[i] for i in batch])
            for i, sequence, mask in zip(batch, hidden.sequence, hidden.mask, strict=True):
                done[int(i)] = sequence[mask].cpu().numpy()
            bar.update(len(batch))
    return {key: done[i] for i, key in enumerate(names)}


class FeatureStore(dict[str, NDArray[np.generic]]):
    """Features by key, from a folder of shards; each is one array of frames (.npy) and an index (.json), written last.

    A shard without its index, or with an array that is shorter than its index says, does not count.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._read: set[Path] = set()

    def lock(self) -> BaseFileLock:
        """Held while features are computed, so that two processes never compute the same ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / "lock")

    def refresh(self) -> None:
        """Opens the shards that have appeared since the last look."""
        for index in sorted(set(self.folder.glob("*.json")) - self._read):
            try:
                self._open(index)
            except (ValueError, OSError, EOFError, AttributeError, TypeError, RecursionError) as error:
                log.warning("%s: damaged features (%s) are removed and computed again.", index, error)
                index.unlink()
                index.with_suffix(".npy").unlink(missing_ok=True)

    def _open(self, index: Path) -> None:
        lengths = json.loads(index.read_text())
        frames = np.asarray(np.load(index.with_suffix(".npy"), mmap_mode="r", allow_pickle=False))
        if len(frames) != sum(lengths.values()):
            raise ValueError(f"{len(frames)} frames, and the index counts {sum(lengths.values())}")
        self._read.add(index)
        for key, end in zip(lengths, np.cumsum(list(lengths.values())), strict=True):
            self[key] = frames[end - lengths[key] : end]

    def add(self, features: dict[str, NDArray[np.generic]]) -> None:
        """Writes the features as one more shard and opens it."""
        name = self.folder / uuid.uuid4().hex
        with name.with_suffix(".partial").open("wb") as file:
            np.save(file, np.concatenate(list(features.values())), allow_pickle=False)
        name.with_suffix(".partial").replace(name.with_suffix(".npy"))
        name.with_suffix(".index").write_text(json.dumps({key: len(value) for key, value in features.items()}))
        name.with_suffix(".index").replace(name.with_suffix(".json"))
        self._open(name.with_suffix(".json"))
