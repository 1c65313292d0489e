"""The options of the sweeper ``mlxp_optuna`` with their defaults, and its samplers and pruners."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class OptunaSweeperNode:
    """The options at ``hydra.sweeper``."""

    _target_: str = "hydra_plugins.mlxpy.sweeper.MlxpOptunaSweeper"
    _recursive_: bool = False  # the sampler is made when it is known that optuna is there
    defaults: list[Any] = field(
        default_factory=lambda: [{"sampler": "tpe"}, {"pruner": "none"}, "_self_"]
    )
    sampler: Any = MISSING
    pruner: Any = MISSING
    # minimize or maximize; a list of them for several objectives.
    direction: Any = "minimize"
    # The study's name; the same name goes on with it. null: a new one, named by the time.
    study: str | None = None
    # How many trials the study is to have in all; retries are not counted.
    n_trials: int = 20
    # How many of them are in the queue at any time.
    n_jobs: int = 2
    # The search space: a sweep of Hydra's grammar for each parameter; the command's come after.
    params: dict[str, Any] | None = None
    # The dotted path of a function of the config and an optuna trial that suggests more parameters.
    custom_search_space: str | None = None
    # A metric of the runs, as val.loss, by which they are pruned; a list for several objectives. Its
    # value counts where the task returns None.
    metric: Any = None
    # Which of its values: last or best.
    metric_value: str = "last"
    # The key that holds the step in the rows of the metric; without it rows are counted.
    step: str = "step"
    # Metrics whose last values must be 0 or less.
    constraints: list[str] = field(default_factory=list)
    # How often a trial is asked for again whose run has failed or was killed.
    retry_failed: int = 0
    # The search stops when more than this part of the trials that have ended have failed.
    max_failure_rate: float = 0.8
    # As hydra-optuna-sweeper has them.
    study_name: str | None = None
    storage: Any = None


@dataclass
class TpeNode:
    """``hydra/sweeper/sampler=tpe``."""

    _target_: str = "optuna.samplers.TPESampler"
    seed: int | None = None
    n_startup_trials: int = 10
    n_ei_candidates: int = 24
    multivariate: bool = False
    # Trials that run count, too: those that are asked for meanwhile keep their distance.
    constant_liar: bool = True


@dataclass
class RandomNode:
    """``hydra/sweeper/sampler=random``."""

    _target_: str = "optuna.samplers.RandomSampler"
    seed: int | None = None


@dataclass
class GridNode:
    """``hydra/sweeper/sampler=grid``."""

    _target_: str = "optuna.samplers.GridSampler"
    seed: int | None = None


@dataclass
class SobolNode:
    """``hydra/sweeper/sampler=sobol``."""

    _target_: str = "optuna.samplers.QMCSampler"
    seed: int | None = None
    qmc_type: str = "sobol"
    scramble: bool = True
    warn_asynchronous_seeding: bool = False
    warn_independent_sampling: bool = True


@dataclass
class CmaEsNode:
    """``hydra/sweeper/sampler=cmaes``."""

    _target_: str = "optuna.samplers.CmaEsSampler"
    seed: int | None = None
    x0: dict[str, Any] | None = None
    sigma0: float | None = None
    n_startup_trials: int = 1
    warn_independent_sampling: bool = True
    consider_pruned_trials: bool = False
    use_separable_cma: bool = False
    with_margin: bool = False


@dataclass
class GpNode:
    """``hydra/sweeper/sampler=gp``."""

    _target_: str = "optuna.samplers.GPSampler"
    seed: int | None = None
    n_startup_trials: int = 10
    deterministic_objective: bool = False


@dataclass
class NsgaIINode:
    """``hydra/sweeper/sampler=nsgaii``."""

    _target_: str = "optuna.samplers.NSGAIISampler"
    seed: int | None = None
    population_size: int = 50
    mutation_prob: float | None = None
    crossover_prob: float = 0.9
    swapping_prob: float = 0.5


@dataclass
class NsgaIIINode(NsgaIINode):
    """``hydra/sweeper/sampler=nsgaiii``."""

    _target_: str = "optuna.samplers.NSGAIIISampler"


@dataclass
class NoPrunerNode:
    """``hydra/sweeper/pruner=none``."""

    _target_: str = "optuna.pruners.NopPruner"


@dataclass
class AshaNode:
    """``hydra/sweeper/pruner=asha``."""

    _target_: str = "optuna.pruners.SuccessiveHalvingPruner"
    min_resource: Any = 1
    reduction_factor: int = 4
    min_early_stopping_rate: int = 0
    bootstrap_count: int = 0


@dataclass
class HyperbandNode:
    """``hydra/sweeper/pruner=hyperband``."""

    _target_: str = "optuna.pruners.HyperbandPruner"
    min_resource: int = 1
    max_resource: Any = "auto"
    reduction_factor: int = 3
    bootstrap_count: int = 0


@dataclass
class MedianNode:
    """``hydra/sweeper/pruner=median``."""

    _target_: str = "optuna.pruners.MedianPruner"
    n_startup_trials: int = 5
    n_warmup_steps: int = 0
    interval_steps: int = 1
    n_min_trials: int = 1


@dataclass
class PercentileNode(MedianNode):
    """``hydra/sweeper/pruner=percentile``."""

    _target_: str = "optuna.pruners.PercentilePruner"
    percentile: float = 25.0
