"""Which of several processes of one run this one is, if it is one of several.

A process is one of several ranks of a run only if something started them together for this program. What
counts is the environment that it was started with, not what it has set since:

============================================================  =====================================
started with                                                  what it is
============================================================  =====================================
RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT                    a rank of torchrun, or started by hand
OMPI_COMM_WORLD_RANK and _SIZE; PMI_RANK, PMI_SIZE;           a rank of mpirun
PMIX_RANK, PMIX_NAMESPACE
SLURM_PROCID, SLURM_STEP_NUM_TASKS                            a rank of srun
LOCAL_RANK, NODE_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT   a rank, as Lightning starts them
the command of a run whose process is an ancestor, and the    that rank of that very run: a program
RANK or LOCAL_RANK of another rank than that process has      that starts itself again
only what a run above it was started with, too                no rank: another program that inherits
numbers that are none, a rank beyond the size, no address     no rank
============================================================  =====================================

Ranks of one launch may run several programs one after the other, and each task of an srun may run a
program of its own. So a rank joins rank 0's run only if both run the same program with the same
arguments (`_joining`). ``MLXPY_RANKS=off`` makes each process a run of its own.
"""

import os
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlxpy_core._errors import MlxpyError

from ._parent_run import ParentRun, run_of_ancestor
from ._process import ancestors, arguments_of, describe_process, processes_here, start_environment
from ._start_of_process import (
    ARGUMENTS,
    OPEN_MPI_VARIABLES,
    STEP_VARIABLES,
    TORCH_VARIABLES,
    digest,
    environment_at_start,
    is_forked_or_spawned,
    main_file,
    without_local_rank,
)

SWITCH = "MLXPY_RANKS"
_MEETING = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")
# What launchers add to the arguments of each rank: Lightning's for Hydra, torch.distributed.launch's.
_ADDED = re.compile(r"[+~]*hydra[./]\w.*|--local[-_]rank=\d+")


@dataclass(frozen=True)
class Claim:
    """What the environment says of this process among others.

    Attributes:
        rank: its number.
        size: how many they are; 0 where that is not said.
        launcher: what started them: ``torchrun``, ``mpirun``, ``srun``, or ``hand``.
        variables: the variables that say so, with their values.
        group: what the processes of one launch have in common.
    """

    rank: int
    size: int
    launcher: str
    variables: dict[str, str]
    group: tuple[str, ...]

    @property
    def launch_has_name(self) -> bool:
        """Whether no other launch ever has the same `group`."""
        return self.launcher == "srun" or (
            self.launcher == "mpirun" and "PMI_RANK" not in self.variables
        )

    @property
    def sentence(self) -> str:
        """Says which variables are believed."""
        said = " and ".join(f"{name}={value}" for name, value in self.variables.items())
        return f"{said} in the environment"


def ranks_count(option: str = "auto") -> bool:
    """Returns whether ranks are told apart at all.

    Args:
        option: what the settings say: ``auto`` or ``off``.

    Raises:
        MlxpyError: the settings or the environment say something else.
    """
    on = True
    for name, value in (("ranks", option), (SWITCH, os.environ.get(SWITCH, "auto"))):
        if value.lower() not in ("auto", "", "off", "false"):  # YAML reads off as false
            raise MlxpyError(f"{name}={value!r} is neither auto nor off: give one of them")
        on = on and value.lower() in ("auto", "")
    return on


def claim_of_this_process() -> Claim | None:
    """Returns what this process is among those that were started together; None if it was not."""
    environment = environment_at_start()
    if is_forked_or_spawned():
        claim = next(iter(_claims(os.environ)), None)
        if claim is None:
            return None
        name, rank = next(iter(claim.variables.items()))
        if environment.get(name) == rank:
            return None  # its parent's
        # Siblings are told apart from those of other parents by their parent.
        parent = str(sorted(describe_process(os.getppid()).items()))
        return replace(claim, group=(*claim.group, parent))
    claims = _claims(environment)
    if parent_run := run_of_ancestor():
        inherited_claims = _claims(parent_run.variables)
        claims = [claim for claim in claims if claim not in inherited_claims]
    return claims[0] if claims else None


