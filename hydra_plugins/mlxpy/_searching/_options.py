"""The options of a search, checked, and the sampler and the pruner that they choose."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from hydra.errors import HydraException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from hydra_plugins.mlxpy._launching._recorded_options import check_option
from hydra_plugins.mlxpy._sweeper_nodes import OptunaSweeperNode
from mlxpy_core import MetricName, MlxpyError, constraints_of

_DIRECTIONS = ("minimize", "maximize")
_VALUES = ("last", "best")


class _Grid(optuna.samplers.GridSampler):  # type: ignore[misc]  # its types are not looked at
    """A grid that does not stop `Study.optimize` after its last cell: it is not under way here."""

    def after_trial(self, *args: Any, **kwargs: Any) -> None:
        pass


@dataclass(frozen=True)
class SearchOptions:
    """The options of a search, as `OptunaSweeperNode` has them, checked."""

    directions: list[str]
    study: str | None
    n_trials: int
    n_jobs: int
    metrics: list[MetricName]
    best_value: bool
    step: str
    constraints: list[MetricName]
    retry_failed: int
    max_failure_rate: float
    sampler: DictConfig
    pruner: optuna.pruners.BasePruner

    @property
    def prunes(self) -> bool:
        """Whether runs are pruned."""
        return not isinstance(self.pruner, optuna.pruners.NopPruner)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "SearchOptions":
        """Checks the options that the sweeper was made with.

        Raises:
            MlxpyError: one of them is wrong.
        """
        for name in given:
            check_option(name, OptunaSweeperNode, "mlxp_optuna", "hydra.sweeper")
        if given["storage"] is not None:
            raise MlxpyError(
                "hydra.sweeper.storage is not for mlxp_optuna, whose studies lie in the directory of "
                "runs: leave it out, and name the study by hydra.sweeper.study=NAME"
            )
        directions = [_name_of(one) for one in _as_list(given["direction"])]
        wrong = [one for one in directions if one not in _DIRECTIONS]
        if wrong or not directions:
            found = wrong[0] if wrong else "[]"
            raise MlxpyError(f"hydra.sweeper.direction={found} is none: give minimize or maximize")
        for name, least in (("n_trials", 1), ("n_jobs", 1), ("retry_failed", 0)):
            if given[name] < least:
                raise MlxpyError(f"hydra.sweeper.{name}={given[name]} is too few: give {least} or more")
        if not 0 <= given["max_failure_rate"] <= 1:
            raise MlxpyError(
                f"hydra.sweeper.max_failure_rate={given['max_failure_rate']} is no part: give 0 to 1"
            )
        if given["metric_value"] not in _VALUES:
            raise MlxpyError(
                f"hydra.sweeper.metric_value={given['metric_value']} is unknown: give last or best"
            )
        metrics = _metrics(given, "metric")
        if metrics and len(metrics) != len(directions):
            raise MlxpyError(
                f"hydra.sweeper.metric names {len(metrics)} and direction {len(directions)}: give one "
                "metric for each direction"
            )
        options = cls(
            directions=directions,
            study=given["study"] or given["study_name"],
            n_trials=given["n_trials"],
            n_jobs=given["n_jobs"],
            metrics=metrics,
            best_value=given["metric_value"] == "best",
            step=given["step"],
            constraints=_metrics(given, "constraints"),
            retry_failed=given["retry_failed"],
            max_failure_rate=given["max_failure_rate"],
            sampler=given["sampler"],
            pruner=_made(given["pruner"], "pruner"),
        )
        if options.prunes and len(directions) > 1:
            raise MlxpyError("optuna prunes by one objective: leave out hydra/sweeper/pruner")
        if options.prunes and not metrics:
            raise MlxpyError(
                "a pruner needs the metric that runs are compared by: add "
                "hydra.sweeper.metric=val.loss, with your own log and key"
            )
        return options

    def make_sampler(self, starts: int, grid: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Any:
        """Makes the sampler.

        Args:
            starts: how many processes have searched before: one seed would have the same drawn again.
            grid: the values of each parameter that has finitely many.
            names: the names of all parameters.

        Raises:
            MlxpyError: there is none, or it does not take its options.
        """
        if not self.sampler or "_target_" not in self.sampler:
            raise MlxpyError(
                "hydra.sweeper.sampler has no _target_: choose one by hydra/sweeper/sampler"
            )
        found = _class_of(self.sampler, "sampler")
        more: dict[str, Any] = {}
        if self.sampler.get("seed") is not None:
            more["seed"] = self.sampler.seed + starts
        if self.constraints:
            if "constraints_func" not in inspect.signature(found).parameters:
                raise MlxpyError(
                    f"{found.__name__} knows no constraints: choose hydra/sweeper/sampler=tpe, gp or "
                    "nsgaii"
                )
            more["constraints_func"] = constraints_of
        if found is optuna.samplers.GridSampler:
            if lacking := [name for name in names if name not in grid]:
                raise MlxpyError(
                    f"a grid needs values of {lacking[0]} that can be counted: give range, choice or "
                    f"values, as in {lacking[0]}=1,2,3"
                )
            return _Grid(grid, seed=more.get("seed"))
        return _made(self.sampler, "sampler", **more)


def _class_of(node: DictConfig, what: str) -> type[Any]:
    try:
        return get_class(node._target_)
    except (ImportError, ValueError, AttributeError, TypeError) as error:
        raise MlxpyError(
            f"hydra.sweeper.{what}._target_={node._target_} is no class here: give the dotted path of "
            "one, such as optuna's"
        ) from error


def _made(node: DictConfig, what: str, **more: Any) -> Any:
    _class_of(node, what)
    options = {name: value for name, value in node.items() if name != "_target_"}
    try:
        return instantiate(OmegaConf.create({"_target_": node._target_, **options}), **more)
    except (HydraException, TypeError, ValueError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise MlxpyError(f"hydra.sweeper.{what} cannot be made: {reason}") from error


def _metrics(given: Mapping[str, Any], option: str) -> list[MetricName]:
    return [MetricName.parse(str(one), f"hydra.sweeper.{option}") for one in _as_list(given[option])]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple, ListConfig)) else [value]


def _name_of(direction: Any) -> str:
    # An enum in configs that were made for hydra-optuna-sweeper.
    return str(getattr(direction, "name", direction))
