"""The options of a job's script, from its config; many are those of hydra-submitit-launcher."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.mlxpy._hydra import as_written, child_of
from hydra_plugins.mlxpy._nodes import MlxpLauncherNode
from hydra_plugins.mlxpy._override_values import typed_overrides
from mlxpy_core import (
    SUBMITIT,
    DeviceRequest,
    MlxpyError,
    ScriptOptions,
    launch_of_this_process,
    relative_to_launch,
)

from ._recorded_options import recorded_launcher

# Options of hydra-submitit-launcher that ask for nothing of a job, besides those that mlxpy has, too.
_IN_THE_SCRIPT = {"name", "setup", "stderr_to_stdout", "submitit_folder", "max_num_timeout"}
_IMAGES = {".sif", ".simg", ".img", ".sqfs"}
_MANY = 10**6  # submitit has no number for any number
_SEVERAL_TASKS = re.compile(r"--(nodes|ntasks|ntasks-per-node)=(?!1$)")


class JobOptions:
    """Makes the options of each job's script; as long as they are the same, only once."""

    _options: tuple[ScriptOptions, Mapping[str, Any]]

    def __init__(self) -> None:
        self._node: Any = None
        self._written: Any = None

    def of(self, config: DictConfig) -> tuple[ScriptOptions, Mapping[str, Any]]:
        """Returns the options of the script of the job with this config, and what its note keeps.

        Raises:
            MlxpyError: something in them cannot be resolved, or is wrong.
        """
        node = child_of(config, "hydra", "launcher")
        if node is self._node:  # configs of a sweep may have it together
            return self._options
        written = as_written(node)
        written.pop("submitit_folder", None)  # it refers to the sweep's directory, and no script has it
        depends = "${" in str(written)
        if written != self._written or depends:
            options = job_options(config)
            kept = recorded_launcher(OmegaConf.get_type(config.hydra.launcher), options)
            self._written, self._options = written, (script_options(options), kept)
        self._node = None if depends else node
        return self._options


def job_options(config: DictConfig) -> dict[str, Any]:
    """Resolves the launcher's options in a job's config.

    Raises:
        MlxpyError: something in them cannot be resolved.
    """
    try:
        options = OmegaConf.to_container(config.hydra.launcher, resolve=True)
    except OmegaConfBaseException as error:
        overrides = " ".join(typed_overrides(config))
        reason = str(error).splitlines()[0]
        raise MlxpyError(
            f"hydra.launcher cannot be resolved for the job {overrides!r}: {reason}"
        ) from None
    return cast("dict[str, Any]", options)


def script_options(options: Mapping[str, Any]) -> ScriptOptions:
    """Turns the launcher's options, resolved, into those of a script.

    Raises:
        MlxpyError: one of them is wrong.
    """
    if options["requeue"] and options["runs_per_job"] > 1:
        raise MlxpyError(
            "requeue puts a whole job back, and runs_per_job has several runs share it: leave one out"
        )
    of_submitit = options["scheduler"].startswith(SUBMITIT)
    directives = _executor_parameters(options) if of_submitit else _sbatch_directives(options)
    directives += DeviceRequest(
        options.get("gpus_per_job") or 0, options.get("cpus_per_job") or 0
    ).directives()
    return ScriptOptions(
        name=options.get("name") or "",
        directives=tuple(directives),
        option_cmd=tuple(options["option_cmd"]),
        shell_path=options["shell_path"],
        shell_config_cmd=options["shell_config_cmd"],
        env_cmd=options["env_cmd"],
        setup=tuple(options.get("setup") or ()),
        start_by=_srun(directives, options["runs_per_job"]),
        stderr_to_stdout=bool(options.get("stderr_to_stdout")),
        cleanup_cmd=options["cleanup_cmd"],
        requeue=bool(options["requeue"] or options.get("max_num_timeout")),
        # submitit counts itself.
        max_requeues=None if options["requeue"] or of_submitit else options.get("max_num_timeout"),
        warn_s=options["signal_delay_s"],
        container=_image(options.get("container") or ""),
        container_command=options.get("container_command", ScriptOptions.container_command),
        container_args=tuple(options.get("container_args") or ()),
    )


def _image(named: str) -> str:
    """Returns an image by a path that holds wherever the script runs, or by the name that it has."""
    if not named or ":/" in named or os.path.isabs(named):
        return named  # docker://..., library://...; /scratch/image.sif may be on the nodes only
    path = relative_to_launch(named, launch_of_this_process())
    if path.exists():
        return str(path)
    if named.startswith((".", "~")) or Path(named).suffix in _IMAGES:
        raise MlxpyError(f"hydra.launcher.container: there is no image {path}: give the path of one")
    return named  # of a registry, or one that docker has


def _sbatch_directives(options: Mapping[str, Any]) -> list[str]:
    """Returns the directives of what is set of the options of ``submitit_slurm``."""
    if "max_num_timeout" not in options:  # another scheduler's
        return []
    chosen = _chosen(options)
    # Without a signal the run would not know that its time is up.
    if options["signal_delay_s"] is not None or options["max_num_timeout"]:
        chosen["signal_delay_s"] = options["signal_delay_s"] or SlurmQueueConf.signal_delay_s
    if not chosen:
        return []
    from ._sbatch import sbatch_directives  # submitit takes long to import

    return sbatch_directives(chosen)


def _executor_parameters(options: Mapping[str, Any]) -> list[str]:
    """Returns the parameters of one of submitit's executors."""
    timeouts = _MANY if options["requeue"] else options.get("max_num_timeout")
    parameters = {
        **_chosen(options),
        **({"max_num_timeout": timeouts} if timeouts else {}),
        **({"signal_delay_s": options["signal_delay_s"]} if options["signal_delay_s"] else {}),
        **(options.get("parameters") or {}),
    }
    return [f"{name}: {json.dumps(value)}" for name, value in parameters.items()]


def _chosen(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is set of the options that ask for something of a job."""
    of_mlxpy = {option.name for option in fields(MlxpLauncherNode)} | _IN_THE_SCRIPT
    names = [option.name for option in fields(SlurmQueueConf) if option.name not in of_mlxpy]
    return {name: options[name] for name in names if options.get(name) not in (None, {})}


def _srun(directives: Sequence[str], runs_per_job: int) -> tuple[str, ...]:
    """Returns the command that starts several tasks, or tasks that get the signal: a script's do not."""
    signals = any(one.startswith("--signal=") for one in directives)
    if not signals and not any(map(_SEVERAL_TASKS.match, directives)):
        return ()
    # Without --overlap the runs that share a job would wait for each other.
    return ("srun", "--unbuffered", *(["--overlap"] if runs_per_job > 1 else []))
