"""Text families: BERT (MiniLM too), RoBERTa, DistilBERT, DeBERTa and DeBERTa-v2/v3."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from turbo_kit.config import InputError
from turbo_kit.encoders.backbone import Backbone, hidden_state

logger = logging.getLogger(__name__)


class Bert(Backbone):
    """BERT and RoBERTa: token, position and type embeddings, then layers with the norm after each sublayer."""

    modality = "text"
    dropout_names = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    path_of_layers = "encoder.layer"

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        # The embeddings hold their dropout; it is taken out of them so that all before it can run once for all passes.
        self.embedding_dropout = model.embeddings.dropout
        model.embeddings.dropout = nn.Identity()
        self.layers = model.get_submodule(self.path_of_layers)
        self.longest = min(self.positions(), tokenizer.model_max_length)

    def positions(self) -> int:
        """How many tokens the position embeddings reach."""
        table = self.model.embeddings.position_embeddings
        if table is None:  # DeBERTa without absolute positions: its config's limit
            return int(self.model.config.max_position_embeddings)
        offset = 0 if table.padding_idx is None else table.padding_idx + 1  # RoBERTa counts from behind the pad id
        return int(table.num_embeddings - offset)

    def processing(self) -> str:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        rules = backend.to_str() if backend is not None else repr(sorted(self.tokenizer.get_vocab().items()))
        return f"{rules} {self.longest}"

    def front(self, item: Any) -> Tensor:
        if not isinstance(item, str):
            raise InputError(f"found {type(item).__name__}, expected a transcript: a str")
        if any("\ud800" <= character <= "\udfff" for character in item):
            raise InputError("found half of a surrogate pair, which is no character: correct the transcript")
        ids = self.tokenizer(item, truncation=True, max_length=self.longest)["input_ids"]
        if not ids:
            raise InputError(f"the tokenizer made no token of {item!r}, not even a mark of its start or end")
        if len(ids) == self.longest and len(self.tokenizer(item, verbose=False)["input_ids"]) > self.longest:
            logger.warning("a transcript of %d characters was cut to its first %d tokens", len(item), self.longest)
        return torch.tensor(ids, device=next(self.model.parameters()).device)

    def embed(self, front: Tensor, mask: Tensor) -> Tensor:
        return self.model.embeddings(front.masked_fill(~mask, self.model.config.pad_token_id or 0))  # type: ignore[no-any-return]

    def embedding_modules(self) -> list[nn.Module]:
        return [self.model.embeddings]

    def layer(self, index: int, x: Tensor, context: Any) -> Tensor:
        return hidden_state(self.layers[index](x, context))


class DistilBert(Bert):
    """DistilBERT: BERT without type embeddings, its parts under other names."""

    dropout_names = ("dropout", "attention_dropout")
    path_of_layers = "transformer.layer"


class Deberta(Bert):
    """DeBERTa, DeBERTa-v2 and -v3: attention by content and by relative position, from tables that all layers share."""

    def embed(self, front: Tensor, mask: Tensor) -> Tensor:
        ids = front.masked_fill(~mask, self.model.config.pad_token_id or 0)
        return self.model.embeddings(ids, mask=mask)  # type: ignore[no-any-return]

    def embedding_modules(self) -> list[nn.Module]:
        encoder = self.model.encoder
        shared = [getattr(encoder, name, None) for name in ("rel_embeddings", "LayerNorm")]
        return [self.model.embeddings, *(module for module in shared if module is not None)]

    def context(self, x: Tensor, mask: Tensor) -> Any:
        encoder = self.model.encoder
        real = mask.long()
        return real, encoder.get_attention_mask(real), encoder.get_rel_pos(x), encoder.get_rel_embedding()

    def convolution(self, index: int) -> nn.Module | None:
        """What some DeBERTa-v2 add to layer 0: a convolution of the embeddings."""
        return getattr(self.model.encoder, "conv", None) if index == 0 else None

    def layer(self, index: int, x: Tensor, context: Any) -> Tensor:
        real, attended, relative, table = context
        out = hidden_state(self.layers[index](x, attended, relative_pos=relative, rel_embeddings=table))
        convolution = self.convolution(index)
        return out if convolution is None else convolution(x * real[:, :, None], out, real)

    def layer_modules(self, index: int) -> list[nn.Module]:
        convolution = self.convolution(index)
        return [self.layers[index]] if convolution is None else [self.layers[index], convolution]
