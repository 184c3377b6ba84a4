"""The embedding explorer: a map of clips that are seen, heard and compared, in a notebook or as one HTML file.

>>> data = embedding_data(run, epochs=6)
>>> explorer = embedding_explorer(data)
>>> explorer.selected_clips()
>>> export_explorer(data, "map.html")
"""

import base64
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turbo_kit.config import InputError, unknown
from turbo_kit.corpora import EMBEDDED
from turbo_kit.explorer.embedding_data import SPLITS, EmbeddingData, embedding_data
from turbo_kit.explorer.sound import playable_audio
from turbo_kit.figures import MARKERS, OKABE_ITO, marks
from turbo_kit.figures.style import MUTED
from turbo_kit.runs import write_atomically

if TYPE_CHECKING:
    import anywidget
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["EmbeddingData", "embedding_data", "embedding_explorer", "export_explorer"]

FRONTEND = Path(__file__).parent / "frontend"
MODULE_FILES = ("elements.js", "spectrogram.js", "map.js", "widget.js")
"""The front end, in the order in which the parts are joined to one ES module."""

CORPUS_PARTS = ("audio", "transcript")
"""What an export leaves out where its corpus does not travel with the kit."""


def embedding_explorer(data: EmbeddingData) -> "anywidget.AnyWidget":
    """The explorer for a notebook.

    Hovering tells of a clip, clicking plays it and shows its spectrogram and its neighbours in the other modality;
    the sound is sent by the kernel when it is asked for.

    Args:
        data: what `embedding_data` gathered.

    Returns:
        The widget; its `selected_clips()` is a table of the clips that were chosen on the map.
    """
    explorer: anywidget.AnyWidget = _widget_class()(data)
    return explorer


def export_explorer(data: EmbeddingData, path: str | Path, *, include: Collection[str] | None = None) -> Path:
    """Writes the explorer as one HTML file that needs no other file, no kernel and no network.

    Args:
        data: what `embedding_data` gathered.
        path: of the file, which ends in .html.
        include: what the file may hold of the corpus: `audio`, `transcript`, both or neither. None = both for a corpus
            that travels with the kit, neither for any other: those have owners, and speakers who were asked for less.

    Returns:
        The path of the file.

    Raises:
        InputError: another name in `include`, a path of another kind, or a clip that cannot be read.
    """
    path = Path(path)
    if path.suffix not in (".html", ".htm"):
        raise InputError(f"{path}: an export ends in .html; name such a file.")
    included = set(CORPUS_PARTS if data.corpus in EMBEDDED else ()) if include is None else set(include)
    for name in included - set(CORPUS_PARTS):
        raise unknown("part of the corpus in include", name, CORPUS_PARTS)
    values, binary = _front_end_values(data, included)
    sounds = [playable_audio(file) for file in data.audio] if "audio" in included else []
    page = _template().render(
        title=data.title,
        style=(FRONTEND / "map_style.css").read_text(encoding="utf-8"),
        module=_module(),
        page={
            "values": values,
            "binary": {name: _base64(array.tobytes()) for name, array in binary.items()},
            "sounds": [{"type": kind, "bytes": _base64(content)} for kind, content in sounds],
        },
    )
    write_atomically(path, lambda partial: partial.write_text(page, encoding="utf-8"))
    return path


def _front_end_values(
    data: EmbeddingData, included: Collection[str]
) -> "tuple[dict[str, Any], dict[str, NDArray[Any]]]":
    """What the front end reads: values for JSON, and arrays that travel as they lie in memory."""
    columns = [name for name in data.clips.columns if name != "transcript" or "transcript" in included]
    values = {
        "title": data.title,
        "clips": {name: data.clips[name].tolist() for name in columns},
        "classes": list(data.classes),
        "frames": list(data.frames),
        "looks": _looks(data),
        "about_neighbours": {"said": data.about_neighbours, "frames": len(data.neighbours)},
        "about_sound": "" if "audio" in included else "This page holds no sound of its corpus.",
        "frame": len(data.frames) - 1 if data.chosen_frame is None else data.chosen_frame,
        "selected": -1,
        "chosen": [],
    }
    arrays = ("positions", "predicted", "neighbours", "similarities")
    return values, {name: getattr(data, name) for name in arrays}


def _looks(data: EmbeddingData) -> dict[str, list[dict[str, str]]]:
    """By what the map can be coloured, and how each of its values then looks; no colour: the theme's own grey."""
    labels, splits = data.clips["label"], data.clips["split"].unique()
    named = {"label": marks(data.classes), "speaker": marks(sorted(data.clips["speaker"].unique()))}
    if len(splits) > 1:
        named["split"] = marks(SPLITS["both"])
    looks = {
        by: [
            {"name": name, "colour": "" if mark.colour == MUTED else mark.colour, "marker": mark.marker}
            for name, mark in found.items()
        ]
        for by, found in named.items()
    }
    looks["error"] = [
        {"name": "right", "colour": OKABE_ITO[0], "marker": MARKERS[0]},
        {"name": "wrong", "colour": OKABE_ITO[1], "marker": "X"},
    ]
    if labels.isna().any():
        unlabelled = {"name": "unlabelled", "colour": "", "marker": "h"}
        looks["label"].append(unlabelled)
        looks["error"].append(unlabelled)
    return looks


@cache
def _widget_class() -> Any:
    """The widget's class, made when it is first needed: importing anywidget takes its time."""
    import anywidget
    import traitlets

    class EmbeddingExplorer(anywidget.AnyWidget):
        """The map; `frame`, `selected` (a row, -1 = none) and `chosen` (rows) can be read and set."""

        _esm = _module()
        _css = (FRONTEND / "map_style.css").read_text(encoding="utf-8")

        title = traitlets.Unicode().tag(sync=True)
        clips = traitlets.Dict().tag(sync=True)
        classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
        frames = traitlets.List(traitlets.Unicode()).tag(sync=True)
        looks = traitlets.Dict().tag(sync=True)
        about_neighbours = traitlets.Dict().tag(sync=True)
        about_sound = traitlets.Unicode().tag(sync=True)
        positions = traitlets.Bytes().tag(sync=True)
        predicted = traitlets.Bytes().tag(sync=True)
        neighbours = traitlets.Bytes().tag(sync=True)
        similarities = traitlets.Bytes().tag(sync=True)
        frame = traitlets.Int().tag(sync=True)
        selected = traitlets.Int(-1).tag(sync=True)
        chosen = traitlets.List(traitlets.Int()).tag(sync=True)

        def __init__(self, data: EmbeddingData) -> None:
            values, binary = _front_end_values(data, CORPUS_PARTS)
            super().__init__(**values, **{name: array.tobytes() for name, array in binary.items()})
            self.data = data
            self.on_msg(self._send_sound)

        def selected_clips(self) -> "pd.DataFrame":
            """The clips that were chosen on the map, with what was predicted of them in the frame that is shown."""
            return self.data.table(self.chosen, self.frame)

        def _send_sound(self, _: Any, message: Mapping[str, Any], __: Any) -> None:
            clip = message.get("clip")
            if message.get("kind") != "sound" or not isinstance(clip, int) or not 0 <= clip < len(self.data.audio):
                return
            try:
                kind, content = playable_audio(self.data.audio[clip])
            except InputError as error:
                self.send({"kind": "sound", "clip": clip, "error": str(error)})
                return
            self.send({"kind": "sound", "clip": clip, "type": kind}, [content])

    return EmbeddingExplorer


def _module() -> str:
    return "\n".join((FRONTEND / name).read_text(encoding="utf-8") for name in MODULE_FILES)


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(FRONTEND), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("exported_page.html.j2")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
