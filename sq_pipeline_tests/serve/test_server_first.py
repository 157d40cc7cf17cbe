"""A run's renderer: by the server while there is one that fits, in process otherwise, and it says which."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.base_models.ports import EngineDescription
from sq_pipeline.common.errors import Fault, NoMatchError, RenderError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pictures.ports import OnStep, RenderedImage, RenderRequest
from sq_pipeline.serve.protocol import PROTOCOL_VERSION, write_line
from sq_pipeline.serve.remote_renderer import ServerFirstRenderer
from sq_pipeline.serve.socket_place import data_identity, hold_serve_lock, listen, serve_folder
from sq_pipeline_tests.fakes import FakeRenderer
from sq_pipeline_tests.serve.adapters import write_adapter
from sq_pipeline_tests.serve.peers import WEIGHTS, WatchedFake, open_fake, serving

REQUEST = RenderRequest("tiny-flux", "a tower", 5, 1, 48, 32, None)
SERVER = f"server, process {os.getpid()}"


@dataclass
class Caller:
    """A run's renderer with what it said and the engine of its own process."""

    data: DataDir
    local: FakeRenderer = field(default_factory=FakeRenderer)
    said: list[str] = field(default_factory=list[str])
    weights: str = WEIGHTS
    description: EngineDescription = field(default_factory=lambda: FakeRenderer().describe())

    def __post_init__(self) -> None:
        self.renderer = ServerFirstRenderer(
            self.data, lambda: self.local, self.description, lambda _: self.weights, self.said.append
        )


def while_serving(data: DataDir, fake: WatchedFake, act: Callable[[], None]) -> None:
    async def scenario() -> None:
        async with serving(data, fake):
            await asyncio.to_thread(act)

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_the_server_renders_the_same_pixels_and_its_file_is_fetched(data: DataDir) -> None:
    caller, fake = Caller(data), open_fake()

    def act() -> None:
        images = [caller.renderer.render(replace(REQUEST, seed=seed)) for seed in (1, 2)]
        assert [image.rendered_by for image in images] == [SERVER, SERVER]
        assert np.array_equal(images[1].pixels, FakeRenderer().render(replace(REQUEST, seed=2)).pixels)
        assert list((serve_folder(data) / "pictures").iterdir()) == []
        assert caller.renderer.model_loads == 1

    while_serving(data, fake, act)
    assert caller.said == [f"pictures are rendered by the render server (process {os.getpid()})"]
    assert caller.local.requests == []


def test_what_became_of_each_adapter_comes_with_the_picture(data: DataDir) -> None:
    caller = Caller(data)
    paths = [write_adapter(data.lora_root / f"{seed}.safetensors", seed) for seed in (1, 2)]
    uses = tuple(AdapterUse(path, 0.5) for path in paths)

    def act() -> None:
        asked = replace(REQUEST, adapters=uses, positive_prompt="old_west, a tower")
        there, here = caller.renderer.render(asked), FakeRenderer().render(asked)
        assert there.applied == here.applied
        assert np.array_equal(there.pixels, here.pixels)

    while_serving(data, open_fake(), act)


def test_without_a_server_it_renders_in_process_and_says_so_once(data: DataDir) -> None:
    caller = Caller(data)
    assert [caller.renderer.render(REQUEST).rendered_by for _ in range(2)] == ["in process"] * 2
    assert caller.said == ["pictures are rendered in process: no render server is up"]
    assert caller.renderer.model_loads == 1


def test_a_server_that_comes_up_later_is_used_from_then_on(data: DataDir) -> None:
    caller = Caller(data)
    caller.renderer.render(REQUEST)

    def act() -> None:
        assert caller.renderer.render(REQUEST).rendered_by == SERVER

    while_serving(data, open_fake(), act)
    assert caller.renderer.render(REQUEST).rendered_by == "in process"
    assert [line.split(":")[0].split(" (")[0] for line in caller.said] == [
        "pictures are rendered in process",
        "pictures are rendered by the render server",
        "pictures are rendered in process",
    ]


OTHER_ENGINE = EngineDescription("fake-renderer", {"fake": "2"}, "no chip")


