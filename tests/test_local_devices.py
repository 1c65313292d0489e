"""GPUs and processors of this machine that jobs have for themselves; no GPU is needed to tell a job of one."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import NOBODY, Project, need_root, wait_until

from mlxpy_core import MlxpyError, Reader
from mlxpy_core._runs._process import processes_here, start_environment
from mlxpy_core._scheduling._machine_share import DeviceRequest, SharedMachine
from mlxpy_core._scheduling._visible_gpus import find_visible_gpus

LOCAL = ["-m", "hydra/launcher=mlxp_local", "hydra/callbacks=mlxp_logger"]
GPUS = "hydra.launcher.gpus_per_job"
CPUS = "hydra.launcher.cpus_per_job"
# A GPU that is used twice at once is an error; a job ends when the file of its number is there.
APP = """
    import os, time
    import hydra
    import mlxpy

    @hydra.main(version_base="1.3", config_path=None)
    def main(cfg):
        names = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "HIP_VISIBLE_DEVICES", "OMP_NUM_THREADS")
        row = {name: os.environ.get(name) for name in names}
        gpu = row["CUDA_VISIBLE_DEVICES"]
        cpus = sorted(os.sched_getaffinity(0))
        for holder in [f"using-{gpu}"] if cfg.get("alone", True) else []:
            os.close(os.open(holder, os.O_CREAT | os.O_EXCL))
        mlxpy.get_logger().log_metrics({**row, "cpus": len(cpus), "text": str(cpus)}, "seen")
        end = time.monotonic() + 100
        while cfg.get("wait") and not os.path.exists(f"end-{cfg.x}"):
            assert time.monotonic() < end
            time.sleep(0.02)
        for holder in [f"using-{gpu}"] if cfg.get("alone", True) else []:
            os.unlink(holder)

    main()
"""
SMI = """#!/bin/sh
[ "$1" = -L ] || exit 1
cat << 'END'
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa-1)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb-2)
  MIG 1g.5gb      Device  0: (UUID: MIG-c1)
  MIG 1g.5gb      Device  1: (UUID: MIG-c2)
GPU 2: NVIDIA A100-SXM4-40GB (UUID: GPU-dddd-4)
END
"""


@pytest.fixture
def machine(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project on a machine of which no other test knows."""
    project.write("main.py", APP)
    for name in (
        "CUDA_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "OMP_NUM_THREADS",
    ):
        monkeypatch.delenv(name, raising=False)
    locks = project.path / "locks"
    locks.mkdir()
    monkeypatch.setenv("MLXPY_LOCKS", str(locks))
    return project


def nvidia_smi(project: Project) -> dict[str, str]:
    project.write("bin/nvidia-smi", SMI).chmod(0o755)
    return {"PATH": f"{project.path}/bin:{os.environ['PATH']}"}


def seen(project: Project, log_id: int) -> dict[str, Any]:
    text = project.file(log_id, "metrics/seen.json").read_text()
    row: dict[str, Any] = json.loads(text.splitlines()[-1])
    return row


def let_end(project: Project, *jobs: int) -> None:
    for x in jobs:
        project.path.joinpath(f"end-{x}").touch()


def is_using(project: Project, gpu: str) -> bool:
    return project.path.joinpath(f"using-{gpu}").exists()


