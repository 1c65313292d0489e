"""PBS, LSF and Moab, which cannot be installed here: small commands stand in that print what their manuals show."""

import os
import re
from pathlib import Path

import pytest
from conftest import Project

from mlxpy_core import Reader, Scheduler, Status
from mlxpy_core._plugins._scheduler import SubmissionError
from mlxpy_core._scheduling._lsf import LSFScheduler
from mlxpy_core._scheduling._moab import MoabScheduler
from mlxpy_core._scheduling._pbs import PBSScheduler
from mlxpy_core._scheduling._this_job import job_of_this_process

APP = """
import hydra, mlxpy
@hydra.main(config_path=None, version_base="1.3")
def main(cfg):
    mlxpy.get_logger().log_metrics({"x": cfg.x}, "train")
    print("x is", cfg.x)
main()
"""
QSUB = """
range=$(sed -n 's/^#PBS -J 1-//p' "$1")
[ "$1" = script.sh ] || exit 9
if [ -z "$range" ]; then
    PBS_JOBID=7.server sh "$1" > job.o7 2>&1
    echo 7.server
else
    for index in $(seq $range); do
        PBS_JOBID="8[$index].server" PBS_ARRAY_INDEX=$index sh "$1" > job.o8.$index 2>&1
    done
    echo '8[].server'
fi
"""
BSUB = """
cat > stdin.sh
count=$(sed -n 's/^#BSUB -J "mlxpy\\[1-\\([0-9]*\\)\\].*/\\1/p' stdin.sh)
if [ -z "$count" ]; then
    LSB_JOBID=7 LSB_JOBINDEX=0 sh stdin.sh > /dev/null 2>&1
    echo 'Job <7> is submitted to default queue <normal>.'
else
    for index in $(seq $count); do
        LSB_JOBID=8 LSB_JOBINDEX=$index sh stdin.sh > /dev/null 2>&1
    done
    echo 'Job <8> is submitted to queue <night>.'
fi
"""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Where commands are put by writing them."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'commands'}{os.pathsep}{os.environ['PATH']}")
    return Project(tmp_path / "commands")


def put(commands: Project, name: str, text: str) -> None:
    commands.write(name, f"#!/bin/sh\n{text}").chmod(0o755)


@pytest.mark.parametrize(
    ("scheduler", "command", "text", "task"),
    [(PBSScheduler(), "qsub", QSUB, "8[{}].server"), (LSFScheduler(), "bsub", BSUB, "8[{}]")],
)
def test_a_sweep(
    project: Project, commands: Project, scheduler: Scheduler, command: str, text: str, task: str
) -> None:
    put(commands, command, text)
    project.write("main.py", APP)
    strange = 'hydra.launcher.parent_log_dir="it\'s, $here"'
    launcher = f"hydra/launcher=mlxp_{type(scheduler).__name__[:3].lower()}"
    done = project.run("main.py", "-m", launcher, "+x=1,2", strange)
    assert done.stdout == "Submitted 2 jobs to the cluster queue!\n"
    results = Reader(project.path / "it's, $here").search("info.status == 'COMPLETE'")
    assert [row[0] for row in results["train.x"]] == [1, 2]
    ids = [task.format(index) for index in (1, 2)]
    assert results["info.scheduler.scheduler_job_id"] == ids
    assert results["info.scheduler.array_index"] == [1, 2]
    assert project.file(2, "log.stdout", "it's, $here").read_text() == "x is 2\n"
    single = project.write("single/script.sh", "touch ran\n")
    assert scheduler.submit(single) == task.format("").replace("8[]", "7")


@pytest.mark.parametrize(
    ("scheduler", "name", "words"),
    [
        (PBSScheduler(), "logs/5", ["-N logs_5", "-j oe"]),
        (PBSScheduler(), "2024-experiments/1000", ["-N xperiments_1000", "-j oe"]),
        (PBSScheduler(), "2024/5", ["-N mlxpy", "-j oe"]),
        (LSFScheduler(), "logs/5", ["-J logs_5", "-o /dev/null"]),
        (MoabScheduler(), "logs/5", ["-N logs_5", "-E", "-j oe"]),
    ],
)
def test_names(scheduler: Scheduler, name: str, words: list[str]) -> None:
    assert scheduler.name_directives(name) == words


