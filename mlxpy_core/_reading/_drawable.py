"""What can be drawn as a table."""

from collections.abc import Sequence
from typing import Any, Protocol

LAZY_CELL = "LAZYLOADING"
"""What a table shows of a column that is loaded on demand."""


class Drawable(Protocol):
    """Rows by place, columns by name."""

    def __len__(self) -> int:
        """Returns how many rows there are."""

    @property
    def fields(self) -> list[str]:
        """The names of the columns."""

    @property
    def lazy_fields(self) -> set[str]:
        """Those that are loaded on demand."""

    def take(self, places: Sequence[int]) -> "Drawable":
        """Returns some of the rows."""

    def column(self, field: str) -> list[Any]:
        """Returns a column's values, `MISSING` for a row without it; metrics as arrays of shape (n,)."""

    def varies(self, field: str) -> bool:
        """Returns whether a column that is not lazy differs between rows."""
