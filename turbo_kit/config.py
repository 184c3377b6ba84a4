"""Every knob of a run, in one frozen dataclass, and the error that says what is wrong with what a user gave."""

import difflib
import json
import math
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

ABSENT = "none"
"""The name that leaves a modality out: `RunConfig(text="none")` trains on audio alone."""

Protocol = Literal["auto", "official", "group", "speaker", "speaker-text"]
"""How the folds of a corpus are made: see `Corpus.fold`."""


class InputError(Exception):
    """Something the user gave cannot be used; the message says what, what was expected, and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows in the place of a traceback: the message."""
        return [f"InputError: {self}"]


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else "."
    return InputError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}.")


def notebook_literals(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Every public variable of a notebook that holds a literal: what may be one of its parameters."""
    literals = (bool, int, float, str, list, dict, tuple, type(None))
    jupyter = {"In", "Out"}
    return {
        name: value
        for name, value in variables.items()
        if isinstance(value, literals) and not name.startswith("_") and name not in jupyter
    }


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Every knob of one run: what is trained, on what, towards which objective, and how."""

    corpus: str = "demo-emotion"
    """Name of a corpus, as turbo-kit corpus list tells them; manifest:FILE for clips of your own."""
    fold: int = 0
    """Which fold of the corpus is held out."""
    protocol: Protocol = "auto"
    """What a fold holds out: the official test list, a group (session), a speaker, or speakers and their sentences
    (speaker-text); auto = the first that the corpus allows."""
    transcripts: str = "gold"
    """The text of each clip: gold = as the corpus has it; empty = none; the name of another column of the corpus, or a
    .csv or .jsonl file with id and text."""
    word_errors: float = 0.0
    """Share of the words that are deleted or substituted, half of them each, in all three lists."""
    snr: float | None = None
    """Signal-to-noise ratio in dB of white noise over the clips of all three lists; None = no noise."""
    seed: int = 0
    """Seeds the weights, the dropout masks and the order of the clips."""

    audio: str = "demo"
    """Audio encoder: demo (embedded), a hub name or a folder; none leaves audio out."""
    text: str = "demo"
    """Text encoder: demo (embedded), a hub name or a folder; none leaves text out."""
    trainable_layers: int = 0
    """Top layers of each encoder that are trained; 0 = frozen encoder with a light head, -1 = all."""
    view_depth: int | None = None
    """Of the trainable layers, how many on top run once for each pass; None = all of them."""
    head_width: int = 128
    """Width of the light head that stands on a frozen encoder; a multiple of 32."""
    head_layers: int = 1
    """Transformer layers in the light head."""
    layer_mix: bool = False
    """The frozen encoder's hidden states of all layers, mixed by learned weights, instead of the last one."""
    pooling: Literal["mean", "attentive"] = "mean"
    """How an utterance's positions become one vector: their mean, or an attention-weighted mean and standard deviation
    of them, projected back to the same width."""
    audio_dropout: float = 0.1
    """Dropout rate of the audio passes."""
    text_dropout: float = 0.1
    """Dropout rate of the text passes."""
    projection: int = 128
    """Width of the projection that the contrastive terms see; 0 = none, they see the pooled encoder output."""
    fusion: Literal["concat", "gated", "cross-attention", "audio", "text"] = "concat"
    """What the classifier sees: both modalities side by side, their gated sum, each attending to the other, or one."""
    modality_dropout: float = 0.0
    """How often a clip's audio or text is hidden from the classifier; above 0 the model can do without one."""

    objective: str = "turbo"
    """Preset: ce, ce-2pass, r-drop, simcse, simcse-audio, mcse, in-modal, clip, cyclip, siglip, infoloob, gram,
    cross-modal, cross+self, supcon or turbo."""
    contrastive_weight: float = 0.1
    """Weight of the contrastive terms as a whole, beside the cross-entropy (the paper's lambda)."""
    temperature: float | Literal["learned"] | None = None
    """Temperature of the contrastive terms; None = as the preset has it (0.05)."""
    similarity: Literal["cosine", "dot"] | None = None
    """How two views are compared; None = as the preset has it (cosine)."""
    direction: Literal["symmetric", "one"] | None = None
    """Both directions of a pair or one; None = as the preset has it."""
    negatives: Literal["other", "both"] | None = None
    """A clip's negatives: the other view's clips, or both views' (NT-Xent); None = as the preset has it (other)."""
    cross_entropy: Literal["mean", "first", "none"] | None = None
    """Cross-entropy of which passes; None = as the preset has it (mean)."""
    r_drop_alpha: float | None = None
    """Weight of R-Drop's KL between the passes; None = as the preset has it."""
    normalize_pairs: bool = False
    """Scale the pair weights to sum 1, so that objectives of few and of many pairs weigh the same."""
    exclude: Literal["none", "transcript", "label"] = "none"
    """Which clips are left out of a clip's negatives: those of the same transcript or the same label."""
    pair_weights: dict[str, float] = field(default_factory=dict)
    """Weights that replace the preset's, by pair, such as {"a1-t1": 0.5}."""

    epochs: int = 15
    """Epochs at most."""
    batch_size: int = 64
    """Clips in a batch; the contrastive terms have batch_size - 1 negatives."""
    accumulate: int = 1
    """Batches for each step of the optimiser."""
    chunk_size: int | None = None
    """Clips that pass the model at once; the batch, and so the number of negatives, stays batch_size. None: all."""
    learning_rate: float = 1e-3
    """Learning rate of new layers: light heads, projections, classifier."""
    encoder_learning_rate: float = 2e-5
    """Learning rate of the encoders' own layers."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises; it then falls as a cosine."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    patience: int = 5
    """Epochs without a better development score before training stops; 0 = never."""
    class_weighting: Literal["none", "balanced"] = "none"
    """Weigh classes in the cross-entropy by how rare they are."""
    label_fraction: float = 1.0
    """Share of the training labels that the classifier sees; all clips stay in the contrastive terms."""
    false_accept_rate: float = 0.05
    """Of two classes: share of negative clips that may be accepted; the threshold is chosen for it on development
    clips, and tells the scores at it. Of more classes: not used."""
    max_seconds: float = 30.0
    """Longer clips are cut here, with a warning that counts them."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """Arithmetic: auto = bf16-mixed on CUDA, 32-true elsewhere."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train."""
    compile: bool = False
    """Train through torch.compile: a minute or so at first, then quicker steps of the same numbers, up to rounding."""
    epoch_embeddings: bool = False
    """Keep the embeddings of the development clips before training and after every epoch, to see how they move."""
    tested_word_errors: list[float] = field(default_factory=list)
    """Rates of word errors that the test list is given once more, on top of its own, to test the run under each."""
    tested_snr: list[float] = field(default_factory=list)
    """Signal-to-noise ratios in dB at which the run is tested too, in the place of its own."""
    searched: dict[str, list[int | float]] = field(default_factory=dict)
    """Knobs that an ablation chooses by development data, from these values, with the seed given among them:
    {"contrastive_weight": [0.05, 0.1], "seed": [100]}."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for knob in fields(self):
            value = _checked(knob.name, getattr(self, knob.name), hints[knob.name])
            object.__setattr__(self, knob.name, value)
        for name, (low, high) in _RANGES.items():
            given = getattr(self, name)
            for value in given if isinstance(given, list) else [given]:
                if isinstance(value, int | float) and not low <= value <= high:
                    limit = f"at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
                    raise InputError(f"{name} = {value} is out of range: it must be {limit}.")
        if self.head_width % 32:
            raise InputError(f"head_width = {self.head_width}: it must be a multiple of 32, such as 128.")
        if self.layer_mix and self.trainable_layers:
            raise InputError(
                f"layer_mix mixes the layers of a frozen encoder, and trainable_layers = {self.trainable_layers} "
                "trains it: set trainable_layers = 0 or layer_mix = false."
            )
        if self.temperature == 0:
            raise InputError("temperature = 0: it must be above 0, such as 0.05.")
        if self.label_fraction == 0:
            raise InputError("label_fraction = 0 leaves the classifier nothing to learn from: use a value up to 1.")
        if self.audio == ABSENT and self.text == ABSENT:
            raise InputError("audio and text are both 'none': at least one modality is needed.")
        if ABSENT in (self.audio, self.text) and (self.fusion != "concat" or self.modality_dropout):
            raise InputError(
                "fusion and modality_dropout choose between two modalities, and this run has one: "
                "leave them at 'concat' and 0."
            )

        if self.searched:
            self._check_search()

    def _check_search(self) -> None:
        seeds = self.searched.get("seed", [])
        if len(seeds) != 1 or seeds[0] == self.seed:
            raise InputError(
                f"searched has seed = {seeds}: name the one seed of the search runs, another one than the run's own "
                f'({self.seed}), such as "seed": [100].'
            )
        if len(self.searched) == 1:
            raise InputError('searched has no knob to choose: add one, such as "contrastive_weight": [0.05, 0.1].')
        values = self.to_dict() | {"searched": {}}
        for name, choices in self.searched.items():
            if not choices:
                raise InputError(f"searched[{name!r}] is empty: give at least one value.")
            for value in choices:
                self.from_dict(values | {name: value})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Builds a config from names and values; a name that is no knob is an error with the nearest right one."""
        known = {knob.name for knob in fields(cls)}
        for name in values:
            if name not in known:
                raise unknown("parameter", str(name), known)
        return cls(**values)

    @classmethod
    def from_notebook(cls, variables: Mapping[str, Any], other: Iterable[str] = ("out", "test")) -> Self:
        """Builds a config from the `parameters` cell of a notebook.

        Args:
            variables: `globals()` of the notebook. Every public variable that holds a literal counts as a parameter.
            other: names of parameters that belong to the notebook and not to the run.

        Raises:
            InputError: a parameter that is no knob (papermill itself would run on with the default), or a wrong value.
        """
        own = set(other)
        return cls.from_dict({name: value for name, value in notebook_literals(variables).items() if name not in own})

    def to_dict(self) -> dict[str, Any]:
        """The config as names and literals, ready for JSON or for a notebook's parameters."""
        return asdict(self)

    @property
    def modalities(self) -> dict[str, str]:
        """Encoder name by modality, without the modalities that this run leaves out."""
        return {modality: name for modality, name in (("audio", self.audio), ("text", self.text)) if name != ABSENT}


_RANGES: dict[str, tuple[float, float]] = {
    "fold": (0, math.inf),
    "word_errors": (0, 1),
    "snr": (-60, 120),
    "tested_word_errors": (0, 1),
    "tested_snr": (-60, 120),
    "seed": (0, 2**32 - 1),
    "trainable_layers": (-1, math.inf),
    "view_depth": (0, math.inf),
    "head_width": (32, math.inf),
    "head_layers": (1, math.inf),
    "audio_dropout": (0, 0.95),
    "text_dropout": (0, 0.95),
    "projection": (0, math.inf),
    "modality_dropout": (0, 0.95),
    "contrastive_weight": (0, math.inf),
    "temperature": (0, math.inf),
    "r_drop_alpha": (0, math.inf),
    "epochs": (1, math.inf),
    "batch_size": (2, math.inf),
    "accumulate": (1, math.inf),
    "chunk_size": (1, math.inf),
    "learning_rate": (0, math.inf),
    "encoder_learning_rate": (0, math.inf),
    "weight_decay": (0, math.inf),
    "warmup": (0, 1),
    "clip_norm": (0, math.inf),
    "patience": (0, math.inf),
    "label_fraction": (0, 1),
    "false_accept_rate": (0, 1),
    "max_seconds": (0.1, math.inf),
}


_brief = reprlib.Repr()
_brief.maxlevel = 2


def _checked(name: str, value: Any, hint: Any) -> Any:
    """`value` as the type that `hint` asks for, or an error that names the knob.

    The error shows lists and tables in part: from YAML they may hold themselves, or unfold without end.
    """
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value in choices:
            return value
        raise unknown(
            f"value of {name}",
            value if isinstance(value, str) else _brief.repr(value),
            [str(choice) for choice in choices],
        )
    if origin in (types.UnionType, typing.Union):
        for choice in choices:
            try:
                return _checked(name, value, choice)
            except InputError:
                continue
        expected = " or ".join(_type_name(choice) for choice in choices)
        raise InputError(f"{name} = {_brief.repr(value)}: expected {expected}.")
    if origin is dict:
        if isinstance(value, Mapping):
            of = choices[1]
            return {_checked(name, key, str): _checked(f"{name}[{key!r}]", item, of) for key, item in value.items()}
        raise InputError(f"{name} = {_brief.repr(value)}: expected names and values, such as {{'a1-t1': 0.5}}.")
    if origin is list:
        if isinstance(value, list | tuple):
            return [_checked(f"{name}[{place}]", item, choices[0]) for place, item in enumerate(value)]
        raise InputError(f"{name} = {_brief.repr(value)}: expected a list of numbers, such as [0.1, 0.5].")
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300:
        value = float(value)
    wrong_bool = isinstance(value, bool) and hint is not bool
    if wrong_bool or not isinstance(value, hint) or (hint is float and not math.isfinite(value)):
        shown = _brief.repr(value) if isinstance(value, list | tuple | Mapping) else json.dumps(value, default=repr)
        raise InputError(f"{name} = {shown}: expected {_type_name(hint)}.")
    return value


def _type_name(hint: Any) -> str:
    names = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false"}
    names[type(None)] = "None"
    if typing.get_origin(hint) is Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(hint))
    return names.get(hint, str(hint))
