"""Names of columns: whatever keys, logs and artifacts are called, each can be read and told from others."""

import itertools
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from conftest import Project
from hypothesis import given
from hypothesis import strategies as st

from mlxpy_core import Logger, MlxpyError, QueryError, Reader, dump_yaml, load_yaml
from mlxpy_core._io._flatten import flatten, metric_name, public_names
from mlxpy_core._reading import ConfigList
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import info_path
from mlxpy_core._runs._summary import write_summary

# A config, and the columns that are made of it.
CLASHES: list[tuple[dict[Any, Any], dict[str, Any]]] = [
    ({"a.b": 1, "a": {"b": 2}}, {'config."a.b"': 1, "config.a.b": 2}),
    ({"a.b": 1}, {"config.a.b": 1}),
    ({"a.b": {"c": 1}, "a": {"b.c": 2}}, {'config."a.b".c': 1, 'config.a."b.c"': 2}),
    (
        {"a.b.c": 1, "a": {"b.c": 2, "b": {"c": 3}}, "a.b": {"c": 4}},
        {'config."a.b.c"': 1, 'config.a."b.c"': 2, "config.a.b.c": 3, 'config."a.b".c': 4},
    ),
    ({1: "int", "1": "text"}, {"config.1": "int", 'config."1"': "text"}),
    ({"1": "text"}, {"config.1": "text"}),
    ({True: 1, "true": 2, "True": 3}, {"config.true": 1, 'config."true"': 2, "config.True": 3}),
    ({None: 1, "null": 2, "None": 3}, {"config.null": 1, 'config."null"': 2, "config.None": 3}),
    (
        {1.5: "float", "1.5": "text", 1: {5: "nested"}},
        {"config.[1.5]": "float", 'config."1.5"': "text", "config.1.5": "nested"},
    ),
    ({"a": {}, "a.b": {}}, {"config.a": {}, "config.a.b": {}}),
    ({'a"b': 1, '"a"': {"b": 2}}, {'config."a\\"b"': 1, 'config."\\"a\\"".b': 2}),
    ({'"a.b"': 1, "a.b": 2, "a": {"b": 3}}, {'config."\\"a.b\\""': 1, 'config."a.b"': 2, "config.a.b": 3}),
    ({"a b": 1, "a[0]": 2, "[0]": 3, "é": 4}, {"config.a b": 1, "config.a[0]": 2, "config.[0]": 3, "config.é": 4}),
    ({"": 1, "a": {"": 2}, "a.": 3}, {'config.""': 1, 'config.a.""': 2, 'config."a."': 3}),
    ({"a\nb": 1, "a\x1b": 2}, {'config."a\\nb"': 1, 'config."a\\u001b"': 2}),
    ({"list": [{1: "int", "1": "text"}]}, {"config.list": [{"1": "int", '"1"': "text"}]}),
]  # fmt: skip


def values_of(results: ConfigList, prefix: str) -> dict[str, Any]:
    (row,) = results
    return {field: row[field] for field in row if field.startswith(prefix)}


@pytest.mark.parametrize(("config", "columns"), CLASHES, ids=[str(config) for config, _ in CLASHES])
@pytest.mark.parametrize("source", ["summary", "YAML"])
def test_each_key_of_a_config_is_a_column_of_its_own(
    tmp_path: Path, config: dict[Any, Any], columns: dict[str, Any], source: str
) -> None:
    # OmegaConf takes no None for a key; other programs' configs have it.
    with Logger(tmp_path) as logger:
        directory = RunDirectory(Path(logger.log_dir))
    directory.config.write_text(dump_yaml(config))
    if source == "summary":
        write_summary(directory, config, load_yaml(info_path(directory.path).read_text()), ended=True)
    for _ in ("first opening", "from the cache"):
        reader = Reader(tmp_path)
        results = reader.search()
        assert values_of(results, "config.") == columns
        frame, table = results.toPandas(), results.toArrow().to_pylist()[0]
        assert {field: frame[field][0] for field in columns} == columns
        assert {field: table[field] for field in columns} == columns
        assert set(columns) <= set(reader.searchable.index)
        for field, value in columns.items():
            assert results[field] == [value]
            if not isinstance(value, (dict, list)):
                name = field.replace("`", "``")
                assert len(reader.search(f"`{name}` == {value!r}")) == 1
                assert len(reader.search(f"`{name}` != {value!r}")) == 0


