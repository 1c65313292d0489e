"""`mlxpy report`: what it holds, and how its page behaves in a real browser."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from click.testing import CliRunner, Result

import mlxpy
from mlxpy_core._cli import main
from mlxpy_core._reading._tables._metric_columns import Series
from mlxpy_core._report._content import report_content
from mlxpy_core._report._curves import _Packed
from mlxpy_core._report._failures import failed_runs
from mlxpy_core._report._influence import importances, influence
from mlxpy_core._report._page import in_script

ALERT = "<img src=x onerror=alert(1)>"
HOSTILE = [
    ALERT,
    "</script><script>alert(2)</script>",
    "<!--<script>",
    "&lt;b&gt; & <a href='javascript:alert(3)'>x</a>",
    '"><svg/onload=fetch("https://example.org/")>',
    "\x1b]0;title\x07\x1b[2J\u202e%{x}$\\alpha$",
]
ROWS, SPIKE = 5000, 777
NOTHING = "\N{EN DASH}"
WINDOW = {"width": 1200, "height": 900}
LRS, SEEDS = (0.1, 0.01), 3


def need_the_extra() -> None:
    for module in ("plotly", "itables"):
        pytest.importorskip(module, reason=f"{module} is not installed")


def invoke(*words: str) -> Result:
    return CliRunner().invoke(main, ["report", *words])


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two learning rates and three seeds, a long one, a hostile one that fails, one without anything."""
    logs = tmp_path_factory.mktemp("a project") / "logs"
    for number in range(len(LRS) * SEEDS):
        lr, seed = LRS[number // SEEDS], number % SEEDS
        config = {"lr": lr, "seed": seed, "model": {"name": "mlp", "width": 8 * (number + 1)}}
        with mlxpy.Logger(parent_log_dir=logs, config=config) as logger:
            for epoch in range(4):
                logger.log_metrics({"loss": lr * (4 - epoch) + seed, "epoch": 10 * epoch}, "train")
            if number == 0:
                pytest.importorskip("PIL")
                logger.log_artifact(np.full((8, 8, 3), 200, dtype=np.uint8), "a <b>picture", "image")
    with mlxpy.Logger(parent_log_dir=logs, config={"lr": 10.0, "seed": 0}) as logger:
        for row in range(ROWS):
            logger.log_metrics({"loss": 99.0 if row == SPIKE else (row % 7) / 7, "epoch": row}, "train")
    with pytest.raises(ValueError, match="alert"):
        fail_hostilely(logs)
    with mlxpy.Logger(parent_log_dir=logs, config={"lr": 1.0}):
        pass
    return logs


def fail_hostilely(logs: Path) -> None:
    config = {"lr": ALERT, "model": {"name": HOSTILE[1]}, ALERT: HOSTILE[2], "__proto__": HOSTILE}
    with mlxpy.Logger(parent_log_dir=logs, config={**config, "t": HOSTILE[5]}) as logger:
        run = Path(logger.log_dir)
        for value in range(3):
            row = {"loss": float(value), HOSTILE[1]: value, HOSTILE[3]: HOSTILE[0]}
            logger.log_metrics(row, "train")
        (run / "log.stderr").write_text("\n".join(["early", *HOSTILE, "\x1b[31mred\x1b[0m end"]))
        (run / "artifacts" / "image").mkdir(parents=True)
        (run / "artifacts" / "image" / "no.png").write_text(HOSTILE[4])
        raise ValueError(HOSTILE[1])


@pytest.fixture(scope="module")
def report(logs: Path) -> Path:
    need_the_extra()
    target = logs.parent / "shared" / "report.html"
    done = invoke("--logs", str(logs), "-o", str(target), "--metric", "train.loss")
    assert done.exit_code == 0, done.output
    assert done.output == f"{target}: 9 runs, {target.stat().st_size / 1e6:.1f} MB\n"
    assert os.listdir(target.parent) == ["report.html"]
    return target


# In a browser.


@dataclass
class Seen:
    """A page, and what it did that it must not."""

    page: Any
    wrong: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser: Any, report: Path) -> Seen:
    """Opens the report in a window of its own."""
    page = browser.new_context(viewport=WINDOW, color_scheme="light").new_page()
    page.set_default_timeout(60_000)
    seen = Seen(page)
    own = report.as_uri()
    page.on("dialog", lambda dialog: (seen.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: seen.wrong.append(f"error {error}"))
    page.on(
        "console",
        lambda message: message.type in ("error", "warning") and seen.wrong.append(message.text),
    )
    page.on(
        "request",
        lambda request: (
            request.url != own
            and not request.url.startswith(("blob:", "data:"))
            and seen.wrong.append(f"request {request.url}")
        ),
    )
    page.goto(own)
    page.wait_for_selector("html[data-ready=all], #trouble:not([hidden])", state="attached")
    assert seen.wrong == []
    return seen


@pytest.fixture(scope="module")
def shared(browser: Any, report: Path) -> Seen:
    return opened(browser, report)


@pytest.fixture
def seen(shared: Seen) -> Iterator[Seen]:
    """The page that tests share, with all runs and the controls as they were."""
    page = shared.page
    page.set_viewport_size(WINDOW)
    page.emulate_media(color_scheme="light")
    page.locator("#smoothing").fill("0")
    choose(page, "#line", "setting, mean over seeds")  # a run has no band
    for control, chosen in {
        "#y": "train.loss",
        "#x": "row",
        "#colour": "lr",
        "#band": "standard deviation",
    }.items():
        choose(page, control, chosen)
    for box in ("log x", "log y"):
        page.get_by_label(box).uncheck()
    search(page, "", 9)
    yield shared
    assert shared.wrong == []


def rows_of_table(page: Any, column: int = 0) -> list[str]:
    cells = page.locator(f"#runs tbody tr > :nth-child({column + 1})")
    return [text.strip() for text in cells.all_inner_texts()]


def headings(page: Any) -> list[str]:
    return [text.strip() for text in page.locator("#runs thead th").all_inner_texts()]


def traces(page: Any) -> list[dict[str, Any]]:
    """Gives the lines that are drawn, without their bands."""
    found = page.evaluate(
        "document.getElementById('curves-plot').data.map((one) => ({name: one.name, text: one.text, x: one.x,"
        " y: one.y, colour: one.line.color, band: one.fill === 'toself'}))"
    )
    return [one for one in found if not one["band"]]


def choose(page: Any, control: str, label: str) -> None:
    page.locator(control).select_option(label=label)


def sort(page: Any, column: int, direction: str) -> None:
    page.locator("#runs thead th").nth(column).click()
    page.wait_for_selector(f"#runs thead th:nth-child({column + 1})[aria-sort='{direction}']")


def search(page: Any, text: str, count: int) -> None:
    page.get_by_role("searchbox").fill(text)
    page.wait_for_function(
        "([count]) => document.getElementById('curves-note').textContent.startsWith(`${count} run`)",
        arg=[count],
    )


def test_hostile_runs_are_shown_and_not_run(seen: Seen) -> None:
    page = seen.page
    assert ALERT in page.locator("#runs tbody").inner_text()
    page.locator("details").evaluate_all("(all) => all.forEach((one) => { one.open = true; })")
    for box in page.locator("#columns input").all():
        box.check()
    shown = page.locator("body").inner_text()
    assert all(text in shown for text in HOSTILE[:3])
    assert "\\x1b]0;title\\x07\\x1b[2J\\u202e%{x}" in shown
    assert page.locator("script").count() == 4
    assert page.locator("svg a, main img[src='x'], svg b").count() == 0
    for text in (*HOSTILE[:4], "&lt;"):
        page.get_by_role("searchbox").fill(text)
        page.wait_for_function("document.querySelectorAll('#runs tbody tr').length === 1")
        assert rows_of_table(page) == ["8"], text
    search(page, "", 9)
    for control in ("#colour", "#y", "#x", "#line", "#result"):
        for value in page.locator(f"{control} option").evaluate_all(
            "(all) => all.map((one) => one.value)"
        ):
            page.locator(control).select_option(value=value)
    page.mouse.move(600, 600)


def test_the_table_is_searched_sorted_and_its_columns_chosen(seen: Seen) -> None:
    page = seen.page
    assert headings(page)[:5] == ["run", "status", "start", "duration (s)", "config.lr"]
    column = headings(page).index("config.lr")
    sort(page, column, "ascending")
    assert rows_of_table(page, column) == ["0.01"] * 3 + ["0.1"] * 3 + ["1", "10", ALERT]
    sort(page, column, "descending")
    assert rows_of_table(page, column) == ["10", "1"] + ["0.1"] * 3 + ["0.01"] * 3 + [ALERT]
    width = headings(page).index("config.model.width")
    for direction in ("ascending", "descending"):
        sort(page, width, direction)
        assert rows_of_table(page, width)[-3:] == [NOTHING] * 3
    search(page, "FAILED", 1)
    assert rows_of_table(page) == ["8"]
    colours = page.locator(".status").evaluate_all(
        "(all) => all.map((one) => getComputedStyle(one).color)"
    )
    search(page, "", 9)
    assert set(colours) < set(
        page.locator("#runs .status").evaluate_all(
            "(all) => all.map((one) => getComputedStyle(one).color)"
        )
    )
    if not page.locator("#columns").is_visible():
        page.locator("summary", has_text="Columns").click()
    page.get_by_label("config.lr", exact=True).uncheck()
    assert "config.lr" not in headings(page)


def test_links_lead_to_the_runs_directories(seen: Seen, logs: Path, report: Path) -> None:
    links = seen.page.locator("#runs tbody a").evaluate_all(
        "(all) => all.map((one) => one.getAttribute('href'))"
    )
    found = [(report.parent / unquote(link)).resolve() for link in links]
    assert sorted(found) == [logs / str(number) for number in range(1, 10)]


def test_choosing_a_metric_and_a_colour_draws_anew(seen: Seen) -> None:
    page = seen.page
    search(page, "mlp 0.", 6)
    choose(page, "#line", "colour, mean over its runs")
    choose(page, "#colour", "lr")
    lines = traces(page)
    assert [line["name"] for line in lines] == ["0.1", "0.01"]
    assert lines[0]["colour"] != lines[1]["colour"]
    assert np.allclose(lines[0]["y"], [1 + 0.1 * (4 - epoch) for epoch in range(4)])
    deviation = page.evaluate("document.getElementById('curves-plot').data[0].y.slice(0, 4)")
    assert np.allclose(np.subtract(deviation, lines[0]["y"]), np.std([0, 1, 2]))
    choose(page, "#band", "least to greatest")
    edges = page.evaluate("document.getElementById('curves-plot').data[0].y")
    assert np.allclose(edges[:4], np.add(lines[0]["y"], 1))
    choose(page, "#colour", "seed")
    assert [line["name"] for line in traces(page)] == ["0", "1", "2"]
    choose(page, "#line", "run")
    assert len(traces(page)) == 6
    choose(page, "#x", "train.epoch")
    assert traces(page)[0]["x"] == [0, 10, 20, 30]
    choose(page, "#y", "train.epoch")
    assert page.locator("#curves-plot .ytitle").text_content() == "train.epoch"
    page.get_by_label("log x").check()
    assert page.evaluate("document.getElementById('curves-plot').layout.xaxis.type") == "log"
    assert page.evaluate("document.getElementById('curves-plot').layout.yaxis.type") == "linear"
    choose(page, "#y", "train.loss")
    page.locator("#smoothing").fill("0.5")
    first = traces(page)[0]["y"]
    assert first[0] == pytest.approx(0.4)
    assert first[1] == pytest.approx((0.25 * 0.4 + 0.5 * 0.3) / 0.75)


def test_the_least_and_the_greatest_of_a_long_curve_are_drawn(seen: Seen) -> None:
    page = seen.page
    choose(page, "#line", "run")
    search(page, "4999", 1)
    choose(page, "#colour", "none")
    (line,) = traces(page)
    assert len(line["x"]) < ROWS
    assert (max(line["y"]), line["x"][line["y"].index(max(line["y"]))]) == (99, SPIKE)
    assert line["x"][-1] == ROWS - 1
    assert "Thinned to what a screen can show" in page.locator("#curves-note").inner_text()


def test_settings_results_failures_and_images_are_there(seen: Seen) -> None:
    page = seen.page
    choose(page, "#result", "train.loss")
    assert page.locator("#influence tbody th").all_inner_texts()[:2] == ["lr", "model.name"]
    plot = page.locator("#parallel-plot")
    plot.scroll_into_view_if_needed()
    lines = "document.getElementById('parallel-plot').data.map((one) => [one.x.length, one.opacity])"
    before = page.evaluate(lines)
    area = page.locator("#parallel-plot .nsewdrag").first.bounding_box()
    page.mouse.move(area["x"] + 1, area["y"] + 1)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] / 6, area["y"] + area["height"] / 2, steps=4)
    page.mouse.up()
    page.wait_for_function(
        f"(before) => JSON.stringify({lines}) !== before", arg=json.dumps(before).replace(" ", "")
    )
    assert 0.6 in [opacity for _, opacity in page.evaluate(lines)]
    failed = page.locator("#failures")
    assert "1 run failed" in failed.inner_text()
    traceback, log = failed.locator("pre").all_inner_texts()
    assert traceback.endswith("ValueError: </script><script>alert(2)</script>")
    assert log.endswith("red end")
    image = page.locator("#images img")
    image.scroll_into_view_if_needed()
    assert image.evaluate("async (one) => { await one.decode(); return one.naturalWidth; }") == 8
    assert "run 1 a <b>picture.png" in page.locator("#images figcaption").inner_text()
    assert "1 image of 2" in page.locator("#images .note").inner_text()


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_a_narrow_screen_and_a_dark_theme_are_readable(seen: Seen) -> None:
    page = seen.page
    background = "() => getComputedStyle(document.body).backgroundColor"
    assert luminance(page.evaluate(background)) > 0.9
    for scheme, width in (("light", 375), ("dark", 375), ("dark", 1200)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 700})
        page.wait_for_function(
            "(width) => document.getElementById('curves-plot').querySelector('.main-svg').clientWidth < width",
            arg=width,
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        behind = luminance(page.evaluate(background))
        assert (behind < 0.05) == (scheme == "dark")
        for place in (
            "h1",
            "#runs td",
            "#runs th",
            ".status-failed",
            "#runs a",
            ".note",
            "select",
            "pre",
            ".xtick text",
        ):
            name = "fill" if place.endswith("text") else "color"
            text = luminance(
                page.locator(place).first.evaluate(f"(one) => getComputedStyle(one).{name}")
            )
            low, high = sorted((text, behind))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (scheme, place)


def test_all_is_reached_by_the_keyboard(browser: Any, report: Path) -> None:
    seen = opened(browser, report)
    page = seen.page
    reached: list[str] = []
    while "log-y" not in reached and len(reached) < 200:
        page.keyboard.press("Tab")
        name = page.evaluate(
            "(() => { const one = document.activeElement;"
            " return one.id || (one.closest('th') ?? one).innerText.trim() || one.tagName; })()"
        )
        reached.append(name)
        if name == "status":
            page.keyboard.press("Enter")
            page.wait_for_selector("#runs th[aria-sort='ascending']")
        if name == "y":
            before = page.locator("#curves-plot .ytitle").text_content()
            page.keyboard.press("ArrowDown")
            assert page.locator("#curves-plot .ytitle").text_content() != before
    assert rows_of_table(page, 1) == ["COMPLETE"] * 8 + ["FAILED"]
    assert reached[0] == "Table"
    in_order = [
        "Columns",
        "status",
        "1",
        "y",
        "x",
        "colour",
        "line",
        "band",
        "smoothing",
        "log-x",
        "log-y",
    ]
    places = [reached.index(name) for name in in_order]
    assert places == sorted(places)
    assert seen.wrong == []


# Without a browser.


def test_data_cannot_end_their_script() -> None:
    assert "<" not in in_script({ALERT: HOSTILE})
    assert json.loads(in_script({ALERT: HOSTILE})) == {ALERT: HOSTILE}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["info.status == 'KILLED'", "-o", "r.html"],
            "no run in .* answers \"info.status == 'KILLED'\"",
        ),
        (["--metric", "train.los", "-o", "r.html"], "--metric 'train.los': .*train.loss"),
        (["-o", "file/r.html"], "cannot write .*file/r.html: "),
        (["-o", "folder"], "cannot write .*folder: Is a directory"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    logs: Path, in_directory: Path, words: Sequence[str], message: str
) -> None:
    need_the_extra()
    Path("file").write_text("")
    Path("folder").mkdir()
    done = invoke(*words, "--logs", str(logs))
    assert done.exit_code == 1
    assert re.fullmatch(f"Error: {message}.*\n", done.output), done.output
    assert sorted(os.listdir()) == ["file", "folder"]


