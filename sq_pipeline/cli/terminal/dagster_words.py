"""What of Dagster's output a person is shown: errors with their tracebacks, and whatever is not one of its log lines.

Runs and sensors write each of their events to the terminal, whatever level the pages were given.
"""

import re

_LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} - [\w.]+ - (?P<level>[A-Z]+) - ")
_CODES = re.compile(r"\x1b\[[\d;]*m")
_SHOWN = ("ERROR", "CRITICAL")
_BEGINS_ANEW = ("Traceback ", "error: ")  # of another process, in the midst of a log line's further lines


class DagsterWords:
    """Tells line by line; lines that follow a log line belong to it."""

    def __init__(self) -> None:
        self._is_shown = True

    def is_shown(self, line: str) -> bool:
        """True for one that a person must see."""
        plain = _CODES.sub("", line)
        if found := _LOG_LINE.match(plain):
            self._is_shown = found["level"] in _SHOWN
        elif plain.startswith(_BEGINS_ANEW):
            self._is_shown = True
        return self._is_shown
