"""Text and sound as they would be in use: transcripts made elsewhere, or none; word errors; noise."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from turbo_kit.config import InputError, RunConfig, unknown
from turbo_kit.corpora.corpus import Corpus
from turbo_kit.corpora.files import user_path
from turbo_kit.corpora.leaks import plain_text
from turbo_kit.corpora.manifest import read_rows
from turbo_kit.corpora.utterance import Utterance

GOLD, EMPTY = "gold", "empty"  # sources of transcripts that every corpus has

SUBSTITUTES = """\
a about after again all also an and another any are around as at away back be because been before being between
both but by came can come could day did do does done down each end even every few find first for from gave get
give go going had has have he her here him his how i if in into is it its just keep kind knew know last left let
like little long look made make man many may me might more most much must my name near need never new next no not
now of off often old on once one only or other our out over own part people place put said same saw say see she
should show side since so some soon still such take tell than that the their them then there these they thing
this those though through time to together told too took two under until up us use very want was way we week well
went were what when where which while who why will with word work would year yes yet you your
""".split()  # noqa: SIM905 (a list of words is read more easily so)
"""Words that take the place of others: frequent English ones, none of them from a corpus. Words of the corpus would
carry over what other clips say, and may tell a label."""

TESTED = 1  # seed of the word errors that only a test puts in: they do not hit the very words that training's did
NAMED = 3  # so many clips without a transcript are named


class Condition(NamedTuple):
    """The test list with more noise in one modality: what a trained run is tested on beside the list itself."""

    modality: Literal["audio", "text"]
    level: float
    """Of text the rate of word errors, of audio the signal-to-noise ratio in dB."""

    @property
    def split(self) -> str:
        """The name of its scores and predictions."""
        noise = f"{100 * self.level:g} % word errors" if self.modality == "text" else f"{self.level:g} dB SNR"
        return f"test at {noise}"

    def of(self, test: Corpus) -> Corpus:
        """The noised copy of a test list."""
        text = self.modality == "text"
        return with_word_errors(test, self.level, TESTED) if text else with_noise(test, self.level)


def conditions_of(config: RunConfig) -> list[Condition]:
    """The conditions that a run is tested under, of the modalities that it has."""
    found = [Condition("text", rate) for rate in config.conditions.tested_word_errors]
    found += [Condition("audio", snr) for snr in config.conditions.tested_snr]
    return [condition for condition in found if condition.modality in config.modalities]


def under_conditions(corpus: Corpus, config: RunConfig) -> Corpus:
    """The corpus with the transcripts, word errors and noise that a config asks for.

    Raises:
        InputError: no such transcripts, or clips that have none.
    """
    corpus = with_word_errors(with_transcripts(corpus, config.data.transcripts), config.conditions.word_errors)
    return corpus if config.conditions.snr is None else with_noise(corpus, config.conditions.snr)


def with_transcripts(corpus: Corpus, source: str) -> Corpus:
    """The corpus with other transcripts; `Utterance.gold` keeps those that it came with.

    Args:
        source: `gold` = as they are; `empty` = no words; else the name of a column of the corpus that holds them
            (`Utterance.extra`), or the path of a .csv or .jsonl file with the columns id and text.

    Raises:
        InputError: no such column or file, one that cannot be used, or clips that it has no transcript of.
    """
    if source == GOLD:
        return corpus
    if source == EMPTY:
        return corpus.subset(_said(u, "") for u in corpus.utterances)
    if Path(source).suffix in (".csv", ".jsonl"):
        texts = _transcripts_in(user_path(source))
    else:
        known = {name for u in corpus.utterances for name in u.extra}
        if source not in known:
            raise unknown("source of transcripts", source, [GOLD, EMPTY, *known, "FILE.csv", "FILE.jsonl"])
        texts = {u.id: _column_text(u, source) for u in corpus.utterances if source in u.extra}
    missing = [u.id for u in corpus.utterances if u.id not in texts]
    if missing:
        shown = ", ".join(map(repr, missing[:NAMED])) + (", ..." if len(missing) > NAMED else "")
        raise InputError(
            f"transcripts {source!r}: {len(missing)} of {len(corpus)} clips of corpus {corpus.name!r} have none "
            f"({shown}): add them, with an empty text where nothing was understood."
        )
    return corpus.subset(_said(u, texts[u.id]) for u in corpus.utterances)


def with_word_errors(corpus: Corpus, rate: float, seed: int = 0) -> Corpus:
    """The corpus with words of its transcripts deleted or substituted, half of them each.

    The errors depend on the id and the words of a clip alone, not on the list it is in, and those at a low rate are
    among those at a higher one. Substitutes are English: in another language they are foreign words.

    Args:
        rate: share of the words that are hit, each by itself: the word error rate to expect against what was there.
        seed: another one hits other words.
    """
    return corpus.subset(_said(u, _misheard(u, rate, seed)) for u in corpus.utterances) if rate else corpus


def with_noise(corpus: Corpus, snr: float) -> Corpus:
    """The corpus with white noise over its sound, at a signal-to-noise ratio in dB: see `batches.decode`."""
    return corpus.subset(replace(u, snr=snr) for u in corpus.utterances)


def word_error_rate(pairs: Iterable[tuple[str, str]]) -> float | None:
    """Edits over words: what has to be inserted, deleted and substituted in all texts, by the words of the references.

    Spelling in capitals and punctuation do not count.

    Args:
        pairs: reference and hypothesis of each clip.

    Returns:
        A share of 1, above 1 where much was inserted; None where the references have no word.
    """
    from torchaudio.functional import edit_distance

    edits = words = 0
    for reference, hypothesis in pairs:
        right, found = plain_text(reference).split(), plain_text(hypothesis).split()
        edits += 0 if right == found else edit_distance(right, found)
        words += len(right)
    return edits / words if words else None


def transcript_errors(corpus: Corpus) -> float | None:
    """Word error rate of a list's transcripts against gold."""
    return word_error_rate((u.gold, u.text) for u in corpus.utterances)


def _said(utterance: Utterance, text: str) -> Utterance:
    return replace(utterance, text=text, original=utterance.gold)


def _misheard(utterance: Utterance, rate: float, seed: int) -> str:
    digest = hashlib.sha256(f"{seed} {utterance.id}".encode()).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:8]))
    words = utterance.text.split()
    hits, deletions = generator.random((2, len(words)))
    substitutes = generator.integers(len(SUBSTITUTES), size=len(words))
    heard = []
    for word, hit, deletion, substitute in zip(words, hits, deletions, substitutes, strict=True):
        if hit >= rate:
            heard.append(word)
        elif deletion >= 0.5:
            same = SUBSTITUTES[substitute] == plain_text(word)
            heard.append(SUBSTITUTES[substitute - 1 if same else substitute])
    return " ".join(heard)


def _column_text(utterance: Utterance, column: str) -> str:
    value = utterance.extra[column]
    if not isinstance(value, str):
        raise InputError(
            f"transcripts {column!r}: clip {utterance.id!r} has the number {value:g}: name a column of texts, or give "
            "the transcripts as a .csv or .jsonl file with id and text."
        )
    return value


def _transcripts_in(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for row, values in read_rows(path):
        where = f"{path}, row {row}"
        for name in ("id", "text"):
            if not isinstance(values.get(name), str):
                found = f"{name} = {values[name]!r} is not a text" if name in values else f"column {name!r} is missing"
                raise InputError(f"{where}: {found}; transcripts need id and text.")
        if values["id"] in texts:
            raise InputError(f"{where}: id {values['id']!r} occurs twice; keep one transcript of each clip.")
        texts[values["id"]] = values["text"]
    return texts