def test_bounds_on_what_runs_at_once() -> None:
    assert PBSScheduler().array_directives(5, 2) == ["-J 1-5", "-W max_run_subjobs=2"]
    assert LSFScheduler().array_directives(5, 2) == ['-J "mlxpy[1-5]%2"']


QSTAT = """
[ "$1" = -x ] || {
    [ "$*" = '-f -t 10.server 11.server 12.server 13.server 14.server 8[].server' ] || exit 9
    cat << END
Job Id: 8[].server
    Job_Name = logs_1-3
    job_state = B
    array_indices_submitted = 1-4

Job Id: 8[1].server
    Job_Name = logs_1-3
    job_state = X
    Exit_status = 0
    array_index = 1

Job Id: 8[2].server
    job_state = X
    Exit_status = 2

Job Id: 8[3].server
    job_state = R
    exec_host = node1/0

Job Id: 8[4].server
    job_state = Q

Job Id: 10.server
    job_state = H
END
    echo 'qstat: 11.server Job has finished, use -x or -H to obtain historical job information' >&2
    echo 'qstat: Unknown Job Id 13.server' >&2
    exit 153
}
cat << END
Job Id: 11.server
    job_state = F
    substate = 92
    Exit_status = 271
Job Id: 12.server
    job_state = F
    substate = 91
    Exit_status = 271
Job Id: 14.server
    job_state = F
    substate = 93
    Exit_status = -1
END
echo 'qstat: Unknown Job Id 13.server' >&2
exit 153
"""


def test_states_of_pbs(commands: Project) -> None:
    put(commands, "qstat", QSTAT)
    ids = [*(f"8[{index}].server" for index in range(1, 5)), *(f"{i}.server" for i in range(10, 15))]
    assert PBSScheduler().states(ids) == {
        "8[1].server": Status.COMPLETE,
        "8[2].server": Status.FAILED,
        "8[3].server": Status.RUNNING,
        "8[4].server": Status.SUBMITTED,
        "10.server": Status.SUBMITTED,
        "11.server": Status.KILLED,
        "12.server": Status.INTERRUPTED,
        "14.server": Status.KILLED,
    }


BJOBS = """
[ "$*" = "-u all -a -noheader -o jobid jobindex stat exit_reason delimiter='|' 10 11 12 13 14 15 8" ] || exit 9
cat << END
8|1|DONE|-
8|2|EXIT|-
8|3|RUN|-
8|4|PEND|-
10|0|PSUSP|-
11|0|EXIT|TERM_RUNLIMIT: job killed after reaching LSF run time limit.
12|0|EXIT|TERM_OWNER: job killed by owner.
14|0|USUSP|-
15|0|ZOMBI|-
END
echo 'Job <13> is not found' >&2
exit 255
"""


def test_states_of_lsf(commands: Project) -> None:
    put(commands, "bjobs", BJOBS)
    ids = [*(f"8[{index}]" for index in range(1, 5)), *map(str, range(10, 16))]
    assert LSFScheduler().states(ids) == {
        "8[1]": Status.COMPLETE,
        "8[2]": Status.FAILED,
        "8[3]": Status.RUNNING,
        "8[4]": Status.SUBMITTED,
        "10": Status.SUBMITTED,
        "11": Status.KILLED,
        "12": Status.INTERRUPTED,
        "14": Status.RUNNING,
        "15": Status.KILLED,
    }


MSUB = """
[ "$1" = script.sh ] || exit 9
MOAB_JOBID=Moab.$$ sh "$1" > job.out 2>&1
echo
echo Moab.$$
"""


def test_a_script_for_moab(project: Project, commands: Project) -> None:
    put(commands, "msub", MSUB)
    project.write(
        "main.py", "import mlxpy, sys; mlxpy.Logger('logs').log_metrics({'x': sys.argv[1]}, 'train')"
    )
    project.write("jobs.sh", "#MSUB -l walltime=60\npython main.py x=1,2\n")
    main = "from mlxpy_core._cli._mlxpysub import main; main(prog_name='mlxpysub')"
    assert project.run("-c", main, "jobs.sh").stdout == "Submitted 2 jobs to the cluster queue!\n"
    results = Reader(project.path / "logs").search("info.status == 'COMPLETE'")
    assert results["train.x"] == [["x=1"], ["x=2"]]
    assert [
        bool(re.fullmatch(r"Moab\.\d+", str(one))) for one in results["info.scheduler.scheduler_job_id"]
    ] == [True] * 2
    assert "#MSUB -l walltime=60\n" in project.file(2, "script.sh").read_text()


