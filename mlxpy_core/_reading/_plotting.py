"""Plots of results, drawn by plotly or by matplotlib."""

import sys
from html import escape
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._text import as_unicode, printable

from ._plot_lines import Line, Lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Backend = Literal["plotly", "matplotlib"]

_NEEDS = "plot needs {0}: pip install 'mlxpy[{1}]'"
_PALETTE = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")


def choose_backend(backend: Backend | None, ax: "Axes | None") -> Backend:
    """Returns what draws a plot.

    Args:
        backend: what was asked for; None for plotly in a notebook, if it is installed, and matplotlib
            elsewhere: scripts adorn and save what it returns.
        ax: where to draw, if that was said; such are matplotlib's.

    Raises:
        MlxpyError: something else was asked for.
    """
    if backend is None:
        return "plotly" if ax is None and _in_notebook() and find_spec("plotly") else "matplotlib"
    if backend == "matplotlib" or (backend == "plotly" and ax is None):
        return backend
    if ax is None:
        raise MlxpyError(f"backend={backend!r}: give 'plotly' or 'matplotlib'")
    raise MlxpyError(f"backend={backend!r} draws on no axes: leave out ax")


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return getattr(ipython and ipython.get_ipython(), "kernel", None) is not None


def draw_by_matplotlib(lines: Lines, ax: "Axes | None") -> "Axes":
    """Draws on axes, new ones if none are given.

    Raises:
        MlxpyError: matplotlib is not installed.
    """
    ax = ax or _new_axes()
    colours: dict[str, Any] = {}
    for line in lines.lines:
        known = line.label in colours
        (drawn,) = ax.plot(
            line.x,
            line.mean,
            marker="o" if len(line.x) == 1 else None,
            color=colours.get(line.label),
            label=None if known or not line.label else _without_formulas(line.label),
        )
        colours[line.label] = drawn.get_color()
        if line.deviation is not None:
            band = (line.mean - line.deviation, line.mean + line.deviation)
            ax.fill_between(line.x, *band, color=drawn.get_color(), alpha=0.2, linewidth=0)
    ax.set_xlabel(_without_formulas(lines.x))
    ax.set_ylabel(_without_formulas(lines.y))
    if any(colours):
        ax.legend(title=lines.hue and _without_formulas(lines.hue))
    return ax


def _without_formulas(text: str) -> str:
    return printable(as_unicode(text)).replace("$", r"\$")


def _new_axes() -> "Axes":
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise MlxpyError(_NEEDS.format("matplotlib", "plot")) from error
    return pyplot.subplots()[1]


def draw_by_plotly(lines: Lines) -> Any:
    """Returns a figure.

    Raises:
        MlxpyError: plotly is not installed.
    """
    try:
        from plotly.graph_objects import Figure
    except ImportError as error:
        raise MlxpyError(_NEEDS.format("plotly", "report")) from error
    figure = Figure()
    colours: dict[str, str] = {}
    for line in lines.lines:
        known = line.label in colours
        colour = colours.setdefault(line.label, _PALETTE[len(colours) % len(_PALETTE)])
        group = {"legendgroup": line.label, "name": plain(line.label)}
        if line.deviation is not None:
            figure.add_scatter(**group, **_band(line, line.deviation, colour))
        figure.add_scatter(
            x=line.x,
            y=line.mean,
            mode="markers" if len(line.x) == 1 else "lines",
            line={"color": colour},
            marker={"color": colour},
            showlegend=not known and bool(line.label),
            **group,
        )
    figure.update_layout(
        xaxis_title_text=plain(lines.x),
        yaxis_title_text=plain(lines.y),
        legend_title_text=plain(lines.hue or ""),
    )
    return figure


def _band(line: Line, deviation: Any, colour: str) -> dict[str, Any]:
    low, high = line.mean - deviation, line.mean + deviation
    return {
        "x": np.concatenate([line.x, line.x[::-1]]),
        "y": np.concatenate([high, low[::-1]]),
        "fill": "toself",
        "fillcolor": f"{colour}33",
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
        "showlegend": False,
    }


def plain(text: str) -> str:
    """Returns a text that plotly, which knows some markup and formulas, shows as it is."""
    return escape(printable(as_unicode(text)), quote=False).replace("$", "&#36;")
