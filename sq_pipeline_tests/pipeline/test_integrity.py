"""Existence is not integrity: an object of the store that is not what was kept counts as missing, and is made again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sq_pipeline.common.errors import StorageError
from sq_pipeline.common.fingerprints import hash_bytes, hash_file
from sq_pipeline.pictures.png_file import read_png
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.store import Record, StoredObject
from sq_pipeline.pipeline.verify_image.image import ImageReport, verify_image
from sq_pipeline_tests.cases.damages import DAMAGES, flip_a_bit, make_a_folder
from sq_pipeline_tests.parts import rest_is_long
from sq_pipeline_tests.pipeline.fast import chapter, poi
from sq_pipeline_tests.pipeline.game import Game

LAND = "west/loras/west_land"
MILL = "west/worlds/old/poi_images:mill"

# asset, kind of record, name of the object; what is done again for it (trained, verified, rendered)
OBJECTS: dict[str, tuple[str, str, str, tuple[int, int, int]]] = {
    "a dataset's index": (f"{LAND}/training_dataset", "training_dataset", "index", (0, 0, 0)),
    "a trained adapter": (f"{LAND}/mlx_adapter", "mlx_adapter", "adapter", (1, 0, 0)),
    "a loss curve": (f"{LAND}/mlx_adapter", "mlx_adapter", "loss_curve", (0, 0, 0)),
    "a table of checkpoints": (f"{LAND}/chosen_checkpoint", "chosen_checkpoint", "table", (0, 0, 0)),
    "a promoted adapter": (f"{LAND}/mflux_adapter", "mflux_adapter", "adapter", (0, 0, 0)),
    "a report": (f"{LAND}/verification", "verification", "report", (0, 1, 0)),
    "a report's sheet": (f"{LAND}/verification", "verification", "sheet", (0, 1, 0)),
    "a picture": (MILL, "picture", "picture", (0, 0, 1)),
    "a gallery": ("west/worlds/old/gallery", "gallery", "sheet", (0, 0, 0)),
}
CASES = [(of, damage) for of in OBJECTS for damage in DAMAGES]


def context_of(game: Game) -> Context:
    return Context(game.data, game.engines(game.data))


def record_of(game: Game, asset: str, kind: str) -> Record:
    store = context_of(game).store
    record = store.read_known(kind, store.read_current_fingerprint(asset) or "")
    assert record is not None
    return record


def place_of(game: Game, stored: StoredObject) -> Path:
    return game.data.store_root / "objects" / stored.name


def given_out(game: Game) -> dict[str, str]:
    """Hashes of what the game gets: pictures and promoted adapters."""
    found = [path for name in ("*.png", "*.safetensors") for path in game.data.content_root.rglob(name)]
    return {str(path): hash_file(path) for path in found if path.parent.name != "archive"}


def show(case: tuple[str, str]) -> str:
    return f"{case[1]} in place of {case[0]}"


@pytest.mark.parametrize(
    "case",
    rest_is_long(
        CASES,
        "a flipped bit in place of a trained adapter",
        "a flipped bit in place of a loss curve",
        "a flipped bit in place of a promoted adapter",
        "a flipped bit with its old time in place of a picture",
        "a folder in place of a picture",
        "a link to a copy in place of a promoted adapter",
        "empty in place of a report",
        name=show,
    ),
)
def test_a_damaged_object_is_named_and_made_again(case: tuple[str, str], done: Game) -> None:
    asset, kind, name, (trained, verified, rendered) = OBJECTS[case[0]]
    done.plan()  # all is known by its stat
    before, stored = given_out(done), record_of(done, asset, kind).objects[name]
    place = place_of(done, stored)
    DAMAGES[case[1]](place)
    stale = {item["asset"]: item["reasons"] for item in done.plan()["stale"]}
    assert any(f"{name}: store/objects/{stored.name} " in reason for reason in stale[asset])
    report = done.run()
    assert (report.failed, report.blocked, report.waiting) == ([], [], [])
    assert (len(report.trained), len(report.verified), len(report.rendered)) == (trained, verified, rendered)
    if case[1] != "gone":
        assert any(f"store/objects/{stored.name}" in line for line in done.said)
    assert given_out(done) == before
    assert done.plan()["stale"] == []
    if name in record_of(done, asset, kind).objects:
        assert not place.is_symlink()
        assert hash_file(place) == stored.sha256
    else:
        assert name == "loss_curve"  # nothing is made from it
    again = done.run()
    assert (again.trained, again.verified, again.rendered) == ([], [], [])


def test_a_folder_in_an_objects_place_is_put_aside(done: Game) -> None:
    stored = record_of(done, MILL, "picture").objects["picture"]
    for _ in range(2):
        make_a_folder(place_of(done, stored))
        done.run()
    kept = list((done.data.store_root / "damaged").rglob("notes.txt"))
    assert [path.read_text() for path in kept] == ["mine", "mine"]


# --- both copies


def damaged_alike(game: Game, object_of: StoredObject, published: Path) -> None:
    """The damaged object was published before anybody noticed."""
    flip_a_bit(place_of(game, object_of))
    shutil.copyfile(place_of(game, object_of), published)


def published_gone(game: Game, object_of: StoredObject, published: Path) -> None:
    flip_a_bit(place_of(game, object_of))
    published.unlink()


@pytest.mark.parametrize("both", [damaged_alike, published_gone])
@pytest.mark.parametrize("of", ["a picture", "a promoted adapter"])
def test_where_no_sound_copy_is_left_it_is_made_again(
    both: Callable[[Game, StoredObject, Path], None], of: str, done: Game
) -> None:
    asset, kind, name, _ = OBJECTS[of]
    published = {
        "a picture": done.data.published_image("west", "landscape", "mill"),
        "a promoted adapter": done.data.lora_root / "west/landscape.safetensors",
    }[of]
    before = given_out(done)
    both(done, record_of(done, asset, kind).objects[name], published)
    report = done.run()
    assert (report.failed, report.blocked, report.waiting, report.trained) == ([], [], [], [])
    assert [item["poi"] for item in report.rendered] == (["mill"] if of == "a picture" else [])
    assert given_out(done) == before
    assert done.plan()["stale"] == []


def test_a_published_file_that_is_damaged_otherwise_waits_with_the_way_out(done: Game) -> None:
    """It may be a person's work: nothing tells a flipped bit from a retouch."""
    stored = record_of(done, MILL, "picture").objects["picture"]
    published = done.data.published_image("west", "landscape", "mill")
    flip_a_bit(place_of(done, stored))
    shutil.copyfile(
        place_of(done, record_of(done, MILL.replace("mill", "inn"), "picture").objects["picture"]), published
    )
    (waiting,) = done.run().waiting
    assert waiting["asset"] == MILL
    published.unlink()
    report = done.run()
    assert [item["poi"] for item in report.rendered] == ["mill"]
    assert read_png(published, "sq.").texts["sq.place"] == "west/old/mill"
    assert done.plan()["stale"] == []


