"""Corpora: utterances with their texts, labels and speakers, and folds that are proven free of leaks."""

import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

from turbo_kit.config import InputError, RunConfig, unknown
from turbo_kit.corpora.conditions import under_conditions
from turbo_kit.corpora.corpus import Corpus, Fold
from turbo_kit.corpora.crema_d import load_crema_d
from turbo_kit.corpora.files import user_path
from turbo_kit.corpora.fluent_speech_commands import load_fluent_speech_commands
from turbo_kit.corpora.huggingface import load_huggingface
from turbo_kit.corpora.iemocap import load_iemocap
from turbo_kit.corpora.manifest import load_manifest
from turbo_kit.corpora.meld import load_meld
from turbo_kit.corpora.ravdess import load_ravdess
from turbo_kit.corpora.utterance import Utterance

log = logging.getLogger(__name__)

__all__ = ["EMBEDDED", "FOLD_OPTIONS", "FROM_FILES", "Corpus", "Fold", "Utterance"]
__all__ += ["load_corpus", "load_fold", "load_iemocap", "load_manifest", "read_corpus"]

_DEMO = Path(__file__).parent / "demo"
EMBEDDED = {f"demo-{name}": _DEMO / name / "manifest.jsonl" for name in ("emotion", "directed")}
"""Manifests of the corpora of synthetic speech that travel with the kit, by name; each lies beside its datasheet."""

FROM_FILES: dict[str, Callable[..., Corpus]] = {
    "manifest": load_manifest,
    "huggingface": load_huggingface,
    "iemocap": load_iemocap,
    "meld": load_meld,
    "crema-d": load_crema_d,
    "ravdess": load_ravdess,
    "fluent-speech-commands": load_fluent_speech_commands,
}
"""Corpora read from a path, by the word before the colon: `manifest:clips.jsonl`. What a reader takes beside the path
stands behind a question mark: `iemocap:FOLDER?classes=6&part=improvised`."""

FOLD_OPTIONS = ("corpus", "fold", "protocol", "transcripts", "word_errors", "snr")
"""What of a config decides the lists of its fold."""

NAMED = 3  # so many lines that were left out are named in a warning


def load_corpus(name: str, *, strict: bool = False) -> Corpus:
    """Loads a corpus by name.

    Args:
        name: an embedded corpus (`demo-emotion`), or a reader and a path (`manifest:clips.jsonl`,
            `iemocap:FOLDER?classes=6`).
        strict: whether a line or file of a distributed corpus that cannot be used is an error; otherwise it is left
            out, with a warning that counts them and names the first, and stands in `Corpus.problems`.

    Raises:
        InputError: no such corpus or file, or a row that cannot be used.
    """
    corpus = read_corpus(name)
    if corpus.problems:
        shown = corpus.problems if strict else corpus.problems[:NAMED]
        more = f"\n... and {len(corpus.problems) - NAMED} more" if len(shown) < len(corpus.problems) else ""
        said = f"{name}: {len(corpus.problems)} lines or files cannot be used:\n" + "\n".join(shown) + more
        if strict:
            raise InputError(said)
        log.warning("%s\nThey are left out; `turbo-kit corpus check %s` names them all.", said, name)
    return corpus


def read_corpus(name: str) -> Corpus:
    """Loads a corpus by name as `load_corpus` does, and leaves it to the caller to tell of `Corpus.problems`."""
    kind, colon, path = name.partition(":")
    if kind in FROM_FILES:
        if not path:
            raise InputError(f"corpus {name!r} lacks its path: write {kind}:PATH.")
        return _read(FROM_FILES[kind], path)
    if colon or name not in EMBEDDED:
        raise unknown("corpus", name, [*EMBEDDED, *(f"{reader}:PATH" for reader in FROM_FILES)])
    return load_manifest(EMBEDDED[name])


def load_fold(config: RunConfig) -> Fold:
    """The train, development and test lists that a run is trained, chosen and tested on.

    Raises:
        InputError: no such corpus, transcripts or fold, a row that cannot be used, or a leak.
    """
    return under_conditions(load_corpus(config.data.corpus), config).fold(config.data.fold, config.data.protocol)


def _read(reader: Callable[..., Corpus], written: str) -> Corpus:
    """Calls a reader with the path, and with the options behind a question mark where it takes any."""
    _, *takes = inspect.signature(reader).parameters
    path, _, query = written.partition("?") if takes else (written, "", "")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for option in options:
        if option not in takes:
            raise unknown("option of the corpus", option, takes)
    try:
        return reader(user_path(path), **options)
    except OSError as error:  # such as a name that is too long, or a folder that may not be read
        raise InputError(f"{written}: cannot be read ({error}). Correct the path.") from error
