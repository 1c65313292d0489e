"""Several processes of one run, started by torchrun (or what does as it does) and by a real srun."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, need_cluster, wait_until

from mlxpy_core import Reader, load_yaml

# As torchrun: workers with its variables; if one fails the others are ended, and all started again.
# The second restart has another port. Besides, pipes by which the workers wait for each other.
AGENT = """
    import os, signal, subprocess, sys
    size, restarts, port = map(int, sys.argv[1:4])
    for restart in range(restarts + 1):
        pipes = [os.pipe() for _ in range(size + 1)]
        ends = [end for pipe in pipes for end in pipe]
        workers = {}
        for rank in range(size):
            environment = {
                **os.environ, "RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port + restart // 2),
                "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": str(restart),
                "PIPES": " ".join(map(str, ends)),
            }
            worker = subprocess.Popen([sys.executable, *sys.argv[4:]], env=environment, pass_fds=ends)
            workers[worker.pid] = worker
        for end in ends:
            os.close(end)
        failed = False
        while workers:
            pid, status = os.wait()
            del workers[pid]
            if status and not failed and not os.environ.get("LET_LIVE"):
                for other in workers:
                    os.kill(other, signal.SIGTERM)
            failed = failed or status != 0
        if not failed:
            break
    sys.exit(failed)
"""
WORK = """
    import os

    rank = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID")))
    restart = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))

    def barrier():
        arrived, arrive, *go = map(int, os.environ["PIPES"].split())
        os.write(arrive, b".")
        if rank == 0:
            for _ in go[::2]:
                os.read(arrived, 1)
            for pipe in go[1::2]:
                os.write(pipe, b".")
        os.read(go[2 * rank], 1)

    def work(logger, value=0):
        for step in range(100):
            row = {"step": step, "rank": rank, "pid": os.getpid(), "value": value, "text": "x" * 500}
            logger.log_metrics(row, "train")
"""
PROGRAMS = {
    "callback": """
        import hydra, logging, mlxpy
        from work import rank, work
        @hydra.main(version_base="1.3", config_path=None)
        def main(config):
            for line in range(20):
                print(f"rank {rank} value {config.get('x', 0)} line {line}")
            logging.getLogger("a").info(f"rank {rank}")
            work(mlxpy.get_logger(), config.get("x", 0))
        main()
    """,
    "decorator": """
        import mlxpy
        from work import work
        @mlxpy.launch()
        def main(ctx):
            work(ctx.logger)
        main()
    """,
    "logger": """
        import mlxpy
        from work import rank, work

        work(mlxpy.Logger("logs", config={"rank": rank}))
    """,
}
CALLBACK = "hydra/callbacks=mlxp_logger"


class Ranks(Project):
    """A project whose programs run as several processes."""

    def agent(self, *arguments: str, size: int = 2, restarts: int = 0, port: int = 29500) -> list[str]:
        return ["agent.py", str(size), str(restarts), str(port), *arguments]

    def rows(self, rank: int, log_id: int = 1, log: str = "train") -> list[Any]:
        folder = f"metrics/.ranks/{rank}" if rank else "metrics"
        return list(map(json.loads, self.file(log_id, f"{folder}/{log}.json").open()))


@pytest.fixture
def ranks(tmp_path: Path) -> Ranks:
    project = Ranks(tmp_path)
    project.write("agent.py", AGENT)
    project.write("work.py", WORK)
    project.write("configs/config.yaml", "{}\n")
    for name, program in PROGRAMS.items():
        project.write(f"{name}.py", program)
    return project


def check_run(ranks: Ranks, log_id: int = 1, size: int = 2, value: Any = 0) -> None:
    """Checks that each rank's rows are whole, and that rank 0 alone described the run."""
    assert len({ranks.rows(rank, log_id)[0]["pid"] for rank in range(size)}) == size
    for rank in range(size):
        rows = ranks.rows(rank, log_id)
        assert [row["step"] for row in rows] == list(range(100))
        assert {(row["rank"], row["value"]) for row in rows} == {(rank, value)}
    assert ranks.statuses()[log_id - 1] == "COMPLETE"
    assert [one["process_id"] for one in ranks.info(log_id)["attempts"]] == [
        ranks.rows(0, log_id)[0]["pid"]
    ]
    assert ranks.yaml(log_id, "config").get("rank", 0) == 0


# Which run.


# The other programs run below, in sweeps and by srun, and twice at once.
@pytest.mark.long("callback", "logger")
@pytest.mark.parametrize("program", PROGRAMS)
def test_processes_started_together_are_one_run(ranks: Ranks, program: str) -> None:
    words = [CALLBACK] if program == "callback" else []
    ranks.run(*ranks.agent(f"{program}.py", *words))
    assert ranks.run_ids() == [1]
    check_run(ranks)


def test_torchrun_itself(ranks: Ranks) -> None:
    pytest.importorskip("torch.distributed.run", reason="torch is not installed")
    ranks.run("-m", "torch.distributed.run", "--nproc-per-node=2", "callback.py", CALLBACK)
    assert ranks.run_ids() == [1]
    check_run(ranks)


