"""The tutorial's program: easy launching, easy logging."""

from core_app import DataLoader, Loss, Network, Optimizer

import mlxpy as expy


@expy.launch(config_path="./configs")
def train(ctx: expy.Context) -> None:
    cfg = ctx.config
    logger = ctx.logger

    num_epoch = cfg.num_epoch

    model = Network(n_layers=cfg.model.num_layers)
    optimizer = Optimizer(model, lr=cfg.optimizer.lr)
    dataloader = DataLoader()
    loss = Loss()

    for epoch in range(num_epoch):
        for iteration, data in enumerate(dataloader):
            x, y = data
            pred = model(x)
            train_err = loss(pred, y)
            train_err.backward()
            optimizer.step()
            logger.log_metrics(
                {"loss": train_err.item(), "iter": iteration, "epoch": epoch}, log_name="train"
            )

        logger.log_checkpoint({"model": model, "epoch": epoch}, log_name="last_ckpt")
    print(f"Completed training with learing rate: {cfg.optimizer.lr}")


if __name__ == "__main__":
    train()
