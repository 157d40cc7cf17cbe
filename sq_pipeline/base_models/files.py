"""A base model's files on this machine: where they are, what is missing, how to get it, their hash. No downloads."""

import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path

from sq_pipeline.base_models.base_models import BASE_MODELS, BaseModel, resolve_base_model
from sq_pipeline.common.errors import BaseModelError, Fault
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.processes.progress import Progress, progress_of
from sq_pipeline.common.stat_cache import StatCache

_LONG_BYTES = 1 << 28  # from there on reading takes seconds
_HASHED_SUFFIXES = {".safetensors", ".json", ".jinja", ".model", ".txt"}


def base_model_folder(base_model: BaseModel, data: DataDir) -> Path:
    """Where the model's files are: `models/<name>` of the data directory, else the local Hugging Face cache.

    A quantized one has those of the base model that it is made of (`files_name`), and so their hash. Downloads nothing;
    raises BaseModelError with how to get the model.
    """
    folder = local = data.models_root / base_model.files_name
    if not local.is_dir():
        folder = _cached_snapshot(base_model) or local
    wanted = [name for name in base_model.files if not (folder / name).is_file()]
    wanted += [name for name in base_model.folders if not (folder / name).is_dir()]
    if wanted:
        problem = f"{base_model.name} is not on this machine ({', '.join(wanted)} missing)"
        raise BaseModelError(Fault(data.relative(local), "", problem, base_model.how_to_get))
    return folder


def _cached_folder(base_model: BaseModel) -> Path | None:
    """The snapshot in the local Hugging Face cache, whatever part of the model it holds; never goes online."""
    if base_model.hub_name is None:
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(base_model.hub_name, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _cached_snapshot(base_model: BaseModel) -> Path | None:
    folder = _cached_folder(base_model)
    return folder if folder is not None and (folder / "transformer").is_dir() else None


def transformer_in(folder: Path, base_model: BaseModel) -> Path | None:
    """The transformer in a model's folder: the folder itself when it has `transformer/`, else its single file."""
    if (folder / "transformer").is_dir():
        return folder
    if base_model.single_file is None:
        return None
    single = folder / base_model.single_file
    return single if single.is_symlink() or single.is_file() else None


def training_folder(base_model: BaseModel, data: DataDir) -> Path:
    """The one folder that all parts of a base model are trained from, whatever of it is there.

    That is `models/<name>` of the data directory, if there is such a folder, else the local Hugging Face cache.
    Downloads nothing; raises BaseModelError where there is neither.
    """
    local = data.models_root / base_model.files_name
    folder = local if local.is_dir() else _cached_folder(base_model)
    if folder is None:
        problem = f"{base_model.name} is not on this machine"
        raise BaseModelError(Fault(data.relative(local), "", problem, base_model.how_to_get))
    return folder


def how_to_complete(base_model: BaseModel, data: DataDir, parts: Sequence[str] = ()) -> str:
    """The commands that bring `parts` (folders; none: everything) to where `training_folder` looks for them."""
    plain = f"hf download {base_model.hub_name}"
    command = plain + "".join(f" --include '{part}/*'" for part in parts)
    local = data.models_root / base_model.files_name
    if local.is_dir():
        command += f" --local-dir {shlex.quote(str(local))}"
    return base_model.how_to_get.replace(plain, command)


def training_places(base_model: BaseModel, data: DataDir) -> tuple[Path, Path]:
    """Where a training finds the transformer, and the folder of the encoders and tokenizers. Looks for folders only.

    The transformer may be a single file, with the other parts beside it. Downloads nothing; raises BaseModelError
    with all that is missing and the commands that get it.
    """
    if base_model.files:
        folder = base_model_folder(base_model, data)
        return folder, folder
    folder = training_folder(base_model, data)
    transformer = transformer_in(folder, base_model)
    missing = [part for part in base_model.folders if part != "transformer" and not (folder / part).is_dir()]
    if transformer is None or missing:
        parts = missing if transformer is not None else ["transformer", *missing]
        wanted = "transformer/" + (f" or {base_model.single_file}" if base_model.single_file else "")
        names = ", ".join([*([] if transformer else [wanted]), *missing])
        problem = f"{base_model.name} is not whole on this machine ({names} missing)"
        raise BaseModelError(Fault(data.relative(folder), "", problem, how_to_complete(base_model, data, parts)))
    return transformer, folder


ModelStamp = tuple[tuple[str, int, int, int, int], ...]


def base_model_stamp(base_model: BaseModel, data: DataDir) -> ModelStamp:
    """What the model's files are known by without reading them: names, sizes, times, inodes. Raises BaseModelError."""
    _, paths = _weight_files(base_model, data)
    stats = [(path, path.stat()) for path in paths]
    return tuple((str(path), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for path, s in stats)


def _weight_files(base_model: BaseModel, data: DataDir) -> tuple[Path, list[Path]]:
    """The model's folder and the files in it that count; raises BaseModelError.

    A model that is whole for training only (BFL's single file) has them too.
    """
    try:
        folder = base_model_folder(base_model, data)
    except BaseModelError as error:
        try:
            _, folder = training_places(base_model, data)
        except BaseModelError:
            raise error from None
    if base_model.files:
        return folder, [folder / name for name in base_model.files]
    return folder, sorted(path for path in folder.rglob("*") if path.suffix in _HASHED_SUFFIXES)


def _reading(name: str, paths: Sequence[Path]) -> AbstractContextManager[Progress]:
    """Progress over the files; a small model's is read before anybody could see it, and is not shown."""
    total = sum(path.stat().st_size for path in paths)
    if total < _LONG_BYTES:
        return nullcontext(Progress(name, total))
    return progress_of(f"reading {name}", total, is_bytes=True)


def base_model_weights_hash(base_model_name: str, data: DataDir) -> str:
    """`sha256:…` over the model's files; raises BaseModelError.

    A file is hashed once; its stat tells whether the remembered hash still holds. A model that is whole for training
    only (BFL's single file) has a hash too.
    """
    folder, paths = _weight_files(resolve_base_model(base_model_name), data)
    hashes: dict[str, str] = {}
    with StatCache(data).saving() as files, _reading(base_model_name, paths) as progress:
        done = 0
        for path in paths:
            hashes[path.relative_to(folder).as_posix()] = files.hash_of(path, progress.advance)
            done += path.stat().st_size
            progress.reach(done)
    return fingerprint(hashes)


def quick_weights_hash(data: DataDir) -> Callable[[str], str]:
    """`base_model_weights_hash` for a process that asks before every picture: looks only at the files' stat again."""
    known: dict[ModelStamp, str] = {}

    def hash_of(base_model_name: str) -> str:
        stamp = base_model_stamp(resolve_base_model(base_model_name), data)
        if stamp not in known:
            known[stamp] = base_model_weights_hash(base_model_name, data)
        return known[stamp]

    return hash_of


@cache
def known_base_models() -> tuple[BaseModel, ...]:
    """Every base model of the registry, by name; without the quantized ones, which have no files of their own."""
    return tuple(sorted(BASE_MODELS.values(), key=lambda model: model.name))


def readiness(data: DataDir) -> list[tuple[str, bool, str]]:
    """For each base model: its name, whether it is ready here, and where it is or how to get it."""
    rows: list[tuple[str, bool, str]] = []
    for base_model in known_base_models():
        try:
            rows.append((base_model.name, True, data.relative(base_model_folder(base_model, data))))
        except BaseModelError as error:
            rows.append((base_model.name, False, error.faults[0].hint))
    return rows
