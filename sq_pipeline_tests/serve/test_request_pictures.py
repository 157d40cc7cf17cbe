"""A picture that a client asked of the server: what it says, `verify-image` over it, each forged field, its span."""

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.tensor_scan import tensors_data_version
from sq_pipeline.common.errors import Fault, NoMatchError, PictureError
from sq_pipeline.common.fingerprints import canonical_json, hash_file
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pictures.png_file import encode_png, read_png
from sq_pipeline.pictures.ports import OnStep, RenderedImage, RenderRequest
from sq_pipeline.pictures.provenance import PROVENANCE, RequestProvenance
from sq_pipeline.pictures.rendering import render
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.verify_image.image import ImageReport, verify_image
from sq_pipeline.serve.remote_renderer import ServerFirstRenderer
from sq_pipeline.telemetry.spans import span
from sq_pipeline_tests.conftest import link_shipped
from sq_pipeline_tests.fakes import FakeRenderer
from sq_pipeline_tests.pipeline.fast import FastEngines
from sq_pipeline_tests.serve.adapters import write_adapter
from sq_pipeline_tests.serve.peers import WatchedFake, open_fake, serving
from sq_pipeline_tests.spans import attributes, own_id, parent_id, recorded_spans

Said = dict[str, Any]
WEIGHTS = "sha256:" + "0" * 64
ADAPTER = "content/lora/west/good.safetensors"
ASKED = {
    "positive_prompt": "old_west, a tower",
    "clip_prompt": "tower " * 80,
    "lora_paths": [ADAPTER],
    "lora_scales": [0.5],
    "guidance": 3.5,
}


async def ask(data: DataDir, fake: WatchedFake, **params: Any) -> dict[str, Any]:
    async with serving(data, fake, lambda _: WEIGHTS) as place:
        peer = await place.join()
        peer.render(1, **params)
        return await peer.hear()


@dataclass
class Asked:
    """A data directory with a picture that somebody asked for."""

    data: DataDir
    path: Path

    def verify(self, path: Path | None = None, *, is_rendered_again: bool = True) -> ImageReport:
        engines = FastEngines(renderer=FakeRenderer())
        context = Context(self.data, engines(self.data), looks_ahead=False)
        return verify_image(context, path or self.path, is_rendered_again=is_rendered_again)

    def forge(self, target: Path, change: Callable[[Said], None]) -> Path:
        png = read_png(self.path, "sq.")
        said = json.loads(png.texts[PROVENANCE])
        change(said)
        assert png.pixels is not None
        target.write_bytes(encode_png(png.pixels, {PROVENANCE: canonical_json(said)}))
        return target


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, shipped: DataDir) -> Asked:
    data = link_shipped(tmp_path_factory.mktemp("asked") / "data", shipped)
    write_adapter(data.root / ADAPTER, 1)
    answer = asyncio.run(ask(data, open_fake(), **ASKED))
    assert answer["result"]["cut"] == ["CLIP"]
    return Asked(data, data.root / answer["result"]["image_path"])


def outcomes(report: ImageReport, *kinds: str) -> set[str]:
    return {check.name for check in report.checks if check.outcome in kinds}


def detail(report: ImageReport, name: str) -> str:
    return next(check.detail for check in report.checks if check.name == name)


def test_a_true_picture_agrees_in_all_but_the_store_which_knows_nothing_of_it(asked: Asked) -> None:
    report = asked.verify()
    assert outcomes(report, "cannot be told") == {"store"}
    assert detail(report, "store").startswith("it was asked of the render server directly")
    assert outcomes(report, "agrees") == {check.name for check in report.checks} - {"store"}
    assert len(report.checks) == 12
    assert not report.has_lied
    told = report.as_json()
    assert [told[name] for name in ("genre", "world", "poi", "fingerprint")] == [None] * 4
    assert (told["tier"], told["provenance"]["kind"]) == ("landscape", "request")


def test_it_says_all_that_made_it_and_no_path_of_the_machine(asked: Asked) -> None:
    said = asked.verify(is_rendered_again=False).provenance
    assert isinstance(said, RequestProvenance)
    path = asked.data.root / ADAPTER
    (adapter,) = said.adapters
    assert (adapter.name, adapter.file, adapter.lora_scale) == ("good", ADAPTER, 0.5)
    assert (adapter.file_sha256, adapter.data_version) == (hash_file(path), tensors_data_version(path))
    assert (adapter.keys_matched, adapter.keys_total, adapter.layers_patched) == (64, 64, 32)
    assert adapter.update_norm is not None
    assert [count.model_dump() for count in said.tokens] == [
        {"encoder": "T5", "tokens": 3, "budget": 96},
        {"encoder": "CLIP", "tokens": 80, "budget": 77},
    ]
    assert (said.positive_prompt, said.clip_prompt) == (ASKED["positive_prompt"], ASKED["clip_prompt"])
    assert said.guidance is None  # tiny-flux reads none
    assert (said.base_weights, said.engine, said.chip) == (WEIGHTS, {"fake": "1"}, "no chip")
    texts = read_png(asked.path, "").texts
    assert set(texts) == {PROVENANCE}
    assert str(asked.data.root) not in texts[PROVENANCE]


