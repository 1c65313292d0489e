"""Questions on the screen."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from mlxpy_core._io._text import clean, printable

_BOX = """
{name} {{ align: center middle; }}
{name} > * {{ width: 90%; max-width: 76; height: auto; max-height: 80%; border: solid; padding: 0 1; }}
"""


class Question(ModalScreen[bool]):
    """Asks whether to go on.

    Args:
        question: what is asked.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "yes"),
        Binding("n,escape,q", "dismiss(False)", "no"),
    ]
    DEFAULT_CSS = _BOX.format(name="Question")

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Shows the question, and what answers it."""
        with VerticalScroll():
            yield Static(Text(f"{printable(self._question)}\n\ny yes   n no"), id="question")


class Choice(ModalScreen[str | None]):
    """Has one of several names chosen.

    Args:
        title: what is chosen.
        names: the names.
        current: that which is chosen now, if any.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "back")]
    DEFAULT_CSS = _BOX.format(name="Choice")

    def __init__(self, title: str, names: Sequence[str], current: str | None) -> None:
        super().__init__()
        self._title = title
        self._names = names
        self._current = current

    def compose(self) -> ComposeResult:
        """Shows the names."""
        options = OptionList(*(Option(Text(clean(name))) for name in self._names), markup=False)
        options.border_title = Text(self._title).markup
        if self._current in self._names:
            options.highlighted = self._names.index(self._current)
        yield options

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Chooses one."""
        self.dismiss(self._names[event.option_index])
