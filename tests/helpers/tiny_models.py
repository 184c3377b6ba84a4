"""A tiny random model of every supported family, saved as its real folders are, and transformers' own forward of it."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch.nn import functional

from turbo_kit.config import EncoderConfig
from turbo_kit.encoders import Encoder, TrunkOutput, build_encoder
from turbo_kit.encoders.backbone import hidden_state

RATE = 16_000
LAYERS = 3
WIDTH = 32
AUDIO = (
    "whisper",
    "wav2vec2-base",
    "wav2vec2-large",
    "hubert-base",
    "hubert-large",
    "hubert-batch-norm",
    "wavlm-base",
    "wavlm-large",
    "data2vec-audio",
)
TEXT = ("bert", "roberta", "distilbert", "deberta", "deberta-v2", "deberta-v3")
ALL = AUDIO + TEXT
# Names of the parts, as regular expressions on parameter names, that the architecture calls final norm ...
FINAL_NORM = {
    "whisper": r"^layer_norm\.",
    "wav2vec2-large": r"^encoder\.layer_norm\.",
    "hubert-large": r"^encoder\.layer_norm\.",
    "wavlm-large": r"^encoder\.layer_norm\.",
}
# ... and front end: below the embeddings, never trained.
FRONT = r"^(conv1|conv2|embed_positions|feature_extractor)\."

WORDS = re.findall(
    r"\w+", "the door is open, and we can not find the key that was here; please stay calm, all will be fine"
)
SHORT_TEXT = "the door is open"
LONG_TEXT = " ".join(WORDS + WORDS[::-1])


def modality(name: str) -> str:
    return "audio" if name in AUDIO else "text"


def clip(seconds: float, seed: int = 0) -> np.ndarray:
    """A noisy tone (samples,) float32, different for every seed, off centre so that normalisation matters."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * rng.uniform(100, 400) * t * (1 + 0.1 * t))
    return (0.02 + 0.1 * tone + 0.05 * rng.standard_normal(len(t))).astype(np.float32)


def items(name: str) -> list[Any]:
    """Three utterances of a modality: a short one, a middle one and a much longer one."""
    if modality(name) == "audio":
        return [clip(0.31, 1), clip(0.52, 2), clip(1.9, 3)]
    return [SHORT_TEXT, "we can not find the key", LONG_TEXT]


def build(
    folders: dict[str, Path], name: str, trainable_layers: int = 0, dropout: float = 0.0, **options: Any
) -> Encoder:
    """An encoder on a tiny model, its new layers as the same seed makes them."""
    torch.manual_seed(0)
    depth = options.pop("depth", None)
    config = EncoderConfig(**{"head_width": 32, "trainable_layers": trainable_layers, **options})
    return build_encoder(str(folders[name]), modality(name), config, dropout=dropout, depth=depth)


def assert_independent_of_neighbours(encoder: Encoder, name: str) -> torch.Tensor:
    """An utterance's pooled vector is the same alone, beside longer ones and whatever stands in the padding.

    Returns:
        (3, D), the vectors of `items(name)` in one batch.
    """
    everything = items(name)
    hidden = encoder.trunk(everything)
    filled = hidden.sequence.clone()
    filled[~hidden.mask] = 7
    together: torch.Tensor = encoder(TrunkOutput(filled, hidden.mask)).pooled[0]
    for row, item in zip(together, everything, strict=True):
        torch.testing.assert_close(row, encoder(encoder.trunk([item])).pooled[0, 0], atol=2e-5, rtol=1e-4)
    return together


def save(name: str, folder: Path) -> Path:
    """Write the tiny model `name` with its extractor or tokenizer."""
    import transformers

    torch.manual_seed(sum(map(ord, name)))
    model = getattr(transformers, MODELS[name])(config(name))
    roughen(model)
    model.save_pretrained(folder)
    if modality(name) == "text":
        tokenizer(name).save_pretrained(folder)
    elif name == "whisper":
        transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=4).save_pretrained(folder)
    else:
        normalizes = name != "wavlm-base"
        transformers.Wav2Vec2FeatureExtractor(do_normalize=normalizes).save_pretrained(folder)
    return folder


