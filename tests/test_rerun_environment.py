"""``mlxpy rerun --env``: runs are made again with the versions that they had, of a tiny package of our own."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import NOBODY, REPOSITORY, GitProject, need_root

from mlxpy_core import MlxpyError, dump_yaml
from mlxpy_core._versioning._environments import (
    Requirements,
    environment_python,
    recorded_requirements,
)

PYTHON = platform.python_version()
APP = """
    import hydra
    import mlxpy
    import tiny

    @hydra.main(version_base="1.3", config_path=None)
    def main(cfg):
        mlxpy.get_logger().log_metrics({"tiny": tiny.VERSION}, "seen")

    main()
"""
RUN = ["main.py", "hydra/callbacks=[mlxp_logger,mlxp_git]"]


def wheel(folder: Path, version: str) -> Path:
    folder.mkdir(exist_ok=True)
    info = f"tiny-{version}.dist-info"
    files = {
        "tiny.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": f"tiny.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n",
    }
    path = folder / f"tiny-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


@pytest.fixture(params=["pip", "uv"])
def installer(request: pytest.FixtureRequest, index: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "uv":
        uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
        if not uv:
            pytest.skip("uv is not installed")
        (index / "bin").mkdir()
        (index / "bin" / "uv").symlink_to(uv)
        monkeypatch.setenv("PATH", f"{index}/bin:{os.environ['PATH']}")
    return str(request.param)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that there is to install: two versions of a package, without a network and without uv."""
    folder = tmp_path / "index"
    for version in ("1.0", "2.0"):
        wheel(folder, version)
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(folder),
        "UV_OFFLINE": "1",
        "MLXPY_ENVIRONMENTS": str(tmp_path / "environments"),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }.items():
        monkeypatch.setenv(name, value)
    return folder


def made(index: Path) -> list[str]:
    return sorted(path.parent.name for path in index.parent.glob("environments/*/whole"))


def installed(python: str) -> str:
    program = "import tiny; print(tiny.VERSION)"
    return subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout


def unpacked(index: Path, version: str) -> str:
    place = index.parent / f"site-{version}"
    with zipfile.ZipFile(index / f"tiny-{version}-py3-none-any.whl") as archive:
        archive.extractall(place)
    return str(place)


