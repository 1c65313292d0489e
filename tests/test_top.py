"""``mlxpy top``, on runs under way: by textual's pilot, in a terminal, and in tmux on a Slurm sweep."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from conftest import MLXPY, Project, need_cluster, one_at_a_time, wait_until
from test_second_tries import Queue

import mlxpy

pytest.importorskip("textual", reason="textual is not installed: pip install 'mlxpy[top]'")
pytest.importorskip(
    "textual_plotext", reason="textual-plotext is not installed: pip install 'mlxpy[top]'"
)

from mlxpy_core._top import Runs, TopApp
from mlxpy_core._top._growing_file import GrowingFile
from mlxpy_core._top._live_run import is_finite

WAIT_S = 20

# Says what it is told to on standard input, a line each, until that ends.
PROGRAM = """
import sys
import mlxpy

with mlxpy.Logger("logs", config={"lr": float(sys.argv[1]), "epochs": 4}, log_streams_to_file=True) as logger:
    print("begun", flush=True)
    for line in sys.stdin:
        eval(line)
        sys.stdout.flush()
"""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has it look as often as it can."""
    monkeypatch.setattr("mlxpy_core._top._watcher._LOOK_S", 0.05)
    monkeypatch.setattr("mlxpy_core._top._watcher._REFRESH_S", 0.1)
    monkeypatch.setattr("mlxpy_core._top._watcher._SHARE", 1.0)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A directory of three runs that have ended."""
    for number, name in enumerate(("adam", "sgd", "adam")):
        with mlxpy.Logger(
            tmp_path / "logs", config={"opt": name, "lr": 0.1**number, "epochs": 4}
        ) as logger:
            for epoch in range(1 + number):
                logger.log_metrics({"loss": number + 1 / (epoch + 1), "epoch": epoch}, "train")
                logger.log_metrics({"score": epoch}, "val")
    return tmp_path / "logs"


@contextlib.contextmanager
def program(project: Project, lr: float = 0.1) -> Iterator[Callable[[str], None]]:
    """Runs the program; yields what tells it a line."""
    project.write("program.py", PROGRAM)
    process = project.start("program.py", str(lr), stdin=subprocess.PIPE)

    def tell(line: str) -> None:
        assert process.stdin
        process.stdin.write(line + "\n")
        process.stdin.flush()

    try:
        yield tell
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.communicate(timeout=WAIT_S)


class Screen:
    """The app's screen, and the keys before it."""

    def __init__(self, app: TopApp, pilot: Any) -> None:
        self.app = app
        self._pilot = pilot

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def type(self, text: str) -> None:
        await self._pilot.press(*(one for one in text))

    @property
    def text(self) -> str:
        return "\n".join(strip.text for strip in self.app.screen._compositor.render_strips())

    @property
    def rows(self) -> list[str]:
        """The lines of the table that show a run."""
        return [line for line in self.text.splitlines() if re.match(r" *\*?\d+  [A-Z]+ ", line)]

    async def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end, self.text
            await self._pilot.pause(0.02)

    async def shows(self, *texts: str) -> None:
        """Waits until all of these are on the screen."""
        await self.until(lambda: all(text in self.text for text in texts))

    async def shows_no(self, text: str) -> None:
        await self.until(lambda: text not in self.text)


def watch(
    logs: Path,
    steps: Callable[[Screen], Awaitable[None]],
    query: str = "",
    size: tuple[int, int] = (80, 24),
    metric: str | None = None,
) -> TopApp:
    app = TopApp(Runs(logs, query, metric))

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await steps(Screen(app, pilot))

    asyncio.run(run())
    return app


def test_a_row_tells_how_a_run_stands(logs: Path) -> None:
    async def steps(screen: Screen) -> None:
        await screen.shows("3 runs  3 COMPLETE", "25%", "50%", "75%", "▁")
        first, _, third = screen.rows
        assert re.match(r"  3  COMPLETE +- +██████░░  75% +2.3333  █▃▁ ", first)
        assert re.match(r"  1  COMPLETE +- +██░░░░░░  25% +1  ▄ ", third)
        await screen.shows("train.loss", "a archive q quit")

    watch(logs, steps, metric="train.loss")


