"""Arrow arrays from plain values and to numpy, by way of their buffers.

What pyarrow has for this imports pandas, to know its types if it meets some. That takes longer than to
open a cached directory of runs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_DTYPES = {pa.int32(): np.int32, pa.int64(): np.int64, pa.float64(): np.float64}
_LONGEST = 2**31 - 1  # bytes that 32-bit offsets reach


def arrow_array(values: Sequence[Any], arrow_type: pa.DataType) -> pa.Array:
    """Makes an array of integers, floats, booleans or strings, which is null where a value is None.

    Args:
        values: the values, which are of the type; that is not checked.
        arrow_type: ``int64``, ``float64``, ``bool_`` or ``string``.

    Raises:
        OverflowError: an integer needs more than 64 bits, or the strings are too long together.
        UnicodeEncodeError: a string holds a half of a surrogate pair.
    """
    validity = None
    if None in values:
        validity = _bits([value is not None for value in values])
        absent = "" if arrow_type == pa.string() else 0
        values = [absent if value is None else value for value in values]
    if arrow_type == pa.string():
        buffers = _string_buffers(values)
    elif arrow_type == pa.bool_():
        buffers = [_bits(values)]
    else:
        buffers = [pa.py_buffer(np.array(values, dtype=_DTYPES[arrow_type]))]
    return pa.Array.from_buffers(arrow_type, len(values), [validity, *buffers])


def arrow_scalar(value: Any, arrow_type: pa.DataType) -> pa.Scalar:
    """Makes a scalar of a value, see `arrow_array`."""
    return arrow_array([value], arrow_type)[0]


def arrow_integers(numbers: npt.ArrayLike) -> pa.Array:
    """Makes an array of 64-bit integers, such as indices; those of numpy are not copied."""
    contiguous = np.ascontiguousarray(numbers, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(contiguous), [None, pa.py_buffer(contiguous)])


def numpy_array(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """Gives integers, floats or booleans without nulls; numbers in one chunk are not copied."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    _, values = array.buffers()
    end = array.offset + len(array)
    if array.type == pa.bool_():
        bits = np.frombuffer(values or b"", dtype=np.uint8)
        return np.unpackbits(bits, count=end, bitorder="little")[array.offset :].view(bool)
    return np.frombuffer(values or b"", dtype=_DTYPES[array.type])[array.offset : end]


def text_codes(texts: pa.ChunkedArray, codes: dict[str, int]) -> npt.NDArray[np.int64]:
    """Returns the code of each text; those that have none yet get the next ones, and are added."""
    encoded = texts.combine_chunks().dictionary_encode()
    distinct = [codes.setdefault(text, len(codes)) for text in encoded.dictionary.to_pylist()]
    found: npt.NDArray[np.int64] = np.array(distinct, dtype=np.int64)[numpy_array(encoded.indices)]
    return found


def _bits(values: Sequence[bool]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(np.array(values, dtype=bool), bitorder="little"))


def _string_buffers(texts: Sequence[str]) -> list[pa.Buffer]:
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=offsets[1:])
    if offsets[-1] > _LONGEST:
        raise OverflowError("strings of more than 2 GB do not fit into one array")
    return [pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(b"".join(encoded))]
