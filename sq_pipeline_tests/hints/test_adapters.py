"""What an adapter file is refused for goes with the option that the hint names; elsewhere, with the whole command."""

import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sq_pipeline.common.layout import DataDir
from sq_pipeline_tests.adapters.files import save
from sq_pipeline_tests.adapters.gallery import GALLERY
from sq_pipeline_tests.adapters.test_other_parts import STRIPPED
from sq_pipeline_tests.adapters.test_strength import ss_file
from sq_pipeline_tests.cases.adapters import joined, kohya, peft, split, tensor, trained_apart, write_peft_folder
from sq_pipeline_tests.docs.command_line import commands, option_names
from sq_pipeline_tests.hints.conftest import Cli
from sq_pipeline_tests.hints.parsing import commands_in, options_in

Build = Callable[[Path], Path]
_PASS = re.compile(r"pass (--without-text-encoder|--[a-z-]+ (?:'[^']*'|[^\s,;'`])+)")


def _saved(tensors: object, metadata: Mapping[str, str] | None = None) -> Build:
    return lambda folder: save(folder / "a.safetensors", tensors, metadata)  # type: ignore[arg-type]


def _of_peft(folder: Path) -> Path:
    return write_peft_folder(folder / "peft", {"r": 8}) / "adapter_model.safetensors"


def _mixed(folder: Path) -> Path:
    single = {name: pair for name, pair in joined().items() if name.startswith("single")}
    double = {name: pair for name, pair in split().items() if name.startswith("transformer")}
    return save(folder / "a.safetensors", {**kohya(single), **peft(double)})


_NORM = {"lora_unet_double_blocks_0_img_norm1.w_norm": tensor([1.0] * 256)}
_DOWN, _UP = joined()["double_blocks.0.img_attn.proj"]
# each file, and the first option that its hint names
OPTIONS: dict[str, tuple[Build, str]] = {
    **{
        name: (GALLERY[name].build, option)
        for name, option in {
            "zero B": "--allow zero",
            "alpha 256 times too strong": "--allow strength",
            "a path in its metadata": "--allow metadata",
            "alpha missing": "--missing-alpha rank",
            "alpha missing for some": "--missing-alpha rank",
            "a text encoder's part": "--without-text-encoder",
            "tiled down, for the old mflux": "--from mflux-before-0.19",
            "blocks too many": "--allow base",
        }.items()
    },
    "an alpha that is stated": (ss_file, "--missing-alpha stated"),
    "a configuration of another rank": (_of_peft, "--missing-alpha ALPHA"),
    "parts that were trained apart": (_saved(trained_apart()), "--split-qkv yes"),
    "a norm": (_saved({**kohya(joined()), **_NORM}), "--without unapplied"),
    "a module outside": (_saved({**kohya(joined()), **kohya({"img_in": (_DOWN[:, :64], _UP)})}), "--without unapplied"),
    **{name: (_saved(tensors), f"--strip {text}") for name, (tensors, text) in STRIPPED.items()},
    "an odd name": (_saved(peft(split(), infix=".my style;")), "--strip '.my style;'"),
    "names of two dialects": (_mixed, "--from mflux"),
    "another base": (_saved(kohya(joined()), {"ss_base_model_version": "sdxl_base_v1-0"}), "--allow base"),
}  # fmt: skip


def _asked(text: str) -> list[str]:
    found = _PASS.search(text)
    return shlex.split(found[1].replace("ALPHA", "2")) if found else []


@pytest.mark.parametrize("case", OPTIONS)
def test_the_option_of_a_hint_lets_remap_go_on(tmp_path: Path, shipped: DataDir, cli: Cli, case: str) -> None:
    build, option = OPTIONS[case]
    path, out, given = build(tmp_path), tmp_path / "out.safetensors", list[str]()
    said = cli("adapter", "remap", path, out, "--target", "mflux")
    assert _asked(said[1]) == shlex.split(option.replace("ALPHA", "2")), said
    while said[0] and (asked := _asked(said[1])) and " ".join(asked) not in " ".join(given):
        given += asked
        said = cli("adapter", "remap", path, out, "--target", "mflux", *given)
    assert said[0] == 0, said
    assert out.is_file()


