"""What users write with mlxpy, for ``mypy --strict`` and pyright: it is checked, never run.

`assert_type` stands wherever an ``Any`` in its place would be a fault: it accepts none.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typing_extensions import assert_type

import mlxpy


def seed_everything(seed: Any) -> None:
    print(seed)


@mlxpy.launch(config_path="./configs", config_name="train", seeding_function=seed_everything)
def train(ctx: mlxpy.Context) -> float:
    print(ctx.config.optimizer.lr, ctx.mlxp)
    if ctx.logger is not None:
        log(ctx.logger)
    return 0.5


@mlxpy.launch()
def without_arguments(ctx: mlxpy.Context) -> None:
    assert_type(ctx.logger, mlxpy.Logger | None)


assert_type(train(), None)


def in_a_hydra_app() -> None:
    logger = mlxpy.get_logger()
    assert_type(logger, mlxpy.Logger | None)
    if logger is None:
        return
    run = mlxpy.current_run()
    assert_type(run, mlxpy.Run | None)
    assert_type(logger.should_stop, bool)
    assert_type(logger.log_id, int)
    log(logger)


def log(logger: mlxpy.Logger) -> None:
    logger.log_metrics({"loss": 0.3, "epoch": 1}, log_name="train")
    logger.log_artifact([1, 2], "list", "pickle")
    logger.log_checkpoint({"epoch": 1}, keep_last=3, keep_best=("val.loss", "min"))
    logger.progress(3, 100)
    logger.add_tags("baseline")
    logger.on_stop(lambda: None)
    assert_type(logger.log_dir, str)
    assert_type(logger.get_info(), dict[str, Any])
    assert_type(logger.best_checkpoint, str | None)


def without_hydra() -> None:
    with mlxpy.Logger(parent_log_dir="./logs", config={"lr": 0.1}) as logger:
        assert_type(logger, mlxpy.Logger)
        logger.log_metrics({"loss": 0.5}, log_name="train")
    try:
        logger.log_metrics({"loss": 0.5}, log_name="train")
    except mlxpy.RunEndedError as error:
        print(error.exit_code)


def read() -> None:
    reader = mlxpy.Reader("./logs")
    results = reader.search("info.status == 'COMPLETE'")
    assert_type(results, mlxpy.ConfigList)
    assert_type(len(results), int)
    for row in results:
        losses = row["train.loss"]
        print(losses, row.get("config.seed"))
    groups = results.groupby(["config.optimizer.lr"])
    assert_type(groups, mlxpy.GroupedConfigList)
    for key, group in groups.items():
        assert_type(group, mlxpy.ConfigList)
        print(key)
    print(results.toPandas().columns, reader.fields)
    assert_type(results[0:2], mlxpy.ConfigList)
    assert_type(results.last("train.loss"), list[Any])
    print(results[0].log("train").toPandas())


class MyScheduler(mlxpy.Scheduler):
    def submit(self, script: Path) -> str:
        return self.call(["mysubmit", script.name], script.parent).strip()

    def states(self, job_ids: Sequence[str]) -> dict[str, mlxpy.Status]:
        shown = self.call(["myqueue"], "/")
        return {job_id: mlxpy.Status.RUNNING for job_id in job_ids if job_id in shown}

    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        return ["mycancel", *job_ids]


class MyVersionManager(mlxpy.VersionManager):
    def prepare(self, directories: Sequence[Path]) -> mlxpy.Version:
        return mlxpy.GitVM(parent_work_dir=Path(".workdir")).prepare(directories)


def save(sound: bytes, path: Path) -> None:
    path.write_bytes(sound)


def load(path: Path) -> bytes:
    return path.read_bytes()


@mlxpy.hookimpl
def mlxpy_scheduler() -> type[mlxpy.Scheduler]:
    return MyScheduler


@mlxpy.hookimpl
def mlxpy_artifact_types() -> list[mlxpy.ArtifactType]:
    return [mlxpy.ArtifactType("sound", save, load, ".flac")]


@mlxpy.hookimpl
def mlxpy_run_ended(run: mlxpy.Run) -> None:
    print(run.directory.path, run.info["status"], run.config)


# The hooks are still functions of their types.
assert_type(mlxpy_scheduler(), type[mlxpy.Scheduler])
assert_type(mlxpy.__version__, str)