def test_80_columns_are_enough_and_wider_ones_show_settings(logs: Path) -> None:
    async def narrow(screen: Screen) -> None:
        await screen.shows("75%", "q quit")
        assert max(map(len, screen.text.splitlines())) == 80

    async def wide(screen: Screen) -> None:
        await screen.shows("config.lr", "config.opt", "adam", "sgd", "0.01")

    watch(logs, narrow)
    watch(logs, wide, size=(140, 30))


def test_rows_appear_change_and_end(project: Project) -> None:
    (project.path / "logs").mkdir()

    async def steps(screen: Screen) -> None:
        await screen.shows("0 runs")
        with program(project) as tell:
            await screen.shows("1 run  1 RUNNING")
            tell("logger.progress(1, 4)")
            await screen.shows("██░░░░░░  25%")
            tell("logger.log_metrics({'loss': 0.5}, 'train')")
            await screen.shows("0.5  ▄")
            tell("logger.log_metrics({'loss': 0.25}, 'train')")
            await screen.shows("0.25  █▁")
        await screen.shows("1 run  1 COMPLETE")

    watch(project.path / "logs", steps)


def test_the_epoch_is_progress_where_the_config_says_how_many(project: Project) -> None:
    (project.path / "logs").mkdir()

    async def steps(screen: Screen) -> None:
        with program(project) as tell:
            tell("logger.log_metrics({'epoch': 0}, 'train')")
            await screen.shows(" 25%")
            tell("logger.log_metrics({'epoch': 1}, 'train')")
            await screen.shows(" 50%")

    watch(project.path / "logs", steps)


def test_a_killed_run_and_a_removed_one(project: Project) -> None:
    (project.path / "logs").mkdir()

    async def steps(screen: Screen) -> None:
        with program(project) as tell:
            await screen.shows("1 RUNNING")
            await screen.press("enter")
            await screen.shows("run 1  RUNNING")
            tell("__import__('os').kill(__import__('os').getpid(), 9)")
            await screen.shows("run 1  KILLED")
        shutil.rmtree(project.path / "logs/1")
        await screen.shows("run 1 is gone")
        await screen.press("escape")
        await screen.shows("0 runs")

    watch(project.path / "logs", steps)


def test_a_query_filters_and_a_wrong_one_says_so_and_leaves_the_old_one(logs: Path) -> None:
    async def ask(screen: Screen, query: str) -> None:
        await screen.press("slash")
        screen.app.query_one("#prompt").value = query  # type: ignore[attr-defined]  # an Input
        await screen.press("enter")

    async def steps(screen: Screen) -> None:
        await screen.shows("1 run  (config.opt == 'sgd')")
        await ask(screen, "config.opt == 'adam'")
        await screen.shows("2 runs  (config.opt == 'adam')")
        await ask(screen, "config.opt = 3")
        await screen.shows("query", "2 runs  (config.opt == 'adam')")
        await screen.until(lambda: "config.opt = 3" in said(screen) or "'='" in said(screen))
        await ask(screen, "config.absent == 3")
        await screen.until(lambda: "no run has a field config.absent" in said(screen))
        assert "2 runs  (config.opt == 'adam')" in screen.text
        await ask(screen, "")
        await screen.shows("3 runs  3 COMPLETE")

    watch(logs, steps, "config.opt == 'sgd'")


def said(screen: Screen) -> str:
    return " ".join("\n".join(screen.text.splitlines()[-5:]).split())


def test_sorting_and_another_metric(logs: Path) -> None:
    async def steps(screen: Screen) -> None:
        def ids() -> list[int]:
            return [int(re.sub(r"\D.*", "", row.strip(" *"))) for row in screen.rows]

        await screen.until(lambda: ids() == [3, 2, 1])
        await screen.press("s", "down", "enter")
        await screen.until(lambda: ids() == [1, 2, 3])
        await screen.shows("id▲")
        await screen.press("s", "enter")
        await screen.until(lambda: ids() == [3, 2, 1])
        await screen.press("m")
        await screen.shows("val.score")
        names = screen.app._view.metrics
        await screen.press(*["down"] * names.index("val.score"), "enter")
        await screen.until(lambda: "score" in screen.text.splitlines()[1])

    watch(logs, steps, metric="train.loss")