def test_each_job_has_gpus_of_its_own(machine: Project) -> None:
    gpus = {"CUDA_VISIBLE_DEVICES": "GPU-5a,MIG-7"}
    # As many at once as the GPUs allow.
    with machine.start("main.py", *LOCAL, "+x=1,2,3", f"{GPUS}=1", "+wait=true", env=gpus) as process:
        wait_until(lambda: all(is_using(machine, gpu) for gpu in ("GPU-5a", "MIG-7")))
        assert machine.statuses() == ["RUNNING", "RUNNING", "SUBMITTED"]
        let_end(machine, 2, 3)
        wait_until(lambda: machine.statuses() == ["RUNNING", "COMPLETE", "COMPLETE"])
        let_end(machine, 1)
        stdout, stderr = process.communicate(timeout=100)
    assert (process.returncode, stderr) == (0, ""), stdout
    words = [seen(machine, log_id)["CUDA_VISIBLE_DEVICES"] for log_id in (1, 2, 3)]
    assert words == ["GPU-5a", "MIG-7", "MIG-7"]
    assert "# gpus_per_job=1\n" in machine.file(1, "script.sh").read_text()
    info = machine.info(3)
    assert info["scheduler"]["gpus"] == info["attempts"][-1]["gpus"] == "MIG-7"
    assert info["usage"]["requested_gpus"] == 1
    assert ", GPU MIG-7\n" in machine.mlxpy("show", "3")[0]
    assert Reader(machine.path / "logs").search()["info.scheduler.gpus"] == words


def test_what_is_not_there_is_said_before_anything_is_made(machine: Project) -> None:
    few = machine.run(
        "main.py", *LOCAL, "+x=1", f"{GPUS}=1", exit_code=1, env={"CUDA_VISIBLE_DEVICES": ""}
    )
    assert few.stderr == (
        "mlxpy: gpus_per_job=1, but this command sees no GPU (CUDA_VISIBLE_DEVICES is empty); ask for fewer, "
        "or start it where there are more\n"
    )
    assert not list(machine.path.glob("logs/[0-9]*"))


@pytest.mark.parametrize(
    ("gpus", "wanted", "message"),
    [
        ("-1", DeviceRequest(1), "gpus_per_job=1, but this command sees no GPU (CUDA_VISIBLE_DEVICES is -1)"),
        ("0,1,-1,2", DeviceRequest(3), "gpus_per_job=3, but this command sees 2: 0, 1;"),
        (None, DeviceRequest(1), "gpus_per_job=1, but this command sees no GPU (nvidia-smi lists none, and no variable names any);"),
        ("0", DeviceRequest(0, 999), f"cpus_per_job=999, but this command may use {len(os.sched_getaffinity(0))} processors:"),
    ],
)  # fmt: skip
def test_how_it_is_said(
    machine: Project,
    monkeypatch: pytest.MonkeyPatch,
    gpus: str | None,
    wanted: DeviceRequest,
    message: str,
) -> None:
    machine.write("bin/nvidia-smi", "#!/bin/sh\nexit 9\n").chmod(0o755)  # as without a driver
    monkeypatch.setenv("PATH", f"{machine.path}/bin:{os.environ['PATH']}")
    with pytest.raises(MlxpyError, match=f"^{re.escape(message)}"):
        SharedMachine({} if gpus is None else {"CUDA_VISIBLE_DEVICES": gpus}).check(wanted)
    with pytest.raises(MlxpyError, match=r"^gpus_per_job=-1 is no number of them"):
        DeviceRequest(-1)


def test_two_commands_share_whatever_they_call_a_gpu(machine: Project) -> None:
    path = nvidia_smi(machine)
    first = {**path, "CUDA_VISIBLE_DEVICES": "2"}
    second = {**path, "CUDA_VISIBLE_DEVICES": "GPU-dd"}
    job = (*LOCAL, f"{GPUS}=1", "+wait=true")
    with machine.start("main.py", *job, "+x=1", env=first) as one:
        wait_until(lambda: is_using(machine, "2"))
        with machine.start("main.py", *job, "+x=2", env=second) as other:
            assert other.stderr.readline() == "mlxpy: waiting for 1 GPU: other processes have them\n"
            assert machine.statuses() == ["RUNNING", "SUBMITTED"]
            let_end(machine, 1, 2)
            other.communicate(timeout=100)
        one.communicate(timeout=100)
    assert (one.returncode, other.returncode) == (0, 0)
    assert machine.statuses() == ["COMPLETE", "COMPLETE"]


