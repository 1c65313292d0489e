"""The modules for Lightning, transformers, accelerate and Keras, with the real ones on the CPU."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
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

CALLBACKS = """
    import os, signal, lightning, mlxpy
    class LogRank(lightning.Callback):
        def on_train_end(self, trainer, *_):
            mlxpy.get_logger().log_metrics({"rank": trainer.global_rank}, "ranks")
    class KillAt(lightning.Callback):
        def __init__(self, step):
            self.step = step
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == self.step:
                os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def example(project: Project) -> Project:
    if not find_spec("lightning"):  # to import it takes seconds
        pytest.skip("lightning is not installed")
    shutil.copytree(REPOSITORY / "examples" / "lightning", project.path, dirs_exist_ok=True)
    project.write("more.py", CALLBACKS)
    return project


def test_a_lightning_app_that_is_killed_and_resumed_has_one_history(example: Project) -> None:
    command = ["train.py", CALLBACK, "logger=mlxpy", "trainer.max_epochs=3"]
    example.run(*command, "+callbacks.kill={_target_: more.KillAt, step: 63}", exit_code=-9)
    example.run(*command, "hydra.callbacks.mlxp_logger.forced_log_id=1")
    assert example.run_ids() == [1]
    assert [one["status"] for one in example.info()["attempts"]] == ["KILLED", "COMPLETE"]
    run = example.path / "logs" / "1"
    assert steps(run, "train") == [9, 19, 29, 39, 49, 59]
    assert [(row["step"], row["epoch"]) for row in rows(run, "val")] == [(22, 0), (45, 1), (68, 2)]
    assert steps(run, "../metrics/.aside/2/train") == [49, 59]
    # What the config says of the model, nobody needs to say again.
    assert rows(run, "hparams") == [{"parameters": 2410}]
    [found] = mlxpy.Reader(example.path / "logs").search()
    artifacts = found["artifact.reference"]
    best = artifacts["best_val_acc.json"].load()
    assert best.parent == run / "checkpoints"
    assert best.name.startswith("epoch_")
    assert artifacts["last.json"].load() == run / "checkpoints" / "last.ckpt"
    assert found["val.acc"] == [row["acc"] for row in rows(run, "val")]


def test_a_job_of_a_sweep_by_ddp_is_one_run_whose_rank_0_logs(example: Project) -> None:
    ddp = ["trainer.strategy=ddp", "trainer.devices=2", "trainer.max_epochs=2"]
    ranks = "+callbacks.rank={_target_: more.LogRank}"
    example.run("train.py", "-m", CALLBACK, "logger=mlxpy", *ddp, ranks)
    assert example.statuses() == ["COMPLETE"]
    run = example.path / "logs" / "1"
    assert steps(run, "val") == [11, 23]
    assert [row["rank"] for row in rows(run, "ranks")] == [0]
    # Of the other rank there is what the program itself logs.
    assert [path.name for path in run.glob("metrics/.ranks/*/*.json")] == ["ranks.json"]
    assert [row["rank"] for row in rows(run, ".ranks/1/ranks")] == [1]
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
    results = mlxpy.Reader(example.path / "logs").search()
    [by_tensorboard], [by_csv] = map(results.last, columns)
    assert 0 < by_tensorboard <= 1
    assert by_csv == pytest.approx(by_tensorboard)


# Lightning without Hydra, and its ways to checkpoint.


# Run by programs, which are forked from a process that has imported lightning: see tests/warm.py.
MODEL = """
    import sys
    import lightning, mlxpy, torch
    from mlxpy.lightning import MlxpyLogger

    class Model(lightning.LightningModule):
        def __init__(self, lr=0.01, act=None):
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch, index):
            loss = self.layer(batch[0]).pow(2).mean()
            self.log("train/loss", loss, on_step=True, on_epoch=True)
            self.log("plain", loss)
            self.log("config/odd", 1.0)  # a name that is taken
            return loss

        def validation_step(self, batch, index):
            self.log("val/loss", self.layer(batch[0]).pow(2).mean())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), self.hparams.lr)

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(20, 2)), batch_size=2)

    def trainer(*callbacks, **options):
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        return lightning.Trainer(logger=MlxpyLogger(), callbacks=list(callbacks), **quiet, **options)
"""


