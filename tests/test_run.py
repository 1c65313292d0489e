"""What a run's directory tells: info.yaml, attempts, output, endings of scripts without Hydra."""

import os
import signal
from datetime import date, datetime, time
from pathlib import Path

import pytest
from conftest import BECOME_NOBODY, Project

import mlxpy
from mlxpy_core import MlxpyError, load_yaml

SCRIPT = """
    import os, signal, sys, time
    import mlxpy

    logger = mlxpy.Logger("logs", config={"lr": 0.1})
    logger.log_metrics({"loss": 1}, "train")
"""


IN_A_THREAD = """
import threading
def in_a_thread(act):
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
in_a_thread"""


# As a data loader does with its workers, some of them hardly begun.
TERMINATED_WORKERS = """
import multiprocessing
for _ in range(20):
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    worker.start()
    worker.terminate()
    worker.join()
    assert worker.exitcode == -signal.SIGTERM
"""


def test_info_tells_what_happened(project: Project) -> None:
    project.write("script.py", SCRIPT)
    project.run("script.py", "--name", "a b")
    info = project.info()
    script, logs = project.path / "script.py", project.path / "logs"
    assert info["log_id"] == 1
    assert info["log_dir"] == str(logs / "1")
    assert info["status"] == "COMPLETE"
    assert info["work_dir"] == str(project.path)
    assert info["current_file_path"] == str(script)
    assert info["cmd"].endswith("script.py --name 'a b'")
    assert info["overrides"] == []
    assert info["exception"] is None
    assert os.path.basename(info["executable"]).startswith("python")
    start = datetime.combine(
        date.fromisoformat(info["start_date"]), time.fromisoformat(info["start_time"])
    )
    end = datetime.combine(date.fromisoformat(info["end_date"]), time.fromisoformat(info["end_time"]))
    assert start.tzinfo is not None
    assert start <= end
    [attempt] = info["attempts"]
    assert attempt["host"] == info["hostname"]
    assert attempt["process_id"] == info["process_id"]
    assert datetime.fromisoformat(attempt["start"]) == start
    assert attempt["status"] == "COMPLETE"
    assert {"user", "scheduler", "version_manager"} <= set(info)
    assert project.yaml(1, "config") == {"lr": 0.1}
    assert project.yaml(1, "mlxpy") == {
        "logger": {
            "name": "DefaultLogger",
            "parent_log_dir": str(logs),
            "forced_log_id": -1,
            "log_streams_to_file": False,
            "system_metrics": False,
            "system_metrics_interval_s": 10,
            "tags": [],
        },
        "use_logger": True,
    }


@pytest.mark.parametrize(
    ("ending", "exit_code", "status"),
    [
        ("", 0, "COMPLETE"),
        ("logger.close()", 0, "COMPLETE"),
        ("sys.exit(0)", 0, "COMPLETE"),
        ("sys.exit()", 0, "COMPLETE"),
        ("sys.exit(3)", 3, "FAILED"),
        ("sys.exit('a message')", 1, "FAILED"),
        ("raise ValueError('no good')", 1, "FAILED"),
        ("raise KeyboardInterrupt", -signal.SIGINT, "INTERRUPTED"),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", -signal.SIGTERM, "INTERRUPTED"),
        ("os.kill(os.getpid(), signal.SIGHUP); time.sleep(9)", -signal.SIGHUP, "INTERRUPTED"),
        ("exit(3)", 3, "FAILED"),
        ("quit()", 0, "COMPLETE"),
        ("from sys import exit; exit(4)", 4, "FAILED"),
        ("from sys import exit; exit()", 0, "COMPLETE"),
        ("raise SystemExit(5)", 5, "FAILED"),
        ("raise SystemExit", 0, "COMPLETE"),
        ("def main(): raise SystemExit(main)\nmain()", 1, "FAILED"),
        ("class Exit(SystemExit): pass\nraise Exit(7)", 7, "FAILED"),
        ("try: sys.exit(3)\nexcept SystemExit as error: assert error.code == 3", 0, "COMPLETE"),
        ("import asyncio\nasync def main(): sys.exit(6)\nasyncio.run(main())", 6, "FAILED"),
        ("import rich.traceback; rich.traceback.install()\n1 / 0", 1, "FAILED"),
        ("sys.excepthook = lambda *_: None\n1 / 0", 1, "FAILED"),
        ("import code; code.InteractiveConsole().push('1 / 0')", 0, "COMPLETE"),
        (f"{IN_A_THREAD}(lambda: 1 / 0)", 0, "COMPLETE"),
        (f"{IN_A_THREAD}(lambda: sys.exit(4))", 0, "COMPLETE"),
        ("os._exit(2)", 2, "RUNNING"),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, "RUNNING"),
        ("if os.fork() == 0: sys.exit(4)\nos.wait()", 0, "COMPLETE"),
        (TERMINATED_WORKERS, 0, "COMPLETE"),
    ],
)
def test_a_script_ends_as_it_would_and_its_status_is_true(
    project: Project, ending: str, exit_code: int, status: str
) -> None:
    script = project.write("script.py", SCRIPT)
    script.write_text(script.read_text() + ending + "\n")
    project.run("script.py", exit_code=exit_code)
    assert project.info()["status"] == status
    assert project.info()["attempts"][-1]["status"] == status


