"""Jobs whose program runs in a container: a root of its own, made of mounts that only it sees."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from conftest import REPOSITORY, Project, need_cluster, wait_until

from mlxpy_core import MlxpyError, RunDirectory, load_yaml
from mlxpy_core._operations._cancelling import plan_cancellation
from mlxpy_core._scheduling._script import ScriptOptions, job_script
from mlxpy_core._scheduling._slurm import SLURMScheduler

# Does as `apptainer exec` does, for an image that is a list of directories: mounts them and what is bound
# on an empty root, and starts the program there, as this very process.
APPTAINER = """
    #!/bin/sh
    if [ -z "$MOUNTS_ARE_OWN" ]; then
        [ "$(id -u)" = 0 ] || user=--map-root-user
        MOUNTS_ARE_OWN=yes exec unshare --mount $OWN_PIDS $user -- "$0" "$@"
    fi
    unset MOUNTS_ARE_OWN
    set -e
    [ "$1" = exec ]
    shift
    root=/mnt
    mount -t tmpfs none $root
    bind() {
        [ -e "$1" ] || return 0
        mkdir -p "$root$1"
        mount --rbind "$1" "$root$1"
    }
    while :; do
        case $1 in
        --bind) bind "$2"; shift 2 ;;
        --pwd) directory=$2; shift 2 ;;
        --nv) export NV_WAS_GIVEN=yes; shift ;;
        *) image=$1; shift; break ;;
        esac
    done
    while read -r path; do bind "$path"; done < "$image"
    export PATH="$(head -n 1 "$image"):$PATH" IN_IMAGE="$image"
    exec chroot $root /bin/sh -c 'cd "$0" && exec "$@"' "$directory" "$@"
