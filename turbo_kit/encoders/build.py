"""From a name to an encoder: the embedded weights, a local folder or a model of the hub."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError

from turbo_kit.config import EncoderConfig, InputError
from turbo_kit.encoders.audio import Data2VecAudio, Wav2Vec2, WavLM, Whisper
from turbo_kit.encoders.backbone import Backbone
from turbo_kit.encoders.encoder import Encoder
from turbo_kit.encoders.fast_dropout import transformers_attention, use_cheap_masks
from turbo_kit.encoders.text import Bert, Deberta, DistilBert

WEIGHTS = Path(__file__).parent / "weights"
# What comes of files that are missing, damaged or of another kind.
LOADING_ERRORS = (OSError, ValueError, ImportError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError)


class Family(NamedTuple):
    """How transformers calls a family's model, and the adapter that cuts it into steps."""

    model: str  # class in transformers.models.<package>
    package: str
    adapter: type[Backbone]
    attention: str = "turbo-kit"  # "eager": the family has its own
    options: Mapping[str, Any] = MappingProxyType({})


# Whisper's encoder alone: its weights carry a prefix in files of the whole model.
_ENCODER_OF_WHISPER = {"key_mapping": {r"^(?:model\.)?encoder\.": ""}}
_NO_POOLER = {"add_pooling_layer": False}
FAMILIES: dict[str, Family] = {
    "whisper": Family("modeling_whisper.WhisperEncoder", "whisper", Whisper, options=_ENCODER_OF_WHISPER),
    "wav2vec2": Family("Wav2Vec2Model", "wav2vec2", Wav2Vec2),
    "hubert": Family("HubertModel", "hubert", Wav2Vec2),
    "wavlm": Family("WavLMModel", "wavlm", WavLM, attention="eager"),
    "data2vec-audio": Family("Data2VecAudioModel", "data2vec", Data2VecAudio),
    "bert": Family("BertModel", "bert", Bert, options=_NO_POOLER),
    "roberta": Family("RobertaModel", "roberta", Bert, options=_NO_POOLER),
    "distilbert": Family("DistilBertModel", "distilbert", DistilBert),
    "deberta": Family("DebertaModel", "deberta", Deberta, attention="eager"),
    "deberta-v2": Family("DebertaV2Model", "deberta_v2", Deberta, attention="eager"),
}


def build_encoder(
    name: str,
    modality: str,
    config: EncoderConfig = EncoderConfig(),  # noqa: B008 (frozen)
    *,
    dropout: float = 0.1,
    depth: int | None = None,
) -> Encoder:
    """Build the encoder that a name stands for. Weights are read from safetensors only; no code of the hub is run.

    Args:
        name: "demo" (the embedded weights), a local folder in the transformers layout, or a model of the hub.
        modality: "audio" (whisper, wav2vec2, hubert, wavlm, data2vec-audio) or "text" (bert, MiniLM among them,
            roberta, distilbert, deberta, deberta-v2 and -v3).
        config: how it is divided into trunk, stem and head.
        dropout: hidden and attention dropout of all that is trained; 0 switches every dropout off.
        depth: use only the first `depth` transformer layers; None: all.

    Returns:
        The encoder, in float32 on the CPU, in training mode.

    Raises:
        InputError: the model cannot be found or read, belongs to no supported family or to the other modality, or a
            number does not fit it.
    """
    if modality not in ("audio", "text"):
        raise InputError(f"modality {modality!r}: give 'audio' or 'text'")
    if not 0.0 <= dropout < 1.0:
        raise InputError(f"dropout={dropout}: give a rate from 0 up to, but not including, 1")
    where = _locate(name, modality)
    backbone = _load(name, where, modality, dropout)
    if depth is not None:
        if not 1 <= depth <= len(backbone.layers):
            raise InputError(f"depth={depth}: encoder {name!r} has {len(backbone.layers)} layers; give 1 to that many")
        del backbone.layers[depth:]
    return Encoder(backbone, config, dropout).train()


def _locate(name: str, modality: str) -> str:
    if name == "demo":
        return str(WEIGHTS / f"demo-{modality}")
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InputError(f"encoder folder {name}: no config.json in it; give a folder made by save_pretrained")
        return str(folder)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name or not name:
        raise InputError(f"encoder folder {name!r} does not exist; give 'demo', an existing folder or a hub name")
    return name


