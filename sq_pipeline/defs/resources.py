"""What assets are given: the data directory and its engines, bound together; a fresh workshop for each run."""

from collections.abc import Callable, Iterator

from dagster import InitResourceContext, ResourceDefinition

from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.locks import hold_run_lock
from sq_pipeline.pipeline.workshop import Engines, Workshop

WORKSHOP = "workshop"
MADE_NOW = "made_now"  # metadata: false where the store had it already
GPU_POOL = "gpu"  # one at a time: training, verifying and rendering share one GPU
MakeEngines = Callable[[DataDir], Engines]


def workshop_resource(data: DataDir, make_engines: MakeEngines, shared: Workshop | None = None) -> ResourceDefinition:
    """One workshop a run (in one process): it reads the content when the run starts, and keeps to that.

    Another run on the data directory is waited for first. `shared` is one reading for several runs of one command.
    """

    def make(context: InitResourceContext) -> Iterator[Workshop]:
        log = context.log
        with hold_run_lock(data, lambda line: log.warning(line) if log else None):
            yield shared or Workshop(data, make_engines(data), looks_ahead=False)

    return ResourceDefinition(make)
