"""The export: what is in it, whose folder is written, and that it stands whole or not at all."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sq_pipeline.common.errors import SelectionError, StorageError
from sq_pipeline.gallery import export
from sq_pipeline.gallery.export import export_gallery
from sq_pipeline_tests.gallery.conftest import HTML, Shown


def read_part(path: Path) -> Any:
    (said,) = re.findall(r'\)\("[^"]+",(.*)\);\n$', path.read_text())
    return json.loads(said)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_is_in_it_and_each_picture_once(in_states: Shown, tmp_path: Path) -> None:
    written = export_gallery(in_states.survey, tmp_path / "out")
    files = files_in(tmp_path / "out")
    overview = read_part(tmp_path / "out/data/overview.js")
    assert written.pictures == sum(group["expected"] for group in overview["groups"]) == 8
    pictures = [name for name in files if name.startswith("pictures/")]
    # five of the game, three takes
    assert written.files == len(pictures) == 8
    for group in overview["groups"]:
        tiles = read_part(tmp_path / f"out/data/tiles-{group['id']}.js")["tiles"]
        details = read_part(tmp_path / f"out/data/details-{group['id']}.js")
        assert {tile["id"] for tile in tiles} == details.keys()
        named = [one for told in details.values() for one in (*told["versions"], *told["takes"])]
        for picture in (*named, *(tile["picture"] for tile in tiles if "picture" in tile)):
            assert f"pictures/{picture['sha']}.{picture['suffix']}" in files
    page = files["index.html"].decode()
    for address in re.findall(r'(?:src|href)="([^"#]+)"', page):
        assert address in files
    assert str(in_states.game.data.root) not in "".join(
        files[n].decode() for n in files if n.endswith((".js", ".html"))
    )
    assert HTML not in page


def test_an_export_of_ours_is_written_anew_and_what_is_gone_is_gone(in_states: Shown, tmp_path: Path) -> None:
    out = tmp_path / "deep/out"
    export_gallery(in_states.survey, out)
    first = files_in(out)
    (in_states.game.data.takes_root / "west/old/landscape/mill/take-3.png").unlink()
    export_gallery(in_states.survey, out)
    assert len([name for name in first if name not in files_in(out)]) == 1
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def _put_file(out: Path) -> None:
    out.mkdir()
    (out / "notes.txt").write_text("mine")


def _put_into_export(out: Path) -> None:
    (out / "pictures").mkdir(parents=True)
    (out / "sq-gallery.json").write_text('{"files": ["index.html"]}')
    (out / "index.html").write_text("")
    (out / "pictures/mine.png").write_text("mine")


def _put_forged(out: Path) -> None:
    out.mkdir()
    (out / "sq-gallery.json").write_text("[1")


@pytest.mark.parametrize("put", [_put_file, _put_into_export, _put_forged, lambda out: out.write_text("a file")])
def test_what_is_somebody_s_is_refused_and_stays(shown: Shown, tmp_path: Path, put: Any) -> None:
    out = tmp_path / "out"
    put(out)
    before = files_in(tmp_path)
    with pytest.raises(SelectionError, match="name an empty or a new folder"):
        export_gallery(shown.survey, out)
    assert files_in(tmp_path) | {} == before


def test_an_empty_folder_is_taken(shown: Shown, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export_gallery(shown.survey, tmp_path / "out")
    assert (tmp_path / "out/index.html").is_file()


def test_one_that_fails_leaves_the_old_one_and_nothing_else(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_gallery(shown.survey, tmp_path / "out")
    before = files_in(tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "write_page", fail)
    with pytest.raises(StorageError, match="the disk is full"):
        export_gallery(shown.survey, tmp_path / "out")
    assert files_in(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
