"""What people decide of single pictures: it makes exactly its picture, survives everything else, and is let go."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, AssetRecordsFilter
from PIL import Image

from sq_pipeline.common.errors import PictureError, SelectionError, SqPipelineError
from sq_pipeline.common.fingerprints import hash_file
from sq_pipeline.content.records import Choice
from sq_pipeline.pictures.png_file import read_png
from sq_pipeline.pictures.provenance import read_adopted_provenance, read_provenance
from sq_pipeline.pipeline.choices.choose import Said, adopt, lock, move, pick, restore, unlock
from sq_pipeline.pipeline.choices.history import picture_history
from sq_pipeline.pipeline.choices.in_place import place_now, put_all_away
from sq_pipeline.pipeline.choices.listed import listed_choices
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.worlds.named_picture import find_picture
from sq_pipeline.pipeline.worlds.takes import make_takes
from sq_pipeline_tests.pipeline.fast import chapter, poi
from sq_pipeline_tests.pipeline.game import Game
from sq_pipeline_tests.pipeline.test_theirs import paint, retouch

MILL = "west/old/mill"
ADA = Said("Ada", "I like it")


def context_of(game: Game) -> Context:
    return Context(game.data, game.engines(game.data), looks_ahead=False)


def choose(game: Game, act: Callable[..., Choice], *given: Any, name: str = MILL, said: Said = ADA, **more: Any) -> str:
    """Decide something as a command does; how the picture stands then."""
    context = context_of(game)
    act(context, find_picture(context, name), *given, said, **more)
    return place_now(game.data, context.engines, name, None)


def let_go(game: Game, name: str = MILL) -> str:
    context = context_of(game)
    unlock(context, name)
    return place_now(game.data, context.engines, name, None)


def file_of(game: Game, slug: str = "mill") -> Path:
    return game.data.published_image("west", "landscape", slug)


def reword(game: Game, **keys: Any) -> None:
    places = [chapter({**poi("Mill"), "visual_prompt": "a mill in the rain", **keys}, poi("Mine"), poi("Inn"))]
    game.edit("worlds/old/history.yaml", {"chapters": places})


def choices_file(game: Game) -> Path:
    return game.data.picture_choices("west")


def renders(game: Game) -> int:
    return len(game.engines.renderer.requests)


def take_of(game: Game, number: int) -> bytes:
    context = context_of(game)
    return make_takes(context, find_picture(context, MILL), number, 1).takes[0].path.read_bytes()


def history_of(game: Game, name: str = MILL) -> list[Any]:
    context = context_of(game)
    return picture_history(context, find_picture(context, name))


def test_a_pick_is_its_take_to_the_byte_one_line_and_nothing_is_left_to_do(done: Game) -> None:
    take, before = take_of(done, 2), renders(done)
    others = {path: path.read_bytes() for path in file_of(done).parent.glob("*.png") if path.stem != "mill"}
    assert "is that picture now" in choose(done, pick, 2)
    assert file_of(done).read_bytes() == take
    assert renders(done) == before
    assert done.plan()["stale"] == []
    _, head, line = choices_file(done).read_text().splitlines()
    assert head == "choices:"
    assert line.startswith("- {picture: old/mill, act: pick, take: 2, seed: ")
    assert "by: Ada" in line
    assert line.endswith("why: I like it}")
    assert all(path.read_bytes() == content for path, content in others.items())
    report = done.run()
    assert (report.rendered, report.failed) == ([], [])


def test_a_pick_keeps_its_seed_when_the_words_or_the_base_seed_change(done: Game) -> None:
    choose(done, pick, 2)
    done.run()
    seed = read_provenance(read_png(file_of(done), "sq.").texts, "")[0].seed
    done.edit("visual_style.yaml", {"base_seed": 77})
    assert done.plan("west/old")["stale"] != []  # the others
    done.run()
    assert read_provenance(read_png(file_of(done), "sq.").texts, "")[0].seed == seed
    reword(done)
    done.run()
    said = read_provenance(read_png(file_of(done), "sq.").texts, "")[0]
    assert (said.seed, "rain" in said.positive_prompt) == (seed, True)


def test_a_pick_let_go_is_undone_from_the_store(done: Game) -> None:
    was = file_of(done).read_bytes()
    choose(done, pick, 3)
    assert "to be rendered" not in let_go(done)
    assert file_of(done).read_bytes() == was
    assert not choices_file(done).exists()
    assert done.plan()["stale"] == []


def test_a_take_that_was_looked_at_and_would_be_another_now_is_not_picked(done: Game) -> None:
    take_of(done, 2)
    reword(done)
    with pytest.raises(PictureError, match=r"was made from something else .* in the rain") as caught:
        choose(done, pick, 2)
    assert "adopt" in caught.value.faults[0].hint
    assert not choices_file(done).exists()


def test_a_take_that_is_gone_from_the_store_is_picked_and_rendered_again(done: Game) -> None:
    take = take_of(done, 2)
    shutil.rmtree(done.data.takes_root)
    record = context_of(done).store.find(f"sha256:{_hash(take)}", ".png")
    assert record is not None
    context_of(done).store.lend(record).unlink()
    assert "to be rendered" in choose(done, pick, 2)
    (rendered,) = done.run().rendered
    assert rendered["chosen"].startswith("take 2, picked by Ada on ")
    assert file_of(done).read_bytes() == take
    (event,) = done.instance.fetch_materializations(
        AssetRecordsFilter(AssetKey(["west", "worlds", "old", "poi_images"]), asset_partitions=["mill"]), limit=1
    ).records
    assert event.asset_materialization is not None
    assert str(event.asset_materialization.metadata["chosen"].value).startswith("take 2, picked by Ada")


def _hash(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def test_a_locked_picture_stays_whatever_changes_and_the_plan_says_why_it_would_not(done: Game) -> None:
    was = file_of(done).read_bytes()
    choose(done, lock)
    assert done.plan()["stale"] == []
    (told,) = done.plan()["locked"]
    assert (told["asset"], told["by"], told["reasons"]) == ("west/worlds/old/poi_images:mill", "Ada", [])
    reword(done)
    done.edit("visual_style.yaml", {"positive_suffix": "in blue ink"})
    done.run()
    assert file_of(done).read_bytes() == was
    plan = done.plan()
    assert plan["stale"] == []
    assert "in the rain" in plan["locked"][0]["reasons"][0]
    shutil.rmtree(done.data.store_root / "objects")
    done.run()
    assert file_of(done).read_bytes() == was
    file_of(done).unlink()
    shutil.rmtree(done.data.store_root / "objects")
    assert len(done.run().failed) == 0
    assert file_of(done).read_bytes() == was


def test_a_locked_picture_stays_where_nothing_can_be_rendered(done: Game) -> None:
    """A prompt that cannot be written, a stack that cannot be made, an unread style."""
    was = file_of(done).read_bytes()
    choose(done, lock)
    done.edit("worlds/old/history.yaml", {"chapters": [chapter({**poi("Mill"), "visual_prompt": "word " * 700})]})
    done.run()
    assert file_of(done).read_bytes() == was
    assert done.plan()["locked"][0]["reasons"]
    (done.data.genre_root("west") / "visual_style.yaml").write_text("positive_suffix: [\n")
    done.run()
    assert file_of(done).read_bytes() == was


def test_unlocked_it_is_made_again_with_what_changed_since(done: Game) -> None:
    choose(done, lock)
    reword(done)
    done.run()
    assert "to be rendered" in let_go(done)
    (reason, *more) = next(
        item["reasons"] for item in done.plan()["stale"] if item["asset"].endswith("poi_images:mill")
    )
    assert reason == "is no longer kept"
    assert "in the rain" in more[0]
    assert len(done.run().rendered) == 1


def test_an_adopted_file_is_the_picture_and_says_what_it_was_painted_over(done: Game, tmp_path: Path) -> None:
    over = read_provenance(read_png(file_of(done), "sq.").texts, "")[0]
    mine = tmp_path / "mine.png"
    shutil.copyfile(file_of(done), mine)
    retouch(mine)
    assert "is that picture now" in choose(done, adopt, mine)
    png = read_png(file_of(done), "sq.")
    said = read_adopted_provenance(png.texts, "")
    assert said.over is not None
    assert (said.over.fingerprint, said.over.pixels) == (over.fingerprint, over.pixels)
    assert said.file_sha256 == hash_file(mine)
    assert png.pixels is not None
    assert png.pixels.tobytes() == Image.open(mine).convert("RGB").tobytes()
    assert done.plan()["stale"] == []
    was = file_of(done).read_bytes()
    reword(done)
    done.run()
    assert file_of(done).read_bytes() == was
    assert "in the rain" in done.plan()["locked"][0]["reasons"][0]
    let_go(done)
    done.run()
    assert read_provenance(read_png(file_of(done), "sq.").texts, "")[0].slug == "mill"


def test_what_was_retouched_in_its_place_is_adopted_there(done: Game) -> None:
    retouch(file_of(done))
    theirs = file_of(done).read_bytes()
    pixels = Image.open(file_of(done)).convert("RGB").tobytes()
    assert done.run().waiting != []
    assert "is that picture now" in choose(done, adopt, None)
    assert done.run().waiting == []
    assert Image.open(file_of(done)).convert("RGB").tobytes() == pixels
    (kept,) = (done.data.genre_root("west") / "images/archive").iterdir()
    assert kept.read_bytes() == theirs
    retouch_more = file_of(done)
    Image.open(retouch_more).convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(retouch_more)
    assert done.run().waiting != []  # adopted, and then changed again: it waits, and is not lost
    assert "is that picture now" in choose(done, adopt, None)
    assert done.plan()["stale"] == []


def test_a_file_with_transparency_at_its_place_is_locked_to_the_byte(done: Game) -> None:
    Image.new("RGBA", (40, 30), (9, 8, 7, 100)).save(file_of(done))
    was = file_of(done).read_bytes()
    with pytest.raises(PictureError, match="is transparent in places") as caught:
        choose(done, adopt, None)
    assert "lock" in caught.value.faults[0].hint
    assert "is that picture now" in choose(done, lock)
    reword(done)
    assert done.run().waiting == []
    assert file_of(done).read_bytes() == was
    let_go(done)
    assert len(done.run().rendered) == 1
    assert [path.read_bytes() for path in done.data.chosen_pictures("west").iterdir()] == [was]


def _text(path: Path) -> None:
    path.write_text("not a picture")


def _small(path: Path) -> None:
    Image.new("RGB", (8, 8)).save(path)


def _deep(path: Path) -> None:
    Image.new("I;16", (64, 48)).save(path)


def _deep_colour(path: Path) -> None:
    """RGB of 16 bits a channel, which Pillow would narrow without a word."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x12\x34" * 3 * 8 for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def _moving(path: Path) -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:], format="GIF")


