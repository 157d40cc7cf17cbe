"""What Dagster was told of assets, and telling it more: the one door to its events of materialization and observation.

Dagster holds an asset for stale when a data version upstream is another than the one that its materialization names, so
each of ours names all of them. An event without a partition is under `""`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dagster import (
    AssetCheckEvaluation,
    AssetCheckResult,
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
)

from sq_pipeline.defs.resources import REASONS

VERSION_TAG = "dagster/data_version"
_CODE_TAG = "dagster/code_version"
_INPUT_TAG = "dagster/input_data_version/"
_POINTER_TAG = "dagster/input_event_pointer/"
_NEVER = "INITIAL", "NULL"  # Dagster's words for what has no event yet
_MATERIALIZATION, _OBSERVATION = DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_OBSERVATION


@dataclass(frozen=True)
class AssetEvent:
    """The latest event of an asset or of one of its partitions. `version` is empty where it names none.

    `tags` say what it was made from; empty where an event was looked at among many.
    """

    storage_id: int
    version: str
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    def made_from(self, inputs: AssetKey) -> str | None:
        """The data version of its inputs that a materialization names."""
        return self.tags.get(f"{_INPUT_TAG}{inputs.to_user_string()}")

    @property
    def inputs(self) -> set[AssetKey] | None:
        """All that a materialization says it was made from; None where that is not known."""
        named = {AssetKey(tag.removeprefix(_INPUT_TAG).split("/")) for tag in self.tags if tag.startswith(_INPUT_TAG)}
        return named or None


@dataclass(frozen=True)
class Parent:
    """What an asset is made from: `is_observed` or made, and of which partitions there are."""

    key: AssetKey
    is_observed: bool
    is_by_subject: bool


class AssetEvents:
    """The events of an instance."""

    def __init__(self, instance: DagsterInstance) -> None:
        self._instance = instance
        self._storage = instance.event_log_storage

    def made(self, key: AssetKey, *, is_by_subject: bool) -> dict[str, AssetEvent]:
        """The latest materializations, by partition."""
        return self._latest(key, _MATERIALIZATION, is_by_subject)

    def observed(self, key: AssetKey, *, is_by_subject: bool) -> dict[str, AssetEvent]:
        """What was last told of what is observed, by partition."""
        return self._latest(key, _OBSERVATION if is_by_subject else _MATERIALIZATION, is_by_subject)

    def _latest(self, key: AssetKey, kind: DagsterEventType, is_by_subject: bool) -> dict[str, AssetEvent]:
        if is_by_subject:
            versions = self._storage.get_latest_tags_by_partition(key, kind, [VERSION_TAG])
            ids = self._storage.get_latest_storage_id_by_partition(key, kind)
            return {
                slug: AssetEvent(storage_id, versions.get(slug, {}).get(VERSION_TAG, ""))
                for slug, storage_id in ids.items()
                if slug
            }
        found = self.made_of(key)
        return {"": found} if found else {}

    def made_of(self, key: AssetKey, slug: str = "") -> AssetEvent | None:
        """The latest materialization of one partition with all that it says, or of an asset without any."""
        wanted = AssetRecordsFilter(key, asset_partitions=[slug]) if slug else key
        for record in self._instance.fetch_materializations(wanted, limit=1).records:
            event = record.asset_materialization
            tags = (event.tags if event else None) or {}
            return AssetEvent(record.storage_id, tags.get(VERSION_TAG, ""), tags)
        return None

    def observe(self, key: AssetKey, slug: str, version: str, reasons: str = "") -> None:
        """Tell the data version of what is observed, and what changed in it.

        Of one without partitions that nothing executes Dagster compares materializations only, so it is told of one.
        """
        metadata = {REASONS: reasons} if reasons else {}
        event = AssetObservation if slug else AssetMaterialization
        told = event(key, partition=slug or None, metadata=metadata, tags={VERSION_TAG: version})
        self._instance.report_runless_asset_event(told)

    def note(self, key: AssetKey, metadata: Mapping[str, str]) -> None:
        """Say something of what was made, on its page; it stays what it is."""
        self._instance.report_runless_asset_event(AssetObservation(key, metadata=dict(metadata)))

    def judge(self, verdict: AssetCheckResult) -> None:
        """Tell the verdict of a blocking check over what is there."""
        assert verdict.asset_key is not None
        assert verdict.check_name is not None
        evaluation = AssetCheckEvaluation(
            asset_key=verdict.asset_key,
            check_name=verdict.check_name,
            passed=verdict.passed,
            metadata=verdict.metadata,
            description=verdict.description,
            severity=verdict.severity,
            blocking=True,
        )
        self._instance.report_runless_asset_event(evaluation)

    def materialize(self, event: AssetMaterialization) -> None:
        """Tell of what is there, and was made outside of Dagster or before it was lost."""
        self._instance.report_runless_asset_event(event)


class Provenance:
    """What a materialization says that it was made from: the parents as they were when they were last told of."""

    def __init__(self, events: AssetEvents, parents: Sequence[Parent]) -> None:
        self._known: dict[AssetKey, dict[str, AssetEvent]] = {}
        for parent in parents:
            find = events.observed if parent.is_observed else events.made
            self._known[parent.key] = find(parent.key, is_by_subject=parent.is_by_subject)

    def tags(self, version: str, slug: str = "") -> dict[str, str]:
        """The tags of a materialization with this data version."""
        tags = {VERSION_TAG: version, f"{VERSION_TAG}_is_user_provided": "true", _CODE_TAG: "sq_pipeline"}
        for key, events in self._known.items():
            event = _of(events, slug)
            told = (event.version or _NEVER[0], str(event.storage_id)) if event else _NEVER
            tags[f"{_INPUT_TAG}{key.to_user_string()}"], tags[f"{_POINTER_TAG}{key.to_user_string()}"] = told
        return tags

    def newest(self, slug: str) -> int:
        """The storage id of the latest event of any parent; 0 where there is none."""
        events = (_of(events, slug) for events in self._known.values())
        return max((event.storage_id for event in events if event), default=0)


def _of(events: Mapping[str, AssetEvent], slug: str) -> AssetEvent | None:
    """Of a partition; of one that stands for all partitions the last one: what came after it is new."""
    if slug:
        return events.get(slug) or events.get("")
    return max(events.values(), key=lambda event: event.storage_id, default=None)
