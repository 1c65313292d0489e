"""The tutorial's program with a seeding function: the same seed gives the same run."""

import numpy as np
from core_app import DataLoader, Loss, Network, Optimizer

import mlxpy as expy


def set_seeds(seed: int) -> None:
    np.random.seed(seed)


@expy.launch(config_path="./configs", seeding_function=set_seeds)
def train(ctx: expy.Context) -> None:
    cfg = ctx.config
    model = Network(n_layers=cfg.model.num_layers)
    optimizer = Optimizer(model, lr=cfg.optimizer.lr)
    loss = Loss()

    for epoch in range(cfg.num_epoch):
        for iteration, (x, y) in enumerate(DataLoader()):
            train_err = loss(model(x), y)
            train_err.backward()
            optimizer.step()
            ctx.logger.log_metrics(
                {"loss": train_err.item(), "iter": iteration, "epoch": epoch}, log_name="train"
            )
    print(f"Completed training with learing rate: {cfg.optimizer.lr}")


if __name__ == "__main__":
    train()
