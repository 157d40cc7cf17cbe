"""A base model's files on this machine: where they are, what is missing, how to get it, their hash. No downloads."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from sq_pipeline.base_models.base_models import BASE_MODELS, BaseModel, Family, resolve_base_model
from sq_pipeline.common.errors import BaseModelError, Fault
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.stat_cache import StatCache

_TINY_FILES = ("model.safetensors", "tokenizer.json")


_HASHED_SUFFIXES = {".safetensors", ".json", ".jinja", ".model", ".txt"}


ENCODER_FOLDERS = ("text_encoder", "text_encoder_2", "vae", "tokenizer", "tokenizer_2")


def base_model_folder(base_model: BaseModel, data: DataDir) -> Path:
    """Where the model's files are: `models/<name>` of the data directory, else the local Hugging Face cache.

    A quantized one has those of the base model that it is made of (`files_name`), and so their hash. Downloads nothing;
    raises BaseModelError with how to get the model.
    """
    folder = local = data.models_root / base_model.files_name
    if base_model.files_name == "tiny-flux":
        wanted = [name for name in _TINY_FILES if not (local / name).is_file()]
    else:
        if not local.is_dir():
            folder = _cached_snapshot(base_model) or local
        wanted = [name for name in _PARTS[base_model.family] if not (folder / name).is_dir()]
    if wanted:
        place = data.relative(local)
        raise BaseModelError(
            Fault(
                place,
                "",
                f"{base_model.name} is not on this machine ({', '.join(wanted)} missing)",
                base_model.how_to_get,
            )
        )
    return folder


_PARTS: Mapping[Family, tuple[str, ...]] = {
    "flux1": ("transformer", "text_encoder", "text_encoder_2", "vae", "tokenizer", "tokenizer_2"),
    "z-image": ("transformer", "text_encoder", "vae", "tokenizer"),
    "flux2": ("transformer", "text_encoder", "vae", "tokenizer"),
}


_HUB_NAMES = {
    "flux1-dev": "black-forest-labs/FLUX.1-dev",
    "flux1-schnell": "black-forest-labs/FLUX.1-schnell",
    "z-image": "Tongyi-MAI/Z-Image",
    "z-image-turbo": "Tongyi-MAI/Z-Image-Turbo",
    "flux2-klein-4b": "black-forest-labs/FLUX.2-klein-4B",
    "flux2-klein-base-4b": "black-forest-labs/FLUX.2-klein-base-4B",
}


def _cached_folder(base_model: BaseModel) -> Path | None:
    """The snapshot in the local Hugging Face cache, whatever part of the model it holds; never goes online."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if base_model.files_name not in _HUB_NAMES:
        return None
    try:
        return Path(snapshot_download(_HUB_NAMES[base_model.files_name], local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _cached_snapshot(base_model: BaseModel) -> Path | None:
    folder = _cached_folder(base_model)
    return folder if folder is not None and (folder / "transformer").is_dir() else None


def transformer_in(folder: Path, base_model: BaseModel) -> Path | None:
    """FLUX.1's transformer in a model's folder: the folder itself when it has `transformer/`, else BFL's file."""
    if (folder / "transformer").is_dir():
        return folder
    single = folder / f"{base_model.files_name}.safetensors"
    return single if single.is_symlink() or single.is_file() else None


def training_folder(base_model: BaseModel, data: DataDir) -> Path:
    """The one folder that all parts of a FLUX.1 are trained from, whatever of it is there.

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
    plain = f"hf download {_HUB_NAMES[base_model.files_name]}"
    command = plain + "".join(f" --include '{part}/*'" for part in parts)
    local = data.models_root / base_model.files_name
    if local.is_dir():
        command += f" --local-dir {shlex.quote(str(local))}"
    return base_model.how_to_get.replace(plain, command)


def training_places(base_model: BaseModel, data: DataDir) -> tuple[Path, Path]:
    """Where a training finds the transformer, and the folder of the encoders and tokenizers. Looks for folders only.

    The transformer may be BFL's single file, with the other parts beside it. Downloads nothing; raises BaseModelError
    with all that is missing and the commands that get it.
    """
    if base_model.files_name == "tiny-flux":
        folder = base_model_folder(base_model, data)
        return folder, folder
    folder = training_folder(base_model, data)
    transformer = transformer_in(folder, base_model)
    missing = [part for part in ENCODER_FOLDERS if not (folder / part).is_dir()]
    if transformer is None or missing:
        parts = missing if transformer is not None else ["transformer", *missing]
        names = ", ".join(
            [*([] if transformer else [f"transformer/ or {base_model.files_name}.safetensors"]), *missing]
        )
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
    if base_model.files_name == "tiny-flux":
        return folder, [folder / name for name in _TINY_FILES]
    return folder, sorted(path for path in folder.rglob("*") if path.suffix in _HASHED_SUFFIXES)


def base_model_weights_hash(base_model_name: str, data: DataDir) -> str:
    """`sha256:…` over the model's files; raises BaseModelError.

    A file is hashed once; its stat tells whether the remembered hash still holds. A model that is whole for training
    only (BFL's single file) has a hash too.
    """
    folder, paths = _weight_files(resolve_base_model(base_model_name), data)
    with StatCache(data).saving() as files:
        hashes = {path.relative_to(folder).as_posix(): files.hash_of(path) for path in paths}
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
            rows.append(
                (
                    base_model.name,
                    True,
                    data.relative(base_model_folder(base_model, data)),
                )
            )
        except BaseModelError as error:
            rows.append((base_model.name, False, error.faults[0].mend))
    return rows
