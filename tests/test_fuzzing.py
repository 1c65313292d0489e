"""Files of any bytes and queries of any text: an answer or a clear refusal, never a crash."""

import contextlib
import json
import re
import shutil
import time
import warnings
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mlxpy_core import Logger, MlxpyError, QueryError, Reader, RunDirectory, dump_yaml, load_yaml
from mlxpy_core._cli import main
from mlxpy_core._operations._annotating import annotate, noted
from mlxpy_core._operations._completed import completed_runs
from mlxpy_core._reading._query._parser import parse_query
from mlxpy_core._reading._tables._columns import TypedColumns, encode_rows
from mlxpy_core._reading._tables._matching import matching_rows
from mlxpy_core._reading._tables._warnings import UnreadableRunWarning

many = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])

# Words that lead further into a parser than letters do.
query_pieces = st.sampled_from(
    ["config.x", "info.status", "`a b`", "==", "!=", "<=", ">", "in", "not in", "not", "&", "|", "~", "and",
     "or", "(", ")", "[", "]", ",", "1", "-2.5e-3", "inf", "nan", "'s'", '"t\\n"', "True", "None", " ", "\n", "'"]
)  # fmt: skip


@settings(max_examples=40)
@given(st.text() | st.lists(query_pieces, max_size=30).map(" ".join))
def test_any_query_is_answered_or_refused_at_a_place(query: str) -> None:
    try:
        program = parse_query(query)
    except QueryError as error:
        place = re.search(r"\(character (\d+) of the query\)", str(error))
        assert place
        assert 1 <= int(place[1]) <= len(query) + 1
        return
    answer = matching_rows(program, TypedColumns(encode_rows([{"config.x": 1}, {"info.status": "s"}])))
    assert answer.dtype == np.bool_
    assert answer.shape == (2,)


@pytest.mark.parametrize("opening", ["(", "~", "~(", "not ", "config.x in [", "[", "config.x == 1 & ("])
def test_nesting_takes_no_time(opening: str) -> None:
    start = time.process_time()
    for rest in ("", *("config.x == 1" + closing * 3000 for closing in ("", ")", "]"))):
        with contextlib.suppress(QueryError):
            parse_query(opening * 3000 + rest)
    assert time.process_time() - start < 10  # a bound on growth, not on speed: it takes well below 1 s


# Files of a run.

yaml_pieces = st.sampled_from(
    ["a", "status", ": ", ":\n  ", "\n", "- ", "? ", "[", "]", "{", "}", ", ", "&a ", "*a", "<<: ", "!!bool ",
     "!!int ", "!!float ", "!!timestamp ", "!!set ", "!!omap ", "!!binary ", "!!python/name:os.system ", "| ",
     "1", "-0x1f", "2020-01-01", "0001-01-01 00:00:00 +23:00", ".nan", "~", "'", '"', "\\ud800", "\t", "\x85",
     "--- ", "... ", "%YAML 1.1\n", "COMPLETE", "9" * 5000, "scheduler", "logger", "e_time"]
)  # fmt: skip
yaml_bytes = st.binary(max_size=60) | st.lists(yaml_pieces, max_size=14).map(
    lambda p: "".join(p).encode()
)
BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{here}: &{here} [{','.join([f'*{before}'] * 10)}]\n"
    for before, here in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = [
    BOMB, "&a [*a]", "x: &a {b: *a}", "[" * 100_000, "- " * 50_000 + "x", "{a: " * 3000, "? " * 50_000,
    "x: " + "[" * 150 + "]" * 150, "!!bool x", "x: 0x" + "f" * 9000, "status: [COMPLETE]", "x: [{2020-01-01: 1}]",
    "[[a]: 1]", "x: [? !!binary YQ== : 1]",
]  # fmt: skip


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for lr in (1, 2):
        with Logger(tmp_path / "logs", config={"lr": lr}) as logger:
            for epoch in range(3):
                logger.log_metrics({"loss": 0.5, "epoch": epoch}, "train")
            logger.log_artifact("x", "x", "text")
    return tmp_path / "logs"


