"""A development tree and a copy of what it held once, in which programs run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Project

from mlxpy_core._versioning._startup import sitecustomize
from mlxpy_core._versioning._startup.sitecustomize import SafeCopy

STARTUP = Path(str(sitecustomize.__file__)).parent  # of the package as it is installed
NOT_COPIED = shutil.ignore_patterns(".workdir", ".venv", "build", "*.egg-info", "__pycache__")


class Repository(Project):
    """A development tree, and a copy of what it held once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        path.mkdir()
        self.copy = Project(path / ".workdir" / path.name / "0abc")
        self.python = Path(sys.executable)

    def commit(self) -> None:
        """Makes the copy; from now on every module of the development tree can be told from the copy's."""
        shutil.copytree(self.path, self.copy.path, ignore=NOT_COPIED, symlinks=True)
        for module in self.path.rglob("*.py"):
            if not {".workdir", ".venv", "build"} & set(module.relative_to(self.path).parts):
                module.write_text(f"raise RuntimeError('{module.name} of the development tree')")

    def delete(self) -> None:
        """Deletes the development tree but the copy and the environment."""
        for path in self.path.iterdir():
            if path.name not in (".workdir", ".venv"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    @property
    def variable(self) -> dict[str, Any]:
        return {"repository": str(self.path), "copy": str(self.copy.path), "names": [], "later": 1}

    def in_copy(
        self,
        *arguments: str,
        pythonpath: tuple[Path | str, ...] = (),
        names: Any = (),
        paths: Any = (),
        **options: Any,
    ) -> Any:
        """Runs ``python arguments...`` in the copy."""
        variable = {**self.variable, "names": [*map(str, names)], "paths": [*map(str, paths)]}
        environment = {
            "MLXPY_SAFE_COPY": json.dumps(variable),
            "PYTHONPATH": os.pathsep.join(map(str, (STARTUP, *pythonpath))),
            **options.pop("env", {}),
        }
        command = [self.python, *arguments]
        exit_code = options.pop("exit_code", 0)
        options = {"cwd": self.copy.path, **options}
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )
        assert exit_code is None or done.returncode == exit_code, done.stdout + done.stderr
        return done

    def printed(self, *arguments: str, **options: Any) -> list[str]:
        done = self.in_copy(*arguments, **options)
        assert not done.stderr, done.stderr
        return str(done.stdout).splitlines()

    @property
    def safe_copy(self) -> SafeCopy:
        return SafeCopy(str(self.path), str(self.copy.path))


def package(repository: Repository, folder: str = ".", name: str = "pkg") -> None:
    """Writes a package whose parts say where they are from."""
    repository.write(f"{folder}/{name}/__init__.py", "")
    repository.write(
        f"{folder}/{name}/part.py", "where = __file__\nif __name__ == '__main__': print(where)"
    )


IMPORT = "import pkg.part; print(pkg.part.where)"
STATES = pytest.mark.parametrize("state", ["edited", "deleted"])
