"""``mlxpysub``: a script's lines become runs; what is in them is the job's affair."""

import contextlib
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Cluster, Project, tree_of, wait_until
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mlxpy_core import MlxpyError, dump_yaml
from mlxpy_core._cli._job_file import JobFile, parse_job_file
from mlxpy_core._cli._job_lines import single_jobs, with_interpreter
from mlxpy_core._scheduling._script import ScriptOptions, ShellLine, job_script
from mlxpy_core._scheduling._slurm import SLURMScheduler

COMMAND = "from mlxpy_core._cli._mlxpysub import main; main(prog_name='mlxpysub')"
PYTHON = shlex.quote(sys.executable)
DIRECTIVES = ["#$", "#BSUB", "#MSUB", "#OAR", "#PBS", "#SBATCH"]
SHOW = """
import json, os, sys
print(json.dumps([os.getcwd(), os.environ["MLXPY_RUN_DIRECTORY"], sys.argv[1:], os.environ.get("A")]))
"""
QUEUE = """
from mlxpy_core._scheduling._slurm import SLURMScheduler
class Queue(SLURMScheduler):
    max_array_size = 10
    def submit(self, script):
        return "7"
"""


def mlxpysub(project: Project, *arguments: str, exit_code: int = 0, **options: Any) -> Any:
    return project.run("command.py", *arguments, exit_code=exit_code, **options)


@pytest.fixture
def jobs(project: Project) -> Project:
    project.write("main.py", SHOW)
    project.write("queues.py", QUEUE)
    project.write("command.py", COMMAND)
    return project


def shown(project: Project, log_id: int) -> Any:
    return json.loads(project.file(log_id, "log.stdout").read_text())


@pytest.mark.cold
def test_a_script_of_jobs_is_submitted(jobs: Project) -> None:
    text = """
    #!/bin/sh
    #SBATCH --time=10
    # what follows is 'mine'
    #SBATCH --mem=2G

    export A=$(echo one two)
    python main.py lr=0.1 \\
        seed=1
    sleep 0
    A=3 python3 main.py 'a b'   # it's the last
    echo done
    """
    jobs.write("jobs.sh", text)
    done = mlxpysub(jobs, "jobs.sh", "--scheduler", "queues.Queue")
    assert done.stdout == "Submitted 2 jobs to the cluster queue!\n"
    assert done.stderr == f"mlxpy: runs 1 to 2 are in {jobs.path}/logs: mlxpy status 1-2\n"
    assert jobs.statuses() == ["SUBMITTED"] * 2
    assert jobs.info(1)["scheduler"]["name"] == "queues.Queue"
    assert jobs.info(2)["cmd"] == "A=3 python3 main.py 'a b'   # it's the last"
    assert jobs.info(2)["work_dir"] == str(jobs.path)
    assert jobs.file(1, "array/script.sh").exists()
    logs = jobs.path / "logs"
    assert (
        jobs.file(1, "script.sh").read_text()
        == f"""\
#!/bin/sh
#SBATCH --job-name=logs/1
#SBATCH --error="{logs}/1/log.stderr"
#SBATCH --output="{logs}/1/log.stdout"
#SBATCH --open-mode=append
#SBATCH --time=10
#SBATCH --mem=2G

grep -qsx 'run_id: {jobs.info(1)["run_id"]}' {logs}/1/metadata/info.yaml || exec >> "${{TMPDIR:-/tmp}}/mlxpy-{jobs.info(1)["run_id"]}.log" 2>&1
cd {jobs.path} || exit 1
export A=$(echo one two)
export MLXPY_RUN_DIRECTORY={logs}/1
export MLXPY_RUN_ID={jobs.info(1)["run_id"]}
export SUBMITIT_EXECUTOR="${{SLURM_JOB_ID:+slurm}}" SUBMITIT_FOLDER={logs}/1

{PYTHON} main.py lr=0.1 \\
    seed=1
mlxpy_status=$?
sleep 0
echo done
exit $mlxpy_status
"""
    )
    assert f"A=3 {PYTHON} main.py 'a b'   # it's the last\n" in jobs.file(2, "script.sh").read_text()


def test_jobs_run_where_the_command_was_typed(jobs: Project) -> None:
    jobs.write("sub/program.py", SHOW)
    set_up = (
        f"#SBATCH --time=1\ncd sub\nexport A='x  y'\n{PYTHON} program.py \"$A\" 'it'\\''s' $((1 << 2))\n"
    )
    jobs.write("elsewhere/jobs.sh", set_up + f"cd_=1 {PYTHON} ../main.py \\\n  é\n")
    options = ["--scheduler", "LocalScheduler", "--logs", "my results"]
    done = mlxpysub(jobs, "elsewhere/jobs.sh", *options)
    assert done.stdout == "Ran 2 jobs on this machine.\n"
    found = [json.loads(jobs.file(i, "log.stdout", "my results").read_text()) for i in (1, 2)]
    runs = [str(jobs.path / "my results" / str(log_id)) for log_id in (1, 2)]
    sub = str(jobs.path / "sub")
    assert found == [
        [sub, runs[0], ["x  y", "it's", "4"], "x  y"],
        [sub, runs[1], ["é"], "x  y"],
    ]


