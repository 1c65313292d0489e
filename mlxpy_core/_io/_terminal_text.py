"""What a program printed, as a terminal may show it: in its colours, and driving nothing else."""

import codecs
import re

from ._text import escaped

# Colours and the like (SGR); longer ones than any program needs are shown as text.
_COLOURS = re.compile(r"\x1b\[[0-9;:]{0,40}m")
_BEGUN = re.compile(r"\x1b(\[[0-9;:]{0,40})?\Z")
# Carriage returns stay in their line, as progress bars do; joiners make one sign of several.
_HARMLESS = frozenset("\n\r\t\u200c\u200d")
_RESET = "\x1b[0m"


class TerminalText:
    """Takes output in parts, and makes of it what a terminal can be given.

    Sequences that set colours pass. Other control characters (which move the cursor, name the window,
    reach the clipboard) and bytes that are no UTF-8 are shown as escapes.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._left = ""
        self._coloured = False

    def feed(self, part: bytes) -> bytes:
        """Returns what can be shown of the output so far."""
        text = self._left + self._decoder.decode(part)
        begun = _BEGUN.search(text)
        end = begun.start() if begun else len(text)
        self._left = text[end:]
        return self._shown(text[:end]).encode()

    def finish(self) -> bytes:
        """Returns the rest, after which the terminal has its own colours again."""
        text = self._shown(self._left + self._decoder.decode(b"", final=True))
        self._left = ""
        return (text + _RESET * self._coloured).encode()

    def _shown(self, text: str) -> str:
        shown, start = [], 0
        for found in _COLOURS.finditer(text):
            shown += [escaped(text[start : found.start()], _HARMLESS), found[0]]
            start = found.end()
            self._coloured = True
        return "".join([*shown, escaped(text[start:], _HARMLESS)])
