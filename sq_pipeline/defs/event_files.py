"""The SQLite files of Dagster's event log while one process makes several runs: each is made and settled fewer times.

Dagster opens and closes a file for each event, and SQLite settles its log into the file at each last close: so one
connection stays open. A run has a file of its own, whose forty statements each wait for the disk: the second run gets a
copy of the first one's, from before anything was in it. What is in the files is the same.
"""

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from dagster import DagsterInstance

from sq_pipeline.common.atomic import write_bytes
from sq_pipeline.common.errors import StorageError

NewRun = Callable[[], str]


@contextmanager
def event_files(instance: DagsterInstance) -> Iterator[NewRun]:
    """Gives what makes the id of a new run, with its file ready; plain ids where events are kept in another storage."""
    path_of: Callable[[str], str] | None = getattr(instance.event_log_storage, "path_for_shard", None)
    empty: bytes | None = None
    with ExitStack() as kept_open:

        def new_run() -> str:
            nonlocal empty
            run_id = str(uuid.uuid4())
            if path_of is None:
                return run_id
            path = Path(path_of(run_id))
            # where the disk does not take it, Dagster meets the same, and says so
            with suppress(StorageError, OSError, sqlite3.Error):
                if empty is not None:
                    write_bytes(path, empty)
                else:
                    instance.all_logs(run_id)  # makes the file
                    empty = path.read_bytes()
                _keep_open(path, kept_open)
            return run_id

        if path_of is not None:
            with suppress(OSError, sqlite3.Error):
                _keep_open(Path(path_of("index")), kept_open)
        yield new_run


def _keep_open(path: Path, kept_open: ExitStack) -> None:
    connection = kept_open.enter_context(closing(sqlite3.connect(path)))
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # before that it is open by name only