def test_a_sweep_has_a_run_for_each_job_with_the_output_of_all(ranks: Ranks) -> None:
    streams = "hydra.callbacks.mlxp_logger.log_streams_to_file=true"
    # Unbuffered, print writes the end of a line by itself: lines of several processes mix on any file.
    buffered = {"PYTHONUNBUFFERED": ""}
    ranks.run(*ranks.agent("callback.py", "-m", CALLBACK, streams, "+x=1,2"), env=buffered)
    assert ranks.run_ids() == [1, 2]
    for log_id in (1, 2):
        check_run(ranks, log_id, value=log_id)
        printed = [f"rank {rank} value {log_id} line {n}" for rank in (0, 1) for n in range(20)]
        lines = ranks.file(log_id, "log.stdout").read_text().splitlines()
        assert sorted(line for line in lines if "value" in line) == sorted(printed)
        assert ranks.file(log_id, "callback.log").read_text().count(" - rank ") == 2
        assert load_yaml(ranks.file(log_id, ".hydra/config.yaml").read_text()) == {"x": log_id}


SLOW = """
    import sys
    from work import rank, work
    if rank == 0:
        print("here", flush=True)
        if not sys.stdin.readline():
            raise SystemExit
    import mlxpy
    if rank:
        print("here", flush=True)
    work(mlxpy.Logger("logs"))
"""


LATE = """
    import os, sys, mlxpy
    logger = mlxpy.Logger("logs")
    logger.log_metrics({"rank": int(os.environ["RANK"])}, "train")
    print("running", flush=True)
    sys.stdin.readline()
"""


def test_a_second_launch_with_the_same_address_waits_for_its_own_rank_0(ranks: Ranks) -> None:
    ranks.write("slow.py", SLOW)
    for log_id in (1, 2):
        with ranks.start(*ranks.agent("slow.py"), stdin=subprocess.PIPE) as agent:
            assert [agent.stdout.readline() for _ in range(2)] == ["here\n"] * 2
            agent.communicate("\n", timeout=60)
        assert agent.returncode == 0
        assert ranks.run_ids() == list(range(1, log_id + 1))
        check_run(ranks, log_id)


def test_two_launches_at_once_are_two_runs(ranks: Ranks) -> None:
    agents = [ranks.start(*ranks.agent("logger.py", port=port)) for port in (29500, 29600)]
    for agent in agents:
        stdout, stderr = agent.communicate(timeout=60)
        assert agent.returncode == 0, stdout + stderr
    assert ranks.run_ids() == [1, 2]
    for log_id in (1, 2):
        check_run(ranks, log_id)


def test_hosts_that_call_themselves_localhost_are_not_together(ranks: Ranks) -> None:
    if not shutil.which("unshare") or subprocess.run(["unshare", "--uts", "true"]).returncode:
        pytest.skip("no second host's name can be had on this machine")
    ranks.write("late.py", LATE)
    variables = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    with ranks.start("late.py", stdin=subprocess.PIPE, env={**variables, "RANK": "0"}) as rank_0:
        assert rank_0.stdout.readline() == "running\n"
        other = {**os.environ, **variables, "RANK": "1", "MLXPY_PATIENCE_S": "0.1"}
        command = ["sh", "-c", "hostname elsewhere; exec $0 late.py", sys.executable]
        options = {"cwd": ranks.path, "env": other, "text": True}
        done = subprocess.run(["unshare", "--uts", *command], capture_output=True, **options)
        assert "rank 0 has not started" in done.stderr
        done = subprocess.run([sys.executable, "late.py"], input="\n", **options)
        assert done.returncode == 0
        rank_0.communicate("\n", timeout=60)
    assert ranks.run_ids() == [1]
    assert [ranks.rows(rank) for rank in (0, 1)] == [[{"rank": 0}], [{"rank": 1}]]


def test_rank_0_dies_before_it_takes_a_directory(ranks: Ranks) -> None:
    ranks.write("slow.py", SLOW)
    options = {"stdin": subprocess.DEVNULL, "env": {"MLXPY_PATIENCE_S": "0.2", "LET_LIVE": "1"}}
    done = ranks.run(*ranks.agent("slow.py", size=3), exit_code=1, **options)
    sentence = f"the process of rank 0 has not started a run in {ranks.path}/logs within 0.2 s: look at what it printed\n"
    assert done.stderr.count(sentence) == 2
    assert not ranks.run_ids()


@pytest.mark.parametrize("how", ["in a job", "by hand"])
def test_srun(ranks: Ranks, how: str) -> None:
    need_cluster("slurm")
    command = ["srun", "-n", "2", sys.executable, "callback.py", CALLBACK]
    if how == "in a job":
        command = ["sbatch", "--wait", "-n", "2", "--output=out", f"--wrap={' '.join(command)}"]
    subprocess.run(command, cwd=ranks.path, check=True, timeout=60)
    assert ranks.run_ids() == [1]
    check_run(ranks)


# Attempts.

