"""Images that runs logged as artifacts, as thumbnails."""

import base64
import contextlib
import importlib.util
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlxpy_core._io._files import open_regular
from mlxpy_core._reading import Artifact, ConfigList

from ._texts import clean

MOST_BYTES = 3 * 2**20
"""Of all thumbnails together."""

_EDGE = 240  # pixels
_LARGEST = 2**25  # bytes of a file
_PIXELS = 2**25
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_TYPE = "artifact.image"


def thumbnails(found: ConfigList, directories: Sequence[Path]) -> dict[str, Any]:
    """Returns small copies of the runs' images, the newest runs' first, while there is room.

    Returns:
        ``shown``: `run` (a place in `found`), `name`, `source` (a data URI); ``count``: how many images
        there are; ``library``: whether Pillow is installed.
    """
    images = _images(found)
    if importlib.util.find_spec("PIL") is None:
        return {"shown": [], "count": len(images), "library": False}
    shown, size = [], 0
    for run, image in reversed(images):
        source = _thumbnail(image.path, directories[run].parent)
        if source is None:
            continue
        size += len(source)
        if size > MOST_BYTES:
            break
        name = image.path.relative_to(directories[run] / "artifacts" / "image")
        shown.append({"run": run, "name": clean(str(name)), "source": source})
    return {"shown": shown, "count": len(images), "library": True}


def _images(found: ConfigList) -> list[tuple[int, Artifact]]:
    fields = [name for name in found._rows.fields if f"{name}.".startswith(f"{_TYPE}.")]
    columns = [found[field] for field in fields]
    return [
        (run, image)
        for run, cells in enumerate(zip(*columns, strict=True))
        for images in cells
        for image in (images or {}).values()
    ]


def _thumbnail(path: Path, logs: Path) -> str | None:
    """Returns a small copy; None of what is no image, or is too large to be opened unasked."""
    from PIL import Image

    with contextlib.suppress(Exception):  # a damaged file may raise anything
        with os.fdopen(open_regular(path, logs), "rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            return None
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > _PIXELS:
                return None
            image.thumbnail((_EDGE, _EDGE))
            small = io.BytesIO()
            image.convert("RGBA" if image.mode in ("RGBA", "LA", "P", "PA") else "RGB").save(
                small, "PNG"
            )
        return f"data:image/png;base64,{base64.b64encode(small.getvalue()).decode()}"
    return None
