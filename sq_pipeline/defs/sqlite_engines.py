"""One SQLAlchemy engine a SQLite file in a process: Dagster makes one for each event that it stores.

A new engine compiles each statement anew, which is a quarter of what a small run costs. The files, the statements and
when they are committed are the same: an engine here holds no connection.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

_MODULES = (
    "event_log.sqlite.sqlite_event_log",
    "runs.sqlite.sqlite_run_storage",
    "schedules.sqlite.sqlite_schedule_storage",
)
_NAME = "create_engine"
_MOST_KEPT = 256  # a run has a file of its own


def keep_engines() -> None:
    """Let Dagster have the engine of before for a file it knows; again is free.

    A Dagster that makes them otherwise is left as it is.
    """
    for name in _MODULES:
        try:
            module = import_module(f"dagster._core.storage.{name}")
        except ImportError:
            continue
        create = getattr(module, _NAME, None)
        if create is not None and not isinstance(create, _KeptEngines):
            setattr(module, _NAME, _KeptEngines(create))


class _KeptEngines:
    """As the function that it is given, but equal arguments give the same engine."""

    def __init__(self, create: Callable[..., Any]) -> None:
        self._create = create
        self._kept: dict[tuple[str, str], Any] = {}

    def __call__(self, address: str, **options: Any) -> Any:
        key = address, repr(options)
        engine = self._kept.get(key)
        if engine is None:
            engine = self._kept[key] = self._create(address, **options)
            while len(self._kept) > _MOST_KEPT:
                self._kept.pop(next(iter(self._kept)), None)  # the oldest
        return engine