def roughen(model: torch.nn.Module) -> None:
    """Weights large enough for attention, positions and norms to matter: fresh models are almost the identity."""
    state = [*model.named_parameters(), *model.named_buffers()]
    with torch.no_grad():
        for name, tensor in state:
            if not tensor.is_floating_point() or "embed_positions" in name or "parametrizations" in name:
                continue
            if tensor.dim() >= 2 and "norm" not in name:
                fan_in = tensor[0].numel() if "embeddings" not in name else 1
                tensor.normal_(0, 1.3 / fan_in**0.5)
            elif "running_var" in name:
                tensor.uniform_(0.5, 2.0)
            else:
                tensor.add_(0.2 * torch.randn_like(tensor))


MODELS = {
    "whisper": "WhisperForConditionalGeneration",
    "wav2vec2-base": "Wav2Vec2ForPreTraining",
    "wav2vec2-large": "Wav2Vec2Model",
    "hubert-base": "HubertModel",
    "hubert-large": "HubertForCTC",
    "hubert-batch-norm": "HubertModel",
    "wavlm-base": "WavLMModel",
    "wavlm-large": "WavLMModel",
    "data2vec-audio": "Data2VecAudioModel",
    "bert": "BertForMaskedLM",
    "roberta": "RobertaForMaskedLM",
    "distilbert": "DistilBertModel",
    "deberta": "DebertaModel",
    "deberta-v2": "DebertaV2Model",
    "deberta-v3": "DebertaV2Model",
}


def config(name: str) -> Any:
    """The config of a tiny model; LayerDrop and SpecAugment are as strong as no one would set them."""
    import transformers

    shape = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "intermediate_size": 48}
    drops = {"layerdrop": 0.9, "mask_time_prob": 0.5, "mask_time_length": 2, "mask_feature_prob": 0.5}
    drops |= {"hidden_dropout": 0.3, "attention_dropout": 0.3, "activation_dropout": 0.01, "feat_proj_dropout": 0.01}
    convolutions = {"conv_dim": (16, 16, 16), "conv_kernel": (10, 8, 8), "conv_stride": (5, 8, 8)}
    convolutions |= {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4, "num_codevectors_per_group": 4}
    speech = {**shape, **drops, **convolutions, "vocab_size": 12, "mask_feature_length": 2}
    stable = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
    words = {**shape, "vocab_size": len(vocabulary()), "max_position_embeddings": 64}
    words |= {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3}
    relative = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}
    match name:
        case "whisper":
            return transformers.WhisperConfig(
                d_model=WIDTH,
                encoder_layers=LAYERS,
                encoder_attention_heads=4,
                encoder_ffn_dim=48,
                decoder_layers=1,
                decoder_attention_heads=4,
                decoder_ffn_dim=16,
                num_mel_bins=20,
                max_source_positions=200,
                max_target_positions=16,
                vocab_size=20,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=2,
                decoder_start_token_id=1,
                encoder_layerdrop=0.9,
                activation_dropout=0.0,
            )
        case "wav2vec2-base":
            return transformers.Wav2Vec2Config(**speech, feat_extract_norm="group")
        case "wav2vec2-large":
            return transformers.Wav2Vec2Config(**speech, **stable)
        case "hubert-base":
            return transformers.HubertConfig(**speech, feat_extract_norm="group", feat_proj_layer_norm=False)
        case "hubert-large":
            return transformers.HubertConfig(**speech, **stable)
        case "hubert-batch-norm":
            return transformers.HubertConfig(**speech, feat_extract_norm="group", conv_pos_batch_norm=True)
        case "wavlm-base":
            return transformers.WavLMConfig(**speech, feat_extract_norm="group", num_buckets=16, max_bucket_distance=40)
        case "wavlm-large":
            return transformers.WavLMConfig(**speech, **stable, num_buckets=16, max_bucket_distance=40)
        case "data2vec-audio":
            return transformers.Data2VecAudioConfig(**{**speech, "num_conv_pos_embeddings": 2}, conv_pos_kernel_size=5)
        case "bert":
            return transformers.BertConfig(**words, pad_token_id=0)
        case "roberta":
            return transformers.RobertaConfig(
                **{**words, "max_position_embeddings": 66}, type_vocab_size=1, pad_token_id=1
            )
        case "distilbert":
            return transformers.DistilBertConfig(
                vocab_size=len(vocabulary()),
                dim=WIDTH,
                n_layers=LAYERS,
                n_heads=4,
                hidden_dim=48,
                max_position_embeddings=64,
                dropout=0.3,
                attention_dropout=0.3,
                pad_token_id=0,
            )
        case "deberta":
            return transformers.DebertaConfig(
                **words, **relative, position_biased_input=False, max_relative_positions=16
            )
        case "deberta-v2":  # with the convolution of v2-xlarge
            return transformers.DebertaV2Config(
                **words,
                **relative,
                position_biased_input=True,
                max_relative_positions=16,
                conv_kernel_size=3,
                conv_act="gelu",
            )
        case "deberta-v3":
            return transformers.DebertaV2Config(
                **words,
                **relative,
                position_biased_input=False,
                position_buckets=8,
                share_att_key=True,
                norm_rel_ebd="layer_norm",
            )
    raise ValueError(name)


