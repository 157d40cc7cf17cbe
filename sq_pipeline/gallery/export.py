"""The gallery as files: one folder, relative links, opened without a server. Each picture is in it once.

What is in a folder of somebody's is never written over: only an empty one, or an export of ours that nobody has put
anything into, is written (anew). It is written beside its place, and stands there whole or not at all.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sq_pipeline.common.atomic import disk_error
from sq_pipeline.common.errors import Fault, SelectionError
from sq_pipeline.gallery.pages import static_files, write_page
from sq_pipeline.gallery.survey import Survey

_LISTING = "sq-gallery.json"  # what an export consists of, by which it is known for ours
_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


@dataclass(frozen=True)
class Exported:
    """How many expected pictures the page shows, and how many files of pictures go with it."""

    pictures: int
    files: int


def export_gallery(survey: Survey, folder: Path) -> Exported:
    """Write the page of everything as it stands now into `folder`.

    Raises SelectionError for a folder that holds anything else than an export of ours; StorageError where the disk
    refuses; SqPipelineError where the settings cannot be read.
    """
    folder = Path(folder).resolve()
    _insist_ours(folder)
    survey.look_at_all()
    part: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}.", suffix=".part", dir=folder.parent))
        written = _write(survey, part)
        part.chmod(0o755)
        _put(part, folder)
    except OSError as error:
        raise disk_error(folder, error) from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
    return written


def _insist_ours(folder: Path) -> None:
    if not folder.exists():
        return
    problem = ""
    if not folder.is_dir():
        problem = "is no folder"
    elif (strange := _strangers(folder)) is not None:
        problem = f"holds {strange}, which is not of an export"
    if problem:
        raise SelectionError(Fault(str(folder), "--export", problem, "name an empty or a new folder"))


def _strangers(folder: Path) -> str | None:
    """Something in the folder that no export of ours has put there."""
    files = [path for path in sorted(folder.rglob("*")) if not path.is_dir() or path.is_symlink()]
    ours: set[str] = set()
    with suppress(OSError, ValueError, TypeError, KeyError):
        ours = {_LISTING, *json.loads((folder / _LISTING).read_text(encoding="utf-8"))["files"]}
    names = (path.relative_to(folder).as_posix() for path in files)
    return next((name for name in names if name not in ours), None)


def _put(part: Path, folder: Path) -> None:
    """Let the new export stand in the place of the old one."""
    if not folder.exists():
        part.rename(folder)
        return
    _insist_ours(folder)  # writing took a while
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}.", suffix=".old", dir=folder.parent))
    folder.rename(aside / "was")
    try:
        part.rename(folder)
    except OSError:
        (aside / "was").rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _write(survey: Survey, part: Path) -> Exported:
    written: list[str] = []

    def write(name: str, content: bytes) -> None:
        path = part / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        written.append(name)

    overview = survey.overview()
    suffixes: dict[str, str] = {}
    for group in overview["groups"]:
        tiles, details = survey.tiles(group["id"]), survey.all_details(group["id"])
        for picture in _pictures_in([tiles, details]):
            digits = picture["sha"]
            if digits not in suffixes:
                suffixes[digits] = _write_picture(survey, picture, write)
            picture["suffix"] = suffixes[digits]
        write(f"data/tiles-{group['id']}.js", _script(f"tiles-{group['id']}", tiles))
        write(f"data/details-{group['id']}.js", _script(f"details-{group['id']}", details))
    told = {**overview, "rendering": None, "is_looking": False}
    write("data/overview.js", _script("overview", told))
    for name, (content, _) in static_files().items():
        write(f"static/{name}", content)
    write("index.html", write_page(overview["name"], "export").encode())
    listing = {"about": "written by the gallery's export; everything in it may be deleted", "files": sorted(written)}
    (part / _LISTING).write_text(json.dumps(listing, indent=1), encoding="utf-8")
    shown = sum(group["expected"] for group in overview["groups"])
    return Exported(shown, sum(suffix != "" for suffix in suffixes.values()))


def _write_picture(survey: Survey, picture: Mapping[str, Any], write: Any) -> str:
    """Its suffix; empty for one that is gone since it was looked at."""
    found = survey.files.read(picture["sha"])
    if found is None:
        return ""
    suffix = _SUFFIXES[found[1]]
    write(f"pictures/{picture['sha']}.{suffix}", found[0])
    thumb = survey.files.read_thumb(picture["sha"]) if picture["thumb"] else None
    if thumb is not None:
        write(f"thumbs/{picture['sha']}.webp", thumb[0])
    return suffix


def _pictures_in(value: Any) -> Iterator[dict[str, Any]]:
    """Whatever names a picture, at any depth."""
    if isinstance(value, dict):
        if "sha" in value:
            yield value
        for inner in value.values():
            yield from _pictures_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _pictures_in(inner)


def _script(name: str, value: Any) -> bytes:
    """A script that hands the value over: a page that is opened from a file may load scripts, and no data."""
    said = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    begin = "window.GalleryData=window.GalleryData||{parts:{}};"
    give = "(window.GalleryData.give||((n,v)=>{window.GalleryData.parts[n]=v}))"
    return f"{begin}{give}({json.dumps(name)},{said});\n".encode()
