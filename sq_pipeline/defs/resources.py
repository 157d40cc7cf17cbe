"""What assets are given: the data directory and its engines, bound together; a fresh workshop for each run."""

from collections.abc import Callable

from dagster import InitResourceContext, ResourceDefinition

from sq_pipeline.stages.workshop import Engines, Workshop
from sq_pipeline.storage.layout import DataDir

WORKSHOP = "workshop"
MADE_NOW = "made_now"  # metadata: false where the store had it already
GPU_POOL = "gpu"  # one at a time: training, verifying and rendering share one GPU
MakeEngines = Callable[[DataDir], Engines]


def workshop_resource(data: DataDir, make_engines: MakeEngines) -> ResourceDefinition:
    """One workshop a run (in one process): it reads the content when the run starts, and keeps to that."""

    def make(_context: InitResourceContext) -> Workshop:
        return Workshop(data, make_engines(data))

    return ResourceDefinition(make)
