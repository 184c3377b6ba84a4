"""Published results stand beside runs of IEMOCAP with four classes, and nowhere else."""

import pandas as pd
import pytest
from fake_runs import CLASSES, write_run

from turbo_kit.report.write import write_report

pytestmark = pytest.mark.usefixtures("undrawn")


def published(folder):
    """The table of published results as the report wrote it, or None."""
    page = write_report(folder, maps=False)
    path = page.with_name("report_tables") / "published.csv"
    assert path.is_file() == ("Published results" in page.read_text())
    return pd.read_csv(path) if path.is_file() else None


def test_they_stand_below_the_rows_of_the_report_with_protocol_and_source(tmp_path):
    for objective in ("ce-2pass", "turbo"):
        write_run(tmp_path, corpus="iemocap:/data/IEMOCAP", objective=objective, fold=0)
    write_run(tmp_path, corpus="iemocap:/data/IEMOCAP", objective="turbo", fold=1)
    table = published(tmp_path)
    assert table["result"].tolist()[:2] == ["ce-2pass (demo + demo)", "turbo (demo + demo)"]
    scores = table.set_index("result").loc[["MGCMA (wav2vec2 + BERT)", "HuBERT-base"], ["WA %", "UA %"]]
    assert scores.astype(float).to_numpy().tolist() == [[78.87, 80.24], [63.1, 63.9]]
    own = table["source"] == "this report"
    assert own.tolist() == [True, True] + [False] * (len(table) - 2)
    assert table["protocol"][1].startswith("2 of 5 folds, 1 seed;")
    assert table[~own]["source"].str.contains("arXiv").all()
    assert table[~own]["protocol"].str.len().gt(5).all()
    page = (tmp_path / "report.html").read_text()
    assert "not comparable with one another" in page
    assert "on iemocap" in page


@pytest.mark.parametrize(
    ("corpus", "classes"),
    [
        ("demo-emotion", CLASSES),
        ("iemocap:/data/IEMOCAP?part=improvised", CLASSES),
        ("iemocap:/data/IEMOCAP?classes=5", (*CLASSES, "frustrated")),
    ],
)
def test_other_tasks_have_none(tmp_path, corpus, classes):
    write_run(tmp_path, corpus=corpus, classes=classes)
    assert published(tmp_path) is None