def test_a_killed_launcher_leaves_the_gpu_to_its_job_and_a_killed_job_leaves_it(
    machine: Project,
) -> None:
    gpus = {"CUDA_VISIBLE_DEVICES": "0"}
    job = (*LOCAL, f"{GPUS}=1", "+wait=true")
    with machine.start("main.py", *job, "+x=1,2", env=gpus) as launcher:
        wait_until(lambda: is_using(machine, "0"))
        launcher.kill()
        launcher.communicate(timeout=100)
    with machine.start("main.py", *job, "+x=3", env=gpus) as other:
        assert other.stderr.readline() == "mlxpy: waiting for 1 GPU: other processes have them\n"
        assert is_using(machine, "0")
        os.kill(machine.info(1)["process_id"], signal.SIGKILL)
        machine.path.joinpath("using-0").unlink()
        wait_until(lambda: machine.statuses()[2] == "RUNNING")
        let_end(machine, 3)
        other.communicate(timeout=100)
    assert other.returncode == 0
    # Going on, it has its GPU again.
    let_end(machine, 1)
    machine.mlxpy("resubmit", "1", env=gpus)
    info = machine.info(1)
    assert [attempt["status"] for attempt in info["attempts"]] == ["KILLED", "COMPLETE"]
    assert [attempt["gpus"] for attempt in info["attempts"]] == ["0", "0"]
    assert info["scheduler"]["gpus"] == "0"


def test_what_a_job_leaves_running_does_not_keep_its_gpu(machine: Project) -> None:
    daemon = "hydra.launcher.shell_config_cmd='setsid sleep 300 < /dev/null > /dev/null 2>&1 &'"
    machine.run("main.py", *LOCAL, f"{GPUS}=1", "+x=1,2", daemon, env={"CUDA_VISIBLE_DEVICES": "0"})
    assert machine.statuses() == ["COMPLETE", "COMPLETE"]
    left = [
        pid
        for pid in processes_here()
        if (start_environment(pid) or {}).get("MLXPY_LOCKS") == os.environ["MLXPY_LOCKS"]
    ]
    assert len(left) == 2
    for pid in left:
        os.kill(pid, signal.SIGKILL)


def test_what_a_job_asks_for_may_depend_on_its_config(machine: Project) -> None:
    of_config = "${oc.select:x,0}"
    asked = (f"{CPUS}={of_config}", f"{GPUS}={of_config}", "+x=0,1", "+alone=false")
    threads = {"OMP_NUM_THREADS": "7"}  # as the user has chosen
    machine.run("main.py", *LOCAL, *asked, env={**nvidia_smi(machine), **threads})
    free, bound = seen(machine, 1), seen(machine, 2)
    assert (free["cpus"], free["OMP_NUM_THREADS"]) == (len(os.sched_getaffinity(0)), "7")
    assert (bound["cpus"], bound["OMP_NUM_THREADS"]) == (1, "7")
    info = machine.info(2)
    assert bound["text"] == f"[{info['scheduler']['cpus']}]"
    assert info["usage"]["requested_cores"] == 1
    assert not {"cpus", "gpus"} & set(machine.info(1)["scheduler"])
    # Numbered as nvidia-smi does.
    assert (bound["CUDA_VISIBLE_DEVICES"], bound["CUDA_DEVICE_ORDER"]) == ("0", "PCI_BUS_ID")


