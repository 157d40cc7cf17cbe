"""A server in the test's own loop, renderers that wait to be let go, and clients that say anything."""

import asyncio
import json
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sq_pipeline.common.layout import DataDir
from sq_pipeline.pictures.ports import OnStep, RenderedImage, RenderRequest
from sq_pipeline.serve.server import RenderServer
from sq_pipeline.serve.socket_place import hold_serve_lock, listen, serve_folder
from sq_pipeline.serve.worker import ServedEngines
from sq_pipeline_tests.fakes import FakeRenderer
from sq_pipeline_tests.pipeline.fast import WordCounter

WEIGHTS = "sha256:" + "1" * 64
PICTURE = {
    "tier": "landscape",
    "positive_prompt": "a tower",
    "seed": 1,
    "steps": 2,
    "width": 32,
    "height": 32,
    "variant": "tiny-flux",
}


@dataclass
class WatchedFake(FakeRenderer):
    """A fake that tells of its steps. While `gate` is not set it waits after every step; `begun` counts pictures."""

    gate: threading.Event = field(default_factory=threading.Event)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def render(self, request: RenderRequest, on_step: OnStep | None = None) -> RenderedImage:
        self.begun.release()
        for step in range(request.num_inference_steps):
            while not self.gate.wait(0.005):
                if on_step is not None:
                    on_step(step, request.num_inference_steps)
            if on_step is not None:
                on_step(step + 1, request.num_inference_steps)
        return super().render(request)

    def figures(self) -> Mapping[str, int]:
        return {"model_loads": self.model_loads, "stack_swaps": 0, "adapter_reads": 0, "ready_bytes": 0}

    def close(self) -> None:
        pass


def open_fake(*, is_gated: bool = False) -> WatchedFake:
    fake = WatchedFake()
    if not is_gated:
        fake.gate.set()
    return fake


class Peer:
    """A client of the test's loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    def say(self, line: bytes) -> None:
        self.writer.write(line + b"\n")

    def call(self, request_id: int | str, method: str, **params: Any) -> None:
        self.say(json.dumps({"id": request_id, "method": method, "params": params}).encode())

    def render(self, request_id: int | str, **change: Any) -> None:
        self.call(request_id, "render", **{**PICTURE, **change})

    async def hear(self) -> dict[str, Any]:
        """The next message; an empty one when the server hung up."""
        line = await asyncio.wait_for(self._reader.readline(), 20)
        return json.loads(line) if line else {}

    async def hear_code(self) -> str:
        """The next message's error code, `ok` for a result."""
        answer = await self.hear()
        return answer["error"]["code"] if "error" in answer else "ok"

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self.call("asked", method, **params)
        return (await self.hear())["result"]

    async def flush(self) -> None:
        """Until all that was said is on its way."""
        await self.writer.drain()
        await asyncio.sleep(0.01)

    def hang_up(self) -> None:
        self.writer.close()


async def storm(
    join: Callable[[], Awaitable[Peer]], rng: random.Random, renders: int, tally: Counter[str], **change: Any
) -> None:
    """One client: renders, some cancelled, malformed lines between them, and now and then a sudden end."""
    peer, open_ids = await join(), set[int]()

    async def listen(wanted: int) -> None:
        while len(open_ids) > wanted:
            answer = await peer.hear()
            if answer["id"] in open_ids:
                open_ids.discard(answer["id"])
                tally[answer["error"]["code"] if "error" in answer else "rendered"] += 1
            else:  # of a cancel, of a malformed line: neither has a render's number
                tally["answered twice" if isinstance(answer["id"], int) else "other answers"] += 1

    for number in range(renders):
        peer.render(number, **{"seed": rng.randrange(1000), "steps": 1, **change})
        open_ids.add(number)
        tally["asked"] += 1
        chance = rng.random()
        if chance < 0.1:
            peer.call(f"cancel {number}", "cancel", request=number)
            tally["cancels"] += 1
        elif chance < 0.27:
            peer.say(rng.choice([b"{", b"[]", b'{"id": "odd"}', b"\xff\xfe"]))
            tally["malformed"] += 1
        elif chance < 0.32:
            await peer.flush()
            peer.hang_up()
            tally["abandoned"] += len(open_ids)
            open_ids.clear()
            peer = await join()
        await listen(5)
    await listen(0)
    peer.hang_up()


async def join_as_peer(data: DataDir) -> Peer:
    return Peer(*await asyncio.open_unix_connection(serve_folder(data) / "render.sock", limit=1 << 22))


@dataclass
class Place:
    """A running server with all that was said by it."""

    data: DataDir
    fake: WatchedFake
    task: "asyncio.Task[None]"
    said: list[str]

    async def join(self) -> Peer:
        return await join_as_peer(self.data)

    async def begun(self) -> None:
        """Until a picture has begun."""
        assert await asyncio.to_thread(self.fake.begun.acquire, timeout=20)


@asynccontextmanager
async def serving(
    data: DataDir, fake: WatchedFake, weights_hash: Callable[[str], str] = lambda _: WEIGHTS
) -> AsyncIterator[Place]:
    """A server that is stopped when the block ends, if it runs still."""
    said: list[str] = []
    with hold_serve_lock(data), listen(data) as (listening, _):
        engines = ServedEngines(fake, weights_hash, lambda _: WordCounter())
        server = RenderServer(data, engines, said.append)
        task = asyncio.create_task(server.run(listening))
        await asyncio.sleep(0)
        try:
            yield Place(data, fake, task, said)
        finally:
            fake.gate.set()
            server.stop()
            await asyncio.wait_for(task, 20)
