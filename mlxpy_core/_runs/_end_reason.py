"""Why a run ended."""

from enum import Enum


class EndReason(str, Enum):
    """Why a run has not completed, where its scheduler, the kernel or its own process knows."""

    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    TIMEOUT = "TIMEOUT"
    NODE_FAIL = "NODE_FAIL"
    PREEMPTED = "PREEMPTED"
    CANCELLED = "CANCELLED"
    EXCEPTION = "EXCEPTION"
    EXIT_CODE = "EXIT_CODE"

    @classmethod
    def of_exit_code(cls, code: int) -> "EndReason | None":
        """Returns the reason that an exit code is, as a shell has it: above 127 a signal ended it."""
        return cls.EXIT_CODE if 0 < code < 128 else None
