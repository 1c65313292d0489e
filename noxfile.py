"""The checks of the project, each a session: ``nox -l`` lists them, ``.ci/run`` runs most of them.

Sessions run in the environment that nox runs in, which has the extra ``test``; those that need another
one make it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import nox

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
HYDRAS = ("1.3.2", "1.3.8", "1.4.0rc3")
# On 3.14 no app of Hydra 1.3 starts: argparse refuses a help text of Hydra's.
ALL_VERSIONS = [(one, hydra) for one in PYTHONS for hydra in HYDRAS if one < "3.14" or hydra >= "1.4"]
FEW_VERSIONS = [("3.12", "1.3.8"), ("3.14", "1.4.0rc3")]  # `minimum` has the first of both
VERSIONS = ALL_VERSIONS if "--long" in os.environ.get("PYTEST_ADDOPTS", "").split() else FEW_VERSIONS
"""The versions of Python and Hydra that the smoke tests run against: the first supported to the last."""

EXTRAS = ("image", "system", "tensorboard", "mlflow", "wandb", "optuna", "plot", "report", "top")
"""What users choose from; the others are for who works on mlxpy."""

INSTALLS = [".", ". hydra-joblib-launcher hydra-optuna-sweeper", "hydra-submitit-launcher ."]
"""What people install: the launchers by themselves would take Hydra 1.4."""

FRAMEWORKS = ("lightning", "pytorch-lightning", "transformers", "accelerate", "keras", "tensorboard")
"""What the modules of their names log from; not in the extra ``test``, since they are large."""

ESLINT = "eslint@10.15.0"
"""Checks the programs that run in browsers, by eslint.config.mjs, where there is npm."""

PACKAGES = ("mlxpy", "mlxpy_core", "hydra_plugins")
DIST = Path("dist")
SMOKE_TOOLS = ("pytest", "pytest-xdist", "hypothesis", "pexpect")

nox.needs_version = ">=2024.3.2"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_venv = "yes"
nox.options.default_venv_backend = "uv|virtualenv"  # uv, where it is installed, is several times as fast


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Looks for mistakes and for code that is not formatted."""
    run_module(session, "ruff", "check", ".")
    run_module(session, "ruff", "format", "--check", ".")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Checks the type hints."""
    run_module(session, "mypy")


@nox.session(requires=["dist"])
def user_types(session: nox.Session) -> None:
    """Checks what users write, against the built wheel, by mypy and pyright, which npm brings."""
    session.install(*DIST.glob("*.whl"), "mypy", "pyright[nodejs]", "typing-extensions")
    place = session.create_tmp()  # outside of the sources, which would be found first
    shutil.copy("tests/data/user_code.py", place)
    with session.chdir(place):
        session.run("mypy", "--strict", "--disallow-any-decorated", "user_code.py")
        session.run("pyright", "user_code.py")


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Runs the tests, or those that the arguments choose."""
    run_module(session, "pytest", "-q", "-n", "auto", *session.posargs)


@nox.session(venv_backend="none")
def clusters(session: nox.Session) -> None:
    """Runs the tests that submit to the Slurm, the OAR and the Grid Engine of this machine."""
    run_module(session, "pytest", "-q", "tests/test_clusters.py", *session.posargs)


@nox.session(venv_backend="none")
def grid_engine(session: nox.Session) -> None:
    """Runs the tests that submit to a Grid Engine, with one beside them for as long as they run."""
    if shutil.which("qconf") is None:
        session.skip("there is no Grid Engine: .ci/clusters/grid_engine install")
    pytest = [sys.executable, "-m", "pytest", "-q", "-n", "4", "tests/test_clusters.py", "-k", "sge"]
    session.run(".ci/clusters/grid_engine", "beside", *pytest, *session.posargs)


@nox.session(venv_backend="none")
def torch(session: nox.Session) -> None:
    """Runs the tests with torch, JAX and the frameworks, which are installed into this environment."""
    install_here(session, "torch==2.13.0", "jax", *FRAMEWORKS)
    names = ("metrics", "artifacts", "ranks", "started_again", "frameworks", "doc_pages")
    chosen = "torch or jax or lightning or frameworks"
    files = [f"tests/test_{name}.py" for name in names]
    env = {"WARM_IMPORTS": "torch lightning.pytorch"}
    pytest = [sys.executable, "-m", "pytest", "-q", "-n", "2"]
    session.run(*pytest, *files, "-k", chosen, *session.posargs, env=env)


@nox.session
def exports(session: nox.Session) -> None:
    """Runs the tests of exports with TensorBoard, MLflow and W&B; MLflow wants an older pyarrow."""
    session.install("-e", ".[tensorboard,mlflow,wandb]", "pytest", "hypothesis")
    session.run("python", "-m", "pytest", "-q", "tests/test_exports.py", *session.posargs)


