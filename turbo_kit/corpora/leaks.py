"""What must not stand in two lists of a fold: ids, speakers, sentences and recordings."""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

from turbo_kit.config import InputError
from turbo_kit.corpora.fingerprints import audio_fingerprints
from turbo_kit.corpora.utterance import Utterance


def leak_keys(utterances: Sequence[Utterance]) -> dict[str, list[str]]:
    """What must not stand in two lists of a fold, kind by kind, an entry for each utterance: empty where it has none.

    Words count where a corpus names its sentence templates; elsewhere short answers may repeat.
    """
    templates = all(u.template for u in utterances)
    return {
        "id": [u.id for u in utterances],
        "speaker": [u.speaker for u in utterances],
        "template": [u.template for u in utterances],
        "text": [plain_text(u.gold) if templates else "" for u in utterances],
        "audio": audio_fingerprints([u.path for u in utterances]),
    }


def plain_text(text: str) -> str:
    """A transcript as its words alone: small letters, no punctuation."""
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.casefold()))


def sentence(utterance: Utterance) -> str:
    """What makes two clips say the same: the template, or else the words."""
    return utterance.template or plain_text(utterance.gold)


def check_disjoint(lists: Mapping[str, Sequence[Utterance]], shared: Collection[str] = ()) -> None:
    """Raises an `InputError` where two lists have an utterance, a speaker, a recording or a sentence in common.

    Args:
        lists: the utterances of each list by its name.
        shared: kinds that the lists may have in common: see `Corpus.shared`.
    """
    keys = {name: leak_keys(utterances) for name, utterances in lists.items()}
    for one, other in combinations(lists, 2):
        for kind in [kind for kind in keys[one] if kind not in shared]:
            where = {key: u.id for key, u in zip(keys[one][kind], lists[one], strict=True) if key}
            for key, u in zip(keys[other][kind], lists[other], strict=True):
                if key in where:
                    what = "one recording (audio)" if kind == "audio" else f"{kind} {key!r}"
                    raise InputError(
                        f"leak: {what} stands in {one} (utterance {where[key]!r}) and in {other} "
                        f"(utterance {u.id!r}): a score on {other} would count what training has seen. "
                        f"Keep each {kind} in one list, or give those clips the same group."
                    )
