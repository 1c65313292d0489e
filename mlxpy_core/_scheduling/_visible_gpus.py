"""The GPUs that a program may see, by the words that tell it so."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_CUDA = "CUDA_VISIBLE_DEVICES"
# https://rocm.docs.amd.com/en/latest/conceptual/gpu-isolation.html
_HIP, _ROCR = "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"
_OF_SLURM = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
# CUDA numbers the fastest first otherwise, nvidia-smi by the bus.
_BY_BUS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
_AMD_NODES = Path("/sys/class/kfd/kfd/topology/nodes")
_ANSWER_S = 60


@dataclass(frozen=True)
class VisibleGpus:
    """The GPUs that a program may see.

    Attributes:
        variable: the variable that says which those are.
        identities: the name of each for all programs of the machine, by its word in that variable.
        environment: what else a program needs to be told for these words to mean the same.
        why_none: why there are none.
    """

    variable: str = _CUDA
    identities: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    why_none: str = "nvidia-smi lists none, and no variable names any"


def find_visible_gpus(environment: Mapping[str, str]) -> VisibleGpus:
    """Finds the GPUs that a program with these variables may see."""
    variable = next((name for name in (_CUDA, _HIP, _ROCR) if name in environment), None)
    if variable:
        words = _words(environment[variable])
        identities = _nvidia_identities(words) if variable == _CUDA else _amd_identities(words)
        why_none = f"{variable} is {environment[variable] or 'empty'}"
        return VisibleGpus(variable, identities, why_none=why_none)
    if listed := _nvidia_gpus():
        identities = {}
        for number, (uuid, parts) in enumerate(listed):
            # One that is divided (MIG) can only be used by its parts, which have no numbers.
            identities.update({part: part for part in parts} or {str(number): uuid})
        return VisibleGpus(_CUDA, _within_job(identities, environment), _BY_BUS)
    words = [str(number) for number in range(_amd_gpus())]
    return VisibleGpus(_HIP if words else _CUDA, _amd_identities(words))


def uuid_of_gpu(word: str, uuids: Sequence[str]) -> str | None:
    """Returns the UUID of a GPU of CUDA's variable; None if it names none of these, or a part of one."""
    if word.isdecimal():
        return uuids[int(word)] if int(word) < len(uuids) else None
    if word.startswith("MIG-"):
        return word
    return next((uuid for uuid in uuids if word and uuid.startswith(word)), None)


def _words(named: str) -> list[str]:
    """Returns the words of a list of GPUs; as for CUDA, what follows one that is none is not seen."""
    words: list[str] = []
    for word in (word.strip() for word in named.split(",")):
        if not word or word.startswith("-") or word in words:
            break
        words.append(word)
    return words


def _nvidia_identities(words: Sequence[str]) -> dict[str, str]:
    listed = [uuid for uuid, _ in _nvidia_gpus()] if words else []
    if not listed:
        return {word: word for word in words}  # nobody can say more of them
    identities: dict[str, str] = {}
    for word in words:
        uuid = uuid_of_gpu(word, listed)
        if not uuid:
            break
        identities[word] = uuid
    return identities


def _amd_identities(words: Sequence[str]) -> dict[str, str]:
    return {word: f"amd-{word}" for word in words}


def _nvidia_gpus() -> list[tuple[str, list[str]]]:
    """Returns the UUID of each GPU, by its number, and those of the parts that it is divided into."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    found: list[tuple[str, list[str]]] = []
    for line in done.stdout.splitlines():
        if whole := re.match(r"GPU \d+: .*\(UUID: (GPU-[^)]+)\)", line):
            found.append((whole[1], []))
        elif found and (part := re.match(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)", line)):
            found[-1][1].append(part[1])
    return found


def _within_job(identities: dict[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Leaves out what a job of Slurm was not given, where its variable for programs was dropped."""
    named = next((environment[name] for name in _OF_SLURM if environment.get(name)), None)
    words = named.split(",") if named else []
    if not words or len(words) == len(identities):  # its cgroup shows no others, and numbers them anew
        return identities
    return {word: identities[word] for word in words if word in identities}


def _amd_gpus() -> int:
    # https://docs.kernel.org/gpu/amdgpu: a node without a GPU, a processor, has the id 0.
    try:
        return sum(path.read_text().strip() != "0" for path in _AMD_NODES.glob("*/gpu_id"))
    except OSError:
        return 0
