"""Trains a classifier of digits with Lightning: an app of config groups, without a line for mlxpy."""

import hydra
import lightning
from hydra.utils import instantiate
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(cfg: DictConfig) -> float:
    lightning.seed_everything(cfg.seed, workers=True)
    data = instantiate(cfg.data)
    model = instantiate(cfg.model)
    trainer = instantiate(
        cfg.trainer,
        callbacks=[instantiate(callback) for callback in cfg.callbacks.values()],
        logger=[instantiate(logger) for logger in cfg.logger.values()],
    )
    trainer.fit(model, datamodule=data, ckpt_path=cfg.ckpt_path)
    return float(trainer.callback_metrics["val/acc"])


if __name__ == "__main__":
    main()
