"""Which GPUs and processors of this machine a launcher has given to a job."""

from collections.abc import Mapping

# What a launcher of this machine tells a job of what it has for itself.
JOB_GPUS_VARIABLE, JOB_CPUS_VARIABLE = "MLXPY_JOB_GPUS", "MLXPY_JOB_CPUS"

DEVICES = ("gpus", "cpus")
"""The fields of what is on record of them."""


def given_devices(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the ``gpus`` and ``cpus`` that a launcher of this machine gave to a job, by commas."""
    variables = zip(DEVICES, (JOB_GPUS_VARIABLE, JOB_CPUS_VARIABLE), strict=True)
    return {name: environment[variable] for name, variable in variables if environment.get(variable)}
