"""What Dagster's steps print, into its log files alone: for the terminal's copy of it each run starts four processes.

Two of them are Pythons, and all are waited for; that is a tenth of what a small run costs. The files and the events
are the same. Not here: the processes that tests start; they are as a person's.
"""

from unittest.mock import patch

from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage import local_compute_log_manager
from dagster._utils import ensure_file


def keep_logs_in_files() -> None:
    """Leave out the copy to the terminal, which pytest would take away, in this process."""

    def to_file(stream: object, path: str) -> object:
        ensure_file(path)
        return redirect_to_file(stream, path)

    patch.object(local_compute_log_manager, "mirror_stream_to_file", to_file).start()
