"""The tutorial's program, going on from its newest checkpoint if there is one."""

from core_app import DataLoader, Loss, Network, Optimizer

import mlxpy as expy


@expy.launch(config_path="./configs")
def train(ctx: expy.Context) -> None:
    cfg = ctx.config
    logger = ctx.logger

    try:
        checkpoint = logger.load_checkpoint()
        first_epoch = checkpoint["epoch"] + 1
        model = checkpoint["model"]
    except FileNotFoundError:
        first_epoch = 0
        model = Network(n_layers=cfg.model.num_layers)

    optimizer = Optimizer(model, lr=cfg.optimizer.lr)
    dataloader = DataLoader()
    loss = Loss()

    print(f"Starting from epoch {first_epoch}")

    for epoch in range(first_epoch, cfg.num_epoch):
        for iteration, (x, y) in enumerate(dataloader):
            train_err = loss(model(x), y)
            train_err.backward()
            optimizer.step()
            logger.log_metrics(
                {"loss": train_err.item(), "iter": iteration, "epoch": epoch}, log_name="train"
            )

        logger.log_checkpoint({"model": model, "epoch": epoch}, log_name="last_ckpt")
    print(f"Completed training with learing rate: {cfg.optimizer.lr}")


if __name__ == "__main__":
    train()