def test_a_field_in_quotes_needs_no_backquotes_in_a_query(tmp_path: Path) -> None:
    with Logger(tmp_path, config={"a.b": 1, "a": {"b": 2}, 1.5: 3, "1.5": 4, "lr": 5}):
        pass
    reader = Reader(tmp_path)
    for query in ('config."a.b" == 1', "config.a.b == 2", "config.[1.5] == 3", 'config."1.5" == 4',
                  'config."lr" == 5', '(config."a.b" in [1] & ~(config.a."b" == 1))'):  # fmt: skip
        assert len(reader.search(query)) == 1, query
    with pytest.raises(QueryError, match="no run has a field"):
        reader.search('config."l.r" == 5')


def test_quotes_that_are_not_needed_may_be_given(tmp_path: Path) -> None:
    with Logger(tmp_path, config={"a.b": 1, "1": 2}) as logger:
        logger.log_metrics({"val.loss": 0.5}, "train")
    reader = Reader(tmp_path)
    results = reader.search('config."a.b" == 1 & config."1" == 2')
    assert values_of(results, "config.") == {"config.a.b": 1, "config.1": 2}
    assert results['train."val.loss"'][0].tolist() == results["train.val.loss"][0].tolist() == [0.5]
    assert results[0]['train."val.loss"'] == [0.5]
    assert results.select(['config."a.b"']).keys() == ["config.a.b"]
    assert results.sort('config."a.b"')["info.log_id"] == [1]
    assert list(results.groupby('config."a.b"').keys()) == [(1,)]
    with pytest.raises(MlxpyError, match="no column"):
        results['config."b.a"']
    with pytest.raises(KeyError, match="no column"):
        results[0]['config."b.a"']


def test_a_name_says_the_same_in_all_runs_of_a_directory(tmp_path: Path) -> None:
    for config in ({"a.b": 1}, {"a": {"b": 2}}):
        with Logger(tmp_path, config=config) as logger:
            logger.log_metrics(
                {"val.loss": 1.0} if "a.b" in config else {"loss": 2.0},
                f"train{'.val' * ('a' in config)}",
            )
    reader = Reader(tmp_path)
    for results in (reader.search(), reader.search('config."a.b" == 1')):
        assert results['config."a.b"'][0] == 1
        assert results['train."val.loss"'][0].tolist() == [1.0]
    assert reader.search("config.a.b == 2")["info.log_id"] == [2]
    assert reader.search()["train.val.loss"][1].tolist() == [2.0]
    ls = mlxpy(tmp_path, "diff", "1", "2")
    assert [line.split() for line in ls.splitlines()[1:]] == [
        ['config."a.b"', "1", "-"],
        ["config.a.b", "-", "2"],
    ]


METRICS = {
    ("train", "val.loss"): 'train."val.loss"',
    ("train.val", "loss"): "train.val.loss",
    ("a", "b.c.d"): 'a."b.c.d"',
    ("a.b", "c.d"): 'a.b."c.d"',
    ("a.b.c", "d"): "a.b.c.d",
    ("a/b", "c.d"): 'a/b."c.d"',
    ("a/b.c", "d"): "a/b.c.d",
    ("q", '"x.y"'): 'q."\\"x.y\\""',
    ("q", "x.y"): "q.x.y",
    ("s p", "k [0]"): "s p.k [0]",
    ("n", "1"): "n.1",
    ("e", ""): 'e.""',
    ("config.lr", "x"): '"config.lr".x',
    ("info.x", "a.b"): '"info.x"."a.b"',
    ("artifact.json", "x"): '"artifact.json".x',
}  # fmt: skip


def test_each_metric_is_a_column_of_its_own(tmp_path: Path) -> None:
    with Logger(tmp_path, config={"lr": {"x": 1}}) as logger:
        for number, (log, key) in enumerate(METRICS):
            logger.log_metrics({key: number}, log)
        logger.log_artifact({}, "x", "json")
    for _ in ("from the files", "from the cache"):
        results = Reader(tmp_path).search()
        lazy = [
            f for f in results.toPandas().columns if not f.startswith(("config.", "info.", "artifact."))
        ]
        assert sorted(lazy) == sorted(METRICS.values())
        frame, table = results.toPandas(lazy=False), results.toArrow()
        for number, column in enumerate(METRICS.values()):
            assert results[0][column] == results[column][0].tolist() == [number]
            assert frame[column][0] == table[column][0].as_py() == [number]
        assert results["config.lr.x"] == [1]


