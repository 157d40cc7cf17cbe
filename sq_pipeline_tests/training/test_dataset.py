"""The preflight of a training dataset: every fault by its file, its data version, its index, and the CLI over it."""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from sq_pipeline.cli import main
from sq_pipeline.common.errors import BaseModelError, ContentError, DatasetError
from sq_pipeline.training.dataset import fingerprint_folder
from sq_pipeline.training.dataset_files import list_folder, read_recipe
from sq_pipeline.training.recipe import Recipe, trained_values
from sq_pipeline_tests.builders import (
    HEIGHT_PX,
    NAME,
    STYLE_RECIPE,
    SUBJECT_RECIPE,
    WIDTH_PX,
    check,
    faults_of,
    make_image,
    write_16_bit_png,
    write_dataset,
    write_pair,
)

# --- what passes


def test_a_good_folder_passes_whole_and_in_the_order_of_names(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", pairs=3)
    dataset = check(folder)
    assert [image.name for image in dataset.images] == ["000.png", "001.png", "002.png"]
    assert {image.caption for image in dataset.images} == {"old_west"}
    assert dataset.warnings == ()
    assert dataset.base_model == "tiny-flux"
    assert [example.image_path for example in dataset.examples()] == [folder / f"00{n}.png" for n in range(3)]
    assert [example.caption for example in dataset.examples()] == ["old_west"] * 3


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_modes_that_become_rgb_without_loss_are_accepted(tmp_path: Path, mode: str) -> None:
    folder = write_dataset(tmp_path / "set", pairs=1)
    suffix = ".tif" if mode == "CMYK" else ".png"
    make_image(7, mode=mode).save(folder / f"extra{suffix}")
    (folder / "extra.txt").write_text("old_west")
    assert len(check(folder).images) == 2


def test_greyscale_is_compared_by_its_rgb_pixels(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", pairs=1)
    grey = make_image(7, mode="L")
    for name, image in (("grey", grey), ("same_as_rgb", grey.convert("RGB"))):
        image.save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text("old_west")
    (fault,) = faults_of(lambda: check(folder), DatasetError)
    assert fault.file == f"{NAME}/same_as_rgb.png"
    assert fault.problem == "shows the same pixels as grey.png"


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".jpg", ".jpeg", ".webp", ".bmp", ".tiff"])
def test_image_formats(tmp_path: Path, suffix: str) -> None:
    folder = write_dataset(tmp_path / "set", pairs=0)
    make_image(1).save(folder / f"one{suffix}")
    (folder / "one.txt").write_text("old_west")
    assert [image.name for image in check(folder).images] == [f"one{suffix}"]


def test_a_caption_in_capitals_belongs_to_its_image(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", pairs=2)
    (folder / "001.txt").rename(folder / "001.TXT")
    assert len(check(folder).images) == 2


def test_other_files_are_named_and_hidden_ones_are_not(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set")
    (folder / "notes.md").write_text("x")
    (folder / ".DS_Store").write_bytes(b"\0")
    (warning,) = check(folder).warnings
    assert warning.file == f"{NAME}/notes.md"


@pytest.mark.parametrize(("width_px", "height_px"), [(WIDTH_PX, HEIGHT_PX), (300, 400)])
def test_images_of_the_training_size_or_larger_pass(tmp_path: Path, width_px: int, height_px: int) -> None:
    folder = write_dataset(tmp_path / "set", pairs=1)
    make_image(5, width_px, height_px).save(folder / "000.png")
    assert len(check(folder).images) == 1


# --- what does not: one change to a good folder of three pairs, one fault


def _remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def _save(name: str, image: Image.Image) -> Callable[[Path], object]:
    return lambda folder: image.save(folder / name)


def _truncate_image(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)
    path = folder / "001.png"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:9000])


def _copy_image(folder: Path) -> None:
    (folder / "001.png").write_bytes((folder / "000.png").read_bytes())


def _same_pixels_in_another_file(folder: Path) -> None:
    with Image.open(folder / "000.png") as image:
        image.save(folder / "001.png", compress_level=0)
    assert (folder / "001.png").read_bytes() != (folder / "000.png").read_bytes()


