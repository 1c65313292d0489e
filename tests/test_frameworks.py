"""The modules for Lightning, transformers, accelerate and Keras, with the real ones on the CPU."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, Project

import mlxpy

CALLBACK = "hydra/callbacks=mlxp_logger"


def need(*names: str) -> Any:
    return [pytest.importorskip(name, reason=f"{name} is not installed") for name in names]


def rows(directory: Path | str, name: str) -> list[Any]:
    path = Path(directory, "metrics", f"{name}.json")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def steps(directory: Path | str, name: str) -> list[int]:
    return [row["step"] for row in rows(directory, name)]


# The example: an app like many others.

KILL = """
    import os, signal, lightning
    class KillAt(lightning.Callback):
        def __init__(self, step):
            self.step = step
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == self.step:
                os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def example(project: Project) -> Project:
    need("lightning")
    shutil.copytree(REPOSITORY / "examples" / "lightning", project.path, dirs_exist_ok=True)
    project.write("kill.py", KILL)
    return project


def test_a_lightning_app_that_is_killed_and_resumed_has_one_history(example: Project) -> None:
    command = ["train.py", CALLBACK, "logger=mlxpy", "trainer.max_epochs=3"]
    example.run(*command, "+callbacks.kill={_target_: kill.KillAt, step: 63}", exit_code=-9)
    example.run(*command, "hydra.callbacks.mlxp_logger.forced_log_id=1")
    assert example.run_ids() == [1]
    assert [one["status"] for one in example.info()["attempts"]] == ["KILLED", "COMPLETE"]
    run = example.path / "logs" / "1"
    assert steps(run, "train") == [9, 19, 29, 39, 49, 59]
    assert [(row["step"], row["epoch"]) for row in rows(run, "val")] == [(22, 0), (45, 1), (68, 2)]
    assert steps(run, "../metrics/.aside/2/train") == [49, 59]
    # What the config says of the model, nobody needs to say again.
    assert rows(run, "hparams") == [{"parameters": 2410}]
    artifacts = mlxpy.Reader(example.path / "logs").search()[0]["artifact.reference"]
    best = artifacts["best_val_acc.json"].load()
    assert best.parent == run / "checkpoints"
    assert best.name.startswith("epoch_")
    assert artifacts["last.json"].load() == run / "checkpoints" / "last.ckpt"
    shown, _ = example.mlxpy("ls", "-c", "val.acc")
    assert str(rows(run, "val")[-1]["acc"])[:5] in shown


def test_lightning_by_ddp_is_one_run(example: Project) -> None:
    ddp = ["trainer.strategy=ddp", "trainer.devices=2", "trainer.max_epochs=2"]
    example.run("train.py", CALLBACK, "logger=mlxpy", *ddp)
    assert example.statuses() == ["COMPLETE"]
    run = example.path / "logs" / "1"
    assert steps(run, "val") == [11, 23]
    assert not (run / "metrics" / ".ranks").exists()
    assert not (example.path / "lightning_logs").exists()


def test_a_lightning_app_with_the_callback_alone_has_its_metrics_read(example: Project) -> None:
    need("tensorboard")
    example.run("train.py", CALLBACK, "trainer.max_epochs=1")
    assert example.statuses() == ["COMPLETE"]
    run = example.path / "logs" / "1"
    assert len(list(run.glob("tensorboard/version_0/events.*"))) == 1
    assert "val/acc" in (run / "csv" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert not (run / "metrics").exists()
    columns = ["tensorboard.val/acc", "csv/metrics.val/acc"]
    shown, _ = example.mlxpy("ls", "--json", "-c", columns[0], "-c", columns[1])
    [row] = json.loads(shown)
    assert 0 < row[columns[0]] <= 1
    assert row[columns[1]] == pytest.approx(row[columns[0]])


# Lightning without Hydra, and its ways to checkpoint.


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "logs"
    if logger := mlxpy.get_logger():
        logger.close()


def lightning_model() -> tuple[Any, Any]:
    lightning, torch = need("lightning", "torch")

    class Model(lightning.LightningModule):  # type: ignore[misc,name-defined]  # of need()
        def __init__(self, lr: float = 0.01, act: Any = None) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch: Any, index: int) -> Any:
            loss = self.layer(batch[0]).pow(2).mean()
            self.log("train/loss", loss, on_step=True, on_epoch=True)
            self.log("plain", loss)
            self.log("config/odd", 1.0)  # a name that is taken
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val/loss", self.layer(batch[0]).pow(2).mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), self.hparams.lr)

    data = torch.utils.data.TensorDataset(torch.ones(20, 2))
    return Model, torch.utils.data.DataLoader(data, batch_size=2)


def trainer(*callbacks: Any, **options: Any) -> Any:
    (lightning,) = need("lightning")
    from mlxpy.lightning import MlxpyLogger

    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return lightning.Trainer(logger=MlxpyLogger(), callbacks=list(callbacks), **quiet, **options)


