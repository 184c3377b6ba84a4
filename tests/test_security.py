"""Files and texts from strangers: nothing in them is executed, and nothing of them becomes markup.

A payload would leave a marker if anything unpickled or called it; what cannot be read is an `InputError` that names it.
"""

import ast
import json
import os
import pickle
import re
import struct
from copy import deepcopy
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fake_runs import write_run
from outcomes import stopped_before
from safetensors.torch import load_file, save_file
from small_maps import small_map

from turbo_kit import InputError, RunConfig, TurboModel, load_corpus, train
from turbo_kit.ablation.grid import configs_of, read_grid
from turbo_kit.cli import main
from turbo_kit.config import EncoderConfig, ModelOptions
from turbo_kit.encoders import build_encoder
from turbo_kit.encoders.build import FAMILIES, WEIGHTS
from turbo_kit.encoders.feature_cache import FeatureStore
from turbo_kit.explorer.embedding_explorer import export_explorer
from turbo_kit.explorer.listening import ListeningGame, listening_game
from turbo_kit.explorer.sound import playable_audio
from turbo_kit.figures import confusion, inline_svg, learning_curves, map_panels, score_intervals, speaker_differences
from turbo_kit.model.card import as_markdown, model_card
from turbo_kit.report.write import write_report
from turbo_kit.runs import EPOCHS, Run
from turbo_kit.training.checkpoint import UNFINISHED, read_state, write_state

ROOT = Path(__file__).parents[1]
HOSTILE = "</title></script><script>boom()</script><img src=x onerror='boom()'>]]>\"' onfocus=\"boom()\" $\\frac{$"


class Payload:
    """What executes code when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path):
    """The folder that a payload makes; it must not be there after the test."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists()


@pytest.fixture
def payload(marker, tmp_path):
    """Disguises: a bare pickle, and one in the zip of torch.save; by name."""
    torch.save({"weight": Payload(marker)}, tmp_path / "payload.bin")
    return {"pickle": pickle.dumps(Payload(marker)), "torch": (tmp_path / "payload.bin").read_bytes()}


def test_the_payload_works_where_it_is_let(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "executed")))
    assert (tmp_path / "executed").is_dir()


# ---- the source


FORBIDDEN = {"eval", "exec", "compile", "__import__"}
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}


