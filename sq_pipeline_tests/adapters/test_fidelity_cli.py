"""`sq-pipeline adapter fidelity` and the fidelity of `adapter verify` as a person or a script meets them."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sq_pipeline.adapters.keymap_files import select_keymap
from sq_pipeline.adapters.remap.remap import remap_adapter
from sq_pipeline.base_models.base_models import FLUX1_MODELS
from sq_pipeline.common.layout import shipped_data_root
from sq_pipeline_tests.adapters.files import KEYMAPS, mlx_tensors, save
from sq_pipeline_tests.adapters.test_adapter_cli import Shell
from sq_pipeline_tests.cases.adapters import joined, kohya, peft, split

TINY = FLUX1_MODELS["tiny-flux"]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.delenv("SQ_DATA", raising=False)
    return Shell(monkeypatch, capsys)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = save(tmp_path / "trained.safetensors", mlx_tensors(TINY, rank=2))
    arrays = load_file(path)
    save_file({name: array * np.float32(0.02) for name, array in arrays.items()}, path)
    return path


@pytest.fixture
def adapter(source: Path, tmp_path: Path) -> Path:
    path = tmp_path / "style.safetensors"
    remap_adapter(source, path, select_keymap(KEYMAPS, "mflux", "0.24.0"), TINY)
    return path


def without_a_block(adapter: Path) -> Path:
    path = adapter.with_name("cut.safetensors")
    save_file({name: array for name, array in load_file(adapter).items() if "double_blocks_1_" not in name}, path)
    return path


def test_a_sound_file_in_one_json_object(shell: Shell, adapter: Path, source: Path):
    report = shell.json("fidelity", adapter, "--source", source)
    assert report["has_passed"] is True
    assert (report["file"], report["source"]) == ("style.safetensors", "trained.safetensors")
    assert (report["mode"], report["layers_wanted"], report["layers_missed"]) == ("unbaked, float32", 52, [])
    assert report["relative_error"] < 1e-6
    assert len(report["layers"]) == 52
    assert report["thresholds"]["share_kept_min"]["value"] == 0.98


def test_the_update_is_held_against_the_weights_themselves(shell: Shell, adapter: Path):
    """Over tiny-flux its own weights, read here by another reader."""
    report = shell.json("fidelity", adapter)
    weights = load_file(shipped_data_root() / "models/tiny-flux/model.safetensors")
    blocks = [a for name, a in weights.items() if "_blocks." in name and name.endswith(".weight") and a.ndim == 2]
    own = sum(float((a.astype(np.float64) ** 2).sum()) for a in blocks if min(a.shape) >= TINY.hidden_size)
    added = sum(layer["norm_wanted"] ** 2 for layer in report["layers"])
    assert report["update_share"] == pytest.approx((added / own) ** 0.5, rel=1e-3)
    assert 0 < report["update_share"] < 1


def test_without_a_source_a_file_is_held_against_itself(shell: Shell, adapter: Path):
    assert shell.json("fidelity", adapter)["has_passed"] is True
    cut = without_a_block(adapter)
    assert shell.json("fidelity", cut)["layers_wanted"] == 38


def test_below_the_thresholds_it_exits_with_one_and_tells_why(shell: Shell, adapter: Path, source: Path):
    code, out, err = shell.run("fidelity", without_a_block(adapter), "--source", source)
    assert (code, err) == (1, "")
    assert "14 of 52 layers were missed" in " ".join(out.split())
    assert "transformer_blocks.1.attn.to_q" in out
    assert "fidelity.layers_share_min" in out


NAMES = {
    "bfl-names": (peft(joined(), "diffusion_model."), ()),
    "peft-names": (peft(split(), "base_model.model."), ()),
    "names of mlx-examples": (mlx_tensors(TINY, rank=2), ()),
    "text-encoder-too": (
        {
            **kohya(joined()),
            **kohya({"layers_0_mlp_fc1": joined()["double_blocks.0.img_attn.proj"]}, prefix="lora_te1_"),
        },
        ("--without-text-encoder",),
    ),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_that_mflux_does_not_know_lead_to_a_remap_that_works(shell: Shell, tmp_path: Path, case: str):
    tensors, options = NAMES[case]
    path, out = save(tmp_path / "theirs.safetensors", tensors), tmp_path / "ours.safetensors"
    code, said, err = shell.run("fidelity", path)
    assert code == 1
    told = " ".join((said + err).split())
    assert " ".join(("adapter remap", str(path), "OUT --target mflux", *options)) in told
    assert shell.run("remap", path, out, "--target", "mflux", *options)[0] == 0
    assert shell.json("fidelity", out)["has_passed"] is True


@pytest.mark.long
def test_the_base_model_of_a_file_is_the_one_that_its_widths_name(shell: Shell, tmp_path: Path):
    """true-diffusers"""
    path = save(tmp_path / "a.safetensors", peft(split((3072, 1, 1), 1), dtype="BF16"))
    report = shell.json("fidelity", path)
    assert (report["base_model"], report["has_passed"], report["layers_wanted"]) == ("flux1-dev", True, 20)


def test_a_bake_is_measured_as_asked(shell: Shell, adapter: Path, source: Path):
    code, out, _ = shell.run("fidelity", adapter, "--source", source, "--baked", "--bits", "4", "--json")
    assert code == 1
    assert '"bits": 4' in out
    report = shell.json("fidelity", adapter, "--source", source, "--baked", "--dtype", "float32")
    assert report["mode"] == "baked into real float32 weights"
    assert report["loader_share_kept"] == pytest.approx(1, abs=1e-3)


def test_bits_without_a_bake_are_refused(shell: Shell, adapter: Path):
    code, out, err = shell.run("fidelity", adapter, "--bits", "8")
    assert (code, out) == (2, "")
    assert "--baked" in err


def test_over_a_quantized_model_its_own_bits_count(shell: Shell, adapter: Path, source: Path):
    over = ("fidelity", adapter, "--source", source, "--base-model", "tiny-8bit")
    report = shell.json(*over)
    assert (report["base_model"], report["has_passed"]) == ("tiny-flux-8bit", True)
    assert report["mode"] == "unbaked over 8-bit weights, float32"
    code, out, err = shell.run(*over, "--baked", "--bits", "4")
    assert (code, out) == (2, "")
    assert "tiny-flux-8bit has 8 bits itself" in " ".join(err.split())


@pytest.mark.parametrize("name", ["missing.safetensors", "style.ckpt"])
def test_what_is_no_adapter_is_one_line(shell: Shell, adapter: Path, tmp_path: Path, name: str):
    (tmp_path / "style.ckpt").write_bytes(b"\x80\x02}q\0.")
    for arguments in ((tmp_path / name,), (adapter, "--source", tmp_path / name)):
        (line,) = shell.errors("fidelity", *arguments, "--json")
        assert line.startswith(f"{tmp_path / name}: ")


def test_verify_judges_the_fidelity_first(shell: Shell, adapter: Path, source: Path):
    """Against the trained file the cut one falls short, and nothing is rendered."""
    code, out, _ = shell.run("verify", without_a_block(adapter), "--source", source, "--json")
    assert code == 1
    report = json.loads(out)
    (verdict,) = report["verdicts"]
    assert (verdict["check"], verdict["outcome"]) == ("adapter fidelity", "failed")
    assert verdict["detail"].startswith("14 of 52 layers were missed")
    assert report["prompts"] == []
    code, out, _ = shell.run("verify", without_a_block(adapter), "--source", source)
    assert code == 1
    assert "No pictures were rendered" in " ".join(out.split())
