"""What is said about the sessions of noxfile.py, and the versions that they run against."""

import configparser
import importlib.util
import re
from typing import Any

import pytest
from conftest import REPOSITORY

registry = pytest.importorskip("nox.registry", reason="nox is not installed")


@pytest.fixture(scope="module")
def noxfile() -> Any:
    spec = importlib.util.spec_from_file_location("noxfile", REPOSITORY / "noxfile.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_versions_that_are_promised_are_those_that_are_tested(noxfile: Any) -> None:
    (first_python, first_hydra), *_, (last_python, last_hydra) = noxfile.ALL_VERSIONS
    readme = (REPOSITORY / "README.md").read_text()
    promised = f"Python {first_python} to {last_python} and hydra-core {first_hydra} to {last_hydra}"
    assert promised in readme
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    pythons = re.findall(r"Python :: (3\.\d+)$", setup["metadata"]["classifiers"], re.MULTILINE)
    assert (pythons[0], pythons[-1]) == (first_python, last_python)
    assert [*noxfile.PYTHONS] == pythons
    assert set(noxfile.FEW_VERSIONS) <= set(noxfile.ALL_VERSIONS)
    assert setup["options"]["python_requires"] == f">={first_python}"
    assert f"\nhydra-core >={first_hydra}," in setup["options"]["install_requires"]


def test_the_extras_that_are_named_are_those_that_are_tested(noxfile: Any) -> None:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    rows = re.findall(
        r"^\| `(\w+)` \| ([^|]+) \|", (REPOSITORY / "docs" / "install.md").read_text(), re.M
    )
    extras = setup["options.extras_require"]
    assert [name for name, _ in rows] == [*noxfile.EXTRAS]
    for name, packages in rows:
        assert packages.split(", ") == re.findall(
            r"^([\w-]+)", extras[name].lower().replace("pillow", "Pillow"), re.M
        )
    for_users = {name for name in extras if "mlxpy[" not in extras[name]}
    assert for_users == set(noxfile.EXTRAS)


@pytest.mark.usefixtures("noxfile")
def test_the_sessions_that_are_named_exist() -> None:
    sessions = set(registry.get())
    contributing = (REPOSITORY / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"\bnox -s (\w+)", contributing))
    script = (REPOSITORY / ".ci" / "run").read_text()
    lines = re.findall(r'^start \w+ sessions \w+ "(.+)" "(.+)"$', script, re.M)
    run = {session for line in lines for part in line for session in part.split()}
    # `smoke` wants `dist`; the README's commands are run as they stand, and the second runs the tests.
    assert sessions - run == {"dist", "readme", "tests", "clusters", "benchmarks", "hooks"}
    assert run <= sessions
    assert named == sessions
