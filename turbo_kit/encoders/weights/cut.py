"""Cut the embedded encoders out of Whisper tiny.en and all-MiniLM-L6-v2.

    python turbo_kit/encoders/weights/cut.py WHISPER_FOLDER MINILM_FOLDER

Both folders are in the transformers layout. What is kept of the vocabulary: the five special tokens, every single
character (so that any text in a kept script still becomes tokens), the words and word pieces that BERT's list, which
is ordered by frequency, names first, and whatever the sentences of the embedded corpora need.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
AUDIO_LAYERS = 2
TEXT_LAYERS = 3
TOKENS = 8_000
TEXT_POSITIONS = 256
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def cut_audio(source: Path, target: Path, layers: int) -> None:
    """Keep the convolutions, the positions, the first layers and the final norm of a Whisper encoder, in fp16."""
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    of_encoder = {r"^(?:model\.)?encoder\.": ""}
    whole: Any = WhisperEncoder.from_pretrained(source, key_mapping=of_encoder, dtype=torch.float16)
    del whole.layers[layers:]
    whole.config.encoder_layers = whole.config.num_hidden_layers = layers
    whole.config.decoder_layers = 0  # there is no decoder
    write(whole, target)
    (target / "preprocessor_config.json").write_text((source / "preprocessor_config.json").read_text("utf-8"), "utf-8")


def cut_text(source: Path, target: Path, layers: int, tokens: int, sentences: Iterable[str]) -> None:
    """Keep the first layers of a BERT and a pruned WordPiece vocabulary, in fp16."""
    from transformers import BertModel

    tokenizer = json.loads((source / "tokenizer.json").read_text("utf-8"))
    kept = choose_tokens(source, tokenizer["model"]["vocab"], tokens, sentences)
    whole: Any = BertModel.from_pretrained(source, dtype=torch.float16, add_pooling_layer=False)
    del whole.encoder.layer[layers:]
    rows = torch.tensor([tokenizer["model"]["vocab"][token] for token in kept])
    embeddings = whole.embeddings
    embeddings.word_embeddings = torch.nn.Embedding.from_pretrained(embeddings.word_embeddings.weight[rows])
    embeddings.position_embeddings = torch.nn.Embedding.from_pretrained(
        embeddings.position_embeddings.weight[:TEXT_POSITIONS]
    )
    whole.config.num_hidden_layers = layers
    whole.config.vocab_size = len(kept)
    whole.config.max_position_embeddings = TEXT_POSITIONS
    write(whole, target)
    ids = {token: number for number, token in enumerate(kept)}
    renumber(tokenizer, ids)
    (target / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), "utf-8")
    settings = json.loads((source / "tokenizer_config.json").read_text("utf-8"))
    kind = {"tokenizer_class": "BertTokenizer", "model_max_length": TEXT_POSITIONS}
    special = {key: value for key, value in settings.items() if key.endswith("_token")}
    (target / "tokenizer_config.json").write_text(json.dumps({**kind, **special}, indent=2), "utf-8")


def write(model: Any, target: Path) -> None:
    """Write config.json and model.safetensors, the weights under the names that the model's own class loads."""
    target.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(target)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    (target / "model.safetensors").chmod(0o644)  # safetensors writes for the owner alone


def choose_tokens(source: Path, vocabulary: dict[str, int], count: int, sentences: Iterable[str]) -> list[str]:
    """The tokens to keep, in their old order: `count` of the most frequent, and those that the sentences need."""
    from tokenizers import Tokenizer

    needed = set(SPECIAL)
    whole = Tokenizer.from_file(str(source / "tokenizer.json"))
    for sentence in sentences:
        needed.update(whole.encode(sentence).tokens)
    by_frequency = sorted(vocabulary, key=lambda token: vocabulary[token])
    needed.update(token for token in by_frequency if len(token.removeprefix("##")) == 1 and token.isascii())
    for token in by_frequency:
        if len(needed) >= count:
            break
        if token.isascii() and not token.startswith("["):  # leaves out [unused] tokens and rare scripts
            needed.add(token)
    return [token for token in by_frequency if token in needed]


def renumber(tokenizer: dict[str, Any], ids: dict[str, int]) -> None:
    """Give every token of a tokenizer.json its new id; padding and truncation are left to whoever calls it."""
    tokenizer["model"]["vocab"] = ids
    tokenizer["padding"] = tokenizer["truncation"] = None
    for added in tokenizer["added_tokens"]:
        added["id"] = ids[added["content"]]
    for token, entry in tokenizer["post_processor"]["special_tokens"].items():
        entry["ids"] = [ids[token]]


def corpus_sentences() -> list[str]:
    """The transcripts of the embedded corpora, from their manifests."""
    manifests = sorted((HERE.parents[1] / "corpora" / "demo").glob("*/*.jsonl"))
    return [json.loads(line)["text"] for path in manifests for line in path.read_text("utf-8").splitlines() if line]


def source_parser(description: str | None) -> argparse.ArgumentParser:
    """A command line that names the two source folders; transformers is told to be quiet about what is left out."""
    from transformers.utils import logging

    logging.set_verbosity_error()  # the decoder and the pooler, which are left out, are not news
    logging.disable_progress_bar()
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("whisper", type=Path)
    parser.add_argument("minilm", type=Path)
    return parser


def main() -> None:
    """Read the two source folders from the command line and write demo-audio and demo-text beside this file."""
    parser = source_parser(__doc__)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--audio-layers", type=int, default=AUDIO_LAYERS)
    parser.add_argument("--text-layers", type=int, default=TEXT_LAYERS)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    chosen = parser.parse_args()
    cut_audio(chosen.whisper, chosen.out / "demo-audio", chosen.audio_layers)
    cut_text(chosen.minilm, chosen.out / "demo-text", chosen.text_layers, chosen.tokens, corpus_sentences())


if __name__ == "__main__":
    main()