@nox.session
def optuna(session: nox.Session) -> None:
    """Runs the tests of the sweeper mlxp_optuna; hydra-optuna-sweeper wants an older optuna."""
    session.install("-e", ".[optuna]", "pytest", "pytest-xdist", "hypothesis", "pexpect")
    pytest = ["python", "-m", "pytest", "-q"]
    env = {"WARM_IMPORTS": "optuna.storages.journal hydra_plugins.mlxpy._searching._search"}
    files = [f"tests/test_optuna_{name}.py" for name in ("sweeper", "space", "study")]
    session.run(*pytest, "-n", "2", *files, *session.posargs, env=env)
    session.run(*pytest, "tests/test_doc_pages.py", "-k", "optuna")


@nox.session(venv_backend="none")
def report(session: nox.Session) -> None:
    """Runs the tests of pages in Chromium, and of notebooks; what they need is installed here."""
    install_here(session, "-e", ".[report]", "playwright", "nbclient", "ipykernel")
    if shutil.which("npx"):
        session.run("npx", "--yes", ESLINT, "mlxpy_core", external=True)
    files = [f"tests/test_{name}.py" for name in ("report", "report_page", "notebook", "row_times")]
    run_module(session, "pytest", "-q", *files, *session.posargs)
    run_module(session, "pytest", "-q", "tests/test_doc_pages.py", "-k", "plotly")


