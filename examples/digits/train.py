"""Trains a small network on the handwritten digits that come with scikit-learn: a plain Hydra app.

Without ``hydra/callbacks=mlxp_logger`` it trains all the same, and logs nothing.
"""

import hydra
import numpy as np
from omegaconf import DictConfig
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import mlxpy


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(cfg: DictConfig) -> float:
    images, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        images / 16, labels, test_size=0.25, random_state=0, stratify=labels
    )
    network = MLPClassifier(
        hidden_layer_sizes=tuple(cfg.model.hidden),
        learning_rate_init=cfg.optimizer.lr,
        batch_size=cfg.optimizer.batch_size,
        random_state=cfg.seed,
    )
    first_epoch = 0

    logger = mlxpy.get_logger()
    if logger:
        try:
            state = logger.load_checkpoint()
            network, first_epoch = state["network"], state["epoch"] + 1
        except FileNotFoundError:
            pass  # a new run

    for epoch in range(first_epoch, cfg.epochs):
        network.partial_fit(x_train, y_train, classes=np.arange(10))
        accuracy = network.score(x_test, y_test)
        if logger:
            logger.log_metrics({"epoch": epoch, "loss": network.loss_}, log_name="train")
            logger.log_metrics({"epoch": epoch, "accuracy": accuracy}, log_name="test")
            logger.log_checkpoint({"network": network, "epoch": epoch})

    if logger:
        confusion = confusion_matrix(y_test, network.predict(x_test))
        logger.log_artifact(confusion, "confusion", "numpy")
    return float(network.score(x_test, y_test))


if __name__ == "__main__":
    main()
