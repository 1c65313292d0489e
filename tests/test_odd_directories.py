"""Directories and configs that are no everyday ones: names that are not UTF-8, many entries, many keys."""

import os
from collections.abc import Callable
from pathlib import Path

from conftest import APP, CONFIG, Project

import mlxpy


def test_a_directory_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    app = Project(tmp_path / os.fsdecode(b"r\xe9pertoire \xff"))
    app.write("main.py", APP)
    app.write("conf/config.yaml", CONFIG)
    app.run("main.py", "hydra/callbacks=mlxp_logger", "text='\udcfe'")
    app.run("main.py", "-m", "hydra/launcher=mlxp_local", "text='\udcff'")
    assert app.statuses() == ["COMPLETE"] * 2
    assert [app.yaml(log_id, "config")["text"] for log_id in (1, 2)] == ["\udcfe", "\udcff"]
    listed, errors = app.mlxpy("ls")
    assert r"\udcfe" in listed
    assert not errors
    assert r"r\udce9pertoire \udcff/logs/1" in app.mlxpy("show", "1")[0]
    assert r"\udcff" in app.mlxpy("diff", "1", "2", exit_code=1)[0]
    assert r"\udcff" in app.mlxpy("export", "-o", "-")[0]
    assert app.mlxpy("logs", "2")[0] == "lr is 0.1\n"


def test_a_config_whose_keys_are_lists_is_named(project: Project) -> None:
    for _ in range(2):
        mlxpy.Logger(project.path / "logs", config={"lr": 1}).close()
    project.file(1, "metadata/config.yaml").write_text("? [1, 2]\n: 3\n")
    project.file(1, ".keys/summary.json").unlink()
    listed, errors = project.mlxpy("ls")
    assert [line.split()[0] for line in listed.splitlines()] == ["id", "2"]
    assert errors.count("\n") == 1
    assert "1 (config.yaml is no YAML in line 1)" in errors
    sentence = "Error: run 1 cannot be read: config.yaml is no YAML in line 1\n"
    assert project.mlxpy("show", "1", exit_code=1) == ("", sentence)
    assert project.mlxpy("diff", "1", "2", exit_code=2) == ("", sentence)


def test_ten_thousand_keys_beside_five_thousand_other_entries(
    project: Project, times: Callable[[int, int], int]
) -> None:
    """In full; a tenth of each otherwise."""
    logs = project.path / "logs"
    logs.mkdir()
    groups = times(10, 100)
    for number in range(25 * groups):
        (logs / f"notes-{number}").touch()
        (logs / f"0{number}").mkdir()
    config = {f"group{i}": {f"key{j}": i * j for j in range(100)} for i in range(groups)}
    for lr in (1, 2):
        mlxpy.Logger(logs, config={"lr": lr, **config}).close()
    assert len(mlxpy.Reader(logs).search("config.group7.key9 == 63")) == 2
    assert project.mlxpy("ls", "config.lr == 2")[0].splitlines()[1].split()[0] == "2"
    assert f"key99: {99 * (groups - 1)}\n" in project.mlxpy("show", "1")[0]
    assert "config.lr" in project.mlxpy("diff", "1", "2", exit_code=1)[0]
    project.mlxpy("export", "-o", "runs.csv")
    assert len((project.path / "runs.csv").read_text().splitlines()[0].split(",")) > 100 * groups
