"""Reading a file only where it is one: a pipe or a device in its place would be waited for without an end."""

import errno
import stat
from pathlib import Path


def insist_plain(path: Path) -> None:
    """Raises OSError for what is no plain file, after links."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "is no plain file", str(path))


def read_plain_text(path: Path, *, encoding: str = "utf-8", errors: str = "strict") -> str:
    """The text of a plain file. Raises OSError, UnicodeDecodeError."""
    insist_plain(path)
    return path.read_text(encoding=encoding, errors=errors)
