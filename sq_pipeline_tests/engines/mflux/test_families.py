"""Z-Image and FLUX.2 through mflux's own classes at small sizes: pictures, adapters on and off, what is applied."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.keymap_files import family_keymap
from sq_pipeline.base_models.base_models import BASE_MODELS, QWEN_MODELS, QwenModel, training_base_of
from sq_pipeline.common.errors import AdapterError, BaseModelError, RenderError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.pictures.ports import Renderer, RenderRequest
from sq_pipeline.verification.fidelity import FidelityReport
from sq_pipeline.verification.measure_fidelity import measure_fidelity
from sq_pipeline.verification.thresholds import FidelityThresholds
from sq_pipeline.verification.verdicts import judge_fidelity

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx
from mflux.models.common.config.model_config import AVAILABLE_MODELS
from mflux.models.common.tokenizer import TokenizerLoader
from mlx.utils import tree_flatten

from sq_pipeline.base_models import files
from sq_pipeline.engines.mflux import families
from sq_pipeline.engines.mflux.adapter_stack import AdapterStack
from sq_pipeline.engines.mflux.families import make_transformer, shapes_of
from sq_pipeline.engines.mflux.loader_targets import layers_of, mapping_for, match_keys
from sq_pipeline_tests.engines.mflux.small_families import small, small_sizes, write_folder

FAMILIES = ("z-image", "flux2-klein-4b")
# the names that files have for layers which mflux calls otherwise
FILE_NAMES = {
    "t_embedder.linear1": "t_embedder.mlp.0",
    "t_embedder.linear2": "t_embedder.mlp.2",
    "all_final_layer.2-1.adaLN_modulation.0": "all_final_layer.2-1.adaLN_modulation.1",
}
PREFIX = {"z-image": "diffusion_model", "flux2": "transformer"}


@pytest.fixture(scope="module")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataDir]:
    """A data directory with both models; MLX compiles nothing meanwhile, which takes seconds a graph on a CPU."""
    root = tmp_path_factory.mktemp("families")
    for name in FAMILIES:
        write_folder(small(name), root / "models" / name)
    mx.disable_compile()
    try:
        with small_sizes():
            yield DataDir(root)
    finally:
        mx.enable_compile()


def write_adapter(base_model: QwenModel, path: Path, rank: int = 3) -> Path:
    """Random numbers for every layer that mflux has a target for."""
    rng, prefix = np.random.default_rng(5), PREFIX[base_model.family]
    tensors: dict[str, np.ndarray] = {}
    for layer, (outputs, inputs) in shapes_of(base_model).items():
        name = f"{prefix}.{FILE_NAMES.get(layer, layer)}"
        tensors[f"{name}.lora_A.weight"] = rng.normal(0, 0.3, (rank, inputs)).astype(np.float32)
        tensors[f"{name}.lora_B.weight"] = rng.normal(0, 0.3, (outputs, rank)).astype(np.float32)
    save_file(tensors, path)
    return path


def measure(base_model: QwenModel, file: Path, source: Path | None = None, scale: float = 1.0) -> FidelityReport:
    meter = factory.fidelity_meter(DataDir(file.parent))
    return measure_fidelity(AdapterUse(file, scale), source or file, base_model, meter)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_all_of_an_adapter_over_every_target_is_applied(name: str, scale: float, tmp_path: Path) -> None:
    base_model = small(name)
    report = measure(base_model, write_adapter(base_model, tmp_path / "a.safetensors"), scale=scale)
    assert len(report.wanted) == len(report.layers) == len(shapes_of(base_model)) > 20
    assert report.relative_error is not None
    assert report.relative_error < 1e-5
    assert judge_fidelity(report, FidelityThresholds()).outcome == "passed"


def _fuse(tensors: dict[str, np.ndarray]) -> None:
    """ComfyUI's way: q, k and v of a block in one matrix of a common rank, in Kohya's words."""
    block = "diffusion_model.layers.0.attention"
    downs, ups = ([tensors.pop(f"{block}.to_{p}.lora_{m}.weight") for p in "qkv"] for m in "AB")
    rank, outputs = downs[0].shape[0], ups[0].shape[0]
    up = np.zeros((3 * outputs, 3 * rank), np.float32)
    for at in range(3):
        up[at * outputs : (at + 1) * outputs, at * rank : (at + 1) * rank] = ups[at]
    tensors[f"{block}.qkv.lora_down.weight"] = np.concatenate(downs)
    tensors[f"{block}.qkv.lora_up.weight"] = up
    tensors[f"{block}.qkv.alpha"] = np.array(3 * rank, np.float32)


def test_a_fused_file_adds_what_its_parts_do(tmp_path: Path) -> None:
    base_model = small("z-image")
    source, fused = write_adapter(base_model, tmp_path / "a.safetensors"), tmp_path / "fused.safetensors"
    tensors = load_file(source)
    _fuse(tensors)
    save_file(tensors, fused)
    for file, meant in ((fused, fused), (fused, source), (source, fused)):
        verdict = judge_fidelity(measure(base_model, file, meant), FidelityThresholds())
        assert verdict.outcome == "passed", verdict.detail


def _drop_layer(tensors: dict[str, np.ndarray]) -> None:
    for matrix in "AB":
        del tensors[f"diffusion_model.layers.1.feed_forward.w2.lora_{matrix}.weight"]


def _stronger(tensors: dict[str, np.ndarray]) -> None:
    tensors["diffusion_model.layers.1.feed_forward.w2.lora_B.weight"] *= 1.05


def _alpha_that_counts(tensors: dict[str, np.ndarray]) -> None:
    tensors["diffusion_model.layers.1.feed_forward.w2.alpha"] = np.array(1.0, np.float32)


@pytest.mark.parametrize(
    ("spoil", "detail"),
    [
        (_drop_layer, "1 of 37 layers were missed (layers.1.feed_forward.w2)"),
        (_stronger, "relative error 0.05 in layers.1.feed_forward.w2"),
        (_alpha_that_counts, "relative error 0.67 in layers.1.feed_forward.w2"),
    ],
)
def test_a_file_that_is_not_what_was_trained_fails(spoil, detail: str, tmp_path: Path) -> None:
    base_model = small("z-image")
    source, file = write_adapter(base_model, tmp_path / "a.safetensors"), tmp_path / "b.safetensors"
    tensors = load_file(source)
    spoil(tensors)
    save_file(tensors, file)
    verdict = judge_fidelity(measure(base_model, file, source), FidelityThresholds())
    assert verdict.outcome == "failed"
    assert detail in verdict.detail


def test_what_mflux_does_not_load_is_missed(tmp_path: Path) -> None:
    """mflux's mapping has no name for an alpha of a global layer: the file means another strength than it gets."""
    base_model = small("z-image")
    path = write_adapter(base_model, tmp_path / "a.safetensors")
    tensors = load_file(path)
    tensors["transformer.cap_embedder.1.alpha"] = np.array(1.0, np.float32)
    for matrix in "AB":
        name = f"cap_embedder.1.lora_{matrix}.weight"
        tensors[f"transformer.{name}"] = tensors.pop(f"diffusion_model.{name}")
    save_file(tensors, path)
    report = measure(base_model, path)
    assert report.unmatched_keys == ("transformer.cap_embedder.1.alpha",)
    assert judge_fidelity(report, FidelityThresholds()).outcome == "failed"


