"""Lines over the runs that differ only in their seed: the mean, and a band of one standard deviation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlxpy_core._errors import MlxpyError
from mlxpy_core._reading._tables._columns import MISSING
from mlxpy_core._reading._tables._metric_columns import Series

from ._rows import Rows, need_fields
from ._shown_columns import is_seed

Points = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""x and y of one run, each of shape (n,)."""


@dataclass(frozen=True)
class Line:
    """The mean of runs that differ only in their seed.

    Attributes:
        label: what it is called and coloured by: its hue or its settings.
        x: shape (n,), ascending.
        mean: shape (n,).
        deviation: the standard deviation of several runs, shape (n,); None of a single one.
    """

    label: str
    x: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64] | None


@dataclass(frozen=True)
class Lines:
    """What a plot draws.

    Attributes:
        x: what stands below it.
        y: what stands beside it.
        hue: what the labels are values of, if not of the settings.
        lines: the lines.
    """

    x: str
    y: str
    hue: str | None
    lines: list[Line]


def plot_lines(rows: Rows, x: str | None, y: str, hue: str | None, varying: Sequence[str]) -> Lines:
    """Computes what `ConfigList.plot` promises; `varying` names the config's fields that differ."""
    y, *others = need_fields([field for field in (y, x, hue) if field is not None], rows)
    x, hue = (others.pop(0) if field is not None else None for field in (x, hue))
    settings = [field for field in varying if not is_seed(field) and field not in (x, hue)]
    points = _points(rows, x, y)
    lines = []
    for (hue_label, setting_label), places in _groups(rows, settings, hue).items():
        runs = [points[place] for place in places if len(points[place][0])]
        if runs:
            xs, mean, deviation = _mean_and_deviation(runs)
            label = hue_label if hue else setting_label
            lines.append(Line(label, xs, mean, deviation if len(runs) > 1 else None))
    return Lines(x or "row", y, hue, lines)


def _groups(rows: Rows, settings: Sequence[str], hue: str | None) -> dict[tuple[str, str], list[int]]:
    """Gathers the places of runs that differ only in seed, by hue and by their other settings."""
    columns = [rows.column(field) for field in settings]
    hues = rows.column(hue) if hue else [""] * len(rows)
    groups: dict[tuple[str, str], list[int]] = {}
    for place in range(len(rows)):
        parts = [
            f"{field.split('.', 1)[-1]}={column[place]}"
            for field, column in zip(settings, columns, strict=True)
            if column[place] is not MISSING
        ]
        groups.setdefault((str(hues[place]), ", ".join(parts)), []).append(place)
    return groups


def _points(rows: Rows, x: str | None, y: str) -> list[Points]:
    y_series = rows.series(y)
    x_series = rows.series(x) if x else None
    if y_series is not None and (x is None or x_series is not None):
        return [
            _paired(x_series[place] if x_series else None, series, x, y)
            for place, series in enumerate(y_series)
        ]
    if x is None:
        raise MlxpyError(f"column {y!r} has no rows to plot over: give x, another column of numbers")
    return list(map(_single, _last_values(rows, x), _last_values(rows, y)))


def _paired(x_series: Series | None, y_series: Series, x: str | None, y: str) -> Points:
    """Returns the values that were logged in the same rows."""
    ys = _numbers(y_series.values, y)
    y_rows = np.arange(len(ys)) if y_series.rows is None else y_series.rows
    if x_series is None:
        return y_rows.astype(float), ys
    xs = _numbers(x_series.values, x)
    x_rows = np.arange(len(xs)) if x_series.rows is None else x_series.rows
    _, x_places, y_places = np.intersect1d(x_rows, y_rows, assume_unique=True, return_indices=True)
    return xs[x_places], ys[y_places]


def _last_values(rows: Rows, field: str) -> list[float]:
    series = rows.series(field)
    values = (
        [None if value is MISSING else value for value in rows.column(field)]
        if series is None
        else [one.values[-1] if len(one.values) else None for one in series]
    )
    return list(_numbers(values, field).tolist())


def _single(x: float, y: float) -> Points:
    points = np.array([[x], [y]])
    return (np.zeros(0), np.zeros(0)) if np.isnan(points).any() else (points[0], points[1])


def _numbers(values: Any, field: str | None) -> npt.NDArray[np.float64]:
    try:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    except (TypeError, ValueError):
        raise MlxpyError(
            f"column {field!r} holds values that are no numbers: plot a column of numbers"
        ) from None


def _mean_and_deviation(
    runs: Sequence[Points],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Gives x, and mean and standard deviation of y over the runs; rows of equal x are averaged."""
    xs, places = np.unique(np.concatenate([x for x, _ in runs]), return_inverse=True)
    table = np.full((len(runs), len(xs)), np.nan)
    start = 0
    for index, (x, y) in enumerate(runs):
        here = places[start : start + len(x)]
        start += len(x)
        sums = np.bincount(here, weights=y, minlength=len(xs))
        counts = np.bincount(here, minlength=len(xs))
        seen = counts > 0
        table[index, seen] = sums[seen] / counts[seen]
    counts = (~np.isnan(table)).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(table, axis=0) / counts
        deviation = np.sqrt(np.nansum((table - mean) ** 2, axis=0) / counts)
    return xs, mean, deviation
