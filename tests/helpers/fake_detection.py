"""Run folders of two classes, with the threshold that development chose, made up at once."""

import json

from fake_runs import write_run

from turbo_kit.metrics import at_threshold, threshold_at, truth_and_score

TWO = ("human-directed", "device-directed")


def write_detection_run(folder, **options):
    run = write_run(folder, classes=TWO, **options)
    result, target = run.result, run.config.false_accept_rate
    threshold = threshold_at(*truth_and_score(run.predictions("dev"), TWO), target)
    result["metrics"]["dev"]["threshold"] = threshold
    reached = at_threshold(*truth_and_score(run.predictions("test"), TWO), threshold)
    result["metrics"]["test"]["at_threshold"] = {"threshold": threshold, "target": target, **reached}
    (run.folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return run
