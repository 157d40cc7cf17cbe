"""The definitions, made from the content of a data directory. Nothing here renders, trains or raises for a fault."""

from dagster import (
    AddDynamicPartitionsRequest,
    DagsterInstance,
    DefaultSensorStatus,
    Definitions,
    DeleteDynamicPartitionsRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    in_process_executor,
    sensor,
)

from sq_pipeline.core.content import Catalog
from sq_pipeline.defs.adapter_assets import build_adapter_assets
from sq_pipeline.defs.engines import real_engines
from sq_pipeline.defs.resources import WORKSHOP, MakeEngines, workshop_resource
from sq_pipeline.defs.world_assets import build_broken_world, build_world_assets, places_of
from sq_pipeline.storage.layout import DataDir
from sq_pipeline.storage.packs import read_catalog


def build_defs(*, data: DataDir, make_engines: MakeEngines = real_engines) -> Definitions:
    """Assets for every adapter and world of a data directory. A world that cannot be read shows its faults."""
    catalog = read_catalog(data)
    assets = [item for adapter in catalog.adapters.values() for item in build_adapter_assets(adapter)]
    assets += [item for world in catalog.worlds.values() for item in build_world_assets(world)]
    assets += [build_broken_world(key, faults) for key, faults in catalog.faults.items()]
    return Definitions(
        assets=assets,
        sensors=[_places_sensor(data)],
        resources={WORKSHOP: workshop_resource(data, make_engines)},
        # one process a run: the model is loaded once for all of its pictures
        executor=in_process_executor,
    )


def partition_changes(
    catalog: Catalog, instance: DagsterInstance
) -> list[AddDynamicPartitionsRequest | DeleteDynamicPartitionsRequest]:
    """What to add and remove so that each world's partitions are its places."""
    changes: list[AddDynamicPartitionsRequest | DeleteDynamicPartitionsRequest] = []
    for world in catalog.worlds.values():
        name = places_of(world).name
        assert name is not None
        wanted, there = [poi.slug for poi in world.pois], instance.get_dynamic_partitions(name)
        if new := [slug for slug in wanted if slug not in there]:
            changes.append(AddDynamicPartitionsRequest(name, new))
        if old := [slug for slug in there if slug not in wanted]:
            changes.append(DeleteDynamicPartitionsRequest(name, old))
    return changes


def sync_places(catalog: Catalog, instance: DagsterInstance) -> None:
    """Bring an instance's partitions in step with the content, now."""
    for change in partition_changes(catalog, instance):
        if isinstance(change, AddDynamicPartitionsRequest):
            instance.add_dynamic_partitions(change.partitions_def_name, list(change.partition_keys))
        else:
            for key in change.partition_keys:
                instance.delete_dynamic_partition(change.partitions_def_name, key)


def _places_sensor(data: DataDir) -> SensorDefinition:
    @sensor(
        name="places",
        minimum_interval_seconds=30,
        default_status=DefaultSensorStatus.RUNNING,
        description="Keeps the partitions in step with the places in the YAML; a new place appears by itself.",
    )
    def places(context: SensorEvaluationContext) -> SensorResult:
        return SensorResult(dynamic_partitions_requests=partition_changes(read_catalog(data), context.instance))

    return places
