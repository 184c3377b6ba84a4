"""Do the tests notice? Faults are put into a copy of the kit, one at a time, and its tests are run.

    python tests/tools/mutants.py [--only WORDS]

Each fault is one that research code has had: a pair dropped, a rank shifted, labels swapped, a mask ignored, a choice
made on test data. It is killed where a test fails, and survives where all pass. By hand, since it takes a while.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
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


OBJECTIVES, METRICS = "tests/objectives", "tests/metrics"
FOLDS, RUNS, CACHED = "tests/corpora/test_folds.py", "tests/test_runs.py", "tests/training/test_gradient_cache.py"
TRAIN, RESUME, BATCHES = (
    "tests/training/test_loop.py",
    "tests/training/test_checkpoint.py",
    "tests/corpora/test_batching.py",
)
PROCESSES = "tests/processes/test_processes.py"

MUTANTS = [
    # objectives
    Mutant(
        "a direction dropped", "objectives/info_nce.py", "(losses + one_way(logits.T, y)) / 2", "losses", OBJECTIVES
    ),
    Mutant(
        "directions summed, not averaged", "objectives/info_nce.py", "logits.T, y)) / 2", "logits.T, y))", OBJECTIVES
    ),
    Mutant("the positive masked", "objectives/info_nce.py", "~(negatives | positive)", "~negatives", OBJECTIVES),
    Mutant(
        "NT-Xent from the wrong view",
        "objectives/info_nce.py",
        "logits_of(view, view)",
        "logits_of(x, x)",
        OBJECTIVES,
    ),
    Mutant(
        "absent clips counted",
        "objectives/similarity.py",
        "(values * mask).sum() / mask.sum().clamp(min=1)",
        "values.mean()",
        OBJECTIVES,
    ),
    Mutant(
        "groups ignored",
        "objectives/similarity.py",
        "    if groups is not None:\n        allowed",
        "    if False:\n        allowed",
        OBJECTIVES,
    ),
    Mutant(
        "a clip its own negative",
        "objectives/similarity.py",
        "~torch.eye(size, dtype=torch.bool, device=device)",
        "torch.ones(size, size, dtype=torch.bool, device=device)",
        OBJECTIVES,
    ),
    Mutant(
        "absent clips not zeroed",
        "objectives/similarity.py",
        "view.masked_fill(~present[:, None], 0)",
        "view",
        OBJECTIVES,
    ),
    Mutant(
        "cosine without a length",
        "objectives/similarity.py",
        "x, y = unit(x), unit(y)",
        "x, y = unit(x), y",
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
        "objectives/log_sums.py",
        "total[columns].addmm_(slopes.T",
        "total[columns].addmm_(0 * slopes.T",
        OBJECTIVES,
    ),
    Mutant(
        "sums without their maximum",
        "objectives/log_sums.py",
        "torch.logaddexp(total[part], tile.entries.logsumexp(dim=1 - over))",
        "tile.entries.logsumexp(dim=1 - over)",
        OBJECTIVES,
    ),
    Mutant(
        "a constant shift where it overflows",
        "objectives/memory_flat.py",
        "and 1 / temperature <= BOUNDED_LOGITS",
        "",
        OBJECTIVES,
    ),
    Mutant(
        "the shared diagonal in a view",
        "objectives/log_sums.py",
        "left_out.fill_diagonal_(within)",
        "left_out.fill_diagonal_(False)",
        OBJECTIVES,
    ),
    Mutant(
        "a view of every pair missing",
        "objectives/pairs.py",
        "pair for pair in self.pairs if pair.weight > 0",
        "pair for pair in self.pairs[:-1] if pair.weight > 0",
        OBJECTIVES,
    ),
    Mutant(
        "in-modal taken for cross-modal",
        "objectives/presets.py",
        '"pairs": in_modal_pairs()},\n        ),\n        "clip"',
        '"pairs": cross_modal_pairs()},\n        ),\n        "clip"',
        OBJECTIVES,
    ),
    Mutant(
        "weights that sum to 2",
        "objectives/pairs.py",
        "weight=pair.weight / total",
        "weight=2 * pair.weight / total",
        OBJECTIVES,
    ),
    Mutant(
        "one pass of the cross-entropy",
        "objectives/other_terms.py",
        "total / (passes * torch",
        "total / (torch",
        OBJECTIVES,
    ),
    Mutant("R-Drop one way", "objectives/other_terms.py", "mean(dim=0) / 2, labels", "mean(dim=0), labels", OBJECTIVES),
    Mutant(
        "unlabelled clips in R-Drop",
        "objectives/other_terms.py",
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
        METRICS,
    ),
    Mutant(
        "confusion transposed",
        "metrics/classification.py",
        "(truth, probabilities.argmax(axis=1))",
        "(probabilities.argmax(axis=1), truth)",
        METRICS,
    ),
    Mutant(
        "unlabelled clips scored",
        "metrics/classification.py",
        "labels[labels >= 0], probabilities[labels >= 0]",
        "abs(labels) % len(classes), probabilities",
        METRICS,
    ),
    Mutant(
        "the first class positive",
        "metrics/classification.py",
        "_detection_scores(truth, probabilities[:, 1])",
        "_detection_scores(truth, probabilities[:, 0])",
        METRICS,
    ),
    Mutant(
        "the largest EER chosen",
        "metrics/classification.py",
        'return -float(value) if name == "EER"',
        'return float(value) if name == "EER"',
        METRICS,
    ),
    Mutant(
        "rank shifted by one",
        "metrics/retrieval.py",
        "_hit_probability(k - ahead,",
        "_hit_probability(k + 1 - ahead,",
        METRICS,
    ),
    Mutant(
        "ties in our favour",
        "metrics/retrieval.py",
        "tied.sum(axis=1), (tied & right)",
        "(tied & right).sum(axis=1), (tied & right)",
        METRICS,
    ),
    Mutant(
        "a pair counted twice",
        "metrics/geometry.py",
        "(among.sum() - np.trace(among)) / 2",
        "among.sum() - np.trace(among)",
        METRICS,
    ),
    Mutant(
        "speakers taken apart",
        "metrics/statistics.py",
        "multinomial(speakers, np.full(speakers, 1 / speakers), size=resamples)",
        "multinomial(speakers, np.eye(speakers)[0], size=resamples)",
        METRICS,
    ),
    Mutant(
        "a plain percentile interval",
        "metrics/statistics.py",
        "norm.cdf(-np.sqrt(speakers / (speakers - 1)) * t.ppf((1 + level) / 2, speakers - 1))",
        "(1 - level) / 2",
        METRICS,
    ),
    Mutant(
        "a one-sided test",
        "metrics/statistics.py",
        "(np.abs((1 - 2 * swapped) @ contributions) >= reached).mean()",
        "((1 - 2 * swapped) @ contributions >= reached).mean()",
        METRICS,
    ),
    Mutant("an uncorrected p", "metrics/statistics.py", "corrected[place] = float(value)", "pass", METRICS),
    Mutant(
        "an interval about 0 called better",
        "metrics/statistics.py",
        "low is None or high is None or low <= 0 <= high or ",
        "low is None or high is None or ",
        METRICS,
    ),
    # folds
    Mutant("the test speakers choose", "corpora/folds.py", '"dev": units[dev]', '"dev": units[index]', FOLDS),
    Mutant("development clips trained on", "corpora/folds.py", "if i not in (index, dev)", "if i != index", FOLDS),
    Mutant(
        "sentences shared",
        "corpora/folds.py",
        'held["train"] = set().union(*sentences) - held["test"] - held["dev"]',
        'held["train"] = set().union(*sentences)',
        FOLDS,
    ),
    Mutant(
        "groups ignored in a fold",
        "corpora/folds.py",
        "(u.group if grouped else u.speaker, u)",
        "(u.speaker, u)",
        FOLDS,
    ),
    Mutant(
        "recordings compared by name",
        "corpora/folds.py",
        '"audio": audio_fingerprints([u.path for u in utterances])',
        '"audio": [str(u.path) for u in utterances]',
        FOLDS,
    ),
    Mutant(
        "leaks of words let pass",
        "corpora/folds.py",
        '[plain_text(u.gold) if templates else "" for u in utterances]',
        '["" for u in utterances]',
        FOLDS,
    ),
    # runs, training
    Mutant(
        "other knobs, the same folder",
        "runs.py",
        "parts = [config.to_dict(), ",
        "parts = [config.seed, ",
        f"{RUNS} {TRAIN}",
    ),
    Mutant("half a file under its name", "runs.py", "        write(partial)\n", "        write(path)\n", RUNS),
    Mutant("other clips, the same folder", "runs.py", "train.fingerprint, dev.fingerprint, ", "", RUNS),
    Mutant("tested on a list that leaks", "evaluation.py", "if shared and kind not in test.shared", "if False", TRAIN),
    Mutant("tested twice on other lists", "evaluation.py", 'if fold["test"] != part', "if False", TRAIN),
    Mutant("predictions in the batches' order", "evaluation.py", "axis=1)[:, back]", "axis=1)", TRAIN),
    Mutant(
        "dropout on while tested",
        "evaluation.py",
        "    model.eval()\n    outputs = model_outputs(model, features)",
        "    model.train()\n    outputs = model_outputs(model, features)",
        TRAIN,
    ),
    Mutant("the last epoch taken", "training.py", "if score > course.best_score", "if True", TRAIN),
    Mutant(
        "the last weights kept",
        "training.py",
        "{name: value.clone() for name, value in ready.model",
        "{name: value for name, value in ready.model",
        TRAIN,
    ),
    Mutant(
        "labels that should be hidden",
        "steps.py",
        "kept = members[: max(1, round(config.label_fraction * len(members)))]",
        "kept = members",
        TRAIN,
    ),
    Mutant(
        "class weights not inverse",
        "steps.py",
        "np.divide(counts.sum(), (counts > 0).sum() * counts,",
        "np.divide((counts > 0).sum() * counts, counts.sum(),",
        TRAIN,
    ),
    Mutant(
        "labels of another order",
        "steps.py",
        "labels, transcripts = (moved(kind[everyone]",
        "labels, transcripts = (moved(kind[np.sort(everyone)]",
        f"{CACHED} {TRAIN}",
    ),
    Mutant("every epoch in one order", "batches.py", "default_rng([seed, epoch])", "default_rng([seed, 0])", BATCHES),
    Mutant("chunks under other masks", "gradient_cache.py", "                _restore(state, device)\n", "", CACHED),
    Mutant(
        "accumulated gradients not divided",
        "gradient_cache.py",
        "loss.total / accumulate",
        "loss.total",
        f"{CACHED} {TRAIN}",
    ),
    Mutant(
        "a gather that loses the gradient", "gradient_cache.py", "chained * fabric.world_size", "chained", PROCESSES
    ),
    Mutant("rows of another process", "gradient_cache.py", "sum(batch.shares[: fabric.global_rank])", "0", PROCESSES),
    Mutant(
        "masks not restored after a stop",
        "steps.py",
        '        restore_random_states(fabric, state["random"])\n',
        "",
        RESUME,
    ),
    Mutant(
        "an optimiser that forgets",
        "steps.py",
        '        self._optimizer.load_state_dict({**state["optimizer"], "state": moments})\n',
        "",
        RESUME,
    ),
    Mutant("an epoch begun again", "steps.py", "after=self.number)", "after=0)", RESUME),
]


def killed(mutant: Mutant, copy: Path) -> str:
    """The test that noticed; empty where none did."""
    file = copy / "turbo_kit" / mutant.file
    source = file.read_text()
    if source.count(mutant.old) != 1:
        sys.exit(
            f"{mutant.fault!r}: {mutant.old!r} stands {source.count(mutant.old)} times in {mutant.file}: correct it"
        )
    try:
        file.write_text(source.replace(mutant.old, mutant.new))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.tests.split()]
        paths = [str(copy), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    finally:
        file.write_text(source)
    if done.returncode not in (0, 1):
        sys.exit(f"{mutant.fault!r}: no code that runs\n{done.stdout[-2000:]}")
    noticed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return noticed[0] if noticed else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only faults whose name or file holds these words")
    only = parser.parse_args().only
    chosen = [mutant for mutant in MUTANTS if only in f"{mutant.fault} {mutant.file}"]
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        for name in COPIED:
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, Path(folder) / name)
        for mutant in chosen:
            noticed = killed(mutant, Path(folder))
            survivors += [] if noticed else [mutant]
            print(f"{'killed' if noticed else 'SURVIVED':8} {mutant.fault} ({mutant.file}) {noticed}", flush=True)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} killed")


if __name__ == "__main__":
    main()
