"""Another trainer's dataset as one of ours: pictures copied, captions as .txt. The source stays as it is.

Not here: how other trainers lay theirs out (`preflight.other_layouts`), judging what comes of it (`training.dataset`).
"""

import os
import shutil
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sq_pipeline.common.atomic import disk_error, write_text
from sq_pipeline.common.errors import DatasetError, Fault, StorageError
from sq_pipeline.training.dataset_files import CAPTION_SUFFIX, RECIPE_FILE, find_misnamed_recipe, stem_of
from sq_pipeline.training.pictures.formats import describe_other
from sq_pipeline.training.preflight.captions import read_caption
from sq_pipeline.training.preflight.like_faults import group_faults
from sq_pipeline.training.preflight.other_layouts import (
    TABLES,
    class_words_of,
    find_caption,
    mask_pattern,
    pictures_below,
    read_table,
    repeats_of,
)

_RECIPE_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class _Pair:
    picture: Path
    caption: str
    caption_file: Path | None


@dataclass(frozen=True)
class ImportedDataset:
    """What was copied, and what was `left`: a line each, like ones together."""

    pairs: int
    recipe: str | None
    left: tuple[str, ...]


def import_dataset(source: Path, target: Path) -> ImportedDataset:
    """Copy the pairs of `source` into the new or empty folder `target`.

    Whole, or nothing is left. Raises DatasetError where there is no pair or the target is not free, StorageError.
    """
    _insist_on_places(source, target)
    left: list[Fault] = []
    pairs = list(_pairs(source, left))
    if not pairs:
        hint = "captions are .txt, .caption, .json, or a metadata.jsonl or .csv"
        raise DatasetError([Fault(str(source), "", "holds no picture with a caption", hint), *group_faults(left)])
    recipe = _recipe_of(source, left)
    told = {fault.file for fault in left}
    left += [fault for fault in _unused(source, pairs, recipe) if fault.file not in told]
    made = [path for path in (target.parent, *target.parent.parents) if not path.exists()]
    is_whole = False
    try:
        _write(pairs, recipe, target)
        is_whole = True
    except OSError as error:
        raise error if isinstance(error, StorageError) else disk_error(target, error) from error
    finally:
        if made and not is_whole:
            shutil.rmtree(made[-1], ignore_errors=True)
    return ImportedDataset(len(pairs), recipe.name if recipe else None, tuple(map(str, group_faults(left))))


def _insist_on_places(source: Path, target: Path) -> None:
    if not source.is_dir():
        raise DatasetError(Fault(str(source), "", "there is no such folder", "name the folder of the dataset"))
    if target.resolve().is_relative_to(source.resolve()):
        raise DatasetError(Fault(str(target), "", f"lies in {source}, which is not touched", "name one elsewhere"))
    try:
        is_free = not os.path.lexists(target) or (not target.is_symlink() and not any(target.iterdir()))
    except OSError:
        is_free = False
    if not is_free:
        raise DatasetError(Fault(str(target), "", "is no empty folder", "name a new or an empty folder"))


def _pairs(source: Path, left: list[Fault]) -> Iterator[_Pair]:
    """Every picture that has a caption; why another has none goes to `left`."""
    pictures = pictures_below(source)
    stems: dict[Path, dict[str, object]] = {}
    for path in pictures:
        stems.setdefault(path.parent, {})[stem_of(path)] = path
    tables: dict[Path, dict[str, str]] = {}
    for path in (path for name in TABLES for path in _files_named(source, name)):
        tables.setdefault(path.parent, {}).update(read_table(path))
    for path in pictures:
        name = path.relative_to(source).as_posix()
        pair = _pair_of(path, source, tables)
        if isinstance(pair, Fault):
            left.append(pair)
        elif pair is not None:
            yield pair
        elif mask_pattern(path, stems[path.parent]):
            left.append(Fault(name, "", "is a mask, which is not read here", ""))
        else:
            left.append(Fault(name, "", "has no caption", ""))


def _files_named(source: Path, name: str) -> list[Path]:
    return [path for path in sorted(source.rglob(name)) if path.is_file() and not path.is_symlink()]