def processes_of_this_run() -> int:
    """Returns how many processes were started together with this one; 1 if none was."""
    claim = claim_of_this_process()
    return max(claim.size, 2) if claim else 1


def doubt_of_this_process() -> str | None:
    """Says which variables of a launcher are not believed, and why; None if there are none."""
    environment = environment_at_start()
    if _claims(environment) or run_of_ancestor():
        return None
    for rank, size in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")):
        values = environment.get(rank), environment.get(size)
        if not all(values) or values[1] == "1":
            continue
        said = f"{rank}={values[0]} and {size}={values[1]}"
        if _rank_and_size(*values) is None:
            return f"{said} name no rank"
        return f"{said} come without MASTER_ADDR and MASTER_PORT, where ranks meet"
    return None


def sets_ranks_itself() -> Claim | None:
    """Returns the claim that this process has made of itself: rank 0, which has started the others."""
    if _claims(environment_at_start()) or is_forked_or_spawned():
        return None
    claim = next(iter(_claims({name: os.environ.get(name, "") for name in TORCH_VARIABLES})), None)
    return claim if claim and claim.rank == 0 else None


def _claims(environment: Mapping[str, str]) -> list[Claim]:
    """Lists what an environment says, the innermost launcher first."""
    by_torch = "torchrun" if environment.get("TORCHELASTIC_RUN_ID") else "hand"
    open_mpi = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
    found = (
        _claim(environment, "RANK", "WORLD_SIZE", by_torch, _MEETING),
        _claim(environment, *open_mpi, "mpirun", OPEN_MPI_VARIABLES),
        _by_pmi(environment),
        _by_pmix(environment),
        _claim(environment, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "srun", STEP_VARIABLES),
        _by_lightning(environment),
    )
    return [claim for claim in found if claim]


def _by_lightning(environment: Mapping[str, str]) -> Claim | None:
    if environment.get("RANK"):
        return None  # it has been looked at
    node = environment.get("NODE_RANK") or environment.get("GROUP_RANK") or "0"
    each = environment.get("LOCAL_WORLD_SIZE", "")
    local = environment.get("LOCAL_RANK", "")
    if not local.isdecimal() or (node != "0" and not (node.isdecimal() and each.isdecimal())):
        return None
    rank = int(local) + (int(node) * int(each) if node != "0" else 0)
    claim = _claim({**environment, "RANK": str(rank)}, "RANK", "WORLD_SIZE", "hand", _MEETING)
    variables = {"LOCAL_RANK": local, "WORLD_SIZE": environment.get("WORLD_SIZE", "")}
    return replace(claim, variables=variables) if claim else None


def _by_pmi(environment: Mapping[str, str]) -> Claim | None:
    step = f"{environment.get('SLURM_JOB_ID')}.{environment.get('SLURM_STEP_ID')}"
    if environment.get("PMI_JOBID") == step:
        return None  # srun --mpi=pmi2
    return _claim(environment, "PMI_RANK", "PMI_SIZE", "mpirun", ("PMI_SIZE", "PMI_JOBID"))


def _by_pmix(environment: Mapping[str, str]) -> Claim | None:
    namespace = environment.get("PMIX_NAMESPACE", "")
    rank = environment.get("PMIX_RANK", "")
    if not namespace or namespace.startswith("slurm.") or not rank.isdecimal():
        return None
    return Claim(int(rank), 0, "mpirun", {"PMIX_RANK": rank, "PMIX_NAMESPACE": namespace}, (namespace,))


def _claim(
    environment: Mapping[str, str], rank: str, size: str, launcher: str, group: Sequence[str]
) -> Claim | None:
    values = environment.get(rank), environment.get(size)
    numbers = _rank_and_size(*values)
    if numbers is None or numbers[1] == 1:
        return None
    if "MASTER_ADDR" in group and not (
        environment.get("MASTER_ADDR") and environment.get("MASTER_PORT")
    ):
        return None
    variables = {rank: str(values[0]), size: str(values[1])}
    return Claim(
        *numbers, launcher, variables, (launcher, *(environment.get(name, "") for name in group))
    )


def _rank_and_size(rank: str | None, size: str | None) -> tuple[int, int] | None:
    if not (rank and size and rank.isdecimal() and size.isdecimal()):
        return None
    return (int(rank), int(size)) if int(rank) < int(size) else None


