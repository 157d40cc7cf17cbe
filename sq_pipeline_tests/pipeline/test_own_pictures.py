"""Pictures of a person's own beside ours, in the archive, and at a place that comes later. At ours: `test_theirs`."""

from pathlib import Path

from sq_pipeline.pipeline.context import Context
from sq_pipeline_tests.pipeline.fast import chapter, poi
from sq_pipeline_tests.pipeline.game import Game
from sq_pipeline_tests.pipeline.test_theirs import mill, paint

HISTORY = "worlds/old/history.yaml"


def places(game: Game, *entries: dict[str, object]) -> None:
    game.edit(HISTORY, {"chapters": [chapter(*entries)]})


def archived(game: Game) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (mill(game).parents[1] / "archive").glob("*.png")}


def test_a_picture_is_there_before_its_place(done: Game) -> None:
    """1-own-picture-new-place"""
    path = mill(done).with_name("old_mural.png")
    paint(path)
    before = path.read_bytes()
    places(done, poi("Mill"), poi("Mine"), poi("Inn"), poi("Old Mural", "a wall"))
    for _ in range(2):
        report = done.run()
        assert [item["asset"] for item in report.waiting] == ["west/worlds/old/poi_images:old_mural"]
        assert (report.rendered, report.failed, path.read_bytes()) == ([], [], before)


def test_files_beside_ours_and_in_the_archive_keep_their_names(done: Game) -> None:
    """1-others-files-beside and 1-own-file-in-archive"""
    folder, ours = mill(done).parent, mill(done).read_bytes()
    theirs = [folder / "title_card.png", folder.parent / "archive/mill.png"]
    for path in theirs:
        paint(path)
    leftovers = ("notes.txt", "Thumbs.db", "desktop.ini", "._mill.png", "Icon\r", ".DS_Store", "mill.png~", "mill.kra")
    for name in leftovers:
        (folder / name).write_text("do not touch")
    theirs += [folder / name for name in leftovers]
    before = [path.read_bytes() for path in theirs]
    places(done, poi("Mine"), poi("Inn"))
    report = done.run()
    assert (report.waiting, report.failed) == ([], [])
    assert [path.read_bytes() for path in theirs] == before
    assert not mill(done).exists()
    assert {name for name, content in archived(done).items() if content == ours} == {*archived(done)} - {"mill.png"}
    assert len(archived(done)) == 2


def test_a_place_that_goes_twice_leaves_both_pictures(done: Game) -> None:
    """1-archive-twice"""
    kept: set[bytes] = set()
    for prompt in ("", "a mesa"):
        if prompt:
            places(done, poi("Mill", prompt), poi("Mine"), poi("Inn"))
            done.run()
        kept.add(mill(done).read_bytes())
        places(done, poi("Mine"), poi("Inn"))
        done.run()
    assert {*archived(done).values()} == kept
    assert len(kept) == len(archived(done)) == 2


def test_a_link_to_the_folder_of_pictures_is_followed_and_stays(done: Game, tmp_path: Path) -> None:
    """A person's pictures are on another disk."""
    folder, elsewhere = mill(done).parent, tmp_path / "disk"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere, target_is_directory=True)
    assert done.plan()["stale"] == []
    places(done, poi("Mill", "a burnt mill"), poi("Mine"), poi("Inn"))
    report = done.run()
    assert ([item["poi"] for item in report.rendered], report.failed) == (["mill"], [])
    assert folder.is_symlink()
    assert Context(done.data, done.engines(done.data)).data.relative(folder / "mill.png").endswith("mill.png")