def test_runs_made_again_at_once_share_an_environment_with_the_versions_of_then(
    index: Path, repository: GitProject, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.write("main.py", APP)
    repository.write(".gitignore", "logs\n.workdir\n")
    repository.commit()
    repository.run(*RUN, env={"PYTHONPATH": unpacked(index, "1.0")})
    info = repository.info()
    assert "tiny==1.0" in info["version_manager"]["requirements"]
    assert info["version_manager"]["python"] == PYTHON
    # The rest cannot be had without a network; it comes from here.
    info["version_manager"]["requirements"] = ["tiny==1.0"]
    repository.file(1, "metadata/info.yaml").write_text(dump_yaml(info))
    sites = [path for path in sys.path if path.endswith("site-packages")]
    today = {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sites])}
    # It was begun before, by a process that was killed.
    wanted = Requirements(PYTHON, ("tiny==1.0",))
    killed = (
        "import os, signal, pathlib; from mlxpy_core._versioning._environments import _is_claimed\n"
        f"parent = pathlib.Path(os.environ['MLXPY_ENVIRONMENTS']); parent.mkdir()\n"
        f"place = parent / '{wanted.digest}.0'\n"
        "assert _is_claimed(place); (place / 'env').mkdir(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -signal.SIGKILL

    both = [repository.start_mlxpy("rerun", "1", "--env", env=today) for _ in range(2)]
    errors = [one.communicate(timeout=120)[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], errors
    assert sum("mlxpy: making the environment " in text for text in errors) == 1
    for log_id in (2, 3):
        row = json.loads(repository.file(log_id, "metrics/seen.json").read_text())
        assert row == {"tiny": "1.0"}
    assert made(index) == [f"{wanted.digest}.1"]
    python = f"{index.parent}/environments/{wanted.digest}.1/env/bin/python"
    assert repository.info(2)["executable"] == python
    assert installed(python) == "1.0\n"
    # Another time it is there.
    assert environment_python(wanted) == python
    assert capsys.readouterr().err == ""


@pytest.mark.long("pip")  # by which the other tests install
def test_it_is_installed(index: Path, installer: str) -> None:
    with pytest.raises(MlxpyError, match=r"^the environment cannot be made: .*tiny==3\.0") as error:
        environment_python(Requirements(PYTHON, ("tiny==3.0",)))
    assert "\n" not in str(error.value)
    # What could not be made is tried again.
    wheel(index, "3.0")
    python = environment_python(Requirements(PYTHON, ("tiny==3.0",)))
    assert installed(python) == "3.0\n"
    # Another time it is there.
    assert environment_python(Requirements(PYTHON, ("tiny==3.0",))) == python
    assert len(made(index)) == 1


@pytest.mark.parametrize(("mode", "owner"), [(0o777, 0), (0o755, NOBODY)])
def test_no_environment_is_taken_where_others_can_plant_one(index: Path, mode: int, owner: int) -> None:
    need_root()
    requirements = Requirements(platform.python_version(), ("tiny==1.0",))
    place = Path(os.environ["MLXPY_ENVIRONMENTS"], f"{requirements.digest}.0")
    place.mkdir(parents=True)
    (place / "whole").touch()
    os.chown(place.parent, owner, owner)
    place.parent.chmod(mode)
    with pytest.raises(
        MlxpyError, match=r"environments (can be written by others|belongs to user nobody), who"
    ):
        environment_python(requirements)


def test_what_lies_in_the_repository_comes_from_the_copy(tmp_path: Path) -> None:
    lines = [
        f"own==1 # editable, {tmp_path}/project/lib, commit ab",
        "tiny @ git+https://host/tiny@cd",
        "a-b.c==1!2.0+cu11",
    ]
    version = {"repo_path": f"{tmp_path}/project", "requirements": lines}
    assert recorded_requirements(version, PYTHON).lines == tuple(lines[1:])


def test_what_is_installed_from_a_directory_is_named(tmp_path: Path) -> None:
    folder, file = tmp_path / "tool", wheel(tmp_path / "wheels", "1.0")
    folder.mkdir()
    lines = [
        f"tool==1 # editable, {folder}, commit ab, with uncommitted changes",
        f"tiny==1.0 # from {file}",
    ]
    found = recorded_requirements({"repo_path": "/no", "requirements": lines}, PYTHON)
    assert found == Requirements(PYTHON, (f"-e {folder.as_uri()}", f"tiny @ {file.as_uri()}"), ("tool",))
    folder.rmdir()
    with pytest.raises(
        MlxpyError, match=f"^the run used tool from {folder}, which is not there any more"
    ):
        recorded_requirements({"requirements": lines}, PYTHON)


@pytest.mark.parametrize(
    "line", ["--index-url=https://evil", "-e /tmp", "a==1; b", "a @ /tmp/x y", "a b"]
)
def test_what_is_no_requirement_is_not_given_to_pip(line: str) -> None:
    with pytest.raises(MlxpyError, match="which is no requirement that can be installed again"):
        recorded_requirements({"requirements": [line]}, PYTHON)


def test_a_python_that_is_not_here(index: Path) -> None:
    message = (
        "^the run had Python 3.5.1, and there is no python3.5 here: install it, or uv, which gets it$"
    )
    with pytest.raises(MlxpyError, match=message):
        environment_python(Requirements("3.5.1", ("tiny==1.0",)))


def test_runs_whose_requirements_are_not_on_record(index: Path, repository: GitProject) -> None:
    repository.write("main.py", APP)
    repository.run("main.py", "hydra/callbacks=mlxp_logger", env={"PYTHONPATH": unpacked(index, "1.0")})
    _, error = repository.mlxpy("rerun", "1", "--env", exit_code=1)
    assert error == (
        "Error: there is no record of what run 1 had installed: the callback mlxp_git keeps one "
        "(compute_requirements); leave --env out\n"
    )
    assert repository.run_ids() == [1]