def test_lightning_without_hydra_starts_a_run(logs: Path) -> None:
    model, data = lightning_model()
    import torch

    one = trainer(max_epochs=2, log_every_n_steps=5)
    one.fit(model(act=torch.nn.ReLU), data, data)
    logger = mlxpy.get_logger()
    assert logger is one.logger.experiment
    one.logger.log_image("digit", [torch.ones(3, 4, 5), torch.zeros(1, 4, 5)], step=7)
    assert logger.load_artifact("digit_7_0").size == (5, 4)
    logger.close()
    run = logs / "1"
    assert steps(run, "val") == [9, 19]
    train = [
        (row["step"], row["epoch"], *sorted({*row} - {"step", "epoch"})) for row in rows(run, "train")
    ]
    assert train == [
        (4, 0, "loss_step"),
        (9, 0, "loss_step"),
        (9, 0, "loss_epoch"),
        (14, 1, "loss_step"),
        (19, 1, "loss_step"),
        (19, 1, "loss_epoch"),
    ]
    found = [row["config/odd"] for row in rows(run, "lightning") if "config/odd" in row]
    assert found == [1.0] * 4
    assert len([row for row in rows(run, "lightning") if "plain" in row]) == 4
    result = mlxpy.Reader(logs).search("config.lr == 0.01 & info.status == 'COMPLETE'")[0]
    assert "ReLU" in result["config.act"]
    assert len(list(run.glob("checkpoints/*.ckpt"))) == 1


class Stopped(Exception):  # noqa: N818  # nothing is wrong
    pass


@pytest.mark.parametrize(
    "checkpoints",
    [{"monitor": "val/loss"}, {"every_n_train_steps": 7}, {"every_n_train_steps": 10}],
    ids=str,
)
def test_lightning_resumes_one_history_however_it_checkpoints(logs: Path, checkpoints: Any) -> None:
    model, data = lightning_model()
    from lightning import Callback
    from lightning.pytorch.callbacks import ModelCheckpoint

    class StopAt(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 23:
                raise Stopped

    def fit(log_id: int, *callbacks: Any, path: str | None = None) -> None:
        with mlxpy.Logger("logs", forced_log_id=log_id) as logger:
            keep = ModelCheckpoint(f"{logger.log_dir}/checkpoints", save_last=True, **checkpoints)
            one = trainer(keep, *callbacks, max_epochs=3, log_every_n_steps=2)
            if path:
                one.validate(model(), data, verbose=False)  # which is no step of the training
            one.fit(model(), data, data, ckpt_path=path)

    fit(1)
    with pytest.raises(Stopped):
        fit(2, StopAt())
    fit(2, path="logs/2/checkpoints/last.ckpt")
    for name in ("train", "lightning", "val"):
        whole, resumed = (
            Counter((row["step"], *sorted(row)) for row in rows(logs / log_id, name)) for log_id in "12"
        )
        if name == "val":
            resumed.subtract([(0, "epoch", "loss", "step")])
        assert resumed == whole


@pytest.mark.cold
def test_pytorch_lightning_where_the_program_uses_that(project: Project) -> None:
    need("pytorch_lightning")
    project.write(
        "main.py",
        """
        import sys, pytorch_lightning, torch
        from mlxpy.lightning import MlxpyLogger
        from torch.utils.data import DataLoader, TensorDataset
        class Model(pytorch_lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(2, 1)
            def training_step(self, batch, index):
                loss = self.layer(batch[0]).pow(2).mean()
                self.log("train/loss", loss)
                return loss
            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), 0.1)
        logger = MlxpyLogger()
        assert isinstance(logger, pytorch_lightning.loggers.Logger)
        trainer = pytorch_lightning.Trainer(
            accelerator="cpu", max_epochs=1, logger=logger, log_every_n_steps=2, enable_progress_bar=False
        )
        trainer.fit(Model(), DataLoader(TensorDataset(torch.ones(8, 2))))
        assert "lightning" not in sys.modules
        """,
    )
    project.run("main.py")
    assert project.statuses() == ["COMPLETE"]
    assert steps(project.path / "logs" / "1", "train") == [1, 3, 5, 7]


def test_workers_of_a_torch_data_loader_log_to_the_run(project: Project) -> None:
    need("torch")
    project.write(
        "main.py",
        """
        import mlxpy
        from torch.utils.data import DataLoader, Dataset
        class Numbers(Dataset):
            def __len__(self):
                return 8
            def __getitem__(self, index):
                mlxpy.get_logger().log_metrics({"index": index}, "load")
                return index
        if __name__ == "__main__":
            logger = mlxpy.Logger("logs")
            for method in ("fork", "spawn"):
                loader = DataLoader(Numbers(), num_workers=2, multiprocessing_context=method)
                assert sum(int(batch) for batch in loader) == 28
        """,
    )
    project.run("main.py")
    assert project.statuses() == ["COMPLETE"]
    files = project.file(1, "metrics/.subprocesses").glob("*/load.json")
    logged = [json.loads(line)["index"] for path in files for line in path.read_text().splitlines()]
    assert sorted(logged) == sorted([*range(8)] * 2)


# Hugging Face.


def test_transformers_trainer_logs_and_resumes(logs: Path) -> None:
    transformers, torch = need("transformers", "torch")
    from mlxpy.transformers import MlxpyCallback

    config = transformers.GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=16, n_positions=8)
    text = torch.arange(8)
    data = [{"input_ids": text, "labels": text}] * 16

    class StopAt(transformers.TrainerCallback):  # type: ignore[misc,name-defined]  # of need()
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 6:
                raise Stopped

    def train(*callbacks: Any, resume: bool = False) -> None:
        arguments = transformers.TrainingArguments(
            "trainer", max_steps=8, per_device_train_batch_size=2, logging_steps=1, save_steps=4,
            eval_strategy="steps", eval_steps=4, report_to="none", use_cpu=True, disable_tqdm=True,
        )  # fmt: skip
        model = transformers.GPT2LMHeadModel(config)
        trained = transformers.Trainer(
            model,
            arguments,
            train_dataset=data,
            eval_dataset=data,
            callbacks=[MlxpyCallback(), *callbacks],
        )
        trained.train(resume_from_checkpoint=resume)

    with pytest.raises(Stopped):
        train(StopAt())
    mlxpy.get_logger().close()
    with mlxpy.Logger("logs", forced_log_id=1) as logger:
        train(resume=True)
        assert logger.load_artifact("last") == logs.parent / "trainer" / "checkpoint-8"
    run = logs / "1"
    losses = [row["step"] for row in rows(run, "train") if "loss" in row]
    assert losses == list(range(1, 9))
    assert steps(run, "eval") == [4, 8]
    assert all("loss" in row and row["epoch"] for row in rows(run, "eval"))
    assert steps(run, "../metrics/.aside/2/train") == [5]
    recorded = mlxpy.Reader(logs).search("config.model.n_embd == 8 & config.max_steps == 8")
    assert len(recorded) == 1


