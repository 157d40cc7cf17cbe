"""What a person made stays: files at published paths that we did not write, or that were changed since."""

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sq_pipeline.pictures.png_file import read_png
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.choose_checkpoint import choose_checkpoint
from sq_pipeline.pipeline.adapters.promote import promote
from sq_pipeline.pipeline.context import Context
from sq_pipeline_tests.defs.test_sensors import Ticks, assets
from sq_pipeline_tests.pipeline.fast import chapter, poi, write_yaml
from sq_pipeline_tests.pipeline.game import Game


def paint(path: Path) -> None:
    """A picture of a person's own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rings = np.add.outer(np.arange(60), np.arange(80)) // 7 % 2 * 200
    Image.fromarray(np.dstack([rings, rings // 2, 255 - rings]).astype(np.uint8)).save(path)


def retouch(path: Path) -> None:
    """Paint over it, and save it in its place without its metadata."""
    image = Image.open(path).convert("RGB")
    image.paste((255, 0, 0), (0, 0, 9, 9))
    image.save(path)


def retouch_keeping_metadata(path: Path) -> None:
    image = Image.open(path)
    image.load()
    image.paste((255, 0, 0), (0, 0, 9, 9))
    from PIL.PngImagePlugin import PngInfo

    notes = PngInfo()
    for name, text in image.text.items():  # type: ignore[attr-defined]
        notes.add_itxt(name, text)
    image.save(path, pnginfo=notes)


def flip_one_bit_of_a_size(path: Path) -> None:
    """Another picture of the very same size in bytes."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def link(path: Path) -> None:
    own = path.parents[3] / "my_art.png"
    paint(own)
    path.unlink(missing_ok=True)
    path.symlink_to(own)


def link_to_nothing(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path.parent / "not_there.png")


def folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir(parents=True)
    (path / "sky.png").write_text("layers")