def _link(name: str, target: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return change


def _link_out(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        outside = folder.parent / f"outside{Path(name).suffix}"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return change


def _folder(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def _pipe(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def _second_image_of_a_stem(folder: Path) -> None:
    make_image(50).save(folder / "001.bmp")


ONE_FAULT: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "image without caption": (_remove("001.txt"), "001.png", "has no caption"),
    "caption without image": (_remove("001.png"), "001.txt", "has no image"),
    "garbage": (_write("001.png", b"\x00garbage" * 40), "001.png", "is no picture of a kind that is known here"),
    "empty file": (_write("001.png", b""), "001.png", "cannot be decoded"),
    "truncated": (_truncate_image, "001.png", "cannot be decoded"),
    "too narrow": (_save("001.png", make_image(9, WIDTH_PX - 1, HEIGHT_PX)), "001.png", "is 127×96 pixels"),
    "too low": (_save("001.png", make_image(9, WIDTH_PX, HEIGHT_PX - 1)), "001.png", "is 128×95 pixels"),
    "16 bits, grey": (lambda f: write_16_bit_png(f / "001.png", 0), "001.png", "has the mode I;16"),
    "16 bits, RGB": (lambda f: write_16_bit_png(f / "001.png", 2), "001.png", "has 16 bits a channel"),
    "16 bits, grey and alpha": (lambda f: write_16_bit_png(f / "001.png", 4), "001.png", "has 16 bits a channel"),
    "16 bits, RGBA": (lambda f: write_16_bit_png(f / "001.png", 6), "001.png", "has 16 bits a channel"),
    "float": (_save("001.tif", make_image(9, mode="F")), "001.tif", "has the mode F"),
    "copied": (_copy_image, "001.png", "shows the same pixels as 000.png"),
    "packed otherwise": (_same_pixels_in_another_file, "001.png", "shows the same pixels as 000.png"),
    "two of a stem": (_second_image_of_a_stem, "001.png", "shares its caption with 001.bmp"),
    "image linked out": (_link_out("001.png"), "001.png", "is a link that leads out"),
    "caption linked out": (_link_out("001.txt"), "001.txt", "is a link that leads out"),
    "dangling link": (_link("001.png", "../nowhere.png"), "001.png", "is a link that leads out"),
    "link to nothing": (_link("001.png", "nothing.png"), "001.png", "is not a file"),
    "link to itself": (_link("001.png", "001.png"), "001.png", "is not a file"),
    "image is a folder": (_folder("001.png"), "001.png", "is not a file"),
    "caption is a folder": (_folder("001.txt"), "001.txt", "is not a file"),
    "image is a pipe": (_pipe("001.png"), "001.png", "is not a file"),
    "caption is not UTF-8": (_write("001.txt", "wüste".encode("latin-1")), "001.txt", "is not UTF-8"),
    "another trigger": (_write("001.txt", b"old west"), "001.txt", "says 'old west'"),
    "trigger in capitals": (_write("001.txt", b"Old_West"), "001.txt", "says 'Old_West'"),
    "more than the trigger": (_write("001.txt", b"old_west, a town"), "001.txt", "says 'old_west, a town'"),
    "empty caption": (_write("001.txt", b""), "001.txt", "says ''"),
}


@pytest.mark.parametrize(("change", "file", "problem"), ONE_FAULT.values(), ids=ONE_FAULT.keys())
def test_one_fault(tmp_path: Path, change: Callable[[Path], object], file: str, problem: str) -> None:
    folder = write_dataset(tmp_path / "set", pairs=3)
    before = fingerprint_folder(folder, NAME)
    change(folder)
    if file.endswith(".tif"):
        (folder / "001.png").unlink()
    (fault,) = faults_of(lambda: check(folder), DatasetError)
    assert fault.file == f"{NAME}/{file}"
    assert problem in fault.problem
    assert fault.hint
    # the plan reads the folder too: it must see the change and never fall over it
    assert fingerprint_folder(folder, NAME) != before


def test_two_captions_of_one_image(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", pairs=3)
    if (folder / "001.TXT").exists():
        pytest.skip("names that differ in case only are one file here")
    (folder / "001.TXT").write_text("old_west")
    (fault,) = faults_of(lambda: check(folder), DatasetError)
    assert (fault.file, fault.problem) == (f"{NAME}/001.txt", "captions the same image as 001.TXT")


def test_a_missing_folder_is_one_fault_that_says_so(tmp_path: Path) -> None:
    for action in (check, lambda folder: fingerprint_folder(folder, NAME), lambda folder: list_folder(folder, NAME)):
        (fault,) = faults_of(lambda action=action: action(tmp_path / "none"), DatasetError)
        assert (fault.file, fault.problem) == (NAME, "there is no such folder")


@pytest.mark.parametrize(
    ("recipe", "problem"),
    [
        ("trigger: old_west\n", "3 pairs of image and caption, at least 150 are needed"),
        ("trigger: old_west\nmin_pairs: 4\n", "3 pairs of image and caption, at least 4 are needed"),
        ("trigger: old_west\nmin_pairs: 3\n", None),
    ],
)
def test_the_least_number_of_pairs(tmp_path: Path, recipe: str, problem: str | None) -> None:
    folder = write_dataset(tmp_path / "set", pairs=3, recipe=recipe)
    if problem is None:
        assert len(check(folder).images) == 3
    else:
        assert [fault.problem for fault in faults_of(lambda: check(folder), DatasetError)] == [problem]


def test_three_pictures_without_a_recipe_name_number_and_trigger(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", pairs=3)
    (folder / "lora.yaml").unlink()
    faults = faults_of(lambda: check(folder), DatasetError)
    assert [(fault.file, fault.field) for fault in faults] == [(NAME, ""), (f"{NAME}/lora.yaml", "trigger")]


@pytest.mark.parametrize(
    ("captions", "problems"),
    [
        (["mccoy rides at dawn", "the hat of mccoy"], []),
        (["mccoy rides at dawn", "mccoy"], ["does not describe its picture"]),
        (["mccoy rides at dawn", ""], ["does not describe its picture"]),
        (["mccoy rides at dawn", "a man rides at noon"], ["does not contain 'mccoy'"]),
        (["mccoy rides at dawn", "mccoy rides at dawn"], ["all captions are equal"]),
    ],
)
def test_captions_of_a_subject(tmp_path: Path, captions: list[str], problems: list[str]) -> None:
    folder = write_dataset(tmp_path / "set", pairs=0, recipe=SUBJECT_RECIPE)
    for index, caption in enumerate(captions):
        write_pair(folder, f"{index}", index, caption)
    if problems:
        assert [fault.problem for fault in faults_of(lambda: check(folder), DatasetError)] == problems
    else:
        assert [image.caption for image in check(folder).images] == captions


_WEST = ["old_west, a mill at noon", "old_west,a mine", "old_west", "old_west, "]


@pytest.mark.parametrize(
    ("styles", "captions", "faulty"),
    [
        ("[trigger]", _WEST[2:3], []),
        ("[trigger]", _WEST, [0, 1, 3]),
        ("[trigger, sentence]", _WEST[:3], []),
        ("[sentence]", _WEST[:3], []),
        ("[trigger, sentence]", [*_WEST, "a mill", "a mill in the old_west", "old_west mill", "old_western, a mill"],
         [3, 4, 5, 6, 7]),
    ],
)  # fmt: skip
def test_captions_of_a_style(tmp_path: Path, styles: str, captions: list[str], faulty: list[int]) -> None:
    recipe = f"{STYLE_RECIPE}caption_styles: {styles}\n"
    folder = write_dataset(tmp_path / "set", pairs=0, recipe=recipe)
    for index, caption in enumerate(captions):
        write_pair(folder, f"{index}", index, caption)
    if faulty:
        raised = faults_of(lambda: check(folder), DatasetError)
        assert [fault.file for fault in raised] == [f"{NAME}/{index}.txt" for index in faulty] or len(raised) == 1
        assert all("old_west" in fault.hint for fault in raised)
    else:
        assert [image.caption for image in check(folder).images] == captions


def test_sentences_that_no_caption_has(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", recipe=f"{STYLE_RECIPE}caption_styles: [sentence]\n")
    (fault,) = faults_of(lambda: check(folder), DatasetError)
    assert (fault.file, fault.field) == (f"{NAME}/lora.yaml", "caption_styles")
    assert fault.problem == "asks for sentences, and no caption has words beside the trigger"


@pytest.mark.parametrize(
    ("more", "is_warned"),
    [
        ("prior_prompts: [a mill at noon]\n", True),
        ("prior_prompts: [mill, a mill at noon]\n", True),
        ("prior_prompts: [mill, mine]\n", False),  # as short as the trigger
        ("prior_prompts: [a mill at noon]\ncaption_styles: [trigger, sentence]\n", False),
        ("prior_prompts: [a mill at noon]\nkind: subject\n", False),
        ("prior_prompts: [a mill at noon]\nprior_mix: 0.0\n", False),
    ],
)
def test_a_recipe_that_teaches_that_a_long_prompt_means_the_base_is_told(
    tmp_path: Path, more: str, is_warned: bool
) -> None:
    mix = "" if "prior_mix" in more else "prior_mix: 0.45\n"
    is_bare = "kind" not in more and "caption_styles" not in more
    caption = "old_west" if is_bare else "old_west, scene {n}"
    folder = write_dataset(tmp_path / "set", recipe=f"{STYLE_RECIPE}{mix}{more}", caption=caption)
    told = [warning for warning in check(folder).warnings if warning.field == "prior_mix"]
    assert len(told) == is_warned
    assert all("a long prompt means the base model" in warning.problem for warning in told)


def test_caption_styles_count_where_they_are_not_the_default() -> None:
    """A recipe of before is the same, and another style of captions is another training."""
    assert "caption_styles" not in trained_values(Recipe(trigger="old_west", caption_styles=("trigger",)))
    assert trained_values(Recipe(caption_styles=("sentence",)))["caption_styles"] == ["sentence"]


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", pairs=8, recipe="trigger: old_west\nmin_pairs: 8\n")
    (folder / "000.txt").unlink()
    (folder / "001.png").write_bytes(b"no picture")
    make_image(99, 16, 16).save(folder / "002.png")
    (folder / "003.txt").write_bytes(b"\xff\xfe")
    (folder / "004.txt").write_text("new_west")
    (folder / "006.png").write_bytes((folder / "005.png").read_bytes())
    (folder / "lone.txt").write_text("old_west")
    faults = faults_of(lambda: check(folder), DatasetError)
    assert sorted(fault.file.removeprefix(f"{NAME}/") for fault in faults) == [
        "000.png",
        "001.png",
        "002.png",
        "003.txt",
        "004.txt",
        "006.png",
        NAME,
        "lone.txt",
    ]


def test_an_image_and_its_caption_can_both_be_at_fault(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set")
    (folder / "001.png").write_bytes(b"no picture")
    (folder / "001.txt").write_bytes(b"\xff\xfe")
    files = [fault.file for fault in faults_of(lambda: check(folder), DatasetError)]
    assert files == [f"{NAME}/001.png", f"{NAME}/001.txt"]


# --- the recipe


@pytest.mark.parametrize(
    ("recipe", "field", "problem"),
    [
        ("iteration: 5", "iteration", "unknown key"),
        ("scale: 0.8", "scale", "unknown key"),
        ("iterations: 0", "iterations", "greater than or equal to 1"),
        ("caption_styles: []", "", "or both, each once"),
        ("caption_styles: [words]", "caption_styles[0]", "'trigger' or 'sentence'"),
        ("caption_styles: [trigger, trigger]", "", "or both, each once"),
        ("kind: subject\ncaption_styles: [sentence]", "", "are of `kind: style`"),
        ("iterations: many", "iterations", "valid integer"),
        ("iterations: '600'", "iterations", "valid integer"),
        ("min_pairs: true", "min_pairs", "valid integer"),
        ("rank: 0", "rank", "greater than or equal to 1"),
        ("rank: 2.5", "rank", "valid integer"),
        ("learning_rate: 0", "learning_rate", "greater than 0"),
        ("learning_rate: '1e-4'", "learning_rate", "valid number"),
        ("learning_rate: true", "learning_rate", "valid number"),
        ("kind: person", "kind", "'style' or 'subject'"),
        ("trigger: 5", "trigger", "valid string"),
        ("trigger: ''", "trigger", "write a word"),
        ("trigger: ' old_west'", "trigger", "write a word"),
        ("base_model: flux9", "base_model", "use one of flux1-dev, flux1-schnell, flux2-klein-4b"),
        ("seed: -1", "seed", "greater than or equal to 0"),
    ],
)
def test_a_faulty_recipe_names_its_field(tmp_path: Path, recipe: str, field: str, problem: str) -> None:
    folder = write_dataset(tmp_path / "set", recipe=recipe)
    for action in (lambda: read_recipe(folder, NAME), lambda: check(folder), lambda: fingerprint_folder(folder, NAME)):
        (fault,) = faults_of(action, DatasetError)
        assert (fault.file, fault.field) == (f"{NAME}/lora.yaml", field)
        assert problem in fault.problem


def test_a_slip_in_a_key_is_met_with_the_key_that_was_meant(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", recipe="iteratoins: 5")
    (fault,) = faults_of(lambda: check(folder), DatasetError)
    assert fault.hint == "did you mean `iterations`?"


@pytest.mark.parametrize("recipe", ["iteratoins: 5", "trigger: a\ntrigger: b", "- trigger"])
def test_a_faulty_recipe_does_not_hide_the_pictures_faults(tmp_path: Path, recipe: str) -> None:
    folder = write_dataset(tmp_path / "set", recipe=recipe)
    (folder / "001.png").write_bytes(b"no picture")
    files = [fault.file for fault in faults_of(lambda: check(folder), DatasetError)]
    assert files == [f"{NAME}/lora.yaml", f"{NAME}/001.png"]


def test_yaml_that_cannot_be_read_is_a_content_error_of_the_recipe(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", recipe="trigger: a\ntrigger: b\n")
    (fault,) = faults_of(lambda: read_recipe(folder, NAME), ContentError)
    assert fault.file == f"{NAME}/lora.yaml"
    assert "twice" in fault.problem


def test_defaults_where_there_is_no_recipe_or_an_empty_one(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", recipe="")
    assert read_recipe(folder, NAME) == Recipe()
    (folder / "lora.yaml").unlink()
    assert read_recipe(folder, NAME) == Recipe()


def test_one_in_ten_thousand_is_a_number(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", recipe=f"{STYLE_RECIPE}learning_rate: 1e-4\n")
    assert check(folder).recipe.learning_rate == 1e-4


def test_the_recipe_chooses_the_base_model_and_with_it_the_size(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", pairs=1, recipe=f"{STYLE_RECIPE}base_model: dev\n")
    (fault,) = faults_of(lambda: check(folder), DatasetError)
    assert fault.problem == "is 128×96 pixels, the training resolution is 512×512"
    make_image(1, 512, 512).save(folder / "000.png")
    assert check(folder).base_model == "flux1-dev"


def test_an_unknown_default_base_model_is_not_the_dataset_s_fault(tmp_path: Path) -> None:
    from sq_pipeline.training.dataset import check_dataset

    folder = write_dataset(tmp_path / "set")
    (fault,) = faults_of(lambda: check_dataset(folder, NAME, "flux9"), BaseModelError)
    assert "flux9" in fault.problem


# --- the data version


def _touch(folder: Path) -> None:
    for path in folder.iterdir():
        os.utime(path, (1, 1))


def _change_pixel(folder: Path) -> None:
    with Image.open(folder / "001.png") as image:
        image.load()
        red, green, blue = image.getpixel((0, 0))  # type: ignore[misc]
        image.putpixel((0, 0), (red ^ 1, green, blue))
        image.save(folder / "001.png")


def _repack(folder: Path) -> None:
    information = PngImagePlugin.PngInfo()
    information.add_text("Comment", "scanned on a Monday")
    with Image.open(folder / "001.png") as image:
        image.load()
        image.save(folder / "001.png", compress_level=1, pnginfo=information)


def _rename(old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: (folder / old).rename(folder / new)


def _swap_images(folder: Path) -> None:
    (folder / "001.png").rename(folder / "x")
    (folder / "002.png").rename(folder / "001.png")
    (folder / "x").rename(folder / "002.png")


@pytest.mark.parametrize(
    ("change", "is_same", "is_same_fingerprint"),
    [
        (_touch, True, True),
        (_rename("notes.md", "notes2.md"), True, True),
        (_write("lora.yaml", f"# a comment\n{SUBJECT_RECIPE}".encode()), True, True),
        (_write("lora.yaml", f"{SUBJECT_RECIPE}rank: 4\n".encode()), True, False),
        (_write("001.txt", b"  mccoy on horse 1 \n\n"), True, False),
        (_repack, True, False),
        (_change_pixel, False, False),
        (_write("001.txt", b"mccoy on a mule"), False, False),
        (_swap_images, False, False),
        (lambda folder: write_pair(folder, "003", 3, "mccoy on horse 3"), False, False),
        (lambda folder: [(folder / f"002{s}").unlink() for s in (".png", ".txt")], False, False),
    ],
    ids="touch renamed-notes comment rank spaces repacked pixel caption swapped added removed".split(),
)
def test_data_version_and_fingerprint(
    tmp_path: Path, change: Callable[[Path], object], is_same: bool, is_same_fingerprint: bool
) -> None:
    folder = write_dataset(tmp_path / "set", pairs=3, recipe=SUBJECT_RECIPE, caption="mccoy on horse {n}")
    (folder / "notes.md").write_text("x")
    version, inputs = check(folder).data_version, fingerprint_folder(folder, NAME)
    change(folder)
    assert (check(folder).data_version == version) is is_same
    assert (fingerprint_folder(folder, NAME) == inputs) is is_same_fingerprint


def test_a_moved_folder_has_the_same_version(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set")
    version = check(folder).data_version
    assert re.fullmatch("sha256:[0-9a-f]{64}", version)
    assert check(folder.rename(tmp_path / "elsewhere")).data_version == version


def test_train_jsonl_is_what_mlx_examples_reads(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", pairs=2, recipe=SUBJECT_RECIPE, caption='mccoy "{n}" im Öl')
    index = tmp_path / "train.jsonl"
    check(folder).write_index(index)
    text = index.read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert [json.loads(line) for line in text.splitlines()] == [
        {"image": "000.png", "prompt": 'mccoy "0" im Öl'},
        {"image": "001.png", "prompt": 'mccoy "1" im Öl'},
    ]


# --- `sq-pipeline dataset check`


def _run_cli(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["sq-pipeline", "dataset", "check", *arguments])
    with pytest.raises(SystemExit) as exit_info:
        main()
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code


def test_cli_says_that_a_folder_is_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_dataset(tmp_path / "set", pairs=2)
    assert _run_cli(monkeypatch, str(folder)) == 0
    output = capsys.readouterr()
    assert "2 pairs" in output.out
    assert "old_west" in output.out
    assert output.err == ""


def test_cli_gives_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_dataset(tmp_path / "set", pairs=2)
    (folder / "notes.md").write_text("x")
    assert _run_cli(monkeypatch, str(folder), "--json") == 0
    output = capsys.readouterr()
    report = json.loads(output.out)
    assert report["pairs"] == 2
    assert report["kind"] == "style"
    assert report["trigger"] == "old_west"
    assert report["base_model"] == "tiny-flux"
    assert report["data_version"] == check(folder).data_version
    assert len(report["warnings"]) == 1


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_cli_prints_one_line_for_each_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    folder = write_dataset(tmp_path / "set", pairs=3)
    (folder / "000.txt").unlink()
    (folder / "001.png").write_bytes(b"no picture")
    (folder / "002.txt").write_text("two\nlines")
    assert _run_cli(monkeypatch, str(folder), *option) == 1
    output = capsys.readouterr()
    if option:
        assert len(json.loads(output.out)["faults"]) == 3
    else:
        verdict, need = output.out.splitlines()
        assert verdict == "not fit to train; judged over tiny-flux (of the default)"
        assert need.startswith("needs 0.")
    lines = output.err.splitlines()
    assert len(lines) == 3
    for line, name in zip(lines, ("000.png", "001.png", "002.txt"), strict=True):
        assert line.startswith(f"error: {folder}/{name}: ")


def test_cli_on_a_missing_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run_cli(monkeypatch, str(tmp_path / "none")) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"error: {tmp_path / 'none'}: there is no such folder; make it, with images and .txt captions"
    ]


def test_cli_without_a_folder_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run_cli(monkeypatch) == 2
    assert "Missing argument" in capsys.readouterr().err
