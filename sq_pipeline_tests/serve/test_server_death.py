"""A real server that is killed while it renders for a real run, and a storm of clients over a real one."""

import asyncio
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from dagster import AssetKey

from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.instance import open_instance
from sq_pipeline.defs.runs import bring_up_to_date
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.plan import make_plan
from sq_pipeline.pipeline.verify_image.image import verify_image
from sq_pipeline.pipeline.worlds.world_status import world_state_of
from sq_pipeline.serve.client import RenderClient
from sq_pipeline.serve.socket_place import serve_folder
from sq_pipeline.wiring import real_engines
from sq_pipeline_tests.pipeline.fast import chapter, poi, write_yaml
from sq_pipeline_tests.serve.adapters import write_adapter
from sq_pipeline_tests.serve.peers import PICTURE, join_as_peer, storm
from sq_pipeline_tests.serve.processes import join, server_process

# of clients that cancel and hang up within ten renders
SEEDS = (4, 16, 43, 50)
NAMES = ("Mill", "Mine", "Inn")


def write_world(data: DataDir) -> None:
    # pictures of some seconds: the second one is certainly in hand when the signal comes
    write_yaml(data.settings_file, {"tiers": {"landscape": {"num_inference_steps": 60}}})
    write_yaml(data.genre_root("west") / "visual_style.yaml", {"positive_suffix": "wide", "base_seed": 1})
    places = chapter(*(poi(name, f"a {name} in the snow") for name in NAMES))
    write_yaml(data.genre_root("west") / "worlds/old/history.yaml", {"chapters": [places]})


def kill_in_the_middle(client: RenderClient, pid: int) -> None:
    """SIGKILL as soon as the second picture of the run has begun."""
    while True:
        status = client.call("status")
        if status["running"] is not None and status["counts"].get("rendered", 0) == 1:
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.002)


@pytest.mark.long
def test_a_server_killed_in_the_middle_of_a_run_costs_no_picture(
    data: DataDir, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_world(data)
    with open_instance(data) as instance:
        with server_process(data) as process, join(data, process) as client:
            killer = threading.Thread(target=kill_in_the_middle, args=(client, process.pid))
            killer.start()
            report = bring_up_to_date(data, instance, None, lambda _: None)
            killer.join()
            assert process.wait(10) == -signal.SIGKILL
        said = capfd.readouterr().err + "".join(path.read_text() for path in data.dagster_home.rglob("*.err"))
        assert f"pictures are rendered by the render server (process {process.pid})" in said
        assert f"THE RENDER SERVER (process {process.pid}) DIED with a picture in hand" in said
        assert "as by SIGKILL (often: memory ran out" in said
        assert not report.failed
        assert sorted(item["poi"] for item in report.rendered) == sorted(name.lower() for name in NAMES)
        key = AssetKey(["west", "worlds", "old", "poi_images"])

        entered = Counter(record.partition_key for record in instance.fetch_materializations(key, limit=100).records)
        assert entered == {name.lower(): 1 for name in NAMES}
        assert _rendered_by(data) == Counter({f"server, process {process.pid}": 1, "in process": 2})
    context = Context(data, real_engines(data), looks_ahead=False)
    assert not make_plan(context, None).as_json()["stale"]
    for name in NAMES:  # whole, and what is rendered without a server
        checked = verify_image(context, data.published_image("west", "landscape", name.lower()), is_rendered_again=True)
        assert {check.outcome for check in checked.checks} == {"agrees"}

    assert (serve_folder(data) / "render.sock").exists()
    (serve_folder(data) / "pictures" / ".half.part.png").write_bytes(b"half")
    with (tmp_path / "log").open("w") as log, server_process(data, log) as process, join(data, process) as client:
        answer = client.call("render", PICTURE)
        assert [path.name for path in (serve_folder(data) / "pictures").iterdir()] == [Path(answer["image_path"]).name]
    assert "replaced the socket of a server that died" in (tmp_path / "log").read_text()


def _rendered_by(data: DataDir) -> Counter[str]:
    context = Context(data, real_engines(data))
    (world,) = context.catalog.worlds.values()
    records = [step.record for step in world_state_of(context, world, "landscape").pictures.values()]
    return Counter(record.info["rendered_by"] for record in records if record is not None)


def test_a_storm_over_the_real_engine_loses_nothing(data: DataDir) -> None:
    """The large one, with the server's memory, is in `benchmarks.serve`."""
    for seed in range(2):
        write_adapter(data.lora_root / f"{seed}.safetensors", seed)
    tally = Counter[str]()

    async def malformed() -> None:
        peer, rng = await join_as_peer(data), random.Random(0)
        for _ in range(20):
            peer.say(rng.choice([b"{", b"[]", b'{"id": "odd"}', b"\xff\xfe", b'{"id": 1, "method": "render"}']))
            assert await peer.hear_code() in ("bad_json", "not_an_object", "unknown_method", "bad_params")
        peer.hang_up()

    async def client(number: int) -> None:
        lists = {"lora_paths": [f"content/lora/{number % 2}.safetensors"], "lora_scales": [0.8]}
        await storm(lambda: join_as_peer(data), random.Random(SEEDS[number]), 10, tally, steps=1 + number % 2, **lists)

    async def scenario() -> dict[str, int]:
        await asyncio.gather(malformed(), *(client(number) for number in range(4)))
        watcher = await join_as_peer(data)
        while (status := await watcher.ask("status"))["queued"] or status["running"]:
            await asyncio.sleep(0.02)
        return status["counts"]

    with server_process(data) as process:
        counts = asyncio.run(asyncio.wait_for(scenario(), 100))
        assert process.poll() is None
    assert counts["accepted"] == counts["rendered"] + counts["cancelled"] == tally["asked"] == 40
    assert counts.get("failed", 0) == 0
    assert tally["rendered"] + tally["cancelled"] + tally["abandoned"] == 40
    assert tally["answered twice"] == 0
    assert min(tally["rendered"], tally["cancels"], tally["abandoned"]) > 0
