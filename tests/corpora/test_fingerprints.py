"""Fingerprints of audio files are remembered by size and time of change, and never trusted beyond that."""

import os
from pathlib import Path

import pytest

from turbo_kit import InputError
from turbo_kit.corpora import fingerprints
from turbo_kit.corpora.fingerprints import audio_fingerprint, audio_fingerprints


@pytest.fixture
def new_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Forgets what this process knows; the folder is a cache of the test's own."""
    monkeypatch.setenv("TURBO_KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fingerprints, "_known", {})
    return tmp_path


def test_another_process_reads_no_file_again_that_has_not_changed(
    new_process: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [new_process / name for name in ("a.wav", "b.wav")]
    for path in paths:
        path.write_bytes(path.name.encode())
    found = audio_fingerprints(paths)
    assert len(set(found)) == 2
    monkeypatch.setattr(fingerprints, "_known", {})
    monkeypatch.setattr(fingerprints, "_sha256", lambda path: pytest.fail(f"{path} is read again"))
    assert audio_fingerprints(paths) == found


def test_a_file_that_changes_is_read_again(new_process: Path) -> None:
    path = new_process / "a.wav"
    path.write_bytes(b"one")
    first = audio_fingerprint(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert audio_fingerprint(path) != first


def test_a_broken_cache_costs_time_and_no_result(new_process: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = new_process / "a.wav"
    path.write_bytes(b"one")
    first = audio_fingerprint(path)
    (new_process / "cache" / "fingerprints.sqlite").write_bytes(b"no database at all" * 100)
    monkeypatch.setattr(fingerprints, "_known", {})
    assert audio_fingerprint(path) == first


def test_a_missing_file_is_named(new_process: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.wav: the audio file cannot be read"):
        audio_fingerprint(new_process / "gone.wav")
