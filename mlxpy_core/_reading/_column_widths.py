"""How wide the columns of a table are, and which are left out, where not all of them fit."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

WIDEST = 40
"""The most characters of a cell."""

_NARROW = 20  # what is no longer is shown whole, or not at all
_CUT = 12  # what is longer may be cut down to this
_ELLIPSIS = "…"

Widths = Mapping[str, int]
Fits = Callable[[Widths], bool]
"""Returns whether columns of these widths fit."""


def column_widths(
    needed: Widths, kept: Sequence[str], wanted: Sequence[str], fits: Fits
) -> dict[str, int]:
    """Chooses the widths of the columns that matter: as narrow as all need to fit.

    Args:
        needed: the width of each column's widest value.
        kept: columns that are there in any case, and narrowed only if they are very wide.
        wanted: others in order of importance: what does not fit is left out, from the last.
        fits: tells whether columns fit.
    """
    clear = _clear_tails(wanted)
    widths = {name: min(_whole(name, needed), _NARROW) for name in kept}
    for name in wanted:
        head = min(len(clear[name]) + 1, _NARROW)
        least = max(head, needed[name] if needed[name] <= _NARROW else _CUT)
        widths[name] = min(_whole(name, needed), least)
    for name in reversed(wanted if kept else wanted[1:]):
        if fits(widths):
            break
        del widths[name]
    names = {name: min(len(name), WIDEST) for name in widths}  # they are given room before values
    for target in (names, {name: _whole(name, needed) for name in widths}):
        for name in widths:
            while widths[name] < target[name] and fits({**widths, name: widths[name] + 1}):
                widths[name] += 1
    return widths


def with_others(
    widths: Widths, needed: Widths, narrowed: Sequence[str], whole: Sequence[str], fits: Fits
) -> dict[str, int]:
    """Adds the columns for which there is still room.

    Args:
        widths: the columns that are there.
        needed: the width of each column's widest value.
        narrowed: columns to add first, narrowed where that is needed.
        whole: columns to add as they are.
        fits: tells whether columns fit.
    """
    more = dict(widths)
    for name in narrowed:
        least = min(_whole(name, needed), _NARROW)
        sizes = range(_whole(name, needed), least - 1, -1)
        if size := next((size for size in sizes if fits({**more, name: size})), None):
            more[name] = size
    for name in whole:
        if fits({**more, name: _whole(name, needed)}):
            more[name] = _whole(name, needed)
    return more


def shortened_heads(widths: Widths, wanted: Sequence[str]) -> dict[str, str]:
    """Returns what stands above each column: the end of its name, so much that it is no other's.

    Args:
        widths: the widths of the columns.
        wanted: the names to be told apart, besides those.
    """
    clear = _clear_tails([*dict.fromkeys([*wanted, *widths])])
    return {name: _shortened_head(name, width, clear[name]) for name, width in widths.items()}


def _shortened_head(name: str, width: int, clear: str) -> str:
    if len(name) <= width:
        return name
    fitting = [tail for tail in (*_tails(name), clear) if len(clear) <= len(tail) < width]
    return _ELLIPSIS + (max(fitting, key=len) if fitting else _ends(clear, width - 1))


def shortened_cells(cells: Sequence[str], width: int) -> list[str]:
    """Cuts texts to a width so that, if that is possible, those that differ still do."""
    if all(len(cell) <= width for cell in cells):
        return list(cells)
    distinct = len(set(cells))
    best: list[str] = []
    for cut in (_start, _end, _ends, _difference(cells)):
        shown = [cell if len(cell) <= width else cut(cell, width) for cell in cells]
        if len(set(shown)) > len(set(best)):
            best = shown
        if len(set(best)) == distinct:
            break
    return best


def _whole(name: str, needed: Widths) -> int:
    return min(max(len(name), needed[name]), WIDEST)


def _start(text: str, width: int) -> str:
    return text[: width - 1] + _ELLIPSIS


def _end(text: str, width: int) -> str:
    return _ELLIPSIS + text[len(text) - width + 1 :]


def _ends(text: str, width: int) -> str:
    half = (width - 1) // 2
    return text[: width - 1 - half] + _ELLIPSIS + text[len(text) - half :]


def _difference(cells: Sequence[str]) -> Callable[[str, int], str]:
    """Returns what cuts away the beginning that all texts share."""
    first, last = min(cells), max(cells)
    same = next((i for i, pair in enumerate(zip(first, last, strict=False)) if len(set(pair)) > 1), 0)

    def cut(text: str, width: int) -> str:
        rest = _ELLIPSIS + text[same:]
        return rest if len(rest) <= width else _start(rest, width)

    return cut


def _clear_tails(names: Sequence[str]) -> dict[str, str]:
    """Returns the shortest end of each name that is no end of another."""
    counts = Counter(tail for name in names for tail in (*_tails(name), name))
    return {
        name: next(tail for tail in (*_tails(name), name) if counts[tail] == 1 or tail == name)
        for name in names
    }


def _tails(name: str) -> list[str]:
    """Returns the ends of a name that begin after a dot, the shortest first."""
    parts = name.split(".")
    return [".".join(parts[start:]) for start in range(len(parts) - 1, 0, -1)]
