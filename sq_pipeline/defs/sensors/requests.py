"""Asking for a run, once: not while one is at it, and not again and again for what just failed.

A *line* is what one run is for: a tier of a world, what people keep of one, or an adapter. What it is to make is in the
run's tags, a few digits of each fingerprint, so a later tick knows whether the same was tried, and whether a person
stopped it. Not here: what is to be made (the sensors).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dagster import AssetKey, DagsterInstance, DagsterRunStatus, RunRecord, RunRequest, RunsFilter

from sq_pipeline.defs.run_tags import LINE_TAG, asset_of, tags_for, want_of, wants_in
from sq_pipeline.defs.sensors.unbegun import note_unbegun
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.reasons import why_all

_UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
_ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=10), timedelta(hours=24)
_TRIES_LOOKED_AT = 12
_RUNS_LOOKED_AT = 100
_MOST_NAMES = 6


@dataclass(frozen=True)
class Answer:
    """A request, and what for; or why there is none."""

    request: RunRequest | None
    reason: str = ""


class Runs:
    """The runs of an instance, as a sensor needs them; asked once a tick."""

    def __init__(self, instance: DagsterInstance, now: datetime, pipeline: Context) -> None:
        self._instance = instance
        self._now = now
        self.active: dict[str, str] = {}
        self.active_assets: dict[str, str] = {}
        for run in instance.get_runs(RunsFilter(statuses=_UNFINISHED)):
            keys = run.asset_selection or set()
            # a person's run has no tag of ours, but its assets tell
            tag = run.tags.get(LINE_TAG)
            lines = {tag} if tag else {"/".join(key.path[:-1]) for key in keys}
            self.active |= dict.fromkeys(lines, run.run_id)
            self.active_assets |= dict.fromkeys((key.to_user_string() for key in keys), run.run_id)
        note_unbegun(instance, pipeline)
        self._cancelled = _last_cancelled(instance)

    def is_cancelled(self, step: Step) -> bool:
        """True where the last try to make just this was stopped by a person: it rests until it changes."""
        return step.status == "stale" and want_of(step) in self._cancelled

    def ask(self, line: str, steps: Collection[Step], assets: Iterable[str], tags: dict[str, str]) -> Answer:
        """A run for `assets` that makes `steps`, unless one is at it, a person stopped it, or it has just failed."""
        assets = list(assets)
        at_it = self.active.get(line) or next(filter(None, map(self.active_assets.get, assets)), None)
        if at_it is not None:
            return Answer(None, f"{line}: run {at_it[:8]} is at it")
        due = [step for step in steps if step.status == "stale"]
        if due and all(map(self.is_cancelled, due)):
            return resting(line, due)
        tags = {LINE_TAG: line, **tags_for(steps), **tags}
        wants = wants_in(tags)
        wait_until = self._wait_after_failures(line, wants)
        if wait_until is not None and self._now < wait_until:
            local = wait_until.astimezone().strftime("%H:%M")
            return Answer(
                None, f"{line}: failed with these inputs; next try at {local}, or after a change, or by your click"
            )
        keys = [AssetKey(name.split("/")) for name in assets]
        return Answer(
            RunRequest(asset_selection=keys, tags=tags), "\n".join(f"{line}: {why}" for why in why_all(steps))
        )

    def _wait_after_failures(self, line: str, wants: Collection[str]) -> datetime | None:
        """When to try again what the latest runs of the line all failed at; None when they did not.

        A run that failed at one thing has made the others, so less may be wanted now than it was to make. One that a
        person stopped did not fail.
        """
        records = self._instance.get_run_records(RunsFilter(tags={LINE_TAG: line}), limit=_TRIES_LOOKED_AT)
        tries: list[RunRecord] = []
        for record in records:
            run = record.dagster_run
            if run.status is DagsterRunStatus.CANCELED:
                continue
            if run.status is not DagsterRunStatus.FAILURE or not set(wants_in(run.tags)).issuperset(wants):
                break
            tries.append(record)
        if not tries:
            return None
        ended = datetime.fromtimestamp(tries[0].end_time or self._now.timestamp(), tz=UTC)
        return ended + min(_FIRST_WAIT * 2 ** (len(tries) - 1), _LONGEST_WAIT)


def resting(line: str, steps: Collection[Step]) -> Answer:
    """Why these are not begun: a person stopped the run that was to make them."""
    names = list(dict.fromkeys(step.asset.partition(":")[2] or step.asset.rpartition("/")[2] for step in steps))
    more = len(names) - _MOST_NAMES
    listed = ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    return Answer(None, f"{line}: cancelled by you: {listed}; begun again after a change, or by your click")


def _last_cancelled(instance: DagsterInstance) -> set[str]:
    """What of each asset was tried last, where that run was stopped by a person."""
    cancelled, seen = set[str](), set[str]()
    for record in instance.get_run_records(RunsFilter(statuses=_ENDED), limit=_RUNS_LOOKED_AT):
        wants = wants_in(record.dagster_run.tags)
        if record.dagster_run.status is DagsterRunStatus.CANCELED:
            cancelled.update(want for want in wants if asset_of(want) not in seen)
        seen.update(map(asset_of, wants))
    return cancelled
