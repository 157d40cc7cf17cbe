"""Changing stacks: exact, without loading the base again, and for recent ones without reading a file."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mflux.models.flux.variants.txt2img.flux import Flux1

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.common.errors import NoMatchError, RenderError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.engines.mflux import ready_stacks
from sq_pipeline.engines.mflux.adapter_stack import AdapterStack
from sq_pipeline.engines.tiny_flux import mflux_build
from sq_pipeline.pictures.ports import RenderRequest

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx
import numpy as np
from mflux.models.common.config.config import Config
from mflux.models.common.lora.mapping.lora_loader import LoRALoader
from mflux.models.flux.model.flux_transformer.transformer import Transformer
from mlx.utils import tree_flatten
from safetensors.numpy import save_file

from sq_pipeline.base_models import files
from sq_pipeline.engines.mflux.dtype import use_float32
from sq_pipeline.engines.mflux.loader_targets import mapping_for, match_keys, narrow_to_keys
from sq_pipeline.engines.mflux.prompt_cache import PromptCache
from sq_pipeline.engines.mflux.renderer import MfluxRenderer
from sq_pipeline_tests.serve.adapters import write_adapter

REQUEST = RenderRequest("tiny-flux", "an old windmill on the left of the meadow at noon", 7, 2, 32, 32, None)
TINY = BASE_MODELS["tiny-flux"]


@pytest.fixture(scope="module")
def transformer(shipped: DataDir) -> Transformer:
    use_float32()
    return mflux_build.build(shipped.models_root / "tiny-flux").transformer


@pytest.fixture
def adapters(tmp_path: Path) -> list[Path]:
    return [write_adapter(tmp_path / f"{seed}.safetensors", seed) for seed in range(4)]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files written by this test are not young any more."""
    now = ready_stacks.time.time_ns
    monkeypatch.setattr(ready_stacks.time, "time_ns", lambda: now() + 10_000_000_000)


@pytest.fixture
def one_bytes(transformer: Transformer, adapters: list[Path], later: None) -> int:
    """What one adapter takes up."""
    stack = AdapterStack(transformer, mapping_for(TINY), 0)
    stack.use((AdapterUse(adapters[3], 1.0),))
    stack.take_off()
    assert 0.9 * adapters[3].stat().st_size < stack.ready_bytes < 1.2 * adapters[3].stat().st_size
    return stack.ready_bytes


def predict(transformer: Transformer) -> np.ndarray:
    config = Config(model_config=mflux_build.model_config(), num_inference_steps=8, height=32, width=32)
    key = mx.random.key(1)
    latents, text = mx.random.normal((1, 4, 64), key=key), mx.random.normal((1, 5, 128), key=key)
    return np.array(transformer(2, config, latents, text, mx.random.normal((1, 256), key=key)))


def test_after_ten_swaps_the_base_is_bit_identical(transformer: Transformer, adapters: list[Path], later: None) -> None:
    before = {name: np.array(array) for name, array in tree_flatten(transformer.parameters())}
    modules = {name: id(module) for name, module in transformer.named_modules()}
    plain = predict(transformer)
    stack = AdapterStack(transformer, mapping_for(TINY), 1 << 30)
    for number in range(10):
        stack.use((AdapterUse(adapters[number % 4], 0.5), AdapterUse(adapters[(number + 1) % 4], 1.0)))
        assert not np.array_equal(predict(transformer), plain)
    stack.use(())
    assert stack.swaps == 11
    after = dict(tree_flatten(transformer.parameters()))
    assert after.keys() == before.keys()
    assert all(np.array(array).tobytes() == before[name].tobytes() for name, array in after.items())
    assert {name: id(module) for name, module in transformer.named_modules()} == modules
    assert predict(transformer).tobytes() == plain.tobytes()


