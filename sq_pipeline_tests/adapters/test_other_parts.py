"""Tests of what adapter files hold beside updates of FLUX.1's blocks, and of files that are something else.

The rows named as in the table of cases are built by its recipe; the others are their brothers.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sq_pipeline.adapters.inspect.inspect import name_base_model, report_adapter
from sq_pipeline.adapters.keymap_files import load_keymap
from sq_pipeline.adapters.outside import OUTSIDE
from sq_pipeline.adapters.reading import ReadOptions
from sq_pipeline.adapters.remap.remap import RemapResult, remap_adapter
from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.adapters.source import open_adapter, reading_keymap_for
from sq_pipeline.adapters.strip_names import strip_names
from sq_pipeline.common.errors import AdapterError
from sq_pipeline_tests.adapters.files import KEYMAPS, Tensors, load, save
from sq_pipeline_tests.cases.adapters import TRUE, Modules, joined, kohya, pair, peft, split, tensor, write_odd

TO = {target: load_keymap(KEYMAPS / f"mlx-to-{target}.yaml") for target in ("mflux", "kohya", "diffusers", "mlx")}


def outside(hidden: int = 256, text: int = 128, clip: int = 256, rank: int = 2) -> Modules:
    shapes = {"img_in": (64, hidden), "txt_in": (text, hidden), "time_in.in_layer": (256, hidden)}
    shapes |= {"vector_in.in_layer": (clip, hidden), "guidance_in.in_layer": (256, hidden)}
    shapes |= {"final_layer.linear": (hidden, 64), "final_layer.adaLN_modulation.1": (hidden, 2 * hidden)}
    return {name: pair(name, shape, rank) for name, shape in shapes.items()}


def outside_diffusers() -> Modules:
    return {OUTSIDE[name]: both for name, both in outside().items() if name != "vector_in.in_layer"}


def remap(path: Path, target: str, strip: str = "", **options: Any) -> tuple[Path, RemapResult]:
    file = strip_names(open_safetensors(path), strip) if strip else open_safetensors(path)
    out, reading = path.parent / f"out.{target}.safetensors", reading_keymap_for(file)
    said = ReadOptions(**options)
    return out, remap_adapter(path, out, TO[target], reading=reading, options=said, allowed=(), strip=strip)


def refusal(path: Path, target: str = "mflux") -> str:
    before = {*path.parent.iterdir()}
    with pytest.raises(AdapterError) as caught:
        remap(path, target)
    assert {*path.parent.iterdir()} == before
    (fault,) = caught.value.faults
    return str(fault)


WITH_OUTSIDE: dict[str, tuple[Tensors, str]] = {
    "outside-kohya": (kohya({**joined(), **outside()}), "7 of 39 modules"),
    "outside-diffusers": (peft({**split(), **outside_diffusers()}), "6 of 58 modules"),
    "BFL's names": (peft({**joined(), **outside()}, "diffusion_model."), "7 of 39 modules"),
    "PEFT's names": (peft({**split(), **outside_diffusers()}, "base_model.model."), "6 of 58 modules"),
    "OneTrainer's": (kohya({**split(), **outside_diffusers()}, prefix="lora_transformer_"), "6 of 58 modules"),
}


@pytest.mark.parametrize("case", WITH_OUTSIDE)
def test_modules_outside_the_blocks_are_held_where_the_target_holds_them(tmp_path: Path, case: str):
    tensors, count = WITH_OUTSIDE[case]
    path = save(tmp_path / "a.safetensors", tensors)
    meant = {slot: updates(path)[slot] for slot in OUTSIDE if slot in updates(path)}
    for target in ("kohya", "diffusers"):
        out, result = remap(path, target)
        written = updates(out)
        assert all(np.allclose(written[slot], update, atol=1e-6) for slot, update in meant.items())
        assert len(meant) == int(count[0])
        assert result.unapplied is None
    for target in ("mflux", "mlx"):
        assert f"{count} are outside of the blocks" in refusal(path, target)
        out, result = remap(path, target, leaves_out_unapplied=True)
        assert any(note.startswith(f"left out: {count}") for note in result.notes)
        assert result.unapplied is not None
        assert 0 < result.unapplied.share < 0.2
        assert not any(slot in OUTSIDE for slot in open_adapter(out).patches)


def updates(path: Path) -> dict[str, Any]:
    adapter = open_adapter(path)
    return {
        slot: patch.scale * adapter.numbers(patch.up) @ adapter.numbers(patch.down)
        for slot, patch in adapter.patches.items()
        if slot in OUTSIDE
    }


def test_diffusers_has_scale_before_shift_in_the_last_layer(tmp_path: Path):
    path = save(tmp_path / "a.safetensors", kohya({**joined(), **outside()}))
    out, _ = remap(path, "diffusers")
    up = load(path)["lora_unet_final_layer_adaLN_modulation_1.lora_up.weight"][2]
    turned = load(out)["transformer.norm_out.linear.lora_B.weight"][2]
    half = len(up) // 2
    assert turned == up[half:] + up[:half]
    back, _ = remap(out, "kohya")
    assert load(back)["lora_unet_final_layer_adaLN_modulation_1.lora_up.weight"][2] == up


def test_outside_true_kohya_is_part_of_what_mflux_loads_and_all_of_the_others(tmp_path: Path):
    """outside-true-kohya"""
    extra = dict(list(outside(3072, 4096, 768, rank=1).items())[:5])
    path = save(tmp_path / "a.safetensors", kohya({**joined(TRUE, 1), **extra}, dtype="BF16"))
    answers = {verdict.loader: verdict.answer for verdict in report_adapter(path).loads_in}
    assert answers == {
        "mflux >=0.19": "part",
        "mflux <0.19": "part",
        "diffusers": "yes",
        "ComfyUI": "yes",
        "sd-scripts": "yes",
    }


# norms, biases, embeddings, text encoders


def zeros(*names: str) -> Tensors:
    return {name: tensor(np.zeros(256)) for name in names}


BLOCK = "lora_unet_double_blocks_0_img_"


@pytest.mark.parametrize(
    "extra",
    [
        zeros(f"{BLOCK}norm1.w_norm", f"{BLOCK}norm1.b_norm"),
        zeros(*(f"{BLOCK}{name}.diff_b" for name in ("attn_qkv", "attn_proj", "mlp_0", "mlp_2"))),
        zeros(f"{BLOCK}mod_lin.diff"),
    ],
    ids=["outside-norms", "outside-zero-bias", "a weight"],
)
def test_what_is_zero_and_added_changes_nothing_and_is_dropped_with_a_word(tmp_path: Path, extra: Tensors):
    out, result = remap(save(tmp_path / "a.safetensors", {**kohya(joined()), **extra}), "mflux")
    assert any(f"{len(extra)} tensors are zero, change nothing and are left out" in note for note in result.notes)
    assert (len(load(out)), result.left_out) == (96, len(extra))


@pytest.mark.parametrize(
    "extra",
    [
        {f"{BLOCK}norm1.w_norm": tensor(np.ones(256))},
        {f"{BLOCK}attn_proj.diff_b": tensor(np.ones(256))},
        {"bundle_emb.ourword.clip_l": tensor(np.zeros((2, 768)))},
        zeros(f"{BLOCK}attn_proj.set_weight"),
    ],
    ids=["a norm", "a bias", "outside-embedding", "a weight that is set"],
)
def test_what_is_something_stops_until_it_is_let_go(tmp_path: Path, extra: Tensors):
    path = save(tmp_path / "a.safetensors", {**kohya(joined()), **extra})
    assert "pass --without unapplied" in refusal(path)
    out, result = remap(path, "mflux", leaves_out_unapplied=True)
    assert (len(load(out)), result.left_out) == (96, 1)


def text_encoder() -> Tensors:
    shapes = {"mlp_fc1": (768, 3072), "mlp_fc2": (3072, 768)}
    shapes |= {f"self_attn_{name}_proj": (768, 768) for name in ("k", "q", "v", "out")}
    names = {f"text_model_encoder_layers_{i}_{name}": shape for i in range(12) for name, shape in shapes.items()}
    return kohya({name: pair(name, shape, 1) for name, shape in names.items()}, dtype="BF16", prefix="lora_te1_")


def test_text_encoder_too_is_one_line_and_all_of_what_others_load(tmp_path: Path):
    """text-encoder-too"""
    path = save(tmp_path / "a.safetensors", {**kohya(joined(TRUE, 1), dtype="BF16"), **text_encoder()})
    assert "72 modules are of a text encoder" in refusal(path)
    answers = {verdict.loader: verdict.answer for verdict in report_adapter(path).loads_in}
    assert answers["mflux >=0.19"] == "part"
    assert {answers[loader] for loader in ("diffusers", "ComfyUI", "sd-scripts")} == {"yes"}
    _, result = remap(path, "mflux", leaves_out_text_encoder=True)
    assert result.left_out == 216


# files that are something else


def answers_of(path: Path) -> dict[str, str]:
    report = report_adapter(path)
    assert not any("faulty" in verdict.reason for verdict in report.loads_in)
    return {verdict.loader: verdict.answer for verdict in report.loads_in}


def test_dora_is_named_and_not_faulty(tmp_path: Path):
    """dora"""
    tensors = kohya(joined(TRUE, 1), dtype="BF16")
    for name, (down, _) in joined(TRUE, 1).items():
        key = f"lora_unet_{name.replace('.', '_')}.dora_scale"
        tensors[key] = tensor(np.ones((1, down.shape[1])), "BF16")
    path = save(tmp_path / "a.safetensors", tensors)
    answers = answers_of(path)
    assert (answers["ComfyUI"], answers["mflux >=0.19"], answers["diffusers"]) == ("yes", "no", "no")
    assert any("(13 of 13 modules)" in verdict.reason for verdict in report_adapter(path).loads_in)
    assert report_adapter(path).method == "DoRA"
    assert "13 keys are not a LoRA's; each is DoRA's" in refusal(path)


def test_loha_is_named_and_not_faulty(tmp_path: Path):
    """loha"""
    tensors: Tensors = {}
    for name, (down, up) in joined(TRUE, 1).items():
        key = f"lora_unet_{name.replace('.', '_')}"
        for i in (1, 2):
            tensors[f"{key}.hada_w{i}_a"], tensors[f"{key}.hada_w{i}_b"] = tensor(up, "BF16"), tensor(down, "BF16")
        tensors[f"{key}.alpha"] = tensor(1.0)
    path = save(tmp_path / "a.safetensors", tensors)
    answers = answers_of(path)
    assert (answers["ComfyUI"], answers["mflux >=0.19"], answers["sd-scripts"]) == ("yes", "no", "not known")
    assert "is a LoHa, which `adapter remap` cannot hold" in refusal(path)


def test_lokr_is_named_and_mflux_loads_it(tmp_path: Path):
    """lokr"""
    tensors: Tensors = {}
    for name, (down, up) in split().items():
        key = f"lycoris_{name.replace('.', '_')}"
        tensors[f"{key}.lokr_w1"] = tensor(np.eye(4))
        tensors[f"{key}.lokr_w2"] = tensor(np.ones((len(up) // 4, down.shape[1] // 4)))
        tensors[f"{key}.alpha"] = tensor(1.0)
    path = save(tmp_path / "a.safetensors", tensors)
    verdict = report_adapter(path).loads_in[0]
    assert (verdict.answer, "52 of 52" in verdict.reason) == ("yes", True)
    assert answers_of(path)["mflux <0.19"] == "not known"
    told = refusal(path)
    assert "is a LoKr" in told
    assert "another model" not in told


def test_a_lokr_with_a_lora_in_it_is_known_to_nobody(tmp_path: Path):
    tensors = {**kohya(joined()), "lora_unet_double_blocks_0_img_attn_qkv.lokr_w1": tensor(np.eye(4))}
    path = save(tmp_path / "a.safetensors", tensors)
    assert answers_of(path)["mflux >=0.19"] == "not known"
    assert report_adapter(path).method == "LoKr"
    assert "is LoKr's" in refusal(path)


@pytest.mark.parametrize("dtype", ["F64", "F8_E4M3"])
def test_float64_and_fp8_true_are_not_for_mflux(tmp_path: Path, dtype: str):
    """float64, fp8, fp8-true"""
    path = write_odd(tmp_path / "a.safetensors", kohya(joined(TRUE, 1), dtype=dtype))
    answers = answers_of(path)
    assert answers["mflux >=0.19"] == "no"
    assert answers["ComfyUI"] == ("yes" if dtype == "F64" else "not known")
    assert f"tensors are {dtype}" in refusal(path)


def test_wrong_suffix_is_read_and_not_for_mflux(tmp_path: Path):
    """wrong-suffix"""
    path = save(tmp_path / "a.sft", kohya(joined(TRUE, 1), dtype="BF16"))
    answers = answers_of(path)
    assert (answers["mflux >=0.19"], answers["ComfyUI"]) == ("no", "yes")
    _, result = remap(path, "mflux")
    assert result.modules == 13


@pytest.mark.parametrize("metadata", [None, {}], ids=["null-metadata", "empty metadata"])
def test_no_metadata_in_whichever_form_is_read(tmp_path: Path, metadata: dict[str, str] | None):
    path = write_odd(tmp_path / "a.safetensors", kohya(joined()), metadata)
    assert report_adapter(path).metadata == {}
    _, result = remap(path, "mflux")
    assert (result.modules, result.notes) == (32, ())


def family(folder: Path, shapes: dict[str, tuple[int, int]], metadata: dict[str, str] | None = None) -> Path:
    modules = {name: pair(name, shape, 1) for name, shape in shapes.items()}
    return save(folder / "a.safetensors", peft(modules, "diffusion_model.", "BF16"), metadata)


def klein(hidden: int) -> dict[str, tuple[int, int]]:
    shapes = {
        f"double_blocks.0.{side}_attn.{k}": (hidden, o * hidden)
        for side in ("img", "txt")
        for k, o in (("qkv", 3), ("proj", 1))
    }
    shapes |= {"double_blocks.0.img_mlp.0": (hidden, 6 * hidden), "double_blocks.0.img_mlp.2": (3 * hidden, hidden)}
    return shapes | {"single_blocks.0.linear1": (hidden, 9 * hidden), "single_blocks.0.linear2": (4 * hidden, hidden)}


Z_IMAGE = {f"layers.0.attention.{name}": (3840, 3840) for name in ("to_q", "to_k", "to_v", "to_out.0")}
ATTENTION = {name: shape for name, shape in klein(3072).items() if "attn" in name}
SAYS_KLEIN = {"ss_base_model_version": "flux2", "modelspec.architecture": "flux2-klein-4b/lora"}


@pytest.mark.parametrize(
    ("shapes", "metadata", "model"),
    [
        (klein(3072), None, "flux2-klein-4b"),
        (klein(4096), None, "flux2-klein-9b"),
        (Z_IMAGE, None, "z-image"),
        (ATTENTION, SAYS_KLEIN, "flux2-klein-4b"),
        (ATTENTION, None, "flux1-dev"),
    ],
    ids=["klein-4b", "klein-9b", "z-image", "klein-4b-attention-only", "attention of nobody knows which"],
)
def test_the_base_model_of_another_family_is_named(
    tmp_path: Path, shapes: dict[str, tuple[int, int]], metadata: dict[str, str] | None, model: str
):
    path = family(tmp_path, shapes, metadata)
    report = report_adapter(path)
    assert report.fit.base_models[0] == name_base_model(path) == model
    if model != "flux1-dev":
        assert (report.loads_in[0].answer, report.faults) == ("yes", ())
        assert f"--base-model {model}" in report.loads_in[0].reason
        assert answers_of(path)["diffusers"] == "not known"
        with pytest.raises(AdapterError) as caught:
            remap(path, "mflux")
        assert [*tmp_path.iterdir()] == [path]
        assert model in str(caught.value) or model == "z-image"


STRIPPED = {
    "double-prefix": (peft(split(), "transformer.base_model.model."), "transformer.base_model.model."),
    "named-adapter": (peft(split(), infix=".mystyle"), ".mystyle"),
    "a module of torch.compile": (peft(split(), "transformer._orig_mod."), "transformer._orig_mod."),
    "twice the same": (peft(joined(), "diffusion_model.diffusion_model."), "diffusion_model.diffusion_model."),
    "BFL's names and an adapter's": (peft(joined(), "diffusion_model.", infix=".v2"), ".v2"),
}


@pytest.mark.parametrize("case", STRIPPED)
def test_names_with_too_much_in_them_say_what_to_strip_and_that_works(tmp_path: Path, case: str):
    tensors, text = STRIPPED[case]
    path = save(tmp_path / "a.safetensors", tensors)
    told = refusal(path)
    assert f"pass --strip {text} to read it without" in told
    assert "another model" not in told
    assert any(f"--strip {text}" in remark for remark in report_adapter(path).remarks)
    out, result = remap(path, "mflux", strip=text)
    assert result.modules == 32
    assert {patch.scale for patch in open_adapter(out).patches.values()} == {1.0}


def test_a_part_that_no_name_has_is_an_error(tmp_path: Path):
    file = open_safetensors(save(tmp_path / "a.safetensors", peft(split())))
    with pytest.raises(AdapterError, match="is in none of its names"):
        strip_names(file, "unet.")
