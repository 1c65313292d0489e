"""How many processes of a cgroup the kernel has killed for want of memory."""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CGROUPS = Path("/sys/fs/cgroup")


def count_memory_kills() -> dict[str, Any]:
    """Returns the fields of an attempt by which it is known later whether memory was its end.

    They are the file of this process's cgroup that counts, and its count now; none where no file does.
    """
    for file in _counting_files():
        count = _count(file)
        if count is not None:
            return {"memory_events": str(file), "memory_kills": count}
    return {}


def killed_for_memory(attempt: Mapping[str, Any]) -> bool:
    """Returns whether the kernel has killed a process of an attempt's cgroup since the attempt began.

    Args:
        attempt: the attempt, which ran on this machine since its last boot.
    """
    file, before = attempt.get("memory_events"), attempt.get("memory_kills")
    # The file's name may be anybody's: no other file is opened.
    if not (isinstance(file, str) and isinstance(before, int)) or ".." in file:
        return False
    if not file.startswith(f"{_CGROUPS}/"):
        return False
    now = _count(Path(file))
    return now is not None and now > before


def _counting_files() -> list[Path]:
    found = []
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:  # version 2
                found.append(_CGROUPS / group.lstrip("/") / "memory.events")
            elif controllers == "memory":
                found.append(_CGROUPS / "memory" / group.lstrip("/") / "memory.oom_control")
    return found


def _count(file: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        if counted := re.search(r"^oom_kill (\d+)$", file.read_text(encoding="utf-8"), re.MULTILINE):
            return int(counted[1])
    return None
