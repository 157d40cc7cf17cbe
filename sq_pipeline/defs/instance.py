"""The Dagster instance of a data directory: its folder, its settings, opening it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import DagsterInstance

from sq_pipeline.common.atomic import write_text
from sq_pipeline.common.errors import Fault, StorageError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.locks import Say, hold_instance_lock
from sq_pipeline.common.strict_yaml import load_mapping
from sq_pipeline.defs.resources import GPU_POOL
from sq_pipeline.defs.sqlite_engines import keep_engines

SETTINGS = """\
# Written by sq-pipeline on first use; it is yours to change and is never written over.

telemetry:
  enabled: false
nux:
  enabled: false

# Training and rendering share one GPU: one such run at a time.
concurrency:
  pools:
    default_limit: 1
    granularity: run

# A run whose process died is noticed and started again; a failed check or picture is not repeated for nothing.
run_monitoring:
  enabled: true
  poll_interval_seconds: 20
run_retries:
  enabled: true
  max_retries: 1
  retry_on_asset_or_op_failure: false

# A sensor looks twice a minute: its many ticks without a result go after a day, those that started a run stay.
retention:
  sensor:
    purge_after_days:
      skipped: 1
      started: 7
      failure: 30
      success: -1
"""


def prepare_home(data: DataDir) -> Path:
    """The instance's folder, made with its settings where it has none.

    Raises ContentError for settings that are no YAML, StorageError for a database that is no file: Dagster would wait
    for a pipe without an end.
    """
    home = data.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        write_text(settings, SETTINGS)
    load_mapping(settings, str(settings))
    strange = [path for path in home.rglob("*.db") if path.exists() and not path.is_file()]
    if strange:
        raise StorageError(Fault(str(path), "", "is no plain file", "move it away") for path in strange)
    return home


@contextmanager
def open_instance(data: DataDir, say: Say = lambda _line: None) -> Iterator[DagsterInstance]:
    """The persistent instance of a data directory, the one that `sq-pipeline ui` shows.

    `say` is told whom it waits for, where another process takes long to open it.
    """
    home = prepare_home(data)
    os.environ["DAGSTER_HOME"] = str(home)
    keep_engines()
    with hold_instance_lock(data, say):
        instance = DagsterInstance.from_config(str(home))
        # each of them makes its tables when it is first asked for
        assert all((instance.run_storage, instance.event_log_storage, instance.schedule_storage))
        # a pool that the daemon has never met limits nothing in its first round
        if GPU_POOL not in instance.event_log_storage.get_concurrency_keys():
            instance.event_log_storage.initialize_concurrency_limit_to_default(GPU_POOL)
    with instance:
        yield instance