def text(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("to do: paint this")


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def half_a_png(path: Path) -> None:
    paint(path)
    path.write_bytes(path.read_bytes()[:200])


def palette(path: Path) -> None:
    paint(path)
    Image.open(path).convert("P").save(path)


def picture_of_another(path: Path) -> None:
    """Ours, but somebody put it into this place: that is a choice."""
    shutil.copyfile(path.with_name("mine.png"), path)


THEIRS: dict[str, tuple[Callable[[Path], None], str]] = {
    "1-own-picture-first-run": (paint, "is not a picture of ours"),
    "1-retouched": (retouch, "is not a picture of ours"),
    "retouched with its metadata": (retouch_keeping_metadata, "was changed since it was made"),
    "of the same size": (flip_one_bit_of_a_size, "is not a picture of ours"),
    "1-link-at-the-path": (link, "is a link"),
    "a link to nothing": (link_to_nothing, "is a link"),
    "1-folder-at-the-path": (folder, "is a folder"),
    "1-not-a-picture": (text, "is not a picture of ours"),
    "a pipe": (pipe, "is no plain file"),
    "half a PNG": (half_a_png, "is not a picture of ours"),
    "a PNG with a palette": (palette, "is not a picture of ours"),
    "another place's picture": (picture_of_another, "is a picture of something else"),
}


def snapshot(path: Path) -> Any:
    """What is there, whatever it is."""
    if path.is_symlink():
        return "link", path.readlink(), path.read_bytes() if path.exists() else None
    if path.is_dir():
        return "folder", sorted((item.name, item.read_bytes()) for item in path.iterdir())
    return ("file", path.read_bytes()) if path.is_file() else ("other", path.stat().st_mode)


def mill(game: Game) -> Path:
    return game.data.published_image("west", "landscape", "mill")


@pytest.mark.parametrize("case", THEIRS)
def test_it_stays_and_its_picture_waits(case: str, done: Game) -> None:
    put, told = THEIRS[case]
    path = mill(done)
    put(path)
    before = snapshot(path)
    burnt = chapter(poi("Mill", "a burnt mill"), poi("Mine", "a deep mine"), poi("Inn"))
    for is_edited in (False, True):  # as it was made, and with a prompt that asks for another one
        if is_edited:
            done.edit("worlds/old/history.yaml", {"chapters": [burnt]})
        (waiting,) = [item for item in done.plan()["blocked"] if item["status"] == "waiting"]
        assert waiting["asset"] == "west/worlds/old/poi_images:mill"
        assert f"{done.data.relative(path)} {told}" in waiting["reasons"][0]
        way = "Keep it with `sq-pipeline adopt" if before[0] == "file" else "move that away"
        assert way in waiting["reasons"][0]
        report = done.run()
        assert not report.failed
        assert [item["asset"] for item in report.waiting] == ["west/worlds/old/poi_images:mill"]
        assert [item["poi"] for item in report.rendered] == (["mine"] if is_edited else [])
        assert snapshot(path) == before
    again = done.run()
    assert again.rendered == []
    assert done.plan()["stale"] == []
    assert not (path.parents[1] / "archive").exists()


def test_what_it_was_moved_away_from_is_rendered_again(done: Game) -> None:
    paint(mill(done))
    done.run()
    mill(done).rename(mill(done).with_name("my_mill.png"))
    report = done.run()
    assert report.waiting == []
    assert read_png(mill(done), "sq.").texts["sq.place"] == "west/old/mill"
    assert mill(done).with_name("my_mill.png").is_file()


def test_a_picture_that_was_there_before_the_first_run_stays(game: Game) -> None:
    """1-own-portrait and 1-own-creature"""
    for tier, slug in (("landscape", "mill"), ("portrait", "ada"), ("creature", "hound")):
        paint(game.data.published_image("west", tier, slug))  # type: ignore[arg-type]
    people = {"characters": [{"name": "Ada", "appearance": "a grey braid"}]}
    write_yaml(game.data.world_root("west", "old") / "portrait_manifest.yaml", people)
    beasts = {"creatures": [{"name": "Hound", "description": "a lean hound"}]}
    write_yaml(game.data.world_root("west", "old") / "creatures.yaml", beasts)
    write_yaml(game.data.settings_file, {"promotion": "automatic", "missing_adapter": "none",
                                         "thresholds": {"ssim_trigger_max": 1.0}})  # fmt: skip
    theirs = {path: path.read_bytes() for path in mill(game).parents[1].glob("*/*.png")}
    waits = {item["asset"] for item in game.plan()["blocked"]}
    assert waits >= {
        "west/worlds/old/poi_images:mill",
        "west/worlds/old/portrait_images:ada",
        "west/worlds/old/creature_images:hound",
    }
    report = game.run()
    assert not report.failed
    assert {item["poi"] for item in report.rendered} == {"mine", "inn", "gate", "dock"}
    assert {path: path.read_bytes() for path in theirs} == theirs
    # people alone, all of them waiting: their gallery waits with them, and nothing is a fault
    assert report.blocked == []


@pytest.mark.parametrize("keeps_store", [True, False])
def test_pictures_of_ours_are_replaced_whatever_became_of_the_store(done: Game, keeps_store: bool) -> None:
    """An older one of ours is not a person's; where the store has lost it, it goes to the archive first."""
    before = mill(done).read_bytes()
    done.edit("visual_style.yaml", {"base_seed": 2})
    if not keeps_store:
        shutil.rmtree(done.data.store_root / "objects")
        (done.data.store_root / "records.sqlite").unlink()
    assert "mill" in {item["poi"] for item in done.run().rendered}
    assert Image.open(mill(done)).tobytes() != Image.open(io.BytesIO(before)).tobytes()
    archive = mill(done).parents[1] / "archive"
    kept = [path.read_bytes() for path in archive.glob("mill.*")]
    assert kept == ([] if keeps_store else [before])
    assert any("archive/mill." in line for line in done.said) is not keeps_store


def test_a_picture_saved_anew_with_the_same_pixels_never_waits(done: Game) -> None:
    """1-resaved-same-pixels"""
    Image.open(mill(done)).convert("RGB").save(mill(done), optimize=True)
    pixels = Image.open(mill(done)).tobytes()
    report = done.run()
    assert (report.waiting, report.rendered, report.failed) == ([], [], [])
    assert Image.open(mill(done)).tobytes() == pixels
    assert done.plan()["stale"] == []


def test_a_picture_that_comes_while_it_is_rendered_stays(done: Game) -> None:
    """What is looked at in the plan is looked at again before a file is replaced."""
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill", "a burnt mill"), poi("Mine"), poi("Inn"))]})
    path, right = mill(done), done.engines.renderer.render

    def render(request: Any) -> Any:
        paint(path)
        return right(request)

    done.engines.renderer.render = render  # type: ignore[method-assign]
    report = done.run()
    assert not report.failed
    assert [item["asset"] for item in report.waiting] == ["west/worlds/old/poi_images:mill"]
    with Image.open(path) as image:
        assert image.size == (80, 60)
    done.engines.renderer.render = right  # type: ignore[method-assign]
    path.unlink()
    assert done.run().rendered == []  # it was rendered already, and comes from the store
    assert read_png(path, "sq.").texts["sq.place"] == "west/old/mill"


def test_the_sensor_asks_for_nothing_and_says_what_waits(done: Game) -> None:
    """1-sensor"""
    retouch(mill(done))
    requests, said = Ticks(done).tick("content")
    assert requests == []
    assert "west/worlds/old/poi_images:mill waits: " in said
    assert done.data.relative(mill(done)) in said


def test_the_sensor_asks_for_the_others(done: Game) -> None:
    retouch(mill(done))
    edited = chapter(poi("Mill", "a burnt mill"), poi("Mine", "a deep mine"), poi("Inn"))
    done.edit("worlds/old/history.yaml", {"chapters": [edited]})
    ((request,), _) = Ticks(done).tick("content")
    assert assets(request) == ["west/worlds/old/poi_images", "west/worlds/old/prompts"]
    assert request.tags["dagster/asset_partition_range_start"] <= "mine"


@pytest.mark.parametrize("change", [retouch, retouch_keeping_metadata])
def test_a_retouched_picture_of_a_removed_place_is_named_once(change: Callable[[Path], None], done: Game) -> None:
    """1-retouched-and-removed"""
    change(mill(done))
    theirs = mill(done).read_bytes()
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mine"), poi("Inn"))]})
    done.run()
    places = [mill(done), mill(done).parents[1] / "archive" / "mill.png"]
    assert [path.read_bytes() for path in places if path.exists()] == [theirs]
    assert len([line for line in done.said if "mill.png" in line]) == 1
    done.run()
    assert len([line for line in done.said if "mill.png" in line]) == 1


# --- adapters and their manifests


def adapter_file(game: Game) -> Path:
    return game.data.lora_root / "west/landscape.safetensors"


def other_adapter(path: Path) -> None:
    """One of the same form that somebody else trained."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def test_an_adapter_of_a_persons_own_stays_and_worlds_keep_what_was_promoted(done: Game) -> None:
    """1-own-adapter"""
    path = adapter_file(done)
    promoted = path.read_bytes()
    other_adapter(path)
    theirs = path.read_bytes()
    assert theirs != promoted
    report = done.run()
    (waiting,) = report.waiting
    assert waiting["asset"] == "west/loras/west_land/promoted_adapter"
    assert "content/lora/west/landscape.safetensors is no adapter of ours" in waiting["reason"]
    assert path.read_bytes() == theirs
    assert (report.rendered, report.failed, report.blocked) == ([], [], [])
    # with another recipe too: what would be promoted waits, and pictures stand on what was
    recipe = done.data.datasets_root / "west/landscape/lora.yaml"
    recipe.write_text(recipe.read_text().replace("seed: 1", "seed: 5"))
    report = done.run()
    assert (report.trained, report.failed) == (["west/loras/west_land/mlx_adapter"], [])
    assert [item["asset"] for item in report.waiting] == ["west/loras/west_land/promoted_adapter"]
    assert (report.rendered, path.read_bytes()) == ([], theirs)


def test_a_persons_yes_puts_ours_there_and_theirs_into_the_archive(done: Game) -> None:
    path = adapter_file(done)
    promoted = path.read_bytes()
    other_adapter(path)
    theirs = path.read_bytes()
    context = Context(done.data, done.engines(done.data))
    promote(context, context.adapter("west_land"), "Ada")
    assert path.read_bytes() == promoted
    (kept,) = (path.parent / "archive").iterdir()
    assert kept.read_bytes() == theirs
    assert any(kept.name in line for line in context.told)
    assert done.plan()["stale"] == []
    assert done.run().waiting == []


@pytest.mark.parametrize("put", [folder, text, pipe])  # a link is a fault of the pack already
def test_what_is_no_adapter_stays_too(put: Callable[[Path], None], done: Game) -> None:
    path = adapter_file(done)
    put(path)
    before = snapshot(path)
    report = done.run()
    assert [item["asset"] for item in report.waiting] == ["west/loras/west_land/promoted_adapter"]
    assert snapshot(path) == before


@pytest.mark.parametrize("of", [adapter_file, mill])
def test_a_file_that_may_not_be_read_waits(
    of: Callable[[Game], Path], done: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, right = of(done), Path.open
    path.write_bytes(b"somebody's work")

    def refuse(self: Path, *args: Any, **named: Any) -> Any:
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return right(self, *args, **named)

    monkeypatch.setattr(Path, "open", refuse)  # who runs the tests may be allowed to read all
    report = done.run()
    assert (report.failed, report.blocked, report.rendered) == ([], [], [])
    (waiting,) = report.waiting
    assert waiting["reason"].startswith(done.data.relative(path))
    assert "it stays. " in waiting["reason"]
    monkeypatch.undo()
    assert path.read_bytes() == b"somebody's work"


def test_an_adapter_of_a_persons_own_is_there_before_the_first_promotion(game: Game) -> None:
    path = adapter_file(game)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"somebody's work")
    report = game.run()
    assert path.read_bytes() == b"somebody's work"
    waits = [item["asset"] for item in report.waiting]
    assert waits == ["west/loras/west_land/promoted_adapter", "west/worlds/old/stack"]
    assert (report.failed, report.blocked) == ([], [])
    assert {item["world"] for item in report.rendered} == {"paper"}


def test_ours_is_put_back_where_an_older_one_of_ours_lies(done: Game) -> None:
    path, recipe = adapter_file(done), done.data.datasets_root / "west/landscape/lora.yaml"
    older = path.read_bytes()
    recipe.write_text(recipe.read_text().replace("seed: 1", "seed: 5"))
    done.run()
    newer = path.read_bytes()
    assert newer != older
    path.write_bytes(older)
    report = done.run()
    assert report.waiting == []
    assert path.read_bytes() == newer


def test_what_a_person_wrote_into_a_manifest_is_kept(done: Game) -> None:
    """1-own-manifest"""
    manifest = done.data.manifest("west")
    ours = manifest.read_text()
    manifest.write_text(f"# for the night build\n{ours}  mine: {{file: west/mine.safetensors}}\n")
    theirs = manifest.read_text()
    recipe = done.data.datasets_root / "west/landscape/lora.yaml"
    recipe.write_text(recipe.read_text().replace("seed: 1", "seed: 5"))
    done.run()
    assert "mine:" in manifest.read_text()
    kept = [path for path in (manifest.parent / "archive").iterdir() if path.suffix == ".yaml"]
    assert [path.read_text() for path in kept] == [theirs]
    assert any(kept[0].name in line for line in done.said)
    recipe.write_text(recipe.read_text().replace("seed: 5", "seed: 6"))
    done.run()
    assert len(list((manifest.parent / "archive").glob("*.yaml"))) == 1  # it holds nothing of theirs but the entry


def test_choices_with_a_comment_are_kept(done: Game) -> None:
    context = Context(done.data, done.engines(done.data))
    adapter = context.adapter("west_land")
    choose_checkpoint(context, adapter, 3, "Ada")
    file = done.data.checkpoint_choices("west")
    theirs = f"# the softer one\n{file.read_text()}"
    file.write_text(theirs)
    choose_checkpoint(context, adapter, 3, "Bo")
    (kept,) = (file.parent / "archive").iterdir()
    assert kept.read_text() == theirs
    assert adapter_steps_of(context, adapter)["mlx_adapter"].status == "fresh"
