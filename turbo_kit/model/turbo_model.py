"""The model: an encoder and a projection for each modality, and a classifier over what they see together."""

import json
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

import numpy as np
import torch
from huggingface_hub import ModelHubMixin, hf_hub_download
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from turbo_kit.config import InputError, ModelOptions, RunConfig
from turbo_kit.corpora import Utterance
from turbo_kit.corpora.decoding import decode_all
from turbo_kit.encoders import Encoder, EncoderOutput, TrunkOutput, build_encoder
from turbo_kit.model.card import model_card
from turbo_kit.model.fusion import Fusion

if TYPE_CHECKING:
    import pandas as pd

Arrays = dict[str, NDArray[np.float32]]
Paths = Sequence[str | Path] | None
Texts = Sequence[str] | None

WEIGHTS_FILE = "model.safetensors"
PREDICT_BATCH = 32


class ModelOutput(NamedTuple):
    """What the model makes of a batch: `views`, one (B, projection) tensor for each modality and pass, named a1, a2,
    t1, t2, which the pairs compare; `logits` (passes, B, classes); and `pooled`, (passes, B, D) by modality, which the
    classifier reads before fusion."""

    views: dict[str, Tensor]
    logits: Tensor
    pooled: dict[str, Tensor]


class TurboModel(nn.Module, ModelHubMixin, library_name="turbo-kit", license="apache-2.0"):
    """Encoders, projections and a fusion classifier.

    Args:
        classes: names of the classes, in the order of the logits.
        options: encoders, projections and fusion; the model keeps them, and saves them under their flat names.
        fingerprints: fingerprint of each modality's trunk; where given, the encoders found here must have the same.
        about: facts for the model card (corpus, metrics, ...).

    Raises:
        InputError: an encoder that cannot be built, or is another one than `fingerprints` says.
    """

    def __init__(
        self,
        *,
        classes: list[str],
        options: ModelOptions = ModelOptions(),  # noqa: B008 (frozen)
        fingerprints: dict[str, str] | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.classes = list(classes)
        self.options = options
        self.about = dict(about or {})
        self.encoders = nn.ModuleDict()
        for modality, name in options.modalities.items():
            self.encoders[modality] = build_encoder(name, modality, options.encoder, dropout=options.dropout(modality))
        self.fingerprints = {modality: self.encoder(modality).fingerprint for modality in self.encoders}
        for modality, fingerprint in (fingerprints or {}).items():
            if self.fingerprints[modality] != fingerprint:
                raise InputError(
                    f"the {modality} encoder {options.modalities[modality]!r} found here is not the one that this "
                    "model was trained on (its fingerprint differs): install the version of turbo-kit, or the encoder, "
                    "that the model was made with."
                )
        widths = {modality: self.encoder(modality).width for modality in self.encoders}
        size = options.projection
        heads = {m: nn.Linear(width, size) if size else nn.Identity() for m, width in widths.items()}
        self.projections = nn.ModuleDict(heads)
        self.fusion = Fusion(widths, options.fusion)
        self.classifier = nn.Linear(self.fusion.width, len(self.classes))
        # Stands in for a modality that is missing; learnt by hiding modalities in training.
        optional = widths if options.modality_dropout else {}
        self.absent = nn.ParameterDict({m: nn.Parameter(torch.zeros(width)) for m, width in optional.items()})

    @classmethod
    def from_config(cls, config: RunConfig, classes: Sequence[str]) -> Self:
        """An untrained model as `config` describes it."""
        return cls(classes=list(classes), options=config.model)

    @property
    def max_seconds(self) -> float:
        """Longer clips are cut here."""
        return self.options.max_seconds

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the model has encoders for."""
        return tuple(self.encoders)

    def encoder(self, modality: str) -> Encoder:
        """The encoder of a modality."""
        return cast(Encoder, self.encoders[modality])

    @property
    def layer_weights(self) -> dict[str, list[float]]:
        """What each hidden state weighs in the learned mix, by modality, the embeddings first; empty without a mix."""
        found = {modality: self.encoder(modality).layer_weights for modality in self.encoders}
        return {modality: weights.tolist() for modality, weights in found.items() if weights is not None}

    def forward(
        self, hidden: Mapping[str, TrunkOutput], passes: int = 1, absent: Mapping[str, Tensor] | None = None
    ) -> ModelOutput:
        """Runs the heads once for each pass and classifies what they see together.

        Args:
            hidden: what each modality's trunk gave for the B clips.
            passes: how many views of each clip.
            absent: (B,) bool by modality, True where the classifier must do without it. In training, modality
                dropout hides further ones.
        """
        encoded = {modality: self.encoder(modality)(hidden[modality], passes) for modality in self.encoders}
        pooled = {modality: result.pooled for modality, result in encoded.items()}
        views = {
            f"{modality[0]}{number}": self.projections[modality](view)
            for modality, both in pooled.items()
            for number, view in enumerate(both, start=1)
        }
        size, device = len(next(iter(hidden.values())).mask), self.classifier.weight.device
        hide = dict(absent or {})
        if self.training and self.options.modality_dropout:
            hide |= self._hidden_at_random(size, device)
        seen = {m: self._without(e, hide[m], self.absent[m]) if m in hide else e for m, e in encoded.items()}
        return ModelOutput(views, self.classifier(self.fusion(seen)), pooled)

    @staticmethod
    def _without(encoded: EncoderOutput, hidden: Tensor, absent: Tensor) -> EncoderOutput:
        """The encoding with the absent-vector in place of the clips that `hidden` (B,) marks."""
        absent = absent.to(encoded.pooled.dtype)
        sequence = torch.where(hidden[:, None, None], absent, encoded.sequence)
        return EncoderOutput(sequence, encoded.mask, torch.where(hidden[:, None], absent, encoded.pooled))

    def _hidden_at_random(self, size: int, device: torch.device) -> dict[str, Tensor]:
        """One of the two modalities of a clip, never both, at the rate `modality_dropout`."""
        hit = torch.rand(size, device=device) < self.options.modality_dropout
        first = torch.rand(size, device=device) < 0.5
        one, other = self.modalities
        return {one: hit & first, other: hit & ~first}

    def predict(self, audio_paths: Paths = None, texts: Texts = None) -> "pd.DataFrame":
        """Classifies clips.

        Args:
            audio_paths: the clips' audio files.
            texts: their transcripts, in the same order.

        Returns:
            One row a clip: `label`, and the probability of each class as `p_<class>`.

        Raises:
            InputError: lists of different length, an unreadable clip, or a modality left out of a model that was not
                trained to do without it (`modality_dropout` above 0).
        """
        return self.predict_and_embed(audio_paths, texts)[0]

    def embed(self, audio_paths: Paths = None, texts: Texts = None) -> Arrays:
        """Embeds clips.

        Args:
            audio_paths, texts: as for `predict`.

        Returns:
            For each modality given, what the classifier reads, (N, D), under its name, and its projection into the
            space that the contrastive terms compare, (N, projection), under `<modality>_projected`.

        Raises:
            InputError: as for `predict`.
        """
        return self.predict_and_embed(audio_paths, texts)[1]

    def predict_and_embed(self, audio_paths: Paths = None, texts: Texts = None) -> "tuple[pd.DataFrame, Arrays]":
        """What `predict` and `embed` return, of one look at the clips."""
        import pandas as pd

        given = self._given(audio_paths, texts)
        outputs = self._run(given)
        probabilities = torch.cat([output.logits[0] for output in outputs]).float().softmax(dim=-1).cpu().numpy()
        table = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in self.classes])
        table.insert(0, "label", [self.classes[i] for i in probabilities.argmax(axis=1)])
        arrays = {}
        for modality in given:
            arrays[modality] = torch.cat([output.pooled[modality][0] for output in outputs])
            arrays[f"{modality}_projected"] = torch.cat([output.views[f"{modality[0]}1"] for output in outputs])
        return table, {name: array.float().cpu().numpy() for name, array in arrays.items()}

    @torch.inference_mode()
    def _run(self, given: Mapping[str, Sequence[Any]]) -> list[ModelOutput]:
        """What the model makes of the clips, batch by batch, without dropout."""
        starts = range(0, len(next(iter(given.values()))), PREDICT_BATCH)
        was_training = self.training
        self.eval()
        try:
            return [self._output({m: list(v[i : i + PREDICT_BATCH]) for m, v in given.items()}) for i in starts]
        finally:
            self.train(was_training)

    def _given(self, audio_paths: Paths, texts: Texts) -> dict[str, Sequence[Any]]:
        given = {m: v for m, v in (("audio", audio_paths), ("text", texts)) if v is not None and m in self.modalities}
        counts = {modality: len(values) for modality, values in given.items()}
        if not given or not all(counts.values()):
            raise InputError(f"nothing to predict: give {' and '.join(self.modalities)} of at least one clip.")
        if len(set(counts.values())) > 1:
            raise InputError(f"{counts['audio']} audio files and {counts['text']} texts: give one of each a clip.")
        for modality in self.modalities:
            if modality not in given and not self.absent:
                raise InputError(
                    f"this model needs {modality} for every clip: it was trained without missing modalities. "
                    f"Give {modality}, or train with modality_dropout above 0."
                )
        return given

    def _output(self, items: dict[str, list[Any]]) -> ModelOutput:
        names = {m: list(map(str if m == "audio" else reprlib.repr, values)) for m, values in items.items()}
        if "audio" in items:
            clips = [Utterance(name, Path(name), "", None, "") for name in names["audio"]]
            items = {**items, "audio": list(decode_all(clips, self.max_seconds))}
        size, device = len(next(iter(items.values()))), self.classifier.weight.device
        hidden = {m: self.encoder(m).trunk(values, names[m]) for m, values in items.items()}
        absent = {m: torch.ones(size, dtype=torch.bool, device=device) for m in self.modalities if m not in items}
        for modality in absent:  # any input will do: the absent-vector takes its place
            blank: list[Any] = [""] if modality == "text" else [torch.zeros(16_000).numpy()]
            one = self.encoder(modality).trunk(blank)
            hidden[modality] = TrunkOutput(*(part.expand(size, *part.shape[1:]) for part in one))
        return self(hidden, absent=absent)  # type: ignore[no-any-return]

    def trained_state(self) -> dict[str, Tensor]:
        """Every parameter that training moves; the frozen trunks are found by name and checked by fingerprint."""
        return {name: value.detach() for name, value in self.named_parameters() if value.requires_grad}

    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes over what `trained_state` gave.

        Raises:
            InputError: parameters are missing, left over or of another shape.
        """
        own = self.trained_state()
        for name in own.keys() ^ state.keys():
            where = "missing from" if name in own else "unknown to the model, and in"
            raise InputError(f"parameter {name!r} is {where} the saved weights: they belong to another model.")
        for name, value in own.items():
            if value.shape != state[name].shape:
                raise InputError(f"parameter {name!r} is {tuple(state[name].shape)}, expected {tuple(value.shape)}.")
            value.copy_(state[name])

    def _save_pretrained(self, save_directory: Path) -> None:
        state = {name: value.contiguous().cpu() for name, value in self.trained_state().items()}
        save_file(state, save_directory / WEIGHTS_FILE, metadata={"format": "pt"})
        facts = {"classes": self.classes, "fingerprints": self.fingerprints, "about": self.about}
        config = json.dumps(self.options.to_dict() | facts, indent=2, sort_keys=True)
        (save_directory / "config.json").write_text(config)
        card = model_card(self.classes, self.modalities, self.about, optional=bool(self.absent))
        (save_directory / "README.md").write_text(card, encoding="utf-8")

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, revision: str | None = None, config: dict[str, Any] | None = None, **options: Any
    ) -> Self:
        download = {k: options.pop(k) for k in ("cache_dir", "force_download", "local_files_only", "token")}
        file = Path(model_id) / WEIGHTS_FILE
        if not Path(model_id).is_dir():
            file = Path(hf_hub_download(repo_id=model_id, filename=WEIGHTS_FILE, revision=revision, **download))
        if not file.is_file():
            raise InputError(f"{file}: no such file; a saved model has {WEIGHTS_FILE} and config.json in its folder.")
        try:
            model = cls(**_saved_arguments({**(config or {}), **options}))
            model.load_trained_state(load_file(file))
        except (SafetensorError, AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{file.parent} holds no model of turbo-kit ({error}): save it again.") from error
        return model.eval()


def _saved_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a saved model from its config.json, which holds its options under their flat names."""
    facts = {"classes", "fingerprints", "about"}
    given = {name: config[name] for name in facts & config.keys()}
    values = {name: value for name, value in config.items() if name not in facts}
    if wrong := sorted(values.keys() - ModelOptions().to_dict().keys()):
        raise ValueError(f"unknown option {wrong[0]!r} in config.json")
    return given | {"options": ModelOptions().updated(values)}
