"""Tests of the remap: an MLX adapter to mflux's and Kohya's names. It is total or nothing, and keeps every bit.

The diffusers target, which cuts fused modules in parts, is in test_remap_to_diffusers; the command in test_adapter_cli.
"""

import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.adapters.keymap_files import load_keymap
from sq_pipeline.adapters.remap.remap import remap_adapter
from sq_pipeline.adapters.tensor_scan import tensors_data_version
from sq_pipeline.base_models.flux_modules import DOUBLE_MODULES, SINGLE_MODULES
from sq_pipeline.common.errors import AdapterError, StorageError
from sq_pipeline_tests.adapters.files import (
    FULL,
    KEYMAPS,
    SMALL,
    Bits,
    Tensors,
    entry,
    load,
    load_bits,
    metadata_of,
    mlx_tensors,
    save,
    save_raw,
    to_bits,
    with_value,
)

KINDS = [f"double_blocks.3.{kind}" for kind in DOUBLE_MODULES] + [f"single_blocks.21.{kind}" for kind in SINGLE_MODULES]
TO_MFLUX, TO_KOHYA = (load_keymap(KEYMAPS / f"mlx-to-{target}.yaml") for target in ("mflux", "kohya"))


def kohya_name(module: str) -> str:
    """A module's name in Kohya's files, worked out here without the keymap."""
    return "lora_unet_" + module.replace(".layers.", "_").replace(".", "_")


def lines_of(error: AdapterError) -> list[str]:
    return [str(fault) for fault in error.faults]


# A whole adapter


@pytest.mark.parametrize("keymap", [TO_MFLUX, TO_KOHYA], ids=lambda keymap: keymap.name)
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_a_small_adapter_becomes_its_transposes_under_the_new_names(tmp_path: Path, keymap: Keymap, dtype: str):
    tensors = mlx_tensors(SMALL, rank=3, dtype=dtype)
    remap_adapter(save(tmp_path / "in.safetensors", tensors), tmp_path / "out.safetensors", keymap, SMALL)
    expected: Tensors = {}
    for name, (_, bits) in tensors.items():
        module, _, matrix = name.rpartition(".")
        part = {"lora_a": "lora_down", "lora_b": "lora_up"}[matrix]
        expected[f"{kohya_name(module)}.{part}.weight"] = (dtype, bits.T)
        if keymap is TO_KOHYA:
            expected[f"{kohya_name(module)}.alpha"] = ("F32", to_bits(3.0))
    written = load(tmp_path / "out.safetensors")
    assert written == {name: (kind, bits.shape, bits.tobytes()) for name, (kind, bits) in expected.items()}


@pytest.mark.parametrize(("keymap", "tensors"), [(TO_MFLUX, 608), (TO_KOHYA, 912)], ids=["mflux", "kohya"])
def test_the_full_layout_of_flux1_dev_is_remapped_whole(tmp_path: Path, keymap: Keymap, tensors: int):
    source = save(tmp_path / "in.safetensors", mlx_tensors(FULL, rank=4), {"lora_rank": "4", "lora_blocks": "-1"})
    result = remap_adapter(source, tmp_path / "out.safetensors", keymap, FULL)
    written = load(tmp_path / "out.safetensors")
    assert (result.tensors, result.modules, result.ranks) == (tensors, 304, (4,))
    assert len(written) == tensors
    assert sum(name.endswith(".lora_up.weight") for name in written) == 304
    assert "lora_unet_double_blocks_18_txt_mlp_2.lora_down.weight" in written
    assert "lora_unet_single_blocks_37_modulation_lin.lora_up.weight" in written
    assert result.source_version == tensors_data_version(source)
    assert result.as_json()["ranks"] == [4]


def test_ranks_may_differ_from_module_to_module(tmp_path: Path):
    tensors = {**mlx_tensors(SMALL, rank=2)}
    tensors |= {name: both for name, both in mlx_tensors(SMALL, rank=5).items() if "proj" in name}
    source = save(tmp_path / "in.safetensors", tensors)
    assert remap_adapter(source, tmp_path / "out.safetensors", TO_KOHYA, SMALL).ranks == (2, 5)
    alphas = {name: np.frombuffer(e[2], np.float32)[0] for name, e in load(tmp_path / "out.safetensors").items()}
    assert alphas["lora_unet_double_blocks_0_img_attn_proj.alpha"] == 5
    assert alphas["lora_unet_double_blocks_0_img_attn_qkv.alpha"] == 2


