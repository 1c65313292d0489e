"""What Hydra 1.3 keeps from its callbacks: a task that ends by Ctrl-C or ``sys.exit``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import hydra
import hydra.core.utils as hydra_utils

_MARK = "_mlxpy_reports_to"


def report_exits(report: Callable[[BaseException], None]) -> None:
    """Has `report` called when a task ends by an exception that is no `Exception`.

    Hydra 1.4 tells ``on_job_end`` of it. Hydra 1.3 calls nothing, and nowhere hands out the task
    to be wrapped. But it runs ``on_job_start`` and the task, and nothing else, inside its context
    manager ``env_override``, which it looks up anew for each job: that is replaced by one that does
    the same and reports. 1.3 is a finished series, so this does not move.
    """
    if not hydra.__version__.startswith("1.3.") or hasattr(hydra_utils.env_override, _MARK):
        return
    original = hydra_utils.env_override

    @contextmanager
    def env_override(env: dict[str, str]) -> Iterator[Any]:
        with original(env):
            try:
                yield
            except BaseException as error:
                report(error)
                raise

    setattr(env_override, _MARK, report)
    hydra_utils.env_override = env_override
