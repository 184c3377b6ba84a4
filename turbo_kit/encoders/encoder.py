"""What every encoder is made of: a frozen trunk, a stem that all passes share, a head that runs once for each pass."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from turbo_kit.config import EncoderConfig, InputError
from turbo_kit.encoders.backbone import Backbone
from turbo_kit.encoders.light_head import LayerMix, LightHead
from turbo_kit.encoders.pooling import AttentivePooling

# Part of every fingerprint: raise it whenever the code below, or an adapter, changes what a trunk returns.
TRUNK_VERSION = "1"
# On a GPU the trunk runs in padded batches of this many utterances. On a CPU it runs one at a time: no padding is
# computed, which is as quick there, and a result then does not depend on its batch even in its last bit.
TRUNK_BATCH = 16


class TrunkOutput(NamedTuple):
    """What a trunk hands on: `sequence` (B, T, D) float, (B, T, layers + 1, D) where a learned mix of all hidden states
    follows, or (B, T) long token ids where the trunk of a text encoder is empty; and `mask` (B, T) bool, True where
    there is something real. Padded positions of `sequence` hold nothing."""

    sequence: Tensor
    mask: Tensor


class EncoderOutput(NamedTuple):
    """What an encoder returns: `sequence` (passes, B, T, D), zero where padded; `mask` (B, T) bool, True where real;
    `pooled` (passes, B, D), one vector of the real positions: their mean, or what `AttentivePooling` makes of them."""

    sequence: Tensor
    mask: Tensor
    pooled: Tensor


class Encoder(nn.Module):
    """A pretrained encoder as frozen trunk, shared stem and per-pass head.

    Args:
        backbone: the pretrained model behind its family's adapter.
        config: how it is divided. `trainable_layers` 0 trains a light head on the frozen encoder; k the top k
            transformer layers and the final norm; -1 all layers and the embeddings (audio: all above the convolutions
            or the mel front end). Of these only the top `view_depth` run once for each pass; those below run once,
            with one dropout mask for all passes.
        dropout: hidden and attention dropout of stem, head and light head. 0 switches every dropout off; otherwise
            activation dropout and the like stay as the model's config has them.

    Raises:
        InputError: `trainable_layers` or `view_depth` asks for layers that do not exist.
    """

    def __init__(self, backbone: Backbone, config: EncoderConfig = EncoderConfig(), dropout: float = 0.1) -> None:  # noqa: B008 (frozen)
        super().__init__()
        count = len(backbone.layers)
        trained, run_for_each_pass = _layers_trained(backbone, config)
        self.backbone = backbone
        self.modality = backbone.modality
        self._trains_embedding = config.trainable_layers == -1
        self._trunk_layers = count - trained
        self._shared_layers = count - run_for_each_pass  # trunk and stem
        self._mixes_layers = config.layer_mix
        frame_rate = backbone.frames_per_second if trained == 0 else None
        self._frames_pooled = 1 if frame_rate is None else max(1, round(frame_rate / 6))
        self.light_head: LightHead | None = None
        self.width = backbone.width
        if trained == 0:
            states = count + 1 if config.layer_mix else None
            self.light_head = LightHead(backbone.width, config.head_width, config.head_layers, dropout, states)
            self.width = config.head_width
        self.pooling = AttentivePooling(self.width) if config.pooling == "attentive" else None
        self._trained_modules = self._select_trained()
        for parameter in backbone.parameters():
            parameter.requires_grad_(False)
        for module in self._trained_modules:
            module.requires_grad_(True)
        self.fingerprint = self._compute_fingerprint()
        self.train(self.training)

    def _select_trained(self) -> list[nn.Module]:
        if self.light_head is not None:
            return []
        indices = range(self._trunk_layers, len(self.backbone.layers))
        modules = [module for index in indices for module in self.backbone.layer_modules(index)]
        if (norm := self.backbone.final_norm()) is not None:
            modules.append(norm)
        if self._trains_embedding:
            modules += self.backbone.embedding_modules()
        return modules

    def train(self, mode: bool = True) -> Encoder:
        """Set training mode; the trunk, and any batch norm, stays in evaluation mode whatever is asked for."""
        super().train(mode)
        self.backbone.eval()
        if mode:
            for module in [*self._trained_modules, self.backbone.embedding_dropout]:
                module.train()
            for module in self.backbone.modules():
                if isinstance(module, nn.BatchNorm1d):  # its batch statistics would see neighbours and padding
                    module.eval()
        return self

    @torch.no_grad()
    def trunk(self, items: Sequence[np.ndarray] | Sequence[str], names: Sequence[str] | None = None) -> TrunkOutput:
        """Run the frozen part: no dropout, no gradient, float32, whatever mode the encoder is in.

        Args:
            items: B clips, each 1-D float32 at 16 kHz, or B transcripts.
            names: what an error calls each of them; by default it counts them.

        Returns:
            Hidden, padded to the longest of these items; for trainable_layers=0 with about six frames a second.

        Raises:
            InputError: no item, or one that cannot be encoded; the message says which and why.
        """
        if len(items) == 0:
            raise InputError("no utterance to encode: found an empty list, expected at least one clip or transcript")
        device = next(self.backbone.parameters()).device
        with torch.autocast(device.type, enabled=False), _without_tf32():
            names = names or [f"utterance {number} of {len(items)}" for number in range(1, len(items) + 1)]
            states = [self._front(item, name) for item, name in zip(items, names, strict=True)]
            if not self._trains_embedding:
                states = self._run_frozen(states, 1 if device.type == "cpu" else TRUNK_BATCH)
        return _pad(states)

    def _front(self, item: object, name: str) -> Tensor:
        try:
            return self.backbone.front(item)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error

    def _run_frozen(self, states: list[Tensor], batch: int) -> list[Tensor]:
        order = sorted(range(len(states)), key=lambda number: len(states[number]))
        for start in range(0, len(order), batch):
            chunk = order[start : start + batch]
            x, mask = _pad([states[number] for number in chunk])
            x = self.backbone.embed(x, mask)
            if self._mixes_layers:
                *lower, last = self._layer_by_layer(x, mask, range(self._trunk_layers))
                x = torch.stack([*lower, self._normed(last)], dim=2)
            else:
                x = self._run_layers(x, mask, range(self._trunk_layers))
                x = x if self.light_head is None else self._normed(x)
            for row, number in zip(x, chunk, strict=True):
                states[number] = pool_frames(row[: len(states[number])], self._frames_pooled)
        return states

    def _run_layers(self, x: Tensor, mask: Tensor, indices: range) -> Tensor:
        for state in self._layer_by_layer(x, mask, indices):
            x = state
        return x

    def _layer_by_layer(self, x: Tensor, mask: Tensor, indices: range) -> Iterator[Tensor]:
        """What comes in, then what each of the layers makes of it."""
        yield x
        context = self.backbone.context(x, mask) if len(indices) else None
        for index in indices:
            x = self.backbone.layer(index, x, context)
            yield x

    def _normed(self, x: Tensor) -> Tensor:
        norm = self.backbone.final_norm()
        return x if norm is None else norm(x)

    @property
    def layer_weights(self) -> Tensor | None:
        """What each hidden state weighs in the learned mix, (layers + 1,), the embeddings first; None without a mix."""
        mix = None if self.light_head is None else self.light_head.mix
        return mix.weights.detach() if isinstance(mix, LayerMix) else None

    def forward(self, hidden: TrunkOutput, passes: int = 1) -> EncoderOutput:
        """Run the stem once and the head once for each pass.

        Args:
            hidden: what `trunk` returned for B utterances, or rows of it.
            passes: how often the head runs, each time with its own dropout masks.

        Returns:
            Encoded with a leading dimension of `passes`.
        """
        mask, folded = hidden.mask, hidden.mask.repeat(passes, 1)
        if self.light_head is not None:
            x = self.light_head(hidden.sequence, mask, passes)
        else:
            x = self._enter(hidden.sequence, mask, passes)
            x = self._normed(self._run_layers(x, folded, range(self._shared_layers, len(self.backbone.layers))))
        x = x * folded[:, :, None]
        pooled = x.sum(1) / folded.sum(1, keepdim=True) if self.pooling is None else self.pooling(x, folded)
        return EncoderOutput(x.unflatten(0, (passes, -1)), mask, pooled.unflatten(0, (passes, -1)))

    def _enter(self, x: Tensor, mask: Tensor, passes: int) -> Tensor:
        """Everything that the passes share, then one copy for each pass: (passes * B, T, D)."""
        has_stem = self._shared_layers > 0
        if self._trains_embedding:
            if not has_stem and self.backbone.embedding_draws:
                x, mask, passes = _fold(x, passes), mask.repeat(passes, 1), 1
            x = self.backbone.embed(x, mask)
            if not has_stem:  # up to here nothing was random, so it ran once for all passes
                x, passes = _fold(x, passes), 1
            x = self.backbone.embedding_dropout(x)
        return _fold(self._run_layers(x, mask, range(self._trunk_layers, self._shared_layers)), passes)

    def _compute_fingerprint(self) -> str:
        states = [module.state_dict(keep_vars=True) for module in self._trained_modules]
        trained = {id(tensor) for state in states for tensor in state.values()}
        ends = "all layers" if self._mixes_layers else f"layer {self._trunk_layers}"
        facts = {
            "version": TRUNK_VERSION,
            "family": type(self.backbone).__name__,
            "config": _lasting(self.backbone.settings),
            "processing": self.backbone.processing(),
            "ends": "front" if self._trains_embedding else ends,
            "final norm": self.light_head is not None,
            "frames pooled": self._frames_pooled,
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.backbone.state_dict(keep_vars=True).items()):
            if id(tensor) not in trained:
                digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def _layers_trained(backbone: Backbone, config: EncoderConfig) -> tuple[int, int]:
    """How many of a model's top layers are trained, and how many of these run once for each pass."""
    count, layers, view_depth = len(backbone.layers), config.trainable_layers, config.view_depth
    if not -1 <= layers <= count:
        raise InputError(
            f"trainable_layers={layers}: this {backbone.modality} encoder has {count} transformer "
            f"layers; give 0 (light head), 1 to {count} (the top layers) or -1 (all layers and the embeddings)"
        )
    trained = count if layers == -1 else layers
    if view_depth is not None and not (trained > 0 and 0 <= view_depth <= trained):
        raise InputError(
            f"view_depth={view_depth}: {trained} layers are trainable (trainable_layers={layers}); "
            f"give at most that many, or None to run all of them once for each pass"
        )
    return trained, trained if view_depth is None else view_depth


