"""The scalars of TensorBoard's event files.

The messages are decoded by the classes that tensorboard's package generates and keeps (the extra
``tensorboard``), and only the frame of each record (its length, a checksum, the message, a checksum) is
taken off here. The package's own readers, EventFileLoader and EventAccumulator, compute both checksums
in Python and turn each scalar into an array first, which takes several times as long; and they trust the
lengths that a file names. tbparse uses EventAccumulator.
"""

import struct
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, BinaryIO, NamedTuple

from mlxpy_core._io._text import is_unicode

from ._metric_lines import Row

STEP, WALL_TIME = "step", "wall_time"

_HEADER, _FOOTER = 12, 4  # bytes
_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_LONGEST = 2**26  # bytes of a message; longer ones hold pictures and the like
_MOST_SCALARS = 5_000_000  # of one file
_SCALARS = ("scalars", "")  # the plugins whose tensors are scalars


class Events(NamedTuple):
    """What was read of an event file.

    Attributes:
        rows: a row for each step: ``step``, ``wall_time`` and the tags.
        end: up to where the file was read, in bytes.
        damage: what is wrong with it; empty if nothing is.
    """

    rows: list[Row]
    end: int
    damage: str


def can_read_events() -> bool:
    """Returns whether the extra ``tensorboard`` is installed."""
    found = find_spec("tensorboard")
    return found is not None and found.origin is not None  # no directory of that name


def read_events(file: BinaryIO, start: int, size: int) -> Events:
    """Reads the scalars of an event file; a torn last record is none yet.

    Scalars of one step that follow each other are a row; where a tag comes again, a new row begins.

    Args:
        file: the file.
        start: where to begin, what an earlier reading returned as `Events.end`.
        size: how many bytes it has.
    """
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    rows: list[Row] = []
    last_step, last_tags = None, set[str]()
    end, count, damage = start, 0, ""
    file.seek(start)
    while len(header := file.read(_HEADER)) == _HEADER:
        (length,) = _LENGTH.unpack_from(header)
        after = end + _HEADER + length + _FOOTER
        if after > size or not length:
            if not _is_checksum(header):
                damage = f"what follows byte {end} is no event"
            break
        if length > _LONGEST:
            file.seek(after)
            end = after
            continue
        message = file.read(length + _FOOTER)
        if len(message) < length + _FOOTER:
            break
        try:
            event = Event.FromString(message[:-_FOOTER])
        except DecodeError:
            damage = f"at byte {end} there is no event"
            end = after
            continue
        end = after
        step = event.step
        for tag, value in _scalars(event.summary.value):
            if step != last_step or tag in last_tags:
                rows.append({STEP: step, WALL_TIME: event.wall_time})
                last_step = step
                last_tags.clear()
            last_tags.add(tag)
            rows[-1][tag] = value
            count += 1
        if count > _MOST_SCALARS:
            damage = f"it has more than {_MOST_SCALARS} scalars, what follows is left out"
            break
    return Events(rows, end, damage)


def _scalars(values: Any) -> Iterator[tuple[str, float | int]]:
    for value in values:
        kind = value.WhichOneof("value")
        if kind == "simple_value":
            scalar: float | int | None = value.simple_value
        elif kind == "tensor" and value.metadata.plugin_data.plugin_name in _SCALARS:
            scalar = _of_tensor(value.tensor)
        else:
            continue
        if scalar is not None and is_unicode(value.tag):
            yield value.tag, scalar


def _of_tensor(tensor: Any) -> float | int | None:
    """Returns the number that a tensor holds; None if it is not one number."""
    if any(dimension.size != 1 for dimension in tensor.tensor_shape.dim):
        return None
    if len(tensor.float_val) == 1 and not tensor.tensor_content:
        return float(tensor.float_val[0])
    from tensorboard.util.tensor_util import make_ndarray

    try:
        array = make_ndarray(tensor)
        if array.size != 1 or array.dtype.kind not in "fiub":
            return None
        number: float | int = array.reshape(()).item()
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return None
    return number


def _is_checksum(header: bytes) -> bool:
    """Returns whether a record's length is what was written: a torn record has one that is right."""
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    (checksum,) = _CHECKSUM.unpack_from(header, _LENGTH.size)
    return bool(masked_crc32c(header[: _LENGTH.size]) == checksum)
