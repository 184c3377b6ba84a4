"""Audio families: Whisper, wav2vec 2.0, HuBERT, WavLM and data2vec-audio.

Every front end (mel or waveform convolutions, with their norms) runs clip by clip, on the clip's own length: no padding
is computed and no statistic can see a neighbour.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from turbo_kit.config import InputError
from turbo_kit.corpora.decoding import SAMPLE_RATE
from turbo_kit.encoders.backbone import Backbone, hidden_state
from turbo_kit.encoders.fast_dropout import Dropout


class AudioBackbone(Backbone):
    """What all audio families share: checks of the samples, and the rate of their positions."""

    modality = "audio"
    shortest: int  # samples
    stride: int  # samples from one position to the next

    def __init__(self, model: Any, extractor: dict[str, Any]) -> None:
        super().__init__()
        if (rate := extractor.get("sampling_rate", SAMPLE_RATE)) != SAMPLE_RATE:
            raise InputError(f"this encoder wants {rate} samples a second; the kit works at {SAMPLE_RATE}: use another")
        self.model = model
        self.extractor = extractor

    @property
    def frames_per_second(self) -> float:
        return SAMPLE_RATE / self.stride

    def processing(self) -> str:
        return json.dumps(self.extractor, sort_keys=True, default=str)

    def check(self, clip: object) -> Tensor:
        """The clip as a float32 tensor on the model's device, or an error that says what is wrong with it."""
        if not isinstance(clip, np.ndarray) or clip.ndim != 1 or not np.issubdtype(clip.dtype, np.floating):
            found = f"{clip.dtype} array of shape {clip.shape}" if isinstance(clip, np.ndarray) else type(clip).__name__
            raise InputError(f"found {found}, expected one channel of {SAMPLE_RATE} Hz samples: a 1-D float array")
        if len(clip) < self.shortest:
            raise InputError(
                f"found {len(clip)} samples ({1000 * len(clip) / SAMPLE_RATE:.1f} ms), this encoder needs at least "
                f"{self.shortest} ({1000 * self.shortest / SAMPLE_RATE:.1f} ms): leave the clip out"
            )
        if not np.isfinite(clip).all():
            raise InputError("found samples that are NaN or infinite: repair the clip or leave it out")
        return torch.from_numpy(np.ascontiguousarray(clip, dtype=np.float32)).to(next(self.model.parameters()).device)


