"""A family of pretrained encoders, cut into the steps that trunk, stem and head are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor, nn


def hidden_state(output: Any) -> Tensor:
    """The hidden states that a layer of transformers gives: by themselves, or first in a tuple, as all did once."""
    return output[0] if isinstance(output, tuple) else output  # type: ignore[no-any-return]


class Backbone(nn.Module, ABC):
    """One family of pretrained encoders, cut into the steps that trunk, stem and head are made of."""

    modality: ClassVar[str]
    dropout_names: ClassVar[tuple[str, ...]]  # the config entries that hold the hidden and attention dropout
    other_dropout_names: ClassVar[tuple[str, ...]] = ()  # left at the family's value, unless dropout is 0

    model: Any
    layers: nn.ModuleList
    embedding_dropout: nn.Dropout
    embedding_draws: bool = False  # True where `embed` itself contains an active dropout
    settings: Mapping[str, Any] = MappingProxyType({})  # config.json as it stands in the model's folder

    @property
    def width(self) -> int:
        """The number of features of every hidden state."""
        return int(self.model.config.hidden_size)

    @property
    def frames_per_second(self) -> float | None:
        """How many positions a second of sound becomes; None for text."""
        return None

    @abstractmethod
    def processing(self) -> str:
        """All that decides how an utterance becomes numbers, as text for the fingerprint."""

    @abstractmethod
    def front(self, item: Any) -> Tensor:
        """The part that is never trained, for one utterance alone: features (T, F), or token ids (T,)."""

    @abstractmethod
    def embed(self, front: Tensor, mask: Tensor) -> Tensor:
        """The state before layer 0 and before `embedding_dropout`: (B, T, D) from (B, T, F) or (B, T)."""

    @abstractmethod
    def embedding_modules(self) -> list[nn.Module]:
        """The modules that `embed` and `context` use besides the layers."""

    def context(self, x: Tensor, mask: Tensor) -> Any:
        """What all layers share for one batch: the attention mask and, in some families, relative positions."""
        return mask[:, None, None, :]  # read by scaled_dot_product_attention: True = may be attended to

    @abstractmethod
    def layer(self, index: int, x: Tensor, context: Any) -> Tensor:
        """Layer `index` applied to (B, T, D)."""

    def layer_modules(self, index: int) -> list[nn.Module]:
        """All that belongs to layer `index` and is trained with it."""
        return [self.layers[index]]

    def final_norm(self) -> nn.Module | None:
        """The norm after the last layer, where the family has one."""
        return None
