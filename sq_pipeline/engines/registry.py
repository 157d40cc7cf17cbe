"""The door to the engines: what the outer layers call to get a trainer, a renderer, a token counter, a weights' hash.

Cheap to import: mlx and mflux come in only when an engine is made. Not here: what the engines do.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from sq_pipeline.core.base_models import BASE_MODELS, BaseModel, Family, resolve_base_model
from sq_pipeline.core.errors import BaseModelError, Fault, TrainingError
from sq_pipeline.core.fingerprints import fingerprint
from sq_pipeline.core.protocols import (
    EngineDescription,
    FidelityMeter,
    HeldOutMeter,
    TokenCounter,
    Trainer,
    WatchedRenderer,
)
from sq_pipeline.core.recipe import TrainerName
from sq_pipeline.engines import machine, mlx_examples_checkout, token_counters
from sq_pipeline.storage.layout import DataDir
from sq_pipeline.storage.settings import load_settings
from sq_pipeline.storage.stat_cache import StatCache

# Raise these when the same request would give other bytes.
_TRAINER_REVISION, _MLX_EXAMPLES_REVISION, _RENDERER_REVISION = "2", "1", "1"
_MFLUX_TRAIN_REVISION = "1"

_TINY_FILES = ("model.safetensors", "tokenizer.json")
_HASHED_SUFFIXES = {".safetensors", ".json", ".jinja", ".model", ".txt"}
ENCODER_FOLDERS = ("text_encoder", "text_encoder_2", "vae", "tokenizer", "tokenizer_2")


def describe_trainer() -> EngineDescription:
    """The description of our own LoRA trainer, without loading it."""
    return EngineDescription(
        "mlx-lora",
        {"revision": _TRAINER_REVISION, "mlx": machine.version_of("mlx")},
        machine.chip_name(),
    )


def describe_mflux_train() -> EngineDescription:
    """The description of `mflux-train`, without loading it."""
    versions = {name: machine.version_of(name) for name in ("mflux", "mlx")}
    return EngineDescription("mflux-train", {"revision": _MFLUX_TRAIN_REVISION, **versions}, machine.chip_name())


def trainer_versions(data: DataDir, name: TrainerName = "mlx") -> Mapping[str, str]:
    """What of a trainer decides what an adapter becomes; loads nothing, and is cheap enough for every survey.

    Raises TrainingError or ContentError where a trainer of the user's own is not there.
    """
    if name == "mlx":  # no name: what was trained before trainers had one stays as it is
        return describe_trainer().versions
    if name == "mlx-examples":
        checkout = mlx_examples_checkout.open_checkout(data)
        versions = {"mlx": checkout.mlx_version, "sources": checkout.sources_hash()}
        return {"name": name, "revision": _MLX_EXAMPLES_REVISION, **versions}
    if name == "mflux-train":
        return {"name": name, **describe_mflux_train().versions}
    raise _no_trainer(name)


def _no_trainer(name: str) -> TrainingError:
    return TrainingError(Fault("", "trainer", f"there is no trainer {name} here", "use `trainer: mlx`"))


def describe_renderer() -> EngineDescription:
    """The mflux renderer's description, without loading it."""
    versions = {name: machine.version_of(name) for name in ("mflux", "mlx")}
    return EngineDescription("mflux", {"revision": _RENDERER_REVISION, **versions}, machine.chip_name())


def trainer(data: DataDir, name: TrainerName = "mlx") -> Trainer:
    """The trainer of that name over the base models of this data directory; loads nothing yet.

    Raises TrainingError for a trainer that is not there.
    """
    if name == "mflux-train":
        from sq_pipeline.engines.mflux_train_trainer import MfluxTrainTrainer

        return MfluxTrainTrainer(data)
    if name == "mlx-examples":
        from sq_pipeline.engines.mlx_examples_trainer import MlxExamplesTrainer

        return MlxExamplesTrainer(data)
    if name != "mlx":
        raise _no_trainer(name)
    from sq_pipeline.engines.lora_trainer import MlxLoraTrainer

    return MlxLoraTrainer(data)


def held_out_meter(data: DataDir) -> HeldOutMeter:
    """The meter of held-out losses over the base models of this data directory; loads nothing yet."""
    from sq_pipeline.engines.held_out_meter import MlxHeldOutMeter

    return MlxHeldOutMeter(data)


def usable_memory_bytes() -> int:
    """How much memory MLX may use on this machine, bytes."""
    from sq_pipeline.engines.device_memory import usable_bytes

    return usable_bytes()


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
