"""Encoders with random weights, in the folders that the kit and transformers read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

SMALL_CONVOLUTIONS = {"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}


def save_audio(folder: Path, **shape: Any) -> Wav2Vec2Model:
    """A wav2vec 2.0 of that shape (wav2vec2-base's by itself), without what only pretraining and its script use."""
    model = Wav2Vec2Model(Wav2Vec2Config(layerdrop=0.0, mask_time_prob=0.0, mask_feature_prob=0.0, **shape))
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return model


def save_text(folder: Path, words: Sequence[str] = (), **shape: Any) -> None:
    """A BERT of that shape that knows these words."""
    known = {word: number for number, word in enumerate(("[PAD]", "[UNK]", *words))}
    BertModel(BertConfig(**shape, vocab_size=len(known)), add_pooling_layer=False).save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel(known, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(folder)
