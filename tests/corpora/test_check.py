"""What a check of a corpus finds, on tones with faults planted among them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from turbo_kit import load_corpus
from turbo_kit.cli import main
from turbo_kit.corpora import Corpus
from turbo_kit.corpora.check import check_corpus, describe


def with_files(corpus: Corpus, **paths: Path) -> Corpus:
    """The corpus with other files behind some of its clips."""
    return corpus.subset(replace(u, path=paths.get(u.id, u.path)) for u in corpus.utterances)


def write(path: Path, samples: np.ndarray) -> Path:
    soundfile.write(path, samples, 16000)
    return path


@pytest.fixture
def faulty(tones_corpus, tmp_path):
    """One clip without a file, one that is no audio, one that another clip repeats; all three in group 0."""
    (tmp_path / "noise.wav").write_bytes(b"this is no audio file")
    clips = {"clip01": tmp_path / "gone.wav", "clip02": tmp_path / "noise.wav"}
    return with_files(tones_corpus, **clips, clip04=tones_corpus.utterances[3].path)


def test_a_sound_corpus_is_usable_and_counted(tones_corpus):
    check = check_corpus(tones_corpus)
    assert check.usable
    assert (check.missing, check.unreadable, check.repeated, check.leaks, check.shared_words) == ((), (), (), (), ())
    seconds = {u.id: pytest.approx(u.seconds) for u in tones_corpus.utterances}
    assert {id: sound.seconds for id, sound in check.sounds.items()} == seconds
    assert check.sounds["clip00"].peak == pytest.approx(0.2, abs=0.05)
    assert check.folds.to_numpy().tolist() == [[index, 24, 12, 12, 0, 0] for index in range(4)]
    assert not any(check.warnings().values())


def test_missing_unreadable_and_repeated_clips_are_named_and_the_others_still_folded(faulty):
    check = check_corpus(faulty)
    assert not check.usable
    assert ["gone.wav (utterance 'clip01')" in line for line in check.missing] == [True]
    assert ["noise.wav (utterance 'clip02')" in line for line in check.unreadable] == [True]
    assert check.repeated == (("clip03", "clip04"),)
    assert check.folds["test"].tolist() == [10, 12, 12, 12]


def test_a_corpus_of_unreadable_clips_is_still_described(tones_corpus, tmp_path):
    check = check_corpus(with_files(tones_corpus, **{u.id: tmp_path / "gone.wav" for u in tones_corpus.utterances}))
    assert not check.usable and len(check.missing) == 48 and len(check.folds) == 0
    assert "48" in "".join(describe(check))


def test_silence_clipping_and_length_are_told_and_do_no_harm(tones_corpus, tmp_path):
    tone = np.sin(np.arange(16000) / 9)
    changed = with_files(
        tones_corpus,
        clip00=write(tmp_path / "silent.wav", 0.0009 * tone),
        clip01=write(tmp_path / "quiet.wav", 0.0011 * tone),
        clip02=write(tmp_path / "clipped.wav", np.clip(2 * tone, -1, 1)),
        clip03=write(tmp_path / "peak.wav", np.where(np.arange(16000) == 5000, 1.0, 0.5 * tone)),
        clip04=write(tmp_path / "long.wav", np.tile(0.5 * tone, 31)),
    )
    check = check_corpus(changed)
    assert check.usable
    assert list(check.warnings().values()) == [["clip00"], ["clip02"], ["clip04"]]


def test_counts_stand_beside_the_published_ones(tones_corpus):
    split = {"group0": "train", "group1": "train", "group2": "dev", "group3": "test"}
    clips = [replace(u, split=split[u.group]) for u in tones_corpus.utterances]
    published = {"high": 16, "low": 17, "test": 12}
    check = check_corpus(replace(tones_corpus, utterances=tuple(clips), published=published))
    assert check.counts("label").to_dict("list") == {
        "class": ["high", "low", "middle"],
        "clips": [16, 16, 16],
        "published": [16, 17, ""],
    }
    splits = check.counts("split")
    assert splits[["split", "clips", "published", "speakers"]].to_numpy().tolist() == [
        ["train", 24, "", 4],
        ["dev", 12, "", 2],
        ["test", 12, 12, 2],
    ]
    assert splits[["high", "low", "middle"]].to_numpy().sum() == 48
    assert check.counts("group")["group"].tolist() == sorted(split)
    assert check.counts("speaker")["clips"].tolist() == [6] * 8


def test_clips_without_a_label_are_a_row_of_their_own_and_a_class_without_clips_too(tones_corpus):
    clips = [replace(u, label=None if u.label == "low" else u.label, group="") for u in tones_corpus.utterances]
    check = check_corpus(replace(tones_corpus, utterances=tuple(clips), published={"low": 16}))
    counts = check.counts("label")
    assert dict(zip(counts["class"], counts["clips"], strict=True)) == {
        "high": 16,
        "low": 0,
        "middle": 16,
        "(unlabelled)": 16,
    }
    assert len(check.counts("group")) == 0 and len(check.counts("split")) == 0


def test_a_leak_names_its_folds_and_words_in_two_lists_are_counted(tones_corpus):
    said = {"clip00": "Well, yes.", "clip13": "well yes", "clip25": "Well yes!", "clip37": "The tone."}
    clips = [replace(u, text=said.get(u.id, u.text), template="") for u in tones_corpus.utterances]
    check = check_corpus(tones_corpus.subset(clips))
    assert check.usable
    assert check.folds["test texts in train"].tolist() == [1, 1, 1, 0]
    assert set(check.shared_words) == {"Well, yes.", "well yes", "Well yes!"}

    clips[40] = replace(clips[40], speaker="speaker0")  # of group 3, while speaker 0 is of group 0
    leaky = check_corpus(tones_corpus.subset(clips))
    assert not leaky.usable
    assert leaky.folds["fold"].tolist() == [1]  # both groups train there
    assert all("speaker 'speaker0'" in leak and "'clip40'" in leak for leak in leaky.leaks)
    assert {number for leak in leaky.leaks for number in leak[5 : leak.index(":")].split(", ")} == set("023")


def test_a_protocol_that_the_corpus_cannot_follow_is_told(tones_corpus):
    check = check_corpus(tones_corpus, "official")
    assert not check.usable
    assert "has no train and test list of its own" in check.leaks[0]


def call(*arguments: str) -> int:
    try:
        main(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_long_tables_are_cut_and_every_fault_is_printed(faulty):
    many = faulty.subset(replace(u, speaker=f"s{n:02d}") for n, u in enumerate(faulty.utterances))
    left_out = tuple(f"labels.txt, line {number}: no label" for number in range(1, 31))
    text = "\n".join(describe(check_corpus(replace(many, problems=left_out))))
    lines = text.splitlines()
    assert "... and 28 more" in lines
    assert [line for line in lines if line.startswith("  labels.txt")] == [f"  {problem}" for problem in left_out]
    assert any("gone.wav (utterance 'clip01')" in line for line in lines)
    assert "  clip03 = clip04" in lines


def test_exit_codes_tell_whether_a_corpus_can_be_used(tones, manifest_of, tmp_path, capsys):
    assert call("corpus", "check", f"manifest:{tones}", "--strict") == 0
    path = manifest_of(lambda rows: rows[5].update(path="gone.wav"), "unreadable.jsonl")
    assert call("corpus", "check", f"manifest:{path}") == 2
    printed = capsys.readouterr()
    assert "gone.wav (utterance 'clip05'): no such audio file" in printed.out
    assert "cannot be used as it is" in printed.err
    assert "0/48" in printed.err  # the progress bar
    assert call("corpus", "check", f"manifest:{tones}", "--protocol", "group") == 0
    assert "good" in capsys.readouterr().out
    assert call("corpus", "check", f"manifest:{tones}", "--protocol", "speaker") == 2
    printed = capsys.readouterr().out  # two speakers of a group share templates: all eight folds leak
    assert printed.count("leak: template") == 5 and "  ... and 3 more" in printed


def test_strict_makes_what_was_left_out_an_error(tones, tmp_path, capsys):
    import pandas as pd

    rows = [json.loads(line) for line in tones.read_text().splitlines()]
    table = pd.DataFrame([{**row, "audio": str(tones.parent / row["path"])} for row in rows])
    table.loc[7, "speaker"] = ""
    table.to_parquet(tmp_path / "clips.parquet")
    name = f"huggingface:{tmp_path / 'clips.parquet'}"
    assert len(load_corpus(name)) == 47
    capsys.readouterr()
    assert call("corpus", "check", name) == 0
    assert "clips.parquet, row 8: speaker is empty" in capsys.readouterr().out
    assert call("corpus", "check", name, "--strict") == 2
    printed = capsys.readouterr()
    assert "clips.parquet, row 8: speaker is empty" in printed.out and "1 lines or files were left out" in printed.err