def _faults(tree):
    """What of a source could run what a file says."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (name for name in names if name.split(".")[0] in MODULES)
        if not isinstance(node, ast.Call):
            continue
        called, options = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
        last = called.split(".")[-1]
        if called in FORBIDDEN or called in ("os.system", "os.popen", "joblib.load", "pd.read_pickle"):
            yield called
        if called.endswith("torch.load") and options.get("weights_only") != "True":
            yield called
        if called.startswith("yaml.") and last in ("load", "load_all", "unsafe_load", "full_load"):
            yield called
        if options.get("shell") == "True" or options.get("allow_pickle") == "True":
            yield called
        if last == "from_pretrained" and options.get("trust_remote_code", "False") != "False":
            yield called
        if last == "Environment" and options.get("autoescape") != "True":
            yield called


def test_no_source_of_the_kit_runs_what_a_file_says():
    files = list((ROOT / "turbo_kit").rglob("*.py"))
    assert len(files) > 90
    assert not {f"{file}: {fault}" for file in files for fault in _faults(ast.parse(file.read_text("utf-8")))}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from dill import loads",
        "eval(text)",
        "torch.load(path)",
        "yaml.load(text, yaml.Loader)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(line, shell=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "jinja2.Environment()",
    ],
)
def test_the_look_at_the_source_sees_what_it_looks_for(source):
    assert list(_faults(ast.parse(source)))


def test_jupyterlab_listens_on_loopback_and_keeps_its_token():
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if "jupyter lab" in line]
    assert "--ip=127.0.0.1" in line
    assert not re.search(r"token|password|disable|allow|--config|0\.0\.0\.0", line, re.IGNORECASE)


# ---- run folders


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "runs", "run", objective="turbo", clips=9)


READERS = {
    "config.json": lambda run: run.config,
    "fold.json": lambda run: run.fold,
    "result.json": lambda run: run.result,
    "history.parquet": lambda run: run.history,
    "predictions.parquet": lambda run: run.predictions("test"),
    "embeddings.safetensors": lambda run: run.embeddings("test"),
    EPOCHS: lambda run: run.epochs(),
}
NONSENSE = {
    "empty": b"",
    "list": b"[]",
    "null": b"null",
    "deep": b"[" * 100_000,
    "half a character": b'{"classes": ["\\ud800"]}',
    "not UTF-8": b'{"a": "\xff"}',
    "header too long": struct.pack("<Q", 2**63) + b"{}",
}


@pytest.mark.parametrize("name", READERS)
def test_a_file_of_a_run_that_is_something_else_is_named_and_not_executed(run, payload, name):
    for content in [*payload.values(), *NONSENSE.values()]:
        (run.folder / name).write_bytes(content)
        with pytest.raises(InputError, match=re.escape(name)):
            READERS[name](Run(run.folder))


def test_a_table_that_is_none_of_a_run_is_named(run):
    for name in ("history.parquet", "predictions.parquet"):
        pd.DataFrame({"other": [1]}).to_parquet(run.folder / name)
        with pytest.raises(InputError, match=rf"{name} is broken \(.*no column '(epoch|split)'"):
            READERS[name](run)


def test_a_parquet_file_cannot_bring_a_pickled_type(run, payload):
    """Arrow before 14.0.1 unpickled this type when it read a file (CVE-2023-47248)."""
    metadata = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": payload["pickle"],
    }
    table = pq.read_table(run.folder / "predictions.parquet").replace_schema_metadata(None)
    schema = table.schema.append(pa.field("bomb", pa.int64(), metadata=metadata))
    table = table.append_column("bomb", pa.array([0] * len(table))).cast(schema)
    pq.write_table(table, run.folder / "predictions.parquet")
    assert len(run.predictions("test")) == 9


@pytest.mark.parametrize("content", [b'{"audio": "../../elsewhere", "text": "demo"}', b'{"audio": "/nowhere"}'])
def test_a_config_that_points_elsewhere_reaches_nothing(run, content):
    (run.folder / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"does not exist|cannot be loaded"):
        TurboModel.from_config(Run(run.folder).config, ("a", "b"))


@pytest.mark.parametrize("knob", ["../../x", "a;b", "__class__"])
def test_a_config_with_other_names_is_refused(run, knob):
    (run.folder / "config.json").write_text(json.dumps({knob: 1}))
    with pytest.raises(InputError, match="unknown parameter"):
        _ = Run(run.folder).config


# ---- models and encoders


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a small saved model."""
    folder = tmp_path_factory.mktemp("saved")
    TurboModel(
        classes=["x", "y"], options=ModelOptions(projection=8, encoder=EncoderConfig(head_width=32))
    ).save_pretrained(folder)
    return folder


def spoilt(folder, tmp_path, files):
    copy = tmp_path / "model"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(files.get(path.name, path.read_bytes()))
    return copy


@pytest.mark.parametrize("disguise", ["pickle", "torch"])
def test_weights_of_a_model_are_never_unpickled(saved, tmp_path, payload, disguise):
    folder = spoilt(saved, tmp_path, {"model.safetensors": payload[disguise]})
    with pytest.raises(InputError, match="holds no model of turbo-kit"):
        TurboModel.from_pretrained(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"model\.safetensors: no such file"):
        TurboModel.from_pretrained(folder)


