"""How a command or a tick ends that the system refused something, or a database of Dagster's: one line, a way out.

Such an error reaches the end from a library, with a traceback through it that tells nobody anything. Not here: errors
of our own, which have their faults already, and bugs, which keep their traceback.
"""

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from sq_pipeline.common.atomic import FORBIDDEN, FULL
from sq_pipeline.common.errors import Fault

_REFUSALS = {*FULL, *FORBIDDEN, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE}
_SPARE_BYTES = 1 << 20  # less than this is a full disk, whatever words SQLite has for it
_DAMAGE = ("malformed", "not a database", "disk image", "corrupt")


def explain_end(error: BaseException) -> Fault | None:
    """What a person should hear in place of a traceback; None for an error that is nobody's but ours."""
    for cause in _chain(error):
        if isinstance(cause, sqlite3.Error):
            return _of_database(str(cause))
        if isinstance(cause, OSError) and cause.errno in _REFUSALS:
            return _of_system(cause)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _of_system(error: OSError) -> Fault:
    file = str(error.filename or "")
    if error.errno in FULL:
        return _full(file)
    hint = "check the permissions, and that the disk is not mounted read-only"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        hint = "end other programs, or raise the limit (`ulimit -n`)"
    elif error.errno not in FORBIDDEN:
        hint = "check the disk"
    return Fault(file, "", f"cannot be used ({error.strerror or error})", hint)


def _full(file: str) -> Fault:
    return Fault(file, "", "the disk is full", "free some space and run again; what was finished is kept")


def _of_database(text: str) -> Fault:
    """SQLite names no file. Only Dagster's own databases reach the end: the store's are told of where they are."""
    home = Path(os.environ.get("DAGSTER_HOME") or ".")
    with suppress(OSError):
        if "full" in text or shutil.disk_usage(home).free < _SPARE_BYTES:
            return _full(str(home))
    way_out = f"move {home} away: it is the history of runs, and nothing that was made is in it"
    if "locked" in text or "busy" in text:
        return Fault(str(home), "", "another process keeps a database there locked", "wait for it to end, or end it")
    if "readonly" in text or "unable to open" in text:
        return Fault(str(home), "", f"cannot be written ({text})", "check the permissions")
    damaged = next(filter(_is_damaged, sorted(home.rglob("*.db"))), None)
    if damaged is not None or any(words in text for words in _DAMAGE):
        return Fault(str(damaged or home), "", "is damaged", way_out)
    return Fault(str(home), "", f"a database there cannot be used ({text})", way_out)


def _is_damaged(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",)
    except sqlite3.Error:
        return True
