"""The render server: one process, one base model held warm, one picture at a time, in turn across clients.

Every render that is accepted is answered exactly once, unless its client hangs up before. Not here: the socket's place
(`socket_place`), what a line may be (`serve.protocol`), the order (`serve.queue`), rendering (`serve.worker`).
"""

import asyncio
import logging
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from sq_pipeline.common.layout import DataDir
from sq_pipeline.serve.calls import key_of, to_request
from sq_pipeline.serve.connections import Connection
from sq_pipeline.serve.picture_files import remove_halves
from sq_pipeline.serve.protocol import PROTOCOL_VERSION, Call, CancelParams, ProtocolError, RenderParams
from sq_pipeline.serve.queue import RenderQueue
from sq_pipeline.serve.socket_place import data_identity, hold_serve_lock, listen, socket_inode
from sq_pipeline.serve.worker import Job, ServedEngines, Workbench, stopped

_log = logging.getLogger(__name__)

_WAITING_MAX = 2000  # of one client: it must not keep others out
_FLUSH_S, _LOOK_S = 5.0, 5.0

Say = Callable[[str], None]


def serve(data: DataDir, engines: ServedEngines, say: Say, warn: Say | None = None) -> None:
    """Serve until SIGTERM, SIGINT or `shutdown`. `say` gets one line for start and end, `warn` (or else `say`) for what
    went wrong.

    Raises StorageError where another server is there, or the disk refuses. Only in a process's main thread.
    """
    with hold_serve_lock(data), listen(data) as (listening, was_stale):
        if was_stale:
            say("replaced the socket of a server that died")
        remove_halves(data)
        asyncio.run(RenderServer(data, engines, say, warn).run(listening))


