"""Datasets and recipes with one thing wrong each, and the hint that they get."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sq_pipeline_tests.builders import make_image, write_pair
from sq_pipeline_tests.hints.content_cases import Case

FOLDER = "content/lora-datasets/western/landscape"
RECIPE = f"{FOLDER}/lora.yaml"
_STYLE = "trigger: old_west\nmin_pairs: 1\niterations: 6000\n"
_SUBJECT = "kind: subject\ntrigger: mccoy\nmin_pairs: 1\niterations: 6000\n"


def recipe(more: str, base: str = _STYLE) -> dict[str, Any]:
    return {RECIPE: base + more}


def trained(base_model: str, trainer: str, more: str) -> dict[str, Any]:
    base = _STYLE.replace("iterations: 6000\n", "") if "iterations" in more else _STYLE
    return recipe(f"resolution: [64, 64]\nbase_model: {base_model}\ntrainer: {trainer}\n{more}", base)


def subject(caption: str) -> dict[str, Any]:
    return {
        RECIPE: _SUBJECT,
        **{f"{FOLDER}/{n:03d}.txt": f"mccoy at a river, {n}" for n in range(3)},
        f"{FOLDER}/001.txt": caption,
    }


def at(name: str, what: Any) -> dict[str, Any]:
    return {f"{FOLDER}/{name}": what}


def picture(image: Callable[[], Image.Image], name: str = "000.png", **saved: Any) -> dict[str, Any]:
    return at(name, lambda path: image().save(path, **saved))


def png(path: Path) -> None:
    """A person saves it as an 8-bit PNG of its own colours."""
    make_image(99).save(path)


def again(name: str) -> Callable[[Path], None]:
    return lambda root: png(root / FOLDER / name)


def instead(old: str, new: str) -> Callable[[Path], None]:
    def save(root: Path) -> None:
        (root / FOLDER / old).unlink()
        png(root / FOLDER / new)

    return save


def without(*names: str) -> Callable[[Path], object]:
    return lambda root: [(root / FOLDER / name).unlink() for name in names]


def _clear() -> Image.Image:
    image = make_image(5).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def _hidden() -> Image.Image:
    image = make_image(5).convert("RGBA")
    image.putalpha(0)
    return image


def _folder_of_pictures(path: Path) -> None:
    path.mkdir()
    write_pair(path, "a", 50)


def _other(suffix: str, hint: str) -> Case:
    """A picture of another program beside a caption: it is saved as PNG under the caption's name."""
    files = {**at(f"new{suffix}", b"\0" * 64), **at("new.txt", "old_west\n")}
    return Case(hint, files, instead(f"new{suffix}", "new.png"))


_LARGER = "use larger pictures (they are never scaled up), or set `resolution`"
_BOTH = "caption_styles: [trigger, sentence]\n"
_BARE = "a style's caption is exactly 'old_west'"
_KEYS = {  # another trainer's keys, with a value as it is written there
    "rank": ("network_dim", "8"), "alpha": ("network_alpha", "8"), "learning_rate": ("lr", "0.0001"),
    "batch_size": ("train_batch_size", "1"), "grad_accumulation": ("gradient_accumulation_steps", "4"),
    "warmup_steps": ("lr_warmup_steps", "10"), "base_model": ("model", "tiny-flux"), "flip": ("flip_aug", "true"),
    "aspect_buckets": ("enable_bucket", "true"), "caption_dropout": ("caption_dropout_rate", "0.1"),
    "checkpoint_interval": ("save_every_n_steps", "100"), "sample_interval": ("sample_every", "100"),
    "gradient_checkpointing": ("checkpointing", "true"), "guidance": ("guidance_scale", "4"),
    "held_out_pairs": ("validation_split", "1"), "num_augmentations": ("augmentations", "5"),
    "sample_prompts": ("prompts", "[a mill]"), "base_bits": ("quantize", "16"),
    "modules": ("target_modules", '["*.img_attn.qkv"]'), "resolution": ("train_resolution", "[96, 64]"),
}  # fmt: skip