@contextmanager
def _without_tf32() -> Iterator[None]:
    """A GPU's convolutions in float32, which by default they round to TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def pool_frames(x: Tensor, factor: int) -> Tensor:
    """Average every `factor` frames, in the last group those that are left: (T, ...) -> (ceil(T / factor), ...)."""
    if factor == 1:
        return x
    groups, flat = -(-len(x) // factor), x.flatten(1)
    sums = nn.functional.pad(flat, (0, 0, 0, groups * factor - len(x))).view(groups, factor, -1).sum(1)
    sizes = torch.full((groups, 1), float(factor), device=x.device)
    sizes[-1] = len(x) - (groups - 1) * factor
    return (sums / sizes).view(groups, *x.shape[1:])


def _pad(states: Sequence[Tensor]) -> TrunkOutput:
    lengths = torch.tensor([len(state) for state in states], device=states[0].device)
    sequence = pad_sequence(list(states), batch_first=True)
    return TrunkOutput(sequence, torch.arange(sequence.shape[1], device=lengths.device) < lengths[:, None])


def _fold(x: Tensor, passes: int) -> Tensor:
    return x if passes == 1 else x.repeat(passes, *[1] * (x.dim() - 1))


def _lasting(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without what cannot change a trunk's output: dropout, names, versions, training-time masking."""
    skipped = re.compile("^_|drop|architectures|dtype|version|mask_|spec_augment|layers")
    return {key: value for key, value in settings.items() if not skipped.search(key)}