def test_marked_runs_are_tagged_and_archived_after_a_question(logs: Path) -> None:
    async def steps(screen: Screen) -> None:
        await screen.shows("75%")
        await screen.press("space", "space")
        await screen.shows("*3  ", "*2  ")
        await screen.press("t")
        await screen.shows("tags of 2 runs")
        await screen.type("+good")
        await screen.press("enter")
        await screen.shows("Tagged runs 2 to 3.")
        await screen.press("a")
        await screen.shows("Archive?", "Runs 2 to 3")
        await screen.press("n")
        await screen.shows_no("Archive?")
        await screen.press("a")
        await screen.shows("Archive?")
        await screen.press("y")
        await screen.shows("1 run  1 COMPLETE")

    watch(logs, steps)
    reader = mlxpy.Reader(logs, archived=True)
    assert reader.search("'good' in info.tags & info.archived == True")["info.log_id"] == [2, 3]


def test_cancelling_asks_and_then_stops_the_process(project: Project) -> None:
    (project.path / "logs").mkdir()

    async def steps(screen: Screen) -> None:
        with program(project):
            await screen.shows("1 RUNNING")
            await screen.press("c")
            await screen.shows("Run 1: process", "Cancel?")
            await screen.press("escape")
            await screen.shows_no("Cancel?")
            assert project.statuses() == ["RUNNING"]
            await screen.press("c")
            await screen.shows("Cancel?")
            await screen.press("y")
            await screen.shows("1 INTERRUPTED")

    watch(project.path / "logs", steps)


def test_what_ran_here_goes_on_by_the_command(logs: Path) -> None:
    with contextlib.suppress(ValueError), mlxpy.Logger(logs):
        raise ValueError("as asked")

    async def steps(screen: Screen) -> None:
        await screen.shows("1 FAILED")
        await screen.press("r")
        await screen.until(lambda: "mlxpy resubmit 4" in said(screen))

    watch(logs, steps)


def test_a_run_has_its_curves_settings_and_output(project: Project) -> None:
    (project.path / "logs").mkdir()

    async def steps(screen: Screen) -> None:
        with program(project, 0.1), program(project, 0.2) as tell:
            await screen.shows("2 RUNNING")
            for value in (4, 2, 1):
                tell(f"logger.log_metrics({{'loss': {value}}}, 'train')")
            await screen.shows("█")
            log_id = mlxpy.Reader(project.path / "logs").search("config.lr == 0.2")["info.log_id"][0]
            if screen.app._table.current != log_id:
                await screen.press("down")
            await screen.press("enter")
            await screen.shows(
                f"run {log_id}  RUNNING", "train.loss", "config.lr = 0.2", "log.stdout", "begun"
            )
            tell("print('\\r 10%\\r 20%\\nlater')")
            await screen.shows("20%", "later")
            assert "10%" not in screen.text
            await screen.press("l")
            await screen.shows("log.stderr")
            await screen.press("escape")
            await screen.shows("2 runs")

    watch(project.path / "logs", steps)


def test_what_a_curve_can_show() -> None:
    values = [1, -0.5, 10**300, 10**400, -(10**400), float("inf"), float("nan"), True, "1", None]
    assert [value for value in values if is_finite(value)] == values[:3]


def test_of_a_file_only_what_is_new_is_read(tmp_path: Path) -> None:
    path = tmp_path / "1" / "train.json"
    path.parent.mkdir()
    file = GrowingFile(path, tmp_path, tail=6)
    assert file.new_lines() == (b"", False, False)
    path.write_text("one\ntwo\nx\nthr")
    assert file.new_lines() == (b"x\n", True, True)
    assert file.rest == b"thr"
    with open(path, "a") as added:
        added.write("ee\nfour\n")
    assert file.new_lines() == (b"three\nfour\n", False, False)
    assert file.new_lines() == (b"", False, False)
    path.with_suffix(".new").write_text("other\n")
    os.replace(path.with_suffix(".new"), path)
    assert file.new_lines() == (b"other\n", True, False)
    path.unlink()
    assert file.new_lines() == (b"", False, False)


EVIL = "[red]x[/red] \x1b]0;title\x07\x1b[31m\x1b[2J"