def test_an_adapter_in_the_archive_is_as_good_as_one_in_its_place(done: Game) -> None:
    stored = record_of(done, f"{LAND}/mflux_adapter", "mflux_adapter").objects["adapter"]
    published = done.data.lora_root / "west/landscape.safetensors"
    archive = published.parent / "archive"
    archive.mkdir()
    published.rename(archive / "landscape.0123abcd.safetensors")
    flip_a_bit(place_of(done, stored))
    report = done.run()
    assert (report.trained, report.remapped, report.verified, report.rendered) == ([], [], [], [])
    assert hash_file(published) == stored.sha256
    assert any("put back from content/lora/west/archive/" in line for line in done.said)


# --- what is read is hashed


def test_a_damaged_adapter_is_never_rendered_with(done: Game) -> None:
    """Between the plan and the picture, too."""
    stored = record_of(done, f"{LAND}/mflux_adapter", "mflux_adapter").objects["adapter"]
    done.edit("visual_style.yaml", {"base_seed": 7})
    right = done.engines.renderer.render

    def render(request: Any) -> Any:
        image = right(request)
        if len(done.engines.renderer.requests) == 1:
            flip_a_bit(place_of(done, stored))
        return image

    done.engines.renderer.render = render  # type: ignore[method-assign]
    report = done.run()
    told = f"store/objects/{stored.name}: holds other bytes than were kept"
    assert any(told in failed["reason"] for failed in report.failed)
    assert report.rendered == [] or {item["world"] for item in report.rendered} == {"paper"}
    done.engines.renderer.render = right  # type: ignore[method-assign]
    report = done.run()
    assert (report.failed, report.trained, len(report.rendered)) == ([], [], 3)
    assert done.plan()["stale"] == []