class Whisper(AudioBackbone):
    """The encoder of Whisper, on each clip's own length instead of 30 padded seconds."""

    dropout_names = ("dropout", "attention_dropout")
    other_dropout_names = ("activation_dropout",)
    mel_filters: Tensor
    window: Tensor

    def __init__(self, model: Any, extractor: dict[str, Any]) -> None:
        super().__init__(model, extractor)
        from transformers import WhisperFeatureExtractor

        settings = {**extractor, "feature_size": model.config.num_mel_bins}
        mel: Any = WhisperFeatureExtractor(**settings)
        self.hop, self.n_fft = int(mel.hop_length), int(mel.n_fft)
        self.shortest, self.stride = self.n_fft, 2 * self.hop
        self.layers = model.layers
        self.embedding_dropout = Dropout(model.config.dropout)
        filters = torch.from_numpy(mel.mel_filters.T.astype(np.float32)).contiguous()
        self.register_buffer("mel_filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)

    def front(self, item: Any) -> Tensor:
        clip = self.check(item)
        most = self.model.config.max_source_positions * self.stride
        if len(clip) > most:
            raise InputError(
                f"found {len(clip) / SAMPLE_RATE:.1f} s, this Whisper takes at most {most / SAMPLE_RATE:.1f} s "
                f"({self.model.config.max_source_positions} positions): cut the clip, or lower max_seconds"
            )
        x = F.gelu(self.model.conv1(self.log_mel(clip)[None]))
        return F.gelu(self.model.conv2(x))[0].T.contiguous()

    def log_mel(self, clip: Tensor) -> Tensor:
        """Whisper's log-mel features (bins, T) of one clip, scaled by the clip's own maximum."""
        spectrum = torch.stft(clip, self.n_fft, self.hop, window=self.window, return_complex=True)
        power = spectrum[:, :-1].abs().square().contiguous()
        log = (self.mel_filters @ power).clamp(min=1e-10).log10()
        return (torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0

    def embed(self, front: Tensor, mask: Tensor) -> Tensor:
        positions: Tensor = self.model.embed_positions.weight
        return front + positions[: front.shape[1]]

    def embedding_modules(self) -> list[nn.Module]:
        return []  # Whisper's positions are fixed sinusoids

    def layer(self, index: int, x: Tensor, context: Any) -> Tensor:
        return hidden_state(self.layers[index](x, context))

    def final_norm(self) -> nn.Module:
        return self.model.layer_norm  # type: ignore[no-any-return]


class Wav2Vec2(AudioBackbone):
    """wav2vec 2.0 and HuBERT, in both layouts: norm after each sublayer (base) or before it (large)."""

    dropout_names = ("hidden_dropout", "attention_dropout")
    other_dropout_names = ("activation_dropout", "feat_proj_dropout")

    def __init__(self, model: Any, extractor: dict[str, Any]) -> None:
        super().__init__(model, extractor)
        config = model.config
        self.normalizes = bool(extractor.get("do_normalize", True))
        self.stable = bool(getattr(config, "do_stable_layer_norm", False))
        self.stride = int(math.prod(config.conv_stride))
        self.shortest = 1
        for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
            self.shortest = (self.shortest - 1) * stride + kernel
        self.layers = model.encoder.layers
        self.embedding_dropout = model.encoder.dropout
        self.embedding_draws = config.feat_proj_dropout > 0

    def front(self, item: Any) -> Tensor:
        clip = self.check(item)
        if self.normalizes:
            clip = (clip - clip.mean()) / torch.sqrt(clip.var(correction=0) + 1e-7)
        return self.model.feature_extractor(clip[None])[0].T.contiguous()  # type: ignore[no-any-return]

    def embed(self, front: Tensor, mask: Tensor) -> Tensor:
        projected = self.model.feature_projection(front)
        real = mask[:, :, None]
        x = (projected[0] if isinstance(projected, tuple) else projected) * real
        x = x + self.positions(x, real)
        return x if self.stable else self.model.encoder.layer_norm(x)  # type: ignore[no-any-return]

    def positions(self, x: Tensor, real: Tensor) -> Tensor:
        """The convolutional positions of (B, T, D), with nothing but zeros beyond each clip's end."""
        convolution = self.model.encoder.pos_conv_embed
        if getattr(convolution, "batch_norm", None) is not None:
            x = convolution.batch_norm(x.transpose(1, 2)).transpose(1, 2) * real
        padded = convolution.padding(convolution.conv(x.transpose(1, 2)))
        return convolution.activation(padded).transpose(1, 2)  # type: ignore[no-any-return]

    def embedding_modules(self) -> list[nn.Module]:
        encoder = self.model.encoder
        modules = [self.model.feature_projection, encoder.pos_conv_embed]
        return modules if self.stable else [*modules, encoder.layer_norm]

    def layer(self, index: int, x: Tensor, context: Any) -> Tensor:
        return hidden_state(self.layers[index](x, attention_mask=context))

    def final_norm(self) -> nn.Module | None:
        return self.model.encoder.layer_norm if self.stable else None


class Data2VecAudio(Wav2Vec2):
    """data2vec-audio: wav2vec 2.0 with a stack of convolutions for the positions."""

    def positions(self, x: Tensor, real: Tensor) -> Tensor:
        for convolution in self.model.encoder.pos_conv_embed.layers:
            x = convolution((x * real).transpose(1, 2)).transpose(1, 2)
        return x


class WavLM(Wav2Vec2):
    """WavLM: wav2vec 2.0 whose layers share relative positions that layer 0 holds."""

    def context(self, x: Tensor, mask: Tensor) -> Any:
        first: Any = self.layers[0].attention
        bias = first.compute_bias(x.shape[1], x.shape[1])  # (heads, T, T)
        return mask, bias.repeat(len(x), 1, 1)

    def layer(self, index: int, x: Tensor, context: Any) -> Tensor:
        mask, bias = context
        return hidden_state(self.layers[index](x, attention_mask=mask, position_bias=bias))
