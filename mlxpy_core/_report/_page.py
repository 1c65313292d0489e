"""The page: one HTML file that holds its data, its style and all programs that it runs.

Its policy lets only these programs run, by their hashes, and nothing be loaded, so that even a text that
found its way into the markup could do nothing.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Any

from mlxpy_core._errors import MlxpyError


def make_page(content: Mapping[str, Any]) -> str:
    """Returns the HTML of a report, see `report_content`.

    Raises:
        MlxpyError: plotly or itables is not installed.
    """
    plotly, table, table_style = _libraries()
    own = files(__package__)
    script = own.joinpath("report.js").read_text("utf-8")
    # blob: is how the table's module, which is data until then, is imported.
    allowed = " ".join(["blob:", *map(_hash, (plotly, script))])
    return Template(own.joinpath("report.html").read_text("utf-8")).substitute(
        policy=(
            f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
            "img-src data: blob:; base-uri 'none'; form-action 'none'"
        ),
        table_style=table_style,
        style=own.joinpath("report.css").read_text("utf-8"),
        content=in_script(content),
        table=in_script(table),
        plotly=plotly,
        script=script,
    )


def in_script(value: Any) -> str:
    """Returns JSON that stays inside of its ``<script>``, whatever texts it holds."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _libraries() -> tuple[str, str, str]:
    """Returns plotly's program, that of the table (a module), and the table's style."""
    try:
        from plotly.offline import get_plotlyjs

        place = find_spec("itables")
    except ImportError:
        place = None
    if place is None or place.origin is None:
        raise MlxpyError("report needs plotly and itables: pip install 'mlxpy[report]'")
    # The files alone: to import itables takes a second.
    bundle = Path(place.origin).with_name("html") / "dt_bundle.js"
    return get_plotlyjs(), bundle.read_text("utf-8"), bundle.with_suffix(".css").read_text("utf-8")


def _hash(program: str) -> str:
    digest = hashlib.sha256(program.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