def test_an_accelerate_tracker(logs: Path) -> None:
    (accelerate,) = need("accelerate")
    from mlxpy.accelerate import MlxpyTracker

    for first in (0, 3):
        with mlxpy.Logger("logs", forced_log_id=1) as logger:
            accelerator = accelerate.Accelerator(cpu=True, log_with=MlxpyTracker())
            accelerator.init_trackers("a project", config={"lr": 0.1})
            assert accelerator.get_tracker("mlxpy", unwrap=True) is logger
            for step in range(first, 5):
                accelerator.log({"train/loss": 1.0, "lr": 0.1}, step=step)
            accelerator.end_training()
    assert steps(logs / "1", "train") == steps(logs / "1", "accelerate") == list(range(5))
    assert len(mlxpy.Reader(logs).search("config.lr == 0.1")) == 1


# Keras.


def test_a_keras_callback(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
    need("torch")
    keras, numpy = need("keras", "numpy")
    from mlxpy.keras import MlxpyCallback

    def fit(first: int) -> None:
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", "mse", metrics=["mae"])
        x = numpy.ones((8, 2))
        model.fit(
            x,
            x[:, 0],
            epochs=4,
            initial_epoch=first,
            validation_split=0.5,
            verbose=0,
            callbacks=[MlxpyCallback()],
        )

    fit(0)
    mlxpy.get_logger().close()
    with mlxpy.Logger("logs", forced_log_id=1):
        fit(2)
    for name in ("train", "val"):
        assert [row["epoch"] for row in rows(logs / "1", name)] == [0, 1, 2, 3]
        assert {"loss", "mae"} <= rows(logs / "1", name)[0].keys()
    assert len(rows(logs / "1", "../metrics/.aside/2/val")) == 2


def test_references_of_the_config_are_no_new_hyper_parameters(project: Project) -> None:
    project.write("config.yaml", "paths: {root: /data}\nmodel: {files: '${paths.root}/a'}\n")
    project.write(
        "main.py",
        """
        import hydra, mlxpy
        from mlxpy._frameworks import log_hyperparameters
        @hydra.main(version_base=None, config_path=".", config_name="config")
        def main(config):
            values = {"model": {"files": "${paths.root}/a"}, "other": "${paths.root}"}
            log_hyperparameters(values, mlxpy.get_logger())
        main()
        """,
    )
    project.run("main.py", CALLBACK)
    assert rows(project.path / "logs" / "1", "hparams") == [{"other": "${paths.root}"}]


@pytest.mark.cold
def test_no_framework_is_imported_before_it_is_asked_for_torch_neither(project: Project) -> None:
    names = ["torch", "lightning", "pytorch_lightning", "transformers", "accelerate", "keras"]
    project.write(
        "main.py", f"import sys, mlxpy; mlxpy.Logger('logs'); print({{*{names}}} & {{*sys.modules}})"
    )
    assert project.run("main.py").stdout == "set()\n"