def _set(name: str, value: Any) -> Callable[[Said], None]:
    return lambda said: said.update({name: value})


def _set_adapter(name: str, value: Any) -> Callable[[Said], None]:
    return lambda said: said["adapters"][0].update({name: value})


FORGED: list[tuple[Callable[[Said], None], set[str]]] = [
    (_set("pixels", "sha256:" + "1" * 64), {"pixels"}),
    (_set("width_px", 48), {"pixels", "rendered again"}),
    (_set("positive_prompt", "old_west, a mill"), {"rendered again"}),
    (_set("positive_prompt", "a mill"), {"tokens", "rendered again"}),
    (_set("clip_prompt", None), {"tokens"}),
    (_set("seed", 2), {"rendered again"}),
    (_set("tokens", []), {"cut", "tokens"}),
    (_set("cut", []), {"cut"}),
    (_set("sampler", "heun"), {"sampler"}),
    (_set("scheduler", "other"), {"sampler"}),
    (_set("adapters", []), {"rendered again"}),
    (_set_adapter("lora_scale", 0.25), {"update of good", "rendered again"}),
    (_set_adapter("data_version", "sha256:" + "1" * 64), {"update of good"}),
    (_set_adapter("update_norm", 1.25), {"update of good"}),
    (_set_adapter("keys_matched", 0), {"adapters applied", "rendered again"}),
    (_set_adapter("share_kept", 0.5), {"adapters applied"}),
    (
        lambda said: said["adapters"][0].update(keys_matched=66, keys_total=66),
        {"update of good", "rendered again"},
    ),
    (lambda said: said["adapters"][0].update(layers_patched=2, layers_expected=2), {"rendered again"}),
]


@pytest.mark.parametrize(("change", "differs"), FORGED)
def test_a_forged_field_is_found(
    change: Callable[[Said], None], differs: set[str], asked: Asked, tmp_path: Path
) -> None:
    report = asked.verify(asked.forge(tmp_path / "a.png", change))
    assert outcomes(report, "differs") == differs
    assert report.has_lied


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        (_set("chip", "another"), "chip"),
        (_set("engine", {"fake": "0"}), "versions"),
        (_set("base_weights", "sha256:" + "1" * 64), "base model"),
        (_set_adapter("file_sha256", "sha256:" + "1" * 64), "adapter good"),
        (_set_adapter("file", "content/lora/elsewhere.safetensors"), "adapter good"),
    ],
)
def test_what_may_have_been_so_is_no_lie(
    change: Callable[[Said], None], moved: str, asked: Asked, tmp_path: Path
) -> None:
    report = asked.verify(asked.forge(tmp_path / "a.png", change))
    assert moved in outcomes(report, "moved on")
    assert not report.has_lied


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("kind", "place"), "sq.provenance.kind: Input should be 'request'"),
        (lambda said: said.pop("kind"), "sq.inputs: is missing"),
        (_set("genre", "west"), "sq.provenance.genre: Extra inputs are not permitted"),
        (_set("schema_version", 2), "sq.provenance.schema_version: Input should be 1"),
    ],
)
def test_another_form_is_a_fault(change: Callable[[Said], Any], message: str, asked: Asked, tmp_path: Path) -> None:
    with pytest.raises(PictureError) as caught:
        asked.verify(asked.forge(tmp_path / "a.png", change))
    assert message in str(caught.value)


def test_a_chunk_of_the_other_kind_is_a_fault(asked: Asked, tmp_path: Path) -> None:
    png = read_png(asked.path, "sq.")
    assert png.pixels is not None
    (tmp_path / "a.png").write_bytes(encode_png(png.pixels, {**png.texts, "sq.place": "west/old/mill"}))
    with pytest.raises(PictureError, match=r"sq\.place: does not belong"):
        asked.verify(tmp_path / "a.png")


def test_an_adapter_is_found_by_its_bytes_wherever_it_is_now(asked: Asked, tmp_path: Path) -> None:
    moved = Asked(DataDir(tmp_path / "copy"), asked.path)
    shutil.copytree(asked.data.root, moved.data.root, symlinks=True)
    there = moved.data.store_root / "kept" / "other.safetensors"
    there.parent.mkdir()
    (moved.data.root / ADAPTER).rename(there)
    report = moved.verify()
    assert detail(report, "adapter good") == f"{ADAPTER} → store/kept/other.safetensors"
    assert outcomes(report, "agrees") >= {"update of good", "rendered again"}
    there.rename(tmp_path / "outside.safetensors")
    there.symlink_to(tmp_path / "outside.safetensors")
    report = moved.verify()
    assert outcomes(report, "cannot be told") == {"store", "adapter good", "update of good", "rendered again"}


