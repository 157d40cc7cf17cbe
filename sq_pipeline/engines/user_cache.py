"""Where this user's programs keep what can be made again, by the XDG rules; ours is `sq-pipeline` in it."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/sq-pipeline`, else `~/.cache/sq-pipeline`; not made. Raises RuntimeError without a home folder.

    A relative path in the variable does not count: https://specifications.freedesktop.org/basedir-spec/latest/
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if Path(given).is_absolute() else Path.home() / ".cache") / "sq-pipeline"
