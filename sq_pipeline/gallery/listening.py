"""The port of the gallery, and its end: however it is asked to end, nothing of it is left. Not here: its answers."""

import errno
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from sq_pipeline.common.errors import Fault, SelectionError
from sq_pipeline.common.hints import option
from sq_pipeline.common.processes.asked_to_end import heard

HOST = "127.0.0.1"
DEFAULT_PORT = 3010
_TRIES = 20  # ports after the default one
_GRACE_S = 3  # for answers that are under way
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def take_port(port: int | None) -> socket.socket:
    """A socket at this port of this machine; 0 for any that is free, None for the usual one or the next free one.

    Raises SelectionError where it cannot be had.
    """
    ports = range(DEFAULT_PORT, DEFAULT_PORT + _TRIES) if port is None else (port,)
    last: OSError | None = None
    for wanted in ports:
        taken = socket.socket()
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((HOST, wanted))
            taken.listen(128)
            return taken
        except OSError as error:
            taken.close()
            last = error
            if error.errno != errno.EADDRINUSE:
                break
    assert last is not None
    problem = f"port {ports[0]} cannot be had ({last.strerror})"
    raise SelectionError(Fault("", "--port", problem, f"name another with `{option('gallery', '--port', '0')}`"))


class _Server(uvicorn.Server):
    """One whose signals are ours."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Every signal that asks to end ends it in order, a second one at once; one that is ignored stays so."""

        def end(_number: int, _frame: FrameType | None) -> None:
            self.force_exit = self.should_exit
            self.should_exit = True

        with heard(_SIGNALS, end):
            yield


def answer_until_asked_to_end(app: ASGIApp, taken: socket.socket, when_ready: Callable[[], None]) -> None:
    """Serve at a socket until SIGINT, SIGTERM or SIGHUP; the port is free when it returns."""

    class _Told(_Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            when_ready()

    config = uvicorn.Config(
        app, lifespan="off", ws="none", log_level="warning", access_log=False, server_header=False,
        timeout_graceful_shutdown=_GRACE_S, timeout_keep_alive=30,
    )  # fmt: skip
    try:
        _Told(config).run([taken])
    finally:
        taken.close()
