"""The gallery beside Dagster's pages: the command `gallery` as a child of `ui`, which ends with it.

Here: its port, whether it came up, what is said of it. Not here: the command (`gallery_command`).
"""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.processes.guarded_process import CannotStart, GuardedProcess, result_of, run_guarded
from sq_pipeline.pipeline.gallery_address import forget_gallery, told_as_gallery

READY = "the gallery is at "  # how the command's line begins
_LOG = "gallery.log"  # in Dagster's folder: all that it says, since the last start
_START_S = 60


class GalleryBeside:
    """A gallery that was started, or the reason why there is none."""

    def __init__(self, data: DataDir, address: str, log: Path, process: GuardedProcess | None, problem: str) -> None:
        self._data, self._address, self._log = data, address, log
        self._process, self._problem = process, problem
        self._is_up, self._until = False, time.monotonic() + _START_S

    def told(self) -> str | None:
        """Its address, or that there is none and why; None: it is about to come up."""
        self._look()
        if self._problem:
            return f"no gallery: {self._problem}"
        if self._is_up:
            return f"gallery: {self._address}"
        is_late = time.monotonic() > self._until
        return f"no gallery yet; what it says is in {self._log}" if is_late else None

    def ended(self) -> str | None:
        """Why one that was started runs no more, once."""
        was_running = self._process is not None
        self._look()
        is_news = was_running and self._process is None
        return f"the gallery ended by itself ({self._problem})" if is_news else None

    def ask_to_end(self) -> None:
        """Let it end meanwhile; who started it waits for that later."""
        if self._process is not None:
            self._process.ask_to_end()

    def _look(self) -> None:
        if self._process is None:
            return
        code = self._process.wait_for(0)
        if code is not None:
            self._process, self._is_up = None, False
            self._problem = result_of(code, self._log).last_words.removeprefix("error: ")
            forget_gallery(self._data)
        elif not self._is_up:
            self._is_up = READY in self._log.read_text(errors="replace")


@contextmanager
def gallery_beside(
    data: DataDir, folder: Path, environment: Mapping[str, str], port_of_pages: int
) -> Iterator[GalleryBeside]:
    """While the block runs, the gallery of `data` is up at a free port, and its address is in the store.

    It is started in `folder`, where its log is, too. Where it cannot start, the block runs all the same.
    """
    from sq_pipeline.gallery.listening import HOST

    process, problem, address, log = None, "", "", folder / _LOG
    with ExitStack() as stack:
        try:
            port = _free_port(port_of_pages)
            address = f"http://{HOST}:{port}/"
            command = [sys.executable, str(Path(sys.argv[0]).resolve()), "gallery"]
            command += ["--data", str(data.root.resolve()), "--port", str(port)]
            process = stack.enter_context(run_guarded(command, folder, environment, log))
            stack.enter_context(told_as_gallery(data, address))
        except (SqPipelineError, CannotStart) as error:
            problem = str(error)
        yield GalleryBeside(data, address, log, process, problem)


def _free_port(port_of_pages: int) -> int:
    """The usual one or the next free one, and not that of Dagster's pages, which are yet to take theirs."""
    from sq_pipeline.gallery.listening import take_port

    with take_port(None) as taken:
        port = int(taken.getsockname()[1])
        if port != port_of_pages:
            return port
        with take_port(None) as other:
            return int(other.getsockname()[1])
