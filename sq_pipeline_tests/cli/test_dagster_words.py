"""Of Dagster's output errors reach the person, with their tracebacks, and nothing else of its log does."""

import pytest

from sq_pipeline.cli.terminal.dagster_words import DagsterWords

STAMP = "2026-11-30 16:52:12 +0000 - dagster -"
# each line, and whether it is shown
STREAMS: dict[str, list[tuple[str, bool]]] = {
    "a quiet night": [(f"{STAMP} INFO - __repository__ - night - nothing", False), ("  and more of it", False)],
    "an event of a run": [(f"{STAMP} DEBUG - __ASSET_JOB - f03 - 19 - RUN_START - Started", False)],
    "a warning": [(f"{STAMP} WARNING - odd", False)],
    "in colours": [("\x1b[32m2026-11-30 16:52:12 +0000\x1b[0m - dagster - \x1b[34mINFO\x1b[0m - x", False)],
    "an error, to its end": [
        (f"{STAMP} ERROR - __ASSET_JOB - STEP_FAILURE - failed", True), ("Traceback (most recent call last):", True),
        ("ValueError: a", True), (f"{STAMP} INFO - x", False), ("more", False),
    ],
    "in colours, an error": [
        ("\x1b[32m2026-11-30 16:52:12 +0000\x1b[0m - dagster.daemon - \x1b[31mERROR\x1b[0m - x", True)
    ],
    "critical": [(f"{STAMP} CRITICAL - x", True)],
    "a traceback of another process": [
        (f"{STAMP} INFO - x", False), ("Traceback (most recent call last):", True), ('  File "a.py"', True),
        ("OSError: b", True), (f"{STAMP} INFO - y", False),
    ],
    "before any log line": [("port 3000 is in use", True)],
    "an error of ours": [(f"{STAMP} INFO - x", False), ("error: sq.yaml: is torn", True)],
    "a line that only looks like one": [("2026-11-30 - INFO", True)],
}  # fmt: skip


@pytest.mark.parametrize("stream", STREAMS)
def test_errors_reach_the_person(stream: str) -> None:
    words = DagsterWords()
    for line, is_shown in STREAMS[stream]:
        assert words.is_shown(line) == is_shown, line
