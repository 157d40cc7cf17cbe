"""The real engines, behind the doors that the stages take. The only module outside `engines` that knows them."""

import sys
from functools import cache
from pathlib import Path

from sq_pipeline.core.protocols import Renderer, Trainer
from sq_pipeline.core.recipe import TrainerName
from sq_pipeline.engines import machine, registry
from sq_pipeline.serve.server_first import ServerFirstRenderer
from sq_pipeline.stages.workshop import Engines
from sq_pipeline.storage.layout import DataDir


@cache
def _renderer(root: Path) -> Renderer:
    # one a process: consecutive runs of one command keep the base model loaded
    data = DataDir(root)
    return ServerFirstRenderer(
        data, lambda: registry.renderer(data), registry.describe_renderer(), registry.quick_weights_hash(data), _say
    )


def _say(line: str) -> None:
    """A line on stderr: the terminal of a command, the log of a step in Dagster's pages."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@cache
def _trainer(root: Path, name: TrainerName) -> Trainer:
    return registry.trainer(DataDir(root), name)


def real_engines(data: DataDir) -> Engines:
    """MLX and mflux over a data directory's base models; loads nothing yet."""
    return Engines(
        trainer=lambda name: _trainer(data.root, name),
        renderer=lambda: _renderer(data.root),
        fidelity_meter=lambda: registry.fidelity_meter(data),
        held_out_meter=lambda: registry.held_out_meter(data),
        trainer_versions=lambda name: registry.trainer_versions(data, name),
        renderer_versions=registry.describe_renderer().versions,
        mflux_version=machine.version_of("mflux"),
        chip=machine.chip_name(),
        token_counter=lambda name: registry.token_counter(name, data),
        weights_hash=lambda name: registry.base_model_weights_hash(name, data),
    )
