"""Results in a notebook: what cells show, and how their tables behave in a browser."""

import html.parser
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hostile import ALERT, HOSTILE, make_hostile_run
from hypothesis import given
from hypothesis import strategies as st
from pages import opened

import mlxpy
from mlxpy_core._reading._html_tables import render_directory
from mlxpy_core._reading._log_table import LogTable

EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
cells = [nbformat.v4.new_code_cell(source) for source in sys.argv[2:]]
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, resources={"metadata": {"path": sys.argv[1]}}).execute()
nbformat.write(notebook, sys.argv[1] + "/executed.ipynb")
"""
TAGS = {
    "style",
    "div",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "p",
    "script",
    "details",
    "summary",
    "code",
}


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("project") / "logs"
    for number, lr in enumerate((0.1, 10.0, 2.0, "$<b>auto$")):
        with mlxpy.Logger(logs, config={"lr": lr, "seed": 0}) as logger:
            for row in range(3):
                logger.log_metrics({"loss": row * (number + 1), "epoch": row}, "train")
    return logs


def executed(place: Path, *cells: str) -> list[dict[str, Any]]:
    """Returns what the last outputs of cells are, by their MIME types, after a real kernel has run them."""
    for module in ("nbclient", "ipykernel"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    subprocess.run([sys.executable, "-c", EXECUTE, place, *cells], check=True)
    notebook = json.loads((place / "executed.ipynb").read_text())
    return [cell["outputs"][-1].get("data", {}) if cell["outputs"] else {} for cell in notebook["cells"]]


def test_cells_show_tables_and_plots(logs: Path) -> None:
    pytest.importorskip("plotly", reason="plotly is not installed")
    reader, results, groups, plot, saved = executed(
        logs.parent,
        "import mlxpy\nreader = mlxpy.Reader('logs')\nreader",
        "results = reader.search()\nresults",
        "results.groupby('config.lr')",
        "results.plot('train.epoch', 'train.loss', hue='config.lr')",
        "results.plot(None, 'train.loss', backend='matplotlib').figure.savefig('loss.png')",
    )
    assert "4 runs in <code>" in "".join(reader["text/html"])
    assert "<td>COMPLETE</td><td>4</td>" in "".join(reader["text/html"])
    assert "".join(reader["text/plain"]).endswith(
        "logs'): 4 runs (4 COMPLETE), columns: " + columns(logs)
    )
    for shown in (results, groups):
        assert "<td>$&lt;b&gt;auto$</td>" in "".join(shown["text/html"])
    names = [trace["name"] for trace in plot["application/vnd.plotly.v1+json"]["data"]]
    assert names == ["0.1", "10.0", "2.0", "&#36;&lt;b&gt;auto&#36;"]
    assert saved == {} or "image/png" in saved
    assert (logs.parent / "loss.png").stat().st_size


def columns(logs: Path) -> str:
    info = sum(name.startswith("info.") for name in mlxpy.Reader(logs).fields.index)
    return f"2 of config, {info} of info, 2 of metrics"


def test_the_default_for_scripts_is_matplotlib(logs: Path) -> None:
    results = mlxpy.Reader(logs).search()
    axes = results.plot("train.epoch", "train.loss", hue="config.lr")
    axes.figure.savefig(logs.parent / "script.png")  # a hue that is no formula
    assert [line.get_label() for line in axes.lines] == ["0.1", "10.0", "2.0", r"\$<b>auto\$"]
    with pytest.raises(mlxpy.MlxpyError, match=r"backend='plotly' draws on no axes: leave out ax"):
        results.plot("train.epoch", "train.loss", ax=axes, backend="plotly")  # type: ignore[call-overload]  # wrong on purpose
    with pytest.raises(mlxpy.MlxpyError, match=r"backend='bokeh': give 'plotly' or 'matplotlib'"):
        results.plot("train.epoch", "train.loss", backend="bokeh")  # type: ignore[call-overload]  # wrong on purpose


def test_plotly_draws_what_matplotlib_does(tmp_path: Path) -> None:
    pytest.importorskip("plotly", reason="plotly is not installed")
    for seed in (1, 2):
        with mlxpy.Logger(tmp_path, config={"lr": 0.1, "seed": seed}) as logger:
            for row in range(3):
                logger.log_metrics({"loss": row * seed}, "train")
    with mlxpy.Logger(tmp_path, config={"lr": 0.2, "seed": 1}) as logger:
        logger.log_metrics({"loss": 7}, "train")
    results = mlxpy.Reader(tmp_path).search()
    band, mean, point = results.plot(None, "train.loss", backend="plotly").data
    axes = results.plot(None, "train.loss", backend="matplotlib")
    assert list(mean.y) == list(axes.lines[0].get_ydata()) == [0, 1.5, 3]
    assert list(band.y) == [0, 2, 4, 2, 1, 0]
    assert [mean.name, point.name, point.mode] == ["lr=0.1", "lr=0.2", "markers"]
    assert mean.line.color != point.line.color


@pytest.mark.parametrize(("backend", "extra"), [("plotly", "report"), ("matplotlib", "plot")])
def test_what_draws_is_not_installed(
    logs: Path, monkeypatch: pytest.MonkeyPatch, backend: Any, extra: str
) -> None:
    for module in ("plotly.graph_objects", "matplotlib"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(mlxpy.MlxpyError, match=rf"plot needs {backend}: pip install 'mlxpy\[{extra}\]'"):
        mlxpy.Reader(logs).search().plot(None, "train.loss", backend=backend)


class Page(html.parser.HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {f"{name}={value}" for name, value in attrs}
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        self.texts[-1] += data


texts = st.text(min_size=1, max_size=30) | st.sampled_from(HOSTILE)


@given(head=texts, cell=texts)
def test_whatever_a_run_holds_is_text(head: str, cell: str) -> None:
    table = Page(LogTable([{head: cell, "other": 1}, {head: "y", "other": 1}])._repr_html_())
    assert table.tags <= TAGS
    assert table.attributes <= {"class=mlxpy", "class=mlxpy mlxpy-same"}
    assert (
        any("".join(cell.split())[:10] in "".join(one.split()) for one in table.texts)
        or not cell.isprintable()
    )
    directory = Page(render_directory(cell, {head: 1}, {"config": [cell, head]}))
    assert directory.tags <= TAGS
    assert directory.attributes <= {"class=mlxpy"}
    shown = "".join([*table.texts, *directory.texts])
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_of_many_rows_the_first_and_the_last_are_shown() -> None:
    page = LogTable([{"row": row} for row in range(3000)])._repr_html_()
    assert page.count("<tr>") == 1001
    assert "3,000 rows, 1 columns. The first 500 and the last 500 are shown; 2,000 more are not" in page
    wide = LogTable([{str(key): row for key in range(1000)} for row in range(100)])._repr_html_()
    assert wide.count("<tr>") == 61


def test_a_reader_of_no_runs(tmp_path: Path) -> None:
    reader = mlxpy.Reader(tmp_path)
    assert repr(reader) == f"Reader({str(tmp_path)!r}): 0 runs"
    assert "0 runs in <code>" in reader._repr_html_()


def column(page: Any, heading: str) -> list[str]:
    heads = page.locator(".mlxpy thead th").all_inner_texts()
    place = [head.strip(" \N{UPWARDS ARROW}\N{DOWNWARDS ARROW}") for head in heads].index(heading) + 1
    return [
        text.strip() for text in page.locator(f".mlxpy tbody td:nth-child({place})").all_inner_texts()
    ]


def test_a_click_on_a_heading_sorts(browser: Any, logs: Path, tmp_path: Path) -> None:
    make_hostile_run(tmp_path / "hostile")
    results = mlxpy.Reader(logs).search() + mlxpy.Reader(tmp_path / "hostile").search()
    (tmp_path / "page.html").write_text(f"<!DOCTYPE html><meta charset=utf-8>{results._repr_html_()}")
    seen = opened(browser, tmp_path / "page.html")
    page = seen.page
    heading = page.locator(".mlxpy thead th", has_text="config.lr")
    heading.click()
    ascending = column(page, "config.lr")
    assert ascending[:3] == ["0.1", "2.0", "10.0"]  # as numbers; texts come after them
    assert set(ascending[3:]) == {"$<b>auto$", ALERT}
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.focus()
    page.keyboard.press("Enter")
    assert column(page, "config.lr")[:3] == ["10.0", "2.0", "0.1"]
    page.keyboard.press("Space")
    assert column(page, "config.lr") == ascending
    # A cell that is run later, in a notebook that keeps outputs apart: nothing but the table is added.
    page.evaluate(
        "(html) => { const place = document.body.appendChild(document.createElement('div'))"
        ".attachShadow({mode: 'open'}); place.innerHTML = html; }",
        LogTable([{"a": 3}, {"a": 1}, {"a": 2}])._repr_html_(),
    )
    page.locator("th", has_text="a").last.click()
    assert page.locator("td").all_inner_texts()[-3:] == ["1", "2", "3"]
    assert seen.wrong == []


def test_without_javascript_it_is_a_table(browser: Any, logs: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(mlxpy.Reader(logs).search()._repr_html_())
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert column(page, "config.lr") == ["0.1", "10.0", "2.0", "$<b>auto$"]
