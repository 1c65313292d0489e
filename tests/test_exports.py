"""Runs that are handed to other trackers, read back by these trackers' own readers."""

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Project

import mlxpy
from mlxpy_core import load_yaml
from mlxpy_core._runs._info_file import info_path

CONFIG = {"optimizer": {"lr": 0.1, "betas": [0.9, 0.99]}, "name": "adam", "cuda": True, "none": None}


@pytest.fixture
def runs(project: Project) -> Project:
    """A run that is complete, one that has failed, one that goes on."""
    logs = project.path / "logs"
    with mlxpy.Logger(logs, config=CONFIG) as logger:
        for step in range(0, 30, 10):
            logger.log_metrics({"loss": 1 / (step + 1), "step": step, "note": "text"}, "train")
        logger.log_metrics({"acc": {"top1": 0.5}, "time": 1790000000.5, "huge": 10**400}, "eval")
        logger.log_metrics({"acc": {"top1": math.nan}, "flag": True}, "eval")
        logger.log_metrics({"step": 1e300, "x": 1}, "odd")
        # What the app writes by itself.
        Path(logger.log_dir, "metrics.csv").write_text("epoch,val_loss,wall_time\n1,0.5,1790000001.5\n")
    with pytest.raises(ValueError, match="no good"), mlxpy.Logger(logs, config={"optimizer": {"lr": 1}}):
        raise ValueError("no good")
    return project


@pytest.fixture
def going_on(runs: Project) -> Iterator[mlxpy.Logger]:
    with mlxpy.Logger(runs.path / "logs") as logger:
        logger.log_metrics({"loss": 1}, "train")
        yield logger


def export(project: Project, *arguments: str, exit_code: int = 0, **options: Any) -> str:
    return "".join(project.mlxpy("export", *arguments, exit_code=exit_code, **options))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give -o and a file, or --to and a tracker"),
        (("-o", "runs.csv", "--to", "wandb"), "give -o and a file, or --to and a tracker"),
        (("--to", "aim"), "--to 'aim': give tensorboard, mlflow, wandb"),
        (("--to", "tensorboard"), "--to tensorboard: give --to tensorboard DIR"),
        (("--to", "tensorboard", "--logs", "logs"), "--to tensorboard: give --to tensorboard DIR"),
        (("--to", "mlflow"), "--to mlflow: give --to mlflow URI"),
        (
            ("--to", "tensorboard", "logs"),
            "is a run's directory: give another one than that of the runs",
        ),
        (("--to", "tensorboard", "events", "9"), "no run 9 in"),
    ],
)
def test_what_cannot_be_exported(runs: Project, arguments: tuple[str, ...], message: str) -> None:
    assert message in export(runs, *arguments, exit_code=1)
    assert not (runs.path / "events").exists()


@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow", "wandb"])
def test_a_client_that_is_not_installed(runs: Project, tracker: str) -> None:
    runs.write(f"absent/{tracker}.py", f"raise ImportError('no {tracker} here')\n")
    place = {"wandb": []}.get(tracker, ["somewhere"])
    path = {"PYTHONPATH": str(runs.path / "absent")}
    error = export(runs, "--to", tracker, *place, exit_code=1, env=path)
    assert f"--to {tracker}: no {tracker} here: pip install 'mlxpy[{tracker}]'" in error


class TestTensorBoard:
    def read(self, directory: Path) -> Any:
        pytest.importorskip("tensorboard", reason="tensorboard is not installed")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        return EventAccumulator(str(directory)).Reload()

    def hparams(self, accumulator: Any) -> tuple[dict[str, Any], int]:
        from tensorboard.plugins.hparams import metadata

        contents = accumulator.PluginTagToContent("hparams")
        start = metadata.parse_session_start_info_plugin_data(contents[metadata.SESSION_START_INFO_TAG])
        end = metadata.parse_session_end_info_plugin_data(contents[metadata.SESSION_END_INFO_TAG])
        values = {
            name: getattr(value, str(value.WhichOneof("kind"))) for name, value in start.hparams.items()
        }
        return values, end.status

    def test_its_reader_has_scalars_config_and_status(self, runs: Project) -> None:
        pytest.importorskip("tensorboard", reason="tensorboard is not installed")
        assert export(runs, "--to", "tensorboard", "events", "1-2") == "Exported 2 runs.\n"
        found = self.read(runs.path / "events" / "1")
        losses = found.Scalars("train/loss")
        assert [(one.step, one.value) for one in losses] == [
            (0, 1),
            (10, pytest.approx(1 / 11)),
            (20, pytest.approx(1 / 21)),
        ]
        assert set(found.Tags()["scalars"]) == {
            *("train/loss", "eval/acc.top1", "eval/time", "eval/flag", "odd/x"),
            *(f"csv/metrics/{name}" for name in ("epoch", "val_loss", "wall_time")),
        }
        [of_app] = found.Scalars("csv/metrics/val_loss")
        assert (of_app.wall_time, of_app.value) == (1790000001.5, 0.5)
        first, second = found.Scalars("eval/acc.top1")
        assert (first.step, first.wall_time, first.value) == (0, 1790000000.5, 0.5)
        assert second.step == 1
        assert math.isnan(second.value)
        from tensorboard.plugins.hparams import api_pb2

        values, status = self.hparams(found)
        assert values == {
            "optimizer.lr": 0.1,
            "optimizer.betas": "[0.9, 0.99]",
            "name": "adam",
            "cuda": True,
            "none": "null",
            "mlxpy.status": "COMPLETE",
        }
        assert status == api_pb2.STATUS_SUCCESS
        values, status = self.hparams(self.read(runs.path / "events" / "2"))
        assert (values["mlxpy.status"], status) == ("FAILED", api_pb2.STATUS_FAILURE)

    def test_a_run_that_is_exported_again_takes_its_own_place(
        self, runs: Project, going_on: mlxpy.Logger
    ) -> None:
        pytest.importorskip("tensorboard", reason="tensorboard is not installed")
        for count in (1, 2):
            export(runs, "3", "--to", "tensorboard", "events")
            assert len(self.read(runs.path / "events" / "3").Scalars("train/loss")) == count
            going_on.log_metrics({"loss": 1}, "train")
        assert len(list((runs.path / "events" / "3").iterdir())) == 1

    def test_another_run_of_the_number_is_refused(self, runs: Project, tmp_path: Path) -> None:
        pytest.importorskip("tensorboard", reason="tensorboard is not installed")
        export(runs, "1", "--to", "tensorboard", "events")
        with mlxpy.Logger(tmp_path / "other"):
            pass
        error = export(runs, "--logs", "other", "--to", "tensorboard", "events", exit_code=1)
        assert "events/1 has another run 1: give another directory" in error

    def test_an_identity_of_a_stranger_leads_nowhere(self, runs: Project) -> None:
        pytest.importorskip("tensorboard", reason="tensorboard is not installed")
        info = info_path(runs.path / "logs" / "1")
        run_id = load_yaml(info.read_text())["run_id"]
        info.write_text(info.read_text().replace(run_id, "../../../x/y"))
        export(runs, "1", "--to", "tensorboard", "deep/events")
        assert [path.name for path in (runs.path / "deep").iterdir()] == ["events"]


