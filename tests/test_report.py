"""`mlxpy report`: what it holds, and what it refuses."""

import base64
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hostile import ALERT, HOSTILE

import mlxpy
from mlxpy_core._cli import main
from mlxpy_core._reading._tables._metric_columns import Series
from mlxpy_core._report._content import report_content
from mlxpy_core._report._curves import _Packed
from mlxpy_core._report._failures import failed_runs
from mlxpy_core._report._influence import importances, influence
from mlxpy_core._report._page import in_script


def need_the_extra() -> None:
    for module in ("plotly", "itables"):
        pytest.importorskip(module, reason=f"{module} is not installed")


def invoke(*words: str) -> Result:
    return CliRunner().invoke(main, ["report", *words])


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has logged something."""
    logs = tmp_path_factory.mktemp("project") / "logs"
    with mlxpy.Logger(logs) as logger:
        logger.log_metrics({"loss": 1}, "train")
    return logs


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


def test_numbers_beyond_all_floats_leave_the_report(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        logger.log_metrics({"loss": 1}, "train")
        Path(logger.metrics_dir, "train.json").write_text(f'{{"loss": 1{"0" * 400}}}\n')
    content = report_content(mlxpy.Reader(tmp_path).search(), tmp_path / "report.html", "", [])
    assert content["influence"] == {}


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
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
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