def test_a_file_of_another_family_is_not_read(tmp_path: Path) -> None:
    path = write_adapter(small("flux2-klein-4b"), tmp_path / "a.safetensors")
    with pytest.raises(AdapterError, match="are no layers' of a Z-Image LoRA"):
        measure(small("z-image"), path)


@pytest.mark.parametrize("name", FAMILIES)
def test_taking_an_adapter_off_leaves_no_trace(name: str, tmp_path: Path) -> None:
    base_model = small(name)
    path = write_adapter(base_model, tmp_path / "a.safetensors")
    transformer = make_transformer(base_model)
    modules = {path: id(module) for path, module in transformer.named_modules()}
    before = {name: np.array(array) for name, array in tree_flatten(transformer.parameters())}
    stack = AdapterStack(transformer, mapping_for(base_model))
    (applied,) = stack.use((AdapterUse(path, 0.7),))
    assert (applied.keys_matched, applied.layers_patched) == (applied.keys_total, len(shapes_of(base_model)))
    assert any("lora_A" in name for name, _ in tree_flatten(transformer.parameters()))
    stack.use(())
    after = dict(tree_flatten(transformer.parameters()))
    assert after.keys() == before.keys()
    assert all(np.array_equal(np.array(array), before[name]) for name, array in after.items())
    assert {path: id(module) for path, module in transformer.named_modules()} == modules