@pytest.mark.parametrize(
    "change",
    [{"classes": 5}, {"head_width": "wide"}, {"about": 3}, {"fusion": ["x"]}, {"fingerprints": "x"}, {"text": 1}],
)
def test_a_model_whose_config_is_nonsense_is_refused(saved, tmp_path, change):
    config = json.loads((saved / "config.json").read_text()) | change
    with pytest.raises(InputError):
        TurboModel.from_pretrained(spoilt(saved, tmp_path, {"config.json": json.dumps(config).encode()}))


@pytest.fixture
def encoder(tmp_path):
    """A copy of the embedded text encoder that a test may spoil."""
    folder = tmp_path / "encoder"
    folder.mkdir()
    for path in (WEIGHTS / "demo-text").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("disguise", ["pickle", "torch"])
def test_weights_of_an_encoder_are_never_unpickled(encoder, payload, disguise):
    (encoder / "model.safetensors").write_bytes(payload[disguise])
    with pytest.raises(InputError, match="cannot be loaded"):
        build_encoder(str(encoder), "text")


def test_a_list_of_files_cannot_lead_to_a_pickle(encoder, payload):
    weights = load_file(encoder / "model.safetensors")
    torch.save(weights, encoder / "weights.bin")  # harmless, and still not read
    (encoder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "weights.bin")}
    (encoder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"names 'weights\.bin', which is no safetensors file"):
        build_encoder(str(encoder), "text")
    save_file(weights, encoder / "part.safetensors", metadata={"format": "pt"})
    index["weight_map"] = dict.fromkeys(weights, "part.safetensors")
    (encoder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert build_encoder(str(encoder), "text").fingerprint


def test_code_beside_a_model_is_not_imported(encoder, marker):
    for name in ("modeling_x", "configuration_x", "tokenization_x"):
        (encoder / f"{name}.py").write_text(f"import os\nos.mkdir({str(marker)!r})\nclass X: pass\n")
    edit(encoder / "config.json", auto_map={"AutoConfig": "configuration_x.X", "AutoModel": "modeling_x.X"})
    edit(encoder / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "tokenization_x.X"]})
    build_encoder(str(encoder), "text")
    edit(encoder / "config.json", model_type="x-of-a-stranger")
    with pytest.raises(InputError, match=r"x-of-a-stranger|cannot be loaded"):
        build_encoder(str(encoder), "text")


@pytest.mark.parametrize("family", ["bert", "deberta"])
def test_a_config_cannot_name_the_code_of_its_attention(encoder, monkeypatch, family):
    asked = []
    loading = FAMILIES[family]
    import transformers.modeling_utils as theirs

    monkeypatch.setattr(theirs, "lazy_import_flash_attention", lambda *names, **_: asked.append(names))
    settings = json.loads((encoder / "config.json").read_text())
    sizes = {key: value for key, value in settings.items() if key not in ("model_type", "architectures")}
    (encoder / "config.json").write_text(
        json.dumps(sizes | {"model_type": family, "attn_implementation": "evil/kernel"})
    )
    try:
        build_encoder(str(encoder), "text")
    except InputError as error:  # BERT's weights are none of DeBERTa's
        assert "tensors that a deberta model needs" in str(error)
    assert not asked and loading.attention in ("turbo-kit", "eager")


