"""`sq-pipeline serve` as a process, with mflux and tiny-flux: pictures, faulty adapters, its end, a run over it."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.instance import open_instance
from sq_pipeline.defs.runs import bring_up_to_date
from sq_pipeline.engines import factory
from sq_pipeline.pictures.ports import RenderRequest
from sq_pipeline.pictures.provenance import RequestProvenance
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.verify_image.image import verify_image
from sq_pipeline.pipeline.worlds.make_world_asset import make_world_asset
from sq_pipeline.pipeline.worlds.world_asset import Made
from sq_pipeline.pipeline.worlds.world_status import world_state_of
from sq_pipeline.serve.picture_files import read_pixels
from sq_pipeline.serve.protocol import ProtocolError
from sq_pipeline.serve.socket_place import serve_folder
from sq_pipeline.wiring import real_engines
from sq_pipeline_tests.conftest import link_shipped
from sq_pipeline_tests.pipeline.fast import chapter, poi, write_yaml
from sq_pipeline_tests.serve.adapters import write_adapter
from sq_pipeline_tests.serve.peers import PICTURE
from sq_pipeline_tests.serve.processes import join, server_process


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, shipped: DataDir) -> DataDir:
    """A data directory with adapters, good and bad."""
    data = link_shipped(tmp_path_factory.mktemp("served") / "data", shipped)
    good = write_adapter(data.lora_root / "good.safetensors", 1)
    tensors = load_file(good)
    save_file({f"unet.{key}": value for key, value in tensors.items()}, data.lora_root / "foreign.safetensors")
    save_file({**tensors, "unet.more": np.zeros(2, np.float32)}, data.lora_root / "partly.safetensors")
    (data.lora_root / "pickle.safetensors").write_bytes(b"\x80\x02}q\x00.")
    return data


@pytest.fixture(scope="module")
def process(served: DataDir) -> Iterator["subprocess.Popen[str]"]:
    with server_process(served) as process:
        yield process


def test_pictures_are_those_of_the_engine_in_process(served: DataDir, process: "subprocess.Popen[str]") -> None:
    renderer = factory.renderer(served)
    use = AdapterUse(served.lora_root / "good.safetensors", 0.7)
    with join(served, process) as client:
        for uses in ((), (use,), ()):
            lists = {"lora_paths": ["content/lora/good.safetensors"] * len(uses), "lora_scales": [0.7] * len(uses)}
            seen: list[tuple[int, int]] = []
            told = {**PICTURE, **lists, "progress": True}
            answer = client.call("render", told, lambda done, steps, seen=seen: seen.append((done, steps)))
            image = renderer.render(RenderRequest("tiny-flux", "a tower", 1, 2, 32, 32, None, uses))
            assert np.array_equal(read_pixels(served.root / answer["image_path"]), image.pixels)
            assert answer["matched_keys"] == [64] * len(uses)
            assert seen == [(1, 2), (2, 2)]
        assert client.call("status")["engine"]["model_loads"] == 1


def test_a_quantized_variant_keeps_its_stacks_hot(served: DataDir, process: "subprocess.Popen[str]") -> None:
    """By its alias too; the stack is swapped over the same quantized weights."""
    renderer = factory.renderer(served)
    use = AdapterUse(served.lora_root / "good.safetensors", 0.7)
    with join(served, process) as client:
        before = client.call("status")["engine"]
        for uses in ((), (use,), (), (use,)):
            lists = {"lora_paths": ["content/lora/good.safetensors"] * len(uses), "lora_scales": [0.7] * len(uses)}
            answer = client.call("render", {**PICTURE, **lists, "variant": "tiny-4bit"})
            image = renderer.render(RenderRequest("tiny-flux-4bit", "a tower", 1, 2, 32, 32, None, uses))
            assert np.array_equal(read_pixels(served.root / answer["image_path"]), image.pixels)
            assert (answer["variant"], answer["matched_keys"]) == ("tiny-flux-4bit", [64] * len(uses))
        after = client.call("status")["engine"]
    assert (after["model_loads"] - before["model_loads"], after["stack_swaps"] - before["stack_swaps"]) == (1, 3)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("foreign", "adapter_no_match"),
        ("partly", "adapter_not_applied"),
        ("pickle", "adapter_not_applied"),
        ("missing", "adapter_missing"),
    ],
)
def test_a_faulty_adapter_is_an_error_and_no_picture(
    name: str, code: str, served: DataDir, process: "subprocess.Popen[str]"
) -> None:
    params = {**PICTURE, "lora_paths": [f"content/lora/{name}.safetensors"], "lora_scales": [1.0]}
    before = sorted((serve_folder(served) / "pictures").glob("*"))
    with join(served, process) as client:
        with pytest.raises(ProtocolError) as caught:
            client.call("render", params)
        assert caught.value.code == code
        assert str(served.root) not in caught.value.message
        assert f"{name}.safetensors" in caught.value.message
        with pytest.raises(ProtocolError) as caught:
            client.call("render", {**PICTURE, "positive_prompt": "a tower " * 200})
        assert caught.value.code == "prompt_too_long"
        client.call("ping")
    assert sorted((serve_folder(served) / "pictures").glob("*")) == before


def test_one_adapter_without_a_match_makes_no_picture_of_its_stack(
    served: DataDir, process: "subprocess.Popen[str]"
) -> None:
    paths = [f"content/lora/{name}.safetensors" for name in ("good", "foreign")]
    before = sorted((serve_folder(served) / "pictures").glob("*"))
    with join(served, process) as client:
        for stack in (paths, paths[::-1]):
            with pytest.raises(ProtocolError) as caught:
                client.call("render", {**PICTURE, "lora_paths": stack, "lora_scales": [0.5, 1.0]})
            assert caught.value.code == "adapter_no_match"
            assert "foreign.safetensors" in caught.value.message
        assert client.call("render", {**PICTURE, "lora_paths": paths[:1], "lora_scales": [0.5]})["matched_keys"] == [64]
    assert len(sorted((serve_folder(served) / "pictures").glob("*"))) == len(before) + 1


def test_a_picture_of_the_server_tells_the_truth(served: DataDir, process: "subprocess.Popen[str]") -> None:
    asked = {"lora_paths": ["content/lora/good.safetensors"], "lora_scales": [-0.3], "clip_prompt": "snow"}
    with join(served, process) as client:
        answer = client.call("render", {**PICTURE, **asked})
    context = Context(served, real_engines(served), looks_ahead=False)
    report = verify_image(context, served.root / answer["image_path"], is_rendered_again=True)
    told = {check.name: check.outcome for check in report.checks}
    assert {name for name, outcome in told.items() if outcome != "agrees"} == {"store"}
    assert told["rendered again"] == "agrees"
    said = report.provenance
    assert isinstance(said, RequestProvenance)
    assert said.tokens[1].tokens < said.tokens[0].tokens


def test_a_second_one_ends_at_once_and_says_why(served: DataDir, process: "subprocess.Popen[str]") -> None:
    command = [sys.executable, "-c", "from sq_pipeline.cli import main; main()", "serve", "--data", str(served.root)]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert f"process {process.pid} serves this data directory already" in second.stderr
    assert process.poll() is None


def test_sigterm_finishes_the_picture_in_hand(data: DataDir, tmp_path: Path) -> None:
    """11-serve-term"""
    steps = 0
    with (tmp_path / "log").open("w") as log, server_process(data, log) as process, join(data, process) as client:

        def on_step(done: int, _: int) -> None:
            nonlocal steps
            steps = done
            if done == 2:
                process.send_signal(signal.SIGTERM)

        answer = client.call("render", {**PICTURE, "steps": 30, "progress": True}, on_step)
        assert process.wait(30) == 0, (tmp_path / "log").read_text()
    assert (data.root / answer["image_path"]).is_file()
    assert steps == 30
    assert not (serve_folder(data) / "render.sock").exists()
    assert (tmp_path / "log").read_text().splitlines()[-1] == "stopped: 1 accepted, 1 rendered"


def test_a_run_uses_the_server_and_makes_the_same_picture_without_it(
    data: DataDir, capfd: pytest.CaptureFixture[str]
) -> None:
    write_yaml(data.genre_root("west") / "visual_style.yaml", {"positive_suffix": "wide", "base_seed": 1})
    places = chapter(poi("Mill", "a windmill in the snow"))
    write_yaml(data.genre_root("west") / "worlds/old/history.yaml", {"chapters": [places]})
    published = data.published_image("west", "landscape", "mill")
    with server_process(data) as process, open_instance(data) as instance:
        report = bring_up_to_date(data, instance, None, lambda _: None)
    assert not report.failed
    assert (len(report.rendered), report.model_loads) == (1, 1)
    told = "".join(path.read_text() for path in data.dagster_home.rglob("*.err"))
    assert f"pictures are rendered by the render server (process {process.pid})" in told
    assert list((serve_folder(data) / "pictures").iterdir()) == []
    context = Context(data, real_engines(data))
    (world,) = context.catalog.worlds.values()
    record = world_state_of(context, world, "landscape").pictures["mill"].record
    assert record is not None
    assert record.info["rendered_by"] == f"server, process {process.pid}"
    png = published.read_bytes()
    shutil.rmtree(data.store_root)
    published.unlink()
    context = Context(data, real_engines(data))  # one of before would remember what there was
    list(make_world_asset(context, world, "landscape", "stack"))
    (made,) = make_world_asset(context, world, "landscape", "images", {"mill"})
    assert isinstance(made, Made)
    assert made.record.info["rendered_by"] == "in process"
    assert "pictures are rendered in process: no render server is up" in capfd.readouterr().err
    assert published.read_bytes() == png
