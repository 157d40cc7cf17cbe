"""The blocking client of a render server. Not here: when a run uses it (`serve.remote_renderer`)."""

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any

from sq_pipeline.common.layout import DataDir
from sq_pipeline.serve.protocol import PROTOCOL_VERSION, Code, LineCutter, ProtocolError, write_line
from sq_pipeline.serve.socket_place import connect, data_identity

_ANSWER_S = 5.0
_PIECE_BYTES = 1 << 16


class ServerGoneError(Exception):
    """The server hung up, or said what is no answer."""


class RenderClient:
    """One connection, one call at a time. Closing it lets the server drop what it asked for."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = self._read_lines()
        self._calls = 0

    def __enter__(self) -> "RenderClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def ping(self) -> dict[str, Any]:
        """Who the server is; raises ServerGoneError when it does not say so soon."""
        self._connection.settimeout(_ANSWER_S)
        try:
            return self.call("ping")
        finally:
            self._connection.settimeout(None)

    def call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        """The result of a call, waited for however long it takes. Raises ProtocolError, ServerGoneError.

        `on_progress(step, steps)` is called where `params` asks for progress.
        """
        self._calls += 1
        try:
            self._connection.sendall(write_line({"id": self._calls, "method": method, "params": dict(params or {})}))
            for answer in self._lines:
                if answer.get("id") not in (self._calls, None):
                    continue
                if "progress" in answer:
                    if on_progress is not None:
                        on_progress(answer["progress"]["step"], answer["progress"]["steps"])
                    continue
                if "error" in answer:
                    code: Code = answer["error"]["code"]
                    raise ProtocolError(code, answer["error"]["message"], self._calls)
                return answer["result"]
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise ServerGoneError(str(error) or "no answer") from error
        raise ServerGoneError("it hung up")

    def _read_lines(self) -> Iterator[dict[str, Any]]:
        cutter = LineCutter()
        while piece := self._connection.recv(_PIECE_BYTES):
            for line in cutter.feed(piece):
                try:
                    yield json.loads(line or b"")
                except ValueError as error:
                    raise ServerGoneError("it said what is no JSON") from error


def open_client(data: DataDir) -> tuple[RenderClient, dict[str, Any]] | None:
    """A connection to the data directory's server, and what it says of itself; None where there is none.

    A server of another data directory, whose socket came along in a copy, is none. Raises ServerGoneError where one
    took the connection and does not answer.
    """
    connection = connect(data, _ANSWER_S)
    if connection is None:
        return None
    client = RenderClient(connection)
    try:
        told = client.ping()
    except (ServerGoneError, ProtocolError) as error:
        client.close()
        raise ServerGoneError(str(error)) from error
    if told.get("protocol") == PROTOCOL_VERSION and told.get("data") == data_identity(data):
        return client, told
    client.close()
    return None
