import pytest
import torch

from turbo_kit import TurboModel


@pytest.fixture(scope="session")
def clips(tones_corpus):
    return tones_corpus.fold(0).train


@pytest.fixture
def model(quick, clips):
    """An untrained model, the same each time."""
    torch.manual_seed(0)
    return TurboModel.from_config(quick(), clips.classes)