def _rename(tensors: dict[str, np.ndarray]) -> None:
    tensors["transformer.other.lora_A.weight"] = np.zeros((3, 4), np.float32)


def _other_block(tensors: dict[str, np.ndarray]) -> None:
    for matrix in "AB":
        key = f"transformer.transformer_blocks.0.attn.to_out.lora_{matrix}.weight"
        tensors[key.replace("blocks.0", "blocks.9")] = tensors.pop(key)


def _narrow(tensors: dict[str, np.ndarray]) -> None:
    key = "transformer.proj_out.lora_A.weight"
    tensors[key] = np.ascontiguousarray(tensors[key][:, :100])


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (_rename, "only 50 of 51 keys"),
        (_other_block, "mflux did not apply it"),
        (_narrow, "proj_out is 128 wide and 128 out, the adapter has 100"),
    ],
)
def test_an_adapter_that_is_not_applied_whole_is_an_error(spoil, problem: str, tmp_path: Path) -> None:
    base_model = small("flux2-klein-4b")
    path = write_adapter(base_model, tmp_path / "a.safetensors")
    tensors = load_file(path)
    spoil(tensors)
    save_file(tensors, path)
    transformer = make_transformer(base_model)
    with pytest.raises(RenderError, match=problem):
        AdapterStack(transformer, mapping_for(base_model)).use((AdapterUse(path, 1.0),))
    assert not [name for name, _ in tree_flatten(transformer.parameters()) if "lora" in name]


@pytest.mark.parametrize("name", sorted(QWEN_MODELS))
def test_the_layers_are_those_of_the_published_model(name: str) -> None:
    """At mflux's own sizes, without a weight in memory: every target of its mapping that the model has."""
    base_model = QWEN_MODELS[name]
    layers = {layer.path: layer for layer in layers_of(base_model)}
    if base_model.family == "z-image":  # 30 + 2 blocks of 8 linear layers, 2 of 7, and 6 around them
        assert len(layers) == 32 * 8 + 2 * 7 + 6
        assert layers["layers.29.feed_forward.w2"].outputs == 3840
    else:  # 5 blocks of 12, 20 of 2, and 9 around them
        assert len(layers) == 5 * 12 + 20 * 2 + 9
        assert layers["transformer_blocks.4.attn.add_v_proj"].rows == (6144, 9216)
    keys = [f"{PREFIX[base_model.family]}.{FILE_NAMES.get(p, p)}.lora_A.weight" for p in layers]
    assert match_keys(keys, mapping_for(base_model)).layers.keys() == layers.keys()


@pytest.mark.parametrize("name", sorted(BASE_MODELS.keys() - {"tiny-flux"}))
def test_a_record_names_what_mflux_has(name: str) -> None:
    base_model = BASE_MODELS[name]
    assert AVAILABLE_MODELS[base_model.mflux_name].model_name == base_model.hub_name