def look_at(logs: Path) -> list[int]:
    """Reads all that there is to read and gives the numbers of the runs; the run 2 is whole."""
    shutil.rmtree(logs / ".mlxpy", ignore_errors=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UnreadableRunWarning)
        reader = Reader(logs)
        results = reader.search()
        assert repr(results)
        assert results._repr_html_()
        results.toPandas(lazy=False)
        results.toArrow()
        assert len(reader.fields)
        assert [dict(row) for row in results]
        results.diff()
        completed_runs(logs)
    found: list[int] = results["info.log_id"]
    whole = reader.search("config.lr == 2 & info.log_id == 2")
    assert whole["train.epoch"][0].tolist() == [0, 1, 2]
    assert 2 in found
    return found


@pytest.mark.parametrize("name", ["info", "config"])
@many
@given(content=yaml_bytes)
def test_metadata_of_any_bytes(logs: Path, name: str, content: bytes) -> None:
    path = logs / "1/metadata" / f"{name}.yaml"
    path.write_bytes(content)
    found = look_at(logs)
    try:
        data = load_yaml(content.decode())
    except (ValueError, yaml.YAMLError):
        data = "no YAML"
    if not isinstance(data, dict) and not (name == "config" and data is None):
        assert found == [2]
        with pytest.warns(UnreadableRunWarning, match=rf"are left out: 1 \({name}.yaml"):
            Reader(logs)


@pytest.mark.parametrize("name", ["info", pytest.param("config", marks=pytest.mark.long)])
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_metadata_made_to_exhaust_the_reader(logs: Path, name: str, text: str) -> None:
    (logs / "1/metadata" / f"{name}.yaml").write_text(text)
    start = time.process_time()
    look_at(logs)
    assert time.process_time() - start < 20  # not for ever: it takes about one second


COMMANDS = [
    ["ls"], ["ls", "--sort", "start"], ["ls", "--json"], ["status"], ["show", "1"], ["show", "1", "--json"], ["clean"],
    ["diff", "1", "2", "--info"], ["export", "-o", "-"], ["logs", "1"], ["cancel", "1", "--yes"],
]  # fmt: skip
SCHEDULER = {
    "name": "SLURMScheduler",
    "cluster": "c",
    "scheduler_job_id": "7",
    "array_index": None,
    "submitter": {},
}
VERSION = {
    "commit_hash": "a" * 40,
    "branch": "b",
    "dirty": True,
    "safe_copy": f"/nowhere/{'a' * 40}",
    "repo_path": "/x",
}
ERROR = {"type": "ValueError", "message": "no", "traceback": "at\n"}
of_any_type = st.sampled_from(
    [None, True, -1, 10**30, 1.5, float("nan"), "", "x", "\x1b[2J", "RUNNING", "SUBMITTED", "9" * 5000, [], [1, 2], [None],
     ["x"], [{"a": 1}], [[1, [2]]], {}, {"a": 1}, {1: 2}, date(2020, 1, 1)]
)  # fmt: skip


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.sampled_from(["", "scheduler", "version_manager", "exception", "attempts"]),
    name=st.randoms(use_true_random=False),
    value=of_any_type,
    status=st.sampled_from(["COMPLETE", "RUNNING", "SUBMITTED"]),
    command=st.sampled_from(COMMANDS),
)
@example(place="", name="status", value=[1, 2], status="COMPLETE", command=["status"])
@example(place="", name="status", value=None, status="COMPLETE", command=["status"])
def test_fields_of_any_type(
    logs: Path, place: str, name: Any, value: Any, status: str, command: list[str]
) -> None:
    info = load_yaml((logs / "2/metadata/info.yaml").read_text())
    info.update(status=status, scheduler={**SCHEDULER, "may_come_back": status != "COMPLETE"})
    info.update(version_manager={**VERSION}, exception={**ERROR})
    holder = info["attempts"][0] if place == "attempts" else info[place] if place else info
    holder[name if isinstance(name, str) else name.choice(sorted(holder))] = value
    (logs / "1/metadata/info.yaml").write_text(dump_yaml(info))
    shutil.rmtree(logs / ".mlxpy", ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")  # no scheduler is asked
        result = CliRunner().invoke(main, [command[0], "--logs", str(logs), *command[1:]])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    unread = [line for line in result.stderr.splitlines() if "are left out: 1 (info.yaml" in line]
    if command == ["ls"]:  # the other is there in any case, and this one is shown or named
        ids = [line.split()[0] for line in result.stdout.splitlines()[1:]]
        assert ids == (["2"] if unread else ["1", "2"])


def summary(**changes: Any) -> bytes:
    lazy = json.dumps({"metrics": {"train": ["loss"]}, "artifacts": {}})
    return json.dumps({"fields": {"info.status": "COMPLETE"}, "lazy": lazy, **changes}).encode()


plain = st.recursive(
    st.none() | st.integers() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3)
    ),
    max_leaves=6,
)
metric_names = st.sampled_from(["train", "../x", "", "a\0", "train/b", "\ud800"]) | st.text(max_size=3)
lazy_texts = st.builds(
    lambda metrics, artifacts: json.dumps({"metrics": metrics, "artifacts": artifacts}),
    st.dictionaries(metric_names, st.lists(metric_names, max_size=2) | plain, max_size=2) | plain,
    st.dictionaries(metric_names, st.dictionaries(metric_names, plain, max_size=2) | plain, max_size=2),
)


