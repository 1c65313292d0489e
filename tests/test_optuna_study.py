"""A study of ``hydra/sweeper=mlxp_optuna`` on the disk, beside what others may have put there."""

import contextlib
import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import NOBODY, need_root

if not (find_spec("optuna") and int(version("optuna").partition(".")[0]) >= 4):
    pytest.skip("there is no optuna 4", allow_module_level=True)  # to import another takes seconds

# After the skip: what follows needs optuna 4, or is below what does.
from mlxpy_core import (
    Logger,
    RunDirectory,
    SearchStudy,
    StudyClaim,
    lines_of_results,
    make_study_directory,
    results_of,
    values_of,
    write_results,
)
from mlxpy_core._scheduling._grouping import Grouping
from mlxpy_core._scheduling._local import LocalScheduler
from mlxpy_core._search._followed_metric import MetricName
from mlxpy_core._search._run_queue import RunQueue
from mlxpy_core._search._study_results import read_results


def test_results_that_are_none_of_a_search(tmp_path: Path) -> None:
    for name in ("../7", "", None, 3):
        assert read_results(tmp_path, name) is None
    place = tmp_path / ".studies/s"
    place.mkdir(parents=True)
    results = place / "optimization_results.yaml"
    for text in ("", "[1]", "{name: optuna, best_value: 1}", "{trials: 3}", "a: [", "\x00"):
        results.write_text(text)
        assert read_results(tmp_path, "s") is None
    results.write_text("{study: s, trials: {}, solutions: 3, importances: {x: .nan, y: z}}")
    read = read_results(tmp_path, "s")
    assert read is not None
    assert lines_of_results(read) == ["Study s: ", "No trial has a value."]


def test_a_study_stays_where_it_was_opened(tmp_path: Path) -> None:
    """Whoever owns the directory of all studies can put a link in the place of one at any time."""
    home, place = tmp_path / "home", tmp_path / "logs/.studies/s"
    home.mkdir()
    with make_study_directory(tmp_path / "logs", "s") as directory:
        place.rename(place.with_name("away"))
        place.symlink_to(home)
        with contextlib.closing(StudyClaim(directory)):
            study = SearchStudy(directory, ["minimize"])
            trial = study.ask(1)
            assert trial
            study.tell(trial, [0.5])
        write_results(results_of(study), directory.path)
    names = ["journal.log", "optimization_results.yaml"]
    assert sorted(path.name for path in place.with_name("away").iterdir()) == names
    assert not list(home.iterdir())


def test_a_run_that_a_neighbour_put_in_the_place_of_ones_own_is_not_taken_over(tmp_path: Path) -> None:
    need_root()
    runs = []
    for _ in range(2):
        with Logger(tmp_path) as logger:
            runs.append(RunDirectory(Path(logger.log_dir)))
    os.chown(runs[1].metadata / "info.yaml", NOBODY, NOBODY)
    assert RunQueue(LocalScheduler(), Grouping(), 1).take_over(runs) == {runs[1]}


def test_numbers_beyond_all_floats_are_no_values(tmp_path: Path) -> None:
    with Logger(tmp_path) as logger:
        logger.log_metrics({"loss": 1}, "train")
        with open(Path(logger.metrics_dir, "train.json"), "a") as file:
            file.write(f'{{"loss": 1{"0" * 400}}}\n{{"loss": 2}}\n')
    run = RunDirectory(Path(logger.log_dir))
    assert values_of(run, MetricName("train", "loss")) == [1, 2]