CASES: tuple[Case, ...] = (
    # keys of others
    *(Case(f"write it as `{ours}`", recipe(f"{theirs}: {value}\n")) for ours, (theirs, value) in _KEYS.items()),
    Case("write it as `iterations`", {RECIPE: "trigger: old_west\nmin_pairs: 1\nsteps: 6000\n"}),
    Case("write it as `trigger`", {RECIPE: "instance_prompt: old_west\nmin_pairs: 1\niterations: 6000\n"}),
    *(
        Case(hint, recipe(f"{key}\n"))
        for key, hint in {
            "optimizer: prodigy": "Adam is the only optimizer; remove it",
            "lr_scheduler: cosine": "the rate rises over `warmup_steps` and falls on a cosine; remove it",
            "repeats: 10": "all pictures are seen alike; remove it",
            "scale: 1.0": "the strength is `scale` in the world's `loras:`; remove it",
            "network_module: networks.lora_flux": "what is trained is a LoRA; remove it",
            "mixed_precision: bf16": "the trainer chooses its precision; remove it",
            "save_precision: fp16": "the trainer chooses its precision; remove it",
        }.items()
    ),
    Case(
        "write both as `resolution`, a list of two", recipe("width: 96\n"), {RECIPE: _STYLE + "resolution: [96, 64]\n"}
    ),
    Case("it is `iterations` here, which is there already; remove this one", recipe("steps: 6000\n")),
    Case("it is `trigger` here, which is there already; remove this one", recipe("token: other\n")),
    Case("`iterations` is there already; remove this one", recipe("iteration: 6000\n")),
    Case("a training is counted in `iterations`: epochs × pictures / batch_size; remove it", recipe("epochs: 10\n")),
    Case(
        "captions are .txt; `sq-pipeline dataset import FOLDER OUT` reads others; remove it",
        recipe("caption_ext: .txt\n"),
    ),
    Case("did you mean `sample_interval`?", recipe("sample_intervall: 100\n")),
    Case("correct the value", recipe("rank: many\n"), 8),
    Case("name the word that wakes the style", {RECIPE: "min_pairs: 1\n"}, {RECIPE: _STYLE}),
    Case(
        'write "#rrggbb" in quotes, such as "#808080", or a name of CSS, such as white',
        recipe("background: #fff\n"),
        "#ffffff",
    ),
    Case(
        'write "#rrggbb" in quotes, such as "#808080", or a name of CSS, such as white',
        recipe("background: greyish\n"),
        "grey",
    ),
    Case("lower it, or raise `iterations`", recipe("warmup_steps: 10000\n"), 10),
    Case("raise it", {RECIPE: "trigger: old_west\nmin_pairs: 1\niterations: 2\nwarmup_steps: 0\n"}, 6000),
    Case(
        "raise it, or lower `grad_accumulation`",
        {RECIPE: "trigger: old_west\nmin_pairs: 1\nwarmup_steps: 50\n"},
        6000,
    ),
    Case("remove it, or write 16", recipe("base_bits: 4\n")),
    Case("leave it out, or use `trainer: mlx`", recipe("trainer: mlx-examples\nflip: true\n")),
    Case(
        "use flux1-dev or flux1-schnell, or `trainer: mlx`",
        recipe("trainer: mlx-examples\n"),
        {RECIPE: _STYLE + "trainer: mlx\n"},
    ),
    Case("use `trainer: mlx`", recipe("trainer: mflux-train\n")),
    Case("write `trainer: mflux-train`", trained("z-image", "mlx", "")),
    Case("leave it out", trained("z-image", "mflux-train", "rank: 8\nalpha: 4\n")),
    Case("leave it out, or write 1.0", trained("z-image", "mflux-train", "crop_min: 0.5\n")),
    Case(
        "name some as mflux does, such as layers.0.attention.to_q",
        trained("z-image", "mflux-train", "modules: [x]\n"),
        "layers.0.attention.to_q",
    ),
    Case("make it a multiple of 48", trained("z-image", "mflux-train", "iterations: 7\n"), 48),
    Case("write 1 or more", trained("flux1-dev", "mlx-examples", "warmup_steps: 0\n"), 1),
    Case("write 10 or more", trained("flux1-dev", "mlx-examples", "iterations: 2\n"), 10),
    Case(
        "take one that divides 15, such as 1",
        trained("flux1-dev", "mlx-examples", "batch_size: 7\nbase_bits: 16\n"),
        1,
    ),
    Case("write one such as `single_blocks.*` or `*.img_attn.qkv`", recipe("modules: ['img_in']\n"), "single_blocks.*"),
    Case("shorten it", recipe("sample_prompts: ['" + "a mill " * 99 + "']\n"), "a mill"),
    Case("shorten it", subject("mccoy at a mill, " + "far away " * 99), at("001.txt", "mccoy at a mill")),
    Case("correct the value", recipe("base_model: sdxl\n"), "tiny-flux"),
    # captions
    Case(_BARE, at("000.txt", "west"), at("000.txt", "old_west")),
    Case(
        f"{_BARE}; for described pictures write `kind: subject` in lora.yaml",
        at("000.txt", "an old_west mill"),
        then="describe",
    ),
    Case(
        f"{_BARE}; for described pictures write `caption_styles: [trigger, sentence]` in lora.yaml",
        at("000.txt", "old_west, a mill"),
    ),
    Case(
        "write 'old_west', or “old_west, ” and what the picture shows",
        {**recipe(_BOTH), **at("000.txt", "a mill"), **at("001.txt", "old_west, a mine")},
        at("000.txt", "old_west, a mill"),
    ),
    Case(
        "write captions such as “old_west, a mill at noon”, or leave it out",
        recipe(_BOTH),
        at("001.txt", "old_west, a mill at noon"),
    ),
    Case(
        "leave it out, or write `caption_styles: [trigger, sentence]` and what each picture shows behind its trigger",
        recipe("prior_mix: 0.4\nprior_prompts: [a mill at noon]\n"),
        {**recipe(_BOTH + "prior_mix: 0.4\nprior_prompts: [a mill at noon]\n"), **at("000.txt", "old_west, a mine")},
    ),
    Case("write `[sentence]`", trained("flux1-dev", "mlx-examples", _BOTH), ["sentence"]),
    Case(
        f"{_BARE}; for described pictures write `kind: subject` in lora.yaml and 'old_west' into each caption",
        at("000.txt", "a mill"),
        then="old_west",
    ),
    Case("write a sentence about it", subject("mccoy"), at("001.txt", "mccoy at a mill")),
    Case("name the subject by its trigger", subject("a man at a mill"), at("001.txt", "mccoy at a mill")),
    Case(
        "name the subject by its trigger, with a space around it",
        subject("themccoy at a mill"),
        at("001.txt", "the mccoy at a mill"),
    ),
    Case(
        "describe each picture for itself",
        {RECIPE: _SUBJECT, **{f"{FOLDER}/{n:03d}.txt": "mccoy at a river" for n in range(3)}},
        {f"{FOLDER}/{n:03d}.txt": f"mccoy at a river {n}" for n in range(3)},
    ),
    Case("save it as UTF-8", at("000.txt", "old_wést".encode("latin-1")), at("000.txt", "old_west")),
    Case("remove it", at("000.txt", "old\0_west"), at("000.txt", "old_west")),
    Case("put it in front", subject("far away " * 42 + " mccoy"), at("001.txt", "mccoy far away")),
    # pairs
    Case("rename it to lora.yaml", {RECIPE: None, **at("lora.yml", _STYLE)}),
    Case("make it, with images and .txt captions", {FOLDER: shutil.rmtree}, lambda root: _whole(root)),
    Case(
        "add pictures, or set `min_pairs` in lora.yaml", {RECIPE: "trigger: old_west\nmin_pairs: 8\n"}, {RECIPE: _STYLE}
    ),
    Case("remove one of the two", at("000.TXT", "old_west"), without("000.TXT")),
    Case(
        "rename it to new.txt",
        {**picture(lambda: make_image(70), "new.png"), **at("New.txt", "old_west")},
        lambda root: (root / FOLDER / "New.txt").rename(root / FOLDER / "new.txt"),
    ),
    Case("rename one of the two", picture(lambda: make_image(70), "000.jpg"), lambda root: _apart(root)),
    Case('put `ignore: ["*-masklabel.png"]` in lora.yaml', picture(lambda: make_image(70), "000-masklabel.png")),
    Case(
        "write a .txt of its name, or `ignore` it in lora.yaml",
        picture(lambda: make_image(70), "new.png"),
        at("new.txt", "old_west"),
    ),
    Case('add the picture, or put `ignore: ["new.txt"]` in lora.yaml', at("new.txt", "old_west")),
    Case('add the picture, or put `ignore: ["new [[]1].txt"]` in lora.yaml', at("new [1].txt", "old_west")),
    Case('add the picture, or put `ignore: ["it\'s new.txt"]` in lora.yaml', at("it's new.txt", "old_west")),
    Case("it is ignored", at("notes.md", "hello"), without("notes.md")),
    Case("move it elsewhere", at("new.png", os.mkdir) | at("new.txt", "old_west"), lambda root: _away(root)),
    Case(
        "put the file itself there",
        at("000.txt", lambda path: path.symlink_to("/etc/hostname")),
        lambda root: _own(root),
    ),
    # pictures
    *(
        _other(suffix, hint)
        for suffix, hint in {
            ".heic": "save it as PNG (on a Mac: `sips -s format png *.heic --out .`)",
            ".jxl": "save it as PNG (`djxl` does it)",
            ".svg": "export it as PNG",
            ".pdf": "export it as PNG",
            ".psd": "export it as PNG",
            ".kra": "export it as PNG",
            ".cr2": "develop it, and save it as PNG",
            ".exr": "save it as PNG of 8 bits",
            ".dds": "save it as PNG",
            ".ico": "save it as PNG",
            ".mp4": "save its frames as PNG",
        }.items()
    ),
    Case("get the picture itself again", at("000.png", b""), again("000.png")),
    Case("get the picture itself again", at("000.png", b"<html>no</html>"), again("000.png")),
    Case("run `git lfs pull`", at("000.png", b"version https://git-lfs.github.com/spec/v1\n"), again("000.png")),
    Case("unpack it", at("000.png", b"PK\x03\x04" + b"\0" * 60), again("000.png")),
    Case(
        "save it as 8-bit RGB", picture(lambda: Image.fromarray(np.full((96, 128), 900, np.uint16))), again("000.png")
    ),
    Case("look at it: it teaches nothing else", picture(lambda: Image.new("RGB", (128, 96), "red")), again("000.png")),
    Case("remove it, or save it with its colours", picture(_hidden), again("000.png")),
    Case('set `background: "#ffffff"` (or another colour) in lora.yaml', picture(_clear), then="transparent"),
    Case("cut it", picture(lambda: make_image(9, 2000, 96)), again("000.png")),
    Case(
        f"{_LARGER}, or `aspect_buckets: true` for pictures of another shape",
        picture(lambda: make_image(9, 96, 128)),
        {RECIPE: _STYLE + "aspect_buckets: true\n"},
        then="",
    ),
    Case(
        f"{_LARGER}, or `aspect_buckets: true` for pictures of another shape",
        picture(lambda: make_image(9, 64, 48)),
        {RECIPE: _STYLE + "resolution: [64, 48]\n"},
    ),
    Case(
        _LARGER,
        {**recipe("aspect_buckets: true\n"), **picture(lambda: make_image(9, 64, 48))},
        again("000.png"),
    ),
    Case(
        "keep one of them",
        at("001.png", lambda path: shutil.copy(path.with_name("000.png"), path)),
        without("001.png", "001.txt"),
    ),
    Case("look whether it belongs here", picture(lambda: make_image(9).convert("L")), again("000.png")),
)


def _whole(root: Path) -> None:
    (root / FOLDER).mkdir(parents=True)
    (root / RECIPE).write_text(_STYLE)
    for number in range(3):
        write_pair(root / FOLDER, f"{number:03d}", number)


def _apart(root: Path) -> None:
    (root / FOLDER / "000.jpg").rename(root / FOLDER / "new.jpg")
    (root / FOLDER / "new.txt").write_text("old_west")


def _away(root: Path) -> None:
    (root / FOLDER / "new.png").rmdir()
    (root / FOLDER / "new.txt").unlink()


def _own(root: Path) -> None:
    (root / FOLDER / "000.txt").unlink()
    (root / FOLDER / "000.txt").write_text("old_west")
