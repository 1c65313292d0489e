"""Processes that a run's program starts to run parts of itself: they log to the same run."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import NOBODY, Project

from mlxpy import Reader

WORK = """
    import os, mlxpy
    def work(x):
        logger = mlxpy.get_logger()
        for step in range(3):
            logger.log_metrics({"x": x, "step": step, "pid": os.getpid()}, "load")
        logger.log_artifact({"x": x}, f"part{x}", "json")
        return logger.log_id, logger.load_artifact("given")
"""


def rows(project: Project, name: str = "load", log_id: int = 1) -> list[list[Any]]:
    """Gives the rows of each subprocess's log."""
    paths = sorted(project.file(log_id, "metrics/.subprocesses").glob(f"*/{name}.json"))
    return [list(map(json.loads, path.read_text().splitlines())) for path in paths]


def check(project: Project, xs: range, log_id: int = 1) -> None:
    """Checks that all rows are there, whole and of one process a file, and that there is no other run."""
    found = rows(project, log_id=log_id)
    assert sorted((row["x"], row["step"]) for log in found for row in log) == [
        (x, step) for x in xs for step in range(3)
    ]
    assert project.file(log_id, "metrics/train.json").read_text() == '{"main": 1}\n'


WAYS = {
    "spawn": "with multiprocessing.get_context('spawn').Pool(2) as pool: got = pool.map(work, range(N))",
    "forkserver": "with multiprocessing.get_context('forkserver').Pool(2) as pool: got = pool.map(work, range(N))",
    "fork": "with multiprocessing.get_context('fork').Pool(2) as pool: got = pool.map(work, range(N))",
    "futures": "with concurrent.futures.ProcessPoolExecutor(2) as pool: got = list(pool.map(work, range(N)))",
    "loky": "got = joblib.Parallel(n_jobs=2)(joblib.delayed(work)(x) for x in range(N))",
    "submitit": """
        executor = submitit.LocalExecutor("jobs")
        jobs = [executor.submit(work, x) for x in range(N)]
        got = [job.result() for job in jobs]
    """,
}
MODULES = {"loky": "joblib", "submitit": "submitit"}


@pytest.mark.long("futures", "loky")  # they fork; another test has workers of loky
@pytest.mark.parametrize("way", WAYS)
def test_subprocesses_log_to_the_same_run(project: Project, way: str) -> None:
    module = MODULES.get(way, "multiprocessing, concurrent.futures")
    if way in MODULES:
        pytest.importorskip(module, reason=f"{module} is not installed")
    project.write("work.py", WORK)
    count = 2 if way == "submitit" else 4
    body = "\n".join(line.strip() for line in WAYS[way].strip().splitlines())
    program = f"""
import hydra, mlxpy, {module}
from work import work
N = {count}
@hydra.main(version_base=None, config_path=None)
def main(config):
    logger = mlxpy.get_logger()
    logger.log_metrics({{"main": 1}}, "train")
    logger.log_artifact("a text", "given", "text")
BODY
    assert got == [(1, "a text")] * N, got
if __name__ == "__main__":
    main()
"""
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    project.write("main.py", program.replace("BODY", indented))
    project.run("main.py", "hydra/callbacks=mlxp_logger")
    assert project.statuses() == ["COMPLETE"]
    check(project, range(count))
    result = Reader(project.path / "logs").search()[0]
    logged = [result[f"subprocess{n}/load.x"] for n in range(1, len(rows(project)) + 1)]
    assert sorted(x for values in logged for x in values) == sorted([*range(count)] * 3)
    assert len(result["artifact.json"]) == count


def test_a_directory_is_taken_over_from_a_subprocess_that_has_ended(project: Project) -> None:
    project.write("work.py", WORK)
    project.write(
        "main.py",
        """
        import multiprocessing, mlxpy
        from work import work
        if __name__ == "__main__":
            logger = mlxpy.Logger("logs")
            logger.log_metrics({"main": 1}, "train")
            logger.log_artifact("", "given", "text")
            for x in range(4):
                process = multiprocessing.get_context(["fork", "spawn"][x % 2]).Process(target=work, args=(x,))
                process.start()
                process.join()
                assert process.exitcode == 0
        """,
    )
    project.run("main.py")
    assert project.run_ids() == [1]
    check(project, range(4))
    (log,) = rows(project)
    assert [row["x"] for row in log] == [x for x in range(4) for _ in range(3)]
    assert len({row["pid"] for row in log}) == 4


