"""The options of a job's script, from its config; Slurm's are those of ``submitit_slurm``."""

import shlex
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.mlxpy._override_values import typed_overrides
from mlxpy_core import MlxpyError, ScriptOptions

_SIGNAL_DELAY_S = 120  # submitit's
# Options of submitit_slurm that are no directives of their own name and value.
_RENAMED = {"timeout_min": "time", "tasks_per_node": "ntasks-per-node"}
_PLAIN = (
    "timeout_min", "nodes", "tasks_per_node", "cpus_per_task", "gpus_per_node", "partition", "qos",
    "comment", "constraint", "exclude", "gres", "cpus_per_gpu", "gpus_per_task", "mem_per_gpu",
    "mem_per_cpu", "account",
)  # fmt: skip


class JobOptions:
    """Makes the options of each job's script; as long as they are the same, only once."""

    def __init__(self) -> None:
        self._written: Any = None
        self._options = ScriptOptions()

    def of(self, config: DictConfig) -> ScriptOptions:
        """Returns the options of the script of the job with this config.

        Raises:
            MlxpyError: something in them cannot be resolved, or is wrong.
        """
        written = OmegaConf.to_container(config.hydra.launcher)
        if written != self._written or "${" in str(written):
            self._written, self._options = written, script_options(job_options(config))
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
    assert isinstance(options, dict)
    return {str(name): value for name, value in options.items()}


def script_options(options: Mapping[str, Any]) -> ScriptOptions:
    """Turns the launcher's options, resolved, into those of a script.

    Raises:
        MlxpyError: one of them is wrong.
    """
    directives = _submitit_directives(options)
    requeue = bool(options["requeue"] or options.get("max_num_timeout"))
    if options["requeue"] and options["runs_per_job"] > 1:
        raise MlxpyError(
            "requeue puts a whole job back, and runs_per_job has several runs share it: leave one out"
        )
    return ScriptOptions(
        name=options.get("name") or "",
        directives=tuple(
            f"--{key}" if value is True else f"--{key}={shlex.quote(str(value))}"
            for key, value in directives.items()
        ),
        option_cmd=tuple(options["option_cmd"]),
        shell_path=options["shell_path"],
        shell_config_cmd=options["shell_config_cmd"],
        env_cmd=options["env_cmd"],
        setup=tuple(options.get("setup") or ()),
        start_by=_srun(directives, options["runs_per_job"]),
        stderr_to_stdout=bool(options.get("stderr_to_stdout")),
        cleanup_cmd=options["cleanup_cmd"],
        requeue=requeue,
        max_requeues=None if options["requeue"] else options.get("max_num_timeout"),
        warn_s=options["signal_delay_s"],
    )


def _submitit_directives(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of sbatch that are set, as submitit's `_make_sbatch_string` writes them."""
    directives = {
        _RENAMED.get(name, name.replace("_", "-")): options[name]
        for name in _PLAIN
        if options.get(name) is not None
    }
    if options.get("mem_gb") is not None:
        directives["mem"] = f"{options['mem_gb']}GB"
    # Without a signal the run would not know that its time is up.
    warned = options["signal_delay_s"] is not None or options.get("max_num_timeout")
    if warned and "max_num_timeout" in options:
        directives["signal"] = f"USR2@{options['signal_delay_s'] or _SIGNAL_DELAY_S}"
    for name, value in (options.get("additional_parameters") or {}).items():
        directives[name.replace("_", "-")] = value
    return directives


def _srun(directives: Mapping[str, Any], runs_per_job: int) -> tuple[str, ...]:
    """Returns the command that starts several tasks, or tasks that get the signal: a script's do not."""
    counts = (str(directives.get(name, 1)) for name in ("nodes", "ntasks", "ntasks-per-node"))
    if all(count == "1" for count in counts) and "signal" not in directives:
        return ()
    # Without --overlap the runs that share a job would wait for each other.
    return ("srun", "--unbuffered", *(["--overlap"] if runs_per_job > 1 else []))
