"""`verify-image` over pictures that a person keeps: a true one, each kind of lie, one that was let go or moved."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sq_pipeline.common.errors import PictureError
from sq_pipeline.common.fingerprints import canonical_json, fingerprint, hash_bytes
from sq_pipeline.pictures.png_file import encode_png, read_png
from sq_pipeline.pictures.provenance import PLACE, PROVENANCE
from sq_pipeline.pipeline.choices.choose import adopt, lock, move
from sq_pipeline_tests.pipeline.fast import chapter, poi
from sq_pipeline_tests.pipeline.game import Game
from sq_pipeline_tests.pipeline.test_choices import MILL, choices_file, choose, context_of, file_of, let_go, reword
from sq_pipeline_tests.pipeline.test_theirs import paint, retouch
from sq_pipeline_tests.pipeline.test_verify_image import detail, outcomes, verify

Said = dict[str, Any]
ALL = {"pixels", "metadata", "choice", "painted over", "what would be made now"}
NOW = "what would be made now"


@pytest.fixture
def adopted(done: Game) -> Game:
    """The mill was retouched in its place, and adopted."""
    retouch(file_of(done))
    choose(done, adopt, None)
    return done


def forge(game: Game, target: Path, change: Callable[[Said], None], *, flips: bool = False) -> Path:
    """A copy whose metadata says something else, and whose pixels are others where it `flips`."""
    png = read_png(file_of(game), "sq.")
    assert png.pixels is not None
    said = json.loads(png.texts[PROVENANCE])
    pixels = png.pixels[::-1].copy() if flips else png.pixels
    change(said)
    place = f"{said['genre']}/{said['world']}/{said['slug']}"
    target.write_bytes(encode_png(pixels, {PROVENANCE: canonical_json(said), PLACE: place}))
    return target


def test_an_adopted_picture_agrees_in_everything_and_says_who_keeps_it(adopted: Game) -> None:
    report = verify(adopted)
    assert outcomes(report, "agrees") == ALL
    assert report.summary == "nothing contradicts what this picture says"
    assert detail(report, "choice").startswith("adopted by Ada on ")
    assert detail(report, NOW).startswith("kept: adopted by Ada on ")
    said = report.as_json()
    assert (said["genre"], said["world"], said["poi"], said["tier"]) == ("west", "old", "mill", "landscape")
    assert said["fingerprint"] == fingerprint({"kept": report.sha256})
    assert said["provenance"]["kind"] == "adopted"
    assert outcomes(verify(adopted, is_rendered_again=True), "cannot be told") == {"rendered again"}


def test_its_place_and_its_words_may_change(adopted: Game) -> None:
    reword(adopted)
    report = verify(adopted)
    assert outcomes(report, "agrees") == ALL
    assert "; would be made again because positive_prompt: " in detail(report, NOW)
    assert "in the rain" in detail(report, NOW)


def _set(name: str, value: Any) -> Callable[[Said], None]:
    return lambda said: said.update({name: value})


def _set_over(name: str, value: Any) -> Callable[[Said], None]:
    return lambda said: said["over"].update({name: value})


def _of_another_prompt(said: Said) -> None:
    """All of it, so that it fits."""
    said["over"]["inputs"]["positive_prompt"] = "a castle"
    said["over"]["fingerprint"] = fingerprint(said["over"]["inputs"])


OTHER = "sha256:" + "1" * 64
FORGED: dict[str, tuple[Callable[[Said], None], set[str]]] = {
    "pixels": (_set("pixels", OTHER), {"pixels", "choice"}),
    "file": (_set("file_sha256", OTHER), {"choice"}),
    "genre": (_set("genre", "east"), {"choice"}),
    "world": (_set("world", "paper"), {"choice"}),
    "place": (_set("slug", "mine"), {"choice"}),
    "tier": (_set("tier", "portrait"), {"choice"}),
    "width": (_set("width_px", 4), {"pixels", "choice"}),
    "height": (_set("height_px", 4), {"pixels", "choice"}),
    "nothing below": (_set("over", None), {"choice"}),
    "fingerprint below": (_set_over("fingerprint", OTHER), {"choice", "metadata"}),
    "pixels below": (_set_over("pixels", OTHER), {"choice", "painted over"}),
    "inputs below": (_set_over("inputs", {"seed": 1}), {"choice", "metadata"}),
    "another prompt below": (_of_another_prompt, {"choice"}),
}


@pytest.mark.parametrize("case", FORGED)
def test_one_forged_field_is_found(case: str, adopted: Game, tmp_path: Path) -> None:
    change, differs = FORGED[case]
    report = verify(adopted, forge(adopted, tmp_path / "a.png", change))
    assert outcomes(report, "differs") == differs
    assert report.has_lied


def test_a_changed_pixel_is_found_and_so_is_one_with_its_hash(adopted: Game, tmp_path: Path) -> None:
    report = verify(adopted, forge(adopted, tmp_path / "a.png", lambda _: None, flips=True))
    assert outcomes(report, "differs") == {"pixels"}
    pixels = read_png(tmp_path / "a.png", "").pixels
    assert pixels is not None
    rewritten = _set("pixels", hash_bytes(pixels.tobytes()))
    report = verify(adopted, forge(adopted, tmp_path / "a.png", rewritten, flips=True))
    assert outcomes(report, "differs") == {"choice"}
    assert "chosen/mill." in detail(report, "choice")


def test_saved_again_by_another_program_it_is_the_same_picture(adopted: Game, tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    notes = PngInfo()
    for name, text in read_png(file_of(adopted), "sq.").texts.items():
        notes.add_itxt(name, text)
    Image.open(file_of(adopted)).save(tmp_path / "a.png", pnginfo=notes, compress_level=1)
    assert (tmp_path / "a.png").read_bytes() != file_of(adopted).read_bytes()
    assert outcomes(verify(adopted, tmp_path / "a.png"), "agrees") == ALL


def _let_go(game: Game) -> None:
    let_go(game)


def _replaced(game: Game) -> None:
    paint(file_of(game))
    choose(game, lock)


def _renamed(game: Game) -> None:
    game.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mills"), poi("Mine"), poi("Inn"))]})
    move(context_of(game), MILL, "mills")


def _taken_out(game: Game) -> None:
    game.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mine"), poi("Inn"))]})


def _world_gone(game: Game) -> None:
    shutil.rmtree(game.data.world_root("west", "old"))


MOVED_ON: dict[str, tuple[Callable[[Game], None], dict[str, str]]] = {
    "let go": (_let_go, {"choice": "; it was let go since", NOW: "it is rendered: nobody keeps a file there any more"}),
    "replaced": (_replaced, {"choice": "; since then another file is locked by Ada", NOW: "another picture is kept: "}),
    "renamed": (
        _renamed,
        {"choice": "it is the picture of west/old/mills now, ", NOW: "west/old shows no landscape mill"},
    ),
    "taken out": (_taken_out, {NOW: "west/old shows no landscape mill"}),
    "its world gone": (_world_gone, {"choice": "; it was let go since", NOW: "there is no world west/old here"}),
}


@pytest.mark.parametrize("case", MOVED_ON)
def test_a_world_that_moved_on_is_no_lie(case: str, adopted: Game, tmp_path: Path) -> None:
    change, told = MOVED_ON[case]
    copy = shutil.copyfile(file_of(adopted), tmp_path / "a.png")
    change(adopted)
    report = verify(adopted, copy)
    assert not report.has_lied
    assert outcomes(report, "moved on") == told.keys()
    for name, words in told.items():
        assert words in detail(report, name)


def test_what_is_below_it_and_gone_cannot_be_told(adopted: Game) -> None:
    shutil.rmtree(adopted.data.store_root)
    report = verify(adopted)
    assert outcomes(report, "cannot be told") == {"painted over"}
    assert outcomes(report, "agrees") == ALL - {"painted over"}


def test_a_picture_of_another_machine_below_it_is_no_lie(adopted: Game) -> None:
    store = context_of(adopted).store
    over = json.loads(read_png(file_of(adopted), "sq.").texts[PROVENANCE])["over"]
    record = store.read_known("picture", over["fingerprint"])
    assert record is not None
    store.write_record(record.model_copy(update={"data_version": OTHER}))
    assert "another machine" in detail(verify(adopted), "painted over")
    assert not verify(adopted).has_lied


def test_a_file_that_nobody_kept_here_and_unclear_choices_cannot_be_told(adopted: Game, tmp_path: Path) -> None:
    def of_another(said: Said) -> None:
        said |= {"pixels": hash_bytes(read_png(file_of(adopted), "").pixels[::-1].tobytes()), "file_sha256": OTHER}  # type: ignore[index]

    stranger = forge(adopted, tmp_path / "a.png", of_another, flips=True)
    report = verify(adopted, stranger)
    assert outcomes(report, "cannot be told") == {"choice"}
    assert not report.has_lied
    line = choices_file(adopted).read_text().splitlines()[-1]
    choices_file(adopted).write_text(f"choices:\n{line}\n{line.replace('act: adopt', 'act: lock')}\n")
    assert outcomes(verify(adopted), "cannot be told") == {"choice", NOW}


def test_a_picture_of_nothing_of_ours(done: Game, tmp_path: Path) -> None:
    file_of(done).unlink()
    shutil.rmtree(done.data.store_root)
    paint(tmp_path / "mine.png")
    choose(done, adopt, tmp_path / "mine.png", is_any_size=True)
    report = verify(done)
    assert outcomes(report, "agrees") == ALL
    assert detail(report, "painted over") == "nothing of ours"


@pytest.mark.parametrize("spoil", ["spaces", "another place", "a chunk more"])
def test_metadata_that_was_touched_is_told_as_that(spoil: str, adopted: Game, tmp_path: Path) -> None:
    png = read_png(file_of(adopted), "sq.")
    assert png.pixels is not None
    texts = {
        "spaces": {**png.texts, PROVENANCE: png.texts[PROVENANCE] + " "},
        "another place": {**png.texts, PLACE: "west/old/mine"},
        "a chunk more": {**png.texts, "sq.stack": "[]"},
    }[spoil]
    (tmp_path / "a.png").write_bytes(encode_png(png.pixels, texts))
    with pytest.raises(PictureError, match="the metadata was changed"):
        verify(adopted, tmp_path / "a.png")


def test_a_locked_picture_says_who_keeps_it_and_why_it_would_be_made_again(done: Game, tmp_path: Path) -> None:
    choose(done, lock)
    report = verify(done)
    assert outcomes(report, "agrees") == {check.name for check in report.checks}
    assert detail(report, NOW).startswith("kept: locked by Ada on ")
    assert detail(report, NOW).endswith("because I like it")
    reword(done)
    report = verify(done)
    assert outcomes(report, "agrees") == {check.name for check in report.checks}
    assert "; would be made again because positive_prompt: " in detail(report, NOW)
    was = shutil.copyfile(file_of(done), tmp_path / "was.png")
    paint(file_of(done))
    choose(done, lock)
    report = verify(done, was)
    assert outcomes(report, "moved on") == {NOW}
    assert detail(report, NOW).startswith("another picture is kept: locked by Ada")
