"""However `ui`, `serve`, `gallery` and `run` end, nothing of theirs is left, and the next start works."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.processes.asked_to_end import INTERRUPTED_LINE
from sq_pipeline.pipeline.gallery_address import gallery_address
from sq_pipeline.serve.client import ServerGoneError, open_client
from sq_pipeline.training.checkpoint_folders import last_checkpoint
from sq_pipeline_tests.cases.recipes import build_data
from sq_pipeline_tests.conftest import link_shipped
from sq_pipeline_tests.end_to_end.conftest import COMMAND
from sq_pipeline_tests.pages import START_S, Pages, free_port, is_listening, wait
from sq_pipeline_tests.pipeline.fast import chapter, poi, write_yaml

pytestmark = [
    pytest.mark.long,
    pytest.mark.takes(s=90),
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc"),
]

_LIMIT_S = 15


@pytest.fixture
def data(tmp_path: Path, shipped: DataDir) -> DataDir:
    """A world of one place, without an adapter."""
    data = link_shipped(tmp_path / "data", shipped)
    write_yaml(data.genre_root("west") / "visual_style.yaml", {"positive_suffix": "wide"})
    write_yaml(data.genre_root("west") / "worlds/old/history.yaml", {"chapters": [chapter(poi("Mill"))]})
    return data


def _processes(data: DataDir, file: str = "cmdline") -> Iterator[tuple[int, str]]:
    """Processes over this data directory, by what they were started with, and what `file` in /proc says of each."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = process.joinpath("cmdline").read_bytes()
            told = line.replace(b"\0", b" ") + process.joinpath("environ").read_bytes()
            if str(data.root).encode() in told and int(process.name) != os.getpid():
                said = process.joinpath(file).read_bytes().replace(b"\0", b" ")
                yield int(process.name), said.decode(errors="replace")
        except OSError:
            continue


def _left(data: DataDir) -> list[str]:
    """Command lines of processes over this data directory."""
    return [line for _, line in _processes(data)]


def _is_over(data: DataDir) -> Callable[[], bool]:
    return lambda: not _left(data)


@pytest.fixture(autouse=True)
def _hears_hanging_up() -> Iterator[None]:
    """What these tests start inherits it: tests that run under `nohup` ignore it, those in the background Ctrl-C."""
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT)}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def _started(data: DataDir, *command: str) -> Iterator["subprocess.Popen[Any]"]:
    log = (data.root.parent / f"{time.monotonic_ns()}.log").open("w")
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def _ui(data: DataDir, port: int, *more: str) -> list[str]:
    return [COMMAND, "ui", "--data", str(data.root), "--port", str(port), *more]


def _gallery_port(data: DataDir, port: int) -> int:
    """That of the gallery, by the one line that `ui` has said."""
    said = re.fullmatch(rf"Dagster: http://127\.0\.0\.1:{port} · gallery: (http://127\.0\.0\.1:(\d+)/)\n", _said(data))
    assert said is not None, _said(data)
    assert gallery_address(data) in (said[1], None)
    return int(said[2])


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGINT],
    ids=["11-term-ui", "11-hangup-ui", "11-kill-ui", "ctrl-c"],
)
def test_nothing_of_the_pages_outlives_them(data: DataDir, number: signal.Signals) -> None:
    """A second one is refused meanwhile: 11-second-ui and 11-second-ui-other-port"""
    port = free_port()
    with _started(data, *_ui(data, port)) as process:
        wait(Pages(f"http://127.0.0.1:{port}").is_ready, START_S, "the web server")
        wait(lambda: bool(_said(data)), START_S, "its address")
        assert len(_left(data)) > 4
        gallery = _gallery_port(data, port)
        assert gallery_address(data) is not None
        wait(lambda: _is_shown(gallery), START_S, "the gallery")
        if number is signal.SIGTERM:
            for other in (free_port(), port):
                second = subprocess.run(_ui(data, other), capture_output=True, text=True, timeout=_LIMIT_S)
                assert second.returncode == 1
                assert f"is already open at http://127.0.0.1:{port}" in second.stderr
            assert is_listening(port)
        process.send_signal(number)
        process.wait(timeout=_LIMIT_S)
        wait(_is_over(data), _LIMIT_S, "the end of all of it")
        assert not is_listening(port)
        assert not is_listening(gallery)
    assert _gallery_port(data, port) == gallery
    assert (gallery_address(data) is None) == (number is not signal.SIGKILL)