def vocabulary(pad_first: bool = True) -> list[str]:
    special = ["[PAD]", "[CLS]"] if pad_first else ["[CLS]", "[PAD]"]
    return [*special, "[SEP]", "[UNK]", *sorted(set(WORDS))]


def tokenizer(name: str) -> Any:
    """A tokenizer of whole words between two marks; like RoBERTa's, that of "roberta" has its pad at id 1."""
    from transformers import PreTrainedTokenizerFast

    ids = {word: number for number, word in enumerate(vocabulary(pad_first=name != "roberta"))}
    rules = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    rules.normalizer = normalizers.Lowercase()
    rules.pre_tokenizer = pre_tokenizers.Whitespace()
    rules.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(mark, ids[mark]) for mark in ("[CLS]", "[SEP]")]
    )
    marks = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_object=rules, model_max_length=64, **marks)


@torch.no_grad()
def reference(folder: Path | str, item: Any, layers: int | None = None) -> torch.Tensor:
    """The last hidden state (T, D) of one utterance by transformers alone, without dropout.

    Whisper's own forward insists on 30 s; its parts are run one after the other on the clip's own length instead.
    With `layers`, what that layer gives; for Whisper with the final norm on it.
    """
    model, processor = theirs(str(folder))
    if isinstance(item, np.ndarray) and model.config.model_type == "whisper":
        return model.encoder.layer_norm(
            whisper_states(model.encoder, processor, item)[-1 if layers is None else layers]
        )[0]
    return hidden_states(folder, item)[-1 if layers is None else layers]


@torch.no_grad()
def hidden_states(folder: Path | str, item: Any) -> torch.Tensor:
    """What the embeddings and every layer give of one utterance, by transformers alone: (layers + 1, T, D).

    The last is the last hidden state, with the final norm on it where the family has one.
    """
    model, processor = theirs(str(folder))
    if isinstance(item, str):
        tokens = processor(item, return_tensors="pt")
        tokens = {name: tokens[name] for name in ("input_ids", "attention_mask")}
        return torch.cat(model(**tokens, output_hidden_states=True).hidden_states)
    if model.config.model_type == "whisper":
        *lower, last = whisper_states(model.encoder, processor, item)
        return torch.cat([*lower, model.encoder.layer_norm(last)])
    samples = processor(item, sampling_rate=RATE, return_tensors="pt").input_values
    out = model(samples, output_hidden_states=True)
    return torch.cat([*out.hidden_states[:-1], out.last_hidden_state])  # its own last one may lack the final norm


def whisper_states(encoder: Any, processor: Any, item: np.ndarray) -> list[torch.Tensor]:
    mel = processor(item, sampling_rate=RATE, return_tensors="pt", padding="longest").input_features
    x = functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(mel)))).transpose(1, 2)
    states = [x + encoder.embed_positions.weight[: x.shape[1]]]
    for layer in encoder.layers:
        states.append(hidden_state(layer(states[-1], None)))
    return states


@cache
def theirs(folder: str) -> tuple[Any, Any]:
    """Model and extractor or tokenizer of a folder, as transformers loads them."""
    from transformers import AutoFeatureExtractor, AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    speaks = (Path(folder) / "preprocessor_config.json").exists()
    return model, (AutoFeatureExtractor if speaks else AutoTokenizer).from_pretrained(folder)


def edit_json(path: Path, **changes: Any) -> None:
    """Change entries of a JSON file in place."""
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