@nox.session
def top(session: nox.Session) -> None:
    """Runs the tests of mlxpy top, with textual; those in tmux and on Slurm where there are both."""
    session.install("-e", ".[top]", "pytest", "pytest-xdist", "hypothesis", "pexpect")
    session.run("python", "-m", "pytest", "-q", "-n", "2", "tests/test_top.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Builds the site into build/site: no warnings, and each link leads somewhere, anchors too."""
    session.install("-e", ".[docs]")
    session.run("python", "docs/build_site.py")


@nox.session
def dist(session: nox.Session) -> None:
    """Builds the source distribution, and the wheel from it, into dist/, and checks both."""
    session.install("build", "twine", "setuptools >=70.1")
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("python", "-m", "build", "--no-isolation", "--outdir", str(DIST), ".", silent=True)
    session.run("python", "-m", "twine", "check", "--strict", *map(str, DIST.iterdir()))
    # What is tracked, and nothing that lies about.
    tracked = set(tracked_files())
    (archive,), (wheel,) = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    with tarfile.open(archive) as opened:
        packed = {one.name.partition("/")[2] for one in opened if one.isfile()}
    check_same(session, archive, packed, tracked)
    installed = {name for name in tracked if name.split("/")[0] in PACKAGES}
    check_same(session, wheel, set(zipfile.ZipFile(wheel).namelist()), installed)


@nox.session(venv_backend="none", requires=["dist"])
@nox.parametrize(["version", "hydra"], VERSIONS)
def smoke(session: nox.Session, version: str, hydra: str) -> None:
    """Runs the smoke tests on the built wheel; where a Python is not installed, with this one."""
    python = interpreter(version) or sys.executable
    session.run(python, "--version")
    (wheel,) = DIST.glob("*.whl")
    with tempfile.TemporaryDirectory() as place:
        installed = make_environment(session, python, f"{place}/environment")
        session.run(*pip_install(installed), str(wheel), *SMOKE_TOOLS)
        # Afterwards: mlxpy asks for a final version, and this may be another.
        session.run(*pip_install(installed), f"hydra-core=={hydra}")
        with session.chdir(unpacked_tests(Path(place))):
            session.run(installed, "-m", "pytest", *smoke_tests(), *session.posargs)


@nox.session(requires=["dist"])
def minimum(session: nox.Session) -> None:
    """Runs the smoke tests with the oldest of everything that setup.cfg admits, extras too."""
    session.install("uv")
    python = interpreter(PYTHONS[0]) or sys.executable
    extras = [word for name in EXTRAS for word in ("--extra", name)]
    (wheel,) = DIST.glob("*.whl")
    with tempfile.TemporaryDirectory() as place:
        oldest = f"{place}/oldest.txt"
        options = ["-q", "--python", python, "--resolution", "lowest-direct", "-o", oldest]
        session.run("uv", "pip", "compile", *options, *extras, "setup.cfg", silent=True)
        installed = make_environment(session, python, f"{place}/environment")
        session.run("uv", "pip", "install", "-q", "--python", installed, "-r", oldest)
        needed = [str(wheel), *SMOKE_TOOLS, "-c", oldest]
        session.run("uv", "pip", "install", "-q", "--python", installed, *needed)
        with session.chdir(unpacked_tests(Path(place))):
            pytest = [installed, "-m", "pytest", *smoke_tests()]
            session.run(*pytest, *session.posargs, external=True)


@nox.session(venv_backend="none")
@nox.parametrize("requirements", INSTALLS)
def installs(session: nox.Session, requirements: str) -> None:
    """Asks pip what it would install into a fresh environment, and looks at what would come."""
    with tempfile.TemporaryDirectory() as place:
        options = ["-q", "--dry-run", "--ignore-installed", "--report", f"{place}/report.json"]
        run_module(session, "pip", "install", *options, *requirements.split())
        report = json.loads(Path(place, "report.json").read_text())
    found = {one["metadata"]["name"]: one["metadata"]["version"] for one in report["install"]}
    needed = {"mlxpy", "hydra-submitit-launcher", "submitit"}
    if not found["hydra-core"].startswith("1.3.") or not needed <= found.keys():
        session.error(f"pip install {requirements} would install {found}")


@nox.session(venv_backend="none")
def readme(session: nox.Session) -> None:
    """Runs the README's first command, which sets up and trains, in a copy of the tracked files."""
    command = re.search(r"^```sh\n(.+)\n```$", Path("README.md").read_text(), re.MULTILINE)
    if command is None:
        session.error("README.md has no block of shell commands")
    with tempfile.TemporaryDirectory() as place:
        copy_tracked_files(Path(place))
        with session.chdir(place):
            session.run("bash", "-c", command[1])


@nox.session(venv_backend="none")
def benchmarks(session: nox.Session) -> None:
    """Measures speed, as ratios: all benchmarks, or those that the arguments name."""
    run_module(session, "benchmarks", *session.posargs)


@nox.session
def hooks(session: nox.Session) -> None:
    """Runs the checks that a commit runs, see .pre-commit-config.yaml, on all files."""
    session.install("pre-commit")
    session.run("pre-commit", "run", "--all-files", *session.posargs)


def run_module(session: nox.Session, module: str, *arguments: str) -> None:
    """Runs a module with the interpreter that nox runs with, wherever ``PATH`` leads."""
    session.run(sys.executable, "-m", module, *arguments)


def install_here(session: nox.Session, *requirements: str) -> None:
    """Installs what a session needs into the environment that nox runs in."""
    session.run(*pip_install(sys.executable), *requirements, external=True)


def pip_install(python: str) -> list[str]:
    """Returns the words that install packages for an interpreter: uv's where it is, it takes seconds."""
    uv = shutil.which("uv")
    install = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    return [*install, "-q"]


def interpreter(version: str) -> str | None:
    """Finds an interpreter on the PATH, or of pyenv, that starts; a shim may not."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = sorted(pyenv.glob(f"{version}.*/bin/python"))
    for candidate in (f"python{version}", *map(str, found)):
        try:
            subprocess.run([candidate, "-c", ""], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    return None


def make_environment(session: nox.Session, python: str, place: str) -> str:
    """Makes a virtual environment, and returns its interpreter."""
    uv = shutil.which("uv")
    make = [uv, "venv", "-q", "--python", python] if uv else [python, "-m", "venv"]
    session.run(*make, place, external=True)
    return f"{place}/bin/python"


def unpacked_tests(place: Path) -> Path:
    """Unpacks the source distribution without its packages: what is tested is what is installed."""
    (archive,) = DIST.glob("*.tar.gz")
    shutil.unpack_archive(archive, place / "unpacked")
    (root,) = (place / "unpacked").iterdir()
    for package in PACKAGES:
        shutil.rmtree(root / package)
    return root


def smoke_tests() -> list[str]:
    """Returns what pytest is given to run the smoke tests; to look into the other files takes longer."""
    files = [
        str(path) for path in sorted(Path("tests").glob("test_*.py")) if "mark.smoke" in path.read_text()
    ]
    return ["-q", "-m", "smoke", *files]


def check_same(session: nox.Session, archive: Path, packed: set[str], expected: set[str]) -> None:
    """Refuses an archive that lacks a file or has another, besides those that setuptools makes."""
    made = {name for name in packed if re.search(r"^(PKG-INFO|[^/]+\.(egg|dist)-info/.*)$", name)}
    if wrong := (packed - made) ^ expected:
        session.error(f"{archive} lacks, or has besides what is tracked: {sorted(wrong)}")


def tracked_files() -> list[str]:
    """Lists the files that git tracks."""
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
    return list(filter(os.path.lexists, listed.split("\0")))


def copy_tracked_files(place: Path) -> None:
    """Copies the files that git tracks, as they are now."""
    for name in tracked_files():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(name, place / name, follow_symlinks=False)