class TestMLflow:
    def found(self, uri: str) -> dict[str, Any]:
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name("mlxpy")
        runs = client.search_runs([experiment.experiment_id])
        return {run.info.run_name: (run, client) for run in runs}

    def test_its_client_has_params_metrics_status_and_times(
        self, runs: Project, going_on: mlxpy.Logger
    ) -> None:
        pytest.importorskip("mlflow", reason="mlflow is not installed")
        uri = f"sqlite:///{runs.path}/mlflow.db"
        assert "Exported 3 runs.\n" in export(runs, "--to", "mlflow", uri)
        found = self.found(uri)
        run, client = found["run 1"]
        assert run.info.status == "FINISHED"
        assert run.data.params["optimizer.lr"] == "0.1"
        assert run.data.tags["mlxpy.run_id"] == runs.info(1)["run_id"]
        history = client.get_metric_history(run.info.run_id, "train/loss")
        assert [one.step for one in history] == [0, 10, 20]
        assert client.get_metric_history(run.info.run_id, "eval/time")[0].timestamp == 1790000000500
        assert run.info.end_time >= run.info.start_time > 1e12
        assert found["run 2"][0].info.status == "FAILED"
        assert found["run 3"][0].info.status == "RUNNING"
        # Again: what has ended is there, what goes on takes the earlier one's place.
        going_on.log_metrics({"loss": 2}, "train")
        assert "Exported 1 run, 2 were there.\n" in export(runs, "--to", "mlflow", uri)
        again = self.found(uri)
        assert len(again) == 3
        assert again["run 1"][0].info.run_id == run.info.run_id
        third, client = again["run 3"]
        assert len(client.get_metric_history(third.info.run_id, "train/loss")) == 2

    def test_names_that_it_does_not_take(self, runs: Project) -> None:
        pytest.importorskip("mlflow", reason="mlflow is not installed")
        config = {"größe": 1, "a?": 2, "a!": 3, "": 4, "/b//c": 5}
        with mlxpy.Logger(runs.path / "odd", config=config) as logger:
            logger.log_metrics({"": 1, "x": math.inf}, "log")
        uri = f"sqlite:///{runs.path}/mlflow.db"
        assert "Exported 1 run.\n" in export(runs, "--logs", "odd", "--to", "mlflow", uri)
        [(run, _)] = self.found(uri).values()
        assert run.data.params == {"größe": "1", "a_": "2", "__": "4", "b/c": "5"}
        assert sorted(run.data.metrics) == ["log", "log/x"]

    def test_what_it_refuses_is_a_sentence(self, runs: Project) -> None:
        pytest.importorskip("mlflow", reason="mlflow is not installed")
        error = export(runs, "1", "--to", "mlflow", "nonsense://x", exit_code=1)
        assert "Error: MLflow refused 'nonsense://x': " in error
        assert "Traceback" not in error


def test_wandb_has_a_directory_for_a_run(runs: Project) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    environment = {"WANDB_MODE": "offline", "HOME": str(runs.path)}
    for _ in range(2):
        assert "Exported 1 run.\n" in export(runs, "1", "--to", "wandb", env=environment)
    run_id = runs.info(1)["run_id"]
    (directory,) = (runs.path / "wandb").glob("offline-run-*")
    assert directory.name.endswith(run_id)
    rows = wandb_history(directory / f"run-{run_id}.wandb")
    losses = [(row["train/step"], row["train/loss"]) for row in rows if "train/loss" in row]
    assert losses == [(0, 1), (10, 1 / 11), (20, 1 / 21)]


def wandb_history(path: Path) -> list[dict[str, Any]]:
    from wandb.proto.wandb_internal_pb2 import Record

    rows = []
    for data in records_of_leveldb(path.read_bytes()):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append(
                {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
            )
    return rows


def records_of_leveldb(content: bytes) -> Iterator[bytes]:
    """Reads the format of W&B's file, for which its package has no reader: LevelDB's log after a head."""
    block, at, parts = 2**15, 7, b""
    while at + 7 <= len(content):
        if block - at % block < 7:  # no room for a record's head
            at += block - at % block
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""
