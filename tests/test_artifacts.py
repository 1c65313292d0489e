import json
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import file_size_limit

from mlxpy_core import InvalidNameError, Logger, MlxpyError, StorageError, UnstorableValueError


@pytest.fixture
def logger(tmp_path: Path) -> Any:
    with Logger(tmp_path / "logs") as logger:
        yield logger


def again(logger: Logger) -> Logger:
    """The same run as another process sees it: continued."""
    logger.close()
    return Logger(Path(logger.log_dir).parent, forced_log_id=logger.log_id)


def test_built_in_types_come_back(logger: Logger) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    stored = {
        "pickle": {"a": [1, 2]},
        "json": {"a": [1, None, 2.5]},
        "text": "gr\u00fc\u00dfe\r\nline",
        "numpy": numpy.arange(6).reshape(2, 3),
        "Checkpoint": {"epoch": 3},
    }
    for artifact_type, obj in stored.items():
        logger.log_artifact(obj, f"my/{artifact_type}", artifact_type)
    for artifact_type, obj in stored.items():
        for chosen in (artifact_type, None):
            loaded = logger.load_artifact(f"my/{artifact_type}", chosen)
            assert numpy.array_equal(loaded, obj) if artifact_type == "numpy" else loaded == obj
    names = {
        str(path.relative_to(logger.log_dir))
        for path in Path(logger.log_dir, "artifacts").rglob("*")
        if path.is_file()
    }
    assert names == {
        "artifacts/pickle/my/pickle.pkl",
        "artifacts/json/my/json.json",
        "artifacts/text/my/text.txt",
        "artifacts/numpy/my/numpy.npy",
        "artifacts/Checkpoint/my/Checkpoint.pkl",
    }


def test_a_reference_moves_with_its_run(logger: Logger, tmp_path: Path) -> None:
    inside, outside = Path(logger.log_dir, "checkpoints", "last.ckpt"), tmp_path / "data"
    inside.parent.mkdir()
    inside.write_text("weights")
    outside.mkdir()
    logger.log_artifact(inside, "models/last", "reference")
    logger.log_artifact(str(outside), "data", "reference")
    with pytest.raises(UnstorableValueError, match="there is no file"):
        logger.log_artifact(tmp_path / "nothing", "nothing", "reference")
    assert logger.load_artifact("models/last") == inside
    logger.close()
    moved = Path(logger.log_dir).rename(tmp_path / "7")
    with Logger(tmp_path / "others") as other:
        assert other.load_artifact("models/last", root=moved).read_text() == "weights"
        assert other.load_artifact("data", root=moved) == outside
        outside.rmdir()
        with pytest.raises(FileNotFoundError, match=r"data, to which the artifact .* no longer there"):
            other.load_artifact("data", root=moved)


def test_dicts_of_arrays(logger: Logger) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    arrays = {"a": numpy.arange(3), "b": numpy.ones((2, 2))}
    for name in ("both", "both.npz"):
        logger.log_artifact(arrays, name, "numpy")
        loaded = logger.load_artifact(name)
        assert loaded.keys() == arrays.keys()
        assert all(numpy.array_equal(loaded[key], arrays[key]) for key in arrays)
    assert numpy.load(Path(logger.artifacts_dir, "numpy/both.npz"))["a"].tolist() == [0, 1, 2]
    with pytest.raises(UnstorableValueError, match="'a' is an array of objects"):
        logger.log_artifact({"a": [None]}, "x", "numpy")


def test_images(logger: Logger) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    pytest.importorskip("PIL", reason="Pillow is not installed")
    gray = numpy.arange(256, dtype=numpy.uint8).reshape(16, 16)
    color = numpy.zeros((4, 5, 3))
    color[..., 0] = 1.0
    logger.log_artifact(gray, "gray", "image")
    logger.log_artifact(color, "color.png", "image")
    logger.log_artifact(logger.load_artifact("gray"), "copy", "image")
    assert numpy.array_equal(numpy.asarray(logger.load_artifact("copy")), gray)
    assert numpy.asarray(logger.load_artifact("color.png"))[0, 0].tolist() == [255, 0, 0]


def test_torch(logger: Logger) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    logger.log_artifact({"w": torch.ones(2)}, "weights", "torch")
    assert torch.equal(logger.load_artifact("weights")["w"], torch.ones(2))


def test_log_artifacts_is_the_same(logger: Logger) -> None:
    logger.log_artifacts("hello", "note", "text")
    assert logger.load_artifact("note") == "hello"


def test_a_later_artifact_takes_the_place_of_an_earlier(logger: Logger) -> None:
    logger.log_artifact("one", "note", "text")
    logger.log_artifact("two", "note", "text")
    assert logger.load_artifact("note") == "two"


