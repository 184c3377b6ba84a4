"""What makes two runs the same: the config, the clips, the encoders' weights and the source, as a folder's name."""

import hashlib
import json
from functools import cache
from pathlib import Path

from turbo_kit.config import EncoderConfig, RunConfig
from turbo_kit.corpora import Corpus
from turbo_kit.encoders import build_encoder
from turbo_kit.runs import Run


def planned_run(config: RunConfig, train: Corpus, dev: Corpus, out: str | Path) -> Run:
    """Where the run of this config on these clips is, or will be.

    The folder's name ends in a hash of the config, the corpus content, the encoders' weights and the source of
    the rooms from training down: whatever would change the result changes the folder.
    """
    parts = [config.to_dict(), train.fingerprint, dev.fingerprint, _trunks(config), source_fingerprint()]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return Run(Path(out) / f"{config.loss.objective}-fold{config.data.fold}-seed{config.training.seed}-{digest[:10]}")


def _trunks(config: RunConfig) -> dict[str, str]:
    cut = config.model.encoder.of_trunk
    return {modality: _trunk_fingerprint(name, modality, cut) for modality, name in config.modalities.items()}


@cache
def _trunk_fingerprint(name: str, modality: str, config: EncoderConfig) -> str:
    return build_encoder(name, modality, config).fingerprint


@cache
def source_fingerprint() -> str:
    """SHA-256 over the source of every room that decides a run's result."""
    package = Path(__file__).parent
    files = [package / "runs.py", package / "identity.py"]
    for room in ("board", "config", "corpora", "encoders", "metrics", "model", "objectives", "training"):
        sources = sorted((package / room).rglob("*.py"))
        files += [file for file in sources if not {"demo", "weights"} & set(file.relative_to(package).parts)]
    for reads_only in ("metrics/statistics.py", "corpora/check.py"):  # compare finished runs; describe a corpus
        files.remove(package / reads_only)
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