@many
@given(
    st.fixed_dictionaries(
        {}, optional={"fields": plain, "lazy": lazy_texts | plain, "version": plain, "info_file": plain}
    ).map(lambda changes: summary(**changes))
    | st.binary(max_size=40)
)
@example(b"[" * 100_000)
@example(summary(fields={"config.\ud800": 1}))
@example(summary(fields={"info.status": ["COMPLETE"]}))
def test_a_summary_of_any_content(logs: Path, content: bytes) -> None:
    path = logs / "1/.keys/summary.json"
    try:
        stamps = json.loads((logs / "2/.keys/summary.json").read_bytes())
        given_summary = json.loads(content)
        for name in ("metadata/info.yaml", "metadata/config.yaml"):
            status = (logs / "1" / name).stat()
            key = "info_file" if "info" in name else "config_file"
            given_summary.setdefault(key, [status.st_mtime_ns, status.st_size])
        given_summary.setdefault("version", stamps["version"])
        content = json.dumps(given_summary).encode()
    except (ValueError, AttributeError, RecursionError):
        pass  # as it is
    path.write_bytes(content)
    assert look_at(logs) == [1, 2]


def test_a_run_whose_summary_nests_too_deep_gets_a_note(logs: Path) -> None:
    (logs / "1/.keys/summary.json").write_text("[" * 100_000)
    assert annotate([RunDirectory(logs / "1")], noted("a note")).runs == [1]


@pytest.mark.parametrize("name", ["metrics.yaml", "job.yaml"])
@many
@given(content=yaml_bytes)
def test_lists_for_the_reader_of_any_bytes(logs: Path, name: str, content: bytes) -> None:
    (logs / "1/.keys/summary.json").unlink(missing_ok=True)
    (logs / "1/.keys" / name).write_bytes(content)
    assert look_at(logs) == [1, 2]


@pytest.mark.parametrize("name", [".ranks", ".subprocesses"])
def test_a_link_in_the_place_of_metrics_that_leads_to_itself(logs: Path, name: str) -> None:
    (logs / "1/metrics" / name).symlink_to(name)
    result = CliRunner().invoke(main, ["show", "--logs", str(logs), "1"], catch_exceptions=False)
    assert "train" in result.stdout


