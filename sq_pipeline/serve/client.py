"""The blocking client of a render server. Not here: when a run uses it (`serve.remote_renderer`)."""

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any

from sq_pipeline.common.layout import DataDir
from sq_pipeline.serve.protocol import PROTOCOL_VERSION, Code, LineCutter, ProtocolError, write_line
from sq_pipeline.serve.socket_place import connect, data_identity

ANSWER_S = 5.0  # for what needs no work
_PIECE_BYTES = 1 << 16
_WAITS = 8  # in which a time of silence is waited for


class ServerGoneError(Exception):
    """The server hung up, or said what is no answer."""


class ServerSilentError(ServerGoneError):
    """The server is there and says nothing: frozen, or at least of no use."""


class RenderClient:
    """One connection, one call at a time. Closing it lets the server drop what it asked for."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = self._read_lines()
        self._calls = 0
        self._silence_s: float | None = None
        self._silent_s = 0.0

    def __enter__(self) -> "RenderClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def ping(self, answer_s: float = ANSWER_S) -> dict[str, Any]:
        """Who the server is; raises ServerSilentError when it does not say so soon."""
        return self.call("ping", silence_s=answer_s)

    def call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        *,
        silence_s: float | None = None,
        on_alive: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """The result of a call, waited for however long it takes. Raises ProtocolError, ServerGoneError.

        `on_progress(step, steps)` and `on_alive` are called where `params` asks for it. With `silence_s` it raises
        ServerSilentError once the server has said nothing whole for so long: `params` must have it tell that it lives.
        """
        self._calls += 1
        self._silence_s, self._silent_s = silence_s, 0.0
        try:
            self._connection.settimeout(silence_s)
            self._connection.sendall(write_line({"id": self._calls, "method": method, "params": dict(params or {})}))
            for answer in self._lines:
                if answer.get("id") not in (self._calls, None):
                    continue
                self._silent_s = 0.0
                if "progress" in answer:
                    if on_progress is not None:
                        on_progress(answer["progress"]["step"], answer["progress"]["steps"])
                    continue
                if "alive" in answer:
                    if on_alive is not None:
                        on_alive(answer["alive"])
                    continue
                if "error" in answer:
                    code: Code = answer["error"]["code"]
                    raise ProtocolError(code, answer["error"]["message"], self._calls)
                return answer["result"]
        except TimeoutError as error:
            raise ServerSilentError(f"it has said nothing for {silence_s:g} s") from error
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise ServerGoneError(str(error) or "no answer") from error
        raise ServerGoneError("it hung up")

    def _read_lines(self) -> Iterator[dict[str, Any]]:
        cutter = LineCutter()
        while piece := self._receive():
            for line in cutter.feed(piece):
                try:
                    yield json.loads(line or b"")
                except ValueError as error:
                    raise ServerGoneError("it said what is no JSON") from error

    def _receive(self) -> bytes:
        """What comes next; raises TimeoutError once the time without a whole line is up.

        The time is that of our own waits: while this process, or the machine, sleeps, the server owes no word.
        """
        if self._silence_s is None:
            return self._connection.recv(_PIECE_BYTES)
        wait_s = self._silence_s / _WAITS
        self._connection.settimeout(wait_s)
        while self._silent_s < self._silence_s:
            since = time.monotonic()
            try:
                return self._connection.recv(_PIECE_BYTES)
            except TimeoutError:
                pass
            finally:
                self._silent_s += min(time.monotonic() - since, wait_s)
        raise TimeoutError


def open_client(data: DataDir, answer_s: float = ANSWER_S) -> tuple[RenderClient, dict[str, Any]] | None:
    """A connection to the data directory's server, and what it says of itself; None where there is none.

    A server of another data directory, whose socket came along in a copy, is none. Raises ServerGoneError where one
    took the connection and does not answer, or speaks another version of the protocol.
    """
    try:
        connection = connect(data, answer_s)
    except TimeoutError as error:
        raise ServerSilentError("it takes no more clients") from error
    if connection is None:
        return None
    client = RenderClient(connection)
    try:
        told = client.ping(answer_s)
        if told.get("data") != data_identity(data):
            client.close()
            return None
        if told.get("protocol") != PROTOCOL_VERSION:
            problem = f"process {told.get('pid')} speaks version {told.get('protocol')} of the protocol"
            raise ServerGoneError(f"{problem}, and this is {PROTOCOL_VERSION}: start it again")
    except ProtocolError as error:
        client.close()
        raise ServerGoneError(str(error)) from error
    except ServerGoneError:
        client.close()
        raise
    return client, told
