"""What a client may say. Every bad line is answered with its code, and the connection lives on."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sq_pipeline.common.layout import DataDir
from sq_pipeline.pictures.provenance import PROVENANCE, read_request_provenance
from sq_pipeline.serve.protocol import LINE_MAX_BYTES, LineCutter, ProtocolError, read_call
from sq_pipeline_tests.serve.peers import PICTURE, WEIGHTS, open_fake, serving


def render(**change: Any) -> bytes:
    values = {name: value for name, value in {**PICTURE, **change}.items() if value != "LEFT OUT"}
    return json.dumps({"id": 7, "method": "render", "params": values}).encode()


BAD_LINES = [
    ("no json", b"{", "bad_json"),
    ("nothing", b"", "bad_json"),
    ("no utf-8", b'{"id": "\xff"}', "bad_json"),
    ("NaN", b'{"id": 7, "method": "render", "params": {"guidance": NaN}}', "bad_json"),
    ("infinity", render(guidance=float("inf")), "bad_json"),
    ("minus infinity", render(lora_paths=["a"], lora_scales=[float("-inf")]), "bad_json"),
    ("a number of 5,000 digits", b'{"id": ' + b"1" * 5000 + b"}", "bad_json"),
    ("nested too deep", b"[" * 100_000, "bad_json"),
    ("a name twice", b'{"id": 7, "id": 8, "method": "ping"}', "bad_json"),
    ("a list", b"[]", "not_an_object"),
    ("a text", b'"ping"', "not_an_object"),
    ("null", b"null", "not_an_object"),
    ("no id", b'{"method": "ping"}', "bad_id"),
    ("id null", b'{"id": null, "method": "ping"}', "bad_id"),
    ("id true", b'{"id": true, "method": "ping"}', "bad_id"),
    ("id 1.5", b'{"id": 1.5, "method": "ping"}', "bad_id"),
    ("id too long", json.dumps({"id": "x" * 129, "method": "ping"}).encode(), "bad_id"),
    ("id half a character", b'{"id": "\\ud800", "method": "ping"}', "bad_id"),
    ("no method", b'{"id": 7}', "unknown_method"),
    ("method unknown", b'{"id": 7, "method": "draw"}', "unknown_method"),
    ("method a list", b'{"id": 7, "method": ["ping"]}', "unknown_method"),
    ("params a list", b'{"id": 7, "method": "ping", "params": []}', "bad_params"),
    ("params of another", b'{"id": 7, "method": "ping", "params": {"seed": 1}}', "bad_params"),
    ("params beside", b'{"id": 7, "method": "ping", "seed": 1}', "bad_params"),
    ("nothing to cancel", b'{"id": 7, "method": "cancel", "params": {}}', "bad_params"),
    ("cancel unknown", b'{"id": 7, "method": "cancel", "params": {"request": "x"}}', "unknown_request"),
    ("unknown name", render(sampler="euler"), "bad_params"),
    ("no prompt", render(positive_prompt="LEFT OUT"), "bad_params"),
    ("empty prompt", render(positive_prompt=""), "bad_params"),
    ("prompt a number", render(positive_prompt=5), "bad_params"),
    ("prompt half a character", render(positive_prompt="\ud800"), "bad_params"),
    ("prompt with NUL", render(positive_prompt="a\0b"), "bad_params"),
    ("prompt of a book", render(positive_prompt="x" * 20_001), "bad_params"),
    ("seed true", render(seed=True), "bad_params"),
    ("seed a text", render(seed="1"), "bad_params"),
    ("seed 1.0", render(seed=1.0), "bad_params"),
    ("seed negative", render(seed=-1), "bad_params"),
    ("seed huge", render(seed=1 << 32), "bad_params"),
    ("steps true", render(steps=True), "bad_params"),
    ("steps 0", render(steps=0), "bad_params"),
    ("steps absurd", render(steps=10**9), "bad_params"),
    ("guidance true", render(guidance=True), "bad_params"),
    ("guidance a text", render(guidance="3.5"), "bad_params"),
    ("guidance overflows", render(guidance="X").replace(b'"X"', b"1e999"), "bad_params"),
    ("progress 1", render(progress=1), "bad_params"),
    ("paths a text", render(lora_paths="a", lora_scales=[1]), "bad_params"),
    ("path a number", render(lora_paths=[1], lora_scales=[1]), "bad_params"),
    ("scale true", render(lora_paths=["a"], lora_scales=[True]), "bad_params"),
    ("scale null", render(lora_paths=["a"], lora_scales=[None]), "bad_params"),
    ("scale absurd", render(lora_paths=["a"], lora_scales=[1e6]), "bad_params"),
    ("seventeen adapters", render(lora_paths=["a"] * 17, lora_scales=[1] * 17), "bad_params"),
    ("lora_path", render(lora_path="a"), "singular_lora"),
    ("lora_scale", render(lora_scale=1), "singular_lora"),
    ("more paths than scales", render(lora_paths=["a"]), "lengths_differ"),
    ("more scales than paths", render(lora_scales=[1]), "lengths_differ"),
    ("unknown tier", render(tier="poster"), "unknown_tier"),
    ("unknown variant", render(variant="sd15"), "unknown_variant"),
    ("variant with a colon", render(variant="tiny-flux:4bit"), "unknown_variant"),
    ("variant of 3 bits", render(variant="tiny-flux-3bit"), "unknown_variant"),
    ("variant quantized twice", render(variant="tiny-flux-8bit-4bit"), "unknown_variant"),
    ("bits of nothing", render(variant="-4bit"), "unknown_variant"),
    ("width 0", render(width=0), "bad_size"),
    ("width negative", render(width=-16), "bad_size"),
    ("width no multiple", render(width=40), "bad_size"),
    ("height absurd", render(height=1 << 40), "bad_size"),
    ("area absurd", render(width=4096, height=4096), "bad_size"),
    ("other weights", render(base_weights="sha256:0"), "weights_differ"),
    ("path above", render(lora_paths=["../a.safetensors"], lora_scales=[1]), "path_outside"),
    ("path absolute", render(lora_paths=["/etc/passwd"], lora_scales=[1]), "path_outside"),
    ("path of a model", render(lora_paths=["models/tiny-flux/model.safetensors"], lora_scales=[1]), "path_outside"),
    ("path by way of", render(lora_paths=["content/lora/../../sq.yaml"], lora_scales=[1]), "path_outside"),
    ("path empty", render(lora_paths=[""], lora_scales=[1]), "path_outside"),
    ("link to outside", render(lora_paths=["content/lora/out.safetensors"], lora_scales=[1]), "path_outside"),
    ("folder link outside", render(lora_paths=["content/lora/away/a.safetensors"], lora_scales=[1]), "path_outside"),
    ("links in a circle", render(lora_paths=["content/lora/circle"], lora_scales=[1]), "adapter_missing"),
    ("a missing file", render(lora_paths=["content/lora/no.safetensors"], lora_scales=[1]), "adapter_missing"),
    ("a folder", render(lora_paths=["content/lora"], lora_scales=[1]), "adapter_missing"),
    ("a name too long", render(lora_paths=["store/" + "x" * 300], lora_scales=[1]), "adapter_missing"),
    ("too large", b'{"id": 7, "method": "ping", "x": "' + b"x" * LINE_MAX_BYTES + b'"}', "too_large"),
]


def write_traps(data: DataDir, outside: Path) -> None:
    data.lora_root.mkdir(parents=True)
    outside.mkdir()
    (outside / "a.safetensors").write_bytes(b"x")
    (data.lora_root / "out.safetensors").symlink_to(outside / "a.safetensors")
    (data.lora_root / "away").symlink_to(outside)
    (data.lora_root / "circle").symlink_to(data.lora_root / "circle")


def test_every_bad_line_has_its_code_and_the_connection_lives_on(data: DataDir, tmp_path: Path) -> None:
    write_traps(data, tmp_path / "outside")

    async def scenario() -> None:
        async with serving(data, open_fake()) as place:
            peer = await place.join()
            for name, line, code in BAD_LINES:
                peer.say(line)
                answer = await peer.hear()
                assert answer["error"]["code"] == code, name
                assert answer["error"]["message"], name
                assert answer["id"] in (None, 7), name
                assert str(tmp_path) not in answer["error"]["message"], name
            peer.render("good")
            assert (await peer.hear())["result"]["width"] == 32
            assert (await peer.ask("status"))["counts"] == {"accepted": 2, "rendered": 1, "failed": 1}

    asyncio.run(scenario())


def test_an_answer_says_what_was_made(data: DataDir) -> None:
    from PIL import Image

    async def scenario() -> None:
        async with serving(data, open_fake()) as place:
            peer = await place.join()
            peer.render(7, negative_prompt="text", clip_prompt="tower", width=48, progress=True)
            assert [(await peer.hear())["progress"] for _ in range(2)] == [
                {"step": 1, "steps": 2},
                {"step": 2, "steps": 2},
            ]
            answer = await peer.hear()
            result = answer["result"]
            assert answer["id"] == 7
            assert (result["width"], result["height"], result["variant"]) == (48, 32, "tiny-flux")
            assert result["base_weights"] == WEIGHTS
            assert result["ignored"] == ["negative_prompt"]
            path = data.root / result["image_path"]
            assert not Path(result["image_path"]).is_absolute()
            assert [item.name for item in path.parent.iterdir()] == [path.name]
            with Image.open(path) as image:
                assert image.size == (48, 32)
                assert set(image.info) == {PROVENANCE}
                said = read_request_provenance({PROVENANCE: image.info[PROVENANCE]}, "a.png")
            assert (said.positive_prompt, said.clip_prompt, said.negative_prompt) == ("a tower", "tower", None)
            assert [count.tokens for count in said.tokens] == [2, 1]
            assert (said.seed, said.base_weights, said.cut, said.adapters) == (1, WEIGHTS, (), ())
            assert str(data.root) not in image.info[PROVENANCE]

    asyncio.run(scenario())


def test_a_pipelined_flood_is_answered_line_by_line(data: DataDir) -> None:
    async def scenario() -> None:
        async with serving(data, open_fake()) as place:
            peer = await place.join()
            for number in range(3000):
                peer.call(number, "ping")
            assert [(await peer.hear())["id"] for _ in range(3000)] == list(range(3000))

    asyncio.run(scenario())


@given(st.binary(max_size=60))
def test_any_bytes_are_a_call_or_an_error(line: bytes) -> None:
    with suppress(ProtocolError):
        read_call(line)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50)
@given(st.sampled_from([*PICTURE, "guidance", "lora_paths", "lora_scales", "clip_prompt", "other"]), _JSON)
def test_any_value_anywhere_is_taken_or_refused(name: str, value: Any) -> None:
    with suppress(ProtocolError):
        assert read_call(render(**{name: value})).method == "render"


@given(st.lists(st.binary(max_size=12), max_size=8), st.integers(1, 7))
def test_lines_come_whole_however_they_are_cut(lines: list[bytes], piece_bytes: int) -> None:
    lines = [line.replace(b"\n", b"") for line in lines]
    sent = b"".join(line + b"\n" for line in lines)
    cutter = LineCutter(max_bytes=8)
    heard = [
        line for start in range(0, len(sent), piece_bytes) for line in cutter.feed(sent[start : start + piece_bytes])
    ]
    assert heard == [line if len(line) <= 8 else None for line in lines]


@pytest.mark.parametrize("variant", ["tiny", "tiny-flux", "TINY-FLUX", "flux1-dev", "schnell"])
def test_variants_are_base_models_by_name_or_alias(variant: str) -> None:
    assert read_call(render(variant=variant)).params.variant == variant  # type: ignore[union-attr]
