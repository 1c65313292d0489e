"""What a run has used, and what its job was given."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, need_cluster, wait_until

import mlxpy
from mlxpy_core import load_yaml
from mlxpy_core._cli._sizes import size_text
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._runs._info_file import info_path
from mlxpy_core._scheduling._oar import OARScheduler
from mlxpy_core._scheduling._slurm import SLURMScheduler

MIB = 2**20
IN_A_JOB = {
    "SLURM_JOB_ID": "12",
    "SLURM_CPUS_ON_NODE": "4",
    "SLURM_MEM_PER_NODE": "2048",
    "SLURM_GPUS_ON_NODE": "2",
    "SLURM_JOB_START_TIME": "1790000000",
    "SLURM_JOB_END_TIME": "1790003600",
}
GIVEN = {
    "requested_memory": 2048 * MIB,
    "requested_cores": 4,
    "requested_gpus": 2,
    "requested_seconds": 3600,
}
SCRIPT = """
    import os, signal, subprocess, sys, time
    import mlxpy

    logger = mlxpy.Logger("logs")
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
"""


def started(project: Project, ending: str, exit_code: int = 0, **variables: str) -> Any:
    script = project.write("script.py", SCRIPT)
    script.write_text(script.read_text() + ending + "\n")
    project.run("script.py", exit_code=exit_code, env=variables)
    return project.info()


@pytest.mark.cold
def test_a_run_counts_what_it_and_its_children_used(project: Project) -> None:
    # Larger than this process, which counts until the program has replaced it.
    child = (
        "b'x' * (700 * 2**20); end = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    )
    code = f"subprocess.run([sys.executable, '-c', {'import time; ' + child!r}], check=True)"
    used = started(project, code)["usage"]
    assert set(used) == {"wall_seconds", "cpu_seconds", "peak_memory"}
    assert 0.5 <= used["cpu_seconds"] < 60
    assert used["wall_seconds"] >= 0.5
    assert 700 * MIB <= used["peak_memory"] < 1400 * MIB


@pytest.mark.parametrize(
    ("ending", "exit_code"),
    [
        ("logger.close()", 0),
        ("raise ValueError('no good')", 1),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", -signal.SIGTERM),
    ],
)
def test_however_it_ends(project: Project, ending: str, exit_code: int) -> None:
    info = started(project, ending, exit_code)
    assert info["usage"]["cpu_seconds"] >= 0.3
    assert info["attempts"][-1]["cpu_seconds"] == info["usage"]["cpu_seconds"]


def test_one_that_is_killed_knows_what_its_job_was_given(project: Project) -> None:
    info = started(project, "os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, **IN_A_JOB)
    assert info["usage"] == GIVEN
    started(project, "os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL)
    assert project.info(2)["usage"] is None


def test_each_attempt_has_its_own(tmp_path: Path) -> None:
    for busy_s in (0.3, 0.0):
        with mlxpy.Logger(tmp_path, forced_log_id=1):
            end = time.process_time() + busy_s
            while time.process_time() < end:
                pass
    info = load_yaml(info_path(tmp_path / "1").read_text())
    first, second = info["attempts"]
    assert first["cpu_seconds"] >= 0.3 > second["cpu_seconds"]
    assert info["usage"] == {name: second[name] for name in info["usage"]}


@pytest.mark.parametrize(
    ("scheduler", "environment", "expected"),
    [
        (SLURMScheduler, {}, {}),
        (
            SLURMScheduler,
            IN_A_JOB,
            {"memory": 2048 * MIB, "cores": 4, "gpus": 2, "seconds": 3600},
        ),
        (
            SLURMScheduler,
            {"SLURM_CPUS_ON_NODE": "3", "SLURM_MEM_PER_CPU": "100", "SLURM_JOB_GPUS": "0,5"},
            {"memory": 300 * MIB, "cores": 3, "gpus": 2},
        ),
        (
            SLURMScheduler,
            {"SLURM_MEM_PER_GPU": "100", "SLURM_GPUS_ON_NODE": "2", "SLURM_CPUS_ON_NODE": "all"},
            {"memory": 200 * MIB, "gpus": 2},
        ),
        (
            OARScheduler,
            {"OAR_NODE_FILE": "/no/such/file", "OAR_JOB_WALLTIME_SECONDS": "60"},
            {"seconds": 60},
        ),
        (OARScheduler, {"OAR_NODE_FILE": "nodes"}, {"cores": 2}),
        (OARScheduler, {"OAR_NODE_FILE": "others"}, {}),
        (OARScheduler, {"OAR_NODE_FILE": "alias"}, {"cores": 3}),
    ],
)
def test_what_schedulers_tell_their_jobs(
    in_directory: Path, scheduler: type[Scheduler], environment: dict[str, str], expected: dict[str, int]
) -> None:
    here = os.uname().nodename
    Path("nodes").write_text(f"{here}\n{here}.example.org\nnode7\n")
    Path("others").write_text("node7\nnode8\n")
    Path("alias").write_text("node7\nnode7\nnode7\n")
    assert scheduler.requested(environment) == expected


def test_who_asks_for_too_much_is_seen(project: Project) -> None:
    started(project, "", **IN_A_JOB)
    columns = (
        "-c",
        "usage.peak_memory",
        "-c",
        "usage.requested_memory",
        "-c",
        "info.usage.requested_cores",
    )
    table, _ = project.mlxpy("ls", *columns, "--sort", "usage.peak_memory")
    head, row = (line.split() for line in table.splitlines())
    assert head == ["id", "usage.peak_memory", "usage.requested_memory", "info.usage.requested_cores"]
    assert (row[2], *row[3:]) == ("MiB", "2.0", "GiB", "4")
    (run,) = mlxpy.Reader(project.path / "logs").search("info.usage.requested_memory > 1000000000")
    assert (
        f'"usage.peak_memory": {run["info.usage.peak_memory"]}\n'
        in project.mlxpy("ls", "--json", *columns[:2])[0]
    )
    shown, _ = project.mlxpy("show", "1")
    assert "(requested: memory 2.0 GiB, cores 4, gpus 2, time 1h00m)\n" in shown
    assert "used       memory " in shown


@pytest.mark.parametrize(
    ("directives", "seconds"),
    [
        (["--time=7"], 420),
        (["--mem=1 -t 7:30", "--time-min=1"], 450),
        (["--time 1:00:05"], 3605),
        (["--time=9", "--time=2-3"], 2 * 86400 + 3 * 3600),
        (["-t1-02:03:04"], 86400 + 2 * 3600 + 3 * 60 + 4),
        (["--time=UNLIMITED", "--test=5"], None),
    ],
)
def test_a_slurm_that_does_not_tell_the_time_was_asked_for_it(
    directives: list[str], seconds: int | None
) -> None:
    assert SLURMScheduler.requested({}, directives).get("seconds") == seconds


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0.0 B"),
        (1023, "1023.0 B"),
        (1024, "1.0 KiB"),
        (5 * 2**40, "5.0 TiB"),
        (None, None),
        ("much", "much"),
        (10**40, 10**40),
        ([1], [1]),
    ],
)
def test_sizes_are_read_by_people(size: Any, text: Any) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("name", "directive", "given"),
    [
        (
            "slurm",
            "--cpus-per-task=2 --mem=100 --time=7",
            {"requested_cores": 2, "requested_memory": 100 * MIB, "requested_seconds": 420},
        ),
        ("oar", "-l core=1,walltime=0:07:00", {"requested_cores": 1, "requested_seconds": 420}),
    ],
)
def test_jobs_of_real_clusters_know_what_they_were_given(
    app: Project, name: str, directive: str, given: dict[str, int]
) -> None:
    need_cluster(name)
    option = f"hydra.launcher.option_cmd=['{directive}']"
    app.run("main.py", "-m", f"hydra/launcher=mlxp_{name}", option)
    wait_until(lambda: app.statuses() == ["COMPLETE"], shown=lambda: app.statuses())
    usage = app.info()["usage"]
    assert {key: value for key, value in usage.items() if key.startswith("requested_")} == given
    assert usage["peak_memory"] > MIB
