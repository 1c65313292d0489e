"""What a launched function is given."""

from dataclasses import dataclass

from omegaconf import DictConfig

from mlxpy_core import Logger


@dataclass(frozen=True)
class Context:
    """The context of one run.

    Attributes:
        config: the run's config; values by attribute (``ctx.config.optimizer.lr``) or by key.
        mlxpy: the settings of mlxpy that the run uses.
        info: what is known of the run at its start, as in info.yaml; empty without a logger.
        logger: the run's logger; None with ``use_logger=false``.
    """

    config: DictConfig
    mlxpy: DictConfig
    info: DictConfig
    logger: Logger | None
