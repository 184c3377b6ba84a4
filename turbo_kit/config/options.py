"""The options of a run in groups, each a frozen dataclass that checks its values when it is made."""

import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, Self

from turbo_kit.config.errors import InputError
from turbo_kit.config.option_values import check_range, checked

ABSENT = "none"
"""The name that leaves a modality out: `RunConfig(text="none")` trains on audio alone."""

Protocol = Literal["auto", "official", "group", "speaker", "speaker-text"]
"""How the folds of a corpus are made: see `Corpus.fold`."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What all groups share: values are checked by type and range; options of a nested group count as the group's."""

    def __post_init__(self) -> None:
        for name, hint in typing.get_type_hints(type(self)).items():
            if not is_dataclass(hint):
                object.__setattr__(self, name, checked(name, getattr(self, name), hint))
                if name in RANGES:
                    check_range(name, getattr(self, name), *RANGES[name])
        self._check()

    def _check(self) -> None:
        """Raises an `InputError` where two options do not fit together."""

    def updated(self, values: Mapping[str, Any]) -> Self:
        """The same group with other values, each option by its own name; names of other groups are passed over."""
        changes = {}
        for option in fields(self):
            value = getattr(self, option.name)
            if isinstance(value, Options):
                changes[option.name] = value.updated(values)
            elif option.name in values:
                changes[option.name] = values[option.name]
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The options by name, those of a nested group among them, ready for JSON."""
        found: dict[str, Any] = {}
        for option in fields(self):
            value = getattr(self, option.name)
            found |= value.to_dict() if isinstance(value, Options) else {option.name: value}
        return found


@dataclass(frozen=True, kw_only=True)
class DataOptions(Options):
    """Which clips are trained and tested on, with which transcripts and labels."""

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
    label_fraction: float = 1.0
    """Share of the training labels that the classifier sees; all clips stay in the contrastive terms."""

    def _check(self) -> None:
        if self.label_fraction == 0:
            raise InputError("label_fraction = 0 leaves the classifier nothing to learn from: use a value up to 1.")


@dataclass(frozen=True, kw_only=True)
class ConditionOptions(Options):
    """Word errors and noise: in all three lists, or in further tests of the finished run."""

    word_errors: float = 0.0
    """Share of the words that are deleted or substituted, half of them each, in all three lists."""
    snr: float | None = None
    """Signal-to-noise ratio in dB of white noise over the clips of all three lists; None = no noise."""
    tested_word_errors: list[float] = field(default_factory=list)
    """Rates of word errors that the test list is given once more, on top of its own, to test the run under each."""
    tested_snr: list[float] = field(default_factory=list)
    """Signal-to-noise ratios in dB at which the run is tested too, in the place of its own."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(Options):
    """How an encoder is divided into trunk, stem and head; the same for audio and text."""

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

    def _check(self) -> None:
        if self.head_width % 32:
            raise InputError(f"head_width = {self.head_width}: it must be a multiple of 32, such as 128.")
        if self.layer_mix and self.trainable_layers:
            raise InputError(
                f"layer_mix mixes the layers of a frozen encoder, and trainable_layers = {self.trainable_layers} "
                "trains it: set trainable_layers = 0 or layer_mix = false."
            )

    @property
    def of_trunk(self) -> "EncoderConfig":
        """The options that decide what the trunk computes, the others at their defaults."""
        return EncoderConfig(
            trainable_layers=self.trainable_layers, view_depth=self.view_depth, layer_mix=self.layer_mix
        )


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Options):
    """Encoders, projections and the classifier."""

    audio: str = "demo"
    """Audio encoder: demo (embedded), a hub name or a folder; none leaves audio out."""
    text: str = "demo"
    """Text encoder: demo (embedded), a hub name or a folder; none leaves text out."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
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
    max_seconds: float = 30.0
    """Longer clips are cut here, with a warning that counts them."""

    def _check(self) -> None:
        if not self.modalities:
            raise InputError("audio and text are both 'none': at least one modality is needed.")
        if len(self.modalities) == 1 and (self.fusion != "concat" or self.modality_dropout):
            raise InputError(
                "fusion and modality_dropout choose between two modalities, and this run has one: "
                "leave them at 'concat' and 0."
            )

    @property
    def modalities(self) -> dict[str, str]:
        """Encoder name by modality, without a modality that is left out."""
        return {modality: name for modality, name in (("audio", self.audio), ("text", self.text)) if name != ABSENT}

    def dropout(self, modality: str) -> float:
        """Dropout rate of a modality's passes."""
        return {"audio": self.audio_dropout, "text": self.text_dropout}[modality]


@dataclass(frozen=True, kw_only=True)
class LossOptions(Options):
    """The objective: its terms and their weights."""

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
    class_weighting: Literal["none", "balanced"] = "none"
    """Weigh classes in the cross-entropy by how rare they are."""

    def _check(self) -> None:
        if self.temperature == 0:
            raise InputError("temperature = 0: it must be above 0, such as 0.05.")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(Options):
    """Batches, optimizer, and when to stop."""

    seed: int = 0
    """Seeds the weights, the dropout masks and the order of the clips."""
    epochs: int = 15
    """Maximum number of epochs."""
    batch_size: int = 64
    """Clips in a batch; the contrastive terms have batch_size - 1 negatives."""
    accumulate: int = 1
    """Batches for each step of the optimizer."""
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
    """Gradient clipping threshold; 0 turns it off."""
    patience: int = 5
    """Epochs without a better development score before training stops; 0 = never."""
    searched: dict[str, list[int | float]] = field(default_factory=dict)
    """Options that an ablation chooses by development data, from these values, with the seed given among them:
    {"contrastive_weight": [0.05, 0.1], "seed": [100]}."""


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(Options):
    """What is measured and kept beside the scores."""

    false_accept_rate: float = 0.05
    """Of two classes: share of negative clips that may be accepted; the threshold is chosen for it on development
    clips, and tells the scores at it. Of more classes: not used."""
    epoch_embeddings: bool = False
    """Keep the embeddings of the development clips before training and after every epoch, to see how they move."""


@dataclass(frozen=True, kw_only=True)
class HardwareOptions(Options):
    """Where and in which arithmetic the run is computed."""

    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """Arithmetic: auto = bf16-mixed on CUDA, 32-true elsewhere."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train."""
    compile: bool = False
    """Train through torch.compile: a minute or so at first, then quicker steps of the same numbers, up to rounding."""


RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("label_fraction", "word_errors", "tested_word_errors", "warmup", "false_accept_rate"), (0, 1)),
    **dict.fromkeys(("audio_dropout", "text_dropout", "modality_dropout"), (0, 0.95)),
    **dict.fromkeys(("snr", "tested_snr"), (-60, 120)),
    **dict.fromkeys(("fold", "view_depth", "projection", "contrastive_weight", "temperature"), (0, math.inf)),
    **dict.fromkeys(("r_drop_alpha", "learning_rate", "encoder_learning_rate", "weight_decay"), (0, math.inf)),
    **dict.fromkeys(("clip_norm", "patience"), (0, math.inf)),
    **dict.fromkeys(("head_layers", "epochs", "accumulate", "chunk_size"), (1, math.inf)),
    "trainable_layers": (-1, math.inf),
    "head_width": (32, math.inf),
    "max_seconds": (0.1, math.inf),
    "batch_size": (2, math.inf),
    "seed": (0, 2**32 - 1),
}
"""Lowest and highest value of the options that are numbers."""