def _file_of(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _folder(path: Path) -> None:
    path.mkdir()


def _link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


_GIVE = "give a PNG or JPEG file"
# what it is; the problem, and the hint
REFUSED: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a text": (_text, "is no picture", _GIVE),
    "an empty file": (_file_of(b""), "it has 0 bytes", _GIVE),
    "a web page": (_file_of(b"<!DOCTYPE html><p>gone"), "is an HTML page", _GIVE),
    "JSON": (_file_of(b'{"a": 1}'), "is JSON text", _GIVE),
    "XML": (_file_of(b"<?xml version='1.0'?><a/>"), "is XML text", _GIVE),
    "a pointer": (_file_of(b"version https://git-lfs.github.com/spec/v1"), "is a Git LFS pointer", "`git lfs pull`"),
    "a drawing": (_file_of(b"<svg xmlns='x'/>"), "is a drawing", "export it as PNG"),
    "cut short": (_file_of(b"\x89PNG\r\n\x1a\n"), "is no picture", _GIVE),
    "of another size": (_small, "is 8 × 8 pixels, and its place has", "--any-size"),
    "of 16 bits": (_deep, "more than 8 bits", "save it with 8 bits"),
    "of 16 bits a colour": (_deep_colour, "more than 8 bits", "save it with 8 bits"),
    "of two frames": (_moving, "has 2 frames", "save one of them as PNG"),
    "a folder": (_folder, "is no file", "name a picture"),
    "a link": (_link, "is no file", "name a picture"),
    "not there": (lambda path: None, "is no file", "name a picture"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_adopted_is_told_and_changes_nothing(case: str, done: Game, tmp_path: Path) -> None:
    put, told, hint = REFUSED[case]
    mine, was = tmp_path / "mine.png", file_of(done).read_bytes()
    put(mine)
    with pytest.raises(SqPipelineError, match=told) as caught:
        choose(done, adopt, mine)
    assert hint in caught.value.faults[0].hint
    assert file_of(done).read_bytes() == was
    assert not choices_file(done).exists()


def test_a_file_of_another_size_is_adopted_where_somebody_says_so(done: Game, tmp_path: Path) -> None:
    _small(tmp_path / "mine.png")
    assert "is that picture now" in choose(done, adopt, tmp_path / "mine.png", is_any_size=True)
    assert Image.open(file_of(done)).size == (8, 8)


def test_history_tells_every_version_and_restore_puts_one_back(done: Game) -> None:
    first = file_of(done).read_bytes()
    reword(done)
    done.run()
    second = file_of(done).read_bytes()
    now, before = history_of(done)
    assert (now.sha256, before.sha256) == (f"sha256:{_hash(second)}", f"sha256:{_hash(first)}")
    assert now.is_in_place
    assert "in the rain" in now.changes[0]
    choose(done, restore, before.sha256.removeprefix("sha256:")[:6])
    assert file_of(done).read_bytes() == first
    assert done.plan()["stale"] == []
    assert {row.sha256: row.is_kept for row in history_of(done)} == {now.sha256: False, before.sha256: True}
    let_go(done)
    assert file_of(done).read_bytes() == second


def test_a_version_that_only_the_archive_has_is_restored(done: Game) -> None:
    paint(file_of(done))
    mine = file_of(done).read_bytes()
    context = context_of(done)
    put_all_away(done.data, context.engines, [MILL], None, done.said.append)
    done.run()
    assert file_of(done).read_bytes() != mine
    row = next(row for row in history_of(done) if row.note == "by hand")
    choose(done, restore, row.sha256)
    assert file_of(done).read_bytes() == mine


def test_an_archived_file_of_a_place_with_a_longer_name_is_no_version(done: Game) -> None:
    archive = done.data.genre_root("west") / "images/archive"
    archive.mkdir()
    for name in ("mill_house.png", "mill2.1234abcd.png"):
        paint(archive / name)
    assert len(history_of(done)) == 1
    paint(archive / "mill.png")
    assert len(history_of(done)) == 2


def test_a_version_that_is_not_there_is_told_with_those_that_are(done: Game) -> None:
    with pytest.raises(SelectionError, match="no version begins with 'zzz'; known are "):
        choose(done, restore, "zzz")


def test_what_a_person_put_there_is_archived_only_where_they_say_so(done: Game) -> None:
    ours = file_of(done).read_bytes()
    paint(file_of(done))
    theirs = file_of(done).read_bytes()
    engines = context_of(done).engines
    with pytest.raises(SelectionError) as caught:
        put_all_away(done.data, engines, [MILL, "west/old/mine", "west/old/nowhere"], None, done.said.append)
    assert len(caught.value.faults) == 2
    assert file_of(done).read_bytes() == theirs  # all of them, or none
    put_all_away(done.data, engines, [MILL], None, done.said.append)
    done.run()
    assert file_of(done).read_bytes() == ours
    assert [path.read_bytes() for path in (done.data.genre_root("west") / "images/archive").iterdir()] == [theirs]


def test_a_lock_of_a_place_that_was_renamed_is_offered_to_follow_it(done: Game) -> None:
    was = file_of(done).read_bytes()
    choose(done, lock)
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mills"), poi("Mine"), poi("Inn"))]})
    (told,) = [line for line in done.plan()["warnings"] if "choices.yaml" in line]
    assert "`sq-pipeline choices move west/old/mill mills --tier landscape`" in told
    done.run()
    move(context_of(done), MILL, "mills")
    done.run()
    assert file_of(done, "mills").read_bytes() == was
    assert not [line for line in done.plan()["warnings"] if "choices.yaml" in line]


def test_a_seed_of_an_entry_that_a_pick_stands_for_is_told(done: Game) -> None:
    reword(done, visual_prompt="a mill", seed=5)
    choose(done, pick, 2)
    assert any("counts for nothing: take 2, picked by Ada" in warning for warning in done.plan()["warnings"])


def test_all_that_was_chosen_is_listed(done: Game) -> None:
    choose(done, pick, 2)
    choose(done, lock, name="west/old/mine")
    rows = listed_choices(context_of(done), None)
    assert [(row["poi"], row["act"], row["by"]) for row in rows] == [("mill", "pick", "Ada"), ("mine", "lock", "Ada")]


def test_nobody_decides_nothing(done: Game) -> None:
    for act, given in ((pick, (2,)), (lock, ()), (adopt, (None,)), (restore, ("a",))):
        with pytest.raises(SelectionError, match="nobody is named"):
            choose(done, act, *given, said=replace(ADA, by=" "))
    with pytest.raises(SelectionError) as caught:
        choose(done, pick, -1, said=Said(""))
    assert len(caught.value.faults) == 2
    with pytest.raises(SelectionError, match="nothing is chosen"):
        let_go(done)


def test_a_draft_keeps_its_choice_and_gets_its_picture_back(done: Game) -> None:
    choose(done, lock)
    was = file_of(done).read_bytes()
    reword(done, draft=True)
    done.run()
    assert not file_of(done).exists()
    reword(done)
    done.run()
    assert file_of(done).read_bytes() == was