def test_a_run_that_was_interrupted_here_goes_on(jobs: Project) -> None:
    jobs.write(
        "stops.py",
        """
        import os, signal, mlxpy
        logger = mlxpy.Logger("logs")
        if mlxpy.current_run().attempt == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        """,
    )
    jobs.write("jobs.sh", f"{PYTHON} stops.py\n")
    mlxpysub(jobs, "jobs.sh", "--scheduler", "LocalScheduler")
    assert jobs.statuses() == ["INTERRUPTED"]
    jobs.mlxpy("resubmit", "1")
    assert [attempt["status"] for attempt in jobs.info()["attempts"]] == ["INTERRUPTED", "COMPLETE"]


def test_a_dry_run_makes_nothing(jobs: Project) -> None:
    jobs.write("jobs.sh", "#OAR -l core=1\npython main.py 1\npython main.py $(touch ran) `touch ran`\n")
    before = tree_of(jobs.path)
    done = mlxpysub(jobs, "jobs.sh", "--dry-run")
    assert f"# {jobs.path}/logs/1/script.sh\n#!/bin/bash\n#OAR -n logs/1\n" in done.stdout
    assert f"# {jobs.path}/logs/2/script.sh: python main.py $(touch ran) `touch ran`\n" in done.stdout
    assert done.stdout.endswith("Dry run: 2 jobs in 1 submission; nothing was made or submitted.\n")
    assert tree_of(jobs.path) == before


@pytest.mark.cold
def test_nothing_of_a_line_is_run_before_its_job(jobs: Project) -> None:
    line = 'python main.py $(touch ran) `touch ran` "$(touch ran)" > ran <<< "x"; touch ran'
    jobs.write("jobs.sh", f"#SBATCH --comment=$(touch ran)\nexport A=$(touch ran)\n{line}\n")
    mlxpysub(jobs, "jobs.sh", "--scheduler", "queues.Queue")
    assert not (jobs.path / "ran").exists()
    assert f"{PYTHON}{line[6:]}" in jobs.file(1, "script.sh").read_text().splitlines()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "Error: 'jobs.sh' cannot be submitted: it cannot be read: No such file or directory"),
        ("python main.py\n", "it has no directives of a scheduler (#$, #BSUB, #MSUB, #OAR, #PBS, #SBATCH): g"),
        ("#OAR -l x\n#SBATCH -t 1\npython main.py\n", "directives of several schedulers, #OAR and #SBATCH"),
        ("#OAR -l x\necho python main.py\n", "no line starts a Python program"),
        ("", "no line starts a Python program: write one such as python main.py"),
        ("#OAR\npython a.py\n\nmodule load x\n", "line 4 ('module load x') comes after the first job but sets"),
        ("#OAR\npython a.py\nA=1 B=2\npython b.py\n", "line 3 ('A=1 B=2') comes after the first job but sets"),
        ("#OAR\npython a.py \"x=$A,'b'\"\n", "holds commas, quotes and what the shell puts in: write a line"),
        ("#OAR\npython a.py 'x\n\n", "line 2: the quote ' is never closed"),
        ("#OAR\ncat > x <<EOF\npython a.py\nEOF\n", "line 2: a here-document (<<) cannot be"),
        ("#OAR\nfor i in 1 2; do python a.py $i; done\n", "line 2 is in a loop or a choice: write a line"),
        ("#OAR\nif a; then\n b\nfi\nfor i in 1 2\ndo\n python a.py $i\ndone\n", "line 7 is in a loop or a"),
        ("#OAR\nf() {\n python a.py\n}\n", "line 3 is in a loop or a choice"),
        ("#OAR\r\npython a.py\r\n", "has line ends of Windows or is no text"),
    ],
)  # fmt: skip
def test_what_is_no_script_of_jobs(jobs: Project, text: str | None, words: str) -> None:
    if text is not None:
        (jobs.path / "jobs.sh").write_bytes(text.encode())
    done = mlxpysub(jobs, "jobs.sh", exit_code=1)
    assert words in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert not (jobs.path / "logs").exists()


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        ("OARScheduler", "OARScheduler does not read its directives, #SBATCH"),
        ("Nobody", "no scheduler 'Nobody': give LSFScheduler"),
    ],
)
def test_a_scheduler_that_cannot_be_chosen(jobs: Project, scheduler: str, words: str) -> None:
    jobs.write("jobs.sh", "#SBATCH -t 1\npython main.py\n")
    assert words in mlxpysub(jobs, "jobs.sh", "--scheduler", scheduler, exit_code=1).stderr


