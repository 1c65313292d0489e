"""The GPUs that a program may see, by NVIDIA's library; there are none where that finds none."""

import contextlib
from collections.abc import Mapping
from typing import Any

from mlxpy_core._scheduling._visible_gpus import uuid_of_gpu

# https://docs.nvidia.com/cuda/cuda-c-programming-guide/#env-vars; Slurm's are for jobs that drop it.
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "SLURM_STEP_GPUS", "SLURM_JOB_GPUS")


class Gpus:
    """Samples GPUs, numbered as the program's framework numbers them, from 0.

    Those that the cgroup of a job hides, NVML does not list or does not open. It numbers by the bus, as
    CUDA does with ``CUDA_DEVICE_ORDER=PCI_BUS_ID``; without that, CUDA puts the fastest first, which
    makes a difference only on a machine with GPUs of several kinds.

    Args:
        environment: the variables of this process.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._handles: list[Any] = []
        try:
            import pynvml
        except ImportError:
            return
        self._nvml = pynvml
        with contextlib.suppress(pynvml.NVMLError):  # no driver, most often
            pynvml.nvmlInit()
            for name in visible_gpus(environment, self._uuids()):
                handle = self._asked("nvmlDeviceGetHandleByUUID", name)
                if handle is not None:
                    self._handles.append(handle)

    def sample(self) -> dict[str, float]:
        """Returns what each GPU does: percent, memory in bytes and percent, power in watts."""
        found: dict[str, float] = {}
        for number, handle in enumerate(self._handles):
            if rates := self._asked("nvmlDeviceGetUtilizationRates", handle):
                found[f"gpu{number}_percent"] = rates.gpu
            if memory := self._asked("nvmlDeviceGetMemoryInfo", handle):
                found[f"gpu{number}_memory"] = memory.used
                found[f"gpu{number}_memory_percent"] = round(100 * memory.used / memory.total, 1)
            if (milliwatts := self._asked("nvmlDeviceGetPowerUsage", handle)) is not None:
                found[f"gpu{number}_power"] = milliwatts / 1000
        return found

    def _uuids(self) -> list[str]:
        uuids = []
        for index in range(self._nvml.nvmlDeviceGetCount()):
            handle = self._asked("nvmlDeviceGetHandleByIndex", index)
            uuids.append(self._asked("nvmlDeviceGetUUID", handle) if handle is not None else "")
        return uuids

    def _asked(self, function: str, *arguments: Any) -> Any:
        """Returns what NVML says; None where it cannot: a part of a GPU (MIG) has no power, say."""
        try:
            return getattr(self._nvml, function)(*arguments)
        except self._nvml.NVMLError:
            return None


def visible_gpus(environment: Mapping[str, str], uuids: list[str]) -> list[str]:
    """Returns the UUIDs of the GPUs that a program may see, in its order.

    Args:
        environment: the program's variables.
        uuids: those of all GPUs that NVML lists; empty for one that it does not open.
    """
    named = next((environment[name] for name in _VISIBLE if name in environment), None)
    words = [] if named is None else [word.strip() for word in named.split(",")]
    if named is None or ("CUDA_VISIBLE_DEVICES" not in environment and len(words) == len(uuids)):
        return list(filter(None, uuids))  # Slurm numbers those of the whole machine
    found = []
    for word in words:
        uuid = uuid_of_gpu(word, uuids)
        if not uuid:
            break  # as CUDA: what follows is not seen
        found.append(uuid)
    return found