def test_bytes_are_hashed_whatever_a_stat_tells(done: Game) -> None:
    """A disk may lose a bit and keep every time: what is copied is read, and what is read is hashed."""
    context = context_of(done)
    stored = record_of(done, MILL, "picture").objects["picture"]
    context.files.remember(place_of(done, stored), "sha256", lambda: stored.sha256)
    flip_a_bit(place_of(done, stored))
    fresh = context_of(done)
    fresh.files.hash_of = lambda _path: stored.sha256  # type: ignore[method-assign]
    assert fresh.store.why_missing(stored) is None  # as far as its stat tells
    with pytest.raises(StorageError, match="holds other bytes than were kept"):
        fresh.store.read_bytes(stored)
    assert any(stored.name in line for line in fresh.describe_state())


def test_a_wrong_line_in_the_cache_makes_nothing_again(done: Game) -> None:
    context = context_of(done)
    stored = record_of(done, f"{LAND}/mlx_adapter", "mlx_adapter").objects["adapter"]
    context.files.hash_of = lambda _path: hash_bytes(b"wrong")  # type: ignore[method-assign]
    assert context.store.why_missing(stored) is None


def test_provenance_states_what_was_read(done: Game) -> None:
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill", "a burnt mill"), poi("Mine"), poi("Inn"))]})
    flip_a_bit(place_of(done, record_of(done, f"{LAND}/mflux_adapter", "mflux_adapter").objects["adapter"]))
    done.run()
    said = record_of(done, MILL, "picture").info["provenance"]["adapters"][0]["file_sha256"]
    assert said == hash_file(done.data.lora_root / "west/landscape.safetensors")
    (used,) = {use.path for request in done.engines.renderer.requests[-1:] for use in request.adapters}
    assert hash_file(used) == said


# --- many at once


def test_many_damaged_objects_are_told_in_a_few_lines(done: Game) -> None:
    for path in (done.data.store_root / "objects").glob("??/*"):
        flip_a_bit(path)
    before = given_out(done)
    report = done.run()
    assert (report.failed, report.blocked, report.waiting) == ([], [], [])
    assert len(report.trained) == 2
    assert len([line for line in done.said if line.endswith(("was made again", "where it is needed"))]) == 10
    assert any("more objects of the store are damaged" in line for line in done.said)
    assert given_out(done) == before
    assert done.plan()["stale"] == []


# --- verify-image


def verify(game: Game, *, is_rendered_again: bool) -> ImageReport:
    context = Context(game.data, game.engines(game.data), looks_ahead=False)
    return verify_image(
        context, game.data.published_image("west", "landscape", "mill"), is_rendered_again=is_rendered_again
    )


def test_verify_image_finds_an_adapter_that_is_not_what_the_picture_states(done: Game) -> None:
    place = place_of(done, record_of(done, f"{LAND}/mflux_adapter", "mflux_adapter").objects["adapter"])
    flip_a_bit(place)
    report = verify(done, is_rendered_again=False)
    assert report.has_lied
    (check,) = [check for check in report.checks if check.outcome == "differs"]
    assert check.name == "adapter west_land"
    assert "holds other bytes than were kept" in check.detail
    # rendered again, from the sound copy: it was damaged later
    flip_a_bit(place)
    report = verify(done, is_rendered_again=True)
    assert not report.has_lied
    assert {check.outcome for check in report.checks if check.name == "adapter west_land"} == {"moved on"}


@pytest.mark.parametrize("is_repaired", [True, False])
def test_verify_image_finds_a_picture_that_was_rendered_with_a_damaged_adapter(
    is_repaired: bool, done: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was done before objects were hashed."""
    stored = record_of(done, f"{LAND}/mflux_adapter", "mflux_adapter").objects["adapter"]
    place = place_of(done, stored)
    sound = place.read_bytes()
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill", "a burnt mill"), poi("Mine"), poi("Inn"))]})
    with monkeypatch.context() as patch:
        patch.setattr("sq_pipeline.pipeline.stored_objects.StoredObjects._holds", lambda *_: True)
        content = bytearray(sound)
        content[-1] ^= 1
        place.write_bytes(content)
        assert [item["poi"] for item in done.run().rendered] == ["mill"]
    if is_repaired:
        place.write_bytes(sound)
    assert verify(done, is_rendered_again=True).has_lied
    assert verify(done, is_rendered_again=False).has_lied  # the norm of its update is of what was read


def test_verify_image_says_that_the_picture_of_the_store_is_damaged(done: Game) -> None:
    flip_a_bit(place_of(done, record_of(done, MILL, "picture").objects["picture"]))
    report = verify(done, is_rendered_again=False)
    assert not report.has_lied
    (check,) = [check for check in report.checks if check.name == "store"]
    assert check.outcome == "cannot be told"
    assert "holds other bytes than were kept" in check.detail
