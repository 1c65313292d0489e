"""The app: a table of runs that keeps up with them, keys that do something to the marked ones."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._interrupts import ENDING_SIGNALS
from mlxpy_core._io._text import clean, printable
from mlxpy_core._runs._status import Status

from ._actions import Plan, plan_to_archive, plan_to_cancel, plan_to_resubmit, tag_runs
from ._dialogs import Choice, Question
from ._followed_run import OUTPUTS, Detail, FollowedRun
from ._run_screen import RunScreen
from ._runs import ID, METRIC, PROGRESS, STATUS, Runs, View
from ._table import RunTable
from ._watcher import Watcher

_FILTER, _TAG = "filter", "tag"
_DEFAULT_ORDER = "running first, newest first"


class TableScreen(Screen[None]):
    """The table, and a line to type in.

    Attributes:
        table: the table.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "app.open", "open", key_display="⏎"),
        Binding("slash", "app.filter", "query", key_display="/"),
        Binding("s", "app.sort", "sort"),
        Binding("m", "app.choose_metric", "metric"),
        Binding("space", "app.mark", "mark", key_display="␣"),
        Binding("asterisk", "app.mark_all", show=False),
        Binding("c", "app.cancel", "cancel"),
        Binding("r", "app.resubmit", "resubmit"),
        Binding("t", "app.tag", "tag"),
        Binding("a", "app.archive", "archive"),
        Binding("escape", "app.leave_prompt", show=False),
        Binding("q", "app.leave(0)", "quit"),
    ]
    DEFAULT_CSS = """
    TableScreen #head { height: 1; }
    TableScreen #said { height: auto; max-height: 3; }
    TableScreen #prompt { display: none; height: 1; border: none; padding: 0; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.table = RunTable()

    def compose(self) -> ComposeResult:
        """Lays the screen out."""
        yield Static(id="head")
        yield self.table
        yield Static(id="said")
        yield Input(id="prompt", compact=True)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Has the app begin."""
        assert isinstance(self.app, TopApp)
        self.app.begin()


