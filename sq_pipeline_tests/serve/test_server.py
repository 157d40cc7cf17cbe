"""A server with its clients: turns, cancels, hang-ups, ends. Each accepted render is answered once."""

import asyncio
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest

from sq_pipeline.common.errors import BaseModelError, Fault, NoMatchError, RenderError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pictures.ports import OnStep, RenderedImage, RenderRequest
from sq_pipeline.serve import server
from sq_pipeline.serve.socket_place import serve_folder
from sq_pipeline_tests.fakes import FakeRenderer
from sq_pipeline_tests.serve.peers import WatchedFake, open_fake, serving, storm


def play(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


def test_clients_take_turns_while_one_has_a_long_line(data: DataDir) -> None:
    async def scenario() -> None:
        async with serving(data, open_fake(is_gated=True)) as place:
            many, few = await place.join(), await place.join()
            for number in range(20):
                many.render(number, seed=number)
            await place.begun()
            few.render("few", seed=1000)
            await few.flush()
            place.fake.gate.set()
            assert (await few.hear())["id"] == "few"
            assert [request.seed for request in place.fake.requests[:3]] in ([0, 1, 1000], [0, 1000, 1])
            assert [(await many.hear())["id"] for _ in range(20)] == list(range(20))

    play(scenario())


def test_a_queued_render_is_cancelled_without_being_rendered(data: DataDir) -> None:
    async def scenario() -> None:
        async with serving(data, open_fake(is_gated=True)) as place:
            peer = await place.join()
            peer.render("a")
            await place.begun()
            peer.render("b", seed=2)
            peer.call("stop", "cancel", request="b")
            answers = [await peer.hear(), await peer.hear()]
            assert [answer["id"] for answer in answers] == ["b", "stop"]
            assert answers[0]["error"]["code"] == "cancelled"
            assert answers[1]["result"] == {"state": "queued"}
            place.fake.gate.set()
            assert (await peer.hear())["id"] == "a"
            assert [request.seed for request in place.fake.requests] == [1]

    play(scenario())


def test_a_running_render_is_cancelled_at_its_next_step(data: DataDir) -> None:
    async def scenario() -> None:
        async with serving(data, open_fake(is_gated=True)) as place:
            peer = await place.join()
            peer.render("a", steps=100)
            await place.begun()
            peer.call("stop", "cancel", request="a")
            answers = [await peer.hear(), await peer.hear()]
            assert answers[0] == {"id": "stop", "result": {"state": "running"}}
            assert (answers[1]["id"], answers[1]["error"]["code"]) == ("a", "cancelled")
            place.fake.gate.set()
            peer.render("a")
            assert await peer.hear_code() == "ok"

    play(scenario())


class Late(WatchedFake):
    """Still works after its last step, as a decoder does, until it is let go."""

    def render(self, request: RenderRequest, on_step: OnStep | None = None) -> RenderedImage:
        if on_step is not None:
            on_step(request.num_inference_steps, request.num_inference_steps)
        self.begun.release()
        assert self.gate.wait(20)
        return FakeRenderer.render(self, request)


def test_a_render_that_is_cancelled_after_its_last_step_leaves_no_picture(data: DataDir) -> None:
    async def scenario() -> None:
        fake = Late()
        async with serving(data, fake) as place:
            peer = await place.join()
            peer.render("a")
            await place.begun()
            assert await peer.ask("cancel", request="a") == {"state": "running"}
            fake.gate.set()
            assert await peer.hear_code() == "cancelled"
        assert not (serve_folder(data) / "pictures").exists()

    play(scenario())


def test_status_tells_how_far_the_picture_in_hand_is(data: DataDir) -> None:
    async def scenario() -> None:
        fake = Late()
        async with serving(data, fake) as place:
            peer = await place.join()
            assert (await peer.ask("status"))["running"] is None
            peer.render("a", steps=7)
            await place.begun()
            peer.render("b")
            status = await peer.ask("status")
            assert status["running"].pop("elapsed_s") >= 0
            assert status["running"] == {"variant": "tiny-flux", "tier": "landscape", "step": 7, "steps": 7}
            assert (status["queued"], status["clients"]) == (1, 1)
            assert status["counts"] == {"accepted": 2}
            fake.gate.set()
            assert [await peer.hear_code() for _ in range(2)] == ["ok", "ok"]

    play(scenario())


def test_a_client_with_a_full_line_keeps_nobody_else_out(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_WAITING_MAX", 3)

    async def scenario() -> None:
        async with serving(data, open_fake(is_gated=True)) as place:
            many, few = await place.join(), await place.join()
            for number in range(4):
                many.render(number)
            assert await many.hear_code() == "queue_full"
            few.render("few")
            await few.flush()
            place.fake.gate.set()
            assert await few.hear_code() == "ok"
            assert [await many.hear_code() for _ in range(3)] == ["ok"] * 3

    play(scenario())


def test_a_server_whose_socket_is_deleted_ends(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the store goes the lock: another server could come up beside it."""
    monkeypatch.setattr(server, "_LOOK_S", 0.01)

    async def scenario() -> None:
        async with serving(data, open_fake()) as place:
            shutil.rmtree(data.store_root)
            await asyncio.wait_for(place.task, 20)
            assert "the socket is gone, was the store deleted? Stopping" in place.said

    play(scenario())


def test_nobody_cancels_what_is_anothers(data: DataDir) -> None:
    async def scenario() -> None:
        async with serving(data, open_fake(is_gated=True)) as place:
            owner, other = await place.join(), await place.join()
            owner.render("a")
            await place.begun()
            other.call("stop", "cancel", request="a")
            assert await other.hear_code() == "unknown_request"
            other.render("a", seed=2)
            place.fake.gate.set()
            assert [await owner.hear_code(), await other.hear_code()] == ["ok", "ok"]

    play(scenario())


def test_an_id_is_free_again_when_it_was_answered(data: DataDir) -> None:
    async def scenario() -> None:
        async with serving(data, open_fake(is_gated=True)) as place:
            peer = await place.join()
            peer.render("a")
            await place.begun()
            peer.render("a")
            assert await peer.hear_code() == "duplicate_id"
            place.fake.gate.set()
            assert await peer.hear_code() == "ok"
            peer.render("a")
            assert await peer.hear_code() == "ok"

    play(scenario())


def test_who_hangs_up_gives_up_what_waits_and_what_runs(data: DataDir) -> None:
    async def scenario() -> None:
        async with serving(data, open_fake(is_gated=True)) as place:
            gone, stays = await place.join(), await place.join()
            for number in range(5):
                gone.render(number, steps=100)
            await place.begun()
            stays.render("mine", seed=99)
            gone.hang_up()
            place_counts: dict[str, int] = {}
            while place_counts.get("cancelled") != 5:
                place_counts = (await stays.ask("status"))["counts"]
            place.fake.gate.set()
            assert (await stays.hear())["id"] == "mine"
            assert [request.seed for request in place.fake.requests] == [99]

    play(scenario())


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "shutdown"])
def test_at_the_end_the_picture_in_hand_is_finished_and_the_rest_refused(how: str, data: DataDir) -> None:
    async def scenario() -> None:
        async with serving(data, open_fake(is_gated=True)) as place:
            peer, late = await place.join(), await place.join()
            peer.render("in hand")
            await place.begun()
            peer.render("waits")
            if how == "shutdown":
                assert await late.ask("shutdown") == {"stopping": True, "running": True}
            else:
                await late.ask("ping")
                os.kill(os.getpid(), getattr(signal, how))
            refused = await peer.hear()
            assert (refused["id"], refused["error"]["code"]) == ("waits", "shutting_down")
            late.render("too late")
            assert await late.hear_code() == "shutting_down"
            place.fake.gate.set()
            done = await peer.hear()
            assert done["id"] == "in hand"
            assert (data.root / done["result"]["image_path"]).is_file()
            assert await peer.hear() == {}
            await place.task

    play(scenario())


def test_a_second_signal_stops_at_the_next_step(data: DataDir) -> None:
    async def scenario() -> None:
        async with serving(data, open_fake(is_gated=True)) as place:
            peer = await place.join()
            peer.render("in hand", steps=100)
            await place.begun()
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.sleep(0.02)
            assert await peer.hear_code() == "shutting_down"
            await place.task

    play(scenario())


class Failing(WatchedFake):
    """Raises what the prompt names."""

    def render(self, request: RenderRequest, on_step: OnStep | None = None) -> RenderedImage:
        place = Fault("store/a", "", "is wrong", "correct it")
        faults: dict[str, Exception] = {
            "no match": NoMatchError(place),
            "not whole": RenderError(place),
            "too long": RenderError(Fault("", "positive_prompt", "600 tokens, 512 are read", "")),
            "no model": BaseModelError(place),
            "memory": MemoryError("no more"),
            "silent": RuntimeError(),
        }
        raise faults[request.positive_prompt]


def test_what_an_engine_raises_has_a_code_and_the_server_lives_on(data: DataDir) -> None:
    wanted = {
        "no match": "adapter_no_match",
        "not whole": "adapter_not_applied",
        "too long": "prompt_too_long",
        "no model": "base_model_missing",
        "memory": "internal",
        "silent": "internal",
    }

    async def scenario() -> None:
        async with serving(data, Failing()) as place:
            peer = await place.join()
            for prompt, code in wanted.items():
                peer.render(prompt, positive_prompt=prompt)
                answer = await peer.hear()
                assert (answer["id"], answer["error"]["code"]) == (prompt, code)
            assert (await peer.ask("status"))["counts"]["failed"] == len(wanted)

    play(scenario())


def test_weights_replaced_while_rendering_make_no_picture(data: DataDir) -> None:
    hashes = iter([f"sha256:{digit * 64}" for digit in "12"])

    async def scenario() -> None:
        async with serving(data, open_fake(), lambda _: next(hashes)) as place:
            peer = await place.join()
            peer.render("a")
            assert await peer.hear_code() == "weights_differ"

    play(scenario())


def test_a_storm_of_clients_loses_nothing(data: DataDir) -> None:
    """The same with the real engine, and its memory, is in `benchmarks.serve`."""
    tally = Counter[str]()

    async def scenario() -> None:
        async with serving(data, open_fake()) as place:
            await asyncio.gather(*(storm(place.join, random.Random(number), 50, tally) for number in range(8)))
            watcher = await place.join()
            status: dict[str, Any] = {"queued": 1, "running": None}
            while status["queued"] or status["running"]:
                status = await watcher.ask("status")
            counts = status["counts"]
            assert tally["asked"] == 400
            assert counts["accepted"] == counts["rendered"] + counts.get("cancelled", 0)
            assert tally["rendered"] + tally["cancelled"] + tally["abandoned"] == tally["asked"]
            assert tally["malformed"] >= 50
            assert tally["abandoned"] > 0
            assert tally["cancelled"] > 0

    play(scenario())
