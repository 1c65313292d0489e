"""What a launched function is given."""

from dataclasses import dataclass

from omegaconf import DictConfig

from mlxpy_core import Logger

from ._config_dict import ConfigDict


@dataclass(frozen=True)
class Context:
    """The context of one run.

    Attributes:
        config: the run's config, resolved; values by attribute (``ctx.config.optimizer.lr``) or by key.
            It is a copy: what the program changes in it is not recorded. A DictConfig with
            ``as_ConfigDict=false``.
        mlxpy: the settings of mlxpy that the run uses.
        info: what is known of the run at its start, as in info.yaml; empty without a logger.
        logger: the run's logger; None with ``use_logger=false``.
    """

    config: ConfigDict | DictConfig
    mlxpy: DictConfig
    info: DictConfig
    logger: Logger | None

    @property
    def mlxp(self) -> DictConfig:
        """The settings, by the name that MLXP has for them."""
        return self.mlxpy
