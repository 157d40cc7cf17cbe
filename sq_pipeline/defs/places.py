"""A world's places as Dagster partitions, kept in step with the YAML."""

from dagster import AddDynamicPartitionsRequest, DagsterInstance, DeleteDynamicPartitionsRequest

from sq_pipeline.core.content import Catalog, World
from sq_pipeline.defs.world_assets import places_of

PartitionChange = AddDynamicPartitionsRequest | DeleteDynamicPartitionsRequest


def partitions_name(world: World) -> str:
    """The name under which Dagster keeps the places of a world."""
    return str(places_of(world).name)


def partition_changes(catalog: Catalog, instance: DagsterInstance) -> list[PartitionChange]:
    """What to add and remove so that each world's partitions are its places."""
    changes: list[PartitionChange] = []
    for world in catalog.worlds.values():
        name = partitions_name(world)
        wanted, there = [poi.slug for poi in world.pois], instance.get_dynamic_partitions(name)
        if wanted == there:
            continue
        known, asked = set(there), set(wanted)
        if new := [slug for slug in wanted if slug not in known]:
            changes.append(AddDynamicPartitionsRequest(name, new))
        if old := [slug for slug in there if slug not in asked]:
            changes.append(DeleteDynamicPartitionsRequest(name, old))
    return changes


def places_after(changes: list[PartitionChange], instance: DagsterInstance, world: World) -> list[str]:
    """The partitions of a world in Dagster's order, once the changes are made."""
    name = partitions_name(world)
    places = list(instance.get_dynamic_partitions(name))
    for change in changes:
        if change.partitions_def_name != name:
            continue
        if isinstance(change, AddDynamicPartitionsRequest):
            places += change.partition_keys
        else:
            gone = set(change.partition_keys)
            places = [slug for slug in places if slug not in gone]
    return places


def sync_places(catalog: Catalog, instance: DagsterInstance) -> None:
    """Bring an instance's partitions in step with the content, now."""
    for change in partition_changes(catalog, instance):
        if isinstance(change, AddDynamicPartitionsRequest):
            instance.add_dynamic_partitions(change.partitions_def_name, list(change.partition_keys))
        else:
            for key in change.partition_keys:
                instance.delete_dynamic_partition(change.partitions_def_name, key)
