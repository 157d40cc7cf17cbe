"""Whether anything that the gallery shows may have changed: names, sizes and times of files, none of which is read."""

import os
from collections.abc import Iterator
from contextlib import suppress

from sq_pipeline.common.layout import DataDir


def content_stamp(data: DataDir) -> int:
    """Changes with anything that a person writes, and with the pictures that the game has."""
    folders = (data.packs_root, data.datasets_root, data.lora_root, data.keymaps_root, data.verify_prompts_root)
    found = [line for folder in (*folders, data.gate_root) for line in _below(str(folder))]
    return hash((*sorted(found), *_file(str(data.settings_file))))


def store_stamp(data: DataDir) -> int:
    """Changes with the index of the store, with the takes, and where the store or its objects are gone."""
    index = str(data.store_root / "records.sqlite")
    objects = (data.store_root / "objects").is_dir()
    note = _file(str(data.rendering_note))
    return hash((objects, *_file(index), *_file(f"{index}-wal"), *note, *sorted(_below(str(data.takes_root)))))


def _file(path: str) -> tuple[object, ...]:
    try:
        found = os.lstat(path)
    except OSError:
        return (path, None)
    return (path, found.st_size, found.st_mtime_ns, found.st_ino)


def _below(folder: str) -> Iterator[tuple[object, ...]]:
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
                yield (entry.path, found.st_size, found.st_mtime_ns, found.st_ino)
