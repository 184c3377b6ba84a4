"""Pretrained encoders as frozen trunk, shared stem and per-pass head, with all families behind one door."""

from turbo_kit.encoders.base import Encoded, Encoder, Hidden
from turbo_kit.encoders.build import FAMILIES, build_encoder

__all__ = ["FAMILIES", "Encoded", "Encoder", "Hidden", "build_encoder"]