def test_a_scheduler_that_is_not_there(jobs: Project, tmp_path: Path) -> None:
    jobs.write("jobs.sh", "#PBS -l select=1\npython main.py\n")
    done = mlxpysub(jobs, "jobs.sh", exit_code=1, env={"PATH": str(tmp_path)})
    assert done.stderr.startswith("Error: there is no command 'qsub' here")
    assert jobs.statuses() == ["FAILED"]


@pytest.mark.parametrize(
    ("line", "jobs_of_it"),
    [
        ("python main.py lr=0.1,0.2  seed=1,2 # x=1,2", [
            f"python main.py lr={lr}  seed={seed} # x=1,2" for lr in (0.1, 0.2) for seed in (1, 2)]),
        ("python main.py a=1 b=[1,2] c={x:1,y:2} d='\"e,f\"' g=h\\\\,i j=choice\\(1,2\\)", None),
        ("python main.py --rates=0.1,0.2 -x 1,2 1,2 a= b=,", None),
        ("python main.py a=[1,2],[3]", ["python main.py 'a=[1,2]'", "python main.py 'a=[3]'"]),
        ("python main.py 'a=x y, z'", ["python main.py 'a=x y'", "python main.py a=z"]),
        ('python main.py a=$A,$B ++b.c=~,"d"', [
            f"python main.py a=${a} {b}" for a in "AB" for b in ("'++b.c=~'", "++b.c=d")]),
        ("python main.py a=${A:-1,2} b=$(x 1,2)", None),
        ("python -m pkg.main -m a=1,2", ["python -m pkg.main  a=1", "python -m pkg.main  a=2"]),
        ("A=1,2 srun -n 2 python x.py db@b=c,d | tee e=1,2", [
            f"A=1,2 srun -n 2 python x.py db@b={one} | tee e=1,2" for one in "cd"]),
        ("python main.py \\\n  a=1,2 \\\n  b=3", [f"python main.py \\\n  a={a} \\\n  b=3" for a in (1, 2)]),
        ("python a=1,2", None),
        ("python -m pytest a=1,2", None),
        ("python x.py a=1,1", ["python x.py a=1"] * 2),
    ],
)  # fmt: skip
def test_lists_of_values_are_jobs(line: str, jobs_of_it: list[str] | None) -> None:
    assert single_jobs(line) == (jobs_of_it or [line])


@pytest.mark.parametrize(
    ("line", "started"),
    [
        ("python main.py python", "'/a b/python' main.py python"),
        ("A=1 python3 x | python y", "A=1 '/a b/python' x | '/a b/python' y"),
        ("srun --comment 'python 3' python x", "srun --comment 'python 3' '/a b/python' x"),
        ("python3.9 x", None), ("/opt/python x", None), ("A=1 conda run -n e python x", None),
        ("source env/bin/activate && python x", None), ("PATH=/opt:$PATH python x", None),
    ],
)  # fmt: skip
def test_python_is_the_interpreter_of_the_command(line: str, started: str | None) -> None:
    assert with_interpreter(line, "/a b/python") == (started or line)


@pytest.mark.cold
@pytest.mark.parametrize(
    ("set_up", "keeps"),
    [("module load python", True), ("export PATH=/opt:$PATH", True), (". venv/bin/activate", True),
     ("cd sub\nexport PYTHONPATH=src\necho conda", False)],
)  # fmt: skip
def test_a_script_that_sets_its_environment_chooses_its_python(
    jobs: Project, set_up: str, keeps: bool
) -> None:
    jobs.write("jobs.sh", f"#SBATCH -t 1\n{set_up}\npython main.py\n")
    mlxpysub(jobs, "jobs.sh", "--scheduler", "queues.Queue")
    script = jobs.file(1, "script.sh").read_text()
    assert ("\npython main.py\n" in script, f"\n{PYTHON} main.py\n" in script) == (keeps, not keeps)
    assert jobs.info(1)["cmd"] == "python main.py"


