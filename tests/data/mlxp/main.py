"""A program as MLXP's users write it."""

import os

import mlxp
import numpy as np


def set_seeds(seed):
    np.random.seed(seed)


@mlxp.launch(config_path="configs", seeding_function=set_seeds)
def train(ctx: mlxp.Context) -> None:
    cfg, logger = ctx.config, ctx.logger
    cfg.update({"model": {"layers": [cfg.width] * 2}, "first": 0})
    cfg.optimizer.decay = cfg["optimizer"]["lr"] / 10
    try:
        root = os.path.join(logger.artifacts_dir, "pickle")
        cfg.first = logger.load_checkpoint(log_name="last", root=root)["epoch"] + 1
    except FileNotFoundError:
        pass
    for epoch in range(cfg.first, cfg.epochs):
        loss = cfg.optimizer.lr / (epoch + 1)
        metrics = {"loss": loss, "epoch": epoch, "classes": [loss] * cfg.model.layers[0]}
        logger.log_metrics(metrics_dict={**metrics, "test": {"loss": 2 * loss}}, log_name="train")
        logger.log_checkpoint(checkpoint={"epoch": epoch}, log_name="last")
        if os.environ.get("FAILS_AT") == str(epoch):
            raise RuntimeError("as it was told")
        if os.environ.get("DIES_AT") == str(epoch):
            os.kill(os.getpid(), 9)
    result = cfg.to_dict()
    logger.log_artifacts(artifact=result, artifact_name="result", artifact_type="pickle")


if __name__ == "__main__":
    train()