def test_a_quantised_encoder_is_refused(encoder):
    edit(encoder / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    with pytest.raises(InputError, match="is quantised"):
        build_encoder(str(encoder), "text")


# ---- the caches


@pytest.mark.parametrize("disguise", ["pickle", "torch", "empty", "objects"])
def test_features_are_never_unpickled(tmp_path, marker, payload, disguise, caplog):
    folder = tmp_path / "store"
    FeatureStore(folder).lock()
    FeatureStore(folder).add({"a": np.ones((3, 2), np.float32)})
    (array,) = folder.glob("*.npy")
    if disguise == "objects":
        with array.open("wb") as file:
            np.save(file, np.array([Payload(marker)] * 3, dtype=object), allow_pickle=True)
    else:
        array.write_bytes({**payload, "empty": b""}[disguise])
    store = FeatureStore(folder)
    store.refresh()
    assert "a" not in store and "damaged features" in caplog.text and not array.exists()


@pytest.mark.parametrize("index", [b"[1, 2]", b'{"a": "x"}', b"3", b"[" * 100_000, b'{"a": null}'])
def test_an_index_of_features_that_is_nonsense_is_removed(tmp_path, index, caplog):
    FeatureStore(tmp_path).add({"a": np.ones((3, 2), np.float32)})
    (file,) = tmp_path.glob("*.json")
    file.write_bytes(index)
    store = FeatureStore(tmp_path)
    store.refresh()
    assert "a" not in store and "damaged features" in caplog.text


# ---- grids


@pytest.mark.parametrize(
    "content",
    [
        "objective: !!python/object/apply:os.mkdir [MARKER]",
        "objective: !!python/object/new:os.mkdir [MARKER]",
        "!!python/name:os.mkdir ''",
        "objective: !!python/module:os ''",
        "? !!python/object/apply:os.mkdir [MARKER]\n: 1",
        "[" * 50_000,
    ],
)
def test_tags_of_yaml_are_not_executed(tmp_path, marker, content):
    (tmp_path / "grid.yaml").write_text(content.replace("MARKER", str(marker)))
    with pytest.raises(InputError, match="not valid YAML"):
        read_grid(tmp_path / "grid.yaml")


@pytest.mark.parametrize("name", ["grid.json", "grid.toml"])
def test_a_grid_that_is_too_deep_is_an_error(tmp_path, name):
    (tmp_path / name).write_text(("" if name.endswith("json") else "seed = ") + "[" * 100_000)
    with pytest.raises(InputError, match="not valid"):
        read_grid(tmp_path / name)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghijkl", "bcdefghijklm", strict=True)
)


@pytest.mark.parametrize("knob", ["protocol", "objective", "epochs", "temperature", "pair_weights", "tested_snr"])
def test_a_yaml_bomb_is_told_in_a_short_message(tmp_path, knob):
    (tmp_path / "grid.yaml").write_text(f"{BOMB}{knob}: [*m]\n")
    grid = {knob: read_grid(tmp_path / "grid.yaml")[knob]}
    with pytest.raises(InputError, match=knob) as error:
        configs_of(grid)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    "content",
    ["objective: &a [*a]", "on: 1", "3: x", "2020-01-01: x", "seed: 2020-01-01", "learning_rate: 1" + "0" * 400],
)
def test_a_grid_of_odd_yaml_is_an_error(tmp_path, content):
    (tmp_path / "grid.yaml").write_text(content)
    with pytest.raises(InputError):
        configs_of(read_grid(tmp_path / "grid.yaml"))


def test_a_grid_cannot_write_code_into_the_notebook_of_its_runs():
    """papermill writes the parameters of a run as source."""
    from papermill.translators import PythonTranslator

    text = "x\"); __import__('os').mkdir('executed') #\n\\\"'''\u2028{}"
    config = RunConfig(corpus=text, objective=text, audio=text, transcripts=text, pair_weights={text: 0.5})
    source = PythonTranslator.codify(config.to_dict())
    written = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(source).body}
    assert written == config.to_dict()


# ---- corpora


@pytest.mark.parametrize("path", ["../outside.wav", "clips/../../outside.wav"])
def test_a_manifest_cannot_climb_out_of_its_folder(manifest_of, path):
    manifest = manifest_of(lambda rows: rows[3].update(path=path), "climbing.jsonl")
    with pytest.raises(InputError, match=r"row 4: path .* leaves the manifest's folder"):
        load_corpus(f"manifest:{manifest}")