def test_lists_are_submitted_as_jobs(jobs: Project) -> None:
    jobs.write("jobs.sh", "#SBATCH -t 1\npython main.py lr=0.1,0.2 seed=1,2 -m\npython main.py last\n")
    done = mlxpysub(jobs, "jobs.sh", "--scheduler", "LocalScheduler")
    assert done.stdout == "Ran 5 jobs on this machine.\n"
    assert [shown(jobs, log_id)[2] for log_id in jobs.run_ids()] == [
        ["lr=0.1", "seed=1"], ["lr=0.1", "seed=2"], ["lr=0.2", "seed=1"], ["lr=0.2", "seed=2"], ["last"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "is_job"),
    [
        ("python main.py", True), ("python3.11 -m package", True), ("/opt/my/bin/python main.py", True),
        ('"$ENV/bin/python" main.py', True), ("A=1 B='x y' python main.py", True), ("srun -n 2 python x", True),
        ("mpirun -np 4 /opt/python3 x.py", True), ("cd x && python main.py", True), ("conda run -n e python x", True),
        ("(cd x; python main.py)", True), ("python main.py | tee x", True), ("A=1 \\\n  python x", True),
        ("module load python", False), ("source activate python3", False), ("conda activate python", False),
        ("export PYTHON=/opt/python", False), ("A=$(python -c 'print(1)')", False), ("pythonize x", False),
        ("echo 'x; python main.py'", False), ("echo x # ; python main.py", False), ("which python", False),
        ("if true; then source x; fi", False), ("{ python x; }", True), ("PATH=/opt/python:$PATH", False), ("  # python x", False),
    ],
)  # fmt: skip
def test_which_lines_are_jobs(line: str, is_job: bool) -> None:
    found = parse_job_file(f"{line}\npython last.py", DIRECTIVES)
    set_up = [] if is_job or line.strip().startswith("#") else [line]
    assert found == JobFile(setup=set_up, jobs=[*([line] if is_job else []), "python last.py"])


pieces = st.sampled_from(
    ["python ", "python main.py", "#!/bin/sh\n", "#SBATCH -t 1\n", "#OAR", "#$ -q x", "\n", "\\\n", "\\", "'", '"',
     "`", "$(", "$((", ")", "(", "<<EOF", "<<<", "#", " ", ";", "&&", "|", "A=1 ", "srun ", "for ", "do ", "\t"]
)  # fmt: skip


@settings(max_examples=100)
@given(st.text() | st.lists(pieces | st.text(max_size=3), max_size=25).map("".join))
@example("'" * 100_001)
@example("$(" * 50_000)
@example("python \\\n" * 30_000)
@example("python a\n" * 30_000 + "'")
def test_any_text_is_a_script_or_refused(text: str) -> None:
    try:
        found = parse_job_file(text, DIRECTIVES)
    except MlxpyError:
        return
    lines = [*found.setup, *found.jobs]
    place = 0
    for line in lines:  # as they were written, in this order
        place = text.index(line, place) + len(line)
    for line in found.jobs:
        with contextlib.suppress(MlxpyError):
            assert single_jobs(line)
        assert with_interpreter(line, "python") == line.replace("python3 ", "python ")
    assert set(found.directives) <= set(DIRECTIVES)
    assert dump_yaml({"cmd": lines}) is not None


words = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=st.lists(words, max_size=4), quoted_twice=st.booleans())
def test_the_words_of_a_line_come_out_unchanged(
    tmp_path: Path, arguments: list[str], quoted_twice: bool
) -> None:
    # Double quotes are the other way in which people write words.
    double = [
        '"' + "".join(f"\\{one}" if one in '"\\$`' else one for one in word) + '"' for word in arguments
    ]
    line = " ".join([PYTHON, "show.py", *(double if quoted_twice else map(shlex.quote, arguments))])
    found = parse_job_file(f"#SBATCH -t 1\nexport A=1\n{line}\n{line}", DIRECTIVES)
    assert found.jobs == [line, line]
    (tmp_path / "show.py").write_text("import json, sys; print(json.dumps(sys.argv[1:]))")
    text = job_script(
        SLURMScheduler(), ScriptOptions(), run=tmp_path, work_dir=str(tmp_path), command=ShellLine(line)
    )
    (tmp_path / "script.sh").write_text(text)
    done = subprocess.run(
        ["/bin/bash", tmp_path / "script.sh"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == arguments


RESOURCES = {"#SBATCH": "--time=5", "#$": "-l h_rt=0:5:0", "#OAR": "-l core=1,walltime=0:05:00"}


@pytest.mark.long("oar")
def test_a_real_cluster(jobs: Project, cluster: Cluster) -> None:
    directive = cluster.scheduler.directive
    job = f"{PYTHON} main.py 'a b' \"$A\""
    jobs.write("jobs.sh", f"{directive} {RESOURCES[directive]}\nexport A=x\n{job}\n{job} last\n")
    done = mlxpysub(jobs, "jobs.sh")
    assert done.stdout == "Submitted 2 jobs to the cluster queue!\n"
    outputs = [jobs.file(log_id, "log.stdout") for log_id in (1, 2)]
    wait_until(lambda: all(path.exists() and path.read_text() for path in outputs))
    assert [shown(jobs, log_id)[1:] for log_id in (1, 2)] == [
        [str(jobs.path / "logs/1"), ["a b", "x"], "x"],
        [str(jobs.path / "logs/2"), ["a b", "x", "last"], "x"],
    ]