def test_some_blocks_are_enough_where_no_base_model_is_named(tmp_path: Path):
    tensors = {name: both for name, both in mlx_tensors(FULL).items() if name.startswith("single_blocks.37.")}
    source = save(tmp_path / "in.safetensors", tensors)
    assert remap_adapter(source, tmp_path / "out.safetensors", TO_MFLUX).modules == 3


# The update


def finite_bits(dtype: str, shape: tuple[int, int]) -> st.SearchStrategy[Bits]:
    """Any finite numbers: zeros of both signs and subnormals too."""
    width = {"F32": 32, "F16": 16, "BF16": 16}[dtype]
    exponent = {"F32": 0x7F800000, "F16": 0x7C00, "BF16": 0x7F80}[dtype]
    number = st.integers(0, 2**width - 1).filter(lambda bits: bits & exponent != exponent)
    count = shape[0] * shape[1]
    return st.lists(number, min_size=count, max_size=count).map(
        lambda numbers: np.array(numbers, dtype=f"<u{width // 8}").reshape(shape)
    )


@given(
    st.data(),
    st.sampled_from(KINDS),
    st.sampled_from(["F32", "F16", "BF16"]),
    st.sampled_from(["F32", "F16", "BF16"]),
    st.integers(1, 8),
    st.sampled_from([TO_MFLUX, TO_KOHYA]),
)
@settings(deadline=None, max_examples=60)
def test_every_bit_of_the_update_is_kept(
    data: st.DataObject, module: str, down_dtype: str, up_dtype: str, rank: int, keymap: Keymap
):
    inputs, outputs = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    down, up = data.draw(finite_bits(down_dtype, (inputs, rank))), data.draw(finite_bits(up_dtype, (rank, outputs)))
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.safetensors", Path(folder) / "out.safetensors"
        save(source, {f"{module}.lora_a": (down_dtype, down), f"{module}.lora_b": (up_dtype, up)})
        assert remap_adapter(source, target, keymap).ranks == (rank,)
        written = load_bits(target)
    name = kohya_name(module)
    for part, dtype, bits in (("lora_down", down_dtype, down), ("lora_up", up_dtype, up)):
        kept_dtype, kept = written.pop(f"{name}.{part}.weight")
        assert kept_dtype == dtype
        np.testing.assert_array_equal(kept.T, bits)
    if keymap is TO_KOHYA:
        dtype, alpha = written.pop(f"{name}.alpha")
        assert (dtype, alpha.shape, alpha.view(np.float32).item()) == ("F32", (), rank)
    assert written == {}


def test_the_applied_update_is_the_trained_one(tmp_path: Path):
    """x·A·B in MLX equals alpha/rank · up·down·x for a loader; exact, for the numbers are small and whole."""
    random = np.random.default_rng(1)
    a, b = random.integers(-9, 9, (6, 3)), random.integers(-9, 9, (3, 5))
    tensors: Tensors = {
        "single_blocks.0.linear2.lora_a": ("F32", to_bits(a)),
        "single_blocks.0.linear2.lora_b": ("F32", to_bits(b)),
    }
    remap_adapter(save(tmp_path / "in.safetensors", tensors), tmp_path / "out.safetensors", TO_KOHYA)
    stem = "lora_unet_single_blocks_0_linear2"
    down, up, alpha = (
        load_bits(tmp_path / "out.safetensors")[f"{stem}.{part}"][1].view(np.float32)
        for part in ("lora_down.weight", "lora_up.weight", "alpha")
    )
    np.testing.assert_array_equal(alpha / down.shape[0] * up @ down, (a @ b).T)


# Total or nothing

Change = Callable[[Tensors], Tensors]
QKV, PROJ, LINEAR = "double_blocks.0.img_attn.qkv", "double_blocks.0.txt_attn.proj", "single_blocks.0.linear1"


def without(*names: str) -> Change:
    return lambda tensors: {name: both for name, both in tensors.items() if name not in names}


def reshaped(name: str, shape: tuple[int, ...], dtype: str = "F32") -> Change:
    width = {"F32": 4, "I32": 4, "F64": 8}[dtype]
    kind = "U32" if dtype == "I32" else dtype
    return lambda tensors: {**tensors, name: (kind, np.zeros(shape, dtype=f"<u{width}"))}