@pytest.fixture
def model(project: Project) -> Project:
    if not find_spec("lightning"):
        pytest.skip("lightning is not installed")
    project.write("model.py", MODEL)
    return project


def test_lightning_without_hydra_starts_a_run(model: Project) -> None:
    model.write(
        "main.py",
        """
        from model import *
        one = trainer(max_epochs=2, log_every_n_steps=5)
        one.fit(Model(act=torch.nn.ReLU), data, data)
        logger = mlxpy.get_logger()
        assert logger is one.logger.experiment
        one.logger.log_image("digit", [torch.ones(3, 4, 5), torch.zeros(1, 4, 5)], step=7)
        assert logger.load_artifact("digit_7_0").size == (5, 4)
        """,
    )
    model.run("main.py")
    run = model.path / "logs" / "1"
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
    [result] = mlxpy.Reader(run.parent).search("config.lr == 0.01 & info.status == 'COMPLETE'")
    assert "ReLU" in result["config.act"]
    assert len(list(run.glob("checkpoints/*.ckpt"))) == 1


@pytest.mark.parametrize(
    "checkpoints",
    ["monitor='val/loss'", "every_n_train_steps=7", "every_n_train_steps=10"],
)
def test_lightning_resumes_one_history_however_it_checkpoints(model: Project, checkpoints: str) -> None:
    model.write(
        "main.py",
        f"""
        from model import *
        from lightning.pytorch.callbacks import ModelCheckpoint

        class Stopped(Exception):
            pass

        class StopAt(lightning.Callback):
            def on_train_batch_end(self, trainer, *_):
                if trainer.global_step == 23:
                    raise Stopped

        def fit(log_id, *callbacks, path=None):
            with mlxpy.Logger("logs", forced_log_id=log_id) as logger:
                keep = ModelCheckpoint(logger.log_dir + "/checkpoints", save_last=True, {checkpoints})
                one = trainer(keep, *callbacks, max_epochs=3, log_every_n_steps=2)
                if path:
                    one.validate(Model(), data, verbose=False)  # which is no step of the training
                one.fit(Model(), data, data, ckpt_path=path)

        fit(1)
        try:
            fit(2, StopAt())
        except Stopped:
            fit(2, path="logs/2/checkpoints/last.ckpt")
        """,
    )
    model.run("main.py")
    assert len(model.info(2)["attempts"]) == 2
    for name in ("train", "lightning", "val"):
        whole, resumed = (
            Counter((row["step"], *sorted(row)) for row in rows(model.path / "logs" / log_id, name))
            for log_id in "12"
        )
        if name == "val":
            resumed.subtract([(0, "epoch", "loss", "step")])
        assert resumed == whole


def test_pytorch_lightning_where_the_program_uses_that(project: Project) -> None:
    if not find_spec("pytorch_lightning"):
        pytest.skip("pytorch_lightning is not installed")
    project.write(
        "main.py",
        """
        import sys
        for name in [name for name in sys.modules if name.startswith("lightning.")]:
            del sys.modules[name]  # by whoever forked this program: see tests/warm.py
        sys.modules.pop("lightning", None)
        import pytorch_lightning, torch
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


def test_workers_of_a_torch_data_loader_log_to_the_run(
    project: Project, times: Callable[[int, int], int]
) -> None:
    if not find_spec("torch"):
        pytest.skip("torch is not installed")
    methods = ("fork", "spawn")[: times(1, 2)]  # a worker that is spawned imports torch
    project.write(
        "main.py",
        """
        import sys
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
            for method in sys.argv[1:]:
                loader = DataLoader(Numbers(), num_workers=2, multiprocessing_context=method)
                assert sum(int(batch) for batch in loader) == 28
        """,
    )
    project.run("main.py", *methods)
    assert project.statuses() == ["COMPLETE"]
    files = project.file(1, "metrics/.subprocesses").glob("*/load.json")
    logged = [json.loads(line)["index"] for path in files for line in path.read_text().splitlines()]
    assert sorted(logged) == sorted([*range(8)] * len(methods))


# Hugging Face.


class Stopped(Exception):  # noqa: N818  # nothing is wrong
    pass


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "logs"
    if logger := mlxpy.get_logger():
        logger.close()


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