def test_a_recent_stack_is_put_on_again_without_reading_a_file(
    transformer: Transformer, adapters: list[Path], later: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = AdapterStack(transformer, mapping_for(TINY), 1 << 30)
    stacks = [(AdapterUse(path, 0.8),) for path in adapters]
    stacks.append((AdapterUse(adapters[0], 0.8), AdapterUse(adapters[1], 0.8)))
    first = [(stack.use(uses), predict(transformer).tobytes()) for uses in stacks]

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a file was read")

    monkeypatch.setattr(LoRALoader, "load_and_apply_lora", forbidden)
    monkeypatch.setattr(mx, "load", forbidden)
    again = [(stack.use(uses), predict(transformer).tobytes()) for uses in reversed(stacks)]
    assert again[::-1] == first
    stack.take_off()


@pytest.mark.parametrize("how", ["replaced", "written over"])
@pytest.mark.parametrize("is_young", [True, False])
def test_a_file_that_changed_is_never_served_from_the_old_stack(
    how: str, is_young: bool, transformer: Transformer, adapters: list[Path], request: pytest.FixtureRequest
) -> None:
    if not is_young:
        request.getfixturevalue("later")
    stack = AdapterStack(transformer, mapping_for(TINY), 1 << 30)
    path, other = adapters[0], adapters[1]
    assert path.stat().st_size == other.stat().st_size
    stack.use((AdapterUse(other, 1.0),))
    wanted = predict(transformer)
    stack.use((AdapterUse(path, 1.0),))
    old = predict(transformer)
    if how == "replaced":
        other.replace(path)
    else:
        path.write_bytes(other.read_bytes())
    stack.use((AdapterUse(path, 1.0),))
    assert np.array_equal(predict(transformer), wanted)
    assert not np.array_equal(old, wanted)
    stack.take_off()


def test_what_was_read_young_is_read_again(
    transformer: Transformer, adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written twice within the resolution of the file system's times: both look the same, then and for ever."""
    now = ready_stacks.time.time_ns()
    monkeypatch.setattr(ready_stacks, "stamp_of", lambda path: (str(path), 1, now, now, 1))
    stack = AdapterStack(transformer, mapping_for(TINY), 1 << 30)
    stack.use((AdapterUse(adapters[0], 1.0),))
    old = predict(transformer)
    adapters[0].write_bytes(adapters[1].read_bytes())
    monkeypatch.setattr(ready_stacks.time, "time_ns", lambda: now + 10_000_000_000)
    stack.use((AdapterUse(adapters[0], 1.0),))
    assert not np.array_equal(predict(transformer), old)
    stack.take_off()


def test_ready_stacks_keep_to_their_budget(
    transformer: Transformer, adapters: list[Path], one_bytes: int, later: None
) -> None:
    stack = AdapterStack(transformer, mapping_for(TINY), 2 * one_bytes)
    a, b, c, _ = ((AdapterUse(path, 1.0),) for path in adapters)
    reads: list[int] = []
    for uses in (a, b, a, c, a, b):
        stack.use(uses)
        assert stack.ready_bytes <= 2 * one_bytes
        reads.append(stack.files_read)
    assert reads == [1, 2, 2, 3, 3, 4]  # b had to go for c, since a was used after it
    stack.take_off()


def test_without_a_budget_only_the_stack_in_use_is_kept(
    transformer: Transformer, adapters: list[Path], one_bytes: int, later: None
) -> None:
    stack = AdapterStack(transformer, mapping_for(TINY), 0)
    for path in (adapters[0], adapters[0], adapters[1], adapters[0]):
        stack.use((AdapterUse(path, 1.0),))
        assert stack.ready_bytes == one_bytes
    assert stack.files_read == 3
    stack.take_off()


def test_an_adapter_without_a_known_key_has_an_error_of_its_own(transformer: Transformer, tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"unet.mid_block.lora_A.weight": np.zeros((1, 4), np.float32)}, path)
    stack = AdapterStack(transformer, mapping_for(TINY))
    with pytest.raises(NoMatchError, match="mflux did not apply it"):
        stack.use((AdapterUse(path, 1.0),))
    with pytest.raises(RenderError, match="cannot be read"):
        stack.use((AdapterUse(tmp_path / "none.safetensors", 1.0),))


def test_the_prompt_cache_keeps_what_was_used_last() -> None:
    cache = PromptCache(2)
    cache["a"], cache["b"] = 1, 2
    assert cache["a"] == 1
    cache["c"] = 3
    assert "b" not in cache
    assert (cache["a"], cache["c"], len(cache)) == (1, 3, 2)
    with pytest.raises(KeyError):
        cache["b"]


@pytest.fixture(scope="module")
def own(shipped: DataDir) -> MfluxRenderer:
    return MfluxRenderer(shipped, 1 << 28)


def test_a_prompt_is_encoded_once_over_many_pictures(shipped: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Flux1] = []
    build = mflux_build.build
    monkeypatch.setattr(mflux_build, "build", lambda *asked: built.append(build(*asked)) or built[-1])
    own = MfluxRenderer(shipped, 1 << 28)
    own.render(REQUEST)
    (flux,) = built
    encoded: list[int] = []
    tokenize = flux.tokenizers["t5"].tokenize
    monkeypatch.setattr(flux.tokenizers["t5"], "tokenize", lambda text: encoded.append(1) or tokenize(text))
    first = own.render(replace(REQUEST, positive_prompt="another tower"))
    second = own.render(replace(REQUEST, positive_prompt="another tower"))
    assert len(encoded) == 1
    assert np.array_equal(first.pixels, second.pixels)
    for number in range(70):
        flux.prompt_cache[f"prompt {number}"] = (number, number)
    assert len(flux.prompt_cache) == 64


def test_clip_may_read_a_prompt_of_its_own(own: MfluxRenderer) -> None:
    plain = own.render(REQUEST).pixels
    same = own.render(replace(REQUEST, clip_prompt=REQUEST.positive_prompt)).pixels
    other = own.render(replace(REQUEST, clip_prompt="a church in the snow at night")).pixels
    assert np.array_equal(plain, same)
    assert not np.array_equal(plain, other)
    with pytest.raises(RenderError, match=r"clip_prompt: \d+ tokens, 77 are read"):
        own.render(replace(REQUEST, clip_prompt="a tower " * 80))


class _Enough(Exception):
    pass


def test_a_render_can_be_watched_and_stopped_between_steps(own: MfluxRenderer) -> None:
    seen: list[tuple[int, int]] = []
    plain = own.render(replace(REQUEST, num_inference_steps=4))
    watched = own.render(replace(REQUEST, num_inference_steps=4), lambda done, steps: seen.append((done, steps)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert np.array_equal(plain.pixels, watched.pixels)

    def stop(done: int, steps: int) -> None:
        seen.append((done, steps))
        if done == 2:
            raise _Enough

    seen.clear()
    with pytest.raises(_Enough):
        own.render(replace(REQUEST, num_inference_steps=4), stop)
    assert seen == [(1, 4), (2, 4)]
    assert np.array_equal(own.render(replace(REQUEST, num_inference_steps=4)).pixels, plain.pixels)
    assert len(seen) == 2


def test_a_base_model_whose_files_changed_is_loaded_again(shipped: DataDir, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "tiny-flux"
    folder.mkdir(parents=True)
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).write_bytes((shipped.models_root / "tiny-flux" / name).read_bytes())
    data = DataDir(tmp_path)
    renderer, hash_of = factory.renderer(data), files.quick_weights_hash(data)
    first, before = renderer.render(REQUEST).pixels, hash_of("tiny")
    tensors = mx.load(str(folder / "model.safetensors"))
    assert isinstance(tensors, dict)
    name = next(name for name in tensors if name.startswith("transformer.img_in"))
    changed = {**tensors, name: tensors[name] * 1.5}
    mx.save_safetensors(str(tmp_path / "new.safetensors"), changed)
    (tmp_path / "new.safetensors").replace(folder / "model.safetensors")
    assert not np.array_equal(renderer.render(REQUEST).pixels, first)
    assert hash_of("tiny") != before
    assert renderer.model_loads == 2
    assert renderer.figures()["model_loads"] == 2


_MAPPING = mapping_for(TINY)
_ALL_KEYS = sorted(
    {
        name.replace("{block}", block)
        for match in LoRALoader._build_pattern_mappings(_MAPPING)
        for name in (match.source_pattern, match.source_pattern.removesuffix(".weight"))
        for block in ("0", "1", "13")
    }
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(_ALL_KEYS) | st.sampled_from(["other.0.lora_A.weight", "a.00.b"]), max_size=12))
def test_patterns_that_are_left_out_match_nothing(keys: list[str]) -> None:
    assert match_keys(keys, narrow_to_keys(_MAPPING, keys)) == match_keys(keys, _MAPPING)