class RenderServer:
    """The server of one data directory, in one event loop; `run` once."""

    def __init__(self, data: DataDir, engines: ServedEngines, say: Say, warn: Say | None = None) -> None:
        self._data, self._renderer, self._say = data, engines.renderer, say
        self._warn = warn or say
        self._workbench = Workbench(data, engines)
        self._description = engines.renderer.describe()
        self._queue = RenderQueue[Job]()
        self._running: Job | None = None
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._counts = Counter[str]()
        self._since = time.monotonic()
        self._is_stopping = False
        self._wake = asyncio.Event()

    async def run(self, listening: socket.socket) -> None:
        """Serve until told to stop; the picture in hand is finished and answered."""
        loop, inode = asyncio.get_running_loop(), socket_inode(self._data)
        numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # not with `nohup`
            numbers.append(signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal)
        server = await asyncio.start_unix_server(self._on_client, sock=listening)
        engine = self._description
        versions = ", ".join(f"{name} {version}" for name, version in engine.versions.items())
        self._say(f"process {os.getpid()} serves renders of {self._data.root} ({engine.name}: {versions})")
        watch = asyncio.create_task(self._watch_place(inode))
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="render") as pool:
                try:
                    await self._work(pool)
                finally:
                    await loop.run_in_executor(pool, self._renderer.close)
        finally:
            watch.cancel()
            server.close()
            await asyncio.gather(*(connection.close(_FLUSH_S) for connection in self._connections))
            await asyncio.gather(*self._connections.values(), return_exceptions=True)
            for number in numbers:
                loop.remove_signal_handler(number)
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self._counts.items())) or "nothing was asked"
        self._say(f"stopped: {counts}")

    async def _watch_place(self, inode: int | None) -> None:
        """Stop when nobody can come any more: the store may be deleted at any time, and the lock goes with it."""
        while inode is not None and socket_inode(self._data) == inode:
            await asyncio.sleep(_LOOK_S)
        self._warn("the socket is gone, was the store deleted? Stopping")
        self.stop()

    def _on_signal(self) -> None:
        if self._is_stopping and self._running is not None:
            self._say("stopping at the next step")
            self._running.stop("shutting_down")
        self.stop()

    def stop(self) -> None:
        """Refuse what waits and what comes; `_work` ends after the picture in hand."""
        self._is_stopping = True
        for job in self._queue.remove(lambda _: True):
            job.stop("shutting_down")
            self._finish(job, stopped(job))
        self._wake.set()

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._connections[connection] = task
        try:
            await connection.serve(self._handle)
        finally:
            self._drop(connection)
            del self._connections[connection]
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def _drop(self, connection: Connection) -> None:
        """A client hung up: nobody waits for its renders."""
        for job in self._queue.remove(lambda job: job.client is connection):
            job.stop("cancelled")
            self._finish(job, stopped(job))
        if self._running is not None and self._running.client is connection:
            self._running.stop("cancelled")

    def _handle(self, connection: Connection, call: Call) -> None:
        """Answer a call, or queue it; raises ProtocolError."""
        if call.request_id in connection.pending:
            raise ProtocolError("duplicate_id", "a render with this id is not answered yet", call.request_id)
        if isinstance(call.params, RenderParams):
            self._accept(connection, call, call.params)
        elif isinstance(call.params, CancelParams):
            connection.answer(call.request_id, {"state": self._cancel(connection, call, call.params)})
        elif call.method == "ping":
            connection.answer(call.request_id, self._describe())
        elif call.method == "status":
            connection.answer(call.request_id, self._status())
        else:
            connection.answer(call.request_id, {"stopping": True, "running": self._running is not None})
            self.stop()

    def _accept(self, connection: Connection, call: Call, params: RenderParams) -> None:
        if self._is_stopping:
            raise ProtocolError("shutting_down", "the server is shutting down", call.request_id)
        if len(connection.pending) >= _WAITING_MAX:
            raise ProtocolError("queue_full", f"{_WAITING_MAX} renders of yours wait already", call.request_id)
        request = to_request(self._data, params, call.request_id)
        connection.pending.add(call.request_id)
        job = Job(connection, call.request_id, params, request)
        self._queue.put(connection, key_of(request), job)
        self._tell_alive(job)
        self._counts["accepted"] += 1
        self._wake.set()

    def _tell_alive(self, job: Job) -> None:
        """From now on until it is answered: what a client tells a slow render from a frozen server by."""
        if job.params.alive_s is not None:
            connection: Connection = job.client
            connection.tell(job.request_id, {"alive": {"is_waiting": job.started is None, **job.progress()}})
            loop = asyncio.get_running_loop()
            job.next_alive = loop.call_later(job.params.alive_s, self._tell_alive, job)

    def _cancel(self, connection: Connection, call: Call, params: CancelParams) -> str:
        """What the render was doing; it is answered itself too, with `cancelled` unless it was about to be ready."""
        running = self._running
        if running is not None and running.client is connection and running.request_id == params.request:
            running.stop("cancelled")
            return "running"
        found = self._queue.remove(lambda job: job.client is connection and job.request_id == params.request)
        if not found:
            raise ProtocolError("unknown_request", "no render with this id waits or runs here", call.request_id)
        for job in found:
            job.stop("cancelled")
            self._finish(job, stopped(job))
        return "queued"

    def _describe(self) -> dict[str, Any]:
        engine = self._description
        return {
            "pid": os.getpid(),
            "protocol": PROTOCOL_VERSION,
            "data": data_identity(self._data),
            "engine": {"name": engine.name, "versions": dict(engine.versions), "chip": engine.chip},
            "is_stopping": self._is_stopping,
        }

    def _status(self) -> dict[str, Any]:
        running = self._running
        return {
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._since, 3),
            "cpu_s": round(time.process_time(), 3),
            "clients": len(self._connections),
            "queued": len(self._queue),
            "running": None if running is None else running.progress(),
            "counts": dict(self._counts),
            "engine": dict(self._renderer.figures()),
            "is_stopping": self._is_stopping,
        }

    def _finish(self, job: Job, outcome: dict[str, Any] | ProtocolError) -> None:
        """The one place where a render is answered."""
        connection: Connection = job.client
        if job.next_alive is not None:
            job.next_alive.cancel()
        connection.pending.discard(job.request_id)
        if isinstance(outcome, ProtocolError):
            self._counts[outcome.code if outcome.code in ("cancelled", "shutting_down") else "failed"] += 1
            connection.fail(outcome)
        else:
            self._counts["rendered"] += 1
            connection.answer(job.request_id, outcome)

    async def _work(self, pool: ThreadPoolExecutor) -> None:
        """Render what is queued until the server is to stop."""
        loop = asyncio.get_running_loop()
        while not self._is_stopping:
            job = self._queue.take()
            if job is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            self._running = job
            on_step = _progress_of(job, loop) if job.params.progress else None
            outcome = await self._render(loop, pool, job, on_step)
            self._running = None
            self._finish(job, outcome)

    async def _render(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: ThreadPoolExecutor,
        job: Job,
        on_step: Callable[[int, int], None] | None,
    ) -> dict[str, Any] | ProtocolError:
        try:
            return await loop.run_in_executor(pool, self._workbench.render, job, on_step)
        except ProtocolError as error:
            return error
        except Exception as error:  # a bug, or memory that ran out: the server lives on, and says so
            _log.exception("a render failed")
            first = (str(error) or "no message").splitlines()[0]
            self._warn(f"a render failed: {type(error).__name__}: {first}")
            return ProtocolError("internal", f"{type(error).__name__}: {first}"[:400], job.request_id)


def _progress_of(job: Job, loop: asyncio.AbstractEventLoop) -> Callable[[int, int], None]:
    """Called in the render thread; sends from the loop's."""
    connection: Connection = job.client

    def on_step(done: int, steps: int) -> None:
        loop.call_soon_threadsafe(connection.tell, job.request_id, {"progress": {"step": done, "steps": steps}})

    return on_step
