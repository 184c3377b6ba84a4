"""The README that a saved model carries: data, metrics, limits, and what reading emotions from people calls for."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any


def as_markdown(text: Any) -> str:
    """Markdown that shows a text as it stands, in one line: nothing in it is HTML, a link, a picture or a new cell."""
    line = escape(" ".join(str(text).split()), quote=False)
    return line.replace("[", "&#91;").replace("|", "&#124;")


def model_card(classes: Sequence[str], modalities: Sequence[str], about: Mapping[str, Any], *, optional: bool) -> str:
    """The card of a model, as Markdown with the hub's metadata on top.

    Args:
        classes: names of the classes.
        modalities: those that the model has encoders for.
        about: where the model comes from: `objective`, `data`, `scores`, `threshold`; what is missing is not recorded.
        optional: whether the model can do without one of its modalities.
    """
    classes = [as_markdown(name) for name in classes]
    scores = "\n".join(
        f"| {as_markdown(name)} | {as_markdown(value)} |" for name, value in about.get("scores", {}).items()
    )
    data = as_markdown(about.get("data", "not recorded"))
    threshold = about.get("threshold")
    return f"""---
library_name: turbo-kit
license: apache-2.0
tags: [audio-text-classification, contrastive-learning]
---
# Audio-text classifier

Predicts one of **{", ".join(classes)}** from {" and ".join(modalities)}.
Made with turbo-kit; objective: {as_markdown(about.get("objective", "not recorded"))} (Turbo: arXiv 2409.09282).

```python
from turbo_kit import TurboModel
model = TurboModel.from_pretrained("FOLDER")
model.predict({", ".join(f"{'audio_paths' if m == 'audio' else 'texts'}=[...]" for m in modalities)})
```
{_deciding(classes, **threshold) if threshold else ""}
## Data
{data}

## Metrics
{f"| metric | value |{chr(10)}|---|---|{chr(10)}{scores}" if scores else "None were recorded with this model."}

## Limits
- Scores hold for the corpus, the speakers' language and the recording conditions above, and are not to be carried over.
- {"Either modality may be missing." if optional else "Every modality must be given."}
- Probabilities are not calibrated. Encoders that are frozen bring the limits of the data they were pretrained on.

## Ethics
A label such as an emotion is an annotator's reading, or a rule's, and not what a person feels. Do not use this model to
judge, rank, hire, police or diagnose people, nor on people who have not agreed to it; inferring emotions is
restricted by law in some settings. Speech and transcripts are personal data.
"""


def _deciding(classes: Sequence[str], value: float, target: float) -> str:
    """How two classes are told apart at the threshold that development data chose."""
    return f"""
`predict` names the likelier class. To keep false accepts rare, accept a clip as **{classes[1]}** where that column is
at least {value:.6g}: on the development clips this accepts no more than {target:.1%} of those that are {classes[0]}.
"""
