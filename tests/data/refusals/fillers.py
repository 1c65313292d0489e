"""Fill a small disk but for so many pages, or so many inodes."""

from pathlib import Path

_PAGE = 4096


class Space:
    """Pages of memory, of which a tmpfs is made."""

    def fill(self, disk: Path, left: int) -> None:
        with open(disk / "filler", "wb", buffering=0) as filler:
            try:
                while filler.write(b"x" * _PAGE):
                    pass
            except OSError:
                filler.truncate(max(0, filler.tell() // _PAGE - left) * _PAGE)

    def empty(self, disk: Path) -> None:
        (disk / "filler").unlink()


class Inodes:
    """Files and directories, whatever is in them."""

    def fill(self, disk: Path, left: int) -> None:
        count = 0
        try:
            while True:
                (disk / f"filler-{count}").touch()
                count += 1
        except OSError:
            for number in range(max(0, count - left), count):
                (disk / f"filler-{number}").unlink()

    def empty(self, disk: Path) -> None:
        for filler in disk.glob("filler-*"):
            filler.unlink()


FILLERS = {"space": Space(), "inodes": Inodes()}