def _pair_of(path: Path, source: Path, tables: Mapping[Path, Mapping[str, str]]) -> _Pair | Fault | None:
    for own in path.parent.iterdir():
        if own.suffix.lower() == CAPTION_SUFFIX and stem_of(own) == stem_of(path) and not own.is_symlink():
            caption = read_caption(own, own.relative_to(source).as_posix())
            return caption if isinstance(caption, Fault) else _Pair(path, caption, own)
    found = find_caption(path)
    if found:
        return _Pair(path, found[1], found[0])
    for folder in (path.parent, *path.parent.parents):
        text = _in_table(path, folder, tables.get(folder, {}))
        if text is not None:
            return _Pair(path, text, None)
        if folder == source:
            break
    words = class_words_of(path.parent.name) if path.parent != source else None
    return _Pair(path, words, None) if words else None


def _in_table(path: Path, folder: Path, table: Mapping[str, str]) -> str | None:
    below = path.relative_to(folder)
    names = (below.as_posix(), path.name, below.with_suffix("").as_posix(), path.stem)
    return next((table[name] for name in (unicodedata.normalize("NFC", n) for n in names) if name in table), None)


def _recipe_of(source: Path, left: list[Fault]) -> Path | None:
    path = source / RECIPE_FILE
    found = path if path.is_file() else find_misnamed_recipe(source)
    if found is not None and found.suffix.lower() in _RECIPE_SUFFIXES and found.is_file():
        return found
    left.append(Fault(RECIPE_FILE, "", "is not there", "write one, with the `trigger`"))
    return None


def _unused(source: Path, pairs: Iterable[_Pair], recipe: Path | None) -> Iterator[Fault]:
    """What of the source has no place in a dataset of ours."""
    pairs = list(pairs)
    used = {recipe, *(pair.picture for pair in pairs), *(pair.caption_file for pair in pairs)}
    folders = sorted({pair.picture.parent for pair in pairs})
    for folder in folders:
        name, repeats = f"{folder.relative_to(source).as_posix()}/", repeats_of(folder.name)
        if repeats is not None and folder != source:
            yield Fault(name, "", f"its {repeats} repeats are not used: all pictures are seen alike", "")
        words = [p for p in pairs if p.picture.parent == folder and p.caption_file is None]
        if words and {p.caption for p in words} == {class_words_of(folder.name)}:
            yield Fault(name, "", f"its name is the caption of {len(words)} pictures without one", "")
    pictures = set(pictures_below(source))
    for root, below, names in os.walk(source):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for path in (Path(root) / name for name in sorted(names) if not name.startswith(".")):
            if path in used or path in pictures or path.name in TABLES:
                continue
            described = describe_other(path)
            problem = "is a link" if path.is_symlink() else described[0] if described else "is no part of a pair"
            yield Fault(path.relative_to(source).as_posix(), "", problem, described[1] if described else "")


def _write(pairs: Iterable[_Pair], recipe: Path | None, target: Path) -> None:
    """Into a folder beside the target, which takes its place at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name[:40]}.", suffix=".part", dir=target.parent))
    try:
        taken: set[str] = set()
        for pair in pairs:
            stem = _free_stem(pair.picture, taken)
            shutil.copyfile(pair.picture, part / f"{stem}{pair.picture.suffix}")
            write_text(part / f"{stem}{CAPTION_SUFFIX}", pair.caption)
        if recipe is not None:
            shutil.copyfile(recipe, part / RECIPE_FILE)
        part.chmod(0o755)
        if target.is_dir():
            target.rmdir()
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _free_stem(picture: Path, taken: set[str]) -> str:
    """The picture's name, with its folder's or a number where another one has it, in whatever case."""
    number, stem = 1, picture.stem
    while (key := unicodedata.normalize("NFC", stem).casefold()) in taken:
        number += 1
        stem = f"{picture.parent.name}_{picture.stem}" if number == 2 else f"{picture.stem}_{number}"
    taken.add(key)
    return stem
