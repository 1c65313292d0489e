"""Has the commands of a Hydra app refused by a small disk at every moment, and checks what is left.

    python app.py RESOURCE STEP DISK OUTPUT ARGUMENT...

Each case is the command, in a process of its own, with so many pages or inodes left on the disk: 0, STEP,
and so on, until nothing is refused.
"""

import atexit
import itertools
import json
import logging
import os
import shutil
import sys
import traceback
from pathlib import Path

import hydra
from fillers import FILLERS

import mlxpy
from mlxpy_core import RunDirectory, Status
from mlxpy_core._operations._reconciling import reconcile_runs

RESOURCE, STEP, DISK, OUTPUT = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
ARGUMENTS = sys.argv[5:]
LOGS = DISK / "logs"
log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=None)
def main(config: object) -> None:
    logger = mlxpy.get_logger()
    assert logger
    for step in range(3):
        log.info("step %d %s", step, "x" * 3000)
        logger.log_metrics({"step": step}, "train")
    logger.log_checkpoint("x" * 5000)


def run_command(arguments: "list[str]", left: "int | None") -> "tuple[int, str]":
    """Runs the app with so much space left; returns its exit code and what it printed."""
    child = os.fork()
    if not child:
        code = 1
        try:
            output = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir(DISK)
            sys.argv[1:] = arguments
            if left is not None:
                FILLERS[RESOURCE].fill(DISK, left)
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        finally:
            atexit._run_exitfuncs()
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), OUTPUT.read_text()


def run_ids() -> "list[int]":
    return sorted(int(path.name) for path in LOGS.glob("[0-9]*"))


counts = {"cases": 0, "refused": 0}
for left in itertools.count(0, STEP):
    counts["cases"] += 1
    for path in DISK.iterdir():
        shutil.rmtree(path)
    code, printed = run_command(ARGUMENTS, left)
    FILLERS[RESOURCE].empty(DISK)
    lines = [
        line for line in printed.splitlines() if not line.startswith(("[20", "Error executing job"))
    ]
    case = (left, code, printed)
    statuses = reconcile_runs([RunDirectory(LOGS / str(log_id)) for log_id in run_ids()]).statuses
    assert len(statuses) == len(run_ids()), case
    refused = any("No space left on device" in line for line in lines)
    if refused:
        assert all(line.startswith("mlxpy: ") for line in lines), case
        assert set(statuses.values()) <= {Status.COMPLETE, Status.FAILED}, (case, statuses)
        assert code == 1 or set(statuses.values()) == {Status.COMPLETE}, case
    else:
        assert code == 0, case
        submitted = "Submitted 50 jobs to the cluster queue!"
        where = f"mlxpy: runs 1 to 50 are in {LOGS}: mlxpy status 1-50"
        assert lines in ([], [submitted, where]), case
        assert set(statuses.values()) in ({Status.COMPLETE}, {Status.SUBMITTED}), (case, statuses)
        break
    counts["refused"] += refused
print(json.dumps({**counts, "runs": len(statuses)}))