@pytest.mark.parametrize(
    ("environment", "listed", "variable", "identities"),
    [
        # A divided GPU can only be used by its parts, which have no numbers.
        (
            {},
            True,
            "CUDA_VISIBLE_DEVICES",
            {"0": "GPU-aaaa-1", "MIG-c1": "MIG-c1", "MIG-c2": "MIG-c2", "2": "GPU-dddd-4"},
        ),
        ({"SLURM_JOB_GPUS": "2"}, True, "CUDA_VISIBLE_DEVICES", {"2": "GPU-dddd-4"}),
        (
            {"CUDA_VISIBLE_DEVICES": "GPU-dd, MIG-c2"},
            True,
            "CUDA_VISIBLE_DEVICES",
            {"GPU-dd": "GPU-dddd-4", "MIG-c2": "MIG-c2"},
        ),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, False, "CUDA_VISIBLE_DEVICES", {"1": "1", "0": "0"}),
        ({"CUDA_VISIBLE_DEVICES": ""}, True, "CUDA_VISIBLE_DEVICES", {}),
        ({"HIP_VISIBLE_DEVICES": "0,1"}, True, "HIP_VISIBLE_DEVICES", {"0": "amd-0", "1": "amd-1"}),
        ({"ROCR_VISIBLE_DEVICES": "3"}, False, "ROCR_VISIBLE_DEVICES", {"3": "amd-3"}),
    ],
)
def test_which_gpus_a_command_sees(
    machine: Project,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    listed: bool,
    variable: str,
    identities: dict[str, str],
) -> None:
    if listed:
        monkeypatch.setenv("PATH", nvidia_smi(machine)["PATH"])
    found = find_visible_gpus(environment)
    assert (found.variable, found.identities) == (variable, identities)


def test_a_part_of_what_is_asked_for_is_not_kept(tmp_path: Path) -> None:
    machine = SharedMachine({"CUDA_VISIBLE_DEVICES": "0,1,2", "MLXPY_LOCKS": str(tmp_path)})
    one = machine.take(DeviceRequest(gpus=2))
    assert one
    assert one.environment["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert machine.take(DeviceRequest(gpus=2)) is None
    other = machine.take(DeviceRequest(gpus=1))
    assert other
    assert other.environment["CUDA_VISIBLE_DEVICES"] == "2"
    for share in (one, other):
        share.leave()
    again = machine.take(DeviceRequest(gpus=3))
    assert again
    again.leave()


def test_each_has_processors_of_its_own(tmp_path: Path) -> None:
    processors = sorted(os.sched_getaffinity(0))
    machine = SharedMachine({"MLXPY_LOCKS": str(tmp_path)})
    shares = [machine.take(DeviceRequest(cpus=1)) for _ in processors]
    assert machine.take(DeviceRequest(cpus=1)) is None
    for share, processor in zip(shares, processors, strict=True):
        assert share
        assert share.cpus == [processor]
        assert share.environment["OMP_NUM_THREADS"] == "1"
        share.leave()


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_lies_in_the_place_of_a_lock_is_named(tmp_path: Path, kind: str) -> None:
    lock = tmp_path / "mlxpy-gpu-0.lock"
    if kind == "link":
        lock.symlink_to(tmp_path / "private")
    else:
        os.mkfifo(lock)
    machine = SharedMachine({"CUDA_VISIBLE_DEVICES": "0", "MLXPY_LOCKS": str(tmp_path)})
    with pytest.raises(MlxpyError, match=f"cannot open {lock}, by whose lock"):
        machine.check(DeviceRequest(gpus=1))
    assert machine.take(DeviceRequest(gpus=1)) is None
    assert not (tmp_path / "private").exists()


def test_users_share(tmp_path: Path) -> None:
    need_root()
    os.chmod(tmp_path, 0o1777)
    earlier = os.umask(0o077)
    try:
        machine = SharedMachine({"CUDA_VISIBLE_DEVICES": "0", "MLXPY_LOCKS": str(tmp_path)})
        share = machine.take(DeviceRequest(gpus=1))
    finally:
        os.umask(earlier)
    assert share
    program = (
        "import os, sys; from mlxpy_core._scheduling._machine_share import *\n"
        f"folder = os.open({str(tmp_path)!r}, os.O_PATH); os.setuid({NOBODY})\n"
        "machine = SharedMachine({'CUDA_VISIBLE_DEVICES': '0', 'MLXPY_LOCKS': f'/proc/self/fd/{folder}'})\n"
        "for _ in range(2):\n"
        "    print(machine.take(DeviceRequest(gpus=1)) is not None, flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "False\n"
        share.leave()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "True\n"
        process.stdin.close()