def test_a_table_of_a_dataset_cannot_bring_a_pickled_type(tmp_path, tones, payload):
    metadata = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": payload["pickle"]}
    rows = [json.loads(line) for line in tones.read_text().splitlines()]
    sound = [(tones.parent / row["path"]).read_bytes() for row in rows]
    table = pa.table({name: [row[name] for row in rows] for name in ("text", "label", "speaker")} | {"audio": sound})
    schema = table.schema.append(pa.field("bomb", pa.int64(), metadata=metadata))
    table = table.append_column("bomb", pa.array([0] * len(rows))).cast(schema)
    pq.write_table(table, tmp_path / "clips.parquet")
    assert len(load_corpus(f"huggingface:{tmp_path / 'clips.parquet'}")) == len(rows)
    folder = tmp_path / "saved"
    folder.mkdir()
    with pa.OSFile(str(folder / "data.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    assert len(load_corpus(f"huggingface:{folder}")) == len(rows)


def test_only_sound_gets_into_a_page(tmp_path):
    """A manifest may name any file; whoever shares a page or a notebook must not share his keys with it."""
    secret = tmp_path / "id_rsa"
    secret.write_text("-----BEGIN KEY-----" + "x" * 200)
    (tmp_path / "clip.wav").symlink_to(secret)
    for path in (secret, tmp_path / "clip.wav", tmp_path / "nowhere.mp3"):
        with pytest.raises(InputError, match="cannot be read"):
            playable_audio(path)


# ---- a state of a training that is valid safetensors and holds nonsense


def text_state(path, text):
    save_file({"tensor:0": torch.zeros(2)}, path, metadata={"state": text})


@pytest.mark.parametrize(
    "text", ["[]", "3", '"tensor:0"', "null", "[" * 100_000, '{"training": "tensor:9"}', "{", '{"a": NaN', "tensor:0"]
)
def test_a_state_that_is_no_state_is_told_and_not_used(tmp_path, caplog, text):
    text_state(tmp_path / UNFINISHED, text)
    assert read_state(tmp_path / UNFINISHED) is None
    assert "is broken" in caplog.text


def test_a_state_is_never_unpickled(tmp_path, payload, caplog):
    for content in [*payload.values(), *NONSENSE.values()]:
        (tmp_path / UNFINISHED).write_bytes(content)
        caplog.clear()
        assert read_state(tmp_path / UNFINISHED) is None
        assert "is broken" in caplog.text


@pytest.fixture(scope="module")
def half_done(tones, tmp_path_factory):
    """A training that stopped within its second epoch: its config, fold, run folder and state."""
    knobs = {"objective": "simcse", "audio": "none", "temperature": "learned"}
    small = {"epochs": 3, "batch_size": 8, "head_width": 32, "projection": 16, "device": "cpu"}
    config = RunConfig(corpus=f"manifest:{tones}", **small, **knobs)
    fold = load_corpus(config.corpus).fold(0)
    out = tmp_path_factory.mktemp("half")
    with stopped_before(5):
        train(config, fold.train, fold.dev, out, save_every=0)
    (folder,) = out.iterdir()
    return config, fold, Run(folder), read_state(folder / UNFINISHED)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("record", {}),
        ("record", {"rows": 3}),
        ("training", "x"),
        ("training.epoch", 0),
        ("training.epoch", 4),
        ("training.epoch", "x"),
        ("training.number", -1),
        ("training.number", 10**9),
        ("training.model", {}),
        ("training.model", {"classifier.weight": torch.zeros(2)}),
        ("training.objective.logit_scale", torch.zeros(2)),
        ("training.optimizer", {}),
        ("training.optimizer.state.0.exp_avg", torch.zeros(2)),
        ("training.optimizer.state", {"99": {}}),
        ("training.optimizer.param_groups", []),
        ("training.random.0.torch", torch.zeros(3)),
        ("training.random.0.numpy.1", 10**6),
        ("training.random.0.python", []),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_state_of_nonsense_is_refused_by_name(half_done, path, value):
    config, fold, run, state = half_done
    spoilt = deepcopy(state)
    *way, last = (int(name) if name.isdecimal() and "state" not in path else name for name in path.split("."))
    holder = spoilt
    for name in way:
        holder = holder[name]
    holder[last] = value
    write_state(run.folder / UNFINISHED, spoilt)
    with pytest.raises(
        InputError, match=rf"{UNFINISHED} is no state of this training|belong to another model|expected"
    ):
        train(config, fold.train, fold.dev, run.folder.parent)


def test_a_training_says_that_its_state_is_nonsense_and_starts_anew_when_asked(half_done):
    config, fold, run, state = half_done
    write_state(run.folder / UNFINISHED, {"training": state["training"]})
    with pytest.raises(InputError, match=r"delete it, or start from the beginning with again=True"):
        train(config, fold.train, fold.dev, run.folder.parent)
    assert train(config, fold.train, fold.dev, run.folder.parent, again=True).trained


# ---- what is shown


class Elements(HTMLParser):
    """Every element of a page with its attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def harmless(page, scripts=0):
    """Asserts that nothing in a page is executed but so many scripts of its own; returns its elements."""
    found = Elements(page)
    tags = [tag for tag, _ in found.tags]
    assert tags.count("script") == scripts
    assert not {"img", "iframe", "object", "embed", "form", "base", "link"} & set(tags)
    for tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("href", "src", "action", "xlink:href"):
            assert not re.match(r"\s*(?!https:|data:audio/)[a-z.+-]+:", attributes.get(name) or "", re.IGNORECASE)
    return found


def test_a_report_shows_what_strangers_wrote_as_text(tmp_path):
    evil = "javascript:alert(1)"
    classes = (HOSTILE, "b")
    for name, objective in ((evil, "turbo"), ("\"><img src=x onerror='boom()'>", "ce-2pass")):
        run = write_run(tmp_path, name, objective=objective, classes=classes, about=HOSTILE, clips=12)
        table = pd.read_parquet(run.folder / "predictions.parquet")
        table.assign(speaker=HOSTILE + table["speaker"], text=HOSTILE).to_parquet(run.folder / "predictions.parquet")
        result = run.result | {"device": HOSTILE, "source": HOSTILE, "versions": {HOSTILE: HOSTILE}}
        (run.folder / "result.json").write_text(json.dumps(result))
        (run.folder / "notebook.ipynb").write_text("{}")
    failed = write_run(tmp_path, f"{evil} failed", objective="clip", done=False)
    error = {"error": HOSTILE, "message": HOSTILE, "when": HOSTILE}
    (failed.folder / "error.json").write_text(json.dumps(error))
    page = write_report(tmp_path, maps=False).read_text("utf-8")
    found = harmless(page)
    assert found.text.count(HOSTILE) > 5 and "default-src 'none'" in page
    written = sorted(path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*.csv"))
    assert set(written) == {"report.csv", "report_tables"}


def test_an_exported_map_shows_what_strangers_wrote_as_text(tmp_path):
    data = small_map(tmp_path)
    clips = data.clips.assign(transcript=HOSTILE, speaker=HOSTILE, id=[f"{HOSTILE}{i}" for i in range(len(data.clips))])
    clips["label"] = HOSTILE
    data = replace(data, clips=clips, title=HOSTILE, classes=(HOSTILE, *data.classes[1:]), about_neighbours=HOSTILE)
    page = export_explorer(data, tmp_path / "map.html", include=("transcript",)).read_text("utf-8")
    harmless(page, scripts=2)
    assert "boom()" in page


def test_the_front_ends_of_the_explorers_set_text_and_never_markup():
    for file in (ROOT / "turbo_kit" / "explorer").glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|DOMParser",
            file.read_text(),
        ), file


def widgets(panel):
    yield panel
    for child in getattr(panel, "children", ()):
        yield from widgets(child)


def test_the_listening_game_shows_what_strangers_wrote_as_text(tones_corpus, tmp_path):
    clip = tones_corpus.utterances[0]
    named = tmp_path / 'clip.wav" onerror="boom()'
    named.write_bytes(clip.path.read_bytes())
    clip = replace(clip, path=named, text=HOSTILE, label=HOSTILE)
    game = ListeningGame((clip,), (HOSTILE, "b"), {HOSTILE: {clip.id: HOSTILE}})
    panel = listening_game(game)
    panel.children[0].value = "both"
    next(w for w in widgets(panel) if getattr(w, "description", "") == "b").click()
    pages = [w.value for w in widgets(panel) if type(w).__name__ == "HTML"]
    found = [harmless(page) for page in pages]
    assert sum(HOSTILE in page.text for page in found) >= 2
    (sound,) = [attributes["src"] for page in found for tag, attributes in page.tags if tag == "audio"]
    assert re.fullmatch(r"data:audio/wav;base64,[\w+/=]+", sound)


NAMES = (
    HOSTILE,
    "_hidden",
    "a\nb",
    "x" * 200,
    "\u202e\u0645\u0631\u062d\u0628\u0627 \U0001f600",
    '#1b1d21 url(#x id="y',
)


@pytest.mark.filterwarnings("ignore:Glyph")
def test_figures_show_names_as_they_are(tmp_path):
    """`$` begins mathematics in matplotlib, `_` hides a name from a legend, and colours follow the theme of a page."""
    classes = list(NAMES)
    table = pd.DataFrame({"label": classes * 2, "predicted": classes + classes[::-1]})
    scores = pd.DataFrame({"objective": NAMES, "UA": 0.5, "UA_low": 0.4, "UA_high": 0.6, "verdict": "not compared"})
    run = write_run(tmp_path, objective="turbo")
    points = np.random.default_rng(0).normal(size=(12, 2))
    figures = [
        confusion(table, classes, title=HOSTILE),
        score_intervals(scores),
        speaker_differences(pd.DataFrame({name: [0.1, 0.2] for name in NAMES}, index=[HOSTILE, "b"]), "base"),
        learning_curves({name: [run] for name in NAMES}),
        map_panels({HOSTILE: points}, classes * 2, classes),
    ]
    for figure in figures:
        page = harmless(inline_svg(figure, HOSTILE, "figure"))
        text = re.sub(r"\s+", "", page.text)
        for name in NAMES:
            assert re.sub(r"\s+", "", name) in text, (figure, name)
        assert page.tags[0][1]["aria-label"] == HOSTILE


def test_a_model_card_shows_names_as_text(saved):
    model = TurboModel.from_pretrained(saved)
    model.classes = [HOSTILE, "[x](javascript:boom()) \\[y](javascript:boom())", "a\n\n# b | c\n---"]
    model.about = {"data": HOSTILE, "objective": HOSTILE, "scores": {"a | b": HOSTILE}}
    card = model_card(model.classes, model.modalities, model.about, optional=False)
    assert "<script" not in card and "<img" not in card and "[x]" not in card and "\n# b" not in card
    assert "\\[" not in card
    assert card.count("---\n") == 3 or card.count("\n---\n") == 1


def test_markdown_of_a_text_is_the_text():
    from html import unescape

    assert unescape(as_markdown(HOSTILE)) == " ".join(HOSTILE.split())
    assert as_markdown("Synthetic speech, 4 classes: see *it*_") == "Synthetic speech, 4 classes: see *it*_"


def test_what_is_printed_cannot_drive_the_terminal(manifest_of, capsys):
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\rx"
    manifest = manifest_of(lambda rows: [row.update(speaker=evil + row["speaker"]) for row in rows], "terminal.jsonl")
    main(["corpus", "check", f"manifest:{manifest}"])
    printed = capsys.readouterr().out
    assert "\\x1b]0;owned\\x07" in printed
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", printed)
    with pytest.raises(SystemExit):
        main(["report", evil])
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", capsys.readouterr().err)