class Replacing(WatchedFake):
    """Somebody replaces the adapter while the picture is drawn."""

    def render(self, request: RenderRequest, on_step: OnStep | None = None) -> RenderedImage:
        image = super().render(request, on_step)
        write_adapter(request.adapters[0].path, 2)
        return image


def test_an_adapter_that_is_replaced_meanwhile_makes_no_picture(data: DataDir) -> None:
    write_adapter(data.root / ADAPTER, 1)
    fake = Replacing()
    fake.gate.set()
    answer = asyncio.run(ask(data, fake, **ASKED))
    assert answer["error"]["code"] == "adapter_not_applied"
    assert "was replaced while it rendered" in answer["error"]["message"] or "changed" in answer["error"]["message"]


# spans


def test_a_render_for_a_client_has_its_span_in_the_clients_trace(data: DataDir) -> None:
    write_adapter(data.root / ADAPTER, 1)
    trace, parent = "1" * 32, "2" * 16
    with recorded_spans() as spans:
        asyncio.run(ask(data, open_fake(), traceparent=f"00-{trace}-{parent}-01", **ASKED))
        asyncio.run(ask(data, open_fake(), **ASKED))
    mine, other = spans.named("flux_mlx.render")
    assert (mine.kind, other.kind) == (SpanKind.SERVER, SpanKind.SERVER)
    assert mine.context is not None
    assert (mine.context.trace_id, parent_id(mine)) == (int(trace, 16), int(parent, 16))
    assert other.parent is None
    found = attributes(mine)
    assert found.pop("render.elapsed_ms") >= 0
    assert found.pop("render.rendered_by").startswith("server, process ")
    assert found == {
        "render.tier": "landscape",
        "render.seed": 1,
        "render.variant": "tiny-flux",
        "render.width": 32,
        "render.height": 32,
        "render.lora.stack_size": 1,
        "render.lora.files": (ADAPTER,),
        "render.lora.scales": (0.5,),
        "render.lora.matched_keys": (64,),
    }
    assert mine.status.status_code is StatusCode.UNSET


class NoMatch(WatchedFake):
    def render(self, request: RenderRequest, on_step: OnStep | None = None) -> RenderedImage:
        raise NoMatchError(Fault("a", "", "no key matched", ""), (0,))


@pytest.mark.parametrize("fake", [NoMatch(), WatchedFake(keys_ignored=64, is_strict=False)], ids=["told", "let pass"])
def test_a_stack_without_a_match_is_an_error_in_span_and_answer(fake: WatchedFake, data: DataDir) -> None:
    write_adapter(data.root / ADAPTER, 1)
    fake.gate.set()
    with recorded_spans() as spans:
        answer = asyncio.run(ask(data, fake, **ASKED))
    assert answer["error"]["code"] == "adapter_no_match"
    (told,) = spans.named("flux_mlx.render")
    assert attributes(told)["render.lora.matched_keys"] == (0,)
    assert told.status.status_code is StatusCode.ERROR
    assert told.status.description
    assert not (data.store_root / "serve" / "pictures").exists()


def test_a_runs_render_by_the_server_is_two_spans_of_one_trace(data: DataDir) -> None:
    """The run's own, and under it the server's, which says that it served."""
    use = AdapterUse(write_adapter(data.root / ADAPTER, 1), 1.0)
    asked_for = RenderRequest("tiny-flux", "a tower", 5, 1, 48, 32, None, (use,))
    renderer = ServerFirstRenderer(data, FakeRenderer, FakeRenderer().describe(), lambda _: WEIGHTS, lambda _: None)

    def act() -> None:
        with span("flux_mlx.outer"):
            render(renderer, asked_for)

    async def scenario() -> None:
        async with serving(data, open_fake(), lambda _: WEIGHTS):
            await asyncio.to_thread(act)

    with recorded_spans() as spans:
        asyncio.run(asyncio.wait_for(scenario(), 60))
    served, own, outer = spans.all()
    assert [item.name for item in (served, own, outer)] == ["flux_mlx.render", "flux_mlx.render", "flux_mlx.outer"]
    assert (served.kind, own.kind) == (SpanKind.SERVER, SpanKind.INTERNAL)
    assert (parent_id(served), parent_id(own)) == (own_id(own), own_id(outer))
    assert attributes(served)["render.rendered_by"] == attributes(own)["render.rendered_by"]