REUSED = """
    import hydra, joblib, mlxpy
    from work import work
    @hydra.main(version_base=None, config_path=None)
    def main(config):
        logger = mlxpy.get_logger()
        logger.log_metrics({"main": 1}, "train")
        logger.log_artifact("", "given", "text")
        joblib.Parallel(n_jobs=2)(joblib.delayed(work)(x) for x in range(config.n))
    if __name__ == "__main__":
        main()
"""


def test_workers_that_outlive_a_run_log_to_the_next_one_of_their_program(project: Project) -> None:
    pytest.importorskip("joblib", reason="joblib is not installed")
    project.write("work.py", WORK)
    project.write("main.py", REUSED)
    project.run("main.py", "-m", "hydra/callbacks=mlxp_logger", "+n=2,3")
    assert project.statuses() == ["COMPLETE"] * 2
    for log_id, count in ((1, 2), (2, 3)):
        check(project, range(count), log_id)
    pids = [{row["pid"] for log in rows(project, log_id=i) for row in log} for i in (1, 2)]
    assert pids[0] & pids[1]  # loky keeps its workers


def test_what_a_subprocess_cannot_do(project: Project) -> None:
    project.write(
        "main.py",
        """
        import multiprocessing, mlxpy
        def work(pipe):
            logger = mlxpy.get_logger()
            assert mlxpy.get_logger() is logger
            assert logger.load_checkpoint() == "of the run"
            acts = {
                "checkpoint": lambda: logger.log_checkpoint(1),
                "stop": lambda: logger.should_stop,
                "on stop": lambda: logger.on_stop(print),
                "resume": lambda: logger.resume_at_step(3),
            }
            for name, act in acts.items():
                try:
                    act()
                except mlxpy.MlxpyError as error:
                    print(f"{name}: {error}")
            logger.log_metrics({"a": 1}, "load")
            logger.close()
            logger.log_metrics({"a": 2}, "load")
            pipe.send("logged")
            pipe.recv()  # the run has ended
            assert mlxpy.get_logger() is None
            for act in (lambda: logger.log_metrics({"a": 3}, "load"), lambda: logger.log_artifact(1, "x", "json")):
                try:
                    act()
                except mlxpy.RunEndedError as error:
                    print(f"ended: {error}", flush=True)

        if __name__ == "__main__":
            for method in ("spawn", "fork"):
                context = multiprocessing.get_context(method)
                logger = mlxpy.Logger("logs")
                logger.log_checkpoint("of the run")
                here, there = context.Pipe()
                process = context.Process(target=work, args=(there,))
                process.start()
                assert here.recv() == "logged"
                logger.close()
                here.send("ended")
                process.join()
                assert process.exitcode == 0
        """,
    )
    done = project.run("main.py")
    for log_id in (1, 2):
        sentence = f"a subprocess of run {log_id} cannot {{}}: do so in the process that runs it"
        expected = {
            "checkpoint": sentence.format("store checkpoint 'checkpoint'"),
            "stop": sentence.format("ask whether to stop"),
            "on stop": sentence.format("ask when to stop"),
            "resume": sentence.format("resume"),
        }
        for name, text in expected.items():
            assert f"{name}: {text}\n" in done.stdout
        assert f"ended: cannot log metrics: run {log_id} has ended\n" in done.stdout
        assert f"ended: cannot log 'x': run {log_id} has ended\n" in done.stdout
        assert rows(project, log_id=log_id) == [[{"a": 1}, {"a": 2}]]
    assert project.statuses() == ["COMPLETE"] * 2