"""
APP = """
    import json, os, sys, time
    import hydra
    import mlxpy

    @hydra.main(version_base="1.3", config_path="conf", config_name="config")
    def main(cfg):
        seen = {"image": os.environ.get("IN_IMAGE"), "nv": os.environ.get("NV_WAS_GIVEN"), "text": cfg.text,
                "other": os.path.exists(cfg.other), "work_dir": os.getcwd(), "file": __file__,
                "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "rank": os.environ.get("SLURM_PROCID")}
        logger = mlxpy.get_logger()
        logger.log_metrics(seen, "seen")
        logger.log_checkpoint(seen)
        end = time.monotonic() + 100
        while cfg.wait and len(mlxpy.current_run().info["attempts"]) == 1:
            assert time.monotonic() < end
            time.sleep(0.02)
        return cfg.text

    main()
"""
LOCAL = ["-m", "hydra/launcher=mlxp_local", "hydra/callbacks=[mlxp_logger]"]
IMAGE = "hydra.launcher.container=image.sif"


@pytest.fixture
def app(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An app in a directory whose name has to be quoted, with an image beside it."""
    can = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"]), "true"]
    if not shutil.which("unshare") or subprocess.run(can, capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a mount namespace (unshare)")
    inside = Project(project.path / "with space's")
    inside.write("main.py", APP)
    inside.write("conf/config.yaml", f"{{text: x, wait: false, other: {project.path}/other}}\n")
    project.write("other", "")
    paths = [
        *(Path(sys.executable).parent, sys.prefix, sys.base_prefix, *filter(os.path.isdir, sys.path)),
        *(sysconfig.get_path("stdlib"), REPOSITORY, "/usr", "/bin", "/lib", "/lib64", "/etc", "/dev", "/proc"),
    ]  # fmt: skip
    inside.write("image.sif", "".join(f"{path}\n" for path in dict.fromkeys(map(str, paths))))
    inside.write("bin/apptainer", APPTAINER).chmod(0o755)
    monkeypatch.setenv("PATH", f"{inside.path}/bin:{os.environ['PATH']}")
    return inside


def seen(app: Project, log_id: int, attempt: int = -1) -> dict[str, object]:
    import json

    rows = app.file(log_id, "metrics/seen.json").read_text().splitlines()
    row: dict[str, object] = json.loads(rows[attempt])
    return row


def test_the_program_runs_in_it_and_logs_outside(app: Project) -> None:
    text = "a 'b' \"c\" $HOME; é"
    value = "text='" + text.replace("'", "\\'") + "'"
    more = ["hydra.launcher.container_args=[--nv]", "hydra.launcher.gpus_per_job=1", value]
    locks = {"CUDA_VISIBLE_DEVICES": "5", "MLXPY_LOCKS": str(app.path)}
    app.run("main.py", *LOCAL, IMAGE, *more, env=locks)
    row = seen(app, 1)
    assert (app.path.parent / "other").exists()
    assert row == {
        "image": f"{app.path}/image.sif",
        "nv": "yes",
        "text": text,
        "other": False,  # nothing else of this machine is there
        "work_dir": str(app.path),
        "file": f"{app.path}/main.py",
        "gpu": "5",
        "rank": None,
    }
    info = app.info()
    assert info["status"] == "COMPLETE"
    assert info["attempts"][-1]["container"] == info["scheduler"]["container"] == row["image"]
    assert f"container  {row['image']}\n" in app.mlxpy("show", "1")[0]


def test_from_a_copy_of_its_code_it_is_signalled_and_goes_on(app: Project) -> None:
    app.write(".gitignore", "logs\n.workdir\n")
    for words in ("init -q", "add .", "-c user.name=me -c user.email=me@here commit -q -m all"):
        subprocess.run(["git", *words.split()], cwd=app.path, check=True)
    callbacks = "hydra/callbacks=[mlxp_logger,mlxp_git]"
    with app.start("main.py", *LOCAL[:2], callbacks, IMAGE, "wait=true") as process:
        wait_until(lambda: app.file(1, "metrics/seen.json").exists())
        app.mlxpy("cancel", "1", "--yes")
        process.communicate(timeout=100)
    assert (app.info()["status"], app.info()["signal"]) == ("INTERRUPTED", "SIGTERM")
    app.mlxpy("resubmit", "1")
    info = app.info()
    assert [one["status"] for one in info["attempts"]] == ["INTERRUPTED", "COMPLETE"]
    assert [one["container"] for one in info["attempts"]] == [f"{app.path}/image.sif"] * 2
    app.mlxpy("rerun", "1", "wait=false")
    for row in (seen(app, 1, 0), seen(app, 1, 1), seen(app, 2)):
        assert row["image"] == f"{app.path}/image.sif"
        assert str(row["file"]).startswith(f"{app.path}/.workdir/")


def test_a_job_of_slurm_puts_itself_back(app: Project) -> None:
    need_cluster("slurm")
    app.open_to_all()
    starter = "hydra.launcher.container_command='bin/apptainer exec'"
    app.run(
        "main.py", "-m", "hydra/launcher=mlxp_slurm", "hydra/callbacks=mlxp_logger", IMAGE, starter,
        "hydra.launcher.requeue=true", "wait=true",
    )  # fmt: skip
    wait_until(lambda: app.file(1, "metrics/seen.json").exists())
    job = app.info()["scheduler"]["scheduler_job_id"]
    subprocess.run(["scancel", "--signal=USR2", "--batch", job], check=True, capture_output=True)
    wait_until(lambda: app.info()["status"] == "COMPLETE", 150, lambda: app.info()["attempts"])
    info = app.info()
    assert [one["container"] for one in info["attempts"]] == [f"{app.path}/image.sif"] * 2
    assert seen(app, 1, 1)["rank"] == "0"


def test_the_script_stays_readable(tmp_path: Path) -> None:
    script = job_script(
        SLURMScheduler(),
        ScriptOptions(
            container="/my images/image.sif",
            container_args=("--nv", "--bind", "/data"),
            start_by=("srun",),
        ),
        run=Path("/home/me/project/logs/5"),
        work_dir="/home/me/project/code",
        command=["python", "main.py", "lr=0.01", "seed=1"],
        environment={"PYTHONPATH": "/venv/startup", "MLXPY_RUN_ID": "r1"},
    )
    assert script.endswith(
        """\
export PYTHONPATH=/venv/startup"${PYTHONPATH:+:$PYTHONPATH}"
export MLXPY_RUN_ID=r1
export MLXPY_CONTAINER='/my images/image.sif'
export SUBMITIT_EXECUTOR="${SLURM_JOB_ID:+slurm}" SUBMITIT_FOLDER=/home/me/project/logs/5
cd /home/me/project/code || exit 1

${SLURM_JOB_ID:+srun} apptainer exec \\
    --bind /home/me/project/code \\
    --bind /home/me/project/logs \\
    --bind /venv/startup \\
    --pwd /home/me/project/code \\
    --nv --bind /data \\
    '/my images/image.sif' \\
    python main.py \\
    lr=0.01 \\
    seed=1
"""
    )


@pytest.mark.parametrize(
    ("starter", "user"),
    [("docker run --rm", ["--user", f"{os.getuid()}:{os.getgid()}"]), ("podman run", [])],
)
def test_what_docker_is_told(tmp_path: Path, starter: str, user: list[str]) -> None:
    project = Project(tmp_path)
    name, *words = starter.split()
    project.write(f"bin/{name}", '#!/bin/sh\nfor word; do echo "$word"; done\n').chmod(0o755)
    (tmp_path / "logs" / "1").mkdir(parents=True)
    script = job_script(
        SLURMScheduler(),
        ScriptOptions(container="me/torch:2.1", container_command=starter, container_args=("--gpus", "all")),
        run=tmp_path / "logs" / "1",
        work_dir=str(tmp_path),
        command=["python", "main.py", "x=a b"],
        environment={"MLXPY_OWN": "a\nSECRET=1", "OTHER": "2"},
    )  # fmt: skip
    path = project.write("script.sh", script)
    variables = {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "SLURM_PROCID": "3",
        "LOCAL_RANK": "1",
        "TOKEN": "t",
    }
    done = subprocess.run(
        ["bash", path], env=variables, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    place = str(tmp_path)
    start = [*words, "--init", *user, "--volume", f"{place}:{place}", "--workdir", place]
    assert done[: len(start)] == start
    end = ["--gpus", "all", "me/torch:2.1", "python", "main.py", "x=a b"]
    assert done[-len(end) :] == end
    told = done[len(start) : -len(end)]
    names = {
        "MLXPY_OWN",
        "MLXPY_CONTAINER",
        "SLURM_PROCID",
        "LOCAL_RANK",
        "SUBMITIT_EXECUTOR",
        "SUBMITIT_FOLDER",
    }
    assert set(told[1::2]) == names
    assert set(told[::2]) == {"--env"}


def test_what_cannot_be_is_said(app: Project) -> None:
    def error(*options: str) -> str:
        return str(app.run("main.py", *LOCAL, *options, exit_code=1).stderr)

    missing = "hydra.launcher.container=no/such.sif"
    expected = f"mlxpy: hydra.launcher.container: there is no image {app.path}/no/such.sif: give the path of one\n"
    assert error(missing) == expected
    expected = "mlxpy: container_command='' is no command: give one such as apptainer exec\n"
    assert error(IMAGE, "hydra.launcher.container_command=''") == expected
    with pytest.raises(
        MlxpyError, match=r"^/a:b cannot be bound into a container: rename it, its path has a colon"
    ):
        job_script(
            SLURMScheduler(),
            ScriptOptions(container="x"),
            run=Path("/a:b/1"),
            work_dir="/work",
            command=["python"],
        )


def test_an_image_of_a_registry_keeps_its_name(app: Project) -> None:
    name = "docker://pytorch/pytorch:2.1"
    done = app.run(
        "main.py", *LOCAL, f"hydra.launcher.container='{name}'", "hydra.launcher.dry_run=true"
    )
    assert f"    {shlex.quote(name)} \\\n    python" in done.stdout


def test_a_container_whose_processes_have_numbers_of_their_own(app: Project) -> None:
    own = {"OWN_PIDS": "--pid --fork"}
    with app.start("main.py", *LOCAL, IMAGE, "wait=true", env=own) as launcher:
        wait_until(lambda: app.statuses() == ["RUNNING"] and app.file(1, "metrics/seen.json").exists())
        assert app.info()["attempts"][0]["process_namespace"] != os.readlink("/proc/self/ns/pid")
        script = load_yaml(app.file(1, ".keys/process.yaml").read_text())["process_id"]
        run = RunDirectory(app.path / "logs/1")
        assert plan_cancellation([run]).scripts == {run: script}
        launcher.kill()
        os.killpg(script, signal.SIGKILL)
        launcher.communicate(timeout=60)
    wait_until(lambda: (app.mlxpy("status"), app.statuses())[1] == ["KILLED"])