@pytest.mark.parametrize(
    ("obj", "artifact_type"),
    [({1, 2}, "json"), (3, "text"), (lambda: (yield), "json"), ([None, {}], "numpy")],
)
def test_what_does_not_fit_is_refused_and_leaves_the_old(
    logger: Logger, obj: Any, artifact_type: str
) -> None:
    before = {"json": [1], "text": "old", "numpy": [1, 2]}[artifact_type]
    logger.log_artifact(before, "x", artifact_type)
    with pytest.raises(UnstorableValueError, match=f"as artifact 'x' of type '{artifact_type}'"):
        logger.log_artifact(obj, "x", artifact_type)
    assert list(logger.load_artifact("x", artifact_type)) == list(before)  # type: ignore[call-overload]  # whatever was saved
    assert not list(Path(logger.log_dir).rglob(".mlxpy-tmp-*"))


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", "", ".hidden", "a\0"])
def test_names_stay_inside(logger: Logger, name: str) -> None:
    for act in (
        lambda: logger.log_artifact("x", name, "text"),
        lambda: logger.log_checkpoint("x", name),
        lambda: logger.load_artifact(name),
    ):
        with pytest.raises(InvalidNameError):
            act()


def test_an_unknown_type_is_told_with_the_known(logger: Logger) -> None:
    with pytest.raises(MlxpyError, match="no artifact type 'Pickle'; there are Checkpoint, image, json"):
        logger.log_artifact(1, "x", "Pickle")


def test_what_is_not_there(logger: Logger) -> None:
    with pytest.raises(FileNotFoundError, match="no artifact 'x' in"):
        logger.load_artifact("x")
    logger.log_artifact("t", "x", "text")
    with pytest.raises(FileNotFoundError, match="no artifact 'x' of type 'json'"):
        logger.load_artifact("x", "json")


def test_a_name_of_two_types_needs_its_type(logger: Logger) -> None:
    logger.log_artifact("t", "x", "text")
    logger.log_artifact([1], "x", "json")
    with pytest.raises(MlxpyError, match="exists as json and text: name one"):
        logger.load_artifact("x")
    assert logger.load_artifact("x", "json") == [1]


def test_a_registered_type_is_found_by_its_import_path(
    logger: Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_types.py").write_text(
        "import json\n"
        "def save(obj, path): path.write_text(json.dumps(sorted(obj)))\n"
        "def load(path): return set(json.loads(path.read_text()))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_types  # type: ignore[import-not-found]  # written above

    logger.register_artifact_type("set", my_types.save, my_types.load)
    logger.log_artifact({3, 1}, "numbers", "set")
    listed = Path(logger.log_dir, ".keys", "artifact_types.yaml").read_text()
    assert listed == "set:\n  save: my_types:save\n  load: my_types:load\n"
    assert again(logger).load_artifact("numbers") == {1, 3}
    monkeypatch.delitem(sys.modules, "my_types")


def test_functions_without_an_import_path_must_be_registered_again(logger: Logger) -> None:
    def save(obj: Any, path: Path) -> None:
        path.write_text(json.dumps(obj))

    logger.register_artifact_type("mine", save, lambda path: json.loads(path.read_text()))
    logger.log_artifact([1], "x", "mine")
    assert logger.load_artifact("x") == [1]
    later = again(logger)
    with pytest.raises(MlxpyError, match=r"call register_artifact_type\('mine', save, load\) first"):
        later.load_artifact("x")
    later.register_artifact_type("mine", save, lambda path: json.loads(path.read_text()))
    assert later.load_artifact("x") == [1]


def test_a_built_in_type_cannot_be_taken(logger: Logger) -> None:
    with pytest.raises(MlxpyError, match="'json' is built in"):
        logger.register_artifact_type("json", print, print)


def test_a_save_that_writes_nothing_is_told(logger: Logger) -> None:
    logger.register_artifact_type("nothing", lambda obj, path: None, lambda path: None)
    with pytest.raises(MlxpyError, match="wrote no file at that path"):
        logger.log_artifact(1, "x", "nothing")


def test_a_full_disk_leaves_the_old_artifact(logger: Logger) -> None:
    logger.log_artifact("old", "x", "text")
    refused = pytest.raises(StorageError, match=r"cannot write .*x\.txt: File too large")
    with file_size_limit(1000), refused:
        logger.log_artifact("y" * 10_000, "x", "text")
    assert logger.load_artifact("x") == "old"
    assert not list(Path(logger.log_dir).rglob(".mlxpy-tmp-*"))
