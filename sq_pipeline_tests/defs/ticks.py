"""The sensors over the small game, tick by tick, with a clock of the test's own."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from dagster import AssetKey, DagsterRunStatus, ExecuteInProcessResult, RunRequest, build_sensor_context
from dagster._core.storage.dagster_run import DagsterRun

from sq_pipeline.defs.build import build_defs
from sq_pipeline.defs.partitions import apply_changes
from sq_pipeline_tests.pipeline.fast import chapter, poi
from sq_pipeline_tests.pipeline.game import Game

NOON = datetime(2026, 6, 10, 12, 0).astimezone()
MIDNIGHT = datetime(2026, 6, 10, 23, 59).astimezone()


class Ticks:
    """Sensors over a game, at a time."""

    def __init__(self, game: Game) -> None:
        self.game, self.now = game, NOON
        self.logged: list[str] = []
        self.defs = build_defs(data=game.data, make_engines=game.engines, clock=lambda: self.now)

    def tick(self, sensor: str) -> tuple[list[RunRequest], str]:
        """What is requested, and the reason for skipping. Partitions are changed as the daemon would."""
        context = build_sensor_context(instance=self.game.instance, repository_def=self.defs.get_repository_def())
        self.logged.clear()
        with _listening(context.log, self.logged):
            result = self.defs.resolve_sensor_def(sensor).evaluate_tick(context)
        apply_changes(result.dynamic_partitions_requests or (), self.game.instance)
        return list(result.run_requests or ()), result.skip_message or ""

    def pretend(self, request: RunRequest, status: DagsterRunStatus) -> DagsterRun:
        """A run of what was requested that is in this state."""
        run = DagsterRun("__ASSET_JOB", asset_selection=frozenset(request.asset_selection or ()), tags=request.tags)
        self.game.instance.add_run(run)
        if status is not DagsterRunStatus.NOT_STARTED:
            event = {
                "FAILURE": self.game.instance.report_run_failed,
                "CANCELED": self.game.instance.report_run_canceled,
            }
            event[status.value](run)
        return run


def assets(request: RunRequest) -> list[str]:
    return sorted(key.to_user_string() for key in request.asset_selection or ())


def burn_the_mill(game: Game, prompt: str = "a burnt mill") -> None:
    game.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill", prompt), poi("Mine"), poi("Inn"))]})


@contextmanager
def _listening(log: logging.Logger, lines: list[str]) -> Iterator[None]:
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    log.addHandler(handler)
    yield
    log.removeHandler(handler)


def launch(
    ticks: Ticks, *names: str, tags: Mapping[str, str] | None = None, config: Any = None
) -> ExecuteInProcessResult:
    """A run over these assets as pages begin it, in this process; a step that fails is in the result."""
    defs = build_defs(data=ticks.game.data, make_engines=ticks.game.engines)
    job = defs.resolve_implicit_global_asset_job_def()
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    ops = {"ops": {names[0].replace("/", "__"): {"config": config}}} if config is not None else {}
    keys = [AssetKey(name.split("/")) for name in names]
    return job.execute_in_process(
        instance=ticks.game.instance, asset_selection=keys, tags=tags, raise_on_error=False, run_config={**quiet, **ops}
    )


def run_of(ticks: Ticks, result: ExecuteInProcessResult) -> DagsterRun:
    """The run as it is kept."""
    run = ticks.game.instance.get_run_by_id(result.run_id)
    assert run is not None
    return run


def reasons_of(result: ExecuteInProcessResult) -> dict[str, str]:
    """Of each materialization, by asset and partition, why it was made."""
    events = [event.step_materialization_data.materialization for event in result.all_events
              if event.is_step_materialization]  # fmt: skip
    return {f"{'/'.join(e.asset_key.path)}{f':{e.partition}' if e.partition else ''}": str(e.metadata["reasons"].value)
            for e in events}  # fmt: skip
