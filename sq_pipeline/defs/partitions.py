"""What a world shows as Dagster partitions, kept in step with the YAML."""

from collections.abc import Iterable

from dagster import AddDynamicPartitionsRequest, DagsterInstance, DeleteDynamicPartitionsRequest

from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import Catalog, World
from sq_pipeline.defs.world_assets import subjects_of

PartitionChange = AddDynamicPartitionsRequest | DeleteDynamicPartitionsRequest


def partitions_name(world: World, tier: Tier) -> str:
    """The name under which Dagster keeps what a world shows in a tier."""
    return str(subjects_of(world, tier).name)


def partition_changes(
    catalog: Catalog, instance: DagsterInstance, loaded: Catalog | None = None
) -> list[PartitionChange]:
    """What to add and remove so that the partitions are what each world shows.

    A tier that a world does not show is looked at only where the definitions, made from `loaded`, have assets for it:
    each look is a query.
    """
    changes: list[PartitionChange] = []
    for world in catalog.worlds.values():
        before = None if loaded is None else loaded.worlds.get(world.key)
        tiers: dict[Tier, None] = dict.fromkeys(("landscape", *world.tiers, *(() if before is None else before.tiers)))
        for tier in tiers:
            name = partitions_name(world, tier)
            wanted = [subject.slug for subject in world.subjects.get(tier, ())]
            there = instance.get_dynamic_partitions(name)
            if wanted == there:
                continue
            known, asked = set(there), set(wanted)
            if new := [slug for slug in wanted if slug not in known]:
                changes.append(AddDynamicPartitionsRequest(name, new))
            # of a world with a fault it is not known what is gone
            if not world.faults and (old := [slug for slug in there if slug not in asked]):
                changes.append(DeleteDynamicPartitionsRequest(name, old))
    return changes


def partitions_after(changes: list[PartitionChange], instance: DagsterInstance, world: World, tier: Tier) -> list[str]:
    """The partitions of a world's tier in Dagster's order, once the changes are made."""
    name = partitions_name(world, tier)
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


def sync_partitions(catalog: Catalog, instance: DagsterInstance) -> None:
    """Bring an instance's partitions in step with the content, now."""
    apply_changes(partition_changes(catalog, instance), instance)


def apply_changes(changes: Iterable[PartitionChange], instance: DagsterInstance) -> None:
    """Make the changes, as Dagster's daemon makes those that a sensor asks for."""
    for change in changes:
        if isinstance(change, AddDynamicPartitionsRequest):
            instance.add_dynamic_partitions(change.partitions_def_name, list(change.partition_keys))
        else:
            for key in change.partition_keys:
                instance.delete_dynamic_partition(change.partitions_def_name, key)