@pytest.mark.parametrize("missing", ["plotly.offline", "itables"])
def test_a_missing_extra_is_named(
    logs: Path, in_directory: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    done = invoke("-o", "r.html", "--logs", str(logs))
    assert done.exit_code == 1
    assert done.output == "Error: report needs plotly and itables: pip install 'mlxpy[report]'\n"


def unpacked(packed: _Packed, place: int, dtype: str) -> list[float]:
    import base64

    return np.frombuffer(base64.b64decode(packed.blobs[place]), dtype=dtype).tolist()


def test_tags_and_notes_are_columns(tmp_path: Path) -> None:
    for tags in (["pilot", "base"], []):
        mlxpy.Logger(tmp_path / "logs", tags=tags).close()
    CliRunner().invoke(main, ["note", "2", "better", "--logs", str(tmp_path / "logs")])
    content = report_content(mlxpy.Reader(tmp_path / "logs").search(), tmp_path / "report.html", "", [])
    columns = {one["name"]: one["values"] for one in content["fields"]}
    assert columns["tags"] == ["base, pilot", None]
    assert columns["note"] == [None, "better"]


def test_thinning_keeps_the_least_and_the_greatest() -> None:
    values = np.sin(np.arange(10_000.0))
    values[[4321, 4323, 9999]] = 50, -50, np.nan
    packed = _Packed(1)
    count, step, kept, rows, extremes, within, wide = packed.curve(Series(values)) or []
    assert (count, step, rows, wide) == (10_000, 32, -1, 0)
    assert np.allclose(unpacked(packed, kept, "<f4"), [*values[::32], np.nan], equal_nan=True)
    found = unpacked(packed, extremes, "<f4")
    stretch = 4321 // 32
    assert found[2 * stretch : 2 * stretch + 2] == [-50, 50]
    at = [
        32 * stretch + offset for offset in unpacked(packed, within, "u1")[2 * stretch : 2 * stretch + 2]
    ]
    assert at == [4323, 4321]
    assert np.isfinite(found).all()


def test_curves_that_are_equal_are_kept_once_and_times_exactly() -> None:
    packed = _Packed(1)
    first, again = (packed.curve(Series(np.arange(3.0))) for _ in range(2))
    assert first == again == [3, 1, 0, -1, -1, -1, 0]
    assert len(packed.blobs) == 1
    times = 1.7e9 + np.arange(5.0)
    *_, wide = packed.curve(Series(times)) or []
    assert wide == 1
    assert unpacked(packed, 1, "<f8") == times.tolist()
    assert packed.curve(Series(np.array(["a", 1.0], dtype=object))) is None
    sparse = packed.curve(Series(np.array([1.0, None], dtype=object), rows=np.array([3, 8])))
    assert sparse is not None
    assert unpacked(packed, sparse[3], "<i4") == [3, 8]


def test_settings_are_ranked_by_how_much_goes_with_them() -> None:
    numbers = list(range(40))
    values = np.array([-1.0 * number**3 for number in numbers])
    values[7] = np.nan
    settings = {
        "noise": [number * 7 % 5 for number in numbers],
        "lr": numbers,
        "name": ["a" if number < 20 else "b" for number in numbers],
        "absent": [None] * 40,
    }
    ranked = influence(settings, values)
    assert [(one["name"], one["ordered"]) for one in ranked] == [
        ("lr", True),
        ("name", False),
        ("noise", True),
    ]
    assert ranked[0]["correlation"] == -1
    assert 0.8 < ranked[1]["correlation"] < 0.9
    assert influence(settings, np.array([1.0, 2.0] + [np.nan] * 38)) == []
    pytest.importorskip("sklearn")
    shares = importances(settings, values)
    assert shares is not None
    assert max(shares, key=shares.__getitem__) == "lr"
    assert sum(shares.values()) == pytest.approx(1, abs=0.01)
    assert importances(settings, np.array([*range(19)] + [np.nan] * 21)) is None


def fail_behind_a_pipe(logs: Path) -> None:
    with mlxpy.Logger(parent_log_dir=logs) as logger:
        os.mkfifo(Path(logger.log_dir, "log.stderr"))
        Path(logger.log_dir, "log.stdout").write_text("".join(f"line {n}\n" for n in range(10_000)))
        raise RuntimeError


def test_the_last_lines_of_a_log_are_shown_and_no_pipe_is_waited_for(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    with pytest.raises(RuntimeError):
        fail_behind_a_pipe(logs)
    (failed,) = failed_runs(mlxpy.Reader(logs).search(), [logs / "1"])["runs"]
    assert failed["log"] == "log.stdout"
    assert failed["tail"].splitlines() == [f"line {n}" for n in range(9960, 10_000)]