@pytest.mark.parametrize(
    ("ending", "status"), [("pass", "COMPLETE"), ("raise SystemExit(2)", "FAILED"), ("1 / 0", "FAILED")]
)
def test_a_with_block_sees_every_ending(project: Project, ending: str, status: str) -> None:
    project.write("script.py", f"import mlxpy\nwith mlxpy.Logger('logs'):\n    {ending}\n")
    project.run("script.py", exit_code=None)
    assert project.info()["status"] == status


def test_a_program_that_is_no_file_ends_with_its_true_status(project: Project) -> None:
    program = "import mlxpy; mlxpy.Logger('logs'); from sys import exit; exit(4)"
    project.write("module.py", program)
    project.run("-m", "module", exit_code=4)
    project.run("-c", program, exit_code=4)
    with (project.path / "module.py").open() as file:
        project.run("-", exit_code=4, stdin=file)
    assert project.statuses() == ["FAILED"] * 3


def test_a_module_that_had_sys_exit_before_has_it_again(project: Project) -> None:
    project.write(
        "script.py",
        """
        import sys, mlxpy
        from sys import exit
        before, code = sys.exit, SystemExit.__dict__["code"]
        with mlxpy.Logger("logs"):
            assert SystemExit(3).code == 3
        assert exit is sys.exit is before
        assert SystemExit.__dict__["code"] is code
        """,
    )
    project.run("script.py")


def test_runs_that_have_ended_leave_nothing_to_be_done_at_exit(project: Project) -> None:
    program = """
        import atexit, os, sys
        import mlxpy

        mlxpy.Logger("logs").close()
        places = atexit._ncallbacks()
        for _ in range(3):
            mlxpy.Logger("logs").close()
        assert atexit._ncallbacks() == places
        if os.fork() == 0:
            atexit._clear()  # as multiprocessing does
            mlxpy.Logger("logs")
            sys.exit(3)
        os.wait()
        mlxpy.Logger("logs")
    """
    project.write("script.py", program)
    project.run("script.py")
    statuses = [project.info(log_id)["status"] for log_id in range(1, 7)]
    assert statuses == [*["COMPLETE"] * 4, "FAILED", "COMPLETE"]


@pytest.mark.parametrize(
    ("environment", "ending", "exit_code", "status"),
    [
        ({"SLURM_JOB_ID": "7"}, "", -signal.SIGUSR2, "INTERRUPTED"),
        ({"OAR_JOB_ID": "7"}, "while not logger.should_stop: pass", 0, "INTERRUPTED"),
        ({}, "", -signal.SIGUSR2, "RUNNING"),
    ],
)
def test_a_warning_signal_counts_in_a_job(
    project: Project, environment: dict[str, str], ending: str, exit_code: int, status: str
) -> None:
    listens = "logger.should_stop\n" if ending else ""
    script = project.write("script.py", SCRIPT)
    script.write_text(f"{script.read_text()}{listens}os.kill(os.getpid(), signal.SIGUSR2)\n{ending}\n")
    project.run("script.py", exit_code=exit_code, env=environment)
    assert project.info()["status"] == status


