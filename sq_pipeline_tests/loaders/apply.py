"""The one question of this folder: what does a loader add to the weights, given this file?"""

from collections.abc import Sequence
from pathlib import Path

from sq_pipeline.base_models.base_models import Flux1Model
from sq_pipeline_tests.loaders.diffusers_loader import apply_with_diffusers
from sq_pipeline_tests.loaders.kohya_rule import apply_with_kohya
from sq_pipeline_tests.loaders.mflux_loader import apply_with_mflux
from sq_pipeline_tests.loaders.mlx_rule import apply_with_mlx
from sq_pipeline_tests.loaders.outcomes import Loader, Outcome


def applied_update(loader: Loader, file: Path, base_model: Flux1Model) -> Outcome:
    """The update of every BFL module, (outputs, inputs) float64, or a refusal, or why the loader was not run."""
    return applied_updates(loader, [(file, base_model)])[0]


def applied_updates(loader: Loader, files: Sequence[tuple[Path, Flux1Model]]) -> list[Outcome]:
    """The same for many files, in their order: an mflux starts one process for all of them (about 2 s)."""
    if not files:
        return []
    if loader.name == "mflux":
        return apply_with_mflux(loader, files)
    if loader.name == "diffusers":
        return apply_with_diffusers(loader, files)
    return apply_with_kohya(files) if loader.name == "kohya" else apply_with_mlx(files)
