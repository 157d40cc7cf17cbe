"""A server that is there and says nothing is given up after a time, in one line; one that lives never is."""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey

from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.instance import open_instance
from sq_pipeline.defs.runs import bring_up_to_date
from sq_pipeline.pictures.ports import RenderRequest
from sq_pipeline.serve import client as client_module
from sq_pipeline.serve import remote_renderer
from sq_pipeline.serve.client import RenderClient, ServerSilentError
from sq_pipeline.serve.protocol import PROTOCOL_VERSION, write_line
from sq_pipeline.serve.remote_renderer import ServerFirstRenderer
from sq_pipeline.serve.socket_place import data_identity, hold_serve_lock, listen
from sq_pipeline_tests.fakes import FakeRenderer
from sq_pipeline_tests.serve.peers import PICTURE, WEIGHTS, open_fake, serving
from sq_pipeline_tests.serve.processes import join, server_process
from sq_pipeline_tests.serve.test_server_death import NAMES, write_world

REQUEST = RenderRequest("tiny-flux", "a tower", 5, 1, 48, 32, None)
SILENCE_S = 0.8

Server = Callable[[socket.socket, dict[str, Any]], None]


def renderer_of(data: DataDir, said: list[str]) -> ServerFirstRenderer:
    fake = FakeRenderer()
    return ServerFirstRenderer(data, lambda: fake, fake.describe(), lambda _: WEIGHTS, said.append, SILENCE_S)


def drip(server: socket.socket, text: bytes) -> None:
    with suppress(OSError):  # the client hangs up
        while True:
            server.sendall(text)
            time.sleep(0.05)


def _no_word(server: socket.socket, told: dict[str, Any]) -> None:
    server.recv(1000)


def _half_a_greeting(server: socket.socket, told: dict[str, Any]) -> None:
    server.recv(1000)
    server.sendall(write_line({"id": 1, "result": told})[:-20])


def _dripped_greeting(server: socket.socket, told: dict[str, Any]) -> None:
    server.recv(1000)
    drip(server, b" ")


def _old(server: socket.socket, told: dict[str, Any]) -> None:
    server.recv(1000)
    server.sendall(write_line({"id": 1, "result": {**told, "protocol": 1}}))


def _frozen_in_the_picture(server: socket.socket, told: dict[str, Any]) -> None:
    server.recv(1000)
    server.sendall(write_line({"id": 1, "result": told}))
    server.recv(10_000)


def _half_a_picture(server: socket.socket, told: dict[str, Any]) -> None:
    _frozen_in_the_picture(server, told)
    server.sendall(b'{"id":2,"result":{"image_pa')


def _dripped_picture(server: socket.socket, told: dict[str, Any]) -> None:
    _frozen_in_the_picture(server, told)
    drip(server, b" ")


def _alive_for_others(server: socket.socket, told: dict[str, Any]) -> None:
    _frozen_in_the_picture(server, told)
    drip(server, write_line({"id": 1, "alive": {"step": 1, "steps": 2}}))


def _alive_at_first(server: socket.socket, told: dict[str, Any]) -> None:
    _frozen_in_the_picture(server, told)
    for step in range(5):
        server.sendall(write_line({"id": 2, "alive": {"step": step, "steps": 20}}))
        time.sleep(0.3)


NO_ANSWER = "pictures are rendered in process: the render server does not answer (it has said nothing for 0.4 s)"
WITH_A_PICTURE = (
    "pictures are rendered in process: THE RENDER SERVER (process 77) IS SILENT with a picture in hand: it has said "
    "nothing for 0.8 s; wake it (`kill -CONT 77`) or end it (`kill -KILL 77`)"
)


