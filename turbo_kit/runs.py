"""The run folder: everything that one training produced, written so that a reader never meets half a file.

    config.json fold.json history.parquet result.json predictions.parquet embeddings.safetensors checkpoint/ DONE

Each file appears by an atomic rename. `result.json` comes last of a training, `DONE` last of an evaluation. Nothing
that is read back can execute code.
"""

import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turbo_kit.config import InputError, RunConfig
from turbo_kit.corpora import Corpus
from turbo_kit.corpora.files import json_value
from turbo_kit.corpora.leaks import leak_keys

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from turbo_kit.model import TurboModel

NOTEBOOK = "notebook.ipynb"
EPOCHS = "epochs.safetensors"
ERROR = "error.json"  # error record of a failed run


@dataclass(frozen=True)
class Run:
    """One training with one config, and the folder that holds all it produced."""

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))

    @cached_property
    def config(self) -> RunConfig:
        """The config that the run was trained with: read once, since it never changes in a folder named by it."""
        return RunConfig.from_dict(self._json("config.json"))

    @property
    def result(self) -> dict[str, Any]:
        """Metrics, timings, versions and status."""
        return self._json("result.json")

    @property
    def fold(self) -> dict[str, dict[str, list[str]]]:
        """What stands in train and dev, and in test once it has been evaluated: see `fold_part`."""
        return self._json("fold.json")

    @property
    def trained(self) -> bool:
        """Whether the training came to its end."""
        return (self.folder / "result.json").is_file() and (self.folder / "checkpoint").is_dir()

    @property
    def done(self) -> bool:
        """Whether the run was also evaluated, and is complete."""
        return (self.folder / "DONE").is_file()

    @property
    def error(self) -> dict[str, str] | None:
        """Of a run that failed: `error` (its kind), `message` and `when`."""
        return self._json(ERROR) if (self.folder / ERROR).is_file() and not self.done else None

    @property
    def history(self) -> "pd.DataFrame":
        """One row an epoch: losses, each term, development scores, learning rate, seconds."""
        return self._table("history.parquet", "epoch")

    def predictions(self, split: str) -> "pd.DataFrame":
        """Id, speaker, text, label, predicted label and probabilities of each clip of `dev` or `test`.

        A model that can do without a modality was also tested so: `test without audio`, `test without text`; and
        any under noise that its config names, such as `test at 20 % word errors` or `test at 10 dB SNR`.
        """
        table = self._table("predictions.parquet", "split", "id", "predicted")
        rows = table[table["split"] == split]
        if rows.empty:
            have = ", ".join(sorted(table["split"].unique()))
            raise InputError(f"{self.folder} has no predictions of {split!r}, only of {have}: evaluate the run first.")
        return rows.drop(columns="split").reset_index(drop=True)

    def embeddings(self, split: str) -> "dict[str, NDArray[np.float32]]":
        """Pooled (`audio`, `text`) and projected embeddings of `dev` or `test`, in the order of the predictions."""
        arrays = self._arrays("embeddings.safetensors")
        chosen = {name.removeprefix(f"{split}."): a for name, a in arrays.items() if name.startswith(f"{split}.")}
        if not chosen:
            raise InputError(f"{self.folder} has no embeddings of {split!r}: evaluate the run first.")
        return chosen

    def epochs(self) -> "dict[str, NDArray[Any]]":
        """How the development clips moved: before training and after each epoch, in the order of the predictions.

        Returns:
            `audio` and `text`, (epochs + 1, N, D) pooled embeddings, and `predicted`, (epochs + 1, N), the place of the
            predicted class in `result["classes"]`.

        Raises:
            InputError: the run was trained without `epoch_embeddings`.
        """
        if self.trained and not (self.folder / EPOCHS).is_file():
            raise InputError(f"{self.folder} kept no embeddings of its epochs: train it with epoch_embeddings=True.")
        return self._arrays(EPOCHS)

    def model(self) -> "TurboModel":
        """The trained model, in evaluation mode."""
        from turbo_kit.model import TurboModel

        return TurboModel.from_pretrained(self._existing("checkpoint"))

    def _existing(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            raise InputError(f"{path} does not exist: {self.folder} is no finished run folder. Train it first.")
        return path

    def _json(self, name: str) -> dict[str, Any]:
        with self._reading(name) as path:
            values = json_value(path.read_text(encoding="utf-8"))
            if not isinstance(values, dict):
                raise ValueError(f"it holds a {type(values).__name__}")
            return values

    def _table(self, name: str, *columns: str) -> "pd.DataFrame":
        import pandas as pd

        with self._reading(name) as path:
            table = pd.read_parquet(path)
            if missing := [column for column in columns if column not in table]:
                raise ValueError(f"it has no column {missing[0]!r}")
            return table

    def _arrays(self, name: str) -> "dict[str, NDArray[Any]]":
        from safetensors.numpy import load_file

        with self._reading(name) as path:
            return dict(load_file(path))

    @contextmanager
    def _reading(self, name: str) -> Iterator[Path]:
        """The path of a file that is there; what makes it unreadable becomes an `InputError` with its name."""
        from safetensors import SafetensorError

        path = self._existing(name)
        try:
            yield path
        except (SafetensorError, OSError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{path} is broken ({error}): delete the run folder and train again.") from error


def fold_part(corpus: Corpus) -> dict[str, list[str]]:
    """One list of a fold: the ids of its utterances in order; speakers, templates, words and digests of the audio."""
    keys = leak_keys(corpus.utterances)
    found = {kind: sorted({value for value in values if value}) for kind, values in keys.items()}
    return found | {"id": keys["id"], "audio": [digest[:16] for digest in found["audio"]]}


def runs_in(folder: Path) -> Iterator[Run]:
    """Every run folder directly inside `folder`, finished or not, by name."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of runs. Train or ablate first, or correct the path.")
    for path in sorted(folder.iterdir()):
        saved_model = (path / "model.safetensors").is_file()  # which has a config.json too
        if (path / "config.json").is_file() and not saved_model:
            yield Run(path)


def finished_runs(folder: Path) -> list[Run]:
    """The runs inside `folder` that were trained and evaluated."""
    return [run for run in runs_in(folder) if run.done]


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` make a file or folder under another name, and gives it its own name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        write(partial)
        if path.is_dir():
            shutil.rmtree(path)
        partial.replace(path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a JSON file atomically."""
    text = json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def clear(run: Run, but: str = "") -> None:
    """Removes what an unfinished or unwanted training left, but one file and the notebook that is running it."""
    (run.folder / "DONE").unlink(missing_ok=True)
    for path in run.folder.glob("*") if run.folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".ipynb" and path.name != but:
            path.unlink()