@pytest.mark.parametrize("more", [("--no-gallery",), ()], ids=["left out", "cannot start"])
def test_the_pages_are_there_without_a_gallery(data: DataDir, more: tuple[str, ...]) -> None:
    port = free_port()
    log = data.dagster_home / "gallery.log"
    if not more:
        log.mkdir(parents=True)  # where its words are to be kept
    data.gallery_note.parent.mkdir(exist_ok=True)
    data.gallery_note.write_text("http://127.0.0.1:1/\n")  # left by one that was killed
    with _started(data, *_ui(data, port, *more)) as process:
        wait(lambda: bool(_said(data)), START_S, "its address")
        wait(Pages(f"http://127.0.0.1:{port}").is_ready, START_S, "the web server")
        assert gallery_address(data) is None
        assert not [line for line in _left(data) if " gallery " in line]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=_LIMIT_S) == 0
    said = _said(data)
    assert said.startswith(f"Dagster: http://127.0.0.1:{port}")
    assert said.count("\n") == 1
    assert (f" · no gallery: {log}: " in said) == (not more)


def test_a_gallery_that_ends_by_itself_is_told_and_the_pages_go_on(data: DataDir) -> None:
    port = free_port()
    with _started(data, *_ui(data, port)) as process:
        wait(lambda: bool(_said(data)), START_S, "its address")
        gallery = _gallery_port(data, port)
        (child,) = [pid for pid, line in _processes(data) if " gallery " in line]
        os.kill(child, signal.SIGKILL)
        wait(lambda: _said(data).count("\n") > 1, START_S, "words of it")
        assert _said(data).splitlines()[1].startswith("the gallery ended by itself (ended by SIGKILL")
        assert gallery_address(data) is None
        wait(lambda: not is_listening(gallery), _LIMIT_S, "its port")
        assert is_listening(port)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=_LIMIT_S) == 0
        assert _said(data).count("\n") == 2


# until when to wait, of the file that is loaded or of the child's words; the exit code
_MOMENTS = {
    "while the commands are loaded": (("maps", "pydantic_core"), 130),
    "while Dagster is loaded": (("cmdline", "-m dagster dev"), 0),
    "while Dagster starts its servers": (("cmdline", "dagster code-server start"), 0),
}


@pytest.mark.parametrize("moment", _MOMENTS)
def test_ctrl_c_right_after_the_start_ends_the_pages_quietly(data: DataDir, moment: str) -> None:
    (file, words), code = _MOMENTS[moment]
    port = free_port()
    with _started(data, *_ui(data, port)) as process:
        until = time.monotonic() + START_S
        while not any(words in line for _, line in _processes(data, file)):  # sooner than `wait` looks
            assert time.monotonic() < until
        assert process.poll() is None
        assert _said(data) == ""
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=_LIMIT_S) == code
        wait(_is_over(data), _LIMIT_S, "the end of all of it")
        assert not is_listening(port)
    assert _said(data) == (INTERRUPTED_LINE if code else "")


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL], ids=["term", "hangup", "ctrl-c", "kill"]
)
def test_nothing_of_the_server_outlives_it(data: DataDir, number: signal.Signals) -> None:
    with _started(data, COMMAND, "serve", "--data", str(data.root), "--quiet") as process:
        wait(lambda: _answers(data), START_S, "the server")
        process.send_signal(number)
        process.wait(timeout=_LIMIT_S)
        wait(_is_over(data), _LIMIT_S, "the end of all of it")
    assert not _answers(data)
    is_told = number is signal.SIGKILL  # nobody asked for it
    assert _said(data).count("\n") == is_told
    assert ("SIGKILL" in _said(data)) == is_told


def _answers(data: DataDir) -> bool:
    try:
        opened = open_client(data)
    except ServerGoneError:
        return False
    if opened is not None:
        opened[0].close()
    return opened is not None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_a_training_within_ends_with_the_pages_and_is_gone_on_with(
    tmp_path: Path, shipped: DataDir, number: signal.Signals
) -> None:
    data = DataDir(tmp_path / "data")
    build_data(data.root, shipped.root, {"iterations": 4000})
    port = free_port()
    with _started(data, *_ui(data, port)) as process:
        pages = Pages(f"http://127.0.0.1:{port}")
        wait(pages.is_ready, START_S, "the web server")
        pages.materialize(*(f"west/loras/west_landscape/{name}" for name in ("training_dataset", "mlx_adapter")))
        wait(lambda: _has_checkpoint(data), START_S, "a checkpoint")
        process.send_signal(number)
        process.wait(timeout=_LIMIT_S)
        wait(_is_over(data), _LIMIT_S, "the end of all of it")
        assert not is_listening(port)
    told = subprocess.run([COMMAND, "plan", "--json", "--data", data.root], capture_output=True, text=True).stdout
    assert "goes on after iteration" in told


def _has_checkpoint(data: DataDir) -> bool:
    return any(last_checkpoint(data, folder.name) for folder in data.checkpoints_root.glob("*"))


def _said(data: DataDir) -> str:
    (log,) = data.root.parent.glob("*.log")
    return log.read_text()


