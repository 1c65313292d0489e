"""An artifact type that the programs register."""

from pathlib import Path


def save_lines(lines: list[str], path: Path) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def load_lines(path: Path) -> list[str]:
    return path.read_text().splitlines()