@pytest.mark.parametrize(
    ("server", "line"),
    [
        (_no_word, NO_ANSWER),
        (_half_a_greeting, NO_ANSWER),
        (_dripped_greeting, NO_ANSWER),
        (
            _old,
            "pictures are rendered in process: the render server does not answer (process 77 speaks version 1 of the "
            f"protocol, and this is {PROTOCOL_VERSION}: start it again)",
        ),
        (_frozen_in_the_picture, WITH_A_PICTURE),
        (_half_a_picture, WITH_A_PICTURE),
        (_dripped_picture, WITH_A_PICTURE),
        (_alive_for_others, WITH_A_PICTURE),
        (_alive_at_first, WITH_A_PICTURE),
    ],
)
def test_a_silent_server_is_told_of_and_costs_no_picture(
    server: Server, line: str, data: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_renderer, "ANSWER_S", 0.4)
    said: list[str] = []
    engine = {"name": "fake-renderer", "versions": {"fake": "1"}, "chip": "no chip"}
    told = {
        "protocol": PROTOCOL_VERSION,
        "data": data_identity(data),
        "pid": 77,
        "engine": engine,
        "is_stopping": False,
    }

    def serve(listening: socket.socket) -> None:
        accepted, _ = listening.accept()
        with accepted:
            server(accepted, told)
            while accepted.recv(1000):  # until the client hangs up
                pass

    with hold_serve_lock(data), listen(data) as (listening, _):
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        image = renderer_of(data, said).render(REQUEST)
        thread.join(10)
        assert not thread.is_alive()
    assert image.rendered_by == "in process"
    assert said == [line]


