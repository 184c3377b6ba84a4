"""Do the tests notice? Faults are put into a copy of the kit, one at a time, and its tests are run.

    python tests/tools/mutants.py [--only WORDS] [--at-once 2] [--check]

Each fault is one that research code has had: a pair dropped, a rank shifted, labels swapped, a mask ignored, a choice
made on test data. It is killed where a test fails, and survives where all pass. By hand, since it takes a while.
Before the first one all of them are looked for in the code, and the tests are run without a fault: they have to pass.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
COPIED = ("turbo_kit", "tests", "notebooks", "pyproject.toml", "README.md", "environment.yml", "Makefile")


class Mutant(NamedTuple):
    """A fault: in which file what becomes what, and the tests that should notice."""

    fault: str
    file: str
    old: str
    new: str
    tests: str


OBJECTIVES, BOARD = "tests/objectives", "tests/board tests/objectives/test_objective.py"
CLASSES = "tests/metrics/test_classification.py tests/metrics/test_detection.py"
RETRIEVAL, GEOMETRY = "tests/metrics/test_retrieval.py", "tests/metrics/test_geometry.py"
STATISTICS = "tests/metrics/test_statistics.py"
FOLDS, BATCHES = "tests/corpora/test_folds.py", "tests/corpora/test_batching.py"
RUNS, TRAIN = "tests/test_runs.py", "tests/training/test_loop.py"
CACHED, RESUME = "tests/training/test_gradient_cache.py", "tests/training/test_checkpoint.py"
PROCESSES = "tests/processes/test_processes.py"

MUTANTS = [
    # objectives
    Mutant("a direction dropped", "objectives/directions.py", "(losses[0] + losses[1]) / 2", "losses[0]", OBJECTIVES),
    Mutant("directions summed, not averaged", "objectives/directions.py", "losses[1]) / 2", "losses[1])", OBJECTIVES),
    Mutant("one direction taken twice", "objectives/directions.py", "y_to_x = x_to_y.T", "y_to_x = x_to_y", OBJECTIVES),
    Mutant("the plain form one way", "objectives/info_nce.py", "(x_to_y + y_to_x) / 2", "x_to_y", OBJECTIVES),
    Mutant("the positive masked", "objectives/info_nce.py", "~(negatives | positive)", "~negatives", OBJECTIVES),
    Mutant(
        "NT-Xent from the wrong view",
        "objectives/directions.py",
        "compare(y, y)",
        "compare(x, x)",
        OBJECTIVES,
    ),
    Mutant(
        "absent clips counted",
        "objectives/masks.py",
        "(values * mask).sum() / mask.sum().clamp(min=1)",
        "values.mean()",
        OBJECTIVES,
    ),
    Mutant(
        "groups ignored",
        "objectives/masks.py",
        "    if groups is not None:\n        mask",
        "    if False:\n        mask",
        OBJECTIVES,
    ),
    Mutant(
        "a clip its own negative",
        "objectives/masks.py",
        "~torch.eye(size, dtype=torch.bool, device=device)",
        "torch.ones(size, size, dtype=torch.bool, device=device)",
        OBJECTIVES,
    ),
    Mutant(
        "absent clips not zeroed",
        "objectives/masks.py",
        "view.masked_fill(~present[:, None], 0)",
        "view",
        OBJECTIVES,
    ),
    Mutant(
        "cosine without a length",
        "objectives/similarity.py",
        "x, y = unit_vectors(x), unit_vectors(y)",
        "x, y = unit_vectors(x), y",
        OBJECTIVES,
    ),
    Mutant("times the temperature", "objectives/similarity.py", "y.T / temperature", "y.T * temperature", OBJECTIVES),
    Mutant(
        "bf16 under autocast",
        "objectives/similarity.py",
        "with torch.autocast(x.device.type, enabled=False)",
        "with torch.autocast(x.device.type, torch.bfloat16, enabled=torch.is_autocast_enabled('cpu'))",
        OBJECTIVES,
    ),
    Mutant(
        "a tile's columns lost",
        "objectives/tiled/logsumexp.py",
        "gradient[columns].addmm_(at_logits.T",
        "gradient[columns].addmm_(0 * at_logits.T",
        OBJECTIVES,
    ),
    Mutant(
        "sums without their maximum",
        "objectives/tiled/logsumexp.py",
        "torch.logaddexp(total[part], tile.entries.logsumexp(dim=1 - axis))",
        "tile.entries.logsumexp(dim=1 - axis)",
        OBJECTIVES,
    ),
    Mutant(
        "a constant shift where it overflows",
        "objectives/tiled/loss.py",
        "and 1 / temperature <= SAFE_LOGIT",
        "",
        OBJECTIVES,
    ),
    Mutant(
        "the shared diagonal in a view",
        "objectives/tiled/logsumexp.py",
        "excluded.fill_diagonal_(within_one_view)",
        "excluded.fill_diagonal_(False)",
        OBJECTIVES,
    ),
    Mutant(
        "a view of every pair missing",
        "board/pair_board.py",
        "pair for pair in self.pairs if pair.weight > 0",
        "pair for pair in self.pairs[:-1] if pair.weight > 0",
        BOARD,
    ),
    Mutant(
        "in-modal taken for cross-modal",
        "board/presets.py",
        '"pairs": in_modal_pairs()},\n        ),\n        "clip"',
        '"pairs": cross_modal_pairs()},\n        ),\n        "clip"',
        BOARD,
    ),
    Mutant(
        "weights that sum to 2",
        "board/pair_board.py",
        "weight=pair.weight / total",
        "weight=2 * pair.weight / total",
        BOARD,
    ),
    Mutant(
        "one pass of the cross-entropy",
        "objectives/classification_terms.py",
        "total / (passes * torch",
        "total / (torch",
        OBJECTIVES,
    ),
    Mutant(
        "R-Drop one way",
        "objectives/classification_terms.py",
        "mean(dim=0) / 2, labels",
        "mean(dim=0), labels",
        OBJECTIVES,
    ),
    Mutant(
        "unlabelled clips in R-Drop",
        "objectives/classification_terms.py",
        "/ 2, labels != UNLABELLED)",
        "/ 2, labels == labels)",
        OBJECTIVES,
    ),
    Mutant(
        "SigLIP's bias lost",
        "objectives/siglip.py",
        "temperature, similarity) + bias",
        "temperature, similarity)",
        OBJECTIVES,
    ),
    Mutant(
        "a temperature that does not learn",
        "objectives/objective.py",
        "(-self.logit_scale).exp()",
        "(-self.logit_scale.detach()).exp()",
        OBJECTIVES,
    ),
    # metrics
    Mutant(
        "WA and UA swapped",
        "metrics/classification.py",
        '"UA": float(recall.mean())',
        '"UA": float(hits.sum() / support.sum())',
        CLASSES,
    ),
    Mutant(
        "confusion transposed",
        "metrics/classification.py",
        "(truth, probabilities.argmax(axis=1))",
        "(probabilities.argmax(axis=1), truth)",
        CLASSES,
    ),
    Mutant(
        "unlabelled clips scored",
        "metrics/classification.py",
        "labels[labels >= 0], probabilities[labels >= 0]",
        "abs(labels) % len(classes), probabilities",
        CLASSES,
    ),
    Mutant(
        "the first class positive",
        "metrics/classification.py",
        "_detection_scores(truth, probabilities[:, 1])",
        "_detection_scores(truth, probabilities[:, 0])",
        CLASSES,
    ),
    Mutant(
        "the largest EER chosen",
        "metrics/classification.py",
        'return -float(value) if name == "EER"',
        'return float(value) if name == "EER"',
        CLASSES,
    ),
    Mutant(
        "rank shifted by one",
        "metrics/retrieval.py",
        "_hit_probability(k - ahead,",
        "_hit_probability(k + 1 - ahead,",
        RETRIEVAL,
    ),
    Mutant(
        "ties in our favour",
        "metrics/retrieval.py",
        "tied.sum(axis=1), (tied & right)",
        "(tied & right).sum(axis=1), (tied & right)",
        RETRIEVAL,
    ),
    Mutant(
        "a pair counted twice",
        "metrics/geometry.py",
        "(among.sum() - np.trace(among)) / 2",
        "among.sum() - np.trace(among)",
        GEOMETRY,
    ),
    Mutant(
        "speakers taken apart",
        "metrics/statistics.py",
        "multinomial(speakers, np.full(speakers, 1 / speakers), size=resamples)",
        "multinomial(speakers, np.eye(speakers)[0], size=resamples)",
        STATISTICS,
    ),
    Mutant(
        "a plain percentile interval",
        "metrics/statistics.py",
        "norm.cdf(-np.sqrt(speakers / (speakers - 1)) * t.ppf((1 + level) / 2, speakers - 1))",
        "(1 - level) / 2",
        STATISTICS,
    ),
    Mutant(
        "a one-sided test",
        "metrics/statistics.py",
        "(np.abs((1 - 2 * swapped) @ contributions) >= reached).mean()",
        "((1 - 2 * swapped) @ contributions >= reached).mean()",
        STATISTICS,
    ),
    Mutant("an uncorrected p", "metrics/statistics.py", "corrected[place] = float(value)", "pass", STATISTICS),
    Mutant(
        "an interval about 0 called better",
        "metrics/statistics.py",
        "low is None or high is None or low <= 0 <= high or ",
        "low is None or high is None or ",
        STATISTICS,
    ),
    # folds
    Mutant("the test speakers choose", "corpora/protocols.py", '"dev": units[dev]', '"dev": units[index]', FOLDS),
    Mutant("development clips trained on", "corpora/protocols.py", "if i not in (index, dev)", "if i != index", FOLDS),
    Mutant(
        "sentences shared",
        "corpora/protocols.py",
        'held["train"] = set().union(*sentences) - held["test"] - held["dev"]',
        'held["train"] = set().union(*sentences)',
        FOLDS,
    ),
    Mutant(
        "groups ignored in a fold",
        "corpora/protocols.py",
        "(u.group if grouped else u.speaker, u)",
        "(u.speaker, u)",
        FOLDS,
    ),
    Mutant(
        "recordings compared by name",
        "corpora/leaks.py",
        '"audio": audio_fingerprints([u.path for u in utterances])',
        '"audio": [str(u.path) for u in utterances]',
        FOLDS,
    ),
    Mutant(
        "leaks of words let pass",
        "corpora/leaks.py",
        '[plain_text(u.gold) if templates else "" for u in utterances]',
        '["" for u in utterances]',
        FOLDS,
    ),
    # runs, training
    Mutant(
        "other knobs, the same folder",
        "identity.py",
        "parts = [config.to_dict(), ",
        "parts = [config.seed, ",
        f"{RUNS} {TRAIN}",
    ),
    Mutant("half a file under its name", "runs.py", "        write(partial)\n", "        write(path)\n", RUNS),
    Mutant("other clips, the same folder", "identity.py", "train.fingerprint, dev.fingerprint, ", "", RUNS),
    Mutant(
        "tested on a list that leaks",
        "training/evaluation.py",
        "if shared and kind not in test.shared",
        "if False",
        TRAIN,
    ),
    Mutant("tested twice on other lists", "training/evaluation.py", 'if fold["test"] != part', "if False", TRAIN),
    Mutant("predictions in the batches' order", "model/inference.py", "axis=1)[:, back]", "axis=1)", TRAIN),
    Mutant(
        "dropout on while tested",
        "training/evaluation.py",
        "    model.eval()\n    outputs = model_outputs(model, features)",
        "    model.train()\n    outputs = model_outputs(model, features)",
        TRAIN,
    ),
    Mutant("the last epoch taken", "training/loop.py", "if score > record.best_score", "if True", TRAIN),
    Mutant(
        "the last weights kept",
        "training/loop.py",
        "{name: value.clone() for name, value in setup.model",
        "{name: value for name, value in setup.model",
        TRAIN,
    ),
    Mutant(
        "labels that should be hidden",
        "training/setup.py",
        "members[: max(1, round(config.data.label_fraction * len(members)))]",
        "members",
        TRAIN,
    ),
    Mutant(
        "class weights not inverse",
        "training/setup.py",
        "np.divide(counts.sum(), (counts > 0).sum() * counts,",
        "np.divide((counts > 0).sum() * counts, counts.sum(),",
        TRAIN,
    ),
    Mutant(
        "labels of another order",
        "training/setup.py",
        "to_device(self._numbers[:, everyone], self._device)",
        "to_device(self._numbers[:, np.sort(everyone)], self._device)",
        f"{CACHED} {TRAIN}",
    ),
    Mutant(
        "every epoch in one order",
        "corpora/batching.py",
        "default_rng([seed, epoch])",
        "default_rng([seed, 0])",
        BATCHES,
    ),
    Mutant(
        "chunks under other masks",
        "training/gradient_cache.py",
        "                restore_torch_state(state, device)\n",
        "",
        CACHED,
    ),
    Mutant(
        "accumulated gradients not divided",
        "training/gradient_cache.py",
        "loss.total / accumulate",
        "loss.total",
        f"{CACHED} {TRAIN}",
    ),
    Mutant(
        "a gather that loses the gradient",
        "training/gradient_cache.py",
        "chained * fabric.world_size",
        "chained",
        PROCESSES,
    ),
    Mutant(
        "rows of another process",
        "training/gradient_cache.py",
        "sum(batch.shares[: fabric.global_rank])",
        "0",
        PROCESSES,
    ),
    Mutant(
        "masks not restored after a stop",
        "training/trainer.py",
        '        restore_random_states(fabric, state["random"])\n',
        "",
        RESUME,
    ),
    Mutant(
        "an optimiser that forgets",
        "training/trainer.py",
        '        self._optimizer.load_state_dict({**state["optimizer"], "state": moments})\n',
        "",
        RESUME,
    ),
    Mutant("an epoch begun again", "training/trainer.py", "after=self.number)", "after=0)", RESUME),
]


def missing(mutant: Mutant, kit: Path) -> str:
    """What keeps a fault from being put into the code; empty where nothing does."""
    file = kit / "turbo_kit" / mutant.file
    times = file.read_text().count(mutant.old) if file.is_file() else 0
    where = f"stands {times} times in" if file.is_file() else "cannot be in"
    return "" if times == 1 else f"{mutant.fault!r}: {mutant.old!r} {where} {mutant.file}"


def noticed(tests: str, copy: Path) -> str:
    """The first test that fails; empty where all pass."""
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
    if tests != PROCESSES:
        options += ["-m", "not slow"]
    paths = [str(copy), *filter(None, [os.environ.get("PYTHONPATH")])]
    # Without compiled files: a fault that is as long as what it replaces could be taken for it within one second.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", *options, *tests.split()]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        return f"ERROR, pytest ended with {done.returncode}:\n{done.stdout[-2000:]}"
    found = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return found[0] if found else ""


def killed(mutant: Mutant, copy: Path) -> str:
    """The test that noticed a fault; empty where none did."""
    file = copy / "turbo_kit" / mutant.file
    source = file.read_text()
    try:
        file.write_text(source.replace(mutant.old, mutant.new))
        return noticed(mutant.tests, copy)
    finally:
        file.write_text(source)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only faults whose name or file holds these words")
    parser.add_argument("--at-once", type=int, default=1, help="so many side by side, each in a copy of its own")
    parser.add_argument("--check", action="store_true", help="only look whether each fault can be put into the code")
    options = parser.parse_args()
    if faults := list(filter(None, (missing(mutant, ROOT) for mutant in MUTANTS))):
        sys.exit("\n".join([*faults, f"{len(faults)} of {len(MUTANTS)} do not fit the code any more: correct them"]))
    if options.check:
        return
    chosen = [mutant for mutant in MUTANTS if options.only in f"{mutant.fault} {mutant.file}"]
    copies: SimpleQueue[Path] = SimpleQueue()

    def in_a_copy(what: str | Mutant) -> str:
        copy = copies.get()
        try:
            return killed(what, copy) if isinstance(what, Mutant) else noticed(what, copy)
        finally:
            copies.put(copy)

    survivors = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.at_once) as pool:
        for number in range(options.at_once):
            copy = Path(folder) / str(number)
            copy.mkdir()
            for name in COPIED:
                (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, copy / name)
            copies.put(copy)
        sound = list(pool.map(in_a_copy, dict.fromkeys(mutant.tests for mutant in chosen)))
        if any(sound):
            sys.exit("\n".join(["without any fault:", *filter(None, sound)]))
        for mutant, test in zip(chosen, pool.map(in_a_copy, chosen), strict=True):
            if test.startswith("ERROR, "):
                sys.exit(f"{mutant.fault!r}: {test}")
            survivors += [] if test else [mutant]
            print(f"{'killed' if test else 'SURVIVED':8} {mutant.fault} ({mutant.file}) {test}", flush=True)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} killed")


if __name__ == "__main__":
    main()
