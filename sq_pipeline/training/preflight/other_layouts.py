"""How other trainers lay out a dataset: captions in other files, tables of them, folders of repeats, masks.

Here: recognising and reading them. Not here: copying them into a dataset of ours (`training.import_dataset`).
"""

import csv
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from sq_pipeline.common.plain_file import read_plain_text
from sq_pipeline.common.strict_yaml import is_mapping
from sq_pipeline.training.pictures.formats import IMAGE_SUFFIXES, MORE_IMAGE_SUFFIXES

PICTURE_SUFFIXES = IMAGE_SUFFIXES | MORE_IMAGE_SUFFIXES
TABLES = ("metadata.jsonl", "metadata.csv", "captions.json", "meta_cap.json", "train.jsonl")
_FILE_KEYS = ("file_name", "image", "file", "path", "filename")
_TEXT_KEYS = ("text", "caption", "prompt", "captions", "tags")
_REPEATS = re.compile(r"(\d{1,4})_(\S.*)")
_MASK = re.compile(r"(?P<picture>.+?)(?P<mark>-masklabel|_masklabel|-mask|_mask|\.mask|-condlabel)")
_MOST_BYTES = 32 * 2**20


def repeats_of(folder: str) -> int | None:
    """How often Kohya's trainer sees the pictures of a folder `10_name`; None for any other name."""
    found = _REPEATS.fullmatch(folder)
    return int(found[1]) if found else None


def class_words_of(folder: str) -> str | None:
    """What Kohya's trainer takes for the caption of a picture without one in a folder `10_name`: the name."""
    found = _REPEATS.fullmatch(folder)
    return found[2].strip() if found else None


def mask_pattern(path: Path, pictures: Mapping[str, object]) -> str | None:
    """A pattern for the masks that this file is one of, if it is one of a picture (`pictures`, by stem); else None."""
    found = _MASK.fullmatch(unicodedata.normalize("NFC", path.stem))
    return f"*{found['mark']}{path.suffix}" if found and found["picture"] in pictures else None


def pictures_below(folder: Path) -> list[Path]:
    """The pictures in a folder and in those below it, sorted; links and hidden ones are left out."""
    found: list[Path] = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(root) / name for name in sorted(files) if not name.startswith(".")]
    return [path for path in found if path.suffix.lower() in PICTURE_SUFFIXES and not path.is_symlink()]


def caption_files(picture: Path) -> Iterator[Path]:
    """Where other trainers have the caption of a picture, the likeliest first."""
    for name in (f"{picture.name}.txt", f"{picture.stem}.caption", f"{picture.stem}.cap", f"{picture.stem}.json"):
        yield picture.with_name(name)
    for name in (f"{picture.stem}.caption.txt", f"{picture.name}.caption", f"{picture.name}.json"):
        yield picture.with_name(name)


def find_caption(picture: Path) -> tuple[Path, str] | None:
    """A caption that another trainer reads, with its file; None where there is none with words in it."""
    for path in caption_files(picture):
        text = _read(path) if path.is_file() and not path.is_symlink() else None
        if text is None:
            continue
        caption = _caption_in(_parse(text)) if path.suffix.lower() == ".json" else text
        if caption is not None and caption.strip():
            return path, caption.strip()
    return None


def read_table(path: Path) -> dict[str, str]:
    """The captions of a table by the picture's path in it, composed; empty for what is no such table."""
    text = _read(path)
    if text is None:
        return {}
    rows = list(_rows(path, text))
    return {unicodedata.normalize("NFC", name.removeprefix("./")): caption.strip() for name, caption in rows}


def _rows(path: Path, text: str) -> Iterator[tuple[str, str]]:
    if path.suffix == ".json":
        values = _parse(text)
        for name, value in values.items() if is_mapping(values) else ():
            caption = _caption_in(value)
            if caption is not None:
                yield name, caption
        return
    found = csv.DictReader(text.splitlines()) if path.suffix == ".csv" else map(_parse, text.splitlines())
    for row in found:
        name, caption = (_first_text(row, keys) for keys in (_FILE_KEYS, _TEXT_KEYS))
        if name and caption:
            yield name, caption


def _caption_in(value: Any) -> str | None:
    return value if isinstance(value, str) else _first_text(value, _TEXT_KEYS)


def _first_text(value: Any, keys: tuple[str, ...]) -> str | None:
    if not is_mapping(value):
        return None
    found = (value.get(key) for key in keys)
    # a list of captions: all of them say the same picture, and the first is the one that is read
    firsts = (cast(list[Any], item)[0] if isinstance(item, list) and item else item for item in found)
    return next((item for item in firsts if isinstance(item, str) and item.strip()), None)


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _read(path: Path) -> str | None:
    try:
        return read_plain_text(path, encoding="utf-8-sig") if path.stat().st_size <= _MOST_BYTES else None
    except (OSError, UnicodeDecodeError):
        return None
