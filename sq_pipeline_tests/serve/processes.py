"""`sq-pipeline serve` in a process of its own, with the real engine."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from sq_pipeline.common.layout import DataDir
from sq_pipeline.serve.client import RenderClient, ServerGoneError, open_client

_START_S = 60.0


@contextmanager
def server_process(data: DataDir, log: IO[str] | int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
    """A server that answers; it is stopped, and must end well, when the block ends."""
    command = [sys.executable, "-c", "from sq_pipeline.cli import main; main()", "serve", "--data", str(data.root)]
    process = subprocess.Popen(command, stderr=log, text=True)
    try:
        join(data, process).close()
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def join(data: DataDir, process: subprocess.Popen[str]) -> RenderClient:
    """A client, as soon as the server answers."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(ServerGoneError):
            if (opened := open_client(data)) is not None:
                return opened[0]
        time.sleep(0.05)
    raise AssertionError(f"no server came up (exit code {process.poll()})")