FAULTY: dict[str, tuple[list[Change], list[str]]] = {
    # changes to a whole adapter, what each line of the error says
    "an unknown key": (
        [lambda t: {**t, "img_in.lora_a": t[f"{QKV}.lora_a"]}],
        ["img_in.lora_a: unknown key: no rule of mlx-to-mlx matches it; see `sq-pipeline adapter inspect "],
    ),
    "half a module in another dialect": (
        [lambda t: {"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": t[f"{QKV}.lora_a"]}],
        [f"{QKV}.lora_b: missing: its partner is there (lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight)"],
    ),
    "a missing half": (
        [without(f"{QKV}.lora_a", f"{LINEAR}.lora_b")],
        [f"{QKV}.lora_a: missing: its partner is there", f"{LINEAR}.lora_b: missing: its partner is there"],
    ),
    "ranks that differ": (
        [reshaped(f"{QKV}.lora_a", (4, 3))],
        [f"{QKV}: misshapen: lora_a is [4, 3], lora_b [2, 12]; the ranks 3 and 2 differ"],
    ),
    "a vector": ([reshaped(f"{QKV}.lora_a", (4,))], [f"{QKV}.lora_a: is F32 [4], not a filled matrix"]),
    "a cube": ([reshaped(f"{QKV}.lora_b", (2, 12, 1))], [f"{QKV}.lora_b: is F32 [2, 12, 1], not a filled matrix"]),
    "rank zero": (
        [reshaped(f"{QKV}.lora_a", (4, 0)), reshaped(f"{QKV}.lora_b", (0, 12))],
        [f"{QKV}.lora_a: is F32 [4, 0], not a filled", f"{QKV}.lora_b: is F32 [0, 12], not a filled"],
    ),
    "whole numbers": ([reshaped(f"{QKV}.lora_a", (4, 2), "I32")], [f"{QKV}.lora_a: is U32 [4, 2], not a filled"]),
    "a NaN": (
        [lambda t: with_value(t, f"{PROJ}.lora_b", np.nan)],
        [f"{PROJ}.lora_b: holds NaN or infinity; train it again, at a lower learning rate"],
    ),
    "an infinity": (
        [lambda t: with_value(t, f"{PROJ}.lora_a", -np.inf)],
        [f"{PROJ}.lora_a: holds NaN or infinity"],
    ),
    "no tensors": ([lambda t: {}], ["holds no tensors; export the adapter again"]),
    "all of it at once": (
        [
            lambda t: {**t, "a.lora_a": t[f"{QKV}.lora_a"], "z": t[f"{QKV}.lora_a"]},
            without(f"{PROJ}.lora_b"),
            reshaped(f"{QKV}.lora_b", (3, 12)),
            reshaped("single_blocks.0.modulation.lin.lora_a", (8,)),
            lambda t: with_value(t, f"{LINEAR}.lora_a", np.nan),
            lambda t: with_value(t, f"{LINEAR}.lora_b", np.inf),
        ],
        [
            "a.lora_a: unknown key",
            "single_blocks.0.modulation.lin.lora_a: is F32 [8]",
            "z: unknown key",
            f"{QKV}: misshapen: lora_a is [4, 2], lora_b [3, 12]",
            f"{PROJ}.lora_b: missing",
            f"{LINEAR}.lora_a: holds NaN or infinity",
            f"{LINEAR}.lora_b: holds NaN or infinity",
        ],
    ),
}


@pytest.mark.parametrize("case", FAULTY)
def test_a_faulty_adapter_is_one_error_that_names_everything_and_writes_nothing(tmp_path: Path, case: str):
    changes, expected = FAULTY[case]
    tensors = mlx_tensors(SMALL, rank=2)
    for change in changes:
        tensors = change(tensors)
    source, target = save(tmp_path / "in.safetensors", tensors), tmp_path / "out.safetensors"
    with pytest.raises(AdapterError) as caught:
        remap_adapter(source, target, TO_MFLUX)
    lines = lines_of(caught.value)
    assert len(lines) == len(expected)
    for line, part in zip(lines, expected, strict=True):
        assert line.startswith(f"{source}: ")
        assert part in line
    assert list(tmp_path.iterdir()) == [source]


def test_a_faulty_adapter_leaves_what_was_at_the_target(tmp_path: Path):
    target = tmp_path / "out.safetensors"
    target.write_bytes(b"the last good one")
    source = save(tmp_path / "in.safetensors", without(f"{QKV}.lora_a")(mlx_tensors()))
    with pytest.raises(AdapterError):
        remap_adapter(source, target, TO_MFLUX)
    assert target.read_bytes() == b"the last good one"
    assert sorted(tmp_path.iterdir()) == [source, target]