TRAINING = """
    import os, signal, mlxpy
    from work import barrier, rank, restart
    logger = mlxpy.Logger("logs")
    assert mlxpy.current_run().attempt == restart + 1
    first = 0
    try:
        first = logger.load_checkpoint("last")
        assert logger.load_checkpoint("own") == (rank, first)
        assert logger.load_checkpoint() == ((rank, first) if rank else first)
    except FileNotFoundError:
        assert restart == 0
    barrier()
    for step in range(first, 20):
        logger.log_metrics({"step": step, "restart": restart}, "train")
        if rank == 1 and step == 12:
            logger.log_metrics({"step": step, "restart": restart}, "more")
        barrier()
        if step in (4, 9):
            logger.log_checkpoint((rank, step + 1), "own")
            if rank == 0:
                logger.log_checkpoint(step + 1, "last")
            barrier()
        if step == 12 + restart and restart < 2:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_started_again_continue_the_history_of_each_rank(ranks: Ranks) -> None:
    ranks.write("training.py", TRAINING)
    ranks.run(*ranks.agent("training.py", restarts=2), env={"LET_LIVE": "1"})
    assert ranks.run_ids() == [1]
    assert [one["status"] for one in ranks.info()["attempts"]] == ["KILLED", "KILLED", "COMPLETE"]
    for rank in (0, 1):
        steps = [(row["step"], row["restart"]) for row in ranks.rows(rank)]
        assert steps == [(step, 0 if step < 10 else 2) for step in range(20)]
        folder = f"metrics/.ranks/{rank}" if rank else "metrics"
        aside = sorted(ranks.file(1, f"{folder}/.aside").glob("*/train.json"))
        assert [path.read_text().count("\n") for path in aside] == [3, 4]
    assert ranks.rows(1, log="more") == [{"step": 12, "restart": 2}]
    assert ranks.file(1, "artifacts/Checkpoint/.ranks/1/own.pkl").exists()
    # The reader shows the run's checkpoints.
    assert set(Reader(ranks.path / "logs").search()[0]["artifact.Checkpoint"]) == {"own.pkl", "last.pkl"}


# What the other ranks do when rank 0 has ended, and what the reader has of it.

ENDS = """
    import os, signal, sys, mlxpy
    from work import barrier, rank
    logger = mlxpy.Logger("logs")
    logger.log_metrics({"step": 0}, "train")
    barrier()
    if rank == 0:
        sys.exit()
    sys.stdin.readline()
    logger.log_metrics({"step": 1}, "train")
    if rank == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if rank == 3:
        os.kill(os.getpid(), signal.SIGTERM)
    logger.log_metrics({"late": True}, "more")
    raise ValueError("as asked")
"""


@pytest.mark.usefixtures("ended_long_ago")
def test_what_other_ranks_do_after_rank_0(ranks: Ranks) -> None:
    ranks.write("ends.py", ENDS)
    logs, info = ranks.path / "logs", ranks.file(1, "metadata/info.yaml")
    options = {"stdin": subprocess.PIPE, "env": {"LET_LIVE": "1"}}
    with ranks.start(*ranks.agent("ends.py", size=4), **options) as agent:
        wait_until(lambda: info.exists() and ranks.info()["status"] == "COMPLETE")
        said = info.read_bytes()
        early = Reader(logs).search()[0]
        assert [early[f"rank{rank}/train.step"] for rank in (1, 2, 3)] == [[0]] * 3
        # All columns of all runs are read at once, into the cache.
        assert [list(values) for values in Reader(logs).search()[:]["rank2/train.step"]] == [[0]]
        assert "rank1/more.late" not in early
        agent.communicate("\n" * 3, timeout=60)
    assert info.read_bytes() == said
    found = Reader(logs).search()
    assert [found[:][f"rank{rank}/train.step"][0].tolist() for rank in (1, 2, 3)] == [[0, 1]] * 3
    assert found[0]["rank1/more.late"] == [True]
    assert found[0]["train.step"] == [0]
    # A rank that is killed cannot say that it has logged more.
    with ranks.file(1, "metrics/.ranks/2/train.json").open("a") as file:
        file.write('{"step": 2}\n')
    assert Reader(logs).search()[:]["rank2/train.step"][0].tolist() == [0, 1, 2]
    # What has not changed comes from the cache.
    path = ranks.file(1, "metrics/.ranks/1/train.json")
    stamp = path.stat().st_mtime_ns
    path.write_text(path.read_text().replace("1", "7"))
    os.utime(path, ns=(stamp, stamp))
    assert Reader(logs).search()[:]["rank1/train.step"][0].tolist() == [0, 1]


def test_a_rank_that_fails_while_rank_0_runs(ranks: Ranks) -> None:
    program = """
        import signal, mlxpy
        from work import barrier, rank
        logger = mlxpy.Logger("logs")
        barrier()
        if rank == 1:
            raise ValueError("as asked")
        signal.pause()
    """
    ranks.write("fails.py", program)
    ranks.run(*ranks.agent("fails.py"), exit_code=1)
    info = ranks.info()
    # It is the agent that ends rank 0.
    assert (info["status"], info["signal"], info["exception"]) == ("INTERRUPTED", "SIGTERM", None)
