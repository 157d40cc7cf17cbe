"""Asking for a run, once: not while one is at it, and not again and again for what just failed.

A *line* is what one run is for: a tier of a world, or an adapter. What it is to make is in the run's tags, a few
digits of each fingerprint, so a later tick knows whether the same was tried. Not here: what is to be made (the
sensors).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dagster import AssetKey, DagsterInstance, DagsterRunStatus, RunRequest, RunsFilter

from sq_pipeline.common.fingerprints import fingerprint, short
from sq_pipeline.pipeline.context import Step

LINE_TAG, WANTS_TAG = "sq/line", "sq/wants"

_UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
_FAILED = (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=10), timedelta(hours=24)
_TRIES_LOOKED_AT = 12
_DIGITS = 6  # of each fingerprint: two that share them would cost a wait, no more


@dataclass(frozen=True)
class Answer:
    """A request, or why there is none."""

    request: RunRequest | None
    reason: str = ""


class Runs:
    """The runs of an instance, as a sensor needs them; asked once a tick."""

    def __init__(self, instance: DagsterInstance, now: datetime) -> None:
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

    def ask(self, line: str, steps: Collection[Step], assets: Iterable[str], tags: dict[str, str]) -> Answer:
        """A run for `assets` that makes `steps`, unless one is at it or the same has just failed."""
        assets = list(assets)
        at_it = self.active.get(line) or next(filter(None, map(self.active_assets.get, assets)), None)
        if at_it is not None:
            return Answer(None, f"{line}: run {at_it[:8]} is at it")
        wants = sorted({short(fingerprint({step.asset: step.fingerprint}), _DIGITS) for step in steps})
        wait_until = self._wait_after_failures(line, wants)
        if wait_until is not None and self._now < wait_until:
            local = wait_until.astimezone().strftime("%H:%M")
            return Answer(
                None, f"{line}: failed with these inputs; next try at {local}, or after a change, or by your click"
            )
        keys = [AssetKey(name.split("/")) for name in assets]
        return Answer(RunRequest(asset_selection=keys, tags={LINE_TAG: line, WANTS_TAG: "".join(wants), **tags}))

    def _wait_after_failures(self, line: str, wants: Collection[str]) -> datetime | None:
        """When to try again what the latest runs of the line all failed at; None when they did not.

        A run that failed at one thing has made the others, so less may be wanted now than it was to make.
        """
        records = self._instance.get_run_records(RunsFilter(tags={LINE_TAG: line}), limit=_TRIES_LOOKED_AT)
        tries = 0
        for record in records:
            run = record.dagster_run
            tried = run.tags.get(WANTS_TAG, "")
            all_tried = {tried[at : at + _DIGITS] for at in range(0, len(tried), _DIGITS)}
            if run.status not in _FAILED or not all_tried.issuperset(wants):
                break
            tries += 1
        if not tries:
            return None
        ended = datetime.fromtimestamp(records[0].end_time or self._now.timestamp(), tz=UTC)
        return ended + min(_FIRST_WAIT * 2 ** (tries - 1), _LONGEST_WAIT)
