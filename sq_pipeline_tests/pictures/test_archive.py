"""Pictures of places that are gone: moved aside, never lost, and nothing else is touched."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sq_pipeline.common.errors import Fault
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.picture_paths import PicturePaths
from sq_pipeline.content.records import Catalog, Style, Subject, World
from sq_pipeline.pictures.archive import archive_removed, shown_keys


def _catalog(*slugs: str, faults: dict[str, tuple[Fault, ...]] | None = None) -> Catalog:
    pois = tuple(Subject(slug, slug) for slug in slugs)
    return Catalog({"west/old": World("west", "old", Style(), (), {"landscape": pois})}, {}, faults or {})


def _archive_removed(root: Path, catalog: Catalog) -> list[str]:
    paths = PicturePaths()
    found = shown_keys(catalog, paths)
    return [kept for genre in found for kept in archive_removed(DataDir(root), genre, paths, found[genre], []).values()]


def _picture(path: Path, place: str | None, colour: int = 0) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    notes = PngInfo()
    if place is not None:
        notes.add_itxt("sq.place", place)
    Image.new("RGB", (4, 4), (colour, 0, 0)).save(path, pnginfo=notes)
    return path.read_bytes()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return DataDir(tmp_path).genre_root("west") / "images"


def test_the_picture_of_a_removed_place_is_moved(tmp_path: Path, images: Path) -> None:
    kept, gone = (_picture(images / f"poi/{slug}.png", f"west/old/{slug}") for slug in ("mill", "mine"))
    moved = _archive_removed(tmp_path, _catalog("mill"))
    assert moved == ["content/genre_packs/west/images/archive/mine.png"]
    assert (images / "archive/mine.png").read_bytes() == gone
    assert (images / "poi/mill.png").read_bytes() == kept
    assert sorted(path.name for path in images.rglob("*.png")) == ["mill.png", "mine.png"]
    assert _archive_removed(tmp_path, _catalog("mill")) == []


@pytest.mark.parametrize("name", ["mine_backup", "mine 2", "old_mine"])
def test_a_copy_that_a_person_made_of_a_picture_stays(tmp_path: Path, images: Path, name: str) -> None:
    _picture(images / "poi/mine.png", "west/old/mine")
    copied = _picture(images / f"poi/{name}.png", "west/old/mine")
    assert _archive_removed(tmp_path, _catalog("mine")) == []
    assert _archive_removed(tmp_path, _catalog("mill")) == ["content/genre_packs/west/images/archive/mine.png"]
    assert (images / f"poi/{name}.png").read_bytes() == copied


def test_a_picture_that_is_elsewhere_since_the_template_changed_is_moved(tmp_path: Path, images: Path) -> None:
    data, before, now = DataDir(tmp_path), PicturePaths("art/{world}-{slug}.png"), PicturePaths("{kind}/{slug}.png")
    for paths in (before, now, PicturePaths()):
        _picture(paths.path(data, "west", "old", "landscape", "mill"), "west/old/mill", len(paths.template))
    moved = [*archive_removed(data, "west", now, ["poi/mill.png"], ["art/old-mill.png"]).values()]
    assert [Path(name).parent.name for name in moved] == ["archive"] * 2
    left = sorted(path.name for path in data.genre_root("west").rglob("*.png") if path.parent.name != "archive")
    assert left == ["mill.png"]
    assert (data.genre_root("west") / "poi/mill.png").exists()


def test_an_archived_picture_is_never_written_over(tmp_path: Path, images: Path) -> None:
    contents = set[bytes]()
    for colour in (1, 2, 3, 2):
        contents.add(_picture(images / "poi/mine.png", "west/old/mine", colour))
        _archive_removed(tmp_path, _catalog("mill"))
    assert {path.read_bytes() for path in (images / "archive").iterdir()} == contents
    assert len(list((images / "archive").iterdir())) == 3


@pytest.mark.parametrize("place", [None, "west/old/other"])
def test_a_picture_that_is_not_ours_stays(tmp_path: Path, images: Path, place: str | None) -> None:
    _picture(images / "poi/mine.png", place)
    (images / "poi/notes.txt").write_text("x")
    (images / "poi/broken.png").write_bytes(b"no picture")
    assert _archive_removed(tmp_path, _catalog("mill")) == []
    assert len(list((images / "poi").iterdir())) == 3


def _huge(path: Path) -> None:
    """200 megapixels that somebody painted."""
    Image.new("1", (20_000, 10_000)).save(path)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _many_texts(path: Path) -> None:
    notes = PngInfo()
    for number in range(70):
        notes.add_text(f"note {number}", "x" * (1 << 20), zip=True)
    Image.new("RGB", (4, 4)).save(path, pnginfo=notes)


@pytest.mark.parametrize("put", [_huge, os.mkfifo, Path.mkdir, _loop, _many_texts, lambda path: path.touch()])
def test_what_is_no_picture_of_ours_neither_hangs_nor_ends_a_run(
    put: Callable[[Path], object], tmp_path: Path, images: Path
) -> None:
    (images / "poi").mkdir(parents=True)
    put(images / "poi/sky.png")
    gone = _picture(images / "poi/mine.png", "west/old/mine")
    moved = _archive_removed(tmp_path, _catalog("mill"))
    assert moved == ["content/genre_packs/west/images/archive/mine.png"]
    assert (images / "archive/mine.png").read_bytes() == gone


def test_a_genre_that_cannot_be_read_whole_loses_nothing(tmp_path: Path, images: Path) -> None:
    _picture(images / "poi/mine.png", "west/new/mine")
    faults = {"west/new": (Fault("history.yaml", "", "is broken", "correct it"),)}
    assert _archive_removed(tmp_path, _catalog("mill", faults=faults)) == []
    assert (images / "poi/mine.png").is_file()
