"""What Dagster's pages mark as stale, asked of what GraphQL's `staleStatus` asks."""

from dagster import DagsterInstance, Definitions
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest


def stale_in_dagster(defs: Definitions, instance: DagsterInstance) -> set[str]:
    """`asset`, or `asset:slug` of a partition, of all that is stale or missing."""
    graph = defs.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    found: set[str] = set()
    for key in graph.materializable_asset_keys:
        partitions = graph.get(key).partitions_def
        slugs = [None] if partitions is None else partitions.get_partition_keys(dynamic_partitions_store=instance)
        for slug in slugs:
            if resolver.get_status(key, slug).value != "FRESH":
                found.add(key.to_user_string() + (f":{slug}" if slug else ""))
    return found
