"""`<asset>_inputs`: what an asset is made from, as one that is observed; it stands between the asset and its sources.

Its data version is what the asset would be made from now, so that Dagster shows as stale what an edit changes and
nothing else: a file's own version would make everything stale that is read from it. Who observes them: `told`.
"""

from collections.abc import Mapping, Sequence

from dagster import AssetKey, AssetSpec, PartitionsDefinition

from sq_pipeline.pipeline.sources import Source


def inputs_key(key: AssetKey) -> AssetKey:
    """The key of what this asset is made from."""
    return AssetKey([*key.path[:-1], f"{key.path[-1]}_inputs"])


def inputs_spec(
    key: AssetKey,
    sources: Mapping[str, Source],
    kinds: Sequence[str],
    partitions: PartitionsDefinition[str] | None = None,
) -> AssetSpec:
    """What this asset is made from; of these sources those of the kinds that it has its inputs from."""
    return AssetSpec(
        inputs_key(key),
        deps=[AssetKey(sources[kind].asset.split("/")) for kind in kinds if kind in sources],
        group_name=key.path[0],
        partitions_def=partitions,
        kinds={"observed"},
        description=f"What `{key.path[-1]}` would be made from now. Observed, never made.",
    )
