"""Properties of the remap over every dialect: the update is the same after any remap, and the way back gives the bytes.

The files come from builders that know nothing of keymaps. What published loaders make of them: test_matrix.
"""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sq_pipeline.adapters.dialects import name_dialect
from sq_pipeline.adapters.keymap_files import load_keymap, select_reading_keymap
from sq_pipeline.adapters.reading import ReadOptions
from sq_pipeline.adapters.remap.remap import RemapResult, remap_adapter
from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.adapters.source import AdapterSource, open_adapter
from sq_pipeline.base_models.flux_modules import modules_of
from sq_pipeline.common.errors import AdapterError
from sq_pipeline_tests.adapters.files import KEYMAPS, SMALL, load, load_bits, metadata_of, save
from sq_pipeline_tests.loaders.dialect_files import DIALECTS
from sq_pipeline_tests.loaders.factors import Alpha, Recipe
from sq_pipeline_tests.loaders.matrix import relative_error

TARGETS = {
    name: load_keymap(KEYMAPS / f"mlx-to-{name}.yaml")
    for name in ("mlx", "kohya", "diffusers", "mflux", "mflux-before-0.19")
}
NAMES = {
    "mlx": "mlx-examples",
    "kohya": "Kohya",
    "mflux-tiled": "Kohya",
    "bfl": "BFL/Comfy",
    "bfl-down-up": "BFL/Comfy",
    "diffusers": "diffusers",
    "diffusers-metadata": "diffusers",
    "ai-toolkit": "ai-toolkit",
    "mflux-train": "mflux-train",
    "mflux-train-new": "mflux-train",
    "xlabs": "XLabs",
    "onetrainer": "OneTrainer",
    "onetrainer-omi": "OneTrainer (OMI)",
}
ALPHA_IS_RANK = ReadOptions(missing_alpha="rank")


def remap(source: Path, target: Path, keymap: str, dialect: str = "") -> RemapResult:
    """Remap, with what a person would say about a file of that dialect."""
    reading = select_reading_keymap(KEYMAPS, "mflux-before-0.19") if dialect == "mflux-tiled" else None
    return remap_adapter(source, target, TARGETS[keymap], reading=reading, options=ALPHA_IS_RANK)


def update_of(adapter: AdapterSource) -> dict[str, np.ndarray]:
    """The whole update of an adapter by module, as the internal form has it: (outputs, inputs) float64."""
    updates = {module: np.zeros((outputs, inputs)) for module, inputs, outputs in modules_of(SMALL)}
    starts = {"q": 0, "k": 4, "v": 8, "mlp": 12, "": 0}
    for patch in adapter.patches.values():
        down, up = (adapter.numbers(matrix).astype(np.float64) for matrix in (patch.down, patch.up))
        start = starts[patch.part]
        updates[patch.module][start : start + up.shape[0]] += patch.scale * (up @ down)
    return updates


def is_multiplied(result: RemapResult) -> bool:
    """True when the target could not hold a scale, and the remap says so."""
    return any("multiplied" in note for note in result.notes)


@st.composite
def recipes(draw: st.DrawFn, dialect: str) -> Recipe:
    _, has_alpha, has_parts = DIALECTS[dialect]
    alphas: list[Alpha] = ["none", "rank", "half", "one"]
    ranks = draw(
        st.one_of(st.sampled_from([1, 3, 4, 6, 8, 12, 16]), st.lists(st.integers(1, 9), min_size=2, max_size=5))
    )
    return Recipe(
        base_model=SMALL,
        ranks=ranks,
        dtype=draw(st.sampled_from(["F32", "F16", "BF16"])),
        alpha=draw(st.sampled_from(alphas)) if has_alpha else "none",
        seed=draw(st.integers(0, 99)),
        own_parts=has_parts and draw(st.booleans()),
        only=draw(st.sampled_from(["", "", "double", "linear1", "qkv", r"\.q|linear2|proj"])) if has_parts else "",
    )


