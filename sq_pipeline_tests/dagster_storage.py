"""Dagster's SQLite storages, with one SQLAlchemy engine a file in a process; they make one for each event they store.

A new engine compiles each statement anew, which is a third of what a small run costs. The files, the statements and
when they are committed are the same. Not here: the processes that tests start; they are as a person's.
"""

from functools import lru_cache
from typing import Any
from unittest.mock import patch

from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS

_create_engine, _NoPool = (vars(sqlite_event_log)[name] for name in ("create_engine", "NullPool"))


def keep_engines() -> None:
    """Let Dagster have the engine of before for a file it knows. None of them holds a connection."""
    for module in (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):
        patch.object(module, "create_engine", lambda address, **_options: _engine(address)).start()


@lru_cache(maxsize=256)
def _engine(address: str) -> Any:
    # a file is waited for as long as the longest of the three waits for it
    return _create_engine(address, poolclass=_NoPool, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
