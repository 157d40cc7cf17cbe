"""Tests of `sq-pipeline adapter inspect` and `adapter remap` as a person or a script meets them: output, errors, exit.

What the commands find out and write is tested in test_inspect, test_remap and test_remap_to_diffusers.
"""

import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sq_pipeline import cli
from sq_pipeline.base_models.base_models import FLUX1_MODELS
from sq_pipeline_tests.adapters.files import KEYMAPS, SMALL, load, mlx_tensors, save, save_raw, to_bits, with_value

TINY = FLUX1_MODELS["tiny-flux"]


class Shell:
    """Runs the command line in this process, with the arguments a shell would give it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        """Exit code, stdout, stderr of `sq-pipeline adapter …`."""
        self._monkeypatch.setattr(sys, "argv", ["sq-pipeline", "adapter", *map(str, arguments)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as exited:
            cli.main()
        out, err = self._capsys.readouterr()
        assert isinstance(exited.value.code, int)
        return exited.value.code, out, err

    def json(self, *arguments: str | Path) -> Any:
        """What a command that goes well prints with --json: one object on one line, and nothing else."""
        code, out, err = self.run(*arguments, "--json")
        assert (code, err) == (0, "")
        assert out.count("\n") == 1
        return json.loads(out)

    def errors(self, *arguments: str | Path) -> list[str]:
        """The lines of a command that fails: all `error: …`, on stderr, with exit 1."""
        code, out, err = self.run(*arguments)
        assert (code, out) == (1, "")
        lines = err.splitlines()
        assert lines
        assert all(line.startswith("error: ") for line in lines)
        return [line.removeprefix("error: ") for line in lines]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.delenv("SQ_DATA", raising=False)
    return Shell(monkeypatch, capsys)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return save(tmp_path / "in.safetensors", mlx_tensors(TINY, rank=2), {"lora_rank": "2"})


# inspect


@pytest.fixture
def tiny_adapter(tmp_path: Path) -> Path:
    """As `adapter`, for a base model that is known."""
    return save(tmp_path / "tiny.safetensors", mlx_tensors(FLUX1_MODELS["tiny-flux"], rank=2), {"lora_rank": "2"})


def test_inspect_prints_one_json_object(shell: Shell, tiny_adapter: Path):
    report = shell.json("inspect", tiny_adapter)
    assert report["dialect"] == "mlx-examples"
    assert (report["tensors"], report["modules"], report["ranks"]) == (64, 32, {"2": 32})
    assert report["metadata"] == {"lora_rank": "2"}
    assert report["faults"] == []
    assert [row["effective_rank"] for row in report["rows"]] == [None] * 32


def test_inspect_prints_tables_for_people(shell: Shell, tiny_adapter: Path):
    code, out, err = shell.run("inspect", tiny_adapter)
    assert (code, err) == (0, "")
    for words in ("mlx-examples", "tiny-flux", "32 of 32", "mflux >=0.19", "lora_rank"):
        assert words in out
    assert "fault" not in out
    assert "double_blocks.0.img_attn.proj" not in out.replace("double_blocks.0.img_attn.proj.lora_a", "")


@pytest.mark.parametrize("option", ["--modules", "--spectrum"])
def test_inspect_prints_a_line_for_each_module(
    shell: Shell, tiny_adapter: Path, monkeypatch: pytest.MonkeyPatch, option: str
):
    monkeypatch.setenv("COLUMNS", "100")
    _, out, _ = shell.run("inspect", tiny_adapter, option)
    rows = [line.split("│") for line in out.splitlines() if "│ single_blocks." in line]
    assert len(rows) == 12
    for _, module, rank, alpha, scale, dtype, norm, spectrum, _ in rows:
        assert module.strip().split(".")[2] in ("linear1", "linear2", "modulation")
        assert (rank.strip(), alpha.strip(), scale.strip(), dtype.strip()) == ("2", "", "1", "F32")
        assert float(norm) > 0
        assert spectrum.strip() == "" if option == "--modules" else 1 < float(spectrum) <= 2
    assert all(len(line) <= 100 for line in out.splitlines())


def test_inspect_for_a_loader_makes_its_verdict_a_fault(shell: Shell, tiny_adapter: Path):
    _, out, _ = shell.run("inspect", tiny_adapter, "--loader", "mflux 0.18.1")
    assert "fault: mflux 0.18.1 does not load it rightly: it knows none of the names" in out
    (line,) = shell.errors("inspect", tiny_adapter, "--loader", "mflux")
    assert line.startswith("--loader: no loader 'mflux' is known here; use mflux with a version")


def test_inspect_shows_metadata_on_one_line_and_cut(shell: Shell, tmp_path: Path):
    path = save(tmp_path / "a.safetensors", {}, {"note": "one\x1b[2J\ntwo", "long": "x" * 9000})
    code, out, _ = shell.run("inspect", path)
    assert code == 0
    assert "\x1b" not in out
    assert r"one\x1b[2J\ntwo" in out
    assert "(9,000 characters)" in out.replace("│\n│", "").replace("\n", "")
    assert out.count("x" * 10) < 60


def test_inspect_shows_faults_whole_and_as_they_are(shell: Shell, tmp_path: Path):
    """rich would read square brackets as markup, and stumble over a closing tag without an opening one."""
    name = "double_blocks.0." + "very_" * 40 + "long[/bold].lora_a"
    path = save(tmp_path / "a.safetensors", {name: ("F32", to_bits([[1]]))}, {"note": "[/red] [bold]x[/bold]"})
    code, out, err = shell.run("inspect", path)
    assert (code, err) == (0, "")
    assert f"fault: {name.removesuffix('.lora_a')}: its up matrix is missing\n" in out
    assert "[/red] [bold]x[/bold]" in out


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inspect_prints_json_that_others_can_read(shell: Shell, tmp_path: Path, value: float):
    tensors = with_value(mlx_tensors(FLUX1_MODELS["tiny-flux"]), "single_blocks.0.linear2.lora_a", value)
    _, out, _ = shell.run("inspect", save(tmp_path / "a.safetensors", tensors), "--json")
    assert "NaN" not in out.replace("holds NaN or infinity", "")
    assert "Infinity" not in out
    assert (
        next(row for row in json.loads(out)["rows"] if row["slot"] == "single_blocks.0.linear2")["update_norm"] is None
    )
    assert json.loads(out)["faults"] == ["single_blocks.0.linear2.lora_a: holds NaN or infinity"]


@pytest.mark.parametrize("name", ["missing.safetensors", "folder", "style.ckpt", "cut.safetensors"])
def test_inspect_of_what_is_no_adapter_is_one_line(shell: Shell, tmp_path: Path, name: str):
    (tmp_path / "folder").mkdir()
    (tmp_path / "style.ckpt").write_bytes(b"\x80\x02}q\0.")
    save_raw(tmp_path / "cut.safetensors", "{}", claimed=400)
    (line,) = shell.errors("inspect", tmp_path / name, "--json")
    assert line.startswith(f"{tmp_path / name}: ")


# remap


@pytest.mark.parametrize(
    ("target", "tensors", "sample"),
    [
        ("mflux", 64, "lora_unet_single_blocks_0_linear1.lora_up.weight"),
        ("kohya", 96, "lora_unet_single_blocks_0_linear1.alpha"),
        ("diffusers", 104, "transformer.single_transformer_blocks.0.proj_mlp.lora_B.weight"),
    ],
)
def test_remap_writes_the_target_and_prints_one_json_object(
    shell: Shell, adapter: Path, tmp_path: Path, target: str, tensors: int, sample: str
):
    out = tmp_path / "out.safetensors"
    result = shell.json("remap", adapter, out, "--target", target)
    assert result["keymap"] == f"mlx-to-{target}"
    assert (result["tensors"], result["modules"], result["ranks"]) == (tensors, 32, [2])
    assert len(load(out)) == tensors
    assert sample in load(out)
    again = shell.json("remap", adapter, tmp_path / "again.safetensors", "--target", target)
    assert again == result
    assert (tmp_path / "again.safetensors").read_bytes() == out.read_bytes()
    assert shell.json("inspect", out)["faults"] == []


def test_remap_prints_a_table_for_people(shell: Shell, adapter: Path, tmp_path: Path):
    code, out, err = shell.run("remap", adapter, tmp_path / "out.safetensors", "--target", "kohya")
    assert (code, err) == (0, "")
    assert "mlx-to-kohya" in out


def test_remap_names_every_fault_on_a_line_and_writes_nothing(shell: Shell, tmp_path: Path):
    tensors = with_value(mlx_tensors(SMALL), "single_blocks.0.linear2.lora_a", np.nan)
    del tensors["double_blocks.0.img_attn.qkv.lora_b"]
    tensors["img_in.lora_a"] = ("F32", to_bits(np.ones((2, 2))))
    tensors["double_blocks.0.txt_mod.lin.lora_a"] = ("F32", to_bits(np.ones((4, 7))))
    path = save(tmp_path / "in.safetensors", tensors)
    lines = shell.errors("remap", path, tmp_path / "out.safetensors", "--target", "mflux", "--json")
    assert [line.removeprefix(f"{path}: ").split(":")[0] for line in lines] == [
        "img_in.lora_a",
        "double_blocks.0.img_attn.qkv.lora_b",
        "double_blocks.0.txt_mod.lin",
        "single_blocks.0.linear2.lora_a",
    ]
    assert list(tmp_path.iterdir()) == [path]


def test_remap_of_a_pickle_is_one_line_and_writes_nothing(shell: Shell, tmp_path: Path):
    path = tmp_path / "style.safetensors"
    path.write_bytes(b"PK\3\4" + b"\0" * 60)
    (line,) = shell.errors("remap", path, tmp_path / "out.safetensors", "--target", "kohya")
    assert "pickle" in line
    assert list(tmp_path.iterdir()) == [path]


def test_remap_of_what_is_remapped_already_is_the_same_file_again(shell: Shell, adapter: Path, tmp_path: Path):
    for target in ("mflux", "kohya", "diffusers", "mlx"):
        once, twice = tmp_path / f"{target}.safetensors", tmp_path / f"{target}-again.safetensors"
        shell.json("remap", adapter, once, "--target", target)
        shell.json("remap", once, twice, "--target", target)
        assert load(once) == load(twice)


def test_remap_onto_a_folder_is_one_line(shell: Shell, adapter: Path, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (line,) = shell.errors("remap", adapter, tmp_path / "folder", "--target", "mflux")
    assert "is a folder, not a file" in line


@pytest.mark.parametrize("arguments", [(), ("--target", "comfy")], ids=["without", "unknown"])
def test_a_target_has_to_be_one_of_those_there_are(
    shell: Shell, adapter: Path, tmp_path: Path, arguments: tuple[str, ...]
):
    code, out, err = shell.run("remap", adapter, tmp_path / "out.safetensors", *arguments)
    assert (code, out) == (2, "")
    assert "--target" in err
    assert not (tmp_path / "out.safetensors").exists()


# The data directory's keymaps


@pytest.fixture
def data(tmp_path: Path) -> Path:
    shutil.copytree(KEYMAPS, tmp_path / "data" / "keymaps")
    return tmp_path / "data"


def edit_keymap(path: Path, **changes: Any) -> None:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def test_mflux_means_the_installed_version(shell: Shell, adapter: Path, data: Path, tmp_path: Path):
    (data / "keymaps" / "mlx-to-mflux-before-0.19.yaml").unlink()
    edit_keymap(data / "keymaps" / "mlx-to-mflux.yaml", loader_versions="<0.19")
    (line,) = shell.errors("remap", adapter, tmp_path / "out.safetensors", "--target", "mflux", "--data", data)
    assert line == (
        f"keymaps: no keymap for mflux {version('mflux')} (mlx-to-mflux is for mflux<0.19); "
        "install a version in range, or add a keymap"
    )
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("by", ["--data", "SQ_DATA"])
def test_another_data_directory_brings_its_own_keymaps(
    shell: Shell, adapter: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
):
    edit_keymap(data / "keymaps" / "mlx-to-kohya.yaml", name="mine", version=7)
    arguments = ["--data", data] if by == "--data" else []
    if by == "SQ_DATA":
        monkeypatch.setenv("SQ_DATA", str(data))
    result = shell.json("remap", adapter, tmp_path / "out.safetensors", "--target", "kohya", *arguments)
    assert (result["keymap"], result["keymap_version"]) == ("mine", 7)


def test_a_broken_keymap_is_named_and_nothing_is_written(shell: Shell, adapter: Path, data: Path, tmp_path: Path):
    edit_keymap(data / "keymaps" / "mlx-to-kohya.yaml", rules=[], alfa="rank")
    lines = shell.errors("remap", adapter, tmp_path / "out.safetensors", "--target", "kohya", "--data", data)
    assert lines[0] == "keymaps: no keymap for kohya; add one, or choose another target"
    assert {line.split(": ")[1] for line in lines[1:]} == {"rules", "alfa"}
    assert all(line.startswith("keymaps/mlx-to-kohya.yaml: ") for line in lines[1:])
    assert not (tmp_path / "out.safetensors").exists()