def test_a_signal_meets_a_run_from_its_first_word_on(project: Project) -> None:
    program = """
    import os, signal
    import mlxpy
    from mlxpy_core._tracking import _run

    def told_to_stop(*arguments, **options):  # info.yaml has just been written
        _run.write_summary = lambda *arguments, **options: None
        os.kill(os.getpid(), signal.SIGTERM)

    _run.write_summary = told_to_stop
    mlxpy.Logger()
    """
    project.write("script.py", program)
    project.run("script.py", exit_code=-signal.SIGTERM)
    assert project.info()["status"] == "INTERRUPTED"


def test_a_signal_while_the_last_word_is_written_does_not_change_it(project: Project) -> None:
    script = project.write("script.py", SCRIPT)
    ending = """
import mlxpy_core._tracking._run
write_summary = mlxpy_core._tracking._run.write_summary

def interrupted(*arguments, **options):
    mlxpy_core._tracking._run.write_summary = write_summary
    os.kill(os.getpid(), signal.SIGTERM)

mlxpy_core._tracking._run.write_summary = interrupted
logger.close()
"""
    script.write_text(script.read_text() + ending)
    project.run("script.py", exit_code=-signal.SIGTERM)
    assert project.info()["status"] == "COMPLETE"
    assert project.info()["attempts"][-1]["status"] == "COMPLETE"


def test_an_exception_is_told(project: Project) -> None:
    project.write("script.py", SCRIPT + "    raise ValueError('two\\nlines')")
    project.run("script.py", exit_code=1)
    exception = project.info()["exception"]
    assert exception["type"] == "ValueError"
    assert exception["message"] == "two\nlines"
    assert 'script.py", line' in exception["traceback"]
    assert "traceback: |" in project.file(1, "metadata/info.yaml").read_text()


def test_a_handler_that_was_there_is_called_after_and_may_go_on(project: Project) -> None:
    project.write(
        "script.py",
        """
        import os, signal, mlxpy
        def handler(*_):
            print(open(logger.log_dir + "/metadata/info.yaml").read().count("status: INTERRUPTED"))
        signal.signal(signal.SIGTERM, handler)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        logger = mlxpy.Logger("logs")
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        print(open(logger.log_dir + "/metadata/info.yaml").read().count("status: RUNNING"))
        logger.close()
        assert signal.getsignal(signal.SIGTERM) is handler
        """,
    )
    assert project.run("script.py").stdout.split() == ["2", "2"]
    assert project.info()["status"] == "INTERRUPTED"  # it ended soon after


@pytest.mark.parametrize(
    "listen",
    [
        "stop = lambda: logger.should_stop",
        "told = []; logger.on_stop(lambda: told.append(1)); stop = lambda: told",
    ],
)
def test_a_program_that_listens_is_left_to_end_by_itself(project: Project, listen: str) -> None:
    project.write(
        "script.py",
        f"""
        import mlxpy
        logger = mlxpy.Logger("logs")
        {listen}
        step = 0
        while not stop():
            logger.log_metrics({{"step": step}}, "train")
            if step == 10: print("going", flush=True)
            step += 1
        logger.log_checkpoint(step)
        """,
    )
    process = project.start("script.py")
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    assert process.wait(30) == 0
    process.communicate()
    assert project.info()["status"] == "INTERRUPTED"
    assert project.file(1, "artifacts/Checkpoint/checkpoint.pkl").exists()


def test_the_program_that_never_heard_of_the_stop_is_complete(project: Project) -> None:
    project.write(
        "script.py",
        """
        import os, signal, mlxpy
        logger = mlxpy.Logger("logs")
        logger.should_stop
        os.kill(os.getpid(), signal.SIGTERM)
        """,
    )
    project.run("script.py")
    assert project.info()["status"] == "COMPLETE"


def test_a_run_that_another_thread_ended_keeps_its_word(project: Project) -> None:
    project.write(
        "script.py",
        """
        import os, signal, threading, time, mlxpy
        logger = mlxpy.Logger("logs")
        ending = threading.Thread(target=logger.close)
        ending.start()
        ending.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
        """,
    )
    project.run("script.py", exit_code=-signal.SIGTERM)
    assert project.info()["status"] == "COMPLETE"