def test_half_of_the_608_keys_are_named_one_by_one(tmp_path: Path):
    tensors = {name: both for name, both in mlx_tensors(FULL).items() if name.endswith(".lora_a")}
    source = save(tmp_path / "in.safetensors", tensors)
    with pytest.raises(AdapterError) as caught:
        remap_adapter(source, tmp_path / "out.safetensors", TO_MFLUX)
    assert len(caught.value.faults) == 304
    assert all("lora_b: missing: its partner is there" in line for line in lines_of(caught.value))


def test_a_key_twice_in_the_header_is_an_error(tmp_path: Path):
    one = f'"{QKV}.lora_a":{{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}'
    source = save_raw(tmp_path / "in.safetensors", f"{{{one},{one}}}", b"\0" * 4)
    with pytest.raises(AdapterError, match=rf"has the key '{QKV}.lora_a' twice"):
        remap_adapter(source, tmp_path / "out.safetensors", TO_MFLUX)
    assert list(tmp_path.iterdir()) == [source]


def test_two_keys_that_would_become_one_are_both_named(tmp_path: Path):
    """A keymap from disk cannot be like this; the remap stands on its own."""
    merged = TO_MFLUX.rules[0].model_copy(update={"target": TO_MFLUX.rules[2].target})
    keymap = TO_MFLUX.model_copy(update={"rules": (merged, *TO_MFLUX.rules[1:])})
    with pytest.raises(AdapterError) as caught:
        remap_adapter(save(tmp_path / "in.safetensors", mlx_tensors()), tmp_path / "out.safetensors", keymap)
    (line,) = lines_of(caught.value)
    assert "double_blocks.0.img_attn.qkv.lora_a: becomes lora_unet_double_blocks_0_img_attn_proj.lora_down" in line
    assert "as double_blocks.0.img_attn.proj.lora_a does" in line
    assert not (tmp_path / "out.safetensors").exists()


def test_a_rule_that_leaves_a_matrix_lying_is_an_error(tmp_path: Path):
    untransposed = TO_MFLUX.rules[0].model_copy(update={"transpose": False})
    keymap = TO_MFLUX.model_copy(update={"rules": (untransposed, *TO_MFLUX.rules[1:])})
    with pytest.raises(AdapterError, match=r"qkv\.lora_a: misshapen: .+ would be \[4, 2\], with the rank 2 on the"):
        remap_adapter(save(tmp_path / "in.safetensors", mlx_tensors()), tmp_path / "out.safetensors", keymap)


# Against a base model


def test_every_module_of_the_base_model_has_to_be_there(tmp_path: Path):
    gone = ["double_blocks.18.txt_mod.lin", "single_blocks.0.linear2", "single_blocks.37.linear1"]
    tensors = {name: both for name, both in mlx_tensors(FULL).items() if name.rpartition(".")[0] not in gone}
    source = save(tmp_path / "in.safetensors", tensors)
    with pytest.raises(AdapterError) as caught:
        remap_adapter(source, tmp_path / "out.safetensors", TO_MFLUX, FULL)
    assert lines_of(caught.value) == [
        f"{source}: {module}: missing: flux1-dev has this module; train all blocks" for module in gone
    ]
    assert list(tmp_path.iterdir()) == [source]


def test_an_adapter_of_another_base_model_names_every_width_and_block(tmp_path: Path):
    tensors = {**mlx_tensors(SMALL), "single_blocks.1.linear2.lora_a": ("F32", to_bits(np.ones((20, 2))))}
    tensors["single_blocks.1.linear2.lora_b"] = ("F32", to_bits(np.ones((2, 4))))
    tensors["double_blocks.0.img_attn.qkv.lora_b"] = ("F32", to_bits(np.ones((2, 9))))
    tensors["double_blocks.0.img_mlp.layers.2.lora_a"] = ("F32", to_bits(np.ones((4, 2))))
    source = save(tmp_path / "in.safetensors", tensors)
    with pytest.raises(AdapterError) as caught:
        remap_adapter(source, tmp_path / "out.safetensors", TO_MFLUX, SMALL)
    assert lines_of(caught.value) == [
        f"{source}: double_blocks.0.img_attn.qkv.lora_b: misshapen: [2, 9], small needs a width of 12; "
        "was it trained for small?",
        f"{source}: double_blocks.0.img_mlp.layers.2.lora_a: misshapen: [4, 2], small needs a width of 16; "
        "was it trained for small?",
        f"{source}: single_blocks.1.linear2: unknown: small has no such module; check the base model",
    ]


# The same input gives the same bytes