@pytest.mark.parametrize("name", FAMILIES)
def test_every_name_of_the_family_s_keymap_is_a_layer_of_mflux_s(name: str) -> None:
    """A rule for a module that the model has not would let a file pass that nothing is made of."""
    layers = list(layers_of(QWEN_MODELS[name]))
    known = {slot for layer in layers for slot in (layer.module, f"{layer.module}.{layer.part}")}
    for rule in family_keymap(QWEN_MODELS[name].family).rules:
        shapes = [".+".join(map(re.escape, re.split(r"\\\d", target))) for target in rule.target]
        assert all(any(re.fullmatch(shape, slot) for slot in known) for shape in shapes), rule.pattern


def _request(name: str, **changes: object) -> RenderRequest:
    guidance = BASE_MODELS[name].guidance
    request = RenderRequest(name, "a mill at noon", 3, 2, 48, 32, guidance)
    return replace(request, **changes)


@pytest.mark.parametrize("name", FAMILIES)
def test_pictures_follow_the_request_and_the_adapter(name: str, small_data: DataDir, tmp_path: Path) -> None:
    renderer: Renderer = factory.renderer(small_data)
    plain = renderer.render(_request(name)).pixels
    assert plain.shape == (32, 48, 3)
    assert not np.array_equal(plain, renderer.render(_request(name, positive_prompt="town")).pixels)
    assert not np.array_equal(plain, renderer.render(_request(name, seed=4)).pixels)
    reads_negative = not np.array_equal(plain, renderer.render(_request(name, negative_prompt="tower")).pixels)
    assert reads_negative == BASE_MODELS[name].reads_negative_prompt
    use = AdapterUse(write_adapter(small(name), tmp_path / "a.safetensors"), 1.0)
    styled = renderer.render(_request(name, adapters=(use,)))
    assert styled.applied[0].is_whole
    assert not np.array_equal(plain, styled.pixels)
    assert np.array_equal(plain, renderer.render(_request(name)).pixels)
    assert renderer.model_loads == 1
    with pytest.raises(RenderError, match=r"positive_prompt: \d+ tokens, 512 are read"):
        renderer.render(_request(name, positive_prompt="mill " * 600))


@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_are_counted_with_the_chat_around_them(name: str, small_data: DataDir) -> None:
    counter = factory.token_counter(name, small_data)
    (definition,) = families.FAMILIES[small(name).family].weight_definition.get_tokenizers()
    tokenizer = TokenizerLoader.load(definition, str(small_data.models_root / name))
    for text in ("a mill", "a mill at noon, a tower"):
        read = int(tokenizer.tokenize(text).attention_mask.sum())
        counts = counter.count_tokens(text)
        assert (counts.encoder, counts.tokens, counts.budget, counts.clip) == ("Qwen3", read, 512, None)
        assert counts.as_json() == {"qwen3_tokens": read, "qwen3_budget": 512}
    assert counter.count_tokens("mill " * 600).tokens > 3000  # mflux would cut it


@pytest.mark.parametrize("part", ["transformer", "text_encoder", "vae", "tokenizer"])
def test_a_part_that_is_missing_is_named_with_the_way_to_get_it(part: str, tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    for name in {"transformer", "text_encoder", "vae", "tokenizer"} - {part}:
        (data.models_root / "z-image" / name).mkdir(parents=True)
    with pytest.raises(BaseModelError, match=rf"z-image is not on this machine \({part} missing\).*Tongyi-MAI/Z-Image"):
        files.base_model_folder(BASE_MODELS["z-image"], data)


@pytest.mark.parametrize(
    ("name", "trained_over"),
    [
        ("z-image", "z-image"),
        ("z-image-turbo", "z-image-turbo"),
        ("flux2-klein-4b", "flux2-klein-base-4b"),
        ("flux1-dev", "flux1-dev"),
    ],
)
def test_what_an_adapter_is_trained_over(name: str, trained_over: str) -> None:
    assert training_base_of(BASE_MODELS[name]).name == trained_over