def _is_shown(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/overview", timeout=5) as answer:
            return bool(json.load(answer)["groups"])
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_nothing_of_the_gallery_outlives_it(data: DataDir, number: signal.Signals) -> None:
    """While a browser holds connections open, and another gallery is up beside it."""
    port = free_port()
    with _started(data, COMMAND, "gallery", "--data", str(data.root), "--port", str(port)) as process:
        wait(lambda: _is_shown(port), START_S, "the gallery")
        if number is signal.SIGTERM:
            log = next(data.root.parent.glob("*.log"))
            assert log.read_text() == f"the gallery is at http://127.0.0.1:{port}/ (Ctrl-C stops it)\n"
        with socket.create_connection(("127.0.0.1", port)) as held:
            held.sendall(b"GET /api/overview HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert held.recv(15) == b"HTTP/1.1 200 OK"
            process.send_signal(number)
            code = process.wait(timeout=_LIMIT_S)
        assert code == (0 if number is not signal.SIGKILL else -signal.SIGKILL)
        wait(_is_over(data), _LIMIT_S, "the end of all of it")
        assert not is_listening(port)


def test_a_gallery_says_that_its_port_is_taken_and_takes_another_where_none_was_named(data: DataDir) -> None:
    port = free_port()
    command = [COMMAND, "gallery", "--data", str(data.root)]
    with _started(data, *command, "--port", str(port)):
        wait(lambda: _is_shown(port), START_S, "the gallery")
        second = subprocess.run([*command, "--port", str(port)], capture_output=True, text=True, timeout=60)
        assert (second.returncode, "Traceback" in second.stderr) == (1, False)
        assert f"port {port} cannot be had" in second.stderr
        assert "--port 0" in second.stderr
    with _started(data, *command), _started(data, *command):
        wait(lambda: all("is at" in log.read_text() for log in _newest(data, 2)), START_S, "both")
        assert len({log.read_text() for log in _newest(data, 2)}) == 2


def _newest(data: DataDir, count: int) -> list[Path]:
    return sorted(data.root.parent.glob("*.log"))[-count:]


@pytest.mark.parametrize("command", ["ui", "serve", "gallery"])
def test_what_a_killed_shell_started_ends(data: DataDir, command: str) -> None:
    """11-parent-killed"""
    port = free_port()
    more = f"--port {port}" if command != "serve" else ""
    with _started(data, "/bin/sh", "-c", f"{COMMAND} {command} --data '{data.root}' {more} & wait") as shell:
        if command == "ui":
            wait(Pages(f"http://127.0.0.1:{port}").is_ready, START_S, "the web server")
        elif command == "gallery":
            wait(lambda: _is_shown(port), START_S, "the gallery")
        else:
            wait(lambda: bool(list(data.store_root.glob("serve/*.sock*"))) or _is_serving(data), START_S, "the server")
        shell.send_signal(signal.SIGKILL)
        shell.wait()
        wait(_is_over(data), _LIMIT_S, "the end of all of it")


def _is_serving(data: DataDir) -> bool:
    return any("serves renders of" in log.read_text() for log in data.root.parent.glob("*.log"))


def test_a_port_that_is_taken_is_said(data: DataDir) -> None:
    """11-port-busy"""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = subprocess.run(_ui(data, port), capture_output=True, text=True, timeout=_LIMIT_S)
    assert told.returncode == 1
    assert f"port {port} cannot be had" in told.stderr
    assert "--port" in told.stderr
    assert _left(data) == []


def test_a_run_that_was_killed_is_gone_on_with(data: DataDir) -> None:
    """11-run-kill"""
    write_yaml(data.settings_file, {"tiers": {"landscape": {"num_inference_steps": 200}}})
    run = [COMMAND, "run", "--data", str(data.root)]
    with _started(data, *run) as process:
        log = next(data.root.parent.glob("*.log"))
        wait(lambda: "rendered in process" in log.read_text(), START_S, "the first picture")
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait(_is_over(data), _LIMIT_S, "the end of all of it")
    assert not data.published_image("west", "landscape", "mill").exists()
    again = subprocess.run(run, capture_output=True, text=True)
    assert (again.returncode, "Traceback" in again.stderr) == (0, False), again.stderr
    assert "1 rendered" in again.stdout
    assert data.published_image("west", "landscape", "mill").is_file()


def test_a_process_without_its_parent_is_asked_to_end_and_one_that_ignores_hanging_up_is_not(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import signal, sys, time\n"
        "if sys.argv[1] == 'nohup': signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from sq_pipeline.cli.parents import end_with_parent\n"
        "end_with_parent()\n"
        "open(sys.argv[2], 'w').close()\n"
        "time.sleep(4)\n"
        "open(sys.argv[2] + '.lived', 'w').close()\n"
    )
    for how, lives in (("plain", False), ("nohup", True)):
        mark = tmp_path / how
        shell = subprocess.Popen(["/bin/sh", "-c", f"{sys.executable} {program} {how} {mark} & wait"])
        wait(mark.exists, 30, "the program")
        shell.kill()
        shell.wait()
        time.sleep(6)
        assert Path(f"{mark}.lived").exists() == lives