SHOWQ = """
if [ "$*" = --xml ]; then
    cat << END
<Data><Object>queue</Object><cluster LocalActiveNodes="1"></cluster>
<queue count="1" option="active"><job AWDuration="9" DRMJID="26.server" JobID="Moab.1" State="Running"></job></queue>
<queue count="2" option="eligible"><job JobID="Moab.2" State="Idle"/></queue>
<queue count="1" option="blocked"><job JobID="Moab.3" State="UserHold"></job></queue></Data>
END
elif [ "$*" = "-c --xml" ]; then
    cat << END
<Data><queue count="5" option="completed" purgetime="300">
<job CompletionCode="0" JobID="Moab.4" State="Completed"></job>
<job CompletionCode="2" JobID="Moab.5" State="Completed"></job>
<job CompletionCode="CNCLD(271)" JobID="Moab.6" State="Removed"></job>
<job CompletionCode="271" JobID="Moab.7" State="Completed"></job>
<job CompletionCode="-11" JobID="Moab.8" State="Completed"></job></queue></Data>
END
else
    exit 9
fi
"""


def test_states_of_moab(commands: Project) -> None:
    put(commands, "showq", SHOWQ)
    ids = ["26.server", *(f"Moab.{number}" for number in range(1, 10))]
    assert MoabScheduler().states(ids) == {
        "26.server": Status.RUNNING,
        "Moab.1": Status.RUNNING,
        "Moab.2": Status.SUBMITTED,
        "Moab.3": Status.SUBMITTED,
        "Moab.4": Status.COMPLETE,
        "Moab.5": Status.FAILED,
        "Moab.6": Status.INTERRUPTED,
        "Moab.7": Status.KILLED,
        "Moab.8": Status.KILLED,
    }


@pytest.mark.parametrize(
    ("scheduler", "command", "words"),
    [
        (PBSScheduler(), "qstat", "Connection refused"),
        (LSFScheduler(), "bjobs", "LSF is down. Please wait ..."),
        (MoabScheduler(), "showq", "ERROR: cannot connect to server"),
    ],
)
def test_a_scheduler_that_does_not_answer(
    commands: Project, scheduler: Scheduler, command: str, words: str
) -> None:
    put(commands, command, f"echo {words!r} >&2; exit 255")
    with pytest.raises(SubmissionError, match=words):
        scheduler.states(["1"])


@pytest.mark.parametrize(
    ("scheduler", "command"),
    [(PBSScheduler(), "qsub"), (LSFScheduler(), "bsub"), (MoabScheduler(), "msub")],
)
def test_no_job_id(tmp_path: Path, commands: Project, scheduler: Scheduler, command: str) -> None:
    put(commands, command, "echo Hello")
    (tmp_path / "script.sh").touch()
    with pytest.raises(SubmissionError, match=f"{command} printed no job id but 'Hello'"):
        scheduler.submit(tmp_path / "script.sh")


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({"JOB_ID": "3"}, None),
        ({"JOB_ID": "3", "SGE_TASK_ID": "undefined"}, ("3", None)),
        ({"JOB_ID": "3", "SGE_TASK_ID": "2"}, ("3.2", 2)),
        ({"PBS_JOBID": "3[2].server", "PBS_ARRAY_INDEX": "2"}, ("3[2].server", 2)),
        ({"LSB_JOBID": "3", "LSB_JOBINDEX": "0"}, ("3", None)),
        ({"LSB_JOBID": "3", "LSB_JOBINDEX": "2"}, ("3[2]", 2)),
        (
            {"SLURM_JOB_ID": "4", "SLURM_ARRAY_JOB_ID": "3", "SLURM_ARRAY_TASK_ID": "0"},
            ("3_0", 0),
        ),
    ],
)
def test_the_job_that_a_process_belongs_to(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], job: tuple[str, int | None] | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert job_of_this_process(None) == job
