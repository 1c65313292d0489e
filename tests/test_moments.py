"""Times of runs: kept with their zone, ordered and compared by the moment."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mlxpy_core import Reader, dump_yaml
from mlxpy_core._cli import main
from mlxpy_core._reading import ConfigList


def make_run(logs: Path, log_id: int, start: str, end: str | None = None, **more: Any) -> None:
    """Writes the metadata of a run as a machine of that zone does."""
    info: dict[str, Any] = {"status": "COMPLETE" if end else "SUBMITTED", "attempts": [], **more}
    for name, text in (("start", start), ("end", end)):
        date, _, clock = (text or "").partition("T")
        info |= {f"{name}_date": date or None, f"{name}_time": clock or None}
    metadata = logs / str(log_id) / "metadata"
    metadata.mkdir(parents=True)
    (metadata / "config.yaml").write_text(f"run: {log_id}\n")
    (metadata / "info.yaml").write_text(dump_yaml(info))


# By the moment: 3, 1, 5, 2, 4.
STARTS = {
    1: (
        "2026-10-25T02:30:00.500000+02:00",
        "2026-10-25T02:10:00.500000+01:00",
    ),  # the clock was put back
    2: ("2026-10-25T02:05:00+01:00", "2026-10-25T02:06:00+01:00"),
    3: ("2026-10-25T09:00:00+09:00", "2026-10-24T20:00:00-05:00"),
    4: ("2026-10-24T20:30:00-05:00", "2026-10-26T01:30:00+00:00"),
    5: ("2026-10-25T00:45:00+00:00", "2026-10-25T00:45:01+00:00"),
}


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for log_id, (start, end) in STARTS.items():
        make_run(tmp_path / "logs", log_id, start, end)
    make_run(tmp_path / "logs", 6, "")
    return tmp_path / "logs"


def numbers(results: ConfigList) -> list[int]:
    found: list[int] = results["info.log_id"]
    return found


def mlxpy(logs: Path, *arguments: str, zone: str = "UTC") -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLXPY_LOGS", str(logs))
        patch.setenv("TZ", zone)
        time.tzset()
        shown = CliRunner().invoke(main, arguments, catch_exceptions=False).stdout
    time.tzset()
    return shown


@pytest.mark.parametrize("field", ["info.start_time", "info.start_date"])
def test_runs_are_sorted_by_the_moment(logs: Path, field: str) -> None:
    results = Reader(logs).search()
    assert numbers(results.sort(field)) == [3, 1, 5, 2, 4, 6]
    assert numbers(results.sort(field, ascending=False)) == [4, 2, 5, 1, 3, 6]
    assert numbers(results.sort(["info.status", field])) == [3, 1, 5, 2, 4, 6]
    assert results.select(["info.log_id", field]).sort(field)["info.log_id"][:5] == [3, 1, 5, 2, 4]
    assert results.sort(field)[field][0] == STARTS[3][0].split("T")["time" in field]


@pytest.mark.long("info.start_date")
@pytest.mark.parametrize("field", ["start", "info.start_time", "info.start_date"])
def test_ls_sorts_by_the_moment_and_shows_the_zones(logs: Path, field: str) -> None:
    head, *lines = mlxpy(logs, "ls", "--sort", field).splitlines()
    assert [line.split()[0] for line in lines] == ["3", "1", "5", "2", "4", "6"]
    assert "2026-10-25 09:00:00+09:00" in lines[0]
    assert "2026-10-25 02:30:00+02:00" in lines[1]
    rows = json.loads(mlxpy(logs, "ls", "--json", "-c", "start", "-c", "duration", "--sort", field))
    assert [row["start"] for row in rows][:2] == [
        "2026-10-25 09:00:00+09:00",
        "2026-10-25 02:30:00+02:00",
    ]
    assert [row["duration"] for row in rows] == [3600, 2400, 1, 60, 86400, None]
    assert head.split()[:4] == ["id", "status", "start", "duration"]


def test_zones_of_this_place_are_not_shown_in_summer_or_winter(tmp_path: Path) -> None:
    make_run(tmp_path, 1, "2026-07-01T12:00:00+02:00", "2026-07-01T12:00:01+02:00")
    make_run(tmp_path, 2, "2026-12-01T12:00:00+01:00", "2026-12-01T12:00:01+01:00")
    assert "+0" not in mlxpy(tmp_path, "ls", zone="Europe/Paris")
    assert "2026-07-01 12:00:00+02:00" in mlxpy(tmp_path, "ls", zone="Asia/Tokyo")


def test_show_tells_a_duration_across_zones(logs: Path) -> None:
    assert "2026-10-25 02:30:00+02:00, took 40m00s" in mlxpy(logs, "show", "1")
    assert "took 1d00h" in mlxpy(logs, "show", "4")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("info.start_date >= '2026-10-25'", [1, 2, 3, 5]),  # as its own calendar says
        ("info.start_date == '2026-10-24'", [4]),
        ("info.start_time < '02:06'", [2, 5]),
        ("info.start_date >= '2026-10-25T00:45Z'", [2, 4, 5]),
        ("info.start_time >= '2026-10-25 02:45:00+02:00'", [2, 4, 5]),
        ("info.start_date > '2026-10-25T00:45+00:00'", [2, 4]),
        ("info.start_date <= '2026-10-25T09:30+09:00'", [3]),
        ("info.start_date < '2026-10-25T09:30:00.500001+09:00'", [1, 3]),
        ("info.start_date < '2026-10-25T09:30:00.500000+09:00'", [3]),
        ("info.start_date == '2026-10-25T00:00Z'", [3]),
        ("info.start_date != '2026-10-25T00:00Z'", [1, 2, 4, 5, 6]),
        ("~(info.end_date > '2026-10-25T01:05Z')", [3, 5, 6]),
        ("info.end_time <= '2026-10-24T20:00-05:00'", [3, 5]),
        ("info.start_date >= '2026-10-25T99:99'", []),  # no moment: a text
    ],
)
def test_queries_compare_with_a_date_a_time_or_a_moment(
    logs: Path, query: str, expected: list[int]
) -> None:
    assert numbers(Reader(logs).search(query)) == expected


def test_runs_of_mlxp_have_no_zone_and_one_order_with_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"logger": {"log_id": 1}}
    for log_id, day in ((1, "31/10/2026"), (2, "01/11/2026"), (3, "02/01/2026")):
        make_run(tmp_path, log_id, "", status="COMPLETE", **own, start_date=day, start_time="12:00:00")
        path = tmp_path / str(log_id) / "metadata/info.yaml"
        text = path.read_text().replace("start_date: null", f"start_date: {day}")
        path.write_text(text.replace("start_time: null", "start_time: '12:00:00'"))
    make_run(tmp_path, 4, "2026-10-31T23:59:00+00:00", "2026-11-01T00:59:00+00:00")
    reader = Reader(tmp_path)
    assert numbers(reader.search().sort("info.start_time")) == [3, 1, 4, 2]
    assert numbers(reader.search("info.start_date >= '2026-11-01'")) == [2]
    assert numbers(reader.search("info.start_date < '2026-10-31'")) == [3]
    lines = mlxpy(tmp_path, "ls", "--sort", "start").splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["3", "1", "4", "2"]
