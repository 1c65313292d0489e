"""The copy of a config directory of 5,625 files, which the first submission makes."""

import tempfile
import time
from pathlib import Path

from mlxpy_core import frozen_configs

from ._measure import Result, take_turns

GROUPS = OPTIONS = 75


def measure() -> Result:
    """Copies the configs for the first time, and reads them all, in turn."""
    with tempfile.TemporaryDirectory() as directory:
        configs = Path(directory, "conf")
        for group in range(GROUPS):
            (configs / f"group{group}").mkdir(parents=True)
            for option in range(OPTIONS):
                text = "".join(f"key{key}: {group * option * key}\n" for key in range(40))
                (configs / f"group{group}" / f"option{option}.yaml").write_text(text)

        def ours() -> float:
            # No copy is removed in between: ext4 passes over the inodes of files that are just gone.
            logs = Path(tempfile.mkdtemp(dir=directory))
            start = time.perf_counter()
            frozen_configs(configs, logs)
            return (time.perf_counter() - start) * 1e3

        def floor() -> float:
            start = time.perf_counter()
            for path in configs.rglob("*.yaml"):
                path.read_bytes()
            return (time.perf_counter() - start) * 1e3

        rounds = take_turns(7, ours, floor)
    what = f"first copy of {GROUPS * OPTIONS:,} config files, floor reading them"
    return Result(what, "ms", rounds, "ratio", bound=20)
