"""How long a grid takes with `turbo-kit ablate`, beside papermill's own command run by run, in one go.

    python tests/peers/ablation.py [--runs 6] [--json FILE]

The peer executes the same notebook with the same parameters, one after another, with all cores and an empty feature
cache for each run, as a folder of notebooks that know nothing of one another has it. Both start with an empty cache.
How many features were computed is counted in the caches.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from timing import arguments, keep

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "04_train.ipynb"
BIN = Path(sys.executable).parent


def timed(command: list[str], cache: Path) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | {"TURBO_KIT_CACHE": str(cache)}, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=6, help="seeds of one setting")
    options = parser.parse_args()
    objective, seeds = "turbo", range(options.runs)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        peer = []
        for seed in seeds:
            out = base / "peer"
            out.mkdir(exist_ok=True)
            given = {"objective": objective, "seed": seed, "normalize_pairs": True, "out": str(out)}
            settings = [part for name, value in given.items() for part in ("-p", name, str(value))]
            command = [str(BIN / "papermill"), str(NOTEBOOK), str(base / f"{seed}.ipynb"), *settings]
            peer.append(timed([*command, "--no-progress-bar"], base / f"cache{seed}"))
            print(f"papermill, run {seed}: {peer[-1]:.1f} s", flush=True)
        grid = [f"objective={objective}", "seed=" + ",".join(map(str, seeds)), "normalize_pairs=true"]
        kit = timed([str(BIN / "turbo-kit"), "ablate", *grid, "--out", str(base / "kit")], base / "cache")
        scores = {name: mean_score(base / name) for name in ("peer", "kit")}
        features = {
            "turbo_kit": computed(base / "cache"),
            "papermill": [
                sum(found) for found in zip(*(computed(base / f"cache{seed}") for seed in seeds), strict=True)
            ],
        }
    figures = {
        "runs": options.runs,
        "papermill_seconds": round(sum(peer), 1),
        "turbo_kit_seconds": round(kit, 1),
        "ratio": round(sum(peer) / kit, 2),
        "test_UA_mean": scores,
        "features_computed_and_distinct": features,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
    }
    print(json.dumps(figures, indent=2))
    keep(figures, options.json)


def computed(cache: Path) -> tuple[int, int]:
    """How many features were computed into a cache, and of how many distinct clips and transcripts."""
    shards = [(index.parent.name, json.loads(index.read_text())) for index in cache.glob("features/*/*.json")]
    keys = [(encoder, key) for encoder, lengths in shards for key in lengths]
    return len(keys), len(set(keys))


def mean_score(folder: Path) -> float:
    results = [json.loads(path.read_text()) for path in folder.glob("*/result.json")]
    return float(pd.Series([result["metrics"]["test"]["UA"] for result in results]).mean())


if __name__ == "__main__":
    main()
