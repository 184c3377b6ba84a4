"""What all tests share: a small corpus of tones that can be learnt, a feature cache of its own, and quick settings."""

import gc
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before NumPy and PyTorch are loaded: tests run side by side, each in one thread, and so do the processes they start.
# Numba's number counts for all: after a UMAP, PyTorch computes with as many threads as Numba has.
os.environ.update({f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")})

import numpy as np
import pytest
import soundfile

from turbo_kit import Corpus, RunConfig, load_corpus
from turbo_kit.figures import umap_layout

SLOW = ("browser", "notebooks", "processes")
"""Folders of tests that `make test` leaves to `make test-all`; elsewhere a test may be marked slow by itself."""

RELATIVES = {"hubert-base", "hubert-large", "wavlm-large", "roberta", "deberta-v3"}
"""Tiny models that share their adapter with another tiny model. Tests with one of them as a parameter are slow."""

PITCH = {"high": 600.0, "low": 150.0, "middle": 300.0}
WORD = {"high": "up", "low": "down", "middle": "along"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail where a test is skipped, or a slow folder has none")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where the slow tests are left out, their folders are not read: what they import takes seconds to load."""
    return True if config.option.markexpr == "not slow" and collection_path.name in SLOW else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        given = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if item.path.parent.name in SLOW or any(isinstance(one, str) and one in RELATIVES for one in given):
            item.add_marker("slow")


def pytest_collection_finish() -> None:
    """Garbage is now looked for in what tests make, not in every module: statsmodels has it done at each call."""
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not session.config.getoption("--no-skips") or reporter is None:
        return
    ran = {Path(report.nodeid.split("::")[0]).parent.name for report in reporter.stats.get("passed", [])}
    faults = [f"skipped: {report.nodeid}" for report in reporter.stats.get("skipped", [])]
    faults += [f"no test of tests/{folder} has passed" for folder in SLOW if folder not in ran]
    if faults:
        reporter.write_line("\n" + "\n".join(faults), red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def feature_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Features go to a folder of the test run, one for all its workers, never to the user's cache."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TURBO_KIT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def maps_by_components() -> Iterator[None]:
    """Lays maps out by principal components: UMAP compiles for ten seconds. `test_umap_layout.py` tests UMAP itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(umap_layout, "MIN_CLIPS", math.inf)
        yield


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of 48 short tones: 4 groups x 2 speakers x 6 clips, 3 classes heard in pitch and read in words."""
    folder = tmp_path_factory.mktemp("tones")
    random = np.random.default_rng(0)
    rows = []
    for number in range(48):
        speaker, label = number // 6, sorted(PITCH)[number % 3]
        samples = np.sin(2 * np.pi * PITCH[label] * np.arange(random.integers(4000, 9000)) / 16000)
        noise = 0.01 * random.standard_normal(len(samples))
        soundfile.write(folder / f"{number:02d}.wav", 0.2 * samples + noise, 16000)
        group = speaker // 2
        rows.append(
            {
                "id": f"clip{number:02d}",
                "path": f"{number:02d}.wav",
                "text": f"the {WORD[label]} tone number {number}",
                "label": label,
                "speaker": f"speaker{speaker}",
                "group": f"group{group}",
                "template": f"group{group}-{label}",
                "seconds": len(samples) / 16000,
            }
        )
    return write_manifest(folder / "manifest.jsonl", rows)


@pytest.fixture(scope="session")
def tones_corpus(tones: Path) -> Corpus:
    return load_corpus(f"manifest:{tones}")


@pytest.fixture
def manifest_of(tones: Path) -> Callable[..., Path]:
    """Writes a copy of the manifest after a change to its rows, beside the clips."""

    def write(change: Callable[[list[dict[str, Any]]], object], name: str) -> Path:
        rows = [json.loads(line) for line in tones.read_text().splitlines()]
        change(rows)
        return write_manifest(tones.parent / name, rows)

    return write


@pytest.fixture(scope="session")
def quick(tones: Path) -> Callable[..., RunConfig]:
    """Makes configs of runs that take a second or two."""

    def config(**changes: Any) -> RunConfig:
        small: dict[str, Any] = {"corpus": f"manifest:{tones}", "epochs": 3, "batch_size": 8, "head_width": 32}
        return RunConfig(**{**small, "projection": 16, "device": "cpu", **changes})

    return config


def write_manifest(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
