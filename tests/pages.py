"""Pages in a real browser, see the fixture `browser`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WINDOW = {"width": 1200, "height": 900}


@dataclass
class Seen:
    """A page, and what it did that it must not."""

    page: Any
    wrong: list[str] = field(default_factory=list)


def opened(browser: Any, path: Path) -> Seen:
    """Opens a file in a window of its own; errors, dialogs and requests are noted."""
    page = browser.new_context(viewport=WINDOW, color_scheme="light").new_page()
    page.set_default_timeout(60_000)
    seen = Seen(page)
    own = path.as_uri()
    page.on("dialog", lambda dialog: (seen.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: seen.wrong.append(f"error {error}"))
    page.on(
        "console",
        lambda message: message.type in ("error", "warning") and seen.wrong.append(message.text),
    )
    page.on(
        "request",
        lambda request: (
            request.url != own
            and not request.url.startswith(("blob:", "data:"))
            and seen.wrong.append(f"request {request.url}")
        ),
    )
    page.goto(own)
    return seen
