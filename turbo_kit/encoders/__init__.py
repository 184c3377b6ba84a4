"""Pretrained encoders as frozen trunk, shared stem and per-pass head, with all families behind one door."""

from turbo_kit.encoders.build import FAMILIES, build_encoder
from turbo_kit.encoders.encoder import Encoder, EncoderOutput, TrunkOutput

__all__ = ["FAMILIES", "Encoder", "EncoderOutput", "TrunkOutput", "build_encoder"]
