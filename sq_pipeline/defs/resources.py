"""What assets are given: the data directory and its engines, bound together; a fresh pipeline for each run."""

from collections.abc import Callable, Iterator

from dagster import InitResourceContext, ResourceDefinition

from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.locks import hold_run_lock
from sq_pipeline.common.processes.deaths import told_of_death
from sq_pipeline.pipeline.context import Context, Engines

PIPELINE = "pipeline"
MADE_NOW = "made_now"  # metadata: false where the store had it already
FAILED = "failed"  # metadata of a failed step: why, for each subject
REASONS = "reasons"  # metadata: why it was made
IN_USE = "adapters in use"  # metadata: what is to be told of the adapters that pictures stand on
GALLERY = "gallery"  # metadata: where the gallery shows it
CHOSEN = "chosen"  # metadata: what a person decided of a picture
GPU_POOL = "gpu"  # one at a time: training, verifying and rendering share one GPU
MakeEngines = Callable[[DataDir], Engines]


def pipeline_resource(data: DataDir, make_engines: MakeEngines, shared: Context | None = None) -> ResourceDefinition:
    """One pipeline a run (in one process): it reads the content when the run starts, and keeps to that.

    Another run on the data directory is waited for first. `shared` is one reading for several runs of one command.
    """

    def make(context: InitResourceContext) -> Iterator[Context]:
        log = context.log

        def say(line: str) -> None:
            if log:
                log.warning(line)

        with hold_run_lock(data, say), told_of_death("the run", data.death_note, say):
            pipeline = shared or Context(data, make_engines(data), looks_ahead=False)
            yield pipeline
            if log and not shared:
                for line in pipeline.describe_state():
                    log.warning(line)

    return ResourceDefinition(make)