def test_a_server_that_takes_no_more_clients_is_not_said_to_be_none(
    data: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sq_pipeline.serve.socket_place._BACKLOG", 1)
    monkeypatch.setattr(remote_renderer, "ANSWER_S", 0.1)
    said: list[str] = []
    with hold_serve_lock(data), listen(data):
        renderers = [renderer_of(data, said) for _ in range(4)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RenderClient, "close", lambda _: None)  # those before stay in the line
            for renderer in renderers:
                renderer.render(REQUEST)
    assert {line.partition(": ")[2] for line in said} <= {
        "the render server does not answer (it has said nothing for 0.1 s)",
        "the render server does not answer (it takes no more clients)",
    }
    assert "it takes no more clients" in said[-1]


def test_a_server_that_was_silent_is_asked_briefly_until_it_lives_again(
    data: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_renderer, "ANSWER_S", 1.0)
    said: list[str] = []
    renderer = renderer_of(data, said)
    with hold_serve_lock(data), listen(data):
        for _ in range(3):
            renderer.render(REQUEST)
    silent = "pictures are rendered in process: the render server does not answer (it has said nothing for"
    assert said == [f"{silent} 1 s)", f"{silent} 0.5 s)"]  # the first is waited for in full

    async def scenario() -> None:
        async with serving(data, open_fake()):
            image = await asyncio.to_thread(renderer.render, REQUEST)
            assert image.rendered_by == f"server, process {os.getpid()}"

    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.mark.parametrize("is_in_queue", [False, True])
def test_a_living_server_slower_than_the_limit_is_waited_for(is_in_queue: bool, data: DataDir) -> None:
    said: list[str] = []

    async def scenario() -> None:
        fake = open_fake(is_gated=True)
        async with serving(data, fake) as place:
            if is_in_queue:
                other = await place.join()
                other.render("theirs")
                await place.begun()
            picture = asyncio.create_task(asyncio.to_thread(renderer_of(data, said).render, REQUEST))
            if not is_in_queue:
                await place.begun()
            await asyncio.sleep(3 * SILENCE_S)
            assert not picture.done()
            fake.gate.set()
            assert (await picture).rendered_by == f"server, process {os.getpid()}"

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert said == [f"pictures are rendered by the render server (process {os.getpid()})"]


@pytest.mark.parametrize(("is_waiting", "where"), [(True, "in its queue"), (False, "at step 3 of 9")])
def test_a_server_that_lives_and_gets_nowhere_is_told_of_and_waited_for(
    is_waiting: bool, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    watch = remote_renderer._Watch(77, said.append)  # pyright: ignore[reportPrivateUsage]
    now = 0.0
    monkeypatch.setattr(remote_renderer.time, "monotonic", lambda: now)
    for _ in range(40):  # two and a half hours
        watch.see({"is_waiting": is_waiting, "step": 3, "steps": 9})
        now += 225
    assert [line.partition(" min")[0].rpartition(" ")[2] for line in said] == ["11", "22", "41", "82"]
    assert all(f"(process 77) lives, and the picture is {where} for" in line for line in said)
    for step in range(4, 9):  # a slow one that gets on
        watch.see({"is_waiting": False, "step": step, "steps": 9})
        now += 599
    assert len(said) == 4


@contextmanager
def connected() -> Iterator[tuple[RenderClient, socket.socket]]:
    ours, theirs = socket.socketpair()
    with RenderClient(ours) as client, theirs:
        yield client, theirs


def test_while_this_side_sleeps_the_server_owes_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop's sleep, or this process stopped: hours go by on the clock between two looks."""
    clock = iter(range(0, 10**9, 10_000))
    monkeypatch.setattr(client_module.time, "monotonic", lambda: next(clock))
    with connected() as (client, theirs):
        timer = threading.Timer(0.3, lambda: theirs.sendall(write_line({"id": 1, "result": {"pid": 5}})))
        timer.start()
        assert client.call("ping", silence_s=2) == {"pid": 5}
        with pytest.raises(ServerSilentError):
            client.call("ping", silence_s=0.3)


def test_a_client_that_reads_nothing_holds_up_nobody(data: DataDir) -> None:
    async def scenario() -> None:
        fake = open_fake(is_gated=True)
        async with serving(data, fake) as place:
            frozen, other = await place.join(), await place.join()
            for number in range(1500):
                frozen.render(number, alive_s=0.1)
            await frozen.flush()
            await place.begun()
            for _ in range(10):  # of news for the frozen one a megabyte a second and more
                await asyncio.sleep(0.1)
                assert (await other.ask("status"))["clients"] == 2
            other.render("mine")
            writers = [task.get_coro().cr_frame.f_locals["writer"] for task in _client_tasks()]  # type: ignore[union-attr]
            assert max(writer.transport.get_write_buffer_size() for writer in writers) < 1 << 18
            fake.gate.set()
            assert await other.hear_code() == "ok"
            frozen.hang_up()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def _client_tasks() -> list["asyncio.Task[Any]"]:
    return [task for task in asyncio.all_tasks() if "_on_client" in repr(task.get_coro())]


def test_news_ends_with_the_answer(data: DataDir) -> None:
    async def scenario() -> None:
        fake = open_fake(is_gated=True)
        async with serving(data, fake) as place:
            peer = await place.join()
            peer.render("slow", alive_s=0.1)
            news = [(await peer.hear())["alive"] for _ in range(3)]
            assert [item["steps"] for item in news] == [2, 2, 2]
            fake.gate.set()
            while "alive" in (answer := await peer.hear()):
                pass
            assert answer["result"]["seed"] == 1
            await asyncio.sleep(0.3)
            assert set(await peer.ask("ping")) >= {"pid"}  # the next line is its answer: no news between

    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.mark.long
def test_a_server_frozen_in_the_middle_of_a_run_costs_no_picture_and_serves_again(
    data: DataDir, capfd: pytest.CaptureFixture[str]
) -> None:
    write_world(data)
    with data.settings_file.open("a") as file:
        file.write("server_silence_s: 3\n")
    with open_instance(data) as instance, server_process(data) as process:
        with join(data, process) as watcher:
            freezer = threading.Thread(target=_freeze_in_the_middle, args=(watcher, process.pid))
            freezer.start()
            report = bring_up_to_date(data, instance, None, lambda _: None)
            freezer.join()
        said = capfd.readouterr().err + "".join(path.read_text() for path in data.dagster_home.rglob("*.err"))
        assert not report.failed
        assert sorted(item["poi"] for item in report.rendered) == sorted(name.lower() for name in NAMES)
        key = AssetKey(["west", "worlds", "old", "poi_images"])
        assert len(instance.fetch_materializations(key, limit=100).records) == len(NAMES)
        lines = [line for line in said.splitlines() if "IS SILENT" in line]
        assert len(lines) == 1
        assert f"(process {process.pid}) IS SILENT with a picture in hand: it has said nothing for 3 s" in lines[0]
        os.kill(process.pid, signal.SIGCONT)
        with join(data, process) as client:
            answer = client.call("render", {**PICTURE, "alive_s": 0.5}, silence_s=10)
            assert Path(data.root / answer["image_path"]).is_file()
            assert client.call("status")["counts"]["cancelled"] == 1  # the one that it had in hand


def _freeze_in_the_middle(client: RenderClient, pid: int) -> None:
    """SIGSTOP as soon as the second picture of the run has begun."""
    while True:
        status = client.call("status")
        if status["running"] is not None and status["counts"].get("rendered", 0) == 1:
            os.kill(pid, signal.SIGSTOP)
            return
        time.sleep(0.002)
