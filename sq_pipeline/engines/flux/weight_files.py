"""Finding the files of a part of FLUX.1, reading their headers, holding them against what must be there. No numbers.

A transformer's place is a BFL file, a folder with a `transformer/` folder in it (a hub snapshot), that folder itself,
or a folder with one BFL file; the other parts are folders. Not here: which names there must be (`weight_names`,
`encoder_tensors`), the numbers (`weights`, `encoders`).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sq_pipeline.adapters.form import FLOATS
from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.common.errors import AdapterError, BaseModelError, Fault
from sq_pipeline.common.plain_file import read_plain_text

_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")


@dataclass(frozen=True)
class Part:
    """A part of a model in the Hugging Face layout: its folder, and how its files' names begin."""

    folder: str
    stem: str

    @property
    def index_file(self) -> str:
        """The file that says which shard holds a tensor."""
        return f"{self.stem}.safetensors.index.json"


TRANSFORMER = Part("transformer", "diffusion_pytorch_model")


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


def read_headers(place: Path, how_to_get: str, part: Part = TRANSFORMER) -> WeightFiles:
    """Every header of the weights at a place. Raises BaseModelError where there are none at all; faults of single
    files are in the answer, to be told together with those of the names in them.
    """
    read_files = partial(_read_files, index_file=part.index_file, how_to_get=how_to_get)
    if not place.is_dir():
        return read_files(place, [place], None, [])
    nested = place / part.folder
    folder = nested if nested.is_dir() else place
    index_path = folder / part.index_file
    if index_path.is_file():
        index, faults = _read_index(index_path, how_to_get)
        shards = sorted({folder / name for name in index.values()})
        return read_files(folder, shards, {name: folder / file for name, file in index.items()}, faults)
    files = sorted(folder.glob(f"{part.stem}*.safetensors")) or sorted(folder.glob("*.safetensors"))
    if not files:
        problem = f"holds neither {part.index_file} nor a .safetensors file"
        raise BaseModelError(Fault(str(folder), "", problem, how_to_get))
    shards = [file for file in files if _SHARD.fullmatch(file.name)]
    if not shards and len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise BaseModelError(Fault(str(folder), "", f"holds several models: {names}", "name the file of one"))
    return read_files(folder, [*files, *_absent_shards(shards)], None, [])


def tensor_faults(
    files: WeightFiles,
    wanted: Mapping[str, tuple[int, ...]],
    what: str,
    how_to_get: str,
    *,
    layout: str | None = None,
    unused: frozenset[str] = frozenset(),
) -> Iterator[Fault]:
    """Tensors that are missing, unknown, of another shape than in `wanted`, or not floating point.

    `what` names the part (`FLUX.1's VAE`), `layout` its layout where there are several. `unused` are names that such
    files may hold and nobody reads.
    """
    if not wanted.keys() & files.tensors.keys():
        if files.tensors:
            problem = f"none of its {len(files.tensors)} tensors has a name of {what}: {min(files.tensors)!r}"
            yield Fault(str(files.root), "", problem, f"is it another model's? {how_to_get}")
        return
    for name in sorted(wanted.keys() - files.tensors.keys()):
        if files.unread is not None and name not in files.unread:
            problem = f"is missing ({layout} layout)" if layout else "is missing"
            yield Fault(str(files.root), name, problem, how_to_get)
    for name, (path, info) in sorted(files.tensors.items()):
        if name in unused:
            continue
        if name not in wanted:
            yield Fault(str(path), name, "is no tensor of this model", f"is it another model's? {how_to_get}")
            continue
        if info.shape != wanted[name]:
            problem = f"has the shape {list(info.shape)}, not {list(wanted[name])}"
            yield Fault(str(path), name, problem, f"is it another model's? {how_to_get}")
        if info.dtype not in FLOATS:
            problem = f"holds {info.dtype}, not {', '.join(sorted(FLOATS))}: a quantized model"
            yield Fault(str(path), name, problem, f"training needs the full weights: {how_to_get}")


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
        found: Any = json.loads(read_plain_text(path))
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
    *,
    index_file: str,
    how_to_get: str,
) -> WeightFiles:
    tensors: dict[str, tuple[Path, TensorInfo]] = {}
    unreadable: set[Path] = set()
    for path in paths:
        try:
            file = open_safetensors(path)
        except AdapterError as error:
            unreadable.add(path)
            index_name = index_file if index is not None else None
            faults += [_file_fault(path, fault, index_name, how_to_get) for fault in error.faults]
            continue
        for name, info in file.tensors.items():
            if name in tensors:
                problem = f"is in {tensors[name][0].name} too"
                faults.append(Fault(str(path), name, problem, _again(how_to_get)))
            elif index is not None and name not in index:
                problem = f"is not in {index_file}, which belongs to other files"
                faults.append(Fault(str(path), name, problem, _again(how_to_get)))
            tensors.setdefault(name, (path, info))
    for name, path in (index or {}).items():
        if path not in unreadable and (name not in tensors or tensors[name][0] != path):
            problem = f"is put into {path.name}, which does not hold it"
            faults.append(Fault(str(root / index_file), f"weight_map.{name}", problem, _again(how_to_get)))
    if index is not None:
        # what the index promises and no file holds is told above; it is not missing a second time
        unread = frozenset(name for name in index if name not in tensors)
    else:
        unread = None if unreadable else frozenset[str]()
    return WeightFiles(root, tensors, tuple(faults), unread)


def _file_fault(path: Path, fault: Fault, index_file: str | None, how: str) -> Fault:
    """A reader's fault, with what to do about a base model's file in place of an adapter's."""
    if not path.exists():
        problem = f"is not there, but {index_file} names it" if index_file else "is not there"
        return Fault(str(path), "", problem, how)
    hint = f"{fault.hint}, or {how}" if "git lfs" in fault.hint else _again(how)
    return Fault(fault.file, fault.field, fault.problem, hint)


def _again(how_to_get: str) -> str:
    # the hub's client keeps a file that it thinks it has
    return f"{how_to_get}; add `--force-download` where a damaged copy is there already"
