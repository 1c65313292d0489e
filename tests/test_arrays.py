"""Arrow arrays that are made without pandas are those that pyarrow makes, and take no time to import it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxpy_core import Logger
from mlxpy_core._reading._tables._arrays import arrow_array, arrow_integers, arrow_scalar, numpy_array

VALUES = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(),
}
columns = st.sampled_from(list(VALUES)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(VALUES[kind] | st.none()))
)
numbers = st.sampled_from([pa.int64(), pa.float64(), pa.bool_()]).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(VALUES[kind]))
)


def same(one: Any, other: Any) -> bool:
    return one.type == other.type and repr(one.to_pylist()) == repr(other.to_pylist())


@given(columns)
def test_an_array_is_what_pyarrow_makes(column: tuple[pa.DataType, list[Any]]) -> None:
    kind, values = column
    made = arrow_array(values, kind)
    made.validate(full=True)
    assert same(made, pa.array(values, kind))
    assert made.null_count == values.count(None)
    if values:
        assert repr(arrow_scalar(values[0], kind).as_py()) == repr(values[0])


@given(numbers, st.integers(0, 9), st.integers(1, 3))
def test_the_way_to_numpy_is_that_of_pyarrow(
    column: tuple[pa.DataType, list[Any]], start: int, chunks: int
) -> None:
    kind, values = column
    array = pa.array(values, kind).slice(min(start, len(values)))
    for given_as in (array, pa.chunked_array([array] * chunks, kind), pa.chunked_array([], kind)):
        expected = given_as.to_numpy(
            **({} if isinstance(given_as, pa.ChunkedArray) else {"zero_copy_only": False})
        )
        found = numpy_array(given_as)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@given(st.lists(st.integers(0, 2**40)))
def test_indices_of_numpy(indices: list[int]) -> None:
    assert arrow_integers(np.array(indices, dtype=np.int64)).to_pylist() == indices
    assert arrow_integers(np.array(indices * 2, dtype=np.int64)[::2]).to_pylist() == (indices * 2)[::2]


@pytest.mark.parametrize(
    ("value", "kind", "error"),
    [(2**63, pa.int64(), OverflowError), ("\ud800", pa.string(), UnicodeEncodeError)],
)
def test_what_does_not_fit_is_refused(value: Any, kind: pa.DataType, error: type[Exception]) -> None:
    with pytest.raises(error):
        arrow_array([value], kind)


PROGRAM = """
import sys
from mlxpy import Reader
for _ in range(2):  # the second time from the cache
    reader = Reader("logs")
    found = reader.search("config.lr <= 1 & config.name in ['a', 'b'] | ~(info.status == 'FAILED')")
    assert found["train.loss"][0].tolist() == [0.5], found
    assert dict(found[0])["config.name"] == "a"
    assert found.diff() == ["config.lr"]
    assert len(found.sort("config.lr").groupby("config.lr")) == 2
sys.argv = ["mlxpy", "ls"]
from mlxpy_core._cli import main
main(standalone_mode=False)
print(*{"pandas", "omegaconf", "hydra"} & set(sys.modules))
"""


def test_to_list_and_find_runs_takes_no_pandas(tmp_path: Path) -> None:
    for lr in (1, 2):
        with Logger(tmp_path / "logs", config={"lr": lr, "name": "a"}) as logger:
            logger.log_metrics({"loss": 0.5, "step": 1}, "train")
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    *table, imported = done.stdout.split("\n")[:-1]
    assert "COMPLETE" in table[-1]
    assert imported == ""
