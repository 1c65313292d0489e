"""Which settings matter most for a metric."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FEWEST = 20
"""Runs from which an importance is computed."""

_FEWEST_RANKED = 3
_TREES = 100

Floats = npt.NDArray[np.float64]


def influence(settings: Mapping[str, Sequence[Any]], values: Floats) -> list[dict[str, Any]]:
    """Ranks settings by how much the final value of a metric goes with them.

    Args:
        settings: the values of each setting by run.
        values: shape (n,): those of the metric, NaN where a run has none.

    Returns:
        For each setting its ``name`` and ``correlation``: of numbers the rank correlation (Spearman's),
        of texts, which have no order (``ordered``), how much of the ranks they explain (from 0 to 1);
        the strongest first.
    """
    known = np.isfinite(values)
    if known.sum() < _FEWEST_RANKED:
        return []
    ranked = _ranks(values[known])
    found = []
    for name, column in settings.items():
        chosen = [value for value, is_known in zip(column, known, strict=True) if is_known]
        ordered = _is_ordered(chosen)
        strength = _rank_correlation(chosen, ranked) if ordered else _explained(chosen, ranked)
        if not math.isnan(strength):
            found.append({"name": name, "correlation": round(strength, 3), "ordered": ordered})
    return sorted(found, key=lambda one: -abs(one["correlation"]))


def importances(settings: Mapping[str, Sequence[Any]], values: Floats) -> dict[str, float] | None:
    """Returns the share of each setting in what a random forest learns of a metric, by scikit-learn.

    Returns:
        A number for each setting, 1 together; None without scikit-learn, or with fewer than `FEWEST`
        runs.
    """
    known = np.isfinite(values)
    if known.sum() < FEWEST or not settings:
        return None
    try:
        from sklearn.ensemble import RandomForestRegressor
    except ImportError:
        return None
    columns = [_codes(np.array(column, dtype=object)[known]) for column in settings.values()]
    forest = RandomForestRegressor(n_estimators=_TREES, random_state=0)
    # Of ranks: one run that diverged is not all there is to learn.
    forest.fit(np.stack(columns, axis=1), _ranks(values[known]))
    shares = forest.feature_importances_.tolist()
    return {name: round(share, 3) for name, share in zip(settings, shares, strict=True)}


def _is_ordered(values: Sequence[Any]) -> bool:
    return all(value is None or isinstance(value, (int, float)) for value in values)


def _rank_correlation(values: Sequence[Any], ranked: Floats) -> float:
    floats = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    known = ~np.isnan(floats)
    if known.sum() < _FEWEST_RANKED:
        return math.nan
    first, second = _ranks(floats[known]), _ranks(ranked[known])
    spread = first.std() * second.std()
    if not spread:
        return math.nan
    return float(((first - first.mean()) * (second - second.mean())).mean() / spread)


def _explained(values: Sequence[Any], ranked: Floats) -> float:
    """Returns the correlation ratio of ranks by groups of equal values."""
    codes = _codes(np.array(values, dtype=object))
    total = ((ranked - ranked.mean()) ** 2).sum()
    groups = [ranked[codes == code] for code in np.unique(codes)]
    if not total or len(groups) < 2 or len(groups) == len(ranked):
        return math.nan
    return math.sqrt(sum(len(one) * (one.mean() - ranked.mean()) ** 2 for one in groups) / total)


def _ranks(values: npt.NDArray[Any]) -> Floats:
    """Returns ranks; equal values share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[places], dtype=np.float64)


def _codes(values: npt.NDArray[Any]) -> Floats:
    """Returns numbers as they are, and a number for each other value."""
    if all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
        # Trees split by order alone, and hold 32 bits.
        return _ranks(values.astype(np.float64))
    known = {text: float(code) for code, text in enumerate(sorted(set(map(str, values))))}
    return np.array([known[str(value)] for value in values])