def test_a_logger_of_the_users_own_class_is_the_same_in_subprocesses(project: Project) -> None:
    project.write(
        "main.py",
        """
        import multiprocessing, mlxpy
        class Mine(mlxpy.Logger):
            def mine(self, x):
                self.log_metrics({"x": x}, "load")
        def work(logger=None):
            (logger or mlxpy.get_logger()).mine(1)
        if __name__ == "__main__":
            logger = Mine("logs")
            for method, arguments in (("spawn", ()), ("fork", ()), ("fork", (logger,))):
                process = multiprocessing.get_context(method).Process(target=work, args=arguments)
                process.start()
                process.join()
                assert process.exitcode == 0
        """,
    )
    project.run("main.py")
    assert rows(project) == [[{"x": 1}] * 3]
    assert not project.file(1, "metrics/load.json").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_a_logger_of_a_neighbours_class_is_not_imported(project: Project) -> None:
    project.write("theirs.py", "raise SystemExit('imported')\n")
    project.write(
        "main.py",
        f"""
        import multiprocessing, os, mlxpy
        from pathlib import Path
        def work():
            assert type(mlxpy.get_logger()) is mlxpy.Logger
        if __name__ == "__main__":
            logger = mlxpy.Logger("logs")
            planted = Path(logger.log_dir, "metadata", "mlxpy.yaml")
            planted.write_text("logger: {{name: theirs.Logger}}")
            os.chown(planted, {NOBODY}, {NOBODY})
            process = multiprocessing.get_context("spawn").Process(target=work)
            process.start()
            process.join()
            assert process.exitcode == 0
        """,
    )
    project.run("main.py")


def test_another_program_is_none_of_the_run(project: Project) -> None:
    other = """
        import hydra, mlxpy
        assert mlxpy.get_logger() is None
        @hydra.main(version_base=None, config_path=None)
        def main(config):
            mlxpy.get_logger().log_metrics({"other": 1}, "train")
        if __name__ == "__main__":
            main()
    """
    project.write("other.py", other)
    project.write("helper.py", "import mlxpy\nassert mlxpy.get_logger() is None\n")
    project.write(
        "main.py",
        """
        import subprocess, sys, mlxpy
        mlxpy.Logger("logs").log_metrics({"main": 1}, "train")
        for command in (["other.py", "hydra/callbacks=mlxp_logger"], ["helper.py"]):
            subprocess.run([sys.executable, *command], check=True)
        """,
    )
    project.run("main.py")
    assert project.statuses() == ["COMPLETE"] * 2
    texts = [project.file(log_id, "metrics/train.json").read_text() for log_id in (1, 2)]
    assert texts == ['{"main": 1}\n', '{"other": 1}\n']


RESUMED = """
    import multiprocessing, os, sys, mlxpy
    def work(first):
        for step in range(first, first + 3):
            mlxpy.get_logger().log_metrics({"step": step, "attempt": int(sys.argv[1])}, "load")
    if __name__ == "__main__":
        logger = mlxpy.Logger("logs", forced_log_id=1)
        try:
            first = logger.load_checkpoint()
        except FileNotFoundError:
            first = 0
        for start in (first, first + 3):
            process = multiprocessing.get_context("spawn").Process(target=work, args=(start,))
            process.start()
            process.join()
            if start == 0:
                logger.log_checkpoint(3)
        if sys.argv[1] == "1":
            os.kill(os.getpid(), 9)
"""


def test_a_resumed_run_has_one_history_of_its_subprocesses(project: Project) -> None:
    project.write("main.py", RESUMED)
    project.run("main.py", "1", exit_code=-9)
    project.run("main.py", "2")
    expected = [(step, 1) for step in range(3)] + [(step, 2) for step in range(3, 9)]
    assert [[(row["step"], row["attempt"]) for row in log] for log in rows(project)] == [expected]
    aside: Path = project.file(1, "metrics/.aside/2/.subprocesses/1/load.json")
    assert [json.loads(line)["step"] for line in aside.read_text().splitlines()] == [3, 4, 5]


def test_subprocesses_of_another_rank(project: Project) -> None:
    project.write("work.py", WORK)
    project.write(
        "main.py",
        """
        import multiprocessing, os, mlxpy
        from work import work
        if __name__ == "__main__":
            logger = mlxpy.Logger("logs")
            logger.log_artifact("", "given", "text")
            process = multiprocessing.get_context("spawn").Process(target=work, args=(os.environ["RANK"],))
            process.start()
            process.join()
            assert process.exitcode == 0
            # As by the barrier of a real one.
            print("done", flush=True)
            input()
        """,
    )
    address = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    ranks = [project.start("main.py", stdin=-1, env={**address, "RANK": str(n)}) for n in range(2)]
    for rank in ranks:
        assert rank.stdout is not None
        assert rank.stdout.readline() == "done\n"
    for rank in ranks:
        _, stderr = rank.communicate("\n", timeout=60)
        assert rank.returncode == 0, stderr
    assert project.run_ids() == [1]
    result = Reader(project.path / "logs").search()[0]
    assert result["subprocess1/load.x"] == ["0"] * 3
    assert result["rank1/subprocess1/load.x"] == ["1"] * 3