def test_values_of_runs_are_shown_and_never_obeyed(project: Project) -> None:
    logs = project.path / "logs"
    project.write(
        "program.py",
        f"""
        import mlxpy
        evil = {EVIL!r}
        for number in range(2):
            try:
                with mlxpy.Logger("logs", config={{"evil": evil + str(number), evil: number}}, log_streams_to_file=True) as logger:
                    logger.log_metrics({{evil: evil}}, "train")
                    print(evil, flush=True)
                    raise ValueError(evil)
            except ValueError:
                pass
        """,
    )
    project.run("program.py")
    project.mlxpy("note", "2", EVIL)

    async def steps(screen: Screen) -> None:
        await screen.shows("2 FAILED", "[red]x")
        texts = [screen.text]
        await screen.press("s")
        await screen.shows("sort by")
        texts.append(screen.text)
        await screen.press("escape", "m")
        await screen.shows("train")
        texts.append(screen.text)
        await screen.press("escape", "enter")
        await screen.shows("run 2  FAILED", "[red]x[/red]", r"\x1b]0;title", "ValueError")
        texts.append(screen.text)
        for text in texts:
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)

    watch(logs, steps, size=(140, 40))
    for command in (["ls"], ["ls", "-c", "config.evil"], ["show", "2"], ["logs", "2"]):
        shown = in_terminal(project, [MLXPY, *command])
        assert r"\x1b]0;title" in shown
        assert "\x1b]" not in shown
        assert "\x1b[2J" not in shown
        assert "[/red]" in shown


def in_terminal(project: Project, command: list[str]) -> str:
    """Gives what a command prints in a terminal of many columns, to its end."""
    child = pexpect.spawn(
        command[0], command[1:], cwd=str(project.path), dimensions=(40, 300), timeout=WAIT_S
    )
    child.expect(pexpect.EOF)
    shown: str = child.before.decode()
    return shown


# In a terminal.


def spawn(project: Project, *words: str, **environment: str) -> Any:
    return pexpect.spawn(
        MLXPY,
        ["top", *words],
        cwd=str(project.path),
        env={**os.environ, "TERM": "xterm-256color", **environment},
        dimensions=(24, 80),
        timeout=WAIT_S,
    )


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda child: child.send("\x03"), 130),
        (lambda child: child.kill(signal.SIGTERM), 143),
    ],
    ids=["ctrl-c", "sigterm"],
)
def test_it_ends_cleanly(project: Project, logs: Path, send: Callable[[Any], None], code: int) -> None:
    child = spawn(project)
    child.expect("3 runs")
    child.expect("archive")
    send(child)
    child.expect(r"\x1b\[\?1049l")  # back from the alternate screen
    child.expect(pexpect.EOF)
    child.close()
    assert (child.exitstatus, child.signalstatus) == (code, None)


def test_no_color_and_an_end_by_q(project: Project, logs: Path) -> None:
    child = spawn(project, NO_COLOR="1")
    child.expect("archive")
    child.send("q")
    shown = child.before + child.after
    child.expect(pexpect.EOF)
    shown += child.before
    assert b"COMPLETE" in shown
    colors = re.findall(rb"\x1b\[(?:\d+;)*(?:3[0-7]|38|4[0-7]|48|9[0-7]|10[0-7])(?:;\d+)*m", shown)
    assert not colors
    child.close()
    assert (child.exitstatus, child.signalstatus) == (0, None)


@pytest.mark.parametrize(
    ("words", "environment", "sentence"),
    [
        ([], {"TERM": "dumb"}, "mlxpy top cannot draw in this terminal (TERM): mlxpy ls prints a table"),
        (["--logs", "absent"], {}, "absent': give --logs DIR"),
        (["config.a ="], {}, "Error: "),
        (["config.absent == 1"], {}, "no run has a field config.absent"),
        (["--metric", "absent"], {}, "absent"),
    ],
    ids=["dumb", "no directory", "malformed", "no field", "no metric"],
)
def test_what_cannot_be_shown_is_said_in_a_sentence(
    project: Project, logs: Path, words: list[str], environment: dict[str, str], sentence: str
) -> None:
    child = spawn(project, *words, **environment)
    child.expect(pexpect.EOF)
    child.close()
    shown = " ".join(child.before.decode().split())
    assert sentence in shown
    assert "Traceback" not in shown
    assert "\x1b[?1049h" not in shown
    assert child.exitstatus == 1


