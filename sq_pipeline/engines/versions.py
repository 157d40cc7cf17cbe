"""What each engine is called and which versions enter fingerprints. Loads no engine."""

from sq_pipeline.base_models.ports import EngineDescription
from sq_pipeline.engines import machine

# Raise these when the same request would give other bytes.
_TRAINER_REVISION, _RENDERER_REVISION, _MFLUX_TRAIN_REVISION = "2", "1", "1"


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


def describe_renderer() -> EngineDescription:
    """The mflux renderer's description, without loading it."""
    versions = {name: machine.version_of(name) for name in ("mflux", "mlx")}
    return EngineDescription("mflux", {"revision": _RENDERER_REVISION, **versions}, machine.chip_name())
