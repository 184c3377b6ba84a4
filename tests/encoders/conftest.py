import os
import shutil
from pathlib import Path

import pytest
import tiny_models


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Folder of the tiny model of every family, by name."""
    root = tmp_path_factory.mktemp("models")
    return {name: tiny_models.save(name, root / name) for name in tiny_models.ALL}


@pytest.fixture
def copy_of(folders, tmp_path):
    """Gives a copy of a tiny model's folder that a test may change."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(folders[name], tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"))

    return copy


@pytest.fixture(scope="session")
def real_models():
    """The folder with whisper-tiny.en and all-MiniLM-L6-v2, where someone has it."""
    folder = os.environ.get("TURBO_KIT_REAL_MODELS")
    if not folder:
        pytest.skip("set TURBO_KIT_REAL_MODELS to a folder with whisper-tiny.en and all-MiniLM-L6-v2 to run this")
    return Path(folder)
