"""What a run came to, for tests that want two runs to be the same to the last bit."""

import json

from safetensors.torch import load_file

from turbo_kit.runs import Run


def outcome(run: Run) -> dict[str, object]:
    """Scores, history, predictions, embeddings and weights; all but times."""
    result = run.result
    del result["timings"]
    files = [path for name in ("embeddings", "epochs") if (path := run.folder / f"{name}.safetensors").is_file()]
    weights = load_file(run.folder / "checkpoint" / "model.safetensors")
    return {
        "result": json.dumps(result, sort_keys=True),
        "history": run.history.drop(columns="seconds").to_dict("list"),
        "predictions": run.predictions("dev").to_dict("list"),
        "embeddings": {path.name: path.read_bytes() for path in files},
        "weights": {name: value.numpy().tobytes() for name, value in weights.items()},
    }
