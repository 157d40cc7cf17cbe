"""The door to the engines: what the outer layers call to get a trainer, a renderer, a token counter, a weights' hash.

Cheap to import: mlx and mflux come in only when an engine is made. Not here: what the engines do.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from sq_pipeline.core.base_models import BASE_MODELS, BaseModel, resolve_base_model
from sq_pipeline.core.errors import BaseModelError, Fault
from sq_pipeline.core.fingerprints import fingerprint
from sq_pipeline.core.protocols import (
    EngineDescription,
    FidelityMeter,
    TokenCounter,
    Trainer,
    WatchedRenderer,
)
from sq_pipeline.engines import machine, token_counters
from sq_pipeline.storage.layout import DataDir
from sq_pipeline.storage.settings import load_settings
from sq_pipeline.storage.stat_cache import StatCache

# Raise these when the same request would give other bytes.
_TRAINER_REVISION, _RENDERER_REVISION = "1", "1"

_TINY_FILES = ("model.safetensors", "tokenizer.json")


def describe_trainer() -> EngineDescription:
    """The LoRA trainer's description, without loading it."""
    return EngineDescription(
        "mlx-lora",
        {"revision": _TRAINER_REVISION, "mlx": machine.version_of("mlx")},
        machine.chip_name(),
    )


def describe_renderer() -> EngineDescription:
    """The mflux renderer's description, without loading it."""
    versions = {name: machine.version_of(name) for name in ("mflux", "mlx")}
    return EngineDescription("mflux", {"revision": _RENDERER_REVISION, **versions}, machine.chip_name())


def trainer(data: DataDir) -> Trainer:
    """The MLX LoRA trainer over the base models of this data directory."""
    from sq_pipeline.engines.lora_trainer import MlxLoraTrainer

    return MlxLoraTrainer(data)


def renderer(data: DataDir) -> WatchedRenderer:
    """The mflux renderer over the base models of this data directory; loads nothing yet. Raises ContentError.

    Stacks of adapters stay ready in as much memory as `sq.yaml` says, otherwise in a sixteenth of the machine's.
    """
    from sq_pipeline.engines.mflux_renderer import MfluxRenderer

    ready_mib = load_settings(data).ready_stacks_mib
    return MfluxRenderer(data, machine.memory_bytes() // 16 if ready_mib is None else ready_mib << 20)


def fidelity_meter(data: DataDir) -> FidelityMeter:
    """The meter of what mflux's loader applies; loads nothing yet."""
    from sq_pipeline.engines.fidelity import MfluxFidelityMeter

    return MfluxFidelityMeter(data)


def token_counter(base_model_name: str, data: DataDir) -> TokenCounter:
    """A counter over the base model's own tokenizers; raises BaseModelError when they are not on this machine."""
    base_model = resolve_base_model(base_model_name)
    return token_counters.open_counter(base_model, base_model_folder(base_model, data))


def base_model_folder(base_model: BaseModel, data: DataDir) -> Path:
    """Where the model's files are: `models/<name>` of the data directory, else the local Hugging Face cache.

    Downloads nothing; raises BaseModelError with how to get the model.
    """
    local = data.models_root / base_model.name
    if base_model.name == "tiny-flux":
        wanted = [name for name in _TINY_FILES if not (local / name).is_file()]
    else:
        if not local.is_dir():
            cached = _cached_snapshot(base_model)
            if cached is not None:
                return cached
        needed = (
            "transformer",
            "text_encoder",
            "text_encoder_2",
            "vae",
            "tokenizer",
            "tokenizer_2",
        )
        wanted = [name for name in needed if not (local / name).is_dir()]
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
    return local


_HUB_NAMES = {
    "flux1-dev": "black-forest-labs/FLUX.1-dev",
    "flux1-schnell": "black-forest-labs/FLUX.1-schnell",
}


def _cached_folder(base_model: BaseModel) -> Path | None:
    """The snapshot in the local Hugging Face cache, whatever part of the model it holds; never goes online."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if base_model.name not in _HUB_NAMES:
        return None
    try:
        return Path(snapshot_download(_HUB_NAMES[base_model.name], local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _cached_snapshot(base_model: BaseModel) -> Path | None:
    folder = _cached_folder(base_model)
    return folder if folder is not None and (folder / "transformer").is_dir() else None


def transformer_place(base_model: BaseModel, data: DataDir) -> Path:
    """Where FLUX.1's transformer is, for `engines.flux.weights`.

    That is `models/<name>` of the data directory, if there is such a folder, else the local Hugging Face cache: the
    folder when it has `transformer/` in it, else its file `<name>.safetensors`, which is in BFL's layout. Downloads
    nothing; raises BaseModelError with how to get the model.
    """
    local = data.models_root / base_model.name
    cached = None if local.is_dir() else _cached_folder(base_model)
    for folder in (local, cached):
        if folder is None:
            continue
        if (folder / "transformer").is_dir():
            return folder
        single = folder / f"{base_model.name}.safetensors"
        if single.is_symlink() or single.is_file():
            return single
    problem = f"{base_model.name} is not on this machine"
    if local.is_dir():
        problem = f"holds neither transformer/ nor {base_model.name}.safetensors"
    elif cached is not None:
        problem += ", only other parts of it are in the Hugging Face cache"
    raise BaseModelError(Fault(data.relative(local), "", problem, base_model.how_to_get))


ModelStamp = tuple[tuple[str, int, int, int, int], ...]


def base_model_stamp(base_model: BaseModel, data: DataDir) -> ModelStamp:
    """What the model's files are known by without reading them: names, sizes, times, inodes. Raises BaseModelError."""
    _, paths = _weight_files(base_model, data)
    stats = [(path, path.stat()) for path in paths]
    return tuple((str(path), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for path, s in stats)


def _weight_files(base_model: BaseModel, data: DataDir) -> tuple[Path, list[Path]]:
    """The model's folder and the files in it that count; raises BaseModelError."""
    folder = base_model_folder(base_model, data)
    if base_model.name == "tiny-flux":
        return folder, [folder / name for name in _TINY_FILES]
    suffixes = {".safetensors", ".json", ".model", ".txt"}
    return folder, sorted(path for path in folder.rglob("*") if path.suffix in suffixes)


def base_model_weights_hash(base_model_name: str, data: DataDir) -> str:
    """`sha256:…` over the model's files; raises BaseModelError.

    A file is hashed once; its stat tells whether the remembered hash still holds.
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
    """Every base model of the registry, by name."""
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