def test_a_later_attempt_tells_its_own_and_the_earlier_story(in_directory: Path) -> None:
    for lr in (0.1, 0.1, 0.2):
        with mlxpy.Logger("logs", forced_log_id=3, config={"lr": lr}):
            pass
    metadata = in_directory / "logs" / "3" / "metadata"
    info = load_yaml((metadata / "info.yaml").read_text())
    assert [attempt["status"] for attempt in info["attempts"]] == ["COMPLETE"] * 3
    assert load_yaml((metadata / "config.yaml").read_text()) == {"lr": 0.2}
    assert load_yaml((metadata / "config.2.yaml").read_text()) == {"lr": 0.1}
    assert not (metadata / "config.1.yaml").exists()


def test_a_running_run_cannot_be_continued_beside(project: Project) -> None:
    project.write("wait.py", SCRIPT + "    print('on', flush=True); sys.stdin.read()")
    running = project.start("wait.py", stdin=-1)
    assert running.stdout is not None
    running.stdout.readline()
    with pytest.raises(MlxpyError, match=r"run 1 in .*logs is still running on this machine \(process"):
        mlxpy.Logger(project.path / "logs", forced_log_id=1)
    running.kill()
    running.communicate()
    with mlxpy.Logger(project.path / "logs", forced_log_id=1):
        pass
    assert [a["status"] for a in project.info()["attempts"]] == ["KILLED", "COMPLETE"]


def test_a_damaged_info_is_named(in_directory: Path) -> None:
    info = in_directory / "logs" / "1" / "metadata" / "info.yaml"
    info.parent.mkdir(parents=True)
    info.write_text("[1, 2")
    with pytest.raises(MlxpyError, match=r"info\.yaml is not what mlxpy wrote"):
        mlxpy.Logger("logs", forced_log_id=1)


def test_the_next_logger_ends_the_one_before(in_directory: Path) -> None:
    first = mlxpy.Logger("logs")
    second = mlxpy.Logger("logs")
    assert mlxpy.get_logger() is second
    assert second.log_id == 2
    with pytest.raises(mlxpy.MlxpyError, match="has ended"):
        first.log_metrics({"a": 1}, "train")
    for act in (lambda: first.log_artifact(1, "x", "json"), lambda: first.log_checkpoint(1)):
        with pytest.raises(mlxpy.MlxpyError, match="run 1 has ended"):
            act()
    second.close()
    assert mlxpy.get_logger() is None
    assert mlxpy.current_run() is None


def test_output_goes_to_files_as_well(project: Project) -> None:
    project.write(
        "script.py",
        """
        import os, subprocess, sys, mlxpy
        logger = mlxpy.Logger("logs", log_streams_to_file=True)
        print("from python")
        subprocess.run(["echo", "from a child"])
        print("an error", file=sys.stderr)
        logger.close()
        print("after")
        """,
    )
    done = project.run("script.py")
    assert done.stdout == "from a child\nfrom python\nafter\n" or done.stdout.startswith("from")
    assert sorted(project.file(1, "log.stdout").read_text().splitlines()) == [
        "from a child",
        "from python",
    ]
    assert project.file(1, "log.stderr").read_text() == "an error\n"
    assert "an error" in done.stderr


def test_output_that_goes_to_the_file_anyway_is_there_once(project: Project) -> None:
    project.write("script.py", "import mlxpy\nmlxpy.Logger('logs', 1, True)\nprint('once')\n")
    path = project.path / "logs" / "1" / "log.stdout"
    path.parent.mkdir(parents=True)
    with path.open("ab") as file:  # as in a scheduler's job
        project.run("script.py", stdout=file)
    assert path.read_text() == "once\n"


