"""Finding the files of a FLUX.1 transformer's weights, and reading their headers: names, shapes, places. No numbers.

A place is a BFL file, a folder with a `transformer/` folder in it (a hub snapshot), that folder itself, or a folder
with one BFL file. Not here: which names there must be (`weight_names`), the numbers (`weights`).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sq_pipeline.core.adapter_header import TensorInfo
from sq_pipeline.core.errors import AdapterError, BaseModelError, Fault
from sq_pipeline.storage.safetensors_file import open_safetensors

_STEM = "diffusion_pytorch_model"
INDEX_FILE = f"{_STEM}.safetensors.index.json"
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")


@dataclass(frozen=True)
class WeightFiles:
    """What the headers say: each tensor's file and entry, and every fault of the files themselves.

    `unread` are the names that the index expects in files that cannot be read; None when there are such files and no
    index, so that nobody knows what is in them. `root` is where to point for a tensor that is in no file.
    """

    root: Path
    tensors: Mapping[str, tuple[Path, TensorInfo]]
    faults: tuple[Fault, ...]
    unread: frozenset[str] | None


def read_headers(place: Path, how_to_get: str) -> WeightFiles:
    """Every header of the weights at a place. Raises BaseModelError where there are none at all; faults of single
    files are in the answer, to be told together with those of the names in them.
    """
    if not place.is_dir():
        return _read_files(place, [place], None, [], how_to_get)
    nested = place / "transformer"
    folder = nested if nested.is_dir() else place
    index_path = folder / INDEX_FILE
    if index_path.is_file():
        index, faults = _read_index(index_path, how_to_get)
        shards = sorted({folder / name for name in index.values()})
        return _read_files(folder, shards, {name: folder / file for name, file in index.items()}, faults, how_to_get)
    files = sorted(folder.glob(f"{_STEM}*.safetensors")) or sorted(folder.glob("*.safetensors"))
    if not files:
        problem = f"holds neither {INDEX_FILE} nor a .safetensors file"
        raise BaseModelError(Fault(str(folder), "", problem, how_to_get))
    shards = [file for file in files if _SHARD.fullmatch(file.name)]
    if not shards and len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise BaseModelError(Fault(str(folder), "", f"holds several models: {names}", "name the file of one"))
    return _read_files(folder, [*files, *_absent_shards(shards)], None, [], how_to_get)


def _absent_shards(shards: list[Path]) -> Iterator[Path]:
    """The files that the others' numbers (`-00001-of-00003`) ask for."""
    series = {(found[1], found[3]) for shard in shards if (found := _SHARD.fullmatch(shard.name))}
    for stem, count in sorted(series):
        for number in range(1, int(count) + 1):
            path = shards[0].with_name(f"{stem}-{number:05d}-of-{count}.safetensors")
            if path not in shards:
                yield path


def _read_index(path: Path, how_to_get: str) -> tuple[dict[str, str], list[Fault]]:
    """Tensor → file name, and what is wrong with single entries. Raises BaseModelError when it is no index."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        entries: Any = found["weight_map"]
        if not isinstance(entries, dict) or not entries:
            raise TypeError("its weight_map is empty or no mapping")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        problem = f"is not an index of shards ({type(error).__name__}: {error})"
        raise BaseModelError(Fault(str(path), "weight_map", problem, _again(how_to_get))) from error
    index: dict[str, str] = {}
    faults: list[Fault] = []
    for name, file in entries.items():
        # a name alone: an index cannot send us out of its folder
        if isinstance(file, str) and file not in ("", ".", "..") and not set(file) & set("/\\\0"):
            index[name] = file
        else:
            problem = f"names {file!r}, which is no file of this folder"
            faults.append(Fault(str(path), f"weight_map.{name}", problem, _again(how_to_get)))
    return index, faults


def _read_files(
    root: Path,
    paths: Iterable[Path],
    index: Mapping[str, Path] | None,
    faults: list[Fault],
    how_to_get: str,
) -> WeightFiles:
    tensors: dict[str, tuple[Path, TensorInfo]] = {}
    unreadable: set[Path] = set()
    for path in paths:
        try:
            file = open_safetensors(path)
        except AdapterError as error:
            unreadable.add(path)
            faults += [_file_fault(path, fault, is_indexed=index is not None, how=how_to_get) for fault in error.faults]
            continue
        for name, info in file.tensors.items():
            if name in tensors:
                problem = f"is in {tensors[name][0].name} too"
                faults.append(Fault(str(path), name, problem, _again(how_to_get)))
            elif index is not None and name not in index:
                problem = f"is not in {INDEX_FILE}, which belongs to other files"
                faults.append(Fault(str(path), name, problem, _again(how_to_get)))
            tensors.setdefault(name, (path, info))
    for name, path in (index or {}).items():
        if path not in unreadable and (name not in tensors or tensors[name][0] != path):
            problem = f"is put into {path.name}, which does not hold it"
            faults.append(Fault(str(root / INDEX_FILE), f"weight_map.{name}", problem, _again(how_to_get)))
    if index is not None:
        # what the index promises and no file holds is told above; it is not missing a second time
        unread = frozenset(name for name in index if name not in tensors)
    else:
        unread = None if unreadable else frozenset[str]()
    return WeightFiles(root, tensors, tuple(faults), unread)


def _file_fault(path: Path, fault: Fault, *, is_indexed: bool, how: str) -> Fault:
    """A reader's fault, with what to do about a base model's file in place of an adapter's."""
    if not path.exists():
        problem = f"is not there, but {INDEX_FILE} names it" if is_indexed else "is not there"
        return Fault(str(path), "", problem, how)
    mend = f"{fault.mend}, or {how}" if "git lfs" in fault.mend else _again(how)
    return Fault(fault.file, fault.field, fault.problem, mend)


def _again(how_to_get: str) -> str:
    # the hub's client keeps a file that it thinks it has
    return f"{how_to_get}; add `--force-download` where a damaged copy is there already"
