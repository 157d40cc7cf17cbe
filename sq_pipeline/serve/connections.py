"""One client's connection: its lines in, its answers out. Not here: what the methods do (`server`)."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from sq_pipeline.serve.protocol import Call, LineCutter, ProtocolError, RequestId, error_line, read_call, write_line

_log = logging.getLogger(__name__)

_PIECE_BYTES = 1 << 16
_PROGRESS_BACKLOG_BYTES = 1 << 16


class Connection:
    """A client. `pending` are the ids of its renders that are not answered yet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.pending: set[RequestId] = set()
        self.is_open = True

    async def serve(self, handle: Callable[["Connection", Call], None]) -> None:
        """Hand every well-formed call to `handle` and answer what it raises, until the client is gone."""
        cutter = LineCutter()
        try:
            while piece := await self._reader.read(_PIECE_BYTES):
                for line in cutter.feed(piece):
                    self._handle_line(line, handle)
                # a client that does not read its answers is not read from either
                await self._writer.drain()
        except (ConnectionError, TimeoutError):
            pass  # gone, which is what the end of the loop means too
        finally:
            self.is_open = False

    def _handle_line(self, line: bytes | None, handle: Callable[["Connection", Call], None]) -> None:
        try:
            if line is None:
                raise ProtocolError("too_large", "a line holds at most 1 MiB")
            handle(self, read_call(line))
        except ProtocolError as error:
            self._send(error_line(error))
        except Exception as error:  # a bug: the other calls of this client are none the worse
            _log.exception("a call failed")
            self._send(error_line(ProtocolError("internal", type(error).__name__)))

    def answer(self, request_id: RequestId, result: dict[str, Any]) -> None:
        """Send a result."""
        self._send(write_line({"id": request_id, "result": result}))

    def fail(self, error: ProtocolError) -> None:
        """Send an error."""
        self._send(error_line(error))

    def tell(self, request_id: RequestId, news: dict[str, Any]) -> None:
        """Send `progress` or `alive`; left out when the client has not read what it was sent before."""
        if self._writer.transport.get_write_buffer_size() < _PROGRESS_BACKLOG_BYTES:
            self._send(write_line({"id": request_id, **news}))

    def _send(self, line: bytes) -> None:
        if self.is_open and not self._writer.is_closing():
            self._writer.write(line)

    async def close(self, flush_s: float) -> None:
        """Send what is not sent yet, for at most `flush_s`, and hang up."""
        try:
            async with asyncio.timeout(flush_s):
                await self._writer.drain()
                self._writer.close()
                await self._writer.wait_closed()
        except (ConnectionError, TimeoutError):
            self._writer.transport.abort()
        self.is_open = False
