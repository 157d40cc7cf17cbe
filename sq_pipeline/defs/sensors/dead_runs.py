"""Runs whose process is gone without a word: killed together with everything that could have told, or a reboot.

Dagster's own monitoring asks the code server that started a run; where that is gone too, the run looks busy for ever.
The run lock knows better: it is held while a run works, and falls with its process.
"""

import time
from datetime import datetime

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.locks import is_run_lock_free
from sq_pipeline.common.processes.deaths import read_death

_END_S = 3  # from letting it go to the run's last event


def report_dead_runs(data: DataDir, instance: DagsterInstance, now: datetime, grace_s: float) -> list[str]:
    """Mark them as failed, so that they are made up for, or as cancelled, where a person stopped them; a line for each.

    A run may be `grace_s` old before it holds the lock, or waits for it.
    """
    suspects = [run_id for run_id, started in _started_runs(instance).items() if now.timestamp() - started > grace_s]
    if not suspects or not is_run_lock_free(data):
        return []
    time.sleep(_END_S)
    if not is_run_lock_free(data):
        return []
    dead = [run_id for run_id in suspects if run_id in _started_runs(instance)]
    told = read_death(data.death_note)
    how = f"its process is gone: {told}" if told else "its process is gone"
    for run_id in dead:
        run = instance.get_run_by_id(run_id)
        if run is not None and run.status is DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, message=how)
        elif run is not None:
            instance.report_run_failed(run, how)
    return [f"run {run_id[:8]}: {how}" for run_id in dead]


def _started_runs(instance: DagsterInstance) -> dict[str, float]:
    """Runs that are at work, with the time of their start, in seconds since 1970."""
    records = instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]))
    return {record.dagster_run.run_id: record.start_time or record.create_timestamp.timestamp() for record in records}
