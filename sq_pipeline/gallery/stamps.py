"""Whether anything that the gallery shows may have changed: names, sizes and times of files, none of which is read."""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from sq_pipeline.common.layout import DataDir

_PICTURE = ".png"


Line = tuple[object, ...]


@dataclass(frozen=True)
class ContentStamp:
    """`files` changes with anything at all; `words` with what is no picture of the game's: a person wrote it."""

    words: int
    files: Mapping[str, Line]

    def touched(self, since: "ContentStamp") -> set[str]:
        """The paths of files that are not as they were."""
        paths = self.files.keys() | since.files.keys()
        return {path for path in paths if self.files.get(path) != since.files.get(path)}


def content_stamp(data: DataDir, picture_folders: Collection[str] = ()) -> ContentStamp:
    """Of all content. Pictures in the given folders are no words: a run that publishes one changes none."""
    roots = (data.packs_root, data.datasets_root, data.lora_root, data.keymaps_root, data.verify_prompts_root)
    settings = str(data.settings_file)
    words, files = [_file(settings)], {settings: _file(settings)}
    for root in (*roots, data.gate_root):
        for folder, line in _below(str(root)):
            path = str(line[0])
            files[path] = line
            if folder not in picture_folders or not path.endswith(_PICTURE):
                words.append(line)
    return ContentStamp(hash(tuple(sorted(words, key=_path_of))), files)


def store_stamp(data: DataDir) -> int:
    """Changes with the index of the store, with the takes, and where the store or its objects are gone."""
    index = str(data.store_root / "records.sqlite")
    objects = (data.store_root / "objects").is_dir()
    note = _file(str(data.rendering_note))
    return hash((objects, *_file(index), *_file(f"{index}-wal"), *note, *sorted(_below(str(data.takes_root)))))


def _path_of(line: Line) -> str:
    return str(line[0])


def _file(path: str) -> Line:
    try:
        found = os.lstat(path)
    except OSError:
        return (path, None)
    return (path, found.st_size, found.st_mtime_ns, found.st_ino)


def _below(folder: str) -> Iterator[tuple[str, Line]]:
    """Each file with its folder."""
    # plain strings and scandir: a large game has tens of thousands of files, and this is asked every second
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        with suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path)
            else:
                found = entry.stat(follow_symlinks=False)
                yield folder, (entry.path, found.st_size, found.st_mtime_ns, found.st_ino)