def test_artifacts_of_dotted_types_and_folders_are_columns_of_their_own(tmp_path: Path) -> None:
    with Logger(tmp_path) as logger:
        for type_name in ("a.b", "a"):
            logger.register_artifact_type(type_name, save_text, load_text)
        logger.log_artifact("1", "x", "a.b")
        logger.log_artifact("2", "b/x", "a")
        logger.log_artifact("3", "b.c/x", "a")
        logger.log_artifact("4", "b/c/x.y", "a")
    (row,) = Reader(tmp_path).search()
    found = {
        field: {name: one.load() for name, one in row[field].items()}
        for field in row
        if field.startswith("artifact")
    }
    assert found == {
        'artifact."a.b"': {"x": "1"},
        "artifact.a.b": {"x": "2"},
        'artifact.a."b.c"': {"x": "3"},
        "artifact.a.b.c": {"x.y": "4"},
    }


def save_text(obj: str, path: str) -> None:
    Path(path).write_text(obj)


def load_text(path: str) -> str:
    return Path(path).read_text()


def mlxpy(logs: Path, command: str, *arguments: str) -> str:
    exit_code = int(command == "diff")
    command_line = (command, "--logs", str(logs), *arguments)
    output, errors = Project(logs.parent).mlxpy(*command_line, exit_code=exit_code)
    assert errors == ""
    return output


def test_commands_tell_the_columns_apart(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    with Logger(logs, config={"a.b": 1, "a": {"b": 2}, "m": {1: "int", "1": "text"}, "e": {}}) as logger:
        logger.log_metrics({"val.loss": 1.0}, "train")
        logger.log_metrics({"loss": 2.0}, "train.val")
    fields = ('config."a.b"', "config.a.b", "config.m.1", 'config.m."1"', "config.e", 'train."val.loss"', "train.val.loss")  # fmt: skip
    chosen = [part for field in fields for part in ("-c", field)]
    head, line = mlxpy(logs, "ls", *chosen).splitlines()
    assert head.split() == ["id", *fields]
    assert line.split() == ["1", "1", "2", "int", "text", "{}", "1.0", "2.0"]
    assert mlxpy(logs, "ls", 'config."a.b" == 1', "--sort", 'config."a.b"', "-c", "id").split() == [
        "id",
        "1",
    ]
    (row,) = json.loads(mlxpy(logs, "ls", "--json"))
    assert [row[field] for field in fields[:5]] == [1, 2, "int", "text", {}]
    (shown,) = json.loads(mlxpy(logs, "show", "1", "--json"))
    assert shown["config"] == {"a.b": 1, "a": {"b": 2}, "m": {"1": "int", '"1"': "text"}, "e": {}}
    assert shown["metrics"]["train"]["last"] == {"val.loss": 1.0}
    assert shown["metrics"]["train.val"]["last"] == {"loss": 2.0}
    for suffix in (".json", ".parquet"):
        mlxpy(logs, "export", "--metrics", "-o", str(tmp_path / f"runs{suffix}"))
    exported = json.loads((tmp_path / "runs.json").read_text())
    assert [exported[0][field] for field in fields] == [1, 2, "int", "text", {}, [1.0], [2.0]]
    (row,) = pyarrow.parquet.read_table(tmp_path / "runs.parquet").to_pylist()
    assert [row[field] for field in fields] == [1, 2, "int", "text", "{}", [1.0], [2.0]]


texts = st.text('ab."[]1\\ \n\udcff', max_size=4) | st.sampled_from(
    ["true", "null", "1", "1.5", "-1", "1e+20"]
)
keys = (
    texts
    | st.integers(-1, 2)
    | st.booleans()
    | st.none()
    | st.sampled_from([1.5, 0.5, 1e20, float("inf")])
)
trees = st.recursive(
    st.integers(), lambda inner: st.dictionaries(keys, inner, min_size=1, max_size=3), max_leaves=12
)  # fmt: skip


@given(st.dictionaries(keys, trees, max_size=4))
def test_no_two_places_in_nested_dicts_have_one_name(tree: dict[Any, Any]) -> None:
    def leaves(value: Any) -> int:
        return sum(map(leaves, value.values())) if isinstance(value, dict) else 1

    flat: dict[str, Any] = {}
    flatten(tree, "config", flat)
    assert len(flat) == leaves(tree)
    public = public_names(flat)
    assert len({public.get(name, name) for name in flat}) == len(flat)


@given(st.lists(st.tuples(texts.filter(bool), texts), unique=True, max_size=6))
def test_no_two_metrics_have_one_name(metrics: list[tuple[str, str]]) -> None:
    names = [metric_name(log, key) for log, key in metrics]
    public = public_names(names)
    assert len({public.get(name, name) for name in names}) == len(metrics)
    for first, second in itertools.combinations(names, 2):
        assert first != second