def remapped(folder: Path, source: Path, keymap: Keymap = TO_MFLUX) -> bytes:
    target = folder / "out.safetensors"
    remap_adapter(source, target, keymap, SMALL)
    return target.read_bytes()


def test_equal_input_gives_equal_bytes(tmp_path: Path):
    tensors = mlx_tensors(SMALL, dtype="BF16")
    at_first = remapped(tmp_path, save(tmp_path / "in.safetensors", tensors))
    assert remapped(tmp_path, tmp_path / "in.safetensors") == at_first
    for metadata in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}, {"trained_at": "noon"}):
        assert remapped(tmp_path, save(tmp_path / "another.safetensors", tensors, metadata)) == at_first
    backwards, at, content = {}, 0, b""
    for name, (dtype, bits) in reversed(tensors.items()):
        backwards[name] = entry(dtype, bits.shape, at, at + bits.nbytes)
        at, content = at + bits.nbytes, content + bits.tobytes()
    assert remapped(tmp_path, save_raw(tmp_path / "backwards.safetensors", backwards, content)) == at_first
    assert remapped(tmp_path, save(tmp_path / "in.safetensors", mlx_tensors(SMALL, dtype="BF16", seed=1))) != at_first


def test_a_comment_in_the_keymap_changes_no_byte_and_a_rule_does(tmp_path: Path):
    text = (KEYMAPS / "mlx-to-mflux.yaml").read_text()
    source = save(tmp_path / "in.safetensors", mlx_tensors())
    edited = tmp_path / "k.yaml"
    edited.write_text("# read on a Sunday\n" + text.replace("rules:\n", "rules: # twenty-six\n"))
    assert remapped(tmp_path, source, load_keymap(edited)) == remapped(tmp_path, source)
    edited.write_text(text.replace(r"lora_unet_single_blocks_\1_linear2.", r"lora_unet_single_blocks_\1_linear_2."))
    assert remapped(tmp_path, source, load_keymap(edited)) != remapped(tmp_path, source)


def test_the_file_says_what_it_was_made_with(tmp_path: Path):
    source = save(tmp_path / "in.safetensors", mlx_tensors(rank=3), {"lora_rank": "3", "lora_blocks": "-1"})
    result = remap_adapter(source, tmp_path / "out.safetensors", TO_KOHYA)
    assert metadata_of(tmp_path / "out.safetensors") == {
        "format": "kohya",
        "lora_rank": "3",
        "sq.keymap": "mlx-to-kohya",
        "sq.keymap_version": "1",
        "sq.keymap_rules": TO_KOHYA.rules_hash,
        "sq.source": tensors_data_version(source),
        "sq.source_dialect": "mlx-examples",
        "sq.alphas": "added",
    }
    assert (result.keymap, result.keymap_version, result.rules_hash) == ("mlx-to-kohya", 1, TO_KOHYA.rules_hash)


# Files and memory


def test_a_file_may_be_remapped_onto_itself(tmp_path: Path):
    source = save(tmp_path / "in.safetensors", mlx_tensors())
    expected = remapped(tmp_path, source)
    remap_adapter(source, source, TO_MFLUX)
    assert source.read_bytes() == expected


def test_folders_on_the_way_to_the_target_are_made(tmp_path: Path):
    target = tmp_path / "some" / "where" / "out.safetensors"
    remap_adapter(save(tmp_path / "in.safetensors", mlx_tensors()), target, TO_MFLUX)
    assert [path.name for path in target.parent.iterdir()] == ["out.safetensors"]


def test_a_folder_at_the_target_is_an_error(tmp_path: Path):
    source = save(tmp_path / "in.safetensors", mlx_tensors())
    (tmp_path / "out").mkdir()
    with pytest.raises((AdapterError, StorageError), match="is a folder, not a file"):
        remap_adapter(source, tmp_path / "out", TO_MFLUX)
    assert list((tmp_path / "out").iterdir()) == []


def test_tensors_stream_through_memory_one_at_a_time(tmp_path: Path):
    tensors: Tensors = {}
    for block in range(32):
        for matrix, shape in (("lora_a", (256, 512)), ("lora_b", (512, 256))):
            tensors[f"single_blocks.{block}.linear2.{matrix}"] = ("F32", np.ones(shape, np.uint32))
    source = save(tmp_path / "in.safetensors", tensors)
    one_tensor_bytes, all_bytes = 256 * 512 * 4, source.stat().st_size
    tracemalloc.start()
    try:
        remap_adapter(source, tmp_path / "out.safetensors", TO_MFLUX)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 * one_tensor_bytes < all_bytes / 6