def _load(name: str, where: str, modality: str, dropout: float) -> Backbone:
    from transformers import AttentionInterface, AutoConfig, AutoTokenizer, PretrainedConfig

    AttentionInterface.register("turbo-kit", transformers_attention)
    with _loading(name):
        # Read as it stands, for the fingerprint: a config object also holds what this version of transformers adds.
        settings, _ = PretrainedConfig.get_config_dict(where)
        config = AutoConfig.from_pretrained(where, trust_remote_code=False)
    family = _family(name, config.model_type, modality)
    if settings.get("quantization_config"):
        raise InputError(f"encoder {name!r} is quantised, and the kit computes in full precision: give it unquantised")
    _set_dropout(config, family.adapter, dropout)
    _only_safetensors(name, Path(where))
    with _loading(name):
        model, report = _load_model(where, family, config)
        if modality == "text":
            processor: Any = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
        else:
            processor = _load_extractor(where)
    if wrong := sorted(report["missing_keys"]) + sorted(report["mismatched_keys"]):
        raise InputError(
            f"encoder {name!r}: its weights lack {len(wrong)} tensors that a {config.model_type} model needs, such as "
            f"{wrong[0]}; the file is damaged or belongs to another config"
        )
    use_cheap_masks(model)
    adapter: Any = family.adapter
    backbone: Backbone = adapter(model, processor)
    backbone.settings = settings
    return backbone


def _family(name: str, model_type: str, modality: str) -> Family:
    """The family of a model type, which has to be of the modality."""
    family = FAMILIES.get(model_type)
    if family is None or family.adapter.modality != modality:
        fitting = ", ".join(key for key, known in FAMILIES.items() if known.adapter.modality == modality)
        of_other = "" if family is None else f", which reads {family.adapter.modality}"
        what = f"is of the family {model_type!r}{of_other}"
        raise InputError(f"encoder {name!r} {what}; as {modality} encoder the kit knows: {fitting}")
    return family


def _load_model(where: str, family: Family, config: Any) -> tuple[Any, dict[str, Any]]:
    """The model with its weights, and transformers' report of what did not fit."""
    loader: Any = attrgetter(family.model)(importlib.import_module(f"transformers.models.{family.package}"))
    return loader.from_pretrained(  # type: ignore[no-any-return]
        where,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
        trust_remote_code=False,
        attn_implementation=family.attention,  # else that of its config, which may name code of the hub
        **family.options,
    )


def _only_safetensors(name: str, folder: Path) -> None:
    """Refuses a folder whose list of files leads to others than safetensors: transformers would unpickle those."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file() or not index.is_file():
        return
    with _loading(name):
        for file in json.loads(index.read_text("utf-8"))["weight_map"].values():
            if not str(file).endswith(".safetensors"):
                raise ValueError(f"{index.name} names {file!r}, which is no safetensors file")


def _set_dropout(config: Any, adapter: type[Backbone], dropout: float) -> None:
    """Write the rate into the config before the model is built from it, so that no module keeps the old one."""
    for key in adapter.dropout_names if dropout else adapter.dropout_names + adapter.other_dropout_names:
        setattr(config, key, dropout)
    config.add_adapter = False  # a downsampling stack on top of some fine-tuned speech models: not part of the encoder
    if hasattr(config, "mask_time_prob"):  # SpecAugment is never run, and some models come without its mask vector
        config.mask_time_prob = config.mask_feature_prob = 0.0


def _load_extractor(where: str) -> dict[str, Any]:
    from transformers.utils.hub import cached_file

    path = cached_file(where, "preprocessor_config.json")
    extractor = json.loads(Path(str(path)).read_text("utf-8"))
    if not isinstance(extractor, dict):
        raise ValueError(f"{path} holds {type(extractor).__name__}, expected the settings of a feature extractor")
    return extractor


@contextlib.contextmanager
def _loading(name: str) -> Iterator[None]:
    """Silence transformers' reports and bars, and turn what it raises into an error that says what to do."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except LOADING_ERRORS as error:
        reason = " ".join(str(error).split())[:400]
        raise InputError(
            f"encoder {name!r} cannot be loaded: {reason} -- give 'demo', a folder with config.json, model.safetensors "
            "and tokenizer.json (text) or preprocessor_config.json (audio), or a hub model that has them, with "
            "network; weights as pickle (.bin) are not read"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
