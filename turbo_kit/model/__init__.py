"""The model: encoders, projections and a fusion classifier; its card; and how it runs over many clips."""

from turbo_kit.model.turbo_model import ModelOutput, TurboModel

__all__ = ["ModelOutput", "TurboModel"]
