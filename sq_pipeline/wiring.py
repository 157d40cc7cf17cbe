"""The real engines, behind the doors that the pipeline takes. The only module outside `engines` that knows them."""

import sys
from functools import cache
from pathlib import Path

from sq_pipeline.base_models import files
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.processes.progress import say
from sq_pipeline.engines import factory, machine, versions
from sq_pipeline.engines.training_ahead import AheadTrainer, TrainingAhead
from sq_pipeline.pictures.ports import Renderer
from sq_pipeline.pictures.rendering import TracedRenderer
from sq_pipeline.pipeline.context import Engines
from sq_pipeline.serve.remote_renderer import ServerFirstRenderer
from sq_pipeline.settings import load_settings
from sq_pipeline.training.ports import Trainer
from sq_pipeline.training.recipe import TrainerName


@cache
def _renderer(root: Path) -> Renderer:
    # one a process: consecutive runs of one command keep the base model loaded
    data = DataDir(root)
    weights_hash = files.quick_weights_hash(data)
    return TracedRenderer(
        ServerFirstRenderer(
            data,
            lambda: factory.renderer(data),
            versions.describe_renderer(),
            weights_hash,
            say,
            load_settings(data).server_silence_s,
        )
    )


@cache
def _ahead(root: Path) -> TrainingAhead:
    def command_of(key: str, fingerprint: str, *, is_last: bool) -> list[str]:
        command = [sys.executable, "-P", "-m", "sq_pipeline.defs.train_ahead", str(root.resolve()), key, fingerprint]
        return [*command, "scores"] if is_last else command

    # one core is this process's
    return TrainingAhead(command_of, machine.training_processes() - 1, say)


@cache
def _trainer(root: Path, name: TrainerName) -> Trainer:
    return AheadTrainer(factory.trainer(DataDir(root), name), _ahead(root))


def real_engines(data: DataDir) -> Engines:
    """MLX and mflux over a data directory's base models; loads nothing yet."""
    return Engines(
        trainer=lambda name: _trainer(data.root, name),
        renderer=lambda: _renderer(data.root),
        fidelity_meter=lambda: factory.fidelity_meter(data),
        validation_meter=lambda: factory.validation_meter(data),
        loss_meter=lambda: factory.loss_meter(data),
        trainer_versions=lambda name: factory.trainer_versions(data, name),
        renderer_versions=versions.describe_renderer().versions,
        mflux_version=machine.version_of("mflux"),
        chip=machine.chip_name(),
        token_counter=lambda name: factory.token_counter(name, data),
        weights_hash=lambda name: files.base_model_weights_hash(name, data),
        training_ahead=lambda: _ahead(data.root),
        training_faults=lambda name, plan: factory.training_faults(data, name, plan),
    )


ask_mflux = factory.ask_mflux