class TopApp(App[BaseException | None]):
    """Shows runs until the user quits; ``return_code`` is then the exit code.

    Args:
        runs: the runs.
    """

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "leave(130)", show=False, priority=True),
        Binding("ctrl+q", "leave(0)", show=False, priority=True),
    ]
    CSS = "* { scrollbar-size-vertical: 1; }"

    class Shown(Message):
        """There is something to show: what the watcher's thread has found."""

        def __init__(self, what: Any) -> None:
            super().__init__()
            self.what = what

    class Asked(Message):
        """There is a plan to agree to."""

        def __init__(self, plan: Plan) -> None:
            super().__init__()
            self.plan = plan

    class Said(Message):
        """There is something to say."""

        def __init__(self, sentences: Sequence[str], *, wrong: bool = False) -> None:
            super().__init__()
            self.sentences = sentences
            self.wrong = wrong

    def __init__(self, runs: Runs) -> None:
        # The terminal's own colours, light or dark, and none with NO_COLOR.
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self._runs = runs
        self._view = View()
        self._watcher = Watcher(runs, lambda what: self.post_message(self.Shown(what)))
        self._followed: FollowedRun | None = None
        self._prompt = ""
        self._busy = False
        self._leaving: int | None = None

    def get_default_screen(self) -> TableScreen:
        """Returns the screen that is there first."""
        return TableScreen()

    def on_mount(self) -> None:
        """Has signals end it as a key does."""
        loop = asyncio.get_running_loop()
        for number in ENDING_SIGNALS:
            loop.add_signal_handler(number, self.action_leave, 128 + number)

    def begin(self) -> None:
        """Shows what is cached, then looks; called when the table is there."""
        self._table.focus()
        self._show_view(self._runs.view())
        self._watcher.start()

    def on_unmount(self) -> None:
        """Ends what watches."""
        loop = asyncio.get_running_loop()
        for number in ENDING_SIGNALS:
            loop.remove_signal_handler(number)
        self._watcher.stop()

    @property
    def _table(self) -> RunTable:
        screen = self.screen_stack[0]
        assert isinstance(screen, TableScreen)
        return screen.table

    @property
    def _chosen(self) -> list[int]:
        """The runs that a key is about: that of the screen, the marked, or that under the cursor."""
        if isinstance(self.screen, RunScreen):
            return [self.screen.log_id]
        return self._table.chosen

    def on_top_app_shown(self, event: Shown) -> None:
        """Shows what the watcher has found."""
        what = event.what
        if not (self.screen_stack and self._table.is_attached):  # the app is ending
            return
        if isinstance(what, View):
            self._show_view(what)
        elif isinstance(what, dict):
            self._table.show_live(what)
        elif isinstance(what, Detail):
            if isinstance(self.screen, RunScreen) and self.screen.log_id == what.log_id:
                self.screen.show(what)
        elif isinstance(what, MlxpyError):
            self._say([str(what)], wrong=True)
        else:  # a fault of this program
            self.exit(what, return_code=1)

    def on_top_app_asked(self, event: Asked) -> None:
        """Asks, and has done what is agreed to."""
        plan = event.plan
        self._busy = False
        self._say([f"Left alone: {sentence}." for sentence in plan.left], wrong=True)
        if self._leaving is not None:
            self.exit(return_code=self._leaving)
        elif plan.question:
            self.push_screen(
                Question(plan.question), lambda agreed: self._act(plan.act) if agreed else None
            )

    def on_top_app_said(self, event: Said) -> None:
        """Says what was done, or what was wrong."""
        self._busy = False
        self._say(event.sentences, wrong=event.wrong)
        if self._leaving is not None:
            self.exit(return_code=self._leaving)

    def on_run_table_moved(self) -> None:
        """Follows the runs that are on the screen."""
        self._watcher.follow(self._table.on_screen)

    def on_run_table_opened(self, event: RunTable.Opened) -> None:
        """Opens a run."""
        self._open(event.log_id)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Takes what was typed."""
        prompt, text = self._prompt, event.value.strip()
        if prompt == _FILTER:
            self._do(lambda: self._runs.filter(text), "")
        elif text:
            chosen = self._chosen
            self._act(lambda: tag_runs(self._runs.logs, chosen, text))
        self.action_leave_prompt()

    def action_open(self) -> None:
        """Opens the run under the cursor."""
        if self._table.current is not None and not isinstance(self.screen, RunScreen):
            self._open(self._table.current)

    def action_filter(self) -> None:
        """Asks for a query."""
        self._ask(_FILTER, "query (Enter with nothing shows all runs)", self._view.query)

    def action_tag(self) -> None:
        """Asks for tags."""
        if not self._chosen:
            return
        if isinstance(self.screen, RunScreen):
            self._table.mark([])
        count = len(self._chosen)
        what = f"run {self._chosen[0]}" if count == 1 else f"{count} runs"
        self._ask(_TAG, f"tags of {what}: +baseline adds, -old takes away", "")

    def action_sort(self) -> None:
        """Asks what to sort by."""
        names = [_DEFAULT_ORDER, ID, STATUS, PROGRESS, *([METRIC] if self._view.metric else [])]
        names += self._view.settings

        def sort(name: str | None) -> None:
            if name is not None:
                by = "" if name == _DEFAULT_ORDER else name
                self._do(lambda: self._runs.sort_by(by))

        title = "sort by (again: the other way round)"
        self.push_screen(Choice(title, names, self._view.sort or _DEFAULT_ORDER), sort)

    def action_choose_metric(self) -> None:
        """Asks which metric to show."""
        if not self._view.metrics:
            self._say(["no run has logged a metric yet"], wrong=True)
            return

        def show(name: str | None) -> None:
            if name is not None:
                self._table.forget_live()
                self._do(lambda: self._runs.show_metric(name))
                if isinstance(self.screen, RunScreen):
                    self._show_curves(name)

        self.push_screen(Choice("metric", list(self._view.metrics), self._view.metric), show)

    def action_mark(self) -> None:
        """Marks the run under the cursor, or takes its mark away."""
        if self._table.current is not None:
            self._table.mark([self._table.current])
            self._table.action_move(1)

    def action_mark_all(self) -> None:
        """Marks all runs, or takes their marks away."""
        self._table.mark(self._view.log_ids)

    def action_cancel(self) -> None:
        """Asks whether to cancel runs."""
        chosen = self._chosen
        self._plan(lambda: plan_to_cancel(self._runs.logs, chosen, self._runs.reader))

    def action_resubmit(self) -> None:
        """Asks whether to have runs go on."""
        chosen = self._chosen
        self._plan(lambda: plan_to_resubmit(self._runs.logs, chosen))

    def action_archive(self) -> None:
        """Asks whether to have listings leave runs out."""
        chosen = self._chosen
        self._plan(lambda: plan_to_archive(self._runs.logs, chosen))

    def action_other_output(self) -> None:
        """Shows the other file of a run's output."""
        if followed := self._followed:
            self._do(lambda: followed.show_output(OUTPUTS[followed.output == OUTPUTS[0]]))

    def action_leave_prompt(self) -> None:
        """Goes on without what was asked for."""
        prompt = self.screen_stack[0].query_one("#prompt", Input)
        if prompt.display:
            prompt.display = False
            self._table.focus()
        else:
            self._table.mark(self._table.marked)

    def action_leave(self, code: int) -> None:
        """Ends the app; what it does to runs is done first."""
        self._leaving = code
        if self._busy:
            self._say(["finishing what was begun, then quitting"])
        else:
            self.exit(return_code=code)

    def _show_view(self, view: View) -> None:
        self._view = view
        counts = "  ".join(
            f"{view.counts[one.value]} {one.value}" for one in Status if view.counts.get(one.value)
        )
        query = f"  ({clean(view.query)})" if view.query else ""
        noun = "run" if len(view.log_ids) == 1 else "runs"
        head = Text(
            f"{len(view.log_ids):,} {noun}{query}  {counts}",
            style="bold",
            no_wrap=True,
            overflow="ellipsis",
        )
        self.screen_stack[0].query_one("#head", Static).update(head)
        self._table.show_view(view)
        if view.troubles:
            self._say(view.troubles, wrong=True)
        self._watcher.follow(self._table.on_screen)

    def _say(self, sentences: Sequence[str], *, wrong: bool = False) -> None:
        text = Text(
            printable("\n".join(sentences)), style="yellow" if wrong else "", overflow="ellipsis"
        )
        for screen in self.screen_stack:
            for line in screen.query("#said").results(Static):
                line.update(text)

    def _ask(self, prompt: str, placeholder: str, text: str) -> None:
        if isinstance(self.screen, RunScreen):
            self.screen.dismiss()
        field = self.screen_stack[0].query_one("#prompt", Input)
        self._prompt = prompt
        field.placeholder, field.value = placeholder, text
        field.display = True
        field.focus()

    def _open(self, log_id: int) -> None:
        self._followed = FollowedRun(self._runs, log_id)
        self._watcher.follow_run(self._followed)
        self.push_screen(RunScreen(log_id), lambda _: self._watcher.follow_run(None))
        if self._view.metric:
            self._show_curves(self._view.metric)

    def _show_curves(self, first: str) -> None:
        if followed := self._followed:
            names = [first, *(name for name in self._view.metrics if name != first)][:2]
            self._do(lambda: followed.show_metrics(names))

    def _do(self, change: Callable[[], object], said: str | None = None) -> None:
        """Has the thread change what is shown, and show it."""

        def job() -> None:
            change()
            if said is not None:
                self.post_message(self.Said([said]))
            self._watcher.show_table()

        self._watcher.do(job)

    def _plan(self, plan: Callable[[], Plan]) -> None:
        if not self._chosen or self._busy:
            return
        self._busy = True
        self._watcher.do(lambda: self._answer(lambda: self.Asked(plan())))

    def _act(self, act: Callable[[], list[str]]) -> None:
        """Has the thread do something to runs, and say what."""
        self._busy = True
        self._say(["…"])

        def job() -> None:
            self._answer(lambda: self.Said(act()))
            self._watcher.refresh_soon()

        self._watcher.do(job)

    def _answer(self, ask: Callable[[], Message]) -> None:
        try:
            message = ask()
        except MlxpyError as error:
            message = self.Said([str(error)], wrong=True)
        self.post_message(message)