def test_no_terminal(project: Project, logs: Path) -> None:
    _, error = project.mlxpy("top", exit_code=1)
    assert error == "Error: mlxpy top needs a terminal: mlxpy ls and mlxpy status print what runs do\n"


def test_no_textual(project: Project, logs: Path) -> None:
    program = (
        "import sys; sys.modules['textual'] = None; from mlxpy_core._cli import main; main(['top'])"
    )
    shown = in_terminal(project, [sys.executable, "-c", program])
    assert " ".join(shown.split()) == "Error: mlxpy top needs textual: pip install 'mlxpy[top]'"


# In tmux, on a real sweep.


class Tmux:
    """A terminal in tmux."""

    def __init__(self, name: str) -> None:
        self._tmux = ["tmux", "-L", name, "-f", "/dev/null"]

    def start(self, project: Project, *command: str) -> None:
        words = ["new-session", "-d", "-x", "80", "-y", "24", *command]
        subprocess.run([*self._tmux, *words], cwd=project.path, check=True)
        self.tell("set-option", "-g", "remain-on-exit", "on")

    def tell(self, *words: str) -> str:
        done = subprocess.run([*self._tmux, *words], capture_output=True, text=True, check=True)
        return done.stdout

    def press(self, *keys: str) -> None:
        self.tell("send-keys", *keys)

    @property
    def text(self) -> str:
        return self.tell("capture-pane", "-p")

    def shows(self, *texts: str) -> None:
        wait_until(lambda: all(text in self.text for text in texts), 120, lambda: self.text)

    def stop(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)


@pytest.fixture
def tmux(request: pytest.FixtureRequest) -> Iterator[Tmux]:
    if not shutil.which("tmux"):
        pytest.skip("no tmux on this machine")
    terminal = Tmux(f"mlxpy-{os.getpid()}")
    yield terminal
    terminal.stop()


def test_a_slurm_sweep_in_tmux(app: Project, tmux: Tmux) -> None:
    need_cluster("slurm")
    with one_at_a_time("top"):
        overrides = [
            "hydra/callbacks=mlxp_logger",
            "hydra/launcher=mlxp_slurm",
            "lr=0.1,0.2,0.3",
            "seconds=600",
        ]
        app.run("main.py", "-m", 'hydra.launcher.option_cmd=["--time=20:00"]', *overrides)
        tmux.start(app, MLXPY, "top")
        try:
            tmux.shows("3 runs", "RUNNING", " left")
            tmux.press("*")
            tmux.shows("*1  ", "*2  ", "*3  ")
            tmux.press("c")
            tmux.shows("3 jobs", "Cancel?")
            tmux.press("y")
            tmux.shows("3 INTERRUPTED")
            tmux.press("*")
            tmux.press("r")
            tmux.shows("Resubmit?")
            tmux.press("y")
            tmux.shows("Submitted run ", "RUNNING")
            assert sorted(app.statuses())[:2] == ["INTERRUPTED"] * 2
            tmux.press("Enter")
            tmux.shows("RUNNING", "config.lr = ", "log.stdout", "lr is")
            tmux.press("C-c")
            wait_until(
                lambda: tmux.tell("display", "-p", "#{pane_dead} #{pane_dead_status}") == "1 130\n"
            )
        finally:
            app.mlxpy("cancel", "1-3", "--yes")


def test_runs_with_tries_left_are_submitted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(tmp_path)
    queue.submit("hydra.launcher.retries={NODE_FAIL: 1}", "+x=1")
    monkeypatch.setenv("PATH", queue.environment["PATH"])
    runs = Runs(queue.path / "logs", retry=True)
    queue.end("NODE_FAIL|0")
    runs.refresh()
    assert "submitted again: run 1" in runs.view().troubles
    assert queue.info(1)["retries"] == {"NODE_FAIL": 1}
    runs.refresh()  # that was its last try
    assert "submitted again: run 1" not in runs.view().troubles