def test_names_in_a_list_of_keys_do_not_lead_elsewhere(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    with Logger(logs) as logger:
        logger.log_metrics({"loss": 0.5}, "train")
    (tmp_path / "theirs.json").write_text('{"secret": 1}\n')
    names = {"train": ["loss"], "../../../theirs": ["secret"], "a\0b": ["c"], "..": ["d"]}
    lazy = {"metrics": names, "artifacts": {"..": {"": ["x"]}, "pickle": {"../..": ["x"], "": [".."]}}}
    summary = json.loads((logs / "1/.keys/summary.json").read_text())
    (logs / "1/.keys/summary.json").write_text(json.dumps({**summary, "lazy": json.dumps(lazy)}))
    results = Reader(logs).search()
    assert [key for key in results.keys() if key[:4] not in ("info", "conf")] == [  # noqa: SIM118  # no dict
        "artifact.pickle",
        "train.loss",
    ]
    assert results.toPandas(lazy=False)["artifact.pickle"].tolist() == [{}]


@pytest.mark.parametrize(
    "text", ["[", "x", "- a", "a: b", "a: {save: [1]}", "!!python/name:os.system x"]
)
def test_a_damaged_list_of_types_is_named(tmp_path: Path, text: str) -> None:
    with Logger(tmp_path) as logger:
        Path(logger.log_dir, ".keys").mkdir(exist_ok=True)
        Path(logger.log_dir, ".keys/artifact_types.yaml").write_text(text)
        with pytest.raises(MlxpyError, match=r"artifact_types.yaml is not what mlxpy wrote: remove it"):
            logger.log_artifact("x", "y", "mine")


# Metrics files.

row_pieces = st.sampled_from(
    [b'{"loss": ', b"1", b"0.5", b"NaN", b"null", b'"\\ud800"', b"}", b"}\n", b"\n", b"{", b"[", b"]", b",",
     b'{"loss": 2, "b": "x"}\n', b'"a": ', b"\x00", b"\xff", b"\xef\xbb\xbf", b"1e999", b"9" * 5000, b"[" * 3000]
)  # fmt: skip
damage = st.binary(max_size=60) | st.lists(row_pieces, max_size=12).map(b"".join)


@pytest.mark.parametrize("listed", [True, False])
@many
@given(content=damage)
@example(b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}\n")
@example(b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n")
@example(b'{"\\ud800": 1, "loss": 2}\n')
def test_whole_rows_before_any_damage(logs: Path, listed: bool, content: bytes) -> None:
    if not listed:
        for name in ("metrics.yaml", "summary.json"):
            (logs / "1/.keys" / name).unlink(missing_ok=True)
    (logs / "1/metrics/train.json").write_bytes(b'{"loss": 7, "c": [1]}\n{"loss": 8}\n' + content)
    assert look_at(logs) == [1, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreadableRunWarning)
        first = Reader(logs).search()[0]
    assert first["train.loss"][:2] == [7, 8]


@many
@given(content=damage)
def test_a_damaged_run_is_continued(logs: Path, content: bytes) -> None:
    (logs / "1/metrics/train.json").write_bytes(content)
    (logs / "1/.keys/metrics.yaml").write_bytes(content)
    with Logger(logs, forced_log_id=1) as logger:
        logger.log_metrics({"loss": 9}, "train")
    assert (logs / "1/metrics/train.json").read_bytes().endswith(b'{"loss": 9}\n')


@many
@given(content=yaml_bytes)
def test_a_run_whose_info_is_no_info_is_not_continued(logs: Path, content: bytes) -> None:
    (logs / "1/metadata/info.yaml").write_bytes(content)
    with pytest.raises(MlxpyError, match=r"info.yaml is not what mlxpy wrote"):
        Logger(logs, forced_log_id=1)