# What started this process.


def launcher_of_this_process(claim: Claim) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Returns the launcher's process, and which of its children led to this one; None if unknown."""
    child = os.getpid()
    for pid in ancestors():
        environment = start_environment(pid)
        if environment is None:
            return None
        if any(environment.get(name) != value for name, value in claim.variables.items()):
            return describe_process(pid), describe_process(child)
        child = pid
    return None


def is_whole_task(claim: Claim) -> bool:
    """Returns whether this process is for certain all that the launcher has started as this rank."""
    if claim.launcher == "srun":
        return environment_at_start().get("SLURM_TASK_PID") == str(os.getpid())
    launcher = launcher_of_this_process(claim)
    return launcher is not None and launcher[1]["process_id"] == os.getpid()


def fate_of_rank_0(claim: Claim, known: Container[int]) -> str | None:
    """Says why rank 0 starts no run that this rank could join, as far as this machine's processes tell.

    Args:
        claim: what this process is; None is known where the launch has other hosts, too.
        known: the ids of processes of rank 0 whose runs are known.
    """
    environment = environment_at_start()
    hosts = {"srun": "SLURM_STEP_NUM_NODES", "mpirun": "OMPI_MCA_orte_num_nodes"}
    if not claim.launch_has_name or environment.get(hosts[claim.launcher]) != "1":
        return None
    if not _sees_its_launcher(claim):
        return None  # in a container of its own
    found = [pid for pid in processes_here() if _is_rank_0(start_environment(pid) or {}, claim)]
    if not found:
        return "rank 0 has ended without a run in the same directory"
    own = without_local_rank(arguments_of(os.getpid()))
    others = (without_local_rank(arguments_of(pid)) for pid in found if pid not in known)
    if any(main_file() in other[1:] and other != own for other in others):
        return "rank 0 has another command"
    return None


def _sees_its_launcher(claim: Claim) -> bool:
    if claim.launcher == "srun":
        task = environment_at_start().get("SLURM_TASK_PID", "")
        return task in map(str, (os.getpid(), *ancestors()))
    return launcher_of_this_process(claim) is not None


def _is_rank_0(environment: Mapping[str, str], claim: Claim) -> bool:
    claims = _claims(environment)
    return any(other.rank == 0 and other.group == claim.group for other in claims)


def run_to_join() -> tuple[ParentRun, int] | None:
    """Returns the run whose program has started itself again as this process, and which rank this is.

    None for any other process: one that a launcher has started, another program that a run starts, one
    that merely inherits its parent's variables.
    """
    parent_run, claim = run_of_ancestor(), claim_of_this_process()
    if not (parent_run and claim and claim.rank > 0 and claim.launcher == "hand"):
        return None
    if main_file() not in parent_run.programs:
        return None
    if not any(map(_is_start_of_arguments, parent_run.commands)):
        return None
    return parent_run, claim.rank


def _is_start_of_arguments(command: Sequence[Any]) -> bool:
    """Returns whether this process has these arguments and, after them, only what launchers add."""
    count, wanted = command
    added = ARGUMENTS[count:]
    return digest(ARGUMENTS[:count]) == wanted and all(map(_ADDED.fullmatch, added))


# The variables that this process gives to others.


def without_own_ranks(environment: Mapping[str, str]) -> dict[str, str]:
    """Leaves out the variables of a launcher that this process was not started with, but has set."""
    started = environment_at_start()
    return {
        name: value
        for name, value in environment.items()
        if name not in TORCH_VARIABLES or started.get(name) == value
    }


def without_other_ranks(environment: Mapping[str, str]) -> dict[str, str]:
    """Leaves out what makes a process another rank than 0: for one that is started alone."""
    others = (claim.variables for claim in _claims(environment) if claim.rank)
    names = {name for variables in others for name in variables}
    return {name: value for name, value in environment.items() if name not in names}


def ranks_set() -> dict[str, str]:
    """Returns the variables of torch's launchers as they are now."""
    return {name: os.environ[name] for name in TORCH_VARIABLES if name in os.environ}


def set_ranks_back(variables: Mapping[str, str]) -> None:
    """Puts the variables of torch's launchers back as they were."""
    for name in TORCH_VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(variables)
