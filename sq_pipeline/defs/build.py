"""The definitions, made from the content of a data directory. Nothing here renders, trains or raises for a fault."""

from collections.abc import Callable, Sequence

from dagster import AssetsDefinition, AssetSpec, Definitions, JobDefinition, in_process_executor

from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.records import Catalog
from sq_pipeline.defs.adapter_assets import build_adapter_assets
from sq_pipeline.defs.resources import PIPELINE, MakeEngines, pipeline_resource
from sq_pipeline.defs.sensors.adapters import adapter_sensor, night_sensor
from sq_pipeline.defs.sensors.content import content_sensor
from sq_pipeline.defs.sensors.ticks import Clock, now_utc
from sq_pipeline.defs.sources import build_sources, sources_of
from sq_pipeline.defs.world_assets import build_world_assets
from sq_pipeline.pipeline.context import Context, read_content
from sq_pipeline.pipeline.gallery_address import gallery_address
from sq_pipeline.wiring import real_engines

MakeJobs = Callable[[DataDir, MakeEngines, Catalog], Sequence[JobDefinition]]

# Each, and how many intervals are between two of its ticks.
_SENSORS = ((content_sensor, 1), (adapter_sensor, 1), (night_sensor, 2))


def build_defs(
    *,
    data: DataDir,
    make_engines: MakeEngines = real_engines,
    shared: Context | None = None,
    clock: Clock = now_utc,
    interval_s: int = 30,
    make_jobs: MakeJobs | None = None,
) -> Definitions:
    """Assets for every adapter and world of a data directory. A world that cannot be read shows its faults.

    `shared` is one reading of the content for several runs of one command. `interval_s` is between two ticks; of some
    sensors a few of them are. `make_jobs`: those that a person starts, for the pages (`defs.jobs`).
    """
    catalog = shared.catalog if shared else read_content(data)
    sources = sources_of(data, catalog)
    assets: list[AssetsDefinition | AssetSpec] = []
    gallery = gallery_address(data)
    for adapter in catalog.adapters.values():
        assets += build_adapter_assets(adapter, sources.of_adapter(adapter))
    for world in catalog.worlds.values():
        assets += build_world_assets(world, sources.of_world(world), gallery)
    assets += build_sources(sources, data, make_engines)
    sensors = [make(data, make_engines, catalog, clock, times * interval_s) for make, times in _SENSORS]
    return Definitions(
        assets=assets,
        sensors=sensors if assets else [],
        jobs=make_jobs(data, make_engines, catalog) if make_jobs and assets else [],
        resources={PIPELINE: pipeline_resource(data, make_engines, shared)},
        # one process a run: the model is loaded once for all of its pictures
        executor=in_process_executor,
    )