@pytest.mark.parametrize("dialect", DIALECTS)
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_the_update_is_the_same_in_every_target(dialect: str, data: st.DataObject):
    recipe = data.draw(recipes(dialect))
    target = data.draw(st.sampled_from(sorted(TARGETS)))
    with tempfile.TemporaryDirectory() as folder:
        built = DIALECTS[dialect][0](Path(folder) / "in.safetensors", recipe)
        file = open_safetensors(built.path)
        assert name_dialect(file.tensors, file.metadata) == NAMES[dialect]
        result = remap(built.path, Path(folder) / "out.safetensors", target, dialect)
        adapter = open_adapter(Path(folder) / "out.safetensors", KEYMAPS)
        assert adapter.dialect == ("mflux" if target.startswith("mflux") else target)
        error = relative_error(update_of(adapter), built.wanted)
    # a scale that is no power of two is not multiplied into a matrix without a rounding, at float32 at worst
    assert error <= (2e-7 if is_multiplied(result) else 1e-15)


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "mflux-tiled"])
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_there_and_back_gives_the_same_bytes(dialect: str, data: st.DataObject):
    """To what the file's own dialect is, through what holds all of it: parts, and an alpha."""
    home = {"kohya": "kohya", "mlx": "mlx"}.get(dialect, "diffusers")
    way = data.draw(st.sampled_from(["kohya", "mflux", "mflux-before-0.19", "diffusers"]))
    with tempfile.TemporaryDirectory() as folder:
        there, back, first = (Path(folder) / f"{name}.safetensors" for name in ("there", "back", "first"))
        built = DIALECTS[dialect][0](Path(folder) / "in.safetensors", data.draw(recipes(dialect)))
        results = [remap(built.path, first, home), remap(first, there, way), remap(there, back, home)]
        if any(is_multiplied(result) for result in results):
            return
        assert load(back) == load(first)
        if dialect in ("kohya", "mlx"):
            came = load(back)
            if not any(name.endswith(".alpha") for name in load(built.path)):
                came = {name: entry for name, entry in came.items() if not name.endswith(".alpha")}
            assert came == load(built.path)


@pytest.mark.parametrize("way", ["kohya", "mflux", "mflux-before-0.19"])
@pytest.mark.parametrize("alpha", ["none", "rank", "half", "one"])
@pytest.mark.parametrize("ranks", [8, (4, 2, 6)], ids=["one rank", "mixed ranks"])
def test_a_file_of_diffusers_comes_back_from_fused_names_byte_for_byte(
    tmp_path: Path, way: str, alpha: Alpha, ranks: int | tuple[int, ...]
):
    """Its own parts, each with its own down matrix and rank, lie side by side in between."""
    recipe = Recipe(ranks=ranks, dtype="BF16", alpha=alpha, own_parts=True)
    built = DIALECTS["diffusers"][0](tmp_path / "in.safetensors", recipe)
    result = remap(built.path, tmp_path / "there.safetensors", way)
    remap(tmp_path / "there.safetensors", tmp_path / "back.safetensors", "diffusers")
    # of alphas that differ in strength from part to part Kohya's names hold none, and the remap has to say so
    is_held = way != "kohya" or alpha != "one" or ranks == 8
    assert is_multiplied(result) == (not is_held)
    if not is_held:
        return
    came, went = load(tmp_path / "back.safetensors"), load(built.path)
    if alpha == "none" and ranks != 8:  # diffusers needs alphas where ranks differ
        assert metadata_of(tmp_path / "back.safetensors")["sq.alphas"] == "added"
        came = {name: entry for name, entry in came.items() if not name.endswith(".alpha")}
    assert came == went


def test_metadata_that_lies_about_parts_is_not_believed(tmp_path: Path):
    built = DIALECTS["kohya"][0](tmp_path / "in.safetensors", Recipe(ranks=6, alpha="rank"))
    lies = [
        '{"double_blocks.0.img_attn.qkv":{"q":[0,2],"k":[2,4],"v":[4,6]}}',  # its up matrix is no block matrix
        '{"double_blocks.0.img_attn.qkv":{"q":[0,7]}}',
        '{"double_blocks.0.img_attn.qkv":{"q":[2,2]}}',
        '{"double_blocks.0.img_attn.qkv":{"w":[0,6]}}',
        '{"double_blocks.0.img_attn.qkv":{"q":"all"}}',
        '{"double_blocks.0.img_attn.qkv":[]}',
        '{"double_blocks.9.img_attn.qkv":{"q":[0,2]}}',
        "[1",
        "[]",
        "7",
    ]
    for index, lie in enumerate(lies):
        source = save(tmp_path / f"{index}.safetensors", load_bits(built.path), {"sq.parts": lie})
        adapter = open_adapter(source, KEYMAPS)
        assert relative_error(update_of(adapter), built.wanted) < 1e-15


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_a_key_that_no_rule_knows_never_passes(data: st.DataObject):
    dialect = data.draw(st.sampled_from(sorted(set(DIALECTS) - {"mflux-tiled"})))
    with tempfile.TemporaryDirectory() as folder:
        built = DIALECTS[dialect][0](Path(folder) / "in.safetensors", Recipe())
        tensors = load_bits(built.path)
        name = data.draw(st.sampled_from(sorted(tensors)))
        change = data.draw(st.sampled_from(["0", "blocks", "lora", "weight", "."]))
        changed = name.replace(change, data.draw(st.sampled_from(["x", "é", "", "_"])), 1)
        if changed == name or not changed:
            return
        other = {changed if key == name else key: value for key, value in tensors.items()}
        source = save(Path(folder) / "changed.safetensors", other, metadata_of(built.path))
        with pytest.raises(AdapterError):
            remap(source, Path(folder) / "out.safetensors", data.draw(st.sampled_from(sorted(TARGETS))), dialect)
        assert not (Path(folder) / "out.safetensors").exists()