@pytest.fixture
def game(tmp_path: Path, shipped: DataDir, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with an adapter from elsewhere, below where the person stands; its name is no plain word."""
    root = tmp_path / "my game"
    pack = root / "content/genre_packs/west"
    (pack / "worlds/alpha").mkdir(parents=True)
    (pack / "visual_style.yaml").write_text(
        "loras:\n- {name: one, file: west/it's mine.safetensors, scale: 1.0, applies_to: [landscape]}\n"
    )
    (pack / "worlds/alpha/history.yaml").write_text("points_of_interest:\n- {name: Fort, visual_prompt: a mill}\n")
    (root / "sq.yaml").write_text("base_model: tiny-flux\n")
    for part in ("models", "keymaps", "verify_prompts"):
        (root / part).symlink_to(shipped.root / part)
    (root / "content/lora/west").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SQ_DATA", raising=False)
    return Path("my game")


@pytest.mark.parametrize("name", ["inspect", "plan"])
@pytest.mark.parametrize("case", OPTIONS)
def test_elsewhere_the_hint_is_a_whole_command_and_that_works(game: Path, cli: Cli, name: str, case: str) -> None:
    build, _ = OPTIONS[case]
    (game.parent / "made").mkdir()
    made = build(game.parent / "made")
    path = game / "content/lora/west/it's mine.safetensors"
    shutil.copy(made, path)
    if (made.parent / "adapter_config.json").exists():
        shutil.copy(made.parent / "adapter_config.json", path.with_name("adapter_config.json"))
    ask = ("plan", "--data", game) if name == "plan" else ("adapter", "inspect", path)
    _, said = cli(*ask)
    own = option_names(commands()["plan" if name == "plan" else "adapter inspect"])
    assert set(options_in(said)) <= own | {"--split-qkv", "--missing-alpha"}, said
    wanted = [words for words in commands_in(said) if words[:2] == ["adapter", "remap"]]
    for words in wanted[:1]:
        out = game.parent / "out.safetensors"
        code, told = cli.carry_out(words, OUT=out)
        while code and (asked := _asked(told)) and " ".join(asked) not in " ".join(words):
            words = [*words, *asked]
            code, told = cli.carry_out(words, OUT=out)
        assert code == 0, told
        shutil.copy(out, path)
        path.with_name("adapter_config.json").unlink(missing_ok=True)
        assert not [one for one in commands_in(cli(*ask)[1]) if one[:2] == ["adapter", "remap"]]
    if not wanted:  # then nothing holds it up here: it waits for being verified, or fails that
        assert "`sq-pipeline adapter remap" not in said
    for words in [words for words in commands_in(said) if words[:2] == ["adapter", "inspect"]]:
        assert cli.carry_out(words, FILE=path)[0] in (0, 1)


NONE = {
    "a model": GALLERY["a model, not an adapter"].build,
    "names of another model": GALLERY["names of another model"].build,
    "whole numbers": GALLERY["whole numbers"].build,
    "a LoHa": _saved({f"lora_unet_double_blocks_0_img_attn_proj.hada_w1_{x}": tensor([[1.0, 2.0]]) for x in "ab"}),
}


@pytest.mark.parametrize("case", NONE)
def test_a_file_that_is_none_names_a_command_that_says_what_it_is(tmp_path: Path, cli: Cli, case: str) -> None:
    folder = tmp_path / "it's my folder"
    folder.mkdir()
    path = NONE[case](folder)
    code, said = cli("adapter", "remap", path, tmp_path / "out.safetensors", "--target", "mflux")
    found = [words for words in commands_in(said) if words[:2] == ["adapter", "inspect"]]
    assert (code, found[0]) == (1, ["adapter", "inspect", str(path)]), said
    code, report = cli.carry_out(found[0])
    assert code in (0, 1)
    assert path.name in report