@pytest.mark.parametrize(
    ("caller_of", "reason"),
    [
        (lambda data: Caller(data, description=OTHER_ENGINE), "another engine (fake 1 there, 2 here); start it again"),
        (lambda data: Caller(data, weights="sha256:2"), f"tiny-flux has other weights here: {WEIGHTS}"),
    ],
)
def test_a_server_that_would_make_another_picture_is_not_used(
    caller_of: Callable[[DataDir], Caller], reason: str, data: DataDir
) -> None:
    caller = caller_of(data)

    def act() -> None:
        assert caller.renderer.render(REQUEST).rendered_by == "in process"

    while_serving(data, open_fake(), act)
    assert reason in caller.said[0]
    assert caller.said[0].startswith("pictures are rendered in process: ")


def test_what_a_server_cannot_take_is_rendered_in_process(data: DataDir) -> None:
    """More steps than it allows; an adapter that is not below its roots."""
    caller = Caller(data, local=FakeRenderer(fails_when=lambda request: bool(request.adapters)))

    def act() -> None:
        assert caller.renderer.render(replace(REQUEST, num_inference_steps=500)).rendered_by == "in process"
        with pytest.raises(RenderError, match="the fake was told to fail"):
            caller.renderer.render(replace(REQUEST, adapters=(AdapterUse(data.settings_file, 1.0),)))

    while_serving(data, open_fake(), act)
    assert len(caller.said) == 2
    assert "refused it: steps" in caller.said[0]
    assert "is not below content/lora or store" in caller.said[1]


class Refusing(WatchedFake):
    def render(self, request: RenderRequest, on_step: OnStep | None = None) -> RenderedImage:
        raise NoMatchError(Fault("a", "", "no key matched", "inspect it"))


def test_a_faulty_picture_is_an_error_wherever_it_is_rendered(data: DataDir) -> None:
    caller = Caller(data)

    def act() -> None:
        with pytest.raises(RenderError, match="no key matched"):
            caller.renderer.render(REQUEST)

    while_serving(data, Refusing(), act)
    assert caller.local.requests == []


@pytest.mark.parametrize("last_words", [b"", b"garbage\n", write_line({"id": 2, "result": {"image_path": "sq.yaml"}})])
def test_a_server_that_dies_with_a_picture_in_hand_costs_no_picture(last_words: bytes, data: DataDir) -> None:
    engine = {"name": "fake-renderer", "versions": {"fake": "1"}, "chip": "no chip"}
    told = {
        "protocol": PROTOCOL_VERSION,
        "data": data_identity(data),
        "pid": 77,
        "engine": engine,
        "is_stopping": False,
    }
    caller = Caller(data)

    def die(server: socket.socket) -> None:
        accepted, _ = server.accept()
        accepted.recv(1000)
        accepted.sendall(write_line({"id": 1, "result": told}))
        accepted.recv(10_000)
        accepted.sendall(last_words)
        accepted.close()

    with hold_serve_lock(data), listen(data) as (server, _):
        thread = threading.Thread(target=die, args=(server,))
        thread.start()
        image = caller.renderer.render(REQUEST)
        thread.join()
    assert image.rendered_by == "in process"
    assert "THE RENDER SERVER (process 77) DIED with a picture in hand" in caller.said[0]
    assert len(caller.local.requests) == 1
    caller.renderer.render(REQUEST)
    assert caller.said[1:] == ["pictures are rendered in process: no render server is up"]


def test_a_server_that_takes_the_connection_and_says_nothing_is_told_of_as_such(data: DataDir) -> None:
    caller = Caller(data)

    def hang_up(server: socket.socket) -> None:
        accepted, _ = server.accept()
        accepted.recv(1000)
        accepted.close()

    with hold_serve_lock(data), listen(data) as (server, _):
        thread = threading.Thread(target=hang_up, args=(server,))
        thread.start()
        assert caller.renderer.render(REQUEST).rendered_by == "in process"
        thread.join()
    assert caller.said == ["pictures are rendered in process: the render server does not answer (it hung up)"]
