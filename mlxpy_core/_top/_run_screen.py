"""The screen of one run: its curves, the settings that differ, the end of what it printed."""

from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static
from textual_plotext import PlotextPlot

from mlxpy_core._io._text import clean
from mlxpy_core._runs._status import STATUS_COLORS

from ._followed_run import Curve, Detail
from ._texts import value_text

_FOR_TWO = 110  # columns of a screen that has room for a second curve


class RunScreen(Screen[None]):
    """Shows what is said of a run by `show`.

    Args:
        log_id: the run's number.

    Attributes:
        log_id: the same.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,left", "dismiss", "back"),
        Binding("m", "app.choose_metric", "metric"),
        Binding("l", "app.other_output", "stdout/stderr"),
        Binding("c", "app.cancel", "cancel"),
        Binding("r", "app.resubmit", "resubmit"),
        Binding("t", "app.tag", "tag"),
        Binding("end", "to_end", "follow"),
    ]
    DEFAULT_CSS = """
    RunScreen #facts { height: auto; max-height: 4; }
    RunScreen #upper { height: 50%; }
    RunScreen #settings { width: 32; height: 100%; border-left: solid; padding-left: 1; }
    RunScreen PlotextPlot { width: 1fr; height: 100%; }
    RunScreen #name { height: 1; text-style: bold; text-wrap: nowrap; }
    RunScreen #said { height: auto; max-height: 3; }
    RunScreen #output { height: 1fr; }
    """

    def __init__(self, log_id: int) -> None:
        super().__init__()
        self.log_id = log_id
        self._detail = Detail(log_id, "…")

    def compose(self) -> ComposeResult:
        """Lays the screen out."""
        yield Static(id="facts")
        with Horizontal(id="upper"):
            yield PlotextPlot(id="first")
            yield PlotextPlot(id="second")
            with VerticalScroll(id="settings", can_focus=False):
                yield Static()
        yield Static(id="name")
        with VerticalScroll(id="output"):
            yield Static()
        yield Static(id="said")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Begins at the end of the output."""
        for plot in self.query(PlotextPlot):
            plot.theme = "clear"  # the terminal's own colours
        self.query_one("#output").anchor()
        self.query_one("#output").focus()
        self.show(self._detail)

    def on_resize(self) -> None:
        """Draws what fits."""
        self.show(self._detail)

    def action_to_end(self) -> None:
        """Follows the output again."""
        output = self.query_one("#output")
        output.scroll_end(animate=False)
        output.anchor()

    def show(self, detail: Detail) -> None:
        """Shows a run as it is now."""
        old, self._detail = self._detail, detail
        if not self.query("#facts"):  # it is not there yet, or no more
            return
        if not detail.status:
            self.query_one("#facts", Static).update(Text(f"run {detail.log_id} is gone: Esc goes back"))
            return
        head = Text(f"run {detail.log_id}  ", style="bold")
        head.append(detail.status, style=STATUS_COLORS.get(detail.status, ""))
        head.append("  " + "\n".join(detail.facts), style="not bold")
        self.query_one("#facts", Static).update(head)
        settings = "\n".join(
            f"{clean(name)} = {value_text(one)}" for name, one in detail.settings.items()
        )
        self.query_one("#settings Static", Static).update(Text(settings or "no settings differ"))
        self.query_one("#name", Static).update(
            Text(f"── {detail.output} ".ljust(self.size.width, "─"), no_wrap=True)
        )
        if detail.text != old.text or detail.output != old.output or not detail.text:
            shown = Text.from_ansi(detail.text) if detail.text else Text("nothing (yet)", style="dim")
            self.query_one("#output Static", Static).update(shown)
        self._draw(list(detail.curves.items()))

    def _draw(self, curves: list[tuple[str, Curve]]) -> None:
        first, second = self.query_one("#first", PlotextPlot), self.query_one("#second", PlotextPlot)
        second.display = len(curves) > 1 and self.size.width >= _FOR_TWO
        _plot(first, *(curves[0] if curves else ("", ((), ()))))
        if second.display:
            _plot(second, *curves[1])


def _plot(plot: Any, name: str, curve: Curve) -> None:
    plt = plot.plt
    plt.clear_data()
    plt.title(clean(name) if name else "no metric is logged yet")
    xs, ys = curve
    if len(xs):
        # A single point is no line.
        draw = plt.scatter if len(xs) == 1 else plt.plot
        draw(list(xs), list(ys), marker="braille" if len(xs) > 1 else "dot")
    plot.refresh()
