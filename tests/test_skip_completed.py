"""Jobs that a sweep leaves out because a run with their config is complete: `skip_completed`."""

from conftest import CONFIG, Project
from sweepers import BEST, BEST_FILE, BEST_SWEEPER

CALLBACK = "hydra/callbacks=mlxp_logger"
LOCAL = ["-m", "hydra/launcher=mlxp_local"]
SLURM = ["-m", "hydra/launcher=mlxp_slurm"]


def sweep_again(app: Project, *words: str) -> list[str]:
    """Returns what is said of a sweep that leaves out what is complete; nothing is submitted."""
    options = ["hydra.launcher.skip_completed=true", "hydra.launcher.dry_run=true"]
    said = app.run("main.py", *SLURM, *words, *options).stdout.splitlines()
    return [line for line in said if line.startswith(("skip_completed", "Left out", "Dry run"))]


def test_what_is_complete_is_left_out(app: Project) -> None:
    app.write("conf/config.yaml", CONFIG.replace("'${hydra:job.num}'", "0"))
    app.run("main.py", "-m", CALLBACK, "lr=1,2,3")
    info = app.file(3, "metadata/info.yaml")
    complete = info.read_text()
    info.write_text(complete.replace("COMPLETE", "FAILED"))
    assert sweep_again(app, "lr=1,2,3") == [
        "Left out 2 of 3 jobs: runs 1 to 2 did the same.",
        "Dry run: 1 job in 1 submission; nothing was made or submitted.",
    ]
    info.write_text(complete)
    for log_id in app.run_ids():  # a cache
        app.file(log_id, ".keys/summary.json").unlink()
    assert sweep_again(app, "lr=1,2,3")[0] == "Left out 3 of 3 jobs: runs 1 to 3 did the same."


OF_EACH_RUN = """
lr: 0.1
text: x
seconds: 0
fail: false
num: ${hydra:job.num}
name: a_${now:%Y%m%d}
paths:
  output: ${hydra:runtime.output_dir}
  results: ${paths.output}/results
  cwd: ${hydra:runtime.cwd}
  run: ${hydra:run.dir}
same: ${hydra:job.name}
twice: ${twice:${lr}}
draw: ${draw:}
whole: ${hydra:sweep}
"""

RESOLVERS = """
import random
from omegaconf import OmegaConf
OmegaConf.register_new_resolver("draw", lambda: random.random())
OmegaConf.register_new_resolver("twice", lambda value: 2 * value)
"""


def test_what_each_run_has_anew_is_not_compared_and_said_once(app: Project) -> None:
    app.write("conf/config.yaml", OF_EACH_RUN)
    app.write("main.py", RESOLVERS + app.path.joinpath("main.py").read_text())
    app.run("main.py", "-m", CALLBACK, "lr=1,2")
    assert sweep_again(app, "lr=3,2,1") == [
        "skip_completed does not compare what each run has anew: draw, name, num, paths.output, "
        "paths.results, paths.run, whole.dir, whole.subdir.",
        "Left out 2 of 3 jobs: runs 1 to 2 did the same.",
        "Dry run: 1 job in 1 submission; nothing was made or submitted.",
    ]
    # What the command says is compared, and so is what depends on the rest of the config.
    anew, plan = sweep_again(app, "lr=1", "name=a", "twice=2", "draw=1")
    assert "anew: num," in anew
    assert plan.startswith("Dry run: 1 job ")
    # Jobs that would not be the same are not skipped for the sake of each other.
    assert "Left out 1 of 2 jobs: run 1 did the same." in sweep_again(app, "lr=1", "twice=2,5")


def test_a_sweeper_gets_the_results_of_what_is_left_out(app: Project) -> None:
    app.write(BEST_FILE, BEST)
    app.run("main.py", *LOCAL, "lr=2")
    app.run("main.py", "-m", CALLBACK, "lr=3")  # it keeps no results
    batches = ["lr=2,3", BEST_SWEEPER, "hydra.sweeper.max_batch_size=1"]
    done = app.run("main.py", *LOCAL, *batches, "hydra.launcher.skip_completed=true")
    assert done.stdout.count("Left out 1 of") == 1
    assert done.stdout.count("does not compare what each run has anew: num.") == 1
    assert "Best value: 0" in done.stdout
    assert [app.yaml(log_id, "config")["lr"] for log_id in app.run_ids()] == [2, 3, 3]
