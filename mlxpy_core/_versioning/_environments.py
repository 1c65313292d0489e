"""Virtual environments with the distributions that runs have imported, kept for the next time."""

import hashlib
import itertools
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import read_text, write_whole
from mlxpy_core._io._owners import foreign_owner, owner_name
from mlxpy_core._io._yaml import dump_yaml, load_yaml
from mlxpy_core._runs._process import describe_living_process, died_here

PLACE_VARIABLE = "MLXPY_ENVIRONMENTS"
# What lies in a directory of ours: who makes the environment; that it is whole, or never will be.
_MAKER, _WHOLE, _GIVEN_UP = "maker.yaml", "whole", "given-up"
_ENVIRONMENT = "env"
_LOOK_S = 0.5
# So long a directory may have no maker: whoever has made it is about to write its name.
_NAMELESS_S = 60
_PINNED = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[\w.+!-]+)")
_ADDRESSED = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*) @ (?P<address>[a-z+]+://\S+)")
_LOCAL = re.compile(
    r"(?P<name>\S+?)(==\S+)? # (?P<editable>editable, |from )(?P<path>/.*?)(, commit .*)?"
)


@dataclass(frozen=True)
class Requirements:
    """What an environment is to hold.

    Attributes:
        python: the version of Python, as in ``3.11.7``.
        lines: what is to be installed, a requirement each.
        local: the names of what is installed from a directory of this machine, as that is now.
    """

    python: str
    lines: tuple[str, ...]
    local: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """A name for environments that hold this and nothing else."""
        text = "\n".join([self.python, *sorted(self.lines)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def recorded_requirements(version: Mapping[str, object], python: str) -> Requirements:
    """Reads what `imported_requirements` has listed.

    Args:
        version: what info.yaml records of the code and its requirements.
        python: the version of Python that the run had.

    Raises:
        MlxpyError: something of it cannot be installed again.
    """
    lines, local = [], []
    recorded = version.get("requirements")
    for line in recorded if isinstance(recorded, list) else []:
        if _PINNED.fullmatch(str(line)) or _ADDRESSED.fullmatch(str(line)):
            lines.append(str(line))
            continue
        found = _LOCAL.fullmatch(str(line))
        if not found:
            raise MlxpyError(
                f"the run used {line!r}, which is no requirement that can be installed again"
            )
        path = found["path"]
        editable = found["editable"] == "editable, "
        repository = version.get("repo_path")
        if editable and repository and Path(path).is_relative_to(str(repository)):
            continue  # it comes from the copy of the run's code
        if not os.path.exists(path):
            raise MlxpyError(
                f"the run used {found['name']} from {path}, which is not there any more: nothing can "
                "install it again"
            )
        if not os.path.isfile(path):
            local.append(found["name"])
        address = Path(path).as_uri()  # no space in it is taken for the end of it
        lines.append(f"-e {address}" if editable else f"{found['name']} @ {address}")
    return Requirements(python, tuple(lines), tuple(local))


def environment_python(requirements: Requirements) -> str:
    """Returns the Python of an environment that holds requirements, which is made if there is none.

    Of several processes that ask for the same at once, one makes it, and the others wait.

    Raises:
        MlxpyError: it cannot be made, or others could put theirs in its place.
        StorageError: its directory cannot be made.
    """
    parent = _parent()
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_own(parent)
        for number in itertools.count():
            # A number is given once, to who makes its directory: what was broken off is left behind.
            place = parent / f"{requirements.digest}.{number}"
            if _is_claimed(place):
                _make(requirements, place)
                return str(place / _ENVIRONMENT / "bin" / "python")
            if _becomes_whole(place):
                return str(place / _ENVIRONMENT / "bin" / "python")
    except OSError as error:
        raise StorageError(f"cannot make an environment in {parent}", error) from error
    raise AssertionError("unreachable")


def _parent() -> Path:
    if chosen := os.environ.get(PLACE_VARIABLE):
        return Path(chosen).expanduser().absolute()
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "mlxpy" / "environments"


def _check_own(parent: Path) -> None:
    """Refuses a directory where others may put environments, whose Python would run as this user.

    Raises:
        MlxpyError: it is one.
    """
    status = parent.stat()
    owner = foreign_owner(f"{parent}/")
    if owner not in (None, 0) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        whose = f"belongs to {owner_name(owner)}" if owner else "can be written by others"
        raise MlxpyError(
            f"{parent} {whose}, who could decide what runs in its environments: set {PLACE_VARIABLE} to "
            "a directory that only you may write to"
        )


def _is_claimed(place: Path) -> bool:
    try:
        place.mkdir()
    except FileExistsError:
        return False
    write_whole(place / _MAKER, dump_yaml(describe_living_process()))
    return True


def _becomes_whole(place: Path) -> bool:
    """Waits until another process has made an environment; returns whether it has."""
    told = False
    while not (place / _WHOLE).exists():
        maker = _maker(place)
        if (place / _GIVEN_UP).exists() or maker is None or died_here(maker):
            shutil.rmtree(place / _ENVIRONMENT, ignore_errors=True)
            return False
        if not told:
            who = f"process {maker.get('process_id')} on {maker.get('host')}"
            print(f"mlxpy: waiting for {who}, which makes the environment {place}", file=sys.stderr)
            told = True
        time.sleep(_LOOK_S)
    return True


def _maker(place: Path) -> dict[str, object] | None:
    """Returns the process that makes an environment; None if none has said that it does, for long."""
    while not (place / _MAKER).exists():
        if time.time() - place.stat().st_mtime > _NAMELESS_S:
            return None
        time.sleep(_LOOK_S)
    try:
        described = load_yaml(read_text(place / _MAKER))
    except (ValueError, yaml.YAMLError):
        return None
    return described if isinstance(described, dict) else None


def _make(requirements: Requirements, place: Path) -> None:
    environment = place / _ENVIRONMENT
    print(f"mlxpy: making the environment {environment}, once for all reruns with it", file=sys.stderr)
    listed = place / "requirements.txt"
    write_whole(listed, "".join(f"{line}\n" for line in requirements.lines))
    try:
        if uv := shutil.which("uv"):
            _make_by_uv(uv, requirements.python, environment)
            install = [uv, "pip", "install", "--quiet", "--python", str(environment / "bin" / "python")]
        else:
            _run([_python_like(requirements.python), "-m", "venv", str(environment)])
            install = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        if requirements.lines:
            _run([*install, "--requirement", str(listed)])
    except BaseException:
        with suppress(OSError):
            (place / _GIVEN_UP).touch()
        shutil.rmtree(environment, ignore_errors=True)
        raise
    write_whole(place / _WHOLE, "")


def _make_by_uv(uv: str, version: str, environment: Path) -> None:
    command = [uv, "venv", "--quiet", "--python"]
    exact = sys.executable if version == platform.python_version() else version
    try:
        _run([*command, exact, str(environment)])
    except MlxpyError:  # it can be had neither here nor from where uv gets others
        _run([*command, _minor(version), str(environment)])


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _python_like(version: str) -> str:
    """Returns an interpreter of the same minor version as another one.

    Raises:
        MlxpyError: there is none here.
    """
    minor = _minor(version)
    if minor == _minor(platform.python_version()):
        return sys.executable
    if found := shutil.which(f"python{minor}"):
        return found
    raise MlxpyError(
        f"the run had Python {version}, and there is no python{minor} here: install it, or uv, which "
        "gets it"
    )


def _run(command: Sequence[str]) -> None:
    # The variables of this program's own Python mean something else to another.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")
    }
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            env=environment, check=False,
        )  # fmt: skip
    except OSError as error:
        raise MlxpyError(f"cannot run {command[0]}: {error.strerror}") from error
    if done.returncode:
        raise MlxpyError(f"the environment cannot be made: {_reason(done.stderr or done.stdout)}")


def _reason(printed: str) -> str:
    """Returns what pip or uv says of the trouble: its own last errors, or else all of it."""
    errors = [
        line.removeprefix("ERROR:").strip() for line in printed.splitlines() if line.startswith("ERROR:")
    ]
    return " ".join("; ".join(errors or [printed]).split())