def test_output_before_a_kill_is_in_the_files(project: Project) -> None:
    project.write(
        "script.py",
        """
        import os, signal, mlxpy
        mlxpy.Logger("logs", log_streams_to_file=True)
        print("last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    done = project.run("script.py", exit_code=-signal.SIGKILL)
    assert done.stdout == "last words\n"
    assert project.file(1, "log.stdout").read_text() == "last words\n"


def test_a_config_that_cannot_be_stored_is_refused(in_directory: Path) -> None:
    with pytest.raises(MlxpyError, match="config cannot be stored"):
        mlxpy.Logger("logs", config={"model": object()})


def test_no_permission_is_one_clear_error(project: Project) -> None:
    project.open_to_all()
    (project.path / "logs").mkdir()
    (project.path / "logs").chmod(0o555)
    project.write("script.py", BECOME_NOBODY + "mlxpy.Logger('logs')")
    done = project.run("script.py", exit_code=1)
    assert done.stderr.splitlines()[-1].endswith(
        f"cannot make a run directory in {project.path}/logs: Permission denied"
    )


def test_permission_taken_away_keeps_what_was_logged(project: Project) -> None:
    project.open_to_all()
    (project.path / "logs").mkdir()
    (project.path / "logs").chmod(0o777)
    project.write(
        "script.py",
        BECOME_NOBODY
        + """
logger = mlxpy.Logger("logs")
logger.log_metrics({"a": 1}, "train")
for directory, _, _ in os.walk(logger.log_dir):
    os.chmod(directory, 0o555)
logger.log_metrics({"a": 2}, "train")
for act in (
    lambda: logger.log_metrics({"a": 3}, "eval"),
    lambda: logger.log_checkpoint(1),
):
    try:
        act()
    except mlxpy.MlxpyError as error:
        print(error)
""",
    )
    done = project.run("script.py")
    first, second = done.stdout.splitlines()
    assert first == "cannot log metrics 'eval': Permission denied"
    assert second.endswith("checkpoint.pkl: Permission denied")
    assert project.file(1, "metrics/train.json").read_text() == '{"a": 1}\n{"a": 2}\n'
    assert "info.yaml: Permission denied; COMPLETE is noted beside it" in done.stderr
    assert project.info()["status"] == "RUNNING"
    assert list(mlxpy.Reader(project.path / "logs").search()["info.status"]) == ["COMPLETE"]


def test_files_have_the_users_umask(project: Project) -> None:
    project.write(
        "script.py",
        "import os; os.umask(0o027)\n"
        + "\n".join(line[4:] for line in (SCRIPT + "    logger.log_checkpoint(1)").splitlines()),
    )
    project.run("script.py")
    modes = {
        oct(path.stat().st_mode & 0o777) for path in project.file(1, ".").rglob("*") if path.is_file()
    }
    assert modes == {"0o640"}


def test_a_disk_that_fills_keeps_what_was_logged(project: Project) -> None:
    if os.getuid() != 0:
        pytest.skip("mounting a small file system needs root")
    import subprocess

    logs = project.path / "logs"
    logs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", logs], check=True)
    try:
        project.write(
            "script.py",
            """
            import mlxpy
            logger = mlxpy.Logger("logs")
            step = 0
            try:
                while True:
                    logger.log_metrics({"step": step, "pad": "x" * 997}, "train")
                    step += 1
            except mlxpy.MlxpyError as error:
                print(step, error)
            try:
                logger.log_checkpoint(b"x" * 10_000, "big")
            except mlxpy.MlxpyError as error:
                print(error)
            """,
        )
        done = project.run("script.py")
        logged, first = done.stdout.splitlines()[0].split(" ", 1)
        assert first == "cannot log metrics 'train': No space left on device"
        assert done.stdout.splitlines()[1].endswith("big.pkl: No space left on device")
        import json

        lines = project.file(1, "metrics/train.json").read_text().splitlines(True)
        assert [json.loads(line)["step"] for line in lines] == list(range(int(logged)))
        assert project.info()["status"] in ("COMPLETE", "RUNNING")
        if project.info()["status"] == "RUNNING":
            assert "COMPLETE is noted beside it" in done.stderr
        assert list(mlxpy.Reader(logs).search()["info.status"]) == ["COMPLETE"]
        assert not list(logs.rglob(".mlxpy-tmp-*"))
    finally:
        subprocess.run(["umount", logs], check=True)
