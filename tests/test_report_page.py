"""The page of `mlxpy report`, and how it behaves in a real browser."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from hostile import ALERT, ESCAPED, HOSTILE, make_hostile_run
from pages import WINDOW, Seen, opened
from test_report import invoke, need_the_extra

import mlxpy

ROWS, SPIKE = 5000, 777
NOTHING = "\N{EN DASH}"
LRS, SEEDS = (0.1, 0.01), 3


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
                time.sleep(0.011)  # rows that come sooner have no times of their own
            if number == 0:
                pytest.importorskip("PIL", reason="Pillow is not installed")
                logger.log_artifact(np.full((8, 8, 3), 200, dtype=np.uint8), "a <b>picture", "image")
    with mlxpy.Logger(parent_log_dir=logs, config={"lr": 10.0, "seed": 0}) as logger:
        for row in range(ROWS):
            logger.log_metrics({"loss": 99.0 if row == SPIKE else (row % 7) / 7, "epoch": row}, "train")
    make_hostile_run(logs)
    with mlxpy.Logger(parent_log_dir=logs, config={"lr": 1.0}):
        pass
    return logs


@pytest.fixture(scope="module")
def report(logs: Path) -> Path:
    need_the_extra()
    target = logs.parent / "shared" / "report.html"
    done = invoke("--logs", str(logs), "-o", str(target), "--metric", "train.loss")
    assert done.exit_code == 0, done.output
    assert done.output == f"{target}: 9 runs, {target.stat().st_size / 1e6:.1f} MB\n"
    assert os.listdir(target.parent) == ["report.html"]
    return target


def opened_report(browser: Any, report: Path) -> Seen:
    seen = opened(browser, report)
    seen.page.wait_for_selector("html[data-ready=all], #trouble:not([hidden])", state="attached")
    assert seen.wrong == []
    return seen


@pytest.fixture(scope="module")
def shared(browser: Any, report: Path) -> Seen:
    return opened_report(browser, report)


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
    if page.locator("#all-runs").is_visible():
        page.locator("#all-runs").click()
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
    assert ESCAPED in shown
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


def shown_runs(page: Any) -> tuple[list[str], int, int]:
    """Returns the runs of the table, the number of lines of the curves, and of the runs that are chosen."""
    page.wait_for_function(
        "document.getElementById('curves-note').textContent.startsWith("
        "`${document.querySelectorAll('#runs tbody tr:not(:has(.dt-empty))').length} run`)"
    )
    chosen = page.locator("#parallel-note").inner_text()
    found = re.search(r"(\d+) runs? of 9 chosen", chosen)
    return sorted(rows_of_table(page)), len(traces(page)), int(found[1]) if found else 9


def test_a_box_over_an_axis_chooses_runs_everywhere(seen: Seen) -> None:
    page = seen.page
    choose(page, "#result", "train.loss")
    choose(page, "#line", "run")
    plot = page.locator("#parallel-plot")
    plot.scroll_into_view_if_needed()
    area = page.locator("#parallel-plot .nsewdrag").first.bounding_box()
    lrs = page.evaluate(
        "(() => { const plot = document.getElementById('parallel-plot');"
        " return plot.layout.annotations.filter((one) => one.x === 0)"
        ".map((one) => [one.text, plot._fullLayout.yaxis.d2p(one.y)]); })()"
    )
    at = {text: area["y"] + pixels for text, pixels in lrs}
    page.mouse.move(area["x"] + 1, at["0.01"] - 30)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] / 12, at["0.01"] + 30, steps=4)
    page.mouse.up()
    page.wait_for_selector("#all-runs:not([hidden])")
    assert shown_runs(page) == (["4", "5", "6"], 3, 3)
    opacities = "document.getElementById('parallel-plot').data.map((one) => one.opacity)"
    assert 0.6 in page.evaluate(opacities)  # the others are drawn behind
    page.get_by_role("searchbox").fill("COMPLETE")
    assert shown_runs(page)[0] == ["4", "5", "6"]
    page.get_by_role("searchbox").fill("")
    page.locator("#all-runs").click()
    page.wait_for_selector("#all-runs", state="hidden")
    assert shown_runs(page)[2] == 9
    assert len(rows_of_table(page)) == 9
    assert 0.6 not in page.evaluate(opacities)


def test_the_keyboard_chooses_runs_by_an_axis(seen: Seen) -> None:
    page = seen.page
    page.locator("#limits").evaluate("(one) => { one.open = false; }")
    page.locator("#limits summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "lr from"
    assert page.evaluate("document.activeElement.ariaValueText") == "0.01"
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.ariaValueText") == "0.1"
    page.keyboard.press("Tab")
    page.keyboard.press("Home")  # takes the other along
    assert page.locator("#limits-of-axes output").first.inner_text() == "0.01 to 0.01"
    page.wait_for_selector("#all-runs:not([hidden])")
    assert shown_runs(page)[::2] == (["4", "5", "6"], 3)
    assert page.evaluate("document.activeElement.ariaLabel") == "lr to"
    page.locator("#limits summary").click()


def test_curves_over_time(seen: Seen) -> None:
    page = seen.page
    search(page, "mlp 0.01", 3)
    choose(page, "#line", "run")
    choose(page, "#x", "time")
    assert page.locator("#curves-plot .xtitle").text_content() == "time since the start (s)"
    for line in traces(page):
        assert len(line["x"]) == 4
        assert 0 <= line["x"][0] < line["x"][-1] < 60


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
    seen = opened_report(browser, report)
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
